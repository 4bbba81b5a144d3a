//! Reads the last bytes of a stored object, in whatever way the backend gives them, and holds each answer to what was
//! asked for. What they mean is `read.rs`'s.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::read::Target;
use crate::backend::{Response, error_from};
use crate::error::{Code, Error, Result};

/// Answers to these reads are bounded by what was asked for, and an error document.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// The end of an object.
pub(super) struct Tail {
    /// Headers of the answer that brought it.
    pub(super) headers: HeaderMap,
    /// The object's length.
    pub(super) total: u64,
    /// Its last bytes.
    pub(super) bytes: Bytes,
}

/// What a look at an object's end came to.
pub(super) enum End {
    Read(Tail),
    /// 416: the object is empty, or the backend does not take this form of range.
    Unsatisfiable,
    /// Only a HEAD can tell.
    Archived,
}

/// The last `want` bytes with the headers of that answer.
pub(super) async fn tail_of(target: &Target<'_>, want: u64) -> Result<End> {
    if !target.backend.profile().suffix_ranges {
        return explicit_tail(target, want).await;
    }
    let mut out = target.outgoing(Method::GET);
    out.headers.insert(RANGE, range_value(format!("bytes=-{want}")));
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    checked_tail(target, response, want).await
}

/// The same for a backend that does not know suffix ranges: its length is asked for first.
async fn explicit_tail(target: &Target<'_>, want: u64) -> Result<End> {
    let head = target.backend.call(target.caller, target.outgoing(Method::HEAD), Bytes::new()).await?;
    if head.status != StatusCode::OK {
        return Err(error_from(head, &target.names()).await);
    }
    ranged_tail(target, &head.headers, want).await
}

/// The last `want` bytes of the object that a HEAD told of.
pub(super) async fn ranged_tail(target: &Target<'_>, head: &HeaderMap, want: u64) -> Result<End> {
    let total = content_length(head)?;
    if total == 0 {
        return Ok(End::Unsatisfiable);
    }
    let mut out = target.outgoing(Method::GET);
    out.headers.insert(RANGE, range_value(format!("bytes={}-{}", total.saturating_sub(want), total - 1)));
    // Another object by now may have another length, and that is no fault of the backend's.
    out.headers.insert(IF_MATCH, pin(&backend_etag(head)?)?);
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    checked_tail(target, response, want).await
}

async fn checked_tail(target: &Target<'_>, response: Response, want: u64) -> Result<End> {
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(End::Unsatisfiable),
        StatusCode::PRECONDITION_FAILED => return Err(changed()),
        StatusCode::FORBIDDEN => {
            // An archived object refuses GET and answers HEAD; another refusal stays one.
            let error = error_from(response, &target.names()).await;
            return if error.code().name() == Code::InvalidObjectState.name() {
                Ok(End::Archived)
            } else {
                Err(error)
            };
        }
        _ => return Err(error_from(response, &target.names()).await),
    }
    let headers = response.headers;
    let (start, total) = match content_range(&headers) {
        Some((start, end, total)) if end + 1 == total => (start, total),
        Some(_) => return Err(unexpected("a range that does not reach the end of the object")),
        None if response.status == StatusCode::PARTIAL_CONTENT => {
            return Err(unexpected("206 without Content-Range"));
        }
        None => (0, content_length(&headers)?),
    };
    let length = total - start;
    if length > want.max(1) || length < total.min(want) {
        // A backend without ranges would send the whole object for each look at its end.
        return Err(unexpected("another range than the one asked for"));
    }
    let bytes = response.body.collect(ANSWER_LIMIT).await?;
    if bytes.len() as u64 != length {
        return Err(unexpected("a body of another length than announced"));
    }
    Ok(End::Read(Tail { headers, total, bytes }))
}

/// More of the end of the very object that was read.
pub(super) async fn pinned_tail(
    target: &Target<'_>,
    want: u64,
    total: u64,
    backend_etag: &str,
) -> Result<Bytes> {
    let mut out = target.outgoing(Method::GET);
    let start = total.saturating_sub(want);
    out.headers.insert(RANGE, range_value(format!("bytes={start}-{}", total - 1)));
    out.headers.insert(IF_MATCH, pin(backend_etag)?);
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    if response.status == StatusCode::PRECONDITION_FAILED {
        return Err(changed());
    }
    if !response.status.is_success() {
        return Err(error_from(response, &target.names()).await);
    }
    let bytes = response.body.collect(ANSWER_LIMIT).await?;
    if bytes.len() as u64 == total - start {
        Ok(bytes)
    } else {
        Err(unexpected("another range than the one asked for"))
    }
}

/// The object was replaced between two reads of one request.
pub(crate) fn changed() -> Error {
    Error::backend(Code::SlowDown, "The object is being replaced. Please try again.").replaced()
}

/// A backend answer that breaks HTTP or S3.
pub(crate) fn unexpected(what: &'static str) -> Error {
    Error::backend(
        Code::BadGateway,
        "The storage behind the proxy gave an answer that the proxy does not accept.",
    )
    .because(what)
}

/// `Content-Range: bytes start-end/total`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = value.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, total): (u64, u64, u64) = (start.parse().ok()?, end.parse().ok()?, total.parse().ok()?);
    (start <= end && end < total).then_some((start, end, total))
}

/// A response's declared length.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<u64> {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok())
        .ok_or_else(|| unexpected("no Content-Length"))
}

/// A response's ETag, unquoted.
pub(crate) fn backend_etag(headers: &HeaderMap) -> Result<String> {
    headers
        .get(ETAG)
        .and_then(|v| v.to_str().ok())
        .map(|v| v.trim_matches('"').to_owned())
        .filter(|v| !v.is_empty())
        .ok_or_else(|| unexpected("no ETag"))
}

pub(super) fn last_modified(headers: &HeaderMap) -> Option<SystemTime> {
    let value = headers.get(LAST_MODIFIED)?.to_str().ok()?;
    httpdate::parse_http_date(value).ok()
}

fn range_value(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("digits and ASCII punctuation are a header value")
}

/// `If-Match` on a backend's ETag as it was received.
pub(crate) fn pin(backend_etag: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(&format!("\"{backend_etag}\""))
        .map_err(|_| unexpected("an ETag that is no header value"))
}
