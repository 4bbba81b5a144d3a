//! Reads object info: a GET of the object's last bytes, whose answer carries headers, envelope and trailer alike.
//! Whatever the backend says is checked before it is believed.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, LAST_MODIFIED, ORIGIN, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_format::length::{plain_len, sealed_len, total_len};
use object_format::{
    Envelope, Kind, ObjectName, ObjectSecrets, Trailer, TrailerRead, has_magic, open_trailer,
};

use super::open::{Opens, etag_policy, open_envelope, without_key};
use super::{EMPTY_MD5, Info, Nature, shown_etag};
use crate::backend::{Backend, Caller, Names, Outgoing, Response, error_from};
use crate::config::{BucketRule, Unencrypted};
use crate::error::{Code, Error, Result};
use crate::plan::customer::CustomerKeyHeaders;
use crate::s3::etag;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::query::Query;
use crate::services::Services;

/// Headers of a client that go along with reads.
const CARRIED: [HeaderName; 3] = [
    ORIGIN,
    HeaderName::from_static("x-amz-expected-bucket-owner"),
    HeaderName::from_static("x-amz-request-payer"),
];
/// Answers to these reads are bounded by what was asked for, and an error document.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// One stored object, as one caller reaches it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where it is stored.
    pub backend: &'a Backend,
    /// Under whose keys.
    pub caller: &'a Caller,
    /// The bucket's rule.
    pub rule: &'a BucketRule,
    /// Its bucket.
    pub bucket: &'a BucketName,
    /// Its key.
    pub key: &'a ObjectKey,
    /// A version, or the latest.
    pub version: Option<&'a str>,
    /// Headers of the client, some of which every read on its behalf carries.
    pub carried: Option<&'a HeaderMap>,
    /// What its envelope may be opened with.
    pub opens: Opens<'a>,
}

impl<'a> Target<'a> {
    /// What the object is bound to.
    pub fn binding(&self) -> &'a str {
        self.rule.binding.as_deref().unwrap_or(self.bucket.as_str())
    }

    /// The object's name as the format binds it.
    pub fn object_name(&self) -> ObjectName<'a> {
        ObjectName { binding: self.binding(), key: self.key.as_bytes() }
    }

    /// The same on behalf of a client's request: the backend has its CORS rules, and decides whose bucket it has to be
    /// and who pays.
    #[must_use]
    pub fn carrying(mut self, headers: &'a HeaderMap) -> Self {
        self.carried = Some(headers);
        self
    }

    /// The same for a client that reads it, with the customer's key that it sent, if any.
    #[must_use]
    pub fn opening_with(mut self, customer: Option<&'a CustomerKeyHeaders>) -> Self {
        self.opens = Opens::Client(customer);
        self
    }

    /// What an answer shows of the customer's key that opened the object.
    pub fn show_customer_key(&self, out: &mut HeaderMap) {
        if let Opens::Client(Some(customer)) = self.opens {
            customer.response_headers(out);
        }
    }

    /// A backend request for this object.
    pub fn outgoing(&self, method: Method) -> Outgoing {
        let mut query = Query::default();
        if let Some(version) = self.version {
            query.push("versionId", version);
        }
        let carried = |name: &HeaderName| Some((name.clone(), self.carried?.get(name)?.clone()));
        Outgoing {
            method,
            bucket: Some(self.bucket.clone()),
            key: Some(self.key.clone()),
            query,
            headers: CARRIED.iter().filter_map(carried).collect(),
        }
    }

    /// Names for rebuilt errors.
    pub fn names(&self) -> Names<'a> {
        Names { bucket: Some(self.bucket), key: Some(self.key) }
    }
}

/// How much of the object's end is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// The footer: HEAD and listings.
    Footer,
    /// The last 64 KiB: a GET, which then has small objects whole.
    Tail,
}

impl Need {
    fn bytes(self) -> u64 {
        match self {
            Self::Footer => 512,
            Self::Tail => 65_536,
        }
    }
}

/// What one read found.
pub struct Found {
    /// The info.
    pub info: Arc<Info>,
    /// The backend's headers in that very answer.
    pub headers: HeaderMap,
    /// The opened envelope of that very answer, for sealed objects.
    pub opened: Option<(Envelope, ObjectSecrets)>,
    /// The object's last bytes; all of them where `tail.len()` is `info.sealed_len`.
    pub tail: Bytes,
}

