//! The backend over real HTTP: what a proxy in front of it relies on, and what it must refuse.

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct Fixture {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Fixture {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));
        let fixture = Self { address, client: Client::builder(TokioExecutor::new()).build_http() };
        assert_eq!(fixture.call("PUT", "/b", &[], b"").await.0, 200);
        fixture
    }

    async fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, http::HeaderMap) {
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .client
            .request(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap(), parts.headers)
    }
}

#[tokio::test]
async fn objects_come_back_whole_and_in_ranges() {
    let fixture = Fixture::start().await;
    let (status, _, put) = fixture.call("PUT", "/b/k%20y", &[("x-amz-meta-a", "1")], b"0123456789").await;
    assert_eq!(status, 200);
    let (status, body, headers) = fixture.call("GET", "/b/k%20y?X-Amz-Signature=x", &[], b"").await;
    assert_eq!((status, body.as_str()), (200, "0123456789"));
    assert_eq!(
        (headers.get("etag"), headers.get("x-amz-meta-a").unwrap().to_str().unwrap()),
        (put.get("etag"), "1")
    );
    for (range, status, body) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=-3", 206, "789"),
        ("bytes=8-", 206, "89"),
        ("bytes=-99", 206, "0123456789"),
    ] {
        let (got, text, headers) = fixture.call("GET", "/b/k%20y", &[("range", range)], b"").await;
        assert_eq!((got, text.as_str()), (status, body), "{range}");
        assert!(headers["content-range"].to_str().unwrap().ends_with("/10"));
    }
    assert_eq!(fixture.call("GET", "/b/k%20y", &[("range", "bytes=10-")], b"").await.0, 416);
    let (status, body, headers) = fixture.call("HEAD", "/b/k%20y", &[], b"").await;
    assert_eq!((status, body.as_str(), headers["content-length"].to_str().unwrap()), (200, "", "10"));
    assert_eq!(fixture.call("GET", "/b/none", &[], b"").await.0, 404);
    assert_eq!(fixture.call("DELETE", "/b/k%20y", &[], b"").await.0, 204);
    assert_eq!(fixture.call("GET", "/b/k%20y", &[], b"").await.0, 404);
}

#[tokio::test]
async fn chunked_bodies_are_decoded_and_checked() {
    let fixture = Fixture::start().await;
    let headers = [
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "9"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-encoding", "aws-chunked"),
    ];
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, b"123456789").to_be_bytes();
    let sum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &sum[4..]);
    let body = |tail: &str| format!("4\r\n1234\r\n5;chunk-signature=00\r\n56789\r\n{tail}").into_bytes();
    let good = body(&format!("0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n"));
    assert_eq!(fixture.call("PUT", "/b/k", &headers, &good).await.0, 200);
    let (_, text, shown) = fixture.call("GET", "/b/k", &[], b"").await;
    assert_eq!((text.as_str(), shown.get("content-encoding")), ("123456789", None));
    for (tail, code) in [
        ("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"),
        ("0\r\n\r\n", "BadDigest"),
        ("0\r\n", "IncompleteBody"),
        ("", "IncompleteBody"),
        ("1\r\nx\r\n0\r\n\r\n", "IncompleteBody"),
        ("zz\r\n", "IncompleteBody"),
    ] {
        let (status, text, _) = fixture.call("PUT", "/b/k", &headers, &body(tail)).await;
        assert!(status == 400 && text.contains(code), "{tail:?} {status} {text}");
    }
    assert_eq!(fixture.call("GET", "/b/k", &[], b"").await.1, "123456789");
}

