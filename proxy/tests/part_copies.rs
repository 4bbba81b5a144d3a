//! UploadPartCopy over real HTTP: any range of any source becomes a part, under any key on either side, and what is refused or
//! does not authenticate becomes none.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::ops::Range;

use http::Method;
use s3cloak::demo::store::Fault;
use s3cloak::s3::checksum::{ChecksumAlgorithm, Hasher};
use support::multipart::{MIN_PART, Object, forget};
use support::uploads::{
    Headers, between, complete, create, customer, kept, of_source, part_copy, s3_etag, with,
};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random, shares_a_run};

const CHUNK: usize = 65_536 + 16;
const RANGE: &str = "x-amz-copy-source-range";

fn range(of: &Range<usize>) -> (&'static str, String) {
    (RANGE, format!("bytes={}-{}", of.start, of.end - 1))
}

fn pick(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

async fn legacy(stack: &Stack, bucket: &str, key: &str, body: &[u8]) {
    let put = stack.backend.send(Call::new("PUT", format!("/{bucket}/{key}")).body(body)).await;
    assert_eq!(put.status, 200, "{}", put.text());
}

/// Copies these ranges of `source` as parts and gives the object that they make.
async fn copied(stack: &Stack, source: &str, ranges: &[Option<Range<usize>>]) -> Answer {
    let id = create(&stack.proxy, "made", &vec![]).await;
    let mut tags = Vec::new();
    for (at, asked) in ranges.iter().enumerate() {
        let headers: Headers = asked.iter().map(range).collect();
        let number = at as u32 * 2 + 1;
        let answer = part_copy(&stack.proxy, "made", &id, number, source, &headers).await;
        assert_eq!(answer.status, 200, "{source} {asked:?}: {}", answer.text());
        tags.push((number, between(&answer.text(), "ETag")));
    }
    let done = complete(&stack.proxy, "made", &id, &tags).await;
    assert_eq!(done.status, 200, "{source} {ranges:?}: {}", done.text());
    assert_eq!(kept(stack), [""; 0]);
    stack.get("made").await
}

#[tokio::test]
async fn any_range_of_any_source() {
    let buckets = Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }");
    let stack = Stack::with(Options { buckets, ..Options::default() }).await;
    let mut state = 20_261_125;
    let mut sources: Vec<(String, Vec<u8>)> = Vec::new();
    for (at, size) in [0, 1, 65_536, 70_001, MIN_PART * 2 + 12_345].into_iter().enumerate() {
        let body = random(at as u64 + 1, size);
        stack.put(&format!("single{at}"), &body).await;
        legacy(&stack, BUCKET, &format!("legacy{at}"), &body).await;
        sources.push((format!("single{at}"), body.clone()));
        sources.push((format!("legacy{at}"), body));
    }
    for (at, last) in [0, 1, 65_537, 1 << 20].into_iter().enumerate() {
        let key = format!("parts{at}");
        let seed = at as u64 * 10;
        let odd = pick(&mut state, 70_000);
        let sizes = [(MIN_PART + odd, seed), (MIN_PART, seed + 1), (last, seed + 2)];
        let parts = sizes.into_iter().map(|(size, seed)| random(seed, size)).collect();
        let object = Object::build(&stack, &key, parts).await;
        object.store(&stack, &key).await;
        sources.push((key, object.plain()));
    }
    for (key, plain) in &sources {
        let source = format!("{BUCKET}/{key}");
        let whole = copied(&stack, &source, &[None]).await;
        assert!(whole.complete && whole.body == *plain, "{key}");
        assert_eq!(whole.header("etag"), Some(s3_etag(&[plain]).as_str()), "{key}");
        if plain.is_empty() {
            continue;
        }
        let size = plain.len();
        for _ in 0..3 {
            // Large enough for a part that another one may follow, where the source is.
            let length = MIN_PART + pick(&mut state, 200_000);
            let mut ranges = Vec::new();
            if length <= size {
                let start = pick(&mut state, size - length + 1);
                ranges.push(start..start + length);
            }
            let start = pick(&mut state, size);
            ranges.push(start..start + 1 + pick(&mut state, (size - start).min(300_000)));
            let expected: Vec<&[u8]> = ranges.iter().map(|range| &plain[range.clone()]).collect();
            let asked: Vec<_> = ranges.iter().cloned().map(Some).collect();
            let got = copied(&stack, &source, &asked).await;
            assert!(got.complete && got.body == expected.concat(), "{key} {ranges:?}");
            assert_eq!(got.header("etag"), Some(s3_etag(&expected).as_str()), "{key} {ranges:?}");
        }
        assert!(!shares_a_run(
            &plain[..size.min(100_000)],
            &stack.store.stored(BUCKET, "made").unwrap().body
        ));
    }
}

