//! Key services behind one trait: MinIO KES over mutual TLS, and a local folder of keys.
//! What speaks to a key service lives here; caching, retries across requests and S3 errors do not.

mod error;
mod key;
mod name;
mod seal;

pub mod kes;
pub mod local;
#[cfg(feature = "test-server")]
pub mod testserver;

pub use error::KeyError;
pub use key::{DataKey, EndpointStatus, KeyInfo, PlainKey, ServiceStatus};
pub use name::KeyName;

use async_trait::async_trait;

/// A service that holds external keys, which never leave it, and makes and opens data keys under them.
///
/// `context` is authenticated with the sealed form: opening needs the very same bytes. An empty context equals none.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// A new random data key under `name`, in clear and sealed.
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError>;

    /// Opens a sealed data key. [`KeyError::NotAuthentic`] for other bytes, another key or another context.
    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError>;

    /// Makes an external key. [`KeyError::Exists`] if the name is taken.
    async fn create(&self, name: &KeyName) -> Result<(), KeyError>;

    /// What the service tells about a key.
    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError>;

    /// Names that start with `prefix`, sorted. May be cut short by the service (KES: 1 024 names), so it is for
    /// people to look at; existence is [`KeyService::describe`]'s to say.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError>;

    /// Erases a key and with it everything sealed under it, for good.
    async fn delete(&self, name: &KeyName) -> Result<(), KeyError>;

    /// How the service itself fares; unreachable endpoints are part of the answer, not an error.
    async fn status(&self) -> ServiceStatus;

    /// Whether the service is reachable, accepts our identity and has the key.
    async fn health(&self, name: &KeyName) -> Result<(), KeyError>;
}
