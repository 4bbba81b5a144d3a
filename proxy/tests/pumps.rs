//! The pump: a whole object sealed anew, from plaintext, from another backend, at once or in parts; and nothing of a source
//! that does not authenticate to its end.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use kms_client::KeyService;
use kms_client::local::LocalKeys;
use object_format::Mode;
use s3cloak::backend::Caller;
use s3cloak::config::{Surroundings, parse};
use s3cloak::demo::store::{self, Fault, StoreConfig};
use s3cloak::error::{Code, Result};
use s3cloak::info::{self, Need, Opens, Target};
use s3cloak::keys::Scope;
use s3cloak::ops::copy::pump::{Pump, Pumped, pump_object};
use s3cloak::ops::write_key::WriteKey;
use s3cloak::plan::sse::DeploymentSse;
use s3cloak::s3::checksum::{ChecksumAlgorithm, Hasher};
use s3cloak::s3::name::{BucketName, ObjectKey};
use s3cloak::services::Services;
use support::multipart::{MIN_PART, Object};
use support::uploads::{between, complete, create, part_copy, s3_etag};
use support::{Answer, BUCKET, Call, Client, Options, Stack, md5_hex, random, shares_a_run};

const FAR: &str = "far-away";
const MIB: usize = 1 << 20;

fn place(bucket: &str, key: &str) -> (BucketName, ObjectKey) {
    (BucketName::parse(bucket.as_bytes()).unwrap(), ObjectKey::parse(key.as_bytes()).unwrap())
}

fn target<'a>(services: &'a Services, place: &'a (BucketName, ObjectKey)) -> Target<'a> {
    let rule = services.config.buckets.rule(&place.0);
    Target {
        backend: services.backends.get(&rule.backend).unwrap(),
        caller: &Caller::Own,
        rule,
        bucket: &place.0,
        key: &place.1,
        version: None,
        carried: None,
        opens: Opens::default(),
    }
}

/// Pumps an object to `to` in the first bucket.
async fn pump(
    services: &Services,
    from: (&str, &str),
    to: &str,
    checksum: Option<ChecksumAlgorithm>,
    headers: &[(&'static str, &str)],
) -> Result<Pumped> {
    let (from, to) = (place(from.0, from.1), place(BUCKET, to));
    let (from, to) = (target(services, &from), target(services, &to));
    let found = info::read(services, &from, Need::Tail).await?;
    let resolved = services.keyring.resolve(None)?;
    let open = services.keyring.for_write(&resolved, Scope::Bucket { binding: BUCKET }).await?;
    let sse = DeploymentSse {
        mode: Mode::SseS3,
        key_id: None,
        bucket_key_id: None,
        key_named_by_client: false,
        context: None,
        per_object: false,
        shows_bucket_key: false,
    };
    let key = WriteKey::Deployment { sse, open };
    let pump =
        Pump { services, from: &from, found: &found, to: &to, key: &key, keeps_parts: false, checksum };
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    pump_object(&pump, headers).await
}

async fn raw(client: &Client, bucket: &str, key: &str, body: &[u8]) {
    let put = client.send(Call::new("PUT", format!("/{bucket}/{key}")).body(body)).await;
    assert_eq!(put.status, 200, "{}", put.text());
}

async fn checked(stack: &Stack, key: &str, plain: &[u8]) -> Answer {
    let got = stack.get(key).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(got.complete && got.body == plain, "{key}: {} of {} bytes", got.body.len(), plain.len());
    if plain.len() > 16 {
        assert!(!shares_a_run(
            &plain[..plain.len().min(100_000)],
            &stack.store.stored(BUCKET, key).unwrap().body
        ));
    }
    got
}

fn uploads(stack: &Stack) -> impl Future<Output = usize> {
    let listed = stack.backend.clone();
    async move {
        listed.send(Call::new("GET", format!("/{BUCKET}?uploads="))).await.text().matches("<Upload>").count()
    }
}

const PASS: Option<&str> = Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }");

#[tokio::test]
async fn whole_objects_of_any_kind() {
    let stack = Stack::with(Options { buckets: PASS, ..Options::default() }).await;
    let mut sources = Vec::new();
    for (at, size) in [0, 1, 70_000, MIB + 1, 3 * MIB + 7].into_iter().enumerate() {
        let body = random(at as u64 + 1, size);
        raw(&stack.backend, BUCKET, &format!("legacy{at}"), &body).await;
        stack.put(&format!("single{at}"), &body).await;
        sources.push((format!("legacy{at}"), body.clone()));
        sources.push((format!("single{at}"), body));
    }
    let parts = vec![random(8, MIN_PART + 1), random(9, 1000)];
    let object = Object::build(&stack, "parts", parts).await;
    object.store(&stack, "parts").await;
    sources.push(("parts".to_owned(), object.plain()));
    for (key, plain) in sources {
        let headers = [("content-type", "text/x"), ("x-amz-meta-a", "1")];
        let algorithm = ChecksumAlgorithm::Sha256;
        let pumped = pump(&stack.services, (BUCKET, &key), "made", Some(algorithm), &headers).await.unwrap();
        // Whatever parts it had: a copy is an object that was put at once.
        assert_eq!(pumped.etag, md5_hex(&plain), "{key}");
        let got = checked(&stack, "made", &plain).await;
        assert_eq!(got.header("etag"), Some(format!("\"{}\"", md5_hex(&plain)).as_str()));
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), (Some("text/x"), Some("1")));
        let mut sum = Hasher::new(algorithm);
        sum.update(&plain);
        let sum = ChecksumAlgorithm::format_value(&sum.finish());
        assert_eq!(pumped.checksum.unwrap().text(), sum, "{key}");
        let head = Call::new("HEAD", format!("/{BUCKET}/made")).header("x-amz-checksum-mode", "ENABLED");
        let head = stack.proxy.send(head).await;
        assert_eq!(head.header("x-amz-mp-parts-count"), None);
        if !plain.is_empty() {
            assert_eq!(head.header("x-amz-checksum-sha256"), Some(sum.as_str()), "{key}");
            assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_goes_in_parts() {
    let options = Options { buckets: PASS, backend: "    limits: { put: 11MiB }", ..Options::default() };
    let stack = Stack::with(options).await;
    {
        let size = 12 * MIB + 12_345;
        let plain = random(size as u64, size);
        raw(&stack.backend, BUCKET, "legacy", &plain).await;
        let headers = [("content-type", "text/x"), ("x-amz-meta-a", "1")];
        let pumped = pump(&stack.services, (BUCKET, "legacy"), "made", None, &headers).await.unwrap();
        let stored = stack.store.stored(BUCKET, "made").unwrap().body.len() as u64;
        assert_eq!(stored, object_format::length::sealed_len(size as u64));
        let got = checked(&stack, "made", &plain).await;
        assert_eq!(got.header("etag"), Some(format!("\"{}\"", md5_hex(&plain)).as_str()));
        assert_eq!(pumped.etag, md5_hex(&plain));
        assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), (Some("text/x"), Some("1")));
        let at = size / 2 - 10;
        let ranged = stack.get_range("made", &format!("bytes={at}-{}", at + 70_000)).await;
        assert!(ranged.status == 206 && ranged.body == plain[at..=at + 70_000]);
        assert_eq!(uploads(&stack).await, 0);
        // Out of parts again, in parts again.
        pump(&stack.services, (BUCKET, "made"), "again", None, &[]).await.unwrap();
        checked(&stack, "again", &plain).await;
    }
}

