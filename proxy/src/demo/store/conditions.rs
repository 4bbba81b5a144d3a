//! Conditional requests, as S3 evaluates them: writes and deletes under the catalog's lock, reads on the object that was
//! opened. Pure functions of an object's record.

use std::sync::Arc;

use http::{HeaderMap, header};
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::object::Object;

/// `If-Match` and `If-None-Match` of a write or delete.
#[derive(Debug, Default)]
pub(super) struct WriteConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// The conditions of a request, or none at all for a store that ignores them.
    pub(super) fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
        ignore: bool,
    ) -> Self {
        if ignore { Self::default() } else { Self { if_match, if_none_match } }
    }

    pub(super) fn check(&self, current: Option<&Arc<Object>>) -> S3Result<()> {
        if let Some(condition) = &self.if_match {
            let Some(object) = current else { return Err(s3_error!(NoSuchKey)) };
            if !matches(condition, object) {
                return Err(failed());
            }
        }
        match (&self.if_none_match, current) {
            (Some(condition), Some(object)) if matches(condition, object) => Err(failed()),
            _ => Ok(()),
        }
    }
}

/// An entry of DeleteObjects shows the sentence as it is.
fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// The four conditions of a read, or of a copy's source.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// 412 or 304, or nothing. `If-Match` that holds beats `If-Unmodified-Since`; `If-None-Match` beats
    /// `If-Modified-Since` (RFC 9110 section 13.2.2).
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        // Dates of HTTP have whole seconds.
        let modified = super::object::timestamp(object.modified.div_euclid(1000) * 1000);
        let passes = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => matches(condition, object),
            (None, Some(date)) => modified <= *date,
            (None, None) => true,
        };
        if !passes {
            return Err(s3_error!(PreconditionFailed));
        }
        let fresh = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !matches(condition, object),
            (None, Some(date)) => modified > *date,
            (None, None) => true,
        };
        if fresh { Ok(()) } else { Err(not_modified(object)) }
    }
}

fn matches(condition: &ETagCondition, object: &Object) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|tag| tag.value() == object.etag)
}

/// A 304 names the object that the client has already.
fn not_modified(object: &Object) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    let stored = object.response_headers();
    for name in [header::CACHE_CONTROL, header::EXPIRES] {
        if let Some(value) = stored.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Ok(tag) = object.e_tag().to_http_header() {
        headers.insert(header::ETAG, tag);
    }
    if let Some(date) = http_date(object.modified) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

fn http_date(millis: i64) -> Option<http::HeaderValue> {
    let since = std::time::Duration::from_millis(u64::try_from(millis).ok()?);
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since).try_into().ok()
}
