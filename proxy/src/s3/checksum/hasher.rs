//! Computes a checksum of any algorithm over pieces. Every value is big-endian, as S3 shows it.

use std::hash::Hasher as _;

use aws_lc_rs::digest;
use crc_fast::{CrcAlgorithm, Digest};
use md5::Digest as _;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

use super::ChecksumAlgorithm;

/// Computes one checksum over pieces.
pub struct Hasher(State);

enum State {
    Crc(Box<Digest>, ChecksumAlgorithm),
    Sha(digest::Context),
    Md5(Box<md5::Md5>),
    XxHash64(Box<XxHash64>),
    XxHash3(Box<XxHash3_64>),
    XxHash128(Box<XxHash3_128>),
}

impl Hasher {
    /// An empty hasher. The hashes of the XX family have seed 0.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let crc = |which| State::Crc(Box::new(Digest::new(which)), algorithm);
        let sha = |which| State::Sha(digest::Context::new(which));
        Self(match algorithm {
            ChecksumAlgorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            ChecksumAlgorithm::Sha256 => sha(&digest::SHA256),
            ChecksumAlgorithm::Sha512 => sha(&digest::SHA512),
            ChecksumAlgorithm::Md5 => State::Md5(Box::default()),
            ChecksumAlgorithm::XxHash64 => State::XxHash64(Box::new(XxHash64::with_seed(0))),
            ChecksumAlgorithm::XxHash3 => State::XxHash3(Box::new(XxHash3_64::new())),
            ChecksumAlgorithm::XxHash128 => State::XxHash128(Box::new(XxHash3_128::new())),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Crc(digest, _) => digest.update(bytes),
            State::Sha(context) => context.update(bytes),
            State::Md5(md5) => md5.update(bytes),
            State::XxHash64(hash) => hash.write(bytes),
            State::XxHash3(hash) => hash.write(bytes),
            State::XxHash128(hash) => hash.write(bytes),
        }
    }

    /// The value, big-endian.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            State::Crc(digest, algorithm) => algorithm.low_bytes(digest.finalize()),
            State::Sha(context) => context.finish().as_ref().to_vec(),
            State::Md5(md5) => md5.finalize().to_vec(),
            State::XxHash64(hash) => hash.finish().to_be_bytes().to_vec(),
            State::XxHash3(hash) => hash.finish().to_be_bytes().to_vec(),
            State::XxHash128(hash) => hash.finish_128().to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the CRC catalogue; inputs of RFC 3174, FIPS 180-4 and RFC 1321; values that xxhsum gives.
    #[test]
    fn known_answers() {
        let expected = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (
                ChecksumAlgorithm::Sha512,
                "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a\
                 d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
            ),
            (ChecksumAlgorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (ChecksumAlgorithm::XxHash64, "8cb841db40e6ae83"),
            (ChecksumAlgorithm::XxHash3, "72dcb18b67a17dff"),
            (ChecksumAlgorithm::XxHash128, "33119477ede5dcd5e9716427681d5860"),
        ];
        assert_eq!(expected.map(|(algorithm, _)| algorithm), ChecksumAlgorithm::ALL);
        for (algorithm, hexadecimal) in expected {
            let mut hasher = Hasher::new(algorithm);
            for piece in [&b"1234"[..], b"", b"56789"] {
                hasher.update(piece);
            }
            let value = hasher.finish();
            assert_eq!(hex::encode(&value), hexadecimal, "{algorithm:?}");
            assert_eq!(value.len(), algorithm.length());
            let text = ChecksumAlgorithm::format_value(&value);
            assert_eq!(algorithm.parse_value(&text).unwrap(), value);
        }
        assert_eq!(
            ChecksumAlgorithm::format_value(&Hasher::new(ChecksumAlgorithm::Crc32).finish()),
            "AAAAAA=="
        );
    }

    /// Long inputs take other paths through the XX hashes than short ones.
    #[test]
    fn pieces_make_no_difference() {
        let data: Vec<u8> = (0..=255u8).cycle().take(256_000).collect();
        let known = [
            (ChecksumAlgorithm::XxHash64, "ea8a95f52bcdb693"),
            (ChecksumAlgorithm::XxHash3, "776474c39d20f9aa"),
            (ChecksumAlgorithm::XxHash128, "548512d98989de2d776474c39d20f9aa"),
        ];
        for algorithm in ChecksumAlgorithm::ALL {
            let mut whole = Hasher::new(algorithm);
            whole.update(&data);
            let whole = whole.finish();
            let mut pieces = Hasher::new(algorithm);
            data.chunks(777).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.finish(), whole, "{algorithm:?}");
            let mut other = Hasher::new(algorithm);
            other.update(&data[1..]);
            assert_ne!(other.finish(), whole, "{algorithm:?}");
            if let Some((_, known)) = known.iter().find(|(known, _)| *known == algorithm) {
                assert_eq!(hex::encode(&whole), *known, "{algorithm:?}");
            }
        }
    }
}
