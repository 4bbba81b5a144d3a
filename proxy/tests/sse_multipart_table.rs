//! Every condition that S3 has for encryption headers on multipart uploads, over real HTTP: on creating one, on its parts,
//! on completing it, and on the object that it becomes; then what the answers show.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::sse::*;
use support::{Answer, BUCKET, Call, Options, Stack, random, shares_a_run};

const SYSTEM: &str = "s3cloak-system";
/// A part over this goes to the storage as it comes, others are held.
const HELD: usize = 5 << 20;
const PART_NEEDS: &str = "Subsequent part requests must include the appropriate encryption parameters";
const NOT_THE_SAME: &str = "did not match the ones used originally";

async fn create(stack: &Stack, key: &str, headers: &Headers) -> Answer {
    stack.proxy.send(call("POST", &format!("{key}?uploads"), headers)).await
}

async fn begun(stack: &Stack, key: &str, headers: &Headers) -> String {
    let answer = create(stack, key, headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.element("UploadId")
}

async fn part(stack: &Stack, key: &str, id: &str, body: &[u8], headers: &Headers) -> Answer {
    stack.proxy.send(call("PUT", &format!("{key}?partNumber=1&uploadId={id}"), headers).body(body)).await
}

async fn complete(stack: &Stack, key: &str, id: &str, etag: &str, headers: &Headers) -> Answer {
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    stack.proxy.send(call("POST", &format!("{key}?uploadId={id}"), headers).body(list)).await
}

fn kms() -> Headers {
    h(&[(SSE, "aws:kms"), (KEY_ID, "alias/test-key")])
}

/// The three kinds of uploads, and the headers that each part of them needs.
fn kinds() -> [(&'static str, Headers, Headers); 3] {
    [("s3", vec![], vec![]), ("kms", kms(), vec![]), ("c", customer(MINE), customer(MINE))]
}

#[tokio::test]
async fn no_upload_begins_under_bad_headers() {
    let stack = secure().await;
    stack.store.journal().take();
    for (headers, status, code, words) in &bad_writes() {
        assert_refused(&create(&stack, "k", headers).await, &format!("{headers:?}"), *status, code, words);
    }
    let seen = stack.store.journal().take();
    assert!(seen.iter().all(|seen| seen.method == "GET" || seen.method == "HEAD"), "{seen:?}");
    assert!(!stack.store.keys(SYSTEM).iter().any(|name| name.starts_with("mpu/")));
}

#[tokio::test]
async fn every_bad_part_is_refused_and_not_kept() {
    let stack = secure().await;
    let (key, md5) = (STANDARD.encode(MINE), md5_of(&MINE));
    let argument = "InvalidArgument";
    let rows: Vec<(&str, Headers, &str, &str)> = vec![
        ("c", vec![], "InvalidRequest", PART_NEEDS),
        ("c", h(&[(SSE, "AES256")]), "InvalidRequest", PART_NEEDS),
        ("c", customer(OTHER), "InvalidRequest", NOT_THE_SAME),
        ("c", h(&[(ALGORITHM, "AES256")]), argument, "appropriate secret key"),
        ("c", h(&[(ALGORITHM, "AES256"), (KEY, &key)]), argument, "calculated MD5"),
        ("c", h(&[(KEY, &key), (KEY_MD5, &md5)]), argument, "valid encryption algorithm"),
        (
            "c",
            h(&[(ALGORITHM, "AES256"), (KEY, &key), (KEY_MD5, &md5_of(&OTHER))]),
            argument,
            "did not match the hash",
        ),
        (
            "c",
            h(&[(ALGORITHM, "AES128"), (KEY, &key), (KEY_MD5, &md5)]),
            "InvalidEncryptionAlgorithmError",
            "AES256",
        ),
        ("s3", customer(MINE), "InvalidRequest", NOT_APPLICABLE),
        ("kms", customer(MINE), "InvalidRequest", NOT_APPLICABLE),
        ("s3", h(&[(ALGORITHM, "AES256")]), argument, "appropriate secret key"),
    ];
    let bodies = [random(1, 100), random(2, HELD + 10)];
    for (name, create, good) in kinds() {
        let id = begun(&stack, name, &create).await;
        let before = stack.store.keys(SYSTEM);
        stack.store.journal().take();
        for (upload, headers, code, words) in rows.iter().filter(|row| row.0 == name) {
            for body in &bodies {
                let answer = part(&stack, upload, &id, body, headers).await;
                let what = format!("{upload} {headers:?} {}", body.len());
                assert_refused(&answer, &what, 400, code, words);
                assert!(!answer.text().contains(&key) && !answer.text().contains(&md5), "{what}");
            }
        }
        let seen = stack.store.journal().take();
        assert!(seen.iter().all(|seen| seen.method != "PUT" && seen.method != "POST"), "{name}: {seen:?}");
        assert_eq!(stack.store.keys(SYSTEM), before, "{name}");
        // Who lists parts needs no key.
        let listed = stack.proxy.send(call("GET", &format!("{name}?uploadId={id}"), &vec![])).await;
        assert_eq!((listed.status, listed.text().contains("<Part>")), (200, false), "{}", listed.text());
        assert_eq!(part(&stack, name, &id, b"good", &good).await.status, 200, "{name}: it goes on");
    }
}

/// What an upload was begun under counts. S3 takes no encryption headers with parts, and clients send them all the same.
#[tokio::test]
async fn parts_do_not_choose_their_encryption() {
    let stack = secure().await;
    for (name, headers) in [("s3", vec![]), ("kms", kms())] {
        let id = begun(&stack, name, &headers).await;
        for more in [
            h(&[(SSE, "AES256")]),
            h(&[(SSE, "aws:kms"), (KEY_ID, "nobody")]),
            h(&[(SSE, "aws:kms:dsse")]),
            h(&[(KEY_ID, "nobody")]),
        ] {
            let answer = part(&stack, name, &id, b"data", &more).await;
            assert_eq!(answer.status, 200, "{more:?}: {}", answer.text());
            let expected =
                if name == "s3" { (Some("AES256"), None) } else { (Some("aws:kms"), Some("alias/test-key")) };
            assert_eq!((answer.header(SSE), answer.header(KEY_ID)), expected, "{more:?}");
        }
    }
}

#[tokio::test]
async fn who_completes_may_give_the_customers_key_and_no_other() {
    let stack = secure().await;
    for (name, create, good) in kinds() {
        for give in [false, true] {
            let id = begun(&stack, name, &create).await;
            let body = random(7, 3000);
            let stored = part(&stack, name, &id, &body, &good).await;
            let etag = stored.header("etag").unwrap();
            let partly = h(&[(ALGORITHM, "AES256")]);
            let answer = complete(&stack, name, &id, etag, &partly).await;
            assert_refused(&answer, name, 400, "InvalidArgument", "appropriate secret key");
            let words = if name == "c" { NOT_THE_SAME } else { NOT_APPLICABLE };
            let answer = complete(&stack, name, &id, etag, &customer(OTHER)).await;
            assert_refused(&answer, name, 400, "InvalidRequest", words);
            assert!(stack.store.stored(BUCKET, name).is_none(), "{name}");
            // S3 wants it where a checksum is kept under it; here it is never needed.
            let headers = if give { good.clone() } else { vec![] };
            let answer = complete(&stack, name, &id, etag, &headers).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            assert!(!shares_a_run(&body, &stack.store.stored(BUCKET, name).unwrap().body));
            let read = stack.proxy.send(call("GET", name, &good)).await;
            assert!(read.status == 200 && read.body == body, "{name}: {}", read.text());
            assert_eq!(stack.proxy.send(call("DELETE", name, &vec![])).await.status, 204);
        }
    }
}

#[tokio::test]
async fn every_bad_read_of_a_multipart_object_is_refused() {
    let stack = secure().await;
    for (name, create, good) in kinds() {
        for body in [&b""[..], &random(9, HELD + 70_000)] {
            let id = begun(&stack, name, &create).await;
            let etag = part(&stack, name, &id, body, &good).await.header("etag").unwrap().to_owned();
            assert_eq!(complete(&stack, name, &id, &etag, &vec![]).await.status, 200);
            let mut rows = vec![
                (h(&[(SSE, "AES256")]), 400, "InvalidArgument", "not supported for this operation"),
                (h(&[(ALGORITHM, "AES256")]), 400, "InvalidArgument", "appropriate secret key"),
            ];
            if name == "c" {
                rows.push((vec![], 400, "InvalidRequest", NEEDED));
                rows.push((customer(OTHER), 403, "AccessDenied", "Access Denied"));
            } else {
                rows.push((customer(MINE), 400, "InvalidRequest", NOT_APPLICABLE));
            }
            let attributes = h(&[("x-amz-object-attributes", "ETag,Checksum,ObjectParts,ObjectSize")]);
            for (headers, status, code, words) in &rows {
                for (method, query, more) in [
                    ("GET", "", vec![]),
                    ("HEAD", "", vec![]),
                    ("GET", "?partNumber=1", vec![]),
                    ("HEAD", "?partNumber=1", vec![]),
                    ("GET", "", h(&[("range", "bytes=-5")])),
                    ("GET", "?attributes", attributes.clone()),
                ] {
                    let what = format!("{method} {name}{query} {headers:?} {}", body.len());
                    let all = [headers.clone(), more].concat();
                    let answer = stack.proxy.send(call(method, &format!("{name}{query}"), &all)).await;
                    assert_refused(&answer, &what, *status, code, words);
                    for shown in ["etag", "last-modified", "x-amz-mp-parts-count", KEY_MD5, SSE] {
                        assert_eq!(answer.header(shown), None, "{what}");
                    }
                }
            }
            let all = [good.clone(), attributes].concat();
            let told = stack.proxy.send(call("GET", &format!("{name}?attributes"), &all)).await;
            assert_eq!(told.element("ObjectSize"), body.len().to_string(), "{name}: {}", told.text());
        }
    }
}

/// The AWS column: on every step of an upload and on the object, mode, key id as it was spelled, bucket key where it was
/// asked for; a customer's algorithm and MD5 where the key was sent.
#[tokio::test]
async fn answers_show_what_the_upload_was_begun_under() {
    let stack = secure().await;
    let arn = "arn:aws:kms:us-east-1:123456789012:key/test-key";
    let context = STANDARD.encode("{\"team\":\"a\"}");
    let kms = Some("aws:kms");
    type Shown<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);
    let rows: Vec<(Headers, Shown<'_>)> = vec![
        (vec![], (Some("AES256"), None, None)),
        (h(&[(SSE, "AES256")]), (Some("AES256"), None, None)),
        (h(&[(SSE, "aws:kms")]), (kms, Some("test-key"), None)),
        (h(&[(SSE, "aws:kms"), (KEY_ID, arn)]), (kms, Some(arn), None)),
        (h(&[(SSE, "aws:kms"), (BUCKET_KEY, "true")]), (kms, Some("test-key"), Some("true"))),
        (h(&[(SSE, "aws:kms"), (BUCKET_KEY, "false")]), (kms, Some("test-key"), None)),
        (h(&[(SSE, "aws:kms"), (CONTEXT, &context)]), (kms, Some("test-key"), None)),
        (customer(MINE), (None, None, None)),
    ];
    for (headers, shown) in rows {
        let own = if headers.iter().any(|(name, _)| *name == KEY) { headers.clone() } else { vec![] };
        let created = create(&stack, "k", &headers).await;
        assert_eq!(created.status, 200, "{headers:?}: {}", created.text());
        let sent = headers.iter().find(|(name, _)| *name == CONTEXT).map(|(_, value)| value.as_str());
        assert_eq!(created.header(CONTEXT), sent);
        let id = created.element("UploadId");
        let stored = part(&stack, "k", &id, b"data", &own).await;
        let etag = stored.header("etag").unwrap().to_owned();
        let completed = complete(&stack, "k", &id, &etag, &own).await;
        assert_eq!(completed.status, 200, "{headers:?}: {}", completed.text());
        let mut answers = vec![created, stored, completed];
        for method in ["GET", "HEAD"] {
            for query in ["", "?partNumber=1"] {
                answers.push(stack.proxy.send(call(method, &format!("k{query}"), &own)).await);
            }
        }
        for answer in &answers {
            let got = (answer.header(SSE), answer.header(KEY_ID), answer.header(BUCKET_KEY));
            assert_eq!(got, shown, "{headers:?}");
            let customers = (answer.header(ALGORITHM), answer.header(KEY_MD5), answer.header(KEY));
            let md5 = md5_of(&MINE);
            let expected =
                if own.is_empty() { (None, None, None) } else { (Some("AES256"), Some(md5.as_str()), None) };
            assert_eq!(customers, expected, "{headers:?}");
        }
        for answer in &answers[1..] {
            assert_eq!(answer.header(CONTEXT), None, "{headers:?}");
        }
    }
}

/// A default counts when an upload begins, and a change of it does not reach uploads under way.
#[tokio::test]
async fn uploads_begin_under_the_buckets_rule() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    let rule = |default: &str, more: &str| {
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{default}\
             </ApplyServerSideEncryptionByDefault>{more}</Rule></ServerSideEncryptionConfiguration>"
        )
    };
    let put = async |document: String| {
        let answer = stack.proxy.send(Call::new("PUT", format!("/{BUCKET}?encryption")).body(document)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    put(rule("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>alias/test-key</KMSMasterKeyID>", ""))
        .await;
    let id = begun(&stack, "k", &vec![]).await;
    let blocked = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>";
    let before = begun(&stack, "c", &customer(MINE)).await;
    put(rule("<SSEAlgorithm>AES256</SSEAlgorithm>", blocked)).await;
    let stored = part(&stack, "k", &id, b"data", &vec![]).await;
    let completed = complete(&stack, "k", &id, stored.header("etag").unwrap(), &vec![]).await;
    for answer in [&stored, &completed, &stack.head("k").await] {
        assert_eq!((answer.header(SSE), answer.header(KEY_ID)), (Some("aws:kms"), Some("alias/test-key")));
    }
    assert_eq!(create(&stack, "k", &vec![]).await.header(SSE), Some("AES256"));
    assert_eq!(
        create(&stack, "k", &kms()).await.header(KEY_ID),
        Some("alias/test-key"),
        "a client's own choice"
    );
    assert_refused(&create(&stack, "c", &customer(MINE)).await, "blocked", 403, "AccessDenied", "SSE-C");
    assert_eq!(part(&stack, "c", &before, b"data", &customer(MINE)).await.status, 200, "it had begun before");
}
