//! Requests that are wrong as HTTP before they are wrong as S3: nothing behind them on their connection is taken for a request,
//! and nothing is stored.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use support::client::read_answer;
use support::{Answer, BUCKET, Call, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A signed upload of unknown end, and `body` in place of its chunks.
fn chunked(stack: &Stack, body: &[u8]) -> Vec<u8> {
    let call = Call::new("PUT", format!("/{BUCKET}/k"))
        .header("x-amz-decoded-content-length", "3000000")
        .payload("UNSIGNED-PAYLOAD");
    let head = String::from_utf8(stack.proxy.wire(&call)).unwrap();
    let head = head.replace("content-length: 0\r\n", "transfer-encoding: chunked\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends `wire`, and, once it is answered, a whole other request; the answer, and what came after it.
async fn then_another(stack: &Stack, wire: &[u8]) -> (Answer, Vec<u8>) {
    let mut tcp = TcpStream::connect(stack.proxy.address).await.unwrap();
    tcp.write_all(wire).await.unwrap();
    let answer = read_answer(&mut tcp, false).await;
    let another = stack.proxy.wire(&Call::new("GET", format!("/{BUCKET}/k")));
    let mut rest = Vec::new();
    // It may be closed already.
    if tcp.write_all(&another).await.is_ok() {
        let _ = tcp.read_to_end(&mut rest).await;
    }
    (answer, rest)
}

#[tokio::test]
async fn behind_a_broken_body_no_request_is_seen() {
    let stack = Stack::start().await;
    stack.put("k", b"kept").await;
    let chunk = [&b"10000\r\n"[..], &[b'x'; 65_536], b"\r\n"].concat();
    let long = chunk.repeat(24);
    for broken in ["zz\r\n", "-5\r\n", "5\r\nhelloXX\r\n", "1g\r\n", "fffffffffffffffff\r\n"] {
        for before in [&b""[..], &chunk, &long] {
            let (answer, rest) =
                then_another(&stack, &chunked(&stack, &[before, broken.as_bytes()].concat())).await;
            let what = format!("{broken:?} behind {}", before.len());
            assert_eq!((answer.status, answer.code().as_str()), (400, "IncompleteBody"), "{what}");
            assert_eq!(answer.header("connection"), Some("close"), "{what}");
            assert!(rest.is_empty(), "{what}: {}", String::from_utf8_lossy(&rest));
            assert_eq!(stack.get("k").await.body, b"kept", "{what}");
        }
    }
}

#[tokio::test]
async fn other_transfer_codings_are_not_taken_for_chunks() {
    let stack = Stack::start().await;
    stack.put("k", b"kept").await;
    for coding in
        ["gzip, chunked", "gzip\r\ntransfer-encoding: chunked", "chunked\r\ntransfer-encoding: chunked"]
    {
        let wire = String::from_utf8(chunked(&stack, b"5\r\nhello\r\n0\r\n\r\n")).unwrap();
        let wire = wire.replace("transfer-encoding: chunked", &format!("transfer-encoding: {coding}"));
        let (answer, _) = then_another(&stack, wire.as_bytes()).await;
        // What Pingora takes for no request at all is refused by it.
        assert!(matches!(answer.status, 400 | 501), "{coding}: {} {}", answer.status, answer.text());
        assert_eq!(stack.get("k").await.body, b"kept", "{coding}");
    }
}

#[tokio::test]
async fn a_host_is_needed() {
    let stack = Stack::start().await;
    let answer = stack.proxy.raw(format!("GET /{BUCKET}/k HTTP/1.1\r\n\r\n").as_bytes(), false).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "BadRequest"), "{}", answer.text());
    // HTTP/1.0 knows none: this one is only not signed.
    let answer = stack.proxy.raw(format!("GET /{BUCKET}/k HTTP/1.0\r\n\r\n").as_bytes(), false).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_said_twice_is_refused() {
    let stack = Stack::start().await;
    for (name, values) in [
        ("x-amz-server-side-encryption", ["AES256", "aws:kms"]),
        ("content-type", ["a/b", "c/d"]),
        ("content-md5", ["XUFAKrxLKna5cZ2REBfFkg==", "AAAAAAAAAAAAAAAAAAAAAA=="]),
        ("x-amz-storage-class", ["STANDARD", "GLACIER"]),
    ] {
        let call =
            values.iter().fold(Call::new("PUT", format!("/{BUCKET}/twice")).body("hello"), |call, value| {
                call.header(name, *value)
            });
        let answer = stack.proxy.send(call).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidArgument"), "{name}");
        assert_eq!(answer.element("ArgumentName"), name);
        assert_eq!(stack.get("twice").await.status, 404, "{name}");
    }
}