#[tokio::test]
async fn what_the_answer_says() {
    let stack = Stack::start().await;
    let body = random(1, MIN_PART + 100);
    stack.put("a%20key%2Bwith%25", &body).await;
    let source = format!("/{BUCKET}/a%20key%2Bwith%25");
    let id = create(&stack.proxy, "k", &vec![("x-amz-checksum-algorithm", "SHA256".to_owned())]).await;
    for (number, asked) in [(1, 0..body.len()), (10_000, 7..100)] {
        let answer = part_copy(&stack.proxy, "k", &id, number, &source, &vec![range(&asked)]).await;
        let text = answer.text();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/xml")), "{text}");
        assert_eq!(answer.header("x-amz-server-side-encryption"), Some("AES256"));
        assert_eq!(answer.header("etag"), None);
        assert!(text.contains("<CopyPartResult xmlns="), "{text}");
        assert_eq!(between(&text, "ETag"), format!("\"{}\"", md5_hex(&body[asked.clone()])));
        let mut sum = Hasher::new(ChecksumAlgorithm::Sha256);
        sum.update(&body[asked]);
        assert_eq!(between(&text, "ChecksumSHA256"), ChecksumAlgorithm::format_value(&sum.finish()));
        let time = between(&text, "LastModified");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        // Listed with the storage's time, which follows the answer's.
        let list = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"))).await.text();
        let listed = list.rsplit_once("<LastModified>").unwrap().1;
        assert!(listed[..24] >= time[..], "{time}: {list}");
    }
}

#[tokio::test]
async fn customers_keys_on_both_sides() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    let (mine, other) = (customer([7; 32]), customer([8; 32]));
    let body = random(2, MIN_PART + 3);
    let put = with(Call::new("PUT", format!("/{BUCKET}/source")).body(body.clone()), &mine);
    assert_eq!(stack.proxy.send(put).await.status, 200);
    let id = create(&stack.proxy, "k", &other).await;
    let source = format!("{BUCKET}/source");
    let both = |source: &Headers, own: &Headers| [of_source(source), own.clone()].concat();
    stack.store.journal().take();
    for (headers, status) in [
        (both(&other, &other), 403),
        (both(&mine, &mine), 400),
        (of_source(&mine), 400),
        (other.clone(), 400),
        (both(&mine, &other)[..4].to_vec(), 400),
    ] {
        let answer = part_copy(&stack.proxy, "k", &id, 1, &source, &headers).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(!shares_a_run(&body[..50_000], &answer.body));
    }
    let seen = stack.store.journal().take();
    assert!(seen.iter().all(|seen| seen.method == Method::GET), "{seen:?}");
    let answer = part_copy(&stack.proxy, "k", &id, 1, &source, &both(&mine, &other)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-amz-server-side-encryption-customer-algorithm"), Some("AES256"));
    let tag = between(&answer.text(), "ETag");
    assert!(tag.ends_with("-1\"") && !tag.contains(&md5_hex(&body)), "{tag}");
    assert_eq!(complete(&stack.proxy, "k", &id, &[(1, tag)]).await.status, 200);
    let get = |headers| with(Call::new("GET", format!("/{BUCKET}/k")), headers);
    assert!(stack.proxy.send(get(&other)).await.body == body);
    assert_eq!(stack.proxy.send(get(&mine)).await.status, 403);
    // A key for a source that was stored under none of the kind.
    stack.put("plain", b"x").await;
    let id = create(&stack.proxy, "p", &vec![]).await;
    let answer = part_copy(&stack.proxy, "p", &id, 1, &format!("{BUCKET}/plain"), &of_source(&mine)).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidRequest"));
}

