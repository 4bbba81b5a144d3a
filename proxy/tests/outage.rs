//! The key service stopped, stalled, corrupted, sealed and emptied behind a running proxy, as S3 clients see it over real
//! HTTP. Nothing here is measured: what has to come about is waited for, with a generous ceiling.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kms_client::KeyService;
use kms_client::testserver::{Fault, TestKes};
use s3cloak::admin;
use s3cloak::services::Services;
use support::{Answer, BUCKET, Call, Client, Options, Stack, random, shares_a_run};
use tokio::task::JoinSet;

const TIMEOUT: Duration = Duration::from_millis(700);
const CEILING: Duration = Duration::from_secs(60);
const EVER: usize = usize::MAX;
/// The key is looked at all the time; every grace is the default one.
const WATCHED: &str = "recheck: 50ms";
/// ... and there is next to none.
const NO_GRACE: &str = "recheck: 50ms, offline_reads: 300ms, offline_writes: 300ms";

async fn key_service() -> TestKes {
    let kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    kes
}

fn client_of(kes: &TestKes) -> Arc<dyn KeyService> {
    Arc::new(kes.client(TIMEOUT))
}

async fn start(kes: &TestKes, bucket_key: &'static str) -> Stack {
    let options = Options { keys: Some(client_of(kes)), bucket_key: Some(bucket_key), ..Options::default() };
    let stack = Stack::with(options).await;
    stack.store.create_bucket("other").unwrap();
    stack
}

/// Waits for what has to come about.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(CEILING, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: it did not come about");
}

async fn get(client: &Client, key: &str) -> Answer {
    client.send(Call::new("GET", format!("/{BUCKET}/{key}"))).await
}

async fn put(client: &Client, bucket: &str, key: &str, body: &[u8]) -> Answer {
    client.send(Call::new("PUT", format!("/{bucket}/{key}")).body(body)).await
}

/// A refusal that tells a client to come again, and nothing of the object.
fn assert_comes_again(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    let seconds = answer.header("retry-after").unwrap_or_else(|| panic!("{what}: no Retry-After"));
    assert!(seconds.parse::<u32>().is_ok_and(|s| (1..=60).contains(&s)), "{what}: {seconds}");
    assert!(answer.header("etag").is_none(), "{what}");
}

fn is_ready(services: &Services) -> bool {
    admin::respond(services, false, &Method::GET, "/ready").status() == 200
}

/// Waits until the proxy has found out that the key service is away.
async fn noticed(services: &Services) {
    let before = services.keyring.stats().errors;
    until("the outage is noticed", async || services.keyring.stats().errors >= before + 2).await;
}

/// What the network and the key store do to a key service.
#[derive(Clone, Debug)]
enum Outage {
    Stopped,
    StoreDown,
    Every(Fault),
}

impl Outage {
    async fn begin(&self, kes: &mut TestKes) {
        match self {
            Self::Stopped => kes.stop().await,
            Self::StoreDown => kes.faults().store_down(true),
            Self::Every(fault) => kes.faults().inject("/v1/", fault.clone(), EVER),
        }
    }

    async fn end(&self, kes: &mut TestKes) {
        match self {
            Self::Stopped => kes.resume().await.unwrap(),
            _ => kes.faults().clear(),
        }
    }
}

