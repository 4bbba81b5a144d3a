//! Copies that must not be made: sources that are none, ranges that are not there, headers that contradict each other, and rights
//! that are missing on either side or on the key. Each is refused as S3 does, and nothing is written for it.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use kms_client::KeyService as _;
use kms_client::local::LocalKeys;
use s3cloak::demo::store::RawObject;
use support::multipart::Object;
use support::sse::{Headers, KEY_ID, SOURCE, SSE, assert_refused, bad_writes, h};
use support::uploads::{create, part_copy, with};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random};

const OTHER: &str = "archive";
const UPDATE: &str = "<ObjectEncryption><SSE-KMS><KMSKeyArn>secret</KMSKeyArn></SSE-KMS></ObjectEncryption>";

async fn copy(stack: &Stack, from: &str, to: &str, headers: &Headers) -> Answer {
    let call = Call::new("PUT", format!("/{to}")).header("x-amz-copy-source", from);
    stack.proxy.send(with(call, headers)).await
}

/// Everything that is stored for clients.
fn all(stack: &Stack) -> Vec<(String, RawObject)> {
    [BUCKET, OTHER]
        .into_iter()
        .flat_map(|bucket| stack.store.keys(bucket).into_iter().map(move |key| (bucket, key)))
        .map(|(bucket, key)| (format!("{bucket}/{key}"), stack.store.stored(bucket, &key).unwrap()))
        .collect()
}

/// What was sent to the backend since, if it could have changed anything.
fn writes(stack: &Stack) -> Vec<String> {
    let mut seen = stack.store.journal().take();
    seen.retain(|seen| seen.method != Method::GET && seen.method != Method::HEAD);
    seen.into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
}

async fn stack(allow: Option<&'static str>) -> Stack {
    let stack =
        Stack::with(Options { listen: "tls_terminated_in_front: true", allow, ..Options::default() }).await;
    stack.store.create_bucket(OTHER).unwrap();
    stack
}

#[tokio::test]
async fn a_source_is_what_its_spelling_says_and_nothing_else() {
    let stack = stack(None).await;
    for (key, body) in [("a%20b%2Bc%25", "odd"), ("q%3FversionId%3D1", "marked"), ("dir//x", "two slashes")] {
        stack.put(key, body.as_bytes()).await;
    }
    let id = create(&stack.proxy, "parts", &vec![]).await;
    for (source, body) in [
        ("photos/a%20b%2Bc%25", "odd"),
        ("/photos/a%20b+c%25", "odd"),
        ("photos%2Fa b%2bc%25", "odd"),
        ("%2Fphotos%2Fa%20b%2Bc%25", "odd"),
        ("photos/q%3FversionId%3D1", "marked"),
        ("photos/q%3FversionId=1", "marked"),
        ("photos/dir//x", "two slashes"),
    ] {
        let answer = copy(&stack, source, "archive/copy", &vec![]).await;
        assert_eq!(answer.status, 200, "{source}: {}", answer.text());
        let got = stack.proxy.send(Call::new("GET", "/archive/copy")).await;
        assert_eq!(got.text(), body, "{source}");
        let part = part_copy(&stack.proxy, "parts", &id, 1, source, &vec![]).await;
        assert_eq!(part.status, 200, "{source}: {}", part.text());
        assert!(part.text().contains(&md5_hex(body.as_bytes())), "{source}: {}", part.text());
    }
    let (before, _) = (all(&stack), writes(&stack));
    for (source, status, code) in [
        // Decoded once, and once alone.
        ("photos/a%2520b%252Bc%2525", 404, "NoSuchKey"),
        ("photos/a%20b%2Bc", 404, "NoSuchKey"),
        ("photos/a+b+c%25", 404, "NoSuchKey"),
        ("photos/dir/x", 404, "NoSuchKey"),
        ("photos/dir/./x", 404, "NoSuchKey"),
        ("photos/x/../dir//x", 404, "NoSuchKey"),
        ("photos/q", 404, "NoSuchKey"),
        ("photos/q%3FversionId%3D1?versionId=", 400, "InvalidArgument"),
        ("photos/q%3FversionId%3D1?versionId=%zz", 400, "InvalidArgument"),
        ("photos/a%2", 400, "InvalidArgument"),
        ("photos?versionId=1", 400, "InvalidArgument"),
        ("http://photos/a", 400, "InvalidArgument"),
        ("../photos/a", 400, "InvalidArgument"),
        ("arn:aws:s3:::photos/a", 501, "NotImplemented"),
    ] {
        for to in ["archive/copy", "archive/new", "photos/q"] {
            assert_refused(&copy(&stack, source, to, &vec![]).await, source, status, code, "");
        }
        let part = part_copy(&stack.proxy, "parts", &id, 2, source, &vec![]).await;
        assert_refused(&part, source, status, code, "");
    }
    assert_eq!((all(&stack), writes(&stack)), (before, vec![]));
}