#[tokio::test]
async fn nothing_is_stored_of_a_source_that_fails() {
    let options = Options { backend: "    limits: { put: 11MiB }", ..Options::default() };
    let stack = Stack::with(options).await;
    raw(&stack.backend, BUCKET, "legacy", b"plaintext").await;
    stack.put("made", b"as before").await;
    let parts = vec![random(1, MIN_PART * 2), random(2, MIN_PART), random(3, 1000)];
    let large = Object::build(&stack, "large", parts).await;
    for size in [1000, 300_000, 3 * MIB, 0] {
        let reset = async || match size {
            0 => large.store(&stack, "source").await,
            _ => drop(stack.put("source", &random(7, size)).await),
        };
        // At a chunk's border the loss shows at the end alone, and a footer is looked at last.
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 4] = [
            ("the first byte", |b| b[0] ^= 1),
            ("the middle", |b| {
                let middle = b.len() / 2;
                b[middle] ^= 1;
            }),
            ("the end", |b| {
                let end = b.len() - 20;
                b[end] ^= 1;
            }),
            ("the last chunk", |b| {
                let cut = b.len() - 700;
                b.truncate(cut);
            }),
        ];
        for (what, change) in changes {
            reset().await;
            assert!(stack.store.tamper(BUCKET, "source", |raw| change(&mut raw.body)).unwrap());
            let error = pump(&stack.services, (BUCKET, "source"), "made", None, &[]).await.unwrap_err();
            assert_eq!(error.code(), &Code::InternalError, "{size} {what}: {error}");
            assert_eq!(
                stack.get("made").await.body,
                b"as before",
                "{size} {what}. This is a security issue."
            );
            assert_eq!(uploads(&stack).await, 0, "{size} {what}");
        }
    }
    large.store(&stack, "large").await;
    for (fault, code) in [
        (Fault::CutBody(12 << 20), "BadGateway"),
        (Fault::FlipByte(14 << 20), "InternalError"),
        (Fault::Status(412, "PreconditionFailed".to_owned()), "SlowDown"),
    ] {
        stack.store.faults().on(Method::GET, "/photos/large", Fault::Headers(vec![]));
        stack.store.faults().on(Method::GET, "/photos/large", fault.clone());
        let error = pump(&stack.services, (BUCKET, "large"), "made", None, &[]).await.unwrap_err();
        assert_eq!(error.code().name(), code, "{fault:?}: {error}");
        assert_eq!((stack.store.faults().waiting(), uploads(&stack).await), (0, 0), "{fault:?}");
        assert_eq!(stack.get("made").await.body, b"as before");
    }
    let refused = pump(&stack.services, (BUCKET, "legacy"), "made", None, &[]).await.unwrap_err();
    assert_eq!(refused.code(), &Code::AccessDenied);
    assert_eq!(stack.get("made").await.body, b"as before");
}