#[tokio::test]
async fn warm_keys_serve_on_through_every_outage() {
    for outage in [
        Outage::Stopped,
        Outage::StoreDown,
        Outage::Every(Fault::Hang),
        Outage::Every(Fault::Reset),
        Outage::Every(Fault::ResetAfter),
        Outage::Every(Fault::Truncated),
        Outage::Every(Fault::Html(502)),
        Outage::Every(Fault::Status(504, "key store is not reachable")),
    ] {
        let what = format!("{outage:?}");
        let mut kes = key_service().await;
        let stack = start(&kes, WATCHED).await;
        let (body, more) = (random(1, 200_000), random(2, 1_500_000));
        stack.put("before", &body).await;
        let begun = stack.proxy.send(Call::new("POST", format!("/{BUCKET}/parts?uploads"))).await;
        let upload = begun.element("UploadId");
        outage.begin(&mut kes).await;
        noticed(&stack.services).await;

        // Reads and writes of every kind, and the state of an upload.
        assert!(stack.get("before").await.body == body, "{what}");
        for (key, body) in [("small", &body[..10]), ("streamed", &more[..]), ("empty", b"")] {
            stack.put(key, body).await;
            assert!(stack.get(key).await.body == body, "{what} {key}");
            assert_eq!(stack.head(key).await.status, 200, "{what} {key}");
        }
        assert_eq!(stack.get_range("streamed", "bytes=9-99").await.body, more[9..100], "{what}");
        assert!(!shares_a_run(&more, &stack.store.stored(BUCKET, "streamed").unwrap().body));
        let listed = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await;
        assert_eq!(listed.text().matches("<Key>").count(), 4, "{what}: {}", listed.text());
        let part = format!("/{BUCKET}/parts?partNumber=1&uploadId={upload}");
        let part = stack.proxy.send(Call::new("PUT", part).body(body.clone())).await;
        assert_eq!(part.status, 200, "{what}: {}", part.text());
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            part.header("etag").unwrap()
        );
        let complete = Call::new("POST", format!("/{BUCKET}/parts?uploadId={upload}")).body(list);
        let complete = stack.proxy.send(complete).await;
        assert_eq!(complete.status, 200, "{what}: {}", complete.text());
        assert!(stack.get("parts").await.body == body, "{what}");
        assert!(stack.services.keyring.stats().offline > 0 && is_ready(&stack.services), "{what}");

        // What needs the key service waits for it, and needs no restart.
        assert_comes_again(&what, &put(&stack.proxy, "other", "new", b"x").await);
        assert!(stack.store.keys("other").is_empty(), "{what}");
        outage.end(&mut kes).await;
        until("recovery", async || put(&stack.proxy, "other", "new", b"x").await.status == 200).await;
        assert!(is_ready(&stack.services), "{what}");
    }
}

#[tokio::test]
async fn cold_keys_are_503_and_nothing_is_written() {
    for outage in [
        Outage::Stopped,
        Outage::StoreDown,
        Outage::Every(Fault::Hang),
        Outage::Every(Fault::Truncated),
        Outage::Every(Fault::Garbage),
        Outage::Every(Fault::Html(200)),
        Outage::Every(Fault::Oversized { bytes: 3_000_000, announced: false }),
    ] {
        let mut kes = key_service().await;
        let stack = start(&kes, support::CALM).await;
        let body = random(3, 100_000);
        stack.put("there", &body).await;
        let begun = stack.proxy.send(Call::new("POST", format!("/{BUCKET}/parts?uploads"))).await;
        let upload = begun.element("UploadId");
        let (cold, services) = stack.replica(client_of(&kes), support::CALM).await;
        outage.begin(&mut kes).await;
        stack.store.journal().take();
        let named = "x-amz-server-side-encryption-aws-kms-key-id";
        let rule = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms\
                    </SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
        let object = |method, key: &str| Call::new(method, format!("/{BUCKET}/{key}"));
        let calls = [
            object("GET", "there"),
            object("HEAD", "there"),
            object("GET", "there").header("range", "bytes=0-3"),
            object("GET", "there").header("if-none-match", "\"0\""),
            object("GET", "there?attributes").header("x-amz-object-attributes", "ETag,ObjectSize"),
            object("PUT", "there").body(b"overwritten"),
            object("PUT", "new").body(b"small"),
            object("PUT", "new").body(random(4, 1_500_000)),
            object("PUT", "new").body(b""),
            object("PUT", "new")
                .header("x-amz-server-side-encryption", "aws:kms")
                .header(named, "test-key")
                .body(b"x"),
            object("PUT", "new")
                .header("x-amz-server-side-encryption", "aws:kms")
                .header(named, "never-seen")
                .body(b"x"),
            object("POST", "new?uploads"),
            object("PUT", &format!("parts?partNumber=1&uploadId={upload}")).body(b"x"),
            object("GET", &format!("parts?uploadId={upload}")),
            Call::new("PUT", format!("/{BUCKET}?encryption")).body(rule),
        ];
        for call in calls {
            let what = format!("{outage:?}: {} {}", call.method, call.target);
            assert_comes_again(&what, &cold.send(call).await);
        }
        // A page of sizes or ETags that may be wrong would make sync tools copy.
        let listed = cold.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await;
        assert_comes_again(&format!("{outage:?}: list"), &listed);
        let written: Vec<_> = stack
            .store
            .journal()
            .take()
            .into_iter()
            .filter(|seen| seen.method != "GET" && seen.method != "HEAD")
            .collect();
        assert!(written.is_empty(), "{outage:?}: {written:?}");
        // What needs no key works.
        assert_eq!(cold.send(Call::new("GET", "/")).await.status, 200);
        assert_eq!(cold.send(object("DELETE", "nothing")).await.status, 204);

        outage.end(&mut kes).await;
        until("recovery", async || get(&cold, "there").await.body == body).await;
        until("recovery", async || put(&cold, BUCKET, "new", b"x").await.status == 200).await;
        assert_eq!(services.keyring.stats().offline, 0);
    }
}

