//! Tests of verification: AWS's documented examples, then each field of a good request changed.

use http::HeaderMap;
use time::Duration;

use super::testing::{ACCESS_KEY, Draft, SECRET_KEY, credential, everything, now, store, store_of};
use super::{PayloadCheck, verify};
use crate::config::Secret;
use crate::error::{Code, Error};
use crate::s3::operation::Operation;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request exactly as AWS's documentation prints it.
fn documented(
    method: &'static str,
    target: &str,
    headers: &[(&str, &str)],
    signed: &str,
    signature: &str,
) -> Draft {
    let mut draft = Draft::new(method, target);
    draft.headers = HeaderMap::new();
    for (name, value) in headers {
        draft = draft.header(name, value);
    }
    draft.header(
        "authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={signed},Signature={signature}"
        ),
    )
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
fn header_examples() -> Vec<(Draft, Operation)> {
    let host = ("Host", "examplebucket.s3.amazonaws.com");
    let date = ("x-amz-date", "20130524T000000Z");
    vec![
        (
            documented(
                "GET",
                "/test.txt",
                &[host, ("Range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), date],
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            Operation::GetObject,
        ),
        (
            documented(
                "PUT",
                "/test$file.text",
                &[
                    host,
                    ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                    date,
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                    (
                        "x-amz-content-sha256",
                        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                    ),
                ],
                "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            Operation::PutObject,
        ),
        (
            documented(
                "GET",
                "/?lifecycle",
                &[host, date, ("x-amz-content-sha256", EMPTY)],
                "host;x-amz-content-sha256;x-amz-date",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            Operation::GetBucketLifecycleConfiguration,
        ),
        (
            documented(
                "GET",
                "/?max-keys=2&prefix=J",
                &[host, date, ("x-amz-content-sha256", EMPTY)],
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            Operation::ListObjects,
        ),
    ]
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
fn presigned_example() -> Draft {
    let mut draft = Draft::new(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2F\
         s3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    );
    draft.headers = HeaderMap::new();
    draft.header("host", "examplebucket.s3.amazonaws.com")
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
pub(crate) fn chunked_example() -> Draft {
    documented(
        "PUT",
        "/examplebucket/chunkObject.txt",
        &[
            ("Host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("Content-Length", "66824"),
        ],
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
         x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>
pub(crate) fn trailer_example() -> Draft {
    documented(
        "PUT",
        "/examplebucket/chunkObject.txt",
        &[
            ("Host", "s3.amazonaws.com"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
            ("Content-Length", "66824"),
        ],
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;\
         x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    )
}

fn refused(draft: &Draft) -> Error {
    match draft.verify(&store()) {
        Err(error) => error,
        Ok(_) => panic!("{} {} was accepted", draft.method, draft.target),
    }
}

fn code(draft: &Draft) -> Code {
    refused(draft).code().clone()
}

#[test]
fn documented_header_examples_verify() {
    for (draft, operation) in header_examples() {
        let request = draft.verify(&store()).unwrap();
        assert_eq!(request.operation, operation);
        assert_eq!(request.bucket.as_ref().unwrap().as_str(), "examplebucket");
        assert_eq!(request.identity().access_key(), ACCESS_KEY);
        assert!(matches!(request.payload(), PayloadCheck::Sha256(_)));
    }
}

#[test]
fn documented_presigned_example_verifies() {
    let request = presigned_example().verify(&store()).unwrap();
    assert_eq!(request.operation, Operation::GetObject);
    assert!(matches!(request.payload(), PayloadCheck::Unsigned));
}

#[test]
fn documented_streaming_examples_verify() {
    let request = chunked_example().verify(&store()).unwrap();
    assert!(matches!(request.payload(), PayloadCheck::SignedChunks(_)));
    let request = trailer_example().verify(&store()).unwrap();
    assert!(matches!(request.payload(), PayloadCheck::SignedChunksTrailer(_)));
}

#[test]
fn every_changed_part_of_a_header_example_is_refused() {
    for (draft, _) in header_examples() {
        let mut changed = draft.clone();
        changed.method = match draft.method {
            "GET" if draft.target.contains("lifecycle") => "PUT",
            "GET" => "HEAD",
            _ => "DELETE",
        };
        assert_eq!(code(&changed), Code::SignatureDoesNotMatch, "method");

        let mut changed = draft.clone();
        changed.target = draft.target.replacen('/', "/x", 1);
        // An object has no lifecycle, and that is found out first.
        let expected = if draft.target.contains("lifecycle") {
            Code::NotImplemented
        } else {
            Code::SignatureDoesNotMatch
        };
        assert_eq!(code(&changed), expected, "path {}", draft.target);

        let mut changed = draft.clone();
        changed.target.push_str(if draft.target.contains('?') { "&x=1" } else { "?x=1" });
        let expected = if draft.method == "GET" { Code::SignatureDoesNotMatch } else { Code::NotImplemented };
        assert_eq!(code(&changed), expected, "query {}", draft.target);

        for name in draft.headers.keys().filter(|name| *name != "authorization") {
            let mut changed = draft.clone();
            let value = match name.as_str() {
                "x-amz-date" => "20130524T000001Z",
                "x-amz-content-sha256" => "UNSIGNED-PAYLOAD",
                "host" => "other.s3.amazonaws.com",
                "date" => "Fri, 24 May 2013 00:00:01 GMT",
                _ => "changed",
            };
            changed.headers.insert(name, value.parse().unwrap());
            assert_eq!(code(&changed), Code::SignatureDoesNotMatch, "changed {name}");

            let mut without = draft.clone();
            without.headers.remove(name);
            let expected = match name.as_str() {
                // Then the path is read as path style, and how that fails depends on the path.
                "host" => refused(&without).code().clone(),
                "x-amz-content-sha256" => Code::MissingSecurityHeader,
                "x-amz-date" if !draft.headers.contains_key("date") => Code::AccessDenied,
                _ => Code::SignatureDoesNotMatch,
            };
            assert_eq!(code(&without), expected, "without {name}");
        }
        let mut added = draft.clone();
        added.headers.insert("x-amz-acl", "public-read".parse().unwrap());
        let error = refused(&added);
        assert_eq!(error.code(), &Code::AccessDenied);
        assert!(error.fields().contains(&("HeadersNotSigned", "x-amz-acl".into())));
    }
}

#[test]
fn every_changed_part_of_an_authorization_is_refused() {
    let (draft, _) = header_examples().remove(0);
    let good = draft.headers["authorization"].to_str().unwrap().to_owned();
    let with = |value: &str| {
        let mut changed = draft.clone();
        changed.headers.insert("authorization", value.parse().unwrap());
        code(&changed)
    };
    let malformed = Code::AuthorizationHeaderMalformed;
    for (from, to, want) in [
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLF", Code::InvalidAccessKeyId),
        ("20130524/us", "20130525/us", malformed.clone()),
        ("20130524/us", "2013052/us", malformed.clone()),
        ("20130524/us", "2013052a/us", malformed.clone()),
        ("us-east-1", "us-west-1", Code::SignatureDoesNotMatch),
        ("us-east-1", "", malformed.clone()),
        ("/s3/", "/iam/", malformed.clone()),
        ("aws4_request", "aws4_requests", malformed.clone()),
        ("/us-east-1/s3/aws4_request", "", malformed.clone()),
        ("Signature=f0e8", "Signature=e0e8", Code::SignatureDoesNotMatch),
        ("Signature=f0e8", "Signature=F0E8", malformed.clone()),
        ("Signature=f0e8", "Signature=f0e", malformed.clone()),
        ("Signature=f0e8", "Signature=g0e8", malformed.clone()),
        ("Signature=", "Signature:", malformed.clone()),
        ("SignedHeaders=host;range;", "SignedHeaders=host;", Code::SignatureDoesNotMatch),
        ("SignedHeaders=host;", "SignedHeaders=Host;", malformed.clone()),
        ("SignedHeaders=host;", "SignedHeaders=;host;", malformed.clone()),
        ("host;range", "range;host", Code::SignatureDoesNotMatch),
        ("SignedHeaders=", "SignedHeader=", malformed.clone()),
        ("Credential=", "Credential=x,Credential=", malformed.clone()),
        (",Signature=", ",Extra=1,Signature=", malformed.clone()),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 ", Code::InvalidArgument),
        ("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 ", Code::NotImplemented),
        ("AWS4-HMAC-SHA256 ", "Basic ", Code::InvalidArgument),
        ("AWS4-HMAC-SHA256 ", "AWS ", Code::InvalidRequest),
    ] {
        assert!(good.contains(from), "{from}");
        assert_eq!(with(&good.replacen(from, to, 1)), want, "{from} -> {to}");
    }
    for (index, part) in ["Credential", "SignedHeaders", "Signature"].iter().enumerate() {
        let (algorithm, rest) = good.split_once(' ').unwrap();
        let mut parts: Vec<&str> = rest.split(',').collect();
        parts.remove(index);
        assert_eq!(with(&format!("{algorithm} {}", parts.join(","))), malformed, "without {part}");
    }
    assert_eq!(with(""), Code::InvalidArgument);
    assert_eq!(with("AWS4-HMAC-SHA256"), Code::InvalidArgument);
    let mut twice = draft.clone();
    twice.headers.append("authorization", good.parse().unwrap());
    assert_eq!(code(&twice), Code::InvalidArgument);
}

#[test]
fn every_changed_part_of_a_presigned_query_is_refused() {
    let good = presigned_example();
    let query = Code::AuthorizationQueryParametersError;
    for (from, to, want) in [
        ("/test.txt", "/test.tx", Code::SignatureDoesNotMatch),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", query.clone()),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", Code::NotImplemented),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLF", Code::InvalidAccessKeyId),
        ("%2F20130524", "%2F20130523", query.clone()),
        ("us-east-1", "eu-west-1", Code::SignatureDoesNotMatch),
        ("s3%2Faws4", "sts%2Faws4", query.clone()),
        ("aws4_request", "aws4request", query.clone()),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130524T000001Z", Code::SignatureDoesNotMatch),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130524", query.clone()),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=Fri", query.clone()),
        ("Expires=86400", "Expires=86401", Code::SignatureDoesNotMatch),
        ("Expires=86400", "Expires=604800", Code::SignatureDoesNotMatch),
        ("Expires=86400", "Expires=604801", query.clone()),
        ("Expires=86400", "Expires=99999999999999999999", query.clone()),
        ("Expires=86400", "Expires=0", query.clone()),
        ("Expires=86400", "Expires=-1", query.clone()),
        ("Expires=86400", "Expires=%2B1", query.clone()),
        ("Expires=86400", "Expires=1.5", query.clone()),
        ("Expires=86400", "Expires=", query.clone()),
        ("SignedHeaders=host", "SignedHeaders=Host", query.clone()),
        ("SignedHeaders=host", "SignedHeaders=", query.clone()),
        ("SignedHeaders=host", "SignedHeaders=date", Code::AccessDenied),
        ("Signature=aeee", "Signature=beee", Code::SignatureDoesNotMatch),
        ("Signature=aeee", "Signature=AEEE", query.clone()),
        ("Signature=aeee", "Signature=aee", query.clone()),
        ("&X-Amz-Expires", "&x=1&X-Amz-Expires", Code::SignatureDoesNotMatch),
        ("&X-Amz-Expires", "&x-amz-acl=private&X-Amz-Expires", Code::SignatureDoesNotMatch),
        ("&X-Amz-Expires", "&X-Amz-Expires=1&X-Amz-Expires", query.clone()),
        ("&X-Amz-Signature", "&x-amz-signature=1&X-Amz-Signature", query.clone()),
        ("&X-Amz-Expires", "&X-Amz-Security-Token=t&X-Amz-Expires", Code::InvalidToken),
    ] {
        assert!(good.target.contains(from), "{from}");
        let mut changed = good.clone();
        changed.target = good.target.replacen(from, to, 1);
        assert_eq!(code(&changed), want, "{from} -> {to}");
    }
    for name in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        let mut changed = good.clone();
        let (path, all) = good.target.split_once('?').unwrap();
        let kept: Vec<&str> = all.split('&').filter(|p| !p.starts_with(&format!("X-Amz-{name}="))).collect();
        changed.target = format!("{path}?{}", kept.join("&"));
        assert_eq!(code(&changed), query, "without {name}");
    }
    let mut changed = good.clone();
    changed.method = "PUT";
    assert_eq!(code(&changed), Code::SignatureDoesNotMatch);
    let mut both = good.clone();
    both.headers.insert("authorization", "AWS4-HMAC-SHA256 x".parse().unwrap());
    assert_eq!(code(&both), Code::InvalidArgument);
    // A header that the URL's maker did not sign.
    let unsigned = good.clone().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(code(&unsigned), Code::AccessDenied);
    let sigv2 = Draft::new("GET", "/bucket/k?AWSAccessKeyId=a&Expires=1&Signature=s");
    assert_eq!(code(&sigv2), Code::InvalidRequest);
}

#[test]
fn spellings_of_one_path_have_one_signature() {
    let key = "a b/()':=!,@;$*&%2B\u{e9}//../.";
    let signed =
        Draft::new("GET", &format!("/bucket/{}", crate::s3::name::encode_path(key.as_bytes()))).sign();
    assert!(signed.verify(&store()).is_ok());
    for spelling in
        ["/bucket/a%20b/()':=!,@;$*&%252B%c3%A9//../.", "/%62ucket/a%20b%2F%28)':=!,@;$*&%252B%C3%A9//../."]
    {
        let mut other = signed.clone();
        other.target = spelling.to_owned();
        let request = other.verify(&store()).unwrap();
        assert_eq!(request.key.as_ref().unwrap().as_bytes(), key.as_bytes());
    }
    for other_key in
        ["/bucket/a%20b/()':=!,@;$*&%2B%c3%A9//../.", "/bucket/a+b/()':=!,@;$*&%252B%C3%A9//../."]
    {
        let mut other = signed.clone();
        other.target = other_key.to_owned();
        assert_eq!(code(&other), Code::SignatureDoesNotMatch, "{other_key}");
    }
    let mut query = Draft::new("GET", "/bucket?prefix=a%2Fb%20c&delimiter=%2F&list-type=2").sign();
    query.target = "/bucket?list-type=2&delimiter=/&prefix=a/b%20c".to_owned();
    assert!(query.verify(&store()).is_ok());
}

#[test]
fn a_plus_sign_in_a_query_means_what_was_signed() {
    for (sent, signed, meant) in [
        ("a+b", "a%20b", "a b"),
        ("a+b", "a%2Bb", "a+b"),
        ("a%20b", "a%20b", "a b"),
        ("a%2Bb", "a%2Bb", "a+b"),
    ] {
        let mut draft = Draft::new("GET", &format!("/bucket?prefix={signed}")).sign();
        draft.target = format!("/bucket?prefix={sent}");
        assert_eq!(draft.verify(&store()).unwrap().query.get_str("prefix"), Some(meant), "{sent}");
        let mut url = Draft::new("GET", &format!("/bucket?prefix={signed}")).presign("60");
        url.target = url.target.replace(signed, sent);
        assert_eq!(url.verify(&store()).unwrap().query.get_str("prefix"), Some(meant), "{sent}");
    }
    let mut draft = Draft::new("GET", "/bucket?prefix=a%20b").sign();
    for other in ["a%2Bb", "a++b", "a+c"] {
        draft.target = format!("/bucket?prefix={other}");
        assert_eq!(code(&draft), Code::SignatureDoesNotMatch, "{other}");
    }
}

/// Requests that botocore 1.44 signed at the moment of AWS's examples; any character of the signature changed fails.
#[test]
fn what_botocore_signs_verifies() {
    #[derive(serde::Deserialize)]
    struct Signed {
        name: String,
        method: String,
        target: String,
        headers: std::collections::BTreeMap<String, String>,
    }
    let all: Vec<Signed> =
        serde_json::from_str(include_str!("../../tests/data/botocore-signatures.json")).unwrap();
    assert!(all.len() >= 20);
    for signed in all {
        let mut draft = Draft::new("GET", &signed.target);
        draft.method =
            ["GET", "PUT", "HEAD", "DELETE", "POST"].into_iter().find(|m| *m == signed.method).unwrap();
        draft.headers = HeaderMap::new();
        for (name, value) in &signed.headers {
            draft = draft.header(name, value);
        }
        let request = draft.verify(&store()).unwrap_or_else(|error| panic!("{}: {error}", signed.name));
        assert!(request.operation.refuse().is_ok(), "{}", signed.name);
        if signed.name.contains("list_buckets") {
            assert!(request.bucket.is_none());
        } else {
            assert_eq!(request.bucket.as_ref().unwrap().as_str(), "examplebucket", "{}", signed.name);
        }
        let mut other = draft.clone();
        let spoiled = |text: &str| {
            let at = text.to_ascii_lowercase().rfind("signature=").unwrap() + "signature=".len();
            let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            format!("{}{digit}{}", &text[..at], &text[at + 1..])
        };
        match draft.headers.get("authorization") {
            Some(value) => {
                let value = spoiled(value.to_str().unwrap());
                other.headers.insert("authorization", value.parse().unwrap());
            }
            None => other.target = spoiled(&draft.target),
        }
        assert_eq!(code(&other), Code::SignatureDoesNotMatch, "{}", signed.name);
    }
}

#[test]
fn clocks() {
    let skewed = |minutes: i64, seconds: i64| {
        let mut draft = Draft::new("GET", "/bucket/k");
        draft.time = now() + Duration::minutes(minutes) + Duration::seconds(seconds);
        draft.sign()
    };
    for (minutes, seconds) in [(0, 0), (15, 0), (-15, 0), (14, 59)] {
        assert!(skewed(minutes, seconds).verify(&store()).is_ok(), "{minutes}:{seconds}");
    }
    for (minutes, seconds) in [(15, 1), (-15, -1), (60 * 24, 0), (-60 * 24 * 365, 0)] {
        let error = refused(&skewed(minutes, seconds));
        assert_eq!(error.code(), &Code::RequestTimeTooSkewed);
        assert!(error.fields().contains(&("ServerTime", "2013-05-24T00:00:00Z".into())));
        assert!(error.fields().contains(&("MaxAllowedSkewMilliseconds", "900000".into())));
    }
    // The signed time counts, not the one of a Date header beside it.
    let dated = Draft::new("GET", "/bucket/k").header("date", "Fri, 24 May 2013 09:00:00 GMT").sign();
    assert!(dated.verify(&store()).is_ok());
}

#[test]
fn presigned_urls_live_exactly_as_long_as_they_say() {
    let url = |age: i64, life: &str| {
        let mut draft = Draft::new("GET", "/bucket/k");
        draft.time = now() - Duration::seconds(age);
        draft.presign(life)
    };
    for (age, life) in [(0, "1"), (1, "1"), (604_800, "604800"), (-900, "1"), (86_000, "86400")] {
        assert!(url(age, life).verify(&store()).is_ok(), "age {age} life {life}");
    }
    for (age, life) in [(2, "1"), (604_801, "604800"), (1000, "900")] {
        let error = refused(&url(age, life));
        assert_eq!((error.code(), error.message()), (&Code::AccessDenied, "Request has expired"));
        assert!(error.fields().iter().any(|(name, _)| *name == "ServerTime"));
    }
    let early = refused(&url(-901, "3600"));
    assert_eq!((early.code(), early.message()), (&Code::AccessDenied, "Request is not valid yet"));
}

#[test]
fn hoisted_headers_count_as_signed() {
    let draft =
        Draft::new("PUT", "/bucket/k?x-amz-acl=private&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD").presign("60");
    let request = draft.verify(&store()).unwrap();
    assert_eq!(request.headers["x-amz-acl"], "private");
    let mut changed = draft.clone();
    changed.target = draft.target.replace("acl=private", "acl=public-read");
    assert_eq!(code(&changed), Code::SignatureDoesNotMatch);
}

#[test]
fn regions() {
    let mut draft = Draft::new("GET", "/bucket/k");
    draft.region = "mars-north-1".into();
    let draft = draft.sign();
    assert!(draft.verify(&store()).is_ok());
    let in_region = |region| verify(draft.parse_in(Some(region)).unwrap(), &store(), now());
    assert!(in_region("mars-north-1").is_ok());
    let error = in_region("us-east-1").unwrap_err();
    assert_eq!(error.code(), &Code::AuthorizationHeaderMalformed);
    assert!(error.fields().contains(&("Region", "us-east-1".into())));
}

/// MinIO's tools sign calls for keys so, and nothing else.
#[test]
fn a_region_is_left_out_in_calls_of_minios_own_alone() {
    let code = |target: &str, minio_api: bool| {
        let mut draft = Draft::new("POST", target);
        (draft.region, draft.minio_api) = (String::new(), minio_api);
        draft.sign().verify(&store()).map(|_| ()).map_err(|error| error.code().clone())
    };
    let call = "/minio/kms/v1/key/create?key-id=k";
    assert_eq!(code(call, true), Ok(()));
    assert_eq!(code("/minio/admin/v3/kms/key/status", true), Ok(()));
    for minio_api in [true, false] {
        assert_eq!(code("/bucket/k?uploads", minio_api), Err(Code::AuthorizationHeaderMalformed));
    }
    // Signed all the same.
    let mut draft = Draft::new("POST", call);
    (draft.region, draft.minio_api, draft.secret_key) = (String::new(), true, "wrong".into());
    assert!(draft.sign().verify(&store()).is_err());
}

#[test]
fn session_tokens() {
    let with_token = || {
        let mut credential = credential(vec![everything()]);
        credential.session_token = Some(Secret::new("token"));
        store_of(credential)
    };
    let sent = |token| Draft::new("GET", "/bucket/k").header("x-amz-security-token", token).sign();
    assert!(sent("token").verify(&with_token()).is_ok());
    assert!(
        Draft::new("GET", "/bucket/k?X-Amz-Security-Token=token").presign("60").verify(&with_token()).is_ok()
    );
    let refused = |draft: Draft| draft.verify(&with_token()).unwrap_err().code().clone();
    assert_eq!(refused(sent("tokem")), Code::InvalidToken);
    assert_eq!(refused(sent("")), Code::InvalidToken);
    assert_eq!(refused(Draft::new("GET", "/bucket/k").sign()), Code::InvalidToken);
    assert_eq!(code(&sent("token")), Code::InvalidToken);
    let mut unsigned = Draft::new("GET", "/bucket/k").sign();
    unsigned.headers.insert("x-amz-security-token", "token".parse().unwrap());
    assert_eq!(refused(unsigned), Code::AccessDenied);
}

#[test]
fn payload_forms() {
    let form =
        |value| Draft::new("PUT", "/bucket/k").header("x-amz-content-sha256", value).sign().verify(&store());
    assert!(matches!(form("UNSIGNED-PAYLOAD").unwrap().payload(), PayloadCheck::Unsigned));
    assert!(
        matches!(form(EMPTY).unwrap().payload(), PayloadCheck::Sha256(hash) if hex::encode(hash) == EMPTY)
    );
    assert!(matches!(
        form("STREAMING-UNSIGNED-PAYLOAD-TRAILER").unwrap().payload(),
        PayloadCheck::UnsignedTrailer
    ));
    for (value, want) in [
        ("", Code::InvalidArgument),
        ("unsigned-payload", Code::InvalidArgument),
        ("abc", Code::InvalidArgument),
        (&EMPTY.to_uppercase(), Code::InvalidArgument),
        ("STREAMING-AWS4-HMAC-SHA256-EVENTS", Code::InvalidArgument),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", Code::NotImplemented),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", Code::NotImplemented),
    ] {
        assert_eq!(form(value).unwrap_err().code(), &want, "{value}");
    }
}

#[test]
fn anonymous_requests_follow_the_bucket_rule() {
    let code =
        |method, target: &str| Draft::new(method, target).verify(&store()).map_err(|e| e.code().clone());
    assert!(code("GET", "/public-files/k").unwrap().identity().is_anonymous());
    assert_eq!(code("GET", "/bucket/k").unwrap_err(), Code::AccessDenied);
    assert_eq!(code("GET", "/").unwrap_err(), Code::AccessDenied);
    assert_eq!(code("DELETE", "/public-files").unwrap_err(), Code::AccessDenied);
    assert_eq!(code("GET", "/public-files/k?response-content-type=a").unwrap_err(), Code::InvalidRequest);
    // Preflights and what is refused anyway need no credentials.
    assert!(code("OPTIONS", "/bucket/k").is_ok());
    assert_eq!(code("POST", "/").unwrap_err(), Code::NotImplemented);
    let signed = Draft::new("PUT", "/public-files/k")
        .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert_eq!(signed.verify(&store()).unwrap_err().code(), &Code::InvalidRequest);
}

#[test]
fn errors_hold_neither_secrets_nor_signatures() {
    let mut draft = Draft::new("GET", "/bucket/k").sign();
    let right = draft.headers["authorization"].to_str().unwrap().rsplit('=').next().unwrap().to_owned();
    draft.headers.insert("range", "bytes=0-1".parse().unwrap());
    draft.target = "/bucket/other".into();
    let error = refused(&draft);
    let shown = format!("{error:?} {:?}", error.fields());
    assert!(!shown.contains(&right) && !shown.contains(SECRET_KEY), "{shown}");
    // Nor the signature that would have been right.
    let wanted = Draft::new("GET", "/bucket/other").sign();
    let wanted = wanted.headers["authorization"].to_str().unwrap().rsplit('=').next().unwrap().to_owned();
    assert!(!shown.contains(&wanted), "{shown}");
}

#[test]
fn keys_of_many_regions_do_not_pile_up_and_still_verify() {
    let store = store();
    for round in 0..2 {
        for region in 0..20 {
            let mut draft = Draft::new("GET", "/bucket/k");
            draft.region = format!("region-{region}");
            assert!(draft.sign().verify(&store).is_ok(), "{round} {region}");
        }
    }
}
