//! What every key service must do, run on each: the local folder, the test server over HTTP/2 and HTTP/1.1, and a
//! real KES if the environment names one (see `common::external`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{TIMEOUT, external, fresh, name, server};
use kms_client::local::LocalKeys;
use kms_client::{KeyError, KeyName, KeyService};

/// Runs a test body on every service, with a key that exists there.
macro_rules! on_every_service {
    ($($(#[$meta:meta])* $test:ident),* $(,)?) => { mod local { $(
        #[tokio::test]
        async fn $test() {
            let folder = tempfile::tempdir().unwrap();
            let keys = super::LocalKeys::open(folder.path().join("keys")).unwrap();
            super::KeyService::create(&keys, &super::name("present")).await.unwrap();
            super::$test(&keys, &super::name("present")).await;
        }
    )* } mod http2 { $(
        #[tokio::test]
        async fn $test() {
            let kes = super::server(true).await;
            kes.create_key("present");
            super::$test(&kes.client(super::TIMEOUT), &super::name("present")).await;
        }
    )* } mod http1 { $(
        #[tokio::test]
        async fn $test() {
            let kes = super::server(false).await;
            kes.create_key("present");
            super::$test(&kes.client(super::TIMEOUT), &super::name("present")).await;
        }
    )* } mod real { $(
        #[tokio::test]
        async fn $test() {
            if let Some((kes, key)) = super::external() {
                super::$test(&kes, &key).await;
            }
        }
    )* } };
}

on_every_service!(
    opens_what_it_sealed,
    binds_the_context,
    refuses_bent_ciphertexts,
    tells_missing_keys,
    makes_a_key_once,
    describes_and_lists,
    deletes,
    is_healthy,
    serves_many_at_once,
);

async fn opens_what_it_sealed(service: &dyn KeyService, key: &KeyName) {
    for context in [&b""[..], b"ctx", &[0, 255, 10], &[7; 4000]] {
        let one = service.generate(key, context).await.ok().unwrap();
        let two = service.generate(key, context).await.ok().unwrap();
        assert_ne!(one.plaintext.expose(), two.plaintext.expose());
        assert_ne!(one.sealed, two.sealed);
        let opened = service.decrypt(key, &one.sealed, context).await.ok().unwrap();
        assert_eq!(opened.expose(), one.plaintext.expose());
    }
}

async fn binds_the_context(service: &dyn KeyService, key: &KeyName) {
    let sealed = service.generate(key, b"bucket-a").await.ok().unwrap().sealed;
    for context in [&b"bucket-b"[..], b"", b"bucket-a\0"] {
        assert_eq!(service.decrypt(key, &sealed, context).await.err(), Some(KeyError::NotAuthentic));
    }
}

async fn refuses_bent_ciphertexts(service: &dyn KeyService, key: &KeyName) {
    let sealed = service.generate(key, b"c").await.ok().unwrap().sealed;
    for at in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut bent = sealed.clone();
        bent[at] ^= 0x10;
        assert_eq!(service.decrypt(key, &bent, b"c").await.err(), Some(KeyError::NotAuthentic));
    }
    for length in [0, 1, 43, 44, sealed.len() - 1] {
        let cut = service.decrypt(key, &sealed[..length], b"c").await;
        assert_eq!(cut.err(), Some(KeyError::NotAuthentic), "{length} bytes");
    }
}

async fn tells_missing_keys(service: &dyn KeyService, _: &KeyName) {
    let missing = fresh("missing-");
    assert_eq!(service.generate(&missing, b"").await.err(), Some(KeyError::NotFound));
    assert_eq!(service.decrypt(&missing, &[1; 76], b"").await.err(), Some(KeyError::NotFound));
    assert_eq!(service.describe(&missing).await.err(), Some(KeyError::NotFound));
    assert_eq!(service.health(&missing).await.err(), Some(KeyError::NotFound));
    assert_eq!(service.delete(&missing).await.err(), Some(KeyError::NotFound));
}

async fn makes_a_key_once(service: &dyn KeyService, _: &KeyName) {
    let new = fresh("made-");
    service.create(&new).await.unwrap();
    let sealed = service.generate(&new, b"").await.ok().unwrap().sealed;
    assert_eq!(service.create(&new).await, Err(KeyError::Exists));
    assert!(service.decrypt(&new, &sealed, b"").await.is_ok(), "the key is the first one still");
    service.delete(&new).await.unwrap();
}

async fn describes_and_lists(service: &dyn KeyService, _: &KeyName) {
    let group = fresh("g");
    let names: Vec<KeyName> = ["b", "a", "c-1"].map(|s| name(&format!("{group}-{s}"))).into();
    for new in &names {
        service.create(new).await.unwrap();
    }
    let info = service.describe(&names[0]).await.unwrap();
    assert_eq!(info.name, names[0].as_str());
    assert!(matches!(info.algorithm.as_str(), "AES256" | "ChaCha20"));
    assert!(info.created_at.is_some());
    let expected = [format!("{group}-a"), format!("{group}-b"), format!("{group}-c-1")];
    for prefix in [group.to_string(), format!("{group}-")] {
        assert_eq!(service.list(&prefix).await.unwrap(), expected, "{prefix}");
    }
    assert_eq!(service.list(&format!("{group}-c")).await.unwrap(), expected[2..]);
    assert_eq!(service.list(&format!("{group}-x")).await.unwrap(), [""; 0]);
    assert!(service.list("").await.unwrap().contains(&expected[0]));
    for new in &names {
        service.delete(new).await.unwrap();
    }
}

async fn deletes(service: &dyn KeyService, _: &KeyName) {
    let doomed = fresh("doomed-");
    service.create(&doomed).await.unwrap();
    let sealed = service.generate(&doomed, b"").await.ok().unwrap().sealed;
    service.delete(&doomed).await.unwrap();
    assert_eq!(service.decrypt(&doomed, &sealed, b"").await.err(), Some(KeyError::NotFound));
    service.create(&doomed).await.unwrap();
    assert_eq!(service.decrypt(&doomed, &sealed, b"").await.err(), Some(KeyError::NotAuthentic));
    service.delete(&doomed).await.unwrap();
}

async fn is_healthy(service: &dyn KeyService, key: &KeyName) {
    service.health(key).await.unwrap();
    let status = service.status().await;
    assert!(status.is_usable(), "{status:?}");
}

async fn serves_many_at_once(service: &dyn KeyService, key: &KeyName) {
    let sealed = service.generate(key, b"x").await.ok().unwrap();
    // Over HTTP/1.1 each has a connection of its own, and a handshake that a busy machine has to end within five seconds.
    let calls = (0..100).map(|_| service.decrypt(key, &sealed.sealed, b"x"));
    for opened in futures(calls).await {
        assert_eq!(opened.ok().unwrap().expose(), sealed.plaintext.expose());
    }
}

/// Polls all of them concurrently.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |cx| {
        let mut pending = false;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}
