//! Buckets and objects in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::Refusal;
use super::rope::Rope;
use super::uploads::Uploads;

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) body: Rope,
    /// With quotes.
    pub(super) etag: HeaderValue,
    /// RFC 3339, for listings.
    pub(super) modified: String,
    /// Everything that GET and HEAD show, ETag and Last-Modified included.
    pub(super) headers: HeaderMap,
}

type Buckets = BTreeMap<String, BTreeMap<String, Arc<Object>>>;

#[derive(Debug, Default)]
pub(super) struct Store {
    buckets: Mutex<Buckets>,
    etags: AtomicU64,
    pub(super) uploads: Mutex<Uploads>,
}

impl Store {
    pub(super) fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new ETag: 32 hex digits, which is all that anybody may expect of one.
    pub(super) fn etag(&self) -> HeaderValue {
        let number =
            self.etags.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        HeaderValue::try_from(format!("\"{number:016x}{:016x}\"", number.rotate_left(23)))
            .unwrap_or(HeaderValue::from_static("\"00000000000000000000000000000000\""))
    }

    pub(super) fn create(&self, bucket: &str) {
        self.lock().entry(bucket.to_owned()).or_default();
    }

    pub(super) fn exists(&self, bucket: &str) -> Result<(), Refusal> {
        self.lock().contains_key(bucket).then_some(()).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))
    }

    pub(super) fn delete_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        let mut buckets = self.lock();
        match buckets.get(bucket) {
            None => return Err((StatusCode::NOT_FOUND, "NoSuchBucket")),
            Some(objects) if !objects.is_empty() => return Err((StatusCode::CONFLICT, "BucketNotEmpty")),
            Some(_) => buckets.remove(bucket),
        };
        Ok(())
    }

    pub(super) fn find(&self, bucket: &str, key: &str) -> Result<Arc<Object>, Refusal> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))?;
        objects.get(key).cloned().ok_or((StatusCode::NOT_FOUND, "NoSuchKey"))
    }

    /// Whether a write's conditions hold now.
    pub(super) fn may_write(&self, bucket: &str, key: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))?;
        check(objects.get(key), headers)
    }

    pub(super) fn insert(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let mut buckets = self.lock();
        let objects = buckets.get_mut(bucket).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))?;
        check(objects.get(key), headers)?;
        let old = objects.insert(key.to_owned(), Arc::new(object));
        drop(buckets);
        // Freeing a large body takes its time, and nobody should wait for it.
        drop(old);
        Ok(())
    }

    pub(super) fn delete(
        &self,
        bucket: &str,
        key: &str,
        wanted: Option<&HeaderValue>,
    ) -> Result<(), Refusal> {
        let mut buckets = self.lock();
        let objects = buckets.get_mut(bucket).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))?;
        if let (Some(wanted), Some(object)) = (wanted, objects.get(key))
            && wanted != object.etag
        {
            return Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
        }
        objects.remove(key);
        Ok(())
    }
}

fn check(current: Option<&Arc<Object>>, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(wanted) = headers.get(http::header::IF_MATCH) {
        let object = current.ok_or((StatusCode::NOT_FOUND, "NoSuchKey"))?;
        if wanted != "*" && *wanted != object.etag {
            return Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
        }
    }
    if let (Some(unwanted), Some(object)) = (headers.get(http::header::IF_NONE_MATCH), current)
        && (unwanted == "*" || *unwanted == object.etag)
    {
        return Err((StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    }
    Ok(())
}
