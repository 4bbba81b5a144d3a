//! What the integration tests share: servers to run against, and a raw client.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::Duration;

use kms_client::KeyName;
use kms_client::kes::{ApiKey, Ca, Kes, KesConfig, KesIdentity};
use kms_client::testserver::{Options, TestKes};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn name(s: &str) -> KeyName {
    KeyName::new(s).unwrap()
}

/// A fresh name, since an external server keeps its keys.
pub(crate) fn fresh(prefix: &str) -> KeyName {
    let mut bytes = [0u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    name(&format!("{prefix}{}", hex::encode(bytes)))
}

pub(crate) async fn server(http2: bool) -> TestKes {
    // For raw clients: two providers are compiled in, so rustls cannot choose.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    TestKes::start_with(Options { http2, ..Options::default() }).await.unwrap()
}

/// The KES that the environment names, if it does: `S3CLOAK_TEST_KES_ENDPOINT` (https://host:port),
/// `S3CLOAK_TEST_KES_API_KEY` (an admin's, as keys are made and deleted), `S3CLOAK_TEST_KES_CA` (PEM file, may be left
/// out) and `S3CLOAK_TEST_KES_KEY` (an existing key). The tests then run against it as well as against the test server.
pub(crate) fn external() -> Option<(Kes, KeyName)> {
    let endpoint = std::env::var("S3CLOAK_TEST_KES_ENDPOINT").ok()?;
    let need = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set, too"));
    let config = KesConfig {
        endpoints: vec![endpoint],
        identity: KesIdentity::ApiKey(ApiKey::parse(&need("S3CLOAK_TEST_KES_API_KEY")).unwrap()),
        ca: std::env::var("S3CLOAK_TEST_KES_CA").ok().map(|path| Ca::File(path.into())),
        timeout: TIMEOUT,
    };
    Some((Kes::new(config).unwrap(), name(&need("S3CLOAK_TEST_KES_KEY"))))
}
