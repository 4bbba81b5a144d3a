//! Objects that get another key, by UpdateObjectEncryption and by the `rewrap` command: what changes, that no byte moves for it,
//! and what is refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use kms_client::KeyService as _;
use kms_client::local::LocalKeys;
use object_format::{Envelope, KeyRef, Mode, ObjectName};
use s3cloak::backend::{Caller, Outgoing};
use s3cloak::demo::store::{Fault, RawObject, Seen};
use s3cloak::keys::random::SystemRandom;
use support::commands::{command, config_file};
use support::multipart::{ENVELOPE, MIN_PART, Object, forget};
use support::relay::Counter;
use support::uploads::{Headers, customer, kept, with};
use support::{Answer, BUCKET, Call, Options, Stack, moved, random};

const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const CONTEXT: &str = "x-amz-server-side-encryption-context";

async fn send(stack: &Stack, method: &'static str, target: &str, headers: &Headers, body: &[u8]) -> Answer {
    stack.proxy.send(with(Call::new(method, format!("/{BUCKET}/{target}")).body(body), headers)).await
}

async fn put(stack: &Stack, key: &str, headers: &Headers, body: &[u8]) {
    let answer = send(stack, "PUT", key, headers, body).await;
    assert_eq!(answer.status, 200, "{key}: {}", answer.text());
}

async fn get(stack: &Stack, key: &str, headers: &Headers) -> Answer {
    send(stack, "GET", key, headers, b"").await
}

async fn new_key(stack: &Stack, name: &str) {
    let keys = LocalKeys::open(stack.key_folder()).unwrap();
    keys.create(&kms_client::KeyName::new(name).unwrap()).await.unwrap();
}

fn envelope(stack: &Stack, key: &str) -> Envelope {
    let stored = stack.store.stored(BUCKET, key).unwrap_or_else(|| panic!("no {key}"));
    Envelope::parse(stored.header(ENVELOPE).unwrap_or_else(|| panic!("{key} has no envelope"))).unwrap()
}

fn key_of(stack: &Stack, key: &str) -> (Mode, String) {
    let envelope = envelope(stack, key);
    (envelope.header().mode, envelope.header().key_name.clone())
}

fn asked(inside: &str) -> String {
    format!("<ObjectEncryption xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</ObjectEncryption>")
}

fn kms(key: &str) -> String {
    asked(&format!("<SSE-KMS><KMSKeyArn>{key}</KMSKeyArn></SSE-KMS>"))
}

async fn update(stack: &Stack, key: &str, document: &str) -> Answer {
    send(stack, "PUT", &format!("{key}?encryption"), &vec![], document.as_bytes()).await
}

