//! Reading: keys of every spelling, metadata, ranges, conditions, listings, tags.

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Fixture, memory};
use crate::demo::store::StoreConfig;

/// Keys that file systems, URLs and lists trip over.
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/b",
        "a//b",
        "a/../b",
        "..",
        ".",
        "./dot",
        "dir/",
        "dir//",
        "/lead",
        "a b+c",
        "100%",
        "%2F",
        "q?x=1&y",
        "#frag",
        "ünï/ⓤ",
        "A",
        "CON",
        "back\\slash",
        "semi;colon",
        "():=!,@$*'",
        "~tilde",
        ".meta/x.json",
        "tab\tkey",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(1024));
    keys.push(format!("{}/{}", "long".repeat(100), "x".repeat(300)));
    keys.push(format!("{}/{}", "long".repeat(100), "y".repeat(300)));
    keys
}

fn target(key: &str) -> String {
    let path = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
    format!(
        "/{}",
        path.replace("%2F", "/")
            .replace("%2E", ".")
            .replace("%2D", "-")
            .replace("%5F", "_")
            .replace("%7E", "~")
    )
}

async fn every_key_round_trips(config: StoreConfig) {
    let fixture = Fixture::start(config);
    let mut keys = odd_keys();
    for (number, key) in keys.iter().enumerate() {
        fixture.put(&target(key), format!("body {number}").as_bytes()).await;
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(fixture.get(&target(key)).await.ok().text(), format!("body {number}"), "{key}");
    }
    keys.sort();
    assert_eq!(fixture.store.keys(super::client::BUCKET), keys);
    let list = fixture.get("?list-type=2&encoding-type=url").await.ok();
    let listed: Vec<String> = list
        .elements("Key")
        .iter()
        .map(|key| percent_encoding::percent_decode_str(key).decode_utf8().unwrap().into_owned())
        .collect();
    assert_eq!(listed, keys);
    for key in &keys {
        fixture.call(Method::DELETE, &target(key), &[], b"").await.ok();
        fixture.get(&target(key)).await.refused(404, "NoSuchKey");
    }
    assert!(fixture.store.keys(super::client::BUCKET).is_empty());
}

#[tokio::test]
async fn names_in_listings_are_what_xml_reads_back() {
    let fixture = Fixture::start(memory());
    fixture.put("/a%0Db%01c%0Ad", b"x").await;
    let listed = fixture.get("?list-type=2").await.ok();
    assert_eq!(listed.elements("Key"), ["a&#xD;b&#x1;c\nd"]);
}

#[tokio::test]
async fn pages_are_of_a_thousand_at_most_and_say_so() {
    let fixture = Fixture::start(memory());
    for (asked, told) in [("1001", "1000"), ("2147483647", "1000"), ("1000", "1000"), ("7", "7"), ("0", "0")]
    {
        let page = fixture.get(&format!("?list-type=2&max-keys={asked}")).await.ok();
        assert_eq!(page.elements("MaxKeys"), [told], "{asked}");
    }
    let head = fixture.call(Method::HEAD, "", &[], b"").await.ok();
    assert_eq!(head.header("x-amz-bucket-region"), Some("us-east-1"));
}

#[tokio::test]
async fn every_key_round_trips_in_memory() {
    every_key_round_trips(memory()).await;
}

