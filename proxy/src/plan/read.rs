//! GET and HEAD: which bytes of the plaintext, under which status, given conditions, Range and partNumber
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).

use std::ops::Range;
use std::time::SystemTime;

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use object_format::Kind;

use crate::error::{Code, Error, Result};
use crate::info::{Info, Nature};
use crate::s3::condition::{ReadConditions, Verdict};
use crate::s3::query::{self, Query};
use crate::s3::range::{ByteRange, content_range};

/// What a read answers with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReadPlan {
    /// 304 without a body.
    NotModified,
    /// The plaintext range, whole or part.
    Bytes(ReadBytes),
    /// A part of an object that is not encrypted: only the backend knows its parts.
    LegacyPart(u16),
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
    /// Which of the object's parts that is, from 0.
    pub part: Option<usize>,
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

/// Whether the conditions say that the client has the object as it is. PreconditionFailed where one does not hold.
pub fn is_unmodified(headers: &HeaderMap, info: &Info) -> Result<bool> {
    match verdict(headers, info) {
        Verdict::Proceed { .. } => Ok(false),
        Verdict::NotModified => Ok(true),
        failed @ Verdict::PreconditionFailed(_) => failed.into_result().map(|_| false),
    }
}

fn verdict(headers: &HeaderMap, info: &Info) -> Verdict {
    // A backend without Last-Modified leaves dates undecided: the object counts as just written, so that nothing
    // stale is confirmed.
    let last_modified = info.last_modified.unwrap_or_else(SystemTime::now);
    ReadConditions::of(headers).evaluate(&info.etag, last_modified)
}

/// Decides a read in S3's order: conditions first, then partNumber or Range.
pub fn plan(headers: &HeaderMap, query: &Query, info: &Info) -> Result<ReadPlan> {
    let honour_range = match verdict(headers, info) {
        Verdict::Proceed { honour_range } => honour_range,
        Verdict::NotModified => return Ok(ReadPlan::NotModified),
        failed @ Verdict::PreconditionFailed(_) => {
            return failed.into_result().map(|_| ReadPlan::NotModified);
        }
    };
    if let Some(number) = asked_part(headers, query)? {
        return match info.nature {
            Nature::Plain => Ok(ReadPlan::LegacyPart(number)),
            Nature::Sealed { .. } | Nature::Marker => part(number, info).map(ReadPlan::Bytes),
        };
    }
    let asked = headers.get(RANGE).filter(|_| honour_range).and_then(ByteRange::parse);
    let asked = asked.filter(|asked| !asked.is_vacuous(info.plain_size));
    let (range, partial) = match asked {
        None => (0..info.plain_size, false),
        Some(asked) => (asked.resolve(info.plain_size)?, true),
    };
    Ok(ReadPlan::Bytes(ReadBytes { range, partial, parts_count: None, part: None }))
}

