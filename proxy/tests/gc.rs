//! What is collected of uploads that have ended, and what never is: live, young, foreign, tampered, or not denied by the
//! backend. Over real HTTP, with a replica whose way to the store is scripted.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kms_client::local::LocalKeys;
use s3cloak::config::{Config, Surroundings, parse};
use s3cloak::demo::store::Fault;
use s3cloak::error::Result;
use s3cloak::s3::name::{BucketName, ObjectKey};
use s3cloak::services::Services;
use s3cloak::uploads::{Collector, Fate, Judged, Stray, Tally, UploadRef, Uploads, strays, sweep};
use support::relay::{Act, Gate, Relay};
use support::uploads::{MIN, SYSTEM, abort, between, complete, create, is_under_way, kept, s3_etag, stored};
use support::{Answer, BUCKET, Call, Client, Options, Stack, random};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What no configuration may say.
const SHORT: fn(&mut Config) = |config| {
    for backend in config.backends.values_mut() {
        backend.system.gc_min_age = Duration::from_millis(1);
    }
};

/// One look, at things of every age unless told otherwise.
struct Look {
    min_age: Duration,
    ahead: Duration,
    dry_run: bool,
}

const ALL: Look = Look { min_age: Duration::ZERO, ahead: Duration::ZERO, dry_run: false };

impl Look {
    async fn at(&self, services: &Services) -> Result<(Tally, Vec<Fate>)> {
        let collector = Collector {
            keyring: &services.keyring,
            uploads: &services.uploads,
            backend: services.backends.get("default").unwrap(),
            min_age: self.min_age,
            now: OffsetDateTime::now_utc() + self.ahead,
            dry_run: self.dry_run,
        };
        let mut fates = Vec::new();
        let tally = collector.run(|judged: &Judged| fates.push(judged.fate.clone())).await?;
        Ok((tally, fates))
    }
}

async fn collect(services: &Services) -> Vec<Fate> {
    ALL.at(services).await.unwrap().1
}

/// Ends an upload behind the proxy's back: all that is kept of it stays.
async fn end(stack: &Stack, key: &str, id: &str) {
    let call = Call::new("DELETE", format!("/{BUCKET}/{key}?uploadId={id}"));
    assert_eq!(stack.backend.send(call).await.status, 204);
}

/// An upload with a held part and one on the backend: four objects of ours.
async fn two_parts(stack: &Stack, key: &str) -> (String, [(u32, String); 2]) {
    let id = create(&stack.proxy, key, &vec![]).await;
    let large = stored(&stack.proxy, key, &id, 1, &random(1, MIN)).await;
    let small = stored(&stack.proxy, key, &id, 2, b"small").await;
    (id, [(1, large), (2, small)])
}

fn state(stack: &Stack) -> String {
    kept(stack).into_iter().find(|name| name.ends_with("/state")).unwrap()
}

#[tokio::test]
async fn what_an_ended_upload_left_is_collected() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    let all = kept(&stack);
    assert_eq!(all.len(), 4, "{all:?}");
    let dry = Look { dry_run: true, ..ALL };
    let (tally, fates) = dry.at(&stack.services).await.unwrap();
    assert_eq!(fates, [Fate::Ended(4)]);
    assert_eq!((tally.ended, tally.objects, kept(&stack)), (1, 4, all));
    assert_eq!(collect(&stack.services).await, [Fate::Ended(4)]);
    assert_eq!(kept(&stack), [""; 0]);
    assert_eq!(collect(&stack.services).await, []);
    // What was remembered of it went too.
    let late = support::uploads::part(&stack.proxy, "k", &id, 3, &random(1, MIN), &vec![]).await;
    assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn what_is_under_way_stays_whatever_its_age() {
    let stack = Stack::start().await;
    let (id, tags) = two_parts(&stack, "k").await;
    stack.put("other", b"x").await;
    for _ in 0..2 {
        assert_eq!(collect(&stack.services).await, [Fate::UnderWay]);
    }
    let done = complete(&stack.proxy, "k", &id, &tags).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(stack.get("k").await.body, [&random(1, MIN)[..], b"small"].concat());
    assert_eq!(stack.get("other").await.body, b"x");
}