#[tokio::test]
async fn a_condition_on_what_is_there_holds() {
    let options = Options { buckets: PASS, backend: "    limits: { put: 11MiB }", ..Options::default() };
    let stack = Stack::with(options).await;
    for size in [1000, 3 * MIB, 12 * MIB] {
        let plain = random(4, size);
        raw(&stack.backend, BUCKET, "legacy", &plain).await;
        stack.put("made", b"as before").await;
        let wrong = [("if-match", "\"0123456789abcdef0123456789abcdef\"")];
        let error = pump(&stack.services, (BUCKET, "legacy"), "made", None, &wrong).await.unwrap_err();
        assert_eq!(error.code(), &Code::PreconditionFailed, "{size}: {error}");
        assert_eq!((stack.get("made").await.body, uploads(&stack).await), (b"as before".to_vec(), 0));
        // In place, as long as nobody else has written.
        let head = stack.backend.send(Call::new("HEAD", format!("/{BUCKET}/legacy"))).await;
        let own = [("if-match", head.header("etag").unwrap())];
        pump(&stack.services, (BUCKET, "legacy"), "legacy", None, &own).await.unwrap();
        checked(&stack, "legacy", &plain).await;
    }
}

/// A proxy over two backends, with the keys of `stack`, which is one of them.
async fn two_backends(stack: &Stack, far: &store::Handle) -> (Client, Arc<Services>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Client { address: listener.local_addr().unwrap(), ..stack.proxy.clone() };
    let backend = |name: &str, endpoint: String| {
        format!(
            "  {name}: {{ endpoint: \"{endpoint}\", region: us-east-1, access_key: backend, \
             secret_key: backend-secret, system: {{ bucket: s3cloak-system }} }}\n"
        )
    };
    let keys = stack.key_folder();
    let yaml = format!(
        "listen:\n  - address: {}\nbackends:\n{}{}keys:\n  services:\n    main: {{ type: local, path: {} }}\n  \
         default_key: test-key\ncredentials:\n  - {{ access_key: client, secret_key: client-secret, \
         allow: [{{ buckets: [\"*\"], actions: [read, write, admin], keys: [\"*\"] }}] }}\n\
         buckets:\n  \"*\": {{ backend: default, etag: md5 }}\n  {FAR}: {{ backend: far }}\n",
        proxy.address,
        backend("default", stack.store.endpoint()),
        backend("far", far.endpoint()),
        keys.display(),
    );
    let around = Surroundings { variable: &|_| None, folder: std::path::Path::new("."), listens: true };
    let config = parse(&yaml, "test.yaml", &around).unwrap_or_else(|faults| panic!("{faults}\n{yaml}"));
    let keys: Arc<dyn KeyService> = Arc::new(LocalKeys::open(keys).unwrap());
    let services = support::serve(Arc::new(config), keys, listener).await;
    (proxy, services)
}

#[tokio::test]
async fn from_another_backend() {
    let stack = Stack::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let far = store::serve(listener, StoreConfig::memory("backend", "backend-secret")).unwrap();
    far.create_bucket(FAR).unwrap();
    let (proxy, services) = two_backends(&stack, &far).await;
    let plain = random(6, MIN_PART + 70_000);
    let put = proxy.send(Call::new("PUT", format!("/{FAR}/source")).body(plain.clone())).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(far.stored(FAR, "source").is_some() && stack.store.stored(BUCKET, "source").is_none());
    let pumped = pump(&services, (FAR, "source"), "made", None, &[]).await.unwrap();
    assert_eq!(pumped.etag, md5_hex(&plain));
    checked(&stack, "made", &plain).await;
    // As a part too.
    let id = create(&proxy, "parts", &vec![]).await;
    let copied = part_copy(&proxy, "parts", &id, 1, &format!("{FAR}/source"), &vec![]).await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    let tag = between(&copied.text(), "ETag");
    assert_eq!(complete(&proxy, "parts", &id, &[(1, tag)]).await.status, 200);
    let got = checked(&stack, "parts", &plain).await;
    assert_eq!(got.header("etag"), Some(s3_etag(&[&plain]).as_str()));
}
