//! CompleteMultipartUpload on a storage that takes long for it, as it goes over the wire: 200 and white space while the client
//! waits, then what became of it.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use support::client::unchunked;
use support::relay::{Act, Gate, Relay};
use support::uploads::{Tags, create, is_under_way, list, s3_etag, stored};
use support::{BUCKET, Call, Client, Stack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The head and body of the answer to a Complete whose storage answers only once white space was seen.
async fn completed(client: &Client, id: &str, tags: &Tags, gate: &Gate) -> (String, String) {
    let call = Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).body(list(tags));
    let mut connection = TcpStream::connect(client.address).await.unwrap();
    connection.write_all(&client.wire(&call)).await.unwrap();
    gate.arrival().await;
    let (mut got, mut opened) = (Vec::new(), false);
    loop {
        assert_ne!(connection.read_buf(&mut got).await.unwrap(), 0, "{}", String::from_utf8_lossy(&got));
        let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let (body, whole) = unchunked(&got[end + 4..]);
        let body = String::from_utf8(body).unwrap();
        if !opened && body.starts_with(&format!("{DECLARATION} ")) {
            assert_eq!(body.trim_end_matches(' '), DECLARATION);
            gate.open();
            opened = true;
        }
        if whole {
            assert!(opened, "{body}");
            return (String::from_utf8_lossy(&got[..end]).to_ascii_lowercase(), body);
        }
    }
}

#[tokio::test]
async fn who_waits_gets_white_space_and_then_the_truth() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (client, _) = stack.replica_over(relay.address).await;
    let id = create(&client, "k", &vec![]).await;
    let tags = vec![(1, stored(&client, "k", &id, 1, b"hello").await)];

    // A failure stands behind the same status, and leaves the upload as it was.
    let gate = Gate::new();
    let refusal = "<Error><Code>AccessDenied</Code><Message>m</Message></Error>";
    relay.once(Method::POST, "uploadId=", Act::Answer(gate.clone(), 403, refusal));
    let (head, body) = completed(&client, &id, &tags, &gate).await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("transfer-encoding: chunked"), "{head}");
    let told = body.strip_prefix(DECLARATION).unwrap().trim_start_matches(' ');
    assert!(told.starts_with("<Error><Code>AccessDenied</Code>") && !told.contains("<?xml"), "{body}");
    assert!(is_under_way(&stack, "k", &id).await);
    assert_eq!(stack.get("k").await.status, 404);

    let gate = Gate::new();
    relay.once(Method::POST, "uploadId=", Act::Wait(gate.clone()));
    let (head, body) = completed(&client, &id, &tags, &gate).await;
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: application/xml"), "{head}");
    let told = body.strip_prefix(DECLARATION).unwrap().trim_start_matches(' ');
    assert!(told.starts_with("<CompleteMultipartUploadResult") && !told.contains("<?xml"), "{body}");
    assert!(told.contains(&s3_etag(&[b"hello"]).replace('"', "&quot;")), "{body}");
    assert_eq!(stack.get("k").await.body, b"hello");
}
