//! Writing: plaintext in any split goes in, sealed chunks come out, one copy of each byte.
//! The last chunk and the trailer come out of `finish` alone, so that a caller can hold them back until all is verified.

use crate::error::SealError;
use crate::key::{Dek, Salt, TrailerKey};
use crate::length::{self, CHUNK, TAG};
use crate::segment::ChunkSealer;
use crate::trailer::{self, SealedFacts};

/// Fills chunks up to the declared size of one segment.
struct Filler {
    chunks: ChunkSealer,
    chunk: Vec<u8>,
    declared: u64,
    pushed: u64,
    /// Room behind the last chunk, reserved with it, so that the trailer does not move it.
    tail: u64,
    overrun: bool,
}

impl Filler {
    fn new(chunks: ChunkSealer, declared: u64, tail: u64) -> Self {
        Self { chunks, chunk: Vec::new(), declared, pushed: 0, tail, overrun: false }
    }

    fn push(&mut self, mut plain: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), SealError> {
        if self.overrun || plain.len() as u64 > self.declared - self.pushed {
            self.overrun = true;
            return Err(SealError::TooLong { declared: self.declared });
        }
        while !plain.is_empty() {
            if self.chunk.is_empty() {
                self.reserve();
            }
            let room = CHUNK as usize - self.chunk.len();
            let (now, later) = plain.split_at(room.min(plain.len()));
            self.chunk.extend_from_slice(now);
            self.pushed += now.len() as u64;
            plain = later;
            if self.chunk.len() as u64 == CHUNK && !self.chunks.at_last() {
                self.chunks.seal(&mut self.chunk);
                emit(std::mem::take(&mut self.chunk));
            }
        }
        Ok(())
    }

    fn reserve(&mut self) {
        let plain = (self.declared - self.pushed).min(CHUNK);
        let tail = if self.chunks.at_last() { self.tail } else { 0 };
        self.chunk.reserve_exact((plain + TAG + tail) as usize);
    }

    fn finish(mut self) -> Result<Vec<u8>, SealError> {
        if self.overrun {
            return Err(SealError::TooLong { declared: self.declared });
        }
        if self.pushed != self.declared {
            return Err(SealError::TooShort { declared: self.declared, pushed: self.pushed });
        }
        self.chunks.seal(&mut self.chunk);
        Ok(self.chunk)
    }
}

/// Seals the body of one single PUT; made by [`Attempt::into_sealer`](crate::Attempt::into_sealer).
///
/// You MUST call [`finish`](Self::finish): a body without its last chunk and trailer does not open.
#[must_use = "a body without its last chunk and trailer does not open"]
pub struct Sealer {
    /// `None` for an empty object, whose body is empty.
    filler: Option<Filler>,
    trailer_key: TrailerKey,
    plain_size: u64,
}

impl Sealer {
    pub(crate) fn new(dek: &Dek, salt: &Salt, plain_size: u64) -> Self {
        let filler = (plain_size > 0).then(|| {
            let tail = length::sealed_len(plain_size) - length::segment_len(plain_size);
            Filler::new(ChunkSealer::new(dek, salt, 0, plain_size), plain_size, tail)
        });
        Self { filler, trailer_key: dek.trailer_key(), plain_size }
    }

    /// Takes the next plaintext bytes, in any split, and emits each chunk that is full, except the last.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if more comes than was declared, then and ever after.
    pub fn push(&mut self, plain: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), SealError> {
        if self.plain_size > length::MAX_PLAIN {
            return Err(SealError::TooLarge);
        }
        match &mut self.filler {
            Some(filler) => filler.push(plain, emit),
            None if plain.is_empty() => Ok(()),
            None => Err(SealError::TooLong { declared: 0 }),
        }
    }

    /// The rest of the body: last chunk, padding, trailer. Empty for an empty object.
    ///
    /// # Errors
    /// [`SealError::TooShort`] if less came than was declared, [`SealError::Facts`] if these cannot be sealed.
    pub fn finish(self, facts: &SealedFacts) -> Result<Vec<u8>, SealError> {
        if self.plain_size > length::MAX_PLAIN {
            return Err(SealError::TooLarge);
        }
        let Some(filler) = self.filler else {
            return Ok(Vec::new());
        };
        let mut rest = filler.finish()?;
        trailer::append_single(&mut rest, &self.trailer_key, self.plain_size, facts)?;
        Ok(rest)
    }
}

/// Seals one part of a multipart upload: its segment, and no trailer.
/// Made by [`PartAttempt::into_sealer`](crate::PartAttempt::into_sealer).
#[must_use = "a part without its last chunk does not open"]
pub struct PartSealer(Filler);

impl PartSealer {
    pub(crate) fn new(dek: &Dek, salt: &Salt, number: u16, plain_size: u64) -> Self {
        Self(Filler::new(ChunkSealer::new(dek, salt, number, plain_size), plain_size, 0))
    }

    /// Takes the next plaintext bytes, in any split, and emits each chunk that is full, except the last.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if more comes than was declared, then and ever after.
    pub fn push(&mut self, plain: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), SealError> {
        self.0.push(plain, emit)
    }

    /// The part's last chunk; an empty part has one, of a tag alone.
    ///
    /// # Errors
    /// [`SealError::TooShort`] if less came than was declared.
    pub fn finish(self) -> Result<Vec<u8>, SealError> {
        self.0.finish()
    }
}
