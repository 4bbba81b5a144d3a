//! A stored object's plaintext: sealed bytes in, authenticated plaintext out, in constant memory. Nothing comes out that was
//! not checked, and of a whole object the last bytes only with the footer. Who may read what is decided elsewhere.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use object_format::{FullOpener, OpenError, RangeOpener};

use super::learn::{BodyFacts, Digests, Learn};
use super::plaintext::Plaintext;
use crate::backend::Body;
use crate::error::{Code, Error, Result};

/// How a body is opened.
pub enum Opening {
    /// The whole stored object, checked to its footer.
    Full(Box<FullOpener>),
    /// The chunks that a range touches.
    Range(Box<RangeOpener>),
    /// Plaintext of the backend as it is: only for buckets that allow it.
    Plain,
}

/// The bytes of a backend's answer that were asked for: some backends answer a range with the whole object.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Bytes to drop first.
    pub skip: u64,
    /// Bytes to use then; what follows is not read.
    pub take: u64,
}

impl Window {
    fn cut(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(skipped);
        self.skip -= skipped as u64;
        bytes.truncate(usize::try_from(self.take).unwrap_or(usize::MAX));
        self.take -= bytes.len() as u64;
        bytes
    }
}

/// Reads exactly so many bytes of plaintext out of a backend's answer.
pub struct Reader {
    body: Body,
    window: Window,
    /// `None` once all of it was opened and checked.
    opening: Option<Opening>,
    ready: VecDeque<Bytes>,
    length: u64,
    left: u64,
}

impl Reader {
    /// Of `length` bytes of plaintext in `window` of `body`.
    pub fn new(body: Body, window: Window, length: u64, opening: Opening) -> Self {
        Self { body, window, opening: Some(opening), ready: VecDeque::new(), length, left: length }
    }

    /// Bytes of plaintext in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes, `None` when all were given out: then the whole of it is authentic.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.open_some().await?;
        match (self.ready.pop_front(), self.left) {
            (Some(plain), left) => {
                self.left = left
                    .checked_sub(plain.len() as u64)
                    .ok_or_else(|| Error::tampered("more plaintext than the authenticated size"))?;
                Ok(Some(plain))
            }
            (None, 0) => Ok(None),
            (None, _) => Err(Error::tampered("less plaintext than the authenticated size")),
        }
    }

    /// Opens the first bytes, which the next call gives out. What fails here gave nothing to anybody, and may be asked for
    /// again.
    pub async fn open_some(&mut self) -> Result<()> {
        while self.ready.is_empty() {
            let Some(opening) = &mut self.opening else { return Ok(()) };
            let sealed = if self.window.take > 0 { self.body.chunk().await? } else { None };
            let Some(sealed) = sealed else {
                self.end()?;
                continue;
            };
            let sealed = self.window.cut(sealed);
            let ready = &mut self.ready;
            match opening {
                Opening::Full(opener) => {
                    opener.push(&sealed, &mut |plain| ready.push_back(plain.into())).map_err(tampered)?;
                }
                Opening::Range(opener) => {
                    opener.push(&sealed, &mut |plain| ready.push_back(plain.into())).map_err(tampered)?;
                }
                Opening::Plain if sealed.is_empty() => {}
                Opening::Plain => ready.push_back(sealed),
            }
        }
        Ok(())
    }

    /// What is known only when there is no more: that it was whole.
    fn end(&mut self) -> Result<()> {
        let ready = &mut self.ready;
        match self.opening.take() {
            Some(Opening::Full(opener)) => {
                opener.finish(&mut |plain| ready.push_back(plain.into())).map(drop).map_err(tampered)
            }
            Some(Opening::Range(opener)) => {
                opener.finish(&mut |plain| ready.push_back(plain.into())).map_err(tampered)
            }
            Some(Opening::Plain) if self.window.take > 0 => Err(Error::backend(
                Code::BadGateway,
                "The storage behind the proxy sent less than it announced.",
            )),
            Some(Opening::Plain) | None => Ok(()),
        }
    }
}

