//! The one HTTPS client towards all endpoints: TLS, our certificate, its renewal and the CA's, one request and its answer within
//! a size limit. Which endpoint, how often and how long is not decided here.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use reqwest::{Certificate, Client, Identity, Method};
use time::OffsetDateTime;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::api_key::{ApiKey, LIFE};
use super::wire::{self, Failure};
use super::{Ca, ConfigError, KesIdentity};
use crate::{KeyError, KeyName};

/// KES closes connections after 90 s of silence; ours go first.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// How often certificate files are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// A request, the same for every endpoint.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
    /// Largest answer that is read.
    pub(super) limit: usize,
    /// May be carried out twice without harm.
    pub(super) repeatable: bool,
    pub(super) name: Option<&'a KeyName>,
}

impl Call<'_> {
    /// It uses a key and changes nothing, so every endpoint may be asked before a "no" is believed.
    pub(super) fn may_ask_all(&self) -> bool {
        self.repeatable && self.name.is_some()
    }
}

pub(super) struct Transport {
    source: Source,
    ca: Option<Ca>,
    connect: Duration,
    current: Mutex<Built>,
}

enum Source {
    ApiKey(ApiKey),
    Files { certificate: PathBuf, private_key: PathBuf },
}

#[derive(Clone)]
struct Built {
    client: Client,
    /// When an API key's certificate was made.
    made: OffsetDateTime,
    /// Times of the files as they were read.
    stamp: Vec<Option<SystemTime>>,
    looked: Instant,
}

impl Transport {
    pub(super) fn new(identity: KesIdentity, ca: Option<Ca>, connect: Duration) -> Result<Self, ConfigError> {
        // reqwest panics without a provider; the first one installed wins, so a program's own choice stands.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let source = match identity {
            KesIdentity::ApiKey(key) => Source::ApiKey(key),
            KesIdentity::Certificate { certificate, private_key } => {
                Source::Files { certificate, private_key }
            }
        };
        let built = build(&source, ca.as_ref(), connect)?;
        Ok(Self { source, ca, connect, current: Mutex::new(built) })
    }

    /// The client, with a certificate that is far from its end and with files as they are now.
    fn client(&self) -> Client {
        let mut current = self.current.lock();
        let mut due = matches!(self.source, Source::ApiKey(_))
            && needs_renewal(current.made, OffsetDateTime::now_utc());
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            due |= stamp(&self.source, self.ca.as_ref()) != current.stamp;
        }
        if due {
            match build(&self.source, self.ca.as_ref(), self.connect) {
                Ok(built) => {
                    *current = built;
                    tracing::info!("took new certificates towards KES");
                }
                Err(error) => {
                    tracing::error!(%error, "cannot take new certificates towards KES: the old ones stay");
                }
            }
        }
        current.client.clone()
    }

    /// Sends `call` to `base` and reads the answer of a 200.
    pub(super) async fn send(&self, base: &str, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut request = self.client().request(call.method.clone(), format!("{base}{}", call.path));
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let mut response = request.send().await.map_err(away)?;
        let status = response.status().as_u16();
        let json = response
            .headers()
            .get("content-type")
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let announced = response.content_length().unwrap_or(0);
        let mut body = Zeroizing::new(Vec::new());
        let too_long =
            || Failure::Next(KeyError::protocol(Some(status), "the answer is too long to be KES's"));
        if announced > call.limit as u64 {
            return Err(too_long());
        }
        // Never grows, since growing would leave unwiped copies behind.
        body.reserve_exact(call.limit);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > call.limit => return Err(too_long()),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // The status alone speaks for itself: KES sends two bodies behind one length with some 502s.
                Err(_) if status >= 500 => break,
                Err(error) => return Err(away(error)),
            }
        }
        match status {
            // Empty successes have no type.
            200 if json || body.is_empty() => Ok(body),
            200 => Err(Failure::Next(KeyError::protocol(
                Some(200),
                "not an answer of KES: is this its address?",
            ))),
            _ => Err(wire::failure(status, &body, call.name)),
        }
    }
}

fn build(source: &Source, ca: Option<&Ca>, connect: Duration) -> Result<Built, ConfigError> {
    let made = OffsetDateTime::now_utc();
    // Before they are read: one that changes meanwhile is read again.
    let stamp = stamp(source, ca);
    let pem = match source {
        Source::ApiKey(key) => key.certificate(made)?,
        Source::Files { certificate, private_key } => {
            let mut pem = read(certificate)?;
            let key = read(private_key)?;
            pem.push('\n');
            pem.push_str(&key);
            pem
        }
    };
    let identity = Identity::from_pem(pem.as_bytes()).map_err(|e| {
        ConfigError::Certificate(format!("the client certificate or its key is no good: {}", chain(&e)))
    })?;
    let mut builder = Client::builder()
        .identity(identity)
        .https_only(true)
        .no_proxy() // the certificate is our identity, so nobody may end TLS in between
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        // Finds connections that died without a word while calls wait on them. KES does not count pings as activity.
        .http2_keep_alive_interval(Duration::from_secs(5))
        .http2_keep_alive_timeout(Duration::from_secs(5));
    if let Some(ca) = ca {
        let pem = match ca {
            Ca::Pem(pem) => pem.clone(),
            Ca::File(path) => std::fs::read(path)
                .map_err(|e| ConfigError::Ca(format!("cannot read {}: {e}", path.display())))?,
        };
        let roots = Certificate::from_pem_bundle(&pem).map_err(|e| ConfigError::Ca(chain(&e)))?;
        if roots.is_empty() {
            return Err(ConfigError::Ca("it holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    let client = builder.build().map_err(|e| ConfigError::Client(chain(&e)))?;
    Ok(Built { client, made, stamp, looked: Instant::now() })
}

fn read(path: &PathBuf) -> Result<Zeroizing<String>, ConfigError> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|e| ConfigError::Certificate(format!("cannot read {}: {e}", path.display())))
}

/// When each file was last changed; `None` where that cannot be told.
fn stamp(source: &Source, ca: Option<&Ca>) -> Vec<Option<SystemTime>> {
    let mut files: Vec<&Path> = Vec::new();
    if let Source::Files { certificate, private_key } = source {
        files.extend([certificate.as_path(), private_key]);
    }
    if let Some(Ca::File(path)) = ca {
        files.push(path);
    }
    files.iter().map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok()).collect()
}

/// A third of its life is enough; a clock that was set back makes a new one, too.
fn needs_renewal(made: OffsetDateTime, now: OffsetDateTime) -> bool {
    now < made || now - made > LIFE / 3
}

fn away(error: reqwest::Error) -> Failure {
    let unsent = error.is_connect();
    Failure::Away { error: KeyError::unavailable(chain(&error.without_url())), unsent }
}

/// An error with its causes; the outermost text alone ("error sending request") tells nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_renewed_long_before_their_end() {
        let made = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        assert!(!needs_renewal(made, made));
        assert!(!needs_renewal(made, made + time::Duration::days(29)));
        assert!(needs_renewal(made, made + time::Duration::days(31)));
        assert!(needs_renewal(made, made + time::Duration::days(400)));
        assert!(needs_renewal(made, made - time::Duration::seconds(1)));
    }
}
