//! Bad input to multipart uploads, cut and half-closed connections, and many uploads at once: each gets S3's error, and
//! none loses anything that was there.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::Fault;
use support::client::read_answer;
use support::relay::{Act, Gate, Relay};
use support::uploads::{MIN, between, complete, create, is_under_way, kept, list, part, s3_etag, stored};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

async fn post(stack: &Stack, key: &str, id: &str, body: impl Into<Vec<u8>>) -> Answer {
    stack.proxy.send(Call::new("POST", format!("/{BUCKET}/{key}?uploadId={id}")).body(body)).await
}

#[tokio::test]
async fn documents_made_to_hurt_are_refused() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"whole").await;
    let one = format!("<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>");
    let laughs: String =
        (1..10).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let bomb = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY l0 \"lol\">{laughs}]><CompleteMultipartUpload><Part><PartNumber>1\
         </PartNumber><ETag>&l9;</ETag></Part></CompleteMultipartUpload>"
    );
    let outside = "<!DOCTYPE b [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><CompleteMultipartUpload><Part>\
                   <PartNumber>1</PartNumber><ETag>&x;</ETag></Part></CompleteMultipartUpload>";
    for (what, body) in [
        ("entities", bomb),
        ("outside", outside.to_owned()),
        ("depth", "<CompleteMultipartUpload>".repeat(100_000)),
        ("nothing", String::new()),
        ("no list", "{\"Parts\":[]}".to_owned()),
        ("cut", list(&[(1, tag.clone())]).replace("</CompleteMultipartUpload>", "")),
        ("twice", list(&[(1, tag.clone())]).repeat(2)),
        (
            "attributes",
            format!("<CompleteMultipartUpload {}>{one}</CompleteMultipartUpload>", "a='b' ".repeat(1000))
                .replace("</CompleteMultipartUpload>", "<X/></CompleteMultipartUpload>"),
        ),
        ("many", format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", one.repeat(10_001))),
    ] {
        let answer = post(&stack, "k", &id, body).await;
        assert_eq!((answer.status, answer.code()), (400, "MalformedXML".to_owned()), "{what}");
    }
    let large = post(&stack, "k", &id, vec![b' '; (4 << 20) + 1]).await;
    assert!((400..500).contains(&large.status), "{}", large.text());
    assert_eq!(stack.get("k").await.status, 404);
    let done = complete(&stack.proxy, "k", &id, &[(1, tag)]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(stack.get("k").await.body, b"whole");
}

/// Sends a request up to some byte of its body and closes that half of the connection, or all of it.
async fn cut(stack: &Stack, call: &Call, body: &[u8], half: bool) -> Option<Answer> {
    let head = stack.proxy.wire(&call.clone().length(call.body.len() as u64));
    let head_end = head.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut tcp = TcpStream::connect(stack.proxy.address).await.unwrap();
    tcp.write_all(&head[..head_end]).await.unwrap();
    tcp.write_all(body).await.unwrap();
    if half {
        tcp.shutdown().await.unwrap();
        return Some(read_answer(&mut tcp, false).await);
    }
    None
}

#[tokio::test]
async fn a_part_that_is_cut_off_changes_nothing() {
    let stack = Stack::start().await;
    let (large, small) = (random(1, MIN + 9), random(2, 70_000));
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tags = [
        (1, stored(&stack.proxy, "k", &id, 1, &large).await),
        (2, stored(&stack.proxy, "k", &id, 2, &small).await),
    ];
    let before = kept(&stack);
    for (number, body) in
        [(1, random(3, MIN + 9)), (2, random(4, 70_000)), (3, random(5, MIN)), (10_000, random(6, MIN))]
    {
        for sent in [0, 1, body.len() / 2, body.len() - 1] {
            for half in [true, false] {
                let target = format!("/{BUCKET}/k?partNumber={number}&uploadId={id}");
                let call = Call::new("PUT", target).body(body.clone());
                if let Some(answer) = cut(&stack, &call, &body[..sent], half).await {
                    assert!(
                        answer.status == 0 || answer.status == 400,
                        "{number}, {sent}: {}",
                        answer.text()
                    );
                }
            }
        }
    }
    assert_eq!(kept(&stack), before);
    // A list that is cut off completes nothing.
    let document = list(&tags);
    for sent in [0, document.len() / 2, document.len() - 1] {
        let call = Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).body(document.clone());
        let answer = cut(&stack, &call, &document.as_bytes()[..sent], true).await.unwrap();
        assert!(answer.status == 0 || answer.status == 400, "{sent}: {}", answer.text());
    }
    assert_eq!(stack.get("k").await.status, 404);
    assert!(is_under_way(&stack, "k", &id).await);
    // A client that has said all it wants to say still gets its answer.
    let call = Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).body(document.clone());
    let done = cut(&stack, &call, document.as_bytes(), true).await.unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(stack.get("k").await.body == [large, small].concat());
}

