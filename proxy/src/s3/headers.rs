//! Which headers mean what: allowlists in both directions, headers hoisted into a presigned query, forged ones.
//! Values are read where they are acted on.

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::name::{BucketName, ObjectKey, encode_component, encode_path};
use super::query::{Param, Query, number};
use crate::error::{Code, Error, Result};

/// S3's limit on the header section of a request.
pub const MAX_HEADER_SECTION: usize = 8 * 1024;
/// S3's limit on user metadata: names without `x-amz-meta-`, and values.
pub const MAX_USER_METADATA: usize = 2 * 1024;
/// Prefix of user metadata.
pub const META_PREFIX: &str = "x-amz-meta-";

mod repeated;

pub(super) use repeated::refuse_repeated;

const CHECKSUM_PREFIX: &str = "x-amz-checksum-";
/// Checksum algorithms of the AWS model.
const CHECKSUMS: &[&str] =
    &["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5", "xxhash64", "xxhash3", "xxhash128"];
/// What else begins like a checksum header.
const ABOUT_CHECKSUMS: &[&str] = &["algorithm", "mode", "type"];

/// Refuses a header section over 8 KiB. Counted as on the wire: name, `: `, value, CRLF.
pub fn check_size(headers: &HeaderMap) -> Result<()> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size <= MAX_HEADER_SECTION {
        return Ok(());
    }
    Err(Error::client(
        Code::RequestHeaderSectionTooLarge,
        "Your request header section exceeds the maximum allowed size.",
    )
    .field("MaxSizeAllowed", MAX_HEADER_SECTION.to_string()))
}

/// Whether the query authenticates the request under Signature Version 4, or begins to.
pub fn is_presigned_v4(query: &Query) -> bool {
    query.iter().any(|p| p.name.eq_ignore_ascii_case(b"X-Amz-Algorithm"))
        || query.iter().any(|p| p.name.eq_ignore_ascii_case(b"X-Amz-Signature"))
}

/// The same under Version 2.
pub fn is_presigned_v2(query: &Query) -> bool {
    query.has("Signature") || query.has("AWSAccessKeyId")
}

/// Parameters of the signature itself.
pub fn is_signing_parameter(name: &[u8]) -> bool {
    const SIGNING: &[&str] = &[
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-region-set",
    ];
    SIGNING.iter().any(|s| name.eq_ignore_ascii_case(s.as_bytes()))
        || [&b"AWSAccessKeyId"[..], b"Signature", b"Expires"].contains(&name)
}

/// Takes the signing parameters out of a presigned query, and moves every other `x-amz-*` into the headers, which
/// is what SDKs mean by them. Under Version 2 they mean the token and two more headers too, which it signs. Returns the
/// names moved.
pub(super) fn hoist(query: &mut Query, headers: &mut HeaderMap) -> Result<Vec<HeaderName>> {
    const OF_V2: &[&str] = &["x-amz-security-token", "content-type", "content-md5"];
    let v2 = is_presigned_v2(query);
    let is_header = |param: &Param| {
        (is_amz(param) && !is_signing_parameter(&param.name))
            || (v2 && OF_V2.iter().any(|name| param.name.eq_ignore_ascii_case(name.as_bytes())))
    };
    let mut moved = Vec::new();
    for param in query.iter().filter(|param| is_header(param)) {
        let bad = || {
            Error::client(
                Code::InvalidArgument,
                format!(
                    "The query parameter {} cannot be read as a header.",
                    String::from_utf8_lossy(&param.name)
                ),
            )
        };
        let name = HeaderName::from_bytes(&param.name.to_ascii_lowercase()).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(param.value.as_deref().unwrap_or_default()).map_err(|_| bad())?;
        if !moved.contains(&name) {
            match headers.get(&name) {
                None => {}
                Some(same) if *same == value => {}
                Some(_) => {
                    return Err(Error::client(
                        Code::InvalidArgument,
                        format!("{name} stands in the query and, with another value, in the headers."),
                    ));
                }
            }
            headers.remove(&name);
            moved.push(name.clone());
        }
        headers.append(name, value);
    }
    query.retain(|p| !is_amz(p) && !is_signing_parameter(&p.name) && !is_header(p));
    Ok(moved)
}

fn is_amz(param: &Param) -> bool {
    param.name.get(..6).is_some_and(|head| head.eq_ignore_ascii_case(b"x-amz-"))
}

