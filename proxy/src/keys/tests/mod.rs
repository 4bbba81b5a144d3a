//! The keyring's behaviour on a paused clock: sharing, outage, refusal, erasure, planted blobs, rotation, wiping.

mod cold;
mod fake;
mod life;
mod outage;
mod proof;
mod secrets;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kms_client::KeyService;
use object_format::{BucketKeyFlag, EnvelopeHeader, Kind, Mode};
use tokio::time::sleep;

use super::{Keyring, OpenKey, Readiness, ResolvedKey, Scope};
use crate::config::{self, BucketKeyPolicy, KeyServiceConfig};
use crate::error::{Error, Result};
use fake::{Fake, Mood};

const POLICY: BucketKeyPolicy = BucketKeyPolicy {
    rotate: Duration::from_secs(1000),
    idle: Duration::from_secs(3000),
    recheck: Duration::from_secs(60),
    offline_reads: Duration::from_secs(1200),
    offline_writes: Duration::from_secs(300),
};

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn config(policy: BucketKeyPolicy, create_missing: bool) -> config::Keys {
    let local = KeyServiceConfig::Local { path: PathBuf::from("unused") };
    config::Keys {
        services: BTreeMap::from([("main".to_owned(), local)]),
        service: "main".to_owned(),
        default_key: "default".to_owned(),
        create_missing,
        aliases: BTreeMap::new(),
        bucket_key: policy,
    }
}

fn keyring_with(fake: &Arc<Fake>, policy: BucketKeyPolicy, create_missing: bool) -> Arc<Keyring> {
    let service: Arc<dyn KeyService> = Arc::clone(fake) as Arc<dyn KeyService>;
    Keyring::new(BTreeMap::from([("main".to_owned(), service)]), &config(policy, create_missing))
}

/// A keyring over a service that has the keys `default` and `other`.
fn keyring() -> (Arc<Fake>, Arc<Keyring>) {
    let fake = Arc::new(Fake::new(&["default", "other"]));
    let keyring = keyring_with(&fake, POLICY, false);
    (fake, keyring)
}

fn key(name: &str) -> ResolvedKey {
    ResolvedKey { service: "main".to_owned(), name: name.parse().unwrap() }
}

const PHOTOS: Scope<'static> = Scope::Bucket { binding: "photos" };

fn header(open: &OpenKey) -> EnvelopeHeader {
    EnvelopeHeader {
        kind: Kind::Single,
        mode: Mode::SseS3,
        bucket_key: BucketKeyFlag::Shared,
        service: open.service.clone(),
        key_name: open.key_name.clone(),
        key_spelling: None,
        sealed_key: open.sealed.to_vec(),
        context: None,
    }
}

/// An envelope of a bucket key that is not in this keyring's memory, as another replica would have written it.
async fn foreign(fake: &Arc<Fake>, name: &str) -> EnvelopeHeader {
    let other = keyring_with(fake, POLICY, false);
    header(&other.for_write(&key(name), PHOTOS).await.unwrap())
}

fn planted(n: u32) -> EnvelopeHeader {
    EnvelopeHeader {
        kind: Kind::Single,
        mode: Mode::SseS3,
        bucket_key: BucketKeyFlag::Shared,
        service: "main".to_owned(),
        key_name: "default".to_owned(),
        key_spelling: None,
        sealed_key: n.to_be_bytes().repeat(19),
        context: None,
    }
}

async fn read(keyring: &Keyring, header: &EnvelopeHeader) -> Result<Arc<OpenKey>> {
    keyring.for_read(header, "photos", b"object").await
}

/// Status and code of what must fail.
fn refused(result: Result<Arc<OpenKey>>) -> (u16, String) {
    let error: Error = result.err().expect("it must be refused");
    (error.code().status().as_u16(), error.code().name().to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "ServiceUnavailable".to_owned())
}
