//! Tests of request parsing: hoisted headers, forged headers, limits, MinIO's paths.

use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;

use super::operation::Operation;
use super::{RequestHead, RequestId, S3Request, headers};
use crate::error::{Code, Result};

fn parse_with(method: &str, target: &str, headers: &[(&str, &str)], minio_api: bool) -> Result<S3Request> {
    let mut map = HeaderMap::new();
    map.insert("host", "s3.example.com".parse().unwrap());
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    S3Request::parse(RequestHead {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        target,
        headers: map,
        secure: true,
        domains: &["s3.example.com".to_owned()],
        region: None,
        minio_api,
        request_id: RequestId::from_random([1; 8]),
    })
}

fn parse(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<S3Request> {
    parse_with(method, target, headers, false)
}

const SIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1\
                      &X-Amz-SignedHeaders=host&X-Amz-Signature=s&X-Amz-Security-Token=t";

#[test]
fn presigned_queries_carry_headers() {
    let target = format!(
        "/bucket/k?{SIGNED}&x-amz-acl=private&X-Amz-Meta-Color=light%20blue&x-amz-checksum-crc32=AAAAAA%3D%3D\
         &versionId=3&x-id=DeleteObject"
    );
    let request = parse("DELETE", &target, &[]).unwrap();
    assert_eq!(request.operation, Operation::DeleteObject);
    assert!(request.is_presigned());
    assert_eq!(request.headers["x-amz-acl"], "private");
    assert_eq!(request.headers["x-amz-meta-color"], "light blue");
    assert_eq!(request.headers["x-amz-checksum-crc32"], "AAAAAA==");
    for name in ["x-amz-date", "x-amz-expires", "x-amz-signature", "x-amz-security-token"] {
        assert!(!request.headers.contains_key(name), "{name}");
    }
    assert_eq!(request.query.canonical(), "versionId=3&x-id=DeleteObject");
    assert_eq!(request.backend_query().canonical(), "versionId=3");
    assert!(request.signed_query().has("X-Amz-Signature") && request.signed_query().has("x-amz-acl"));
    assert!(request.is_hoisted(&HeaderName::from_static("x-amz-acl")));
    assert!(!request.is_hoisted(&HeaderName::from_static("host")));
}

#[test]
fn headers_are_hoisted_from_presigned_queries_only() {
    let get = parse("GET", "/bucket/k?x-amz-acl=private", &[]).unwrap();
    assert!(!get.headers.contains_key("x-amz-acl") && !get.is_presigned());
    let error = parse("PUT", "/bucket/k?x-amz-acl=private", &[]).unwrap_err();
    assert_eq!(error.code(), &Code::NotImplemented);
}

#[test]
fn a_hoisted_header_may_not_contradict_a_real_one() {
    let target = format!("/bucket/k?{SIGNED}&x-amz-acl=private");
    assert!(parse("PUT", &target, &[("x-amz-acl", "private")]).is_ok());
    let error = parse("PUT", &target, &[("x-amz-acl", "public-read")]).unwrap_err();
    assert_eq!(error.code(), &Code::InvalidArgument);
    let target = format!("/bucket/k?{SIGNED}&x-amz-meta-a=x%0Dy");
    assert_eq!(parse("PUT", &target, &[]).unwrap_err().code(), &Code::InvalidArgument);
}

#[test]
fn forged_and_unknown_headers_are_refused() {
    for (name, want) in [
        ("x-amz-meta-s3cloak", Code::InvalidArgument),
        ("X-Amz-Meta-S3Cloak", Code::InvalidArgument),
        ("x-amz-meta-snowball-auto-extract", Code::NotImplemented),
        ("x-minio-extract", Code::NotImplemented),
        ("x-minio-source-etag", Code::NotImplemented),
        ("x-minio-replication-actual-object-size", Code::NotImplemented),
        ("x-amz-write-offset-bytes", Code::NotImplemented),
        ("x-amz-s3session-token", Code::NotImplemented),
        ("x-goog-acl", Code::NotImplemented),
        ("x-amz-checksum-crc16", Code::InvalidRequest),
    ] {
        let error = parse("PUT", "/bucket/k", &[(name, "true")]).unwrap_err();
        assert_eq!(error.code(), &want, "{name}");
    }
    // The same where a presigned query carries it.
    let target = format!("/bucket/k?{SIGNED}&X-Amz-Meta-S3cloak=x");
    assert_eq!(parse("PUT", &target, &[]).unwrap_err().code(), &Code::InvalidArgument);
    let trailer = [("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-md4")];
    assert_eq!(parse("PUT", "/bucket/k", &trailer).unwrap_err().code(), &Code::InvalidRequest);
    for fine in
        ["x-amz-meta-s3cloaks", "x-amz-checksum-crc64nvme", "x-amz-checksum-xxhash128", "x-amz-checksum-mode"]
    {
        assert!(parse("PUT", "/bucket/k", &[(fine, "x")]).is_ok(), "{fine}");
    }
}

#[test]
fn the_header_section_is_limited() {
    // `host: s3.example.com` and CRLF take 22 bytes, the other's name and punctuation 16.
    let fits = "a".repeat(8192 - 22 - 16);
    assert!(parse("GET", "/bucket/k", &[("x-amz-meta-a", &fits)]).is_ok());
    let error = parse("GET", "/bucket/k", &[("x-amz-meta-a", &format!("{fits}a"))]).unwrap_err();
    assert_eq!(error.code(), &Code::RequestHeaderSectionTooLarge);
}

#[test]
fn minio_paths_are_buckets_unless_switched_on() {
    for (path, operation) in [
        ("/minio/health/live", Operation::MinioHealth),
        ("/minio/kms/v1/key/create", Operation::MinioKms),
        ("/minio/admin/v3/kms/key/create", Operation::MinioKms),
        ("/minio/admin/v3/info", Operation::MinioOther),
    ] {
        assert_eq!(parse("GET", path, &[]).unwrap().operation, Operation::GetObject);
        assert_eq!(parse_with("GET", path, &[], true).unwrap().operation, operation);
    }
    assert_eq!(parse_with("GET", "/minio", &[], true).unwrap().operation, Operation::ListObjects);
    let hosted = parse_with("GET", "/minio/health/live", &[("host", "x")], true);
    assert!(hosted.is_err(), "two Host headers");
}

#[test]
fn lengths() {
    let of = |pairs: &[(&'static str, &str)], chunked| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        headers::body_length(&map, chunked).map_err(|e| e.code().clone())
    };
    let decoded = "x-amz-decoded-content-length";
    assert_eq!(of(&[("content-length", "0")], false), Ok(0));
    assert_eq!(of(&[("content-length", "700"), (decoded, "600")], true), Ok(600));
    assert_eq!(of(&[(decoded, "600")], false), Ok(600));
    assert_eq!(of(&[("content-length", "700")], true), Err(Code::MissingContentLength));
    assert_eq!(of(&[], false), Err(Code::MissingContentLength));
    for bad in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616", "1,1"] {
        assert_eq!(of(&[(decoded, bad)], true), Err(Code::InvalidArgument), "{bad:?}");
    }
    assert_eq!(of(&[(decoded, "1"), (decoded, "1")], true), Err(Code::InvalidArgument));
}

#[test]
fn content_encoding_loses_only_aws_chunked() {
    let of = |values: &[&str]| {
        let mut map = HeaderMap::new();
        for value in values {
            map.append("content-encoding", value.parse().unwrap());
        }
        headers::content_encoding(&map).map(|v| v.to_str().unwrap().to_owned())
    };
    assert_eq!(of(&["aws-chunked"]), None);
    assert_eq!(of(&["AWS-Chunked", ""]), None);
    assert_eq!(of(&[]), None);
    assert_eq!(of(&["aws-chunked,gzip"]).as_deref(), Some("gzip"));
    assert_eq!(of(&["gzip , aws-chunked"]).as_deref(), Some("gzip"));
    assert_eq!(of(&["gzip, br"]).as_deref(), Some("gzip, br"));
    assert_eq!(of(&["aws-chunked", "gzip"]).as_deref(), Some("gzip"));
    assert_eq!(of(&["aws-chunked-not"]).as_deref(), Some("aws-chunked-not"));
}

#[test]
fn allowlists() {
    let name = |n: &'static str| HeaderName::from_static(n);
    for yes in
        ["content-type", "x-amz-meta-a", "x-amz-object-lock-mode", "x-amz-acl", "x-amz-grant-read", "origin"]
    {
        assert!(headers::is_forwarded_request_header(&name(yes)), "{yes}");
    }
    for no in [
        "authorization",
        "content-md5",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-trailer",
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-copy-source",
        "if-match",
        "range",
        "expect",
        "connection",
        "transfer-encoding",
        "content-length",
        "x-amz-meta-s3cloak",
    ] {
        assert!(!headers::is_forwarded_request_header(&name(no)), "{no}");
    }
    for no in [
        "server",
        "location",
        "set-cookie",
        "alt-svc",
        "etag",
        "x-amz-checksum-crc64nvme",
        "date",
        "x-amz-server-side-encryption",
        "seaweed-x-amz-etag",
        "x-amz-meta-s3cloak",
        "x-amz-request-id",
        "x-amz-id-2",
        "content-length",
        "content-range",
        "content-security-policy",
        "www-authenticate",
        "strict-transport-security",
    ] {
        assert!(!headers::is_forwarded_response_header(&name(no)), "{no}");
    }
    assert!(headers::is_forwarded_response_header(&name("x-amz-meta-a")));
    assert!(headers::is_forwarded_response_header(&name("x-amz-version-id")));
}

#[test]
fn user_metadata_counts_names_and_values() {
    let request =
        parse("PUT", "/bucket/k", &[("x-amz-meta-ab", "123"), ("x-amz-meta-ab", "4"), ("x-other", "5")]);
    // `ab` and `123,4`.
    assert_eq!(headers::user_metadata_size(&request.unwrap().headers), 7);
}

#[test]
fn debug_output_holds_neither_headers_nor_query() {
    let target = format!("/bucket/k?{SIGNED}");
    let key = ("x-amz-server-side-encryption-customer-key", "c2VjcmV0");
    let shown = format!("{:?}", parse("GET", &target, &[key]).unwrap());
    assert!(shown.contains("GetObject") && shown.contains("bucket"));
    assert!(!shown.contains("c2VjcmV0") && !shown.to_ascii_lowercase().contains("x-amz"), "{shown}");
}

#[test]
fn request_ids() {
    assert_eq!(RequestId::from_random([0xab; 8]).as_str(), "ABABABABABABABAB");
    assert_ne!(RequestId::fresh(), RequestId::fresh());
}

proptest! {
    #[test]
    fn any_key_survives_the_wire(key in prop::collection::vec(any::<u8>(), 1..200), raw in any::<bool>()) {
        let escaped: String = match raw {
            // Every byte that a request line can carry, as it is; what would end or split it, escaped.
            true => {
                let carried = |b: &u8| b.is_ascii_graphic() && !b"?#%".contains(b) || *b >= 0x80;
                let bytes: Vec<u8> = key
                    .iter()
                    .flat_map(|b| if carried(b) { vec![*b] } else { format!("%{b:02x}").into_bytes() })
                    .collect();
                super::target_text(&bytes)
            }
            false => super::name::encode_path(&key),
        };
        let request = parse("GET", &format!("/bucket/{escaped}"), &[]).unwrap();
        prop_assert_eq!(request.operation, Operation::GetObject);
        prop_assert_eq!(request.key.as_ref().map(|k| k.as_bytes()), Some(&key[..]));
    }

    #[test]
    fn no_target_makes_it_panic(target in "\\PC{0,80}", method in "GET|PUT|POST|DELETE|HEAD|OPTIONS|X") {
        let _ = parse(&method, &target, &[]);
        let _ = parse(&method, &format!("/bucket/key?{target}"), &[]);
        let _ = parse(&method, &format!("/bucket?{SIGNED}&{target}"), &[]);
    }
}