/// Refuses headers that would forge our own state, or make a backend act on ciphertext as if it were plaintext.
pub(super) fn refuse_forged(headers: &HeaderMap) -> Result<()> {
    for name in headers.keys() {
        if let Some(why) = refusal(name.as_str()) {
            return Err(why);
        }
    }
    for name in trailer_names(headers) {
        if is_unknown_checksum(&name) {
            return Err(unknown_checksum(&name));
        }
        if !name.starts_with(CHECKSUM_PREFIX) || ABOUT_CHECKSUMS.iter().any(|about| name.ends_with(about)) {
            return Err(Error::client(
                Code::InvalidRequest,
                "The value specified in the x-amz-trailer header is not supported; it names a checksum header.",
            )
            .field("Header", "x-amz-trailer"));
        }
    }
    Ok(())
}

fn refusal(name: &str) -> Option<Error> {
    let not_implemented = |why: &str| {
        Some(
            Error::client(Code::NotImplemented, format!("The header {name} is not supported: {why}."))
                .field("Header", name),
        )
    };
    match name {
        ENVELOPE => Some(
            Error::client(
                Code::InvalidArgument,
                "User metadata named s3cloak is reserved for this proxy. Choose another name.",
            )
            .field("ArgumentName", name),
        ),
        "x-amz-meta-snowball-auto-extract" => {
            not_implemented("an archive cannot be unpacked from ciphertext")
        }
        "x-amz-write-offset-bytes" => not_implemented("encrypted objects cannot be appended to"),
        "x-amz-s3session-token" => not_implemented("directory buckets are not supported"),
        _ if name.starts_with("x-minio-") => not_implemented("it is internal to MinIO"),
        _ if name.starts_with("x-goog-") => not_implemented("it belongs to another protocol than S3"),
        _ if is_unknown_checksum(name) => Some(unknown_checksum(name)),
        _ => None,
    }
}

fn is_unknown_checksum(name: &str) -> bool {
    name.strip_prefix(CHECKSUM_PREFIX)
        .is_some_and(|rest| !CHECKSUMS.contains(&rest) && !ABOUT_CHECKSUMS.contains(&rest))
}

fn unknown_checksum(name: &str) -> Error {
    Error::client(
        Code::InvalidRequest,
        format!("The checksum header {name} is not known. Use one of the algorithms that S3 documents."),
    )
    .field("Header", name)
}

/// Names in `x-amz-trailer`, lower case.
pub fn trailer_names(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all("x-amz-trailer")
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

/// What S3 keeps of an object beside its user metadata: the metadata directive of copies speaks of these, and forms have
/// fields of these names.
pub const SYSTEM_METADATA: [HeaderName; 6] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES];

/// SYS of request headers: what goes on to the backend as it is. Anything else is acted on here, or dropped.
/// Conditions and `Range` are translated by the handlers and so are not in it.
pub fn is_forwarded_request_header(name: &HeaderName) -> bool {
    const EXACT: &[&str] = &[
        "access-control-request-headers",
        "access-control-request-method",
        "origin",
        "x-amz-acl",
        "x-amz-bypass-governance-retention",
        "x-amz-expected-bucket-owner",
        "x-amz-mfa",
        "x-amz-request-payer",
        "x-amz-source-expected-bucket-owner",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-website-redirect-location",
    ];
    const PREFIXES: &[&str] = &[META_PREFIX, "x-amz-grant-", "x-amz-object-lock-"];
    if SYSTEM_METADATA.contains(name) {
        return true;
    }
    let name = name.as_str();
    name != ENVELOPE && (EXACT.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p)))
}

/// Further headers of bucket and configuration requests that are passed through.
pub fn is_forwarded_configuration_header(name: &HeaderName) -> bool {
    const EXACT: &[&str] = &[
        "x-amz-bucket-object-lock-enabled",
        "x-amz-bucket-object-lock-token",
        "x-amz-confirm-remove-self-bucket-access",
        "x-amz-object-ownership",
        "x-amz-skip-destination-validation",
        "x-amz-transition-default-minimum-object-size",
    ];
    is_forwarded_request_header(name) || EXACT.contains(&name.as_str())
}

