//! From configuration to a KES over the wire, and to a local folder.

use super::*;
use crate::config::{KesConfig, KesIdentity, Secret};
use kms_client::testserver::{Fault, TestKes};

fn over_kes(kes: &TestKes, folder: &std::path::Path, timeout: Duration) -> config::Keys {
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, kes.ca_pem()).unwrap();
    let service = KeyServiceConfig::Kes(KesConfig {
        endpoints: vec![kes.endpoint()],
        identity: KesIdentity::ApiKey(Secret::new(kes.api_key())),
        ca: Some(ca),
        timeout,
    });
    config::Keys { services: BTreeMap::from([("main".to_owned(), service)]), ..config(POLICY, true) }
}

#[tokio::test]
async fn kes_serves_a_thousand_with_one_call_and_its_outage_is_ridden_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut kes = TestKes::start().await.unwrap();
    let keys = over_kes(&kes, folder.path(), Duration::from_secs(20));
    let keyring = Keyring::from_config(&keys).unwrap();
    keyring.start().await;
    assert_eq!(keyring.ready(), Readiness::Ready);
    assert_eq!(keyring.list(None, "").await.unwrap(), ["default"]);

    let mut writes = tokio::task::JoinSet::new();
    let made = kes.faults().calls("generate");
    for _ in 0..1000 {
        let keyring = Arc::clone(&keyring);
        writes.spawn(async move { keyring.for_write(keyring.default_key(), PHOTOS).await.is_ok() });
    }
    assert!(writes.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(kes.faults().calls("generate") - made, 1);

    // Another replica opens what this one sealed.
    let header = header(&keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap());
    let replica = Keyring::from_config(&keys).unwrap();
    read(&replica, &header).await.unwrap();
    assert_eq!(refused(replica.for_read(&header, "music", b"o").await).0, 500);

    kes.stop().await;
    read(&replica, &header).await.unwrap();
    keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    let cold = Keyring::from_config(&keys).unwrap();
    assert_eq!(refused(read(&cold, &header).await), unavailable());
}

#[tokio::test]
async fn a_hung_kes_costs_no_more_than_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let kes = TestKes::start().await.unwrap();
    kes.create_key("default");
    kes.faults().inject("/v1/key/", Fault::Hang, usize::MAX);
    let keys = over_kes(&kes, folder.path(), Duration::from_millis(300));
    let keyring = Keyring::from_config(&keys).unwrap();
    assert_eq!(refused(keyring.for_write(keyring.default_key(), PHOTOS).await), unavailable());
}

#[tokio::test]
async fn a_local_folder_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let local = KeyServiceConfig::Local { path: folder.path().join("keys") };
    let keys =
        config::Keys { services: BTreeMap::from([("main".to_owned(), local)]), ..config(POLICY, true) };
    let keyring = Keyring::from_config(&keys).unwrap();
    keyring.start().await;
    let header = header(&keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap());
    read(&Keyring::from_config(&keys).unwrap(), &header).await.unwrap();
    assert!(keyring.status().await["main"].is_usable());
}

#[test]
fn bad_configurations_are_errors() {
    let keys = config::Keys { default_key: "a/b".to_owned(), ..config(POLICY, false) };
    let folder = tempfile::tempdir().unwrap();
    let local = KeyServiceConfig::Local { path: folder.path().join("keys") };
    let keys = config::Keys { services: BTreeMap::from([("main".to_owned(), local)]), ..keys };
    assert!(Keyring::from_config(&keys).is_err());
    let kes = KeyServiceConfig::Kes(KesConfig {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
        identity: KesIdentity::ApiKey(Secret::new("kes:v1:secret-thing")),
        ca: None,
        timeout: Duration::from_secs(1),
    });
    let keys = config::Keys {
        services: BTreeMap::from([("main".to_owned(), kes)]),
        default_key: "default".to_owned(),
        ..keys
    };
    let error = Keyring::from_config(&keys).err().unwrap();
    assert!(error.to_string().contains("keys.services.main") && !error.to_string().contains("secret-thing"));
}