/// Fresh info for listings and conditions, which need no customer's key: under one, an object shows by arithmetic.
pub async fn lookup(services: &Services, target: &Target<'_>, need: Need) -> Result<Arc<Info>> {
    let target = Target { opens: Opens::Facts, ..*target };
    Ok(read(services, &target, need).await?.info)
}

/// Reads info afresh and remembers it.
pub async fn read(services: &Services, target: &Target<'_>, need: Need) -> Result<Found> {
    match tail_of(target, need.bytes()).await? {
        End::Read(tail) => of_tail(services, target, tail).await,
        other => head_only(services, target, need, other).await,
    }
}

/// Info from an object's last bytes.
async fn of_tail(services: &Services, target: &Target<'_>, tail: Tail) -> Result<Found> {
    let Tail { headers, total, bytes } = tail;
    let backend_etag = backend_etag(&headers)?;
    if let Some(info) = without_key(services, target, &headers, total, &backend_etag)? {
        return Ok(Found { info, headers, opened: None, tail: bytes });
    }
    let opened = open_envelope(services, target, &headers).await?;
    let (nature, plain_size, shown) = match &opened {
        None => {
            let (nature, shown) = unsealed(target, total, &bytes, &headers, &backend_etag)?;
            (nature, total, shown)
        }
        Some((envelope, secrets)) => {
            let trailer = sealed_trailer(target, envelope, secrets, &bytes, total, &backend_etag).await?;
            let plain_size = match (&trailer, secrets.single_size()) {
                (Some(trailer), _) => trailer.plain_size,
                (None, Some(size)) => size,
                (None, None) => return Err(Error::tampered("a multipart object without a body")),
            };
            let fact = trailer.as_ref().map(|t| &t.facts.etag);
            let shown = shown_etag(etag_policy(target.rule, envelope), fact, plain_size, &backend_etag);
            let nature =
                Nature::Sealed { commitment: *envelope.commitment(), trailer: trailer.map(Arc::new) };
            (nature, plain_size, shown)
        }
    };
    let info = Arc::new(Info {
        nature,
        plain_size,
        sealed_len: total,
        etag: shown,
        backend_etag,
        last_modified: last_modified(&headers),
        whole: true,
    });
    services.info.put(target.bucket, target.key, target.version, info.clone());
    Ok(Found { info, headers, opened, tail: bytes })
}

/// The checked trailer of a sealed object; `None` for an empty single PUT.
async fn sealed_trailer(
    target: &Target<'_>,
    envelope: &Envelope,
    secrets: &ObjectSecrets,
    tail: &Bytes,
    total: u64,
    backend_etag: &str,
) -> Result<Option<Trailer>> {
    if let Some(size) = secrets.single_size() {
        if total != sealed_len(size) {
            return Err(Error::tampered(format!("{total} stored bytes for {size} bytes of plaintext")));
        }
        if size == 0 {
            return Ok(None);
        }
    }
    let opened = |e| Error::tampered(format!("trailer: {e}"));
    let trailer = match open_trailer(secrets, tail, total).map_err(opened)? {
        TrailerRead::Ready(trailer) => trailer,
        TrailerRead::NeedMore { tail_bytes } => {
            let more = pinned_tail(target, tail_bytes, total, backend_etag).await?;
            match open_trailer(secrets, &more, total).map_err(opened)? {
                TrailerRead::Ready(trailer) => trailer,
                TrailerRead::NeedMore { .. } => return Err(Error::tampered("a trailer that grows")),
            }
        }
    };
    let single = envelope.header().kind == Kind::Single;
    if single != (trailer.kind == Kind::Single) || total != total_len(trailer.kind, trailer.plain_size) {
        return Err(Error::tampered("a trailer of another object"));
    }
    Ok(Some(trailer))
}

/// What an object without an envelope is, and the ETag it shows.
fn unsealed(
    target: &Target<'_>,
    total: u64,
    tail: &Bytes,
    headers: &HeaderMap,
    backend_etag: &str,
) -> Result<(Nature, String)> {
    if total == 0 && target.key.is_directory_marker() {
        return Ok((Nature::Marker, EMPTY_MD5.to_owned()));
    }
    if has_magic(tail) {
        return Err(Error::tampered("a sealed object whose envelope is gone"));
    }
    let allowed = match target.rule.unencrypted_objects {
        Unencrypted::Reject => false,
        Unencrypted::Pass { before: None } => true,
        Unencrypted::Pass { before: Some(before) } => {
            last_modified(headers).is_some_and(|seen| seen < SystemTime::from(before))
        }
    };
    if !allowed {
        return Err(Error::client(
            Code::AccessDenied,
            "The object is not encrypted, and this bucket serves encrypted objects only. \
             To serve it, set `unencrypted_objects: pass` for the bucket in the proxy's config.yaml.",
        ));
    }
    Ok((Nature::Plain, backend_etag.to_owned()))
}

