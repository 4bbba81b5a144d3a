//! What the admin address answers: `/live`, `/ready`, `/metrics`. A function of the running services; the listener is
//! the gateway's.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::keys::Readiness;
use crate::metrics::{Kind, Reading};
use crate::services::Services;

const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// Answers one request.
pub fn respond(services: &Services, method: &Method, path: &str) -> Response<Vec<u8>> {
    if method != Method::GET && method != Method::HEAD {
        return answer(StatusCode::METHOD_NOT_ALLOWED, JSON, json!({ "error": "use GET" }).to_string());
    }
    match path {
        // The process runs and answers: nothing behind it counts, or an outage there would restart it.
        "/live" => answer(StatusCode::OK, JSON, json!({ "status": "live" }).to_string()),
        "/ready" => ready(services),
        "/metrics" => answer(StatusCode::OK, PROMETHEUS, services.metrics.render(&readings(services))),
        _ => answer(
            StatusCode::NOT_FOUND,
            JSON,
            json!({ "error": "there are /live, /ready and /metrics" }).to_string(),
        ),
    }
}

fn ready(services: &Services) -> Response<Vec<u8>> {
    let mut missing = Vec::new();
    for backend in services.backends.iter().filter(|backend| !backend.is_prepared()) {
        missing.push(format!("backend {} is not reached or not usable yet; the log says why", backend.name()));
    }
    if let Readiness::NotReady(why) = services.keyring.ready() {
        missing.push(why);
    }
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if missing.is_empty() { "ready" } else { "not ready" };
    answer(status, JSON, json!({ "status": word, "missing": missing }).to_string())
}

fn readings(services: &Services) -> Vec<Reading> {
    let keys = services.keyring.stats();
    let counter = |name, help, value| Reading { name, kind: Kind::Counter, help, value };
    vec![
        counter("s3cloak_key_calls_total", "Calls to key services.", keys.calls),
        counter("s3cloak_key_cache_hits_total", "Data keys served from memory.", keys.hits),
        counter("s3cloak_key_cache_misses_total", "Data keys that had to be fetched.", keys.misses),
        counter("s3cloak_key_offline_total", "Data keys served while their key service was unreachable.", keys.offline),
        Reading {
            name: "s3cloak_requests_in_flight",
            kind: Kind::Gauge,
            help: "Requests being served now.",
            value: services.in_flight.count() as u64,
        },
    ]
}

fn answer(status: StatusCode, content_type: &str, body: String) -> Response<Vec<u8>> {
    let length = body.len();
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_str(content_type).expect("both content types are ASCII constants"),
    );
    response
}
