//! Default encryption of buckets by API, through the real proxy in process: what is taken, what follows from it, and what
//! a storage that changes it achieves.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_client::local::LocalKeys;
use kms_client::{DataKey, KeyError, KeyInfo, KeyName, KeyService, PlainKey, ServiceStatus};
use md5::{Digest as _, Md5};
use support::{Answer, BUCKET, Call, Client, Options, Stack};

const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const SYSTEM: &str = "s3cloak-system";
const RULE: &str = "rules/photos";

fn document(rule: &str) -> String {
    format!(
        "<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rule}\
         </ServerSideEncryptionConfiguration>"
    )
}

fn apply(algorithm: &str, key: Option<&str>, more: &str) -> String {
    let key = key.map(|key| format!("<KMSMasterKeyID>{key}</KMSMasterKeyID>")).unwrap_or_default();
    document(&format!(
        "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}\
         </ApplyServerSideEncryptionByDefault>{more}</Rule>"
    ))
}

async fn configure(client: &Client, bucket: &str, body: &str) -> Answer {
    client.send(Call::new("PUT", format!("/{bucket}?encryption")).body(body.as_bytes())).await
}

async fn shown(client: &Client, bucket: &str) -> Answer {
    client.send(Call::new("GET", format!("/{bucket}?encryption"))).await
}

async fn store(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let call = Call::new("PUT", format!("/{BUCKET}/k")).body(b"data".to_vec());
    client.send(headers.iter().fold(call, |call, (name, value)| call.header(name, *value))).await
}

fn facts(answer: &Answer) -> (u16, Option<&str>, Option<&str>, Option<&str>) {
    (answer.status, answer.header(SSE), answer.header(KEY_ID), answer.header(BUCKET_KEY))
}

async fn keys(stack: &Stack, names: &[&str]) {
    for name in names {
        let key = stack.services.keyring.resolve(Some(name)).unwrap();
        stack.services.keyring.create(&key).await.unwrap();
    }
}

fn customer() -> [(&'static str, String); 3] {
    [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256".to_owned()),
        ("x-amz-server-side-encryption-customer-key", STANDARD.encode([7; 32])),
        ("x-amz-server-side-encryption-customer-key-md5", STANDARD.encode(Md5::digest([7; 32]))),
    ]
}

#[tokio::test]
async fn a_rule_is_kept_applied_shown_and_removed() {
    let stack = Stack::start().await;
    keys(&stack, &["team", "other"]).await;
    let none = shown(&stack.proxy, BUCKET).await;
    assert_eq!((none.status, none.code().as_str()), (404, "ServerSideEncryptionConfigurationNotFoundError"));
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("AES256"), None, None));

    let arn = "arn:aws:kms:us-east-1:123456789012:key/team";
    let rule = apply("aws:kms", Some(arn), "<BucketKeyEnabled>true</BucketKeyEnabled>");
    let put = configure(&stack.proxy, BUCKET, &rule).await;
    assert_eq!((put.status, put.body.len()), (200, 0), "{}", put.text());
    assert!(shown(&stack.proxy, BUCKET).await.text().contains(&rule[10..]), "as it was put");
    // The storage holds no word of it.
    let stored = stack.store.stored(SYSTEM, RULE).unwrap();
    for word in ["aws:kms", "team", "123456789012"] {
        assert!(!stored.body.windows(word.len()).any(|run| run == word.as_bytes()), "{word}");
    }

    // A default never merges into what a client chose itself.
    let kms = Some("aws:kms");
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, kms, Some(arn), Some("true")));
    for method in ["GET", "HEAD"] {
        let read = stack.proxy.send(Call::new(method, format!("/{BUCKET}/k"))).await;
        assert_eq!(facts(&read), (200, kms, Some(arn), Some("true")));
    }
    for (headers, expected) in [
        (&[(SSE, "AES256")][..], (200, Some("AES256"), None, None)),
        // Whether there is a bucket key is the bucket's to say where the client does not.
        (&[(SSE, "aws:kms")], (200, kms, Some("test-key"), Some("true"))),
        (&[(SSE, "aws:kms"), (KEY_ID, "other")], (200, kms, Some("other"), Some("true"))),
        (&[(SSE, "aws:kms"), (BUCKET_KEY, "false")], (200, kms, Some("test-key"), None)),
        (&[(BUCKET_KEY, "false")], (200, kms, Some(arn), None)),
    ] {
        assert_eq!(facts(&store(&stack.proxy, headers).await), expected, "{headers:?}");
    }

    // A second replica, which knows nothing yet, acts on it at once.
    let replica = replica(&stack, None).await;
    assert_eq!(facts(&store(&replica, &[]).await), (200, kms, Some(arn), Some("true")));

    for _ in 0..2 {
        let gone = stack.proxy.send(Call::new("DELETE", format!("/{BUCKET}?encryption"))).await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
    }
    assert_eq!(shown(&stack.proxy, BUCKET).await.status, 404);
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("AES256"), None, None));
    assert!(stack.store.stored(SYSTEM, RULE).is_none());
}

