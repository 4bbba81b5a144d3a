//! The calls to key services behind the keyring: what each outcome does to the caches and to what is known of the
//! external key. Everything here runs inside a flight, never in a request's own task.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use kms_client::{DataKey, KeyError, KeyService};
use object_format::BucketKey;
use tokio::time::Instant;

use super::cache::{CacheKey, OpenKey};
use super::external::{External, Sample, Verdict};
use super::refusal::Refusal;
use super::{Inner, ResolvedKey, context, trial};

/// The longest sealed key that an envelope holds.
const MAX_SEALED: usize = 256;

/// When a new data key may be used without having been opened again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proof {
    /// Never: many objects will hang on it.
    Always,
    /// While another data key of the external key was opened lately, so that a key for one object costs one call.
    UnlessConfirmed,
}

type Fetched = Result<Arc<OpenKey>, Refusal>;

impl Inner {
    fn service(&self, external: &ResolvedKey) -> Result<&Arc<dyn KeyService>, Refusal> {
        self.stats.calls.fetch_add(1, Relaxed);
        self.services.get(&external.service).ok_or(Refusal::Key(KeyError::NotFound))
    }

    /// What is known of a key, made if new.
    pub(super) fn with_external<T>(&self, external: &ResolvedKey, act: impl FnOnce(&mut External) -> T) -> T {
        let mut all = self.externals.lock();
        if let Some(known) = all.get_mut(external) {
            return act(known);
        }
        act(all.entry(external.clone()).or_insert_with(External::new))
    }

    fn epoch(&self, external: &ResolvedKey) -> u64 {
        self.with_external_if_known(external, |known| known.epoch).unwrap_or(0)
    }

    /// Notes a failure of the external key, and does what has to be done about it.
    async fn failed(&self, external: &ResolvedKey, error: &KeyError) {
        self.stats.errors.fetch_add(1, Relaxed);
        if *error == KeyError::NotFound {
            self.cache.put_missing(external.clone()).await;
        }
        let worked = self.with_external_if_known(external, |known| known.worked).unwrap_or(false);
        let verdict = self.with_external_if_known(external, |known| known.failed(Instant::now(), error));
        if let Some(Verdict::Drop(why)) = verdict {
            tracing::error!(alert = true, key = %external, why, "dropped every data key of this key");
            self.drop_keys(external).await;
        } else if !error.is_unreachable() && worked {
            tracing::error!(alert = true, key = %external, %error, "a key that worked before does not");
        } else if *error == KeyError::NotFound {
            // Nobody's failure: a name that a client made up, or a first start that makes the key next.
            tracing::info!(key = %external, "the key service has no key of this name");
        } else {
            tracing::warn!(key = %external, %error, "the key service failed on a key");
        }
    }

    /// Forgets the data keys of an external key.
    pub(super) async fn drop_keys(&self, external: &ResolvedKey) {
        self.writers.lock().retain(|id, _| id.0 != *external);
        self.cache.drop_all(external).await;
    }

    /// Keeps a data key that the service has just made or opened, unless its external key was lost meanwhile. Only what
    /// was opened tells that the external key works.
    async fn keep(&self, key: CacheKey, open: &Arc<OpenKey>, epoch: u64, opened: bool) -> bool {
        let sample = Sample { context: key.context.clone(), sealed: key.sealed.clone() };
        let now = Instant::now();
        let current = self.with_external(&key.external, |known| {
            if known.epoch != epoch {
                return false;
            }
            if opened {
                known.succeeded(now, sample);
            }
            true
        });
        if current {
            self.cache.put(key, Arc::clone(open)).await;
        }
        current
    }

    /// A new data key; the flag says that it may be used again.
    pub(super) async fn generate(
        &self,
        external: &ResolvedKey,
        context: Bytes,
        proof: Proof,
    ) -> Result<(Arc<OpenKey>, bool), Refusal> {
        let epoch = self.epoch(external);
        let (data, opened) = match self.make(external, &context, proof).await? {
            Ok(made) => made,
            Err(error) => {
                self.failed(external, &error).await;
                return Err(Refusal::Key(error));
            }
        };
        let sealed = Bytes::from(data.sealed);
        let key = BucketKey::new(data.plaintext.into_bytes());
        let open = Arc::new(OpenKey::new(external, sealed.clone(), key));
        let key = CacheKey { external: external.clone(), context, sealed };
        let kept = self.keep(key, &open, epoch, opened).await;
        Ok((open, kept))
    }

