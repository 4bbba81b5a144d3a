//! Signatures against `aws-sigv4`'s own request signing, AWS's published chunk example, and what must not be signed.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use super::*;
use crate::config::Secret;

const ACCESS: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn signer(token: Option<&str>) -> Signer {
    Signer::new(StaticKeys {
        access_key: ACCESS.into(),
        secret_key: Secret::new(SECRET),
        session_token: token.map(Secret::new),
    })
}

fn unsigned(method: Method, uri: &str, headers: &[(&str, &str)]) -> Unsigned {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Unsigned { method, uri: uri.parse().unwrap(), headers: map }
}

fn at(text: &str) -> OffsetDateTime {
    crate::auth::canonical::parse_timestamp(text).unwrap()
}

/// The whole Authorization header as `aws-sigv4` computes it for the request that we send.
fn oracle(request: &http::Request<()>, uri: &str, token: Option<&str>, now: OffsetDateTime) -> String {
    let credentials = Credentials::new(ACCESS, SECRET, token.map(Into::into), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.excluded_headers.as_mut().unwrap().push("expect".into());
    let params = v4::SigningParams::builder()
        .identity(&credentials)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::from(now))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    // The crate adds these itself.
    let own = ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
    let headers = request
        .headers()
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let payload = request.headers()["x-amz-content-sha256"].to_str().unwrap().to_owned();
    let signable =
        SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Precomputed(payload))
            .unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut check = http::Request::builder().uri(uri).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut check);
    check.headers()["authorization"].to_str().unwrap().to_owned()
}

#[test]
fn signatures_equal_those_of_aws_sigv4() {
    let now = at("20130524T000000Z");
    type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 5] = [
        (Method::GET, "https://examplebucket.s3.amazonaws.com/test.txt", &[("range", "bytes=0-9")]),
        (
            Method::PUT,
            "http://127.0.0.1:8333/bkt/a/../b//%20%2B%28%29",
            &[("x-amz-meta-a", "  two   words ")],
        ),
        (Method::GET, "http://h/bkt?list-type=2&prefix=a%2Fb%20%2B", &[]),
        (Method::PUT, "http://h/bkt/k?acl=", &[("x-amz-acl", "private"), ("content-type", "text/plain")]),
        (Method::DELETE, "http://h:80/bkt/k?versionId=null", &[("x-amz-meta-b", "1"), ("x-amz-meta-b", "2")]),
    ];
    for token in [None, Some("a/session+token==")] {
        for (method, uri, headers) in &cases {
            let ours = signer(token)
                .sign(unsigned(method.clone(), uri, headers), "us-east-1", now, PayloadHash::of(b"body"))
                .unwrap()
                .into_request(());
            let theirs = oracle(&ours, uri, token, now);
            assert_eq!(ours.headers()["authorization"].to_str().unwrap(), theirs, "{method} {uri}");
        }
    }
}

// The crate that signs decodes queries as text; ours must cover the bytes that are sent.
#[test]
fn names_that_are_not_utf8_are_signed_as_they_are_sent() {
    let uri = "http://h/bkt?prefix=%FF";
    let now = at("20130524T000000Z");
    let ours =
        signer(None).sign(unsigned(Method::GET, uri, &[]), "us-east-1", now, PayloadHash::Empty).unwrap();
    let request = ours.into_request(());
    let canonical = format!(
        "GET\n/bkt\nprefix=%FF\nhost:h\nx-amz-content-sha256:{EMPTY_SHA256}\nx-amz-date:20130524T000000Z\n\n\
         host;x-amz-content-sha256;x-amz-date\n{EMPTY_SHA256}"
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{}",
        hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    );
    let key = generate_signing_key(SECRET, now.into(), "us-east-1", "s3");
    let want = calculate_signature(key, to_sign.as_bytes());
    assert!(request.headers()["authorization"].to_str().unwrap().ends_with(&want));
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html: 66560 bytes of 'a' in chunks of 64 KiB.
#[test]
fn chunk_signatures_of_the_documentation() {
    let now = at("20130524T000000Z");
    let mut request = unsigned(
        Method::PUT,
        "https://s3.amazonaws.com/examplebucket/chunkObject.txt",
        &[
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
        ],
    );
    request.headers.insert("content-length", HeaderValue::from_static("66824"));
    let (_, chunks) = signer(None).sign_chunked(request, "us-east-1", now).unwrap();
    // The example signs Content-Length too, so its seed is set here.
    let mut chunks = ChunkSignatures {
        previous: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9".into(),
        ..chunks
    };
    let (first, second) = (vec![b'a'; 65536], vec![b'a'; 1024]);
    let (left, right) = first.split_at(1000);
    assert_eq!(
        chunks.next([left, right]),
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    );
    assert_eq!(
        chunks.next([second.as_slice()]),
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
    );
    assert_eq!(chunks.next([]), "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
}

#[test]
fn a_new_day_or_region_gets_its_own_key() {
    let signer = signer(None);
    let sign = |region: &str, now: &str| {
        let request = unsigned(Method::GET, "http://h/bkt/k", &[]);
        let signed = signer.sign(request, region, at(now), PayloadHash::Empty).unwrap().into_request(());
        signed.headers()["authorization"].to_str().unwrap().to_owned()
    };
    let first = sign("us-east-1", "20130524T235959Z");
    assert!(first.contains("/20130524/us-east-1/s3/aws4_request"));
    let moved = sign("eu-west-1", "20130524T235959Z");
    assert_ne!(moved.rsplit('=').next(), first.rsplit('=').next());
    assert!(sign("us-east-1", "20130525T000000Z").contains("/20130525/us-east-1/"));
    assert_eq!(sign("us-east-1", "20130524T235959Z"), first);
}

#[test]
fn volatile_headers_are_sent_and_not_signed() {
    let headers =
        [("user-agent", "x"), ("content-length", "1"), ("expect", "100-continue"), ("if-match", "\"e\"")];
    let request = unsigned(Method::PUT, "http://h/bkt/k", &headers);
    let signed =
        signer(None).sign(request, "us-east-1", at("20130524T000000Z"), PayloadHash::Unsigned).unwrap();
    let request = signed.into_origin_form(());
    assert_eq!(request.uri(), "/bkt/k");
    assert_eq!(request.headers()["user-agent"], "x");
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;if-match;x-amz-content-sha256;x-amz-date,"));
}

#[test]
fn strangers_send_no_credential_and_nothing_secret_is_shown() {
    let request = anonymous(unsigned(Method::GET, "http://h/bkt/k", &[]), PayloadHash::Empty).unwrap();
    let headers = request.into_request(()).into_parts().0.headers;
    assert!(!headers.contains_key("authorization") && !headers.contains_key("x-amz-security-token"));

    let signer = signer(Some("very-secret-token"));
    let request = unsigned(Method::GET, "http://h/bkt/k", &[]);
    let signed = signer.sign(request, "us-east-1", at("20130524T000000Z"), PayloadHash::Empty).unwrap();
    let shown = format!("{signer:?} {signed:?} {:?}", signed.headers);
    assert!(
        !shown.contains(SECRET) && !shown.contains("very-secret") && !shown.contains("Signature="),
        "{shown}"
    );
}

#[test]
fn credentials_that_no_header_can_carry_are_refused() {
    let keys = StaticKeys { access_key: "a\nb".into(), secret_key: Secret::new("s"), session_token: None };
    let request = unsigned(Method::GET, "http://h/", &[]);
    let now = at("20130524T000000Z");
    assert!(Signer::new(keys).sign(request, "us-east-1", now, PayloadHash::Empty).is_err());
}
