//! Copies of more stored bytes than the backend copies at once: as a multipart upload of its own, whose parts are ranges of
//! the ciphertext. The envelope goes with the upload; the bytes come out as they were.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_format::Envelope;

use super::rewrap::{Copied, Rewrap};
use crate::backend::{Names, error_from};
use crate::body;
use crate::error::{Error, Result};
use crate::info;
use crate::ops::late;
use crate::ops::source::pins;
use crate::plan::multipart::MAX_PART_NUMBER;
use crate::s3::etag;
use crate::s3::name::encode_component;
use crate::s3::xml::{first_text, parse_backend_copy, parse_initiated, parse_tags, render_complete};

const RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");
const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");
const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
const SOURCE_VERSION: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");
/// Parts as large as this where the backend takes them: fewer requests, and none that takes very long.
const PART: u64 = 1 << 30;
/// Parts that the backend copies at a time.
const AT_ONCE: usize = 4;
const MAX_TAGS: usize = 1 << 20;

/// Makes the copy under `envelope`.
pub(super) async fn copy(of: &Rewrap<'_>, envelope: &Envelope) -> Result<Copied> {
    let target = &of.destination;
    let mut out = target.outgoing(Method::POST).flag("uploads");
    out.headers.extend(headers(of).await?);
    body::carry_envelope(envelope, &mut out)?;
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    let (_, document) = late::document(response, &target.names()).await?;
    let id = parse_initiated(&document)?;
    match Box::pin(fill(of, &id)).await {
        Ok(copied) => Ok(copied),
        Err(error) => {
            abort(of, &id).await;
            Err(error)
        }
    }
}

/// An upload takes neither directive: tags that are to be copied are read and said.
async fn headers(of: &Rewrap<'_>) -> Result<HeaderMap> {
    let mut headers = of.headers.clone();
    headers.remove(METADATA_DIRECTIVE);
    let copied = headers.remove(TAGGING_DIRECTIVE).is_some_and(|value| value == "COPY");
    let none = of.found.headers.get(TAGGING_COUNT).is_none_or(|count| count == "0");
    if copied && !none {
        headers.insert(TAGGING, tags(of).await?);
    }
    Ok(headers)
}

async fn tags(of: &Rewrap<'_>) -> Result<HeaderValue> {
    let out = of.source.outgoing(Method::GET).flag("tagging");
    let response = of.source.backend.call(of.source.caller, out, Bytes::new()).await?;
    if !response.is_success() {
        return Err(error_from(response, &of.source.names()).await);
    }
    let tags = parse_tags(&response.body.collect(MAX_TAGS).await?)?;
    let pair = |(name, value): &(String, String)| {
        format!("{}={}", encode_component(name.as_bytes()), encode_component(value.as_bytes()))
    };
    let text = tags.iter().map(pair).collect::<Vec<_>>().join("&");
    HeaderValue::try_from(text).map_err(|_| Error::internal("encoded tags are no header value"))
}

/// Copies every range and has the backend put them together.
async fn fill(of: &Rewrap<'_>, id: &str) -> Result<Copied> {
    let target = &of.destination;
    let total = of.found.info.sealed_len;
    let pins = pins(&of.source, &of.found.info)?;
    let parts = stream::iter((1_u16..).zip(cut(total, target.backend.config().limits.put)))
        .map(|(number, range)| part(of, id, &pins, number, range))
        .buffered(AT_ONCE);
    let parts: Vec<(u16, String, Option<HeaderValue>)> = parts.try_collect().await?;
    let source_version = parts.iter().find_map(|(_, _, version)| version.clone());
    let document = Bytes::from(render_complete(parts.iter().map(|(n, etag, _)| (*n, etag.as_str()))));
    let mut out = target.outgoing(Method::POST).param("uploadId", id);
    out.headers.extend(of.conditions.clone());
    out.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let response = target.backend.call(target.caller, out, document).await?;
    let names = Names { bucket: Some(target.bucket), key: Some(target.key) };
    let (mut headers, document) = late::document(response, &names).await?;
    if let Some(version) = source_version {
        headers.insert(SOURCE_VERSION, version);
    }
    let unreadable = || info::unexpected("an answer to CompleteMultipartUpload that tells nothing");
    let tag = first_text(&document, "ETag").map_err(|_| unreadable())?.unwrap_or_default();
    let backend_etag = etag::unquote(&tag).to_owned();
    if backend_etag.is_empty() {
        Err(unreadable())
    } else {
        Ok(Copied { headers, backend_etag, last_modified: None })
    }
}

async fn part(
    of: &Rewrap<'_>,
    id: &str,
    pins: &HeaderMap,
    number: u16,
    range: Range<u64>,
) -> Result<(u16, String, Option<HeaderValue>)> {
    let target = &of.destination;
    let mut out = target.outgoing(Method::PUT).param("partNumber", number.to_string()).param("uploadId", id);
    out.headers.extend(pins.clone());
    let value = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end - 1));
    out.headers.insert(RANGE, value.map_err(|_| Error::internal("digits are a header value"))?);
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    let (headers, document) = late::document(response, &of.names()).await?;
    let copy = parse_backend_copy(&document)?;
    Ok((number, copy.etag, headers.get(SOURCE_VERSION).cloned()))
}

/// Ranges of a body of `total` bytes: as few as the backend's limit allows, of one size but the last.
fn cut(total: u64, limit: u64) -> impl Iterator<Item = Range<u64>> {
    let size = PART.max(total.div_ceil(u64::from(MAX_PART_NUMBER))).min(limit).max(1);
    (0..total.div_ceil(size)).map(move |i| i * size..((i + 1) * size).min(total))
}

async fn abort(of: &Rewrap<'_>, id: &str) {
    let target = &of.destination;
    let out = target.outgoing(Method::DELETE).param("uploadId", id);
    if let Err(error) = target.backend.call(target.caller, out, Bytes::new()).await {
        tracing::warn!(%error, "the upload of a copy that came to nothing stays on the backend");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_once() {
        const MIB: u64 = 1 << 20;
        for (total, limit, count) in [
            (1, 6 * MIB, 1),
            (6 * MIB, 6 * MIB, 1),
            (6 * MIB + 1, 6 * MIB, 2),
            (20 * MIB, 6 * MIB, 4),
            (PART * 6, 5 << 30, 6),
            (50 << 40, 6 << 30, 10_000),
        ] {
            let ranges: Vec<_> = cut(total, limit).collect();
            assert_eq!(ranges.len(), count, "{total}");
            assert!(ranges.iter().all(|range| !range.is_empty() && range.end - range.start <= limit));
            assert_eq!(ranges.first().unwrap().start, 0);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(ranges.last().unwrap().end, total);
        }
    }
}