#[tokio::test]
async fn a_rule_goes_before_the_configured_one() {
    let stack = Stack::with(Options {
        buckets: Some(
            "  \"*\": { backend: default }\n  \"named*\": { sse: \"aws:kms\" }\n  \
             photos: { sse: \"aws:kms\", key: team }",
        ),
        ..Options::default()
    })
    .await;
    keys(&stack, &["team"]).await;
    // Named for this very bucket; a pattern is not.
    let named = shown(&stack.proxy, BUCKET).await;
    assert!(
        named.status == 200 && named.text().contains("<KMSMasterKeyID>team</KMSMasterKeyID>"),
        "{}",
        named.text()
    );
    stack.store.create_bucket("named-by-pattern").unwrap();
    assert_eq!(shown(&stack.proxy, "named-by-pattern").await.status, 404);
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("aws:kms"), Some("team"), None));

    assert_eq!(configure(&stack.proxy, BUCKET, &apply("aws:kms", None, "")).await.status, 200);
    let without = "the configured key is not lent to a rule that names none";
    assert_eq!(
        facts(&store(&stack.proxy, &[]).await),
        (200, Some("aws:kms"), Some("test-key"), None),
        "{without}"
    );
    assert_eq!(configure(&stack.proxy, BUCKET, &apply("AES256", None, "")).await.status, 200);
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("AES256"), None, None));
    assert!(!shown(&stack.proxy, BUCKET).await.text().contains("team"));
    stack.proxy.send(Call::new("DELETE", format!("/{BUCKET}?encryption"))).await;
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("aws:kms"), Some("team"), None));
}

#[tokio::test]
async fn customers_keys_are_blocked_where_a_rule_says_so() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    let customer = customer();
    let customer: Vec<(&str, &str)> = customer.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let blocks = |what: &str| {
        format!("<BlockedEncryptionTypes><EncryptionType>{what}</EncryptionType></BlockedEncryptionTypes>")
    };
    // A default does not merge into a request with a customer's key.
    assert_eq!(configure(&stack.proxy, BUCKET, &apply("aws:kms", None, &blocks("NONE"))).await.status, 200);
    let stored = store(&stack.proxy, &customer).await;
    assert_eq!(facts(&stored), (200, None, None, None));
    assert_eq!(stored.header("x-amz-server-side-encryption-customer-algorithm"), Some("AES256"));
    for rule in
        [apply("aws:kms", None, &blocks("SSE-C")), document(&format!("<Rule>{}</Rule>", blocks("SSE-C")))]
    {
        assert_eq!(configure(&stack.proxy, BUCKET, &rule).await.status, 200);
        assert!(shown(&stack.proxy, BUCKET).await.text().contains(&blocks("SSE-C")));
        let refused = store(&stack.proxy, &customer).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "AccessDenied"), "{}", refused.text());
        // What is there already can be read.
        let read = Call::new("GET", format!("/{BUCKET}/k"));
        let read = customer.iter().fold(read, |call, (name, value)| call.header(name, *value));
        assert_eq!(stack.proxy.send(read).await.text(), "data");
    }
    // A rule that only blocks leaves the default as it was.
    assert_eq!(facts(&store(&stack.proxy, &[]).await), (200, Some("AES256"), None, None));
}

