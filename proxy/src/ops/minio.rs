//! The part of MinIO's own API that its tools need of a key service: `mc admin kms key {create,status,list}` and the health
//! paths of its orchestrators. Only where `compat.minio_api` is on; `minio` is a bucket like any other otherwise.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use kms_client::KeyError;
use serde_json::{Value, json};

use crate::admin;
use crate::auth::Verified;
use crate::error::{Code, Error, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::keys::ResolvedKey;
use crate::s3::S3Request;
use crate::services::Services;

/// `/minio/health/*`: no credentials, no body, all in the status.
pub fn health(services: &Services, request: &S3Request) -> Result<Outcome> {
    only(request, &[Method::GET, Method::HEAD])?;
    let status = match request.raw_path.as_str() {
        "/minio/health/live" => StatusCode::OK,
        "/minio/health/ready" | "/minio/health/cluster" | "/minio/health/cluster/read" => {
            if admin::is_ready(services) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        }
        _ => return Err(unknown()),
    };
    Ok(Outcome::Reply(Reply::empty(Head::new(status))))
}

/// `/minio/kms/v1/*`, and the paths under `/minio/admin/v3/kms/` that older tools call.
pub async fn kms(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let path = request.raw_path.as_str();
    let call = path
        .strip_prefix("/minio/kms/v1/")
        .or_else(|| path.strip_prefix("/minio/admin/v3/kms/"))
        .ok_or_else(unknown)?;
    match call {
        "key/create" => {
            only(request, &[Method::POST])?;
            create(services, request).await
        }
        "key/status" => {
            only(request, &[Method::GET])?;
            key_status(services, request).await
        }
        "key/list" => {
            only(request, &[Method::GET])?;
            list(services, request).await
        }
        "status" => {
            // Older tools post here.
            only(request, &[Method::GET, Method::POST])?;
            status(services, request).await
        }
        _ => {
            request.identity().authorize_keys(None)?;
            Err(unknown())
        }
    }
}

async fn create(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let Some(name) = parameter(request, "key-id")? else {
        request.identity().authorize_keys(None)?;
        return Err(Error::client(Code::InvalidArgument, "A key needs a name: give it as key-id."));
    };
    let key = resolve(services, request, Some(name))?;
    services.keyring.create(&key).await.map_err(|error| refusal(&key, &error))?;
    tracing::info!(request_id = %request.request_id, key = %key, who = request.identity().access_key(), "made a key");
    Ok(Outcome::Reply(Reply::empty(Head::new(StatusCode::OK))))
}

/// Has a data key made and opened again, as MinIO does. 200 whatever comes of it, as the tools expect: what failed is told
/// under its own name.
async fn key_status(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let key = resolve(services, request, parameter(request, "key-id")?)?;
    let mut told = json!({ "key-id": key.name.to_string() });
    let trial = services.keyring.try_out(&key).await;
    for (name, failed) in [
        ("encryption-error", trial.encryption.err()),
        ("decryption-error", trial.decryption.and_then(Result::err)),
    ] {
        if let Some(error) = failed {
            told[name] = json!(error.to_string());
        }
    }
    Ok(answer(&told))
}

async fn list(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    request.identity().authorize_keys(None)?;
    let pattern = parameter(request, "pattern")?.unwrap_or("*");
    let (prefix, open) = match pattern.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (pattern, false),
    };
    if prefix.contains(['*', '?']) {
        return Err(Error::client(
            Code::InvalidArgument,
            "The pattern may be a name, or the begin of names followed by one `*`.",
        ));
    }
    let names = services.keyring.list(None, prefix).await.map_err(|error| failure(&error))?;
    let shown: Vec<_> = names
        .iter()
        .filter(|name| open || *name == prefix)
        // Key stores may hold what is no key, under names that none can have.
        .filter_map(|name| services.keyring.of_default_service(name))
        .filter(|key| request.identity().authorize_keys(Some(key)).is_ok())
        .map(|key| json!({ "name": key.name.as_str() }))
        .collect();
    Ok(answer(&Value::Array(shown)))
}

async fn status(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    request.identity().authorize_keys(None)?;
    let default = services.keyring.default_key();
    let all = services.keyring.status().await;
    let Some(status) = all.get(&default.service) else {
        return Err(Error::internal("the default key's service is not among the services"));
    };
    let endpoints: BTreeMap<_, _> = status
        .endpoints
        .iter()
        .map(|e| (e.endpoint.as_str(), if e.reachable { "online" } else { "offline" }))
        .collect();
    let usable = status.is_usable();
    Ok(answer(&json!({
        "name": status.kind,
        "default-key-id": default.name.to_string(),
        "endpoints": endpoints,
        "state": { "KeyStoreReachable": usable, "KeystoreAvailable": usable },
    })))
}

/// The key that a request names, if who asks may work with it.
fn resolve(services: &Services, request: &Verified<S3Request>, name: Option<&str>) -> Result<ResolvedKey> {
    let identity = request.identity();
    // First of all: whoever has no right learns nothing of names.
    identity.authorize_keys(None)?;
    let key = services.keyring.resolve(name).map_err(|_| {
        Error::client(
            Code::InvalidArgument,
            "This is no name of a key: it takes 1 to 80 letters, digits, `-` and `_`.",
        )
    })?;
    identity.authorize_keys(Some(&key))?;
    Ok(key)
}

fn parameter<'a>(request: &'a S3Request, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = request.query.get(name) else { return Ok(None) };
    match std::str::from_utf8(value) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::client(Code::InvalidArgument, "A parameter is not UTF-8.")),
    }
}

fn only(request: &S3Request, methods: &[Method]) -> Result<()> {
    if methods.contains(&request.method) {
        return Ok(());
    }
    Err(Error::client(Code::MethodNotAllowed, "The specified method is not allowed against this resource."))
}

fn unknown() -> Error {
    Error::client(
        Code::NotImplemented,
        "Of MinIO's own API there are the health paths and the calls kms/v1/status and kms/v1/key/create, status and list.",
    )
}

/// The codes that MinIO answers with.
fn refusal(key: &ResolvedKey, error: &KeyError) -> Error {
    let own = |name: &str, status| Code::Backend { name: name.to_owned(), status };
    match error {
        KeyError::Exists => Error::client(
            own("kms:KeyAlreadyExists", StatusCode::CONFLICT),
            format!("The key {key} exists already."),
        ),
        error => failure(error),
    }
}

fn failure(error: &KeyError) -> Error {
    match error {
        KeyError::Denied => Error::keys(
            Code::Backend { name: "kms:NotAuthorized".to_owned(), status: StatusCode::FORBIDDEN },
            "The key service does not allow this to the proxy: its policy has to.",
        ),
        error => Error::keys(Code::ServiceUnavailable, "The key service failed. Please try again.")
            .header(RETRY_AFTER, HeaderValue::from_static("5"))
            .because(error.to_string()),
    }
}

fn answer(value: &Value) -> Outcome {
    let mut head = Head::new(StatusCode::OK);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outcome::Reply(Reply { head, body: value.to_string().into(), shown_length: None })
}
