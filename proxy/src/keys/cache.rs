//! Open data keys in memory, and, apart from them, what is known not to open. Entries go when told, when a sweep
//! finds them idle or when there are too many; their key is wiped then, not when moka gets to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use object_format::BucketKey;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ResolvedKey;

/// How long "does not open" and "no such key" are believed.
pub(super) const NEGATIVE: Duration = Duration::from_secs(5);
const MOST: u64 = 20_000;
const MOST_NEGATIVE: u64 = 10_000;

/// A data key in clear with what an envelope stores of it. No Debug, no Clone; wiped on drop.
pub struct OpenKey {
    /// Name of the key service.
    pub service: String,
    /// Name of the external key there.
    pub key_name: String,
    /// The data key as sealed by the service.
    pub sealed: Bytes,
    key: BucketKey,
}

impl OpenKey {
    pub(super) fn new(external: &ResolvedKey, sealed: Bytes, key: BucketKey) -> Self {
        Self { service: external.service.clone(), key_name: external.name.to_string(), sealed, key }
    }

    /// The key itself, for wrapping and unwrapping DEKs.
    pub fn key(&self) -> &BucketKey {
        &self.key
    }
}

/// Names a data key. By the sealed form alone, a planted blob would be served to another bucket.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct CacheKey {
    pub(super) external: ResolvedKey,
    pub(super) context: Bytes,
    pub(super) sealed: Bytes,
}

/// A place for an open key that can be emptied while the cache still holds it.
struct Entry(Mutex<Option<(Arc<OpenKey>, Instant)>>);

impl Entry {
    fn get(&self, now: Instant) -> Option<Arc<OpenKey>> {
        let mut place = self.0.lock();
        let (open, used) = place.as_mut()?;
        *used = now;
        Some(Arc::clone(open))
    }

    fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        self.0.lock().as_ref().is_none_or(|(_, used)| now.saturating_duration_since(*used) > idle)
    }

    fn is_open(&self) -> bool {
        self.0.lock().is_some()
    }

    fn retire(&self) {
        *self.0.lock() = None;
    }
}

pub(super) struct KeyCache {
    open: Cache<CacheKey, Arc<Entry>>,
    unopened: Cache<CacheKey, Instant>,
    missing: Cache<ResolvedKey, Instant>,
    idle: Duration,
}

impl KeyCache {
    pub(super) fn new(idle: Duration) -> Self {
        let open = Cache::builder()
            .max_capacity(MOST)
            .eviction_listener(|_, entry: Arc<Entry>, _| entry.retire())
            .build();
        Self {
            open,
            unopened: Cache::builder().max_capacity(MOST_NEGATIVE).build(),
            missing: Cache::builder().max_capacity(MOST_NEGATIVE).build(),
            idle,
        }
    }

    pub(super) async fn get(&self, key: &CacheKey) -> Option<Arc<OpenKey>> {
        let found = self.open.get(key).await?.get(Instant::now());
        if found.is_none() {
            self.open.invalidate(key).await;
        }
        found
    }

    /// Is any key open at all?
    pub(super) fn holds_any(&self) -> bool {
        self.open.iter().any(|(_, entry)| entry.is_open())
    }

    pub(super) async fn put(&self, key: CacheKey, open: Arc<OpenKey>) {
        let entry = Entry(Mutex::new(Some((open, Instant::now()))));
        self.open.insert(key, Arc::new(entry)).await;
    }

    pub(super) async fn put_unopened(&self, key: CacheKey) {
        self.unopened.insert(key, Instant::now()).await;
    }

    pub(super) async fn put_missing(&self, external: ResolvedKey) {
        self.missing.insert(external, Instant::now()).await;
    }

    pub(super) async fn is_unopened(&self, key: &CacheKey) -> bool {
        self.unopened.get(key).await.is_some_and(|at| at.elapsed() < NEGATIVE)
    }

    pub(super) async fn is_missing(&self, external: &ResolvedKey) -> bool {
        self.missing.get(external).await.is_some_and(|at| at.elapsed() < NEGATIVE)
    }

    /// A key was made: believe no older "no".
    pub(super) async fn forget_negatives(&self, external: &ResolvedKey) {
        self.missing.invalidate(external).await;
        for (key, _) in &self.unopened {
            if key.external == *external {
                self.unopened.invalidate(&*key).await;
            }
        }
    }

    /// Drops every open key of an external key, at once.
    pub(super) async fn drop_all(&self, external: &ResolvedKey) {
        for (key, entry) in &self.open {
            if key.external == *external {
                entry.retire();
                self.open.invalidate(&*key).await;
            }
        }
        self.open.run_pending_tasks().await;
    }

    /// Removes what is idle or believed no longer, and tells which external keys still have open ones. Idle ones of the
    /// external keys in `kept` stay.
    pub(super) async fn sweep(&self, now: Instant, kept: &HashSet<ResolvedKey>) -> HashSet<ResolvedKey> {
        let mut live = HashSet::new();
        let mut removed = false;
        for (key, entry) in &self.open {
            let goes =
                if kept.contains(&key.external) { !entry.is_open() } else { entry.is_idle(now, self.idle) };
            if goes {
                entry.retire();
                self.open.invalidate(&*key).await;
                removed = true;
            } else {
                live.insert(key.external.clone());
            }
        }
        for (key, at) in &self.unopened {
            if now.saturating_duration_since(at) >= NEGATIVE {
                self.unopened.invalidate(&*key).await;
                removed = true;
            }
        }
        for (external, at) in &self.missing {
            if now.saturating_duration_since(at) >= NEGATIVE {
                self.missing.invalidate(&*external).await;
                removed = true;
            }
        }
        if removed {
            self.open.run_pending_tasks().await;
            self.unopened.run_pending_tasks().await;
            self.missing.run_pending_tasks().await;
        }
        live
    }
}