#[tokio::test]
async fn short_bodies_and_failed_conditions_change_nothing() {
    let fixture = Fixture::start().await;
    fixture.call("PUT", "/b/k", &[], b"old").await;
    let mut stream = tokio::net::TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nshort").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(fixture.call("PUT", "/b/k", &[("if-none-match", "*")], b"new").await.0, 412);
    assert_eq!(fixture.call("PUT", "/b/k", &[("if-match", "\"x\"")], b"new").await.0, 412);
    assert_eq!(fixture.call("GET", "/b/k", &[("if-match", "\"x\"")], b"").await.0, 412);
    assert_eq!(fixture.call("PUT", "/b/k?acl", &[], b"new").await.0, 501);
    let (status, body, headers) = fixture.call("GET", "/b/k", &[], b"").await;
    assert_eq!((status, body.as_str()), (200, "old"));
    let etag = headers["etag"].to_str().unwrap();
    assert_eq!(fixture.call("GET", "/b/k", &[("if-none-match", etag)], b"").await.0, 304);
    assert_eq!(fixture.call("PUT", "/b/k", &[("if-match", etag)], b"new").await.0, 200);
}

#[tokio::test]
async fn listings_page_in_order() {
    let fixture = Fixture::start().await;
    for number in (0..25).rev() {
        fixture.call("PUT", &format!("/b/d/{number:02}"), &[], b"xyz").await;
    }
    fixture.call("PUT", "/b/e%26", &[], b"").await;
    let (mut keys, mut token) = (Vec::new(), String::new());
    loop {
        let (_, xml, _) = fixture.call("GET", &format!("/b?list-type=2&max-keys=10{token}"), &[], b"").await;
        let texts = |name: &str| -> Vec<String> {
            xml.split(&format!("<{name}>"))
                .skip(1)
                .map(|rest| rest.split('<').next().unwrap().to_owned())
                .collect()
        };
        keys.extend(texts("Key"));
        let Some(next) = texts("NextContinuationToken").pop() else { break };
        token = format!("&continuation-token={next}");
    }
    let mut expected: Vec<String> = (0..25).map(|number| format!("d/{number:02}")).collect();
    expected.push("e&amp;".to_owned());
    assert_eq!(keys, expected);
    let (_, xml, _) = fixture.call("GET", "/b?list-type=2&delimiter=/", &[], b"").await;
    assert!(
        xml.contains("<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>")
            && xml.contains("<Key>e&amp;</Key>")
    );
    assert!(!xml.contains("<Key>d/"));
    assert!(fixture.call("GET", "/", &[], b"").await.1.contains("<Name>b</Name>"));
    assert_eq!(fixture.call("GET", "/b?lifecycle", &[], b"").await.0, 404);
}

#[tokio::test]
async fn uploads_in_parts_become_objects() {
    let fixture = Fixture::start().await;
    let (status, begun, _) = fixture.call("POST", "/b/k?uploads", &[("x-amz-meta-a", "1")], b"").await;
    assert_eq!(status, 200);
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mut tags = Vec::new();
    for (number, body) in [(2, "world"), (1, "hello "), (3, "dropped")] {
        let target = format!("/b/k?partNumber={number}&uploadId={id}");
        let (status, _, headers) = fixture.call("PUT", &target, &[], body.as_bytes()).await;
        assert_eq!(status, 200);
        tags.push((number, headers["etag"].to_str().unwrap().to_owned()));
    }
    let target = format!("/b/k?uploadId={id}");
    let (_, listed, _) = fixture.call("GET", &target, &[], b"").await;
    assert!(
        listed.contains(&format!("<PartNumber>1</PartNumber><ETag>{}</ETag><Size>6</Size>", tags[1].1)),
        "{listed}"
    );
    let list = |tags: &[(u16, String)]| {
        tags.iter()
            .map(|(n, tag)| {
                format!(
                    "<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>",
                    tag.replace('"', "&quot;")
                )
            })
            .collect::<String>()
            .into_bytes()
    };
    let wrong = [(1, tags[0].1.clone())];
    assert_eq!(fixture.call("POST", &target, &[], &list(&wrong)).await.0, 400);
    let right = [(1, tags[1].1.clone()), (2, tags[0].1.clone())];
    assert_eq!(fixture.call("POST", &target, &[("if-match", "\"x\"")], &list(&right)).await.0, 404);
    assert_eq!(fixture.call("POST", &target, &[], &list(&right)).await.0, 200);
    let (_, body, headers) = fixture.call("GET", "/b/k", &[], b"").await;
    assert_eq!((body.as_str(), headers["x-amz-meta-a"].to_str().unwrap()), ("hello world", "1"));
    assert_eq!(fixture.call("POST", &target, &[], &list(&right)).await.0, 404);
    let (_, begun, _) = fixture.call("POST", "/b/k?uploads", &[], b"").await;
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    for status in [204, 404] {
        assert_eq!(fixture.call("DELETE", &format!("/b/k?uploadId={id}"), &[], b"").await.0, status);
    }
}

