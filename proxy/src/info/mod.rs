//! OBJECT INFO: plaintext size, ETag, checksum and layout of a stored object, from one backend request.
//! Reading lives in `read.rs`; here is what is known and how it shows to clients.

mod cache;
mod open;
mod read;
mod standing;
mod tail;

pub use cache::InfoCache;
pub use open::{Opens, open_envelope, open_with_own_key};
pub(crate) use read::Looks;
pub use read::{Found, Need, Target, look, lookup, read};
pub(crate) use standing::check_unchanged;
pub use standing::{Standing, Stands, standing};
pub(crate) use tail::{backend_etag, changed, content_length, content_range, pin, unexpected};

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use object_format::length::{CHUNK, TAG, segment_len};
use object_format::{
    ChecksumFact, ChecksumKind, EtagFact, Footer, Kind, ObjectSecrets, SealedFacts, Trailer,
};

use crate::config::EtagPolicy;
use crate::s3::checksum::{ChecksumAlgorithm, Hasher};
use crate::s3::etag;

/// ETag of no bytes: MD5 of the empty string.
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// What a stored object is.
#[derive(Clone, Debug)]
pub enum Nature {
    /// Sealed by us.
    Sealed {
        /// Commitment of its envelope: another envelope under an unchanged ETag (a self-copy) shows here.
        commitment: [u8; 32],
        /// What was opened of its end.
        end: SealedEnd,
    },
    /// An empty `dir/` marker whose envelope the backend dropped: served as empty, it holds nothing.
    Marker,
    /// Plaintext that was there before us.
    Plain,
}

/// What was opened of a sealed object's end.
#[derive(Clone, Debug)]
pub enum SealedEnd {
    /// Nothing: some answers of a backend have headers alone.
    Unseen,
    /// An empty single PUT has no end. Its checksum, of which the envelope keeps the algorithm.
    Empty(ChecksumFact),
    /// The footer of a multipart object, whose parts were not needed.
    Footer(Arc<Footer>),
    /// All of it.
    Trailer(Arc<Trailer>),
}

impl SealedEnd {
    /// ETag and checksum.
    pub fn facts(&self) -> Option<&SealedFacts> {
        match self {
            Self::Unseen | Self::Empty(_) => None,
            Self::Footer(footer) => Some(&footer.facts),
            Self::Trailer(trailer) => Some(&trailer.facts),
        }
    }

    /// The checksum.
    pub fn checksum(&self) -> Option<&ChecksumFact> {
        match self {
            Self::Empty(checksum) => Some(checksum),
            other => other.facts()?.checksum.as_ref(),
        }
    }

    /// That of an empty single PUT.
    fn empty(secrets: &ObjectSecrets) -> Self {
        let algorithm = secrets.empty_checksum().and_then(ChecksumAlgorithm::from_id);
        // The one that S3 gives to what comes without.
        let algorithm = algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        Self::Empty(ChecksumFact {
            algorithm: algorithm.id(),
            kind: ChecksumKind::FullObject,
            value: Hasher::new(algorithm).finish(),
        })
    }

    /// How many parts a multipart object has.
    pub fn parts_count(&self) -> Option<u16> {
        match self {
            Self::Footer(footer) if footer.kind == Kind::Multipart => Some(footer.part_count),
            Self::Trailer(trailer) if trailer.kind == Kind::Multipart => trailer.parts.len().try_into().ok(),
            _ => None,
        }
    }
}

/// What is known of one stored object.
#[derive(Clone, Debug)]
pub struct Info {
    /// What it is.
    pub nature: Nature,
    /// Bytes that a client sees.
    pub plain_size: u64,
    /// Bytes that the backend holds.
    pub sealed_len: u64,
    /// ETag that clients see, unquoted.
    pub etag: String,
    /// ETag of the backend, unquoted.
    pub backend_etag: String,
    /// The backend's Last-Modified, whole seconds.
    pub last_modified: Option<SystemTime>,
    /// Whether everything was read: an archived object shows only its headers, one under a customer's key only those to
    /// who has no key, a footer no parts. Bytes are planned by whole info alone.
    pub whole: bool,
}

impl Info {
    /// Whether it is not legacy plaintext.
    pub fn encrypted(&self) -> bool {
        !matches!(self.nature, Nature::Plain)
    }

    /// What was opened of its end; nothing of an object that is not sealed.
    pub fn end(&self) -> &SealedEnd {
        match &self.nature {
            Nature::Sealed { end, .. } => end,
            Nature::Marker | Nature::Plain => &SealedEnd::Unseen,
        }
    }

    /// The opened trailer, if any.
    pub fn trailer(&self) -> Option<&Trailer> {
        match self.end() {
            SealedEnd::Trailer(trailer) => Some(trailer),
            SealedEnd::Footer(_) | SealedEnd::Empty(_) | SealedEnd::Unseen => None,
        }
    }

