//! Reading: ciphertext in any split goes in, authenticated plaintext comes out, one copy of each byte.
//! Nothing is released before its tag was checked, and nothing after the first failure.

use crate::error::OpenError;
use crate::layout::{Layout, Place};
use crate::length::TAG;
use crate::segment::ChunkOpener;
use crate::trailer::Trailer;
use std::ops::Range;

/// Collects and opens chunk after chunk, from one place to another.
struct Walk {
    layout: Layout,
    /// The chunk that is being collected; `None` when all are opened.
    next: Option<Place>,
    last: Option<Place>,
    segment: Option<ChunkOpener>,
    chunk: Vec<u8>,
}

impl Walk {
    /// From `next` to `last`, or to the end of the object where there is no `last`.
    fn new(layout: Layout, next: Option<Place>, last: Option<Place>) -> Self {
        Self { layout, next, last, segment: None, chunk: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.next.is_none()
    }

    /// Takes what the chunk at hand still needs from the front of `cipher`; the chunk's plaintext once it is whole, with
    /// its place in the object.
    fn take(&mut self, cipher: &mut &[u8]) -> Result<Option<(u64, Vec<u8>)>, OpenError> {
        let Some(place) = self.next else {
            return Ok(None);
        };
        let length = self.layout.cipher_len(place) as usize;
        if self.chunk.is_empty() {
            self.chunk.reserve_exact(length);
        }
        let (now, later) = cipher.split_at((length - self.chunk.len()).min(cipher.len()));
        self.chunk.extend_from_slice(now);
        *cipher = later;
        if self.chunk.len() < length {
            return Ok(None);
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        if Layout::starts_segment(place) {
            self.segment = None;
        }
        self.segment.get_or_insert_with(|| self.layout.chunk_opener(place)).open(&mut chunk)?;
        debug_assert_eq!(chunk.len() as u64 + TAG, length as u64);
        self.next = if self.last == Some(place) { None } else { self.layout.place_after(place) };
        Ok(Some((self.layout.plain_start(place), chunk)))
    }
}

/// Opens a plaintext range; made by [`Layout::opener`].
#[must_use = "only finish tells whether all bytes came"]
pub struct RangeOpener {
    walk: Walk,
    plain: Range<u64>,
    failed: Option<OpenError>,
}

impl RangeOpener {
    pub(crate) fn new(layout: Layout, plain: Range<u64>, chunks: Option<(Place, Place)>) -> Self {
        let (first, last) = chunks.unzip();
        Self { walk: Walk::new(layout, first, last), plain, failed: None }
    }

    /// Takes the next bytes of [`Layout::body_range`], in any split, and emits the plaintext of each whole chunk, cut to
    /// the range.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] for a chunk that was not sealed in this place, or for bytes behind the range, then and
    /// ever after. What was emitted before is authentic.
    pub fn push(&mut self, mut cipher: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while !cipher.is_empty() {
            let opened = match self.walk.is_done() {
                true => Err(OpenError::NotAuthentic),
                false => self.walk.take(&mut cipher),
            };
            match opened {
                Err(error) => {
                    self.failed = Some(error);
                    return Err(error);
                }
                Ok(None) => {}
                Ok(Some((start, chunk))) => {
                    let chunk = cut(chunk, start, &self.plain);
                    if !chunk.is_empty() {
                        emit(chunk);
                    }
                }
            }
        }
        Ok(())
    }

    /// Confirms that the whole range was opened.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] if ciphertext is missing, or the error of an earlier push.
    pub fn finish(self, _emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.walk.is_done() => Ok(()),
            None => Err(OpenError::Truncated),
        }
    }
}

fn cut(mut chunk: Vec<u8>, start: u64, plain: &Range<u64>) -> Vec<u8> {
    let length = chunk.len() as u64;
    chunk.truncate(plain.end.saturating_sub(start).min(length) as usize);
    let skip = plain.start.saturating_sub(start).min(chunk.len() as u64);
    if skip > 0 {
        chunk.drain(..skip as usize);
    }
    chunk
}

/// Opens a whole object, padding and trailer included; made by [`Layout::full_opener`].
///
/// It holds the last plaintext back until the trailer is verified: a reader that got all bytes got the right ones, all of
/// them, of an object that ends there.
#[must_use = "only finish releases the last chunk and verifies the trailer"]
pub struct FullOpener {
    walk: Walk,
    /// The last plaintext of the object.
    held: Option<Vec<u8>>,
    padding: u64,
    trailer: Vec<u8>,
    failed: Option<OpenError>,
}

impl FullOpener {
    pub(crate) fn new(layout: Layout, sealed_total: u64) -> Self {
        let padding = layout.padding_len().filter(|_| layout.sealed_total() == sealed_total);
        let failed = padding.is_none().then_some(OpenError::NotAuthentic);
        let first = layout.first_place();
        Self {
            walk: Walk::new(layout, first, None),
            held: None,
            padding: padding.unwrap_or_default(),
            trailer: Vec::new(),
            failed,
        }
    }

    /// Takes the next bytes of the body, in any split, and emits the plaintext of each whole chunk, except the last.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] for a chunk that was not sealed in this place, for padding that is not zero, for a byte
    /// behind the trailer, or for an object whose total length is wrong; then and ever after. What was emitted before is
    /// authentic.
    pub fn push(&mut self, cipher: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        let result = self.failed.map_or_else(|| self.try_push(cipher, emit), Err);
        self.failed = result.err();
        result
    }

    fn try_push(&mut self, mut cipher: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        while !cipher.is_empty() && !self.walk.is_done() {
            if let Some((start, chunk)) = self.walk.take(&mut cipher)?.filter(|(_, chunk)| !chunk.is_empty())
            {
                if start + chunk.len() as u64 == self.walk.layout.plain_size() {
                    self.held = Some(chunk);
                } else {
                    emit(chunk);
                }
            }
        }
        let (padding, rest) = cipher.split_at(self.padding.min(cipher.len() as u64) as usize);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::NotAuthentic);
        }
        self.padding -= padding.len() as u64;
        self.trailer.extend_from_slice(rest);
        if self.trailer.len() as u64 > self.walk.layout.trailer_len() {
            return Err(OpenError::NotAuthentic);
        }
        Ok(())
    }

    /// Verifies the trailer, releases the last plaintext, and tells what the trailer says.
    ///
    /// An empty single PUT has no trailer: then nothing is known but its size.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] if ciphertext is missing, [`OpenError::NotAuthentic`] if the trailer is not this object's,
    /// or the error of an earlier push. Then the last plaintext is not released.
    pub fn finish(self, emit: &mut dyn FnMut(Vec<u8>)) -> Result<Trailer, OpenError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let whole = self.trailer.len() as u64 == self.walk.layout.trailer_len();
        if !self.walk.is_done() || !whole {
            return Err(OpenError::Truncated);
        }
        let trailer = self.walk.layout.confirm(&self.trailer)?;
        if let Some(last) = self.held {
            emit(last);
        }
        Ok(trailer)
    }
}
