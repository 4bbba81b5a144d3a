//! Everything that handlers share, made once at start and given to each by reference.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::audit::Audit;
use crate::auth::CredentialStore;
use crate::backend::{Backend, Backends};
use crate::body::BufferBudget;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::info::InfoCache;
use crate::keys::{Keyring, Readiness};
use crate::metrics::Metrics;
use crate::rules::StoredRules;
use crate::uploads::Uploads;

/// Between two looks at a backend that is not ready yet: short enough for a compose file that starts all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// ... and no longer than this, so that a recovery is seen.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The shared parts of a running proxy.
pub struct Services {
    /// What `config.yaml` says.
    pub config: Arc<Config>,
    /// Who may come in.
    pub credentials: CredentialStore,
    /// Storage behind us.
    pub backends: Backends,
    /// Keys.
    pub keyring: Arc<Keyring>,
    /// Default encryption as clients put it for buckets.
    pub rules: StoredRules,
    /// Multipart uploads under way.
    pub uploads: Uploads,
    /// What is known of objects.
    pub info: InfoCache,
    /// Memory for uploads that are verified whole.
    pub budget: BufferBudget,
    /// Who did what, if that is kept.
    pub audit: Option<Audit>,
    /// Counters.
    pub metrics: Metrics,
    /// Requests being served.
    pub in_flight: InFlight,
}

impl Services {
    /// Builds all parts. Opens no connection: an unreachable backend or key service is found by [`Self::start`] and
    /// shown by `/ready`.
    pub fn new(config: Arc<Config>) -> Result<Self> {
        let keyring = Keyring::from_config(&config.keys)?;
        Self::with_keyring(config, keyring)
    }

    /// The same with a given keyring (tests, the demo).
    pub fn with_keyring(config: Arc<Config>, keyring: Arc<Keyring>) -> Result<Self> {
        let metrics = Metrics::new();
        let backends = Backends::from_config(&config)?;
        backends.report_to(&metrics.backend_latency());
        let audit = config.log.audit.as_deref().map(|path| {
            Audit::open(path).map_err(|e| Error::internal(format!("log.audit: {}: {e}", path.display())))
        });
        let audit = audit.transpose()?;
        Ok(Self {
            credentials: CredentialStore::from_config(&config),
            backends,
            keyring,
            rules: StoredRules::new(metrics.tamper_alarm()),
            uploads: Uploads::new(metrics.tamper_alarm()),
            info: InfoCache::new(),
            budget: BufferBudget::new(config.limits.buffers),
            audit,
            metrics,
            in_flight: InFlight::default(),
            config,
        })
    }

    /// Brings up what needs the network: backend profiles, system areas, the default key. Retries until all are
    /// there, so that the proxy may start before its neighbours.
    pub async fn start(&self) {
        let backends = futures_util::future::join_all(self.backends.iter().map(prepare));
        tokio::join!(backends, self.keyring.start());
        match self.keyring.ready() {
            Readiness::Ready => tracing::info!("backends and keys are ready"),
            // Said once more in the end, since the line that told of it may be far above.
            Readiness::NotReady(reason) => {
                tracing::warn!(reason, "backends are ready, keys are not: writes are refused until they are");
            }
        }
    }
}

/// Measures one backend, however long it takes to come up.
async fn prepare(backend: &Backend) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = backend.prepare().await {
        tracing::warn!(backend = backend.name(), %error, "backend is not ready, trying again in {pause:?}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Counts requests, so that a shutdown can wait for them.
#[derive(Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Counts one request until the guard is dropped.
    pub fn enter(&self) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(self.0.clone())
    }

    /// Requests being served now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One request that is being served.
pub struct InFlightGuard(Arc<AtomicUsize>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
