//! The checksum of two runs of bytes from the checksums of each: what a FULL_OBJECT checksum of parts is made of.

use crc_fast::{CrcAlgorithm, checksum_combine};

use super::ChecksumAlgorithm;

impl ChecksumAlgorithm {
    /// The checksum of `a ‖ b` from the checksum `first` of `a`, and `second` of `b`, which is `second_len` bytes
    /// long. `None` for an algorithm that is no CRC, and for values that are not as long as the algorithm's.
    pub fn combine(self, first: &[u8], second: &[u8], second_len: u64) -> Option<Vec<u8>> {
        let crc = match self {
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Self::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
            _ => return None,
        };
        let combined = checksum_combine(crc, self.number(first)?, self.number(second)?, second_len);
        Some(self.low_bytes(combined))
    }

    /// A CRC sits in the low bytes of a 64-bit number, big-endian.
    pub(super) fn low_bytes(self, crc: u64) -> Vec<u8> {
        crc.to_be_bytes()[8 - self.length()..].to_vec()
    }

    fn number(self, value: &[u8]) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[8 - self.length()..].copy_from_slice(Some(value).filter(|v| v.len() == self.length())?);
        Some(u64::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hasher;
    use super::*;

    const CRCS: [ChecksumAlgorithm; 3] =
        [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme];

    fn hash(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn combined_as_the_whole_hashes() {
        let data: Vec<u8> = (0..70_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for algorithm in CRCS {
            let whole = hash(algorithm, &data);
            for cut in [0, 1, 2, 7, 64, 4096, 65_535, 65_536, 69_999, 70_000] {
                let (a, b) = data.split_at(cut);
                let combined =
                    algorithm.combine(&hash(algorithm, a), &hash(algorithm, b), b.len() as u64).unwrap();
                assert_eq!(combined, whole, "{algorithm:?} cut at {cut}");
            }
            // Many parts, one after the other, some of them empty.
            let mut running = hash(algorithm, b"");
            for part in data.chunks(6_999).chain([&b""[..]]) {
                running = algorithm.combine(&running, &hash(algorithm, part), part.len() as u64).unwrap();
            }
            assert_eq!(running, whole, "{algorithm:?}");
            // The length and the order count.
            let (a, b) = data.split_at(30_000);
            let (a, b) = (hash(algorithm, a), hash(algorithm, b));
            assert_ne!(algorithm.combine(&a, &b, 39_999).unwrap(), whole);
            assert_ne!(algorithm.combine(&b, &a, 40_000).unwrap(), whole);
        }
    }

    /// A part of 5 GiB of zeros, by doubling: its length does not fit into 32 bits.
    #[test]
    fn lengths_above_32_bits() {
        for algorithm in CRCS {
            let zeros = |len: usize| hash(algorithm, &vec![0; len]);
            let doubled = |mut crc: Vec<u8>, mut len: u64, until: u64| {
                while len < until {
                    crc = algorithm.combine(&crc, &crc, len).unwrap();
                    len *= 2;
                }
                crc
            };
            let five = doubled(zeros(5 << 10), 5 << 10, 5 << 30);
            let four = doubled(zeros(4 << 10), 4 << 10, 4 << 30);
            let one = doubled(zeros(1 << 10), 1 << 10, 1 << 30);
            assert_eq!(algorithm.combine(&one, &four, 4 << 30).unwrap(), five, "{algorithm:?}");
            assert_eq!(algorithm.combine(&four, &one, 1 << 30).unwrap(), five, "{algorithm:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_crc_and_wrong_lengths() {
        for other in ChecksumAlgorithm::ALL.into_iter().filter(|a| !CRCS.contains(a)) {
            let value = hash(other, b"a");
            assert_eq!(other.combine(&value, &value, 1), None);
        }
        for algorithm in CRCS {
            let value = hash(algorithm, b"a");
            assert_eq!(algorithm.combine(&value[1..], &value, 1), None);
            assert_eq!(algorithm.combine(&value, &[&value[..], b"a"].concat(), 1), None);
            assert_eq!(algorithm.combine(b"", &value, 1), None);
        }
    }
}
