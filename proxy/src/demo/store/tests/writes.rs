//! Writing: bodies that are not what they say are never stored, conditions, deletes, copies, who may write at all.

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{BUCKET, Fixture, memory};

fn crc32(body: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, body);
    base64::engine::general_purpose::STANDARD.encode(&sum.to_be_bytes()[4..])
}

fn chunked(pieces: &[&[u8]], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    body
}

#[tokio::test]
async fn declared_checksums_are_verified() {
    let fixture = Fixture::start(memory());
    fixture.put("/o", b"old").await;
    let good = crc32(b"new");
    for (name, value, code) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-sha256", "AAAA", "BadDigest"),
        (
            "x-amz-content-sha256",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "XAmzContentSHA256Mismatch",
        ),
    ] {
        fixture.call(Method::PUT, "/o", &[(name, value)], b"new").await.refused(400, code);
        assert_eq!(fixture.get("/o").await.text(), "old");
    }
    let answer = fixture.call(Method::PUT, "/o", &[("x-amz-checksum-crc32", &good)], b"new").await.ok();
    assert_eq!(answer.header("x-amz-checksum-crc32"), Some(good.as_str()));
    let answer = fixture.call(Method::GET, "/o", &[("x-amz-checksum-mode", "ENABLED")], b"").await.ok();
    assert_eq!(answer.header("x-amz-checksum-crc32"), Some(good.as_str()));
    assert_eq!(fixture.get("/o").await.header("x-amz-checksum-crc32"), None);
}

#[tokio::test]
async fn chunked_bodies_with_a_trailer_are_decoded_and_verified() {
    let fixture = Fixture::start(memory());
    fixture.put("/o", b"old").await;
    let headers = |length: &'static str| {
        [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-decoded-content-length", length),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("content-encoding", "aws-chunked"),
        ]
    };
    let trailer = format!("x-amz-checksum-crc32:{}\r\n", crc32(b"new bytes"));
    let wrong = format!("x-amz-checksum-crc32:{}\r\n", crc32(b"other"));
    for (length, body, code) in [
        ("9", chunked(&[b"new ", b"bytes"], &wrong), "BadDigest"),
        ("9", chunked(&[b"new ", b"bytes"], ""), "IncompleteBody"),
        ("9", chunked(&[b"new "], &trailer), "IncompleteBody"),
        ("8", chunked(&[b"new ", b"bytes"], &trailer), "IncompleteBody"),
        ("9", b"9\r\nnew bytes\r\n".to_vec(), "IncompleteBody"),
        ("9", b"9\r\nnew by".to_vec(), "IncompleteBody"),
    ] {
        fixture.call(Method::PUT, "/o", &headers(length), &body).await.refused(400, code);
        assert_eq!(fixture.get("/o").await.text(), "old");
    }
    fixture.call(Method::PUT, "/o", &headers("9"), &chunked(&[b"new ", b"bytes"], &trailer)).await.ok();
    let answer = fixture.get("/o").await;
    assert_eq!((answer.text(), answer.header("content-encoding")), ("new bytes", None));
}