#[tokio::test]
async fn copies_are_whole_and_conditional() {
    let fixture = Fixture::start().await;
    let (_, _, put) = fixture.call("PUT", "/b/k%20y", &[("x-amz-meta-a", "1")], b"0123456789").await;
    let etag = put["etag"].to_str().unwrap();
    let copy = async |to: &str, headers: &[(&str, &str)]| {
        let headers = [&[("x-amz-copy-source", "/b/k%20y")], headers].concat();
        fixture.call("PUT", &format!("/b/{to}"), &headers, b"").await
    };
    let replace = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    for (to, headers, a, b) in [
        ("copy", &[][..], Some("1"), None),
        ("copy", &replace, None, Some("2")),
        ("k%20y", &replace, None, Some("2")),
    ] {
        let (status, text, _) = copy(to, headers).await;
        assert!(status == 200 && text.contains("<CopyObjectResult>"), "{status} {text}");
        let (_, body, shown) = fixture.call("GET", &format!("/b/{to}"), &[], b"").await;
        assert!(body == "0123456789" && text.contains(shown["etag"].to_str().unwrap()), "{text}");
        let header = |name: &str| shown.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("x-amz-meta-a"), header("x-amz-meta-b")), (a, b), "{to}");
    }
    let (_, _, now) = fixture.call("HEAD", "/b/k%20y", &[], b"").await;
    let now = now["etag"].to_str().unwrap();
    assert_ne!(now, etag);
    for (name, value, status) in [
        ("x-amz-copy-source-if-match", etag, 412),
        ("x-amz-copy-source-if-match", now, 200),
        ("x-amz-copy-source-if-none-match", now, 412),
        ("if-none-match", "*", 412),
        ("if-match", now, 412),
        ("if-match", "*", 200),
    ] {
        assert_eq!(copy("copy", &[(name, value)]).await.0, status, "{name}: {value}");
    }
    for (source, status) in [("b/none", 404), ("none/k", 404), ("b", 400)] {
        assert_eq!(
            fixture.call("PUT", "/b/k", &[("x-amz-copy-source", source)], b"").await.0,
            status,
            "{source}"
        );
    }
}

#[tokio::test]
async fn parts_are_copied_of_ranges() {
    let fixture = Fixture::start().await;
    fixture.call("PUT", "/b/source", &[], b"0123456789").await;
    let (_, begun, _) = fixture.call("POST", "/b/k?uploads", &[], b"").await;
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let part = async |number: u16, headers: &[(&str, &str)]| {
        let headers = [&[("x-amz-copy-source", "b/source")], headers].concat();
        fixture.call("PUT", &format!("/b/k?partNumber={number}&uploadId={id}"), &headers, b"").await
    };
    for bad in ["bytes=3-10", "bytes=4-3", "bytes=-3", "3-4"] {
        assert_eq!(part(1, &[("x-amz-copy-source-range", bad)]).await.0, 400, "{bad}");
    }
    assert_eq!(part(1, &[("x-amz-copy-source-if-match", "\"x\"")]).await.0, 412);
    let mut list = String::new();
    for (number, headers) in [(1, &[("x-amz-copy-source-range", "bytes=3-9")][..]), (2, &[])] {
        let (status, text, _) = part(number, headers).await;
        assert!(status == 200 && text.contains("<CopyPartResult>"), "{status} {text}");
        let etag = text.split("<ETag>").nth(1).unwrap().split('<').next().unwrap();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    assert_eq!(fixture.call("POST", &format!("/b/k?uploadId={id}"), &[], list.as_bytes()).await.0, 200);
    assert_eq!(fixture.call("GET", "/b/k", &[], b"").await.1, "34567890123456789");
    assert_eq!(fixture.call("GET", "/b/k", &[("range", "bytes=5-8")], b"").await.1, "8901");
}
