//! A store that is told to misbehave does so, once, on the request that was meant.

use std::time::Duration;

use http::{Method, StatusCode};

use super::client::{BUCKET, Fixture, memory};
use crate::demo::store::Fault;

async fn store() -> Fixture {
    let mut config = memory();
    config.journal = true;
    let fixture = Fixture::start(config);
    fixture.put("/o", b"0123456789").await;
    fixture
}

#[tokio::test]
async fn a_fault_hits_the_request_it_is_meant_for() {
    let fixture = store().await;
    fixture.store.faults().on(Method::GET, "/o", Fault::Status(503, "SlowDown".to_owned()));
    fixture.put("/p", b"x").await;
    fixture.get("/p").await.ok();
    fixture.get("/o").await.refused(503, "SlowDown");
    assert_eq!(fixture.get("/o").await.ok().text(), "0123456789");
    assert_eq!(fixture.store.faults().waiting(), 0);
}

#[tokio::test]
async fn requests_fail_before_or_after_their_effect() {
    let fixture = store().await;
    fixture.store.faults().next(Fault::Status(500, "InternalError".to_owned()));
    fixture.call(Method::PUT, "/o", &[], b"1").await.refused(500, "InternalError");
    assert_eq!(fixture.store.stored(BUCKET, "o").unwrap().body, b"0123456789");
    fixture.store.faults().next(Fault::StatusAfter(500, "InternalError".to_owned()));
    fixture.call(Method::PUT, "/o", &[], b"1").await.refused(500, "InternalError");
    assert_eq!(fixture.store.stored(BUCKET, "o").unwrap().body, b"1");
    fixture.store.faults().next(Fault::ResetAfter);
    fixture.attempt(Method::PUT, "/o", &[], b"2").await.unwrap_err();
    assert_eq!(fixture.store.stored(BUCKET, "o").unwrap().body, b"2");
}

#[tokio::test]
async fn connections_break_and_stall() {
    let fixture = store().await;
    fixture.store.faults().on(Method::GET, "", Fault::CutBody(4));
    fixture.attempt(Method::GET, "/o", &[], b"").await.unwrap_err();
    for fault in [Fault::Stall, Fault::StallBody(4)] {
        fixture.store.faults().next(fault);
        let waited =
            tokio::time::timeout(Duration::from_millis(200), fixture.attempt(Method::GET, "/o", &[], b""));
        assert!(waited.await.is_err());
    }
    fixture.store.faults().on(Method::DELETE, "", Fault::Reset);
    // A connection that was used before may be tried again by the client, so ask on a fresh one.
    let request = fixture.sign("DELETE", "/bucket/o", &[("connection", "close")], "secret");
    let answer = fixture.send(request.map(|()| Default::default())).await;
    assert!(answer.is_err() || fixture.store.faults().waiting() == 0);
}

#[tokio::test]
async fn answers_lie() {
    let fixture = store().await;
    fixture.store.faults().next(Fault::ShortBody(4));
    let answer = fixture.get("/o").await.ok();
    assert_eq!((answer.text(), answer.header("content-length")), ("0123", Some("4")));
    fixture.store.faults().next(Fault::FlipByte(9));
    assert_eq!(fixture.get("/o").await.ok().text(), "012345678\u{38}");
    let wrong =
        vec![("etag".to_owned(), "\"wrong\"".to_owned()), ("set-cookie".to_owned(), "a=b".to_owned())];
    fixture.store.faults().next(Fault::Headers(wrong));
    let answer = fixture.get("/o").await.ok();
    assert_eq!((answer.header("etag"), answer.header("set-cookie")), (Some("\"wrong\""), Some("a=b")));
    let location = vec![("location".to_owned(), "http://127.0.0.1:1/".to_owned())];
    fixture.store.faults().next(Fault::Answer(307, location, b"not xml".to_vec()));
    let answer = fixture.get("/o").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::TEMPORARY_REDIRECT, "not xml"));
}

#[tokio::test]
async fn the_journal_remembers_heads() {
    let fixture = store().await;
    fixture.store.journal().take();
    fixture.get("/o?versionId=null").await.ok();
    let seen = fixture.store.journal().take();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/bucket/o?versionId=null"));
    assert!(seen[0].headers.contains_key("authorization"));
    assert!(fixture.store.journal().take().is_empty());
}

#[tokio::test]
async fn a_dropped_store_is_gone() {
    let fixture = store().await;
    fixture.get("/o").await.ok();
    let address = fixture.store.address();
    drop(fixture);
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still listening");
}
