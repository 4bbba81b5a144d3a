//! Listings through the real proxy in process: sizes and tags as GET and HEAD show them, at a known cost in backend
//! requests, and what becomes of objects that cannot be read.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use object_format::length::sealed_len;
use s3cloak::demo::store::Fault;
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random};

const LISTINGS: [&str; 3] = ["", "list-type=2", "versions"];

async fn list(stack: &Stack, query: &str) -> Answer {
    stack.proxy.send(Call::new("GET", format!("/{BUCKET}?{query}"))).await
}

/// Texts of an element within the entries, in order. Enough for documents whose shape is known.
fn texts<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
}

fn sizes(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    texts(&answer.text(), "Size").iter().map(|text| text.parse().unwrap()).collect()
}

fn tags(answer: &Answer) -> Vec<String> {
    texts(&answer.text(), "ETag")
        .iter()
        .map(|text| text.replace("&quot;", "\"").replace("&#34;", "\""))
        .collect()
}

fn footer_reads(stack: &Stack) -> usize {
    stack.store.journal().take().iter().filter(|seen| seen.headers.contains_key("range")).count()
}

fn forget(stack: &Stack, key: &str) {
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(key.as_bytes()).unwrap();
    stack.services.info.forget(&bucket, &key, None);
}

#[tokio::test]
async fn every_listing_shows_what_head_shows() {
    let stack = Stack::start().await;
    let bodies: Vec<(String, Vec<u8>)> = [0, 1, 65_536, 65_537, 1_500_000]
        .iter()
        .map(|n| (format!("k{n:08}"), random(*n as u64 + 1, *n)))
        .collect();
    for (key, body) in &bodies {
        stack.put(key, body).await;
    }
    for query in ["", "list-type=2"] {
        let answer = list(&stack, query).await;
        let expected: Vec<u64> = bodies.iter().map(|(_, body)| body.len() as u64).collect();
        assert_eq!(sizes(&answer), expected, "{query}");
        let expected: Vec<String> = bodies.iter().map(|(_, body)| format!("\"{}\"", md5_hex(body))).collect();
        assert_eq!(tags(&answer), expected, "{query}");
        assert_eq!(answer.header("content-type"), Some("application/xml"));
        let shown = answer.text().matches("<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>").count();
        assert_eq!(shown, bodies.len(), "{}", answer.text());
    }
    for (key, body) in &bodies {
        let head = stack.head(key).await;
        assert_eq!(head.header("etag"), Some(format!("\"{}\"", md5_hex(body)).as_str()));
    }
}

#[tokio::test]
async fn a_warm_listing_is_one_request_and_a_cold_one_reads_footers() {
    let stack = Stack::start().await;
    for n in 0..40 {
        stack.put(&format!("k{n:02}"), &random(n + 1, 100)).await;
        forget(&stack, &format!("k{n:02}"));
    }
    stack.store.journal().take();
    let cold = list(&stack, "list-type=2").await;
    assert_eq!(sizes(&cold), [100; 40]);
    assert_eq!(footer_reads(&stack), 40);
    let warm = list(&stack, "list-type=2").await;
    assert_eq!(warm.text(), cold.text());
    assert_eq!(stack.store.journal().take().len(), 1);
    // An object written anew is looked at again, the others are not.
    stack.put("k07", &random(99, 200)).await;
    stack.store.journal().take();
    let after = list(&stack, "list-type=2").await;
    assert_eq!(sizes(&after)[7], 200);
    assert_eq!(tags(&after)[7], format!("\"{}\"", md5_hex(&random(99, 200))));
    assert!(footer_reads(&stack) <= 1);
}

#[tokio::test]
async fn opaque_buckets_are_listed_without_a_look_at_any_object() {
    let buckets = Some("  \"*\": { backend: default, etag: opaque }");
    let stack = Stack::with(Options { buckets, ..Options::default() }).await;
    let mut expected = Vec::new();
    for n in [0, 1, 70_000] {
        let put = stack.put(&format!("k{n:05}"), &random(n + 1, n as usize)).await;
        expected.push(put.header("etag").unwrap().to_owned());
    }
    for query in ["", "list-type=2"] {
        stack.store.journal().take();
        let answer = list(&stack, query).await;
        assert_eq!(sizes(&answer), [0, 1, 70_000]);
        assert_eq!(tags(&answer), expected);
        assert_eq!(stack.store.journal().take().len(), 1);
    }
    for (n, etag) in [0, 1, 70_000].iter().zip(&expected) {
        assert!(etag.ends_with("-1\""), "{etag}");
        assert_eq!(stack.head(&format!("k{n:05}")).await.header("etag"), Some(etag.as_str()));
    }
}

