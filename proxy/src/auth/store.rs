//! The configured credentials with their signing keys of the day, and the rules for requests without credentials or under
//! Signature Version 2.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::canonical::{DayKey, Scope};
use crate::config::{Anonymous, BucketRules, Config, Credential};
use crate::s3::name::BucketName;

/// Signing keys kept for one credential. Regions are the client's to choose, so the number is bounded.
const KEPT_KEYS: usize = 8;

/// Every credential that clients may use.
pub struct CredentialStore {
    known: HashMap<String, Entry>,
    rules: BucketRules,
    v2: bool,
}

struct Entry {
    credential: Arc<Credential>,
    /// Oldest first.
    keys: Mutex<Vec<(Scope, Arc<DayKey>)>>,
}

impl CredentialStore {
    /// From a checked configuration.
    pub fn from_config(config: &Config) -> Self {
        let store = Self::new(config.credentials.iter().cloned(), config.buckets.clone());
        Self { v2: config.compat.sigv2, ..store }
    }

    /// From parts. Of two credentials with one access key the last counts; the configuration's check refuses that.
    pub fn new(credentials: impl IntoIterator<Item = Credential>, rules: BucketRules) -> Self {
        let known = credentials
            .into_iter()
            .map(|c| (c.access_key.clone(), Entry { credential: Arc::new(c), keys: Mutex::new(Vec::new()) }))
            .collect();
        Self { known, rules, v2: false }
    }

    /// The same, taking Signature Version 2 as well.
    #[cfg(test)]
    pub(crate) fn taking_v2(self) -> Self {
        Self { v2: true, ..self }
    }

    /// Whether Signature Version 2 is taken beside Version 4.
    pub(super) fn takes_v2(&self) -> bool {
        self.v2
    }

    /// The credential of an access key id.
    pub(super) fn find(&self, access_key: &str) -> Option<Arc<Credential>> {
        self.known.get(access_key).map(|entry| entry.credential.clone())
    }

    /// Its signing key for a scope: made once a day and region.
    pub(super) fn day_key(&self, credential: &Credential, scope: &Scope) -> Arc<DayKey> {
        let derive = || Arc::new(DayKey::derive(credential.secret_key.expose(), scope));
        let Some(entry) = self.known.get(&credential.access_key) else { return derive() };
        let mut keys = entry.keys.lock();
        if let Some((_, key)) = keys.iter().find(|(kept, _)| kept == scope) {
            return key.clone();
        }
        let key = derive();
        if keys.len() == KEPT_KEYS {
            keys.remove(0);
        }
        keys.push((scope.clone(), key.clone()));
        key
    }

    /// What the bucket's rule says of requests without credentials.
    pub(super) fn anonymous(&self, bucket: &BucketName) -> Anonymous {
        self.rules.rule(bucket).anonymous
    }
}

impl std::fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CredentialStore({} credentials)", self.known.len())
    }
}
