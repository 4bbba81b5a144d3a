//! Calls to the key service grow with data keys, not with objects.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kms_client::KeyName;
use kms_client::kes::{ApiKey, Ca, Kes, KesConfig, KesIdentity};
use kms_client::testserver::{Fault, TestKes};
use support::client::read_answer;
use support::{Answer, BUCKET, Call, Client, Options, Stack, random};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const OBJECTS: usize = 10_000;
const BUCKETS: usize = 10;
const CONNECTIONS: usize = 20;
const AT_ONCE: usize = 1000;

fn client_of(kes: &TestKes) -> Arc<Kes> {
    let config = KesConfig {
        endpoints: vec![kes.endpoint()],
        identity: KesIdentity::ApiKey(ApiKey::parse(kes.api_key()).unwrap()),
        ca: Some(Ca::Pem(kes.ca_pem().as_bytes().to_vec())),
        timeout: Duration::from_secs(20),
    };
    Arc::new(Kes::new(config).unwrap())
}

fn body_of(object: usize) -> Vec<u8> {
    random(object as u64 + 1, 48)
}

/// One request for each object, on kept connections.
async fn each(client: &Client, call: fn(usize) -> Call, check: fn(usize, &Answer)) {
    let mut workers = JoinSet::new();
    for worker in 0..CONNECTIONS {
        let client = client.clone();
        workers.spawn(async move {
            let mut tcp = TcpStream::connect(client.address).await.unwrap();
            for object in (worker..OBJECTS).step_by(CONNECTIONS) {
                tcp.write_all(&client.wire(&call(object))).await.unwrap();
                check(object, &read_answer(&mut tcp, false).await);
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
}

/// A bucket for each tenth of the objects.
fn bucket_of(object: usize) -> String {
    format!("bucket-{}", object % BUCKETS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_puts_and_gets_over_ten_buckets_cost_at_most_ten_key_calls_a_bucket() {
    let kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    let keys = client_of(&kes);
    let options = Options {
        keys: Some(keys.clone()),
        store: Some(|config| config.journal = false),
        ..Options::default()
    };
    let stack = Stack::with(options).await;
    for bucket in 0..BUCKETS {
        stack.store.create_bucket(&bucket_of(bucket)).unwrap();
    }
    // Reads go through another replica, which has seen none of the data keys.
    let (reader, _services) = stack.replica(client_of(&kes), support::CALM).await;

    // Each start has tried the default key once.
    let started = kes.faults().calls("generate");
    each(
        &stack.proxy,
        |object| Call::new("PUT", format!("/{}/{object:05}", bucket_of(object))).body(body_of(object)),
        |object, answer| assert_eq!(answer.status, 200, "{object}: {}", answer.text()),
    )
    .await;
    let generated = kes.faults().calls("generate") - started;
    assert_eq!(generated, BUCKETS as u64, "one data key for all objects of a bucket");
    each(
        &reader,
        |object| Call::new("GET", format!("/{}/{object:05}", bucket_of(object))),
        |object, answer| {
            assert_eq!(answer.status, 200, "{object}: {}", answer.text());
            assert!(answer.body == body_of(object), "{object}");
        },
    )
    .await;
    let opened = kes.faults().calls("decrypt");
    // On a machine that is busy elsewhere a call may outlast its deadline, and is made again.
    assert!(opened >= BUCKETS as u64, "the replica can only have the data keys from the key service");
    assert!(kes.faults().total() <= 10 * BUCKETS as u64, "{} calls", kes.faults().total());

    // A key that the service does not have is asked for, so the count is of what goes over the wire.
    let before = kes.faults().total();
    assert!(kms_client::KeyService::describe(&*keys, &KeyName::new("nobody").unwrap()).await.is_err());
    assert_eq!(kes.faults().total(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_on_a_cold_key_are_one_call() {
    let kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    // A thousand connections to the storage at once take their time on a machine that is busy elsewhere.
    let backend = "    timeouts: { connect: 1m }";
    let stack = Stack::with(Options { keys: Some(client_of(&kes)), backend, ..Options::default() }).await;
    stack.put("there", &body_of(1)).await;
    let (cold, _services) = stack.replica(client_of(&kes), support::CALM).await;
    stack.store.create_bucket(&bucket_of(0)).unwrap();
    for (verb, generated, call) in [
        ("decrypt", 0, Call::new("GET", format!("/{BUCKET}/there"))),
        ("generate", 1, Call::new("PUT", format!("/{}/there", bucket_of(0))).body(body_of(1))),
    ] {
        let counted = || (kes.faults().calls("generate"), kes.faults().calls("decrypt"));
        let before = counted();
        // Nobody has the key before all of them ask for it, unless the machine is very busy.
        kes.faults().inject(&format!("/v1/key/{verb}/"), Fault::Slow(Duration::from_secs(4)), usize::MAX);
        let mut requests = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (cold, call) = (cold.clone(), call.clone());
            requests.spawn(async move {
                let mut tcp = TcpStream::connect(cold.address).await.unwrap();
                tcp.write_all(&cold.wire(&call)).await.unwrap();
                read_answer(&mut tcp, false).await
            });
        }
        let answers = requests.join_all().await;
        let bad: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
        assert!(bad.is_empty(), "{verb}: {} such as {}", bad.len(), bad[0].text());
        // A data key to write with is made once, and opened once before anything is sealed under it.
        let after = counted();
        assert_eq!((after.0 - before.0, after.1 - before.1), (generated, 1), "{verb}");
        kes.faults().clear();
    }
}
