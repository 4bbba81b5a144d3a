//! A server that behaves as MinIO KES does on the wire, for tests and development, with faults to inject.
//! It keeps keys in clear and trusts every client certificate: never put real keys into it.
//!
//! Left out, since no client of ours asks for it: policy and identity listings, log streams, key-store caches.

mod cipher;
mod config;
mod faults;
mod peer;
mod policy;
mod routes;
mod serve;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

pub use cipher::Cipher;
pub use config::Config;
pub use faults::{Fault, Faults};
pub use policy::Policy;

use crate::kes::{ApiKey, Ca, Kes, KesConfig, KesIdentity};
use store::Store;

/// How to start a [`TestKes`].
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder that keeps keys, API key and certificates over restarts; `None`: memory.
    pub data: Option<PathBuf>,
    /// Offer HTTP/2 besides HTTP/1.1.
    pub http2: bool,
    /// The admin's API key; otherwise the one in `data`, or a fresh one.
    pub api_key: Option<ApiKey>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), data: None, http2: true, api_key: None }
    }
}

/// A running server. It ends when dropped.
pub struct TestKes {
    inner: Arc<Inner>,
    acceptor: TlsAcceptor,
    ca: String,
    api_key: Zeroizing<String>,
    address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

/// Who may do everything, and what it takes to be that.
struct Admin {
    identity: String,
    ca: String,
    api_key: Zeroizing<String>,
}

struct Inner {
    admin: String,
    policies: Mutex<BTreeMap<String, Policy>>,
    store: Store,
    faults: Faults,
    started: Instant,
}

impl TestKes {
    /// In memory, on a free port of loopback, with HTTP/2.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// As told.
    pub async fn start_with(options: Options) -> io::Result<Self> {
        let Options { listen, data, http2, api_key } = options;
        let api_key = match (api_key, &data) {
            (Some(key), _) => key,
            (None, Some(folder)) => kept_api_key(folder)?,
            (None, None) => ApiKey::from_seed(Zeroizing::new(store::random())),
        };
        let (store, pems) = match &data {
            Some(folder) => (Store::folder(folder.join("keys"))?, kept_certificates(folder)?),
            None => (Store::memory(), peer::make_certificates().map_err(io::Error::other)?),
        };
        let admin = Admin { identity: api_key.identity(), ca: pems.ca.clone(), api_key: api_key.to_text() };
        Self::serve(listen, http2, store, &pems, admin, BTreeMap::new()).await
    }

    /// As a configuration file of KES says, but on `listen` where that is given. Nobody here has its API key or knows its CA:
    /// [`TestKes::api_key`] and [`TestKes::ca_pem`] are empty.
    pub async fn start_configured(
        config: &Config,
        listen: Option<SocketAddr>,
        http2: bool,
    ) -> io::Result<Self> {
        let read = std::fs::read_to_string;
        let pems = peer::Pems {
            ca: String::new(),
            certificate: read(&config.tls.cert)?,
            key: read(&config.tls.key)?,
        };
        let store = Store::folder(config.keystore.fs.path.clone())?;
        let identity = config.admin.identity.clone();
        let admin = Admin { identity, ca: String::new(), api_key: Zeroizing::default() };
        Self::serve(listen.unwrap_or(config.address), http2, store, &pems, admin, config.policies()).await
    }

    async fn serve(
        address: SocketAddr,
        http2: bool,
        store: Store,
        pems: &peer::Pems,
        admin: Admin,
        policies: BTreeMap<String, Policy>,
    ) -> io::Result<Self> {
        let tls = peer::server_config(pems, http2).map_err(io::Error::other)?;
        let inner = Arc::new(Inner {
            admin: admin.identity,
            policies: Mutex::new(policies),
            store,
            faults: Faults::default(),
            started: Instant::now(),
        });
        let mut server = Self {
            inner,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            ca: admin.ca,
            api_key: admin.api_key,
            address,
            task: None,
        };
        server.resume().await?;
        Ok(server)
    }

    /// Listens again where it did before [`TestKes::stop`].
    pub async fn resume(&mut self) -> io::Result<()> {
        let listener = bind(self.address)?;
        self.address = listener.local_addr()?;
        let accept = serve::accept(listener, self.acceptor.clone(), Arc::clone(&self.inner));
        self.task = Some(tokio::spawn(async move {
            accept.await;
        }));
        Ok(())
    }

    /// Closes the port and every connection, and waits until that is done. Keys stay.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// `https://127.0.0.1:port`
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The admin's API key, `kes:v1:...`.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// The CA to trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    /// Faults to inject and counters.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Gives an identity a policy, or changes it. The admin may do everything and has none.
    pub fn set_policy(&self, identity: impl Into<String>, policy: Policy) {
        self.inner.policies.lock().insert(identity.into(), policy);
    }

    /// Takes an identity's policy away.
    pub fn remove_policy(&self, identity: &str) {
        self.inner.policies.lock().remove(identity);
    }

    /// Puts a key in; false if the name is taken.
    pub fn import_key(&self, name: &str, key: [u8; 32], cipher: Cipher) -> bool {
        self.inner.store.add(name, key, cipher, &self.inner.admin).is_ok()
    }

    /// Makes a random AES256 key; false if the name is taken.
    pub fn create_key(&self, name: &str) -> bool {
        self.import_key(name, store::random(), Cipher::Aes256)
    }

    /// Erases a key; false if there was none.
    pub fn delete_key(&self, name: &str) -> bool {
        self.inner.store.remove(name)
    }

    /// What a client of this server is configured with, as the admin.
    pub fn config(&self, timeout: Duration) -> KesConfig {
        let key = ApiKey::parse(self.api_key()).expect("it was made by ApiKey::to_text");
        KesConfig {
            endpoints: vec![self.endpoint()],
            identity: KesIdentity::ApiKey(key),
            ca: Some(Ca::Pem(self.ca.clone().into_bytes())),
            timeout,
        }
    }

    /// A client of this server, as the admin.
    pub fn client(&self, timeout: Duration) -> Kes {
        Kes::new(self.config(timeout)).expect("the server's own API key and CA are good")
    }
}

impl Drop for TestKes {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // connections of the stopped server may linger
    socket.bind(address)?;
    socket.listen(1024)
}

fn kept_api_key(folder: &Path) -> io::Result<ApiKey> {
    let path = folder.join("api-key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return ApiKey::parse(&text).map_err(io::Error::other);
    }
    std::fs::create_dir_all(folder)?;
    let key = ApiKey::from_seed(Zeroizing::new(store::random()));
    write_private(&path, key.to_text().as_bytes())?;
    Ok(key)
}

fn kept_certificates(folder: &Path) -> io::Result<peer::Pems> {
    let path = |name| folder.join(name);
    let read = |name| std::fs::read_to_string(path(name));
    if let (Ok(ca), Ok(certificate), Ok(key)) = (read("ca.crt"), read("server.crt"), read("server.key")) {
        return Ok(peer::Pems { ca, certificate, key });
    }
    let pems = peer::make_certificates().map_err(io::Error::other)?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(path("ca.crt"), &pems.ca)?;
    std::fs::write(path("server.crt"), &pems.certificate)?;
    write_private(&path("server.key"), pems.key.as_bytes())?;
    Ok(pems)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}