#[tokio::test]
async fn bad_configurations_change_nothing() {
    let stack = Stack::start().await;
    let good = apply("AES256", None, "");
    assert_eq!(configure(&stack.proxy, BUCKET, &good).await.status, 200);
    let before = stack.store.stored(SYSTEM, RULE).unwrap().body;
    let rule = &good[good.find("<Rule>").unwrap()..good.find("</ServerSide").unwrap()];
    for (body, status, code) in [
        (String::new(), 400, "MalformedXML"),
        ("no xml".to_owned(), 400, "MalformedXML"),
        (document(""), 400, "MalformedXML"),
        (document(&rule.repeat(2)), 400, "MalformedXML"),
        (apply("AES128", None, ""), 400, "MalformedXML"),
        (apply("AES256", Some("test-key"), ""), 400, "MalformedXML"),
        (apply("aws:kms", Some(" test-key"), ""), 400, "MalformedXML"),
        (apply("aws:kms:dsse", None, ""), 400, "InvalidArgument"),
        (apply("aws:kms", Some("nobody"), ""), 400, "KMS.NotFoundException"),
        (apply("aws:kms", Some("a.b"), ""), 400, "KMS.NotFoundException"),
        (" ".repeat((1 << 20) + 1), 400, "EntityTooLarge"),
    ] {
        let answer = configure(&stack.proxy, BUCKET, &body).await;
        let what: String = body.chars().take(300).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.text());
    }
    let digest = Call::new("PUT", format!("/{BUCKET}?encryption"))
        .body(apply("aws:kms", None, ""))
        .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(stack.proxy.send(digest).await.code(), "BadDigest");
    assert!(stack.store.stored(SYSTEM, RULE).unwrap().body == before);
    // The bucket comes first, whatever the body.
    for answer in [
        configure(&stack.proxy, "nobody", "no xml").await,
        shown(&stack.proxy, "nobody").await,
        stack.proxy.send(Call::new("DELETE", "/nobody?encryption")).await,
        configure(&stack.proxy, SYSTEM, &good).await,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (404, "NoSuchBucket"));
    }
    assert_eq!(stack.store.keys(SYSTEM).iter().filter(|key| key.starts_with("rules/")).count(), 1);
}

#[tokio::test]
async fn rights_are_held_to() {
    let writer = Stack::with(Options {
        allow: Some("buckets: [\"*\"], actions: [read, write], keys: [\"*\"]"),
        ..Options::default()
    })
    .await;
    let put = configure(&writer.proxy, BUCKET, &apply("AES256", None, "")).await;
    let delete = writer.proxy.send(Call::new("DELETE", format!("/{BUCKET}?encryption"))).await;
    for refused in [put, delete] {
        assert_eq!((refused.status, refused.code().as_str()), (403, "AccessDenied"));
    }
    assert_eq!(
        shown(&writer.proxy, BUCKET).await.status,
        404,
        "reading takes no more than the right to read"
    );

    let admin = Stack::with(Options {
        allow: Some("buckets: [\"*\"], actions: [read, write, admin], keys: [\"team-*\"]"),
        buckets: Some("  \"*\": { backend: default, anonymous: backend }"),
        ..Options::default()
    })
    .await;
    keys(&admin, &["team-a", "secret"]).await;
    let refused = configure(&admin.proxy, BUCKET, &apply("aws:kms", Some("secret"), "")).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "AccessDenied"));
    assert_eq!(configure(&admin.proxy, BUCKET, &apply("aws:kms", Some("team-a"), "")).await.status, 200);
    for method in ["GET", "PUT", "DELETE"] {
        let body = apply("AES256", None, "");
        let head = format!(
            "{method} /{BUCKET}?encryption HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            admin.proxy.address,
            body.len()
        );
        let stranger = admin.proxy.raw(head.as_bytes(), false).await;
        assert_eq!((stranger.status, stranger.code().as_str()), (403, "AccessDenied"), "{method}");
    }
    assert!(shown(&admin.proxy, BUCKET).await.text().contains("team-a"));
}