fn tampered(error: OpenError) -> Error {
    Error::tampered(format!("opening a body: {error}"))
}

/// A stored object's plaintext on its way into another object.
pub struct StoredBody {
    reader: Reader,
    digests: Digests,
    ended: bool,
    /// What a piece of it left over.
    rest: Bytes,
}

impl StoredBody {
    /// What `reader` reads, learning of it.
    pub fn new(reader: Reader, learn: Learn) -> Self {
        let digests = Digests::new(learn, reader.length(), None, false);
        Self { reader, digests, ended: false, rest: Bytes::new() }
    }

    /// The next `length` bytes as a body of their own, of which nothing is learned but for the whole.
    pub fn cut(&mut self, length: u64) -> Cut<'_> {
        Cut { whole: self, length, left: length }
    }
}

impl Plaintext for StoredBody {
    fn length(&self) -> u64 {
        self.reader.length()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let piece = self.reader.next().await?;
        match &piece {
            Some(piece) => self.digests.update(piece).await,
            None => self.ended = true,
        }
        Ok(piece)
    }

    async fn finish(self) -> Result<BodyFacts> {
        if !self.ended {
            return Err(Error::internal("a stored object was not read to its end"));
        }
        self.digests.finish().await
    }
}

/// A piece of a stored object's plaintext.
pub struct Cut<'a> {
    whole: &'a mut StoredBody,
    length: u64,
    left: u64,
}

