//! Sealed bytes in, authenticated plaintext out. Nothing unauthenticated is written; the head goes out only with the
//! first opened bytes in hand, so an object that fails there is an S3 error and not a broken transfer.

use bytes::{Buf, Bytes};
use object_format::{FullOpener, OpenError, RangeOpener};

use crate::backend::Body;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome};

/// How a body is opened.
pub enum Download {
    /// The whole stored object, checked to its footer.
    Full(Box<FullOpener>),
    /// The chunks that a range touches.
    Range(Box<RangeOpener>),
}

impl Download {
    fn push(&mut self, sealed: &[u8], emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        match self {
            Self::Full(opener) => opener.push(sealed, emit),
            Self::Range(opener) => opener.push(sealed, emit),
        }
    }

    fn finish(self, emit: &mut dyn FnMut(Vec<u8>)) -> Result<(), OpenError> {
        match self {
            Self::Full(opener) => opener.finish(emit).map(|_trailer| ()),
            Self::Range(opener) => opener.finish(emit),
        }
    }
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

/// Opens `body` towards the client as exactly `length` bytes.
pub async fn open(
    exchange: &mut dyn Exchange,
    head: Head,
    length: u64,
    mut body: Body,
    mut window: Window,
    mut download: Download,
) -> Result<Outcome> {
    let mut head = Some(head);
    let mut opened: Vec<Vec<u8>> = Vec::new();
    let mut left = length;
    while window.take > 0
        && let Some(sealed) = body.chunk().await?
    {
        let sealed = window.cut(sealed);
        download.push(&sealed, &mut |plain| opened.push(plain)).map_err(tampered)?;
        write(exchange, &mut head, length, &mut left, &mut opened).await?;
    }
    download.finish(&mut |plain| opened.push(plain)).map_err(tampered)?;
    write(exchange, &mut head, length, &mut left, &mut opened).await?;
    if left > 0 {
        return Err(Error::tampered("less plaintext than the authenticated size"));
    }
    if let Some(head) = head.take() {
        exchange.start(head, length).await?;
    }
    exchange.finish().await?;
    Ok(Outcome::Streamed)
}

async fn write(
    exchange: &mut dyn Exchange,
    head: &mut Option<Head>,
    length: u64,
    left: &mut u64,
    opened: &mut Vec<Vec<u8>>,
) -> Result<()> {
    for plain in opened.drain(..) {
        *left = left
            .checked_sub(plain.len() as u64)
            .ok_or_else(|| Error::tampered("more plaintext than the authenticated size"))?;
        if let Some(head) = head.take() {
            exchange.start(head, length).await?;
        }
        exchange.write_body(Bytes::from(plain)).await?;
    }
    Ok(())
}

/// Hands a plaintext object of the backend on as it is: only for buckets that allow it.
pub async fn relay(
    exchange: &mut dyn Exchange,
    head: Head,
    length: u64,
    mut body: Body,
    mut window: Window,
) -> Result<Outcome> {
    exchange.start(head, length).await?;
    while window.take > 0
        && let Some(bytes) = body.chunk().await?
    {
        exchange.write_body(window.cut(bytes)).await?;
    }
    if window.take > 0 {
        return Err(Error::backend(
            Code::BadGateway,
            "The storage behind the proxy sent less than it announced.",
        ));
    }
    exchange.finish().await?;
    Ok(Outcome::Streamed)
}

fn tampered(error: OpenError) -> Error {
    Error::tampered(format!("opening a body: {error}"))
}
