//! Tests of routing: unknown parameters, contradictions, methods. The walk over AWS's model is in
//! `tests/operations.rs`.

use http::{HeaderMap, Method};

use super::{Class, Level, Operation, Route, TABLE, route};
use crate::error::Code;
use crate::s3::query::Query;

fn find(
    method: &str,
    level: Level,
    query: &str,
    headers: &[(&'static str, &str)],
) -> crate::error::Result<Operation> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    let query = Query::parse(query);
    route(Route {
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        level,
        query: &query,
        headers: &map,
    })
}

fn code(method: &str, level: Level, query: &str) -> Code {
    find(method, level, query, &[]).unwrap_err().code().clone()
}

#[test]
fn a_variant_is_the_index_of_its_row() {
    for (i, row) in TABLE.iter().enumerate() {
        assert_eq!(row.operation as usize, i);
        assert_eq!(row.operation.name(), row.name);
        if let Class::PassIfListed(listed) = row.class {
            assert_eq!(listed, row.selector, "{}", row.name);
        }
    }
}

#[test]
fn cache_busters_are_ignored_on_reads_only() {
    assert_eq!(find("GET", Level::Object, "v=12345&x-id=GetObject", &[]).unwrap(), Operation::GetObject);
    assert_eq!(find("HEAD", Level::Object, "utm_source=a", &[]).unwrap(), Operation::HeadObject);
    assert_eq!(find("GET", Level::Bucket, "list-type=2&nonsense=1", &[]).unwrap(), Operation::ListObjectsV2);
    for query in ["unknown", "unknown=", "renameObjects", "website"] {
        assert_eq!(code("GET", Level::Object, query), Code::NotImplemented, "{query}");
    }
    for method in ["PUT", "DELETE"] {
        for level in [Level::Bucket, Level::Object] {
            for query in ["unknown", "unknown=1", "x-id=PutObject&unknown=1"] {
                assert_eq!(code(method, level, query), Code::NotImplemented, "{method} {level:?} {query}");
            }
        }
    }
    assert_eq!(code("POST", Level::Object, "unknown=1"), Code::NotImplemented);
    assert_eq!(code("POST", Level::Bucket, "unknown"), Code::NotImplemented);
}

#[test]
fn subresources_of_another_level_or_method_do_not_fall_through() {
    for (method, level, query) in [
        ("DELETE", Level::Object, "website"),
        ("DELETE", Level::Object, "acl"),
        ("DELETE", Level::Bucket, "acl"),
        ("DELETE", Level::Bucket, "versioning"),
        ("DELETE", Level::Bucket, "uploadId=1"),
        ("PUT", Level::Object, "cors"),
        ("PUT", Level::Bucket, "annotation"),
        ("PUT", Level::Object, "versionId=1"),
        ("PUT", Level::Object, "partNumber=1"),
        ("HEAD", Level::Bucket, "acl"),
        ("HEAD", Level::Object, "tagging"),
    ] {
        assert_eq!(code(method, level, query), Code::NotImplemented, "{method} {level:?} {query}");
    }
    assert_eq!(code("PUT", Level::Object, "uploadId=1"), Code::InvalidArgument);
}

#[test]
fn contradictions_are_refused() {
    for query in ["acl&policy", "policy&acl", "uploads&versions", "list-type=2&acl"] {
        assert_eq!(code("GET", Level::Bucket, query), Code::InvalidArgument, "{query}");
    }
    assert_eq!(code("PUT", Level::Object, "acl&tagging"), Code::InvalidArgument);
    assert_eq!(find("GET", Level::Object, "acl&acl&versionId=3", &[]).unwrap(), Operation::GetObjectAcl);
    // Something that is refused for good is named, whatever stands beside it.
    assert_eq!(
        find("GET", Level::Bucket, "list-type=2&metadata=true", &[]).unwrap(),
        Operation::ListWithMetadata
    );
    assert_eq!(
        find("GET", Level::Bucket, "metadata=true&list-type=2", &[]).unwrap(),
        Operation::ListWithMetadata
    );
    assert_eq!(find("PUT", Level::Object, "append&position=0", &[]).unwrap(), Operation::AppendObject);
    assert_eq!(code("GET", Level::Bucket, "list-type=3"), Code::InvalidArgument);
}

#[test]
fn headers_choose_where_the_line_does_not() {
    let copy = [("x-amz-copy-source", "/b/k")];
    assert_eq!(find("PUT", Level::Object, "", &copy).unwrap(), Operation::CopyObject);
    assert_eq!(
        find("PUT", Level::Object, "uploadId=u&partNumber=1", &copy).unwrap(),
        Operation::UploadPartCopy
    );
    let form = [("content-type", "Multipart/Form-Data; boundary=x")];
    assert_eq!(find("POST", Level::Bucket, "", &form).unwrap(), Operation::PostObject);
    assert_eq!(
        find("POST", Level::Service, "Action=AssumeRole&Version=1", &[]).unwrap(),
        Operation::QueryApi
    );
    assert_eq!(find("OPTIONS", Level::Object, "anything", &[]).unwrap(), Operation::Preflight);
}

#[test]
fn methods_that_a_level_does_not_have() {
    for (method, level) in [
        ("PUT", Level::Service),
        ("DELETE", Level::Service),
        ("HEAD", Level::Service),
        ("OPTIONS", Level::Service),
        ("POST", Level::Object),
        ("PATCH", Level::Object),
        ("TRACE", Level::Bucket),
        ("put", Level::Object),
    ] {
        assert_eq!(code(method, level, ""), Code::MethodNotAllowed, "{method} {level:?}");
    }
    // What is posted to a bucket is a form.
    assert_eq!(code("POST", Level::Bucket, ""), Code::PreconditionFailed);
}

#[test]
fn only_known_parameters_go_on() {
    assert!(Operation::GetObject.knows_parameter(b"versionId"));
    assert!(Operation::GetObject.knows_parameter(b"response-content-type"));
    assert!(!Operation::GetObject.knows_parameter(b"response-unknown"));
    assert!(!Operation::GetObject.knows_parameter(b""));
    assert!(!Operation::PutObject.knows_parameter(b"versionId"));
    assert!(Operation::PutBucketCors.knows_parameter(b"cors"));
    assert!(!Operation::PutBucketCors.knows_parameter(b"acl"));
}
