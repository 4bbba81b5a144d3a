//! Walks every operation of AWS's S3 model (`data/aws-operations.json`: name, method and request URI of each, from
//! the model of 2006-03-01 that botocore ships) and holds routing and class to the table below.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3cloak::s3::operation::{Class, Operation};
use s3cloak::s3::{RequestHead, RequestId, S3Request};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Want {
    /// Streamed: sealed or opened.
    S,
    /// A typed handler.
    H,
    /// Passed.
    P,
    /// Passed to a backend that is known to have the subresource.
    PL,
    /// Refused for good.
    R,
}
use Want::{H, P, PL, R, S};

/// What the project decided for each operation.
const TABLE: &[(&str, Want)] = &[
    ("PutObject", S),
    ("GetObject", S),
    ("HeadObject", H),
    ("CopyObject", H),
    ("UpdateObjectEncryption", H),
    ("DeleteObject", H),
    ("DeleteObjects", H),
    ("GetObjectAttributes", H),
    ("RestoreObject", P),
    ("GetObjectAcl", P),
    ("PutObjectAcl", P),
    ("GetObjectTagging", P),
    ("PutObjectTagging", P),
    ("DeleteObjectTagging", PL),
    ("GetObjectRetention", P),
    ("PutObjectRetention", P),
    ("GetObjectLegalHold", P),
    ("PutObjectLegalHold", P),
    ("RenameObject", R),
    ("SelectObjectContent", R),
    ("GetObjectTorrent", R),
    ("WriteGetObjectResponse", R),
    ("PutObjectAnnotation", R),
    ("GetObjectAnnotation", R),
    ("ListObjectAnnotations", R),
    ("DeleteObjectAnnotation", R),
    ("CreateMultipartUpload", H),
    ("UploadPart", S),
    ("UploadPartCopy", H),
    ("CompleteMultipartUpload", H),
    ("AbortMultipartUpload", H),
    ("ListParts", H),
    ("ListMultipartUploads", H),
    ("ListObjects", H),
    ("ListObjectsV2", H),
    ("ListObjectVersions", H),
    ("ListBuckets", H),
    ("ListDirectoryBuckets", R),
    ("CreateBucket", H),
    ("DeleteBucket", H),
    ("HeadBucket", P),
    ("GetBucketLocation", P),
    ("GetBucketEncryption", H),
    ("PutBucketEncryption", H),
    ("DeleteBucketEncryption", H),
    ("GetBucketPolicy", P),
    ("PutBucketPolicy", H),
    ("DeleteBucketPolicy", PL),
    ("GetBucketPolicyStatus", PL),
    ("GetBucketAcl", P),
    ("PutBucketAcl", P),
    ("GetBucketCors", P),
    ("PutBucketCors", P),
    ("DeleteBucketCors", PL),
    ("GetBucketVersioning", P),
    ("PutBucketVersioning", P),
    ("GetBucketTagging", P),
    ("PutBucketTagging", P),
    ("DeleteBucketTagging", PL),
    ("GetBucketLifecycleConfiguration", P),
    ("PutBucketLifecycleConfiguration", P),
    ("GetBucketLifecycle", P),
    ("PutBucketLifecycle", P),
    ("DeleteBucketLifecycle", PL),
    ("GetObjectLockConfiguration", P),
    ("PutObjectLockConfiguration", P),
    ("GetBucketNotificationConfiguration", P),
    ("PutBucketNotificationConfiguration", P),
    ("GetBucketNotification", P),
    ("PutBucketNotification", P),
    ("GetBucketLogging", PL),
    ("PutBucketLogging", PL),
    ("GetBucketReplication", PL),
    ("PutBucketReplication", PL),
    ("DeleteBucketReplication", PL),
    ("GetBucketRequestPayment", PL),
    ("PutBucketRequestPayment", PL),
    ("GetBucketWebsite", PL),
    ("PutBucketWebsite", PL),
    ("DeleteBucketWebsite", PL),
    ("GetBucketAccelerateConfiguration", PL),
    ("PutBucketAccelerateConfiguration", PL),
    ("GetBucketAbac", PL),
    ("PutBucketAbac", PL),
    ("GetBucketOwnershipControls", PL),
    ("PutBucketOwnershipControls", PL),
    ("DeleteBucketOwnershipControls", PL),
    ("GetPublicAccessBlock", PL),
    ("PutPublicAccessBlock", PL),
    ("DeletePublicAccessBlock", PL),
    ("GetBucketAnalyticsConfiguration", PL),
    ("PutBucketAnalyticsConfiguration", PL),
    ("DeleteBucketAnalyticsConfiguration", PL),
    ("ListBucketAnalyticsConfigurations", PL),
    ("GetBucketMetricsConfiguration", PL),
    ("PutBucketMetricsConfiguration", PL),
    ("DeleteBucketMetricsConfiguration", PL),
    ("ListBucketMetricsConfigurations", PL),
    ("GetBucketIntelligentTieringConfiguration", PL),
    ("PutBucketIntelligentTieringConfiguration", PL),
    ("DeleteBucketIntelligentTieringConfiguration", PL),
    ("ListBucketIntelligentTieringConfigurations", PL),
    ("GetBucketInventoryConfiguration", PL),
    ("PutBucketInventoryConfiguration", PL),
    ("DeleteBucketInventoryConfiguration", PL),
    ("ListBucketInventoryConfigurations", PL),
    ("CreateBucketMetadataConfiguration", R),
    ("CreateBucketMetadataTableConfiguration", R),
    ("GetBucketMetadataConfiguration", R),
    ("GetBucketMetadataTableConfiguration", R),
    ("DeleteBucketMetadataConfiguration", R),
    ("DeleteBucketMetadataTableConfiguration", R),
    ("UpdateBucketMetadataInventoryTableConfiguration", R),
    ("UpdateBucketMetadataJournalTableConfiguration", R),
    ("UpdateBucketMetadataAnnotationTableConfiguration", R),
    ("CreateSession", R),
];

