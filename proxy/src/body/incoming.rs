//! A client's request body as verified plaintext: framing taken off, every promise of the client checked. Pieces come
//! out before the last promise can be checked, so whoever stores them holds the last ones back until `finish`.

use std::collections::VecDeque;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use subtle::ConstantTimeEq;

use super::learn::{BodyFacts, Digests, Learn};
use crate::auth::{PayloadCheck, Verified};
use crate::error::{Code, Error, Result};
use crate::exchange::Exchange;
use crate::s3::S3Request;
use crate::s3::checksum::Declared;
use crate::s3::chunked::ChunkedDecoder;
use crate::s3::operation::Operation;
use crate::s3::query::number;

/// One request body on its way in.
pub struct Incoming {
    length: u64,
    seen: u64,
    decoder: Option<ChunkedDecoder>,
    ready: VecDeque<Bytes>,
    payload: Option<(Context, [u8; 32])>,
    content_md5: Option<[u8; 16]>,
    declared: Option<Declared>,
    digests: Digests,
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
    value.to_str().ok().and_then(number).map(Some).ok_or_else(|| {
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
        let promised = declared.as_ref().map(|d| d.algorithm);
        let digests = Digests::new(learn, length, promised, content_md5.is_some());
        Ok(Self {
            length,
            seen: 0,
            decoder,
            ready: VecDeque::new(),
            payload,
            content_md5,
            declared,
            digests,
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
        self.digests.update(piece).await;
        Ok(())
    }

    /// Checks every promise against the whole body. To be called after [`Self::next`] said `None`.
    pub async fn finish(self) -> Result<BodyFacts> {
        if !self.ended || self.seen != self.length {
            return Err(wrong_length(self.length, self.seen));
        }
        let trailers = self.decoder.map(ChunkedDecoder::finish).transpose()?;
        if let Some((sha, expected)) = self.payload {
            let computed = sha.finish();
            if !bool::from(computed.as_ref().ct_eq(&expected)) {
                return Err(Error::client(
                    Code::XAmzContentSha256Mismatch,
                    "The provided 'x-amz-content-sha256' header does not match what was computed.",
                )
                .field("ClientComputedContentSHA256", hex::encode(expected))
                .field("S3ComputedContentSHA256", hex::encode(computed)));
            }
        }
        let facts = self.digests.finish().await?;
        if self.content_md5.is_some() && self.content_md5 != facts.md5 {
            return Err(Error::client(
                Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        if let (Some(declared), Some((algorithm, computed))) = (&self.declared, &facts.checksum) {
            let trailer = trailers.as_ref().and_then(|t| t.get(algorithm.header_name().as_str()));
            declared.check(trailer, computed)?;
        }
        Ok(facts)
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
        .ok_or_else(|| {
            Error::client(Code::InvalidDigest, "The Content-MD5 you specified was invalid.")
                .field("Content-MD5", String::from_utf8_lossy(value.as_bytes()))
        })
}

fn wrong_length(declared: u64, seen: u64) -> Error {
    Error::client(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
    .because(format!("declared {declared} plaintext bytes, got {seen}"))
}
