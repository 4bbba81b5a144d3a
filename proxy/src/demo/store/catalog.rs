//! Every bucket and object that the store holds, in key order, and the one place where they change: a write's condition
//! is decided under the same lock under which its body takes its place, so readers see the old object or the new one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use s3s::{S3Error, S3Result, s3_error};

use super::blob::{Blob, Draft, Finished, Source};
use super::conditions::WriteConditions;
use super::disk::{Disk, file_name};
use super::object::{Object, now};
use super::{Place, RawObject};

/// The store's content.
#[derive(Debug)]
pub(super) struct Catalog {
    buckets: RwLock<BTreeMap<String, Bucket>>,
    disk: Option<Disk>,
    fold_names: bool,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) created: i64,
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    /// File names in use, in lower case, and whose they are.
    names: HashMap<String, String>,
}

impl Bucket {
    /// The name of the file for `key`: the one it has, or a new one that no other key uses in any spelling.
    fn name(&self, key: &str) -> String {
        if let Some(path) = self.objects.get(key).and_then(|object| object.body.path()) {
            return path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        }
        let plain = file_name(key, false);
        match self.names.get(&plain.to_lowercase()) {
            Some(other) if other != key => file_name(key, true),
            _ => plain,
        }
    }

    fn insert(&mut self, name: Option<String>, object: Object) -> Arc<Object> {
        if let Some(name) = name {
            self.names.insert(name.to_lowercase(), object.key.clone());
        }
        let object = Arc::new(object);
        self.objects.insert(object.key.clone(), object.clone());
        object
    }
}

impl Catalog {
    pub(super) fn open(place: &Place, fold_names: bool) -> io::Result<Self> {
        let mut buckets = BTreeMap::new();
        let disk = match place {
            Place::Memory => None,
            Place::Folder(folder) => {
                let disk = Disk::open(folder)?;
                for (bucket, created, objects) in disk.load()? {
                    let mut loaded = Bucket { created, ..Bucket::default() };
                    for (name, object) in objects {
                        loaded.insert(Some(name), object);
                    }
                    buckets.insert(bucket, loaded);
                }
                Some(disk)
            }
        };
        Ok(Self { buckets: RwLock::new(buckets), disk, fold_names })
    }

