//! An S3 backend on the local file system or in memory, built on the `s3s` crate, which does SigV4, aws-chunked bodies,
//! trailers and XML. It knows nothing of encryption: it stores the bytes and metadata it is given, and gives them back.
//! Public are the configuration, the server's [`Handle`] and the [`Faults`] with which a test makes it misbehave.

mod blob;
mod catalog;
mod conditions;
mod copying;
mod disk;
mod faults;
mod listing;
mod multipart;
mod object;
mod reading;
mod receive;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod uploads;
mod writing;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

use self::catalog::Catalog;
pub use self::faults::{Fault, Faults, Journal, Seen};

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// Under this folder, made if absent: `<folder>/<bucket>/<escaped key>` holds exactly an object's stored bytes, and
    /// `<folder>/.meta` its key, headers and tags. Uploads in parts that are not completed do not survive a restart.
    Folder(PathBuf),
    /// In this process's memory.
    Memory,
}

/// Ways in which real backends differ from AWS S3, for tests of the code that has to live with them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quirks {
    /// `If-Match` and `If-None-Match` of writes and deletes are ignored, as some backends do.
    pub ignore_write_conditions: bool,
    /// The `ETag` of an entry of DeleteObjects alone is ignored.
    pub ignore_entry_etags: bool,
    /// Those of PutObject alone are ignored.
    pub ignore_put_conditions: bool,
    /// Those of CompleteMultipartUpload alone are ignored.
    pub ignore_complete_conditions: bool,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER` bodies are refused with 400.
    pub refuse_trailers: bool,
    /// A body that ends too early is stored as if it were whole.
    pub keep_short_bodies: bool,
    /// `Range: bytes=-N` is refused with 416.
    pub refuse_suffix_ranges: bool,
    /// Uploads are listed in order of their ids: no groups, no encoding, no key marker that is more than a filter.
    pub bare_upload_lists: bool,
    /// Keys are names of files: without empty parts and `.`, and with `..` for the folder above.
    pub fold_names: bool,
    /// `?partNumber` is ignored and the whole object returned.
    pub ignore_part_number: bool,
}

/// What [`serve`] needs to know.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where objects are kept.
    pub place: Place,
    /// The one access key that may use the store.
    pub access_key: String,
    /// Its secret key.
    pub secret_key: String,
    /// Deviations from AWS S3; none by default.
    pub quirks: Quirks,
    /// Whether to remember the head of every request for [`Handle::journal`]; grows without bound, so for tests only.
    pub journal: bool,
}

impl StoreConfig {
    /// A store under `folder`.
    pub fn folder(
        folder: impl Into<PathBuf>,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        Self::new(Place::Folder(folder.into()), access_key, secret_key)
    }

    /// A store in memory.
    pub fn memory(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self::new(Place::Memory, access_key, secret_key)
    }

    fn new(place: Place, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            place,
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            quirks: Quirks::default(),
            journal: false,
        }
    }
}

/// One stored object as it is kept, for looking at it and for tampering with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawObject {
    /// The stored bytes.
    pub body: Vec<u8>,
    /// System headers and `x-amz-meta-*`, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RawObject {
    /// The value of a header or of an `x-amz-meta-*` entry.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A running store. Dropping it ends the server and cuts every connection.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    catalog: Arc<Catalog>,
    faults: Faults,
    journal: Journal,
    task: JoinHandle<()>,
}

/// Starts the store on `listener`, on the current tokio runtime.
///
/// # Errors
/// When the folder cannot be made or read, or the listener cannot be used.
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::spawn` does.
pub fn serve(listener: TcpListener, config: StoreConfig) -> io::Result<Handle> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let catalog = Arc::new(Catalog::open(&config.place, config.quirks.fold_names)?);
    let faults = Faults::default();
    let journal = Journal::new(config.journal);
    let task = tokio::spawn(server::run(listener, catalog.clone(), config, faults.clone(), journal.clone()));
    Ok(Handle { address, catalog, faults, journal, task })
}

impl Handle {
    /// Where the store listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for a backend's `endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the store does wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The requests seen so far; empty unless [`StoreConfig::journal`] was set.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Makes a bucket without a request. One that exists already is left as it is.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        self.catalog.ensure_bucket(name)
    }

    /// The keys of a bucket in order; empty if there is no such bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.catalog.keys(bucket)
    }

    /// The file that holds an object's stored bytes; `None` in memory or where there is no such object.
    pub fn object_file(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        self.catalog.find(bucket, key)?.body.path().map(PathBuf::from)
    }

    /// An object as it is stored; `None` where there is no such object.
    pub fn stored(&self, bucket: &str, key: &str) -> Option<RawObject> {
        let object = self.catalog.find(bucket, key)?;
        Some(RawObject { body: object.body.read_all().ok()?, headers: object.headers.clone() })
    }

    /// Changes a stored object behind the server's back, as the owner of a backend can: bytes and metadata, while ETag
    /// and Last-Modified stay. Returns whether there was such an object.
    ///
    /// # Errors
    /// When its files cannot be read or written.
    pub fn tamper(&self, bucket: &str, key: &str, change: impl FnOnce(&mut RawObject)) -> io::Result<bool> {
        let Some(object) = self.catalog.find(bucket, key) else { return Ok(false) };
        let mut raw = RawObject { body: object.body.read_all()?, headers: object.headers.clone() };
        change(&mut raw);
        self.catalog.overwrite(bucket, &object, raw)?;
        Ok(true)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
