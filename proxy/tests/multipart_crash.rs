//! Each request of a multipart upload, broken off at each of its calls to the backend in turn: the call is lost, or its
//! answer is, and the replica gets no further or just this once. Then the client tries again at another replica. What
//! stands is whole and right, or is not there.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use s3cloak::uploads::Collector;
use support::relay::{Act, Gate, Relay};
use support::uploads::{
    MIN, Tags, abort, between, complete, create, initiate, is_under_way, kept, part, s3_etag, stored,
};
use support::{Answer, BUCKET, Call, Client, Stack, random};
use time::OffsetDateTime;

/// How a replica is cut off from the backend.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// From the chosen call on nothing gets through, as after a crash before it.
    Before,
    /// The chosen call gets through and its answer does not, nor does anything after it: a crash behind it.
    After,
    /// Only the chosen call is lost, with its repetition over a fresh connection.
    Once,
    /// Only its answer is lost, with that of its repetition.
    AnswerOnce,
}

const CUTS: [Cut; 4] = [Cut::Before, Cut::After, Cut::Once, Cut::AnswerOnce];

/// Two replicas, one of them over a relay.
struct Pair {
    stack: Stack,
    relay: Relay,
    shaky: Client,
}

impl Pair {
    async fn new() -> Self {
        let stack = Stack::start().await;
        let relay = Relay::to(stack.store.address()).await;
        let (shaky, _) = stack.replica_over(relay.address).await;
        Self { stack, relay, shaky }
    }

    /// Cuts at the call of that number from now on; tells whether it came to that.
    fn cut(&self, at: usize, cut: Cut) -> Arc<AtomicBool> {
        let came = Arc::new(AtomicBool::new(false));
        let (mut calls, mut chosen, told) = (0, None, came.clone());
        self.relay.run(move |method, target| {
            let call = calls;
            calls += 1;
            if call == at {
                told.store(true, Ordering::SeqCst);
                chosen = Some((method.clone(), target.to_owned()));
            }
            let again = chosen.as_ref().is_some_and(|(m, t)| m == method && t == target) && call <= at + 1;
            match cut {
                Cut::Before if call >= at => Act::Lose,
                Cut::After if call == at => Act::LoseAnswer,
                Cut::After if call > at => Act::Lose,
                Cut::Once if again => Act::Lose,
                Cut::AnswerOnce if again => Act::LoseAnswer,
                _ => Act::Pass,
            }
        });
        came
    }

    fn heal(&self) {
        self.relay.run(|_, _| Act::Pass);
    }

    fn good(&self) -> &Client {
        &self.stack.proxy
    }

    /// What stands at a key is nothing, or this.
    async fn whole_or_absent(&self, key: &str, whole: &[&[u8]], note: &str) -> bool {
        let got = self.stack.get(key).await;
        if got.status == 404 {
            return false;
        }
        assert_eq!(got.status, 200, "{note}: {}", got.text());
        assert!(got.complete && got.body == whole.concat(), "{note}: other bytes");
        assert_eq!(got.header("etag"), Some(s3_etag(whole).as_str()), "{note}");
        true
    }

    async fn collect(&self) {
        let services = &self.stack.services;
        let collector = Collector {
            keyring: &services.keyring,
            uploads: &services.uploads,
            backend: services.backends.get("default").unwrap(),
            min_age: Duration::ZERO,
            now: OffsetDateTime::now_utc(),
            dry_run: false,
        };
        collector.run(|_| ()).await.unwrap();
    }
}

/// Runs `step` with a cut at its first call, its second, and so on until it needs no more; how many it needed.
async fn at_each_call(pair: &Pair, cut: Cut, step: impl AsyncFn(usize, String) -> bool) -> usize {
    for at in 0..60 {
        if !step(at, format!("{cut:?} at call {at}")).await {
            pair.collect().await;
            return at;
        }
    }
    panic!("it never came to an end");
}

