//! What answers to reads show beside the bytes: the headers of a 200 or 206, of a 304, and of an answer about an object.

use http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, RANGE};
use http::{HeaderMap, HeaderValue};
use object_format::Envelope;

use crate::error::{Code, Error, Result};
use crate::exchange::Head;
use crate::info::{Info, Target};
use crate::plan::answer;
use crate::plan::checksum::ShownChecksum;
use crate::plan::read::ReadBytes;
use crate::plan::sse;
use crate::s3::S3Request;

/// The answer that an object is as the client has it.
pub(in crate::ops) fn not_modified(info: &Info, backend: &HeaderMap) -> Error {
    let mut error = Error::client(Code::NotModified, "Not Modified");
    if let Ok(value) = answer::quoted(&info.etag) {
        error = error.header(ETAG, value);
    }
    const SHOWN: [&str; 5] = ["last-modified", "cache-control", "expires", "vary", "x-amz-version-id"];
    for (name, value) in backend {
        if SHOWN.contains(&name.as_str()) || name.as_str().starts_with("access-control-") {
            error = error.header(name.clone(), value.clone());
        }
    }
    error
}

/// Headers of a 200 or 206: what the backend may say, and what is ours to say.
pub(super) fn answer_head(
    request: &S3Request,
    target: &Target<'_>,
    info: &Info,
    bytes: &ReadBytes,
    backend: &HeaderMap,
    envelope: Option<&Envelope>,
) -> Result<Head> {
    let mut out = answer::from_backend(backend);
    answer::apply_overrides(&request.query, &mut out)?;
    out.insert(ETAG, answer::quoted(&info.etag)?);
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(range) = bytes.content_range(info.plain_size) {
        out.insert(CONTENT_RANGE, range);
    }
    if let Some(count) = bytes.parts_count {
        out.insert("x-amz-mp-parts-count", HeaderValue::from(count));
    }
    if let Some(envelope) = envelope {
        sse::sealed_headers(envelope.header(), &mut out);
        target.show_customer_key(&mut out);
    }
    let asks = request
        .headers
        .get("x-amz-checksum-mode")
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"ENABLED"));
    // None on a range, since SDKs would compare it with the bytes that they got.
    if asks && !request.headers.contains_key(RANGE) {
        let checksum = match bytes.part {
            Some(part) => info
                .trailer()
                .and_then(|trailer| trailer.parts.get(part))
                .and_then(|part| ShownChecksum::of_part(info, part)),
            None => ShownChecksum::of_object(info),
        };
        if let Some(checksum) = checksum {
            checksum.headers(&mut out);
        }
    }
    Ok(Head { status: bytes.status(), headers: out })
}