/// What of a backend's response headers may reach a client as it is. ETag, lengths, ranges, checksums, SSE headers,
/// `Location`, `Date` and request ids are the proxy's own; `Server`, cookies and vendors' headers stay here.
pub fn is_forwarded_response_header(name: &HeaderName) -> bool {
    const EXACT: &[&str] = &[
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "last-modified",
        "retry-after",
        "vary",
        "x-amz-abort-date",
        "x-amz-abort-rule-id",
        "x-amz-access-point-alias",
        "x-amz-archive-status",
        "x-amz-bucket-arn",
        "x-amz-bucket-region",
        "x-amz-copy-source-version-id",
        "x-amz-delete-marker",
        "x-amz-expiration",
        "x-amz-missing-meta",
        "x-amz-replication-status",
        "x-amz-request-charged",
        "x-amz-restore",
        "x-amz-restore-output-path",
        "x-amz-storage-class",
        "x-amz-tagging-count",
        "x-amz-transition-default-minimum-object-size",
        "x-amz-version-id",
        "x-amz-website-redirect-location",
    ];
    const PREFIXES: &[&str] = &[META_PREFIX, "x-amz-object-lock-"];
    let name = name.as_str();
    name != ENVELOPE && (EXACT.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p)))
}

/// `x-amz-copy-source`
pub const COPY_SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");

/// Its value in a request to a backend: in canonical encoding, as the paths of such requests.
pub fn copy_source(bucket: &BucketName, key: &ObjectKey, version: Option<&str>) -> Result<HeaderValue> {
    let mut text = format!("{bucket}/{}", encode_path(key.as_bytes()));
    if let Some(version) = version {
        text.push_str("?versionId=");
        text.push_str(&encode_component(version.as_bytes()));
    }
    HeaderValue::try_from(text).map_err(|_| Error::internal("an encoded name is no header value"))
}

/// The header that carries the envelope on the backend; never a client's. Some backends capitalise it, and header names compare
/// without case.
pub const ENVELOPE: &str = "x-amz-meta-s3cloak";

/// Length of the plaintext body that a request announces: `x-amz-decoded-content-length` for an aws-chunked body (and
/// under `Transfer-Encoding: chunked`), else `Content-Length`. An unknown length is `MissingContentLength`.
pub fn body_length(headers: &HeaderMap, aws_chunked: bool) -> Result<u64> {
    const DECODED: &str = "x-amz-decoded-content-length";
    let read = |name: &str| -> Result<Option<u64>> {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        match value.to_str().ok().and_then(number) {
            Some(length) if values.next().is_none() => Ok(Some(length)),
            _ => Err(Error::client(Code::InvalidArgument, format!("{name} is not one decimal number."))
                .field("ArgumentName", name)),
        }
    };
    let decoded = read(DECODED)?;
    let framed = read("content-length")?;
    let length = if aws_chunked { decoded } else { framed.or(decoded) };
    length.ok_or_else(|| {
        Error::client(Code::MissingContentLength, "You must provide the Content-Length HTTP header.")
            .field("MissingHeaderName", if aws_chunked { DECODED } else { "Content-Length" })
    })
}

/// Size of user metadata as S3 counts it: bytes of names without their prefix, and of values. A repeated header is
/// one whose values are joined by commas.
pub fn user_metadata_size(headers: &HeaderMap) -> usize {
    headers
        .keys()
        .filter_map(|name| {
            let short = name.as_str().strip_prefix(META_PREFIX)?;
            let values: usize = headers.get_all(name).iter().map(|value| value.len() + 1).sum();
            Some(short.len() + values.saturating_sub(1))
        })
        .sum()
}

/// `Content-Encoding` without the `aws-chunked` token, and only without that one; `None` if nothing is left.
/// A value without that token is kept as the client spelled it.
pub fn content_encoding(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut kept: Vec<u8> = Vec::new();
    for value in headers.get_all(http::header::CONTENT_ENCODING) {
        let chunked = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"aws-chunked");
        let rest = match value.as_bytes().split(|b| *b == b',').any(chunked) {
            false => value.as_bytes().to_vec(),
            true => {
                let others: Vec<&[u8]> =
                    value.as_bytes().split(|b| *b == b',').filter(|t| !chunked(t)).collect();
                others.join(&b","[..])
            }
        };
        let rest = rest.trim_ascii();
        if !rest.is_empty() {
            if !kept.is_empty() {
                kept.push(b',');
            }
            kept.extend_from_slice(rest);
        }
    }
    // Pieces of header values, joined by commas, are a header value again.
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept).ok() }
}
