//! The client's aws-chunked bodies: an incremental decoder that verifies while it emits
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>). Framing towards a backend is made in
//! `backend/`.

mod line;
#[cfg(test)]
mod tests;
mod trailer;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, Bytes};

use self::line::ChunkLine;
pub use self::trailer::Trailers;
use crate::auth::{ChunkSigner, PayloadCheck, Verified};
use crate::error::{Code, Error, Result};
use crate::s3::{S3Request, headers};

/// Largest signed chunk. Its data is handed on before its signature is known, so there is a bound on how much.
pub const MAX_SIGNED_CHUNK: u64 = 16 * 1024 * 1024;
/// Longest chunk line: a size and a signature take 88 bytes.
const MAX_LINE: usize = 512;
/// Longest trailer section.
const MAX_TRAILER: usize = 4 * 1024;

/// Decodes one body in pieces of any size.
///
/// What it emits is *not* verified until [`ChunkedDecoder::finish`] has succeeded: a chunk's signature covers all of
/// it, a trailing checksum the whole body. The receiver holds its last bytes back until then.
pub struct ChunkedDecoder {
    state: State,
    signer: Option<ChunkSigner>,
    /// The trailer carries a signature of its own.
    trailer_signed: bool,
    trailer_allowed: bool,
    /// Names of `x-amz-trailer`, lower case.
    declared: Vec<String>,
    /// Decoded bytes still to come.
    remaining: u64,
    /// An unfinished line, or the trailer so far.
    held: Vec<u8>,
}

enum State {
    /// Before or within a chunk's size line.
    Line,
    /// Within a chunk's data.
    Data { left: u64, check: Option<(Context, [u8; 32])> },
    /// Before or within the CRLF that ends a chunk.
    DataEnd { check: Option<(Context, [u8; 32])> },
    /// After the chunk of size 0.
    Trailer,
    /// A push has failed.
    Failed,
}

impl ChunkedDecoder {
    /// A decoder for a request's body; `None` where the body is not aws-chunked. A request that announces a trailer
    /// which its form of `x-amz-content-sha256` does not have is refused, rather than its checksum forgotten.
    pub fn for_request(request: &Verified<S3Request>) -> Result<Option<Self>> {
        let declared = headers::trailer_names(&request.headers);
        let payload = request.payload();
        if !declared.is_empty()
            && !matches!(payload, PayloadCheck::SignedChunksTrailer(_) | PayloadCheck::UnsignedTrailer)
        {
            return Err(Error::client(
                Code::InvalidRequest,
                "x-amz-trailer needs an x-amz-content-sha256 of STREAMING-UNSIGNED-PAYLOAD-TRAILER or \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER.",
            )
            .field("Header", "x-amz-trailer"));
        }
        if !payload.is_chunked() {
            return Ok(None);
        }
        let length = headers::body_length(&request.headers, true)?;
        Ok(Self::new(payload, length, declared))
    }

    /// A decoder for `decoded_length` bytes whose trailer may hold the `declared` (lower-case) names; `None` if
    /// the payload is not chunked.
    pub fn new(payload: &PayloadCheck, decoded_length: u64, declared: Vec<String>) -> Option<Self> {
        let (signer, trailer_signed, trailer_allowed) = match payload {
            PayloadCheck::Sha256(_) | PayloadCheck::Unsigned => return None,
            PayloadCheck::SignedChunks(signer) => (Some(signer.begin()), false, false),
            PayloadCheck::SignedChunksTrailer(signer) => (Some(signer.begin()), true, true),
            PayloadCheck::UnsignedTrailer => (None, false, true),
        };
        Some(Self {
            state: State::Line,
            signer,
            trailer_signed,
            trailer_allowed,
            declared,
            remaining: decoded_length,
            held: Vec::new(),
        })
    }

    /// Takes the next piece of the wire and emits the decoded bytes in it, without copying. After an error every
    /// further push fails.
    pub fn push(&mut self, mut wire: Bytes, emit: &mut dyn FnMut(Bytes)) -> Result<()> {
        while !wire.is_empty() {
            let state = std::mem::replace(&mut self.state, State::Failed);
            self.state = self.step(state, &mut wire, emit)?;
        }
        Ok(())
    }

