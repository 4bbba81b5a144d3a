//! Copies as a multipart upload of their own, whose parts are ranges of the ciphertext. The envelope goes with the upload; the
//! bytes come out as they were.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_format::Envelope;

use super::rewrap::{Copied, Rewrap};
use crate::error::{Error, Result};
use crate::info;
use crate::ops::late;
use crate::ops::multipart::behind;
use crate::ops::multipart::own::OwnUpload;
use crate::ops::source::pins;
use crate::ops::tags::say_tags;
use crate::plan::multipart::MAX_PART_NUMBER;
use crate::s3::xml::parse_backend_copy;

const RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
const SOURCE_VERSION: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");
/// Parts as large as this where the backend takes them: fewer requests, and none that takes very long.
const PART: u64 = 1 << 30;
/// Parts that the backend copies at a time.
const AT_ONCE: usize = 4;

/// Makes the copy under `envelope`.
pub(super) async fn copy(of: &Rewrap<'_>, envelope: &Envelope) -> Result<Copied> {
    let target = &of.destination;
    let mut all = target.outgoing(Method::POST).headers;
    all.extend(headers(of).await?);
    let (id, _) = behind::begin_under(target, all, envelope).await?;
    let own = OwnUpload::on_record(of.services, target, id).await?;
    Box::pin(own.carry(fill(of, own.id()))).await
}

/// What is no copy takes neither directive.
pub(super) async fn headers(of: &Rewrap<'_>) -> Result<HeaderMap> {
    let mut headers = of.headers.clone();
    headers.remove(METADATA_DIRECTIVE);
    say_tags(&mut headers, &of.source, &of.found.headers).await?;
    Ok(headers)
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
    let parts: Vec<(u16, String)> = parts.into_iter().map(|(number, etag, _)| (number, etag)).collect();
    if of.replaces_its_source() {
        info::check_unchanged(&of.source, of.found).await?;
    }
    let (mut headers, backend_etag) = behind::complete(target, id, &parts, of.conditions.clone()).await?;
    if let Some(version) = source_version {
        headers.insert(SOURCE_VERSION, version);
    }
    Ok(Copied { headers, backend_etag, last_modified: None })
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
    // S3 takes no range of an object below 5 MiB.
    if range.end - range.start < of.found.info.sealed_len {
        let value = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end - 1));
        out.headers.insert(RANGE, value.map_err(|_| Error::internal("digits are a header value"))?);
    }
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
