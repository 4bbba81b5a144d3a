//! MinIO's calls for keys and health over real HTTP: what they answer, to whom, and that they are not there unless
//! switched on.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use kms_client::testserver::{Fault, TestKes};
use serde_json::{Value, json};
use support::{Answer, Call, Options, Stack};

const ON: &str = "compat: { minio_api: true }";

fn options() -> Options {
    Options { more: ON, ..Options::default() }
}

async fn ask(stack: &Stack, method: &'static str, target: &str) -> Answer {
    stack.proxy.send(Call::new(method, target)).await
}

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

async fn unsigned(stack: &Stack, method: &str, path: &str) -> Answer {
    let wire =
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", stack.proxy.address);
    stack.proxy.raw(wire.as_bytes(), method == "HEAD").await
}

#[tokio::test]
async fn a_key_is_made_listed_and_tried() {
    let stack = Stack::with(options()).await;
    for (base, name) in [("/minio/kms/v1", "photos-key"), ("/minio/admin/v3/kms", "photos-key-2")] {
        let made = ask(&stack, "POST", &format!("{base}/key/create?key-id={name}")).await;
        assert_eq!((made.status, made.body.len()), (200, 0), "{}", made.text());
        assert!(
            stack
                .services
                .keyring
                .describe(&stack.services.keyring.resolve(Some(name)).unwrap())
                .await
                .is_ok()
        );

        let again = ask(&stack, "POST", &format!("{base}/key/create?key-id={name}")).await;
        assert_eq!(again.status, 409);
        assert_eq!(read(&again)["Code"], "kms:KeyAlreadyExists");

        let status = ask(&stack, "GET", &format!("{base}/key/status?key-id={name}")).await;
        assert_eq!((status.status, read(&status)), (200, json!({ "key-id": name })));
    }
    let all = ask(&stack, "GET", "/minio/kms/v1/key/list?pattern=*").await;
    assert_eq!(
        read(&all),
        json!([{ "name": "photos-key" }, { "name": "photos-key-2" }, { "name": "test-key" }])
    );
    let some = ask(&stack, "GET", "/minio/kms/v1/key/list?pattern=photos*").await;
    assert_eq!(read(&some), json!([{ "name": "photos-key" }, { "name": "photos-key-2" }]));
    let one = ask(&stack, "GET", "/minio/kms/v1/key/list?pattern=photos-key").await;
    assert_eq!(read(&one), json!([{ "name": "photos-key" }]));

    let default = ask(&stack, "GET", "/minio/kms/v1/key/status").await;
    assert_eq!(read(&default), json!({ "key-id": "test-key" }));
    let absent = ask(&stack, "GET", "/minio/kms/v1/key/status?key-id=nobody").await;
    assert_eq!(absent.status, 200);
    assert!(read(&absent)["encryption-error"].is_string(), "{}", absent.text());

    let service = read(&ask(&stack, "GET", "/minio/kms/v1/status").await);
    assert_eq!((&service["name"], &service["default-key-id"]), (&json!("local"), &json!("test-key")));
    assert_eq!(service["state"]["KeyStoreReachable"], true);
    assert!(service["endpoints"].as_object().unwrap().values().all(|state| state == "online"));
}

#[tokio::test]
async fn what_is_wrong_is_told_in_json_and_makes_no_key() {
    let stack = Stack::with(options()).await;
    for (method, target, status, code) in [
        ("POST", "key/create", 400, "InvalidArgument"),
        ("POST", "key/create?key-id=", 400, "InvalidArgument"),
        ("POST", "key/create?key-id=..%2Fetc", 400, "InvalidArgument"),
        ("GET", "key/create?key-id=other", 405, "MethodNotAllowed"),
        ("DELETE", "key/status?key-id=test-key", 405, "MethodNotAllowed"),
        ("GET", "key/list?pattern=a*b*", 400, "InvalidArgument"),
        ("GET", "key/delete?key-id=test-key", 501, "NotImplemented"),
        ("GET", "metrics", 501, "NotImplemented"),
    ] {
        let answer = ask(&stack, method, &format!("/minio/kms/v1/{target}")).await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        assert_eq!(read(&answer)["Code"], code, "{method} {target}");
    }
    assert_eq!(ask(&stack, "GET", "/minio/admin/v3/info").await.status, 501);
    let all = ask(&stack, "GET", "/minio/kms/v1/key/list?pattern=*").await;
    assert_eq!(read(&all), json!([{ "name": "test-key" }]));
}