#[tokio::test]
async fn plaintext_keeps_its_size_where_it_is_served() {
    let buckets = Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }");
    let stack = Stack::with(Options { buckets, ..Options::default() }).await;
    // Of a size that a sealed object could have, and of one that none has.
    let invertible = random(1, sealed_len(1000) as usize);
    let odd = random(2, 100);
    for (key, body) in [("a", &invertible), ("b", &odd)] {
        let put = Call::new("PUT", format!("/{BUCKET}/{key}")).body(body.clone());
        assert_eq!(stack.backend.send(put).await.status, 200);
    }
    let sealed = random(3, 1000);
    stack.put("c", &sealed).await;
    let answer = list(&stack, "list-type=2").await;
    assert_eq!(sizes(&answer), [sealed_len(1000), 100, 1000]);
    assert_eq!(tags(&answer), [&invertible, &odd, &sealed].map(|body| format!("\"{}\"", md5_hex(body))));
}

#[tokio::test]
async fn plaintext_that_is_not_served_is_still_listed() {
    let stack = Stack::start().await;
    let put = Call::new("PUT", format!("/{BUCKET}/plain")).body(random(1, 100));
    assert_eq!(stack.backend.send(put).await.status, 200);
    assert_eq!(stack.get("plain").await.status, 403);
    let answer = list(&stack, "").await;
    assert_eq!(sizes(&answer), [100]);
    assert_eq!(tags(&answer), [format!("\"{}-1\"", md5_hex(&random(1, 100)))]);
}

#[tokio::test]
async fn failures_that_pass_are_retried_and_then_fail_the_page() {
    let stack = Stack::start().await;
    for key in ["one", "two"] {
        stack.put(key, b"data").await;
        forget(&stack, key);
    }
    let slow = || Fault::Status(503, "SlowDown".to_owned());
    stack.store.faults().on(Method::GET, "/two", slow());
    let retried = list(&stack, "").await;
    assert_eq!(sizes(&retried), [4, 4]);
    assert_eq!(stack.store.faults().waiting(), 0);

    forget(&stack, "two");
    for _ in 0..3 {
        stack.store.faults().on(Method::GET, "/two", slow());
    }
    let failed = list(&stack, "").await;
    assert_eq!((failed.status, failed.code().as_str()), (503, "SlowDown"), "{}", failed.text());
    assert!(!failed.text().contains("<Contents>"));
    assert_eq!(sizes(&list(&stack, "").await), [4, 4]);
}

#[tokio::test]
async fn failures_that_last_leave_the_line_to_arithmetic() {
    let stack = Stack::start().await;
    for key in ["bad", "gone", "good"] {
        stack.put(key, b"data").await;
        forget(&stack, key);
    }
    stack
        .store
        .tamper(BUCKET, "bad", |raw| {
            let last = raw.body.len() - 100;
            raw.body[last] ^= 1;
        })
        .unwrap();
    stack.store.faults().on(Method::GET, "/gone", Fault::Status(404, "NoSuchKey".to_owned()));
    let answer = list(&stack, "").await;
    assert_eq!(sizes(&answer), [4, 4, 4]);
    let tags = tags(&answer);
    assert!(tags[0].ends_with("-1\"") && tags[1].ends_with("-1\""), "{tags:?}");
    assert_eq!(tags[2], format!("\"{}\"", md5_hex(b"data")));
    assert_ne!(stack.get("bad").await.status, 200);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let stack = Stack::start().await;
    for n in 0..5 {
        stack.put(&format!("k{n}"), b"x").await;
    }
    let mut seen = Vec::new();
    let mut query = "list-type=2&max-keys=2".to_owned();
    loop {
        let page = list(&stack, &query).await.text();
        seen.extend(texts(&page, "Key").iter().map(|key| (*key).to_owned()));
        match texts(&page, "NextContinuationToken").first() {
            Some(token) => {
                let token = s3cloak::s3::name::encode_component(token.as_bytes());
                query = format!("list-type=2&max-keys=2&continuation-token={token}");
            }
            None => break,
        }
    }
    assert_eq!(seen, ["k0", "k1", "k2", "k3", "k4"]);
    let second = list(&stack, "max-keys=2&marker=k1").await.text();
    assert_eq!(texts(&second, "Key"), ["k2", "k3"]);
    assert_eq!(texts(&second, "IsTruncated"), ["true"]);
}

#[tokio::test]
async fn an_empty_page_size_is_none() {
    let stack = Stack::start().await;
    stack.put("a", b"data").await;
    for listing in ["max-keys=", "list-type=2&max-keys=", "versions&max-keys"] {
        assert_eq!(sizes(&list(&stack, listing).await), [4], "{listing}");
    }
    assert_eq!(list(&stack, "list-type=2&max-keys=x").await.status, 400);
}

