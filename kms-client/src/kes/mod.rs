//! MinIO KES over HTTP/2 or HTTP/1.1 and mutual TLS: the calls of `KeyService` over endpoints with failover.
//! The wire format is `wire`'s, connections are `transport`'s, who is asked next is `failover`'s.

mod api_key;
mod circuit;
mod failover;
mod transport;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use thiserror::Error;

pub use api_key::ApiKey;

use crate::{DataKey, EndpointStatus, KeyError, KeyInfo, KeyName, KeyService, PlainKey, ServiceStatus};
use failover::Failover;
use transport::{Call, Transport};

/// Largest answer that holds one key or one message.
const SMALL: usize = 16 * 1024;
/// Largest list: KES gives at most 1 024 names of 80 bytes.
const LIST: usize = 1024 * 1024;

/// How to reach KES.
pub struct KesConfig {
    /// `https://host:port`, one or more; all of them must hold the same keys.
    pub endpoints: Vec<String>,
    /// Who we are.
    pub identity: KesIdentity,
    /// CA certificates that alone are trusted; the system's otherwise.
    pub ca: Option<Ca>,
    /// Deadline of one call, with all its retries and endpoints.
    pub timeout: Duration,
}

/// Who vouches for KES.
pub enum Ca {
    /// Certificates, PEM.
    Pem(Vec<u8>),
    /// A file of them, read again when it changes.
    File(PathBuf),
}

/// How KES knows us.
pub enum KesIdentity {
    /// An API key; certificates are made of it as needed.
    ApiKey(ApiKey),
    /// Files of a client certificate and its key, PEM, read again when they change.
    Certificate {
        /// Certificate, or chain with the leaf first.
        certificate: PathBuf,
        /// PKCS#8, PKCS#1 or SEC1.
        private_key: PathBuf,
    },
}

/// What is wrong with a [`KesConfig`].
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No endpoint.
    #[error("KES needs at least one endpoint, such as https://kes:7373")]
    NoEndpoint,
    /// Not an endpoint.
    #[error("{endpoint:?} is not a KES endpoint ({why}): write https://host:port")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// Reason.
        why: String,
    },
    /// Not an API key. The text never shows it.
    #[error("the KES API key is no good: {0}; 'kes identity new' makes one")]
    ApiKey(&'static str),
    /// The client certificate can't be used.
    #[error("{0}")]
    Certificate(String),
    /// The CA can't be used.
    #[error("the CA of KES is no good: {0}")]
    Ca(String),
    /// The HTTPS client can't be made.
    #[error("cannot make the HTTPS client towards KES: {0}")]
    Client(String),
}

/// A KES client. Cheap to share, holds its connections.
pub struct Kes {
    failover: Failover,
    timeout: Duration,
}

impl Kes {
    /// Checks the configuration; connects on first use.
    pub fn new(config: KesConfig) -> Result<Self, ConfigError> {
        let KesConfig { endpoints, identity, ca, timeout } = config;
        if endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        let bases = endpoints.iter().map(|e| base(e)).collect::<Result<Vec<_>, _>>()?;
        let transport = Transport::new(identity, ca, timeout.min(Duration::from_secs(5)))?;
        Ok(Self { failover: Failover::new(bases, transport), timeout })
    }

    async fn key_call(
        &self,
        method: Method,
        verb: &str,
        name: &KeyName,
        body: Option<Vec<u8>>,
        repeatable: bool,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
        // A checked name needs no percent-encoding and can't be a dot segment.
        let path = format!("/v1/key/{verb}/{name}");
        let call = Call { method, path, body, limit: SMALL, repeatable, name: Some(name) };
        self.failover.call(&call, self.timeout).await
    }

