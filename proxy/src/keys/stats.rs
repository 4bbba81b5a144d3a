//! Counters of the keyring.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Calls to key services for data keys and checks.
    pub calls: u64,
    /// Of these, the ones that failed or were refused.
    pub errors: u64,
    /// Data keys served from memory.
    pub hits: u64,
    /// Data keys that had to be fetched.
    pub misses: u64,
    /// Of the hits, those served while the key service was unreachable.
    pub offline: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) offline: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Stats {
        Stats {
            calls: self.calls.load(Relaxed),
            errors: self.errors.load(Relaxed),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            offline: self.offline.load(Relaxed),
        }
    }
}