/// Deprecated names whose requests are the same on the wire as those of their successors.
const SAME_WIRE: &[(&str, &str)] = &[
    ("GetBucketLifecycle", "GetBucketLifecycleConfiguration"),
    ("PutBucketLifecycle", "PutBucketLifecycleConfiguration"),
    ("GetBucketNotification", "GetBucketNotificationConfiguration"),
    ("PutBucketNotification", "PutBucketNotificationConfiguration"),
];

type Headers = &'static [(&'static str, &'static str)];

/// Required members of the model that stand neither in the method nor in the URI.
const REQUIRED: &[(&str, &str, Headers)] = &[
    ("AbortMultipartUpload", "uploadId=u", &[]),
    ("CompleteMultipartUpload", "uploadId=u", &[]),
    ("CopyObject", "", &[("x-amz-copy-source", "/bucket/source")]),
    ("DeleteBucketAnalyticsConfiguration", "id=1", &[]),
    ("DeleteBucketIntelligentTieringConfiguration", "id=1", &[]),
    ("DeleteBucketInventoryConfiguration", "id=1", &[]),
    ("DeleteBucketMetricsConfiguration", "id=1", &[]),
    ("DeleteObjectAnnotation", "annotationName=a", &[]),
    ("GetBucketAnalyticsConfiguration", "id=1", &[]),
    ("GetBucketIntelligentTieringConfiguration", "id=1", &[]),
    ("GetBucketInventoryConfiguration", "id=1", &[]),
    ("GetBucketMetricsConfiguration", "id=1", &[]),
    ("GetObjectAnnotation", "annotationName=a", &[]),
    ("GetObjectAttributes", "", &[("x-amz-object-attributes", "ETag")]),
    // Told from ListBuckets by a member that SDKs always send.
    ("ListDirectoryBuckets", "max-directory-buckets=100", &[]),
    ("ListParts", "uploadId=u", &[]),
    ("PutBucketAnalyticsConfiguration", "id=1", &[]),
    ("PutBucketIntelligentTieringConfiguration", "id=1", &[]),
    ("PutBucketInventoryConfiguration", "id=1", &[]),
    ("PutBucketMetricsConfiguration", "id=1", &[]),
    ("PutObjectAnnotation", "annotationName=a", &[]),
    ("RenameObject", "", &[("x-amz-rename-source", "/source")]),
    ("UploadPart", "partNumber=1&uploadId=u", &[]),
    ("UploadPartCopy", "partNumber=1&uploadId=u", &[("x-amz-copy-source", "/bucket/source")]),
    ("WriteGetObjectResponse", "", &[("x-amz-request-route", "r"), ("x-amz-request-token", "t")]),
];

