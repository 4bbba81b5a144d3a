//! The backend as the adversary: every change of a stored object fails closed, on full and on ranged reads, and what
//! was released until then is a prefix of the truth and never ends as if it were whole.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use s3cloak::demo::store::RawObject;
use support::{Answer, BUCKET, Stack, random, shares_a_run};

const CHUNK: usize = 65_536 + 16;
const SIZE: usize = 300_000;
const ENVELOPE: &str = "x-amz-meta-s3cloak";

/// An answer that gives nothing false: an error, or a cut transfer of true bytes.
fn assert_closed(what: &str, answer: &Answer, truth: &[u8]) {
    if answer.status == 200 || answer.status == 206 {
        assert!(
            !answer.complete,
            "{what}: a whole answer of {} bytes. This is a security issue.",
            answer.body.len()
        );
        assert!(
            truth.starts_with(&answer.body),
            "{what}: false bytes were released. This is a security issue."
        );
    } else {
        assert!(answer.status >= 400 || answer.status == 0, "{what}: {}", answer.status);
        assert!(!shares_a_run(&answer.body, truth), "{what}: bytes in an error");
    }
}

async fn check(what: &str, stack: &Stack, key: &str, truth: &[u8]) {
    // With what is known of the object, and without.
    for cold in [false, true] {
        if cold {
            forget(stack, key);
        }
        assert_closed(what, &stack.get(key).await, truth);
    }
}

fn forget(stack: &Stack, key: &str) {
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(key.as_bytes()).unwrap();
    stack.services.info.forget(&bucket, &key, None);
}

#[tokio::test]
async fn changed_bodies_fail_closed() {
    let stack = Stack::start().await;
    let data = random(1, SIZE);
    let total = object_format::length::sealed_len(SIZE as u64) as usize;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: Vec<(&str, Change)> = vec![
        ("flip the first byte", Box::new(|b| b[0] ^= 1)),
        ("flip a byte within", Box::new(|b| b[CHUNK * 2 + 77] ^= 0x80)),
        ("flip a tag", Box::new(|b| b[CHUNK - 1] ^= 1)),
        ("flip padding or footer", Box::new(move |b| b[total - 100] ^= 1)),
        ("flip the last chunk", Box::new(|b| b[CHUNK * 4 + 3] ^= 1)),
        ("cut at a chunk border", Box::new(|b| b.truncate(CHUNK * 3))),
        ("cut off a border", Box::new(|b| b.truncate(CHUNK * 3 + 100))),
        ("cut the footer", Box::new(move |b| b.truncate(total - 512))),
        ("cut one byte", Box::new(move |b| b.truncate(total - 1))),
        ("empty it", Box::new(Vec::clear)),
        ("extend it", Box::new(|b| b.push(0))),
        ("drop a chunk", Box::new(|b| drop(b.drain(CHUNK..CHUNK * 2)))),
        (
            "swap two chunks",
            Box::new(|b| {
                let first = b[..CHUNK].to_vec();
                b.copy_within(CHUNK..CHUNK * 2, 0);
                b[CHUNK..CHUNK * 2].copy_from_slice(&first);
            }),
        ),
        ("double a chunk", Box::new(|b| b.copy_within(0..CHUNK, CHUNK))),
    ];
    for (what, change) in changes {
        stack.put("victim", &data).await;
        assert_eq!(stack.get("victim").await.body, data);
        assert!(stack.store.tamper(BUCKET, "victim", |raw| change(&mut raw.body)).unwrap());
        check(what, &stack, "victim", &data).await;
    }
}