#[tokio::test]
async fn what_is_young_stays_also_where_a_clock_is_wrong() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    let week = Look { min_age: 7 * DAY, ..ALL };
    assert_eq!(week.at(&stack.services).await.unwrap().1, [Fate::Young]);
    // Our own clock runs a month ahead; the storage's does not.
    let ahead = Look { min_age: 7 * DAY, ahead: 30 * DAY, ..ALL };
    assert_eq!(ahead.at(&stack.services).await.unwrap().1, [Fate::Young]);
    // And the other way round.
    let future = httpdate::fmt_http_date(std::time::SystemTime::now() + 30 * DAY);
    for _ in 0..2 {
        let headers = vec![("date".to_owned(), future.clone())];
        stack.store.faults().on(Method::GET, "list-type=2", Fault::Headers(headers));
    }
    assert_eq!(week.at(&stack.services).await.unwrap().1, [Fate::Young]);
    stack.store.faults().clear();
    // Our clock is behind: everything is of the future.
    let (id, state) = (id, state(&stack));
    assert!(stack.store.stored(SYSTEM, &state).is_some() && !id.is_empty());
    let collector = Collector {
        keyring: &stack.services.keyring,
        uploads: &stack.services.uploads,
        backend: stack.services.backends.get("default").unwrap(),
        min_age: Duration::ZERO,
        now: OffsetDateTime::now_utc() - DAY,
        dry_run: false,
    };
    assert_eq!(collector.run(|_| ()).await.unwrap(), Tally { young: 1, ..Tally::default() });
    assert_eq!(kept(&stack).len(), 4);
}

#[tokio::test]
async fn without_a_time_nothing_is_old() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    let names = kept(&stack);
    let listing = |time: &str| {
        let entries: String =
            names.iter().map(|name| format!("<Contents><Key>{name}</Key>{time}</Contents>")).collect();
        format!("<ListBucketResult>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>").into_bytes()
    };
    for time in ["", "<LastModified>yesterday</LastModified>"] {
        stack.store.faults().on(Method::GET, "list-type=2", Fault::Answer(200, vec![], listing(time)));
        assert_eq!(collect(&stack.services).await, [Fate::Young], "{time}");
    }
    assert_eq!(kept(&stack), names);
}

#[tokio::test]
async fn only_a_plain_denial_counts() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    let document = |code: &str| format!("<Error><Code>{code}</Code></Error>").into_bytes();
    for fault in [
        Fault::Status(500, "InternalError".to_owned()),
        Fault::Status(503, "SlowDown".to_owned()),
        Fault::Status(403, "AccessDenied".to_owned()),
        Fault::Status(404, "NoSuchKey".to_owned()),
        Fault::Status(400, "NoSuchUpload".to_owned()),
        Fault::Answer(404, vec![], b"<html>not here</html>".to_vec()),
        Fault::Answer(404, vec![], vec![]),
        Fault::Answer(500, vec![], document("NoSuchUpload")),
    ] {
        stack.store.faults().on(Method::GET, "max-parts=1", fault.clone());
        let fates = collect(&stack.services).await;
        assert!(matches!(fates[..], [Fate::Kept(_)]), "{fault:?}: {fates:?}");
    }
    // Twice, since a connection that stood idle is replaced.
    stack.store.faults().on(Method::GET, "max-parts=1", Fault::Reset);
    stack.store.faults().on(Method::GET, "max-parts=1", Fault::Reset);
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    stack.store.faults().on(Method::GET, "max-parts=1", Fault::Answer(200, vec![], document("NoSuchUpload")));
    assert_eq!(collect(&stack.services).await, [Fate::UnderWay]);
    assert_eq!((kept(&stack).len(), stack.store.faults().waiting()), (4, 0));
    assert_eq!(collect(&stack.services).await, [Fate::Ended(4)]);
}

#[tokio::test]
async fn a_bucket_that_its_own_clients_may_still_see_is_no_denial() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    let text = std::fs::read_to_string(stack.config_file()).unwrap();
    let theirs = "backend_keys: { default: { access_key: backend, secret_key: backend-secret } }\n    allow:";
    let around = Surroundings { variable: &|_| None, folder: std::path::Path::new("."), listens: true };
    let config = parse(&text.replacen("allow:", theirs, 1), "test.yaml", &around).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = Arc::new(LocalKeys::open(stack.key_folder()).unwrap());
    let services = support::serve(Arc::new(config), keys, listener).await;
    let fault = Fault::Status(404, "NoSuchBucket".to_owned());
    stack.store.faults().on(Method::GET, "max-parts=1", fault.clone());
    assert!(matches!(collect(&services).await[..], [Fate::Kept(_)]));
    stack.store.faults().on(Method::GET, "max-parts=1", fault);
    assert_eq!(collect(&stack.services).await, [Fate::Ended(4)]);
}

