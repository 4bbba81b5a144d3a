//! The file of a form as the body of a PutObject: its bytes without what stands around them, and their number before the
//! first. A short form is read whole first. Of a longer one the file has to be the last field, so that its length is
//! known; that it was is checked before its end is given out.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::body::BufferRoom;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head};
use crate::s3::form::{Boundary, find, malformed};

/// The exchange of a form's file.
pub(super) struct FormFile<'a> {
    exchange: &'a mut dyn Exchange,
    length: u64,
    source: Source,
}

enum Source {
    /// All of it.
    Whole {
        file: Option<Bytes>,
        _room: BufferRoom,
    },
    Streamed(Streamed),
}

struct Streamed {
    /// Bytes that were read already.
    read: Bytes,
    /// File bytes to come.
    left: u64,
    /// The end of what was given out, in which a delimiter may have begun.
    last: Vec<u8>,
    delimiter: Vec<u8>,
    closing: Vec<u8>,
}

impl<'a> FormFile<'a> {
    /// Reads the rest of a form, of which `read` is here already and which has `left` bytes in all.
    pub(super) async fn whole(
        exchange: &'a mut dyn Exchange,
        read: Bytes,
        left: u64,
        boundary: &Boundary,
        room: BufferRoom,
    ) -> Result<Self> {
        let capacity = usize::try_from(left).map_err(|_| Error::internal("a buffered form of 2^64"))?;
        let mut all = BytesMut::with_capacity(capacity);
        all.extend_from_slice(&read);
        while let Some(piece) = exchange.read_body().await? {
            all.extend_from_slice(&piece);
            if all.len() > capacity {
                return Err(incomplete());
            }
        }
        let all = all.freeze();
        if all.len() != capacity {
            return Err(incomplete());
        }
        let delimiter = boundary.delimiter();
        let end = find(&all, delimiter).ok_or_else(|| malformed("its file has no end"))?;
        // What follows the file is not looked at, as S3 does, but the form has to end as one.
        let after = all[end..].trim_ascii_end();
        if !after.ends_with(&[delimiter, b"--"].concat()) {
            return Err(malformed("it does not end with its boundary"));
        }
        let file = all.slice(..end);
        Ok(Self {
            exchange,
            length: file.len() as u64,
            source: Source::Whole { file: Some(file), _room: room },
        })
    }

    /// Takes the file to reach up to the closing boundary.
    pub(super) fn streamed(
        exchange: &'a mut dyn Exchange,
        read: Bytes,
        left: u64,
        boundary: &Boundary,
    ) -> Result<Self> {
        let closing = boundary.closing();
        let length =
            left.checked_sub(closing.len() as u64).ok_or_else(|| malformed("it ends before its file"))?;
        let delimiter = boundary.delimiter().to_vec();
        let streamed = Streamed { read, left: length, last: Vec::new(), delimiter, closing };
        Ok(Self { exchange, length, source: Source::Streamed(streamed) })
    }

    /// How many bytes the file has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl Streamed {
    async fn next(&mut self, exchange: &mut dyn Exchange) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return self.end(exchange).await.map(|()| None);
        }
        if self.read.is_empty() {
            self.read = exchange.read_body().await?.ok_or_else(incomplete)?;
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.read.len());
        let piece = self.read.split_to(take);
        self.left -= take as u64;
        self.look(&piece)?;
        Ok(Some(piece))
    }

    /// A boundary within the file: other fields follow it, so it is shorter than it was taken for.
    fn look(&mut self, piece: &[u8]) -> Result<()> {
        let keep = self.delimiter.len() - 1;
        self.last.extend_from_slice(&piece[..piece.len().min(keep)]);
        let found = find(&self.last, &self.delimiter).is_some() || find(piece, &self.delimiter).is_some();
        if found {
            return Err(Error::client(
                Code::InvalidArgument,
                "In a form of this size the file has to be the last field.",
            )
            .field("ArgumentName", "file"));
        }
        if piece.len() >= keep {
            self.last.clear();
            self.last.extend_from_slice(&piece[piece.len() - keep..]);
        } else {
            let surplus = self.last.len().saturating_sub(keep);
            self.last.drain(..surplus);
        }
        Ok(())
    }

    async fn end(&mut self, exchange: &mut dyn Exchange) -> Result<()> {
        let mut end = std::mem::take(&mut self.read).to_vec();
        while let Some(piece) = exchange.read_body().await? {
            end.extend_from_slice(&piece);
            if end.len() > self.closing.len() {
                break;
            }
        }
        if end == self.closing {
            Ok(())
        } else {
            Err(malformed("it does not end with its boundary, right behind the file"))
        }
    }
}

#[async_trait]
impl Exchange for FormFile<'_> {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        match &mut self.source {
            Source::Whole { file, .. } => Ok(file.take().filter(|file| !file.is_empty())),
            Source::Streamed(streamed) => streamed.next(self.exchange).await,
        }
    }

    async fn send_continue(&mut self) -> Result<()> {
        self.exchange.send_continue().await
    }

    async fn start(&mut self, head: Head, length: u64) -> Result<()> {
        self.exchange.start(head, length).await
    }

    fn takes_unsized(&self) -> bool {
        self.exchange.takes_unsized()
    }

    async fn start_unsized(&mut self, head: Head) -> Result<()> {
        self.exchange.start_unsized(head).await
    }

    async fn write_body(&mut self, bytes: Bytes) -> Result<()> {
        self.exchange.write_body(bytes).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.exchange.finish().await
    }
}

fn incomplete() -> Error {
    Error::client(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
}
