//! Lying uploads, small and streamed: refused with the right error, nothing stored, and what was there is still there.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine;
use s3cloak::demo::store::Fault;
use s3cloak::s3::checksum::{ChecksumAlgorithm, Hasher};
use support::{BUCKET, Call, Stack, md5_hex, random};
use tokio::io::AsyncWriteExt;

const SMALL: usize = 10_000;
const STREAMED: usize = 3_000_000;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// aws-chunked without signatures, with a trailing checksum.
fn chunked(data: &[u8], trailer: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in data.chunks(100_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    out
}

#[tokio::test]
async fn lies_are_refused_and_lose_nothing() {
    let stack = Stack::start().await;
    let before = random(77, 5000);
    stack.put("kept", &before).await;
    let stored = stack.store.stored(BUCKET, "kept").unwrap();
    for size in [SMALL, STREAMED] {
        let data = random(size as u64, size);
        let other = random(1, size);
        let put = |key: &str| Call::new("PUT", format!("/{BUCKET}/{key}")).body(data.clone());
        let sha_of_other = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &other));
        let decoded = size.to_string();
        let streaming = |key: &str, trailer: &str| {
            Call::new("PUT", format!("/{BUCKET}/{key}"))
                .header("x-amz-decoded-content-length", decoded.clone())
                .header("x-amz-trailer", "x-amz-checksum-crc32")
                .header("content-encoding", "aws-chunked")
                .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                .body(chunked(&data, trailer))
        };
        let md5_of_other = b64(hex::decode(md5_hex(&other)).unwrap());
        type Lie<'a> = Box<dyn Fn(&str) -> Call + 'a>;
        let lies: Vec<(&str, &str, Lie<'_>)> = vec![
            ("hash", "XAmzContentSHA256Mismatch", Box::new(|key| put(key).payload(&sha_of_other))),
            ("md5", "BadDigest", Box::new(|key| put(key).header("content-md5", md5_of_other.clone()))),
            ("crc32", "BadDigest", Box::new(|key| put(key).header("x-amz-checksum-crc32", "AAAAAA=="))),
            (
                "crc64nvme",
                "BadDigest",
                Box::new(|key| put(key).header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")),
            ),
            ("sha256", "BadDigest", Box::new(|key| put(key).header("x-amz-checksum-sha256", b64([0; 32])))),
            ("trailer", "BadDigest", Box::new(|key| streaming(key, "x-amz-checksum-crc32:AAAAAA=="))),
            ("no trailer", "*", Box::new(|key| streaming(key, ""))),
            (
                "decoded length",
                "*",
                Box::new(|key| {
                    let mut call = streaming(key, "x-amz-checksum-crc32:AAAAAA==");
                    call.headers[0].1 = (size + 1).to_string();
                    call
                }),
            ),
            ("bad md5 header", "InvalidDigest", Box::new(|key| put(key).header("content-md5", "nonsense"))),
        ];
        for (what, code, lie) in &lies {
            for key in ["kept", "fresh"] {
                let answer = stack.proxy.send(lie(key)).await;
                assert!(
                    (400..500).contains(&answer.status),
                    "{what} of {size}: {} {}",
                    answer.status,
                    answer.text()
                );
                if *code != "*" {
                    assert_eq!(answer.code(), *code, "{what} of {size}");
                }
                let id = answer.header("x-amz-request-id").unwrap().to_owned();
                assert!(answer.text().contains(&id), "{what}: the body names the request");
            }
            assert!(stack.store.stored(BUCKET, "fresh").is_none(), "{what} of {size} was stored");
            assert_eq!(
                stack.store.stored(BUCKET, "kept").unwrap(),
                stored,
                "{what} of {size} replaced an object"
            );
        }
    }
    assert_eq!(stack.get("kept").await.body, before);
}

#[tokio::test]
async fn true_promises_are_kept_and_echoed() {
    let stack = Stack::start().await;
    for size in [0, SMALL, STREAMED] {
        let data = random(size as u64 + 3, size);
        let md5 = b64(hex::decode(md5_hex(&data)).unwrap());
        let sha = b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data));
        let call = Call::new("PUT", format!("/{BUCKET}/true"))
            .body(data.clone())
            .header("content-md5", md5)
            .header("x-amz-checksum-sha256", sha.clone());
        let put = stack.proxy.send(call).await;
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(put.header("x-amz-checksum-sha256"), Some(sha.as_str()));
        if size > 0 {
            let asked = Call::new("GET", format!("/{BUCKET}/true")).header("x-amz-checksum-mode", "ENABLED");
            let got = stack.proxy.send(asked).await;
            assert_eq!(got.header("x-amz-checksum-sha256"), Some(sha.as_str()));
            assert_eq!(got.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            assert_eq!(stack.get("true").await.header("x-amz-checksum-sha256"), None);
        }
        let crc = b64(crc(&data));
        let call = Call::new("PUT", format!("/{BUCKET}/chunked"))
            .header("x-amz-decoded-content-length", size.to_string())
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("content-encoding", "aws-chunked")
            .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .body(chunked(&data, &format!("x-amz-checksum-crc32:{crc}")));
        let put = stack.proxy.send(call).await;
        assert_eq!(put.status, 200, "{size}: {}", put.text());
        let got = stack.get("chunked").await;
        assert_eq!((got.body == data, got.header("content-encoding")), (true, None));
    }
}