#[tokio::test]
async fn a_state_that_is_not_ours_stays() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    let (other, _) = two_parts(&stack, "other").await;
    end(&stack, "k", &id).await;
    end(&stack, "other", &other).await;
    let states: Vec<String> = kept(&stack).into_iter().filter(|name| name.ends_with("/state")).collect();
    let whole = stack.store.stored(SYSTEM, &states[0]).unwrap().body;
    // One byte changed in it, and another upload's in its place.
    let foreign = stack.store.stored(SYSTEM, &states[1]).unwrap().body;
    let flipped = |at: usize| {
        let mut body = whole.to_vec();
        body[at] ^= 1;
        body
    };
    let half = whole.len() / 2;
    for wrong in
        [flipped(0), flipped(half), flipped(whole.len() - 1), foreign.to_vec(), vec![], b"x".to_vec()]
    {
        stack.store.tamper(SYSTEM, &states[0], |object| object.body = wrong.clone()).unwrap();
        for dry_run in [true, false] {
            let (tally, _) = Look { dry_run, ..ALL }.at(&stack.services).await.unwrap();
            assert_eq!(tally.kept, 1, "{wrong:02x?}");
        }
        assert!(stack.store.stored(SYSTEM, &states[0]).is_some());
    }
    let text = stack.services.metrics.render(&[]);
    assert!(text.contains("\ns3cloak_tampered_total 12\n"), "{text}");
    // Nothing of it went, although it ended.
    let folder = states[0].strip_suffix("state").unwrap();
    assert_eq!(kept(&stack).iter().filter(|name| name.starts_with(folder)).count(), 4);
    stack.store.tamper(SYSTEM, &states[0], |object| object.body = whole.clone()).unwrap();
    assert_eq!(collect(&stack.services).await, [Fate::Ended(4)]);
}

#[tokio::test]
async fn a_part_record_that_is_not_ours_is_left_out_and_told() {
    let stack = Stack::start().await;
    let (id, tags) = two_parts(&stack, "k").await;
    let name = state(&stack).replace("/state", "/parts/00003/AAAA");
    assert_eq!(stack.backend.send(Call::new("PUT", format!("/{SYSTEM}/{name}"))).await.status, 200);
    let listed = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"))).await;
    assert_eq!((listed.status, listed.text().matches("<Part>").count()), (200, 2));
    assert!(stack.services.metrics.render(&[]).contains("\ns3cloak_tampered_total 1\n"));
    assert_eq!(complete(&stack.proxy, "k", &id, &tags).await.status, 200);
}

/// Storage that holds an object of before the proxy, which is copied in parts.
async fn with_legacy(plain: &[u8]) -> Stack {
    let stack = Stack::with(Options {
        buckets: Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }"),
        backend: "    limits: { put: 11MiB }",
        ..Options::default()
    })
    .await;
    let legacy = Call::new("PUT", format!("/{BUCKET}/legacy")).body(plain);
    assert_eq!(stack.backend.send(legacy).await.status, 200);
    stack
}

/// A copy in parts that fails in the middle, and whose upload cannot be ended then: what a crash leaves.
async fn broken_copy() -> Stack {
    let stack = with_legacy(&random(7, 12 << 20)).await;
    stack.store.faults().on(Method::PUT, "partNumber=2", Fault::Status(403, "AccessDenied".to_owned()));
    stack.store.faults().on(Method::DELETE, "uploadId", Fault::Status(503, "SlowDown".to_owned()));
    let copied = copy(&stack).await;
    assert_ne!(copied.status, 200, "{}", copied.text());
    assert_eq!(stack.store.faults().waiting(), 0);
    let names = kept(&stack);
    assert!(names.len() == 1 && names[0].ends_with("/own"), "{names:?}");
    assert_eq!(begun(&stack).await.len(), 1);
    stack
}

async fn copy(stack: &Stack) -> Answer {
    let call = Call::new("PUT", format!("/{BUCKET}/made"));
    stack.proxy.send(call.header("x-amz-copy-source", format!("{BUCKET}/legacy"))).await
}

