//! Copies without I/O: what is copied, which part of it, under which conditions, and what a copy keeps of its source
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).

use std::ops::Range;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use object_format::ChecksumKind;
use percent_encoding::percent_decode;

use crate::error::{Code, Error, Result};
use crate::info::Info;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::condition::ReadConditions;
use crate::s3::headers::COPY_SOURCE;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::query::number;

mod kept;
#[cfg(test)]
mod tests;

pub use kept::{backend_headers, changes_itself, changes_nothing, own_headers};

const COPY_SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
const TAGGING_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-tagging-directive");
/// What divides a source's key from its version.
const VERSION_MARK: &[u8] = b"?versionId=";

/// The object that a request copies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key, decoded once.
    pub key: ObjectKey,
    /// The version that was named.
    pub version: Option<String>,
}

impl CopySource {
    /// Reads `x-amz-copy-source`: `BUCKET/KEY` percent-encoded, as a whole or but for its slashes, with or without a slash
    /// in front, then perhaps `?versionId=ID` as it is. A plus is a plus, as in a path.
    ///
    /// # Errors
    /// InvalidArgument for what names no object; NotImplemented for an access point.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        let mut values = headers.get_all(COPY_SOURCE).iter();
        let value = values.next().map(HeaderValue::as_bytes).unwrap_or_default();
        if values.next().is_some() {
            return Err(refused("The copy source is named twice.", value));
        }
        // What an encoded key holds of a question mark is encoded too; a client that encodes nothing means the last one.
        let mark = value.windows(VERSION_MARK.len()).rposition(|window| window == VERSION_MARK);
        let (name, version) = match mark {
            Some(at) => (&value[..at], Some(&value[at + VERSION_MARK.len()..])),
            None => (value, None),
        };
        let version = version.map(|raw| version_id(raw, value)).transpose()?;
        let name = decoded(name).ok_or_else(|| refused("Invalid copy source encoding", value))?;
        let name = name.strip_prefix(b"/").unwrap_or(&name);
        if name.starts_with(b"arn:") {
            return Err(Error::client(
                Code::NotImplemented,
                "Access points and their ARNs are not supported as a copy source. Name the bucket itself.",
            ));
        }
        let at = name.iter().position(|b| *b == b'/').filter(|at| *at > 0 && at + 1 < name.len());
        let (bucket, key) = at.map(|at| (&name[..at], &name[at + 1..])).ok_or_else(|| {
            refused("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", value)
        })?;
        Ok(Self {
            bucket: BucketName::parse(bucket)
                .map_err(|_| refused("Invalid copy source bucket name", value))?,
            key: ObjectKey::parse(key).map_err(|_| refused("Invalid copy source object key", value))?,
            version,
        })
    }
}

fn version_id(raw: &[u8], source: &[u8]) -> Result<String> {
    let version = decoded(raw).and_then(|bytes| String::from_utf8(bytes).ok());
    version
        .filter(|version| !version.is_empty())
        .ok_or_else(|| refused("Version id cannot be the empty string, and has to be UTF-8", source))
}

/// Percent-decoded once; `None` for an escape that is none.
fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let whole =
        |at: usize| raw.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    let mut escapes = raw.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    escapes.all(|(at, _)| whole(at)).then(|| percent_decode(raw).collect())
}

