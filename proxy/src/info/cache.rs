//! What is known of objects, kept for a while. Never trusted alone: it is used only where a fresh answer of the
//! backend agrees on commitment, length and ETag.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Info;
use crate::s3::name::{BucketName, ObjectKey};

/// Entries kept: about 40 MiB at 300 bytes an entry and typical keys.
const CAPACITY: u64 = 100_000;
/// Listings show a changed object's new ETag at the latest after this long, whatever the backend's time stamps do.
const AGE: Duration = Duration::from_secs(600);

type Place = (BucketName, ObjectKey, Option<String>);

/// Object info by bucket, key and version.
#[derive(Clone, Debug)]
pub struct InfoCache(Cache<Place, Arc<Info>>);

impl InfoCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).time_to_live(AGE).build())
    }

    /// What was last seen there.
    pub fn get(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Option<Arc<Info>> {
        self.0.get(&(bucket.clone(), key.clone(), version.map(str::to_owned)))
    }

    /// What was last seen there, if a listing's entry agrees with it. `backend_etag` is unquoted, `last_modified` as
    /// listings write it (RFC 3339), `size` in ciphertext bytes.
    pub fn get_listed(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&str>,
        backend_etag: &str,
        last_modified: &str,
        size: u64,
    ) -> Option<Arc<Info>> {
        let listed = OffsetDateTime::parse(last_modified, &Rfc3339).ok()?.unix_timestamp();
        let seconds = |seen| OffsetDateTime::from(seen).unix_timestamp();
        self.get(bucket, key, version).filter(|info| {
            info.backend_etag == backend_etag
                && info.sealed_len == size
                && info.last_modified.is_some_and(|seen: SystemTime| seconds(seen) == listed)
        })
    }

    /// Remembers. A look at less than the whole takes nothing from what is known of the same object.
    pub fn put(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&str>, mut info: Arc<Info>) {
        if !info.whole
            && let Some(known) = self.get(bucket, key, version).filter(|known| known.whole)
            && (known.sealed_len, &known.backend_etag, known.commitment())
                == (info.sealed_len, &info.backend_etag, info.commitment())
        {
            info = Arc::new(Info { last_modified: info.last_modified, ..(*known).clone() });
        }
        self.0.insert((bucket.clone(), key.clone(), version.map(str::to_owned)), info);
    }

    /// Forgets, after a write or a mismatch.
    pub fn forget(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) {
        self.0.invalidate(&(bucket.clone(), key.clone(), version.map(str::to_owned)));
    }
}

impl Default for InfoCache {
    fn default() -> Self {
        Self::new()
    }
}