/// Ids of the storage's uploads.
async fn begun(stack: &Stack) -> Vec<String> {
    let listed = stack.backend.send(Call::new("GET", format!("/{BUCKET}?uploads"))).await.text();
    listed.split("<UploadId>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_copy_whose_process_ended_is_ended() {
    let stack = broken_copy().await;
    let id = begun(&stack).await.remove(0);
    // It is nobody's to use, and no stray.
    let part = support::uploads::part(&stack.proxy, "made", &id, 1, b"x", &vec![]).await;
    assert_eq!((part.status, part.code()), (404, "NoSuchUpload".to_owned()));
    assert!(foreign(&stack, OffsetDateTime::now_utc() + DAY).await.is_empty());
    // It may still be made.
    let week = Look { min_age: 7 * DAY, ..ALL };
    assert_eq!(week.at(&stack.services).await.unwrap().1, [Fate::Young]);
    let dry = Look { dry_run: true, ..ALL };
    assert_eq!(dry.at(&stack.services).await.unwrap().1, [Fate::Abandoned(1)]);
    assert_eq!((kept(&stack).len(), begun(&stack).await.len()), (1, 1));
    // Neither asked about nor ended, it stays on record.
    stack.store.faults().on(Method::GET, "max-parts=1", Fault::Status(503, "SlowDown".to_owned()));
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    stack.store.faults().on(Method::DELETE, "uploadId", Fault::Status(403, "AccessDenied".to_owned()));
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    assert_eq!((kept(&stack).len(), begun(&stack).await.len(), stack.store.faults().waiting()), (1, 1, 0));
    let (tally, fates) = ALL.at(&stack.services).await.unwrap();
    assert_eq!((fates, tally.abandoned, tally.objects), (vec![Fate::Abandoned(1)], 1, 1));
    assert_eq!((kept(&stack).len(), begun(&stack).await.len()), (0, 0));
    // One that goes well leaves nothing.
    let copied = copy(&stack).await;
    assert!(copied.status == 200 && kept(&stack).is_empty(), "{}", copied.text());
    assert_eq!(stack.get("made").await.body, random(7, 12 << 20));
}

#[tokio::test]
async fn a_copy_that_runs_says_so_and_is_not_ended() {
    let plain = random(7, 12 << 20);
    let stack = with_legacy(&plain).await;
    let often = |services: &mut Services| {
        let uploads = Uploads::new(services.metrics.tamper_alarm());
        services.uploads = uploads.renewing_every(Duration::from_millis(10));
    };
    let (copying, collecting) =
        (Relay::to(stack.store.address()).await, Relay::to(stack.store.address()).await);
    let (client, _) = stack.changed_replica_over(copying.address, often).await;
    let (_, collector) = stack.replica_over(collecting.address).await;
    // What is judged is as it was; then the storage says that it has the upload, and the copy speaks up.
    let (part, renewal, asked) = (Gate::new(), Gate::new(), Gate::new());
    let (held, late, mut records) = (part.clone(), renewal.clone(), 0);
    copying.run(move |method, target| match *method {
        Method::PUT if target.contains("partNumber=2") => Act::Wait(held.clone()),
        Method::PUT if target.contains("/own") => {
            records += 1;
            if records == 1 { Act::Pass } else { Act::Wait(late.clone()) }
        }
        _ => Act::Pass,
    });
    collecting.once(Method::GET, "max-parts=1", Act::Wait(asked.clone()));
    let record = || {
        let names = kept(&stack);
        assert!(names.len() == 1 && names[0].ends_with("/own"), "{names:?}");
        stack.store.stored(SYSTEM, &names[0]).unwrap().body
    };
    let call = Call::new("PUT", format!("/{BUCKET}/made"));
    let (copied, ()) =
        tokio::join!(client.send(call.header("x-amz-copy-source", format!("{BUCKET}/legacy"))), async {
            part.arrival().await;
            renewal.arrival().await;
            let before = record();
            let (fates, ()) = tokio::join!(collect(&collector), async {
                asked.arrival().await;
                renewal.open();
                while record() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                asked.open();
            });
            assert_eq!(fates, [Fate::Young]);
            assert_eq!(begun(&stack).await.len(), 1);
            part.open();
        });
    assert_eq!(copied.status, 200, "{}", copied.text());
    assert_eq!(stack.get("made").await.body, plain);
    assert!(begun(&stack).await.is_empty());
}

#[tokio::test]
async fn a_record_of_a_copy_ends_nothing_where_it_is_not_authentic() {
    let stack = broken_copy().await;
    let name = kept(&stack).remove(0);
    let id = begun(&stack).await.remove(0);
    let whole = stack.store.stored(SYSTEM, &name).unwrap().body;
    stack.store.tamper(SYSTEM, &name, |object| object.body[0] ^= 1).unwrap();
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    assert!(stack.services.metrics.render(&[]).contains("\ns3cloak_tampered_total 1\n"));
    // In another upload's folder.
    let other = name.replace(name.split('/').nth(2).unwrap(), &"0".repeat(32));
    let put = Call::new("PUT", format!("/{SYSTEM}/{other}")).body(whole.clone());
    assert_eq!(stack.backend.send(put).await.status, 200);
    let fates = collect(&stack.services).await;
    assert!(fates.len() == 2 && fates.iter().all(|fate| matches!(fate, Fate::Kept(_))), "{fates:?}");
    assert_eq!(begun(&stack).await, [id]);
    // Its upload ended otherwise.
    stack.store.tamper(SYSTEM, &name, |object| object.body = whole.clone()).unwrap();
    end(&stack, "made", &begun(&stack).await.remove(0)).await;
    assert!(collect(&stack.services).await.contains(&Fate::Ended(1)));
    assert_eq!(kept(&stack), [other]);
}

#[tokio::test]
async fn uploads_of_another_system_stay() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    end(&stack, "k", &id).await;
    // The same storage, bucket and keys; another system id.
    stack
        .store
        .tamper(SYSTEM, "format", |object| {
            object.body = format!("{{\"format\":1,\"system_id\":\"{}\"}}", "5a".repeat(16)).into();
        })
        .unwrap();
    let (_, elsewhere) = stack.replica_over(stack.store.address()).await;
    let fates = collect(&elsewhere).await;
    assert!(matches!(fates[..], [Fate::Kept(_)]), "{fates:?}");
    assert_eq!(kept(&stack).len(), 4);
    assert_eq!(collect(&stack.services).await, [Fate::Ended(4)]);
}

