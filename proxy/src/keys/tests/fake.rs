//! A key service in memory whose every answer a test decides, on tokio's clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use kms_client::{DataKey, KeyError, KeyInfo, KeyName, KeyService, PlainKey, ServiceStatus};
use parking_lot::Mutex;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mood {
    Up,
    Down,
    Denied,
    /// Makes data keys and opens none, as a policy can have it.
    SealOnly,
    /// Opens no data key that it makes.
    Amnesic,
    Odd,
    Hang,
}

struct Sealed {
    name: String,
    generation: u64,
    context: Vec<u8>,
    plain: [u8; 32],
}

pub(super) struct Fake {
    keys: Mutex<HashMap<String, u64>>,
    sealed: Mutex<HashMap<Vec<u8>, Sealed>>,
    mood: Mutex<Mood>,
    delay: Mutex<Duration>,
    counter: AtomicU64,
    pub(super) generated: AtomicU64,
    pub(super) decrypted: AtomicU64,
}

impl Fake {
    pub(super) fn new(names: &[&str]) -> Self {
        let fake = Self {
            keys: Mutex::default(),
            sealed: Mutex::default(),
            mood: Mutex::new(Mood::Up),
            delay: Mutex::default(),
            counter: AtomicU64::new(1),
            generated: AtomicU64::new(0),
            decrypted: AtomicU64::new(0),
        };
        names.iter().for_each(|name| fake.put(name));
        fake
    }

    /// Makes a key, or replaces it by another of its name.
    pub(super) fn put(&self, name: &str) {
        self.keys.lock().insert(name.to_owned(), self.counter.fetch_add(1, SeqCst));
    }

    pub(super) fn erase(&self, name: &str) -> Option<u64> {
        self.keys.lock().remove(name)
    }

    pub(super) fn restore(&self, name: &str, generation: u64) {
        self.keys.lock().insert(name.to_owned(), generation);
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    pub(super) fn slow(&self, delay: Duration) {
        *self.delay.lock() = delay;
    }

    pub(super) fn calls(&self) -> u64 {
        self.generated.load(SeqCst) + self.decrypted.load(SeqCst)
    }

    /// Every data key that was ever made.
    pub(super) fn plain_keys(&self) -> Vec<[u8; 32]> {
        self.sealed.lock().values().map(|s| s.plain).collect()
    }

    async fn answer(&self, name: &KeyName) -> Result<u64, KeyError> {
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mood = *self.mood.lock();
        match mood {
            Mood::Up | Mood::SealOnly | Mood::Amnesic => {
                self.keys.lock().get(name.as_str()).copied().ok_or(KeyError::NotFound)
            }
            Mood::Down => Err(KeyError::Unavailable { reason: "down".to_owned() }),
            Mood::Denied => Err(KeyError::Denied),
            Mood::Odd => Err(KeyError::Protocol { status: Some(302), message: "odd".to_owned() }),
            Mood::Hang => std::future::pending().await,
        }
    }
}

#[async_trait::async_trait]
impl KeyService for Fake {
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError> {
        self.generated.fetch_add(1, SeqCst);
        let generation = self.answer(name).await?;
        let (mut plain, mut sealed) = ([0; 32], vec![0; 76]);
        aws_lc_rs::rand::fill(&mut plain).unwrap();
        aws_lc_rs::rand::fill(&mut sealed).unwrap();
        let record = Sealed { name: name.to_string(), generation, context: context.to_vec(), plain };
        if *self.mood.lock() != Mood::Amnesic {
            self.sealed.lock().insert(sealed.clone(), record);
        }
        Ok(DataKey { plaintext: PlainKey::new(Zeroizing::new(plain)), sealed })
    }

    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError> {
        self.decrypted.fetch_add(1, SeqCst);
        let generation = self.answer(name).await?;
        if *self.mood.lock() == Mood::SealOnly {
            return Err(KeyError::Denied);
        }
        let all = self.sealed.lock();
        let found = all.get(sealed).ok_or(KeyError::NotAuthentic)?;
        if found.name != name.as_str() || found.generation != generation || found.context != context {
            return Err(KeyError::NotAuthentic);
        }
        Ok(PlainKey::new(Zeroizing::new(found.plain)))
    }

    async fn create(&self, name: &KeyName) -> Result<(), KeyError> {
        if *self.mood.lock() == Mood::Down {
            return Err(KeyError::Unavailable { reason: "down".to_owned() });
        }
        if self.keys.lock().contains_key(name.as_str()) {
            return Err(KeyError::Exists);
        }
        self.put(name.as_str());
        Ok(())
    }

    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError> {
        // Allowed even where use is not: nothing may rest on it.
        Ok(KeyInfo {
            name: name.to_string(),
            algorithm: "AES256".to_owned(),
            created_at: None,
            created_by: None,
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        Ok(self.keys.lock().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    async fn delete(&self, name: &KeyName) -> Result<(), KeyError> {
        self.erase(name.as_str()).map(drop).ok_or(KeyError::NotFound)
    }

    async fn status(&self) -> ServiceStatus {
        ServiceStatus { kind: "fake", endpoints: Vec::new() }
    }

    async fn health(&self, name: &KeyName) -> Result<(), KeyError> {
        self.describe(name).await.map(drop)
    }
}
