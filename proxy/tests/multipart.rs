//! Multipart uploads over real HTTP: what clients see, what the backend and the system area hold, and what is refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use kms_client::local::LocalKeys;
use s3cloak::demo::store::Fault;
use support::uploads::{
    Headers, SYSTEM, between, complete, create, customer, kept, list, part, s3_etag, stored, with,
};
use support::{BUCKET, Call, Client, Options, Stack, md5_hex, random, serve, shares_a_run};

const MIN: usize = 5 << 20;

/// Bodies by part number.
type Parts = Vec<(u32, Vec<u8>)>;

#[tokio::test]
async fn parts_come_in_any_order_and_again() {
    let stack = Stack::start().await;
    let (a, b, c) = (random(1, MIN + 70_000), random(2, MIN), random(3, 1000));
    let id = create(&stack.proxy, "k", &vec![("content-type", "text/x".to_owned())]).await;
    let tag_c = stored(&stack.proxy, "k", &id, 7, &c).await;
    stored(&stack.proxy, "k", &id, 3, &random(9, MIN + 1)).await;
    let tag_b = stored(&stack.proxy, "k", &id, 3, &b).await;
    let tag_a = stored(&stack.proxy, "k", &id, 1, &a).await;
    assert_eq!(tag_a, format!("\"{}\"", md5_hex(&a)));
    // All that is kept of the upload is ciphertext.
    for name in kept(&stack) {
        let object = stack.store.stored(SYSTEM, &name).unwrap();
        assert!(!shares_a_run(&c, &object.body), "{name}");
        assert!(!String::from_utf8_lossy(&object.body).contains(&id), "{name}");
    }
    let parts = [(1, tag_a), (3, tag_b), (7, tag_c)];
    let answer = complete(&stack.proxy, "k", &id, &parts).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = s3_etag(&[&a, &b, &c]);
    assert_eq!(between(&answer.text(), "ETag"), expected);

    let whole = [a, b, c].concat();
    let got = stack.get("k").await;
    assert!(got.body == whole, "{} bytes", got.body.len());
    assert_eq!(got.header("etag"), Some(expected.as_str()));
    assert_eq!(got.header("content-type"), Some("text/x"));
    let at = MIN + 69_990;
    assert_eq!(stack.get_range("k", &format!("bytes={at}-{}", at + 30)).await.body, whole[at..at + 31]);
    let head = stack.head("k").await;
    assert_eq!(head.header("content-length"), Some(whole.len().to_string().as_str()));
    let object = stack.store.stored(BUCKET, "k").unwrap();
    assert!(!shares_a_run(&whole, &object.body));
    assert_eq!(kept(&stack), [""; 0], "something of the upload was left");

    // The same request again gets the same answer; another list has nothing to complete.
    let again = complete(&stack.proxy, "k", &id, &parts).await;
    assert_eq!((again.status, between(&again.text(), "ETag")), (200, expected));
    let other = complete(&stack.proxy, "k", &id, &parts[..1]).await;
    assert_eq!((other.status, other.code()), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn small_last_empty_and_last_numbered_parts() {
    let stack = Stack::start().await;
    let cases: Vec<(&str, Parts)> = vec![
        ("single", vec![(5, b"hello".to_vec())]),
        ("none", vec![(1, vec![])]),
        ("emptylast", vec![(1, random(4, MIN)), (2, vec![])]),
        ("exact", vec![(1, random(5, MIN))]),
        ("highest", vec![(9_999, random(6, MIN)), (10_000, random(7, MIN + 5))]),
        ("highestsmall", vec![(10_000, b"x".to_vec())]),
    ];
    for (key, parts) in cases {
        let id = create(&stack.proxy, key, &vec![]).await;
        let mut tags = Vec::new();
        for (number, body) in &parts {
            tags.push((*number, stored(&stack.proxy, key, &id, *number, body).await));
        }
        let answer = complete(&stack.proxy, key, &id, &tags).await;
        assert_eq!(answer.status, 200, "{key}: {}", answer.text());
        let bodies: Vec<&[u8]> = parts.iter().map(|(_, body)| body.as_slice()).collect();
        let got = stack.get(key).await;
        assert_eq!(got.status, 200, "{key}: {}", got.text());
        assert!(got.body == bodies.concat(), "{key}");
        assert_eq!(got.header("etag"), Some(s3_etag(&bodies).as_str()), "{key}");
    }
    assert_eq!(kept(&stack), [""; 0]);
}

#[tokio::test]
async fn parts_are_listed_as_clients_sent_them() {
    let stack = Stack::start().await;
    let (big, small) = (random(21, MIN + 3), random(22, 10));
    let whole = vec![
        ("x-amz-checksum-algorithm", "CRC32".to_owned()),
        ("x-amz-checksum-type", "FULL_OBJECT".to_owned()),
    ];
    let id = create(&stack.proxy, "k", &whole).await;
    let tag_small = stored(&stack.proxy, "k", &id, 9, &small).await;
    stored(&stack.proxy, "k", &id, 2, &small).await;
    let tag_big = stored(&stack.proxy, "k", &id, 2, &big).await;
    let page = |more: &str| Call::new("GET", format!("/{BUCKET}/k?uploadId={id}{more}"));
    let all = stack.proxy.send(page("")).await.text();
    assert_eq!(all.matches("<Part>").count(), 2, "{all}");
    assert!(all.find("<PartNumber>2<").unwrap() < all.find("<PartNumber>9<").unwrap());
    for expected in
        [format!("<Size>{}<", big.len()), "<Size>10<".to_owned(), "<ChecksumAlgorithm>CRC32<".to_owned()]
    {
        assert!(all.contains(&expected), "{expected} in {all}");
    }
    let tags = all.replace("&quot;", "\"");
    assert!(tags.contains(&tag_big) && tags.contains(&tag_small), "{all}");
    let first = stack.proxy.send(page("&max-parts=1")).await.text();
    assert_eq!(
        (between(&first, "IsTruncated"), between(&first, "NextPartNumberMarker")),
        ("true".into(), "2".into())
    );
    let second = stack.proxy.send(page("&part-number-marker=2")).await.text();
    assert_eq!(
        (between(&second, "IsTruncated"), between(&second, "PartNumber")),
        ("false".into(), "9".into())
    );
    let none = stack.proxy.send(page("&max-parts=0")).await.text();
    assert_eq!((between(&none, "IsTruncated"), none.matches("<Part>").count()), ("false".into(), 0));
    for bad in ["many", "-1", "%2B1"] {
        let bad = stack.proxy.send(page(&format!("&max-parts={bad}"))).await;
        assert_eq!((bad.status, bad.code()), (400, "InvalidArgument".to_owned()));
    }
    let foreign = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/other?uploadId={id}"))).await;
    assert_eq!((foreign.status, foreign.code()), (404, "NoSuchUpload".to_owned()));
}

#[tokio::test]
async fn opaque_tags_tell_nothing() {
    let options =
        Options { buckets: Some("  \"*\": { backend: default, etag: opaque }"), ..Options::default() };
    let stack = Stack::with(options).await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let body = random(1, 100);
    let tag = stored(&stack.proxy, "k", &id, 1, &body).await;
    assert!(tag.ends_with("-1\"") && !tag.contains(&md5_hex(&body)), "{tag}");
    let answer = complete(&stack.proxy, "k", &id, &[(1, tag)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = between(&answer.text(), "ETag");
    let got = stack.get("k").await;
    assert_eq!((got.header("etag"), &got.body), (Some(shown.as_str()), &body));
    assert_ne!(shown, s3_etag(&[&body]));
}

#[tokio::test]
async fn bad_lists_are_refused_and_leave_the_upload() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let small = stored(&stack.proxy, "k", &id, 1, b"small").await;
    let large = stored(&stack.proxy, "k", &id, 2, &random(1, MIN)).await;
    let wrong = format!("\"{}\"", "0".repeat(32));
    for (parts, code) in [
        (vec![(2, large.clone()), (1, small.clone())], "InvalidPartOrder"),
        (vec![(1, small.clone()), (1, small.clone())], "InvalidPartOrder"),
        (vec![(1, small.clone()), (2, large.clone())], "EntityTooSmall"),
        (vec![(1, wrong.clone())], "InvalidPart"),
        (vec![(3, small.clone())], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        let answer = complete(&stack.proxy, "k", &id, &parts).await;
        assert_eq!((answer.status, answer.code()), (400, code.to_owned()), "{parts:?}");
    }
    assert_eq!(stack.get("k").await.status, 404);
    for number in ["0", "10001", "one", ""] {
        let target = format!("/{BUCKET}/k?partNumber={number}&uploadId={id}");
        let answer = stack.proxy.send(Call::new("PUT", target).body("x")).await;
        assert_eq!((answer.status, answer.code()), (400, "InvalidArgument".to_owned()), "{number}");
    }
    let answer = complete(&stack.proxy, "k", &id, &[(2, large)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn only_uploads_of_the_proxy_and_of_the_key_are_known() {
    let stack = Stack::start().await;
    let mine = create(&stack.proxy, "k", &vec![]).await;
    let begun = stack.backend.send(Call::new("POST", format!("/{BUCKET}/k?uploads"))).await;
    let foreign = between(&begun.text(), "UploadId");
    stack.store.journal().take();
    for (key, id) in [("k", foreign.as_str()), ("other", mine.as_str()), ("k", "none"), ("k", "")] {
        for body in [&b"x"[..], &random(1, MIN)] {
            let answer = part(&stack.proxy, key, id, 1, body, &vec![]).await;
            assert_eq!((answer.status, answer.code()), (404, "NoSuchUpload".to_owned()), "{key} {id}");
        }
        let answer = complete(&stack.proxy, key, id, &[(1, "\"a\"".to_owned())]).await;
        assert_eq!((answer.status, answer.code()), (404, "NoSuchUpload".to_owned()), "{key} {id}");
        let answer = stack.proxy.send(Call::new("DELETE", format!("/{BUCKET}/{key}?uploadId={id}"))).await;
        assert_eq!((answer.status, answer.code()), (404, "NoSuchUpload".to_owned()), "{key} {id}");
    }
    let seen = stack.store.journal().take();
    assert!(seen.iter().all(|seen| seen.method != Method::PUT && seen.method != Method::DELETE), "{seen:?}");
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    stored(&stack.proxy, "k", &id, 1, &random(1, MIN)).await;
    stored(&stack.proxy, "k", &id, 2, b"held").await;
    assert!(kept(&stack).len() >= 4, "{:?}", kept(&stack));
    let abort = Call::new("DELETE", format!("/{BUCKET}/k?uploadId={id}"));
    assert_eq!(stack.proxy.send(abort.clone()).await.status, 204);
    assert_eq!(kept(&stack), [""; 0]);
    let left = stack.backend.send(Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"))).await;
    assert_eq!(left.status, 404);
    for body in [&b"x"[..], &random(1, MIN)] {
        let late = part(&stack.proxy, "k", &id, 3, body, &vec![]).await;
        assert_eq!((late.status, late.code()), (404, "NoSuchUpload".to_owned()));
    }
    assert_eq!(stack.proxy.send(abort).await.status, 404);
    assert_eq!(kept(&stack), [""; 0]);
}

#[tokio::test]
async fn a_lost_reply_of_the_backend_is_found_out() {
    for fault in [Fault::ResetAfter, Fault::StatusAfter(500, "InternalError".to_owned())] {
        let stack = Stack::start().await;
        let id = create(&stack.proxy, "k", &vec![]).await;
        let tag = stored(&stack.proxy, "k", &id, 1, b"hello").await;
        stack.store.faults().on(Method::POST, "uploadId=", fault);
        let answer = complete(&stack.proxy, "k", &id, &[(1, tag)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(between(&answer.text(), "ETag"), s3_etag(&[b"hello"]));
        assert_eq!(stack.get("k").await.body, b"hello");
        assert_eq!((stack.store.faults().waiting(), kept(&stack).len()), (0, 0));
    }
}

#[tokio::test]
async fn an_error_is_one_also_behind_a_200() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"hello").await;
    let document = b"<Error><Code>InternalError</Code><Message>m</Message></Error>".to_vec();
    stack.store.faults().on(Method::POST, "uploadId=", Fault::Answer(200, vec![], document));
    let answer = complete(&stack.proxy, "k", &id, &[(1, tag.clone())]).await;
    assert_eq!((answer.status, answer.code()), (500, "InternalError".to_owned()));
    assert_eq!(stack.get("k").await.status, 404);
    assert_eq!(complete(&stack.proxy, "k", &id, &[(1, tag)]).await.status, 200);
}

#[tokio::test]
async fn conditions_hold_for_the_object_that_is_there() {
    let stack = Stack::start().await;
    stack.put("k", b"before").await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"after").await;
    let call = |name: &str, value: String| {
        Call::new("POST", format!("/{BUCKET}/k?uploadId={id}"))
            .header(name, value)
            .body(list(&[(1, tag.clone())]))
    };
    for (name, value) in [("if-none-match", "*"), ("if-match", "\"0\"")] {
        let answer = stack.proxy.send(call(name, value.to_owned())).await;
        assert_eq!((answer.status, answer.code()), (412, "PreconditionFailed".to_owned()), "{name}");
    }
    assert_eq!(stack.get("k").await.body, b"before");
    let answer = stack.proxy.send(call("if-match", format!("\"{}\"", md5_hex(b"before")))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(stack.get("k").await.body, b"after");
}

#[tokio::test]
async fn parts_under_a_customers_key_need_it() {
    let options = Options { listen: "tls_terminated_in_front: true", ..Options::default() };
    let stack = Stack::with(options).await;
    let (mine, other, none) = (customer([7; 32]), customer([8; 32]), vec![]);
    let id = create(&stack.proxy, "k", &mine).await;
    for (headers, status) in [(&other, 400), (&none, 400), (&mine, 200)] {
        let answer = part(&stack.proxy, "k", &id, 1, b"secret bytes of a customer", headers).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let answer = part(&stack.proxy, "k", &id, 2, b"the rest", &mine).await;
    let tag = answer.header("etag").unwrap().to_owned();
    assert!(tag.ends_with("-1\""), "{tag}");
    let done = complete(&stack.proxy, "k", &id, &[(2, tag.clone())]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let get = |headers: &Headers| with(Call::new("GET", format!("/{BUCKET}/k")), headers);
    assert_eq!(stack.proxy.send(get(&mine)).await.body, b"the rest");
    assert_eq!(stack.proxy.send(get(&other)).await.status, 403);
    assert_eq!(stack.proxy.send(get(&none)).await.status, 400);
    // And a key where none was used.
    let plain = create(&stack.proxy, "p", &none).await;
    assert_eq!(part(&stack.proxy, "p", &plain, 1, b"x", &mine).await.status, 400);
}

#[tokio::test]
async fn checksums_are_those_of_the_upload() {
    let stack = Stack::start().await;
    let chosen = vec![("x-amz-checksum-algorithm", "SHA256".to_owned())];
    let id = create(&stack.proxy, "k", &chosen).await;
    let other = vec![("x-amz-checksum-crc32", "AAAAAA==".to_owned())];
    let answer = part(&stack.proxy, "k", &id, 1, b"", &other).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest".to_owned()));
    // The checksum of the whole will be made of what the client says of the parts.
    let answer = part(&stack.proxy, "k", &id, 1, b"hello", &vec![]).await;
    assert_eq!((answer.status, answer.code()), (400, "InvalidRequest".to_owned()));
    let sum = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=".to_owned();
    let right = vec![("x-amz-checksum-sha256", sum.clone())];
    let answer = part(&stack.proxy, "k", &id, 1, b"hello", &right).await;
    assert_eq!(answer.header("x-amz-checksum-sha256"), Some(sum.as_str()));
    let tag = answer.header("etag").unwrap();
    let with_sum = |sum: &str| {
        let part = format!(
            "<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>"
        );
        Call::new("POST", format!("/{BUCKET}/k?uploadId={id}"))
            .body(format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>"))
    };
    let wrong = STANDARD.encode([0; 32]);
    assert_eq!(stack.proxy.send(with_sum(&wrong)).await.code(), "InvalidPart");
    let done = stack.proxy.send(with_sum(&sum)).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let shown = between(&done.text(), "ChecksumSHA256");
    assert!(shown.ends_with("-1"), "{shown}");
    let head = Call::new("HEAD", format!("/{BUCKET}/k")).header("x-amz-checksum-mode", "ENABLED");
    assert_eq!(stack.proxy.send(head).await.header("x-amz-checksum-sha256"), Some(shown.as_str()));
}

#[tokio::test]
async fn replicas_share_an_upload() {
    let stack = Stack::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = Client { address: listener.local_addr().unwrap(), ..stack.proxy.clone() };
    let keys = Arc::new(LocalKeys::open(stack.key_folder()).unwrap());
    let _replica = serve(stack.services.config.clone(), keys, listener).await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let (a, b) = (random(1, MIN), random(2, 10));
    let one = stored(&other, "k", &id, 1, &a).await;
    let two = stored(&stack.proxy, "k", &id, 2, &b).await;
    let parts = [(1, one), (2, two)];
    let (first, second) =
        tokio::join!(complete(&stack.proxy, "k", &id, &parts), complete(&other, "k", &id, &parts));
    // Both asked for the same, so both are told the same.
    for answer in [first, second] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(between(&answer.text(), "ETag"), s3_etag(&[&a, &b]));
    }
    assert!(stack.get("k").await.body == [a, b].concat());
}

#[tokio::test]
async fn the_newest_attempt_is_the_last_one_whatever_the_replicas_clocks_say() {
    let stack = Stack::start().await;
    let ahead = stack.replica_ahead(std::time::Duration::from_secs(5 * 3600)).await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let shown = async || {
        let mut lists = Vec::new();
        for replica in [&stack.proxy, &ahead] {
            let page = replica.send(Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"))).await.text();
            assert_eq!(page.matches("<Part>").count(), 1, "{page}");
            lists.push((between(&page, "ETag"), between(&page, "LastModified")));
        }
        assert_eq!(lists[0], lists[1]);
        lists.remove(0)
    };
    let began = time::OffsetDateTime::now_utc();
    let mut last = (String::new(), Vec::new());
    for (round, replica) in [&ahead, &stack.proxy, &ahead, &ahead, &stack.proxy].into_iter().enumerate() {
        let body = random(round as u64, 100);
        let tag = stored(replica, "k", &id, 1, &body).await;
        let (etag, time) = shown().await;
        assert_eq!(etag, tag, "round {round}");
        // By the storage's clock.
        let time =
            time::OffsetDateTime::parse(&time, &time::format_description::well_known::Rfc3339).unwrap();
        assert!((time - began).whole_hours() < 4, "{time}");
        last = (tag, body);
        // The store's clock tells milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let answer = complete(&stack.proxy, "k", &id, &[(1, last.0)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(stack.get("k").await.body, last.1);
}

#[tokio::test]
async fn what_create_is_given_goes_along() {
    let stack = Stack::start().await;
    let given = vec![
        ("x-amz-tagging", "a=1&b=2".to_owned()),
        ("x-amz-acl", "private".to_owned()),
        ("x-amz-storage-class", "STANDARD_IA".to_owned()),
        ("x-amz-object-lock-mode", "GOVERNANCE".to_owned()),
        ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z".to_owned()),
        ("x-amz-object-lock-legal-hold", "ON".to_owned()),
        ("x-amz-website-redirect-location", "/other".to_owned()),
        ("cache-control", "no-cache".to_owned()),
        ("content-disposition", "inline".to_owned()),
        ("content-type", "text/x".to_owned()),
        ("x-amz-meta-a", "1".to_owned()),
    ];
    let own = vec![
        ("x-amz-checksum-algorithm", "SHA256".to_owned()),
        ("x-amz-checksum-type", "COMPOSITE".to_owned()),
        ("x-amz-server-side-encryption", "AES256".to_owned()),
    ];
    create(&stack.proxy, "k", &[given.clone(), own.clone()].concat()).await;
    let journal = stack.store.journal().take();
    let begun =
        journal.iter().find(|seen| seen.method == Method::POST && seen.target.contains("uploads")).unwrap();
    for (name, value) in &given {
        assert_eq!(begun.headers.get(*name).unwrap(), value, "{name}");
    }
    for (name, _) in &own {
        assert!(!begun.headers.contains_key(*name), "{name}");
    }
    // What speaks of an object ends with the request that makes one.
    let id = create(&stack.proxy, "tagged", &vec![("x-amz-tagging", "a=1".to_owned())]).await;
    let tag = stored(&stack.proxy, "tagged", &id, 1, b"x").await;
    assert_eq!(complete(&stack.proxy, "tagged", &id, &[(1, tag)]).await.status, 200);
    let tags = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/tagged?tagging"))).await.text();
    assert_eq!((between(&tags, "Key"), between(&tags, "Value")), ("a".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn every_page_of_the_storages_parts_is_read() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let bodies = [random(1, MIN), random(2, MIN + 1), random(3, 10)];
    let mut tags = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        tags.push((number, stored(&stack.proxy, "k", &id, number, body).await));
    }
    let call = || Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"));
    let first = between(&stack.backend.send(call()).await.text(), "ETag");
    let page = format!(
        "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>{first}</ETag></Part><IsTruncated>true</IsTruncated>\
         <NextPartNumberMarker>1</NextPartNumberMarker></ListPartsResult>"
    );
    let cut = || {
        stack.store.faults().on(
            Method::GET,
            "uploadId=",
            Fault::Answer(200, vec![], page.clone().into_bytes()),
        )
    };
    stack.store.journal().take();
    cut();
    assert_eq!(stack.proxy.send(call()).await.text().matches("<Part>").count(), 3);
    let asked = stack.store.journal().take();
    let pages: Vec<_> = asked.iter().filter(|seen| seen.target.contains("uploadId=")).collect();
    assert!(pages.len() == 2 && pages[1].target.contains("part-number-marker=1"), "{pages:?}");
    // A page that leads nowhere is no list.
    cut();
    cut();
    let circle = stack.proxy.send(call()).await;
    assert_eq!((circle.status, stack.store.faults().waiting()), (502, 0), "{}", circle.text());
    cut();
    let done = complete(&stack.proxy, "k", &id, &tags).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(stack.get("k").await.body == bodies.concat());
}

#[tokio::test]
async fn an_upload_that_the_storage_takes_apart_is_no_key() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let body = random(1, MIN);
    let tag = stored(&stack.proxy, "k", &id, 1, &body).await;
    let miss =
        |method| stack.store.faults().on(method, "uploadId=", Fault::Status(404, "NoSuchKey".to_owned()));
    let target = format!("/{BUCKET}/k?uploadId={id}");
    miss(Method::PUT);
    let sent = part(&stack.proxy, "k", &id, 2, &body, &vec![]).await;
    miss(Method::GET);
    let listed = stack.proxy.send(Call::new("GET", target.clone())).await;
    // There the trailer is what misses it.
    miss(Method::PUT);
    let completed = complete(&stack.proxy, "k", &id, &[(1, tag)]).await;
    miss(Method::DELETE);
    let aborted = stack.proxy.send(Call::new("DELETE", target)).await;
    for answer in [sent, listed, completed, aborted] {
        assert_eq!((answer.status, answer.code()), (404, "NoSuchUpload".to_owned()), "{}", answer.text());
    }
    assert_eq!(stack.store.faults().waiting(), 0);
}

#[tokio::test]
async fn what_is_kept_of_an_upload_goes_in_few_requests() {
    let refused = Fault::Status(501, "NotImplemented".to_owned());
    let denied = Fault::Status(403, "AccessDenied".to_owned());
    let silent = Fault::Answer(200, vec![], b"<DeleteResult></DeleteResult>".to_vec());
    for (fault, most) in [(None, 2), (Some(refused), 9), (Some(denied), 9), (Some(silent), 9)] {
        let stack = Stack::start().await;
        let id = create(&stack.proxy, "k", &vec![]).await;
        for number in [1, 2, 2] {
            stored(&stack.proxy, "k", &id, number, &random(u64::from(number), 50)).await;
        }
        let tag = stored(&stack.proxy, "k", &id, 3, b"last").await;
        let before = kept(&stack).len();
        assert_eq!(before, 9);
        let faulty = fault.is_some();
        if let Some(fault) = fault {
            stack.store.faults().on(Method::POST, "delete", fault);
        }
        stack.store.journal().take();
        let done = complete(&stack.proxy, "k", &id, &[(3, tag)]).await;
        assert_eq!((done.status, kept(&stack).len()), (200, 0), "{}", done.text());
        let seen = stack.store.journal().take();
        let count = |method: Method, part: &str| {
            seen.iter().filter(|seen| seen.method == method && seen.target.contains(part)).count()
        };
        let (together, alone) =
            (count(Method::POST, "s3cloak-system?delete"), count(Method::DELETE, "/mpu/"));
        assert_eq!(
            (together, together + alone, alone > 1),
            (1, if faulty { most + 1 } else { most }, faulty)
        );
    }
    // Storage that cannot just now is asked again later, and the state explains what is left until then.
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let tag = stored(&stack.proxy, "k", &id, 1, b"last").await;
    stack.store.faults().on(Method::POST, "delete", Fault::Status(503, "SlowDown".to_owned()));
    assert_eq!(complete(&stack.proxy, "k", &id, &[(1, tag)]).await.status, 200);
    assert_eq!(kept(&stack).len(), 3);
}

#[tokio::test]
async fn parts_of_an_object_are_listed_where_an_algorithm_was_asked_for() {
    let stack = Stack::start().await;
    let crc64 = vec![("x-amz-checksum-algorithm", "CRC64NVME".to_owned())];
    for (key, asked) in [("none", vec![]), ("crc64", crc64)] {
        let id = create(&stack.proxy, key, &asked).await;
        let tags = [
            (1, stored(&stack.proxy, key, &id, 1, &random(1, MIN)).await),
            (2, stored(&stack.proxy, key, &id, 2, b"x").await),
        ];
        assert_eq!(complete(&stack.proxy, key, &id, &tags).await.status, 200);
        let call = Call::new("GET", format!("/{BUCKET}/{key}?attributes"));
        let text =
            stack.proxy.send(call.header("x-amz-object-attributes", "ObjectParts,Checksum")).await.text();
        // The object has a checksum either way, and the number of its parts is told.
        assert_eq!(
            (text.matches("<ChecksumCRC64NVME>").count(), between(&text, "PartsCount")),
            (if asked.is_empty() { 1 } else { 3 }, "2".to_owned()),
            "{text}"
        );
        assert_eq!(text.contains("<Part>"), !asked.is_empty(), "{text}");
        assert_eq!(text.contains("<MaxParts>"), !asked.is_empty(), "{text}");
        assert!(stack.get(key).await.body == [&random(1, MIN)[..], b"x"].concat());
    }
}
