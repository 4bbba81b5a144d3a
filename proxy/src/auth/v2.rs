//! Signature Version 2: what a request says of its own signature, and the text that it covers. Pure: no clock, no keys
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, Method};
use time::OffsetDateTime;

use super::claim::header_time;
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;
use crate::s3::operation::Operation;
use crate::s3::query::{Param, Query, number};

/// What the `Authorization` header begins with.
pub(super) const SCHEME: &str = "AWS ";

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Query parameters that the text holds: sub-resources, and headers of the answer that a client chooses. No other is
/// covered by a signature.
const COVERED: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Where a signature stands, and what ends its life.
pub(super) enum Place {
    /// Signed at this time.
    Header(OffsetDateTime),
    /// Good until this time, which the URL writes so.
    Query { until: OffsetDateTime, expires: String },
}

/// A parsed claim to be somebody. No Debug: it holds a signature that may still be good.
pub(super) struct Claim {
    pub(super) place: Place,
    pub(super) access_key: String,
    /// As it was decoded; nothing where it is no Base64.
    pub(super) signature: Vec<u8>,
}

impl Claim {
    /// From what stands behind [`SCHEME`].
    pub(super) fn from_header(rest: &str, headers: &HeaderMap) -> Result<Self> {
        // The value is not echoed: it holds the signature.
        let (access_key, signature) = rest.trim().split_once(':').ok_or_else(|| {
            Error::client(
                Code::InvalidArgument,
                "AWS authorization header is invalid. Expected AwsAccessKeyId:signature.",
            )
            .field("ArgumentName", "Authorization")
        })?;
        Ok(Self {
            place: Place::Header(header_time(headers)?),
            access_key: access_key.to_owned(),
            signature: STANDARD.decode(signature.trim()).unwrap_or_default(),
        })
    }

    /// From a presigned query.
    pub(super) fn from_query(query: &Query) -> Result<Self> {
        let one = |name: &str| -> Result<&str> {
            let mut found = query.iter().filter(|p| p.name == name.as_bytes());
            match (found.next(), found.next()) {
                (Some(Param { value: Some(value), .. }), None) if !value.is_empty() => {
                    std::str::from_utf8(value).map_err(|_| incomplete())
                }
                _ => Err(incomplete()),
            }
        };
        let (access_key, expires, signature) = (one("AWSAccessKeyId")?, one("Expires")?, one("Signature")?);
        let until = number::<i64>(expires).and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let until = until.ok_or_else(|| {
            Error::client(Code::AccessDenied, "Invalid date in Expires (should be seconds since epoch).")
        })?;
        Ok(Self {
            place: Place::Query { until, expires: expires.to_owned() },
            access_key: access_key.to_owned(),
            signature: STANDARD.decode(signature).unwrap_or_default(),
        })
    }
}

fn incomplete() -> Error {
    Error::client(
        Code::AccessDenied,
        "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters, each of them once.",
    )
}

fn is_covered(name: &[u8]) -> bool {
    COVERED.iter().any(|covered| covered.as_bytes() == name)
}

/// Refuses what a signature says too little of: whoever holds a URL could turn it into this request by a parameter that
/// is not covered. Listings' own parameters never are, and choose no more than what is shown.
pub(super) fn check_covered(request: &S3Request) -> Result<()> {
    let refused = |what: &str| {
        Err(Error::client(
            Code::InvalidRequest,
            format!("Signature Version 2 does not cover {what}. Please use AWS4-HMAC-SHA256."),
        ))
    };
    if matches!(request.operation, Operation::MinioKms | Operation::MinioOther) {
        return refused("calls of MinIO's own API");
    }
    let read = request.method == Method::GET || request.method == Method::HEAD;
    let selector = request.operation.selector().as_bytes();
    for param in request.query.iter() {
        let decides = !read || (param.name == selector && param.name != b"list-type");
        if decides && !is_covered(&param.name) && param.name != b"x-id" {
            return refused(&format!("the query parameter {}", String::from_utf8_lossy(&param.name)));
        }
        // `a=1%26acl` and `a=1&acl` would be one text.
        let hides = |value: &Vec<u8>| {
            value
                .split(|b| *b == b'&')
                .skip(1)
                .any(|piece| is_covered(piece.split(|b| *b == b'=').next().unwrap_or_default()))
        };
        if is_covered(&param.name) && param.value.as_ref().is_some_and(hides) {
            return refused("a query parameter whose value reads like further parameters");
        }
    }
    Ok(())
}

