//! Where the chunks of an object lie: range arithmetic over any part layout.
//! It names segments and makes openers; it opens nothing itself.

use crate::attempt::ObjectSecrets;
use crate::envelope::Kind;
use crate::error::OpenError;
use crate::key::{Dek, Salt};
use crate::length::{self, CHUNK, TAG};
use crate::open::{FullOpener, RangeOpener};
use crate::segment::ChunkOpener;
use crate::trailer::{self, Trailer};
use std::ops::Range;
use std::sync::Arc;

/// The ciphertext bytes to fetch for a plaintext range: one contiguous range of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherRange {
    /// The first byte.
    pub start: u64,
    /// Behind the last byte; equal to `start` where nothing is to be fetched.
    pub end: u64,
}

/// The authenticated layout of one object. Cheap to clone.
#[derive(Clone)]
pub struct Layout(Arc<Inner>);

struct Inner {
    dek: Dek,
    kind: Kind,
    plain_size: u64,
    segments: Vec<Segment>,
}

struct Segment {
    number: u16,
    salt: Salt,
    size: u64,
    plain_start: u64,
    cipher_start: u64,
}

/// One chunk: which segment, and which chunk of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    segment: usize,
    chunk: u64,
}

impl Layout {
    /// The layout of a single PUT, which its envelope alone gives; `None` for a multipart object.
    pub fn single(secrets: &ObjectSecrets) -> Option<Self> {
        let single = secrets.single?;
        let segments = if single.size == 0 { vec![] } else { vec![(0, single.salt, single.size)] };
        Some(Self::new(secrets, segments))
    }

    /// The layout of any object, from its opened trailer.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] if the trailer is not one of such an object.
    pub fn from_trailer(secrets: &ObjectSecrets, trailer: &Trailer) -> Result<Self, OpenError> {
        if secrets.kind() != trailer.kind {
            return Err(OpenError::NotAuthentic);
        }
        let layout = Self::single(secrets).unwrap_or_else(|| {
            Self::new(secrets, trailer.parts.iter().map(|part| (part.number, part.salt, part.size)).collect())
        });
        if layout.plain_size() == trailer.plain_size { Ok(layout) } else { Err(OpenError::NotAuthentic) }
    }

    fn new(secrets: &ObjectSecrets, segments: Vec<(u16, Salt, u64)>) -> Self {
        let (mut plain_start, mut cipher_start) = (0u64, 0u64);
        let segments = segments
            .into_iter()
            .map(|(number, salt, size)| {
                let segment = Segment { number, salt, size, plain_start, cipher_start };
                plain_start = plain_start.saturating_add(size);
                cipher_start = cipher_start.saturating_add(length::segment_len(size));
                segment
            })
            .collect();
        Self(Arc::new(Inner {
            dek: secrets.dek.share(),
            kind: secrets.kind(),
            plain_size: plain_start,
            segments,
        }))
    }

    /// The object's plaintext length, in bytes.
    pub fn plain_size(&self) -> u64 {
        self.0.plain_size
    }

    /// The length of the whole body, in bytes: an object of any other length is not this one.
    pub fn sealed_total(&self) -> u64 {
        length::total_len(self.0.kind, self.0.plain_size)
    }

    /// The ciphertext to fetch for these plaintext bytes: whole chunks. The range is cut to the object.
    pub fn body_range(&self, plain: Range<u64>) -> CipherRange {
        match self.chunks_of(self.cut(plain)) {
            None => CipherRange { start: 0, end: 0 },
            Some((first, last)) => CipherRange {
                start: self.cipher_start(first),
                end: self.cipher_start(last) + self.cipher_len(last),
            },
        }
    }

    /// Opens exactly what [`body_range`](Self::body_range) of the same range names.
    pub fn opener(&self, plain: Range<u64>) -> RangeOpener {
        let plain = self.cut(plain);
        let chunks = self.chunks_of(plain.clone());
        RangeOpener::new(self.clone(), plain, chunks)
    }

    /// Opens a whole object, of which the backend says that it has `sealed_total` bytes.
    pub fn full_opener(&self, sealed_total: u64) -> FullOpener {
        FullOpener::new(self.clone(), sealed_total)
    }

