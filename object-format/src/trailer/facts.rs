//! What a trailer keeps for the client besides sizes: ETag, checksum and the tags of an upload.
//! The proxy computes them; the format only seals them.

use aws_lc_rs::digest;

/// What the object's ETag is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagFact {
    /// Nothing was sealed: the ETag derives from the backend's.
    Opaque,
    /// MD5 of the plaintext.
    Md5([u8; 16]),
    /// MD5 of the parts' MD5s, shown with `-parts` behind it.
    Multipart {
        /// MD5 over the concatenated MD5s of the parts.
        md5: [u8; 16],
        /// The number behind the dash.
        parts: u16,
    },
}

/// Whether a checksum is of the whole object or of its parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumKind {
    /// `FULL_OBJECT`.
    FullObject,
    /// `COMPOSITE`.
    Composite,
}

/// A checksum of the plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumFact {
    /// 1 CRC32, 2 CRC32C, 3 CRC64NVME, 4 SHA1, 5 SHA256, 6 SHA512, 7 MD5, 8 XXHASH64, 9 XXHASH3, 10 XXHASH128.
    pub algorithm: u8,
    /// What it covers.
    pub kind: ChecksumKind,
    /// The raw bytes, as long as the algorithm says.
    pub value: Vec<u8>,
}

impl ChecksumFact {
    /// How many bytes a checksum of this algorithm has; `None` for an id that the format does not know.
    pub fn value_len(algorithm: u8) -> Option<usize> {
        Some(match algorithm {
            1 | 2 => 4,
            3 | 8 | 9 => 8,
            4 => 20,
            5 => 32,
            6 => 64,
            7 | 10 => 16,
            _ => return None,
        })
    }
}

/// The facts that a footer seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFacts {
    /// The client-visible ETag.
    pub etag: EtagFact,
    /// The object's checksum, where there is one.
    pub checksum: Option<ChecksumFact>,
}

/// What tells one upload from another: SHA-256 over `s3cloak/1/upload` and its id.
pub fn upload_tag(upload_id: &[u8]) -> [u8; 32] {
    tag(b"s3cloak/1/upload", std::iter::once(upload_id))
}

/// What tells one list of parts from another: SHA-256 over `s3cloak/1/list` and, for each part that a client listed, its
/// number and the ETag as listed, without quotes.
pub fn list_tag<'a>(parts: impl IntoIterator<Item = (u16, &'a str)>) -> [u8; 32] {
    let fields: Vec<Vec<u8>> = parts
        .into_iter()
        .map(|(number, etag)| [&number.to_be_bytes()[..], etag.as_bytes()].concat())
        .collect();
    tag(b"s3cloak/1/list", fields.iter().map(Vec::as_slice))
}

fn tag<'a>(label: &[u8], fields: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(label);
    for field in fields {
        hash.update(&(field.len() as u32).to_be_bytes());
        hash.update(field);
    }
    let mut out = [0; 32];
    out.copy_from_slice(hash.finish().as_ref());
    out
}
