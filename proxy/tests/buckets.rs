//! Buckets, and what is handed on, through the real proxy in process.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::Fault;
use support::{BUCKET, Call, Stack};

async fn send(stack: &Stack, method: &'static str, target: &str, body: &str) -> support::Answer {
    stack.proxy.send(Call::new(method, target).body(body.as_bytes())).await
}

#[tokio::test]
async fn buckets_come_and_go() {
    let stack = Stack::start().await;
    let made = send(&stack, "PUT", "/new-bucket", "").await;
    assert_eq!((made.status, made.header("location")), (200, Some("/new-bucket")), "{}", made.text());
    assert_eq!(send(&stack, "HEAD", "/new-bucket", "").await.status, 200);
    let location = send(&stack, "GET", "/new-bucket?location", "").await;
    assert!(location.status == 200 && location.text().contains("LocationConstraint"), "{}", location.text());
    assert_eq!(send(&stack, "DELETE", "/new-bucket", "").await.status, 204);
    let gone = send(&stack, "HEAD", "/new-bucket", "").await;
    assert_eq!((gone.status, gone.body.len()), (404, 0));
    assert_eq!(send(&stack, "DELETE", "/new-bucket", "").await.code(), "NoSuchBucket");
}

#[tokio::test]
async fn a_bucket_with_objects_stays() {
    let stack = Stack::start().await;
    stack.put("k", b"data").await;
    let answer = send(&stack, "DELETE", &format!("/{BUCKET}"), "").await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "BucketNotEmpty"));
    assert_eq!(stack.get("k").await.body, b"data");
}

#[tokio::test]
async fn reserved_names_and_malformed_configurations_are_refused() {
    let stack = Stack::start().await;
    for (target, body, code) in [
        ("/s3cloak-system", "", "BucketAlreadyExists"),
        ("/dir--use1-az4--x-s3", "", "InvalidBucketName"),
        ("/new-bucket", "<Other/>", "MalformedXML"),
        ("/new-bucket", "not xml", "MalformedXML"),
    ] {
        assert_eq!(send(&stack, "PUT", target, body).await.code(), code, "{target} {body}");
    }
    for method in ["DELETE", "HEAD", "GET"] {
        assert_eq!(send(&stack, method, "/s3cloak-system", "").await.status, 404, "{method}");
    }
    assert_eq!(send(&stack, "PUT", "/s3cloak-system/k", "x").await.code(), "NoSuchBucket");
}

#[tokio::test]
async fn bucket_lists_leave_our_own_out() {
    let stack = Stack::start().await;
    for name in ["aaa", "bbb", "bcc"] {
        stack.store.create_bucket(name).unwrap();
    }
    let all = send(&stack, "GET", "/", "").await.text();
    for name in ["aaa", "bbb", "bcc", BUCKET] {
        assert!(all.contains(&format!("<Name>{name}</Name>")), "{all}");
    }
    assert!(!all.contains("s3cloak-system") && all.contains("<Owner>"), "{all}");
    let first = send(&stack, "GET", "/?max-buckets=1&prefix=b", "").await.text();
    assert!(first.contains("<Name>bbb</Name>") && !first.contains("<Name>bcc</Name>"), "{first}");
    let token = first.split("<ContinuationToken>").nth(1).unwrap().split('<').next().unwrap();
    let second =
        send(&stack, "GET", &format!("/?continuation-token={token}&max-buckets=1&prefix=b"), "").await.text();
    assert!(second.contains("<Name>bcc</Name>") && !second.contains("<ContinuationToken>"), "{second}");
    assert_eq!(send(&stack, "GET", "/?max-buckets=0", "").await.code(), "InvalidArgument");
}

#[tokio::test]
async fn a_backend_that_fails_fails_the_bucket_list() {
    let stack = Stack::start().await;
    stack.store.faults().on(Method::GET, "/", Fault::Status(500, "InternalError".to_owned()));
    assert_eq!(send(&stack, "GET", "/", "").await.status, 500);
    stack.store.faults().on(Method::GET, "/", Fault::Answer(200, Vec::new(), b"<html/>".to_vec()));
    assert_eq!(send(&stack, "GET", "/", "").await.code(), "BadGateway");
}

#[tokio::test]
async fn what_is_passed_on_is_signed_anew_with_an_md5() {
    let stack = Stack::start().await;
    stack.put("k", b"data").await;
    stack.store.journal().take();
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let answer = send(&stack, "PUT", &format!("/{BUCKET}/k?tagging"), tags).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = stack.store.journal().take();
    let passed = seen.iter().find(|s| s.target.contains("tagging")).unwrap();
    assert!(passed.headers.contains_key("content-md5"));
    assert!(passed.headers["authorization"].to_str().unwrap().contains("Credential=backend/"));
    let read = send(&stack, "GET", &format!("/{BUCKET}/k?tagging"), "").await;
    assert!(read.text().contains("<Key>a</Key><Value>b</Value>"), "{}", read.text());
    assert_eq!(stack.get("k").await.body, b"data");
}

/// A backend without the subresource would run the bare operation.
#[tokio::test]
async fn subresources_that_the_backend_may_not_have_do_not_reach_it() {
    let stack = Stack::start().await;
    stack.put("k", b"data").await;
    for (method, target) in [
        ("DELETE", format!("/{BUCKET}?website")),
        ("DELETE", format!("/{BUCKET}?replication")),
        ("PUT", format!("/{BUCKET}?accelerate")),
        ("DELETE", format!("/{BUCKET}/k?annotation")),
        ("DELETE", format!("/{BUCKET}?no-such-thing")),
    ] {
        stack.store.journal().take();
        let answer = send(&stack, method, &target, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"), "{method} {target}");
        assert!(stack.store.journal().take().is_empty(), "{method} {target}");
    }
    // This one is the proxy's own, and with nothing to do it asks for nothing.
    let answer = send(&stack, "PUT", &format!("/{BUCKET}/k?encryption"), "").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"));
    assert!(stack.store.journal().take().is_empty());
    assert_eq!(stack.get("k").await.body, b"data");
}

#[tokio::test]
async fn policies_that_would_deny_everything_are_refused() {
    let stack = Stack::start().await;
    stack.store.journal().take();
    let policy = "{\"Statement\":[{\"Effect\":\"Deny\",\"Condition\":{\"Null\":{\"s3:x-amz-server-side-encryption\":\"true\"}}}]}";
    let answer = send(&stack, "PUT", &format!("/{BUCKET}?policy"), policy).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedPolicy"), "{}", answer.text());
    assert!(stack.store.journal().take().is_empty());
}

#[tokio::test]
async fn preflights_go_unsigned() {
    let stack = Stack::start().await;
    stack.store.journal().take();
    let cors = vec![
        ("access-control-allow-origin".to_owned(), "https://a".to_owned()),
        ("server".to_owned(), "X".to_owned()),
    ];
    stack.store.faults().on(Method::OPTIONS, BUCKET, Fault::Answer(200, cors, Vec::new()));
    let host = stack.proxy.address;
    let wire = format!(
        "OPTIONS /{BUCKET}/k HTTP/1.1\r\nhost: {host}\r\norigin: https://a\r\naccess-control-request-method: PUT\r\n\r\n"
    );
    let answer = stack.proxy.raw(wire.as_bytes(), false).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("https://a")));
    assert_ne!(answer.header("server"), Some("X"));
    let seen = stack.store.journal().take();
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("authorization"));
    assert_eq!(seen[0].headers["access-control-request-method"], "PUT");
}