    /// The plaintext range of a part, by its place in the order of parts, from 0.
    pub fn part_range(&self, index: usize) -> Option<Range<u64>> {
        let segment = self.0.segments.get(index)?;
        Some(segment.plain_start..segment.plain_start + segment.size)
    }

    fn cut(&self, plain: Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.plain_size());
        plain.start.min(end)..end
    }

    fn chunks_of(&self, plain: Range<u64>) -> Option<(Place, Place)> {
        (!plain.is_empty()).then(|| (self.place_of(plain.start), self.place_of(plain.end - 1)))
    }

    /// The chunk that holds a plaintext byte of the object.
    fn place_of(&self, at: u64) -> Place {
        // The last segment that starts at or before `at`; empty segments before a byte share its start and lose.
        let segment = self.0.segments.partition_point(|segment| segment.plain_start <= at).saturating_sub(1);
        Place { segment, chunk: (at - self.0.segments[segment].plain_start) / CHUNK }
    }

    pub(crate) fn first_place(&self) -> Option<Place> {
        (!self.0.segments.is_empty()).then_some(Place { segment: 0, chunk: 0 })
    }

    /// The place behind this one, wherever its segment ends.
    pub(crate) fn place_after(&self, place: Place) -> Option<Place> {
        let segment = &self.0.segments[place.segment];
        if place.chunk + 1 < length::chunks(segment.size) {
            return Some(Place { chunk: place.chunk + 1, ..place });
        }
        (place.segment + 1 < self.0.segments.len()).then_some(Place { segment: place.segment + 1, chunk: 0 })
    }

    pub(crate) fn plain_start(&self, place: Place) -> u64 {
        self.0.segments[place.segment].plain_start + place.chunk * CHUNK
    }

    fn cipher_start(&self, place: Place) -> u64 {
        self.0.segments[place.segment].cipher_start + place.chunk * (CHUNK + TAG)
    }

    pub(crate) fn cipher_len(&self, place: Place) -> u64 {
        (self.0.segments[place.segment].size - place.chunk * CHUNK).min(CHUNK) + TAG
    }

    /// The key and nonces of the segment of `place`, from that chunk on.
    pub(crate) fn chunk_opener(&self, place: Place) -> ChunkOpener {
        let segment = &self.0.segments[place.segment];
        ChunkOpener::new(&self.0.dek, &segment.salt, segment.number, segment.size, place.chunk)
    }

    /// Whether `place` is the first chunk of its segment.
    pub(crate) fn starts_segment(place: Place) -> bool {
        place.chunk == 0
    }

    /// Length of the trailer behind segments and padding.
    pub(crate) fn trailer_len(&self) -> u64 {
        match self.0.kind {
            Kind::Single if self.0.plain_size == 0 => 0,
            Kind::Single => trailer::trailer_len(0),
            Kind::Multipart => trailer::trailer_len(self.0.segments.len()),
        }
    }

    /// Length of the zeros between segments and trailer; `None` for a layout that does not fit its own size.
    pub(crate) fn padding_len(&self) -> Option<u64> {
        let segments =
            self.0.segments.last().map_or(0, |last| last.cipher_start + length::segment_len(last.size));
        self.sealed_total().checked_sub(segments)?.checked_sub(self.trailer_len())
    }

    /// Opens the trailer again and holds it against this layout.
    pub(crate) fn confirm(&self, tail: &[u8]) -> Result<Trailer, OpenError> {
        let single = match (self.0.kind, self.0.segments.first()) {
            (Kind::Multipart, _) => None,
            (Kind::Single, first) => Some(crate::attempt::SingleBody {
                salt: first.map_or([0; 16], |segment| segment.salt),
                size: self.0.plain_size,
            }),
        };
        let secrets = ObjectSecrets { dek: self.0.dek.share(), single };
        match trailer::open_trailer(&secrets, tail, self.sealed_total())? {
            trailer::TrailerRead::NeedMore { .. } => Err(OpenError::NotAuthentic),
            trailer::TrailerRead::Ready(trailer) => {
                let same = self.0.kind == Kind::Single
                    || trailer.parts.len() == self.0.segments.len()
                        && trailer.parts.iter().zip(&self.0.segments).all(|(part, segment)| {
                            (part.number, part.size, part.salt)
                                == (segment.number, segment.size, segment.salt)
                        });
                if same { Ok(trailer) } else { Err(OpenError::NotAuthentic) }
            }
        }
    }
}
