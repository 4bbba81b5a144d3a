//! First requests: sharing, negatives, planted blobs, names that do not exist.

use super::*;
use std::sync::atomic::Ordering::SeqCst;
use tokio::task::JoinSet;

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_on_a_cold_key_are_one_call() {
    let (fake, keyring) = keyring();
    fake.slow(secs(1));
    let mut writes = JoinSet::new();
    for _ in 0..1000 {
        let keyring = Arc::clone(&keyring);
        writes.spawn(async move { keyring.for_write(&key("other"), PHOTOS).await.unwrap().sealed.clone() });
    }
    let sealed = writes.join_all().await;
    assert!(sealed.iter().all(|s| *s == sealed[0]));
    // One for the bucket, opened before it is used, and the check of the default key.
    assert_eq!((fake.generated.load(SeqCst), fake.decrypted.load(SeqCst)), (1 + 1, 1 + 1));

    let header = foreign(&fake, "other").await;
    let before = fake.decrypted.load(SeqCst);
    let mut reads = JoinSet::new();
    for _ in 0..1000 {
        let (keyring, header) = (Arc::clone(&keyring), header.clone());
        reads.spawn(async move { read(&keyring, &header).await.is_ok() });
    }
    assert!(reads.join_all().await.into_iter().all(|ok| ok));
    assert_eq!(fake.decrypted.load(SeqCst) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_just_after_a_flight_has_landed_begins_no_other() {
    let (fake, keyring) = keyring();
    let open = keyring.for_write(&key("other"), PHOTOS).await.unwrap();
    let before = fake.calls();
    // As if it had looked into memory before that key was there.
    let late = keyring.inner.make_writer((key("other"), "photos".to_owned())).await;
    assert_eq!(late.expect("a key").sealed, open.sealed);
    read(&keyring, &header(&open)).await.unwrap();
    assert_eq!(fake.calls(), before);
    sleep(POLICY.rotate * 2).await;
    let rotated = keyring.inner.make_writer((key("other"), "photos".to_owned())).await;
    assert_ne!(rotated.expect("a key").sealed, open.sealed);
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_grow_with_objects() {
    let (fake, keyring) = keyring();
    let mut header_of = None;
    for n in 0..10_000u32 {
        let open = keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
        let header = header_of.get_or_insert_with(|| header(&open)).clone();
        keyring.for_read(&header, "photos", &n.to_be_bytes()).await.unwrap();
    }
    assert!(fake.calls() <= 10, "{} calls", fake.calls());
    assert!(keyring.stats().hits >= 19_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_cancels_nothing() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let header = foreign(&fake, "other").await;
    fake.slow(secs(2));
    assert!(tokio::time::timeout(secs(1), read(&keyring, &header)).await.is_err());
    let before = fake.decrypted.load(SeqCst);
    read(&keyring, &header).await.unwrap();
    assert_eq!(fake.decrypted.load(SeqCst), before, "the first flight landed");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_has_a_deadline() {
    let (fake, keyring) = keyring();
    let header = foreign(&fake, "other").await;
    fake.set(Mood::Hang);
    assert_eq!(refused(read(&keyring, &header).await), unavailable());
    assert_eq!(refused(keyring.for_write(&key("other"), PHOTOS).await), unavailable());
    let object = Scope::Object { binding: "photos", key: b"k", context: None };
    assert_eq!(refused(keyring.for_write(&key("other"), object).await), unavailable());
}

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_shared_for_a_second() {
    let (fake, keyring) = keyring();
    let header = foreign(&fake, "other").await;
    fake.set(Mood::Down);
    let before = fake.decrypted.load(SeqCst);
    for _ in 0..100 {
        assert_eq!(refused(read(&keyring, &header).await), unavailable());
    }
    assert_eq!(fake.decrypted.load(SeqCst) - before, 1);
    fake.set(Mood::Up);
    sleep(Duration::from_millis(1001)).await;
    read(&keyring, &header).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn planted_blobs_do_not_flood_the_service() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let mine = header(&keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap());
    let before = fake.decrypted.load(SeqCst);
    let mut reads = JoinSet::new();
    for n in 0..5000 {
        let keyring = Arc::clone(&keyring);
        reads.spawn(async move { refused(read(&keyring, &planted(n)).await).0 });
    }
    let statuses = reads.join_all().await;
    let asked = fake.decrypted.load(SeqCst) - before;
    assert!(asked <= 60, "{asked} calls");
    assert_eq!(statuses.iter().filter(|s| **s == 500).count() as u64, asked, "asked about: tampered");
    assert!(statuses.iter().all(|s| *s == 500 || *s == 503), "the rest: slow down");
    read(&keyring, &mine).await.expect("what is known serves on");
    let elsewhere = Scope::Bucket { binding: "music" };
    keyring.for_write(&key("other"), elsewhere).await.expect("other buckets are not held up");
    let known = foreign(&fake, "other").await;
    let music = EnvelopeHeader { sealed_key: planted(1).sealed_key, ..known };
    let error = keyring.for_read(&music, "music", b"o").await.err().unwrap();
    assert_eq!(error.blame(), crate::error::Blame::Tampered, "another bucket has its own limit");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_open_is_asked_about_every_five_seconds() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let before = fake.decrypted.load(SeqCst);
    for _ in 0..100 {
        assert_eq!(refused(read(&keyring, &planted(1)).await).0, 500);
    }
    assert_eq!(fake.decrypted.load(SeqCst) - before, 1);
    sleep(secs(5)).await;
    assert_eq!(refused(read(&keyring, &planted(1)).await).0, 500);
    assert_eq!(fake.decrypted.load(SeqCst) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_sealed_form_under_another_context_poisons_nothing() {
    let (_fake, keyring) = keyring();
    let open = keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    let header = header(&open);
    for _ in 0..2 {
        let moved = keyring.for_read(&header, "music", b"object").await;
        assert_eq!(refused(moved), (500, "InternalError".to_owned()));
        let alone = EnvelopeHeader { bucket_key: BucketKeyFlag::PerObject, ..header.clone() };
        assert_eq!(refused(read(&keyring, &alone).await).0, 500);
        let renamed = EnvelopeHeader { key_name: "other".to_owned(), ..header.clone() };
        assert_eq!(refused(read(&keyring, &renamed).await).0, 500);
        assert!(Arc::ptr_eq(&read(&keyring, &header).await.unwrap(), &open), "the true one serves on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_for_one_object_opens_that_object_alone() {
    let (fake, keyring) = keyring();
    let scope = Scope::Object { binding: "photos", key: b"a", context: Some(b"e30=") };
    let one = keyring.for_write(&key("other"), scope).await.unwrap();
    let two = keyring.for_write(&key("other"), scope).await.unwrap();
    assert_ne!(one.sealed, two.sealed, "a fresh key each time");
    let header = EnvelopeHeader {
        bucket_key: BucketKeyFlag::PerObject,
        context: Some(b"e30=".to_vec()),
        ..header(&one)
    };
    let calls = fake.calls();
    keyring.for_read(&header, "photos", b"a").await.unwrap();
    assert_eq!(fake.calls(), calls, "and it is at hand for a read");
    assert_eq!(refused(keyring.for_read(&header, "photos", b"b").await).0, 500);
    let without = EnvelopeHeader { context: None, ..header.clone() };
    assert_eq!(refused(keyring.for_read(&without, "photos", b"a").await).0, 500);
    let fresh = keyring_with(&fake, POLICY, false);
    fresh.for_read(&header, "photos", b"a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_under_a_name_that_never_worked_is_the_clients_fault() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let calls = fake.calls();
    for _ in 0..50 {
        let refusal = refused(keyring.for_write(&key("nope"), PHOTOS).await);
        assert_eq!(refusal, (400, "KMS.NotFoundException".to_owned()));
    }
    assert_eq!(fake.calls() - calls, 1);
    let object = Scope::Object { binding: "photos", key: b"k", context: None };
    assert_eq!(refused(keyring.for_write(&key("nope"), object).await).0, 400);
    let orphan = EnvelopeHeader { key_name: "nope".to_owned(), ..planted(1) };
    assert_eq!(refused(read(&keyring, &orphan).await), unavailable());
    // Made meanwhile by somebody else: believed within five seconds. Made through us: at once.
    fake.put("nope");
    sleep(secs(5)).await;
    keyring.for_write(&key("nope"), PHOTOS).await.unwrap();
    assert_eq!(refused(keyring.for_write(&key("new"), PHOTOS).await).0, 400);
    keyring.create(&key("new")).await.unwrap();
    keyring.for_write(&key("new"), PHOTOS).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn impossible_envelopes_are_refused_without_a_call() {
    let (fake, keyring) = keyring();
    keyring.start().await;
    let calls = fake.calls();
    let bad_name = EnvelopeHeader { key_name: "../x".to_owned(), ..planted(1) };
    assert_eq!(refused(read(&keyring, &bad_name).await).0, 500);
    let bad_service = EnvelopeHeader { service: "gone".to_owned(), ..planted(1) };
    assert_eq!(refused(read(&keyring, &bad_service).await), unavailable());
    let customer = EnvelopeHeader { mode: Mode::SseC, ..planted(1) };
    assert_eq!(refused(read(&keyring, &customer).await).0, 500);
    assert_eq!(fake.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_missing_default_key_is_made_only_on_an_operators_word() {
    let fake = Arc::new(Fake::new(&[]));
    let keyring = keyring_with(&fake, POLICY, false);
    keyring.start().await;
    assert!(fake.list("").await.unwrap().is_empty());
    assert!(matches!(keyring.ready(), Readiness::NotReady(why) if why.contains("does not exist")));
    assert_eq!(refused(keyring.for_write(keyring.default_key(), PHOTOS).await), unavailable());
    keyring.create(keyring.default_key()).await.unwrap();
    keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap();
    assert_eq!(keyring.ready(), Readiness::Ready);

    let fake = Arc::new(Fake::new(&[]));
    let keyring = keyring_with(&fake, POLICY, true);
    fake.set(Mood::Down);
    let starting = tokio::spawn({
        let keyring = Arc::clone(&keyring);
        async move { keyring.start().await }
    });
    sleep(secs(30)).await;
    assert!(!starting.is_finished() && keyring.ready() != Readiness::Ready);
    fake.set(Mood::Up);
    starting.await.unwrap();
    assert_eq!(fake.list("").await.unwrap(), ["default"]);
    assert_eq!(keyring.ready(), Readiness::Ready);
    assert_eq!(refused(keyring.for_write(&key("other"), PHOTOS).await).0, 400, "none but the default key");
}
