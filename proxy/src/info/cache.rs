//! What is known of objects, kept for a while. Never trusted alone: it is used only where a fresh answer of the
//! backend agrees on commitment, length and ETag.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::Equivalent;
use moka::sync::Cache;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Info;
use crate::s3::name::{BucketName, ObjectKey};

/// Bytes kept, about: a hundred thousand objects of one part and typical keys.
const CAPACITY: u64 = 40 << 20;
/// Bytes of an entry beside its key and its parts.
const ENTRY: usize = 350;
/// ... and of each part: its entry in the table, with a checksum.
const PART: usize = 128;
/// Listings show a changed object's new ETag at the latest after this long, whatever the backend's time stamps do.
const AGE: Duration = Duration::from_secs(600);

#[derive(Debug, Eq, PartialEq)]
struct Place {
    bucket: BucketName,
    key: Vec<u8>,
    version: Option<String>,
}

/// The same, borrowed: a page of a listing asks for a thousand.
#[derive(Hash)]
struct PlaceRef<'a> {
    bucket: &'a str,
    key: &'a [u8],
    version: Option<&'a str>,
}

impl Place {
    fn borrowed(&self) -> PlaceRef<'_> {
        PlaceRef { bucket: self.bucket.as_str(), key: &self.key, version: self.version.as_deref() }
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        let other = place.borrowed();
        self.key == other.key && self.bucket == other.bucket && self.version == other.version
    }
}

/// An object of ten thousand parts weighs as much as a page of a listing.
fn weight(place: &Place, info: &Arc<Info>) -> u32 {
    let parts = info.trailer().map_or(0, |trailer| trailer.parts.len());
    u32::try_from(ENTRY + place.key.len() + parts * PART).unwrap_or(u32::MAX)
}

/// Object info by bucket, key and version.
#[derive(Clone, Debug)]
pub struct InfoCache(Cache<Place, Arc<Info>>);

impl InfoCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).weigher(weight).time_to_live(AGE).build())
    }

    /// What was last seen there.
    pub fn get(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Option<Arc<Info>> {
        self.get_at(bucket, key.as_bytes(), version)
    }

    fn get_at(&self, bucket: &BucketName, key: &[u8], version: Option<&str>) -> Option<Arc<Info>> {
        self.0.get(&PlaceRef { bucket: bucket.as_str(), key, version })
    }

    /// What was last seen there, if a listing's entry agrees with it. `backend_etag` is unquoted, `last_modified` as
    /// listings write it (RFC 3339), `size` in ciphertext bytes.
    pub fn get_listed(
        &self,
        bucket: &BucketName,
        key: &[u8],
        version: Option<&str>,
        backend_etag: &str,
        last_modified: &str,
        size: u64,
    ) -> Option<Arc<Info>> {
        let listed = OffsetDateTime::parse(last_modified, &Rfc3339).ok()?.unix_timestamp();
        let seconds = |seen| OffsetDateTime::from(seen).unix_timestamp();
        self.get_at(bucket, key, version).filter(|info| {
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
        let key = key.as_bytes().to_vec();
        self.0.insert(Place { bucket: bucket.clone(), key, version: version.map(str::to_owned) }, info);
    }

    /// Forgets, after a write or a mismatch.
    pub fn forget(&self, bucket: &BucketName, key: &ObjectKey, version: Option<&str>) {
        self.0.invalidate(&PlaceRef { bucket: bucket.as_str(), key: key.as_bytes(), version });
    }
}

impl Default for InfoCache {
    fn default() -> Self {
        Self::new()
    }
}
