//! Streamed uploads: what stands on the wire, what is withheld, and answers that come early.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::Notify;

use super::server::{Seen, Server};
use super::*;
use crate::auth::{CredentialStore, verify};
use crate::config::{
    Anonymous, BucketRule, BucketRules, Credential, EtagPolicy, ListingMode, SseMode, Unencrypted,
};
use crate::s3::chunked::ChunkedDecoder;
use crate::s3::{RequestHead, RequestId, S3Request};

const FRAME: usize = 65536 + 16;

fn sealed(len: usize) -> Bytes {
    (0..len).map(|i| (i * 13 + i / 241) as u8).collect::<Vec<_>>().into()
}

fn framed(server: &Server, framing: UploadFraming) -> Backend {
    let mut config = config(server.address);
    config.profile.framing = Some(framing);
    Backend::new("test", config).unwrap()
}

fn rule() -> BucketRule {
    BucketRule {
        backend: "test".into(),
        sse: SseMode::SseS3,
        sse_named: false,
        key: None,
        etag: EtagPolicy::Md5,
        unencrypted_objects: Unencrypted::Reject,
        listing: ListingMode::Lookup,
        anonymous: Anonymous::Deny,
        binding: None,
        shared_binding: false,
        bucket_key: true,
    }
}

/// What a server makes of it that checks every signature and checksum: our own front door.
fn received(seen: &Seen) -> Result<(Vec<u8>, Option<String>)> {
    let mut headers = HeaderMap::new();
    for line in seen.head.trim_end().lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    let request = S3Request::parse(RequestHead {
        method: http::Method::PUT,
        target: seen.line().split(' ').nth(1).unwrap(),
        headers,
        secure: true,
        domains: &[],
        region: None,
        minio_api: false,
        request_id: RequestId::fresh(),
    })?;
    let credential = Credential {
        access_key: "OWNKEY".into(),
        secret_key: Secret::new("secret"),
        session_token: None,
        allow: Vec::new(),
        backend_keys: BTreeMap::new(),
    };
    let rules = BucketRules::new(BTreeMap::new(), Vec::new(), rule());
    let store = CredentialStore::new([credential], rules);
    let verified = verify(request, &store, OffsetDateTime::now_utc())?;
    let Some(mut decoder) = ChunkedDecoder::for_request(&verified)? else {
        return Ok((seen.body.clone(), None));
    };
    let mut body = Vec::new();
    decoder.push(Bytes::copy_from_slice(&seen.body), &mut |bytes| body.extend_from_slice(&bytes))?;
    let trailers = decoder.finish()?;
    Ok((body, trailers.get("x-amz-checksum-crc64nvme").map(str::to_owned)))
}

#[tokio::test]
async fn every_framing_arrives_whole_signed_and_announced() {
    for framing in [UploadFraming::UnsignedTrailer, UploadFraming::SignedChunks, UploadFraming::Plain] {
        let server = Server::always(200, "ETag: \"e\"\r\n", "").await;
        let backend = framed(&server, framing);
        let body = sealed(3 * FRAME + 777);
        let out = put().header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut upload = backend.upload(&Caller::Own, out, body.len() as u64).await.unwrap();
        let mut from = 0;
        for to in [1, 17, FRAME - 1, FRAME, 2 * FRAME + 5, 3 * FRAME + 700] {
            assert!(matches!(upload.send(body.slice(from..to)).await.unwrap(), Step::Done(())));
            assert!(matches!(upload.drive(async { 7 }).await.unwrap(), Step::Done(7)));
            from = to;
        }
        let response = upload.finish(body.slice(from..)).await.unwrap();
        assert_eq!(response.headers["etag"], "\"e\"");
        let seen = server.until_seen(1).await.remove(0);
        assert!(seen.complete, "{framing:?}");
        let (got, checksum) = received(&seen).unwrap();
        assert!(got == body, "{framing:?}");
        let coding = seen.header("content-encoding").unwrap();
        match framing {
            UploadFraming::Plain => assert_eq!(coding, "gzip"),
            _ => assert_eq!(coding, "aws-chunked,gzip"),
        }
        assert_eq!(checksum.is_some(), framing == UploadFraming::UnsignedTrailer);
    }
}

#[tokio::test]
async fn a_changed_byte_does_not_pass_the_signatures() {
    let server = Server::always(200, "", "").await;
    let backend = framed(&server, UploadFraming::SignedChunks);
    let body = sealed(2 * FRAME);
    let upload = backend.upload(&Caller::Own, put(), body.len() as u64).await.unwrap();
    upload.finish(body).await.unwrap();
    let mut seen = server.until_seen(1).await.remove(0);
    assert!(received(&seen).is_ok());
    let last = seen.body.len() - 200;
    seen.body[last] ^= 1;
    assert!(received(&seen).is_err());
}

