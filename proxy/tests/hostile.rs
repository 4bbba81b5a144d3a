//! Requests and backend answers made to slip past a check: each is refused, or answered as S3 would.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use object_format::{BucketKeyFlag, Envelope, EnvelopeHeader, KeyRef, Kind, Mode, ObjectName, ObjectSecrets};
use s3cloak::demo::store::Fault;
use s3cloak::keys::Scope;
use s3cloak::keys::random::SystemRandom;
use support::{BUCKET, Call, Options, Stack, random, shares_a_run};
use tokio::io::AsyncWriteExt;

const ENVELOPE: &str = "x-amz-meta-s3cloak";

fn target(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

fn forget(stack: &Stack, key: &str) {
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(key.as_bytes()).unwrap();
    stack.services.info.forget(&bucket, &key, None);
}

fn refused(status: u16, code: &str) -> Fault {
    Fault::Status(status, code.to_owned())
}

#[tokio::test]
async fn a_version_that_no_object_can_have_never_means_the_latest() {
    let stack = Stack::start().await;
    stack.put("v", b"precious").await;
    for query in ["versionId=", "versionId", "versionId=null&versionId=other"] {
        for method in ["GET", "HEAD", "DELETE"] {
            let answer = stack.proxy.send(Call::new(method, format!("{}?{query}", target("v")))).await;
            assert_eq!(answer.status, 400, "{method} {query}");
        }
    }
    assert_eq!(stack.get("v").await.body, b"precious");
}

#[tokio::test]
async fn the_aws_chunked_token_stays_between_client_and_proxy() {
    let stack = Stack::start().await;
    for (size, sent, kept) in [
        (10usize, "aws-chunked,gzip", Some("gzip")),
        (10, "aws-chunked", None),
        (2_000_000, "gzip, aws-chunked", Some("gzip")),
    ] {
        let call = Call::new("PUT", target("e")).header("content-encoding", sent).body(random(1, size));
        assert_eq!(stack.proxy.send(call).await.status, 200);
        let stored = stack.store.stored(BUCKET, "e").unwrap();
        let coding = stored.header("content-encoding").filter(|v| !v.is_empty());
        assert_eq!(coding.map(str::trim), kept, "{sent} of {size}");
    }
    for seen in stack.store.journal().take() {
        let coding = seen.headers.get("content-encoding").map(|v| v.to_str().unwrap().to_owned());
        let tokens = coding.iter().flat_map(|v| v.split(',')).filter(|t| t.trim() == "aws-chunked").count();
        let streaming = seen.headers.get("x-amz-content-sha256").unwrap().to_str().unwrap();
        assert_eq!(tokens, usize::from(streaming.starts_with("STREAMING-")), "{coding:?}");
    }
}

#[tokio::test]
async fn reads_tell_the_backend_who_asks_whose_bucket_and_who_pays() {
    let stack = Stack::start().await;
    stack.put("o", &random(2, 200_000)).await;
    stack.store.journal().take();
    for method in ["GET", "HEAD", "GET"] {
        let call = Call::new(method, target("o"))
            .header("origin", "https://page.example")
            .header("x-amz-expected-bucket-owner", "111122223333")
            .header("x-amz-request-payer", "requester");
        assert_eq!(stack.proxy.send(call).await.status, 200);
    }
    let seen = stack.store.journal().take();
    assert!(seen.len() >= 3);
    for seen in seen {
        for name in ["origin", "x-amz-expected-bucket-owner", "x-amz-request-payer"] {
            assert!(seen.headers.contains_key(name), "{name} of {} {}", seen.method, seen.target);
        }
    }
}

#[tokio::test]
async fn a_stripped_object_is_not_passed_where_its_end_cannot_be_seen() {
    let stack = Stack::with(Options {
        buckets: Some("  \"*\": { backend: default, unencrypted_objects: pass }"),
        ..Options::default()
    })
    .await;
    let data = random(3, 200_000);
    for (status, code) in [(416, "InvalidRange"), (403, "InvalidObjectState")] {
        stack.put("s", &data).await;
        stack.store.tamper(BUCKET, "s", |raw| raw.headers.retain(|(name, _)| name != ENVELOPE)).unwrap();
        let stored = stack.store.stored(BUCKET, "s").unwrap().body;
        for range in ["", "bytes=0-999"] {
            forget(&stack, "s");
            stack.store.faults().on(Method::GET, "/s", refused(status, code));
            let answer = match range {
                "" => stack.get("s").await,
                range => stack.get_range("s", range).await,
            };
            assert!(answer.status >= 400, "{code} {range}: {}", answer.status);
            assert!(!shares_a_run(&answer.body, &stored), "{code} {range}: ciphertext was served");
            stack.store.faults().clear();
        }
    }
}

#[tokio::test]
async fn one_object_shows_one_etag_where_a_suffix_range_fails_once() {
    let stack = Stack::start().await;
    let data = random(4, 200_000);
    let etag = stack.put("one", &data).await.header("etag").unwrap().to_owned();
    for method in ["GET", "HEAD"] {
        forget(&stack, "one");
        stack.store.faults().on(Method::GET, "/one", refused(416, "InvalidRange"));
        let answer = stack.proxy.send(Call::new(method, target("one"))).await;
        assert_eq!((answer.status, answer.header("etag")), (200, Some(etag.as_str())), "{method}");
        if method == "GET" {
            assert!(answer.body == data);
        }
    }
}

/// A multipart envelope over any body, as the backend may present one that it was once given.
async fn multipart_envelope(stack: &Stack, key: &str) -> String {
    let resolved = stack.services.keyring.resolve(None).unwrap();
    let open = stack.services.keyring.for_write(&resolved, Scope::Bucket { binding: BUCKET }).await.unwrap();
    let header = EnvelopeHeader {
        kind: Kind::Multipart,
        mode: Mode::SseS3,
        bucket_key: BucketKeyFlag::Shared,
        service: open.service.clone(),
        key_name: open.key_name.clone(),
        key_spelling: None,
        sealed_key: open.sealed.to_vec(),
        context: None,
    };
    let secrets = ObjectSecrets::multipart(&mut SystemRandom);
    let name = ObjectName { binding: BUCKET, key: key.as_bytes() };
    Envelope::rewrap(&secrets, header, KeyRef::Bucket(open.key()), &name, &mut SystemRandom)
        .unwrap()
        .to_value()
}

#[tokio::test]
async fn a_sealed_object_without_a_readable_layout_is_never_relayed() {
    let stack = Stack::start().await;
    let envelope = multipart_envelope(&stack, "m").await;
    let size = object_format::length::sealed_len(200_000) as usize;
    let body = random(5, size);
    let call = Call::new("PUT", target("m")).header(ENVELOPE, envelope).body(body.clone());
    assert_eq!(stack.backend.send(call).await.status, 200);
    for (status, code) in [(416, "InvalidRange"), (403, "InvalidObjectState")] {
        for range in [None, Some("bytes=0-99")] {
            forget(&stack, "m");
            stack.store.faults().on(Method::GET, "/m", refused(status, code));
            let answer = match range {
                None => stack.get("m").await,
                Some(range) => stack.get_range("m", range).await,
            };
            assert!(answer.status >= 400, "{code} {range:?}: {}", answer.status);
            assert!(!shares_a_run(&answer.body, &body), "{code} {range:?}: ciphertext was served");
            stack.store.faults().clear();
        }
    }
}

#[tokio::test]
async fn a_condition_that_still_holds_is_a_conflict_and_not_a_failure() {
    let stack = Stack::start().await;
    let etag = stack.put("c", b"same").await.header("etag").unwrap().to_owned();
    let put = |tag: &str| Call::new("PUT", target("c")).header("if-match", tag).body(b"new");
    // As if somebody had stored the same bytes between our look and our write.
    stack.store.faults().on(Method::PUT, "/c", refused(412, "PreconditionFailed"));
    let raced = stack.proxy.send(put(&etag)).await;
    assert_eq!((raced.status, raced.code().as_str()), (409, "ConditionalRequestConflict"));
    let failed = stack.proxy.send(put("\"0\"")).await;
    assert_eq!((failed.status, failed.code().as_str()), (412, "PreconditionFailed"));
    assert_eq!(stack.proxy.send(put(&etag)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_was_neither_asked_for_nor_read_ends_the_connection() {
    let stack = Stack::start().await;
    stack.put("k", b"x").await;
    let call = Call::new("GET", target("k")).header("expect", "100-continue").length(10);
    let mut tcp = tokio::net::TcpStream::connect(stack.proxy.address).await.unwrap();
    tcp.write_all(&stack.proxy.wire(&call)).await.unwrap();
    let answer = support::client::read_answer(&mut tcp, false).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[tokio::test]
async fn an_upload_in_the_smallest_of_chunks_is_taken() {
    let stack = Stack::start().await;
    let data = random(6, 5000);
    let mut body = Vec::new();
    for byte in &data {
        body.extend_from_slice(b"1\r\n");
        body.push(*byte);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let call = Call::new("PUT", target("tiny"))
        .header("x-amz-decoded-content-length", "5000")
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .body(body);
    assert_eq!(stack.proxy.send(call).await.status, 200);
    assert!(stack.get("tiny").await.body == data);
}

#[tokio::test]
async fn a_date_is_compared_with_the_object_of_now() {
    let stack = Stack::start().await;
    let data = random(7, 200_000);
    stack.put("d", &data).await;
    let modified = stack.get("d").await.header("last-modified").unwrap().to_owned();
    // Stored anew with the same bytes, as far as anybody can see.
    let later =
        || Fault::Headers(vec![("last-modified".to_owned(), "Fri, 01 Jan 2100 00:00:00 GMT".to_owned())]);
    stack.store.faults().on(Method::GET, "/d", later());
    let call = Call::new("GET", target("d")).header("if-unmodified-since", modified.clone());
    assert_eq!(stack.proxy.send(call).await.status, 412);

    stack.get("d").await;
    stack.store.faults().on(Method::GET, "/d", later());
    let call =
        Call::new("GET", target("d")).header("if-range", modified.clone()).header("range", "bytes=0-9");
    let whole = stack.proxy.send(call).await;
    assert_eq!((whole.status, whole.body.len()), (200, data.len()));

    let call = Call::new("GET", target("d")).header("if-range", modified).header("range", "bytes=0-9");
    assert_eq!(stack.proxy.send(call).await.status, 206);
}

#[tokio::test]
async fn an_old_client_gets_no_interim_answer() {
    let stack = Stack::start().await;
    let call = Call::new("PUT", target("old")).header("expect", "100-continue").body(b"body".as_slice());
    let wire = stack.proxy.wire(&call);
    let head = wire.windows(9).position(|w| w == b" HTTP/1.1").unwrap();
    let mut old = wire.clone();
    old[head + 8] = b'0';
    let mut tcp = tokio::net::TcpStream::connect(stack.proxy.address).await.unwrap();
    tcp.write_all(&old).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.") && text[8..].starts_with(" 200"), "{text}");
    assert_eq!(stack.get("old").await.body, b"body");
}

#[tokio::test]
async fn what_is_no_request_gets_an_answer_and_a_closed_connection() {
    let stack = Stack::start().await;
    let many = (0..300).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();
    for (what, wire) in [
        ("garbage", "garbage\r\n\r\n".to_owned()),
        ("a header line without a colon", "GET / HTTP/1.1\r\nhost\r\n\r\n".to_owned()),
        ("300 headers", format!("GET / HTTP/1.1\r\n{many}\r\n")),
        ("another version", "GET / HTTP/2.0\r\nhost: a\r\n\r\n".to_owned()),
    ] {
        let answer = stack.proxy.raw(wire.as_bytes(), false).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.text().contains(answer.header("x-amz-request-id").unwrap()), "{what}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
    }
}
