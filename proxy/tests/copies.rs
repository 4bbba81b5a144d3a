//! Copies over real HTTP: what they are made of, what clients and the backend see of them, and that no byte of any object
//! moves. What is refused changes nothing.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest as _, Md5};
use s3cloak::demo::store::{Fault, RawObject};
use s3cloak::gateway::{S3App, serve_on};
use s3cloak::keys::Keyring;
use s3cloak::services::Services;
use support::multipart::{ENVELOPE, MIN_PART, Object};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, moved, random, shares_a_run};

const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-";
const SOURCE_CUSTOMER: &str = "x-amz-copy-source-server-side-encryption-customer-";
const MINE: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
const ARCHIVE: &str = "archive";

type Headers = Vec<(String, String)>;

fn h(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn key_headers(prefix: &str, key: [u8; 32]) -> Headers {
    [
        ("algorithm", "AES256".to_owned()),
        ("key", STANDARD.encode(key)),
        ("key-MD5", STANDARD.encode(Md5::digest(key))),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{prefix}{name}"), value))
    .collect()
}

fn with(call: Call, headers: &Headers) -> Call {
    headers.iter().fold(call, |call, (name, value)| call.header(name, value.clone()))
}

/// TLS ended in front; several buckets with rules of their own.
async fn stack() -> Stack {
    let stack = Stack::with(Options {
        listen: "tls_terminated_in_front: true",
        buckets: Some(
            "  \"*\": { backend: default, etag: md5 }\n  archive: { sse: \"aws:kms\", key: test-key, etag: opaque }",
        ),
        ..Options::default()
    })
    .await;
    stack.store.create_bucket(ARCHIVE).unwrap();
    stack
}

async fn put(stack: &Stack, place: &str, body: &[u8], headers: &Headers) -> Answer {
    let answer = stack.proxy.send(with(Call::new("PUT", format!("/{place}")).body(body), headers)).await;
    assert_eq!(answer.status, 200, "{place}: {}", answer.text());
    answer
}

async fn copy(stack: &Stack, from: &str, to: &str, headers: &Headers) -> Answer {
    let call = Call::new("PUT", format!("/{to}")).header("x-amz-copy-source", from);
    stack.proxy.send(with(call, headers)).await
}

async fn copied(stack: &Stack, from: &str, to: &str, headers: &Headers) -> Answer {
    let answer = copy(stack, from, to, headers).await;
    assert_eq!(answer.status, 200, "{from} -> {to} {headers:?}: {}", answer.text());
    answer
}

async fn read(stack: &Stack, method: &'static str, place: &str, headers: &Headers) -> Answer {
    stack.proxy.send(with(Call::new(method, format!("/{place}")), headers)).await
}

fn element(answer: &Answer, name: &str) -> String {
    let text = answer.text();
    let start =
        text.find(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len() + 2;
    text[start..start + text[start..].find('<').unwrap()].replace("&quot;", "\"")
}

fn stored(stack: &Stack, place: &str) -> RawObject {
    let (bucket, key) = place.split_once('/').unwrap();
    stack.store.stored(bucket, key).unwrap_or_else(|| panic!("no {place}"))
}

#[tokio::test]
async fn any_mode_becomes_any_other_and_no_data_moves() {
    let stack = stack().await;
    let kms = h(&[(SSE, "aws:kms"), (KEY_ID, "test-key")]);
    let context = h(&[(SSE, "aws:kms"), ("x-amz-server-side-encryption-context", "eyJhIjoiYiJ9")]);
    let sources: Vec<(&str, Headers, Headers, Headers)> = vec![
        ("s3", vec![], vec![], vec![]),
        ("kms", kms.clone(), vec![], vec![]),
        ("context", context, vec![], vec![]),
        ("c", key_headers(CUSTOMER, MINE), key_headers(CUSTOMER, MINE), key_headers(SOURCE_CUSTOMER, MINE)),
    ];
    for size in [0, 20, 70_000, 1_500_000] {
        let body = random(size as u64, size);
        for (source, sealing, opening, opening_source) in &sources {
            let from = format!("{BUCKET}/{source}");
            let metadata =
                h(&[("content-type", "a/b"), ("x-amz-meta-own", "kept"), ("cache-control", "no-cache")]);
            put(&stack, &from, &body, &[sealing.clone(), metadata].concat()).await;
            let before = stored(&stack, &from);
            assert!(size != 70_000 || !shares_a_run(&body, &before.body));
            for (to, asked, opens) in [
                ("photos/copy", vec![], vec![]),
                ("photos/dir/kms", kms.clone(), vec![]),
                ("archive/by-rule", vec![], vec![]),
                ("archive/other", key_headers(CUSTOMER, OTHER), key_headers(CUSTOMER, OTHER)),
            ] {
                let what = format!("{source} -> {to}, {size}");
                stack.store.journal().take();
                let answer = copied(&stack, &from, to, &[asked, opening_source.clone()].concat()).await;
                let seen = stack.store.journal().take();
                assert!(moved(&seen) <= 512, "{what}: {} of {} bytes", moved(&seen), before.body.len());
                // The sealed bytes are the same; the envelope is not.
                let after = stored(&stack, to);
                assert!(after.body == before.body, "{what}");
                assert_ne!(after.header(ENVELOPE), before.header(ENVELOPE), "{what}");
                // What is read is the source's, under the destination's key and no other.
                let got = read(&stack, "GET", to, &opens).await;
                assert!(got.status == 200 && got.body == body, "{what}: {} {}", got.status, got.code());
                for kept in ["content-type", "x-amz-meta-own", "cache-control"] {
                    assert!(got.header(kept).is_some(), "{what}: {kept}");
                }
                assert_eq!(got.header("content-type"), Some("a/b"), "{what}");
                let head = read(&stack, "HEAD", to, &opens).await;
                let etag = element(&answer, "ETag");
                assert_eq!(Some(etag.as_str()), got.header("etag"), "{what}");
                assert_eq!(Some(etag.as_str()), head.header("etag"), "{what}");
                for shown in [SSE, KEY_ID, "x-amz-server-side-encryption-customer-key-MD5"] {
                    assert_eq!(answer.header(shown), head.header(shown), "{what}: {shown}");
                }
                if opens.is_empty() {
                    let wrong = read(&stack, "GET", to, opening).await;
                    assert_eq!(wrong.status, if opening.is_empty() { 200 } else { 400 }, "{what}");
                } else {
                    assert_eq!(read(&stack, "GET", to, &vec![]).await.status, 400, "{what}");
                    let theirs = read(&stack, "GET", to, &key_headers(CUSTOMER, MINE)).await;
                    assert_eq!((theirs.status, theirs.code()), (403, "AccessDenied".to_owned()), "{what}");
                }
            }
            if *source == "s3" {
                let copy = read(&stack, "HEAD", "photos/copy", &vec![]).await;
                assert_eq!(copy.header("etag"), Some(format!("\"{}\"", md5_hex(&body)).as_str()));
            }
            // The source is as it was.
            assert_eq!(stored(&stack, &from).header(ENVELOPE), before.header(ENVELOPE));
            let got = read(&stack, "GET", &from, opening).await;
            assert!(got.body == body, "{source} {size}");
        }
    }
}

#[tokio::test]
async fn parts_checksums_and_ranges_stay() {
    let stack = stack().await;
    let parts = vec![random(1, MIN_PART), random(2, MIN_PART + 77_777), random(3, 10)];
    let object = Object::build(&stack, "of-parts", parts.clone()).await;
    object.store(&stack, "of-parts").await;
    stack.store.journal().take();
    let answer = copied(&stack, "photos/of-parts", "photos/copy", &vec![]).await;
    assert!(moved(&stack.store.journal().take()) <= 512);
    assert_eq!(element(&answer, "ETag"), format!("\"{}\"", object.etag));
    assert_eq!(element(&answer, "ChecksumType"), "COMPOSITE");
    let source = read(&stack, "HEAD", "photos/of-parts", &h(&[("x-amz-checksum-mode", "ENABLED")])).await;
    assert_eq!(source.header("x-amz-checksum-sha256"), Some(element(&answer, "ChecksumSHA256").as_str()));
    let got = read(&stack, "GET", "photos/copy", &vec![]).await;
    assert!(got.body == object.plain());
    let range = read(&stack, "GET", "photos/copy", &h(&[("range", "bytes=5242870-5242900")])).await;
    assert!(range.status == 206 && range.body == object.plain()[5_242_870..5_242_901]);
    let second = read(&stack, "GET", "photos/copy?partNumber=2", &vec![]).await;
    assert!(second.body == parts[1] && second.header("x-amz-mp-parts-count") == Some("3"));

    let put = put(&stack, "photos/sum", b"hello", &h(&[("x-amz-checksum-crc32c", "mnG7TA==")])).await;
    assert_eq!(put.header("x-amz-checksum-crc32c"), Some("mnG7TA=="));
    // The same checksum may be asked for: it is there.
    for asked in [vec![], h(&[("x-amz-checksum-algorithm", "CRC32C")])] {
        let answer = copied(&stack, "photos/sum", "archive/sum", &asked).await;
        assert_eq!(element(&answer, "ChecksumCRC32C"), "mnG7TA==");
        assert_eq!(element(&answer, "ChecksumType"), "FULL_OBJECT");
    }
}

#[tokio::test]
async fn directives_say_where_metadata_and_tags_come_from() {
    let stack = stack().await;
    let own = h(&[
        ("content-type", "a/source"),
        ("content-disposition", "inline"),
        ("content-language", "de"),
        ("content-encoding", "gzip"),
        ("cache-control", "max-age=1"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("x-amz-meta-one", "1"),
        ("x-amz-tagging", "from=source"),
    ]);
    put(&stack, "photos/source", b"data", &own).await;
    let asked =
        h(&[("content-type", "b/request"), ("x-amz-meta-two", "2"), ("x-amz-tagging", "from=request")]);
    let shown = |answer: &Answer| -> Vec<Option<String>> {
        [
            "content-type",
            "content-disposition",
            "content-language",
            "content-encoding",
            "cache-control",
            "expires",
            "x-amz-meta-one",
            "x-amz-meta-two",
        ]
        .iter()
        .map(|name| answer.header(name).map(str::to_owned))
        .collect()
    };
    let source = shown(&read(&stack, "HEAD", "photos/source", &vec![]).await);
    assert!(source[..7].iter().all(Option::is_some), "{source:?}");
    for (directives, metadata_of, tags_of) in [
        (vec![], "source", "source"),
        (h(&[("x-amz-metadata-directive", "COPY"), ("x-amz-tagging-directive", "COPY")]), "source", "source"),
        (h(&[("x-amz-metadata-directive", "REPLACE")]), "request", "source"),
        (h(&[("x-amz-tagging-directive", "REPLACE")]), "source", "request"),
        (
            h(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-tagging-directive", "REPLACE")]),
            "request",
            "request",
        ),
    ] {
        copied(&stack, "/photos/source", "photos/copy", &[asked.clone(), directives.clone()].concat()).await;
        let copy = shown(&read(&stack, "HEAD", "photos/copy", &vec![]).await);
        if metadata_of == "source" {
            assert_eq!(copy, source, "{directives:?}");
        } else {
            let mut request = vec![None; 8];
            request[0] = Some("b/request".to_owned());
            request[7] = Some("2".to_owned());
            assert_eq!(copy, request, "{directives:?}");
        }
        let tags = read(&stack, "GET", "photos/copy?tagging", &vec![]).await;
        assert_eq!(element(&tags, "Value"), tags_of, "{directives:?}");
        assert_eq!(read(&stack, "GET", "photos/copy", &vec![]).await.text(), "data");
    }
    // REPLACE with nothing leaves nothing.
    let nothing = h(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-tagging-directive", "REPLACE")]);
    copied(&stack, "photos/source", "photos/copy", &nothing).await;
    let bare = shown(&read(&stack, "HEAD", "photos/copy", &vec![]).await);
    assert_eq!(bare[0].as_deref(), Some("binary/octet-stream"));
    assert!(bare[1..].iter().all(Option::is_none), "{bare:?}");
    assert!(!read(&stack, "GET", "photos/copy?tagging", &vec![]).await.text().contains("<Tag>"));
}

#[tokio::test]
async fn an_object_is_copied_onto_itself_to_change_something() {
    let stack = stack().await;
    let body = random(5, 100_000);
    put(&stack, "photos/self", &body, &h(&[("x-amz-meta-a", "1")])).await;
    let before = stored(&stack, "photos/self");
    for nothing in [vec![], h(&[("x-amz-meta-a", "2")]), h(&[("x-amz-metadata-directive", "COPY")])] {
        let answer = copy(&stack, "photos/self", "photos/self", &nothing).await;
        assert_eq!((answer.status, answer.code()), (400, "InvalidRequest".to_owned()), "{nothing:?}");
        assert!(answer.text().contains("without changing the object"), "{}", answer.text());
    }
    assert_eq!(stored(&stack, "photos/self"), before);

    let etag = read(&stack, "HEAD", "photos/self", &vec![]).await.header("etag").unwrap().to_owned();
    let replace =
        h(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2"), ("content-type", "n/w")]);
    let answer = copied(&stack, "photos/self", "photos/self", &replace).await;
    assert_eq!(element(&answer, "ETag"), etag);
    let head = read(&stack, "HEAD", "photos/self", &vec![]).await;
    assert_eq!((head.header("x-amz-meta-a"), head.header("x-amz-meta-b")), (None, Some("2")));
    assert!(head.header("content-type") == Some("n/w") && head.header("etag") == Some(&etag));

    // Another mode, another key, a customer's key, another one's, and back.
    let kms = h(&[(SSE, "aws:kms")]);
    copied(&stack, "photos/self", "photos/self", &kms).await;
    let head = read(&stack, "HEAD", "photos/self", &vec![]).await;
    assert_eq!((head.header(SSE), head.header(KEY_ID)), (Some("aws:kms"), Some("test-key")));
    assert_eq!(head.header("x-amz-meta-b"), Some("2"));
    copied(&stack, "photos/self", "photos/self", &key_headers(CUSTOMER, MINE)).await;
    assert_eq!(read(&stack, "GET", "photos/self", &vec![]).await.status, 400);
    let rotate = [key_headers(SOURCE_CUSTOMER, MINE), key_headers(CUSTOMER, OTHER)].concat();
    copied(&stack, "photos/self", "photos/self", &rotate).await;
    assert_eq!(read(&stack, "GET", "photos/self", &key_headers(CUSTOMER, MINE)).await.status, 403);
    let got = read(&stack, "GET", "photos/self", &key_headers(CUSTOMER, OTHER)).await;
    assert!(got.body == body);
    // Out of a customer's hands is a change without a word.
    copied(&stack, "photos/self", "photos/self", &key_headers(SOURCE_CUSTOMER, OTHER)).await;
    let got = read(&stack, "GET", "photos/self", &vec![]).await;
    assert!(got.body == body && got.header(SSE) == Some("AES256"));
    assert_eq!(stored(&stack, "photos/self").body, before.body, "nothing of it was ever sealed anew");
}

#[tokio::test]
async fn bad_copies_are_refused_and_change_nothing() {
    let stack = stack().await;
    put(&stack, "photos/plain", b"source", &vec![]).await;
    put(&stack, "photos/c", b"customer's", &key_headers(CUSTOMER, MINE)).await;
    put(&stack, "photos/there", b"destination", &vec![]).await;
    let keys = stack.store.keys(BUCKET);
    let before = stored(&stack, "photos/there");
    let c3 = |key| key_headers(SOURCE_CUSTOMER, key);
    let long = format!("photos/{}", "k".repeat(1025));
    let rows: Vec<(&str, Headers, u16, &str)> = vec![
        ("", vec![], 400, "InvalidArgument"),
        ("photos", vec![], 400, "InvalidArgument"),
        ("photos/", vec![], 400, "InvalidArgument"),
        ("/photos/", vec![], 400, "InvalidArgument"),
        ("photos/%zz", vec![], 400, "InvalidArgument"),
        ("photos/plain?versionId=", vec![], 400, "InvalidArgument"),
        (&long, vec![], 400, "InvalidArgument"),
        ("arn:aws:s3:us-east-1:1:accesspoint/a/object/k", vec![], 501, "NotImplemented"),
        ("photos/nobody", vec![], 404, "NoSuchKey"),
        ("photos/plain%2520", vec![], 404, "NoSuchKey"),
        ("nowhere/plain", vec![], 404, "NoSuchBucket"),
        ("s3cloak-system/format", vec![], 404, "NoSuchBucket"),
        ("photos/plain", h(&[("x-amz-metadata-directive", "replace")]), 400, "InvalidArgument"),
        ("photos/plain", h(&[("x-amz-tagging-directive", "NONE")]), 400, "InvalidArgument"),
        ("photos/plain", h(&[("x-amz-checksum-algorithm", "CRC7")]), 400, "InvalidRequest"),
        ("photos/plain", h(&[(SSE, "AES192")]), 400, "InvalidArgument"),
        ("photos/plain", h(&[(SSE, "aws:kms"), (KEY_ID, "nobody")]), 400, "KMS.NotFoundException"),
        (
            "photos/plain",
            h(&[("x-amz-meta-big", &"v".repeat(2048)), ("x-amz-metadata-directive", "REPLACE")]),
            400,
            "MetadataTooLarge",
        ),
        (
            "photos/plain",
            h(&[(ENVELOPE, "forged"), ("x-amz-metadata-directive", "REPLACE")]),
            400,
            "InvalidArgument",
        ),
        ("photos/plain", c3(MINE), 400, "InvalidRequest"),
        ("photos/c", vec![], 400, "InvalidRequest"),
        ("photos/c", c3(OTHER), 403, "AccessDenied"),
        ("photos/c", key_headers(CUSTOMER, MINE), 400, "InvalidRequest"),
        ("photos/c", c3(MINE)[..2].to_vec(), 400, "InvalidArgument"),
        ("photos/c", [c3(MINE), key_headers(CUSTOMER, MINE)[..1].to_vec()].concat(), 400, "InvalidArgument"),
    ];
    for (source, headers, status, code) in &rows {
        for to in ["photos/there", "photos/not-there"] {
            let answer = copy(&stack, source, to, headers).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (*status, *code),
                "{source} {headers:?}: {}",
                answer.text()
            );
        }
    }
    for (to, status, code) in [
        ("s3cloak-system/x", 404, "NoSuchBucket"),
        ("nowhere/x", 404, "NoSuchBucket"),
        ("photos/there?x", 501, "NotImplemented"),
    ] {
        let answer = copy(&stack, "photos/plain", to, &vec![]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{to}: {}", answer.text());
    }
    assert_eq!(stack.store.keys(BUCKET), keys);
    assert_eq!(stored(&stack, "photos/there"), before);
    assert_eq!(read(&stack, "GET", "photos/plain", &vec![]).await.text(), "source");
}

#[tokio::test]
async fn conditions_hold_on_both_sides() {
    let stack = stack().await;
    let source_etag =
        put(&stack, "photos/source", b"source", &vec![]).await.header("etag").unwrap().to_owned();
    let there = put(&stack, "photos/there", b"destination", &vec![]).await.header("etag").unwrap().to_owned();
    let stale = format!("\"{}\"", md5_hex(b"something else"));
    let past = "Thu, 01 Jan 2015 00:00:00 GMT";
    let source = |name: &str, value: &str| h(&[(&format!("x-amz-copy-source-{name}"), value)]);
    for bad in [
        source("if-match", &stale),
        source("if-match", &format!("W/{source_etag}")),
        source("if-none-match", &source_etag),
        source("if-none-match", "*"),
        source("if-unmodified-since", past),
        source("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        h(&[("if-match", &stale)]),
        h(&[("if-match", &source_etag)]),
        h(&[("if-none-match", "*")]),
        h(&[("if-none-match", &there)]),
    ] {
        let answer = copy(&stack, "photos/source", "photos/there", &bad).await;
        assert_eq!((answer.status, answer.code()), (412, "PreconditionFailed".to_owned()), "{bad:?}");
    }
    let answer = copy(&stack, "photos/source", "photos/new", &h(&[("if-match", &there)])).await;
    assert_eq!((answer.status, answer.code()), (404, "NoSuchKey".to_owned()), "{}", answer.text());
    assert_eq!(read(&stack, "GET", "photos/there", &vec![]).await.text(), "destination");
    // No tag of a client, which may be the MD5 of a plaintext, goes to the backend.
    for seen in stack.store.journal().take() {
        for (name, value) in &seen.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            for tag in [&stale, &source_etag, &there] {
                assert!(!value.contains(tag.trim_matches('"')), "{name}: {value}");
            }
        }
    }
    for good in [
        source("if-match", &source_etag),
        source("if-match", &format!("\"x\", {source_etag}")),
        source("if-none-match", &stale),
        source("if-modified-since", past),
        [source("if-match", &source_etag), source("if-unmodified-since", past)].concat(),
        h(&[("if-none-match", "*")]),
    ] {
        let answer = copy(&stack, "photos/source", &format!("photos/good-{}", good.len()), &good).await;
        if good == h(&[("if-none-match", "*")]) {
            assert_eq!(answer.status, 412, "it is there by now");
        } else {
            assert_eq!(answer.status, 200, "{good:?}: {}", answer.text());
        }
    }
    copied(&stack, "photos/source", "photos/fresh", &h(&[("if-none-match", "*")])).await;
    copied(&stack, "photos/source", "photos/there", &h(&[("if-match", &there)])).await;
    assert_eq!(read(&stack, "GET", "photos/there", &vec![]).await.text(), "source");
    // Both at once, and onto itself.
    let both =
        [h(&[("if-match", &source_etag)]), source("if-match", &source_etag), h(&[(SSE, "aws:kms")])].concat();
    copied(&stack, "photos/source", "photos/source", &both).await;
}

#[tokio::test]
async fn every_copy_is_pinned_to_what_was_looked_at() {
    let stack = stack().await;
    put(&stack, "photos/a%20b%2Bc", b"source", &vec![]).await;
    stack.store.journal().take();
    copied(&stack, "photos/a%20b%2Bc", "photos/copy", &vec![]).await;
    let backend_etag = format!("\"{}\"", md5_hex(&stored(&stack, "photos/a b+c").body));
    let seen = stack.store.journal().take();
    let request = seen.iter().find(|seen| seen.headers.contains_key("x-amz-copy-source")).unwrap();
    assert_eq!(request.headers["x-amz-copy-source"], "photos/a%20b%2Bc");
    assert_eq!(request.headers["x-amz-copy-source-if-match"], backend_etag.as_str());
    assert_eq!(request.headers["x-amz-metadata-directive"], "REPLACE");
    assert!(!request.headers.contains_key("if-match"));
    copied(&stack, "photos/copy", "photos/copy", &h(&[(SSE, "aws:kms")])).await;
    let seen = stack.store.journal().take();
    let request = seen.iter().find(|seen| seen.headers.contains_key("x-amz-copy-source")).unwrap();
    assert_eq!(request.headers["if-match"], backend_etag.as_str(), "nor may it replace another object");

    // What the backend finds replaced is looked at again, and not for ever.
    let refuse = || Fault::Status(412, "PreconditionFailed".to_owned());
    stack.store.faults().on(Method::PUT, "copy-2", refuse());
    copied(&stack, "photos/copy", "photos/copy-2", &vec![]).await;
    for _ in 0..3 {
        stack.store.faults().on(Method::PUT, "copy-3", refuse());
    }
    let answer = copy(&stack, "photos/copy", "photos/copy-3", &vec![]).await;
    assert_eq!((answer.status, answer.code()), (503, "SlowDown".to_owned()), "{}", answer.text());
    for _ in 0..3 {
        stack.store.faults().on(Method::PUT, "copy-4", refuse());
    }
    let answer = copy(&stack, "photos/copy", "photos/copy-4", &h(&[("if-none-match", "*")])).await;
    assert_eq!((answer.status, answer.code()), (409, "ConditionalRequestConflict".to_owned()));
    assert_eq!(stack.store.faults().waiting(), 0);
}

/// What is not known yet is no reason to refuse for good.
#[tokio::test]
async fn a_copy_waits_until_the_backend_is_measured() {
    let stack = stack().await;
    put(&stack, "photos/source", b"source", &vec![]).await;
    let keys = std::sync::Arc::new(kms_client::local::LocalKeys::open(stack.key_folder()).unwrap());
    let config = stack.services.config.clone();
    let copy = Call::new("PUT", "/photos/copy").header("x-amz-copy-source", "photos/source");
    let document = "<ObjectEncryption><SSE-KMS><KMSKeyArn>test-key</KMSKeyArn></SSE-KMS></ObjectEncryption>";
    for call in [copy, Call::new("PUT", "/photos/source?encryption").body(document)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keyring = Keyring::new([("main".to_owned(), keys.clone() as _)].into(), &config.keys);
        let services = Services::with_keyring(config.clone(), keyring).unwrap();
        let services = std::sync::Arc::new(services);
        assert!(services.backends.iter().all(|backend| !backend.is_prepared()));
        tokio::spawn(serve_on(listener, S3App::new(services.clone(), &config.listen[0])));
        let fresh = support::Client { address, ..stack.proxy.clone() };
        let answer = fresh.send(call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(services.backends.iter().all(|backend| backend.is_prepared()));
    }
}

#[tokio::test]
async fn an_error_of_the_backend_is_seen_wherever_it_stands() {
    let stack = stack().await;
    put(&stack, "photos/source", b"source", &vec![]).await;
    let xml = || vec![("content-type".to_owned(), "application/xml".to_owned())];
    let late = |code: &str| {
        let text = format!(
            "<?xml version=\"1.0\"?>\n\n  <Error><Code>{code}</Code><Message>http://10.0.0.1/ no</Message></Error>"
        );
        Fault::Answer(200, xml(), text.into_bytes())
    };
    for (fault, status, code) in [
        (late("InternalError"), 500, "InternalError"),
        (late("SlowDown"), 503, "SlowDown"),
        (late("AccessDenied"), 403, "AccessDenied"),
        (late("Unheard"), 500, "Unheard"),
        (Fault::Answer(200, xml(), b"<html/>".to_vec()), 502, "BadGateway"),
        (Fault::Answer(200, xml(), Vec::new()), 502, "BadGateway"),
        (Fault::Answer(200, xml(), b"<CopyObjectResult/>".to_vec()), 502, "BadGateway"),
        (Fault::Answer(204, xml(), Vec::new()), 502, "BadGateway"),
        (Fault::Status(503, "SlowDown".to_owned()), 503, "SlowDown"),
    ] {
        stack.store.faults().on(Method::PUT, "/copy", fault);
        let answer = copy(&stack, "photos/source", "photos/copy", &vec![]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
        assert!(!answer.text().contains("10.0.0.1"), "{}", answer.text());
    }
    assert_eq!(stack.store.keys(BUCKET), ["source"]);
    // Late conditions are conditions.
    stack.store.faults().on(Method::PUT, "/copy", late("PreconditionFailed"));
    copied(&stack, "photos/source", "photos/copy", &vec![]).await;
}

/// Ranges of ciphertext, where the backend does not copy as much at once.
#[tokio::test]
async fn large_objects_are_copied_in_ranges() {
    let stack = Stack::with(Options {
        listen: "tls_terminated_in_front: true",
        backend: "    limits: { put: 6MiB }",
        ..Options::default()
    })
    .await;
    let parts = vec![random(1, MIN_PART), random(2, MIN_PART), random(3, MIN_PART), random(4, 1000)];
    let object = Object::build(&stack, "big", parts).await;
    object.store(&stack, "big").await;
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
    let tagged = stack.proxy.send(Call::new("PUT", "/photos/big?tagging").body(tags)).await;
    assert_eq!(tagged.status, 200, "{}", tagged.text());
    stack.store.journal().take();
    let answer = copied(&stack, "photos/big", "photos/copy", &key_headers(CUSTOMER, MINE)).await;
    let seen = stack.store.journal().take();
    assert_eq!(seen.iter().filter(|seen| seen.headers.contains_key("x-amz-copy-source-range")).count(), 3);
    assert!(moved(&seen) < 4096, "{}", moved(&seen));
    assert!(stored(&stack, "photos/copy").body == object.body());
    let got = read(&stack, "GET", "photos/copy", &key_headers(CUSTOMER, MINE)).await;
    assert!(got.body == object.plain());
    assert_eq!(got.header("etag"), Some(element(&answer, "ETag").as_str()));
    // Onto itself too, and the tags go along.
    let answer = copied(&stack, "photos/big", "photos/big", &h(&[(SSE, "aws:kms")])).await;
    assert_eq!(element(&answer, "ETag"), format!("\"{}\"", object.etag));
    let got = read(&stack, "GET", "photos/big", &vec![]).await;
    assert!(got.body == object.plain() && got.header(SSE) == Some("aws:kms"));

    // A range that fails leaves neither an upload nor an object.
    for fault in [
        Fault::Status(500, "InternalError".to_owned()),
        Fault::Answer(200, Vec::new(), b"<Error><Code>InternalError</Code></Error>".to_vec()),
    ] {
        stack.store.faults().on(Method::PUT, "failed?partNumber=2", fault);
        let answer = copy(&stack, "photos/big", "photos/failed", &vec![]).await;
        assert_eq!((answer.status, answer.code()), (500, "InternalError".to_owned()), "{}", answer.text());
        assert!(stack.store.stored(BUCKET, "failed").is_none());
        let uploads = stack.backend.send(Call::new("GET", "/photos?uploads")).await;
        assert!(!uploads.text().contains("<Upload>"), "{}", uploads.text());
    }
}
