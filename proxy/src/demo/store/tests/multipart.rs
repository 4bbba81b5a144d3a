//! Uploads in parts.

use http::{Method, StatusCode};
use md5::{Digest as _, Md5};

use super::client::{Answer, Fixture, memory};
use crate::demo::store::StoreConfig;

const PART: usize = 5 * 1024 * 1024;

fn complete_xml(parts: &[(i32, &str)]) -> Vec<u8> {
    let part = |(number, etag): &(i32, &str)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

async fn begin(fixture: &Fixture, key: &str) -> String {
    let headers = [("x-amz-meta-a", "1"), ("content-type", "text/plain")];
    let answer = fixture.call(Method::POST, &format!("/{key}?uploads"), &headers, b"").await.ok();
    answer.elements("UploadId")[0].to_owned()
}

async fn part(fixture: &Fixture, id: &str, number: i32, body: &[u8]) -> String {
    let answer = fixture.put(&format!("/o?partNumber={number}&uploadId={id}"), body).await;
    answer.header("etag").unwrap().to_owned()
}

async fn complete(fixture: &Fixture, id: &str, parts: &[(i32, &str)]) -> Answer {
    fixture.call(Method::POST, &format!("/o?uploadId={id}"), &[], &complete_xml(parts)).await
}

async fn an_upload_becomes_one_object(config: StoreConfig) {
    let fixture = Fixture::start(config);
    let id = begin(&fixture, "o").await;
    let (first, second, last) = (vec![b'a'; PART], vec![b'b'; PART], vec![b'c'; 100]);
    let third = part(&fixture, &id, 7, &last).await;
    part(&fixture, &id, 2, b"replaced").await;
    let two = part(&fixture, &id, 2, &second).await;
    let one = part(&fixture, &id, 1, &first).await;

    let page = fixture.get(&format!("/o?uploadId={id}&max-parts=2")).await.ok();
    assert_eq!((page.elements("PartNumber"), page.elements("IsTruncated")), (vec!["1", "2"], vec!["true"]));
    let page = fixture.get(&format!("/o?uploadId={id}&part-number-marker=2")).await.ok();
    assert_eq!((page.elements("PartNumber"), page.elements("Size")), (vec!["7"], vec!["100"]));
    let uploads = fixture.get("?uploads").await.ok();
    assert_eq!((uploads.elements("Key"), uploads.elements("UploadId")), (vec!["o"], vec![id.as_str()]));

    complete(&fixture, &id, &[(2, &two), (1, &one)]).await.refused(400, "InvalidPartOrder");
    complete(&fixture, &id, &[(1, &two)]).await.refused(400, "InvalidPart");
    complete(&fixture, &id, &[(3, &one)]).await.refused(400, "InvalidPart");
    complete(&fixture, &id, &[]).await.refused(400, "MalformedXML");
    let answer = complete(&fixture, &id, &[(1, &one), (2, &two), (7, &third)]).await.ok();
    let mut tag = Md5::new();
    for body in [&first, &second, &last] {
        tag.update(Md5::digest(body));
    }
    let etag = format!("\"{}-3\"", hex::encode(tag.finalize()));
    assert_eq!(answer.elements("ETag")[0].replace("&quot;", "\""), etag);
    complete(&fixture, &id, &[(1, &one)]).await.refused(404, "NoSuchUpload");

    let object = fixture.get("/o").await.ok();
    assert_eq!(object.body, [first, second, last.clone()].concat());
    assert_eq!((object.header("etag"), object.header("x-amz-meta-a")), (Some(etag.as_str()), Some("1")));
    let one_part = fixture.get("/o?partNumber=3").await;
    assert_eq!(one_part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        (one_part.body.as_ref(), one_part.header("x-amz-mp-parts-count")),
        (last.as_slice(), Some("3"))
    );
    fixture.get("/o?partNumber=4").await.refused(416, "InvalidPartNumber");
    assert!(fixture.get("?uploads").await.ok().elements("Upload").is_empty());
}

#[tokio::test]
async fn an_upload_becomes_one_object_in_memory() {
    an_upload_becomes_one_object(memory()).await;
}

#[tokio::test]
async fn an_upload_becomes_one_object_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    an_upload_becomes_one_object(StoreConfig::folder(folder.path(), "key", "secret")).await;
    assert_eq!(std::fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn small_parts_are_refused_unless_last() {
    let fixture = Fixture::start(memory());
    let id = begin(&fixture, "o").await;
    let (one, two) = (part(&fixture, &id, 1, b"small").await, part(&fixture, &id, 2, b"").await);
    complete(&fixture, &id, &[(1, &one), (2, &two)]).await.refused(400, "EntityTooSmall");
    complete(&fixture, &id, &[(1, &one)]).await.ok();
    assert_eq!(fixture.get("/o").await.text(), "small");
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let fixture = Fixture::start(memory());
    let id = begin(&fixture, "o").await;
    part(&fixture, &id, 1, b"x").await;
    let target = format!("/o?uploadId={id}");
    assert_eq!(fixture.call(Method::DELETE, &target, &[], b"").await.status, StatusCode::NO_CONTENT);
    fixture.call(Method::DELETE, &target, &[], b"").await.refused(404, "NoSuchUpload");
    fixture.get(&target).await.refused(404, "NoSuchUpload");
    let again = format!("/o?partNumber=1&uploadId={id}");
    fixture.call(Method::PUT, &again, &[], b"x").await.refused(404, "NoSuchUpload");
    fixture
        .call(Method::PUT, "/o?partNumber=10001&uploadId=1", &[], b"x")
        .await
        .refused(400, "InvalidArgument");
    fixture.get("/o").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let fixture = Fixture::start(memory());
    fixture.put("/source", b"0123456789").await;
    let id = begin(&fixture, "o").await;
    let target = format!("/o?partNumber=1&uploadId={id}");
    let source = ("x-amz-copy-source", "/bucket/source");
    let range = [source, ("x-amz-copy-source-range", "bytes=2-5")];
    let answer = fixture.call(Method::PUT, &target, &range, b"").await.ok();
    let etag = answer.elements("ETag")[0].to_owned();
    complete(&fixture, &id, &[(1, &etag)]).await.ok();
    assert_eq!(fixture.get("/o").await.text(), "2345");
    let id = begin(&fixture, "o").await;
    let target = format!("/o?partNumber=1&uploadId={id}");
    let beyond = [source, ("x-amz-copy-source-range", "bytes=2-10")];
    fixture.call(Method::PUT, &target, &beyond, b"").await.refused(416, "InvalidRange");
}