#[tokio::test]
async fn ranges_check_every_chunk_that_they_touch() {
    let stack = Stack::start().await;
    let data = random(2, SIZE);
    stack.put("victim", &data).await;
    stack.store.tamper(BUCKET, "victim", |raw| raw.body[CHUNK * 2 + 5] ^= 1).unwrap();
    for _ in 0..2 {
        // The chunk itself, and a range that runs into it.
        assert_closed(
            "range in it",
            &stack.get_range("victim", "bytes=131080-131090").await,
            &data[131_080..],
        );
        assert_closed("range over it", &stack.get_range("victim", "bytes=10-199999").await, &data[10..]);
        // Chunks beside it are whole and are served.
        let beside = stack.get_range("victim", "bytes=0-99").await;
        assert_eq!((beside.status, beside.body.as_slice()), (206, &data[..100]));
        forget(&stack, "victim");
    }
    let cut = random(3, SIZE);
    stack.put("cut", &cut).await;
    stack.store.tamper(BUCKET, "cut", |raw| raw.body.truncate(CHUNK * 2)).unwrap();
    for _ in 0..2 {
        assert_closed("range of a cut object", &stack.get_range("cut", "bytes=0-9").await, &cut);
        forget(&stack, "cut");
    }
}

#[tokio::test]
async fn envelopes_belong_to_one_object() {
    let stack = Stack::start().await;
    let (one, two) = (random(4, SIZE), random(5, SIZE));
    let set = |raw: &mut RawObject, value: Option<&str>| {
        raw.headers.retain(|(name, _)| name != ENVELOPE);
        raw.headers.extend(value.map(|v| (ENVELOPE.to_owned(), v.to_owned())));
    };
    let reset = async || {
        stack.put("one", &one).await;
        stack.put("two", &two).await;
        assert_eq!(stack.get("one").await.body, one);
    };

    reset().await;
    stack.store.tamper(BUCKET, "one", |raw| set(raw, None)).unwrap();
    check("strip the envelope", &stack, "one", &one).await;
    let stripped = stack.get("one").await;
    assert_eq!((stripped.status, stripped.code().as_str()), (500, "InternalError"));

    reset().await;
    let other = stack.store.stored(BUCKET, "two").unwrap();
    stack.store.tamper(BUCKET, "one", |raw| set(raw, other.header(ENVELOPE))).unwrap();
    check("another object's envelope", &stack, "one", &one).await;

    reset().await;
    stack.store.tamper(BUCKET, "one", |raw| *raw = other.clone()).unwrap();
    check("another object whole", &stack, "one", &one).await;
    check("another object whole", &stack, "one", &two).await;

    // An older version of the same key mixed with the newer one: envelope of one, body of the other.
    stack.put("one", &one).await;
    let old = stack.store.stored(BUCKET, "one").unwrap();
    let newer = random(6, SIZE);
    stack.put("one", &newer).await;
    stack.store.tamper(BUCKET, "one", |raw| raw.body = old.body.clone()).unwrap();
    check("an older body", &stack, "one", &newer).await;
    stack.put("one", &newer).await;
    let tail = object_format::length::sealed_len(SIZE as u64) as usize - 512;
    stack.store.tamper(BUCKET, "one", |raw| raw.body[tail..].copy_from_slice(&old.body[tail..])).unwrap();
    check("an older footer", &stack, "one", &newer).await;

    for value in ["", "AAAA", "!!!", &"A".repeat(3000)] {
        reset().await;
        stack.store.tamper(BUCKET, "one", |raw| set(raw, Some(value))).unwrap();
        check("nonsense as envelope", &stack, "one", &one).await;
    }
}

#[tokio::test]
async fn an_empty_object_is_authenticated_by_its_envelope() {
    let stack = Stack::start().await;
    stack.put("empty", b"").await;
    assert_eq!(stack.get("empty").await.status, 200);
    let raw = stack.store.stored(BUCKET, "empty").unwrap();
    assert!(raw.body.is_empty());
    // Its envelope under another key, and without one.
    stack.put("other", b"x").await;
    stack.store.tamper(BUCKET, "other", |other| *other = raw.clone()).unwrap();
    check("an empty object's envelope elsewhere", &stack, "other", b"x").await;
    stack.store.tamper(BUCKET, "empty", |raw| raw.headers.clear()).unwrap();
    forget(&stack, "empty");
    assert_eq!(stack.get("empty").await.status, 403, "an empty plaintext object in a reject bucket");
}
