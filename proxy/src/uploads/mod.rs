//! UPLOADS: multipart uploads under way, kept sealed in the system area of their backend, so that every replica can serve
//! every part and none shares anything else. What becomes of the parts is decided in `plan/multipart.rs`.

mod bucket;
mod clock;
mod collect;
mod folder;
mod held;
mod own;
mod part;
mod state;
mod stray;
pub mod sweep;
mod theirs;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use crate::backend::{Backend, Named};
use crate::error::{Code, Error, Result};
use crate::keys::Keyring;
use crate::metrics::TamperAlarm;
use crate::plan::multipart::PartRecord;
use crate::record;
use crate::s3::name::{BucketName, ObjectKey};
pub use bucket::BucketRecords;
pub use clock::Clock;
pub use collect::{Collector, Fate, Judged, Tally};
use folder::Folder;
pub use held::HeldSealing;
pub use state::{NewState, Owner, UploadState};
pub use stray::{Stray, strays};
pub use theirs::TheirUploads;

/// Uploads whose state is remembered.
const CAPACITY: u64 = 10_000;
/// ... for so long. An upload that ended elsewhere is found out by its backend.
const AGE: Duration = Duration::from_secs(600);
/// Between two renewals of a running copy's record: several fit into the shortest `gc_min_age`, so that one that fails, or
/// waits for the storage as long as it may, does no harm.
const RENEWAL: Duration = Duration::from_secs(5 * 60);

/// Which upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadRef<'a> {
    /// The bucket that it writes to.
    pub bucket: &'a BucketName,
    /// The key of the object that it will be.
    pub key: &'a ObjectKey,
    /// The backend's upload id, which clients see as it is.
    pub id: &'a str,
}

/// The uploads of all backends.
pub struct Uploads {
    alarm: TamperAlarm,
    clock: Clock,
    renewal: Duration,
    /// By backend and folder.
    known: Cache<(String, Folder), Arc<UploadState>>,
}

impl Uploads {
    /// None known yet. `alarm` is raised where what is kept of one is not authentic and no request fails of it.
    pub fn new(alarm: TamperAlarm) -> Self {
        Self::by_clock(alarm, Clock::system())
    }

    /// The same by another clock than the machine's.
    pub fn by_clock(alarm: TamperAlarm, clock: Clock) -> Self {
        Self {
            alarm,
            clock,
            renewal: RENEWAL,
            known: Cache::builder().max_capacity(CAPACITY).time_to_live(AGE).build(),
        }
    }

    /// The same with records of running copies renewed so often.
    #[must_use]
    pub fn renewing_every(self, renewal: Duration) -> Self {
        Self { renewal, ..self }
    }

    /// How often the record of a running copy is renewed.
    pub fn renewal(&self) -> Duration {
        self.renewal
    }

    /// Milliseconds since 1970 by this replica's clock; later than every time that it gave before.
    pub fn now_ms(&self) -> u64 {
        self.clock.next_ms()
    }

    /// Keeps the state of a new upload.
    pub async fn create(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        at: &UploadRef<'_>,
        new: &NewState,
    ) -> Result<()> {
        let area = backend.system().await?;
        let name = Folder::of(at).state();
        let sealed = record::seal(keyring, area.id(), &name, &state::encode(at, new)?).await?;
        area.put(&name, sealed).await
    }

    /// The state of an upload, read afresh.
    ///
    /// # Errors
    /// NoSuchUpload where there is none: an upload that was not made through the proxy is never passed on.
    pub async fn load(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        at: &UploadRef<'_>,
    ) -> Result<Arc<UploadState>> {
        let area = backend.system().await?;
        let folder = Folder::of(at);
        let name = folder.state();
        let place = (backend.name().to_owned(), folder.clone());
        let Some(stored) = area.get(&name).await? else {
            self.known.invalidate(&place);
            return Err(no_such_upload());
        };
        let opened = match record::open(keyring, area.id(), &name, &stored).await? {
            Ok(plain) => state::decode(at, area, folder, self.alarm.clone(), &plain)?,
            Err(why) => Err(why),
        };
        let state = Arc::new(opened.map_err(|why| Error::tampered(format!("state of an upload: {why}")))?);
        self.known.insert(place, state.clone());
        Ok(state)
    }

    /// The same as it was some minutes ago at most: for what the backend itself refuses where the upload has ended.
    pub async fn cached(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        at: &UploadRef<'_>,
    ) -> Result<Arc<UploadState>> {
        match self.known.get(&(backend.name().to_owned(), Folder::of(at))) {
            Some(state) => Ok(state),
            None => self.load(keyring, backend, at).await,
        }
    }

    /// Forgets what is remembered of an upload, after its backend has said that there is none.
    pub fn forget(&self, backend: &Backend, at: &UploadRef<'_>) {
        self.forget_folder(backend, Folder::of(at));
    }

    fn forget_folder(&self, backend: &Backend, folder: Folder) {
        self.known.invalidate(&(backend.name().to_owned(), folder));
    }

    /// Removes all that is kept of an upload; its state last, so that a removal that was cut off can be done again.
    pub async fn remove(&self, backend: &Backend, at: &UploadRef<'_>) -> Result<()> {
        self.forget(backend, at);
        Folder::of(at).remove(&backend.system().await?).await.map(drop)
    }
}

impl UploadState {
    /// Keeps the record of an attempt at a part whose bytes are stored.
    pub async fn keep(&self, part: &PartRecord) -> Result<()> {
        let name = format!("{}{}", self.parts(), self.records.name(part)?);
        self.area.put(&name, Bytes::new()).await
    }

    /// The records of all attempts, in order of their parts' numbers, the newest last. Names that are no record of ours are skipped:
    /// who can write them can also delete those that are.
    pub async fn records(&self) -> Result<Vec<PartRecord>> {
        let below = self.parts();
        let mut out = Vec::new();
        let mut pages = self.area.pages(&below);
        while let Some(page) = pages.next().await? {
            for Named { name, modified } in page.entries {
                match name.strip_prefix(&below).and_then(|name| self.records.read(name)) {
                    Some(record) => out.push(PartRecord { kept: modified, ..record }),
                    None => {
                        tracing::error!(name, alert = "tampered", "no record of this upload's parts");
                        self.alarm.raise();
                    }
                }
            }
        }
        out.sort_by_key(|record| (record.number, record.age()));
        Ok(out)
    }

    fn parts(&self) -> String {
        format!("{}/parts/", self.folder.as_str())
    }
}

/// S3's own words.
pub(crate) const NO_SUCH_UPLOAD: &str = "The specified upload does not exist. The upload ID may be invalid, or the upload may \
     have been aborted or completed.";

/// There is no such upload, or none that was made through the proxy.
pub fn no_such_upload() -> Error {
    Error::client(Code::NoSuchUpload, NO_SUCH_UPLOAD)
}