    fn step(&mut self, state: State, wire: &mut Bytes, emit: &mut dyn FnMut(Bytes)) -> Result<State> {
        match state {
            State::Line => {
                let end = wire.iter().position(|b| *b == b'\n');
                let piece = wire.split_to(end.map_or(wire.len(), |at| at + 1));
                if self.held.len() + piece.len() > MAX_LINE {
                    return Err(malformed("a chunk's size line is too long"));
                }
                self.held.extend_from_slice(&piece);
                if end.is_none() {
                    return Ok(State::Line);
                }
                let line = ChunkLine::parse(&self.held)?;
                self.held.clear();
                self.begin_chunk(line)
            }
            State::Data { left, mut check } => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(wire.len());
                let data = wire.split_to(take);
                if let Some((hash, _)) = &mut check {
                    hash.update(&data);
                }
                emit(data);
                match left - take as u64 {
                    0 => Ok(State::DataEnd { check }),
                    left => Ok(State::Data { left, check }),
                }
            }
            State::DataEnd { check } => {
                let want = if self.held.is_empty() { b'\r' } else { b'\n' };
                if wire.get_u8() != want {
                    return Err(malformed("a chunk does not end where its size says"));
                }
                if want == b'\r' {
                    self.held.push(b'\r');
                    return Ok(State::DataEnd { check });
                }
                self.held.clear();
                if let Some((hash, claimed)) = check {
                    self.check_chunk(hash, &claimed)?;
                }
                Ok(State::Line)
            }
            State::Trailer => {
                if self.held.len() + wire.len() > MAX_TRAILER {
                    return Err(trailer::malformed("it is too long, or bytes follow the last chunk"));
                }
                self.held.extend_from_slice(wire);
                wire.clear();
                Ok(State::Trailer)
            }
            State::Failed => Err(malformed("an earlier part of it was refused")),
        }
    }

    fn begin_chunk(&mut self, line: ChunkLine) -> Result<State> {
        let check = match (&self.signer, line.signature) {
            (None, _) => None,
            (Some(_), Some(signature)) => Some((Context::new(&SHA256), signature)),
            (Some(_), None) => return Err(malformed("a chunk has no chunk-signature")),
        };
        if line.size == 0 {
            if let Some((hash, claimed)) = check {
                self.check_chunk(hash, &claimed)?;
            }
            return if self.remaining == 0 { Ok(State::Trailer) } else { Err(wrong_length()) };
        }
        if check.is_some() && line.size > MAX_SIGNED_CHUNK {
            return Err(Error::client(Code::InvalidChunkSize, "A signed chunk may hold at most 16 MiB.")
                .field("MaxSizeAllowed", MAX_SIGNED_CHUNK.to_string()));
        }
        self.remaining = self.remaining.checked_sub(line.size).ok_or_else(wrong_length)?;
        Ok(State::Data { left: line.size, check })
    }

    fn check_chunk(&mut self, hash: Context, claimed: &[u8; 32]) -> Result<()> {
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        let good = self.signer.as_mut().is_none_or(|signer| signer.verify_chunk(&sum, claimed));
        if good { Ok(()) } else { Err(bad_signature()) }
    }

    /// The wire has ended: checks that it ended where it should, the declared length, and the trailer.
    pub fn finish(mut self) -> Result<Trailers> {
        match self.state {
            State::Trailer => {}
            State::Failed => return Err(malformed("an earlier part of it was refused")),
            _ => {
                return Err(Error::client(
                    Code::IncompleteBody,
                    "The request body terminated unexpectedly: its last chunk did not arrive.",
                ));
            }
        }
        let trailers = Trailers::parse(&self.held, &self.declared, self.trailer_allowed)?;
        if self.trailer_signed {
            let claimed = trailers
                .signature()
                .ok_or_else(|| trailer::malformed("it has no x-amz-trailer-signature"))?;
            let good = match &mut self.signer {
                Some(signer) => signer.verify_trailer(&trailers.sha256(), &claimed),
                None => false,
            };
            if !good {
                return Err(bad_signature());
            }
        }
        Ok(trailers)
    }
}

fn malformed(why: &str) -> Error {
    Error::client(Code::IncompleteBody, format!("The request body terminated unexpectedly: {why}."))
}

fn wrong_length() -> Error {
    Error::client(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header.",
    )
}

fn bad_signature() -> Error {
    Error::client(
        Code::SignatureDoesNotMatch,
        "The chunk or trailer signature we calculated does not match the signature you provided. Check your key and \
         signing method.",
    )
}
