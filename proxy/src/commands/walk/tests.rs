//! Walks over the embedded store: every object once, in spite of interruptions.

use std::net::TcpListener;
use std::sync::Mutex;

use super::*;
use crate::config::{Surroundings, parse};
use crate::demo::store::{self, Handle, StoreConfig};

struct Seen<'a> {
    keys: Mutex<Vec<String>>,
    fails: &'a str,
}

#[async_trait]
impl Visitor for Seen<'_> {
    async fn visit(&self, object: &Listed) -> Visit {
        let key = object.key.to_lossy();
        self.keys.lock().unwrap().push(key.clone());
        if !self.fails.is_empty() && key.contains(self.fails) {
            return Visit::Failed("as told".to_owned());
        }
        Visit::Counted(if key.chars().all(|c| c.is_ascii_digit() || "p/".contains(c)) {
            "plain"
        } else {
            "odd"
        })
    }
}

fn seen(fails: &str) -> Seen<'_> {
    Seen { keys: Mutex::default(), fails }
}

fn arguments(place: &str, checkpoint: Option<PathBuf>) -> Arguments {
    Arguments { place: place.to_owned(), concurrency: 7, checkpoint }
}

async fn store(objects: impl Iterator<Item = (String, usize)>) -> (Handle, Backend) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let store = store::serve(
        TcpListener::bind("127.0.0.1:0").unwrap(),
        StoreConfig::memory("backend", "backend-secret"),
    )
    .unwrap();
    store.create_bucket("things").unwrap();
    let yaml = format!(
        "listen: [{{ address: '127.0.0.1:0' }}]\nbackends: {{ default: {{ endpoint: '{}', access_key: backend, secret_key: backend-secret }} }}\n\
         keys: {{ services: {{ main: {{ type: local, path: keys }} }} }}\n\
         credentials: [{{ access_key: client, secret_key: client-secret, allow: [{{ buckets: ['*'], actions: [read] }}] }}]\n\
         buckets: {{ '*': {{ backend: default }} }}\n",
        store.endpoint()
    );
    let around = Surroundings { variable: &|_| None, folder: std::path::Path::new("."), listens: true };
    let config = parse(&yaml, "test", &around).unwrap_or_else(|faults| panic!("{faults}"));
    let backends = crate::backend::Backends::from_config(&config).unwrap();
    let backend = backends.get("default").unwrap().clone();
    let bucket = BucketName::parse(b"things").unwrap();
    for (key, size) in objects {
        let key = ObjectKey::parse(key).unwrap();
        let out = crate::backend::Outgoing::object(http::Method::PUT, &bucket, &key);
        let body = bytes::Bytes::from(vec![1; size]);
        let answer = backend.call(&crate::backend::Caller::Own, out, body).await.unwrap();
        assert!(answer.is_success());
    }
    (store, backend)
}

fn sorted(seen: &Seen<'_>) -> Vec<String> {
    let mut keys = seen.keys.lock().unwrap().clone();
    keys.sort();
    keys
}

#[test]
fn places_are_buckets_and_prefixes() {
    let place = |text: &str| arguments(text, None).place();
    let found = place("s3://things/a b/%41").unwrap();
    assert_eq!((found.bucket.as_str(), found.prefix.as_slice()), ("things", &b"a b/%41"[..]));
    assert!(
        place("s3://things").unwrap().prefix.is_empty() && place("s3://things/").unwrap().prefix.is_empty()
    );
    for bad in ["things", "s3://", "s3:///a", "s3://a b/c", "https://things/a"] {
        assert!(matches!(place(bad), Err(Failure::Usage(_))), "{bad}");
    }
}

#[tokio::test]
async fn every_object_below_the_prefix_is_visited_once() {
    let odd = ["p/a b+c%41", "p//x", "p/\u{e9}"].map(|key| (key.to_owned(), 0));
    let many = (0..2100).map(|i| (format!("p/{i:04}"), 3));
    let other = [("o".to_owned(), 1), ("q".to_owned(), 1)];
    let all: Vec<_> = many.chain(odd).chain(other).collect();
    let expected: Vec<String> = {
        let mut keys: Vec<String> =
            all.iter().map(|(key, _)| key.clone()).filter(|key| key.starts_with("p/")).collect();
        keys.sort();
        keys
    };
    let (_store, backend) = store(all.into_iter()).await;
    let arguments = arguments("s3://things/p/", None);
    let visitor = seen("");
    let mut out = Vec::new();
    let report =
        walk(&arguments, &backend, &arguments.place().unwrap(), "test", &visitor, &mut out).await.unwrap();
    assert_eq!(sorted(&visitor), expected);
    assert_eq!((report.counts["odd"], report.counts["plain"], report.objects()), (3, 2100, 2103));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("2103 objects\n") && text.contains("2100  plain"), "{text}");

    let visitor = seen("p//x");
    let mut out = Vec::new();
    let failed = walk(&arguments, &backend, &arguments.place().unwrap(), "test", &visitor, &mut out).await;
    assert_eq!(failed.unwrap_err(), Failure::Failed("1 of 2103 objects failed".to_owned()));
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("s3://things/p//x: as told") && text.contains("1  failed"), "{text}");
}

#[tokio::test]
async fn a_walk_goes_on_where_it_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let (store, backend) = store((0..2500).map(|i| (format!("{i:04}"), 1))).await;
    let arguments = arguments("s3://things", Some(file.clone()));
    let place = arguments.place().unwrap();
    // The second page cannot be listed.
    store.faults().on(
        http::Method::GET,
        "start-after",
        store::Fault::Status(500, "InternalError".to_owned()),
    );
    let first = seen("0007");
    let cut = walk(&arguments, &backend, &place, "test", &first, &mut Vec::new()).await;
    assert!(matches!(cut, Err(Failure::Failed(_))) && file.exists());
    assert_eq!(first.keys.lock().unwrap().len(), 1000);

    let other = walk(&arguments, &backend, &place, "other task", &first, &mut Vec::new()).await;
    assert!(matches!(other, Err(Failure::Usage(_))));

    let second = seen("");
    let mut out = Vec::new();
    let done = walk(&arguments, &backend, &place, "test", &second, &mut out).await;
    assert_eq!(done.unwrap_err(), Failure::Failed("1 of 2500 objects failed".to_owned()), "counted on");
    assert_eq!(sorted(&second).first().map(String::as_str), Some("1000"));
    assert_eq!(second.keys.lock().unwrap().len(), 1500);
    assert!(String::from_utf8(out).unwrap().starts_with("going on after s3://things/0999\n"));
    assert!(!file.exists(), "there is nothing to go on with");

    std::fs::write(&file, b"{}").unwrap();
    let broken = walk(&arguments, &backend, &place, "test", &seen(""), &mut Vec::new()).await;
    assert!(matches!(broken, Err(Failure::Usage(_))) && file.exists());
}
