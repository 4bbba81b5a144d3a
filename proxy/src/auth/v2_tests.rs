//! Tests of Signature Version 2: AWS's documented examples, each signed thing changed, and what it does not cover.

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use super::testing::{ACCESS_KEY, Draft, SECRET_KEY, credential, everything, store, store_of};
use super::{CredentialStore, PayloadCheck, Verified, verify};
use crate::config::Secret;
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;
use crate::s3::operation::Operation;

const DATE: &str = "Tue, 27 Mar 2007 19:36:42 +0000";
const BUCKET_HOST: &str = "awsexamplebucket1.s3.us-west-1.amazonaws.com";

fn old() -> CredentialStore {
    store().taking_v2()
}

fn moment(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc2822).unwrap()
}

fn hmac_of(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// A request with these headers and no others.
fn bare(method: &'static str, target: &str, headers: &[(&str, &str)]) -> Draft {
    let mut draft = Draft::new(method, target);
    draft.headers = HeaderMap::new();
    headers.iter().fold(draft, |draft, (name, value)| draft.header(name, value))
}

fn with_signature(draft: Draft, signature: &str) -> Draft {
    draft.header("authorization", &format!("AWS {ACCESS_KEY}:{signature}"))
}

/// Signed by a text that the test writes itself.
fn signed(method: &'static str, target: &str, headers: &[(&str, &str)], text: &str) -> Draft {
    let draft = bare(method, target, headers).header("host", "s3.amazonaws.com");
    with_signature(draft, &hmac_of(SECRET_KEY, text))
}

/// Such a GET at [`DATE`], whose text ends with the resource.
fn dated(method: &'static str, target: &str, resource: &str) -> Draft {
    signed(method, target, &[("date", DATE)], &format!("{method}\n\n\n{DATE}\n{resource}"))
}

/// Presigned by a text that the test writes itself, good until `expires`.
fn presigned(method: &'static str, target: &str, expires: &str, text: &str) -> Draft {
    let signature = hmac_of(SECRET_KEY, text).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let join = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{join}AWSAccessKeyId={ACCESS_KEY}&Expires={expires}&Signature={signature}");
    bare(method, &target, &[("host", "s3.amazonaws.com")])
}

fn at(draft: &Draft, now: OffsetDateTime) -> Result<Verified<S3Request>> {
    verify(draft.parse()?, &old(), now)
}

fn good(draft: &Draft) -> Verified<S3Request> {
    at(draft, moment(DATE)).unwrap_or_else(|error| panic!("{} {}: {error}", draft.method, draft.target))
}

fn refused(draft: &Draft) -> Error {
    match at(draft, moment(DATE)) {
        Err(error) => error,
        Ok(_) => panic!("{} {} was accepted", draft.method, draft.target),
    }
}

fn code(draft: &Draft) -> Code {
    refused(draft).code().clone()
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>, with the moment of each.
fn documented() -> Vec<(Draft, &'static str, Operation)> {
    let host = ("Host", BUCKET_HOST);
    let service = ("Host", "s3.us-west-1.amazonaws.com");
    let example = |method, target, headers: &[(&str, &str)], signature, operation| {
        let date =
            headers.iter().rev().find(|(name, _)| name.to_ascii_lowercase().ends_with("date")).unwrap().1;
        let date: &'static str = Box::leak(date.to_owned().into_boxed_str());
        (with_signature(bare(method, target, headers), signature), date, operation)
    };
    vec![
        example(
            "GET",
            "/photos/puppy.jpg",
            &[("Host", "awsexamplebucket1.us-west-1.s3.amazonaws.com"), ("Date", DATE)],
            "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
            Operation::GetObject,
        ),
        example(
            "PUT",
            "/photos/puppy.jpg",
            &[
                ("Content-Type", "image/jpeg"),
                ("Content-Length", "94328"),
                host,
                ("Date", "Tue, 27 Mar 2007 21:15:45 +0000"),
            ],
            "iqRzw+ileNPu1fhspnRs8nOjjIA=",
            Operation::PutObject,
        ),
        example(
            "GET",
            "/?prefix=photos&max-keys=50&marker=puppy",
            &[("User-Agent", "Mozilla/5.0"), host, ("Date", "Tue, 27 Mar 2007 19:42:41 +0000")],
            "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
            Operation::ListObjects,
        ),
        example(
            "GET",
            "/?acl",
            &[host, ("Date", "Tue, 27 Mar 2007 19:44:46 +0000")],
            "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
            Operation::GetBucketAcl,
        ),
        example(
            "DELETE",
            "/awsexamplebucket1/photos/puppy.jpg",
            &[
                ("User-Agent", "dotnet"),
                service,
                ("Date", "Tue, 27 Mar 2007 21:20:27 +0000"),
                ("x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000"),
            ],
            "XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
            Operation::DeleteObject,
        ),
        // The documentation names this bucket in a host of its own; the text is that of path style.
        example(
            "PUT",
            "/static.awsexamplebucket1.net/db-backup.dat.gz",
            &[
                ("User-Agent", "curl/7.15.5"),
                service,
                ("x-amz-acl", "public-read"),
                ("content-type", "application/x-download"),
                ("Content-MD5", "4gJE4saaMU4BqNR0kLY+lw=="),
                ("X-Amz-Meta-ReviewedBy", "joe@awsexamplebucket1.net"),
                ("X-Amz-Meta-ReviewedBy", "jane@awsexamplebucket1.net"),
                ("X-Amz-Meta-FileChecksum", "0x02661779"),
                ("X-Amz-Meta-ChecksumAlgorithm", "crc32"),
                ("Content-Disposition", "attachment; filename=database.dat"),
                ("Content-Encoding", "gzip"),
                ("Content-Length", "5913339"),
                ("Date", "Tue, 27 Mar 2007 21:06:08 +0000"),
            ],
            "dKZcB+bz2EPXgSdXZp9ozGeOM4I=",
            Operation::PutObject,
        ),
        example(
            "GET",
            "/",
            &[service, ("Date", "Wed, 28 Mar 2007 01:29:59 +0000")],
            "qGdzdERIC03wnaRNKh6OqZehG9s=",
            Operation::ListBuckets,
        ),
        example(
            "GET",
            "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
            &[service, ("Date", "Wed, 28 Mar 2007 01:49:49 +0000")],
            "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
            Operation::GetObject,
        ),
    ]
}

/// Of the same page. Its signature is still the one for the bucket `johnsmith`, which its other examples no longer name.
fn documented_url() -> Draft {
    let target = format!(
        "/photos/puppy.jpg?AWSAccessKeyId={ACCESS_KEY}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
    );
    bare("GET", &target, &[("Host", "johnsmith.s3.amazonaws.com")])
}

#[test]
fn documented_examples_verify() {
    for (draft, date, operation) in documented() {
        let request = at(&draft, moment(date)).unwrap_or_else(|error| panic!("{}: {error}", draft.target));
        assert_eq!(request.operation, operation);
        assert_eq!(request.identity().access_key(), ACCESS_KEY);
        assert!(matches!(request.payload(), PayloadCheck::Unsigned));
    }
    let request = at(&documented_url(), moment(DATE)).unwrap();
    assert_eq!(request.bucket.as_ref().unwrap().as_str(), "johnsmith");
    assert_eq!(request.key.as_ref().unwrap().as_bytes(), b"photos/puppy.jpg");
    assert!(request.query.is_empty());
}

#[test]
fn every_changed_part_of_an_example_is_refused() {
    for (draft, date, _) in documented() {
        let now = moment(date);
        let code = |changed: &Draft| at(changed, now).map(|_| ()).unwrap_err().code().clone();
        let changed = |name: &str, value: &str| {
            let mut changed = draft.clone();
            changed
                .headers
                .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            changed
        };
        for (name, value) in [
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("content-type", "text/html"),
            ("x-amz-acl", "private"),
            ("x-amz-meta-reviewedby", "joe@awsexamplebucket1.net"),
            ("x-amz-meta-added", "1"),
            ("x-amz-copy-source", "/another/key"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-server-side-encryption", "AES256"),
        ] {
            let expected = match code(&changed(name, value)) {
                // A listing with a copy source and the like are no requests at all.
                Code::MethodNotAllowed | Code::NotImplemented => continue,
                other => other,
            };
            assert_eq!(expected, Code::SignatureDoesNotMatch, "{} {name}", draft.target);
        }
        let later = (now + Duration::seconds(1)).format(&Rfc2822).unwrap();
        let signed_date = if draft.headers.contains_key("x-amz-date") { "x-amz-date" } else { "date" };
        assert_eq!(code(&changed(signed_date, &later)), Code::SignatureDoesNotMatch, "{}", draft.target);
        let mut other = draft.clone();
        other.method = if draft.method == "GET" { "HEAD" } else { "GET" };
        if other.target != "/" && !other.target.contains("acl") {
            assert_eq!(code(&other), Code::SignatureDoesNotMatch, "{}", draft.target);
        }
        let mut other = draft.clone();
        other.target =
            draft.target.replace("/photos/", "/phot0s/").replace("%c3%a9", "%C3%A9").replace("backup", "b");
        if other.target != draft.target {
            assert_eq!(code(&other), Code::SignatureDoesNotMatch, "{}", other.target);
        }
        let value = draft.headers["authorization"].to_str().unwrap().to_owned();
        let (who, signature) = value.split_once(':').unwrap();
        for (spoiled, expected) in [
            (format!("{who}:AA{}", &signature[2..]), Code::SignatureDoesNotMatch),
            (value[..value.len() - 4].to_owned(), Code::SignatureDoesNotMatch),
            (format!("{who}:"), Code::SignatureDoesNotMatch),
            (who.to_owned(), Code::InvalidArgument),
            (value.replace(ACCESS_KEY, "NOBODY"), Code::InvalidAccessKeyId),
        ] {
            assert_eq!(code(&changed("authorization", &spoiled)), expected, "{spoiled}");
        }
    }
}

#[test]
fn every_changed_part_of_the_documented_url_is_refused() {
    let url = documented_url();
    for (from, to, expected) in [
        ("puppy", "kitten", Code::SignatureDoesNotMatch),
        ("Expires=1175139620", "Expires=1175139621", Code::SignatureDoesNotMatch),
        ("NpgC", "NpgD", Code::SignatureDoesNotMatch),
        ("?", "?versionId=v&", Code::SignatureDoesNotMatch),
        ("?", "?response-content-type=text%2Fhtml&", Code::SignatureDoesNotMatch),
        ("?", "?x-amz-security-token=x&", Code::InvalidToken),
        ("?", "?x-amz-acl=private&", Code::SignatureDoesNotMatch),
        ("?", "?content-type=a&", Code::SignatureDoesNotMatch),
        ("?", "?tagging&", Code::SignatureDoesNotMatch),
        (ACCESS_KEY, "NOBODY", Code::InvalidAccessKeyId),
        ("&Expires=1175139620", "", Code::AccessDenied),
        ("Expires=1175139620", "Expires=", Code::AccessDenied),
        ("Expires=1175139620", "Expires=soon", Code::AccessDenied),
        ("Expires=1175139620", "Expires=-1", Code::AccessDenied),
        ("Expires=1175139620", "Expires=9999999999999999", Code::AccessDenied),
        ("Expires=1175139620", "Expires=1175139620&Expires=1975139620", Code::AccessDenied),
        ("Signature=", "signature=", Code::AccessDenied),
        ("AWSAccessKeyId=", "AWSAccessKeyID=", Code::AccessDenied),
    ] {
        let mut changed = url.clone();
        changed.target = url.target.replacen(from, to, 1);
        assert_ne!(changed.target, url.target, "{from}");
        assert_eq!(code(&changed), expected, "{}", changed.target);
    }
    for (name, value) in
        [("x-amz-meta-a", "b"), ("content-type", "a/b"), ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]
    {
        assert_eq!(code(&url.clone().header(name, value)), Code::SignatureDoesNotMatch, "{name}");
    }
    // What the documentation says is not signed, and decides nothing.
    good(
        &url.clone()
            .header("date", "Mon, 26 Mar 2007 19:37:58 +0000")
            .header("x-amz-date", "20200101T000000Z"),
    );
    let mut put = url.clone();
    put.method = "PUT";
    assert_eq!(code(&put), Code::SignatureDoesNotMatch);
    let mut host = url;
    host.headers.insert("host", "other.s3.amazonaws.com".parse().unwrap());
    assert_eq!(code(&host), Code::SignatureDoesNotMatch);
}

#[test]
fn the_resource_holds_subresources_and_overrides() {
    for (method, target, resource) in [
        ("GET", "/bucket/k?versionId=v%2B1", "/bucket/k?versionId=v+1"),
        ("GET", "/bucket/k?versionId=v&tagging", "/bucket/k?tagging&versionId=v"),
        ("GET", "/bucket?location", "/bucket?location"),
        ("GET", "/bucket/?uploads=&prefix=x", "/bucket/?uploads"),
        ("GET", "/bucket?list-type=2&prefix=x", "/bucket"),
        ("GET", "/bucket?list-type=2&prefix=x", "/bucket/"),
        ("GET", "/bucket?acl", "/bucket/?acl"),
        ("POST", "/bucket?delete", "/bucket?delete"),
        ("PUT", "/bucket/k?uploadId=u&partNumber=7", "/bucket/k?partNumber=7&uploadId=u"),
        (
            "GET",
            "/bucket/k?response-content-type=text%2Fplain&response-content-disposition=a%3B%20b%26c&x-id=GetObject&z=1",
            "/bucket/k?response-content-disposition=a; b&c&response-content-type=text/plain",
        ),
        ("PUT", "/bucket/a%20b//../(c)?x-id=PutObject", "/bucket/a%20b//../(c)"),
    ] {
        let draft = dated(method, target, resource);
        good(&draft);
        for other in ["/bucket/other", &format!("{resource}&acl"), resource.split('?').next().unwrap()] {
            if other != resource {
                assert_eq!(
                    code(&dated(method, target, other)),
                    Code::SignatureDoesNotMatch,
                    "{target} {other}"
                );
            }
        }
        if target.contains('?') && resource.contains('?') {
            let mut without = draft.clone();
            without.target = target.split('?').next().unwrap().to_owned();
            assert!(at(&without, moment(DATE)).is_err(), "{target}");
        }
    }
    // A form encoder's plus sign.
    let draft = dated("GET", "/bucket/k?response-content-type=a+b", "/bucket/k?response-content-type=a b");
    assert_eq!(good(&draft).query.get_str("response-content-type"), Some("a b"));
}

#[test]
fn what_is_not_covered_decides_nothing() {
    for (method, target) in [
        ("PUT", "/bucket/k?retention"),
        ("PUT", "/bucket/k?encryption"),
        ("PUT", "/bucket?publicAccessBlock"),
        ("DELETE", "/bucket?ownershipControls"),
        ("DELETE", "/bucket?analytics&id=x"),
        ("GET", "/bucket/k?attributes"),
        ("GET", "/bucket?encryption"),
    ] {
        let resource = target.split('?').next().unwrap();
        for resource in [resource, target] {
            let error = refused(&dated(method, target, resource));
            assert_eq!(error.code(), &Code::InvalidRequest, "{target}");
            assert!(error.message().contains("Signature Version 2 does not cover"), "{}", error.message());
        }
    }
    // One text, two requests.
    let text = "/bucket/k?response-content-type=a&versionId=v";
    good(&dated("GET", "/bucket/k?response-content-type=a&versionId=v", text));
    let hidden = dated("GET", "/bucket/k?response-content-type=a%26versionId%3Dv", text);
    assert_eq!(code(&hidden), Code::InvalidRequest);
    let mut minio = dated("POST", "/minio/kms/v1/key/create?key-id=k", "/minio/kms/v1/key/create");
    minio.minio_api = true;
    assert_eq!(code(&minio), Code::InvalidRequest);
}

#[test]
fn a_bucket_in_the_host_and_in_the_path_are_one_resource() {
    let draft = dated("GET", "/bucket/k", "/bucket/k");
    let mut hosted = draft.clone();
    hosted.target = "/k".to_owned();
    hosted.headers.insert("host", "bucket.s3.amazonaws.com".parse().unwrap());
    assert_eq!(good(&hosted).bucket.as_ref().unwrap().as_str(), "bucket");
    hosted.headers.insert("host", "bucke.s3.amazonaws.com".parse().unwrap());
    assert_eq!(code(&hosted), Code::SignatureDoesNotMatch);
    // `/buckettk` is not `t/k` in the bucket `bucke`.
    hosted.target = "t/k".to_owned();
    assert_eq!(code(&hosted), Code::SignatureDoesNotMatch);
    // Spellings of a path are told apart, unlike under Version 4.
    assert_eq!(code(&dated("GET", "/bucket/%6b", "/bucket/k")), Code::SignatureDoesNotMatch);
}

#[test]
fn clocks() {
    let draft = dated("GET", "/bucket/k", "/bucket/k");
    for seconds in [0, 900, -900] {
        assert!(at(&draft, moment(DATE) + Duration::seconds(seconds)).is_ok(), "{seconds}");
    }
    for seconds in [901, -901, 1 << 30] {
        let error = at(&draft, moment(DATE) + Duration::seconds(seconds)).unwrap_err();
        assert_eq!(error.code(), &Code::RequestTimeTooSkewed, "{seconds}");
    }
    // `x-amz-date` counts where it is there, named or in the place of `Date`.
    let late = "Tue, 27 Mar 2007 23:00:00 GMT";
    for (headers, text, ok) in [
        ([("date", late), ("x-amz-date", DATE)], format!("GET\n\n\n\nx-amz-date:{DATE}\n/bucket/k"), true),
        ([("date", late), ("x-amz-date", DATE)], format!("GET\n\n\n{DATE}\n/bucket/k"), true),
        ([("date", DATE), ("x-amz-date", late)], format!("GET\n\n\n\nx-amz-date:{late}\n/bucket/k"), false),
        ([("date", DATE), ("x-amz-date", late)], format!("GET\n\n\n{DATE}\n/bucket/k"), false),
    ] {
        let result = at(&signed("GET", "/bucket/k", &headers, &text), moment(DATE));
        assert_eq!(result.map(|_| ()).map_err(|error| error.code().clone()).is_ok(), ok, "{text}");
    }
    let both = format!("GET\n\n\n{DATE}\nx-amz-date:{DATE}\n/bucket/k");
    let both = signed("GET", "/bucket/k", &[("date", DATE), ("x-amz-date", DATE)], &both);
    assert_eq!(code(&both), Code::SignatureDoesNotMatch);
    for headers in [vec![], vec![("date", "yesterday")], vec![("date", DATE), ("x-amz-date", "")]] {
        assert_eq!(code(&signed("GET", "/bucket/k", &headers, "")), Code::AccessDenied);
    }
}

#[test]
fn urls_live_until_the_second_they_name() {
    let url = presigned("GET", "/bucket/k", "1175139620", "GET\n\n\n1175139620\n/bucket/k");
    let until = OffsetDateTime::from_unix_timestamp(1_175_139_620).unwrap();
    assert!(at(&url, until).is_ok());
    assert!(at(&url, until - Duration::days(400)).is_ok());
    let error = at(&url, until + Duration::seconds(1)).unwrap_err();
    assert_eq!((error.code(), error.message()), (&Code::AccessDenied, "Request has expired"));
    assert!(error.fields().contains(&("Expires", "2007-03-29T03:40:20Z".into())));
}

#[test]
fn one_mechanism_at_a_time() {
    let header = dated("GET", "/bucket/k", "/bucket/k");
    let url = presigned("GET", "/bucket/k", "1175139620", "GET\n\n\n1175139620\n/bucket/k");
    let value = header.headers["authorization"].to_str().unwrap().to_owned();
    let both = [
        url.clone().header("authorization", &value),
        header.clone().header("authorization", &value),
        url.clone().header("authorization", "AWS4-HMAC-SHA256 Credential=a"),
        Draft::new("GET", &url.target).presign("60"),
        Draft::new("GET", "/bucket/k?Signature=x").sign(),
    ];
    for draft in both {
        assert_eq!(code(&draft), Code::InvalidArgument, "{}", draft.target);
    }
}

#[test]
fn without_the_switch_the_refusal_says_what_to_do() {
    let header = dated("GET", "/bucket/k", "/bucket/k");
    for draft in [header, documented_url(), bare("GET", "/bucket/k?Signature=x", &[])] {
        let error = verify(draft.parse().unwrap(), &store(), moment(DATE)).unwrap_err();
        assert_eq!(error.code(), &Code::InvalidRequest);
        for words in [
            "compat.sigv2",
            "aws configure set default.s3.signature_version s3v4",
            "signature_version='s3v4'",
        ] {
            assert!(error.message().contains(words), "{}", error.message());
        }
    }
    // And Version 4 goes on beside it.
    let new = Draft::new("GET", "/bucket/k").sign();
    assert!(verify(new.parse().unwrap(), &old(), new.time).is_ok());
}

#[test]
fn session_tokens() {
    let with_token = || {
        let mut credential = credential(vec![everything()]);
        credential.session_token = Some(Secret::new("token"));
        store_of(credential).taking_v2()
    };
    let code = |draft: &Draft| {
        verify(draft.parse().unwrap(), &with_token(), moment(DATE)).map(|_| ()).map_err(|e| e.code().clone())
    };
    let sent = |token: &str| {
        let text = format!("GET\n\n\n{DATE}\nx-amz-security-token:{token}\n/bucket/k");
        signed("GET", "/bucket/k", &[("date", DATE), ("x-amz-security-token", token)], &text)
    };
    assert_eq!(code(&sent("token")), Ok(()));
    assert_eq!(code(&sent("tokem")), Err(Code::InvalidToken));
    assert_eq!(code(&dated("GET", "/bucket/k", "/bucket/k")), Err(Code::InvalidToken));
    assert_eq!(refused(&sent("token")).code(), &Code::InvalidToken);
    // Sent, and not signed.
    let added = dated("GET", "/bucket/k", "/bucket/k").header("x-amz-security-token", "token");
    assert_eq!(code(&added), Err(Code::SignatureDoesNotMatch));
    // In a URL, as botocore writes it.
    let text = "GET\n\n\n1175139620\nx-amz-security-token:token\n/bucket/k";
    let url = presigned("GET", "/bucket/k?x-amz-security-token=token", "1175139620", text);
    assert_eq!(code(&url), Ok(()));
    let unsigned = presigned(
        "GET",
        "/bucket/k?x-amz-security-token=token",
        "1175139620",
        "GET\n\n\n1175139620\n/bucket/k",
    );
    assert_eq!(code(&unsigned), Err(Code::SignatureDoesNotMatch));
}

#[test]
fn headers_in_a_url_are_headers() {
    let target =
        "/bucket/k?x-amz-meta-a=b%20c&content-type=text%2Fplain&Content-MD5=1B2M2Y8AsgTpgAmY7PhCfg%3D%3D";
    let text = "PUT\n1B2M2Y8AsgTpgAmY7PhCfg==\ntext/plain\n1175139620\nx-amz-meta-a:b c\n/bucket/k";
    let url = presigned("PUT", target, "1175139620", text);
    let request = good(&url);
    assert_eq!(request.headers["content-type"], "text/plain");
    assert_eq!(request.headers["content-md5"], "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(request.headers["x-amz-meta-a"], "b c");
    assert!(request.query.is_empty());
    // The client may send what the URL says, and nothing else.
    good(&url.clone().header("content-type", "text/plain"));
    let error = url.clone().header("content-type", "text/html").parse().unwrap_err();
    assert_eq!(error.code(), &Code::InvalidArgument);
    for (from, to) in [("b%20c", "b%20d"), ("text%2Fplain", "text%2Fhtml"), ("1B2M", "1B2N")] {
        let mut changed = url.clone();
        changed.target = url.target.replacen(from, to, 1);
        assert_eq!(code(&changed), Code::SignatureDoesNotMatch, "{from}");
    }
}

#[test]
fn payload_forms() {
    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let form = |value: &str| {
        let text = format!("PUT\n\n\n{DATE}\nx-amz-content-sha256:{value}\n/bucket/k");
        at(
            &signed("PUT", "/bucket/k", &[("date", DATE), ("x-amz-content-sha256", value)], &text),
            moment(DATE),
        )
    };
    assert!(matches!(form(HASH).unwrap().payload(), PayloadCheck::Sha256(hash) if hex::encode(hash) == HASH));
    assert!(matches!(form("UNSIGNED-PAYLOAD").unwrap().payload(), PayloadCheck::Unsigned));
    let trailer = form("STREAMING-UNSIGNED-PAYLOAD-TRAILER").unwrap();
    assert!(matches!(trailer.payload(), PayloadCheck::UnsignedTrailer));
    for (value, expected) in [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Code::InvalidRequest),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Code::InvalidRequest),
        ("abc", Code::InvalidArgument),
    ] {
        assert_eq!(form(value).unwrap_err().code(), &expected, "{value}");
    }
}

#[test]
fn errors_hold_neither_secrets_nor_signatures() {
    let text = format!(
        "GET\n\n\n{DATE}\nx-amz-server-side-encryption-customer-key:very-secret-key\nx-amz-tagging:a\n/bucket/k"
    );
    let headers = [
        ("date", DATE),
        ("x-amz-server-side-encryption-customer-key", "very-secret-key"),
        ("x-amz-tagging", "a"),
    ];
    let draft = signed("GET", "/bucket/k", &headers, &text);
    good(&draft);
    let mut other = draft.clone();
    other.headers.insert("x-amz-tagging", "b".parse().unwrap());
    let error = refused(&other);
    let shown = format!("{error:?} {error} {:?}", error.fields());
    assert!(
        shown.contains("x-amz-tagging:b") && shown.contains("x-amz-server-side-encryption-customer-key:...")
    );
    let right = hmac_of(SECRET_KEY, &text.replace("tagging:a", "tagging:b"));
    let sent = hmac_of(SECRET_KEY, &text);
    for secret in [SECRET_KEY, "very-secret-key", &right, &sent] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
