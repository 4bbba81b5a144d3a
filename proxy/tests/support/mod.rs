//! The real proxy in process, in front of the embedded store, with a local key service: what the pipeline tests use.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod client;
pub mod commands;
pub mod multipart;
pub mod relay;
pub mod sse;
pub mod uploads;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

pub use client::{Answer, Call, Client};
use http::Method;
use kms_client::KeyService;
use kms_client::local::LocalKeys;
use s3cloak::config::{Config, Surroundings, parse};
use s3cloak::demo::store::{self, Handle, Seen, StoreConfig};
use s3cloak::gateway::{S3App, serve_on};
use s3cloak::keys::Keyring;
use s3cloak::services::Services;
use s3cloak::uploads::{Clock, Uploads};

pub const BUCKET: &str = "photos";
/// Nothing is checked again within a test.
pub const CALM: &str = "recheck: 30m";

/// The store replaces an object as a whole where it is copied onto itself.
const PROMISED: &str = "    profile: { whole_self_copies: true }";

/// A running proxy and everything behind it.
pub struct Stack {
    pub proxy: Client,
    pub backend: Client,
    pub store: Handle,
    pub services: Arc<Services>,
    yaml: String,
    folder: tempfile::TempDir,
}

/// What a test may want otherwise.
#[derive(Default)]
pub struct Options {
    /// YAML under `buckets:`; the default rule with `etag: md5` otherwise.
    pub buckets: Option<&'static str>,
    /// Further YAML of the listener.
    pub listen: &'static str,
    /// Further top-level YAML.
    pub more: &'static str,
    /// Changes what the YAML says, also to what no YAML may say.
    pub config: Option<fn(&mut Config)>,
    /// Changes the store's configuration.
    pub store: Option<fn(&mut StoreConfig)>,
    /// Backend YAML beside endpoint, region and keys; the store's one promise that no probe can measure is said otherwise.
    pub backend: &'static str,
    /// YAML inside the braces of `system:`; a bucket of its own otherwise.
    pub system: Option<&'static str>,
    /// YAML inside the braces of the client's one grant; everything otherwise.
    pub allow: Option<&'static str>,
    /// Where keys come from, with a key `test-key`; a new local folder otherwise.
    pub keys: Option<Arc<dyn KeyService>>,
    /// YAML inside the braces of `bucket_key:`; nothing is checked again within a test otherwise.
    pub bucket_key: Option<&'static str>,
}