#[tokio::test]
async fn ids_of_others_open_nothing() {
    let stack = Stack::start().await;
    let mine = create(&stack.proxy, "mine", &vec![]).await;
    let yours = create(&stack.proxy, "yours", &vec![]).await;
    let tag = stored(&stack.proxy, "yours", &yours, 1, b"yours").await;
    let long = "x".repeat(3000);
    for id in [yours.as_str(), "..%2F..%2Fformat", "%00", &long, "a%2Fb%2Fstate", "%F0%9F%98%80"] {
        let answers = [
            part(&stack.proxy, "mine", id, 1, b"x", &vec![]).await,
            part(&stack.proxy, "mine", id, 1, &random(1, MIN), &vec![]).await,
            complete(&stack.proxy, "mine", id, &[(1, tag.clone())]).await,
            stack.proxy.send(Call::new("GET", format!("/{BUCKET}/mine?uploadId={id}"))).await,
            support::uploads::abort(&stack.proxy, "mine", id).await,
        ];
        for answer in answers {
            assert_eq!((answer.status, answer.code()), (404, "NoSuchUpload".to_owned()), "{id:.50}");
        }
    }
    for (key, id) in [("mine", &mine), ("yours", &yours)] {
        assert!(is_under_way(&stack, key, id).await);
    }
    let done = complete(&stack.proxy, "yours", &yours, &[(1, tag)]).await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test]
async fn without_room_in_memory_a_last_part_streams_and_a_list_waits() {
    // Room for a list, and for no last part.
    let more = "limits: { buffer: 16KiB, buffers: 64KiB }\n";
    let stack = Stack::with(Options { more, ..Options::default() }).await;
    let (large, last) = (random(1, MIN), random(2, MIN - 1));
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tags = [
        (1, stored(&stack.proxy, "k", &id, 1, &large).await),
        (2, stored(&stack.proxy, "k", &id, 2, &last).await),
    ];
    let long =
        Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).body(" ".repeat(100_000) + &list(&tags));
    let refused = stack.proxy.send(long).await;
    assert_eq!((refused.status, refused.code()), (503, "SlowDown".to_owned()));
    let done = complete(&stack.proxy, "k", &id, &tags).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(stack.get("k").await.body == [large, last].concat());
}

#[tokio::test]
async fn two_hundred_uploads_at_once() {
    let stack = Stack::start().await;
    let large = random(1, MIN);
    let one = |number: usize| {
        let (stack, large) = (&stack, &large);
        async move {
            let key = format!("many/{number}");
            let small = random(number as u64 + 2, 1000 + number * 37);
            let id = create(&stack.proxy, &key, &vec![]).await;
            // One in ten has a part on the backend too.
            let mut bodies = vec![&small[..]];
            if number.is_multiple_of(10) {
                bodies.insert(0, large);
            }
            let mut tags = Vec::new();
            for (number, body) in (1..).zip(&bodies) {
                tags.push((number, stored(&stack.proxy, &key, &id, number, body).await));
            }
            let done = complete(&stack.proxy, &key, &id, &tags).await;
            assert_eq!(done.status, 200, "{key}: {}", done.text());
            assert_eq!(between(&done.text(), "ETag"), s3_etag(&bodies), "{key}");
            assert!(stack.get(&key).await.body == bodies.concat(), "{key}");
        }
    };
    futures_util::future::join_all((0..200).map(one)).await;
    assert_eq!(kept(&stack), [""; 0]);
}