    /// The stored bytes that hold `plain`, in one range. It only plans a request: the opener that reads the answer
    /// knows from the authenticated layout what it has to get.
    pub fn stored_range(&self, plain: &Range<u64>) -> Range<u64> {
        match &self.nature {
            Nature::Marker | Nature::Plain => plain.clone(),
            Nature::Sealed { end: SealedEnd::Trailer(trailer), .. } if trailer.kind == Kind::Multipart => {
                chunks_around(trailer.parts.iter().map(|part| part.size), plain)
            }
            Nature::Sealed { .. } => chunks_around([self.plain_size], plain),
        }
    }

    /// The envelope's commitment, for sealed objects.
    pub fn commitment(&self) -> Option<&[u8; 32]> {
        match &self.nature {
            Nature::Sealed { commitment, .. } => Some(commitment),
            Nature::Marker | Nature::Plain => None,
        }
    }
}

/// Whole chunks around `plain` in a body of segments with these plaintext sizes.
fn chunks_around(sizes: impl IntoIterator<Item = u64>, plain: &Range<u64>) -> Range<u64> {
    let (mut plain_start, mut stored_start) = (0, 0);
    let (mut start, mut end) = (None, 0);
    for size in sizes {
        let within = |at: u64| at - plain_start;
        let plain_end = plain_start + size;
        if start.is_none() && plain.start < plain_end {
            start = Some(stored_start + within(plain.start) / CHUNK * (CHUNK + TAG));
        }
        if plain.end > plain_start && plain.start < plain_end {
            let upto = within(plain.end.min(plain_end));
            end = stored_start + upto.div_ceil(CHUNK).saturating_mul(CHUNK + TAG).min(segment_len(size));
        }
        plain_start = plain_end;
        stored_start += segment_len(size);
    }
    start.map_or(0..0, |start| start..end.max(start))
}

/// The ETag that clients see of a sealed object, unquoted.
pub(crate) fn shown_etag(
    policy: EtagPolicy,
    fact: Option<&EtagFact>,
    plain_size: u64,
    backend_etag: &str,
) -> String {
    match fact {
        Some(fact) => sealed_etag(policy, fact, backend_etag),
        // No trailer and no bytes: an empty single PUT.
        None if policy == EtagPolicy::Md5 && plain_size == 0 => EMPTY_MD5.to_owned(),
        None => etag::opaque(backend_etag),
    }
}

/// The same of one whose footer says `fact`.
pub(crate) fn sealed_etag(policy: EtagPolicy, fact: &EtagFact, backend_etag: &str) -> String {
    match (policy, fact) {
        (EtagPolicy::Md5, EtagFact::Md5(md5)) => hex::encode(md5),
        (EtagPolicy::Md5, EtagFact::Multipart { md5, parts }) => format!("{}-{parts}", hex::encode(md5)),
        _ => etag::opaque(backend_etag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_ranges_are_whole_chunks() {
        let chunk = CHUNK + TAG;
        assert_eq!(chunks_around([10], &(3..5)), 0..26);
        assert_eq!(chunks_around([CHUNK * 3], &(0..1)), 0..chunk);
        assert_eq!(chunks_around([CHUNK * 3 + 1], &(CHUNK..CHUNK + 1)), chunk..2 * chunk);
        assert_eq!(chunks_around([CHUNK * 3 + 1], &(CHUNK * 3..CHUNK * 3 + 1)), 3 * chunk..3 * chunk + 17);
        // Two parts of one chunk and one byte each: the range runs over the border.
        let two = [CHUNK + 1, CHUNK + 1];
        assert_eq!(chunks_around(two, &(CHUNK..CHUNK + 2)), chunk..chunk + 17 + chunk);
        assert_eq!(chunks_around(two, &(CHUNK + 1..CHUNK + 2)), chunk + 17..chunk + 17 + chunk);
        assert_eq!(chunks_around(two, &(0..2 * CHUNK + 2)), 0..2 * (chunk + 17));
        // An empty last part takes part in nothing.
        assert_eq!(chunks_around([5, 0], &(0..5)), 0..21);
    }

    #[test]
    fn shown_etags_by_policy() {
        let backend = "0123456789abcdef0123456789abcdef";
        let md5 = EtagFact::Md5([0xab; 16]);
        assert_eq!(shown_etag(EtagPolicy::Md5, Some(&md5), 5, backend), "ab".repeat(16));
        let parts = EtagFact::Multipart { md5: [1; 16], parts: 7 };
        assert_eq!(shown_etag(EtagPolicy::Md5, Some(&parts), 5, backend), format!("{}-7", "01".repeat(16)));
        assert_eq!(shown_etag(EtagPolicy::Md5, None, 0, backend), EMPTY_MD5);
        for opaque in [
            shown_etag(EtagPolicy::Opaque, Some(&md5), 5, backend),
            shown_etag(EtagPolicy::Md5, Some(&EtagFact::Opaque), 5, backend),
        ] {
            assert_eq!(opaque, format!("{backend}-1"));
        }
    }
}
