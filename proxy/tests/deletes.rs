//! Deletes through the real proxy in process: what goes, what stays, and what the backend is asked.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine;
use s3cloak::demo::store::StoreConfig;
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex};

async fn delete(stack: &Stack, key: &str, header: Option<(&str, &str)>) -> Answer {
    let mut call = Call::new("DELETE", format!("/{BUCKET}/{key}"));
    if let Some((name, value)) = header {
        call = call.header(name, value);
    }
    stack.proxy.send(call).await
}

fn content_md5(body: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(hex::decode(md5_hex(body)).unwrap())
}

async fn delete_many(stack: &Stack, body: &str) -> Answer {
    let call = Call::new("POST", format!("/{BUCKET}?delete"))
        .header("content-md5", content_md5(body.as_bytes()))
        .body(body.as_bytes());
    stack.proxy.send(call).await
}

async fn with_objects(options: Options, keys: &[&str]) -> Stack {
    let stack = Stack::with(options).await;
    for key in keys {
        stack.put(key, b"data").await;
    }
    stack
}

#[tokio::test]
async fn objects_go_and_missing_ones_are_no_error() {
    let stack = with_objects(Options::default(), &["a", "b"]).await;
    assert_eq!(delete(&stack, "a", None).await.status, 204);
    assert_eq!(stack.store.keys(BUCKET), ["b"]);
    assert_eq!(stack.get("a").await.status, 404);
    assert_eq!(delete(&stack, "a", None).await.status, 204);
    assert_eq!(stack.proxy.send(Call::new("DELETE", "/no-such-bucket/a")).await.status, 404);
}

/// Conditions hold or fail alike, whether the backend honours them or not.
#[tokio::test]
async fn conditions_are_on_what_clients_see() {
    for ignores in [false, true] {
        let store = ignores.then_some(
            (|config: &mut s3cloak::demo::store::StoreConfig| {
                config.quirks.ignore_write_conditions = true;
            }) as fn(&mut _),
        );
        let stack = with_objects(Options { store, ..Options::default() }, &["a", "b", "c"]).await;
        let etag = format!("\"{}\"", md5_hex(b"data"));
        let stored = format!("\"{}\"", md5_hex(&stack.store.stored(BUCKET, "a").unwrap().body));
        for (name, value) in [
            ("if-match", "\"5d41402abc4b2a76b9719d911017c592\""),
            ("if-match", stored.as_str()),
            ("x-amz-if-match-size", "5"),
            ("x-amz-if-match-size", "532"),
            ("x-amz-if-match-last-modified-time", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ] {
            let answer = delete(&stack, "a", Some((name, value))).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (412, "PreconditionFailed"),
                "{name}: {value}"
            );
        }
        assert_eq!(stack.store.keys(BUCKET), ["a", "b", "c"], "ignores: {ignores}");
        assert_eq!(delete(&stack, "a", Some(("if-match", &etag))).await.status, 204);
        assert_eq!(delete(&stack, "b", Some(("if-match", "*"))).await.status, 204);
        assert_eq!(stack.store.keys(BUCKET), ["c"]);
        // The MD5 of a plaintext is nothing that a backend may learn.
        for seen in stack.store.journal().take() {
            for value in seen.headers.values() {
                let value = value.to_str().unwrap_or_default();
                assert!(
                    !value.contains(&md5_hex(b"data")) && !value.contains("5d41402abc4b2a76b9719d911017c592")
                );
            }
        }
    }
}

