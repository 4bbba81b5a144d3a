//! Commands that read or write every byte of a bucket: `verify`, `encrypt`, `rewrap --reseal`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use kms_client::KeyService as _;
use kms_client::local::LocalKeys;
use object_format::{Envelope, Mode};
use s3cloak::demo::store::Fault;
use support::commands::{command, config_file};
use support::multipart::{ENVELOPE, MIN_PART, Object, forget};
use support::uploads::{customer, with};
use support::{BUCKET, Call, Options, Stack, md5_hex, random, shares_a_run};

const PLACE: &str = "s3://photos";

async fn legacy(stack: &Stack, key: &str, body: &[u8], headers: &[(&str, &str)]) {
    let call = Call::new("PUT", format!("/{BUCKET}/{key}")).body(body);
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name, *value));
    let put = stack.backend.send(call).await;
    assert_eq!(put.status, 200, "{}", put.text());
}

fn envelope(stack: &Stack, key: &str) -> Option<Envelope> {
    let stored = stack.store.stored(BUCKET, key).unwrap();
    stored.header(ENVELOPE).map(|value| Envelope::parse(value).unwrap())
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_tells_what_is_not_well() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    LocalKeys::open(stack.key_folder())
        .unwrap()
        .create(&kms_client::KeyName::new("lost").unwrap())
        .await
        .unwrap();
    for (key, size) in [("empty", 0), ("dir/", 0), ("small", 20), ("large", 3 << 20)] {
        stack.put(key, &random(1, size)).await;
    }
    let parts = vec![random(2, MIN_PART), random(3, 100_000)];
    Object::build(&stack, "parts", parts).await.store(&stack, "parts").await;
    let put = with(Call::new("PUT", format!("/{BUCKET}/customer")).body("secret"), &customer([1; 32]));
    assert_eq!(stack.proxy.send(put).await.status, 200);
    let config = config_file(&stack, "");

    stack.store.journal().take();
    let (ok, text) = command("verify", &config, &[PLACE]).await;
    assert!(ok, "{text}");
    has(&text, &["6 objects\n", "5  encrypted and whole", "1  under a customer's key"]);
    let (ok, text) = command("verify", &config, &[PLACE, "--quick"]).await;
    assert!(ok && text.contains("5  encrypted\n"), "{text}");
    let writes = |method: &Method| matches!(*method, Method::PUT | Method::POST | Method::DELETE);
    let mut seen = stack.store.journal().take();
    seen.retain(|seen| writes(&seen.method) && seen.target.starts_with("/photos"));
    assert!(seen.is_empty(), "{seen:?}");

    // One of each kind of damage.
    legacy(&stack, "in/legacy", b"plaintext", &[]).await;
    legacy(&stack, "in/nothing", b"", &[]).await;
    for key in ["in/bytes", "in/end", "in/cut", "in/bare", "in/moved", "in/fine"] {
        stack.put(key, &random(4, 200_000)).await;
    }
    stack.store.tamper(BUCKET, "in/bytes", |raw| raw.body[100_000] ^= 1).unwrap();
    stack.store.tamper(BUCKET, "in/end", |raw| *raw.body.iter_mut().rev().nth(99).unwrap() ^= 1).unwrap();
    stack.store.tamper(BUCKET, "in/cut", |raw| raw.body.truncate(100_000)).unwrap();
    stack.store.tamper(BUCKET, "in/bare", |raw| raw.headers.retain(|(name, _)| name != ENVELOPE)).unwrap();
    let other = stack.store.stored(BUCKET, "in/fine").unwrap();
    stack.store.tamper(BUCKET, "in/moved", |raw| *raw = other).unwrap();
    let lost = Call::new("PUT", format!("/{BUCKET}/in/lost")).body("x");
    let lost = lost.header("x-amz-server-side-encryption", "aws:kms");
    let lost = lost.header("x-amz-server-side-encryption-aws-kms-key-id", "lost");
    assert_eq!(stack.proxy.send(lost).await.status, 200);
    let keys = LocalKeys::open(stack.key_folder()).unwrap();
    keys.delete(&kms_client::KeyName::new("lost").unwrap()).await.unwrap();
    let (ok, text) = command("verify", &config, &["s3://photos/in/"]).await;
    assert!(!ok, "{text}");
    for (key, why) in [
        ("legacy", "not encrypted"),
        ("nothing", "not encrypted"),
        ("bytes", "tampered with or damaged: opening a body"),
        ("end", "tampered with or damaged: trailer"),
        ("cut", "tampered with or damaged"),
        ("bare", "tampered with or damaged: a sealed object whose envelope is gone"),
        ("moved", "tampered with or damaged: envelope"),
        ("lost", "its key cannot be used"),
    ] {
        has(&text, &[&format!("s3://photos/in/{key}: {why}")]);
    }
    has(&text, &["9 objects", "1  encrypted and whole", "8  failed"]);
    // In the middle of an object only reading it shows the damage.
    let (ok, text) = command("verify", &config, &["s3://photos/in/bytes", "--quick"]).await;
    assert!(ok, "{text}");
    // Nothing that fails shows what it was read for.
    assert!(!shares_a_run(b"plaintext-plaintext", text.as_bytes()));
    for wrong in [&["photos"][..], &[], &["s3://nowhere"], &["s3://s3cloak-system"], &[PLACE, "--unheard-of"]]
    {
        assert!(!command("verify", &config, wrong).await.0, "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_encrypted_in_its_place() {
    let stack = Stack::start().await;
    let sizes =
        [("empty", 0), ("small", 5), ("sub/b c", 70_000), ("large", (3 << 20) + 7), ("huge", 12 << 20)];
    let own = [
        ("content-type", "text/x"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-a", "1"),
        ("x-amz-tagging", "t=1%202&u=%26"),
    ];
    for (at, (key, size)) in sizes.iter().enumerate() {
        legacy(&stack, &key.replace(' ', "%20"), &random(at as u64, *size), &own).await;
    }
    legacy(&stack, "dir/", b"", &[]).await;
    stack.put("sealed", b"as it was").await;
    let sealed = stack.store.stored(BUCKET, "sealed").unwrap();
    let config = config_file(&stack, ", limits: { put: 11MiB }");

    let all = || {
        stack
            .store
            .keys(BUCKET)
            .iter()
            .map(|key| stack.store.stored(BUCKET, key).unwrap())
            .collect::<Vec<_>>()
    };
    let before = all();
    let (ok, text) = command("encrypt", &config, &[PLACE, "--dry-run"]).await;
    assert!(ok && all() == before, "{text}");
    has(&text, &["7 objects", "5  to be encrypted", "2  encrypted already"]);

    // A writer that is faster is looked at again.
    stack.store.faults().on(
        Method::PUT,
        "/photos/small",
        Fault::Status(412, "PreconditionFailed".to_owned()),
    );
    let (ok, text) = command("encrypt", &config, &[PLACE]).await;
    assert!(ok && stack.store.faults().waiting() == 0, "{text}");
    has(&text, &["7 objects", "5  encrypted\n", "2  encrypted already"]);
    for (at, (key, size)) in sizes.iter().enumerate() {
        let (plain, place) = (random(at as u64, *size), key.replace(' ', "%20"));
        assert_eq!(envelope(&stack, key).unwrap().header().mode, Mode::SseS3, "{key}");
        let stored = stack.store.stored(BUCKET, key).unwrap();
        assert_eq!(stored.body.len() as u64, object_format::length::sealed_len(*size as u64), "{key}");
        assert!(!shares_a_run(&plain[..plain.len().min(100_000)], &stored.body), "{key}");
        let got = stack.get(&place).await;
        assert!(got.complete && got.body == plain, "{key}");
        assert_eq!(got.header("etag"), Some(format!("\"{}\"", md5_hex(&plain)).as_str()), "{key}");
        for (name, value) in &own[..3] {
            assert_eq!(got.header(name), Some(*value), "{key}");
        }
        let tags = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/{place}?tagging"))).await.text();
        has(&tags, &["<Key>t</Key><Value>1 2</Value>", "<Key>u</Key><Value>&amp;</Value>"]);
    }
    assert_eq!(stack.store.stored(BUCKET, "sealed").unwrap(), sealed);
    let (ok, text) = command("verify", &config, &[PLACE]).await;
    assert!(ok && text.contains("7  encrypted and whole"), "{text}");
    let (ok, text) = command("encrypt", &config, &[PLACE]).await;
    assert!(ok && text.contains("7  encrypted already"), "{text}");
    // A sealed object that lost its envelope is no plaintext.
    stack.store.tamper(BUCKET, "sealed", |raw| raw.headers.clear()).unwrap();
    let (ok, text) = command("encrypt", &config, &[PLACE]).await;
    assert!(!ok && text.contains("s3://photos/sealed: ") && text.contains("1  failed"), "{text}");
    assert!(envelope(&stack, "sealed").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypting_goes_on_and_never_overwrites_a_writer() {
    let stack = Stack::start().await;
    for at in 0..30 {
        legacy(&stack, &format!("{at:02}"), &random(at, 2000), &[]).await;
    }
    let config = config_file(&stack, "");
    // Some fail, once: the next run does those alone.
    for key in ["/photos/07", "/photos/21"] {
        stack.store.faults().on(Method::PUT, key, Fault::Status(500, "InternalError".to_owned()));
    }
    let (ok, text) = command("encrypt", &config, &[PLACE, "--concurrency", "4"]).await;
    assert!(!ok, "{text}");
    has(&text, &["28  encrypted\n", "2  failed", "s3://photos/07: ", "s3://photos/21: "]);
    let (ok, text) = command("encrypt", &config, &[PLACE]).await;
    assert!(ok, "{text}");
    has(&text, &["2  encrypted\n", "28  encrypted already"]);

    // What replaces an object at that very moment stays.
    legacy(&stack, "contended", &random(50, 2000), &[]).await;
    for _ in 0..3 {
        stack.store.faults().on(
            Method::PUT,
            "/photos/contended",
            Fault::Status(412, "PreconditionFailed".to_owned()),
        );
    }
    let (ok, text) = command("encrypt", &config, &["s3://photos/contended"]).await;
    assert!(!ok && envelope(&stack, "contended").is_none(), "{text}");
    // Where nothing can be pinned, nobody may write meanwhile.
    let unpinned = config_file(&stack, ", profile: { conditional_writes: false }");
    let (ok, _) = command("encrypt", &unpinned, &["s3://photos/contended"]).await;
    assert!(!ok && envelope(&stack, "contended").is_none());
    let (ok, text) = command("encrypt", &unpinned, &["s3://photos/contended", "--no-writers"]).await;
    assert!(ok && envelope(&stack, "contended").is_some(), "{text}");
    assert!(stack.get("contended").await.body == random(50, 2000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resealed_objects_have_new_bytes_and_show_the_same() {
    let stack = Stack::start().await;
    LocalKeys::open(stack.key_folder())
        .unwrap()
        .create(&kms_client::KeyName::new("second").unwrap())
        .await
        .unwrap();
    let own = [("content-type", "text/x"), ("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1")];
    for (key, size) in [("empty", 0), ("small", 100), ("large", 2 << 20)] {
        let call = Call::new("PUT", format!("/{BUCKET}/{key}")).body(random(1, size));
        let call = own.iter().fold(call, |call, (name, value)| call.header(name, *value));
        assert_eq!(stack.proxy.send(call).await.status, 200);
    }
    legacy(&stack, "legacy", b"plain", &[]).await;
    // What came in parts stays so, with a small last one and a large one.
    let mut parts = Vec::new();
    for (key, last) in [("in-parts", 1000), ("in-large-parts", MIN_PART + 1)] {
        let object = Object::build(&stack, key, vec![random(5, MIN_PART), random(6, last)]).await;
        object.store(&stack, key).await;
        parts.push((key, object));
    }
    let config = config_file(&stack, "");
    let before: Vec<_> = ["small", "large"].map(|key| stack.store.stored(BUCKET, key).unwrap().body).into();
    let arguments = [PLACE, "--key", "second", "--reseal"];
    let (ok, text) = command("rewrap", &config, &[&arguments[..], &["--dry-run"]].concat()).await;
    assert!(ok && text.contains("5  to be sealed anew"), "{text}");
    let (ok, text) = command("rewrap", &config, &arguments).await;
    assert!(ok, "{text}");
    has(&text, &["5  sealed anew", "1  not encrypted, left alone"]);
    for (key, old) in ["small", "large"].iter().zip(before) {
        let new = stack.store.stored(BUCKET, key).unwrap().body;
        // Behind the bytes both are padded.
        let bytes = if *key == "small" { 100 } else { 100_000 };
        assert!(new.len() == old.len() && !shares_a_run(&old[..bytes], &new[..bytes]), "{key}");
    }
    for (key, size) in [("empty", 0), ("small", 100), ("large", 2 << 20)] {
        forget(&stack, key);
        assert_eq!(envelope(&stack, key).unwrap().header().key_name, "second");
        let got = stack.get(key).await;
        assert!(got.complete && got.body == random(1, size), "{key}");
        assert_eq!(got.header("etag"), Some(format!("\"{}\"", md5_hex(&random(1, size))).as_str()));
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), (Some("text/x"), Some("1")));
        let tags = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/{key}?tagging"))).await.text();
        has(&tags, &["<Key>t</Key><Value>1</Value>"]);
    }
    assert_eq!(stack.store.stored(BUCKET, "legacy").unwrap().body, b"plain");
    for (key, old) in parts {
        forget(&stack, key);
        assert_eq!(envelope(&stack, key).unwrap().header().key_name, "second");
        let new = stack.store.stored(BUCKET, key).unwrap().body;
        assert!(new.len() == old.body().len() && !shares_a_run(&old.body()[..100_000], &new), "{key}");
        let call = Call::new("GET", format!("/{BUCKET}/{key}")).header("x-amz-checksum-mode", "ENABLED");
        let got = stack.proxy.send(call).await;
        assert!(got.complete && got.body == old.plain(), "{key}");
        assert_eq!(got.header("etag"), Some(format!("\"{}\"", old.etag).as_str()));
        assert!(got.header("x-amz-checksum-sha256").unwrap().ends_with("-2"), "{key}");
        let last = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/{key}?partNumber=2"))).await;
        assert_eq!(last.header("x-amz-mp-parts-count"), Some("2"));
        assert!(last.body == old.parts[1].plain, "{key}");
    }
}

/// No command reaches older versions: those that change objects say so, whatever came of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_are_left_behind_are_told() {
    let stack = Stack::start().await;
    stack.put("sealed", b"data").await;
    let config = config_file(&stack, "");
    let left = "The bucket keeps versions: ";
    let commands: [(&str, &[&str]); 4] = [
        ("encrypt", &[PLACE]),
        ("encrypt", &[PLACE, "--dry-run"]),
        ("rewrap", &[PLACE, "--sse", "aws:kms"]),
        ("rewrap", &[PLACE, "--reseal"]),
    ];
    for (name, arguments) in commands {
        let (ok, text) = command(name, &config, arguments).await;
        assert!(ok && !text.contains(left), "{name} {arguments:?}: {text}");
        for status in ["Enabled", "Suspended"] {
            let document =
                format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
            let answer = Fault::Answer(200, vec![], document.into_bytes());
            stack.store.faults().on(Method::GET, "/photos?versioning", answer);
            let (ok, text) = command(name, &config, arguments).await;
            assert!(ok && text.contains(left), "{name} {arguments:?} {status}: {text}");
            assert_eq!(stack.store.faults().waiting(), 0);
        }
    }
    // Whether there are any cannot be left open.
    stack.store.faults().on(Method::GET, "/photos?versioning", Fault::Status(403, "AccessDenied".to_owned()));
    let (ok, text) = command("encrypt", &config, &[PLACE]).await;
    assert!(!ok, "{text}");
}
