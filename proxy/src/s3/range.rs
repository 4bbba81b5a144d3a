//! The `Range` header on plaintext sizes, as S3 reads it. Ciphertext ranges are object-format's business.

use std::ops::Range;

use http::HeaderValue;
use http::header::CONTENT_RANGE;

use crate::error::{Code, Error, Result};

/// One byte range that a client asked for, not yet held against a size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByteRange {
    /// `bytes=FIRST-`
    From(u64),
    /// `bytes=FIRST-LAST`, both inclusive, FIRST <= LAST.
    Bounds(u64, u64),
    /// `bytes=-N`: the last N bytes.
    Suffix(u64),
}

impl ByteRange {
    /// Reads a `Range` header. `None` for what S3 ignores, answering 200 with everything: several ranges, an
    /// inverted one, other units, anything malformed.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim();
        let (unit, spec) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        // A second range brings a comma, which is no digit: it fails below.
        let (first, last) = spec.split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(Self::Bounds(first, last)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (None, Some(last)) if first.is_empty() => Some(Self::Suffix(last)),
            _ => None,
        }
    }

    /// The bytes of an object of `size` plaintext bytes, end exclusive, never empty.
    ///
    /// InvalidRange (416) with `Content-Range: bytes */SIZE` where it starts at or after the end.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let (start, end) = match self {
            Self::From(first) => (first, size),
            Self::Bounds(first, last) => (first, size.min(last.saturating_add(1))),
            Self::Suffix(count) => (size - size.min(count), size),
        };
        if start >= size {
            return Err(self.unsatisfiable(size));
        }
        Ok(start..end)
    }

    /// Whether S3 ignores it on an object of `size` bytes: the last bytes of nothing are nothing, and no fault.
    pub fn is_vacuous(self, size: u64) -> bool {
        size == 0 && matches!(self, Self::Suffix(1..))
    }

    fn unsatisfiable(self, size: u64) -> Error {
        let asked = match self {
            Self::From(first) => format!("bytes={first}-"),
            Self::Bounds(first, last) => format!("bytes={first}-{last}"),
            Self::Suffix(count) => format!("bytes=-{count}"),
        };
        Error::client(Code::InvalidRange, "The requested range is not satisfiable")
            .field("RangeRequested", asked)
            .field("ActualObjectSize", size.to_string())
            .header(CONTENT_RANGE, ascii(format!("bytes */{size}")))
    }
}

/// `bytes FIRST-LAST/SIZE` of a non-empty range, end exclusive.
pub fn content_range(range: &Range<u64>, size: u64) -> HeaderValue {
    ascii(format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1)))
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and punctuation are a valid header value")
}

/// Digits only (`str::parse` would take a sign); what does not fit is larger than any object.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<ByteRange> {
        ByteRange::parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn what_is_not_one_range_is_ignored() {
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "items=0-1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=--2",
            "bytes=0x1-2",
            "0-1",
            "bytes 0-1",
            "bytes=1-2-3",
            "bytes= -1",
        ] {
            assert_eq!(parse(ignored), None, "{ignored}");
        }
        assert_eq!(ByteRange::parse(&HeaderValue::from_bytes(b"bytes=0-\xff").unwrap()), None);
    }

    #[test]
    fn one_range_is_read() {
        assert_eq!(parse("bytes=0-0"), Some(ByteRange::Bounds(0, 0)));
        assert_eq!(parse("Bytes=7-"), Some(ByteRange::From(7)));
        assert_eq!(parse(" bytes=-7 "), Some(ByteRange::Suffix(7)));
        assert_eq!(parse("bytes=1-99999999999999999999999"), Some(ByteRange::Bounds(1, u64::MAX)));
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(ByteRange::Bounds(0, 0).resolve(10).unwrap(), 0..1);
        assert_eq!(ByteRange::Bounds(3, u64::MAX).resolve(10).unwrap(), 3..10);
        assert_eq!(ByteRange::From(9).resolve(10).unwrap(), 9..10);
        assert_eq!(ByteRange::Suffix(3).resolve(10).unwrap(), 7..10);
        assert_eq!(ByteRange::Suffix(11).resolve(10).unwrap(), 0..10);
        assert_eq!(content_range(&(7..10), 10), "bytes 7-9/10");
    }

    #[test]
    fn ranges_past_the_end_are_416() {
        let cases = [
            (ByteRange::From(10), 10, "bytes=10-"),
            (ByteRange::Bounds(10, 12), 10, "bytes=10-12"),
            (ByteRange::Suffix(0), 10, "bytes=-0"),
            (ByteRange::From(0), 0, "bytes=0-"),
            (ByteRange::Suffix(5), 0, "bytes=-5"),
        ];
        for (range, size, asked) in cases {
            let error = range.resolve(size).unwrap_err();
            assert_eq!(error.code(), &Code::InvalidRange);
            assert_eq!(error.code().status(), 416);
            let expected = HeaderValue::try_from(format!("bytes */{size}")).unwrap();
            assert_eq!(error.headers(), [(CONTENT_RANGE, expected)]);
            assert_eq!(error.fields()[0].1, asked);
            assert_eq!(error.fields()[1].1, size.to_string());
        }
    }
}
