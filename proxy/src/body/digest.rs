//! Digests of a plaintext while it passes: payload SHA-256, MD5, checksum. What they are compared with is decided in
//! `incoming.rs`.

use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Bodies from this size on hash MD5 on a helper thread: it lifts one stream by 45 % (measured) and costs a small
/// body more than it gives.
const MD5_HELPER_FROM: u64 = 4 * 1024 * 1024;
/// Pieces under way to the helper: 16 of at most 64 KiB bound its memory to 1 MiB.
const MD5_QUEUE: usize = 16;

/// Helpers at once. Each holds a thread of the pool that also resolves the backends' names, for as long as its client
/// likes to take; whoever finds none free hashes in its own task.
const MD5_HELPERS: usize = 64;
static HELPERS: Semaphore = Semaphore::const_new(MD5_HELPERS);

/// MD5, in the request's own task or beside it.
pub(super) enum Md5Digest {
    Here(Box<Md5>),
    Beside { pieces: mpsc::Sender<Bytes>, result: oneshot::Receiver<[u8; 16]> },
}

impl Md5Digest {
    pub(super) fn new(length: u64) -> Self {
        let helper = if length < MD5_HELPER_FROM { None } else { HELPERS.try_acquire().ok() };
        let Some(helper) = helper else { return Self::Here(Box::new(Md5::new())) };
        let (pieces, mut queue) = mpsc::channel::<Bytes>(MD5_QUEUE);
        let (done, result) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let mut md5 = Md5::new();
            while let Some(piece) = queue.blocking_recv() {
                md5.update(&piece);
            }
            drop(helper);
            // Nobody waits for the digest of a refused upload.
            let _ = done.send(md5.finalize().into());
        });
        Self::Beside { pieces, result }
    }

    pub(super) async fn update(&mut self, piece: &Bytes) {
        match self {
            Self::Here(md5) => md5.update(piece),
            // The helper ends only when this sender is dropped.
            Self::Beside { pieces, .. } => drop(pieces.send(piece.clone()).await),
        }
    }

    /// `None` if the helper thread died.
    pub(super) async fn finish(self) -> Option<[u8; 16]> {
        match self {
            Self::Here(md5) => Some(md5.finalize().into()),
            Self::Beside { pieces, result } => {
                drop(pieces);
                result.await.ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_helper_agrees_with_the_task() {
        let data = Bytes::from((0..200_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let mut here = Md5Digest::new(0);
        let mut beside = Md5Digest::new(MD5_HELPER_FROM);
        for piece in data.chunks(7001) {
            let piece = data.slice_ref(piece);
            here.update(&piece).await;
            beside.update(&piece).await;
        }
        let expected: [u8; 16] = Md5::digest(&data).into();
        assert_eq!(here.finish().await, Some(expected));
        assert_eq!(beside.finish().await, Some(expected));
    }

    #[tokio::test]
    async fn slow_uploads_do_not_take_every_thread() {
        let many: Vec<Md5Digest> = (0..MD5_HELPERS + 10).map(|_| Md5Digest::new(MD5_HELPER_FROM)).collect();
        let beside = many.iter().filter(|md5| matches!(md5, Md5Digest::Beside { .. })).count();
        assert!(beside <= MD5_HELPERS, "{beside}");
    }
}
