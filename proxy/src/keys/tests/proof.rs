//! Nothing is written under a data key that its service makes and does not open.

use super::*;
use std::sync::atomic::Ordering::SeqCst;

const ALONE: Scope<'static> = Scope::Object { binding: "photos", key: b"k", context: None };

fn is_empty(keyring: &Keyring) -> bool {
    keyring.inner.writers.lock().is_empty() && !keyring.inner.cache.holds_any()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_make_and_not_open_takes_no_writes() {
    let (fake, keyring) = keyring();
    fake.set(Mood::SealOnly);
    keyring.start().await;
    assert!(matches!(keyring.ready(), Readiness::NotReady(_)));
    for scope in [PHOTOS, ALONE] {
        assert_eq!(refused(keyring.for_write(keyring.default_key(), scope).await), unavailable());
        let denied = refused(keyring.for_write(&key("other"), scope).await);
        assert_eq!(denied, (403, "AccessDenied".to_owned()), "a client may name another one");
    }
    assert!(is_empty(&keyring), "none is kept for later");
    fake.set(Mood::Up);
    sleep(secs(8)).await;
    assert_eq!(keyring.ready(), Readiness::Ready);
    keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    keyring.for_write(&key("other"), PHOTOS).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn endpoints_with_different_keys_of_one_name_take_no_writes() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let known = keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    fake.set(Mood::Amnesic);
    let elsewhere = Scope::Bucket { binding: "music" };
    for scope in [elsewhere, ALONE] {
        assert_eq!(refused(keyring.for_write(&key("other"), scope).await), unavailable());
    }
    assert_eq!(refused(keyring.for_write(keyring.default_key(), elsewhere).await), unavailable());
    read(&keyring, &header(&known)).await.expect("that says nothing of older data keys");
    assert_eq!(keyring.inner.writers.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_data_key_is_opened_once_before_it_is_used() {
    let (fake, keyring) = keyring();
    for _ in 0..10 {
        keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    }
    // And the same of the default key, whose check comes with the first use.
    sleep(secs(1)).await;
    assert_eq!((fake.generated.load(SeqCst), fake.decrypted.load(SeqCst)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn keys_for_one_object_cost_one_call_while_others_are_opened() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    sleep(secs(1)).await; // so that no look at the key comes in between
    let write = async || keyring.for_write(keyring.default_key(), ALONE).await;
    for _ in 0..20 {
        let before = (fake.generated.load(SeqCst), fake.decrypted.load(SeqCst));
        write().await.unwrap();
        let after = (fake.generated.load(SeqCst), fake.decrypted.load(SeqCst));
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 0));
        sleep(secs(20)).await;
    }
    assert!(fake.decrypted.load(SeqCst) >= 6, "making data keys puts off no look at the key");
    // Within `recheck` it is known that they do not open.
    fake.set(Mood::SealOnly);
    sleep(secs(63)).await;
    assert_eq!(refused(write().await), unavailable());
    // A key that nobody has looked at is opened at once.
    fake.set(Mood::Up);
    let before = fake.decrypted.load(SeqCst);
    keyring.for_write(&key("other"), ALONE).await.unwrap();
    assert_eq!(fake.decrypted.load(SeqCst) - before, 1);
}