#[tokio::test]
async fn nothing_is_sent_before_sealed_bytes_are_there() {
    let server = Server::always(200, "", "").await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 10).await.unwrap();
    upload.drive(tokio::time::sleep(Duration::from_millis(50))).await.unwrap();
    drop(upload);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_dropped_upload_is_cut_before_its_end() {
    for framing in [UploadFraming::UnsignedTrailer, UploadFraming::SignedChunks, UploadFraming::Plain] {
        let server = Server::start(|mut peer| async move {
            peer.request().await;
            peer.answer(200, "", "").await;
        })
        .await;
        let backend = framed(&server, framing);
        let body = sealed(3 * FRAME);
        let mut upload = backend.upload(&Caller::Own, put(), body.len() as u64).await.unwrap();
        upload.send(body.slice(..2 * FRAME)).await.unwrap();
        upload.drive(tokio::time::sleep(Duration::from_millis(20))).await.unwrap();
        drop(upload);
        let seen = server.until_seen(1).await.remove(0);
        assert!(!seen.complete && !seen.body.ends_with(b"0\r\n\r\n"), "{framing:?}");
        assert!(seen.body.len() < 3 * FRAME);
        assert_eq!(server.connections(), 1, "and is not sent again");
    }
}

#[tokio::test]
async fn all_bytes_without_finish_are_no_upload_either() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let backend = backend(server.address);
    let body = sealed(FRAME);
    let mut upload = backend.upload(&Caller::Own, put(), body.len() as u64).await.unwrap();
    upload.send(body).await.unwrap();
    upload.drive(tokio::time::sleep(Duration::from_millis(20))).await.unwrap();
    drop(upload);
    let seen = server.until_seen(1).await.remove(0);
    assert!(!seen.complete && received(&seen).is_err());
}

const DENIED: &str = "<Error><Code>AccessDenied</Code></Error>";

