//! Copies of objects onto themselves where the storage does not promise to make them in one step: it changes no object in place,
//! no byte of any object moves through the proxy all the same, and another writer is neither lost nor mixed in.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::{Fault, RawObject, Seen};
use support::multipart::{ENVELOPE, MIN_PART, Object};
use support::sse::{Headers, KEY_ID, SSE, customer, h};
use support::uploads::with;
use support::{Answer, BUCKET, Call, Options, Stack, moved, random};

const UNPROMISED: &str = "    profile: { whole_self_copies: false }";

async fn stack(store: Option<fn(&mut s3cloak::demo::store::StoreConfig)>) -> Stack {
    let listen = "tls_terminated_in_front: true";
    Stack::with(Options { listen, backend: UNPROMISED, store, ..Options::default() }).await
}

async fn onto_itself(stack: &Stack, key: &str, headers: &Headers) -> Answer {
    let call = Call::new("PUT", format!("/{BUCKET}/{key}"));
    stack.proxy.send(with(call.header("x-amz-copy-source", format!("{BUCKET}/{key}")), headers)).await
}

async fn read(stack: &Stack, key: &str, headers: &Headers) -> Answer {
    stack.proxy.send(with(Call::new("GET", format!("/{BUCKET}/{key}")), headers)).await
}

fn stored(stack: &Stack, key: &str) -> RawObject {
    stack.store.stored(BUCKET, key).unwrap()
}

/// Requests that would change an object where it stands.
fn in_place(seen: &[Seen]) -> usize {
    let copies =
        |seen: &&Seen| seen.headers.contains_key("x-amz-copy-source") && !seen.target.contains("uploadId");
    seen.iter().filter(copies).count()
}

/// No upload is left on the storage.
async fn assert_no_uploads(stack: &Stack) {
    let uploads = stack.backend.send(Call::new("GET", format!("/{BUCKET}?uploads"))).await;
    assert!(!uploads.text().contains("<Upload>"), "{}", uploads.text());
}