impl Stack {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut store_config = StoreConfig::memory("backend", "backend-secret");
        store_config.journal = true;
        if let Some(change) = options.store {
            change(&mut store_config);
        }
        let store = store::serve(TcpListener::bind("127.0.0.1:0").unwrap(), store_config).unwrap();
        store.create_bucket(BUCKET).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let yaml = format!(
            "listen:\n  - address: {address}\n    {}\n\
             backends:\n  default:\n    endpoint: {}\n    region: us-east-1\n    access_key: backend\n    \
             secret_key: backend-secret\n    system: {{ {} }}\n{}\n\
             keys:\n  services:\n    main: {{ type: local, path: {} }}\n  default_key: test-key\n  \
             bucket_key: {{ {} }}\n\
             credentials:\n  - access_key: client\n    secret_key: client-secret\n    \
             allow: [{{ {} }}]\n\
             buckets:\n{}\n{}\n",
            options.listen,
            store.endpoint(),
            options.system.unwrap_or("bucket: s3cloak-system"),
            if options.backend.contains("profile:") {
                options.backend.to_owned()
            } else {
                format!("{}\n{PROMISED}", options.backend)
            },
            folder.path().join("keys").display(),
            options.bucket_key.unwrap_or(CALM),
            options.allow.unwrap_or("buckets: [\"*\"], actions: [read, write, admin], keys: [\"*\"]"),
            options.buckets.unwrap_or("  \"*\": { backend: default, etag: md5 }"),
            options.more,
        );
        let mut config = config(&yaml);
        if let Some(change) = options.config {
            change(&mut config);
        }
        let config = Arc::new(config);
        let keys = match options.keys {
            Some(keys) => keys,
            None => {
                let keys = LocalKeys::open(folder.path().join("keys")).unwrap();
                keys.create(&kms_client::KeyName::new("test-key").unwrap()).await.unwrap();
                Arc::new(keys)
            }
        };
        let services = serve(config, keys, listener).await;
        store.journal().take();
        let client = |address, access: &str, secret: &str| Client {
            address,
            access_key: access.to_owned(),
            secret_key: secret.to_owned(),
        };
        Self {
            proxy: client(address, "client", "client-secret"),
            backend: client(store.address(), "backend", "backend-secret"),
            store,
            services,
            yaml,
            folder,
        }
    }

    /// Another proxy of the same configuration over the same storage, with other words inside the braces of `bucket_key:`.
    pub async fn replica(&self, keys: Arc<dyn KeyService>, bucket_key: &str) -> (Client, Arc<Services>) {
        let was = self.yaml.lines().find(|line| line.contains("bucket_key: { ")).unwrap();
        let yaml = self.yaml.replacen(was, &format!("  bucket_key: {{ {bucket_key} }}"), 1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client { address: listener.local_addr().unwrap(), ..self.proxy.clone() };
        (client, serve(Arc::new(config(&yaml)), keys, listener).await)
    }

    /// Another proxy of the same configuration, with the keys of [`Stack::start`], by whose clock it is so much later.
    pub async fn replica_ahead(&self, by: std::time::Duration) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client { address: listener.local_addr().unwrap(), ..self.proxy.clone() };
        let keys = Arc::new(LocalKeys::open(self.key_folder()).unwrap());
        let config = Arc::new(config(&self.yaml));
        serve_with(config, keys, listener, |services| {
            let clock = Clock::reading(move || std::time::SystemTime::now() + by);
            services.uploads = Uploads::by_clock(services.metrics.tamper_alarm(), clock);
        })
        .await;
        client
    }

    /// The configuration as a file, for commands.
    pub fn config_file(&self) -> std::path::PathBuf {
        let file = self.folder.path().join("config.yaml");
        std::fs::write(&file, &self.yaml).unwrap();
        file
    }

    /// Where the local keys of [`Stack::start`] are.
    pub fn key_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("keys")
    }

    /// Another replica, which reaches the store at `backend`, with the keys of [`Stack::start`].
    pub async fn replica_over(&self, backend: SocketAddr) -> (Client, Arc<Services>) {
        self.changed_replica_over(backend, |_| ()).await
    }

    /// The same with other services.
    pub async fn changed_replica_over(
        &self,
        backend: SocketAddr,
        change: impl FnOnce(&mut Services),
    ) -> (Client, Arc<Services>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let yaml = self
            .yaml
            .replace(&self.store.endpoint(), &format!("http://{backend}"))
            .replace(&self.proxy.address.to_string(), &address.to_string());
        let keys = Arc::new(LocalKeys::open(self.key_folder()).unwrap());
        let services = serve_with(Arc::new(config(&yaml)), keys, listener, change).await;
        (Client { address, ..self.proxy.clone() }, services)
    }

    /// Stores an object through the proxy.
    pub async fn put(&self, key: &str, body: &[u8]) -> Answer {
        let answer = self.proxy.send(Call::new("PUT", format!("/{BUCKET}/{key}")).body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    pub async fn get(&self, key: &str) -> Answer {
        self.proxy.send(Call::new("GET", format!("/{BUCKET}/{key}"))).await
    }

    pub async fn get_range(&self, key: &str, range: &str) -> Answer {
        self.proxy.send(Call::new("GET", format!("/{BUCKET}/{key}")).header("range", range)).await
    }

    pub async fn head(&self, key: &str) -> Answer {
        self.proxy.send(Call::new("HEAD", format!("/{BUCKET}/{key}"))).await
    }
}

/// Starts one proxy on `listener`; another replica, where one runs for the same configuration already.
pub async fn serve(
    config: Arc<Config>,
    keys: Arc<dyn KeyService>,
    listener: tokio::net::TcpListener,
) -> Arc<Services> {
    serve_with(config, keys, listener, |_| ()).await
}

async fn serve_with(
    config: Arc<Config>,
    keys: Arc<dyn KeyService>,
    listener: tokio::net::TcpListener,
    change: impl FnOnce(&mut Services),
) -> Arc<Services> {
    let keyring = Keyring::new(BTreeMap::from([("main".to_owned(), keys)]), &config.keys);
    let mut services = Services::with_keyring(config.clone(), keyring).unwrap();
    change(&mut services);
    let services = Arc::new(services);
    for backend in services.backends.iter() {
        backend.prepare().await.unwrap();
    }
    services.keyring.start().await;
    let app = S3App::new(services.clone(), &config.listen[0]);
    tokio::spawn(serve_on(listener, app));
    services
}

fn config(yaml: &str) -> Config {
    let around = Surroundings { variable: &|_| None, folder: std::path::Path::new("."), listens: true };
    parse(yaml, "test.yaml", &around).unwrap_or_else(|faults| panic!("{faults}\n{yaml}"))
}

/// Bytes that repeat nowhere within 16, the same for a seed.
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

pub fn md5_hex(data: &[u8]) -> String {
    use md5::Digest;
    hex::encode(md5::Md5::digest(data))
}

/// Whether `plain` and `stored` share any run of 16 bytes.
pub fn shares_a_run(plain: &[u8], stored: &[u8]) -> bool {
    let runs: std::collections::HashSet<&[u8]> = plain.windows(16).collect();
    stored.windows(16).any(|w| runs.contains(w))
}

/// Bytes of objects that these requests moved, both ways.
pub fn moved(seen: &[Seen]) -> u64 {
    let number = |text: Option<&http::HeaderValue>| -> u64 {
        text.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
    };
    let one = |seen: &Seen| match (&seen.method, seen.headers.get("range")) {
        (&Method::GET, Some(range)) => {
            let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let last: u64 = last.parse().unwrap();
            if first.is_empty() { last } else { last + 1 - first.parse::<u64>().unwrap() }
        }
        (&Method::GET, None) if !seen.target.contains('?') => u64::MAX / 1000,
        (&Method::PUT | &Method::POST, _) => number(seen.headers.get("content-length")),
        _ => 0,
    };
    // Our own small records are not objects.
    seen.iter().filter(|seen| !seen.target.starts_with("/s3cloak-system")).map(one).sum()
}