#[tokio::test]
async fn every_key_round_trips_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    every_key_round_trips(StoreConfig::folder(folder.path(), "key", "secret")).await;
    let left: Vec<_> = std::fs::read_dir(folder.path().join(super::client::BUCKET)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn headers_come_back_and_can_be_overridden() {
    let fixture = Fixture::start(memory());
    let headers = [
        ("content-type", "text/x-odd; charset=\"utf 8\""),
        ("cache-control", "no-store"),
        ("content-disposition", "attachment; filename=\"a b.txt\""),
        ("content-encoding", "aws-chunked, gzip"),
        ("content-language", "de"),
        ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-website-redirect-location", "/other"),
        ("x-amz-meta-first", "one  two"),
        ("x-amz-meta-empty", ""),
        ("x-amz-meta-s3cloak", "=?UTF-8?B?w6k=?="),
        ("user-agent", "not stored"),
    ];
    fixture.call(Method::PUT, "/o", &headers, b"x").await.ok();
    for method in [Method::GET, Method::HEAD] {
        let answer = fixture.call(method, "/o", &[], b"").await.ok();
        for (name, value) in &headers[..11] {
            let expected = if *name == "content-encoding" { "gzip" } else { value };
            assert_eq!(answer.header(name), Some(expected), "{name}");
        }
        assert_eq!(answer.header("user-agent"), None);
        assert_eq!(answer.header("content-length"), Some("1"));
        assert_eq!(answer.header("etag"), Some("\"9dd4e461268c8034f5c8564e155c67a6\""));
    }
    let query = "/o?response-content-type=a%2Fb&response-cache-control=x";
    for method in [Method::GET, Method::HEAD] {
        let answer = fixture.call(method, query, &[], b"").await.ok();
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), (Some("a/b"), Some("x")));
        assert_eq!(answer.header("content-language"), Some("de"));
    }
    fixture.put("/plain", b"").await;
    let answer = fixture.get("/plain").await.ok();
    assert_eq!(answer.header("content-type"), Some("binary/octet-stream"));
    assert_eq!(answer.header("x-amz-storage-class"), None);
}

#[tokio::test]
async fn ranges_are_cut_as_asked() {
    let fixture = Fixture::start(memory());
    fixture.put("/o", b"0123456789").await;
    fixture.put("/empty", b"").await;
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-30", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = fixture.call(Method::GET, "/o", &[("range", range)], b"").await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!((answer.text(), answer.header("content-range")), (body, Some(content_range)), "{range}");
        let head = fixture.call(Method::HEAD, "/o", &[("range", range)], b"").await;
        assert_eq!(head.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
    }
    for (target, range) in
        [("/o", "bytes=10-"), ("/o", "bytes=-0"), ("/empty", "bytes=0-0"), ("/empty", "bytes=-1")]
    {
        fixture.call(Method::GET, target, &[("range", range)], b"").await.refused(416, "InvalidRange");
    }
}

#[tokio::test]
async fn read_conditions_hold() {
    let fixture = Fixture::start(memory());
    let etag = fixture.put("/o", b"x").await.header("etag").unwrap().to_owned();
    let (past, future) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 GMT");
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", "\"other\"", 200),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-modified-since", past, 200),
        ("if-modified-since", future, 304),
        ("if-unmodified-since", future, 200),
        ("if-unmodified-since", past, 412),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = fixture.call(method, "/o", &[(name, value)], b"").await;
            assert_eq!(answer.status.as_u16(), status, "{name}: {value}");
            if status == 304 {
                assert_eq!(answer.header("etag"), Some(etag.as_str()));
                assert!(answer.body.is_empty());
            }
        }
    }
    let both = [("if-match", etag.as_str()), ("if-unmodified-since", past)];
    assert_eq!(fixture.call(Method::GET, "/o", &both, b"").await.status, StatusCode::OK);
    let both = [("if-none-match", "\"other\""), ("if-modified-since", future)];
    assert_eq!(fixture.call(Method::GET, "/o", &both, b"").await.status, StatusCode::OK);
}