#[tokio::test]
async fn writes_stop_when_their_grace_is_over_and_reads_when_theirs_is() {
    let mut kes = key_service().await;
    let stack = start(&kes, "recheck: 50ms, offline_writes: 300ms").await;
    stack.put("there", b"as it was").await;
    let (short, services) = stack.replica(client_of(&kes), NO_GRACE).await;
    assert_eq!(get(&short, "there").await.text(), "as it was");
    kes.stop().await;
    let refused = async |client: &Client| put(client, BUCKET, "there", b"changed").await.status != 200;
    until("writes stop", async || refused(&stack.proxy).await).await;
    let stored = stack.store.stored(BUCKET, "there").unwrap();
    for _ in 0..5 {
        assert_comes_again("write", &put(&stack.proxy, BUCKET, "there", b"after grace").await);
        assert_eq!(stack.get("there").await.text(), "changed", "reads have a longer grace");
    }
    assert!(!is_ready(&stack.services));
    until("reads stop", async || get(&short, "there").await.status != 200).await;
    assert_comes_again("read", &get(&short, "there").await);
    assert!(!is_ready(&services));
    assert_eq!(stack.store.stored(BUCKET, "there").unwrap(), stored);

    kes.resume().await.unwrap();
    for (client, services) in [(&stack.proxy, &stack.services), (&short, &services)] {
        until("ready", async || is_ready(services)).await;
        until("reads", async || get(client, "there").await.text() == "changed").await;
        until("writes", async || put(client, BUCKET, "new", b"x").await.status == 200).await;
    }
}

/// An odd answer is no outage: there is no grace for it, and no object is blamed for it either.
#[tokio::test]
async fn a_corrupting_key_service_gets_no_grace() {
    for fault in [Fault::Garbage, Fault::Html(200), Fault::Oversized { bytes: 3_000_000, announced: true }] {
        let kes = key_service().await;
        let stack = start(&kes, WATCHED).await;
        stack.put("there", b"as it was").await;
        kes.faults().inject("/v1/", fault.clone(), EVER);
        until("reads stop", async || {
            let answer = stack.get("there").await;
            assert!(answer.status == 503 || answer.text() == "as it was", "{fault:?}: {}", answer.status);
            answer.status == 503
        })
        .await;
        assert_comes_again("write", &put(&stack.proxy, BUCKET, "new", b"x").await);
        assert_eq!(stack.store.keys(BUCKET), ["there"]);
        kes.faults().clear();
        until("recovery", async || stack.get("there").await.text() == "as it was").await;
        // The last refusal is shared for a second.
        until("recovery", async || put(&stack.proxy, BUCKET, "new", b"x").await.status == 200).await;
        assert!(stack.services.metrics.render(&[]).contains("s3cloak_tampered_total 0"));
    }
}

