//! The body of a streamed upload as it stands on the wire: aws-chunked with a trailing checksum, aws-chunked with
//! signed chunks, or plain. Pure; cuts and frames without copying a payload. The total length is known up front.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use http::{HeaderMap, HeaderValue, header};

use crate::auth::sign::{ChunkSignatures, PayloadHash};
use crate::config::UploadFraming;
use crate::error::{Error, Result};

/// One sealed chunk of 64 KiB and its tag makes one frame, so that no frame copies.
const FRAME: u64 = 65536 + 16;
const SIGNATURE: &str = ";chunk-signature=";

/// Which CRC of the ciphertext follows an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrailerChecksum {
    /// `x-amz-checksum-crc64nvme`.
    Crc64Nvme,
    /// `x-amz-checksum-crc32`.
    Crc32,
}

impl TrailerChecksum {
    /// The trailing header.
    pub fn header_name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Crc32 => "x-amz-checksum-crc32",
        }
    }

    fn digest(self) -> Digest {
        Digest::new(match self {
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        })
    }

    /// Base64 of the big-endian value.
    fn encode(self, digest: Digest) -> String {
        let value = digest.finalize().to_be_bytes();
        match self {
            Self::Crc64Nvme => STANDARD.encode(value),
            Self::Crc32 => STANDARD.encode(&value[4..]),
        }
    }

    fn encoded_len(self) -> u64 {
        match self {
            Self::Crc64Nvme => 12,
            Self::Crc32 => 8,
        }
    }
}

/// A framing with its parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Trailer(TrailerChecksum),
    Signed,
    Plain,
}

impl Framing {
    pub(super) fn new(kind: UploadFraming, checksum: TrailerChecksum) -> Self {
        match kind {
            UploadFraming::UnsignedTrailer => Self::Trailer(checksum),
            UploadFraming::SignedChunks => Self::Signed,
            UploadFraming::Plain => Self::Plain,
        }
    }

    pub(super) fn payload(self) -> PayloadHash {
        match self {
            Self::Trailer(_) => PayloadHash::StreamingUnsignedTrailer,
            Self::Signed => PayloadHash::StreamingSigned,
            Self::Plain => PayloadHash::Unsigned,
        }
    }

    /// Bytes on the wire for `sealed` bytes of body.
    pub(super) fn wire_len(self, sealed: u64) -> u64 {
        let line = |len: u64| match self {
            Self::Signed => hex_len(len) + SIGNATURE.len() as u64 + 64 + 2,
            _ => hex_len(len) + 2,
        };
        let (full, rest) = (sealed / FRAME, sealed % FRAME);
        let chunks = full * (line(FRAME) + FRAME + 2) + if rest > 0 { line(rest) + rest + 2 } else { 0 };
        match self {
            Self::Plain => sealed,
            Self::Signed => chunks + line(0) + 2,
            Self::Trailer(checksum) => {
                chunks + 3 + checksum.header_name().len() as u64 + 1 + checksum.encoded_len() + 2 + 2
            }
        }
    }

    /// Adds the headers that announce it; all but Content-Length are signed.
    pub(super) fn announce(self, headers: &mut HeaderMap, sealed: u64) -> Result<()> {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.wire_len(sealed)));
        if self == Self::Plain {
            return Ok(());
        }
        headers.insert("x-amz-decoded-content-length", HeaderValue::from(sealed));
        if let Self::Trailer(checksum) = self {
            headers.insert("x-amz-trailer", HeaderValue::from_static(checksum.header_name()));
        }
        // In front of the client's own coding, which the backend keeps.
        let mut coding = b"aws-chunked".to_vec();
        for own in headers.get_all(header::CONTENT_ENCODING) {
            coding.push(b',');
            coding.extend_from_slice(own.as_bytes());
        }
        let coding = HeaderValue::from_bytes(&coding).map_err(|e| Error::internal(e.to_string()))?;
        headers.insert(header::CONTENT_ENCODING, coding);
        Ok(())
    }
}

fn hex_len(value: u64) -> u64 {
    u64::from(16 - (value | 1).leading_zeros() / 4)
}

/// Cuts sealed bytes into frames. The end of the body comes out of [`Framer::finish`] alone.
pub(super) struct Framer {
    framing: Framing,
    signatures: Option<ChunkSignatures>,
    digest: Option<Digest>,
    /// Sealed bytes that are still to come.
    left: u64,
    frame: Vec<Bytes>,
    frame_len: u64,
}

/// Bytes of one frame in order.
pub(super) type Piece = Vec<Bytes>;

impl Framer {
    /// `signatures` belong to [`Framing::Signed`] and come from the request's own signature.
    pub(super) fn new(framing: Framing, sealed: u64, signatures: Option<ChunkSignatures>) -> Self {
        let digest = match framing {
            Framing::Trailer(checksum) => Some(checksum.digest()),
            _ => None,
        };
        Self { framing, signatures, digest, left: sealed, frame: Vec::new(), frame_len: 0 }
    }

    /// Takes sealed bytes in any split; gives the frames that are complete.
    pub(super) fn push(&mut self, mut sealed: Bytes) -> Result<Vec<Piece>> {
        self.left = self
            .left
            .checked_sub(sealed.len() as u64)
            .ok_or_else(|| Error::internal("an upload gave more sealed bytes than it announced"))?;
        if let Some(digest) = &mut self.digest {
            digest.update(&sealed);
        }
        let mut done = Vec::new();
        while !sealed.is_empty() {
            if self.framing == Framing::Plain {
                done.push(vec![std::mem::take(&mut sealed)]);
                break;
            }
            let room = usize::try_from(FRAME - self.frame_len).unwrap_or(usize::MAX);
            let bytes = sealed.split_to(room.min(sealed.len()));
            self.frame_len += bytes.len() as u64;
            self.frame.push(bytes);
            if self.frame_len == FRAME || (self.left == 0 && sealed.is_empty()) {
                done.push(self.close_frame()?);
            }
        }
        Ok(done)
    }

    /// All sealed bytes that were announced have come.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The 0-chunk and trailer.
    pub(super) fn finish(&mut self) -> Result<Piece> {
        if self.left > 0 {
            return Err(Error::internal("an upload ended before its announced length"));
        }
        match self.framing {
            Framing::Plain => Ok(Vec::new()),
            Framing::Signed => {
                let mut end = self.line(0, &[])?;
                end.push_str("\r\n");
                Ok(vec![end.into()])
            }
            Framing::Trailer(checksum) => {
                let digest =
                    self.digest.take().ok_or_else(|| Error::internal("a trailer without a digest"))?;
                let value = checksum.encode(digest);
                Ok(vec![format!("0\r\n{}:{value}\r\n\r\n", checksum.header_name()).into()])
            }
        }
    }

    fn close_frame(&mut self) -> Result<Piece> {
        let payload = std::mem::take(&mut self.frame);
        let len = std::mem::take(&mut self.frame_len);
        let line = self.line(len, &payload)?;
        let mut piece = Vec::with_capacity(payload.len() + 2);
        piece.push(line.into());
        piece.extend(payload);
        piece.push(Bytes::from_static(b"\r\n"));
        Ok(piece)
    }

    fn line(&mut self, len: u64, payload: &[Bytes]) -> Result<String> {
        if self.framing != Framing::Signed {
            return Ok(format!("{len:x}\r\n"));
        }
        let signatures =
            self.signatures.as_mut().ok_or_else(|| Error::internal("signed chunks without a signer"))?;
        Ok(format!("{len:x}{SIGNATURE}{}\r\n", signatures.next(payload.iter().map(AsRef::as_ref))))
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
