//! Calls to the key service grow with data keys, not with objects.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kms_client::KeyName;
use kms_client::kes::{ApiKey, Kes, KesConfig, KesIdentity};
use kms_client::testserver::TestKes;
use support::client::read_answer;
use support::{Answer, BUCKET, Call, Client, Options, Stack, random, serve};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const OBJECTS: usize = 10_000;
const CONNECTIONS: usize = 20;

fn client_of(kes: &TestKes) -> Arc<Kes> {
    let config = KesConfig {
        endpoints: vec![kes.endpoint()],
        identity: KesIdentity::ApiKey(ApiKey::parse(kes.api_key()).unwrap()),
        ca: Some(kes.ca_pem().as_bytes().to_vec()),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_puts_and_gets_cost_at_most_ten_key_calls() {
    let kes = TestKes::start().await.unwrap();
    kes.create_key("test-key");
    let keys = client_of(&kes);
    let options = Options {
        keys: Some(keys.clone()),
        store: Some(|config| config.journal = false),
        ..Options::default()
    };
    let stack = Stack::with(options).await;
    // Reads go through another replica, which has seen none of the data keys.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reader = Client { address: listener.local_addr().unwrap(), ..stack.proxy.clone() };
    let _replica = serve(stack.services.config.clone(), client_of(&kes), listener).await;

    // Each start has tried the default key once.
    let started = kes.faults().calls("generate");
    each(
        &stack.proxy,
        |object| Call::new("PUT", format!("/{BUCKET}/{object:05}")).body(body_of(object)),
        |object, answer| assert_eq!(answer.status, 200, "{object}: {}", answer.text()),
    )
    .await;
    assert_eq!(kes.faults().calls("generate") - started, 1, "one data key for all objects of a bucket");
    each(
        &reader,
        |object| Call::new("GET", format!("/{BUCKET}/{object:05}")),
        |object, answer| {
            assert_eq!(answer.status, 200, "{object}: {}", answer.text());
            assert!(answer.body == body_of(object), "{object}");
        },
    )
    .await;
    assert!(
        kes.faults().calls("decrypt") >= 1,
        "the replica can only have the data key from the key service"
    );
    assert!(kes.faults().total() <= 10, "{} calls", kes.faults().total());

    // A key that the service does not have is asked for, so the count is of what goes over the wire.
    let before = kes.faults().total();
    assert!(kms_client::KeyService::describe(&*keys, &KeyName::new("nobody").unwrap()).await.is_err());
    assert_eq!(kes.faults().total(), before + 1);
}
