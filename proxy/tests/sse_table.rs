//! Every condition that S3 has for encryption headers, over real HTTP: status, code and words of its refusal, and what a
//! refused request leaves behind; then what answers show.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::sse::*;
use support::{BUCKET, Call, Options, Stack, random, shares_a_run};

#[tokio::test]
async fn every_bad_write_is_refused_and_changes_nothing() {
    let stack = secure().await;
    stack.put("there", b"as it was").await;
    let before = stack.store.stored(BUCKET, "there").unwrap();
    let (key, md5) = (STANDARD.encode(MINE), md5_of(&MINE));
    for (headers, status, code, words) in &bad_writes() {
        for name in ["there", "not-there"] {
            let answer = stack.proxy.send(call("PUT", name, headers).body(b"forbidden".to_vec())).await;
            let what = format!("{headers:?}");
            assert_refused(&answer, &what, *status, code, words);
            assert!(!answer.text().contains(&key) && !answer.text().contains(&md5), "{}", answer.text());
        }
    }
    assert_eq!(stack.store.keys(BUCKET), ["there"]);
    let after = stack.store.stored(BUCKET, "there").unwrap();
    assert!(
        after.body == before.body
            && after.header("x-amz-meta-s3cloak") == before.header("x-amz-meta-s3cloak")
    );
}

#[tokio::test]
async fn a_customers_key_is_not_taken_over_plain_http() {
    let stack = Stack::start().await;
    stack.put("there", b"x").await;
    let source = h(&[(SOURCE, "AES256")]);
    stack.store.journal().take();
    for (method, key) in [
        ("PUT", "there"),
        ("GET", "there"),
        ("HEAD", "there"),
        ("DELETE", "there"),
        ("GET", "there?attributes"),
        ("POST", "there?uploads"),
        ("PUT", "there?partNumber=1&uploadId=x"),
        ("POST", "there?uploadId=x"),
        ("GET", "there?uploadId=x"),
        ("GET", "there?tagging"),
        ("GET", "?list-type=2"),
    ] {
        for headers in [customer(MINE), h(&[(ALGORITHM, "AES256")]), source.clone()] {
            let answer = stack.proxy.send(call(method, key, &headers)).await;
            assert_refused(&answer, &format!("{method} {key} {headers:?}"), 400, "InvalidRequest", INSECURE);
        }
    }
    assert!(stack.store.journal().take().is_empty(), "the storage hears nothing of it");
    assert_eq!(stack.get("there").await.text(), "x");
}

