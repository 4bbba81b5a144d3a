//! Rotation, idleness and checks of keys that work.

use super::*;
use std::sync::atomic::Ordering::SeqCst;

#[tokio::test(start_paused = true)]
async fn a_new_key_for_writing_every_rotation_and_the_old_one_reads_on() {
    let (fake, keyring) = keyring();
    let first = keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    let mut sealed = vec![first.sealed.clone()];
    // Used all the time, over two and a half rotations.
    for _ in 0..250 {
        sleep(secs(10)).await;
        let now = keyring.for_write(&key("other"), PHOTOS).await.unwrap().sealed.clone();
        if sealed.last() != Some(&now) {
            sealed.push(now);
        }
        read(&keyring, &header(&first)).await.unwrap();
    }
    assert!((3..=4).contains(&sealed.len()), "{} keys", sealed.len());
    assert!(fake.generated.load(SeqCst) <= 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_rotation() {
    let (fake, keyring) = keyring();
    keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    let before = keyring.inner.writers.lock().values().next().unwrap().refresh;
    // Kept in use up to the refresh.
    while tokio::time::Instant::now() < before {
        sleep(secs(20)).await;
        if tokio::time::Instant::now() >= before {
            fake.slow(secs(6));
        }
        let asked = tokio::time::Instant::now();
        keyring.for_write(&key("other"), PHOTOS).await.unwrap();
        assert_eq!(asked, tokio::time::Instant::now(), "served at once, the new key comes behind");
    }
    let old = keyring.inner.writers.lock().values().next().unwrap().open.sealed.clone();
    sleep(secs(15)).await;
    assert_ne!(keyring.for_write(&key("other"), PHOTOS).await.unwrap().sealed, old);
}

#[tokio::test(start_paused = true)]
async fn rotation_during_an_outage_keeps_the_old_key() {
    let fake = Arc::new(Fake::new(&["default"]));
    let policy = BucketKeyPolicy { rotate: secs(100), ..POLICY };
    let keyring = keyring_with(&fake, policy, false);
    let old = keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap().sealed.clone();
    fake.set(Mood::Down);
    for _ in 0..20 {
        sleep(secs(10)).await;
        assert_eq!(keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap().sealed, old);
    }
    fake.set(Mood::Up);
    sleep(secs(10)).await;
    keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    sleep(secs(1)).await;
    assert_ne!(keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap().sealed, old);
}

#[tokio::test(start_paused = true)]
async fn idle_keys_leave_memory() {
    let fake = Arc::new(Fake::new(&["default", "other"]));
    let keyring = keyring_with(&fake, BucketKeyPolicy { idle: secs(300), ..POLICY }, false);
    let open = keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    let (weak, header) = (Arc::downgrade(&open), header(&open));
    drop(open);
    sleep(secs(290)).await;
    assert!(weak.upgrade().is_some());
    read(&keyring, &header).await.unwrap();
    keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    sleep(secs(290)).await;
    assert!(weak.upgrade().is_some(), "use keeps it");
    sleep(secs(13)).await;
    assert!(weak.upgrade().is_none(), "wiped without anybody asking");
    let decrypted = fake.decrypted.load(SeqCst);
    read(&keyring, &header).await.unwrap();
    assert!(fake.decrypted.load(SeqCst) > decrypted);
}

#[tokio::test(start_paused = true)]
async fn every_key_in_use_is_checked_and_no_other() {
    let fake = Arc::new(Fake::new(&["default", "other"]));
    let keyring = keyring_with(&fake, BucketKeyPolicy { idle: secs(700), ..POLICY }, false);
    keyring.start().await;
    keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    let before = fake.decrypted.load(SeqCst);
    sleep(secs(600)).await;
    let checks = fake.decrypted.load(SeqCst) - before;
    assert!((18..=20).contains(&checks), "two keys, each about every minute: {checks}");
    sleep(secs(200)).await; // `other` is idle by now
    let before = fake.decrypted.load(SeqCst);
    sleep(secs(600)).await;
    let checks = fake.decrypted.load(SeqCst) - before;
    assert!((9..=10).contains(&checks), "the default key alone: {checks}");
}

#[tokio::test(start_paused = true)]
async fn upkeep_ends_with_the_keyring() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let inner = Arc::downgrade(&keyring.inner);
    drop(keyring);
    sleep(secs(5)).await;
    assert!(inner.upgrade().is_none());
    let calls = fake.calls();
    sleep(secs(600)).await;
    assert_eq!(fake.calls(), calls);
}