/// Texts that clients sign for one request. They differ in spelling alone, so that none is good for another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// As AWS's documentation says, `x-amz-date` among the headers of its kind.
    Documented,
    /// With `x-amz-date` in the place of `Date`, as AWS's example of a DELETE is signed.
    DateInPlace,
    /// With a slash behind a bucket's name in the path that ends there, as botocore signs listings.
    BucketSlash,
}

impl Reading {
    /// The likeliest first.
    pub(super) const ALL: [Self; 3] = [Self::Documented, Self::BucketSlash, Self::DateInPlace];
}

/// The text that is signed. For eyes (`shown`), what opens objects or sessions is left out of it.
pub(super) fn string_to_sign(request: &S3Request, place: &Place, reading: Reading, shown: bool) -> Vec<u8> {
    let headers = &request.headers;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b'\n');
    for name in [&CONTENT_MD5, &CONTENT_TYPE] {
        push_values(&mut out, headers, name);
        out.push(b'\n');
    }
    match place {
        Place::Query { expires, .. } => out.extend_from_slice(expires.as_bytes()),
        Place::Header(_) if !headers.contains_key(AMZ_DATE) => push_values(&mut out, headers, &DATE),
        Place::Header(_) if reading == Reading::DateInPlace => push_values(&mut out, headers, &AMZ_DATE),
        Place::Header(_) => {}
    }
    out.push(b'\n');
    let with_date = matches!(place, Place::Header(_)) && reading != Reading::DateInPlace;
    let mut names: Vec<&HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-") && (with_date || **name != AMZ_DATE))
        .collect();
    names.sort_unstable_by_key(|name| name.as_str());
    for name in names {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        if shown && (name.as_str().contains("customer-key") || name.as_str().ends_with("token")) {
            out.extend_from_slice(b"...");
        } else {
            push_values(&mut out, headers, name);
        }
        out.push(b'\n');
    }
    push_resource(&mut out, request, reading == Reading::BucketSlash);
    out
}

/// Values of repeated headers joined by commas, each trimmed.
fn push_values(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    for (i, value) in headers.get_all(name).iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value.as_bytes().trim_ascii());
    }
}

/// The path as it stood on the request line, behind the bucket of a virtual host; then what is covered of the query,
/// decoded.
fn push_resource(out: &mut Vec<u8>, request: &S3Request, bucket_slash: bool) {
    if let (true, Some(bucket)) = (request.is_hosted(), &request.bucket) {
        out.push(b'/');
        out.extend_from_slice(bucket.as_str().as_bytes());
    }
    // A target without its slash must not run into the bucket's name.
    if !request.raw_path.starts_with('/') {
        out.push(b'/');
    }
    out.extend_from_slice(request.raw_path.as_bytes());
    if bucket_slash && request.bucket.is_some() && request.key.is_none() && !out.ends_with(b"/") {
        out.push(b'/');
    }
    let mut covered: Vec<&Param> = request.query.iter().filter(|p| is_covered(&p.name)).collect();
    covered.sort_by(|a, b| a.name.cmp(&b.name));
    for (i, param) in covered.into_iter().enumerate() {
        out.push(if i == 0 { b'?' } else { b'&' });
        out.extend_from_slice(&param.name);
        if let Some(value) = param.value.as_ref().filter(|value| !value.is_empty()) {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}
