//! Conditions on a delete: ETag, size, time of the object that may go. Evaluated on what clients see, then sent in
//! the backend's terms, so that the backend decides atomically where it can.

use std::time::SystemTime;

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use object_format::length::{MAX_PLAIN, sealed_len};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Code, Error, Result};
use crate::info::{self, Info, Need, Target};
use crate::s3::condition::{Current, WriteConditions};
use crate::s3::xml::ObjectToDelete;
use crate::services::Services;

const IF_MATCH_SIZE: HeaderName = HeaderName::from_static("x-amz-if-match-size");
const IF_MATCH_TIME: HeaderName = HeaderName::from_static("x-amz-if-match-last-modified-time");

/// What has to hold for a delete.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// Of an entry of DeleteObjects.
    entry: bool,
    tags: WriteConditions,
    /// In plaintext bytes.
    size: Option<u64>,
    last_modified: Option<String>,
}

/// The same in the backend's terms.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    tags: HeaderMap,
    /// In stored bytes.
    pub(super) size: Option<u64>,
    /// As the client wrote it: times are not changed by encryption.
    pub(super) last_modified: Option<String>,
}

impl Guard {
    /// Those of DeleteObject.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Self> {
        let text =
            |name: &HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or_default().trim().to_owned());
        let size = match text(&IF_MATCH_SIZE).map(|t| t.parse::<u64>()) {
            None => None,
            Some(Ok(size)) => Some(size),
            Some(Err(_)) => {
                return Err(Error::client(
                    Code::InvalidArgument,
                    "x-amz-if-match-size is not a number of bytes.",
                ));
            }
        };
        Ok(Self {
            entry: false,
            tags: WriteConditions::of(headers),
            size,
            last_modified: text(&IF_MATCH_TIME),
        })
    }

    /// Those of one entry of DeleteObjects.
    pub(super) fn of_entry(object: &ObjectToDelete) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(etag) = &object.etag {
            // A tag that is no header value matches no object: an empty list of tags says so.
            let value = HeaderValue::from_str(etag).unwrap_or(HeaderValue::from_static("\"\""));
            headers.insert(IF_MATCH, value);
        }
        Self {
            entry: true,
            tags: WriteConditions::of(&headers),
            size: object.size,
            last_modified: object.last_modified.clone(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.size.is_none() && self.last_modified.is_none()
    }

    /// Translates, and decides here what the backend may not decide: PreconditionFailed where it does not hold.
    pub(super) async fn settle(self, services: &Services, target: &Target<'_>) -> Result<Settled> {
        if self.is_empty() {
            return Ok(Settled::default());
        }
        let profile = target.backend.profile();
        let honoured = if self.entry { profile.delete_many_if_match } else { profile.delete_if_match };
        if !honoured && services.config.compat.strict_conditions {
            return Err(Error::client(
                Code::NotImplemented,
                "The storage behind the proxy ignores conditions on deletes, and the proxy is set to refuse them then.",
            ));
        }
        // Sizes and times are conditions of few backends; the others drop them in silence, and then the object.
        let ours = !honoured || self.size.is_some() || self.last_modified.is_some();
        let current = if ours || self.tags.need_current() { current(services, target).await? } else { None };
        if ours {
            self.decide(current.as_deref())?;
        }
        let mut tags = if honoured {
            self.tags.translate(
                current.as_ref().map(|info| Current { etag: &info.etag, backend_etag: &info.backend_etag }),
            )
        } else {
            HeaderMap::new()
        };
        // Size and time were held against this object. One that comes meanwhile stays; a version is no other one, ever.
        if let Some(info) = current.as_ref().filter(|_| ours && honoured && target.version.is_none()) {
            tags.insert(IF_MATCH, info::pin(&info.backend_etag)?);
        }
        // An object of that size was just found, or there is none: then any size fails.
        let stored = |size| current.as_ref().map_or_else(|| stored_size(size), |info| info.sealed_len);
        let size = self.size.filter(|_| honoured).map(stored);
        let last_modified = self.last_modified.filter(|_| honoured);
        Ok(Settled { tags, size, last_modified })
    }

    fn decide(&self, current: Option<&Info>) -> Result<()> {
        self.tags.decide(current.map(|info| info.etag.as_str()))?;
        let Some(info) = current else { return Ok(()) };
        if self.size.is_some_and(|size| size != info.plain_size) {
            return Err(failed("x-amz-if-match-size"));
        }
        let Some(asked) = &self.last_modified else { return Ok(()) };
        let asked = parse_time(asked).ok_or_else(|| {
            Error::client(
                Code::InvalidArgument,
                "The time in x-amz-if-match-last-modified-time or LastModifiedTime is neither an HTTP date nor ISO 8601.",
            )
        })?;
        match info.last_modified {
            Some(seen) if seconds(seen) == seconds(asked) => Ok(()),
            _ => Err(failed("x-amz-if-match-last-modified-time")),
        }
    }
}

impl Settled {
    /// Adds the conditions to a request's headers.
    pub(super) fn write_headers(self, out: &mut HeaderMap) -> Result<()> {
        out.extend(self.tags);
        if let Some(size) = self.size {
            out.insert(IF_MATCH_SIZE, HeaderValue::from(size));
        }
        if let Some(time) = self.last_modified {
            let value = HeaderValue::try_from(time).map_err(|_| {
                Error::client(Code::InvalidArgument, "x-amz-if-match-last-modified-time is no date.")
            })?;
            out.insert(IF_MATCH_TIME, value);
        }
        Ok(())
    }

    /// The tag for an entry of DeleteObjects.
    pub(super) fn etag(&self) -> Result<Option<String>> {
        debug_assert!(!self.tags.contains_key(IF_NONE_MATCH), "an entry has no such condition");
        let text = |value: &HeaderValue| {
            value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| Error::internal("a translated tag that is not text"))
        };
        self.tags.get(IF_MATCH).map(text).transpose()
    }
}

async fn current(services: &Services, target: &Target<'_>) -> Result<Option<std::sync::Arc<Info>>> {
    match info::lookup(services, target, Need::Footer).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.code().status() == StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stored size of a sealed object of `size` plaintext bytes; a size that none can have matches none.
fn stored_size(size: u64) -> u64 {
    if size <= MAX_PLAIN { sealed_len(size) } else { i64::MAX as u64 }
}

fn failed(condition: &str) -> Error {
    Error::client(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        .field("Condition", condition)
}

/// An HTTP date in a header, ISO 8601 in XML; either is taken in both.
fn parse_time(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    httpdate::parse_http_date(text)
        .ok()
        .or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_sizes_are_those_of_the_format() {
        assert_eq!(stored_size(0), 0);
        assert_eq!(stored_size(1), 529);
        assert_eq!(stored_size(u64::MAX), i64::MAX as u64);
    }

    #[test]
    fn both_spellings_of_time_are_read() {
        let http = parse_time("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        assert_eq!(parse_time("2015-10-21T07:28:00.000Z").unwrap(), http);
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn headers_are_read() {
        let mut headers = HeaderMap::new();
        assert!(Guard::of_headers(&headers).unwrap().is_empty());
        headers.insert(IF_MATCH_SIZE, HeaderValue::from_static("12"));
        let guard = Guard::of_headers(&headers).unwrap();
        assert_eq!(guard.size, Some(12));
        assert!(!guard.is_empty());
        for bad in ["", "-1", "1.5", "x"] {
            headers.insert(IF_MATCH_SIZE, HeaderValue::from_static(bad));
            assert_eq!(Guard::of_headers(&headers).unwrap_err().code(), &Code::InvalidArgument, "{bad}");
        }
    }
}
