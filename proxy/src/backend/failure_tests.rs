//! Errors of backends as clients see them: codes and names right, addresses and signature strings gone.

use http::HeaderValue;

use super::super::response::Body;
use super::*;

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: Body::from_bytes(body.as_bytes().to_vec()),
    }
}

async fn rebuilt(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Error {
    let bucket = BucketName::parse(b"client-bucket").unwrap();
    let key = ObjectKey::parse(&b"client key"[..]).unwrap();
    let names = Names { bucket: Some(&bucket), key: Some(&key) };
    error_from(answer(status, headers, body), &names).await
}

#[tokio::test]
async fn codes_pass_and_names_are_the_clients() {
    let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>at http://10.0.0.1/</Message>\
                <Key>backend-key</Key><BucketName>inner</BucketName><HostId>h</HostId><RequestId>r</RequestId></Error>";
    let error = rebuilt(404, &[("x-amz-id-2", "h"), ("x-amz-delete-marker", "true")], body).await;
    assert_eq!(error.code(), &Code::NoSuchKey);
    assert_eq!(error.fields(), [("Key", "client key".to_owned())]);
    assert_eq!(error.headers().len(), 1);
    let shown = format!("{error:?} {:?}", error.fields());
    for hidden in ["10.0.0.1", "backend-key", "inner", "HostId"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[tokio::test]
async fn an_unknown_code_keeps_its_status_and_text_but_no_address() {
    let body = "<Error><Code>XStrange</Code><Message>Ask &amp; wait</Message><Condition>If-Match</Condition>\
                <Endpoint>e.example</Endpoint><StringToSign>secret</StringToSign></Error>";
    let error = rebuilt(409, &[], body).await;
    assert_eq!((error.code().name(), error.code().status().as_u16()), ("XStrange", 409));
    assert_eq!(error.message(), "Ask & wait");
    assert_eq!(error.fields(), [("Condition", "If-Match".to_owned())]);
    let body = "<Error><Code>XStrange</Code><Message>see http://10.0.0.1/</Message></Error>";
    assert!(!rebuilt(409, &[], body).await.message().contains("10.0.0.1"));
}

#[tokio::test]
async fn a_lock_is_the_one_reason_for_a_denial_that_is_told() {
    for (theirs, told) in [
        ("Access Denied because object protected by object lock.", true),
        (
            "Access Denied because user proxy@10.0.0.1 lacks s3:DeleteObject on object protected by object lock.",
            false,
        ),
    ] {
        let body = format!("<Error><Code>AccessDenied</Code><Message>{theirs}</Message></Error>");
        let error = rebuilt(403, &[], &body).await;
        assert_eq!(error.message(), if told { theirs } else { "Access Denied" });
    }
}

#[tokio::test]
async fn without_a_document_the_status_speaks() {
    for (status, name) in [
        (304, "NotModified"),
        (400, "BadRequest"),
        (403, "AccessDenied"),
        (404, "NoSuchKey"),
        (405, "MethodNotAllowed"),
        (412, "PreconditionFailed"),
        (416, "InvalidRange"),
        (429, "SlowDown"),
        (500, "InternalError"),
        (501, "NotImplemented"),
        (503, "SlowDown"),
    ] {
        for body in ["", "<html>not xml", "\u{0}\u{1}", "<Error><Code>a b</Code></Error>", "<a><Error>"] {
            assert_eq!(rebuilt(status, &[], body).await.code().name(), name, "{status} {body:?}");
        }
    }
    let bucket = BucketName::parse(b"client-bucket").unwrap();
    let error = error_from(answer(404, &[], ""), &Names { bucket: Some(&bucket), key: None }).await;
    assert_eq!(error.code(), &Code::NoSuchBucket);
    assert_eq!(error.fields(), [("BucketName", "client-bucket".to_owned())]);
}

#[tokio::test]
async fn slow_down_keeps_its_retry_after_and_blames_the_backend() {
    let error =
        rebuilt(503, &[("retry-after", "7"), ("server", "x")], "<Error><Code>SlowDown</Code></Error>").await;
    assert_eq!(error.code(), &Code::SlowDown);
    assert_eq!(error.blame(), crate::error::Blame::Backend);
    assert_eq!(error.headers(), [(header::RETRY_AFTER, HeaderValue::from_static("7"))]);
}

#[tokio::test]
async fn what_is_no_error_becomes_a_bad_gateway() {
    assert_eq!(rebuilt(204, &[], "").await.code(), &Code::BadGateway);
    assert_eq!(rebuilt(307, &[("location", "http://x/")], "").await.code(), &Code::BadGateway);
}

#[test]
fn only_region_names_can_move_a_request() {
    for good in ["us-east-1", "eu", "garage"] {
        assert!(is_region(good), "{good}");
    }
    for bad in ["", "evil.example", "US", "a/b", "-x", "x-", "a b", "a:1", "a@b"] {
        assert!(!is_region(bad), "{bad}");
    }
}

#[tokio::test]
async fn a_number_is_no_code() {
    let body = "<Error><Code>400</Code><Message>Bad Request</Message></Error>";
    let error = rebuilt(400, &[], body).await;
    assert_eq!((error.code(), error.message()), (&Code::BadRequest, "Bad Request"));
    let body = "<Error><Code>404</Code></Error>";
    assert_eq!(rebuilt(404, &[], body).await.code(), &Code::NoSuchKey);
}
