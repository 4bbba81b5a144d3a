//! The arithmetic of Signature Version 4: canonical request, string to sign, signing key. Pure: no clock, no
//! header policy, no I/O (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use http::{HeaderMap, HeaderName};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The one algorithm spoken here.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Last component of a credential scope.
pub const TERMINATOR: &str = "aws4_request";

/// `YYYYMMDD`, region and service that a signing key is made for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// `s3`.
    pub service: String,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// What of a request its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// Canonically encoded path with its leading slash ([`crate::s3::name::encode_path`]).
    pub path: &'a str,
    /// Canonical query ([`crate::s3::query::Query::canonical`]).
    pub query: &'a str,
    /// All headers of the request.
    pub headers: &'a HeaderMap,
    /// `host;x-amz-date`: lower-case names of the headers that are covered.
    pub signed_headers: &'a str,
    /// Value of `x-amz-content-sha256`.
    pub payload: &'a str,
}

impl Canonical<'_> {
    /// SHA-256 of the canonical request. A signed header that is absent counts as empty.
    pub fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        for line in [self.method, self.path, self.query] {
            context.update(line.as_bytes());
            context.update(b"\n");
        }
        let mut line = Vec::with_capacity(128);
        for name in self.signed_headers.split(';') {
            line.clear();
            line.extend_from_slice(name.as_bytes());
            line.push(b':');
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                push_values(&mut line, self.headers, &name);
            }
            line.push(b'\n');
            context.update(&line);
        }
        for line in ["\n", self.signed_headers, "\n", self.payload] {
            context.update(line.as_bytes());
        }
        to_array(context.finish().as_ref())
    }
}

/// Values of repeated headers joined by commas, each trimmed and with runs of white space folded to one space.
fn push_values(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName) {
    for (i, value) in headers.get_all(name).iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let words = value.as_bytes().split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
        for (i, word) in words.enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
}

/// What is signed for a whole request. `timestamp` is `YYYYMMDDTHHMMSSZ`.
pub fn string_to_sign(timestamp: &str, scope: &Scope, request_hash: &[u8; 32]) -> String {
    // Twice a request: written without the formatting machinery.
    let Scope { date, region, service } = scope;
    let hash = hex64(request_hash);
    let hash = std::str::from_utf8(&hash).expect("hex digits are ASCII");
    [ALGORITHM, "\n", timestamp, "\n", date, "/", region, "/", service, "/", TERMINATOR, "\n", hash].concat()
}

/// A signing key: good for one day, region and service. Its memory is wiped by the library.
pub struct DayKey(hmac::Key);

impl DayKey {
    /// Four HMACs; cache the result.
    pub fn derive(secret: &str, scope: &Scope) -> Self {
        let start = zeroize::Zeroizing::new(format!("AWS4{secret}"));
        let mut key = hmac::Key::new(HMAC_SHA256, start.as_bytes());
        for part in [&scope.date, &scope.region, &scope.service, TERMINATOR] {
            let tag = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(HMAC_SHA256, tag.as_ref());
        }
        Self(key)
    }

    /// Signs a string to sign.
    pub fn sign(&self, string_to_sign: &str) -> [u8; 32] {
        to_array(hmac::sign(&self.0, string_to_sign.as_bytes()).as_ref())
    }

    /// Whether `claimed` is the signature of `string_to_sign`; in constant time.
    pub fn verifies(&self, string_to_sign: &str, claimed: &[u8; 32]) -> bool {
        hmac::verify(&self.0, string_to_sign.as_bytes(), claimed).is_ok()
    }
}

/// Hex digits of a hash.
fn hex64(hash: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    hex::encode_to_slice(hash, &mut digits).expect("64 digits hold 32 bytes");
    digits
}

/// SHA-256 of bytes at hand.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest(&SHA256, bytes).as_ref())
}

fn to_array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 and HMAC-SHA-256 give 32 bytes")
}

/// Reads `YYYYMMDDTHHMMSSZ`.
pub fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    // The format would also take signs and short fields.
    let exact = text.len() == 16
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        });
    if !exact {
        return None;
    }
    PrimitiveDateTime::parse(text, format_description!("[year][month][day]T[hour][minute][second]Z"))
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

/// Writes `YYYYMMDDTHHMMSSZ`.
pub fn format_timestamp(time: OffsetDateTime) -> String {
    let t = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_fold_white_space_and_join_duplicates() {
        let mut headers = HeaderMap::new();
        headers.append("my-header1", "    a   b   c  ".parse().unwrap());
        headers.append("my-header1", "\"d  e\"".parse().unwrap());
        let mut line = Vec::new();
        push_values(&mut line, &headers, &HeaderName::from_static("my-header1"));
        assert_eq!(line, b"a b c,\"d e\"");
    }

    #[test]
    fn timestamps_are_exact() {
        let text = "20130524T000102Z";
        let time = parse_timestamp(text).unwrap();
        assert_eq!((time.year(), time.hour(), time.second()), (2013, 0, 2));
        assert_eq!(format_timestamp(time), text);
        for bad in
            ["", "20130524", "20130524T000000", "20131324T000000Z", "20130524t000000Z", "+0130524T000000Z"]
        {
            assert!(parse_timestamp(bad).is_none(), "{bad}");
        }
    }

    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html gave this key.
    #[test]
    fn signing_key_of_the_documentation() {
        let scope = Scope { date: "20150830".into(), region: "us-east-1".into(), service: "iam".into() };
        let key = DayKey::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &scope);
        let string = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                      f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let want = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(hex::encode(key.sign(string)), want);
    }
}