/// The bytes that UploadPartCopy takes of its source, in plaintext coordinates, end exclusive; not yet held against the
/// source's size. `None` for all of it.
///
/// # Errors
/// InvalidArgument for anything but `bytes=FIRST-LAST`.
pub fn source_range(headers: &HeaderMap) -> Result<Option<Range<u64>>> {
    let Some(value) = headers.get(COPY_SOURCE_RANGE) else { return Ok(None) };
    let bounds = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let range = bounds.and_then(|(first, last)| {
        let (first, last) = (number::<u64>(first)?, number(last)?);
        (first <= last).then_some(first..last.checked_add(1)?)
    });
    range.map(Some).ok_or_else(|| {
        Error::client(
            Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
        .field("ArgumentName", COPY_SOURCE_RANGE.as_str())
        .field("ArgumentValue", String::from_utf8_lossy(value.as_bytes()))
    })
}

/// Holds such a range against the size of its source, which it may not reach beyond.
///
/// # Errors
/// InvalidArgument.
pub fn within(range: Range<u64>, size: u64) -> Result<Range<u64>> {
    if range.end <= size {
        return Ok(range);
    }
    Err(Error::client(
        Code::InvalidArgument,
        format!("Range specified is not valid for source object of size: {size}"),
    )
    .field("ArgumentName", COPY_SOURCE_RANGE.as_str())
    .field("ArgumentValue", format!("bytes={}-{}", range.start, range.end.saturating_sub(1))))
}

/// Holds the conditions of a copy on its source against what clients see of it.
///
/// # Errors
/// PreconditionFailed, also where a GET would get a 304.
pub fn check_source(headers: &HeaderMap, source: &Info) -> Result<()> {
    // A backend without Last-Modified leaves dates undecided: the object counts as just written, as for reads.
    let last_modified = source.last_modified.unwrap_or_else(SystemTime::now);
    ReadConditions::of_copy_source(headers).evaluate(&source.etag, last_modified).into_result().map(drop)
}

/// S3's largest source of one CopyObject, in plaintext bytes: 5 GiB.
pub const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// Why a copy cannot be made of the stored bytes under another envelope, and has to be read and sealed anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reseal {
    /// The source is not encrypted.
    Plain,
    /// It lies on another backend.
    Elsewhere,
    /// Another checksum is asked for than the one that is sealed.
    Checksum,
    /// The backend does not promise to copy what was looked at.
    Unpinned,
}

/// The checksum that a CopyObject request asks for.
///
/// # Errors
/// InvalidRequest for an algorithm that is none.
pub fn asked_checksum(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>> {
    let Some(value) = headers.get("x-amz-checksum-algorithm") else { return Ok(None) };
    let name = value.to_str().unwrap_or_default();
    ChecksumAlgorithm::named(name).map(Some)
}

/// Whether what is sealed of an object's end answers for a checksum of the whole object under `asked`. Of an empty single
/// PUT nothing is sealed, and nothing would be if it were sealed anew.
pub fn has_checksum(source: &Info, asked: Option<ChecksumAlgorithm>) -> bool {
    let Some(asked) = asked else { return true };
    source
        .end()
        .checksum()
        .is_some_and(|fact| fact.kind == ChecksumKind::FullObject && fact.algorithm == asked.id())
}

/// Where a copy takes something from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Directive {
    /// From its source.
    #[default]
    Copy,
    /// From the request.
    Replace,
}

/// What a CopyObject request says of metadata and tags.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Directives {
    /// Content type, coding, language and disposition, cache control, expiry, and user metadata, all together.
    pub metadata: Directive,
    /// Tags.
    pub tagging: Directive,
}

impl Directives {
    /// Reads `x-amz-metadata-directive` and `x-amz-tagging-directive`.
    ///
    /// # Errors
    /// InvalidArgument for another word than COPY and REPLACE.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        Ok(Self {
            metadata: directive(headers, &METADATA_DIRECTIVE, "Unknown metadata directive.")?,
            tagging: directive(headers, &TAGGING_DIRECTIVE, "Unknown tagging directive.")?,
        })
    }
}

fn directive(headers: &HeaderMap, name: &HeaderName, otherwise: &'static str) -> Result<Directive> {
    match headers.get(name).map(HeaderValue::as_bytes) {
        None | Some(b"COPY") => Ok(Directive::Copy),
        Some(b"REPLACE") => Ok(Directive::Replace),
        Some(other) => Err(Error::client(Code::InvalidArgument, otherwise)
            .field("ArgumentName", name.as_str().to_owned())
            .field("ArgumentValue", String::from_utf8_lossy(other))),
    }
}

fn refused(why: &'static str, value: &[u8]) -> Error {
    Error::client(Code::InvalidArgument, why)
        .field("ArgumentName", COPY_SOURCE.as_str())
        .field("ArgumentValue", String::from_utf8_lossy(value))
}
