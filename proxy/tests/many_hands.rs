//! Writers, copies, uploads in parts, changes of keys and deletes on the same few keys, through two replicas at once: whatever
//! stands there is whole, and one of the values that were written.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kms_client::KeyService as _;
use kms_client::local::LocalKeys;
use support::commands::command;
use support::uploads::{MIN, complete, create, kept, list, part_copy, s3_etag, stored};
use support::{Answer, BUCKET, Call, Client, Options, Stack, md5_hex, random};

const KEYS: usize = 3;
const ROUNDS: usize = 60;
const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";

/// Everything that was ever written, under the ETag that shows it.
#[derive(Default)]
struct Written(Mutex<HashMap<String, Vec<u8>>>);

impl Written {
    /// Notes a value before it is sent.
    fn note(&self, etag: String, value: Vec<u8>) {
        self.0.lock().unwrap().insert(etag, value);
    }

    fn check(&self, key: &str, got: &Answer) {
        let etag = got.header("etag").unwrap();
        let all = self.0.lock().unwrap();
        let value = all.get(etag).unwrap_or_else(|| panic!("{key} has the ETag {etag}, which nobody wrote"));
        assert!(got.complete && got.body == *value, "{key} holds something else than {etag}");
    }
}

struct Hands {
    replicas: [Client; 2],
    config: PathBuf,
    written: Written,
}

fn key(at: usize) -> String {
    format!("k{}", at % KEYS)
}

fn key_id(round: usize) -> &'static str {
    if round.is_multiple_of(2) { "second" } else { "test-key" }
}

impl Hands {
    fn proxy(&self, round: usize) -> &Client {
        &self.replicas[round / 2 % 2]
    }

    async fn send(&self, round: usize, call: Call) -> Answer {
        let answer = self.proxy(round).send(call).await;
        // Replaced all the time, or not there just now; never broken.
        assert!(matches!(answer.status, 200 | 204 | 404 | 503), "{} {}", answer.status, answer.text());
        answer
    }

    async fn write(&self, writer: usize, round: usize) {
        let size = [0, 30, 70_000, 1_200_000][round % 4];
        let value = random((writer * 1000 + round) as u64, size);
        self.written.note(format!("\"{}\"", md5_hex(&value)), value.clone());
        let call = Call::new("PUT", format!("/{BUCKET}/{}", key(writer + round))).body(value);
        assert_eq!(self.send(round, call).await.status, 200);
    }

    /// A part that is sent, and one that is a range of whatever stands at a key.
    async fn write_parts(&self, round: usize) {
        let (proxy, key) = (self.proxy(round), key(round));
        let id = create(proxy, &key, &vec![]).await;
        let first = random(90_000 + round as u64, MIN);
        let mut tags = vec![(1, stored(proxy, &key, &id, 1, &first).await)];
        let mut parts = vec![first];
        let range = vec![("x-amz-copy-source-range", "bytes=3-29".to_owned())];
        // Its bytes are told by the part alone: what it was taken of may be another object by now.
        let source = format!("{BUCKET}/{}", self::key(round + 1));
        let answer = part_copy(proxy, &key, &id, 2, &source, &range).await;
        assert!(matches!(answer.status, 200 | 400 | 404 | 503), "{}", answer.text());
        if answer.status == 200 {
            let tag = answer.element("ETag").replace("&quot;", "\"");
            let all = self.written.0.lock().unwrap();
            let same = all
                .values()
                .find(|value| value.len() > 29 && format!("\"{}\"", md5_hex(&value[3..30])) == tag);
            parts.push(same.expect("a part of an object that nobody wrote")[3..30].to_vec());
            tags.push((2, tag));
        }
        let whole = parts.concat();
        self.written.note(s3_etag(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()), whole);
        let done = complete(proxy, &key, &id, &tags).await;
        assert_eq!(done.status, 200, "{} {}", list(&tags), done.text());
        // Said again to the other replica, it is the same object, or one that was replaced since.
        let again = complete(self.proxy(round + 2), &key, &id, &tags).await;
        assert!(matches!(again.status, 200 | 404), "{}", again.text());
    }

