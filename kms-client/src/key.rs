//! Data keys and what services tell about keys and themselves. Key material has no Debug and no Clone and is wiped on drop.

use std::time::Duration;

use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A data key in clear.
pub struct PlainKey(Zeroizing<[u8; 32]>);

impl PlainKey {
    /// Takes the key.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Copies 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The key itself.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hands the key on.
    pub fn into_bytes(self) -> Zeroizing<[u8; 32]> {
        self.0
    }
}

/// A fresh data key.
pub struct DataKey {
    /// In clear.
    pub plaintext: PlainKey,
    /// Sealed under the external key and the context: opaque, of any length (KES today: 76 bytes).
    pub sealed: Vec<u8>,
}

/// What a service tells about a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// The cipher that it seals with, as the service calls it.
    pub algorithm: String,
    /// When it was made, where known.
    pub created_at: Option<OffsetDateTime>,
    /// Identity that made it, where known.
    pub created_by: Option<String>,
}

/// A key service as a whole.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// `KES` or `local`.
    pub kind: &'static str,
    /// Each place that the service is reached at, in configured order.
    pub endpoints: Vec<EndpointStatus>,
}

impl ServiceStatus {
    /// At least one endpoint answers and reaches its keys.
    pub fn is_usable(&self) -> bool {
        self.endpoints.iter().any(|e| e.reachable && e.key_store_reachable)
    }
}

/// One endpoint of a key service.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// URL or folder.
    pub endpoint: String,
    /// It answered and accepts our identity.
    pub reachable: bool,
    /// It reaches the place where its keys are kept.
    pub key_store_reachable: bool,
    /// Version, where the service tells.
    pub version: Option<String>,
    /// Time since its start, where the service tells.
    pub uptime: Option<Duration>,
    /// Latency towards its key store, where the service tells.
    pub key_store_latency: Option<Duration>,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}