impl Plaintext for Cut<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(mut bytes) = self.whole.next().await? else {
            return Err(Error::internal("a piece beyond the end of a stored object"));
        };
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        if bytes.len() > room {
            self.whole.rest = bytes.split_off(room);
        }
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }

    async fn finish(self) -> Result<BodyFacts> {
        match self.left {
            0 => Ok(BodyFacts::default()),
            _ => Err(Error::internal("a piece of a stored object was not read to its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_format::{Attempt, EtagFact, Layout, SealedFacts};

    use super::*;
    use crate::error::Blame;
    use crate::keys::random::SystemRandom;
    use crate::s3::checksum::{ChecksumAlgorithm, Hasher};

    const SIZE: usize = 150_000;

    fn plain() -> Vec<u8> {
        (0..SIZE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    /// A sealed object and its layout.
    fn sealed() -> (Vec<u8>, Layout) {
        use object_format::{CustomerKey, EnvelopeHeader, KeyRef, Kind, ObjectName};
        let key = CustomerKey::new(zeroize::Zeroizing::new([7; 32]));
        let name = ObjectName { binding: "b", key: b"k" };
        let header = EnvelopeHeader::customer(Kind::Single);
        let attempt = Attempt::single(SIZE as u64, &mut SystemRandom);
        let envelope = attempt.envelope(header, KeyRef::Customer(&key), &name, &mut SystemRandom).unwrap();
        let secrets = envelope.open(KeyRef::Customer(&key), &name).unwrap();
        let mut sealer = attempt.into_sealer();
        let mut body = Vec::new();
        sealer.push(&plain(), &mut |chunk| body.extend(chunk)).unwrap();
        body.extend(sealer.finish(&SealedFacts { etag: EtagFact::Opaque, checksum: None }).unwrap());
        (body, Layout::single(&secrets).unwrap())
    }

    fn full(body: &[u8], layout: &Layout, total: usize) -> Reader {
        let window = Window { skip: 0, take: total as u64 };
        let opening = Opening::Full(Box::new(layout.full_opener(total as u64)));
        Reader::new(Body::from_bytes(body.to_vec()), window, SIZE as u64, opening)
    }

    /// What came out, and how it ended.
    async fn all(mut reader: Reader) -> (Vec<u8>, Result<()>) {
        let mut out = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(piece)) => out.extend_from_slice(&piece),
                Ok(None) => return (out, Ok(())),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn a_whole_object_ends_well_only_with_its_footer() {
        let (body, layout) = sealed();
        let total = body.len();
        let (out, end) = all(full(&body, &layout, total)).await;
        assert!(out == plain() && end.is_ok());
        let mut bad_footer = body.clone();
        bad_footer[total - 30] ^= 1;
        for bad in [bad_footer, body[..total - 1].to_vec(), body[..total - 512].to_vec(), vec![]] {
            let (out, end) = all(full(&bad, &layout, total)).await;
            assert!(plain().starts_with(&out) && out.len() <= SIZE / 65_536 * 65_536, "{}", out.len());
            assert_eq!(end.unwrap_err().blame(), Blame::Tampered);
        }
    }

    #[tokio::test]
    async fn a_range_is_cut_out_of_what_was_sent() {
        let (body, layout) = sealed();
        for range in [0..1, 65_535..65_537, 70_000..SIZE as u64, 5..5] {
            let stored = layout.body_range(range.clone());
            let window = Window { skip: stored.start, take: stored.end - stored.start };
            let opening = Opening::Range(Box::new(layout.opener(range.clone())));
            let length = range.end - range.start;
            let (out, end) = all(Reader::new(Body::from_bytes(body.clone()), window, length, opening)).await;
            assert!(end.is_ok() && out == plain()[range.start as usize..range.end as usize], "{range:?}");
        }
        let opening = Opening::Range(Box::new(layout.opener(0..10)));
        let short = Window { skip: 0, take: 1000 };
        let (out, end) = all(Reader::new(Body::from_bytes(body.clone()), short, 10, opening)).await;
        assert!(out.is_empty() && end.is_err());
        // Another length than the range that is opened.
        for length in [9, 11] {
            let window = Window { skip: 0, take: 65_552 };
            let opening = Opening::Range(Box::new(layout.opener(0..10)));
            let (_, end) = all(Reader::new(Body::from_bytes(body.clone()), window, length, opening)).await;
            assert_eq!(end.unwrap_err().blame(), Blame::Tampered);
        }
    }

    #[tokio::test]
    async fn plaintext_is_as_long_as_it_was_announced() {
        let read = |body: &'static [u8], skip, take| {
            Reader::new(Body::from_bytes(body), Window { skip, take }, take, Opening::Plain)
        };
        let (out, end) = all(read(b"0123456789", 3, 4)).await;
        assert!(out == b"3456" && end.is_ok());
        let (out, end) = all(read(b"01234", 3, 4)).await;
        assert_eq!((out.as_slice(), end.unwrap_err().code()), (&b"34"[..], &Code::BadGateway));
    }

    #[tokio::test]
    async fn pieces_make_the_whole() {
        let (body, layout) = sealed();
        let learn = Learn { md5: false, checksum: false, also: Some(ChecksumAlgorithm::Sha256) };
        let mut stored = StoredBody::new(full(&body, &layout, body.len()), learn);
        let mut out = Vec::new();
        for size in [1, 65_535, 0, 70_000, 14_464] {
            let mut cut = stored.cut(size);
            assert_eq!(cut.length(), size);
            let mut seen = 0;
            while let Some(piece) = cut.next().await.unwrap() {
                seen += piece.len() as u64;
                out.extend_from_slice(&piece);
            }
            assert_eq!((seen, cut.finish().await.unwrap()), (size, BodyFacts::default()));
        }
        assert!(out == plain());
        assert!(stored.cut(1).next().await.is_err());
        assert!(stored.next().await.unwrap().is_none());
        let mut sum = Hasher::new(ChecksumAlgorithm::Sha256);
        sum.update(&plain());
        let facts = stored.finish().await.unwrap();
        assert_eq!(facts.checksum, Some((ChecksumAlgorithm::Sha256, sum.finish())));
        // What was not read to its end says nothing of itself.
        let mut stored = StoredBody::new(full(&body, &layout, body.len()), learn);
        assert!(stored.cut(5).finish().await.is_err());
        stored.next().await.unwrap();
        assert!(stored.finish().await.is_err());
    }
}
