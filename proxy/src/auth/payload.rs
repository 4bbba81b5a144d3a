//! `x-amz-content-sha256`: how a request says that its body is to be checked, and the key for chunk signatures.
//! Bodies themselves are checked in `s3/chunked/` and by whoever reads them.

use std::sync::Arc;

use super::canonical::{DayKey, Scope};
use crate::error::{Code, Error, Result};

/// SHA-256 of nothing, in hex.
pub(super) const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The form that a request names, before any key is involved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Sha256([u8; 32]),
    Unsigned,
    SignedChunks,
    SignedChunksTrailer,
    UnsignedTrailer,
}

impl Form {
    pub(super) fn parse(value: &str) -> Result<Self> {
        Ok(match value {
            "UNSIGNED-PAYLOAD" => Form::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Form::SignedChunks,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Form::SignedChunksTrailer,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Form::UnsignedTrailer,
            _ if value.starts_with("STREAMING-AWS4-ECDSA-") => {
                return Err(Error::client(
                    Code::NotImplemented,
                    "Signature Version 4A (STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD) is not supported. Sign with \
                     AWS4-HMAC-SHA256.",
                ));
            }
            _ => Form::Sha256(super::parse_hex32(value).ok_or_else(|| {
                Error::client(
                    Code::InvalidArgument,
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                     STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid \
                     sha256 value.",
                )
                .field("ArgumentName", "x-amz-content-sha256")
                .field("ArgumentValue", value)
            })?),
        })
    }

    pub(super) fn with_signer(self, signer: impl FnOnce() -> ChunkSigner) -> PayloadCheck {
        match self {
            Form::Sha256(hash) => PayloadCheck::Sha256(hash),
            Form::Unsigned => PayloadCheck::Unsigned,
            Form::SignedChunks => PayloadCheck::SignedChunks(signer()),
            Form::SignedChunksTrailer => PayloadCheck::SignedChunksTrailer(signer()),
            Form::UnsignedTrailer => PayloadCheck::UnsignedTrailer,
        }
    }
}

/// How the body has to be checked before anything of it is committed.
pub enum PayloadCheck {
    /// The body's SHA-256 was signed; `XAmzContentSHA256Mismatch` where it differs.
    Sha256([u8; 32]),
    /// The signature does not cover the body (`UNSIGNED-PAYLOAD`, or an anonymous request).
    Unsigned,
    /// aws-chunked, every chunk signed.
    SignedChunks(ChunkSigner),
    /// aws-chunked, every chunk and the trailer signed.
    SignedChunksTrailer(ChunkSigner),
    /// aws-chunked without signatures, a checksum in the trailer.
    UnsignedTrailer,
}

impl PayloadCheck {
    /// Whether the body is aws-chunked.
    pub fn is_chunked(&self) -> bool {
        !matches!(self, PayloadCheck::Sha256(_) | PayloadCheck::Unsigned)
    }
}

impl std::fmt::Debug for PayloadCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PayloadCheck::Sha256(_) => "Sha256",
            PayloadCheck::Unsigned => "Unsigned",
            PayloadCheck::SignedChunks(_) => "SignedChunks",
            PayloadCheck::SignedChunksTrailer(_) => "SignedChunksTrailer",
            PayloadCheck::UnsignedTrailer => "UnsignedTrailer",
        })
    }
}

/// Verifies the chain of chunk signatures that starts at a request's own
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>). One per body: [`ChunkSigner::begin`].
pub struct ChunkSigner {
    key: Arc<DayKey>,
    timestamp: String,
    scope: String,
    /// Hex, as it stands in the next string to sign.
    previous: String,
}

impl ChunkSigner {
    /// `seed` is the request's verified signature.
    pub(super) fn new(key: Arc<DayKey>, timestamp: String, scope: &Scope, seed: &[u8; 32]) -> Self {
        Self { key, timestamp, scope: scope.to_string(), previous: hex::encode(seed) }
    }

    /// A chain that no request started.
    #[cfg(test)]
    pub(crate) fn for_tests(key: Arc<DayKey>, scope: &Scope, seed: &[u8; 32]) -> Self {
        Self::new(key, "20130524T000000Z".to_owned(), scope, seed)
    }

    /// A chain at its start, for one reading of the body.
    #[must_use]
    pub fn begin(&self) -> Self {
        Self {
            key: self.key.clone(),
            timestamp: self.timestamp.clone(),
            scope: self.scope.clone(),
            previous: self.previous.clone(),
        }
    }

    /// Takes the next chunk: whether `claimed` signs data of this SHA-256 at this place.
    pub fn verify_chunk(&mut self, data_sha256: &[u8; 32], claimed: &[u8; 32]) -> bool {
        let string = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_HASH}\n{}",
            self.timestamp,
            self.scope,
            self.previous,
            hex::encode(data_sha256)
        );
        self.step(&string, claimed)
    }

    /// Takes the trailer: whether `claimed` signs trailing headers of this SHA-256 (each as `name:value\n`).
    pub fn verify_trailer(&mut self, trailer_sha256: &[u8; 32], claimed: &[u8; 32]) -> bool {
        let string = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.timestamp,
            self.scope,
            self.previous,
            hex::encode(trailer_sha256)
        );
        self.step(&string, claimed)
    }

    fn step(&mut self, string_to_sign: &str, claimed: &[u8; 32]) -> bool {
        let good = self.key.verifies(string_to_sign, claimed);
        if good {
            self.previous = hex::encode(claimed);
        }
        good
    }
}
