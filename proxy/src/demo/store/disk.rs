//! The layout of a store's folder, and the names of its files. An object of bucket B lies in `B/<name>`, its record in
//! `.meta/B/<name>.json`, a body on its way in `.tmp`. No bucket name begins with a dot, so these never meet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;

use super::blob::Blob;
use super::object::Object;

/// Longest name taken from a key as it is; file systems allow 255 bytes, and `.json` and a suffix come on top.
const MAX_NAME: usize = 200;

/// The folder of a store.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    next: AtomicU64,
}

/// One bucket as found on disk: name, when it was made, and its objects with the names of their files.
pub(super) type LoadedBucket = (String, i64, Vec<(String, Object)>);

impl Disk {
    /// Opens the folder, made if absent, and forgets bodies that were on their way when a former process ended.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let temporary = root.join(".tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir_all(&temporary)?;
        fs::create_dir_all(root.join(".meta"))?;
        Ok(Self { root: root.to_owned(), next: AtomicU64::new(0) })
    }

    /// A name for a body on its way.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join(".tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(super) fn body(&self, bucket: &str, name: &str) -> PathBuf {
        self.root.join(bucket).join(name)
    }

    fn record(&self, bucket: &str, name: &str) -> PathBuf {
        self.root.join(".meta").join(bucket).join(format!("{name}.json"))
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(".meta").join(bucket))?;
        fs::create_dir_all(self.root.join(bucket))
    }

    /// Removes an empty bucket. Files that somebody put there by hand are left, and make this fail.
    pub(super) fn remove_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::remove_dir(self.root.join(bucket))?;
        fs::remove_dir_all(self.root.join(".meta").join(bucket))
    }

    pub(super) fn write_record(&self, bucket: &str, name: &str, object: &Object) -> io::Result<()> {
        let temporary = self.temporary();
        fs::write(&temporary, serde_json::to_vec_pretty(object)?)?;
        fs::rename(temporary, self.record(bucket, name))
    }

    /// Removes both files of an object; one that is gone already is no error.
    pub(super) fn remove(&self, bucket: &str, name: &str) -> io::Result<()> {
        for file in [self.record(bucket, name), self.body(bucket, name)] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything in the folder. A record without a body, or one that is not ours, is skipped.
    pub(super) fn load(&self) -> io::Result<Vec<LoadedBucket>> {
        let mut buckets = Vec::new();
        for folder in fs::read_dir(self.root.join(".meta"))? {
            let folder = folder?;
            let Ok(bucket) = folder.file_name().into_string() else { continue };
            let made = folder.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH);
            let made = made.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
            let mut objects = Vec::new();
            for file in fs::read_dir(folder.path())? {
                let path = file?.path();
                let (Some(name), true) = (
                    path.file_stem().and_then(|stem| stem.to_str()),
                    path.extension().is_some_and(|extension| extension == "json"),
                ) else {
                    continue;
                };
                let body = self.body(&bucket, name);
                let Ok(mut object) = serde_json::from_slice::<Object>(&fs::read(&path)?) else { continue };
                if body.is_file() {
                    object.body = Blob::File(body);
                    objects.push((name.to_owned(), object));
                }
            }
            buckets.push((bucket, made, objects));
        }
        Ok(buckets)
    }
}

/// A file name for a key: what is harmless stays readable, everything else is percent-encoded (`/` too, so that `a` and
/// `a/b` can stand side by side), and a long key is cut and ends in a hash. `distinct` adds the hash in any case, for
/// keys whose names differ from another's in case only, which some file systems take for one.
pub(super) fn file_name(key: &str, distinct: bool) -> String {
    let mut name = String::with_capacity(key.len());
    for (at, byte) in key.bytes().enumerate() {
        let harmless = byte.is_ascii_alphanumeric() || b"-_+=@,".contains(&byte) || (byte == b'.' && at > 0);
        if harmless { name.push(char::from(byte)) } else { name.push_str(&format!("%{byte:02X}")) }
    }
    if distinct || name.len() > MAX_NAME {
        name.truncate(MAX_NAME - 17);
        name.push('~');
        name.push_str(&hex::encode(&digest::digest(&digest::SHA256, key.as_bytes()).as_ref()[..8]));
    }
    name
}