#[tokio::test]
async fn an_upload_begins_or_does_not() {
    let pair = Pair::new().await;
    for cut in CUTS {
        let calls = at_each_call(&pair, cut, async |at, note: String| {
            let key = format!("k{at}");
            let came = pair.cut(at, cut);
            let first = initiate(&pair.shaky, &key, &vec![]).await;
            pair.heal();
            assert!(came.load(Ordering::SeqCst) || first.status == 200, "{note}: {}", first.text());
            // Whoever was told an id can use it; whoever was not tries again.
            let id = if first.status == 200 {
                between(&first.text(), "UploadId")
            } else {
                assert!(first.status >= 500 || first.status == 0, "{note}: {}", first.text());
                create(pair.good(), &key, &vec![]).await
            };
            let tag = stored(pair.good(), &key, &id, 1, b"hello").await;
            let done = complete(pair.good(), &key, &id, &[(1, tag)]).await;
            assert_eq!(done.status, 200, "{note}: {}", done.text());
            assert!(pair.whole_or_absent(&key, &[b"hello"], &note).await, "{note}");
            came.load(Ordering::SeqCst)
        })
        .await;
        assert!(calls >= 2, "{cut:?}: {calls}");
        // Of some the backend knows and no client does, as on S3. Once they end there, nothing is left here.
        let uploads = pair.stack.backend.send(Call::new("GET", format!("/{BUCKET}?uploads"))).await.text();
        for upload in uploads.split("<Upload>").skip(1) {
            let (key, id) = (between(upload, "Key"), between(upload, "UploadId"));
            assert_eq!(abort(&pair.stack.backend, &key, &id).await.status, 204);
        }
        pair.collect().await;
        assert_eq!(kept(&pair.stack), [""; 0], "{cut:?}");
    }
}

#[tokio::test]
async fn a_part_is_there_or_is_not() {
    let pair = Pair::new().await;
    for (number, size) in [(1, MIN + 7), (2, 1000), (10_000, MIN)] {
        let body = random(u64::from(number), size);
        for cut in CUTS {
            let calls = at_each_call(&pair, cut, async |at, note: String| {
                let note = format!("part {number}, {note}");
                let id = create(pair.good(), "k", &vec![]).await;
                let came = pair.cut(at, cut);
                let first = part(&pair.shaky, "k", &id, number, &body, &vec![]).await;
                pair.heal();
                let told = first.status == 200;
                assert!(came.load(Ordering::SeqCst) || told, "{note}: {}", first.text());
                let tag = format!("\"{}\"", support::md5_hex(&body));
                // Told or not, its bytes count if its record is there; then they are right.
                let early = complete(pair.good(), "k", &id, &[(number, tag.clone())]).await;
                assert!(!told || early.status == 200, "{note}: {}", early.text());
                if early.status != 200 {
                    assert_eq!((early.status, early.code()), (400, "InvalidPart".to_owned()), "{note}");
                    assert_eq!(stored(pair.good(), "k", &id, number, &body).await, tag, "{note}");
                    let done = complete(pair.good(), "k", &id, &[(number, tag)]).await;
                    assert_eq!(done.status, 200, "{note}: {}", done.text());
                }
                assert!(pair.whole_or_absent("k", &[&body], &note).await, "{note}");
                came.load(Ordering::SeqCst)
            })
            .await;
            assert!(calls >= 2, "{cut:?}: {calls}");
        }
    }
    pair.collect().await;
    assert_eq!(kept(&pair.stack), [""; 0]);
}

/// An upload of parts of these sizes, sent to the good replica.
async fn sent(pair: &Pair, key: &str, bodies: &[&[u8]]) -> (String, Tags) {
    let id = create(pair.good(), key, &vec![]).await;
    let mut tags = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        tags.push((number, stored(pair.good(), key, &id, number, body).await));
    }
    (id, tags)
}