#[tokio::test]
async fn nobody_stampedes_when_the_key_service_comes_back() {
    for outage in [Outage::Stopped, Outage::Every(Fault::Hang), Outage::StoreDown] {
        let mut kes = key_service().await;
        let stack = start(&kes, support::CALM).await;
        stack.put("there", b"content").await;
        let (cold, _services) = stack.replica(client_of(&kes), support::CALM).await;
        outage.begin(&mut kes).await;
        let mut clients = JoinSet::new();
        for number in 0..100 {
            let cold = cold.clone();
            clients.spawn(async move {
                loop {
                    let answer = match number % 2 {
                        0 => get(&cold, "there").await,
                        _ => put(&cold, "other", &format!("{number}"), b"x").await,
                    };
                    if answer.status == 200 {
                        return;
                    }
                    assert_comes_again("meanwhile", &answer);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = |kes: &TestKes| kes.faults().calls("generate") + kes.faults().calls("decrypt");
        let before = asked(&kes);
        // One shared call a second for each of the two keys, and its tries.
        assert!(before < 60, "{outage:?}: {before} calls during the outage");
        outage.end(&mut kes).await;
        let all = tokio::time::timeout(CEILING, async {
            while clients.join_next().await.transpose().unwrap().is_some() {}
        });
        assert!(all.await.is_ok(), "{outage:?}: no recovery");
        let after = asked(&kes) - before;
        // To look at the external key, to open the old data key, and to make and open the new one; each twice at most.
        assert!(after <= 8, "{outage:?}: {after} calls for two keys");
    }
}

/// Locking: with the key store sealed, keys that are in memory serve for their grace and no longer.
#[tokio::test]
async fn a_sealed_key_store_locks_objects_and_an_unsealed_one_opens_them() {
    let kes = key_service().await;
    let stack = start(&kes, NO_GRACE).await;
    stack.put("locked", b"content").await;
    kes.faults().store_down(true);
    until("locked for reads", async || stack.get("locked").await.status != 200).await;
    for _ in 0..5 {
        assert_comes_again("read", &stack.get("locked").await);
        assert_comes_again("head", &stack.head("locked").await);
        assert_comes_again("write", &put(&stack.proxy, BUCKET, "locked", b"x").await);
        assert_comes_again("write", &put(&stack.proxy, BUCKET, "new", b"x").await);
    }
    assert_eq!(stack.store.keys(BUCKET), ["locked"]);
    assert!(!is_ready(&stack.services));
    kes.faults().store_down(false);
    until("unlocked", async || stack.get("locked").await.text() == "content").await;
    until("writes", async || put(&stack.proxy, BUCKET, "new", b"x").await.status == 200).await;
}

/// A policy can allow making data keys and not opening them: what is written then could be read by nobody.
#[tokio::test]
async fn nothing_is_written_under_a_key_that_makes_and_does_not_open() {
    const DENIED: Fault = Fault::Status(403, "not authorized: insufficient permissions");
    let kes = key_service().await;
    kes.create_key("write-only");
    let stack = start(&kes, support::CALM).await;
    kes.faults().inject("/v1/key/decrypt/write-only", DENIED, EVER);
    let named = |target: &str| {
        Call::new("PUT", target)
            .header("x-amz-server-side-encryption", "aws:kms")
            .header("x-amz-server-side-encryption-aws-kms-key-id", "write-only")
    };
    let one = named(&format!("/{BUCKET}/one")).body(b"x");
    let per_object = one.clone().header("x-amz-server-side-encryption-bucket-key-enabled", "false");
    let upload = Call { method: "POST", ..named(&format!("/{BUCKET}/one?uploads=")) };
    let copy = named(&format!("/{BUCKET}/one")).header("x-amz-copy-source", format!("/{BUCKET}/there"));
    let rule = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
                <KMSMasterKeyID>write-only</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    let rule = Call::new("PUT", format!("/{BUCKET}?encryption=")).body(rule.as_bytes());
    stack.put("there", b"content").await;
    for call in [&one, &per_object, &upload, &copy, &rule] {
        let refused = stack.proxy.send(call.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "AccessDenied"), "{}", refused.text());
    }
    assert_eq!(stack.store.keys(BUCKET), ["there"]);
    assert_eq!(stack.proxy.send(Call::new("GET", format!("/{BUCKET}?encryption="))).await.status, 404);

    // The deployment's own key is nobody's choice, and a fresh replica is not ready with it.
    kes.faults().inject("/v1/key/decrypt/", DENIED, EVER);
    let (fresh, services) = stack.replica(client_of(&kes), WATCHED).await;
    assert_comes_again("write", &put(&fresh, BUCKET, "new", b"x").await);
    assert!(!is_ready(&services));
    assert_eq!(stack.store.keys(BUCKET), ["there"]);
    kes.faults().clear();
    until("ready", async || is_ready(&services)).await;
    until("writes", async || put(&fresh, BUCKET, "new", b"x").await.status == 200).await;
    // The last refusal is shared for a moment.
    until("the other key", async || stack.proxy.send(one.clone()).await.status == 200).await;
    assert_eq!(get(&fresh, "one").await.text(), "x");
}

/// Erasure: without the key nothing opens, here or elsewhere, and it is never the object that is called broken.
#[tokio::test]
async fn a_deleted_key_takes_its_objects_with_it() {
    let kes = key_service().await;
    kes.create_key("spare-key");
    let stack = start(&kes, WATCHED).await;
    stack.put("erased", b"content").await;
    let kms = |key: &str| {
        Call::new("PUT", format!("/{BUCKET}/{key}"))
            .header("x-amz-server-side-encryption", "aws:kms")
            .header("x-amz-server-side-encryption-aws-kms-key-id", "spare-key")
            .body(b"spared")
    };
    assert_eq!(stack.proxy.send(kms("spared")).await.status, 200);
    let (fresh, fresh_services) = stack.replica(client_of(&kes), WATCHED).await;
    kes.delete_key("test-key");
    // The fresh one has none of its data keys, the running one has all of them.
    assert_comes_again("fresh", &get(&fresh, "erased").await);
    until("the running one stops", async || stack.get("erased").await.status != 200).await;
    for client in [&stack.proxy, &fresh] {
        for _ in 0..5 {
            assert_comes_again("read", &get(client, "erased").await);
            assert_comes_again("write", &put(client, BUCKET, "new", b"x").await);
        }
        assert_eq!(get(client, "spared").await.text(), "spared", "another key's objects stay");
        assert_eq!(client.send(kms("spared-too")).await.status, 200);
    }
    for services in [&stack.services, &fresh_services] {
        until("not ready", async || !is_ready(services)).await;
    }
    // Nor does it come back with another key of its name.
    kes.create_key("test-key");
    until("writes", async || put(&stack.proxy, BUCKET, "new", b"x").await.status == 200).await;
    for client in [&stack.proxy, &fresh] {
        until("told", async || get(client, "erased").await.status == 500).await;
    }
}

/// Envelopes as a storage can make them up, each with another sealed key.
#[tokio::test]
async fn planted_envelopes_do_not_flood_the_key_service() {
    let kes = key_service().await;
    let stack = start(&kes, support::CALM).await;
    stack.put("good", b"content").await;
    let good = stack.store.stored(BUCKET, "good").unwrap();
    let envelope = object_format::Envelope::parse(good.header(ENVELOPE).unwrap()).unwrap();
    const PLANTED: usize = 600;
    for number in 0..PLANTED {
        let mut header = envelope.header().clone();
        header.sealed_key = random(number as u64 + 1, header.sealed_key.len());
        let call = Call::new("PUT", format!("/{BUCKET}/planted-{number}"))
            .header(ENVELOPE, forged(header, &format!("planted-{number}")))
            .body(good.body.clone());
        assert_eq!(stack.backend.send(call).await.status, 200);
    }
    let before = kes.faults().calls("decrypt");
    let mut readers = JoinSet::new();
    for number in 0..PLANTED {
        let client = stack.proxy.clone();
        readers.spawn(async move { get(&client, &format!("planted-{number}")).await });
        if number % 50 == 0 {
            assert_eq!(stack.get("good").await.text(), "content", "what is known serves on");
        }
    }
    let answers = readers.join_all().await;
    let told = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(told(500) + told(503), PLANTED, "{answers:?}");
    let asked = kes.faults().calls("decrypt") - before;
    assert_eq!(asked, told(500) as u64, "asked about and refused, or not asked about");
    // Fifty come for free, and ten a second after that.
    assert!(asked < PLANTED as u64 / 2, "{asked} calls");
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        assert_comes_again("planted", answer);
        assert_eq!(answer.code(), "SlowDown");
    }
    assert_eq!(stack.get("good").await.text(), "content");
    assert_eq!(put(&stack.proxy, "other", "k", b"x").await.status, 200, "other buckets are not held up");
}

const ENVELOPE: &str = "x-amz-meta-s3cloak";

/// An envelope of good form under a data key that the key service never made.
fn forged(header: object_format::EnvelopeHeader, key: &str) -> String {
    use object_format::{BucketKey, KeyRef, ObjectName, ObjectSecrets};
    let mut random = s3cloak::keys::random::SystemRandom;
    let (secrets, own) = (ObjectSecrets::multipart(&mut random), BucketKey::new([7; 32].into()));
    let header = object_format::EnvelopeHeader { kind: object_format::Kind::Multipart, ..header };
    let name = ObjectName { binding: BUCKET, key: key.as_bytes() };
    let envelope =
        object_format::Envelope::rewrap(&secrets, header, KeyRef::Bucket(&own), &name, &mut random);
    envelope.unwrap().to_value()
}
