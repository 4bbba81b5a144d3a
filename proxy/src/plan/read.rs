//! GET and HEAD: which bytes of the plaintext, under which status, given conditions, Range and partNumber
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).

use std::ops::Range;
use std::time::SystemTime;

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::{Code, Error, Result};
use crate::info::Info;
use crate::s3::condition::{ReadConditions, Verdict};
use crate::s3::query::Query;
use crate::s3::range::{ByteRange, content_range};

/// What a read answers with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReadPlan {
    /// 304 without a body.
    NotModified,
    /// The plaintext range, whole or part.
    Bytes(ReadBytes),
}

/// The bytes of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadBytes {
    /// Plaintext range; may be empty only for an empty object.
    pub range: Range<u64>,
    /// 206 with Content-Range, else 200.
    pub partial: bool,
    /// `x-amz-mp-parts-count`, on `?partNumber` of a multipart object.
    pub parts_count: Option<u16>,
}

impl ReadBytes {
    /// HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        if self.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
    }

    /// Value of `Content-Range` for partial answers.
    pub fn content_range(&self, size: u64) -> Option<HeaderValue> {
        self.partial.then(|| content_range(&self.range, size))
    }
}

/// Decides a read in S3's order: conditions first, then partNumber or Range.
pub fn plan(headers: &HeaderMap, query: &Query, info: &Info) -> Result<ReadPlan> {
    // A backend without Last-Modified leaves dates undecided: the object counts as just written, so that nothing
    // stale is confirmed.
    let last_modified = info.last_modified.unwrap_or_else(SystemTime::now);
    let honour_range = match ReadConditions::of(headers).evaluate(&info.etag, last_modified) {
        Verdict::Proceed { honour_range } => honour_range,
        Verdict::NotModified => return Ok(ReadPlan::NotModified),
        failed @ Verdict::PreconditionFailed(_) => {
            return failed.into_result().map(|_| ReadPlan::NotModified);
        }
    };
    if let Some(number) = query.get_str("partNumber") {
        if headers.contains_key(RANGE) {
            return Err(Error::client(
                Code::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter.",
            ));
        }
        return part(number, info).map(ReadPlan::Bytes);
    }
    let asked = headers.get(RANGE).filter(|_| honour_range).and_then(ByteRange::parse);
    let (range, partial) = match asked {
        None => (0..info.plain_size, false),
        Some(asked) => (asked.resolve(info.plain_size)?, true),
    };
    Ok(ReadPlan::Bytes(ReadBytes { range, partial, parts_count: None }))
}

fn part(number: &str, info: &Info) -> Result<ReadBytes> {
    let number: u16 = number.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(|| {
        Error::client(Code::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive.")
    })?;
    let no_such = || {
        Error::client(Code::InvalidPartNumber, "The requested partnumber is not satisfiable.")
            .field("PartNumberRequested", number.to_string())
    };
    let parts = info.trailer().filter(|t| t.kind == object_format::Kind::Multipart).map(|t| &t.parts);
    let Some(parts) = parts else {
        // One part: the object itself. Recorded on AWS: 206 with Content-Range and no parts count.
        return if number == 1 {
            Ok(ReadBytes { range: 0..info.plain_size, partial: info.plain_size > 0, parts_count: None })
        } else {
            Err(no_such())
        };
    };
    let count = u16::try_from(parts.len()).ok();
    let index = usize::from(number) - 1;
    let start: u64 = parts.iter().take(index).map(|p| p.size).sum();
    let size = parts.get(index).ok_or_else(no_such)?.size;
    Ok(ReadBytes { range: start..start + size, partial: size > 0, parts_count: count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::Nature;

    fn info(size: u64) -> Info {
        Info {
            nature: Nature::Plain,
            plain_size: size,
            sealed_len: size,
            etag: "abc".to_owned(),
            backend_etag: "abc".to_owned(),
            last_modified: None,
            whole: true,
        }
    }

    fn planned(range: Option<&str>, query: &str, size: u64) -> Result<ReadBytes> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(RANGE, range.parse().unwrap());
        }
        match plan(&headers, &Query::parse(query), &info(size))? {
            ReadPlan::Bytes(bytes) => Ok(bytes),
            ReadPlan::NotModified => panic!("no condition was sent"),
        }
    }

    #[test]
    fn ranges_in_plaintext_coordinates() {
        let whole = planned(None, "", 10).unwrap();
        assert_eq!((whole.range.clone(), whole.partial), (0..10, false));
        for (asked, range) in [
            ("bytes=0-9", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=8-", 8..10),
            ("bytes=-4", 6..10),
            ("bytes=5-99", 5..10),
        ] {
            let bytes = planned(Some(asked), "", 10).unwrap();
            assert_eq!((bytes.range.clone(), bytes.partial), (range, true), "{asked}");
        }
        assert_eq!(planned(Some("bytes=3-5"), "", 10).unwrap().content_range(10).unwrap(), "bytes 3-5/10");
        for ignored in ["bytes=1-2,4-5", "bytes=5-3", "items=0-1", "bytes=x-"] {
            assert!(!planned(Some(ignored), "", 10).unwrap().partial, "{ignored}");
        }
        assert_eq!(planned(Some("bytes=10-"), "", 10).unwrap_err().code(), &Code::InvalidRange);
        assert_eq!(planned(Some("bytes=0-"), "", 0).unwrap_err().code(), &Code::InvalidRange);
    }

    #[test]
    fn part_numbers_of_a_single_put() {
        assert_eq!(planned(None, "partNumber=1", 10).unwrap().content_range(10).unwrap(), "bytes 0-9/10");
        assert_eq!(planned(None, "partNumber=2", 10).unwrap_err().code(), &Code::InvalidPartNumber);
        assert_eq!(planned(None, "partNumber=0", 10).unwrap_err().code(), &Code::InvalidArgument);
        assert_eq!(planned(Some("bytes=0-1"), "partNumber=1", 10).unwrap_err().code(), &Code::InvalidRequest);
    }
}