fn model() -> Vec<(String, String, String)> {
    serde_json::from_str(include_str!("data/aws-operations.json")).expect("the data file is JSON")
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> S3Request {
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("127.0.0.1:9000"));
    for (name, value) in headers {
        map.insert(
            HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
            value.parse().expect("a header value"),
        );
    }
    S3Request::parse(RequestHead {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        target,
        headers: map,
        secure: false,
        domains: &[],
        region: None,
        minio_api: false,
        request_id: RequestId::from_random([0; 8]),
    })
    .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

fn sample(name: &str, method: &str, uri: &str) -> S3Request {
    let mut target = uri.replace("{Bucket}", "bucket").replace("{Key+}", "some/key");
    let required = REQUIRED.iter().find(|(n, _, _)| *n == name);
    if let Some((_, query, _)) = required.filter(|(_, query, _)| !query.is_empty()) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(query);
    }
    request(method, &target, required.map_or(&[], |(_, _, headers)| headers))
}

#[test]
fn every_operation_of_the_model_has_its_name_and_class() {
    let model = model();
    assert_eq!(model.len(), 116);
    assert_eq!(TABLE.len(), model.len());
    for (name, method, uri) in &model {
        let (_, want) =
            TABLE.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let routed = SAME_WIRE.iter().find(|(old, _)| old == name).map_or(name.as_str(), |(_, new)| new);
        let operation = sample(name, method, uri).operation;
        assert_eq!(operation.name(), routed, "{method} {uri}");
        let subresource = uri.split_once('?').map_or("", |(_, query)| query);
        match (want, operation.class()) {
            (S | H, Class::Handler) | (P, Class::Pass) => {}
            (PL, Class::PassIfListed(listed)) => assert_eq!(listed, subresource, "{name}"),
            (R, Class::Refused(_)) => {}
            (want, class) => panic!("{name} is {class:?} and should be {want:?}"),
        }
    }
}

#[test]
fn what_is_not_served_says_so_by_name() {
    for (name, method, uri) in &model() {
        let operation = sample(name, method, uri).operation;
        match operation.class() {
            Class::Refused(why) => {
                let error = operation.refuse().unwrap_err();
                assert_eq!(error.code().name(), "NotImplemented");
                assert_eq!(error.code().status(), 501);
                assert!(
                    error.message().contains(operation.name()) && error.message().contains(why),
                    "{error}"
                );
            }
            _ => assert!(operation.refuse().is_ok(), "{name}"),
        }
    }
}

#[test]
fn nothing_outside_the_model_is_called_by_a_name_of_the_model() {
    let model = model();
    let extras: Vec<&str> = Operation::all()
        .map(Operation::name)
        .filter(|name| !model.iter().any(|(n, _, _)| n == name))
        .collect();
    assert_eq!(
        extras,
        [
            "Preflight",
            "PostObject",
            "QueryApi",
            "MinioHealth",
            "MinioKms",
            "MinioOther",
            "ListenNotification",
            "ListWithMetadata",
            "ObjectLambda",
            "AppendObject",
            "ComposeObject"
        ]
    );
}

/// A backend that does not know a subresource runs the bare operation, so no delete with one is passed blindly.
#[test]
fn every_delete_with_a_subresource_is_passed_only_where_it_is_known() {
    for (name, method, uri) in
        model().iter().filter(|(_, method, uri)| method == "DELETE" && uri.contains('?'))
    {
        let class = sample(name, method, uri).operation.class();
        assert!(
            matches!(class, Class::PassIfListed(_) | Class::Refused(_) | Class::Handler),
            "{name}: {class:?}"
        );
    }
}
