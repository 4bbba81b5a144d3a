//! One stored object: its record (key, size, ETag, headers, tags, checksum, parts) and where its bytes are.
//! Header values are kept as latin-1 text, so that every byte a client sent comes back.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{ETag, Owner, Timestamp};
use serde::{Deserialize, Serialize};

use super::blob::Blob;

/// Who owns everything here.
pub(super) const OWNER: &str = "s3cloak-store";

/// What S3 gives an object that was stored without a Content-Type.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// System headers that are stored with an object and returned with it, beside `x-amz-meta-*`.
const SYSTEM: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
];
const AMZ_SYSTEM: [&str; 2] = ["x-amz-storage-class", "x-amz-website-redirect-location"];

/// A checksum that the client declared and the store verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    /// The header that carries it, such as `x-amz-checksum-crc32`.
    pub(super) header: String,
    /// Base64 of the value.
    pub(super) value: String,
}

/// An object's record; this is what a sidecar file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    pub(super) headers: Vec<(String, String)>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) checksum: Option<Checksum>,
    /// Sizes of the parts of a multipart object in order; empty for a single PUT.
    pub(super) parts: Vec<u64>,
    #[serde(skip)]
    pub(super) body: Blob,
}

impl Object {
    pub(super) fn e_tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    pub(super) fn last_modified(&self) -> Timestamp {
        timestamp(self.modified)
    }

    pub(super) fn storage_class(&self) -> &str {
        self.header("x-amz-storage-class").unwrap_or("STANDARD")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The stored headers, as they go out with GET and HEAD.
    pub(super) fn response_headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
        for (name, value) in &self.headers {
            if name == "x-amz-storage-class" && value == "STANDARD" {
                continue;
            }
            // A record edited by hand may hold what is no header: such an entry is left out.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::from_bytes(&from_latin1(value)))
            {
                map.insert(name, value);
            }
        }
        map
    }
}

/// The headers of a request that are stored with an object. `aws-chunked` is a transfer's encoding and not the object's.
pub(super) fn stored_headers(request: &HeaderMap) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for name in request.keys() {
        let meta = name.as_str().starts_with("x-amz-meta-");
        if !meta && !SYSTEM.contains(name) && !AMZ_SYSTEM.contains(&name.as_str()) {
            continue;
        }
        let values: Vec<String> =
            request.get_all(name).iter().map(|value| to_latin1(value.as_bytes())).collect();
        let mut value = values.join(",");
        if *name == header::CONTENT_ENCODING {
            let codings = value.split(',').map(str::trim).filter(|c| !c.eq_ignore_ascii_case("aws-chunked"));
            value = codings.collect::<Vec<_>>().join(",");
        }
        if meta || !value.is_empty() {
            kept.push((name.as_str().to_owned(), value));
        }
    }
    kept
}

/// Parses an `x-amz-tagging` header, which is a form-encoded query.
pub(super) fn parse_tags(value: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
    };
    value
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    let whole = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    Timestamp::from(whole.unwrap_or(time::OffsetDateTime::UNIX_EPOCH))
}

pub(super) fn owner() -> Owner {
    Owner { display_name: Some(OWNER.to_owned()), id: Some(OWNER.to_owned()) }
}

fn to_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn from_latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}