#[tokio::test]
async fn an_object_is_whole_or_absent() {
    let pair = Pair::new().await;
    let (large, small) = (random(1, MIN), random(2, 777));
    for bodies in [vec![&large[..], &small], vec![&large]] {
        for cut in CUTS {
            let calls = at_each_call(&pair, cut, async |at, note: String| {
                let note = format!("{} parts, {note}", bodies.len());
                let key = format!("k{at}");
                let gone = Call::new("DELETE", format!("/{BUCKET}/{key}"));
                assert_eq!(pair.good().send(gone).await.status, 204);
                let (id, tags) = sent(&pair, &key, &bodies).await;
                let came = pair.cut(at, cut);
                let first = complete(&pair.shaky, &key, &id, &tags).await;
                pair.heal();
                let there = pair.whole_or_absent(&key, &bodies, &note).await;
                if first.status == 200 {
                    assert!(there, "{note}: told of an object that is not there");
                    assert_eq!(between(&first.text(), "ETag"), s3_etag(&bodies), "{note}");
                } else {
                    assert!(came.load(Ordering::SeqCst), "{note}: {}", first.text());
                    assert!(first.status >= 500 || first.status == 0, "{note}: {}", first.text());
                }
                // Twice: the second time nothing is kept of it any more.
                for _ in 0..2 {
                    let again = complete(pair.good(), &key, &id, &tags).await;
                    assert_eq!(again.status, 200, "{note}: {}", again.text());
                    assert_eq!(between(&again.text(), "ETag"), s3_etag(&bodies), "{note}");
                }
                assert!(pair.whole_or_absent(&key, &bodies, &note).await, "{note}");
                assert!(!is_under_way(&pair.stack, &key, &id).await, "{note}");
                came.load(Ordering::SeqCst)
            })
            .await;
            assert!(calls >= 6, "{cut:?}: {calls}");
        }
    }
    pair.collect().await;
    assert_eq!(kept(&pair.stack), [""; 0]);
}

#[tokio::test]
async fn an_abort_ends_the_upload() {
    let pair = Pair::new().await;
    let (large, small) = (random(1, MIN), random(2, 777));
    for cut in CUTS {
        let calls = at_each_call(&pair, cut, async |at, note: String| {
            let (id, tags) = sent(&pair, "k", &[&large, &small]).await;
            let came = pair.cut(at, cut);
            let first = abort(&pair.shaky, "k", &id).await;
            pair.heal();
            assert!(came.load(Ordering::SeqCst) || first.status == 204, "{note}: {}", first.text());
            let again = abort(pair.good(), "k", &id).await;
            // As on S3, where the first one was carried out.
            assert!(matches!(again.status, 204 | 404), "{note}: {}", again.text());
            assert!(!is_under_way(&pair.stack, "k", &id).await, "{note}");
            let late = complete(pair.good(), "k", &id, &tags).await;
            assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()), "{note}");
            assert!(!pair.whole_or_absent("k", &[], &note).await, "{note}");
            assert_eq!(kept(&pair.stack), [""; 0], "{note}");
            came.load(Ordering::SeqCst)
        })
        .await;
        assert!(calls >= 5, "{cut:?}: {calls}");
    }
}

/// What a Complete came to: the ETag of the object, or an error's code.
fn outcome(answer: &Answer) -> Result<String, String> {
    if answer.status == 200 { Ok(between(&answer.text(), "ETag")) } else { Err(answer.code()) }
}

#[tokio::test]
async fn completes_with_different_lists_agree_with_the_object() {
    let pair = Pair::new().await;
    let (a, b, c) = (random(1, MIN), random(2, MIN), random(3, 99));
    // The one over the relay waits at one of its calls until the other is through.
    let pauses: [(Method, &str, &str); 5] = [
        (Method::GET, "list-type=2", "the records"),
        (Method::GET, "/photos/k?uploadId=", "the backend's parts"),
        (Method::PUT, "partNumber=", "the trailer"),
        (Method::POST, "uploadId=", "completing"),
        (Method::GET, "/photos/k", "reading back"),
    ];
    for (method, target, note) in pauses {
        for (one, other) in
            [(vec![0, 1, 2], vec![0]), (vec![0], vec![0, 1, 2]), (vec![0], vec![1]), (vec![1, 2], vec![0, 1])]
        {
            let (id, tags) = sent(&pair, "k", &[&a, &b, &c]).await;
            let bodies = [&a[..], &b, &c];
            let pick = |which: &[usize]| -> Tags { which.iter().map(|at| tags[*at].clone()).collect() };
            let of = |which: &[usize]| s3_etag(&which.iter().map(|at| bodies[*at]).collect::<Vec<_>>());
            let gate = Gate::new();
            pair.relay.once(method.clone(), target, Act::Wait(gate.clone()));
            let (first, second) = (pick(&one), pick(&other));
            let (slow, quick) = tokio::join!(complete(&pair.shaky, "k", &id, &first), async {
                gate.arrival().await;
                let quick = complete(pair.good(), "k", &id, &second).await;
                gate.open();
                quick
            });
            let note = format!("{note}, {one:?} and {other:?}");
            let shown = stack_etag(&pair).await;
            let told = [(outcome(&slow), of(&one)), (outcome(&quick), of(&other))];
            for (outcome, expected) in &told {
                match outcome {
                    Ok(etag) => assert_eq!((etag, &shown), (expected, expected), "{note}"),
                    Err(code) => {
                        assert!(matches!(code.as_str(), "NoSuchUpload" | "InvalidPart"), "{note}: {code}")
                    }
                }
            }
            assert_eq!(told.iter().filter(|(outcome, _)| outcome.is_ok()).count(), 1, "{note}: {told:?}");
            let winner = if told[0].0.is_ok() { &one } else { &other };
            let whole: Vec<&[u8]> = winner.iter().map(|at| bodies[*at]).collect();
            assert!(pair.whole_or_absent("k", &whole, &note).await);
            pair.collect().await;
            assert_eq!(kept(&pair.stack), [""; 0], "{note}");
        }
    }
}

