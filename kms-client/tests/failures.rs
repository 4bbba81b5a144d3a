//! What the KES client makes of a server that fails, lies or is not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{TIMEOUT, fresh, name, server};
use kms_client::kes::{ApiKey, Ca, ConfigError, Kes, KesConfig, KesIdentity};
use kms_client::testserver::{Fault, Policy, TestKes};
use kms_client::{KeyError, KeyService};
use zeroize::Zeroizing;

const EVER: usize = usize::MAX;

fn api_key(seed: u8) -> ApiKey {
    ApiKey::from_seed(Zeroizing::new([seed; 32]))
}

fn as_identity(kes: &TestKes, key: ApiKey) -> Kes {
    Kes::new(KesConfig { identity: KesIdentity::ApiKey(key), ..kes.config(TIMEOUT) }).unwrap()
}

/// A client certificate and its key, both PEM, and what KES calls their holder.
fn client_pair() -> ((String, String), String) {
    use rcgen::PublicKeyData;
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let spki = pair.subject_public_key_info();
    let identity = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki));
    ((certificate.pem(), pair.serialize_pem()), identity)
}

async fn with_key(http2: bool) -> TestKes {
    let kes = server(http2).await;
    kes.create_key("k");
    kes
}

#[tokio::test]
async fn passing_faults_are_got_over_and_counted() {
    for http2 in [true, false] {
        let kes = with_key(http2).await;
        let client = kes.client(TIMEOUT);
        for fault in [
            Fault::Reset,
            Fault::ResetAfter,
            Fault::Truncated,
            Fault::Status(502, "failed to read key"),
            Fault::Status(503, "busy"),
            Fault::Status(504, "key store is not reachable"),
            Fault::Html(500),
            Fault::Slow(Duration::from_millis(20)),
        ] {
            let before = kes.faults().calls("generate");
            kes.faults().inject("/v1/key/generate/", fault.clone(), 1);
            client.generate(&name("k"), b"").await.ok().unwrap();
            let slow = matches!(fault, Fault::Slow(_));
            assert_eq!(kes.faults().calls("generate") - before, if slow { 1 } else { 2 }, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn lasting_faults_are_unavailable() {
    for http2 in [true, false] {
        for fault in [
            Fault::Reset,
            Fault::ResetAfter,
            Fault::Truncated,
            Fault::Status(502, "failed to read key"),
            Fault::Status(504, "key store is not reachable"),
            Fault::Html(502),
        ] {
            let kes = with_key(http2).await;
            kes.faults().inject("/v1/key/", fault.clone(), EVER);
            let error = kes.client(TIMEOUT).generate(&name("k"), b"").await.err().unwrap();
            assert!(error.is_unreachable(), "{fault:?}: {error:?}");
            let tries = kes.faults().calls("generate");
            assert!((2..=3).contains(&tries), "{fault:?}: {tries} tries");
        }
    }
}

#[tokio::test]
async fn answers_that_are_not_of_kes_are_refused() {
    for http2 in [true, false] {
        for fault in [
            Fault::Html(200),
            Fault::Html(404),
            Fault::Html(403),
            Fault::Html(302),
            Fault::Html(307),
            Fault::Garbage,
            Fault::Status(400, "key does not exist"),
            Fault::Status(403, "some gateway says no"),
            Fault::Oversized { bytes: 3_000_000, announced: true },
            Fault::Oversized { bytes: 3_000_000, announced: false },
        ] {
            let kes = with_key(http2).await;
            kes.faults().inject("/v1/key/", fault.clone(), EVER);
            let error = kes.client(TIMEOUT).decrypt(&name("k"), &[1; 76], b"").await.err().unwrap();
            assert!(matches!(error, KeyError::Protocol { .. }), "{fault:?}: {error:?}");
            assert_eq!(kes.faults().total(), 1, "{fault:?}: neither followed nor repeated");
        }
    }
}

#[tokio::test]
async fn answers_of_kes_are_final() {
    let kes = with_key(true).await;
    let client = kes.client(TIMEOUT);
    assert_eq!(client.decrypt(&name("k"), &[1; 76], b"").await.err(), Some(KeyError::NotAuthentic));
    assert_eq!(client.decrypt(&name("other"), &[1; 76], b"").await.err(), Some(KeyError::NotFound));
    assert_eq!(client.create(&name("k")).await.err(), Some(KeyError::Exists));
    assert_eq!(kes.faults().total(), 3);
}

#[tokio::test]
async fn one_deadline_holds_for_a_server_that_hangs() {
    for http2 in [true, false] {
        let kes = with_key(http2).await;
        kes.faults().inject("/v1/key/", Fault::Hang, EVER);
        let client = kes.client(Duration::from_millis(300));
        assert!(client.generate(&name("k"), b"").await.err().unwrap().is_unreachable());
        kes.faults().clear();
        client.generate(&name("k"), b"").await.ok().unwrap();
    }
}

#[tokio::test]
async fn a_down_key_store_is_not_a_missing_key() {
    let kes = with_key(true).await;
    let client = kes.client(TIMEOUT);
    kes.faults().store_down(true);
    assert!(client.generate(&name("k"), b"").await.err().unwrap().is_unreachable());
    assert!(client.health(&name("k")).await.err().unwrap().is_unreachable());
    assert!(client.list("").await.err().unwrap().is_unreachable());
    let status = client.status().await;
    assert!(status.endpoints[0].reachable && !status.endpoints[0].key_store_reachable);
    assert!(!status.is_usable());
    kes.faults().store_down(false);
    client.health(&name("k")).await.unwrap();
}

#[tokio::test]
async fn creating_is_never_repeated_once_it_may_have_happened() {
    let kes = server(true).await;
    let client = kes.client(TIMEOUT);
    kes.faults().inject("/v1/key/create/", Fault::ResetAfter, 1);
    assert!(client.create(&name("k")).await.err().unwrap().is_unreachable());
    assert_eq!(kes.faults().calls("create"), 1);
    assert_eq!(client.create(&name("k")).await, Err(KeyError::Exists));
    kes.faults().inject("/v1/key/delete/", Fault::Status(502, "failed to delete key"), 1);
    assert!(client.delete(&name("k")).await.err().unwrap().is_unreachable());
    assert_eq!(kes.faults().calls("delete"), 1);
}

#[tokio::test]
async fn other_endpoints_take_over() {
    let (mut a, b) = (with_key(true).await, server(true).await);
    let sealed = a.client(TIMEOUT).generate(&name("k"), b"").await.ok().unwrap().sealed;
    // Two nodes over one store, told apart by their counters.
    b.create_key("k");
    let two = |endpoints: Vec<String>| {
        let mut ca = a.ca_pem().as_bytes().to_vec();
        ca.extend_from_slice(b.ca_pem().as_bytes());
        let key = api_key(9);
        for kes in [&a, &b] {
            kes.set_policy(key.identity(), Policy::proxy("k"));
        }
        Kes::new(KesConfig {
            endpoints,
            identity: KesIdentity::ApiKey(key),
            ca: Some(Ca::Pem(ca)),
            timeout: TIMEOUT,
        })
        .unwrap()
    };
    let client = two(vec![a.endpoint(), b.endpoint()]);
    let dead_first = two(vec!["https://127.0.0.1:1".to_owned(), b.endpoint()]);

    dead_first.generate(&name("k"), b"").await.ok().unwrap();
    client.decrypt(&name("k"), &sealed, b"").await.ok().unwrap();
    let on_b = b.faults().total();

    a.faults().inject("/v1/key/", Fault::Html(200), 2);
    for _ in 0..2 {
        client.generate(&name("k"), b"").await.ok().unwrap();
    }
    assert_eq!(b.faults().total(), on_b + 2, "an endpoint that is not KES is passed by");
    assert!(a.faults().total() > 2, "it was asked");

    a.stop().await;
    for _ in 0..3 {
        client.generate(&name("k"), b"").await.ok().unwrap();
    }
    b.faults().store_down(true);
    assert!(client.generate(&name("k"), b"").await.err().unwrap().is_unreachable());
    b.faults().store_down(false);
    a.resume().await.unwrap();
    client.generate(&name("k"), b"").await.ok().unwrap();
}

/// A client of several servers, all of which let it use keys named `k`.
fn over(servers: &[&TestKes], endpoints: Vec<String>) -> Kes {
    for kes in servers {
        kes.set_policy(api_key(9).identity(), Policy::proxy("k"));
    }
    let ca = Some(Ca::Pem(servers.iter().flat_map(|kes| kes.ca_pem().as_bytes().to_vec()).collect()));
    Kes::new(KesConfig { endpoints, identity: KesIdentity::ApiKey(api_key(9)), ca, timeout: TIMEOUT })
        .unwrap()
}

/// As while its file store is not mounted, or with policies of yesterday.
#[tokio::test]
async fn an_endpoint_that_lacks_or_refuses_a_key_does_not_hide_one_that_has_it() {
    for forbidden in [false, true] {
        let (bad, good) = (server(true).await, with_key(true).await);
        let sealed = good.client(TIMEOUT).generate(&name("k"), b"").await.ok().unwrap().sealed;
        for endpoints in [[bad.endpoint(), good.endpoint()], [good.endpoint(), bad.endpoint()]] {
            let client = || {
                let client = over(&[&bad, &good], endpoints.to_vec());
                if forbidden {
                    bad.remove_policy(&api_key(9).identity());
                }
                client
            };
            let (generating, decrypting, describing) = (client(), client(), client());
            let (on_bad, on_good) = (bad.faults().total(), good.faults().total());
            for _ in 0..4 {
                generating.generate(&name("k"), b"").await.ok().unwrap();
                decrypting.decrypt(&name("k"), &sealed, b"").await.ok().unwrap();
                describing.health(&name("k")).await.unwrap();
            }
            assert_eq!(good.faults().total() - on_good, 12, "nothing is asked twice");
            // Each client meets it once, in its first or its second call, and then leaves it for last.
            assert_eq!(bad.faults().total() - on_bad, 3, "forbidden: {forbidden}");
        }
    }
}

#[tokio::test]
async fn a_no_is_believed_when_every_endpoint_says_it() {
    let (a, b) = (server(true).await, server(true).await);
    let client = over(&[&a, &b], vec![a.endpoint(), b.endpoint()]);
    let ask = async || {
        let before = (a.faults().total(), b.faults().total());
        let errors = [
            client.generate(&name("k"), b"").await.err(),
            client.decrypt(&name("k"), &[1; 76], b"").await.err(),
            client.health(&name("k")).await.err(),
        ];
        let asked = (a.faults().total() - before.0, b.faults().total() - before.1);
        assert_eq!(asked, (3, 3), "each once");
        errors
    };
    assert_eq!(ask().await, [const { Some(KeyError::NotFound) }; 3]);
    a.remove_policy(&api_key(9).identity());
    assert_eq!(
        ask().await,
        [const { Some(KeyError::Denied) }; 3],
        "the key may be behind the one that refuses"
    );
    b.remove_policy(&api_key(9).identity());
    assert_eq!(ask().await, [const { Some(KeyError::Denied) }; 3]);
}

#[tokio::test]
async fn a_missing_key_may_be_with_an_endpoint_that_is_away() {
    let (empty, mut good) = (server(true).await, with_key(true).await);
    let client = over(&[&empty, &good], vec![empty.endpoint(), good.endpoint()]);
    good.faults().inject("/v1/key/generate/", Fault::Status(502, "failed to read key"), 1);
    client.generate(&name("k"), b"").await.ok().unwrap();
    good.stop().await;
    for _ in 0..6 {
        let before = empty.faults().total();
        let error = client.generate(&name("k"), b"").await.err().unwrap();
        assert!(error.is_unreachable() && error.to_string().contains("the key does not exist"), "{error}");
        assert_eq!(empty.faults().total() - before, 1, "it has said what it knows");
    }
    // Revoking does not wait for anybody.
    empty.remove_policy(&api_key(9).identity());
    assert_eq!(client.generate(&name("k"), b"").await.err(), Some(KeyError::Denied));
}

#[tokio::test]
async fn making_and_deleting_a_key_take_the_first_answer() {
    let (a, b) = (server(true).await, server(true).await);
    let client = over(&[&a, &b], vec![a.endpoint(), b.endpoint()]);
    for kes in [&a, &b] {
        kes.remove_policy(&api_key(9).identity());
    }
    assert_eq!(client.create(&name("k")).await, Err(KeyError::Denied));
    assert_eq!(client.delete(&name("k")).await, Err(KeyError::Denied));
    assert_eq!(a.faults().total() + b.faults().total(), 2);
}

#[tokio::test]
async fn endpoints_share_the_load() {
    let servers = [with_key(true).await, with_key(true).await, with_key(true).await];
    let mut ca = Vec::new();
    for kes in &servers {
        kes.set_policy(api_key(9).identity(), Policy::proxy("k"));
        ca.extend_from_slice(kes.ca_pem().as_bytes());
    }
    let client = Kes::new(KesConfig {
        endpoints: servers.iter().map(|kes| kes.endpoint()).collect(),
        identity: KesIdentity::ApiKey(api_key(9)),
        ca: Some(Ca::Pem(ca)),
        timeout: TIMEOUT,
    })
    .unwrap();
    for _ in 0..12 {
        client.generate(&name("k"), b"").await.ok().unwrap();
    }
    let [mut a, b, c] = servers;
    assert_eq!([a.faults().total(), b.faults().total(), c.faults().total()], [4, 4, 4]);
    // One that is away leaves its share to the others, and takes it again when it is back.
    a.stop().await;
    for _ in 0..12 {
        client.generate(&name("k"), b"").await.ok().unwrap();
    }
    assert_eq!(b.faults().total() + c.faults().total(), 20);
    a.resume().await.unwrap();
    while a.faults().total() < 8 {
        client.generate(&name("k"), b"").await.ok().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_hangs_takes_only_its_share() {
    let (a, b) = (with_key(true).await, with_key(true).await);
    let mut ca = a.ca_pem().as_bytes().to_vec();
    ca.extend_from_slice(b.ca_pem().as_bytes());
    for kes in [&a, &b] {
        kes.set_policy(api_key(9).identity(), Policy::proxy("k"));
    }
    a.faults().inject("/v1/key/", Fault::Hang, EVER);
    let client = Kes::new(KesConfig {
        endpoints: vec![a.endpoint(), b.endpoint()],
        identity: KesIdentity::ApiKey(api_key(9)),
        ca: Some(Ca::Pem(ca)),
        timeout: Duration::from_secs(4),
    })
    .unwrap();
    client.generate(&name("k"), b"").await.ok().unwrap();
    assert_eq!((a.faults().total(), b.faults().total()), (1, 1));
    client.generate(&name("k"), b"").await.ok().unwrap();
    assert_eq!((a.faults().total(), b.faults().total()), (1, 2), "the one that hung rests");
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let mut kes = with_key(true).await;
    let client = kes.client(TIMEOUT);
    let sealed = client.generate(&name("k"), b"").await.ok().unwrap().sealed;
    kes.stop().await;
    assert!(client.decrypt(&name("k"), &sealed, b"").await.err().unwrap().is_unreachable());
    kes.resume().await.unwrap();
    // The circuit may be open for a moment.
    let mut opened = client.decrypt(&name("k"), &sealed, b"").await;
    for _ in 0..100 {
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        opened = client.decrypt(&name("k"), &sealed, b"").await;
    }
    assert!(opened.is_ok());
}

#[tokio::test]
async fn a_dead_server_is_not_hammered() {
    let kes = with_key(true).await;
    kes.faults().inject("/v1/key/", Fault::Status(503, "busy"), EVER);
    let client = kes.client(TIMEOUT);
    for _ in 0..50 {
        assert!(client.generate(&name("k"), b"").await.err().unwrap().is_unreachable());
    }
    // Fifty calls without a circuit would be 150 tries.
    assert!(kes.faults().total() < 50, "{}", kes.faults().total());
}

#[tokio::test]
async fn policies_refuse_by_identity() {
    let kes = with_key(true).await;
    let stranger = as_identity(&kes, api_key(3));
    for error in [
        stranger.generate(&name("k"), b"").await.err(),
        stranger.decrypt(&name("missing"), &[1; 76], b"").await.err(),
        stranger.health(&name("k")).await.err(),
        stranger.list("").await.err(),
        stranger.create(&name("new")).await.err(),
        stranger.delete(&name("k")).await.err(),
    ] {
        assert_eq!(error, Some(KeyError::Denied));
    }
    let status = stranger.status().await;
    assert!(status.endpoints[0].reachable, "refused, yet there: {status:?}");

    kes.set_policy(api_key(2).identity(), Policy::proxy("app-"));
    kes.create_key("app-1");
    let app = as_identity(&kes, api_key(2));
    app.generate(&name("app-1"), b"").await.ok().unwrap();
    assert_eq!(app.generate(&name("k"), b"").await.err(), Some(KeyError::Denied));
    assert_eq!(app.delete(&name("app-1")).await.err(), Some(KeyError::Denied));
    kes.remove_policy(&api_key(2).identity());
    assert_eq!(app.generate(&name("app-1"), b"").await.err(), Some(KeyError::Denied));
}

#[tokio::test]
async fn certificate_files_serve_as_well() {
    let kes = with_key(true).await;
    let folder = tempfile::tempdir().unwrap();
    let (pair, identity) = client_pair();
    let (cert_file, key_file) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    std::fs::write(&cert_file, pair.0).unwrap();
    std::fs::write(&key_file, pair.1).unwrap();
    let config = |certificate: &std::path::Path| KesConfig {
        identity: KesIdentity::Certificate {
            certificate: certificate.to_owned(),
            private_key: key_file.clone(),
        },
        ..kes.config(TIMEOUT)
    };
    let client = Kes::new(config(&cert_file)).unwrap();
    assert_eq!(client.generate(&name("k"), b"").await.err(), Some(KeyError::Denied));
    kes.set_policy(identity, Policy::proxy("k"));
    client.generate(&name("k"), b"").await.ok().unwrap();

    let missing = Kes::new(config(&folder.path().join("none"))).err().unwrap();
    assert!(matches!(missing, ConfigError::Certificate(_)), "{missing}");
    std::fs::write(folder.path().join("bad"), "no pem").unwrap();
    assert!(Kes::new(config(&folder.path().join("bad"))).is_err());
}

/// Files are looked at once in so long.
async fn a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
}

/// Rotation as an operator or an agent on the host does it: the files change, and nobody restarts anything.
#[tokio::test]
async fn changed_certificate_files_are_taken_while_running() {
    let kes = with_key(true).await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, private_key) = (folder.path().join("c.crt"), folder.path().join("c.key"));
    let rotate = |allowed: bool| {
        let (pair, identity) = client_pair();
        std::fs::write(&certificate, &pair.0).unwrap();
        std::fs::write(&private_key, &pair.1).unwrap();
        if allowed {
            kes.set_policy(identity.clone(), Policy::proxy("k"));
        }
        identity
    };
    let first = rotate(true);
    let identity =
        KesIdentity::Certificate { certificate: certificate.clone(), private_key: private_key.clone() };
    let client = Kes::new(KesConfig { identity, ..kes.config(TIMEOUT) }).unwrap();
    let ask = async || client.generate(&name("k"), b"").await.err();
    assert_eq!(ask().await, None);
    // Half of a pair: what was good serves on, and the other half is taken when it comes.
    let (pair, second) = client_pair();
    kes.set_policy(second, Policy::proxy("k"));
    std::fs::write(&certificate, &pair.0).unwrap();
    a_minute().await;
    assert_eq!(ask().await, None, "the old one, since the new one is not whole");
    std::fs::write(&private_key, &pair.1).unwrap();
    kes.remove_policy(&first);
    assert_eq!(ask().await, Some(KeyError::Denied), "still the old one");
    a_minute().await;
    assert_eq!(ask().await, None, "the new one");
    std::fs::remove_file(&private_key).unwrap();
    a_minute().await;
    assert_eq!(ask().await, None, "files that are gone change nothing");
    let third = rotate(false);
    a_minute().await;
    assert_eq!(ask().await, Some(KeyError::Denied), "nor is an old one shown once there is a new one");
    kes.set_policy(third, Policy::proxy("k"));
    assert_eq!(ask().await, None);
}

#[tokio::test]
async fn only_the_configured_ca_is_trusted() {
    let (kes, other) = (with_key(true).await, server(true).await);
    let ca = Some(Ca::Pem(other.ca_pem().as_bytes().to_vec()));
    let client = Kes::new(KesConfig { ca, ..kes.config(TIMEOUT) }).unwrap();
    let error = client.generate(&name("k"), b"").await.err().unwrap();
    assert!(error.is_unreachable() && error.to_string().contains("ertificate"), "{error}");
    assert_eq!(kes.faults().total(), 0);
    for ca in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"junk"] {
        let built = Kes::new(KesConfig { ca: Some(Ca::Pem(ca.to_vec())), ..kes.config(TIMEOUT) });
        assert!(built.is_err());
    }
}

#[tokio::test]
async fn a_changed_ca_file_is_taken_while_running() {
    let (kes, other) = (with_key(true).await, server(true).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let mut written = std::time::SystemTime::now();
    let mut write = |pem: String| {
        std::fs::write(&file, pem).unwrap();
        // However fast this goes, and however coarse the file system's clock is.
        written += Duration::from_secs(1);
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(written).unwrap();
    };
    write(kes.ca_pem().to_owned());
    let ca = || Some(Ca::File(file.clone()));
    let client = Kes::new(KesConfig { ca: ca(), ..kes.config(TIMEOUT) }).unwrap();
    let ask = async || client.generate(&name("k"), b"").await.err();
    assert_eq!(ask().await, None);
    write("half a file".to_owned());
    a_minute().await;
    assert_eq!(ask().await, None, "the old one, since the new one is none");
    write(other.ca_pem().to_owned());
    assert_eq!(ask().await, None, "nobody has looked yet");
    a_minute().await;
    assert!(ask().await.unwrap().is_unreachable(), "the new one alone is trusted");
    // As while the certificate of KES is renewed.
    write(format!("{}{}", other.ca_pem(), kes.ca_pem()));
    a_minute().await;
    assert_eq!(ask().await, None);
    std::fs::remove_file(&file).unwrap();
    a_minute().await;
    assert_eq!(ask().await, None, "a file that is gone changes nothing");
    let missing = Kes::new(KesConfig { ca: ca(), ..kes.config(TIMEOUT) }).err().unwrap();
    assert!(matches!(missing, ConfigError::Ca(_)) && missing.to_string().contains("ca.crt"), "{missing}");
}

#[tokio::test]
async fn configurations_are_checked() {
    let kes = server(true).await;
    let with = |endpoints: Vec<String>| Kes::new(KesConfig { endpoints, ..kes.config(TIMEOUT) }).err();
    assert!(matches!(with(vec![]), Some(ConfigError::NoEndpoint)));
    assert!(matches!(with(vec![kes.endpoint(), "http://x".to_owned()]), Some(ConfigError::Endpoint { .. })));
}

#[tokio::test]
async fn errors_do_not_tell_secrets() {
    let kes = with_key(true).await;
    let client = kes.client(TIMEOUT);
    let data = client.generate(&name("k"), b"secret-context").await.ok().unwrap();
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(data.plaintext.expose())
    };
    for fault in [Fault::Garbage, Fault::Truncated, Fault::Html(200), Fault::Reset, Fault::Status(502, "x")] {
        kes.faults().inject("/v1/key/", fault, 3);
        let error = client.decrypt(&name("k"), &data.sealed, b"secret-context").await.err().unwrap();
        let text = format!("{error} {error:?}");
        for secret in [base64.as_str(), "secret-context", "c2VjcmV0", kes.api_key()] {
            assert!(!text.contains(secret), "{text}");
        }
        kes.faults().clear();
    }
}

#[tokio::test]
async fn a_data_folder_keeps_keys_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        || kms_client::testserver::Options { data: Some(folder.path().to_owned()), ..Default::default() };
    let first = TestKes::start_with(options()).await.unwrap();
    first.create_key("k");
    let sealed = first.client(TIMEOUT).generate(&name("k"), b"").await.ok().unwrap();
    let (api_key, ca) = (first.api_key().to_owned(), first.ca_pem().to_owned());
    drop(first);
    let second = TestKes::start_with(options()).await.unwrap();
    assert_eq!((second.api_key(), second.ca_pem()), (api_key.as_str(), ca.as_str()));
    let opened = second.client(TIMEOUT).decrypt(&name("k"), &sealed.sealed, b"").await.ok().unwrap();
    assert_eq!(opened.expose(), sealed.plaintext.expose());
    assert!(second.client(TIMEOUT).health(&fresh("none-")).await.is_err());
}