/// Method and headers of a read, and its refusal; empty objects are no exception.
#[tokio::test]
async fn every_bad_read_is_refused_before_any_byte() {
    let stack = secure().await;
    let argument = "InvalidArgument";
    for size in [0, 20, 70_000, 1_500_000] {
        let body = random(3, size);
        for (key, headers) in
            [("c", customer(MINE)), ("s3", vec![]), ("kms", h(&[(SSE, "aws:kms"), (KEY_ID, "test-key")]))]
        {
            let put = stack.proxy.send(call("PUT", key, &headers).body(body.clone())).await;
            assert_eq!(put.status, 200, "{}", put.text());
        }
        let good = customer(MINE);
        let rows: Vec<(&str, Headers, u16, &str, &str)> = vec![
            ("c", vec![], 400, "InvalidRequest", NEEDED),
            ("c", customer(OTHER), 403, "AccessDenied", "Access Denied"),
            ("c", h(&[(ALGORITHM, "AES256")]), 400, argument, "appropriate secret key"),
            ("c", with(good.clone(), &[(SSE, "AES256")]), 400, argument, "not supported for this operation"),
            ("s3", good.clone(), 400, "InvalidRequest", NOT_APPLICABLE),
            ("kms", good.clone(), 400, "InvalidRequest", NOT_APPLICABLE),
            ("s3", h(&[(SSE, "AES256")]), 400, argument, "not supported for this operation"),
            ("kms", h(&[(SSE, "aws:kms")]), 400, argument, "not supported for this operation"),
            ("kms", h(&[(KEY_ID, "test-key")]), 400, argument, "not supported for this operation"),
            ("kms", h(&[(CONTEXT, "e30=")]), 400, argument, "not supported for this operation"),
            ("s3", h(&[(SOURCE, "AES256")]), 400, "InvalidRequest", NOT_APPLICABLE),
            // Before the object is looked for.
            ("nobody", h(&[(SSE, "AES256")]), 400, argument, "not supported for this operation"),
            ("nobody", h(&[(ALGORITHM, "AES256")]), 400, argument, "appropriate secret key"),
            ("nobody", good.clone(), 404, "NoSuchKey", "does not exist"),
        ];
        // Cold, and with what a reader with the key has left behind.
        for warm in [false, true] {
            if warm {
                let got = stack.proxy.send(call("GET", "c", &good)).await;
                assert!(got.status == 200 && got.body == body, "{size}: {}", got.status);
            }
            for (key, headers, status, code, words) in &rows {
                let attributes = h(&[("x-amz-object-attributes", "ETag,Checksum,ObjectParts,ObjectSize")]);
                for (method, query, more) in [
                    ("GET", "", vec![]),
                    ("GET", "", h(&[("range", "bytes=0-3")])),
                    ("GET", "", h(&[("if-none-match", "*")])),
                    ("HEAD", "", vec![]),
                    ("HEAD", "", h(&[("range", "bytes=0-3")])),
                    ("HEAD", "", h(&[("if-none-match", "*")])),
                    ("GET", "?partNumber=1", vec![]),
                    ("HEAD", "?partNumber=1", vec![]),
                    ("GET", "?attributes", attributes),
                ] {
                    let all = [headers.clone(), more].concat();
                    let answer = stack.proxy.send(call(method, &format!("{key}{query}"), &all)).await;
                    assert_refused(
                        &answer,
                        &format!("{method} {key}{query} {size} {all:?}"),
                        *status,
                        code,
                        words,
                    );
                    for shown in ["etag", "last-modified", "x-amz-meta-s3cloak", KEY_MD5, SSE] {
                        assert_eq!(answer.header(shown), None, "{method} {key} {size}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_key_may_be_answered_as_ceph_does() {
    let stack = Stack::with(Options {
        listen: "tls_terminated_in_front: true",
        more: "compat: { ssec_wrong_key_status: 400 }",
        ..Options::default()
    })
    .await;
    let put = stack.proxy.send(call("PUT", "c", &customer(MINE)).body(b"x".to_vec())).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let answer = stack.proxy.send(call("GET", "c", &customer(OTHER))).await;
    assert_refused(&answer, "other key", 400, "InvalidRequest", "did not match the ones used originally");
}

#[tokio::test]
async fn objects_under_a_customers_key_go_round() {
    let stack = secure().await;
    let mine = customer(MINE);
    for size in [0, 1, 65_536, 65_537, 1_048_576, 2_500_000] {
        let body = random(size as u64 + 9, size);
        let put = stack.proxy.send(call("PUT", "c", &mine).body(body.clone())).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let etag = put.header("etag").unwrap().to_owned();
        assert!(etag.ends_with("-1\"") && !etag.contains(&support::md5_hex(&body)) || size == 0, "{etag}");
        let stored = stack.store.stored(BUCKET, "c").unwrap();
        assert!(size < 16 || !shares_a_run(&body, &stored.body));
        assert!(stored.body.len() as u64 == object_format::length::sealed_len(size as u64));
        let get = stack.proxy.send(call("GET", "c", &mine)).await;
        assert!(get.status == 200 && get.body == body && get.complete, "{size}: {}", get.status);
        let head = stack.proxy.send(call("HEAD", "c", &mine)).await;
        assert_eq!((head.status, head.header("content-length")), (200, Some(size.to_string().as_str())));
        let mut answers = vec![put, get, head];
        if size > 10 {
            let ranged =
                stack.proxy.send(call("GET", "c", &with(mine.clone(), &[("range", "bytes=5-9")]))).await;
            assert_eq!((ranged.status, &ranged.body[..]), (206, &body[5..10]));
            answers.push(ranged);
        }
        for answer in &answers {
            assert_eq!(answer.header(ALGORITHM), Some("AES256"));
            assert_eq!(answer.header(KEY_MD5), Some(md5_of(&MINE).as_str()));
            assert_eq!(answer.header("etag"), Some(etag.as_str()), "{size}");
            for absent in [SSE, KEY_ID, KEY, BUCKET_KEY, CONTEXT] {
                assert_eq!(answer.header(absent), None);
            }
        }
        // Listings and conditions need no key, and agree.
        let listing = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await;
        let tag = etag.trim_matches('"');
        assert!(
            listing.text().contains(tag) && listing.text().contains(&format!("<Size>{size}</Size>")),
            "{}",
            listing.text()
        );
        let bad = with(mine.clone(), &[("if-match", "\"0123456789abcdef0123456789abcdef-1\"")]);
        assert_eq!(stack.proxy.send(call("PUT", "c", &bad).body(b"x".to_vec())).await.status, 412);
        assert_eq!(stack.proxy.send(call("DELETE", "c", &h(&[("if-match", "\"0\"")]))).await.status, 412);
        let not_modified =
            stack.proxy.send(call("GET", "c", &with(mine.clone(), &[("if-none-match", &etag)]))).await;
        assert_eq!(not_modified.status, 304);
        let same = with(mine.clone(), &[("if-match", &etag)]);
        let replaced = stack.proxy.send(call("PUT", "c", &same).body(body.clone())).await;
        assert_eq!(replaced.status, 200, "{}", replaced.text());
    }
    // Another key replaces the object; the old one opens nothing any more.
    let put = stack.proxy.send(call("PUT", "c", &customer(OTHER)).body(b"new".to_vec())).await;
    assert_eq!(put.status, 200);
    assert_eq!(stack.proxy.send(call("GET", "c", &mine)).await.status, 403);
    assert_eq!(stack.proxy.send(call("GET", "c", &customer(OTHER))).await.text(), "new");
    // No key is needed to delete.
    assert_eq!(stack.proxy.send(call("DELETE", "c", &vec![])).await.status, 204);
}

#[tokio::test]
async fn presigned_urls_carry_a_customers_key() {
    let stack = secure().await;
    let encode = |text: &str| -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).collect()
    };
    let query: Vec<String> =
        customer(MINE).iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let target = format!("/{BUCKET}/p?{}", query.join("&"));
    let put = stack.proxy.presigned(&Call::new("PUT", target.clone()).body(b"presigned".to_vec()));
    let answer = stack.proxy.raw(&put, false).await;
    assert_eq!((answer.status, answer.header(ALGORITHM)), (200, Some("AES256")), "{}", answer.text());
    let get = stack.proxy.presigned(&Call::new("GET", target));
    assert_eq!(stack.proxy.raw(&get, false).await.text(), "presigned");
    // Signed into the URL, the key may come in the headers as well; without it nothing opens.
    let get = stack.proxy.presigned(&call("GET", "p", &customer(MINE)));
    assert_eq!(stack.proxy.raw(&get, false).await.text(), "presigned");
    let bare = stack.proxy.presigned(&Call::new("GET", format!("/{BUCKET}/p")));
    assert_refused(&stack.proxy.raw(&bare, false).await, "no key", 400, "InvalidRequest", NEEDED);
    // What was not signed does not count.
    let text = String::from_utf8(bare).unwrap();
    let smuggled: String =
        customer(MINE).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let smuggled = text.replacen("content-length", &format!("{smuggled}content-length"), 1);
    assert_eq!(stack.proxy.raw(smuggled.as_bytes(), false).await.status, 403);
}

/// A presigned URL may carry encryption headers in its query; what they may not say is the same.
#[tokio::test]
async fn presigned_urls_carry_nothing_that_headers_may_not() {
    let stack = secure().await;
    stack.put("there", b"as it was").await;
    let encode = |text: &str| -> String {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).collect()
    };
    let target = |key: &str, headers: &Headers| {
        let query: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        format!("/{BUCKET}/{key}?{}", query.join("&"))
    };
    for (headers, status, code, words) in &bad_writes() {
        let put = Call::new("PUT", target("there", headers)).body(b"forbidden".to_vec());
        let answer = stack.proxy.raw(&stack.proxy.presigned(&put), false).await;
        assert_refused(&answer, &format!("{headers:?}"), *status, code, words);
    }
    for (headers, code, words) in [
        (customer(MINE), "InvalidRequest", NOT_APPLICABLE),
        (h(&[(SSE, "AES256")]), "InvalidArgument", "not supported for this operation"),
        (h(&[(ALGORITHM, "AES256")]), "InvalidArgument", "appropriate secret key"),
    ] {
        let get = stack.proxy.presigned(&Call::new("GET", target("there", &headers)));
        assert_refused(&stack.proxy.raw(&get, false).await, &format!("{headers:?}"), 400, code, words);
    }
    assert_eq!(stack.get("there").await.text(), "as it was");
    // And over plain HTTP a URL is as open as a header.
    let plain = Stack::start().await;
    let put = plain.proxy.presigned(&Call::new("PUT", target("p", &customer(MINE))).body(b"x".to_vec()));
    assert_refused(&plain.proxy.raw(&put, false).await, "insecure", 400, "InvalidRequest", INSECURE);
    assert!(plain.store.keys(BUCKET).is_empty());
}

/// Blanks around a header's value are no part of it; in a presigned query they are.
#[tokio::test]
async fn a_key_id_with_blanks_around_it_is_refused() {
    let stack = Stack::start().await;
    for id in ["test-key%20", "%20test-key"] {
        let target = format!("/{BUCKET}/p?{SSE}=aws%3Akms&{KEY_ID}={id}");
        let put = stack.proxy.presigned(&Call::new("PUT", target).body(b"x".to_vec()));
        let answer = stack.proxy.raw(&put, false).await;
        assert_refused(&answer, id, 400, "InvalidRequest", "KeyID contains unsupported characters");
    }
    assert!(stack.store.keys(BUCKET).is_empty());
}

/// The AWS column: mode, key id as it was spelled, bucket key only where it was asked for.
#[tokio::test]
async fn answers_show_what_was_asked_for() {
    let stack = Stack::start().await;
    let arn = "arn:aws:kms:us-east-1:123456789012:key/test-key";
    let context = STANDARD.encode("{\"team\":\"a\"}");
    let kms = Some("aws:kms");
    type Shown = (Option<&'static str>, Option<&'static str>, Option<&'static str>);
    let rows: Vec<(Headers, Shown)> = vec![
        (vec![], (Some("AES256"), None, None)),
        (h(&[(SSE, "AES256")]), (Some("AES256"), None, None)),
        (h(&[(SSE, "aws:kms")]), (kms, Some("test-key"), None)),
        (h(&[(SSE, "aws:kms"), (KEY_ID, "test-key")]), (kms, Some("test-key"), None)),
        (h(&[(SSE, "aws:kms"), (KEY_ID, "alias/test-key")]), (kms, Some("alias/test-key"), None)),
        (h(&[(SSE, "aws:kms"), (KEY_ID, "arn:aws:kms:test-key")]), (kms, Some("arn:aws:kms:test-key"), None)),
        (
            h(&[(SSE, "aws:kms"), (KEY_ID, arn)]),
            (kms, Some("arn:aws:kms:us-east-1:123456789012:key/test-key"), None),
        ),
        (h(&[(SSE, "aws:kms"), (BUCKET_KEY, "true")]), (kms, Some("test-key"), Some("true"))),
        (h(&[(SSE, "aws:kms"), (BUCKET_KEY, "false")]), (kms, Some("test-key"), None)),
        (h(&[(SSE, "aws:kms"), (CONTEXT, &context)]), (kms, Some("test-key"), None)),
    ];
    for (headers, shown) in rows {
        let put = stack.proxy.send(call("PUT", "k", &headers).body(b"data".to_vec())).await;
        assert_eq!(put.status, 200, "{headers:?}: {}", put.text());
        let get = stack.get("k").await;
        assert_eq!(get.text(), "data");
        // The context is shown to who sent it, and to nobody after that.
        let sent = headers.iter().find(|(name, _)| *name == CONTEXT).map(|(_, value)| value.as_str());
        assert_eq!(put.header(CONTEXT), sent);
        let reads = [get, stack.head("k").await, stack.get_range("k", "bytes=1-2").await];
        assert!(reads.iter().all(|answer| answer.header(CONTEXT).is_none()));
        for answer in reads.iter().chain([&put]) {
            let got = (answer.header(SSE), answer.header(KEY_ID), answer.header(BUCKET_KEY));
            assert_eq!(got, shown, "{headers:?}");
            assert_eq!(answer.header(ALGORITHM), None);
        }
    }
}
