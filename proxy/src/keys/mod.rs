//! The keyring: bucket data keys in memory, so that key-service calls grow with key epochs and not with objects.
//! Who may name which key is decided elsewhere; the format of what a key seals is `object-format`'s.

mod cache;
mod context;
mod external;
mod fetch;
mod flight;
mod gate;
mod lookup;
pub mod random;
mod refusal;
mod resolve;
mod service;
mod stats;
#[cfg(test)]
mod tests;
mod trial;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kms_client::{KeyError, KeyInfo, KeyName, KeyService, ServiceStatus};
use object_format::{BucketKeyFlag, EnvelopeHeader, Mode};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

pub use cache::OpenKey;
pub use context::Scope;
pub use resolve::ResolvedKey;
pub use stats::Stats;
pub use trial::Trial;

use crate::audit;
use crate::config::{self, BucketKeyPolicy};
use crate::error::{Error, Result};
use cache::{CacheKey, KeyCache};
use external::{External, Standing, Use};
use flight::Flights;
use gate::Gates;
use refusal::{Refusal, Wanted, refuse};
use resolve::Spellings;
use stats::Counters;

/// Longest that a fetch may take where the configuration tells no longer time for its service.
const DEADLINE: Duration = Duration::from_secs(15);
/// Pause between tries at start.
const START_PAUSE: Duration = Duration::from_secs(2);

/// Data keys in use, and the services that they come from. Cheap to call from any task of a tokio runtime.
pub struct Keyring {
    inner: Arc<Inner>,
    spellings: Spellings,
    create_missing: bool,
    upkeep: OnceLock<()>,
}

/// External key and binding name: who writes with which bucket key.
type WriterId = (ResolvedKey, String);

struct Writer {
    open: Arc<OpenKey>,
    /// From then on a new one is fetched while this one still serves.
    refresh: Instant,
    /// From then on writes wait for the new one.
    expires: Instant,
    used: Instant,
}

struct Inner {
    services: BTreeMap<String, Arc<dyn KeyService>>,
    default: ResolvedKey,
    policy: BucketKeyPolicy,
    deadline: Duration,
    cache: KeyCache,
    writers: Mutex<HashMap<WriterId, Writer>>,
    externals: Mutex<HashMap<ResolvedKey, External>>,
    gates: Gates,
    opening: Flights<CacheKey, Arc<OpenKey>>,
    making: Flights<WriterId, Arc<OpenKey>>,
    checking: Flights<ResolvedKey, ()>,
    stats: Counters,
    /// The log's last word on the default key is that it cannot be used.
    told_unusable: AtomicBool,
}

/// Whether writes under the default key work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// They do.
    Ready,
    /// They do not, and why.
    NotReady(String),
}

impl Keyring {
    /// Connects to the configured services. Nothing is asked of them yet.
    pub fn from_config(keys: &config::Keys) -> Result<Arc<Self>> {
        Self::try_new(service::connect(keys)?, keys)
    }

    /// A keyring over given services, by the names that `keys` uses. Panics if the default key's name or service is none;
    /// for tests and embedding, where both are fixed.
    pub fn new(services: BTreeMap<String, Arc<dyn KeyService>>, keys: &config::Keys) -> Arc<Self> {
        Self::try_new(services, keys)
            .expect("the caller names a service that it gives, and a default key of good form")
    }

    fn try_new(services: BTreeMap<String, Arc<dyn KeyService>>, keys: &config::Keys) -> Result<Arc<Self>> {
        let spellings = Spellings {
            services: services.keys().cloned().collect(),
            service: keys.service.clone(),
            aliases: keys.aliases.clone(),
        };
        let default = spellings
            .qualified(&keys.default_key)
            .filter(|key| services.contains_key(&key.service))
            .ok_or_else(|| {
                Error::internal(format!("keys.default_key: {:?} is no key name", keys.default_key))
            })?;
        let slowest = keys.services.values().filter_map(|service| match service {
            // A new data key takes two calls.
            config::KeyServiceConfig::Kes(kes) => Some(kes.timeout * 2 + Duration::from_secs(1)),
            config::KeyServiceConfig::Local { .. } => None,
        });
        let inner = Inner {
            deadline: slowest.fold(DEADLINE, Duration::max),
            externals: Mutex::new(HashMap::from([(default.clone(), External::new())])),
            cache: KeyCache::new(keys.bucket_key.idle),
            policy: keys.bucket_key,
            services,
            default,
            writers: Mutex::default(),
            gates: Gates::default(),
            opening: Flights::default(),
            making: Flights::default(),
            checking: Flights::default(),
            stats: Counters::default(),
            told_unusable: AtomicBool::new(false),
        };
        Ok(Arc::new(Self {
            inner: Arc::new(inner),
            spellings,
            create_missing: keys.create_missing,
            upkeep: OnceLock::new(),
        }))
    }

