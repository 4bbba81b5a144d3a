//! What operators and orchestrators are told: `/live`, `/ready`, `/metrics`. A function from a path to an answer; the
//! listener is `gateway/`'s. Never reachable through the clients' listeners.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::keys::Readiness;
use crate::metrics::{Kind, Reading};
use crate::services::Services;

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// Answers a request of the admin listener; `stopping` where the process only ends what it has begun.
pub fn respond(services: &Services, stopping: bool, method: &Method, path: &str) -> Response<Vec<u8>> {
    let missing = || {
        let mut missing = missing(services);
        if stopping {
            let reason = "it was told to stop, takes no new connections and ends the requests that it has";
            missing.push(Missing { part: "process".to_owned(), reason: reason.to_owned() });
        }
        missing
    };
    route(method, path, missing, || services.metrics.render(&readings(services, missing().is_empty())))
}

/// Something without which requests fail.
#[derive(Debug, Eq, PartialEq)]
struct Missing {
    part: String,
    reason: String,
}

/// The answers as such; what they tell of the process is asked for only where it is shown.
fn route(
    method: &Method,
    path: &str,
    missing: impl FnOnce() -> Vec<Missing>,
    metrics: impl FnOnce() -> String,
) -> Response<Vec<u8>> {
    if !matches!(path, "/live" | "/ready" | "/metrics") {
        return answer(StatusCode::NOT_FOUND, TEXT, "Here are /live, /ready and /metrics.\n".to_owned());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Use GET.\n".to_owned());
        set(&mut refused, ALLOW, "GET, HEAD");
        return refused;
    }
    let mut response = match path {
        // Nothing behind the process counts here, or an outage there would have it restarted.
        "/live" => answer(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/ready" => {
            let missing = missing();
            let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let reasons: Vec<_> = missing
                .iter()
                .map(|Missing { part, reason }| json!({ "part": part, "reason": reason }))
                .collect();
            answer(status, JSON, format!("{}\n", json!({ "ready": missing.is_empty(), "reasons": reasons })))
        }
        _ => answer(StatusCode::OK, PROMETHEUS, metrics()),
    };
    if *method == Method::HEAD {
        response.body_mut().clear();
    }
    response
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Vec<u8>> {
    let length = body.len();
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = status;
    // That of the answer to a GET, for HEAD too.
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    set(&mut response, CONTENT_TYPE, kind);
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response<Vec<u8>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Whether `/ready` says so.
pub fn is_ready(services: &Services) -> bool {
    missing(services).is_empty()
}

fn missing(services: &Services) -> Vec<Missing> {
    let backends = services.backends.iter().filter(|backend| !backend.is_prepared()).map(|backend| Missing {
        part: format!("backend {}", backend.name()),
        reason: "its system area and profile are not there yet; the log says what stands in the way"
            .to_owned(),
    });
    let keys = match services.keyring.ready() {
        Readiness::Ready => None,
        Readiness::NotReady(reason) => Some(Missing { part: "keys".to_owned(), reason }),
    };
    backends.chain(keys).collect()
}

fn readings(services: &Services, ready: bool) -> [Reading; 7] {
    let keys = services.keyring.stats();
    let counter = |name, help, value| Reading { name, kind: Kind::Counter, help, value };
    [
        counter("s3cloak_key_hits_total", "Data keys served from memory.", keys.hits),
        counter("s3cloak_key_misses_total", "Data keys that had to be fetched.", keys.misses),
        counter("s3cloak_key_service_calls_total", "Calls to key services.", keys.calls),
        counter(
            "s3cloak_key_service_errors_total",
            "Calls to key services that failed or were refused.",
            keys.errors,
        ),
        counter(
            "s3cloak_key_offline_total",
            "Data keys served while their key service was unreachable.",
            keys.offline,
        ),
        Reading {
            name: "s3cloak_requests_in_flight",
            kind: Kind::Gauge,
            help: "Requests being served.",
            value: services.in_flight.count() as u64,
        },
        Reading {
            name: "s3cloak_ready",
            kind: Kind::Gauge,
            help: "1 where /ready says so.",
            value: u64::from(ready),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, path: &str, missing: Vec<Missing>) -> (u16, String) {
        let response = route(&method, path, || missing, || "counted 1\n".to_owned());
        (response.status().as_u16(), String::from_utf8(response.into_body()).unwrap())
    }

    #[test]
    fn each_path_has_its_answer() {
        assert_eq!(ask(Method::GET, "/live", Vec::new()), (200, "alive\n".into()));
        assert_eq!(ask(Method::GET, "/metrics", Vec::new()), (200, "counted 1\n".into()));
        assert_eq!(ask(Method::GET, "/ready", Vec::new()), (200, "{\"ready\":true,\"reasons\":[]}\n".into()));
        assert_eq!(ask(Method::HEAD, "/live", Vec::new()), (200, String::new()));
        assert_eq!(ask(Method::GET, "/", Vec::new()).0, 404);
        assert_eq!(ask(Method::GET, "/live/", Vec::new()).0, 404);
        assert_eq!(ask(Method::POST, "/ready", Vec::new()).0, 405);
    }

    #[test]
    fn what_is_missing_is_told_and_does_not_end_the_life() {
        let missing = || vec![Missing { part: "keys".into(), reason: "KES is \"away\"".into() }];
        let (status, body) = ask(Method::GET, "/ready", missing());
        assert_eq!(status, 503);
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["ready"], false);
        assert_eq!(told["reasons"][0]["part"], "keys");
        assert_eq!(told["reasons"][0]["reason"], "KES is \"away\"");
        assert_eq!(ask(Method::GET, "/live", missing()).0, 200);
    }
}
