//! A client's request body as verified plaintext: framing taken off, every promise of the client checked. Pieces come
//! out before the last promise can be checked, so whoever stores them holds the last ones back until `finish`.

use std::collections::VecDeque;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue};
use subtle::ConstantTimeEq;

use super::digest::Md5Digest;
use crate::auth::{PayloadCheck, Verified};
use crate::error::{Code, Error, Result};
use crate::exchange::Exchange;
use crate::s3::S3Request;
use crate::s3::checksum::{ChecksumAlgorithm, Declared, Hasher};
use crate::s3::chunked::ChunkedDecoder;
use crate::s3::operation::Operation;

/// What is to be learned from a body while it passes, beyond what the client promised.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learn {
    /// The MD5, for an ETag.
    pub md5: bool,
    /// A CRC64NVME where the client sent no checksum, as S3 computes.
    pub checksum: bool,
    /// A checksum that is needed beside the one that the client sent.
    pub also: Option<ChecksumAlgorithm>,
}

/// What a whole body turned out to be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BodyFacts {
    /// MD5 of the plaintext, where asked for or promised.
    pub md5: Option<[u8; 16]>,
    /// Checksum of the plaintext: the client's algorithm, or CRC64NVME.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// The other checksum that was asked for, under [`Learn::also`], where it is not the same.
    pub also: Option<Vec<u8>>,
}

impl BodyFacts {
    /// The client's checksum, or the one that stands in for none, as answers show it.
    pub fn checksum_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (algorithm, value) = self.checksum.as_ref()?;
        let value = HeaderValue::from_str(&ChecksumAlgorithm::format_value(value)).ok()?;
        Some((algorithm.header_name(), value))
    }

    /// The checksum under `algorithm`, if it was learned.
    pub fn checksum_of(&self, algorithm: ChecksumAlgorithm) -> Option<&[u8]> {
        match &self.checksum {
            Some((known, value)) if *known == algorithm => Some(value),
            _ => self.also.as_deref(),
        }
    }
}

/// One request body on its way in.
pub struct Incoming {
    length: u64,
    seen: u64,
    decoder: Option<ChunkedDecoder>,
    ready: VecDeque<Bytes>,
    payload: Option<(Context, [u8; 32])>,
    md5: Option<Md5Digest>,
    content_md5: Option<[u8; 16]>,
    declared: Option<Declared>,
    algorithm: Option<ChecksumAlgorithm>,
    hasher: Option<Hasher>,
    also: Option<Hasher>,
    ended: bool,
}

/// Plaintext length that a request declares: `x-amz-decoded-content-length`, else `Content-Length`. `None` where it
/// declares none (a chunked transfer without the first).
pub fn declared_length(request: &S3Request) -> Result<Option<u64>> {
    let name = if request.headers.contains_key("x-amz-decoded-content-length") {
        "x-amz-decoded-content-length"
    } else {
        CONTENT_LENGTH.as_str()
    };
    let Some(value) = request.headers.get(name) else {
        return Ok(if request.headers.contains_key("transfer-encoding") { None } else { Some(0) });
    };
    let digits = value.to_str().ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|v| v.parse().ok()).map(Some).ok_or_else(|| {
        Error::client(Code::InvalidArgument, format!("The value of {name} is not a number of bytes."))
    })
}

/// The same for operations that store a body: a length is a must.
pub fn required_length(request: &S3Request) -> Result<u64> {
    let absent =
        || Error::client(Code::MissingContentLength, "You must provide the Content-Length HTTP header.");
    let bare = !request.headers.contains_key(CONTENT_LENGTH)
        && !request.headers.contains_key("x-amz-decoded-content-length");
    if bare { Err(absent()) } else { declared_length(request)?.ok_or_else(absent) }
}