#[tokio::test]
async fn conditions_that_would_be_ignored_are_refused_if_configured() {
    let store = Some(
        (|config: &mut s3cloak::demo::store::StoreConfig| config.quirks.ignore_write_conditions = true)
            as fn(&mut _),
    );
    let options = Options { store, more: "compat: { strict_conditions: true }", ..Options::default() };
    let stack = with_objects(options, &["a"]).await;
    let answer = delete(&stack, "a", Some(("if-match", "*"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (501, "NotImplemented"));
    assert_eq!(stack.store.keys(BUCKET), ["a"]);
}

#[tokio::test]
async fn many_go_at_once_and_the_backend_gets_an_md5() {
    let stack = with_objects(Options::default(), &["a", "b%26c", "d"]).await;
    stack.store.journal().take();
    let body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a</Key></Object>\
                <Object><Key>b&amp;c</Key></Object><Object><Key>missing</Key></Object></Delete>";
    let answer = delete_many(&stack, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for key in ["a", "b&amp;c", "missing"] {
        assert!(answer.text().contains(&format!("<Deleted><Key>{key}</Key>")), "{}", answer.text());
    }
    assert_eq!(stack.store.keys(BUCKET), ["d"]);
    let seen = stack.store.journal().take();
    assert!(
        seen.iter().any(|s| s.target.contains("delete") && s.headers.contains_key("content-md5")),
        "{seen:?}"
    );

    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>d</Key></Object></Delete>";
    let answer = delete_many(&stack, quiet).await;
    assert!(answer.status == 200 && !answer.text().contains("Deleted"), "{}", answer.text());
    assert!(stack.store.keys(BUCKET).is_empty());
}

#[tokio::test]
async fn each_key_has_its_own_conditions() {
    check_conditions(Options::default()).await;
    // Storage that honours If-Match on DELETE and no ETag here would delete what should stay.
    let store: Option<fn(&mut StoreConfig)> = Some(|config| config.quirks.ignore_entry_etags = true);
    check_conditions(Options { store, ..Options::default() }).await;
    let more = "compat: { strict_conditions: true }\n";
    let stack = with_objects(Options { store, more, ..Options::default() }, &["a"]).await;
    let etag = md5_hex(b"data");
    let body = format!("<Delete><Object><Key>a</Key><ETag>\"{etag}\"</ETag></Object></Delete>");
    let refused = delete_many(&stack, &body).await;
    assert_eq!((refused.status, refused.code()), (501, "NotImplemented".to_owned()));
    assert_eq!(stack.store.keys(BUCKET), ["a"]);
}

async fn check_conditions(options: Options) {
    let stack = with_objects(options, &["right", "size", "wrong"]).await;
    let etag = md5_hex(b"data");
    let body = format!(
        "<Delete><Object><Key>right</Key><ETag>&quot;{etag}&quot;</ETag></Object>\
         <Object><Key>wrong</Key><ETag>\"5d41402abc4b2a76b9719d911017c592\"</ETag></Object>\
         <Object><Key>size</Key><Size>5</Size></Object></Delete>"
    );
    let answer = delete_many(&stack, &body).await;
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("<Deleted><Key>right</Key>"), "{text}");
    for key in ["wrong", "size"] {
        assert!(text.contains(&format!("<Error><Key>{key}</Key><Code>PreconditionFailed</Code>")), "{text}");
    }
    assert_eq!(stack.store.keys(BUCKET), ["size", "wrong"]);
}

#[tokio::test]
async fn bodies_that_lie_or_do_not_parse_delete_nothing() {
    let stack = with_objects(Options::default(), &["a"]).await;
    let good = "<Delete><Object><Key>a</Key></Object></Delete>";
    let lying = Call::new("POST", format!("/{BUCKET}?delete"))
        .header("content-md5", content_md5(b"another"))
        .body(good.as_bytes());
    assert_eq!(stack.proxy.send(lying).await.code(), "BadDigest");
    let altered =
        Call::new("POST", format!("/{BUCKET}?delete")).payload(&"0".repeat(64)).body(good.as_bytes());
    assert_eq!(stack.proxy.send(altered).await.code(), "XAmzContentSHA256Mismatch");
    let many = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001));
    for bad in [
        "",
        "<Delete/>",
        "<Delete><Object><Key>a</Key></Object>",
        "<Delete><Object><Key>a</Key><IfOther>x</IfOther></Object></Delete>",
        "<!DOCTYPE d [<!ENTITY k 'a'>]><Delete><Object><Key>&k;</Key></Object></Delete>",
        many.as_str(),
    ] {
        let answer = delete_many(&stack, bad).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"), "{bad:.60}");
    }
    assert_eq!(stack.store.keys(BUCKET), ["a"]);
}

#[tokio::test]
async fn each_key_needs_its_own_right() {
    let allow = Some("buckets: [photos], prefixes: [mine/], actions: [read, write]");
    let stack = Stack::with(Options { allow, ..Options::default() }).await;
    stack.put("mine/a", b"data").await;
    let theirs = Call::new("PUT", format!("/{BUCKET}/theirs/b")).body(&b"data"[..]);
    assert_eq!(stack.proxy.send(theirs.clone()).await.code(), "AccessDenied");
    assert_eq!(stack.backend.send(theirs).await.status, 200);
    let body = "<Delete><Object><Key>theirs/b</Key></Object><Object><Key>mine/a</Key></Object></Delete>";
    let answer = delete_many(&stack, body).await;
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    assert!(text.contains("<Deleted><Key>mine/a</Key>"), "{text}");
    assert!(text.contains("<Error><Key>theirs/b</Key><Code>AccessDenied</Code>"), "{text}");
    assert_eq!(stack.store.keys(BUCKET), ["theirs/b"]);
    stack.store.journal().take();
    let answer = delete_many(&stack, "<Delete><Object><Key>theirs/b</Key></Object></Delete>").await;
    assert!(answer.text().contains("AccessDenied"), "{}", answer.text());
    assert!(stack.store.journal().take().is_empty());
}