#[tokio::test]
async fn records_without_a_state_are_collected() {
    let stack = Stack::start().await;
    let (id, _) = two_parts(&stack, "k").await;
    let name = state(&stack);
    // A listing that leaves it out, and an upload that lives.
    let names: Vec<String> = kept(&stack).into_iter().filter(|other| *other != name).collect();
    let entries: String = names
        .iter()
        .map(|name| {
            format!("<Contents><Key>{name}</Key><LastModified>2020-01-01T00:00:00Z</LastModified></Contents>")
        })
        .collect();
    let listing = format!("<ListBucketResult>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>")
        .into_bytes();
    for _ in 0..2 {
        stack.store.faults().on(Method::GET, "list-type=2", Fault::Answer(200, vec![], listing.clone()));
    }
    assert_eq!(collect(&stack.services).await, [Fate::UnderWay]);
    // A 404 for a state that is listed.
    stack.store.faults().on(Method::GET, "/state", Fault::Status(404, "NoSuchKey".to_owned()));
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    assert_eq!((kept(&stack).len(), stack.store.faults().waiting()), (4, 0));
    // It is really gone: its backend's upload is nobody's any more, and is named to the operator.
    let gone = stack.backend.send(Call::new("DELETE", format!("/{SYSTEM}/{name}"))).await;
    assert_eq!(gone.status, 204);
    assert_eq!(collect(&stack.services).await, [Fate::Orphaned(3)]);
    assert_eq!(kept(&stack), [""; 0]);
    let found = foreign(&stack, OffsetDateTime::now_utc() + DAY).await;
    assert_eq!(found.iter().map(|stray| stray.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(is_under_way(&stack, "k", &id).await);
}

async fn foreign(stack: &Stack, before: OffsetDateTime) -> Vec<Stray> {
    let bucket = BucketName::parse(BUCKET.as_bytes()).unwrap();
    let mut found = Vec::new();
    strays(stack.services.backends.get("default").unwrap(), &bucket, before, |stray| found.push(stray))
        .await
        .unwrap();
    found
}

#[tokio::test]
async fn only_uploads_without_a_state_are_told_as_strays() {
    let stack = Stack::start().await;
    let later = OffsetDateTime::now_utc() + DAY;
    let _ours = create(&stack.proxy, "k", &vec![]).await;
    assert!(foreign(&stack, later).await.is_empty());
    for key in ["k", "a%20b/c"] {
        let begun = stack.backend.send(Call::new("POST", format!("/{BUCKET}/{key}?uploads"))).await;
        assert_eq!(begun.status, 200);
    }
    let found = foreign(&stack, later).await;
    let keys: Vec<String> = found.iter().map(|stray| stray.key.to_lossy()).collect();
    assert_eq!(keys, ["a b/c", "k"]);
    assert!(foreign(&stack, OffsetDateTime::now_utc() - DAY).await.is_empty(), "they are young");
}

#[tokio::test]
async fn an_upload_that_is_completed_meanwhile_is_whole() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (_, sweeper) = stack.replica_over(relay.address).await;
    let (id, tags) = two_parts(&stack, "k").await;
    // The question whether the backend has it waits until it has been completed.
    let gate = Gate::new();
    relay.once(Method::GET, "max-parts=1", Act::Wait(gate.clone()));
    let (fates, done) = tokio::join!(collect(&sweeper), async {
        gate.arrival().await;
        let done = complete(&stack.proxy, "k", &id, &tags).await;
        gate.open();
        done
    });
    assert_eq!(done.status, 200, "{}", done.text());
    // All of it went with the Complete: there is no state any more to be what it was.
    assert_eq!(fates, [Fate::Young]);
    let again = complete(&stack.proxy, "k", &id, &tags).await;
    assert_eq!((again.status, kept(&stack).len()), (200, 0));
    assert_eq!(stack.get("k").await.header("etag"), Some(s3_etag(&[&random(1, MIN), b"small"]).as_str()));
}

#[tokio::test]
async fn an_upload_whose_complete_is_under_way_is_whole() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (through, _) = stack.replica_over(relay.address).await;
    let (id, tags) = two_parts(&stack, "k").await;
    // The backend has completed it; its state is about to go, or the answer is about to be lost.
    let gate = Gate::new();
    relay.run({
        let gate = gate.clone();
        let mut act = Some(Act::Wait(gate));
        move |method, target| {
            let reads_back =
                *method == Method::GET && target.starts_with("/photos/k") && !target.contains('?');
            if reads_back { act.take().unwrap_or(Act::Pass) } else { Act::Pass }
        }
    });
    let (done, fates) = tokio::join!(complete(&through, "k", &id, &tags), async {
        gate.arrival().await;
        let fates = collect(&stack.services).await;
        gate.open();
        fates
    });
    assert_eq!(fates, [Fate::Ended(4)]);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(between(&done.text(), "ETag"), s3_etag(&[&random(1, MIN), b"small"]));
    assert_eq!(complete(&stack.proxy, "k", &id, &tags).await.status, 200);
}