impl Incoming {
    /// Reads the promises in the headers; nothing of the body is read yet.
    pub fn new(request: &Verified<S3Request>, length: u64, learn: Learn) -> Result<Self> {
        let content_md5 = content_md5(request)?;
        // There the checksum headers are those of the object, and not of the list of its parts.
        let declared = match request.operation {
            Operation::CompleteMultipartUpload => None,
            _ => Declared::of(&request.headers)?,
        };
        let decoder = ChunkedDecoder::for_request(request)?;
        let payload = match request.payload() {
            PayloadCheck::Sha256(expected) => Some((Context::new(&SHA256), *expected)),
            _ => None,
        };
        let algorithm = declared
            .as_ref()
            .map(|d| d.algorithm)
            .or(learn.also)
            .or(learn.checksum.then_some(ChecksumAlgorithm::Crc64Nvme));
        Ok(Self {
            length,
            seen: 0,
            decoder,
            ready: VecDeque::new(),
            payload,
            md5: (learn.md5 || content_md5.is_some()).then(|| Md5Digest::new(length)),
            content_md5,
            declared,
            algorithm,
            hasher: algorithm.map(Hasher::new),
            also: learn.also.filter(|also| Some(*also) != algorithm).map(Hasher::new),
            ended: false,
        })
    }

    /// Next plaintext bytes, `None` at the end of the body. What came out is not yet verified.
    pub async fn next(&mut self, exchange: &mut dyn Exchange) -> Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                self.digest(&piece).await?;
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            match exchange.read_body().await? {
                None => self.ended = true,
                Some(wire) => match &mut self.decoder {
                    None => self.ready.push_back(wire),
                    Some(decoder) => {
                        let ready = &mut self.ready;
                        decoder.push(wire, &mut |piece| ready.push_back(piece))?;
                    }
                },
            }
        }
    }

    async fn digest(&mut self, piece: &Bytes) -> Result<()> {
        self.seen += piece.len() as u64;
        if self.seen > self.length {
            return Err(wrong_length(self.length, self.seen));
        }
        if let Some((sha, _)) = &mut self.payload {
            sha.update(piece);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        if let Some(also) = &mut self.also {
            also.update(piece);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(piece).await;
        }
        Ok(())
    }

    /// Checks every promise against the whole body. To be called after [`Self::next`] said `None`.
    pub async fn finish(self) -> Result<BodyFacts> {
        if !self.ended || self.seen != self.length {
            return Err(wrong_length(self.length, self.seen));
        }
        let trailers = self.decoder.map(ChunkedDecoder::finish).transpose()?;
        if let Some((sha, expected)) = self.payload
            && !bool::from(sha.finish().as_ref().ct_eq(&expected))
        {
            return Err(Error::client(
                Code::XAmzContentSha256Mismatch,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let md5 = match self.md5 {
            Some(md5) => {
                Some(md5.finish().await.ok_or_else(|| Error::internal("the MD5 helper thread died"))?)
            }
            None => None,
        };
        if self.content_md5.is_some() && self.content_md5 != md5 {
            return Err(Error::client(
                Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let algorithm = self.algorithm;
        let checksum = algorithm.zip(self.hasher.map(Hasher::finish));
        if let (Some(declared), Some((algorithm, computed))) = (&self.declared, &checksum) {
            let trailer = trailers.as_ref().and_then(|t| t.get(algorithm.header_name().as_str()));
            declared.check(trailer, computed)?;
        }
        Ok(BodyFacts { md5, checksum, also: self.also.map(Hasher::finish) })
    }
}

/// Reads and verifies a whole body of at most `limit` bytes: XML and JSON documents of bucket operations.
pub async fn collect(
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
    limit: usize,
) -> Result<Bytes> {
    let length = declared_length(request)?.ok_or_else(|| {
        Error::client(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
    })?;
    if length > limit as u64 {
        return Err(Error::client(
            Code::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size for this operation.",
        )
        .field("ProposedSize", length.to_string())
        .field("MaxSizeAllowed", limit.to_string()));
    }
    let mut incoming = Incoming::new(request, length, Learn::default())?;
    exchange.send_continue().await?;
    let mut body = BytesMut::new();
    while let Some(piece) = incoming.next(exchange).await? {
        body.extend_from_slice(&piece);
    }
    incoming.finish().await?;
    Ok(body.freeze())
}

fn content_md5(request: &S3Request) -> Result<Option<[u8; 16]>> {
    use base64::Engine;
    let Some(value) = request.headers.get("content-md5") else { return Ok(None) };
    base64::engine::general_purpose::STANDARD
        .decode(value.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Some)
        .ok_or_else(|| Error::client(Code::InvalidDigest, "The Content-MD5 you specified is not valid."))
}

fn wrong_length(declared: u64, seen: u64) -> Error {
    Error::client(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
    .because(format!("declared {declared} plaintext bytes, got {seen}"))
}
