//! The bytes that are sent and expected: the same in every process and every run, and without a pattern that any layer
//! could squeeze.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

const PERIOD: usize = 4 << 20;
const PIECE: usize = 256 << 10;

/// 4 MiB from a fixed seed (xorshift64*).
fn period() -> &'static Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut bytes = Vec::with_capacity(PERIOD);
        while bytes.len() < PERIOD {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        bytes.into()
    })
}

/// A body of so many bytes of the pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    at: u64,
    left: u64,
}

impl Pattern {
    pub(crate) fn new(size: u64) -> Self {
        period();
        Self { at: 0, left: size }
    }

    /// Whether `piece` is what stands at `offset` of such a body.
    pub(crate) fn is_at(offset: u64, piece: &[u8]) -> bool {
        let (mut at, mut rest) = (offset, piece);
        while !rest.is_empty() {
            let here = slice(at, rest.len() as u64);
            let (now, later) = rest.split_at(here.len());
            if now != here {
                return false;
            }
            at += here.len() as u64;
            rest = later;
        }
        true
    }
}

/// The pattern from `at` on: at most `left` bytes, a piece, or what is left of the period.
fn slice(at: u64, left: u64) -> Bytes {
    let start = usize::try_from(at % PERIOD as u64).unwrap_or(0);
    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE).min(PERIOD - start);
    period().slice(start..start + length)
}

impl http_body::Body for Pattern {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = slice(self.at, self.left);
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn bodies_are_what_is_expected_of_them() {
        let size = PERIOD as u64 + 12345;
        let body = Pattern::new(size).collect().await.unwrap().to_bytes();
        assert_eq!(body.len() as u64, size);
        assert!(Pattern::is_at(0, &body));
        assert!(Pattern::is_at(777, &body[777..PERIOD + 100]));
        assert!(!Pattern::is_at(778, &body[777..1000]));
    }
}