#[tokio::test]
async fn an_id_that_is_given_out_anew_meanwhile_is_live() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (_, sweeper) = stack.replica_over(relay.address).await;
    let (id, _) = two_parts(&stack, "k").await;
    let name = state(&stack);
    end(&stack, "k", &id).await;
    // The state is read twice, the second time after the denial.
    let gate = Gate::new();
    relay.run({
        let (gate, name) = (gate.clone(), name.clone());
        let mut reads = 0;
        move |method, target| {
            reads += u32::from(*method == Method::GET && target.ends_with(&name));
            if reads == 2 {
                reads += 1;
                return Act::Wait(gate.clone());
            }
            Act::Pass
        }
    });
    let services: &Arc<Services> = &stack.services;
    let (fates, ()) = tokio::join!(collect(&sweeper), async {
        gate.arrival().await;
        // What a Create would keep under that id.
        let before = stack.store.stored(SYSTEM, &name).unwrap().body;
        let other = create(&stack.proxy, "fresh", &vec![]).await;
        let (bucket, key) =
            (BucketName::parse(BUCKET.as_bytes()).unwrap(), ObjectKey::parse("fresh").unwrap());
        let at = UploadRef { bucket: &bucket, key: &key, id: &other };
        let backend = services.backends.get("default").unwrap();
        assert!(services.uploads.load(&services.keyring, backend, &at).await.is_ok());
        let fresh = kept(&stack).into_iter().find(|n| n.ends_with("/state") && *n != name).unwrap();
        let fresh = stack.store.stored(SYSTEM, &fresh).unwrap().body;
        assert_ne!(before, fresh);
        stack.store.tamper(SYSTEM, &name, |object| object.body = fresh.clone()).unwrap();
        gate.open();
    });
    assert!(
        fates.contains(&Fate::Young) && !fates.iter().any(|fate| matches!(fate, Fate::Ended(_))),
        "{fates:?}"
    );
    assert!(stack.store.stored(SYSTEM, &name).is_some());
}

