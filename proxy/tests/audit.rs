//! The audit log and the counters over real HTTP: every request leaves its line, with the keys it used, and no secret.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{BUCKET, Call, Options, Stack};

/// Starts a proxy that keeps an audit log in the file given.
async fn start(file: &std::path::Path) -> Stack {
    let more: &'static str = Box::leak(format!("log: {{ audit: {} }}", file.display()).into_boxed_str());
    let buckets = "  \"*\": { backend: default, etag: md5 }\n  other: { sse: 'aws:kms', key: other-key }";
    let stack = Stack::with(Options { more, buckets: Some(buckets), ..Options::default() }).await;
    let keyring = &stack.services.keyring;
    keyring.create(&keyring.resolve(Some("other-key")).unwrap()).await.unwrap();
    stack.store.create_bucket("other").unwrap();
    stack
}

fn lines(file: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line of the request that was answered with this id. It is written once the answer is out.
async fn line_of(file: &std::path::Path, id: &str) -> Value {
    for _ in 0..500 {
        if let Some(line) = lines(file).into_iter().find(|line| line["request_id"] == id) {
            return line;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no line of {id}");
}

#[tokio::test]
async fn each_request_leaves_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let stack = start(&file).await;
    let mut stranger = stack.proxy.clone();
    stranger.secret_key = "guessed-wrong".to_owned();
    let cases = [
        (
            &stack.proxy,
            Call::new("PUT", "/photos/a%20b").body(b"x".as_slice()),
            "PutObject",
            "allowed",
            vec!["main/test-key"],
        ),
        (&stack.proxy, Call::new("GET", "/photos/a%20b"), "GetObject", "allowed", vec!["main/test-key"]),
        (
            &stack.proxy,
            Call::new("PUT", "/other/k").body(b"x".as_slice()),
            "PutObject",
            "allowed",
            vec!["main/other-key"],
        ),
        (&stack.proxy, Call::new("GET", "/photos/absent"), "GetObject", "allowed", vec![]),
        (&stranger, Call::new("GET", "/photos/a%20b"), "GetObject", "denied", vec![]),
    ];
    for (client, call, operation, decision, keys) in cases {
        let answer = client.send(call).await;
        let id = answer.header("x-amz-request-id").unwrap_or_else(|| panic!("{operation}: {answer:?}"));
        let line = line_of(&file, id).await;
        assert_eq!(line["operation"], operation, "{line}");
        assert_eq!(line["status"], answer.status, "{line}");
        assert_eq!(line["decision"], decision, "{line}");
        assert_eq!(line["keys"], json!(keys), "{line}");
        assert_eq!(line["who"], "client", "{line}");
        assert_eq!(line["error"].is_null(), answer.status == 200, "{line}");
    }
    let first = &lines(&file)[0];
    assert_eq!((&first["bucket"], &first["object"]), (&json!("photos"), &json!("a b")));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("client-secret") && !text.contains("guessed-wrong") && !text.contains("ignature="),
        "{text}"
    );
}

#[tokio::test]
async fn no_log_where_none_is_asked_for() {
    let stack = Stack::start().await;
    assert!(stack.services.audit.is_none());
    stack.put("k", b"x").await;
}

#[tokio::test]
async fn tampering_counts_in_reads_and_in_listings() {
    let stack = Stack::start().await;
    stack.put("k", &support::random(1, 1000)).await;
    let counted = |name: &str| {
        let text = stack.services.metrics.render(&[]);
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(counted("s3cloak_tampered_total"), 0);
    // The footer, which a listing reads.
    let changed = stack.store.tamper(BUCKET, "k", |object| {
        let at = object.body.len() - 100;
        object.body[at] ^= 1;
    });
    assert!(changed.unwrap());
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(b"k").unwrap();
    stack.services.info.forget(&bucket, &key, None);
    let listing = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await;
    assert_eq!(listing.status, 200, "{}", listing.text());
    let listed = counted("s3cloak_tampered_total");
    assert!(listed >= 1, "the listing");
    assert!(stack.get("k").await.status >= 400);
    // It is counted once the answer is out.
    while counted("s3cloak_failures_total{blame=\"tampered\"}") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(counted("s3cloak_tampered_total"), listed + 1);
}
