//! Objects through the real proxy in process: what clients see, and what the backend holds.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use object_format::length::sealed_len;
use support::{BUCKET, Call, Options, Stack, md5_hex, random, shares_a_run};

/// Sizes around every border: empty, chunk edges, the buffer limit, several chunks.
const SIZES: [usize; 10] = [0, 1, 15, 4096, 65_535, 65_536, 65_537, 1_048_576, 1_048_577, 3_000_000];

#[tokio::test]
async fn objects_of_every_size_come_back_and_only_ciphertext_is_stored() {
    let stack = Stack::start().await;
    for size in SIZES {
        let data = random(size as u64 + 1, size);
        let key = format!("size-{size}");
        let put = stack.put(&key, &data).await;
        let etag = format!("\"{}\"", md5_hex(&data));
        assert_eq!(put.header("etag"), Some(etag.as_str()), "{size}");

        let stored = stack.store.stored(BUCKET, &key).unwrap();
        assert_eq!(stored.body.len() as u64, sealed_len(size as u64), "{size}");
        assert!(stored.header("x-amz-meta-s3cloak").is_some());
        if size >= 16 {
            assert!(!shares_a_run(&data, &stored.body), "plaintext on the backend at {size}");
        }
        // Cold, then warm.
        for cold in [true, false] {
            if cold {
                stack.services.info.forget(&BUCKET.parse_bucket(), &key.parse_key(), None);
            }
            let got = stack.get(&key).await;
            assert_eq!((got.status, got.body.len()), (200, size), "{}", got.text());
            assert!(got.body == data && got.complete, "{size}");
            assert_eq!(got.header("etag"), Some(etag.as_str()));
            assert_eq!(got.header("x-amz-server-side-encryption"), Some("AES256"));
            assert_eq!(got.header("x-amz-meta-s3cloak"), None);
        }
        let head = stack.head(&key).await;
        assert_eq!((head.status, head.header("content-length")), (200, Some(size.to_string().as_str())));
        assert_eq!(head.header("etag"), Some(etag.as_str()));
    }
}

trait Names {
    fn parse_bucket(&self) -> s3cloak::s3::name::BucketName;
    fn parse_key(&self) -> s3cloak::s3::name::ObjectKey;
}

impl Names for str {
    fn parse_bucket(&self) -> s3cloak::s3::name::BucketName {
        s3cloak::s3::name::BucketName::parse(self.as_bytes()).unwrap()
    }
    fn parse_key(&self) -> s3cloak::s3::name::ObjectKey {
        s3cloak::s3::name::ObjectKey::parse(self.as_bytes()).unwrap()
    }
}

#[tokio::test]
async fn a_warm_read_is_one_backend_request_and_so_is_a_cold_small_one() {
    let stack = Stack::start().await;
    let large = random(1, 500_000);
    stack.put("small", &large[..4096]).await;
    stack.put("large", &large).await;
    for (key, cold, warm) in [("small", 1, 1), ("large", 2, 1)] {
        for expected in [cold, warm] {
            stack.store.journal().take();
            assert_eq!(stack.get(key).await.status, 200);
            assert_eq!(stack.store.journal().take().len(), expected, "{key}");
        }
        stack.store.journal().take();
        stack.head(key).await;
        assert_eq!(stack.store.journal().take().len(), 1, "HEAD {key}");
    }
}

#[tokio::test]
async fn ranges_of_every_kind() {
    let stack = Stack::start().await;
    for size in [100usize, 65_536, 200_000] {
        let data = random(size as u64, size);
        let key = format!("r{size}");
        stack.put(&key, &data).await;
        let last = size - 1;
        let cases = [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=1-98".to_owned(), 1..99),
            (format!("bytes={last}-"), last..size),
            (format!("bytes=0-{}", size + 1000), 0..size),
            ("bytes=-1".to_owned(), last..size),
            (format!("bytes=-{}", size * 2), 0..size),
            (format!("bytes={}-{last}", size / 2), size / 2..size),
        ];
        for (range, expected) in cases {
            // Cold, then warm.
            for _ in 0..2 {
                let got = stack.get_range(&key, &range).await;
                assert_eq!(got.status, 206, "{range} of {size}: {}", got.text());
                assert_eq!(got.body, data[expected.clone()], "{range} of {size}");
                let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
                assert_eq!(got.header("content-range"), Some(content_range.as_str()));
            }
        }
        let beyond = stack.get_range(&key, &format!("bytes={size}-")).await;
        assert_eq!((beyond.status, beyond.code().as_str()), (416, "InvalidRange"));
        assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
        for ignored in ["bytes=0-1,3-4", "bytes=9-3", "lines=1-2"] {
            let got = stack.get_range(&key, ignored).await;
            assert_eq!((got.status, got.body.len()), (200, size), "{ignored}");
        }
    }
    stack.put("empty", b"").await;
    assert_eq!(stack.get_range("empty", "bytes=0-").await.status, 416);
}