    async fn copy(&self, round: usize, from: &str, to: &str, to_key: Option<&'static str>) {
        let call = Call::new("PUT", format!("/{BUCKET}/{to}"))
            .header("x-amz-copy-source", format!("{BUCKET}/{from}"));
        let call = match to_key {
            Some(id) => call.header(SSE, "aws:kms").header(KEY_ID, id),
            None => call,
        };
        self.send(round, call).await;
    }

    async fn update(&self, round: usize, key: &str) {
        let document = format!(
            "<ObjectEncryption><SSE-KMS><KMSKeyArn>{}</KMSKeyArn></SSE-KMS></ObjectEncryption>",
            key_id(round)
        );
        self.send(round, Call::new("PUT", format!("/{BUCKET}/{key}?encryption")).body(document)).await;
    }

    /// The whole bucket, by the command: what changes under its hands is told, and nothing is found broken.
    async fn rewrap(&self, round: usize) {
        let key = key_id(round / 20);
        let (_, text) = command("rewrap", &self.config, &["s3://photos", "--key", key]).await;
        assert!(text.contains("objects\n") && !text.contains("tampered"), "{text}");
    }

    async fn read(&self, round: usize, key: &str) {
        let got = self.send(round, Call::new("GET", format!("/{BUCKET}/{key}"))).await;
        if got.status == 200 {
            self.written.check(key, &got);
        }
    }

    async fn work(&self, hand: usize) {
        for round in 0..ROUNDS {
            let (here, there) = (key(hand + round), key(hand + round * 2 + 1));
            match hand {
                0..3 => self.write(hand, round).await,
                3 if here != there => self.copy(round, &here, &there, None).await,
                3 | 4 => self.copy(round, &here, &here, Some(key_id(round))).await,
                5 => self.update(round, &here).await,
                6 if round % 5 == 0 => {
                    self.send(round, Call::new("DELETE", format!("/{BUCKET}/{here}"))).await;
                }
                7 if round % 15 == 0 => self.write_parts(round).await,
                8 if round % 20 == 0 => self.rewrap(round).await,
                _ => self.read(round, &here).await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_many_hands_every_object_stays_whole() {
    many_hands(Stack::start().await).await;
}

/// On storage that would change an object in place where it is copied onto itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_so_it_does_where_copies_onto_itself_are_not_one_step() {
    let backend = "    profile: { whole_self_copies: false }";
    many_hands(Stack::with(Options { backend, ..Options::default() }).await).await;
}

async fn many_hands(stack: Stack) {
    let keys = LocalKeys::open(stack.key_folder()).unwrap();
    keys.create(&kms_client::KeyName::new("second").unwrap()).await.unwrap();
    let (other, _services) = stack.replica_over(stack.store.address()).await;
    let hands = Arc::new(Hands {
        replicas: [stack.proxy.clone(), other],
        config: stack.config_file(),
        written: Written::default(),
    });
    let at_work: Vec<_> = (0..9)
        .map(|hand| {
            let hands = hands.clone();
            tokio::spawn(async move { hands.work(hand).await })
        })
        .collect();
    for hand in at_work {
        hand.await.unwrap();
    }
    assert_eq!(kept(&stack), [""; 0], "no upload is left");
    // One that has seen nothing of all this.
    let (fresh, _services) = stack.replica_over(stack.store.address()).await;
    let mut standing = 0;
    for at in 0..KEYS {
        for proxy in [&hands.replicas[0], &hands.replicas[1], &fresh] {
            let got = proxy.send(Call::new("GET", format!("/{BUCKET}/{}", key(at)))).await;
            assert!(matches!(got.status, 200 | 404), "{}", got.text());
            if got.status == 200 {
                standing += 1;
                hands.written.check(&key(at), &got);
            }
        }
    }
    let listed = fresh.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await.text();
    assert_eq!(listed.matches("<Contents>").count() * 3, standing, "{listed}");
    let (ok, text) = command("verify", &hands.config, &["s3://photos"]).await;
    assert!(ok, "{text}");
}