/// The part that a read asks for. A number that cannot be one is refused whether there is an object or not.
pub fn asked_part(headers: &HeaderMap, query: &Query) -> Result<Option<u16>> {
    let Some(text) = query.get_str("partNumber") else { return Ok(None) };
    if headers.contains_key(RANGE) {
        return Err(Error::client(
            Code::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        ));
    }
    query::number(text).filter(|n| (1..=10_000).contains(n)).map(Some).ok_or_else(|| {
        Error::client(Code::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive.")
            .field("ArgumentName", "partNumber")
            .field("ArgumentValue", text.to_owned())
    })
}

/// Parts are counted from 1 without gaps, whatever numbers they were uploaded under: a client asks for 1 to
/// `x-amz-mp-parts-count`.
fn part(number: u16, info: &Info) -> Result<ReadBytes> {
    let index = usize::from(number) - 1;
    let no_such = |count: usize| {
        Error::client(Code::InvalidPartNumber, "The requested partnumber is not satisfiable")
            .field("ActualPartCount", count.to_string())
            .field("PartNumberRequested", number.to_string())
    };
    let Some(trailer) = info.trailer().filter(|trailer| trailer.kind == Kind::Multipart) else {
        if info.end().parts_count().is_some() {
            return Err(Error::internal("a part was asked for of an object whose parts were not read"));
        }
        // One part: the object itself. Recorded on AWS: 206 with Content-Range and no parts count.
        return if number == 1 {
            let range = 0..info.plain_size;
            Ok(ReadBytes { partial: !range.is_empty(), range, parts_count: None, part: None })
        } else {
            Err(no_such(1))
        };
    };
    let parts = &trailer.parts;
    let size = parts.get(index).ok_or_else(|| no_such(parts.len()))?.size;
    let start: u64 = parts.iter().take(index).map(|p| p.size).sum();
    Ok(ReadBytes {
        range: start..start + size,
        partial: size > 0,
        parts_count: info.end().parts_count(),
        part: Some(index),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_format::{EtagFact, PartEntry, SealedFacts, Trailer};

    use super::*;
    use crate::info::SealedEnd;

    fn info(size: u64, end: SealedEnd) -> Info {
        Info {
            nature: Nature::Sealed { commitment: [0; 32], end },
            plain_size: size,
            sealed_len: size,
            etag: "abc".to_owned(),
            backend_etag: "abc".to_owned(),
            last_modified: None,
            whole: true,
        }
    }

    /// Parts of these sizes, under numbers with gaps.
    fn multipart(sizes: &[u64]) -> Info {
        let entry = |(at, size): (usize, &u64)| PartEntry {
            number: at as u16 * 3 + 2,
            size: *size,
            salt: [0; 16],
            checksum: None,
        };
        let trailer = Trailer {
            plain_size: sizes.iter().sum(),
            kind: Kind::Multipart,
            parts: sizes.iter().enumerate().map(entry).collect(),
            facts: SealedFacts { etag: EtagFact::Opaque, checksum: None },
            upload_tag: [0; 32],
            list_tag: [0; 32],
        };
        info(trailer.plain_size, SealedEnd::Trailer(Arc::new(trailer)))
    }

    fn planned(range: Option<&str>, query: &str, size: u64) -> Result<ReadBytes> {
        planned_of(&info(size, SealedEnd::Unseen), range, query)
    }

    fn planned_of(info: &Info, range: Option<&str>, query: &str) -> Result<ReadBytes> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(RANGE, range.parse().unwrap());
        }
        match plan(&headers, &Query::parse(query), info)? {
            ReadPlan::Bytes(bytes) => Ok(bytes),
            other => panic!("{other:?}"),
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

    #[test]
    fn part_numbers_of_a_multipart_object() {
        let object = multipart(&[100, 50, 7, 0]);
        for (query, range) in
            [("partNumber=1", 0..100), ("partNumber=2", 100..150), ("partNumber=3", 150..157)]
        {
            let bytes = planned_of(&object, None, query).unwrap();
            assert_eq!((bytes.range.clone(), bytes.partial, bytes.parts_count), (range, true, Some(4)));
        }
        let empty = planned_of(&object, None, "partNumber=4").unwrap();
        assert_eq!((empty.range.clone(), empty.partial, empty.parts_count), (157..157, false, Some(4)));
        // Whatever numbers they were uploaded under, there are four.
        for bad in ["partNumber=5", "partNumber=8", "partNumber=10000"] {
            let error = planned_of(&object, None, bad).unwrap_err();
            assert_eq!(error.code(), &Code::InvalidPartNumber, "{bad}");
        }
        for bad in [
            "partNumber=0",
            "partNumber=10001",
            "partNumber=-1",
            "partNumber=%2B1",
            "partNumber=x",
            "partNumber=",
        ] {
            let error = planned_of(&object, None, bad).unwrap_err();
            assert_eq!(error.code(), &Code::InvalidArgument, "{bad}");
        }
        let both = planned_of(&object, Some("bytes=0-1"), "partNumber=1").unwrap_err();
        assert_eq!(both.code(), &Code::InvalidRequest);
    }

    #[test]
    fn the_backend_knows_the_parts_of_plaintext() {
        let plain = Info { nature: Nature::Plain, ..info(10, SealedEnd::Unseen) };
        let asked = |query| plan(&HeaderMap::new(), &Query::parse(query), &plain);
        assert_eq!(asked("partNumber=7").unwrap(), ReadPlan::LegacyPart(7));
        assert_eq!(asked("partNumber=0").unwrap_err().code(), &Code::InvalidArgument);
    }
}