/// Sends a request's head and some of its body, then closes the connection's sending half.
async fn cut(fixture: &Fixture, headers: &[(&str, &str)], body: &[u8]) -> String {
    let request = fixture.sign("PUT", &format!("/{BUCKET}/o"), headers, "secret");
    let mut head = format!("PUT {} HTTP/1.1\r\nhost: {}\r\n", request.uri().path(), fixture.store.address());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut stream = tokio::net::TcpStream::connect(fixture.store.address()).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    // A reset instead of an answer is as good a refusal.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn short_bodies_are_not_stored() {
    for in_folder in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = memory();
        if in_folder {
            config = crate::demo::store::StoreConfig::folder(folder.path(), "key", "secret");
        }
        let fixture = Fixture::start(config);
        fixture.put("/o", b"old").await;
        let answer = cut(&fixture, &[("content-length", "100")], b"short").await;
        assert!(!answer.contains("200 OK"), "{answer}");
        let headers = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("content-length", "100"),
        ];
        let answer = cut(&fixture, &headers, b"5\r\nshort\r\n").await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert_eq!(fixture.get("/o").await.text(), "old");
        if in_folder {
            assert_eq!(std::fs::read_dir(folder.path().join(".tmp")).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_store_that_keeps_short_bodies_can_be_had() {
    let mut config = memory();
    config.quirks.keep_short_bodies = true;
    let fixture = Fixture::start(config);
    fixture.put("/o", b"old").await;
    cut(&fixture, &[("content-length", "100")], b"short").await;
    assert_eq!(fixture.get("/o").await.text(), "short");
}

#[tokio::test]
async fn a_body_needs_a_length() {
    let fixture = Fixture::start(memory());
    let answer = cut(&fixture, &[("transfer-encoding", "chunked")], b"3\r\nabc\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 411 ") && answer.contains("MissingContentLength"), "{answer}");
}

#[tokio::test]
async fn write_conditions_hold() {
    let fixture = Fixture::start(memory());
    fixture.call(Method::PUT, "/o", &[("if-match", "\"x\"")], b"1").await.refused(404, "NoSuchKey");
    let etag = fixture.call(Method::PUT, "/o", &[("if-none-match", "*")], b"1").await.ok();
    let etag = etag.header("etag").unwrap();
    fixture.call(Method::PUT, "/o", &[("if-none-match", "*")], b"2").await.refused(412, "PreconditionFailed");
    fixture.call(Method::PUT, "/o", &[("if-match", "\"x\"")], b"2").await.refused(412, "PreconditionFailed");
    assert_eq!(fixture.get("/o").await.text(), "1");
    fixture.call(Method::PUT, "/o", &[("if-match", etag)], b"2").await.ok();
    fixture.call(Method::DELETE, "/o", &[("if-match", etag)], b"").await.refused(412, "PreconditionFailed");
    assert_eq!(fixture.get("/o").await.text(), "2");
    fixture.call(Method::DELETE, "/o", &[("if-match", "*")], b"").await.ok();
    let gone = fixture.call(Method::DELETE, "/o", &[], b"").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);

    let mut config = memory();
    config.quirks.ignore_write_conditions = true;
    let fixture = Fixture::start(config);
    fixture.put("/o", b"1").await;
    fixture.call(Method::PUT, "/o", &[("if-none-match", "*")], b"2").await.ok();
    assert_eq!(fixture.get("/o").await.text(), "2");
}