async fn stack_etag(pair: &Pair) -> String {
    pair.stack.head("k").await.header("etag").unwrap().to_owned()
}

const DONE: &str = "<CompleteMultipartUploadResult><ETag>&quot;0123456789abcdef0123456789abcdef-2&quot;</ETag>\
                    </CompleteMultipartUploadResult>";

const GONE: &str = "<Error><Code>NoSuchUpload</Code></Error>";

#[tokio::test]
async fn a_complete_that_comes_second_waits_for_the_object_of_the_first() {
    let pair = Pair::new().await;
    let (id, tags) = sent(&pair, "k", &[b"small"]).await;
    // The storage has let go of the upload, and does not show the object yet.
    let (gone, absent) = (Gate::new(), Gate::new());
    let mut acts = vec![
        ("k", Act::Answer(absent.clone(), 404, "<Error><Code>NoSuchKey</Code></Error>")),
        ("k?uploadId=", Act::Answer(gone.clone(), 404, GONE)),
    ];
    pair.relay.run(move |method, target| {
        let next = acts.last().filter(|(key, _)| target.starts_with(&format!("/photos/{key}")));
        if *method == Method::GET && next.is_some() { acts.pop().unwrap().1 } else { Act::Pass }
    });
    let (second, first) = tokio::join!(complete(&pair.shaky, "k", &id, &tags), async {
        gone.arrival().await;
        gone.open();
        absent.arrival().await;
        absent.open();
        complete(pair.good(), "k", &id, &tags).await
    });
    assert_eq!((outcome(&first), outcome(&second)), (Ok(s3_etag(&[b"small"])), Ok(s3_etag(&[b"small"]))));
    assert!(pair.whole_or_absent("k", &[b"small"], "both").await);
}