#[tokio::test]
async fn listings_page_through_keys_and_prefixes() {
    let fixture = Fixture::start(memory());
    for key in ["/a/1", "/a/2", "/b", "/c/1", "/c/d/2", "/e", "/%C3%BC%20+"] {
        fixture.put(key, key.as_bytes()).await;
    }
    let all = ["a/1", "a/2", "b", "c/1", "c/d/2", "e", "ü +"];
    let (mut keys, mut token) = (Vec::new(), String::new());
    loop {
        let page = fixture.get(&format!("?list-type=2&max-keys=2{token}")).await.ok();
        keys.extend(page.elements("Key").into_iter().map(str::to_owned));
        assert!(page.elements("Key").len() <= 2);
        let Some(next) = page.elements("NextContinuationToken").first().copied() else {
            assert_eq!(page.elements("IsTruncated"), ["false"]);
            break;
        };
        assert_eq!(page.elements("IsTruncated"), ["true"]);
        token = format!("&continuation-token={next}");
    }
    assert_eq!(keys, all);

    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = fixture.get(&format!("?delimiter=/&max-keys=1{marker}")).await.ok();
        let prefixes = page.elements("CommonPrefixes");
        seen.extend(prefixes.iter().map(|prefix| prefix.replace("<Prefix>", "").replace("</Prefix>", "")));
        seen.extend(page.elements("Key").into_iter().map(str::to_owned));
        let Some(next) = page.elements("NextMarker").first().copied() else { break };
        marker = format!("&marker={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    }
    assert_eq!(seen, ["a/", "b", "c/", "e", "ü +"]);

    let page = fixture.get("?list-type=2&prefix=c/&delimiter=/&encoding-type=url").await.ok();
    assert_eq!(page.elements("Key"), ["c/1"]);
    assert!(
        page.text().contains("<CommonPrefixes><Prefix>c/d/</Prefix></CommonPrefixes>"),
        "{}",
        page.text()
    );
    assert_eq!(page.elements("KeyCount"), ["2"]);
    assert_eq!(page.elements("Size"), ["4"]);
    let page = fixture.get("?list-type=2&start-after=c/d/2&encoding-type=url").await.ok();
    assert_eq!(page.elements("Key"), ["e", "%C3%BC%20%2B"]);
    let page = fixture.get("?list-type=2&max-keys=0").await.ok();
    assert_eq!((page.elements("Key").len(), page.elements("IsTruncated")), (0, vec!["false"]));
    let page = fixture.get("?versions&prefix=a").await.ok();
    assert_eq!(
        (page.elements("Key"), page.elements("VersionId")),
        (vec!["a/1", "a/2"], vec!["null", "null"])
    );
    fixture.get("?list-type=2&continuation-token=zz").await.refused(400, "InvalidArgument");
    fixture.get("?list-type=2&max-keys=-1").await.refused(400, "InvalidArgument");
}

#[tokio::test]
async fn tags_are_kept() {
    let fixture = Fixture::start(memory());
    fixture.call(Method::PUT, "/o", &[("x-amz-tagging", "a=1&b+c=%26")], b"x").await.ok();
    let tags = fixture.get("/o?tagging").await.ok();
    assert_eq!((tags.elements("Key"), tags.elements("Value")), (vec!["a", "b c"], vec!["1", "&amp;"]));
    assert_eq!(fixture.get("/o").await.header("x-amz-tagging-count"), Some("2"));
    fixture.call(Method::DELETE, "/o?tagging", &[], b"").await.ok();
    assert_eq!(fixture.get("/o").await.header("x-amz-tagging-count"), None);
    fixture.get("/none?tagging").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn buckets_come_and_go() {
    let fixture = Fixture::start(memory());
    fixture.call(Method::PUT, "", &[], b"").await.refused(409, "BucketAlreadyOwnedByYou");
    fixture.put("/o", b"x").await;
    fixture.call(Method::DELETE, "", &[], b"").await.refused(409, "BucketNotEmpty");
    assert_eq!(fixture.get("?versioning").await.ok().elements("Status").len(), 0);
    assert!(fixture.get("?location").await.ok().text().contains("LocationConstraint"));
    fixture.call(Method::DELETE, "/o", &[], b"").await.ok();
    assert_eq!(fixture.call(Method::DELETE, "", &[], b"").await.status, StatusCode::NO_CONTENT);
    fixture.get("/o").await.refused(404, "NoSuchBucket");
    fixture.call(Method::PUT, "/o", &[], b"x").await.refused(404, "NoSuchBucket");
    assert_eq!(fixture.call(Method::HEAD, "", &[], b"").await.status, StatusCode::NOT_FOUND);
    fixture.call(Method::PUT, "", &[], b"").await.ok();
    assert_eq!(fixture.call(Method::HEAD, "", &[], b"").await.status, StatusCode::OK);
    fixture.get("?acl").await.refused(501, "NotImplemented");
}
