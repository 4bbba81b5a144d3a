//! What is learned of a plaintext while it passes, from a client or out of storage: its MD5, and checksums. What of it
//! was promised is compared in `incoming.rs`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::digest::Md5Digest;
use crate::error::{Error, Result};
use crate::s3::checksum::{ChecksumAlgorithm, Hasher};

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
    /// Checksum of the plaintext: the client's algorithm, or the one that was needed, or CRC64NVME.
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

/// The digests of one body on its way.
pub(super) struct Digests {
    md5: Option<Md5Digest>,
    checksum: Option<(ChecksumAlgorithm, Hasher)>,
    also: Option<Hasher>,
}

impl Digests {
    /// Of a body of `length` bytes, with what its sender promised: a checksum under `promised`, and maybe an MD5.
    pub(super) fn new(
        learn: Learn,
        length: u64,
        promised: Option<ChecksumAlgorithm>,
        promised_md5: bool,
    ) -> Self {
        let algorithm = promised.or(learn.also).or(learn.checksum.then_some(ChecksumAlgorithm::Crc64Nvme));
        Self {
            md5: (learn.md5 || promised_md5).then(|| Md5Digest::new(length)),
            checksum: algorithm.map(|algorithm| (algorithm, Hasher::new(algorithm))),
            also: learn.also.filter(|also| Some(*also) != algorithm).map(Hasher::new),
        }
    }

    pub(super) async fn update(&mut self, piece: &Bytes) {
        if let Some((_, hasher)) = &mut self.checksum {
            hasher.update(piece);
        }
        if let Some(also) = &mut self.also {
            also.update(piece);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(piece).await;
        }
    }

    pub(super) async fn finish(self) -> Result<BodyFacts> {
        let md5 = match self.md5 {
            Some(md5) => {
                Some(md5.finish().await.ok_or_else(|| Error::internal("the MD5 helper thread died"))?)
            }
            None => None,
        };
        Ok(BodyFacts {
            md5,
            checksum: self.checksum.map(|(algorithm, hasher)| (algorithm, hasher.finish())),
            also: self.also.map(Hasher::finish),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn learned(learn: Learn, promised: Option<ChecksumAlgorithm>) -> BodyFacts {
        let mut digests = Digests::new(learn, 5, promised, false);
        digests.update(&Bytes::from_static(b"he")).await;
        digests.update(&Bytes::from_static(b"llo")).await;
        digests.finish().await.unwrap()
    }

    fn of(algorithm: ChecksumAlgorithm) -> Vec<u8> {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"hello");
        hasher.finish()
    }

    #[tokio::test]
    async fn the_promised_checksum_goes_first_and_nothing_is_hashed_twice() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
        assert_eq!(learned(Learn::default(), None).await, BodyFacts::default());
        let learn = Learn { md5: true, checksum: true, also: None };
        let none = learned(learn, None).await;
        assert_eq!(none.checksum, Some((Crc64Nvme, of(Crc64Nvme))));
        assert_eq!(hex::encode(none.md5.unwrap()), "5d41402abc4b2a76b9719d911017c592");
        let needed = Learn { also: Some(Sha256), ..learn };
        let facts = learned(needed, None).await;
        assert_eq!((facts.checksum.clone(), facts.also.clone()), (Some((Sha256, of(Sha256))), None));
        assert_eq!(facts.checksum_of(Sha256), Some(&of(Sha256)[..]));
        let both = learned(needed, Some(Crc32)).await;
        assert_eq!((both.checksum.clone(), both.also.clone()), (Some((Crc32, of(Crc32))), Some(of(Sha256))));
        assert_eq!(both.checksum_of(Sha256), Some(&of(Sha256)[..]));
        assert_eq!(learned(needed, Some(Sha256)).await.also, None);
    }
}
