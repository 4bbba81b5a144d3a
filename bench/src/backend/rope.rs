//! The bytes of objects, in the pieces in which they came, shared between an object and its copies: a copy of any size costs
//! the backend the same.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Some bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Rope(Vec<Span>);

/// A range of the bytes that pieces make up together.
#[derive(Clone, Debug)]
struct Span {
    pieces: Arc<[Bytes]>,
    range: Range<u64>,
}

impl Rope {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(vec![Span { pieces: pieces.into(), range: 0..size }])
    }

    pub(super) fn size(&self) -> u64 {
        self.0.iter().map(|span| span.range.end - span.range.start).sum()
    }

    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What lies in `range`, which has to end within.
    pub(super) fn slice(&self, range: &Range<u64>) -> Self {
        let mut at = 0;
        let mut cut = |span: &Span| {
            let length = span.range.end - span.range.start;
            let (from, to) = (range.start.saturating_sub(at), range.end.saturating_sub(at).min(length));
            at += length;
            let range = span.range.start + from..span.range.start + to;
            (from < to).then(|| Span { pieces: span.pieces.clone(), range })
        };
        Self(self.0.iter().filter_map(&mut cut).collect())
    }

    /// All of it, piece by piece.
    pub(super) fn pieces(&self) -> VecDeque<Bytes> {
        let mut out = VecDeque::with_capacity(self.0.iter().map(|span| span.pieces.len()).sum());
        for Span { pieces, range } in &self.0 {
            let mut at = 0_u64;
            for piece in pieces.iter() {
                let end = at + piece.len() as u64;
                if end > range.start && at < range.end {
                    let within = |offset: u64| {
                        usize::try_from(offset.saturating_sub(at)).unwrap_or(0).min(piece.len())
                    };
                    out.push_back(piece.slice(within(range.start)..within(range.end)));
                }
                at = end;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_any_rope_is_what_it_says() {
        let text: Vec<u8> = (0..40).collect();
        let pieces = |text: &[u8]| text.chunks(7).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let mut rope = Rope::new(pieces(&text[..15]));
        rope.append(Rope::new(Vec::new()));
        // Of one that is a slice itself.
        rope.append(Rope::new(pieces(&text[10..])).slice(&(5..30)));
        let whole = |rope: &Rope| rope.pieces().iter().flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>();
        assert_eq!((rope.size(), whole(&rope)), (40, text.clone()));
        for start in 0..=40 {
            for end in start..=40 {
                let slice = rope.slice(&(start..end));
                assert_eq!(slice.size(), end - start);
                assert_eq!(whole(&slice), text[start as usize..end as usize]);
            }
        }
    }
}