#[tokio::test]
async fn conditions_that_the_storage_ignores_on_a_complete_are_checked_here() {
    // It honours them on PUT: what is known of that says nothing of Complete.
    for (strict, code) in [(false, "PreconditionFailed"), (true, "NotImplemented")] {
        let more = if strict { "compat: { strict_conditions: true }" } else { "" };
        let options = Options {
            store: Some(|config| config.quirks.ignore_complete_conditions = true),
            more,
            ..Options::default()
        };
        let stack = Stack::with(options).await;
        let profile = stack.services.backends.get("default").unwrap().profile();
        assert!(profile.put_if_match && profile.put_if_none_match);
        assert!(!profile.complete_if_match && !profile.complete_if_none_match);
        let before = stack.put("k", b"before").await.header("etag").unwrap().to_owned();
        let id = create(&stack.proxy, "k", &vec![]).await;
        let tags = [(1, stored(&stack.proxy, "k", &id, 1, b"after").await)];
        let call = |name: &str, value: &str| {
            Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).header(name, value).body(list(&tags))
        };
        for (name, value) in [("if-none-match", "*"), ("if-match", "\"0123456789abcdef0123456789abcdef\"")] {
            let answer = stack.proxy.send(call(name, value)).await;
            assert_eq!(answer.code(), code, "{name}: {}", answer.text());
        }
        assert_eq!(stack.get("k").await.body, b"before");
        let answer = stack.proxy.send(call("if-match", &before)).await;
        assert_eq!(answer.status, if strict { 501 } else { 200 }, "{}", answer.text());
        let body = stack.get("k").await.body;
        assert_eq!(body, if strict { &b"before"[..] } else { b"after" });
    }
    let stack = Stack::start().await;
    let profile = stack.services.backends.get("default").unwrap().profile();
    assert!(profile.complete_if_match && profile.complete_if_none_match);
}

#[tokio::test]
async fn a_client_that_goes_away_during_complete_finds_its_object() {
    let stack = Stack::start().await;
    let relay = Relay::to(stack.store.address()).await;
    let (shaky, _) = stack.replica_over(relay.address).await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tags = [(1, stored(&stack.proxy, "k", &id, 1, b"hello").await)];
    let gate = Gate::new();
    relay.once(Method::POST, "uploadId=", Act::Wait(gate.clone()));
    let call = Call::new("POST", format!("/{BUCKET}/k?uploadId={id}")).body(list(&tags));
    let mut tcp = TcpStream::connect(shaky.address).await.unwrap();
    tcp.write_all(&shaky.wire(&call)).await.unwrap();
    gate.arrival().await;
    drop(tcp);
    gate.open();
    // Whether that Complete still went through or not, the next one says what is so.
    let done = complete(&stack.proxy, "k", &id, &tags).await;
    assert_eq!((done.status, between(&done.text(), "ETag")), (200, s3_etag(&[b"hello"])));
    assert_eq!(stack.get("k").await.body, b"hello");
}

#[tokio::test]
async fn a_part_of_an_upload_that_the_storage_has_lost_is_refused() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"small").await;
    assert_eq!(tag, format!("\"{}\"", md5_hex(b"small")));
    let gone = Call::new("DELETE", format!("/{BUCKET}/k?uploadId={id}"));
    assert_eq!(stack.backend.send(gone).await.status, 204);
    let late = part(&stack.proxy, "k", &id, 2, &random(1, MIN), &vec![]).await;
    assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()));
    let done = complete(&stack.proxy, "k", &id, &[(1, tag.clone())]).await;
    assert_eq!((done.status, done.code()), (404, "NoSuchUpload".to_owned()));
    // An error of the storage is no word of that.
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"small").await;
    stack.store.faults().on(Method::GET, "uploadId=", Fault::Status(503, "SlowDown".to_owned()));
    let done = complete(&stack.proxy, "k", &id, &[(1, tag.clone())]).await;
    assert_eq!((done.status, done.code()), (503, "SlowDown".to_owned()));
    assert_eq!(complete(&stack.proxy, "k", &id, &[(1, tag)]).await.status, 200);
}
