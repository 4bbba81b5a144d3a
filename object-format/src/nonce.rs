//! The only place where a nonce is made: a private type, counted, that no caller can pass in or use twice.
//! Layout of the 12 bytes: three zeros, chunk index (u64), final flag (1 on the last chunk of a segment).

use aws_lc_rs::aead::Nonce;

/// The nonce of one chunk; consumed by its one use.
pub(crate) struct ChunkNonce {
    index: u64,
    last: bool,
}

impl ChunkNonce {
    pub(crate) fn into_nonce(self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[3..11].copy_from_slice(&self.index.to_be_bytes());
        bytes[11] = u8::from(self.last);
        Nonce::assume_unique_for_key(bytes)
    }
}

/// Counts the chunks of one segment and yields nothing after the last.
pub(crate) struct ChunkNonces {
    next: u64,
    count: u64,
}

impl ChunkNonces {
    /// The nonces of a segment of `count` chunks from chunk `first` on; writers start at 0.
    pub(crate) fn new(first: u64, count: u64) -> Self {
        Self { next: first, count }
    }

    /// Whether the next chunk is the segment's last.
    pub(crate) fn at_last(&self) -> bool {
        self.next + 1 == self.count
    }
}

impl Iterator for ChunkNonces {
    type Item = ChunkNonce;

    fn next(&mut self) -> Option<ChunkNonce> {
        let index = self.next;
        if index >= self.count {
            return None;
        }
        self.next += 1;
        Some(ChunkNonce { index, last: index + 1 == self.count })
    }
}

/// The nonce of a key that seals exactly one message in its life: zero.
pub(crate) fn of_single_use_key() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_flags_the_last_and_stops() {
        let mut nonces = ChunkNonces::new(0, 2);
        assert!(!nonces.at_last());
        assert_eq!(nonces.next().unwrap().into_nonce().as_ref(), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(nonces.at_last());
        assert_eq!(nonces.next().unwrap().into_nonce().as_ref(), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!(nonces.next().is_none());
        assert!(nonces.next().is_none());
    }
}