#[tokio::test]
async fn replicas_that_sweep_together_do_no_harm() {
    let stack = Stack::start().await;
    let (_, other) = stack.replica_over(stack.store.address()).await;
    let (live, tags) = two_parts(&stack, "live").await;
    for key in ["a", "b", "c"] {
        let (id, _) = two_parts(&stack, key).await;
        end(&stack, key, &id).await;
    }
    let (one, two) = tokio::join!(ALL.at(&stack.services), ALL.at(&other));
    let (one, two) = (one.unwrap().0, two.unwrap().0);
    assert!(one.ended + two.ended >= 3 && one.kept + two.kept == 0, "{one:?} {two:?}");
    assert_eq!(kept(&stack).len(), 4);
    let done = complete(&stack.proxy, "live", &live, &tags).await;
    assert_eq!((done.status, kept(&stack).len()), (200, 0));
}

#[tokio::test]
async fn a_storage_that_fails_or_lies_loses_nothing() {
    let stack = Stack::start().await;
    let (id, tags) = two_parts(&stack, "k").await;
    let circles =
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
                    </ListBucketResult>";
    let others =
        b"<ListBucketResult><Contents><Key>format</Key><LastModified>2020-01-01T00:00:00Z</LastModified>\
                   </Contents><IsTruncated>false</IsTruncated></ListBucketResult>";
    let endless = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let list = |body: &[u8]| {
        stack.store.faults().on(Method::GET, "list-type=2", Fault::Answer(200, vec![], body.to_vec()));
    };
    list(circles);
    list(circles);
    assert!(ALL.at(&stack.services).await.is_err());
    list(endless);
    assert!(ALL.at(&stack.services).await.is_err());
    list(b"<html>");
    assert!(ALL.at(&stack.services).await.is_err());
    list(others);
    assert_eq!(ALL.at(&stack.services).await.unwrap().0, Tally::default());
    stack.store.faults().on(Method::GET, "list-type=2", Fault::Status(503, "SlowDown".to_owned()));
    assert!(ALL.at(&stack.services).await.is_err());
    assert_eq!((stack.store.faults().waiting(), kept(&stack).len()), (0, 4));
    assert!(stack.store.stored(SYSTEM, "format").is_some());
    // Deletions that fail leave something, and it goes the next time.
    end(&stack, "k", &id).await;
    stack.store.faults().on(Method::POST, "delete", Fault::Status(500, "InternalError".to_owned()));
    assert!(matches!(collect(&stack.services).await[..], [Fate::Kept(_)]));
    assert!(state(&stack).ends_with("/state"), "the state went before what it explains");
    assert!(matches!(collect(&stack.services).await[..], [Fate::Ended(_)]));
    assert_eq!(kept(&stack), [""; 0]);
    drop(tags);
}

#[tokio::test]
async fn names_that_are_not_ours_stay() {
    let stack = Stack::start().await;
    for name in ["mpu/readme", "mpu/photos/notes/state", "mpu/photos/0123/parts/x"] {
        let put = stack.backend.send(Call::new("PUT", format!("/{SYSTEM}/{name}")).body("x")).await;
        assert_eq!(put.status, 200);
    }
    let (tally, _) = ALL.at(&stack.services).await.unwrap();
    assert_eq!(tally, Tally { strangers: 3, ..Tally::default() });
    assert_eq!(kept(&stack).len(), 3);
}

#[tokio::test]
async fn a_sweep_keeps_to_the_configured_age_and_is_counted() {
    for (config, left) in [(None, 4), (Some(SHORT), 0)] {
        let stack = Stack::with(Options { config, ..Options::default() }).await;
        let (id, _) = two_parts(&stack, "k").await;
        end(&stack, "k", &id).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let backend = stack.services.backends.get("default").unwrap();
        sweep::sweep(&stack.services, backend).await.unwrap();
        assert_eq!(kept(&stack).len(), left);
        let text = stack.services.metrics.render(&[]);
        let collected = format!("s3cloak_swept_total{{what=\"objects\"}} {}", 4 - left);
        assert!(
            text.contains(&collected) && text.contains("s3cloak_sweeps_total{outcome=\"done\"} 1"),
            "{text}"
        );
        stack.store.faults().on(Method::GET, "list-type=2", Fault::Status(500, "InternalError".to_owned()));
        assert!(sweep::sweep(&stack.services, backend).await.is_err());
        assert!(stack.services.metrics.render(&[]).contains("s3cloak_sweeps_total{outcome=\"failed\"} 1"));
    }
}

