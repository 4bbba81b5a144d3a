//! Keys in a local folder, for demos, tests and air-gapped use: one file of 32 raw bytes a key, named as the key.
//! The folder is 0700 and its files 0600; whoever can read them can open everything. Nothing is cached here.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::rand;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{DataKey, EndpointStatus, KeyError, KeyInfo, KeyName, KeyService, PlainKey, ServiceStatus, seal};

/// A folder of key files.
#[derive(Clone, Debug)]
pub struct LocalKeys {
    folder: PathBuf,
}

impl LocalKeys {
    /// Opens the folder, and makes it (mode 0700) if it is not there. A folder that others may read is taken, with a
    /// warning in the log.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        match std::fs::metadata(&folder) {
            Ok(found) if !found.is_dir() => {
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{} is not a folder", folder.display()),
                ));
            }
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                tracing::warn!(folder = %folder.display(), "others may read the folder of keys; run: chmod 700");
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { folder })
    }

    /// Where the keys are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A missing file is a missing key only if the folder is there: an unmounted folder must not look like lost keys.
    fn failed(&self, doing: &str, error: &io::Error) -> KeyError {
        if error.kind() == ErrorKind::NotFound && self.folder.is_dir() {
            return KeyError::NotFound;
        }
        KeyError::unavailable(format!("cannot {doing} in {}: {error}", self.folder.display()))
    }

    fn load(&self, name: &KeyName) -> Result<PlainKey, KeyError> {
        let bytes = std::fs::read(self.folder.join(name.as_str()))
            .map(Zeroizing::new)
            .map_err(|e| self.failed("read a key", &e))?;
        PlainKey::from_slice(&bytes).ok_or_else(|| {
            KeyError::unavailable(format!(
                "the file of key {name} has {} bytes, not 32: restore it",
                bytes.len()
            ))
        })
    }

    fn make(&self, name: &KeyName) -> Result<(), KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        let mut suffix = [0; 8];
        random(&mut *key)?;
        random(&mut suffix)?;
        // Written aside and linked, so that no reader and no crash ever meets half a key under its name. No key name
        // holds a dot, so the file aside never shows as one.
        let aside = self.folder.join(format!(".{name}.{}", hex::encode(suffix)));
        let written = write_new(&aside, &*key)
            .and_then(|()| std::fs::hard_link(&aside, self.folder.join(name.as_str())))
            .and_then(|()| std::fs::File::open(&self.folder)?.sync_all());
        let removed = std::fs::remove_file(&aside);
        match written {
            Ok(()) => removed.map_err(|e| self.failed("tidy up after a new key", &e)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(KeyError::Exists),
            Err(error) => {
                Err(KeyError::unavailable(format!("cannot make a key in {}: {error}", self.folder.display())))
            }
        }
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        let unavailable =
            |e: io::Error| KeyError::unavailable(format!("cannot list {}: {e}", self.folder.display()));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unavailable)? {
            let entry = entry.map_err(unavailable)?;
            if let Some(name) = entry.file_name().to_str()
                && name.starts_with(prefix)
                && KeyName::new(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Disk access off the async threads.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .unwrap_or_else(|e| Err(KeyError::unavailable(format!("the disk task failed: {e}"))))
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn random(out: &mut [u8]) -> Result<(), KeyError> {
    rand::fill(out).map_err(|_| KeyError::unavailable("the system gives no randomness"))
}

#[async_trait]
impl KeyService for LocalKeys {
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError> {
        let (name, context) = (name.clone(), context.to_vec());
        self.off(move |this| {
            let key = this.load(&name)?;
            let mut plaintext = Zeroizing::new([0; 32]);
            let (mut iv, mut nonce) = ([0; seal::IV], [0; seal::NONCE]);
            random(&mut *plaintext)?;
            random(&mut iv)?;
            random(&mut nonce)?;
            let sealed = seal::seal(key.expose(), &*plaintext, &context, &iv, &nonce);
            Ok(DataKey { plaintext: PlainKey::new(plaintext), sealed })
        })
        .await
    }

    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError> {
        let (name, sealed, context) = (name.clone(), sealed.to_vec(), context.to_vec());
        self.off(move |this| {
            let key = this.load(&name)?;
            seal::open(key.expose(), &sealed, &context)
                .and_then(|plain| PlainKey::from_slice(&plain))
                .ok_or(KeyError::NotAuthentic)
        })
        .await
    }

    async fn create(&self, name: &KeyName) -> Result<(), KeyError> {
        let name = name.clone();
        self.off(move |this| this.make(&name)).await
    }

    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError> {
        let name = name.clone();
        self.off(move |this| {
            this.load(&name)?;
            let made =
                std::fs::metadata(this.folder.join(name.as_str())).map_err(|e| this.failed("stat", &e))?;
            Ok(KeyInfo {
                name: name.to_string(),
                algorithm: "AES256".to_owned(),
                created_at: OffsetDateTime::from_unix_timestamp(made.mtime()).ok(),
                created_by: None,
            })
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        let prefix = prefix.to_owned();
        self.off(move |this| this.names(&prefix)).await
    }

    async fn delete(&self, name: &KeyName) -> Result<(), KeyError> {
        let name = name.clone();
        self.off(move |this| {
            std::fs::remove_file(this.folder.join(name.as_str())).map_err(|e| this.failed("delete a key", &e))
        })
        .await
    }

    async fn status(&self) -> ServiceStatus {
        let listed = self.list("").await;
        ServiceStatus {
            kind: "local",
            endpoints: vec![EndpointStatus {
                endpoint: self.folder.display().to_string(),
                reachable: listed.is_ok(),
                key_store_reachable: listed.is_ok(),
                version: None,
                uptime: None,
                key_store_latency: None,
                problem: listed.err().map(|e| e.to_string()),
            }],
        }
    }

    async fn health(&self, name: &KeyName) -> Result<(), KeyError> {
        let name = name.clone();
        self.off(move |this| this.load(&name).map(drop)).await
    }
}

#[cfg(test)]
mod tests;