#[tokio::test]
async fn a_range_has_to_be_there() {
    let stack = stack(None).await;
    stack.put("source", &random(1, 100_000)).await;
    stack.put("empty", b"").await;
    let id = create(&stack.proxy, "parts", &vec![]).await;
    let (before, _) = (all(&stack), writes(&stack));
    for (source, range) in [
        ("photos/source", "bytes=0-100000"),
        ("photos/source", "bytes=100000-100000"),
        ("photos/source", "bytes=100001-200000"),
        ("photos/source", "bytes=99999-9999999999999"),
        ("photos/source", "bytes=0-18446744073709551615"),
        ("photos/source", "bytes=0-18446744073709551616"),
        ("photos/source", "bytes=10-9"),
        ("photos/source", "bytes=0-"),
        ("photos/source", "bytes=-1"),
        ("photos/source", "bytes=0-1,2-3"),
        ("photos/source", "bytes 0-1/100000"),
        ("photos/source", ""),
        ("photos/empty", "bytes=0-0"),
        ("photos/empty", "bytes=0-1"),
    ] {
        for number in [1, 10_000] {
            let headers = h(&[("x-amz-copy-source-range", range)]);
            let answer = part_copy(&stack.proxy, "parts", &id, number, source, &headers).await;
            assert_refused(&answer, &format!("{source} {range}"), 400, "InvalidArgument", "");
        }
    }
    assert_eq!((all(&stack), writes(&stack)), (before, vec![]));
    let last = h(&[("x-amz-copy-source-range", "bytes=99999-99999")]);
    let answer = part_copy(&stack.proxy, "parts", &id, 1, "photos/source", &last).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Everything that no PutObject may carry, no copy may, onto another object as little as onto itself.
#[tokio::test]
async fn headers_that_contradict_each_other() {
    let stack = stack(None).await;
    stack.put("source", b"source").await;
    stack.put("there", b"there").await;
    let (before, _) = (all(&stack), writes(&stack));
    // The source has keys of its own to speak of.
    let of_writes =
        bad_writes().into_iter().filter(|(headers, ..)| headers.iter().all(|(name, _)| *name != SOURCE));
    let of_copies = [
        (h(&[("x-amz-metadata-directive", "MERGE")]), 400, "InvalidArgument", "metadata directive"),
        (h(&[("x-amz-metadata-directive", "")]), 400, "InvalidArgument", "metadata directive"),
        (h(&[("x-amz-tagging-directive", "copy")]), 400, "InvalidArgument", "tagging directive"),
        (
            h(&[("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-s3cloak", "forged")]),
            400,
            "InvalidArgument",
            "",
        ),
        (h(&[("x-amz-meta-s3cloak", "forged"), (SSE, "aws:kms")]), 400, "InvalidArgument", ""),
        (h(&[("x-amz-checksum-algorithm", "CRC7")]), 400, "InvalidRequest", "algorithm"),
        // Too long also where it is left aside.
        (h(&[("x-amz-meta-long", &"x".repeat(2049)), (SSE, "AES256")]), 400, "MetadataTooLarge", ""),
    ];
    for (headers, status, code, words) in of_writes.chain(of_copies) {
        for to in ["photos/there", "photos/source", "archive/new"] {
            let answer = copy(&stack, "photos/source", to, &headers).await;
            assert_refused(&answer, &format!("{to} {headers:?}"), status, code, words);
        }
    }
    assert_eq!((all(&stack), writes(&stack)), (before, vec![]));
}

#[tokio::test]
async fn rights_are_needed_on_both_sides_and_on_the_key() {
    let stack = stack(Some(
        "buckets: [photos], prefixes: [mine/], actions: [read, write] }, { buckets: [archive], actions: [write] }, \
         { buckets: [photos], prefixes: [shown/], actions: [read]",
    ))
    .await;
    let keys = LocalKeys::open(stack.key_folder()).unwrap();
    keys.create(&kms_client::KeyName::new("secret").unwrap()).await.unwrap();
    let put = async |place: &str| {
        let answer = stack.proxy.send(Call::new("PUT", format!("/{place}")).body("written")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    put("photos/mine/a").await;
    put("archive/a").await;
    for key in ["shown/a", "others/a"] {
        Object::build(&stack, key, vec![random(1, 1000)]).await.store(&stack, key).await;
    }
    let id = create(&stack.proxy, "mine/parts", &vec![]).await;
    let (before, _) = (all(&stack), writes(&stack));
    let kms = || h(&[(SSE, "aws:kms")]);
    for (from, to, headers) in [
        ("archive/a", "photos/mine/b", vec![]),
        ("photos/others/a", "photos/mine/b", vec![]),
        // Whoever may not read learns not even that there is nothing.
        ("photos/others/absent", "photos/mine/b", vec![]),
        ("photos/mine", "photos/mine/b", vec![]),
        ("absent/a", "photos/mine/b", vec![]),
        ("s3cloak-system/format", "photos/mine/b", vec![]),
        ("photos/mine/a", "photos/shown/b", vec![]),
        ("photos/mine/a", "photos/shown/a", vec![]),
        ("photos/mine/a", "photos/others/b", vec![]),
        ("photos/mine/a", "absent/b", vec![]),
        ("photos/mine/a", "s3cloak-system/b", vec![]),
        ("photos/shown/a", "photos/shown/a", kms()),
        ("archive/a", "archive/a", kms()),
        ("photos/mine/a", "photos/mine/b", h(&[(SSE, "aws:kms"), (KEY_ID, "secret")])),
        ("photos/mine/a", "photos/mine/a", h(&[(SSE, "aws:kms"), (KEY_ID, "secret")])),
    ] {
        let answer = copy(&stack, from, to, &headers).await;
        assert_refused(&answer, &format!("{from} -> {to} {headers:?}"), 403, "AccessDenied", "");
        if to == "photos/mine/b" && headers.is_empty() {
            let part = part_copy(&stack.proxy, "mine/parts", &id, 1, from, &vec![]).await;
            assert_refused(&part, &format!("{from} as a part"), 403, "AccessDenied", "");
        }
        // Who does not say who it is may do nothing of this.
        let wire = format!(
            "PUT /{to} HTTP/1.1\r\nhost: {}\r\nx-amz-copy-source: {from}\r\ncontent-length: 0\r\n\r\n",
            stack.proxy.address
        );
        let anonymous = stack.proxy.raw(wire.as_bytes(), false).await;
        assert_refused(&anonymous, &format!("{from} -> {to}, unsigned"), 403, "AccessDenied", "");
    }
    for key in ["mine/a", "shown/a", "others/a", "others/absent"] {
        let call = Call::new("PUT", format!("/{BUCKET}/{key}?encryption")).body(UPDATE);
        assert_refused(&stack.proxy.send(call).await, key, 403, "AccessDenied", "");
    }
    assert_eq!((all(&stack), writes(&stack)), (before, vec![]));
    for (from, to) in [("photos/mine/a", "archive/b"), ("photos/shown/a", "photos/mine/b")] {
        assert_eq!(copy(&stack, from, to, &kms()).await.status, 200, "{from} -> {to}");
    }
    let part = part_copy(&stack.proxy, "mine/parts", &id, 1, "photos/shown/a", &vec![]).await;
    assert_eq!(part.status, 200, "{}", part.text());
}