    async fn endpoint_status(&self, base: &str) -> EndpointStatus {
        let mut status = EndpointStatus {
            endpoint: base.to_owned(),
            reachable: false,
            key_store_reachable: false,
            version: None,
            uptime: None,
            key_store_latency: None,
            problem: None,
        };
        let call = Call {
            method: Method::GET,
            path: "/v1/status".to_owned(),
            body: None,
            limit: SMALL,
            repeatable: true,
            name: None,
        };
        let answer = self.failover.once(base, &call, self.timeout).await;
        match answer.and_then(|body| wire::answer::<wire::StatusAnswer>(&body)) {
            Ok(answer) => {
                status.reachable = true;
                status.key_store_reachable = !answer.keystore_unreachable;
                status.version = answer.version;
                status.uptime = Some(Duration::from_secs(answer.uptime));
                status.key_store_latency = answer.keystore_latency.map(Duration::from_millis);
                if answer.keystore_unreachable {
                    status.problem = Some("KES does not reach its key store".to_owned());
                }
            }
            Err(KeyError::Denied) => {
                // It is there and knows us; a policy without /v1/status is a fair one.
                status.reachable = true;
                status.key_store_reachable = true;
                status.problem = Some(
                    "our policy does not allow /v1/status, so the key store's state is unknown".to_owned(),
                );
            }
            Err(error) => status.problem = Some(error.to_string()),
        }
        status
    }
}

/// `https://host:port` without a path, a query or a user.
fn base(endpoint: &str) -> Result<String, ConfigError> {
    let wrong = |why: &str| ConfigError::Endpoint { endpoint: endpoint.to_owned(), why: why.to_owned() };
    let url = reqwest::Url::parse(endpoint).map_err(|e| wrong(&e.to_string()))?;
    if url.scheme() != "https" {
        return Err(wrong("KES speaks TLS only"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("no host"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a path"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it has a user"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[async_trait]
impl KeyService for Kes {
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError> {
        let body = Some(wire::generate_body(context));
        wire::generated(&self.key_call(Method::POST, "generate", name, body, true).await?)
    }

    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError> {
        let body = Some(wire::decrypt_body(sealed, context));
        wire::decrypted(&self.key_call(Method::POST, "decrypt", name, body, true).await?)
    }

    /// Repeated only where nothing can have been carried out: on some stores two creates of one name both succeed, and
    /// the second replaces the key.
    async fn create(&self, name: &KeyName) -> Result<(), KeyError> {
        self.key_call(Method::POST, "create", name, Some(b"{}".to_vec()), false).await.map(drop)
    }

    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError> {
        wire::described(&self.key_call(Method::GET, "describe", name, None, true).await?)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        // KES refuses a pattern that is not a name by itself, `app-` among them; so ask for less and choose here.
        let asked = prefix.trim_end_matches('-');
        let asked = if asked == "_" { "" } else { asked };
        if !asked.is_empty() {
            KeyName::new(asked)?;
        }
        let call = Call {
            method: Method::GET,
            path: format!("/v1/key/list/{asked}"),
            body: None,
            limit: LIST,
            repeatable: true,
            name: None,
        };
        let body = self.failover.call(&call, self.timeout).await?;
        let wire::ListAnswer { mut names, continue_at } = wire::answer(&body)?;
        if !continue_at.is_empty() {
            tracing::warn!(prefix, "KES cut its list of keys short; give a longer prefix to see the rest");
        }
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        Ok(names)
    }

    async fn delete(&self, name: &KeyName) -> Result<(), KeyError> {
        self.key_call(Method::DELETE, "delete", name, None, false).await.map(drop)
    }

    async fn status(&self) -> ServiceStatus {
        let mut endpoints = Vec::new();
        for base in self.failover.bases() {
            endpoints.push(self.endpoint_status(base).await);
        }
        ServiceStatus { kind: "KES", endpoints }
    }

    /// Describes the key: `/version` answers strangers, and `/v1/ready` says nothing about keys that are cached.
    async fn health(&self, name: &KeyName) -> Result<(), KeyError> {
        self.describe(name).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        assert_eq!(base("https://kes:7373").unwrap(), "https://kes:7373");
        assert_eq!(base("https://kes:7373/").unwrap(), "https://kes:7373");
        assert_eq!(base("https://[::1]:7373").unwrap(), "https://[::1]:7373");
        for bad in [
            "",
            "kes:7373",
            "http://kes:7373",
            "https://",
            "https://u@kes",
            "https://kes/x",
            "https://kes?q",
            "https://kes#f",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