#[tokio::test]
async fn a_200_is_believed_only_of_what_stands() {
    let pair = Pair::new().await;
    let (a, b) = (random(1, MIN), random(2, 99));
    // A storage that answers a second Complete with the first one's object.
    let (id, tags) = sent(&pair, "k", &[&a, &b]).await;
    let gate = Gate::new();
    pair.relay.once(Method::POST, "uploadId=", Act::Answer(gate.clone(), 200, DONE));
    let (slow, quick) = tokio::join!(complete(&pair.shaky, "k", &id, &tags[..1]), async {
        gate.arrival().await;
        let quick = complete(pair.good(), "k", &id, &tags).await;
        gate.open();
        quick
    });
    assert_eq!(outcome(&quick), Ok(s3_etag(&[&a, &b])));
    assert_eq!(outcome(&slow), Err("NoSuchUpload".to_owned()));
    assert!(pair.whole_or_absent("k", &[&a, &b], "the first one").await);

    // One that does not hold parts to their ETags, and so put other bytes together.
    let (id, tags) = sent(&pair, "spoiled", &[&a, &b]).await;
    let gate = Gate::new();
    pair.relay.once(Method::POST, "uploadId=", Act::Answer(gate.clone(), 200, DONE));
    let (slow, ()) = tokio::join!(complete(&pair.shaky, "spoiled", &id, &tags), async {
        gate.arrival().await;
        let listed = Call::new("GET", format!("/{BUCKET}/spoiled?uploadId={id}"));
        let tag = between(&pair.stack.backend.send(listed).await.text(), "ETag");
        let done = complete(&pair.stack.backend, "spoiled", &id, &[(1, tag)]).await;
        assert_eq!(done.status, 200, "{}", done.text());
        gate.open();
    });
    assert_eq!((slow.status, slow.code()), (500, "InternalError".to_owned()), "{}", slow.text());
    assert_eq!(pair.stack.get("spoiled").await.status, 500);

    // Another object written over it at once is no failure.
    let (id, tags) = sent(&pair, "over", &[&a, &b]).await;
    let gate = Gate::new();
    let mut act = Some(Act::Wait(gate.clone()));
    pair.relay.run(move |method, target| {
        let reads_back = *method == Method::GET && target == "/photos/over";
        if reads_back { act.take().unwrap_or(Act::Pass) } else { Act::Pass }
    });
    let (slow, ()) = tokio::join!(complete(&pair.shaky, "over", &id, &tags), async {
        gate.arrival().await;
        pair.stack.put("over", b"later").await;
        gate.open();
    });
    assert_eq!(outcome(&slow), Ok(s3_etag(&[&a, &b])));
    assert_eq!(pair.stack.get("over").await.body, b"later");
}

#[tokio::test]
async fn a_part_is_sent_again_while_its_upload_is_completed() {
    let pair = Pair::new().await;
    let (a, other, b) = (random(1, MIN), random(9, MIN + 1), random(2, 99));
    for target in ["partNumber=", "uploadId="] {
        let method = if target == "uploadId=" { Method::POST } else { Method::PUT };
        // The same bytes: another segment, the same ETag, and the request stays right.
        let (id, tags) = sent(&pair, "k", &[&a, &b]).await;
        let gate = Gate::new();
        pair.relay.once(method.clone(), target, Act::Wait(gate.clone()));
        let (done, again) = tokio::join!(complete(&pair.shaky, "k", &id, &tags), async {
            gate.arrival().await;
            let again = stored(pair.good(), "k", &id, 1, &a).await;
            gate.open();
            again
        });
        assert_eq!(again, tags[0].1);
        assert_eq!(outcome(&done), Ok(s3_etag(&[&a, &b])), "{target}");
        assert!(pair.whole_or_absent("k", &[&a, &b], target).await);

        // Other bytes: the listed part is no more.
        let (id, mut tags) = sent(&pair, "k2", &[&a, &b]).await;
        let gate = Gate::new();
        pair.relay.once(method.clone(), target, Act::Wait(gate.clone()));
        let (done, again) = tokio::join!(complete(&pair.shaky, "k2", &id, &tags), async {
            gate.arrival().await;
            let again = stored(pair.good(), "k2", &id, 1, &other).await;
            gate.open();
            again
        });
        assert_eq!(outcome(&done), Err("InvalidPart".to_owned()), "{target}");
        assert_eq!(pair.stack.get("k2").await.status, 404, "{target}");
        tags[0].1 = again;
        let done = complete(pair.good(), "k2", &id, &tags).await;
        assert_eq!(outcome(&done), Ok(s3_etag(&[&other, &b])), "{target}");
        let gone = Call::new("DELETE", format!("/{BUCKET}/k2"));
        assert_eq!(pair.good().send(gone).await.status, 204);
    }
    // Its bytes are there and its record is about to be: the Complete waits for it.
    let (id, tags) = sent(&pair, "late", &[&a, &b]).await;
    let gate = Gate::new();
    pair.relay.once(Method::PUT, "/parts/", Act::Wait(gate.clone()));
    let plain = vec![];
    let (sent_again, done) = tokio::join!(part(&pair.shaky, "late", &id, 1, &a, &plain), async {
        gate.arrival().await;
        let opener = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            gate.open();
        };
        tokio::join!(complete(pair.good(), "late", &id, &tags), opener).0
    });
    assert_eq!(sent_again.status, 200);
    assert_eq!(outcome(&done), Ok(s3_etag(&[&a, &b])));
}
