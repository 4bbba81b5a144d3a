//! BUCKET RULES: each bucket's default encryption as clients put it, kept sealed in the system area of its backend. What
//! follows from a rule for a write is decided in `plan/sse.rs`.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::config::SseMode;
use crate::error::{Code, Error, Result};
use crate::keys::Keyring;
use crate::metrics::TamperAlarm;
use crate::record;
use crate::s3::name::BucketName;
use crate::s3::xml::{DefaultEncryption, EncryptionRule};

/// Every replica acts on a changed rule at the latest after this long. The documentation says so.
pub const AGE: Duration = Duration::from_secs(10);
/// Buckets whose rules are remembered, or their absence.
const CAPACITY: u64 = 10_000;
/// Version of the document that this release writes and reads.
const VERSION: u32 = 1;

/// The document inside the sealed record.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// `AES256`, `aws:kms`, or nothing.
    sse: Option<String>,
    key: Option<String>,
    bucket_key: Option<bool>,
    blocks_customer_keys: Option<bool>,
}

/// The stored rules of all buckets, read through a short-lived cache.
#[derive(Debug)]
pub struct StoredRules {
    /// By backend and bucket.
    known: Cache<(String, BucketName), Option<Arc<EncryptionRule>>>,
    alarm: TamperAlarm,
}

impl StoredRules {
    /// Nothing known yet. Rules that are not authentic raise `alarm`.
    pub fn new(alarm: TamperAlarm) -> Self {
        Self { known: Cache::builder().max_capacity(CAPACITY).time_to_live(AGE).build(), alarm }
    }

    /// The rule that was put for a bucket, as it was at most [`AGE`] ago.
    ///
    /// # Errors
    /// Where it cannot be read or does not authenticate: nobody may write then as if there were none.
    pub async fn get(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        bucket: &BucketName,
    ) -> Result<Option<Arc<EncryptionRule>>> {
        let place = (backend.name().to_owned(), bucket.clone());
        // Asked for by many at once, it is read once. Failures are not remembered.
        let read = self.known.try_get_with(place, async {
            self.read(keyring, backend, bucket).await.map(|rule| rule.map(Arc::new)).map_err(Failed::of)
        });
        read.await.map_err(|failed| failed.told())
    }

    /// Stores a rule.
    pub async fn put(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        bucket: &BucketName,
        rule: EncryptionRule,
    ) -> Result<()> {
        let name = object(bucket);
        let document = Document {
            version: VERSION,
            sse: rule.default.as_ref().map(|default| match default.mode {
                SseMode::SseS3 => "AES256".to_owned(),
                SseMode::SseKms => "aws:kms".to_owned(),
            }),
            key: rule.default.as_ref().and_then(|default| default.key_id.clone()),
            bucket_key: rule.bucket_key,
            blocks_customer_keys: rule.blocks_customer_keys,
        };
        let plain = serde_json::to_vec(&document).map_err(|e| Error::internal(format!("a rule: {e}")))?;
        let area = backend.system().await?;
        let sealed = record::seal(keyring, area.id(), &name, &plain).await?;
        let stored = area.put(&name, sealed).await;
        // Also after a failure: the storage may hold the new rule although its answer was lost.
        self.known.invalidate(&(backend.name().to_owned(), bucket.clone())).await;
        stored
    }

    /// Removes a rule, whatever it holds; one that is not there counts as removed.
    pub async fn remove(&self, backend: &Backend, bucket: &BucketName) -> Result<()> {
        let removed = backend.system().await?.delete(&object(bucket)).await;
        self.known.invalidate(&(backend.name().to_owned(), bucket.clone())).await;
        removed
    }

    async fn read(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        bucket: &BucketName,
    ) -> Result<Option<EncryptionRule>> {
        let name = object(bucket);
        let area = backend.system().await?;
        let Some(stored) = area.get(&name).await? else { return Ok(None) };
        match record::open(keyring, area.id(), &name, &stored).await? {
            Ok(plain) => parsed(&plain).map(Some).ok_or_else(|| {
                tracing::error!(%bucket, alert = true, "a later release wrote the bucket's encryption rule");
                unusable(bucket, "a later release wrote it")
            }),
            Err(why) => {
                tracing::error!(%bucket, why, alert = "tampered", "the bucket's encryption rule is not authentic");
                self.alarm.raise();
                Err(unusable(bucket, why))
            }
        }
    }
}

fn parsed(plain: &[u8]) -> Option<EncryptionRule> {
    let document: Document = serde_json::from_slice(plain).ok()?;
    let mode = match document.sse.as_deref() {
        Some("AES256") => Some(SseMode::SseS3),
        Some("aws:kms") => Some(SseMode::SseKms),
        Some(_) => return None,
        None => None,
    };
    (document.version == VERSION).then(|| EncryptionRule {
        default: mode.map(|mode| DefaultEncryption { mode, key_id: document.key }),
        bucket_key: document.bucket_key,
        blocks_customer_keys: document.blocks_customer_keys,
    })
}

/// Name of a bucket's rule in the system area.
fn object(bucket: &BucketName) -> String {
    format!("rules/{bucket}")
}

fn unusable(bucket: &BucketName, why: &'static str) -> Error {
    Error::backend(
        Code::ServiceUnavailable,
        "The stored encryption rule of this bucket cannot be used. Put it again, or delete it.",
    )
    .because(format!("rule of {bucket}: {why}"))
}

/// A failure that all who waited for it are told.
struct Failed {
    code: Code,
    message: String,
    cause: String,
    keys: bool,
}

impl Failed {
    fn of(error: Error) -> Self {
        Self {
            // Whatever it was, nothing may be written now, and the request may be tried again.
            code: if *error.code() == Code::SlowDown { Code::SlowDown } else { Code::ServiceUnavailable },
            message: error.message().to_owned(),
            cause: error.to_string(),
            keys: error.blame() == crate::error::Blame::Keys,
        }
    }

    fn told(&self) -> Error {
        let (code, message) = (self.code.clone(), self.message.clone());
        let error = if self.keys { Error::keys(code, message) } else { Error::backend(code, message) };
        error.because(format!("reading the bucket's encryption rule: {}", self.cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_other_versions_are_not_guessed_at() {
        let good = r#"{"version":1,"sse":"aws:kms","key":"k","bucket_key":true,"blocks_customer_keys":null}"#;
        let rule = parsed(good.as_bytes()).unwrap();
        assert_eq!(
            rule.default.unwrap(),
            DefaultEncryption { mode: SseMode::SseKms, key_id: Some("k".to_owned()) }
        );
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("aws:kms", "aws:kms:dsse"),
            good.replace("\"key\"", "\"keys\""),
        ] {
            assert!(parsed(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