/// A storage that changes, moves or garbles a rule stops writes; it never makes them go under another key.
#[tokio::test]
async fn a_rule_that_is_not_authentic_stops_writes() {
    let stack = Stack::start().await;
    keys(&stack, &["team"]).await;
    stack.store.create_bucket("other-bucket").unwrap();
    assert_eq!(configure(&stack.proxy, BUCKET, &apply("aws:kms", Some("team"), "")).await.status, 200);
    assert_eq!(configure(&stack.proxy, "other-bucket", &apply("AES256", None, "")).await.status, 200);
    store(&stack.proxy, &[]).await;
    let good = stack.store.stored(SYSTEM, RULE).unwrap().body;
    let moved = stack.store.stored(SYSTEM, "rules/other-bucket").unwrap().body;
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let newline = good.iter().position(|byte| *byte == b'\n').unwrap();
    let object = stack.store.stored(BUCKET, "k").unwrap();
    let own = [object.header("x-amz-meta-s3cloak").unwrap().as_bytes(), b"\n", &object.body].concat();
    for (what, bytes) in [
        ("moved", moved),
        ("garbage", b"<x/>".to_vec()),
        ("empty", Vec::new()),
        ("envelope", flipped(newline - 3)),
        ("body", flipped(newline + 1)),
        ("trailer", flipped(good.len() - 30)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("longer", [&good[..], b"x"].concat()),
        ("an object of the bucket", own),
    ] {
        stack.store.tamper(SYSTEM, RULE, |object| object.body = bytes).unwrap();
        let replica = replica(&stack, None).await;
        for headers in [&[][..], &[(SSE, "AES256")]] {
            let refused = store(&replica, headers).await;
            assert_eq!((refused.status, refused.code().as_str()), (503, "ServiceUnavailable"), "{what}");
        }
        assert_eq!(shown(&replica, BUCKET).await.status, 503, "{what}");
        assert_eq!(replica.send(Call::new("GET", format!("/{BUCKET}/k"))).await.status, 200, "reads go on");
    }
    // It is counted for an alert, and this is the way out.
    let keys = Arc::new(LocalKeys::open(stack.key_folder()).unwrap());
    let (replica, services) = stack.replica(keys, support::CALM).await;
    let counted =
        |number: u32| services.metrics.render(&[]).contains(&format!("s3cloak_tampered_total {number}\n"));
    assert!(counted(0));
    assert_eq!(store(&replica, &[]).await.status, 503);
    assert!(counted(1));
    let gone = replica.send(Call::new("DELETE", format!("/{BUCKET}?encryption"))).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(facts(&store(&replica, &[]).await), (200, Some("AES256"), None, None));
}

#[tokio::test]
async fn a_key_service_that_does_not_open_the_rule_stops_writes() {
    let folder = tempfile::tempdir().unwrap();
    let local = || LocalKeys::open(folder.path()).unwrap();
    local().create(&"test-key".parse().unwrap()).await.unwrap();
    let stack = Stack::with(Options { keys: Some(Arc::new(local())), ..Options::default() }).await;
    let forgetful = || -> Arc<dyn KeyService> { Arc::new(Forgetful(local(), Mutex::default())) };
    assert_eq!(store(&replica(&stack, Some(forgetful())).await, &[]).await.status, 200);
    assert_eq!(configure(&stack.proxy, BUCKET, &apply("AES256", None, "")).await.status, 200);
    stack.store.journal().take();
    let refused = store(&replica(&stack, Some(forgetful())).await, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "ServiceUnavailable"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(
        stack.store.journal().take().iter().all(|seen| seen.method != "PUT" || !seen.target.contains("/k"))
    );
    // A replica that has the key goes on.
    assert_eq!(store(&replica(&stack, Some(Arc::new(local()))).await, &[]).await.status, 200);
}

#[tokio::test]
async fn a_rule_goes_with_its_bucket() {
    let stack = Stack::start().await;
    for by_proxy in [true, false] {
        assert_eq!(stack.proxy.send(Call::new("PUT", "/come-and-go")).await.status, 200);
        assert_eq!(shown(&stack.proxy, "come-and-go").await.status, 404);
        assert_eq!(configure(&stack.proxy, "come-and-go", &apply("aws:kms", None, "")).await.status, 200);
        // To create it again changes nothing.
        stack.proxy.send(Call::new("PUT", "/come-and-go")).await;
        assert_eq!(shown(&stack.proxy, "come-and-go").await.status, 200);
        let client = if by_proxy { &stack.proxy } else { &stack.backend };
        assert_eq!(client.send(Call::new("DELETE", "/come-and-go")).await.status, 204);
        assert_eq!(stack.store.stored(SYSTEM, "rules/come-and-go").is_none(), by_proxy);
    }
    assert_eq!(stack.proxy.send(Call::new("PUT", "/come-and-go")).await.status, 200);
    assert_eq!(shown(&stack.proxy, "come-and-go").await.status, 404);
    // A bucket that stays keeps its rule.
    assert_eq!(configure(&stack.proxy, BUCKET, &apply("aws:kms", None, "")).await.status, 200);
    stack.put("k", b"x").await;
    assert_eq!(stack.proxy.send(Call::new("DELETE", format!("/{BUCKET}"))).await.status, 409);
    assert_eq!(shown(&stack.proxy, BUCKET).await.status, 200);
}

/// Another proxy of the same configuration, over the same storage.
async fn replica(stack: &Stack, keys: Option<Arc<dyn KeyService>>) -> Client {
    let keys = keys.unwrap_or_else(|| Arc::new(LocalKeys::open(stack.key_folder()).unwrap()));
    stack.replica(keys, support::CALM).await.0
}

/// Opens the data keys that it made itself and no other, as a service does whose store was lost and whose cache was not.
struct Forgetful(LocalKeys, Mutex<HashSet<Vec<u8>>>);

#[async_trait]
impl KeyService for Forgetful {
    async fn generate(&self, name: &KeyName, context: &[u8]) -> Result<DataKey, KeyError> {
        let made = self.0.generate(name, context).await?;
        self.1.lock().unwrap().insert(made.sealed.clone());
        Ok(made)
    }
    async fn decrypt(&self, name: &KeyName, sealed: &[u8], context: &[u8]) -> Result<PlainKey, KeyError> {
        if !self.1.lock().unwrap().contains(sealed) {
            return Err(KeyError::Unavailable { reason: "out of reach".to_owned() });
        }
        self.0.decrypt(name, sealed, context).await
    }
    async fn create(&self, name: &KeyName) -> Result<(), KeyError> {
        self.0.create(name).await
    }
    async fn describe(&self, name: &KeyName) -> Result<KeyInfo, KeyError> {
        self.0.describe(name).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyError> {
        self.0.list(prefix).await
    }
    async fn delete(&self, name: &KeyName) -> Result<(), KeyError> {
        self.0.delete(name).await
    }
    async fn status(&self) -> ServiceStatus {
        self.0.status().await
    }
    async fn health(&self, name: &KeyName) -> Result<(), KeyError> {
        self.0.health(name).await
    }
}