/// As MinIO's: a data key is made and opened again, and each of the two that fails is told under its own name.
#[tokio::test]
async fn the_status_of_a_key_is_that_of_making_and_of_opening() {
    let kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    let client = kes.client(std::time::Duration::from_secs(2));
    let stack = Stack::with(Options { keys: Some(Arc::new(client)), ..options() }).await;
    let status = async || read(&ask(&stack, "GET", "/minio/kms/v1/key/status?key-id=test-key").await);
    let before = (kes.faults().calls("generate"), kes.faults().calls("decrypt"));
    assert_eq!(status().await, json!({ "key-id": "test-key" }));
    let after = (kes.faults().calls("generate"), kes.faults().calls("decrypt"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "nothing in memory answers");

    kes.faults().inject(
        "/v1/key/decrypt/",
        Fault::Status(403, "not authorized: insufficient permissions"),
        1,
    );
    let told = status().await;
    assert!(told["decryption-error"].is_string() && told["encryption-error"].is_null(), "{told}");
    kes.faults().inject(
        "/v1/key/generate/",
        Fault::Status(403, "not authorized: insufficient permissions"),
        1,
    );
    let told = status().await;
    assert!(told["encryption-error"].is_string() && told["decryption-error"].is_null(), "{told}");
    kes.delete_key("test-key");
    let told = status().await;
    assert!(told["encryption-error"].as_str().unwrap().contains("does not exist"), "{told}");
}

#[tokio::test]
async fn only_an_admin_of_every_bucket_may() {
    for allow in [
        "buckets: [\"*\"], actions: [read, write], keys: [\"*\"]",
        "buckets: [\"photos\"], actions: [read, write, admin], keys: [\"*\"]",
        "buckets: [\"*\"], prefixes: [\"mine/\"], actions: [read, write, admin], keys: [\"*\"]",
    ] {
        let stack = Stack::with(Options { allow: Some(allow), ..options() }).await;
        for (method, target) in [
            ("POST", "key/create?key-id=new-key"),
            ("POST", "key/create"),
            ("GET", "key/status"),
            ("GET", "key/status?key-id=nobody"),
            ("GET", "key/list?pattern=*"),
            ("GET", "status"),
            ("GET", "anything"),
        ] {
            let answer = ask(&stack, method, &format!("/minio/kms/v1/{target}")).await;
            assert_eq!(
                (answer.status, &read(&answer)["Code"]),
                (403, &json!("AccessDenied")),
                "{allow}: {target}"
            );
        }
        assert!(stack.services.keyring.list(None, "").await.unwrap() == ["test-key"]);
    }
}

#[tokio::test]
async fn a_grant_over_some_key_names_reaches_no_others() {
    let allow = "buckets: [\"*\"], actions: [admin], keys: [\"team-*\"]";
    let stack = Stack::with(Options { allow: Some(allow), ..options() }).await;
    assert_eq!(ask(&stack, "POST", "/minio/kms/v1/key/create?key-id=team-a").await.status, 200);
    assert_eq!(ask(&stack, "POST", "/minio/kms/v1/key/create?key-id=other").await.status, 403);
    assert_eq!(ask(&stack, "GET", "/minio/kms/v1/key/status?key-id=test-key").await.status, 403);
    let all = ask(&stack, "GET", "/minio/kms/v1/key/list").await;
    assert_eq!(read(&all), json!([{ "name": "team-a" }]));
}

#[tokio::test]
async fn keys_need_a_signature_and_health_none() {
    let stack = Stack::with(options()).await;
    for path in ["/minio/health/live", "/minio/health/ready", "/minio/health/cluster"] {
        for method in ["GET", "HEAD"] {
            let answer = unsigned(&stack, method, path).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{method} {path}");
        }
        assert_eq!(unsigned(&stack, "POST", path).await.status, 405, "{path}");
    }
    assert_eq!(unsigned(&stack, "GET", "/minio/health/nothing").await.status, 501);
    for (method, target) in
        [("POST", "key/create?key-id=new-key"), ("GET", "key/list?pattern=*"), ("GET", "status")]
    {
        assert_eq!(unsigned(&stack, method, &format!("/minio/kms/v1/{target}")).await.status, 403);
    }
    let mut stranger = stack.proxy.clone();
    stranger.secret_key = "guessed".to_owned();
    let answer = stranger.send(Call::new("POST", "/minio/kms/v1/key/create?key-id=new-key")).await;
    assert_eq!((answer.status, &read(&answer)["Code"]), (403, &json!("SignatureDoesNotMatch")));
    assert!(stack.services.keyring.list(None, "").await.unwrap() == ["test-key"]);
}

#[tokio::test]
async fn switched_off_it_is_a_bucket_like_any_other() {
    let stack = Stack::start().await;
    stack.store.create_bucket("minio").unwrap();
    let target = "/minio/kms/v1/key/create";
    assert_eq!(ask(&stack, "POST", &format!("{target}?key-id=new-key")).await.status, 501);
    let put = stack.proxy.send(Call::new("PUT", target).body(b"an object".as_slice())).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(ask(&stack, "GET", target).await.body, b"an object");
    assert_eq!(unsigned(&stack, "GET", "/minio/health/live").await.status, 403);
    assert!(stack.services.keyring.list(None, "").await.unwrap() == ["test-key"]);
}

#[tokio::test]
async fn a_key_service_that_is_away_is_503_with_a_time_to_try_again() {
    let mut kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    let client = kes.client(std::time::Duration::from_secs(2));
    let stack = Stack::with(Options { keys: Some(Arc::new(client)), ..options() }).await;
    assert_eq!(ask(&stack, "POST", "/minio/kms/v1/key/create?key-id=before").await.status, 200);
    kes.stop().await;
    let answer = ask(&stack, "POST", "/minio/kms/v1/key/create?key-id=after").await;
    assert_eq!((answer.status, &read(&answer)["Code"]), (503, &json!("ServiceUnavailable")));
    assert!(answer.header("retry-after").is_some());
    let status = read(&ask(&stack, "GET", "/minio/kms/v1/status").await);
    assert_eq!(status["state"]["KeyStoreReachable"], false);
}
