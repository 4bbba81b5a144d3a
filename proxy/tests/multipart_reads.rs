//! Reads of multipart objects: any range over any layout, parts by number, HEAD, listings, attributes, and parts of
//! objects that were there before the proxy.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use base64::Engine;
use support::multipart::{MIN_PART, Object, forget, sha256};
use support::{Answer, BUCKET, Call, Options, Stack, md5_hex, random};

const KEY: &str = "many";

async fn get(stack: &Stack, query: &str, headers: &[(&str, &str)]) -> Answer {
    read(stack, "GET", query, headers).await
}

async fn read(stack: &Stack, method: &'static str, query: &str, headers: &[(&str, &str)]) -> Answer {
    let call = Call::new(method, format!("/{BUCKET}/{KEY}{query}"));
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name, *value));
    stack.proxy.send(call).await
}

fn b64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn pick(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// Sizes around chunk borders, aligned and not; the last part of any size, none included.
fn layout(state: &mut u64) -> Vec<usize> {
    const ODD: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 100_003];
    let count = 1 + pick(state, 3) as usize;
    let mut sizes: Vec<usize> = (1..count).map(|_| MIN_PART + ODD[pick(state, 6) as usize]).collect();
    sizes.push(ODD[pick(state, 6) as usize]);
    sizes
}

#[tokio::test]
async fn any_range_over_any_layout() {
    let stack = Stack::start().await;
    let mut state = 20_261_125;
    let fixed = [vec![0], vec![MIN_PART, 0], vec![MIN_PART + 1, MIN_PART, 65_537], vec![70_000]];
    let layouts: Vec<Vec<usize>> = fixed.into_iter().chain((0..6).map(|_| layout(&mut state))).collect();
    for sizes in layouts {
        let bodies = sizes.iter().enumerate().map(|(at, size)| random(state + at as u64, *size)).collect();
        let object = Object::build(&stack, KEY, bodies).await;
        object.store(&stack, KEY).await;
        forget(&stack, KEY);
        let plain = object.plain();
        let total = plain.len() as u64;
        let head = read(&stack, "HEAD", "", &[]).await;
        assert_eq!(head.header("content-length"), Some(total.to_string().as_str()), "{sizes:?}");
        assert_eq!(head.header("etag"), Some(format!("\"{}\"", object.etag).as_str()), "{sizes:?}");
        let whole = get(&stack, "", &[]).await;
        assert_eq!((whole.status, whole.complete, whole.body == plain), (200, true, true), "{sizes:?}");
        for round in 0..14 {
            if round == 7 {
                forget(&stack, KEY);
            }
            if total == 0 {
                assert_eq!(get(&stack, "", &[("range", "bytes=0-0")]).await.status, 416);
                continue;
            }
            // Half of the ranges begin near a part's end.
            let border: u64 =
                sizes.iter().take(1 + pick(&mut state, sizes.len() as u64) as usize).map(|s| *s as u64).sum();
            let near = border.saturating_sub(pick(&mut state, 70_000));
            let start = if round % 2 == 0 { near } else { pick(&mut state, total) }.min(total - 1);
            let end = (start + pick(&mut state, 200_000)).min(total - 1);
            let (asked, start, end) = match round % 3 {
                0 => (format!("bytes={start}-{end}"), start, end),
                1 => (format!("bytes={start}-"), start, total - 1),
                _ => (format!("bytes=-{}", total - start), start, total - 1),
            };
            let answer = get(&stack, "", &[("range", &asked)]).await;
            let expected = &plain[start as usize..=end as usize];
            assert_eq!(answer.status, 206, "{sizes:?} {asked}: {}", answer.text());
            assert!(answer.complete && answer.body == expected, "{sizes:?} {asked}");
            let shown = format!("bytes {start}-{end}/{total}");
            assert_eq!(answer.header("content-range"), Some(shown.as_str()), "{sizes:?} {asked}");
        }
        let mut start = 0;
        for (at, part) in object.parts.iter().enumerate() {
            let query = format!("?partNumber={}", at + 1);
            let (answer, head) = (get(&stack, &query, &[]).await, read(&stack, "HEAD", &query, &[]).await);
            assert!(answer.complete && answer.body == part.plain, "{sizes:?} part {at}");
            let size = part.plain.len();
            for answer in [&answer, &head] {
                assert_eq!(answer.status, if size > 0 { 206 } else { 200 }, "{sizes:?} part {at}");
                assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
                assert_eq!(answer.header("x-amz-mp-parts-count"), Some(sizes.len().to_string().as_str()));
                let shown = (size > 0).then(|| format!("bytes {start}-{}/{total}", start + size - 1));
                assert_eq!(answer.header("content-range"), shown.as_deref());
            }
            start += size;
        }
        for method in ["GET", "HEAD"] {
            let query = format!("?partNumber={}", sizes.len() + 1);
            assert_eq!(read(&stack, method, &query, &[]).await.status, 416, "{sizes:?}");
        }
    }
}

