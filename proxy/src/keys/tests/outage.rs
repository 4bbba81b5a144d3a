//! Warm keys while their service is away, refuses, or has lost the key.

use super::*;
use std::sync::atomic::Ordering::SeqCst;

async fn warm() -> (Arc<Fake>, Arc<Keyring>, EnvelopeHeader) {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let header = header(&keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap());
    (fake, keyring, header)
}

async fn write(keyring: &Keyring) -> Result<Arc<OpenKey>> {
    keyring.for_write(keyring.default_key(), PHOTOS).await
}

#[tokio::test(start_paused = true)]
async fn reads_and_writes_go_on_for_their_grace() {
    let (fake, keyring, header) = warm().await;
    fake.set(Mood::Down);
    sleep(secs(70)).await; // the next check notices
    let calls = fake.calls();
    for _ in 0..100 {
        read(&keyring, &header).await.unwrap();
        write(&keyring).await.unwrap();
    }
    assert_eq!(fake.calls(), calls);
    assert!(keyring.stats().offline >= 200);
    assert_eq!(keyring.ready(), Readiness::Ready);

    sleep(secs(310)).await;
    assert_eq!(refused(write(&keyring).await), unavailable());
    assert!(matches!(keyring.ready(), Readiness::NotReady(_)));
    read(&keyring, &header).await.unwrap();
    sleep(secs(1200)).await;
    assert_eq!(refused(read(&keyring, &header).await), unavailable());

    fake.set(Mood::Up);
    sleep(secs(10)).await;
    read(&keyring, &header).await.unwrap();
    write(&keyring).await.unwrap();
    assert_eq!(keyring.ready(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn keys_leave_memory_when_grace_is_over() {
    let (fake, keyring, header) = warm().await;
    let open = Arc::downgrade(&read(&keyring, &header).await.unwrap());
    fake.set(Mood::Down);
    sleep(secs(1000)).await;
    read(&keyring, &header).await.unwrap();
    assert!(open.upgrade().is_some());
    sleep(secs(400)).await;
    assert!(open.upgrade().is_none(), "wiped, not only refused");
}

#[tokio::test(start_paused = true)]
async fn idle_keys_stay_while_nobody_could_open_them_again() {
    let fake = Arc::new(Fake::new(&["default", "other"]));
    let policy = BucketKeyPolicy { idle: secs(200), offline_writes: secs(900), ..POLICY };
    let keyring = keyring_with(&fake, policy, false);
    keyring.start().await;
    let (default, other) =
        (write(&keyring).await.unwrap(), keyring.for_write(&key("other"), PHOTOS).await.unwrap());
    let headers = [header(&default), header(&other)];
    let weak = [Arc::downgrade(&default), Arc::downgrade(&other)];
    drop((default, other));
    fake.set(Mood::Down);
    sleep(secs(800)).await; // four times as long as idle keys stay
    for header in &headers {
        read(&keyring, header).await.unwrap();
    }
    assert_eq!(write(&keyring).await.unwrap().sealed.to_vec(), headers[0].sealed_key);
    assert_eq!(keyring.ready(), Readiness::Ready);
    // Untouched since, they go when the service is back, and not before.
    sleep(secs(300)).await;
    assert!(weak.iter().all(|open| open.upgrade().is_some()));
    fake.set(Mood::Up);
    sleep(secs(15)).await;
    assert!(weak.iter().all(|open| open.upgrade().is_none()));
    read(&keyring, &headers[0]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_with_nothing_in_memory_is_not_ready() {
    let fake = Arc::new(Fake::new(&["default"]));
    let keyring = keyring_with(&fake, BucketKeyPolicy { idle: secs(200), ..POLICY }, false);
    keyring.start().await;
    write(&keyring).await.unwrap();
    sleep(secs(210)).await;
    assert_eq!(keyring.ready(), Readiness::Ready, "the service is there");
    fake.set(Mood::Down);
    sleep(secs(70)).await;
    assert!(matches!(keyring.ready(), Readiness::NotReady(_)));
    assert_eq!(refused(write(&keyring).await), unavailable());
    fake.set(Mood::Up);
    sleep(secs(10)).await;
    assert_eq!(keyring.ready(), Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_cold_key_has_no_grace() {
    let (fake, keyring, _) = warm().await;
    let cold = foreign(&fake, "default").await;
    fake.set(Mood::Down);
    assert_eq!(refused(read(&keyring, &cold).await), unavailable());
    let elsewhere = Scope::Bucket { binding: "music" };
    assert_eq!(refused(keyring.for_write(keyring.default_key(), elsewhere).await), unavailable());
}

#[tokio::test(start_paused = true)]
async fn no_grace_at_all_can_be_configured() {
    let fake = Arc::new(Fake::new(&["default"]));
    let policy = BucketKeyPolicy { offline_reads: secs(0), offline_writes: secs(0), ..POLICY };
    let keyring = keyring_with(&fake, policy, false);
    let header = header(&write(&keyring).await.unwrap());
    sleep(secs(59)).await;
    read(&keyring, &header).await.unwrap();
    fake.set(Mood::Down);
    sleep(secs(64)).await;
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
    assert_eq!(refused(write(&keyring).await), unavailable());
}

#[tokio::test(start_paused = true)]
async fn refusal_takes_hold_within_recheck() {
    let (fake, keyring, header) = warm().await;
    let open = Arc::downgrade(&read(&keyring, &header).await.unwrap());
    fake.set(Mood::Denied);
    sleep(secs(63)).await;
    assert!(open.upgrade().is_none(), "dropped and wiped");
    for _ in 0..3 {
        assert_eq!(refused(read(&keyring, &header).await), unavailable(), "never 'garbage'");
        assert_eq!(
            refused(write(&keyring).await),
            unavailable(),
            "it worked before, so not the client's fault"
        );
        sleep(secs(2)).await;
    }
    assert!(matches!(keyring.ready(), Readiness::NotReady(_)));
    // An outage after a refusal brings no grace back.
    fake.set(Mood::Down);
    sleep(secs(2)).await;
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
    fake.set(Mood::Up);
    sleep(secs(2)).await;
    read(&keyring, &header).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn erasure_takes_hold_when_seen_twice() {
    let (fake, keyring, header) = warm().await;
    let open = Arc::downgrade(&read(&keyring, &header).await.unwrap());
    fake.erase("default");
    sleep(secs(72)).await;
    assert!(open.upgrade().is_none());
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
    assert_eq!(refused(write(&keyring).await), unavailable());
    // Another key of its name opens nothing of the old one, and says so.
    fake.put("default");
    sleep(secs(6)).await;
    write(&keyring).await.unwrap();
    let error = read(&keyring, &header).await.err().unwrap();
    assert_eq!(error.blame(), crate::error::Blame::Tampered);
}

#[tokio::test(start_paused = true)]
async fn one_sight_of_a_missing_key_drops_nothing() {
    let (fake, keyring, header) = warm().await;
    let generation = fake.erase("default").unwrap();
    let cold = EnvelopeHeader { sealed_key: vec![7; 76], ..header.clone() };
    assert_eq!(refused(read(&keyring, &cold).await), unavailable());
    read(&keyring, &header).await.unwrap();
    fake.restore("default", generation);
    sleep(secs(10)).await; // looked at again meanwhile
    let calls = fake.calls();
    read(&keyring, &header).await.unwrap();
    write(&keyring).await.unwrap();
    assert_eq!(fake.calls(), calls, "still from memory");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_drops_what_the_old_one_made() {
    let (fake, keyring, header) = warm().await;
    let open = Arc::downgrade(&read(&keyring, &header).await.unwrap());
    fake.put("default");
    sleep(secs(63)).await;
    assert!(open.upgrade().is_none());
    let new = write(&keyring).await.unwrap();
    assert_ne!(new.sealed.to_vec(), header.sealed_key);
}

#[tokio::test(start_paused = true)]
async fn deleting_through_the_keyring_takes_hold_at_once() {
    let (_fake, keyring, header) = warm().await;
    let open = Arc::downgrade(&read(&keyring, &header).await.unwrap());
    keyring.delete(keyring.default_key()).await.unwrap();
    assert!(open.upgrade().is_none());
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
}

#[tokio::test(start_paused = true)]
async fn odd_answers_get_no_outage_grace() {
    let (fake, keyring, header) = warm().await;
    fake.set(Mood::Odd);
    sleep(secs(100)).await;
    read(&keyring, &header).await.unwrap();
    sleep(secs(100)).await;
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_refusal_is_not_kept() {
    let (fake, keyring, header) = warm().await;
    let cold = foreign(&fake, "default").await;
    // The answer to `cold` is under way while the key is deleted.
    fake.slow(secs(1));
    let reading = tokio::spawn({
        let (keyring, cold) = (Arc::clone(&keyring), cold.clone());
        async move { read(&keyring, &cold).await.is_ok() }
    });
    sleep(Duration::from_millis(500)).await;
    keyring.inner.with_external(keyring.default_key(), |known| {
        known.failed(tokio::time::Instant::now(), &kms_client::KeyError::Denied)
    });
    keyring.inner.drop_keys(keyring.default_key()).await;
    assert!(reading.await.unwrap(), "who asked before is served");
    let before = fake.decrypted.load(SeqCst);
    read(&keyring, &cold).await.unwrap();
    assert_eq!(fake.decrypted.load(SeqCst), before + 1, "who asks after has to be allowed anew");
    assert!(read(&keyring, &header).await.is_ok());
}