#[tokio::test]
async fn odd_keys_are_found_under_either_encoding() {
    let stack = Stack::start().await;
    let keys = ["a b+c", "a//b", "../x", "dir/", "p%2Fq", "r&<s>\"'", "uni\u{e9}\u{1f600}"];
    for key in keys {
        let target = format!("/{BUCKET}/{}", s3cloak::s3::name::encode_path(key.as_bytes()));
        assert_eq!(stack.proxy.send(Call::new("PUT", target).body(&b"four"[..])).await.status, 200, "{key}");
        forget(&stack, key);
    }
    for query in ["", "encoding-type=url", "list-type=2&encoding-type=url"] {
        let answer = list(&stack, query).await;
        assert_eq!(sizes(&answer), [4; 7], "{query}");
        // A key that was decoded wrongly would not have been found, and would show an opaque tag.
        assert_eq!(tags(&answer), vec![format!("\"{}\"", md5_hex(b"four")); 7], "{query}");
    }
}

#[tokio::test]
async fn garbage_from_the_backend_is_502_and_its_errors_pass() {
    let stack = Stack::start().await;
    stack.put("k", b"data").await;
    for query in LISTINGS {
        for garbage in ["", "<html/>", "<ListBucketResult><Contents>"] {
            let fault = Fault::Answer(200, Vec::new(), garbage.as_bytes().to_vec());
            stack.store.faults().on(Method::GET, BUCKET, fault);
            let answer = list(&stack, query).await;
            assert_eq!((answer.status, answer.code().as_str()), (502, "BadGateway"), "{}", answer.text());
        }
    }
    let missing = stack.proxy.send(Call::new("GET", "/no-such-bucket?list-type=2")).await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "NoSuchBucket"));
    assert!(missing.text().contains("<BucketName>no-such-bucket</BucketName>"), "{}", missing.text());
}

#[tokio::test]
async fn our_own_bucket_is_out_of_sight() {
    let stack = Stack::start().await;
    for query in LISTINGS {
        let answer = stack.proxy.send(Call::new("GET", format!("/s3cloak-system?{query}"))).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "NoSuchBucket"), "{query}");
    }
}

/// A client of V1 goes on from the last key of a page, so that a page of nothing but our own state would stop it.
#[tokio::test]
async fn our_own_prefix_is_out_of_sight_and_stops_no_client() {
    let system = Some("bucket: photos, prefix: \"m-own/\"");
    let stack = Stack::with(Options { system, ..Options::default() }).await;
    for key in ["a", "m-other", "z"] {
        stack.put(key, b"data").await;
    }
    for n in 0..7 {
        let put = Call::new("PUT", format!("/{BUCKET}/m-own/k{n}"));
        assert_eq!(stack.backend.send(put).await.status, 200);
    }
    for key in ["m-own/k1", "m-own/new"] {
        assert_eq!(stack.get(key).await.status, 404, "{key}");
        assert_ne!(stack.proxy.send(Call::new("PUT", format!("/{BUCKET}/{key}"))).await.status, 200, "{key}");
    }
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let page = list(&stack, &format!("max-keys=2&marker={marker}")).await.text();
        assert_eq!(texts(&page, "Marker").first().copied().unwrap_or_default(), marker, "{page}");
        seen.extend(texts(&page, "Key").iter().map(|key| (*key).to_owned()));
        if texts(&page, "IsTruncated") != ["true"] {
            break;
        }
        let next = texts(&page, "NextMarker").first().or(texts(&page, "Key").last()).copied();
        marker = next.expect("a truncated page says where to go on").to_owned();
    }
    assert_eq!(seen, ["a", "m-other", "z"]);
    let grouped = list(&stack, "list-type=2&delimiter=/").await.text();
    assert!(!grouped.contains("m-own") && grouped.contains("<KeyCount>3</KeyCount>"), "{grouped}");
}

#[tokio::test]
async fn uploads_are_listed_but_for_those_in_our_own_area() {
    let system = Some("bucket: photos, prefix: \"m-own/\"");
    let stack = Stack::with(Options { system, ..Options::default() }).await;
    for key in ["a", "m-own/held", "z"] {
        let began = stack.backend.send(Call::new("POST", format!("/{BUCKET}/{key}?uploads"))).await;
        assert_eq!(began.status, 200, "{}", began.text());
    }
    let behind = stack.backend.send(Call::new("GET", format!("/{BUCKET}?uploads"))).await;
    assert_eq!(texts(&behind.text(), "Key"), ["a", "m-own/held", "z"]);
    for query in ["uploads", "uploads&encoding-type=url"] {
        let answer = list(&stack, query).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(texts(&answer.text(), "Key"), ["a", "z"], "{query}");
        assert_eq!(texts(&answer.text(), "UploadId").len(), 2);
    }
    let one = list(&stack, "uploads&prefix=z").await;
    assert_eq!(texts(&one.text(), "Key"), ["z"], "the client's parameters reach the backend");
}
