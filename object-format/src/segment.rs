//! Sealing and opening of one segment's chunks, in place, in order. No policy: which segment, and what is released, is
//! decided in `seal.rs` and `open.rs`.

use crate::error::OpenError;
use crate::key::{Dek, Salt};
use crate::length;
use crate::nonce::ChunkNonces;
use aws_lc_rs::aead::{Aad, LessSafeKey};

/// One segment's key with the nonces of its chunks, for writing: consumed chunk by chunk.
pub(crate) struct ChunkSealer {
    key: LessSafeKey,
    nonces: ChunkNonces,
}

impl ChunkSealer {
    /// `salt` must be new (see [`Dek::segment_key`]).
    pub(crate) fn new(dek: &Dek, salt: &Salt, number: u16, plain_size: u64) -> Self {
        Self { key: dek.segment_key(salt, number), nonces: ChunkNonces::new(0, length::chunks(plain_size)) }
    }

    /// Whether the next chunk is the segment's last.
    pub(crate) fn at_last(&self) -> bool {
        self.nonces.at_last()
    }

    /// Seals the next chunk in place and appends its tag.
    pub(crate) fn seal(&mut self, chunk: &mut Vec<u8>) {
        let nonce = self.nonces.next().expect("the callers stop at the last chunk");
        self.key
            .seal_in_place_append_tag(nonce.into_nonce(), Aad::empty(), chunk)
            .expect("a chunk is far below AES-GCM's limit");
    }
}

/// One segment's key with the nonces of its chunks, for reading.
pub(crate) struct ChunkOpener {
    key: LessSafeKey,
    nonces: ChunkNonces,
}

impl ChunkOpener {
    /// Opens from chunk `first` on.
    pub(crate) fn new(dek: &Dek, salt: &Salt, number: u16, plain_size: u64, first: u64) -> Self {
        Self {
            key: dek.segment_key(salt, number),
            nonces: ChunkNonces::new(first, length::chunks(plain_size)),
        }
    }

    /// Opens the next chunk in place and cuts its tag off.
    pub(crate) fn open(&mut self, chunk: &mut Vec<u8>) -> Result<(), OpenError> {
        let nonce = self.nonces.next().ok_or(OpenError::NotAuthentic)?;
        let length = self
            .key
            .open_in_place(nonce.into_nonce(), Aad::empty(), chunk)
            .map_err(|_| OpenError::NotAuthentic)?
            .len();
        chunk.truncate(length);
        Ok(())
    }
}