/// Every algorithm in a header and in a trailer, small and streamed: right values are sealed and shown, others refused.
#[tokio::test]
async fn every_checksum_algorithm_is_verified_and_sealed() {
    let stack = Stack::start().await;
    for (seed, algorithm) in ChecksumAlgorithm::ALL.into_iter().enumerate() {
        let name = algorithm.header_name().to_string();
        for size in [SMALL, 1_200_000] {
            let data = random(seed as u64 + 50, size);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&data);
            let value = b64(hasher.finish());
            let lie = b64(vec![0; algorithm.length()]);
            let header = |value: &str| {
                Call::new("PUT", format!("/{BUCKET}/o"))
                    .body(data.clone())
                    .header(&name, value)
                    .header("x-amz-sdk-checksum-algorithm", algorithm.name())
            };
            let trailer = |value: &str| {
                Call::new("PUT", format!("/{BUCKET}/o"))
                    .header("x-amz-decoded-content-length", size.to_string())
                    .header("x-amz-trailer", name.clone())
                    .header("content-encoding", "aws-chunked")
                    .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                    .body(chunked(&data, &format!("{name}:{value}")))
            };
            for call in [header(&value), trailer(&value)] {
                let put = stack.proxy.send(call).await;
                assert_eq!(put.status, 200, "{algorithm:?}: {}", put.text());
                assert_eq!(put.header(&name), Some(value.as_str()));
                let stored = stack.store.stored(BUCKET, "o").unwrap();
                assert!(!stored.headers.iter().any(|(_, v)| v.contains(&value)), "{algorithm:?}");
                let asked =
                    Call::new("HEAD", format!("/{BUCKET}/o")).header("x-amz-checksum-mode", "ENABLED");
                let head = stack.proxy.send(asked).await;
                assert_eq!(head.header(&name), Some(value.as_str()), "{algorithm:?}");
                assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            }
            let stored = stack.store.stored(BUCKET, "o").unwrap();
            for call in [header(&lie), trailer(&lie)] {
                let put = stack.proxy.send(call).await;
                assert_eq!((put.status, put.code().as_str()), (400, "BadDigest"), "{algorithm:?}");
            }
            assert_eq!(stack.store.stored(BUCKET, "o").unwrap(), stored, "{algorithm:?}");
        }
    }
    for unknown in ["x-amz-checksum-crc16", "x-amz-checksum-xxhash32", "x-amz-checksum-sha3"] {
        let put = Call::new("PUT", format!("/{BUCKET}/u")).body("x").header(unknown, "AAAAAA==");
        let put = stack.proxy.send(put).await;
        assert_eq!((put.status, put.code().as_str()), (400, "InvalidRequest"), "{unknown}");
        assert!(stack.store.stored(BUCKET, "u").is_none());
    }
}

fn crc(data: &[u8]) -> [u8; 4] {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    (!crc).to_be_bytes()
}

#[tokio::test]
async fn a_short_body_is_never_stored() {
    let stack = Stack::start().await;
    stack.put("kept", b"before").await;
    for (size, sent) in
        [(SMALL, 100), (STREAMED, 0), (STREAMED, 1000), (STREAMED, 2_500_000), (STREAMED, STREAMED - 1)]
    {
        let data = random(9, size);
        let call = Call::new("PUT", format!("/{BUCKET}/kept")).payload("UNSIGNED-PAYLOAD").body(data);
        let wire = stack.proxy.wire(&call);
        let mut tcp = tokio::net::TcpStream::connect(stack.proxy.address).await.unwrap();
        tcp.write_all(&wire[..wire.len() - size + sent]).await.unwrap();
        tcp.shutdown().await.unwrap();
        let answer = support::client::read_answer(&mut tcp, false).await;
        assert!(answer.status == 400 || answer.status == 0, "{} {}", answer.status, answer.text());
        assert_eq!(stack.get("kept").await.body, b"before", "{sent} of {size}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_refused() {
    let stack = Stack::start().await;
    let call = Call::new("PUT", format!("/{BUCKET}/x")).payload("UNSIGNED-PAYLOAD");
    let wire = String::from_utf8(stack.proxy.wire(&call)).unwrap();
    let wire = wire.replace("content-length: 0", "transfer-encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n";
    let answer = stack.proxy.raw(wire.as_bytes(), false).await;
    assert_eq!((answer.status, answer.code().as_str()), (411, "MissingContentLength"));
}

#[tokio::test]
async fn expect_100_is_answered_and_the_connection_stays() {
    let stack = Stack::start().await;
    let data = random(4, STREAMED);
    let mut tcp = tokio::net::TcpStream::connect(stack.proxy.address).await.unwrap();
    for _ in 0..3 {
        let call =
            Call::new("PUT", format!("/{BUCKET}/e")).header("expect", "100-continue").body(data.clone());
        let wire = stack.proxy.wire(&call);
        let (head, body) = wire.split_at(wire.len() - data.len());
        tcp.write_all(head).await.unwrap();
        let mut interim = [0; 25];
        tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        tcp.write_all(body).await.unwrap();
        let answer = support::client::read_answer(&mut tcp, false).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_bucket_that_wants_a_digest_gets_one() {
    let stack = Stack::start().await;
    let wants = Fault::Status(400, "InvalidRequest".to_owned());
    stack.store.faults().on(http::Method::PUT, "/locked", wants);
    let data = random(8, SMALL);
    stack.put("locked", &data).await;
    let puts: Vec<_> = stack.store.journal().take().into_iter().filter(|s| s.method == "PUT").collect();
    let md5 = |i: usize| puts[i].headers.get("content-md5").cloned();
    assert_eq!((puts.len(), md5(0)), (2, None));
    let stored = stack.store.stored(BUCKET, "locked").unwrap();
    assert_eq!(md5(1).unwrap(), b64(hex::decode(md5_hex(&stored.body)).unwrap()));
    assert_eq!(stack.get("locked").await.body, data);
}
