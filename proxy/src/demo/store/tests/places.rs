//! Where objects lie: readable files that hold exactly the stored bytes, a restart that finds them, tampering by hand.

use std::fs;

use http::Method;

use super::client::{BUCKET, Fixture, memory};
use crate::demo::store::disk::file_name;
use crate::demo::store::{RawObject, StoreConfig};

#[tokio::test]
async fn files_hold_the_bytes_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::folder(folder.path(), "key", "secret");
    let fixture = Fixture::start(config.clone());
    let headers = [("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1")];
    fixture.call(Method::PUT, "/hello.txt", &headers, b"hello").await.ok();
    fixture.put("/2026/report.pdf", b"report").await;
    fixture.put("/A", b"upper").await;
    fixture.put("/a", b"lower").await;
    let path = folder.path().join(BUCKET).join("hello.txt");
    assert_eq!(fixture.store.object_file(BUCKET, "hello.txt").as_ref(), Some(&path));
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::read(folder.path().join(BUCKET).join("2026%2Freport.pdf")).unwrap(), b"report");
    let (upper, lower) = (fixture.store.object_file(BUCKET, "A"), fixture.store.object_file(BUCKET, "a"));
    let spelling = |path: Option<std::path::PathBuf>| path.unwrap().to_string_lossy().to_lowercase();
    assert_ne!(spelling(upper), spelling(lower));
    drop(fixture);

    let fixture = Fixture::start(config);
    assert_eq!(fixture.store.keys(BUCKET), ["2026/report.pdf", "A", "a", "hello.txt"]);
    let answer = fixture.get("/hello.txt").await.ok();
    assert_eq!((answer.text(), answer.header("x-amz-meta-a")), ("hello", Some("1")));
    assert_eq!(answer.header("x-amz-tagging-count"), Some("1"));
    assert_eq!(fixture.get("/A").await.text(), "upper");
    fixture.put("/A", b"new").await;
    assert_eq!((fixture.get("/A").await.text(), fixture.get("/a").await.text()), ("new", "lower"));
}

#[tokio::test]
async fn a_file_edited_by_hand_is_served_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(StoreConfig::folder(folder.path(), "key", "secret"));
    let etag = fixture.put("/o", b"0123456789").await.header("etag").unwrap().to_owned();
    let path = fixture.store.object_file(BUCKET, "o").unwrap();
    fs::write(&path, b"01234").unwrap();
    let answer = fixture.get("/o").await.ok();
    assert_eq!((answer.text(), answer.header("etag")), ("01234", Some(etag.as_str())));
    assert_eq!(fixture.get("?list-type=2").await.elements("Size"), ["5"]);
    fs::remove_file(&path).unwrap();
    fixture.get("/o").await.refused(404, "NoSuchKey");
    assert!(fixture.get("?list-type=2").await.elements("Key").is_empty());
}

#[tokio::test]
async fn tampering_changes_bytes_and_metadata_alone() {
    let folder = tempfile::tempdir().unwrap();
    for config in [memory(), StoreConfig::folder(folder.path(), "key", "secret")] {
        let fixture = Fixture::start(config);
        let etag = fixture.call(Method::PUT, "/o", &[("x-amz-meta-a", "1")], b"body").await.ok();
        let change = |raw: &mut RawObject| {
            raw.body.truncate(2);
            raw.headers.clear();
        };
        assert!(fixture.store.tamper(BUCKET, "o", change).unwrap());
        assert!(!fixture.store.tamper(BUCKET, "none", change).unwrap());
        let answer = fixture.get("/o").await.ok();
        assert_eq!((answer.text(), answer.header("x-amz-meta-a")), ("bo", None));
        assert_eq!(answer.header("etag"), etag.header("etag"));
        assert_eq!(fixture.store.stored(BUCKET, "o").unwrap().body, b"bo");
    }
}

#[test]
fn file_names_are_safe_and_distinct() {
    assert_eq!(file_name("hello.txt", false), "hello.txt");
    assert_eq!(file_name("..", false), "%2E.");
    assert_eq!(file_name("a/../b~", false), "a%2F..%2Fb%7E");
    let long = "x".repeat(1024);
    let (one, two) = (file_name(&long, false), file_name(&format!("{long}y"), false));
    assert!(one.len() <= 200 && two.len() <= 200 && one != two);
    assert_ne!(file_name("a", true), file_name("A", true));
    assert!(file_name("a", true).starts_with("a~"));
}