    /// Has the service make a data key, and open it again: nothing may be written under what cannot be opened. The flag
    /// says whether it was opened.
    async fn make(
        &self,
        external: &ResolvedKey,
        context: &[u8],
        proof: Proof,
    ) -> Result<Result<(DataKey, bool), KeyError>, Refusal> {
        let data = match self.service(external)?.generate(&external.name, context).await {
            Ok(data) => data,
            Err(error) => return Ok(Err(error)),
        };
        if data.sealed.is_empty() || data.sealed.len() > MAX_SEALED {
            let message =
                format!("a sealed data key of {} bytes; envelopes hold 1 to 256", data.sealed.len());
            return Ok(Err(KeyError::Protocol { status: None, message }));
        }
        let confirmed =
            self.with_external_if_known(external, |known| known.is_confirmed(Instant::now(), &self.policy));
        if proof == Proof::UnlessConfirmed && confirmed == Some(true) {
            return Ok(Ok((data, false)));
        }
        let opened =
            trial::open_again(self.service(external)?.as_ref(), &external.name, &data, context).await;
        Ok(opened.map(|()| (data, true)).inspect_err(|error| {
            tracing::warn!(key = %external, %error, "a new data key does not open, so nothing is written under it");
        }))
    }

    /// Opens a sealed data key that was never seen here.
    pub(super) async fn decrypt(&self, key: CacheKey, bucket: &str) -> Fetched {
        let turn = self.gates.turn(bucket).await.ok_or(Refusal::Limited)?;
        let external = key.external.clone();
        let epoch = self.epoch(&external);
        let service = self.service(&external)?;
        match service.decrypt(&external.name, &key.sealed, &key.context).await {
            Ok(plain) => {
                turn.opened();
                let open = OpenKey::new(&external, key.sealed.clone(), BucketKey::new(plain.into_bytes()));
                let open = Arc::new(open);
                self.keep(key, &open, epoch, true).await;
                Ok(open)
            }
            Err(KeyError::NotAuthentic) => {
                // Says nothing of the external key: anybody can make up a sealed key.
                tracing::warn!(key = %external, bucket, "a sealed data key does not open");
                self.cache.put_unopened(key).await;
                Err(Refusal::Key(KeyError::NotAuthentic))
            }
            Err(error) => {
                if error != KeyError::NotFound {
                    turn.opened();
                }
                self.failed(&external, &error).await;
                Err(Refusal::Key(error))
            }
        }
    }

    /// Asks the service to open a data key that did open, or to make and open one where there is none: describing a key
    /// may be allowed where using it is not.
    pub(super) async fn check(&self, external: &ResolvedKey) -> Result<(), Refusal> {
        let (sample, epoch) = self
            .with_external_if_known(external, |known| (known.sample.clone(), known.epoch))
            .unwrap_or((None, 0));
        let outcome = match sample {
            Some(sample) => {
                let service = self.service(external)?;
                service.decrypt(&external.name, &sample.sealed, &sample.context).await.map(|_| sample)
            }
            None => {
                let context = context::probe();
                let made = self.make(external, &context, Proof::Always).await?;
                made.map(|(data, _)| Sample { context, sealed: Bytes::from(data.sealed) })
            }
        };
        match outcome {
            Ok(sample) => {
                if *external == self.default && self.told_unusable.swap(false, Relaxed) {
                    tracing::info!(key = %external, "the default key works now");
                }
                self.cache.forget_negatives(external).await;
                self.with_external(external, |known| {
                    if known.epoch == epoch {
                        known.succeeded(Instant::now(), sample);
                    }
                });
                Ok(())
            }
            Err(error) => {
                self.failed(external, &error).await;
                Err(Refusal::Key(error))
            }
        }
    }
}
