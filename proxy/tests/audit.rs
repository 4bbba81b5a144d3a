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

/// What never reaches a handler leaves a line too, and is counted for what it is.
#[tokio::test]
async fn what_fails_before_its_handler_leaves_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let stack = start(&file).await;
    let host = stack.proxy.address;
    let unknown = "AWS4-HMAC-SHA256 Credential=stranger/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00";
    for (wire, operation, status) in [
        ("no request at all\r\n\r\n".to_owned(), "Unparsed", 400),
        (format!("GET /x HTTP/1.1\r\nhost: {host}\r\nno colon\r\n\r\n"), "Unparsed", 400),
        (format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n"), "Unparsed", 400),
        (format!("BREW /photos/k HTTP/1.1\r\nhost: {host}\r\n\r\n"), "Unparsed", 405),
        (format!("GET /photos/k HTTP/1.1\r\nhost: {host}\r\n\r\n"), "GetObject", 403),
        (
            format!("GET /photos/k HTTP/1.1\r\nhost: {host}\r\nauthorization: {unknown}\r\n\r\n"),
            "GetObject",
            403,
        ),
    ] {
        let answer = stack.proxy.raw(wire.as_bytes(), false).await;
        assert_eq!(answer.status, status, "{wire}: {}", answer.text());
        let line = line_of(&file, answer.header("x-amz-request-id").unwrap()).await;
        assert_eq!((&line["operation"], &line["status"]), (&json!(operation), &json!(status)), "{wire}");
        assert_eq!((&line["decision"], &line["keys"]), (&json!("denied"), &json!([])), "{line}");
    }
    let metrics = stack.services.metrics.render(&[]);
    for line in [
        "s3cloak_auth_failures_total{why=\"authentication\"} 2",
        "s3cloak_auth_failures_total{why=\"access\"} 0",
        "s3cloak_requests_total{operation=\"Unparsed\",status=\"400\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn denials_are_counted_by_why() {
    let stack =
        Stack::with(Options { allow: Some("buckets: [photos], actions: [read]"), ..Options::default() })
            .await;
    let mut stranger = stack.proxy.clone();
    stranger.secret_key = "guessed-wrong".to_owned();
    assert_eq!(stranger.send(Call::new("GET", "/photos/k")).await.status, 403);
    assert_eq!(stack.proxy.send(Call::new("PUT", "/photos/k").body(b"x")).await.status, 403);
    assert_eq!(stack.proxy.send(Call::new("GET", "/other/k")).await.status, 403);
    assert_eq!(stack.get("k").await.status, 404);
    // Each is counted once its answer is out.
    let whys = |why: &str| format!("s3cloak_auth_failures_total{{why=\"{why}\"}}");
    for expected in [format!("{} 1", whys("authentication")), format!("{} 2", whys("access"))] {
        let mut looks = 0;
        while !stack.services.metrics.render(&[]).contains(&expected) {
            looks += 1;
            assert!(looks < 1000, "{expected} in {}", stack.services.metrics.render(&[]));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// The keys of multipart uploads and listings, also where several requests share one look at the system area.
#[tokio::test]
async fn keys_are_noted_of_every_operation_that_uses_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    let stack = start(&file).await;
    let send = async |call: Call| {
        let answer = stack.proxy.send(call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let line = line_of(&file, answer.header("x-amz-request-id").unwrap()).await;
        (
            answer,
            line["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key.as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let (created, keys) = send(Call::new("POST", "/other/k?uploads")).await;
    assert_eq!(keys, ["main/other-key", "main/test-key"], "the object's, and that of the upload's state");
    let id = created.element("UploadId");
    let (part, keys) =
        send(Call::new("PUT", format!("/other/k?partNumber=1&uploadId={id}")).body(b"x")).await;
    assert!(keys.contains(&"main/other-key".to_owned()), "{keys:?}");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag").unwrap()
    );
    let (_, keys) = send(Call::new("POST", format!("/other/k?uploadId={id}")).body(list)).await;
    assert!(keys.contains(&"main/test-key".to_owned()), "{keys:?}");
    let bucket = s3cloak::s3::name::BucketName::parse(b"other").unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(b"k").unwrap();
    stack.services.info.forget(&bucket, &key, None);
    let (_, keys) = send(Call::new("GET", "/other?list-type=2")).await;
    assert_eq!(keys, ["main/other-key"]);
    // A key of an object's own is made in a task of its own.
    let alone = Call::new("PUT", "/other/alone")
        .header("x-amz-server-side-encryption", "aws:kms")
        .header("x-amz-server-side-encryption-aws-kms-key-id", "other-key")
        .header("x-amz-server-side-encryption-bucket-key-enabled", "false")
        .body(b"x");
    assert_eq!(send(alone).await.1, ["main/other-key"]);
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