#[tokio::test]
async fn what_is_refused_makes_no_part() {
    let options =
        Options { allow: Some("buckets: [\"photos\"], actions: [read, write]"), ..Options::default() };
    let stack = Stack::with(options).await;
    stack.store.create_bucket("foreign").unwrap();
    legacy(&stack, "foreign", "source", b"not to be read").await;
    legacy(&stack, BUCKET, "legacy", b"not encrypted").await;
    let body = random(3, 100_000);
    let etag = stack.put("source", &body).await.header("etag").unwrap().to_owned();
    let id = create(&stack.proxy, "k", &vec![]).await;
    let named = format!("{BUCKET}/source");
    let source = named.as_str();
    let beyond = format!("bytes=0-{}", body.len());
    let header = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    let if_match = "x-amz-copy-source-if-match";
    let if_none_match = "x-amz-copy-source-if-none-match";
    stack.store.journal().take();
    for (source, headers, status, code) in [
        ("", vec![], 400, "InvalidArgument"),
        ("source", vec![], 400, "InvalidArgument"),
        ("photos/", vec![], 400, "InvalidArgument"),
        ("photos/%zz", vec![], 400, "InvalidArgument"),
        ("photos/absent", vec![], 404, "NoSuchKey"),
        ("photos/legacy", vec![], 403, "AccessDenied"),
        ("foreign/source", vec![], 403, "AccessDenied"),
        ("s3cloak-system/format", vec![], 403, "AccessDenied"),
        (source, header(RANGE, "bytes=0-"), 400, "InvalidArgument"),
        (source, header(RANGE, "bytes=-5"), 400, "InvalidArgument"),
        (source, header(RANGE, "bytes=5-3"), 400, "InvalidArgument"),
        (source, header(RANGE, "0-5"), 400, "InvalidArgument"),
        (source, header(RANGE, "bytes=0-1,3-4"), 400, "InvalidArgument"),
        (source, header(RANGE, &beyond), 400, "InvalidArgument"),
        (source, header(if_match, "\"other\""), 412, "PreconditionFailed"),
        (source, header(if_none_match, &etag), 412, "PreconditionFailed"),
        (
            source,
            header("x-amz-copy-source-if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
            412,
            "PreconditionFailed",
        ),
    ] {
        let answer = part_copy(&stack.proxy, "k", &id, 1, source, &headers).await;
        let got = (answer.status, answer.code());
        assert_eq!(got, (status, code.to_owned()), "{source} {headers:?}: {}", answer.text());
    }
    for (number, upload, status, code) in [
        (0, id.as_str(), 400, "InvalidArgument"),
        (10_001, id.as_str(), 400, "InvalidArgument"),
        (1, "none", 404, "NoSuchUpload"),
        (1, "", 404, "NoSuchUpload"),
    ] {
        let answer = part_copy(&stack.proxy, "k", upload, number, source, &vec![]).await;
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{number} {upload}");
    }
    let elsewhere = Call::new("PUT", format!("/foreign/k?partNumber=1&uploadId={id}"));
    let elsewhere = stack.proxy.send(elsewhere.header("x-amz-copy-source", source)).await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (403, "AccessDenied"));
    // Nothing was written, and what is right still works, its conditions included.
    let seen = stack.store.journal().take();
    assert!(seen.iter().all(|seen| seen.method == Method::GET || seen.method == Method::HEAD), "{seen:?}");
    for headers in [header(if_match, &etag), header(if_none_match, "\"other\"")] {
        let answer = part_copy(&stack.proxy, "k", &id, 1, source, &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What the backend has of the upload, and what the proxy has recorded of it.
async fn parts_of(stack: &Stack, id: &str) -> (usize, usize) {
    let listed = stack.backend.send(Call::new("GET", format!("/{BUCKET}/k?uploadId={id}"))).await.text();
    (listed.matches("<Part>").count(), kept(stack).len() - 1)
}

#[tokio::test]
async fn a_tampered_source_never_becomes_a_part() {
    let stack = Stack::start().await;
    let size = MIN_PART + 200_000;
    let data = random(4, size);
    let total = object_format::length::sealed_len(size as u64) as usize;
    let id = create(&stack.proxy, "k", &vec![]).await;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: Vec<(&str, Change)> = vec![
        ("the first byte", Box::new(|b| b[0] ^= 1)),
        ("a byte within", Box::new(|b| b[CHUNK * 40 + 77] ^= 0x80)),
        ("the last chunk", Box::new(move |b| b[total - 2000] ^= 1)),
        ("the padding or footer", Box::new(move |b| b[total - 100] ^= 1)),
        (
            "two chunks swapped",
            Box::new(|b| {
                let first = b[..CHUNK].to_vec();
                b.copy_within(CHUNK..CHUNK * 2, 0);
                b[CHUNK..CHUNK * 2].copy_from_slice(&first);
            }),
        ),
        ("cut at a chunk", Box::new(|b| b.truncate(CHUNK * 3))),
        ("cut by a byte", Box::new(move |b| b.truncate(total - 1))),
        ("emptied", Box::new(Vec::clear)),
    ];
    for (what, change) in changes {
        stack.put("source", &data).await;
        assert!(stack.store.tamper(BUCKET, "source", |raw| change(&mut raw.body)).unwrap());
        // As a streamed part, as one that is held, and whole from what is known already.
        for asked in [None, Some(0..size), Some(0..CHUNK * 42), Some(0..MIN_PART)] {
            let beside = what.starts_with("the last") && asked.as_ref().is_some_and(|asked| asked.end < size);
            if beside {
                continue;
            }
            let headers: Headers = asked.iter().map(range).collect();
            let source = format!("{BUCKET}/source");
            let answer = part_copy(&stack.proxy, "k", &id, 1, &source, &headers).await;
            assert_eq!(answer.status, 500, "{what} {asked:?}: {}", answer.text());
            assert!(!shares_a_run(&data[..50_000], &answer.body));
            assert_eq!(parts_of(&stack, &id).await, (0, 0), "{what} {asked:?}. This is a security issue.");
        }
    }
    // Stripped of its envelope it is no plaintext object either.
    stack.put("source", &data).await;
    stack.store.tamper(BUCKET, "source", |raw| raw.headers.clear()).unwrap();
    let answer = part_copy(&stack.proxy, "k", &id, 1, &format!("{BUCKET}/source"), &vec![]).await;
    assert_eq!((answer.status, parts_of(&stack, &id).await), (500, (0, 0)));
}

#[tokio::test]
async fn a_source_that_breaks_off_never_becomes_a_part() {
    let stack = Stack::start().await;
    let data = random(5, MIN_PART + 70_000);
    stack.put("source", &data).await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let source = format!("{BUCKET}/source");
    // The first look goes to the object's end, the others for its bytes: again, where the answer may be of two objects.
    for (fault, times, status) in [
        (Fault::CutBody(1 << 20), 1, 502),
        (Fault::FlipByte(3 << 20), 1, 500),
        (Fault::FlipByte(1000), 3, 500),
        (Fault::Status(412, "PreconditionFailed".to_owned()), 1, 503),
        (Fault::Status(503, "SlowDown".to_owned()), 1, 503),
        (
            Fault::Headers(vec![("etag".to_owned(), "\"0123456789abcdef0123456789abcdef\"".to_owned())]),
            1,
            503,
        ),
        (Fault::Headers(vec![("x-amz-meta-s3cloak".to_owned(), "AAAA".to_owned())]), 3, 500),
    ] {
        stack.store.faults().on(Method::GET, "/photos/source", Fault::Headers(vec![]));
        (0..times).for_each(|_| stack.store.faults().on(Method::GET, "/photos/source", fault.clone()));
        let answer = part_copy(&stack.proxy, "k", &id, 1, &source, &vec![]).await;
        assert_eq!(answer.status, status, "{fault:?}: {}", answer.text());
        assert_eq!((stack.store.faults().waiting(), parts_of(&stack, &id).await), (0, (0, 0)), "{fault:?}");
    }
    forget(&stack, "source");
    let answer = part_copy(&stack.proxy, "k", &id, 1, &source, &vec![]).await;
    assert_eq!((answer.status, parts_of(&stack, &id).await), (200, (1, 1)), "{}", answer.text());
}

/// What is wrong with the name of the source's bucket is wrong with an argument, also where only the storage sees it.
#[tokio::test]
async fn a_source_that_the_storage_has_no_such_name_for() {
    let stack = Stack::start().await;
    let id = create(&stack.proxy, "k", &vec![]).await;
    let refuse = || Fault::Status(400, "InvalidBucketName".to_owned());
    stack.store.faults().on(Method::GET, "/photos_/source", refuse());
    let part = part_copy(&stack.proxy, "k", &id, 1, "photos_/source", &vec![]).await;
    stack.store.faults().on(Method::GET, "/photos_/source", refuse());
    let call = Call::new("PUT", format!("/{BUCKET}/k")).header("x-amz-copy-source", "photos_/source");
    for refused in [part, stack.proxy.send(call).await] {
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidArgument"), "{}", refused.text());
    }
    assert_eq!(stack.store.faults().waiting(), 0);
}

/// Which version was copied is told where there are versions: of a bucket that keeps none, storage may still say `null`.
#[tokio::test]
async fn the_version_that_was_copied_is_told() {
    let stack = Stack::start().await;
    stack.put("source", b"data").await;
    let source = format!("{BUCKET}/source");
    for (version, told) in [(Some("v1"), Some("v1")), (Some("null"), None), (None, None)] {
        let answers = || {
            let headers = version.map(|id| ("x-amz-version-id".to_owned(), id.to_owned()));
            Fault::Headers(headers.into_iter().collect())
        };
        let id = create(&stack.proxy, "k", &vec![]).await;
        stack.store.faults().on(Method::GET, "/photos/source", answers());
        let part = part_copy(&stack.proxy, "k", &id, 1, &source, &vec![]).await;
        stack.store.faults().on(Method::GET, "/photos/source", answers());
        let call = Call::new("PUT", format!("/{BUCKET}/k")).header("x-amz-copy-source", source.as_str());
        let whole = stack.proxy.send(call).await;
        for copied in [part, whole] {
            assert_eq!(copied.status, 200, "{}", copied.text());
            assert_eq!(copied.header("x-amz-copy-source-version-id"), told, "{version:?}");
        }
    }
}