#[tokio::test]
async fn what_a_multipart_object_shows() {
    let stack = Stack::start().await;
    let bodies = vec![random(1, MIN_PART), random(2, MIN_PART + 7), random(3, 1000)];
    let object = Object::build(&stack, KEY, bodies).await;
    object.store(&stack, KEY).await;
    let tag = format!("\"{}\"", object.etag);
    // One request to the backend for a HEAD, and one for its line in a listing.
    stack.store.journal().take();
    let head = read(&stack, "HEAD", "", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!(stack.store.journal().take().len(), 1);
    let sums: Vec<u8> = object.parts.iter().flat_map(|part| sha256(&part.plain)).collect();
    let composite = b64(&sha256(&sums));
    assert_eq!(head.header("x-amz-checksum-sha256"), Some(format!("{composite}-3").as_str()));
    assert_eq!(head.header("x-amz-checksum-type"), Some("COMPOSITE"));
    assert_eq!(head.header("x-amz-mp-parts-count"), None);
    forget(&stack, KEY);
    let list = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await.text();
    assert_eq!(stack.store.journal().take().len(), 2, "a page and one footer");
    assert!(list.contains(&format!("<Size>{}</Size>", object.plain().len())), "{list}");
    assert!(list.contains(&object.etag), "{list}");
    // A part has its own checksum, without a count; a range has none.
    for method in ["GET", "HEAD"] {
        let part = read(&stack, method, "?partNumber=2", &[("x-amz-checksum-mode", "ENABLED")]).await;
        let own = b64(&sha256(&object.parts[1].plain));
        assert_eq!(part.header("x-amz-checksum-sha256"), Some(own.as_str()));
        assert_eq!(part.header("etag"), Some(tag.as_str()));
    }
    let ranged = get(&stack, "", &[("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=0-9")]).await;
    assert_eq!(ranged.header("x-amz-checksum-sha256"), None);
    // What a HEAD saw takes no request from the next GET: the parts are known still.
    get(&stack, "?partNumber=1", &[]).await;
    read(&stack, "HEAD", "", &[]).await;
    stack.store.journal().take();
    assert_eq!(get(&stack, "", &[("range", "bytes=1-2")]).await.status, 206);
    assert_eq!(stack.store.journal().take().len(), 1);
    // Conditions hold on the ETag that is shown.
    assert_eq!(get(&stack, "", &[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(get(&stack, "?partNumber=1", &[("if-match", "\"other\"")]).await.status, 412);
    assert_eq!(get(&stack, "?partNumber=3", &[("if-match", &tag)]).await.body, object.parts[2].plain);
    let both = get(&stack, "?partNumber=1", &[("range", "bytes=0-1")]).await;
    assert_eq!((both.status, both.code().as_str()), (400, "InvalidRequest"));
    let out = get(&stack, "?partNumber=4", &[]).await;
    assert_eq!((out.status, out.code().as_str()), (416, "InvalidPartNumber"));
}

#[tokio::test]
async fn part_numbers_of_a_single_put() {
    let stack = Stack::start().await;
    let data = random(9, 100_000);
    stack.put(KEY, &data).await;
    for method in ["GET", "HEAD"] {
        let one = read(&stack, method, "?partNumber=1", &[]).await;
        assert_eq!((one.status, one.header("content-range")), (206, Some("bytes 0-99999/100000")));
        assert_eq!(one.header("x-amz-mp-parts-count"), None);
        assert_eq!(read(&stack, method, "?partNumber=2", &[]).await.status, 416);
    }
    assert_eq!(get(&stack, "?partNumber=1", &[]).await.body, data);
}

async fn attributes(stack: &Stack, headers: &[(&str, &str)]) -> Answer {
    get(stack, "?attributes", headers).await
}

fn inner(answer: &Answer) -> String {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    let start = text.find("2006-03-01/\">").unwrap() + 13;
    text[start..text.find("</GetObjectAttributesResponse>").unwrap()].to_owned()
}

#[tokio::test]
async fn attributes_of_a_multipart_object() {
    let stack = Stack::start().await;
    let object =
        Object::build(&stack, KEY, vec![random(1, MIN_PART), random(2, MIN_PART), random(3, 10)]).await;
    object.store(&stack, KEY).await;
    let all = [("x-amz-object-attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize")];
    let answer = attributes(&stack, &all).await;
    assert!(answer.header("last-modified").is_some());
    assert!(!answer.headers.iter().any(|(n, _)| n.starts_with("x-amz-meta") || n == "etag"), "{answer:?}");
    let document = inner(&answer);
    let sums: Vec<u8> = object.parts.iter().flat_map(|part| sha256(&part.plain)).collect();
    assert!(document.starts_with(&format!("<ETag>{}</ETag>", object.etag)), "{document}");
    assert!(document.contains(&format!(
        "<Checksum><ChecksumSHA256>{}</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType></Checksum>",
        b64(&sha256(&sums))
    )));
    for (at, part) in object.parts.iter().enumerate() {
        assert!(document.contains(&format!(
            "<Part><PartNumber>{}</PartNumber><Size>{}</Size><ChecksumSHA256>{}</ChecksumSHA256></Part>",
            at + 1,
            part.plain.len(),
            b64(&sha256(&part.plain))
        )));
    }
    assert!(document.contains("<IsTruncated>false</IsTruncated>"));
    let size = object.plain().len();
    assert!(document.ends_with(&format!(
        "<PartsCount>3</PartsCount></ObjectParts><StorageClass>STANDARD</StorageClass><ObjectSize>{size}</ObjectSize>"
    )));
    // Page by page.
    let parts = ("x-amz-object-attributes", "ObjectParts");
    let page = inner(&attributes(&stack, &[parts, ("x-amz-max-parts", "2")]).await);
    assert!(page.contains("<NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts>"), "{page}");
    assert!(page.contains("<IsTruncated>true</IsTruncated>") && page.matches("<Part>").count() == 2);
    let page = inner(&attributes(&stack, &[parts, ("x-amz-part-number-marker", "2")]).await);
    assert!(page.contains("<PartNumber>3</PartNumber>") && page.matches("<Part>").count() == 1, "{page}");
    assert!(page.contains("<IsTruncated>false</IsTruncated>"));
    let page = inner(&attributes(&stack, &[parts, ("x-amz-part-number-marker", "9")]).await);
    assert_eq!(page.matches("<Part>").count(), 0, "{page}");
    // Without the parts one footer is enough.
    stack.store.journal().take();
    inner(&attributes(&stack, &[("x-amz-object-attributes", "ETag,ObjectSize,Checksum")]).await);
    assert_eq!(stack.store.journal().take().len(), 1);
}

#[tokio::test]
async fn attributes_of_a_single_put_and_errors() {
    let stack = Stack::start().await;
    let data = random(4, 70_000);
    let sum = b64(&sha256(&data));
    let put = Call::new("PUT", format!("/{BUCKET}/{KEY}")).body(data.clone());
    assert_eq!(stack.proxy.send(put.header("x-amz-checksum-sha256", sum.clone())).await.status, 200);
    let all = ("x-amz-object-attributes", "ObjectSize,StorageClass,ObjectParts,Checksum,ETag");
    let md5 = md5_hex(&data);
    assert_eq!(
        inner(&attributes(&stack, &[all]).await),
        format!(
            "<ETag>{md5}</ETag><Checksum><ChecksumSHA256>{sum}</ChecksumSHA256><ChecksumType>FULL_OBJECT</ChecksumType>\
             </Checksum><StorageClass>STANDARD</StorageClass><ObjectSize>70000</ObjectSize>"
        )
    );
    let only = attributes(&stack, &[("x-amz-object-attributes", "ObjectSize")]).await;
    assert_eq!(inner(&only), "<ObjectSize>70000</ObjectSize>");
    for (headers, status, code) in [
        (&[][..], 400, "InvalidRequest"),
        (&[("x-amz-object-attributes", "Size")], 400, "InvalidArgument"),
        (&[all, ("x-amz-max-parts", "many")], 400, "InvalidArgument"),
        (&[all, ("if-match", "\"other\"")], 412, "PreconditionFailed"),
        (&[all, ("if-none-match", &md5)], 304, ""),
    ] {
        let answer = attributes(&stack, headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{headers:?}");
    }
    assert_eq!(attributes(&stack, &[all, ("if-match", &md5)]).await.status, 200);
    let absent = Call::new("GET", format!("/{BUCKET}/absent?attributes")).header(all.0, all.1);
    let absent = stack.proxy.send(absent).await;
    assert_eq!((absent.status, absent.code().as_str()), (404, "NoSuchKey"));
    // Sealed by nobody who has the key: nothing is told.
    stack.store.tamper(BUCKET, KEY, |raw| *raw.body.last_mut().unwrap() ^= 1).unwrap();
    assert_eq!(attributes(&stack, &[all]).await.status, 500);
}

/// Nothing is told of an object under a customer's key to who does not have it.
#[tokio::test]
async fn attributes_under_a_customers_key() {
    let stack = Stack::with(Options { listen: "tls_terminated_in_front: true", ..Options::default() }).await;
    let customer = |key: [u8; 32]| {
        use md5::Digest;
        let prefix = "x-amz-server-side-encryption-customer-";
        [
            (format!("{prefix}algorithm"), "AES256".to_owned()),
            (format!("{prefix}key"), b64(&key)),
            (format!("{prefix}key-md5"), b64(&md5::Md5::digest(key))),
        ]
    };
    let with = |call: Call, headers: &[(String, String)]| {
        headers.iter().fold(call, |call, (name, value)| call.header(name, value.clone()))
    };
    let data = random(6, 5000);
    let put = Call::new("PUT", format!("/{BUCKET}/{KEY}")).body(data);
    assert_eq!(stack.proxy.send(with(put, &customer([7; 32]))).await.status, 200);
    let asked = Call::new("GET", format!("/{BUCKET}/{KEY}?attributes"))
        .header("x-amz-object-attributes", "ObjectSize,ETag");
    let right = stack.proxy.send(with(asked.clone(), &customer([7; 32]))).await;
    let etag =
        stack.proxy.send(with(Call::new("HEAD", format!("/{BUCKET}/{KEY}")), &customer([7; 32]))).await;
    let etag = etag.header("etag").unwrap().trim_matches('"').to_owned();
    assert_eq!(inner(&right), format!("<ETag>{etag}</ETag><ObjectSize>5000</ObjectSize>"));
    for (headers, status) in [(&customer([8; 32])[..], 403), (&[], 400)] {
        let answer = stack.proxy.send(with(asked.clone(), headers)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(!answer.text().contains("5000") && !answer.text().contains(&etag));
    }
}

/// An object in parts that the backend itself made, before the proxy came.
async fn legacy(stack: &Stack, parts: &[&[u8]]) {
    let send = |method, query: String, body: Vec<u8>| {
        stack.backend.send(Call::new(method, format!("/{BUCKET}/{KEY}?{query}")).body(body))
    };
    let begun = send("POST", "uploads=".to_owned(), Vec::new()).await.text();
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let mut listed = String::new();
    for (at, part) in parts.iter().enumerate() {
        let number = at + 1;
        let put = send("PUT", format!("partNumber={number}&uploadId={id}"), part.to_vec()).await;
        let etag = put.header("etag").unwrap().to_owned();
        listed += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let done = send("POST", format!("uploadId={id}"), document.into_bytes()).await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[tokio::test]
async fn parts_of_what_was_there_before() {
    let buckets = Some("  \"*\": { backend: default, etag: md5, unencrypted_objects: pass }");
    let stack = Stack::with(Options { buckets, ..Options::default() }).await;
    let (first, last) = (random(1, MIN_PART), random(2, 1234));
    legacy(&stack, &[&first, &last]).await;
    assert_eq!(get(&stack, "", &[]).await.body, [first.clone(), last.clone()].concat());
    for (query, part, range) in [
        ("?partNumber=1", &first, "bytes 0-5242879/5244114"),
        ("?partNumber=2", &last, "bytes 5242880-5244113/5244114"),
    ] {
        let answer = get(&stack, query, &[]).await;
        assert!(answer.complete && answer.body == *part, "{query}");
        for answer in [answer, read(&stack, "HEAD", query, &[]).await] {
            assert_eq!((answer.status, answer.header("content-range")), (206, Some(range)), "{query}");
            assert_eq!(answer.header("x-amz-mp-parts-count"), Some("2"));
        }
    }
    let out = get(&stack, "?partNumber=3", &[]).await;
    assert_eq!((out.status, out.code().as_str()), (416, "InvalidPartNumber"));
    let counted = attributes(&stack, &[("x-amz-object-attributes", "ObjectParts,ObjectSize")]).await;
    assert_eq!(
        inner(&counted),
        "<ObjectParts><PartsCount>2</PartsCount></ObjectParts><ObjectSize>5244114</ObjectSize>"
    );
    // Refused where such objects are refused.
    let strict = Stack::start().await;
    legacy(&strict, &[&first, &last]).await;
    for query in ["", "?partNumber=1", "?attributes"] {
        let answer = get(&strict, query, &[("x-amz-object-attributes", "ETag")]).await;
        assert_eq!(answer.status, 403, "{query}");
    }
}
