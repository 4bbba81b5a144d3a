//! CopyObject and UploadPartCopy's source: bytes are shared, and nothing moves.

use std::ops::Range;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::object::{Pieces, now_rfc3339, shown};
use super::rope::Rope;
use super::store::{Object, Store};
use super::{Refusal, xml_answer};

pub(super) const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const INVALID: Refusal = (StatusCode::BAD_REQUEST, "InvalidArgument");

/// The source that a request names, if its conditions hold.
pub(super) fn source(store: &Store, headers: &HeaderMap) -> Result<Arc<Object>, Refusal> {
    let named = headers.get(SOURCE).and_then(|value| value.to_str().ok()).ok_or(INVALID)?;
    let named = percent_decode_str(named).decode_utf8_lossy();
    let (bucket, key) = named.trim_start_matches('/').split_once('/').ok_or(INVALID)?;
    let object = store.find(bucket, key)?;
    let is_it = |tag: &HeaderValue| *tag == "*" || *tag == object.etag;
    let wanted = headers.get("x-amz-copy-source-if-match").is_none_or(is_it);
    let unwanted = headers.get("x-amz-copy-source-if-none-match").is_some_and(is_it);
    match wanted && !unwanted {
        true => Ok(object),
        false => Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed")),
    }
}

/// The bytes of it that a part takes.
pub(super) fn part(source: &Object, headers: &HeaderMap) -> Result<Rope, Refusal> {
    let Some(range) = headers.get("x-amz-copy-source-range") else { return Ok(source.body.clone()) };
    let range = range.to_str().ok().and_then(|text| {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let range: Range<u64> = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
        (!range.is_empty() && range.end <= source.body.size()).then_some(range)
    });
    range.map(|range| source.body.slice(&range)).ok_or(INVALID)
}

pub(super) fn copy(
    store: &Store,
    bucket: &str,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response<Pieces>, Refusal> {
    let source = source(store, headers)?;
    let etag = store.etag();
    let replace = headers.get("x-amz-metadata-directive").is_some_and(|directive| directive == "REPLACE");
    let kept = shown(if replace { headers } else { &source.headers }, &etag);
    let object =
        Object { body: source.body.clone(), headers: kept, modified: now_rfc3339(), etag: etag.clone() };
    store.insert(bucket, key, object, headers)?;
    Ok(answer("CopyObjectResult", &etag))
}

/// What either kind of copy answers.
pub(super) fn answer(element: &str, etag: &HeaderValue) -> Response<Pieces> {
    let (etag, modified) = (etag.to_str().unwrap_or_default(), now_rfc3339());
    let xml = format!("<{element}><LastModified>{modified}</LastModified><ETag>{etag}</ETag></{element}>");
    xml_answer(StatusCode::OK, xml)
}
