//! Takes a request's body in: counts it, hashes it, compares it with everything the request declares, and hands it over
//! only if all of that holds. So a body that is short, long or other than declared is never stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt as _;
use http::{HeaderMap, header};
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use super::blob::{Draft, Finished};
use super::object::Checksum;

/// The checksums that can be declared.
const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// What a request says about its body.
#[derive(Debug)]
pub(super) struct Declared {
    length: u64,
    md5: Option<String>,
    /// Header name, and the value unless that comes in the trailer.
    checksum: Option<(&'static str, Option<String>)>,
    trailers: Option<TrailingHeaders>,
    keep_short: bool,
}

/// A whole body that is what its request declared.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) body: Finished,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Option<Checksum>,
}

impl Declared {
    /// Reads the declarations out of a request's headers.
    pub(super) fn new(
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
        keep_short: bool,
    ) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let length = text("x-amz-decoded-content-length").or_else(|| text(header::CONTENT_LENGTH.as_str()));
        let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
        let length = length.parse().map_err(|_| s3_error!(InvalidArgument, "The length is not a number"))?;
        let announced = text("x-amz-trailer").map(str::trim);
        let checksum = CHECKSUMS.into_iter().find_map(|name| match text(name) {
            Some(value) => Some((name, Some(value.to_owned()))),
            None => (announced == Some(name)).then_some((name, None)),
        });
        let md5 = text("content-md5").map(str::to_owned);
        Ok(Self { length, md5, checksum, trailers, keep_short })
    }

    /// What the store says of bytes that it copies itself.
    pub(super) fn copy_of(length: u64) -> Self {
        Self { length, md5: None, checksum: None, trailers: None, keep_short: false }
    }

    /// Writes `body` into `draft` and checks it.
    pub(super) async fn receive(self, mut draft: Draft, body: Option<StreamingBlob>) -> S3Result<Received> {
        let mut md5 = Md5::new();
        let mut hasher = self.checksum.as_ref().map(|(name, _)| hasher(name)).unwrap_or_default();
        let mut size = 0_u64;
        if let Some(mut body) = body {
            while let Some(piece) = body.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(_) if self.keep_short => break,
                    Err(error) => return Err(body_error(error)),
                };
                size += piece.len() as u64;
                if size > self.length {
                    return Err(s3_error!(IncompleteBody, "The body is longer than declared"));
                }
                md5.update(&piece);
                hasher.update(&piece);
                draft.write(&piece).await.map_err(S3Error::internal_error)?;
            }
        }
        let md5: [u8; 16] = md5.finalize().into();
        let mut checksum = None;
        if size != self.length && !self.keep_short {
            return Err(s3_error!(IncompleteBody));
        }
        if size == self.length {
            if self.md5.is_some_and(|declared| BASE64.decode(declared).ok().as_deref() != Some(&md5)) {
                return Err(s3_error!(
                    BadDigest,
                    "The Content-MD5 you specified did not match what we received"
                ));
            }
            checksum = compare(self.checksum, self.trailers.as_ref(), hasher)?;
        }
        let body = draft.finish().await.map_err(S3Error::internal_error)?;
        Ok(Received { body, size, md5, checksum })
    }
}

fn hasher(name: &str) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    match name {
        "x-amz-checksum-crc32" => hasher.crc32 = Some(Crc32::new()),
        "x-amz-checksum-crc32c" => hasher.crc32c = Some(Crc32c::new()),
        "x-amz-checksum-crc64nvme" => hasher.crc64nvme = Some(Crc64Nvme::new()),
        "x-amz-checksum-sha1" => hasher.sha1 = Some(Sha1::new()),
        _ => hasher.sha256 = Some(Sha256::new()),
    }
    hasher
}

fn compare(
    declared: Option<(&'static str, Option<String>)>,
    trailers: Option<&TrailingHeaders>,
    hasher: ChecksumHasher,
) -> S3Result<Option<Checksum>> {
    let Some((name, value)) = declared else { return Ok(None) };
    let value = value.or_else(|| {
        trailers.and_then(|trailers| {
            trailers.read(|map| map.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned))
        })?
    });
    let value = value.ok_or_else(|| s3_error!(IncompleteBody, "The announced trailer is missing"))?;
    let sums = hasher.finalize();
    let actual = sums
        .checksum_crc32
        .or(sums.checksum_crc32c)
        .or(sums.checksum_crc64nvme)
        .or(sums.checksum_sha1)
        .or(sums.checksum_sha256);
    if actual.as_ref() != Some(&value) {
        return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum"));
    }
    Ok(Some(Checksum { header: name.to_owned(), value }))
}

/// The `s3s` crate keeps the types of these errors to itself, so their text must tell them apart.
fn body_error(error: s3s::StdError) -> S3Error {
    let text = error.to_string();
    let code = if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else if text.contains("Sha256Mismatch") {
        S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into())
    } else {
        S3ErrorCode::IncompleteBody
    };
    let mut answer = S3Error::with_message(code, "The request body is not what its headers declare");
    if text.contains("Sha256Mismatch") {
        answer.set_status_code(http::StatusCode::BAD_REQUEST);
    }
    answer.set_source(error);
    answer
}
