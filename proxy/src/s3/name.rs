//! Names of buckets and keys: parsed once, as bytes, never normalised.
//! The one place that encodes a key for the wire (SigV4's canonical encoding).

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::error::{Code, Error, Result};

/// RFC 3986 unreserved characters stay; everything else is `%XX` in upper case
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, `UriEncode`).
const CANONICAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a path, whose slashes stay.
const CANONICAL_PATH: &AsciiSet = &CANONICAL.remove(b'/');

/// SigV4's `UriEncode` of a query name or value.
pub fn encode_component(bytes: &[u8]) -> String {
    Cow::from(percent_encode(bytes, CANONICAL)).into_owned()
}

/// SigV4's `UriEncode` of a path, slashes kept.
pub fn encode_path(bytes: &[u8]) -> String {
    Cow::from(percent_encode(bytes, CANONICAL_PATH)).into_owned()
}

/// Decodes a name of a listing with `encoding-type=url`: form encoding, so that a plus is a space.
pub fn decode_listed(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced).collect()
}

/// Longest key that S3 takes, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// A bucket name as S3 allows it: 3 to 63 of `[a-z0-9.-]`, and the older names up to 255 with `_` and
/// capitals that some backends still hold. No slash, no control character.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BucketName(String);

impl BucketName {
    /// Parses a percent-decoded name.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let ok = (3..=255).contains(&bytes.len())
            && bytes.iter().all(allowed)
            && bytes[0].is_ascii_alphanumeric()
            && !bytes.windows(2).any(|pair| pair == b"..");
        match std::str::from_utf8(bytes) {
            Ok(name) if ok => Ok(Self(name.to_owned())),
            _ => Err(Error::client(Code::InvalidBucketName, "The specified bucket is not valid.")
                .field("BucketName", String::from_utf8_lossy(bytes))),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object key: 1 to 1024 bytes, percent-decoded once, never normalised. Need not be UTF-8.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey(Vec<u8>);

impl ObjectKey {
    /// Takes percent-decoded bytes.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(Error::client(Code::InvalidUri, "The object key is empty."));
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err(Error::client(Code::KeyTooLong, "Your key is too long.")
                .field("Size", bytes.len().to_string())
                .field("MaxSizeAllowed", MAX_KEY_BYTES.to_string()));
        }
        Ok(Self(bytes))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For XML and logs; bytes that are not UTF-8 show as U+FFFD.
    pub fn to_lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// Whether this is a `dir/` marker's name.
    pub fn is_directory_marker(&self) -> bool {
        self.0.ends_with(b"/")
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({:?})", self.to_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_every_byte() {
        for raw in [&b"a//b"[..], b"../x", b"./y", b"a%2Fb", b"\xff\xfe", b"+ ():=!,@;$*'&"] {
            assert_eq!(ObjectKey::parse(raw).unwrap().as_bytes(), raw);
        }
        assert_eq!(encode_path(b"a b/+'\xc3\xa9~"), "a%20b/%2B%27%C3%A9~");
        assert_eq!(encode_component(b"a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn names_that_s3_refuses_are_refused() {
        for bad in [&b""[..], b"ab", b"-abc", b"a/b", b"a b c", b"a..b", b"\xff\xff\xff"] {
            assert!(BucketName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ObjectKey::parse(vec![]).is_err());
        assert!(ObjectKey::parse(vec![b'a'; 1024]).is_ok());
        assert_eq!(ObjectKey::parse(vec![b'a'; 1025]).unwrap_err().code(), &Code::KeyTooLong);
    }
}