#[tokio::test]
async fn an_early_refusal_is_seen_while_the_client_is_silent() {
    // It answers and then neither reads nor closes.
    let server = Server::start(|mut peer| async move {
        peer.head().await;
        peer.answer(403, "", DENIED).await;
        peer.hang().await;
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 1 << 30).await.unwrap();
    assert!(matches!(upload.send(sealed(FRAME)).await.unwrap(), Step::Done(())));
    let Step::Answered(response) = upload.drive(std::future::pending::<()>()).await.unwrap() else {
        panic!("no answer");
    };
    assert_eq!(error_from(response, &Names::default()).await.code(), &Code::AccessDenied);
    assert!(upload.send(sealed(FRAME)).await.is_err(), "it is over");
}

#[tokio::test]
async fn an_early_refusal_is_seen_while_bytes_wait_for_room() {
    // Where it closes, bytes in flight meet a closed socket, and the reset must not hide the answer.
    for close in [false, true, true, true] {
        let server = Server::start(move |mut peer| async move {
            peer.head().await;
            peer.answer(403, "Connection: close\r\n", DENIED).await;
            if !close {
                peer.hang().await;
            }
        })
        .await;
        let backend = backend(server.address);
        let mut upload = backend.upload(&Caller::Own, put(), 1 << 30).await.unwrap();
        let outcome = loop {
            match upload.send(sealed(FRAME)).await {
                Ok(Step::Done(())) => {}
                other => break other,
            }
        };
        match outcome {
            Ok(Step::Answered(response)) => assert_eq!(response.status.as_u16(), 403),
            Err(error) => panic!("the answer was lost: {error}"),
            Ok(Step::Done(())) => unreachable!(),
        }
    }
}

#[tokio::test]
async fn a_success_before_the_end_is_not_believed() {
    let server = Server::start(|mut peer| async move {
        peer.head().await;
        peer.answer(200, "", "").await;
        peer.hang().await;
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 1 << 30).await.unwrap();
    upload.send(sealed(FRAME)).await.unwrap();
    let error = upload.drive(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(error.code(), &Code::BadGateway);
}

#[tokio::test]
async fn a_success_from_a_backend_that_closed_before_the_end_is_not_believed() {
    // It answers 200 and closes; every byte left is dropped, up to the last. More bytes than the sockets' buffers hold:
    // what was all on its way before the answer came would count.
    let server = Server::start(|mut peer| async move {
        peer.head().await;
        peer.answer(200, "Connection: close\r\n", "").await;
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 1024 * FRAME as u64).await.unwrap();
    for _ in 0..1023 {
        match upload.send(sealed(FRAME)).await {
            Ok(Step::Done(())) => {}
            Ok(Step::Answered(_)) => panic!("a success was taken for an answer"),
            Err(error) => return assert_eq!(error.code(), &Code::BadGateway),
        }
    }
    assert_eq!(upload.finish(sealed(FRAME)).await.unwrap_err().code(), &Code::BadGateway);
}

#[tokio::test]
async fn a_backend_that_takes_nothing_is_given_up() {
    let server = Server::start(|mut peer| async move {
        peer.head().await;
        peer.hang().await;
    })
    .await;
    let mut config = config(server.address);
    config.timeouts.idle = Duration::from_millis(100);
    let backend = Backend::new("test", config).unwrap();
    let mut upload = backend.upload(&Caller::Own, put(), 1 << 40).await.unwrap();
    let error = loop {
        match upload.send(sealed(16 * FRAME)).await {
            Ok(step) => assert!(matches!(step, Step::Done(()))),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), &Code::GatewayTimeout);
}

#[tokio::test]
async fn no_answer_at_the_end_is_given_up() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.hang().await;
    })
    .await;
    let mut config = config(server.address);
    config.timeouts.response = Duration::from_millis(50);
    config.timeouts.connect = Duration::from_millis(50);
    let backend = Backend::new("test", config).unwrap();
    let upload = backend.upload(&Caller::Own, put(), 10).await.unwrap();
    assert_eq!(upload.finish(sealed(10)).await.unwrap_err().code(), &Code::GatewayTimeout);
}

#[tokio::test]
async fn a_reset_is_a_bad_gateway_and_nothing_is_sent_again() {
    let server = Server::start(|mut peer| async move {
        peer.head().await;
        peer.reset();
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 1 << 30).await.unwrap();
    let error = loop {
        match upload.send(sealed(FRAME)).await {
            Ok(Step::Done(())) => {}
            Ok(Step::Answered(_)) => panic!("no answer was given"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), server.connections()), (&Code::BadGateway, 1));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let server = Server::start(|mut peer| async move {
        let mut seen = peer.head().await.unwrap();
        peer.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        peer.body(&mut seen).await;
        peer.remember(seen);
        peer.answer(200, "", "").await;
    })
    .await;
    let backend = backend(server.address);
    let body = sealed(2 * FRAME);
    let mut upload = backend.upload(&Caller::Own, put(), body.len() as u64).await.unwrap();
    upload.send(body.slice(..FRAME)).await.unwrap();
    assert!(upload.finish(body.slice(FRAME..)).await.unwrap().is_success());
    assert!(server.seen()[0].complete);
}

#[tokio::test]
async fn another_region_is_learnt_for_the_next_try() {
    let server = Server::start(|mut peer| async move {
        let mut seen = peer.head().await.unwrap();
        if !seen.header("authorization").unwrap().contains("/eu-west-1/s3/") {
            peer.answer(307, "x-amz-bucket-region: eu-west-1\r\nLocation: http://x/\r\n", "").await;
            return peer.hang().await;
        }
        peer.body(&mut seen).await;
        peer.answer(200, "", "").await;
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 1 << 30).await.unwrap();
    upload.send(sealed(FRAME)).await.unwrap();
    let error = upload.drive(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(error.code(), &Code::SlowDown);
    let upload = backend.upload(&Caller::Own, put(), FRAME as u64).await.unwrap();
    assert!(upload.finish(sealed(FRAME)).await.unwrap().is_success());
}

#[tokio::test]
async fn more_or_fewer_bytes_than_announced_never_end_cleanly() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let backend = backend(server.address);
    let upload = backend.upload(&Caller::Own, put(), 100).await.unwrap();
    assert_eq!(upload.finish(sealed(101)).await.unwrap_err().code(), &Code::InternalError);
    let upload = backend.upload(&Caller::Own, put(), 100).await.unwrap();
    assert_eq!(upload.finish(sealed(99)).await.unwrap_err().code(), &Code::InternalError);
    // Neither was announced, or it was cut: a third, good one is the first that arrives whole.
    let upload = backend.upload(&Caller::Own, put(), 100).await.unwrap();
    let _ = upload.finish(sealed(100)).await;
    while !server.seen().last().is_some_and(|seen| seen.complete) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.seen().iter().filter(|seen| seen.complete).count(), 1);
}

#[tokio::test]
async fn waiting_for_the_client_moves_the_connection() {
    let got = Arc::new(Notify::new());
    let tell = got.clone();
    let server = Server::start(move |mut peer| {
        let tell = tell.clone();
        async move {
            let mut seen = peer.head().await.unwrap();
            tell.notify_one();
            peer.body(&mut seen).await;
            peer.answer(200, "", "").await;
        }
    })
    .await;
    let backend = backend(server.address);
    let mut upload = backend.upload(&Caller::Own, put(), 2 * FRAME as u64).await.unwrap();
    upload.send(sealed(FRAME)).await.unwrap();
    // The client's next bytes come only after the backend has had the head.
    assert!(matches!(upload.drive(got.notified()).await.unwrap(), Step::Done(())));
    assert!(upload.finish(sealed(FRAME)).await.unwrap().is_success());
}

// The answer may be there before anything waits for it: here the thread stands still while the server answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_right_behind_the_last_byte_is_not_early() {
    let server = Server::always(200, "", "").await;
    let backend = framed(&server, UploadFraming::Plain);
    let mut upload = backend.upload(&Caller::Own, put(), 100).await.unwrap();
    upload.send(sealed(100)).await.unwrap();
    while server.seen().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(upload.finish(Bytes::new()).await.unwrap().is_success());
}