#[tokio::test]
async fn conditions_speak_of_the_etag_that_clients_see() {
    let stack = Stack::start().await;
    let etag = stack.put("c", b"one").await.header("etag").unwrap().to_owned();
    let get = |name: &'static str, value: &str| Call::new("GET", format!("/{BUCKET}/c")).header(name, value);
    for _ in 0..2 {
        assert_eq!(stack.proxy.send(get("if-match", &etag)).await.status, 200);
        assert_eq!(stack.proxy.send(get("if-match", "\"0\"")).await.status, 412);
        let unchanged = stack.proxy.send(get("if-none-match", &etag)).await;
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag.as_str())));
        assert_eq!(stack.proxy.send(get("if-none-match", "\"0\"")).await.status, 200);
    }
    let put = |name: &'static str, value: &str, body: &'static [u8]| {
        Call::new("PUT", format!("/{BUCKET}/c")).header(name, value).body(body)
    };
    assert_eq!(stack.proxy.send(put("if-none-match", "*", b"two")).await.status, 412);
    assert_eq!(stack.proxy.send(put("if-match", "\"0\"", b"two")).await.status, 412);
    assert_eq!(stack.get("c").await.body, b"one");
    assert_eq!(stack.proxy.send(put("if-match", &etag, b"two")).await.status, 200);
    assert_eq!(stack.get("c").await.body, b"two");
    assert_eq!(stack.proxy.send(put("if-match", &etag, b"three")).await.status, 412);
    // What the backend was told is its own tag or one that cannot match, never an MD5 of plaintext.
    for seen in stack.store.journal().take() {
        let tags = seen.headers.iter().filter(|(n, _)| n.as_str().starts_with("if-"));
        for (_, value) in tags {
            assert!(!value.to_str().unwrap().contains(etag.trim_matches('"')), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn metadata_and_overrides() {
    let stack = Stack::start().await;
    let call = Call::new("PUT", format!("/{BUCKET}/m"))
        .header("content-type", "text/x")
        .header("cache-control", "max-age=5")
        .header("content-disposition", "inline")
        .header("content-language", "en")
        .header("content-encoding", "gzip")
        .header("x-amz-meta-a", "1")
        .header("x-amz-meta-mixed-case", "v V")
        .body(b"x");
    assert_eq!(stack.proxy.send(call).await.status, 200);
    for method in ["GET", "HEAD"] {
        let got = stack.proxy.send(Call::new(method, format!("/{BUCKET}/m"))).await;
        for (name, value) in [
            ("content-type", "text/x"),
            ("cache-control", "max-age=5"),
            ("content-disposition", "inline"),
            ("content-language", "en"),
            ("content-encoding", "gzip"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-mixed-case", "v V"),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(got.header(name), Some(value), "{method} {name}");
        }
        assert!(got.header("last-modified").is_some());
        assert!(got.header("x-amz-request-id").is_some());
    }
    let got = stack.proxy.send(Call::new("GET", format!("/{BUCKET}/m?response-content-type=a%2Fb"))).await;
    assert_eq!(got.header("content-type"), Some("a/b"));
    let forged = Call::new("PUT", format!("/{BUCKET}/m")).header("x-amz-meta-s3cloak", "AAAA").body(b"y");
    assert_eq!(stack.proxy.send(forged).await.status, 400);
    assert_eq!(stack.get("m").await.body, b"x");
    let fat = Call::new("PUT", format!("/{BUCKET}/m")).header("x-amz-meta-a", "v".repeat(2048)).body(b"y");
    assert_eq!(stack.proxy.send(fat).await.code(), "MetadataTooLarge");
}

#[tokio::test]
async fn opaque_etags_are_the_same_everywhere_and_no_md5() {
    let stack = Stack::with(Options {
        buckets: Some("  \"*\": { backend: default, etag: opaque }"),
        ..Options::default()
    })
    .await;
    let data = random(3, 200_000);
    let put = stack.put("o", &data).await.header("etag").unwrap().to_owned();
    assert!(put.trim_matches('"').ends_with("-1") && put.len() == 36, "{put}");
    assert_ne!(put.trim_matches('"')[..32], md5_hex(&data));
    assert_eq!(stack.get("o").await.header("etag"), Some(put.as_str()));
    assert_eq!(stack.head("o").await.header("etag"), Some(put.as_str()));
    let listed = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?list-type=2"))).await.text();
    assert!(listed.contains(put.trim_matches('"')), "{listed}");
}

#[tokio::test]
async fn listings_show_plaintext_sizes_and_etags() {
    let stack = Stack::start().await;
    for size in [0usize, 1, 70_000] {
        stack.put(&format!("l/{size}"), &random(9, size)).await;
    }
    for query in ["list-type=2", "", "versions"] {
        let text = stack.proxy.send(Call::new("GET", format!("/{BUCKET}?{query}"))).await.text();
        if query == "versions" && text.contains("NotImplemented") {
            continue;
        }
        for size in [0usize, 1, 70_000] {
            assert!(text.contains(&format!("<Size>{size}</Size>")), "{query}: {text}");
            assert!(text.contains(&md5_hex(&random(9, size))), "{query}: {text}");
        }
        // The one that S3 gives to what comes without.
        assert_eq!(text.matches("<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>").count(), 3, "{text}");
    }
}

#[tokio::test]
async fn plaintext_objects_are_refused_or_passed_as_configured() {
    for (rule, pass) in [("reject", false), ("pass", true)] {
        let buckets: &'static str = if pass {
            "  \"*\": { backend: default, unencrypted_objects: pass }"
        } else {
            "  \"*\": { backend: default, unencrypted_objects: reject }"
        };
        let stack = Stack::with(Options { buckets: Some(buckets), ..Options::default() }).await;
        let data = random(5, 100_000);
        let call = Call::new("PUT", format!("/{BUCKET}/legacy")).body(data.clone());
        assert_eq!(stack.backend.send(call).await.status, 200);
        let got = stack.get("legacy").await;
        let part = stack.get_range("legacy", "bytes=99990-").await;
        if pass {
            assert_eq!((got.status, got.body == data), (200, true));
            assert_eq!(got.header("etag"), Some(format!("\"{}\"", md5_hex(&data)).as_str()));
            assert_eq!(got.header("x-amz-server-side-encryption"), None);
            assert_eq!((part.status, part.body == data[99_990..]), (206, true));
        } else {
            assert_eq!((got.status, got.code().as_str()), (403, "AccessDenied"), "{rule}");
            assert!(got.text().contains("unencrypted_objects"), "{}", got.text());
            assert_eq!(part.status, 403);
        }
    }
}

#[tokio::test]
async fn a_write_and_its_reads_show_one_key_id() {
    let stack = Stack::with(Options {
        buckets: Some("  \"*\": { backend: default, sse: \"aws:kms\" }"),
        ..Options::default()
    })
    .await;
    const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
    let spellings = [None, Some("test-key"), Some("arn:aws:kms:test-key"), Some("main/test-key")];
    for spelling in spellings {
        let mut call = Call::new("PUT", format!("/{BUCKET}/k")).body(b"x");
        if let Some(spelling) = spelling {
            call = call.header("x-amz-server-side-encryption", "aws:kms").header(KEY_ID, spelling);
        }
        let put = stack.proxy.send(call).await;
        assert_eq!(put.status, 200, "{}", put.text());
        assert_eq!(put.header("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(put.header(KEY_ID), Some(spelling.unwrap_or("test-key")));
        assert_eq!(stack.get("k").await.header(KEY_ID), put.header(KEY_ID), "{spelling:?}");
        assert_eq!(stack.head("k").await.header(KEY_ID), put.header(KEY_ID), "{spelling:?}");
    }
    let unknown = Call::new("PUT", format!("/{BUCKET}/k"))
        .header("x-amz-server-side-encryption", "aws:kms")
        .header(KEY_ID, "no-such-key")
        .body(b"y");
    let refused = stack.proxy.send(unknown).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "KMS.NotFoundException"));
    assert_eq!(stack.get("k").await.body, b"x");
}