#[tokio::test]
async fn with_its_bucket_go_an_uploads_records() {
    let stack = Stack::start().await;
    let send = |client: &Client, method: &'static str, target: &str| {
        let (client, call) = (client.clone(), Call::new(method, target));
        async move { client.send(call).await }
    };
    for bucket in ["shelf", "shelf-2"] {
        assert_eq!(send(&stack.proxy, "PUT", &format!("/{bucket}")).await.status, 200);
    }
    let begin = async |bucket: &str| {
        let begun = send(&stack.proxy, "POST", &format!("/{bucket}/k?uploads")).await;
        let id = between(&begun.text(), "UploadId");
        let target = format!("/{bucket}/k?partNumber=1&uploadId={id}");
        assert_eq!(stack.proxy.send(Call::new("PUT", target).body("small")).await.status, 200);
        id
    };
    let (first, _other) = (begin("shelf").await, begin("shelf-2").await);
    // A bucket that stays keeps them.
    assert_eq!(send(&stack.proxy, "PUT", "/shelf/o").await.status, 200);
    assert_eq!(send(&stack.proxy, "DELETE", "/shelf").await.status, 409);
    assert_eq!(kept(&stack).len(), 6);
    assert_eq!(send(&stack.proxy, "DELETE", "/shelf/o").await.status, 204);
    assert_eq!(send(&stack.proxy, "DELETE", "/shelf").await.status, 204);
    let left = kept(&stack);
    assert!(left.len() == 3 && left.iter().all(|name| name.starts_with("mpu/shelf-2/")), "{left:?}");
    // The next bucket of that name has none of its uploads.
    assert_eq!(send(&stack.proxy, "PUT", "/shelf").await.status, 200);
    let late = Call::new("PUT", format!("/shelf/k?partNumber=2&uploadId={first}")).body("small");
    let late = stack.proxy.send(late).await;
    assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()));
    // And keeps its own, also where the old one's records go slowly.
    let old = begin("shelf").await;
    let relay = Relay::to(stack.store.address()).await;
    let (slow, _) = stack.replica_over(relay.address).await;
    let gate = Gate::new();
    relay.once(Method::DELETE, "/mpu/", Act::Wait(gate.clone()));
    let (deleted, new) = tokio::join!(send(&slow, "DELETE", "/shelf"), async {
        gate.arrival().await;
        assert_eq!(send(&stack.proxy, "PUT", "/shelf").await.status, 200);
        let new = begin("shelf").await;
        gate.open();
        new
    });
    assert_eq!(deleted.status, 204);
    let part = |id: &str| Call::new("PUT", format!("/shelf/k?partNumber=2&uploadId={id}")).body("small");
    assert_eq!(stack.proxy.send(part(&old)).await.status, 404);
    assert_eq!(stack.proxy.send(part(&new)).await.status, 200);
}

#[tokio::test]
async fn an_aborted_upload_that_somebody_writes_to_leaves_nothing_for_good() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (through, _) = stack.replica_over(relay.address).await;
    for (body, waits) in [
        (random(1, MIN), "partNumber="),
        (random(1, MIN), "/parts/"),
        (random(1, 9), "/held/"),
        (random(1, 9), "/parts/"),
    ] {
        let id = create(&stack.proxy, "k", &vec![]).await;
        let gate = Gate::new();
        relay.once(Method::PUT, waits, Act::Wait(gate.clone()));
        let plain = vec![];
        let (sent, aborted) =
            tokio::join!(support::uploads::part(&through, "k", &id, 1, &body, &plain), async {
                gate.arrival().await;
                let aborted = abort(&stack.proxy, "k", &id).await;
                gate.open();
                aborted
            });
        assert_eq!(aborted.status, 204, "{waits}");
        // The store may end the connection before it has read a part that it refuses.
        assert!(matches!(sent.status, 200 | 404 | 502), "{waits}: {}", sent.text());
        assert!(!is_under_way(&stack, "k", &id).await);
        assert_eq!(stack.get("k").await.status, 404);
        let tag = format!("\"{}\"", support::md5_hex(&body));
        let late = complete(&stack.proxy, "k", &id, &[(1, tag)]).await;
        assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()), "{waits}");
        assert!(
            collect(&stack.services).await.iter().all(|fate| matches!(fate, Fate::Orphaned(_))),
            "{waits}"
        );
        assert_eq!(kept(&stack), [""; 0], "{waits}");
    }
}