#[tokio::test]
async fn an_update_changes_the_key_and_nothing_else() {
    let stack = Stack::start().await;
    new_key(&stack, "second").await;
    let own = vec![
        ("content-type", "a/b".to_owned()),
        ("cache-control", "no-cache".to_owned()),
        ("x-amz-meta-a", "1".to_owned()),
        ("x-amz-tagging", "t=1".to_owned()),
        ("x-amz-storage-class", "STANDARD_IA".to_owned()),
    ];
    for size in [0, 20, 200_000] {
        let body = random(9, size);
        put(&stack, "k", &own, &body).await;
        let before = stack.store.stored(BUCKET, "k").unwrap();
        let shown = send(&stack, "HEAD", "k", &vec![], b"").await;
        stack.store.journal().take();
        let answer = update(&stack, "k", &kms("arn:aws:kms:us-east-1:1:key/second")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        let seen = stack.store.journal().take();
        assert_eq!(moved(&seen), 0);
        assert!(
            seen.iter().all(|seen| !seen.target.contains("encryption")),
            "a backend might overwrite the object"
        );
        let after = stack.store.stored(BUCKET, "k").unwrap();
        assert!(after.body == before.body && after.header(ENVELOPE) != before.header(ENVELOPE));
        let others = |raw: &RawObject| {
            let mut kept: Vec<_> = raw.headers.iter().filter(|(name, _)| name != ENVELOPE).cloned().collect();
            kept.sort();
            kept
        };
        assert_eq!(others(&after), others(&before));
        assert_eq!(key_of(&stack, "k"), (Mode::SseKms, "second".to_owned()));
        let got = get(&stack, "k", &vec![]).await;
        assert!(got.body == body);
        assert_eq!(
            (got.header(SSE), got.header(KEY_ID)),
            (Some("aws:kms"), Some("arn:aws:kms:us-east-1:1:key/second"))
        );
        assert_eq!((got.header("etag"), got.header(BUCKET_KEY)), (shown.header("etag"), None));
        let tags = get(&stack, "k?tagging", &vec![]).await;
        assert!(tags.text().contains("<Key>t</Key>"), "{}", tags.text());
    }
    // Whether the bucket's key is used can be said, and a context stays.
    let context = STANDARD.encode("{\"a\":\"b\"}");
    put(&stack, "k", &vec![(SSE, "aws:kms".to_owned()), (CONTEXT, context.clone())], b"x").await;
    let shared =
        asked("<SSE-KMS><BucketKeyEnabled>true</BucketKeyEnabled><KMSKeyArn>second</KMSKeyArn></SSE-KMS>");
    assert_eq!(update(&stack, "k", &shared).await.status, 200);
    assert_eq!(envelope(&stack, "k").header().context.as_deref(), Some(context.as_bytes()));
    assert_eq!(get(&stack, "k", &vec![]).await.text(), "x");
    put(&stack, "k", &vec![], b"y").await;
    assert_eq!(update(&stack, "k", &shared).await.status, 200);
    assert_eq!(send(&stack, "HEAD", "k", &vec![], b"").await.header(BUCKET_KEY), Some("true"));
}

#[tokio::test]
async fn bad_updates_are_refused_and_change_nothing() {
    let stack = Stack::with(Options {
        listen: "tls_terminated_in_front: true",
        buckets: Some("  \"*\": { backend: default, unencrypted_objects: pass }"),
        allow: Some("buckets: [photos], actions: [read, write], keys: [test-key]"),
        ..Options::default()
    })
    .await;
    new_key(&stack, "second").await;
    put(&stack, "k", &vec![], b"data").await;
    put(&stack, "c", &customer([1; 32]), b"data").await;
    let legacy = stack.backend.send(Call::new("PUT", format!("/{BUCKET}/legacy")).body(b"plain")).await;
    assert_eq!(legacy.status, 200);
    let all = || ["k", "c", "legacy"].map(|key| stack.store.stored(BUCKET, key).unwrap());
    let before = all();
    for (key, document, status, code) in [
        ("k", String::new(), 400, "MalformedXML"),
        ("k", "<A/>".to_owned(), 400, "MalformedXML"),
        ("k", asked(""), 400, "InvalidRequest"),
        ("k", asked("<SSE-C/>"), 400, "InvalidRequest"),
        ("k", asked("<SSE-KMS/>"), 400, "InvalidRequest"),
        ("k", kms("nobody"), 403, "AccessDenied"),
        ("k", kms("second"), 403, "AccessDenied"),
        ("k", kms("a.b"), 400, "KMS.NotFoundException"),
        ("c", kms("test-key"), 400, "InvalidRequest"),
        ("legacy", kms("test-key"), 400, "InvalidRequest"),
        ("nobody", kms("test-key"), 404, "NoSuchKey"),
        ("k?versionId=", kms("test-key"), 400, "InvalidArgument"),
        ("k?versionId=some", kms("test-key"), 501, "NotImplemented"),
    ] {
        let target = match key.split_once('?') {
            Some((key, query)) => format!("{key}?encryption&{query}"),
            None => format!("{key}?encryption"),
        };
        let answer = send(&stack, "PUT", &target, &vec![], document.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{key} {document}: {}",
            answer.text()
        );
    }
    assert_eq!(all(), before);
    assert_eq!(update(&stack, "k", &kms("test-key")).await.status, 200);
}

/// Runs `s3cloak rewrap`, and says whether it succeeded and what it printed.
async fn rewrap(config: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    command("rewrap", config, arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_gets_another_key_and_no_byte_of_it_moves() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    new_key(&stack, "second").await;
    let named = |key: &str| vec![(SSE, "aws:kms".to_owned()), (KEY_ID, key.to_owned())];
    put(&stack, "in/empty", &vec![], b"").await;
    put(&stack, "in/dir/", &vec![], b"").await;
    put(&stack, "in/s3%20%2B%25", &vec![("x-amz-meta-a", "1".to_owned())], &random(1, 70_000)).await;
    put(&stack, "in/kms", &named("test-key"), &random(2, 100)).await;
    let context = STANDARD.encode("{\"a\":\"b\"}");
    let with_context = [named("test-key"), vec![(CONTEXT, context.clone())]].concat();
    put(&stack, "in/context", &with_context, &random(3, 100)).await;
    put(&stack, "in/second", &named("second"), b"there already").await;
    put(&stack, "in/c", &customer([1; 32]), b"customer's").await;
    put(&stack, "out", &vec![], b"outside").await;
    let object = Object::build(&stack, "in/parts", vec![random(4, MIN_PART), random(5, 100)]).await;
    object.store(&stack, "in/parts").await;
    let legacy = stack.backend.send(Call::new("PUT", format!("/{BUCKET}/in/legacy")).body(b"plain")).await;
    assert_eq!(legacy.status, 200);
    let config = config_file(&stack, "");
    let keys = stack.store.keys(BUCKET);
    let all = || keys.iter().map(|key| stack.store.stored(BUCKET, key).unwrap()).collect::<Vec<_>>();
    let before = all();

    let (ok, text) = rewrap(&config, &["s3://photos/in/", "--key", "second", "--dry-run"]).await;
    assert!(ok && all() == before, "{text}");
    assert!(text.starts_with("dry run: re-wrap under key main/second in their own modes\n"), "{text}");
    for line in ["6  to be re-wrapped", "1  had it already", "1  under a customer's key", "1  not encrypted"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }

    stack.store.journal().take();
    let (ok, text) = rewrap(&config, &["s3://photos/in/", "--key", "second"]).await;
    assert!(ok && text.contains("9 objects\n") && text.contains("6  re-wrapped"), "{text}");
    let mut seen = stack.store.journal().take();
    seen.retain(|seen| seen.target.starts_with("/photos"));
    assert_eq!(moved(&seen), 0);
    for (key, raw) in keys.iter().zip(&before) {
        let after = stack.store.stored(BUCKET, key).unwrap();
        assert!(after.body == raw.body, "{key}");
        forget(&stack, key);
    }
    for key in ["in/empty", "in/dir/", "in/s3 +%", "in/parts"] {
        assert_eq!(key_of(&stack, key), (Mode::SseS3, "second".to_owned()), "{key}");
    }
    for key in ["in/kms", "in/context"] {
        assert_eq!(key_of(&stack, key), (Mode::SseKms, "second".to_owned()), "{key}");
    }
    assert_eq!(envelope(&stack, "in/context").header().context.as_deref(), Some(context.as_bytes()));
    assert_eq!(key_of(&stack, "out"), (Mode::SseS3, "test-key".to_owned()));
    let got = get(&stack, "in/s3%20%2B%25", &vec![]).await;
    assert!(got.body == random(1, 70_000) && got.header("x-amz-meta-a") == Some("1"));
    assert!(get(&stack, "in/parts", &vec![]).await.body == object.plain());
    assert_eq!(get(&stack, "in/c", &customer([1; 32])).await.text(), "customer's");

    // Again there is nothing to do; another mode is; the default is what nobody names.
    let (ok, text) = rewrap(&config, &["s3://photos/in/", "--key", "second"]).await;
    assert!(ok && text.contains("7  had it already") && !text.contains("re-wrapped\n"), "{text}");
    let (ok, text) = rewrap(&config, &["s3://photos/in/s3", "--sse", "aws:kms", "--key", "second"]).await;
    assert!(ok && text.contains("1  re-wrapped"), "{text}");
    assert_eq!(key_of(&stack, "in/s3 +%"), (Mode::SseKms, "second".to_owned()));
    let (ok, text) = rewrap(&config, &["s3://photos"]).await;
    assert!(ok && text.starts_with("re-wrap under key main/test-key as AES256\n"), "{text}");
    for key in ["in/kms", "in/s3 +%", "in/parts", "in/context"] {
        assert_eq!(key_of(&stack, key), (Mode::SseS3, "test-key".to_owned()), "{key}");
        forget(&stack, key);
    }
    assert!(get(&stack, "in/kms", &vec![]).await.body == random(2, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rewrapped_is_told() {
    let stack = Stack::start().await;
    new_key(&stack, "second").await;
    for key in ["a", "b", "c"] {
        put(&stack, key, &vec![], b"data").await;
    }
    let config = config_file(&stack, "");
    for arguments in [
        &["photos"][..],
        &["s3://s3cloak-system"],
        &["s3://photos", "--key", "no such key"],
        &["s3://photos", "--key", "nobody"],
        &["s3://nowhere", "--key", "second"],
        &["s3://photos", "--sse", "aws:fsx"],
    ] {
        let (ok, text) = rewrap(&config, arguments).await;
        assert!(!ok, "{arguments:?}: {text}");
    }
    for key in ["a", "b", "c"] {
        assert_eq!(key_of(&stack, key).1, "test-key");
    }
    // One that fails does not keep the others from theirs.
    stack
        .store
        .tamper(BUCKET, "b", |raw| {
            let at = raw.headers.iter_mut().find(|(name, _)| name == ENVELOPE).unwrap();
            let other = if at.1.ends_with('A') { 'Q' } else { 'A' };
            at.1.pop();
            at.1.push(other);
        })
        .unwrap();
    let (ok, text) = rewrap(&config, &["s3://photos", "--key", "second"]).await;
    assert!(
        !ok && text.contains("s3://photos/b: ")
            && text.contains("2  re-wrapped")
            && text.contains("1  failed"),
        "{text}"
    );
    // A writer that is faster wins: its object is looked at again.
    stack.store.faults().on(Method::PUT, "/photos/a", Fault::Status(412, "PreconditionFailed".to_owned()));
    let (ok, text) = rewrap(&config, &["s3://photos/a", "--key", "test-key"]).await;
    assert!(ok && text.contains("1  re-wrapped"), "{text}");

    // Where the storage pins nothing, nobody may write meanwhile.
    let unpinned = config_file(&stack, ", profile: { pinned_copies: false, whole_self_copies: true }");
    let (ok, _) = rewrap(&unpinned, &["s3://photos/a", "--key", "second"]).await;
    assert!(!ok && key_of(&stack, "a").1 == "test-key");
    let (ok, text) = rewrap(&unpinned, &["s3://photos/a", "--key", "second", "--no-writers"]).await;
    assert!(ok && key_of(&stack, "a").1 == "second", "{text}");
}

/// Makes copies of the object `0`, each under an envelope of its own, past the proxy: that is quicker.
async fn fill(stack: &Stack, names: impl Iterator<Item = String>) {
    let (keyring, backends) = (&stack.services.keyring, &stack.services.backends);
    let of = envelope(stack, "0");
    let key = keyring.for_read(of.header(), BUCKET, b"0").await.unwrap();
    let key = KeyRef::Bucket(key.key());
    let secrets = of.open(key, &ObjectName { binding: BUCKET, key: b"0" }).unwrap();
    let body = bytes::Bytes::from(stack.store.stored(BUCKET, "0").unwrap().body);
    let backend = backends.get("default").unwrap();
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    for name in names {
        let place = ObjectName { binding: BUCKET, key: name.as_bytes() };
        let envelope =
            Envelope::rewrap(&secrets, of.header().clone(), key, &place, &mut SystemRandom).unwrap();
        let object = s3cloak::s3::name::ObjectKey::parse(name).unwrap();
        let out = Outgoing::object(Method::PUT, &bucket, &object)
            .header(http::HeaderName::from_static(ENVELOPE), envelope.to_value().parse().unwrap());
        assert!(backend.call(&Caller::Own, out, body.clone()).await.unwrap().is_success());
    }
}

/// So many objects of `size` bytes get another key, in front of storage that is configured so. What was sent to it.
async fn rotate(stack: &Stack, objects: usize, size: usize, storage: &str) -> Vec<Seen> {
    new_key(stack, "second").await;
    let body = random(1, size);
    put(stack, "0", &vec![], &body).await;
    fill(stack, (1..objects).map(|i| i.to_string())).await;
    let sealed = stack.store.stored(BUCKET, "0").unwrap().body;
    let config = config_file(stack, storage);
    stack.store.journal().take();
    let (ok, text) = rewrap(&config, &["s3://photos", "--key", "second"]).await;
    assert!(ok && text.contains(&format!("{objects}  re-wrapped")), "{text}");
    let seen = stack.store.journal().take();
    let of_objects: Vec<Seen> =
        seen.iter().filter(|seen| seen.target.starts_with("/photos")).cloned().collect();
    let total = (sealed.len() * objects) as u64;
    assert!(moved(&of_objects) * 100 < total, "{} of {total} bytes", moved(&of_objects));
    for key in (0..objects).map(|i| i.to_string()) {
        assert_eq!(key_of(stack, &key).1, "second");
        assert!(stack.store.stored(BUCKET, &key).unwrap().body == sealed);
    }
    for key in ["0", "17", "999"] {
        forget(stack, key);
        assert!(stack.get(key).await.body == body);
    }
    seen
}

/// Keys as they change: of all the bytes under them next to nothing moves, whatever the objects' number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_objects_get_another_key() {
    const OBJECTS: usize = 10_000;
    let stack = Stack::start().await;
    // Storage of which nothing is promised: each object becomes an upload of one copied part.
    let seen = rotate(&stack, OBJECTS, 32 << 10, ", profile: { whole_self_copies: false }").await;
    let copied = |seen: &Seen| seen.headers.contains_key("x-amz-copy-source");
    let (copies, others): (Vec<&Seen>, Vec<&Seen>) =
        seen.iter().filter(|seen| seen.target.starts_with("/photos")).partition(|seen| copied(seen));
    assert_eq!(copies.iter().filter(|seen| seen.target.contains("uploadId=")).count(), OBJECTS);
    assert_eq!(copies.len(), OBJECTS);
    // To look, for the tags, to begin the upload, to look once more and to end it; pages of the listing, and the question for versions.
    assert!(others.len() <= 5 * OBJECTS + 12, "{}", others.len());
    // With all that the proxy notes for itself meanwhile.
    let sent = |seen: &Seen| -> usize {
        seen.headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap())
    };
    let sent: usize = seen.iter().map(sent).sum();
    assert!(sent <= 1500 * OBJECTS, "{sent}");
    assert_eq!(kept(&stack), [""; 0]);
    let uploads = stack.backend.send(Call::new("GET", format!("/{BUCKET}?uploads"))).await;
    assert!(!uploads.text().contains("<Upload>"));
}

/// Where it replaces an object as a whole, there is one request to look and one to copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_get_another_key_in_one_request_each() {
    const OBJECTS: usize = 1_000;
    let stack = Stack::start().await;
    let mut seen = rotate(&stack, OBJECTS, 4096, "").await;
    seen.retain(|seen| seen.target.starts_with("/photos"));
    // Besides a page of the listing, and the question for versions.
    assert!(seen.len() <= 2 * OBJECTS + 3, "{}", seen.len());
}

/// Every byte that goes over the wire in either direction, heads and all, is as much for large objects as for small ones.
#[tokio::test]
async fn what_goes_over_the_wire_does_not_grow_with_the_object() {
    const OBJECTS: u64 = 5;
    const LARGE: usize = 4 << 20;
    for backend in ["", "    profile: { whole_self_copies: false }"] {
        let stack = Stack::with(Options { backend, ..Options::default() }).await;
        new_key(&stack, "second").await;
        let counter = Counter::to(stack.store.address()).await;
        let (proxy, _) = stack.replica_over(counter.address).await;
        let mut wire = Vec::new();
        for size in [4096, LARGE] {
            for at in 0..OBJECTS {
                put(&stack, &at.to_string(), &vec![], &random(at, size)).await;
            }
            let before = counter.bytes();
            for at in 0..OBJECTS {
                let call = Call::new("PUT", format!("/{BUCKET}/{at}?encryption")).body(kms("second"));
                assert_eq!(proxy.send(call).await.status, 200);
            }
            wire.push(counter.bytes() - before);
            for key in (0..OBJECTS).map(|at| at.to_string()) {
                assert_eq!(key_of(&stack, &key).1, "second");
            }
        }
        let [small, large] = wire[..] else { panic!("two sizes") };
        assert!(small > 0 && large < small + small / 4, "{backend}: {small} and {large}");
        assert!(large * 100 < OBJECTS * LARGE as u64, "{backend}: {large}");
    }
}