    /// The key that a client or a rule means; `None` is the default key. Says nothing of whether it exists.
    pub fn resolve(&self, spelling: Option<&str>) -> Result<ResolvedKey> {
        match spelling {
            None => Ok(self.inner.default.clone()),
            Some(spelling) => self.spellings.resolve(spelling),
        }
    }

    /// The key of this very name in the service of names that tell none, if a key can have it.
    pub fn of_default_service(&self, name: &str) -> Option<ResolvedKey> {
        Some(ResolvedKey { service: self.spellings.service.clone(), name: KeyName::new(name).ok()? })
    }

    /// The key for buckets and requests that name none.
    pub fn default_key(&self) -> &ResolvedKey {
        &self.inner.default
    }

    /// A data key to seal new objects with: the bucket's current one, or a fresh one for one object.
    pub async fn for_write(&self, key: &ResolvedKey, scope: Scope<'_>) -> Result<Arc<OpenKey>> {
        self.ensure_upkeep();
        audit::note_key(key);
        let result = match scope {
            Scope::Bucket { binding } => self.inner.writer((key.clone(), binding.to_owned())).await,
            Scope::Object { .. } => self.inner.fresh(key, scope).await,
        };
        result.map_err(|refusal| {
            let worked = self.inner.with_external_if_known(key, |known| known.worked).unwrap_or(false);
            refuse(key, &refusal, Wanted::Write { ours: worked || *key == self.inner.default })
        })
    }

    /// The data key that an envelope names, for the object at `binding` and `key`.
    pub async fn for_read(
        &self,
        envelope: &EnvelopeHeader,
        binding: &str,
        key: &[u8],
    ) -> Result<Arc<OpenKey>> {
        self.ensure_upkeep();
        if envelope.mode == Mode::SseC {
            return Err(Error::internal("an SSE-C envelope was given to the keyring"));
        }
        let name = KeyName::new(envelope.key_name.as_str())
            .map_err(|e| Error::tampered(format!("the envelope names an impossible key: {e}")))?;
        let external = ResolvedKey { service: envelope.service.clone(), name };
        audit::note_key(&external);
        if !self.inner.services.contains_key(&external.service) {
            let cause =
                format!("the envelope names key service {:?}, which keys.services lacks", external.service);
            return Err(refuse(&external, &Refusal::Key(KeyError::NotFound), Wanted::Read).because(cause));
        }
        let scope = match envelope.bucket_key {
            BucketKeyFlag::PerObject => Scope::Object { binding, key, context: envelope.context.as_deref() },
            BucketKeyFlag::Shared | BucketKeyFlag::SharedShown => Scope::Bucket { binding },
        };
        let sealed = envelope.sealed_key.clone().into();
        let wanted = CacheKey { external: external.clone(), context: scope.to_context(), sealed };
        let opened = self.inner.opened(wanted, binding).await;
        opened.map_err(|refusal| refuse(&external, &refusal, Wanted::Read))
    }