/// For objects whose last bytes were not had: empty, archived, or a suffix range was refused that should not be.
async fn head_only(services: &Services, target: &Target<'_>, need: Need, why: End) -> Result<Found> {
    let response = target.backend.call(target.caller, target.outgoing(Method::HEAD), Bytes::new()).await?;
    if response.status != StatusCode::OK {
        return Err(error_from(response, &target.names()).await);
    }
    let headers = response.headers;
    let total = content_length(&headers)?;
    if total > 0 && matches!(why, End::Unsatisfiable) {
        // Without its end an object shows another ETag, and one that lost its envelope cannot be told.
        return match ranged_tail(target, total, need.bytes()).await? {
            End::Read(tail) => of_tail(services, target, tail).await,
            _ => Err(unexpected("no range of an object that has bytes")),
        };
    }
    let backend_etag = backend_etag(&headers)?;
    if let Some(info) = without_key(services, target, &headers, total, &backend_etag)? {
        return Ok(Found { info, headers, opened: None, tail: Bytes::new() });
    }
    let opened = open_envelope(services, target, &headers).await?;
    let (nature, plain_size, shown, whole) = match &opened {
        None if total == 0 => {
            let (nature, shown) = unsealed(target, 0, &Bytes::new(), &headers, &backend_etag)?;
            (nature, 0, shown, true)
        }
        None => {
            let (nature, shown) = unsealed(target, total, &Bytes::new(), &headers, &backend_etag)?;
            (nature, total, shown, false)
        }
        Some((envelope, secrets)) => {
            let plain_size = match secrets.single_size() {
                Some(size) if sealed_len(size) == total => size,
                Some(_) => return Err(Error::tampered("stored length against the envelope")),
                None => plain_len(total)
                    .filter(|size| *size > 0)
                    .ok_or_else(|| Error::tampered("a multipart object of no possible length"))?,
            };
            let shown = if plain_size == 0 {
                shown_etag(etag_policy(target.rule, envelope), None, 0, &backend_etag)
            } else {
                etag::opaque(&backend_etag)
            };
            let nature = Nature::Sealed { commitment: *envelope.commitment(), trailer: None };
            (nature, plain_size, shown, plain_size == 0)
        }
    };
    let last_modified = last_modified(&headers);
    let info = Arc::new(Info {
        nature,
        plain_size,
        sealed_len: total,
        etag: shown,
        backend_etag,
        last_modified,
        whole,
    });
    if whole {
        services.info.put(target.bucket, target.key, target.version, info.clone());
    }
    Ok(Found { info, headers, opened, tail: Bytes::new() })
}

struct Tail {
    headers: HeaderMap,
    total: u64,
    bytes: Bytes,
}

/// What a look at an object's end came to.
enum End {
    Read(Tail),
    /// 416: the object is empty, or the backend does not take this form of range.
    Unsatisfiable,
    /// Only a HEAD can tell.
    Archived,
}

/// The last `want` bytes with the headers of that answer.
async fn tail_of(target: &Target<'_>, want: u64) -> Result<End> {
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
    ranged_tail(target, content_length(&head.headers)?, want).await
}

/// The last `want` bytes of an object of `total`.
async fn ranged_tail(target: &Target<'_>, total: u64, want: u64) -> Result<End> {
    if total == 0 {
        return Ok(End::Unsatisfiable);
    }
    let mut out = target.outgoing(Method::GET);
    out.headers.insert(RANGE, range_value(format!("bytes={}-{}", total.saturating_sub(want), total - 1)));
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    checked_tail(target, response, want).await
}

async fn checked_tail(target: &Target<'_>, response: Response, want: u64) -> Result<End> {
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(End::Unsatisfiable),
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
async fn pinned_tail(target: &Target<'_>, want: u64, total: u64, backend_etag: &str) -> Result<Bytes> {
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
    Error::backend(Code::SlowDown, "The object is being replaced. Please try again.")
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