#[tokio::test]
async fn nothing_is_changed_in_place_and_no_byte_moves() {
    let stack = stack(None).await;
    let own = h(&[
        ("content-type", "a/b"),
        ("cache-control", "no-cache"),
        ("x-amz-meta-own", "1"),
        ("x-amz-tagging", "t=1%202&u=%26"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ]);
    for size in [0, 1, 70_000, 6 << 20] {
        let body = random(1, size);
        let put = with(Call::new("PUT", format!("/{BUCKET}/k")).body(body.clone()), &own);
        assert_eq!(stack.proxy.send(put).await.status, 200);
        let (before, shown) = (stored(&stack, "k"), read(&stack, "k", &vec![]).await);
        let mut envelopes = vec![before.header(ENVELOPE).unwrap().to_owned()];
        for (changes, opens) in [
            (h(&[(SSE, "aws:kms"), (KEY_ID, "test-key")]), vec![]),
            (
                h(&[
                    ("x-amz-metadata-directive", "REPLACE"),
                    ("content-type", "a/b"),
                    ("x-amz-meta-own", "1"),
                ]),
                vec![],
            ),
            (customer([7; 32]), customer([7; 32])),
        ] {
            stack.store.journal().take();
            let answer = onto_itself(&stack, "k", &changes).await;
            assert_eq!(answer.status, 200, "{size} {changes:?}: {}", answer.text());
            let seen = stack.store.journal().take();
            // The list of the upload's one part is all that is sent.
            assert_eq!(in_place(&seen), 0, "{size} {changes:?}");
            assert!(moved(&seen) <= 1024, "{size} {changes:?}: {}", moved(&seen));
            let after = stored(&stack, "k");
            assert!(after.body == before.body, "{size} {changes:?}");
            envelopes.push(after.header(ENVELOPE).unwrap().to_owned());
            let got = read(&stack, "k", &opens).await;
            assert!(got.complete && got.body == body, "{size} {changes:?}");
            assert_eq!(answer.element("ETag").replace("&quot;", "\""), got.header("etag").unwrap());
            if opens.is_empty() {
                assert_eq!(got.header("etag"), shown.header("etag"), "{size} {changes:?}");
            }
            for kept in ["content-type", "x-amz-meta-own"] {
                assert_eq!(got.header(kept), shown.header(kept), "{size} {changes:?}");
            }
            let tags = read(&stack, "k?tagging", &vec![]).await.text();
            assert!(tags.contains("<Value>1 2</Value>") && tags.contains("<Value>&amp;</Value>"), "{tags}");
        }
        envelopes.dedup();
        assert_eq!(envelopes.len(), 4);
    }
    assert_no_uploads(&stack).await;
}

#[tokio::test]
async fn parts_stay_what_they_are() {
    let stack = stack(None).await;
    let object = Object::build(&stack, "of-parts", vec![random(1, MIN_PART), random(2, MIN_PART + 7)]).await;
    object.store(&stack, "of-parts").await;
    let answer = onto_itself(&stack, "of-parts", &h(&[(SSE, "aws:kms")])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = "<ObjectEncryption><SSE-KMS><KMSKeyArn>test-key</KMSKeyArn></SSE-KMS></ObjectEncryption>";
    let update = Call::new("PUT", format!("/{BUCKET}/of-parts?encryption")).body(document);
    assert_eq!(stack.proxy.send(update).await.status, 200);
    let got = read(&stack, "of-parts", &vec![]).await;
    assert!(
        got.body == object.plain() && got.header("etag") == Some(format!("\"{}\"", object.etag).as_str())
    );
    assert!(read(&stack, "of-parts?partNumber=2", &vec![]).await.body == object.parts[1].plain);
    assert!(stored(&stack, "of-parts").body == object.body());
}

/// A copied part takes no tags along. Where they cannot be read nothing is copied: there may be some.
#[tokio::test]
async fn tags_that_cannot_be_read_are_not_lost() {
    let stack = stack(None).await;
    let denied = || Fault::Status(403, "AccessDenied".to_owned());
    let update = || {
        let document =
            "<ObjectEncryption><SSE-KMS><KMSKeyArn>test-key</KMSKeyArn></SSE-KMS></ObjectEncryption>";
        Call::new("PUT", format!("/{BUCKET}/k?encryption")).body(document)
    };
    for size in [0, 5000] {
        let put = Call::new("PUT", format!("/{BUCKET}/k")).header("x-amz-tagging", "t=1");
        assert_eq!(stack.proxy.send(put.body(random(5, size))).await.status, 200);
        let before = stored(&stack, "k");
        for at in 0..2 {
            stack.store.faults().on(Method::GET, "tagging", denied());
            let answer = match at {
                0 => onto_itself(&stack, "k", &h(&[(SSE, "aws:kms")])).await,
                _ => stack.proxy.send(update()).await,
            };
            assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"), "{}", answer.text());
            assert!(answer.text().contains("s3:GetObjectTagging"), "{}", answer.text());
            assert_eq!((stack.store.faults().waiting(), stored(&stack, "k")), (0, before.clone()));
            assert_no_uploads(&stack).await;
        }
        // Tags that are replaced, or counted as none, are not asked for.
        stack.store.faults().on(Method::GET, "tagging", denied());
        let replaced =
            h(&[(SSE, "aws:kms"), ("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "u=2")]);
        assert_eq!(onto_itself(&stack, "k", &replaced).await.status, 200);
        // An empty object is looked at by HEAD.
        let look = if size == 0 { Method::HEAD } else { Method::GET };
        let none = vec![("x-amz-tagging-count".to_owned(), "0".to_owned())];
        stack.store.faults().on(look.clone(), "/photos/k", Fault::Headers(none));
        assert_eq!(onto_itself(&stack, "k", &h(&[(SSE, "aws:kms")])).await.status, 200);
        assert_eq!(stack.store.faults().waiting(), 1);
        stack.store.faults().clear();
        assert!(!read(&stack, "k?tagging", &vec![]).await.text().contains("<Tag>"));
        // Some were counted, and none are given: it is not known which.
        let some = vec![("x-amz-tagging-count".to_owned(), "1".to_owned())];
        stack.store.faults().on(look, "/photos/k", Fault::Headers(some));
        let answer = onto_itself(&stack, "k", &h(&[(SSE, "aws:kms")])).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "BadGateway"), "{}", answer.text());
    }
}

#[tokio::test]
async fn another_copy_onto_itself_is_not_lost() {
    let stack = stack(None).await;
    // Another replica's, just before: the ETag is the same, and the envelope is not.
    let changed = || {
        let headers = vec![(ENVELOPE.to_owned(), "another".to_owned())];
        stack.store.faults().on(Method::HEAD, "/k", Fault::Headers(headers));
    };
    for changes in [h(&[(SSE, "aws:kms")]), customer([7; 32])] {
        stack.put("k", &random(3, 5000)).await;
        changed();
        let answer = onto_itself(&stack, "k", &changes).await;
        assert_eq!((answer.status, stack.store.faults().waiting()), (200, 0), "{}", answer.text());
        stack.put("k", &random(3, 5000)).await;
        let before = stored(&stack, "k");
        (0..3).for_each(|_| changed());
        let answer = onto_itself(&stack, "k", &changes).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "{}", answer.text());
        assert_eq!((stack.store.faults().waiting(), stored(&stack, "k")), (0, before));
        assert_no_uploads(&stack).await;
    }
}

#[tokio::test]
async fn another_writer_wins() {
    let stack = stack(None).await;
    let refuse = || Fault::Status(412, "PreconditionFailed".to_owned());
    for (key, body) in [("empty", Vec::new()), ("small", random(3, 5000))] {
        stack.put(key, &body).await;
        // What is found replaced is looked at again, and not for ever.
        let last =
            if body.is_empty() { (Method::PUT, "/photos/empty") } else { (Method::POST, "small?uploadId") };
        stack.store.faults().on(last.0.clone(), last.1, refuse());
        let answer = onto_itself(&stack, key, &h(&[(SSE, "aws:kms")])).await;
        assert_eq!((answer.status, stack.store.faults().waiting()), (200, 0), "{}", answer.text());
        let before = stored(&stack, key);
        for _ in 0..3 {
            stack.store.faults().on(last.0.clone(), last.1, refuse());
        }
        let answer = onto_itself(&stack, key, &h(&[(SSE, "aws:kms")])).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "{}", answer.text());
        assert_eq!((stack.store.faults().waiting(), stored(&stack, key)), (0, before));
    }
    // The storage is told which object the new one may replace.
    stack.store.journal().take();
    assert_eq!(onto_itself(&stack, "small", &h(&[(SSE, "AES256")])).await.status, 200);
    let seen = stack.store.journal().take();
    let complete =
        seen.iter().find(|seen| seen.method == Method::POST && seen.target.contains("uploadId")).unwrap();
    let part = seen.iter().find(|seen| seen.headers.contains_key("x-amz-copy-source")).unwrap();
    assert_eq!(complete.headers["if-match"], part.headers["x-amz-copy-source-if-match"]);
    assert!(!part.headers.contains_key("x-amz-copy-source-range"), "S3 takes none of small objects");
    // A client's own conditions hold as ever.
    let etag = read(&stack, "small", &vec![]).await.header("etag").unwrap().to_owned();
    for (name, value, status) in [
        ("if-match", "\"0123456789abcdef0123456789abcdef\"", 412),
        ("if-none-match", "*", 412),
        ("if-match", "*", 200),
        ("if-match", etag.as_str(), 200),
    ] {
        let answer = onto_itself(&stack, "small", &h(&[(SSE, "aws:kms"), (name, value)])).await;
        assert_eq!(answer.status, status, "{name}: {value}: {}", answer.text());
    }
    // A failure in the middle leaves neither an upload nor another object.
    let before = stored(&stack, "small");
    for (method, target) in
        [(Method::POST, "small?uploads"), (Method::PUT, "partNumber"), (Method::POST, "small?uploadId")]
    {
        stack.store.faults().on(method, target, Fault::Status(500, "InternalError".to_owned()));
        let answer = onto_itself(&stack, "small", &h(&[(SSE, "AES256")])).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "InternalError"), "{}", answer.text());
        assert_eq!(stored(&stack, "small"), before);
        assert_no_uploads(&stack).await;
    }
}

/// Where neither the copy of a part nor what it replaces could be pinned, the bytes are read and sealed anew.
#[tokio::test]
async fn what_cannot_be_pinned_is_sealed_anew() {
    let stack = Stack::with(Options {
        backend: "    profile: { pinned_copies: false, conditional_writes: false }",
        ..Options::default()
    })
    .await;
    let body = random(4, 70_000);
    stack.put("k", &body).await;
    let before = stored(&stack, "k");
    stack.store.journal().take();
    let answer = onto_itself(&stack, "k", &h(&[(SSE, "aws:kms")])).await;
    assert_eq!((answer.status, in_place(&stack.store.journal().take())), (200, 0), "{}", answer.text());
    let after = stored(&stack, "k");
    assert!(after.body.len() == before.body.len() && after.body != before.body);
    assert!(read(&stack, "k", &vec![]).await.body == body);
}