    /// Brings up the default key: waits until its service has answered, and makes the key if that is configured and the
    /// answer is that there is none. Afterwards the key is watched without this.
    pub async fn start(&self) {
        self.ensure_upkeep();
        let default = &self.inner.default;
        loop {
            match self.inner.checked(default).await {
                Ok(()) => {
                    tracing::info!(key = %default, "the default key works");
                    return;
                }
                Err(Refusal::Key(KeyError::NotFound)) if self.create_missing => {
                    match self.create(default).await {
                        Ok(()) => tracing::info!(key = %default, "made the default key"),
                        Err(KeyError::Exists) => {}
                        Err(error) => {
                            tracing::error!(key = %default, %error, "cannot make the default key");
                            sleep(START_PAUSE).await;
                        }
                    }
                }
                Err(Refusal::Key(KeyError::NotFound)) => {
                    self.inner.told_unusable.store(true, Relaxed);
                    tracing::error!(
                        alert = true, key = %default,
                        "the default key does not exist, so writes are refused; make it with: s3cloak key create {}",
                        default.name
                    );
                    return;
                }
                Err(Refusal::Key(error)) if error.is_unreachable() => {
                    tracing::warn!(key = %default, %error, "waiting for the key service");
                    sleep(START_PAUSE).await;
                }
                Err(refusal) => {
                    self.inner.told_unusable.store(true, Relaxed);
                    tracing::error!(alert = true, key = %default, ?refusal, "the default key cannot be used");
                    return;
                }
            }
        }
    }

    /// Whether writes under the default key work now; for `/ready`. In an outage of its service that takes a data key in
    /// memory: with none at all, whoever comes would be sent away.
    pub fn ready(&self) -> Readiness {
        let default = &self.inner.default;
        self.inner.with_external(default, |known| {
            match known.standing(Instant::now(), Use::Write, &self.inner.policy) {
                Standing::Offline if !self.inner.cache.holds_any() => Readiness::NotReady(format!(
                    "key {default}: its service cannot be reached, and no data key is in memory"
                )),
                Standing::Good | Standing::Offline => Readiness::Ready,
                Standing::Stale => Readiness::NotReady(format!("key {default} was not checked lately")),
                Standing::Lost => {
                    let problem = known.problem().unwrap_or("it was not checked yet");
                    Readiness::NotReady(format!("key {default}: {problem}"))
                }
            }
        })
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.inner.stats.read()
    }

    /// Makes an external key.
    pub async fn create(&self, key: &ResolvedKey) -> Result<(), KeyError> {
        let made = self.service(&key.service)?.create(&key.name).await;
        self.inner.cache.forget_negatives(key).await;
        made
    }

    /// Names of the external keys of a service, by default the configured one.
    pub async fn list(&self, service: Option<&str>, prefix: &str) -> Result<Vec<String>, KeyError> {
        self.service(service.unwrap_or(&self.spellings.service))?.list(prefix).await
    }

    /// What the service tells about an external key.
    pub async fn describe(&self, key: &ResolvedKey) -> Result<KeyInfo, KeyError> {
        self.service(&key.service)?.describe(&key.name).await
    }

    /// Whether the service makes and opens data keys under an external key just now, past everything in memory.
    pub async fn try_out(&self, key: &ResolvedKey) -> Trial {
        audit::note_key(key);
        match self.service(&key.service) {
            Ok(service) => Trial::of(service.as_ref(), &key.name).await,
            Err(error) => Trial { encryption: Err(error), decryption: None },
        }
    }

    /// Erases an external key for good, and here its data keys at once.
    pub async fn delete(&self, key: &ResolvedKey) -> Result<(), KeyError> {
        self.service(&key.service)?.delete(&key.name).await?;
        self.inner.with_external_if_known(key, |known| known.gone("it was deleted"));
        self.inner.drop_keys(key).await;
        Ok(())
    }

    /// How every service fares, by name.
    pub async fn status(&self) -> BTreeMap<String, ServiceStatus> {
        let mut all = BTreeMap::new();
        for (name, service) in &self.inner.services {
            all.insert(name.clone(), service.status().await);
        }
        all
    }

    fn service(&self, name: &str) -> Result<&Arc<dyn KeyService>, KeyError> {
        self.inner.services.get(name).ok_or(KeyError::NotFound)
    }

    /// Background work begins with the first use, on the runtime of that use.
    fn ensure_upkeep(&self) {
        self.upkeep.get_or_init(|| {
            tokio::spawn(upkeep::run(Arc::downgrade(&self.inner), self.inner.policy));
        });
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("default", &self.inner.default.to_string()).finish_non_exhaustive()
    }
}
