//! Keys of the test server, in memory and, if wanted, in a folder as well. Not made to keep real keys safe.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cipher::Cipher;
use crate::KeyName;

/// One key.
#[derive(Clone)]
pub(super) struct StoredKey {
    pub(super) key: [u8; 32],
    pub(super) hmac: [u8; 32],
    pub(super) cipher: Cipher,
    pub(super) created_at: String,
    pub(super) created_by: String,
}

#[derive(Deserialize, Serialize)]
struct File {
    key: String,
    hmac: String,
    cipher: String,
    created_at: String,
    created_by: String,
}

/// Why a key was not added.
pub(super) enum Refused {
    Exists,
    Io,
}

pub(super) struct Store {
    keys: Mutex<BTreeMap<String, StoredKey>>,
    folder: Option<PathBuf>,
}

impl Store {
    pub(super) fn memory() -> Self {
        Self { keys: Mutex::default(), folder: None }
    }

    /// Loads every key of a folder, which is made if absent.
    pub(super) fn folder(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let mut keys = BTreeMap::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|n| KeyName::new(n).ok()) else { continue };
            let file: File = serde_json::from_slice(&std::fs::read(entry.path())?)?;
            keys.insert(name.to_string(), decode(&file).ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(Self { keys: Mutex::new(keys), folder: Some(folder) })
    }

    pub(super) fn get(&self, name: &str) -> Option<StoredKey> {
        self.keys.lock().get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.keys.lock().keys().cloned().collect()
    }

    pub(super) fn add(&self, name: &str, key: [u8; 32], cipher: Cipher, by: &str) -> Result<(), Refused> {
        let mut keys = self.keys.lock();
        if keys.contains_key(name) {
            return Err(Refused::Exists);
        }
        let created_at = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| Refused::Io)?;
        let stored = StoredKey { key, hmac: random(), cipher, created_at, created_by: by.to_owned() };
        if let Some(folder) = &self.folder {
            let file = File {
                key: STANDARD.encode(stored.key),
                hmac: STANDARD.encode(stored.hmac),
                cipher: cipher.name().to_owned(),
                created_at: stored.created_at.clone(),
                created_by: stored.created_by.clone(),
            };
            let text = serde_json::to_vec(&file).map_err(|_| Refused::Io)?;
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(folder.join(name))
                .and_then(|mut f| f.write_all(&text))
                .map_err(|_| Refused::Io)?;
        }
        keys.insert(name.to_owned(), stored);
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> bool {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_file(folder.join(name));
        }
        self.keys.lock().remove(name).is_some()
    }
}

fn decode(file: &File) -> Option<StoredKey> {
    let bytes = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
    Some(StoredKey {
        key: bytes(&file.key)?,
        hmac: bytes(&file.hmac)?,
        cipher: Cipher::parse(&file.cipher)?,
        created_at: file.created_at.clone(),
        created_by: file.created_by.clone(),
    })
}

/// Random bytes for keys, ivs and nonces of the test server.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("a system without randomness cannot even speak TLS");
    bytes
}