#[tokio::test]
async fn a_version_that_there_is_not_takes_no_object_with_it() {
    let fixture = Fixture::start(memory());
    fixture.put("/o", b"1").await;
    let missing = "/o?versionId=3sL4kqtJlcpXroDTDmJ";
    fixture.call(Method::DELETE, missing, &[], b"").await.refused(400, "InvalidArgument");
    let xml = "<Delete><Object><Key>o</Key><VersionId>3sL4kqtJlcpXroDTDmJ</VersionId></Object></Delete>";
    let answer = fixture.call(Method::POST, "?delete", &[], xml.as_bytes()).await.ok();
    assert_eq!(answer.elements("Code"), ["InvalidArgument"]);
    assert_eq!(answer.elements("Message"), ["Invalid version id specified"]);
    assert_eq!(answer.elements("VersionId"), ["3sL4kqtJlcpXroDTDmJ"]);
    let tags = "/o?tagging&versionId=3sL4kqtJlcpXroDTDmJ";
    fixture.get(tags).await.refused(404, "NoSuchVersion");
    fixture.call(Method::DELETE, tags, &[], b"").await.refused(404, "NoSuchVersion");
    assert_eq!(fixture.get("/o").await.text(), "1");
    fixture.call(Method::DELETE, "/o?versionId=null", &[], b"").await.ok();
    fixture.get("/o").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn preflights_are_refused_as_where_a_bucket_has_no_cors_rules() {
    let fixture = Fixture::start(memory());
    let origin = [("origin", "http://page"), ("access-control-request-method", "PUT")];
    fixture.call(Method::OPTIONS, "/o", &origin, b"").await.refused(403, "AccessForbidden");
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let fixture = Fixture::start(memory());
    for key in ["/a", "/b", "/c"] {
        fixture.put(key, b"x").await;
    }
    let xml = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object>\
               <Object><Key>b</Key><ETag>\"x\"</ETag></Object></Delete>";
    let answer = fixture.call(Method::POST, "?delete", &[], xml.as_bytes()).await.ok();
    assert_eq!(answer.elements("Deleted"), ["<Key>a</Key>", "<Key>none</Key>"]);
    assert_eq!(answer.elements("Code"), ["PreconditionFailed"]);
    assert!(answer.elements("Message")[0].contains("pre-conditions"), "{}", answer.text());
    assert_eq!(fixture.store.keys(BUCKET), ["b", "c"]);
    let xml = "<Delete><Quiet>true</Quiet><Object><Key>c</Key></Object></Delete>";
    let answer = fixture.call(Method::POST, "?delete", &[], xml.as_bytes()).await.ok();
    assert!(answer.elements("Deleted").is_empty());
    assert_eq!(fixture.store.keys(BUCKET), ["b"]);
}

#[tokio::test]
async fn copies_keep_or_replace_metadata() {
    let fixture = Fixture::start(memory());
    let headers = [("x-amz-meta-a", "1"), ("content-type", "text/plain"), ("x-amz-tagging", "t=1")];
    let etag = fixture.call(Method::PUT, "/from%20here", &headers, b"body").await.ok();
    let etag = etag.header("etag").unwrap();
    let source = ("x-amz-copy-source", "bucket/from%20here");
    let answer = fixture.call(Method::PUT, "/kept", &[source, ("x-amz-meta-b", "2")], b"").await.ok();
    assert_eq!(answer.elements("ETag").first().map(|tag| tag.replace("&quot;", "\"")), Some(etag.to_owned()));
    let kept = fixture.get("/kept").await;
    assert_eq!(
        (kept.text(), kept.header("x-amz-meta-a"), kept.header("x-amz-meta-b")),
        ("body", Some("1"), None)
    );
    assert_eq!(
        (kept.header("content-type"), kept.header("x-amz-tagging-count")),
        (Some("text/plain"), Some("1"))
    );
    let replace = [source, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    fixture.call(Method::PUT, "/replaced", &replace, b"").await.ok();
    let replaced = fixture.get("/replaced").await;
    assert_eq!((replaced.header("x-amz-meta-a"), replaced.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!(replaced.header("content-type"), Some("binary/octet-stream"));

    fixture.call(Method::PUT, "/from%20here", &[source], b"").await.refused(400, "InvalidRequest");
    fixture.call(Method::PUT, "/from%20here", &replace, b"").await.ok();
    assert_eq!(fixture.get("/from%20here").await.header("x-amz-meta-b"), Some("2"));
    for (name, value) in [("x-amz-copy-source-if-match", "\"x\""), ("x-amz-copy-source-if-none-match", etag)]
    {
        fixture
            .call(Method::PUT, "/kept", &[source, (name, value)], b"")
            .await
            .refused(412, "PreconditionFailed");
    }
    fixture
        .call(Method::PUT, "/kept", &[source, ("if-none-match", "*")], b"")
        .await
        .refused(412, "PreconditionFailed");
    let none = ("x-amz-copy-source", "bucket/none");
    fixture.call(Method::PUT, "/kept", &[none], b"").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn only_the_right_secret_may() {
    let fixture = Fixture::start(memory());
    let wrong = fixture.sign("PUT", "/bucket/o", &[], "other");
    let body = Full::new(Bytes::from_static(b"x"));
    fixture.send(wrong.map(|()| body.clone())).await.unwrap().refused(403, "SignatureDoesNotMatch");
    let unsigned = http::Request::put(format!("{}/bucket/o", fixture.store.endpoint())).body(body).unwrap();
    fixture.send(unsigned).await.unwrap().refused(403, "AccessDenied");
    assert!(fixture.store.keys(BUCKET).is_empty());
}

#[tokio::test]
async fn trailers_can_be_refused() {
    let mut config = memory();
    config.quirks.refuse_trailers = true;
    let fixture = Fixture::start(config);
    let headers = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "1"),
    ];
    fixture.call(Method::PUT, "/o", &headers, &chunked(&[b"x"], "")).await.refused(400, "InvalidRequest");
    fixture.put("/o", b"x").await;
}
