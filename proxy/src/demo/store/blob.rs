//! Bytes at rest: a body being written ([`Draft`]), a body that is whole but not yet an object's ([`Finished`]), and an
//! object's body ([`Blob`]), each in memory or in a file. What is dropped before it belongs to an object leaves nothing.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use s3s::dto::StreamingBlob;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How much is read from a body at a time.
const PIECE: usize = 256 * 1024;

/// A file that is removed when dropped, unless it was moved away first.
#[derive(Debug)]
pub(super) struct TempFile(Option<PathBuf>);

impl TempFile {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    /// Moves the file to its place, replacing what is there in one step.
    pub(super) fn persist(mut self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing is lost when this fails: the folder for such files is emptied at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// A body being written.
#[derive(Debug)]
pub(super) enum Draft {
    Memory(BytesMut),
    File(tokio::fs::File, TempFile),
}

impl Draft {
    /// A new draft in `file`, or in memory.
    pub(super) async fn create(file: Option<PathBuf>) -> io::Result<Self> {
        match file {
            None => Ok(Self::Memory(BytesMut::new())),
            Some(path) => {
                let file = tokio::fs::File::create_new(&path).await?;
                Ok(Self::File(file, TempFile(Some(path))))
            }
        }
    }

    pub(super) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(buffer) => buffer.extend_from_slice(piece),
            Self::File(file, _) => file.write_all(piece).await?,
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> io::Result<Finished> {
        match self {
            Self::Memory(buffer) => Ok(Finished::Memory(buffer.freeze())),
            Self::File(mut file, path) => {
                file.flush().await?;
                Ok(Finished::File(path))
            }
        }
    }
}

/// A whole body that no object holds yet.
#[derive(Debug)]
pub(super) enum Finished {
    Memory(Bytes),
    File(TempFile),
}

impl Finished {
    pub(super) fn open(&self) -> io::Result<Source> {
        match self {
            Self::Memory(bytes) => Ok(Source::Memory(bytes.clone())),
            Self::File(file) => Ok(Source::File(fs::File::open(file.path())?)),
        }
    }
}

/// An object's body.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    Memory(Bytes),
    File(PathBuf),
}

impl Default for Blob {
    fn default() -> Self {
        Self::Memory(Bytes::new())
    }
}

impl Blob {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Memory(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The length as it is now: the file may have been edited by hand.
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(fs::metadata(path)?.len()),
        }
    }

    pub(super) fn open(&self) -> io::Result<Source> {
        match self {
            Self::Memory(bytes) => Ok(Source::Memory(bytes.clone())),
            Self::File(path) => Ok(Source::File(fs::File::open(path)?)),
        }
    }

    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        match self.open()? {
            Source::Memory(bytes) => Ok(bytes.to_vec()),
            Source::File(mut file) => {
                let mut all = Vec::new();
                file.read_to_end(&mut all)?;
                Ok(all)
            }
        }
    }
}

/// A body opened for reading: it stays readable when the object is replaced.
#[derive(Debug)]
pub(super) enum Source {
    Memory(Bytes),
    File(fs::File),
}

impl Source {
    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
        }
    }

    /// The bytes of `range`, which lies within [`Source::len`].
    pub(super) fn stream(self, range: Range<u64>) -> io::Result<StreamingBlob> {
        match self {
            Self::Memory(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let rest = bytes.slice(at(range.start)..at(range.end));
                let pieces = stream::unfold(rest, |mut rest| async move {
                    (!rest.is_empty()).then(|| (io::Result::Ok(rest.split_to(rest.len().min(PIECE))), rest))
                });
                Ok(StreamingBlob::wrap(pieces))
            }
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(range.start))?;
                let state = (tokio::fs::File::from_std(file), range.end - range.start);
                let pieces = stream::try_unfold(state, |(mut file, left)| async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                    let mut piece = BytesMut::with_capacity(want);
                    let read = (&mut file).take(want as u64).read_buf(&mut piece).await?;
                    if read == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                    }
                    Ok(Some((piece.freeze(), (file, left - read as u64))))
                });
                Ok(StreamingBlob::wrap(pieces))
            }
        }
    }
}