    /// The key as it is kept.
    fn kept<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if !self.fold_names {
            return key.into();
        }
        let mut parts = Vec::new();
        for part in key.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/").into()
    }

    /// A body to write into, for [`Catalog::commit`].
    pub(super) async fn draft(&self) -> S3Result<Draft> {
        Draft::create(self.disk.as_ref().map(Disk::temporary)).await.map_err(S3Error::internal_error)
    }

    pub(super) fn buckets(&self) -> Vec<(String, i64)> {
        self.buckets.read().iter().map(|(name, bucket)| (name.clone(), bucket.created)).collect()
    }

    /// Runs `read` on a bucket, or answers NoSuchBucket.
    pub(super) fn with_bucket<T>(&self, bucket: &str, read: impl FnOnce(&Bucket) -> T) -> S3Result<T> {
        self.buckets.read().get(bucket).map(read).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    pub(super) fn create_bucket(&self, name: &str) -> S3Result<()> {
        if self.buckets.read().contains_key(name) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        self.ensure_bucket(name).map_err(S3Error::internal_error)
    }

    pub(super) fn ensure_bucket(&self, name: &str) -> io::Result<()> {
        let mut buckets = self.buckets.write();
        if !buckets.contains_key(name) {
            if let Some(disk) = &self.disk {
                disk.create_bucket(name)?;
            }
            buckets.insert(name.to_owned(), Bucket { created: now(), ..Bucket::default() });
        }
        Ok(())
    }

    pub(super) fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let mut buckets = self.buckets.write();
        let bucket = buckets.get(name).ok_or_else(|| s3_error!(NoSuchBucket))?;
        if !bucket.objects.is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        if let Some(disk) = &self.disk {
            disk.remove_bucket(name).map_err(S3Error::internal_error)?;
        }
        buckets.remove(name);
        Ok(())
    }

    pub(super) fn find(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.buckets.read().get(bucket)?.objects.get(&*self.kept(key)).cloned()
    }

    pub(super) fn keys(&self, bucket: &str) -> Vec<String> {
        self.with_bucket(bucket, |bucket| bucket.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// An object and its open body: both of the same moment.
    pub(super) fn open_object(&self, bucket: &str, key: &str) -> S3Result<(Arc<Object>, Source)> {
        let found = self.with_bucket(bucket, |bucket| {
            let object = bucket.objects.get(&*self.kept(key))?;
            Some(object.body.open().map(|source| (object.clone(), source)))
        })?;
        match found {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                Err(S3Error::internal_error(error))
            }
            // Nothing of that name, or its file was removed by hand.
            _ => Err(s3_error!(NoSuchKey)),
        }
    }

    /// Refuses early what [`Catalog::commit`] would refuse, so that a client need not send its body first.
    pub(super) fn check(&self, bucket: &str, key: &str, conditions: &WriteConditions) -> S3Result<()> {
        self.with_bucket(bucket, |bucket| conditions.check(bucket.objects.get(&*self.kept(key))))?
    }

    /// Puts an object in its place, if its conditions hold.
    pub(super) fn commit(
        &self,
        bucket: &str,
        mut object: Object,
        body: Finished,
        conditions: &WriteConditions,
    ) -> S3Result<Arc<Object>> {
        object.key = self.kept(&object.key).into_owned();
        let mut buckets = self.buckets.write();
        let entry = buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        conditions.check(entry.objects.get(&object.key))?;
        let name = match (body, &self.disk) {
            (Finished::File(file), Some(disk)) => {
                let name = entry.name(&object.key);
                let path = disk.body(bucket, &name);
                file.persist(&path).map_err(S3Error::internal_error)?;
                object.body = Blob::File(path);
                disk.write_record(bucket, &name, &object).map_err(S3Error::internal_error)?;
                Some(name)
            }
            (Finished::Memory(bytes), _) => {
                object.body = Blob::Memory(bytes);
                None
            }
            (Finished::File(_), None) => {
                return Err(s3_error!(InternalError, "a file in a store without a folder"));
            }
        };
        Ok(entry.insert(name, object))
    }

    /// Changes an object's record and not its body.
    pub(super) fn update(&self, bucket: &str, key: &str, change: impl FnOnce(&mut Object)) -> S3Result<()> {
        let key = &*self.kept(key);
        let mut buckets = self.buckets.write();
        let entry = buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let mut object = entry.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey))?.as_ref().clone();
        change(&mut object);
        if let Some(disk) = &self.disk {
            disk.write_record(bucket, &entry.name(key), &object).map_err(S3Error::internal_error)?;
        }
        entry.insert(None, object);
        Ok(())
    }

    /// Removes an object if its conditions hold. One that does not exist is removed already.
    pub(super) fn remove(&self, bucket: &str, key: &str, conditions: &WriteConditions) -> S3Result<()> {
        let key = &*self.kept(key);
        let mut buckets = self.buckets.write();
        let entry = buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        conditions.check(entry.objects.get(key))?;
        if !entry.objects.contains_key(key) {
            return Ok(());
        }
        if let Some(disk) = &self.disk {
            let name = entry.name(key);
            disk.remove(bucket, &name).map_err(S3Error::internal_error)?;
            entry.names.remove(&name.to_lowercase());
        }
        entry.objects.remove(key);
        Ok(())
    }

    /// Tampering: new bytes and headers under an old ETag and time.
    pub(super) fn overwrite(&self, bucket: &str, old: &Object, raw: RawObject) -> io::Result<()> {
        let mut buckets = self.buckets.write();
        let entry = buckets.get_mut(bucket).ok_or(io::ErrorKind::NotFound)?;
        let mut object = Object { size: raw.body.len() as u64, headers: raw.headers, ..old.clone() };
        if let (Some(disk), Some(path)) = (&self.disk, old.body.path().map(PathBuf::from)) {
            let temporary = disk.temporary();
            std::fs::write(&temporary, raw.body)?;
            std::fs::rename(temporary, path)?;
            disk.write_record(bucket, &entry.name(&object.key), &object)?;
        } else {
            object.body = Blob::Memory(raw.body.into());
        }
        entry.insert(None, object);
        Ok(())
    }
}
