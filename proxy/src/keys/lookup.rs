//! How a request comes by a data key: from memory if its external key stands well, else by joining a flight.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kms_client::KeyError;
use tokio::time::Instant;

use super::cache::{CacheKey, OpenKey};
use super::external::{External, Standing, Use};
use super::fetch::Proof;
use super::refusal::Refusal;
use super::{Inner, ResolvedKey, Scope, Writer, WriterId};
use crate::audit;

type Found = Result<Arc<OpenKey>, Refusal>;

impl Inner {
    /// An open data key by its sealed form.
    pub(super) async fn opened(self: &Arc<Self>, wanted: CacheKey, bucket: &str) -> Found {
        if let Some(open) = self.cache.get(&wanted).await {
            self.admit(&wanted.external, Use::Read).await?;
            return Ok(open);
        }
        self.stats.misses.fetch_add(1, Relaxed);
        if self.cache.is_unopened(&wanted).await {
            return Err(Refusal::Key(KeyError::NotAuthentic));
        }
        if self.cache.is_missing(&wanted.external).await {
            return Err(Refusal::Key(KeyError::NotFound));
        }
        let (this, key, bucket) = (Arc::clone(self), wanted.clone(), bucket.to_owned());
        let fetch = async move {
            // Who looked before the last flight landed, and came here after, finds its key.
            match this.cache.get(&key).await {
                Some(open) => Ok(open),
                None => this.decrypt(key, &bucket).await,
            }
        };
        self.opening.join(wanted, self.deadline, || fetch).await
    }

    /// The bucket key that new objects of a bucket are sealed under.
    pub(super) async fn writer(self: &Arc<Self>, id: WriterId) -> Found {
        let now = Instant::now();
        let current = self.writers.lock().get_mut(&id).map(|writer| {
            writer.used = now;
            (Arc::clone(&writer.open), now >= writer.refresh, now >= writer.expires)
        });
        if let Some((open, refresh, expired)) = current {
            let standing = self.admit(&id.0, Use::Write).await?;
            // While the service is away, waiting for a new key helps nobody.
            if expired && standing != Standing::Offline {
                return match self.make_writer(id.clone()).await {
                    // It went away just now: the old key serves on for its grace.
                    Err(Refusal::Key(error)) if error.is_unreachable() => {
                        self.admit(&id.0, Use::Write).await.map(|_| open).map_err(|_| Refusal::Key(error))
                    }
                    other => other,
                };
            }
            if refresh {
                self.begin_writer(id.clone());
            }
            // Keeps the cached twin from going idle, which reads of what is written now will want.
            let context = Scope::Bucket { binding: &id.1 }.to_context();
            let _ = self.cache.get(&CacheKey { external: id.0, context, sealed: open.sealed.clone() }).await;
            return Ok(open);
        }
        self.stats.misses.fetch_add(1, Relaxed);
        if self.cache.is_missing(&id.0).await {
            return Err(Refusal::Key(KeyError::NotFound));
        }
        self.make_writer(id).await
    }

    /// A data key for one object alone.
    pub(super) async fn fresh(self: &Arc<Self>, external: &ResolvedKey, scope: Scope<'_>) -> Found {
        self.stats.misses.fetch_add(1, Relaxed);
        if self.cache.is_missing(external).await {
            return Err(Refusal::Key(KeyError::NotFound));
        }
        let (this, external, context) = (Arc::clone(self), external.clone(), scope.to_context());
        let made = audit::spawn(async move {
            tokio::time::timeout(this.deadline, this.generate(&external, context, Proof::UnlessConfirmed))
                .await
        });
        match made.await {
            Ok(Ok(made)) => made.map(|(open, _)| open),
            _ => Err(Refusal::Key(KeyError::Unavailable { reason: "no answer in time".to_owned() })),
        }
    }

    pub(super) async fn make_writer(self: &Arc<Self>, id: WriterId) -> Found {
        let this = Arc::clone(self);
        self.making.join(id.clone(), self.deadline, || async move { this.new_writer(id).await }).await
    }

    fn begin_writer(self: &Arc<Self>, id: WriterId) {
        let this = Arc::clone(self);
        drop(self.making.begin(id.clone(), self.deadline, || async move { this.new_writer(id).await }));
    }

    async fn new_writer(self: Arc<Self>, id: WriterId) -> Found {
        // As above: a flight may have landed since the caller looked.
        let landed =
            self.writers.lock().get(&id).filter(|w| Instant::now() < w.refresh).map(|w| w.open.clone());
        if let Some(open) = landed {
            return Ok(open);
        }
        let context = Scope::Bucket { binding: &id.1 }.to_context();
        let (open, kept) = self.generate(&id.0, context, Proof::Always).await?;
        if kept {
            let now = Instant::now();
            let life = jittered(self.policy.rotate);
            let writer = Writer {
                open: Arc::clone(&open),
                refresh: now + life - life / 20,
                expires: now + life,
                used: now,
            };
            self.writers.lock().insert(id, writer);
        }
        Ok(open)
    }

    /// Whether data keys in memory may be used, after a look at the external key if nobody has looked lately.
    async fn admit(self: &Arc<Self>, external: &ResolvedKey, what_for: Use) -> Result<Standing, Refusal> {
        let mut standing = self.stand(external, what_for);
        if standing == Standing::Stale {
            self.checked(external).await?;
            standing = self.stand(external, what_for);
        }
        match standing {
            Standing::Good => {}
            Standing::Offline => {
                self.stats.offline.fetch_add(1, Relaxed);
            }
            Standing::Stale | Standing::Lost => {
                let reason = self
                    .with_external_if_known(external, |known| known.problem().map(str::to_owned))
                    .flatten()
                    .unwrap_or_else(|| "the key was not confirmed".to_owned());
                return Err(Refusal::Key(KeyError::Unavailable { reason }));
            }
        }
        self.stats.hits.fetch_add(1, Relaxed);
        Ok(standing)
    }

    fn stand(&self, external: &ResolvedKey, what_for: Use) -> Standing {
        let now = Instant::now();
        self.with_external_if_known(external, |known| known.standing(now, what_for, &self.policy))
            .unwrap_or(Standing::Lost)
    }

    /// The outcome of a check, shared by all who want one now.
    pub(super) async fn checked(self: &Arc<Self>, external: &ResolvedKey) -> Result<(), Refusal> {
        let (this, key) = (Arc::clone(self), external.clone());
        self.checking.join(external.clone(), self.deadline, || async move { this.check(&key).await }).await
    }

    /// Begins a check and does not wait for it.
    pub(super) fn begin_check(self: &Arc<Self>, external: &ResolvedKey) {
        let (this, key) = (Arc::clone(self), external.clone());
        drop(self.checking.begin(external.clone(), self.deadline, || async move { this.check(&key).await }));
    }

    /// What is known of a key, if anything: names that never worked are not remembered, since anybody can make them up.
    pub(super) fn with_external_if_known<T>(
        &self,
        external: &ResolvedKey,
        act: impl FnOnce(&mut External) -> T,
    ) -> Option<T> {
        self.externals.lock().get_mut(external).map(act)
    }
}

/// 90 to 110 %, so that replicas and buckets do not rotate at once.
fn jittered(life: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    life.mul_f64(0.9 + 0.2 * f64::from(u16::from_le_bytes(bytes)) / 65_535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let life = Duration::from_secs(1000);
        let all: Vec<_> = (0..200).map(|_| jittered(life)).collect();
        assert!(all.iter().all(|l| (Duration::from_secs(899)..Duration::from_secs(1101)).contains(l)));
        assert!(all.iter().any(|l| *l != all[0]));
    }
}
