//! Turns outcomes and errors of the rooms into answers on the wire: status, headers, XML. The map from an error to
//! its S3 code stands in `error.rs`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use super::session::PingoraExchange;
use crate::error::{Blame, Code, Error, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::s3::xml::{ErrorContext, error_body};

/// Seconds in `Retry-After` of a 503 that says nothing better.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// How an error is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ErrorForm {
    /// As S3 does.
    Xml,
    /// As MinIO's own API does; its tools read nothing else.
    Json,
}

/// Writes what a handler returned. After a head went out, an error can only cut the connection.
pub(super) async fn write(
    exchange: &mut PingoraExchange,
    result: Result<Outcome>,
    form: ErrorForm,
    context: &ErrorContext<'_>,
) -> Option<Error> {
    let (reply, failure) = match result {
        Ok(Outcome::Streamed) => return None,
        Ok(Outcome::Reply(reply)) => (reply, None),
        Err(error) if exchange.started() => return Some(error),
        Err(error) => (error_reply(&error, form, context), Some(error)),
    };
    match exchange.answer(reply.head, reply.body, reply.shown_length).await {
        Ok(()) => failure,
        Err(gone) => failure.or(Some(gone)),
    }
}

/// The S3 answer to an error.
fn error_reply(error: &Error, form: ErrorForm, context: &ErrorContext<'_>) -> Reply {
    let status = error.code().status();
    let mut headers = HeaderMap::new();
    for (name, value) in error.headers() {
        headers.append(name, value.clone());
    }
    if status == http::StatusCode::SERVICE_UNAVAILABLE && !headers.contains_key(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, RETRY_SECONDS);
    }
    if *error.code() == Code::NotModified {
        return Reply::empty(Head { status, headers });
    }
    let (kind, body) = match form {
        ErrorForm::Xml => ("application/xml", error_body(error, context).into()),
        ErrorForm::Json => ("application/json", json_body(error, context)),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Reply { head: Head { status, headers }, body, shown_length: None }
}

fn json_body(error: &Error, context: &ErrorContext<'_>) -> Bytes {
    let told = serde_json::json!({
        "Code": error.code().name(),
        "Message": error.message(),
        "Resource": context.resource,
        "RequestId": context.request_id,
        "HostId": context.host_id,
    });
    Bytes::from(told.to_string())
}

/// One log line for a failed request, at the level its blame deserves.
pub(super) fn log(error: &Error, request_id: &str, operation: &str) {
    match error.blame() {
        Blame::Client => tracing::info!(request_id, operation, %error, "request refused"),
        Blame::Backend | Blame::Keys => tracing::warn!(request_id, operation, %error, "request failed"),
        Blame::Tampered => {
            tracing::error!(request_id, operation, %error, alert = "tampered", "stored object refused")
        }
        Blame::Internal => tracing::error!(request_id, operation, %error, "internal fault"),
    }
}
