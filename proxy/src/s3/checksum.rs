//! The checksums of S3's flexible-checksum headers: names, ids, hashers, and what a request declares.
//! Where a body is hashed and what is sealed is decided elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;

use crate::error::{Code, Error, Result};

mod combine;
mod hasher;

pub use hasher::Hasher;

/// One of the algorithms that this proxy computes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
    /// XXH64.
    XxHash64,
    /// XXH3, 64 bits.
    XxHash3,
    /// XXH3, 128 bits.
    XxHash128,
}

impl ChecksumAlgorithm {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// The id in sealed footers and tables (`object-format/SPEC.md`).
    pub fn id(self) -> u8 {
        match self {
            Self::Crc32 => 1,
            Self::Crc32c => 2,
            Self::Crc64Nvme => 3,
            Self::Sha1 => 4,
            Self::Sha256 => 5,
            Self::Sha512 => 6,
            Self::Md5 => 7,
            Self::XxHash64 => 8,
            Self::XxHash3 => 9,
            Self::XxHash128 => 10,
        }
    }

    /// The algorithm with that id, if it is one that this proxy computes.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.id() == id)
    }

    /// The name in `x-amz-sdk-checksum-algorithm`, `x-amz-checksum-algorithm` and XML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// The algorithm of that name; S3 ignores its case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm that `x-amz-checksum-algorithm` names.
    ///
    /// # Errors
    /// InvalidRequest for an algorithm that is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::from_name(name).ok_or_else(|| {
            let mut all = Self::ALL.map(Self::name);
            all.sort_unstable();
            Error::client(
                Code::InvalidRequest,
                format!(
                    "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{}]",
                    all.join(", ")
                ),
            )
            .field("Header", "x-amz-checksum-algorithm")
        })
    }

    /// `x-amz-checksum-…`, lower case.
    pub fn header_name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        })
    }

    /// The algorithm whose value header has that name, in any case.
    pub fn from_header_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.header_name().as_str().eq_ignore_ascii_case(name))
    }

    /// Length of a value in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Decodes a value as it stands in a header or trailer. A wrong length or alphabet is InvalidRequest.
    pub fn parse_value(self, text: &str) -> Result<Vec<u8>> {
        match STANDARD.decode(text.trim()) {
            Ok(value) if value.len() == self.length() => Ok(value),
            _ => Err(invalid_value(self, "header")),
        }
    }

    /// A value as it stands in a header: base64 of the big-endian bytes.
    pub fn format_value(value: &[u8]) -> String {
        STANDARD.encode(value)
    }
}

/// The checksum that a request says its body has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// Its algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// Where its value is.
    pub value: DeclaredValue,
}

/// Where the value of a declared checksum is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeclaredValue {
    /// In a header: decoded, of the right length.
    Header(Vec<u8>),
    /// It follows in the trailer of an aws-chunked body.
    Trailer,
}

impl Declared {
    /// Reads `x-amz-checksum-*`, `x-amz-trailer` and `x-amz-sdk-checksum-algorithm`.
    ///
    /// InvalidRequest: two checksums, an algorithm that is not known, one that contradicts another header, or one
    /// announced and not there.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let values: Vec<_> = headers.iter().filter(|(name, _)| is_value_header(name.as_str())).collect();
        if values.len() > 1 {
            return Err(several());
        }
        let mut found: Option<Self> = None;
        for (name, value) in values {
            let algorithm = known(name.as_str())?;
            let text = value.to_str().unwrap_or_default();
            put(&mut found, Self { algorithm, value: DeclaredValue::Header(algorithm.parse_value(text)?) })?;
        }
        for name in list(headers, "x-amz-trailer") {
            if !is_value_header(&name) {
                return Err(invalid("The value specified in the x-amz-trailer header is not supported"));
            }
            put(&mut found, Self { algorithm: known(&name)?, value: DeclaredValue::Trailer })?;
        }
        if let Some(named) = headers.get("x-amz-sdk-checksum-algorithm") {
            let named =
                ChecksumAlgorithm::from_name(named.to_str().unwrap_or_default()).ok_or_else(|| {
                    Error::client(
                        Code::InvalidRequest,
                        format!(
                            "Value for x-amz-sdk-checksum-algorithm header is invalid. It is one of {}.",
                            ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ")
                        ),
                    )
                })?;
            match &found {
                None => {
                    return Err(invalid(
                        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
                         x-amz-trailer headers were found.",
                    ));
                }
                Some(declared) if declared.algorithm != named => {
                    return Err(invalid(
                        "Value for x-amz-sdk-checksum-algorithm header is invalid. It names another algorithm than \
                         the checksum that was sent.",
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// Compares what was computed with what was declared. `trailer` is the value of the trailing header, if the
    /// body ended with one. BadDigest where they differ; InvalidRequest where the announced trailer is missing.
    pub fn check(&self, trailer: Option<&str>, computed: &[u8]) -> Result<()> {
        let expected = match (&self.value, trailer) {
            (DeclaredValue::Header(value), _) => value.clone(),
            (DeclaredValue::Trailer, Some(text)) => self
                .algorithm
                .parse_value(text)
                .map_err(|_| invalid_value(self.algorithm, "trailing header"))?,
            (DeclaredValue::Trailer, None) => {
                return Err(Error::client(
                    Code::InvalidRequest,
                    format!("The trailer {} was announced and not sent.", self.algorithm.header_name()),
                ));
            }
        };
        if expected.ct_eq(computed).into() {
            return Ok(());
        }
        Err(Error::client(
            Code::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", self.algorithm.name()),
        ))
    }
}

fn invalid_value(algorithm: ChecksumAlgorithm, place: &str) -> Error {
    Error::client(Code::InvalidRequest, format!("Value for {} {place} is invalid.", algorithm.header_name()))
}

fn put(found: &mut Option<Declared>, next: Declared) -> Result<()> {
    match found.replace(next) {
        None => Ok(()),
        Some(_) => Err(several()),
    }
}

/// S3 takes one.
pub fn several() -> Error {
    invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

/// `x-amz-checksum-…` holding a value, known algorithm or not.
fn is_value_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.strip_prefix("x-amz-checksum-").is_some_and(|rest| !matches!(rest, "algorithm" | "mode" | "type"))
}

fn known(header: &str) -> Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::from_header_name(header).ok_or_else(|| {
        Error::client(
            Code::InvalidRequest,
            format!(
                "The checksum header {} is not supported. The algorithm is one of {}.",
                header.to_ascii_lowercase(),
                ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ")
            ),
        )
    })
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|v| v.to_str().unwrap_or("?").split(','))
        .map(|piece| piece.trim().to_owned())
        .filter(|piece| !piece.is_empty())
        .collect()
}

fn invalid(message: &'static str) -> Error {
    Error::client(Code::InvalidRequest, message)
}

/// `Content-MD5` of a whole body.
pub fn content_md5(body: &[u8]) -> HeaderValue {
    HeaderValue::try_from(STANDARD.encode(Md5::digest(body))).expect("base64 is a valid header value")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn code(pairs: &[(&'static str, &str)]) -> Code {
        Declared::of(&headers(pairs)).unwrap_err().code().clone()
    }

    #[test]
    fn names_and_ids_go_round() {
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(ChecksumAlgorithm::from_id(algorithm.id()), Some(algorithm));
            assert_eq!(ChecksumAlgorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(
                ChecksumAlgorithm::from_header_name(algorithm.header_name().as_str()),
                Some(algorithm)
            );
        }
        assert_eq!(ChecksumAlgorithm::from_id(0), None);
        assert_eq!(ChecksumAlgorithm::from_id(11), None);
        assert_eq!(ChecksumAlgorithm::from_name("CRC64"), None);
    }

    #[test]
    fn declarations_are_read() {
        assert_eq!(Declared::of(&headers(&[("x-amz-checksum-mode", "ENABLED")])).unwrap(), None);
        assert_eq!(
            Declared::of(&headers(&[
                ("x-amz-checksum-crc32", "AAAAAA=="),
                ("x-amz-sdk-checksum-algorithm", "crc32")
            ]))
            .unwrap(),
            Some(Declared { algorithm: ChecksumAlgorithm::Crc32, value: DeclaredValue::Header(vec![0; 4]) })
        );
        assert_eq!(
            Declared::of(&headers(&[("x-amz-trailer", " X-Amz-Checksum-Sha256 ,")])).unwrap(),
            Some(Declared { algorithm: ChecksumAlgorithm::Sha256, value: DeclaredValue::Trailer })
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let two = [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")];
        assert_eq!(code(&two), Code::InvalidRequest);
        for bad in [
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32", "AAAAAA==")][..],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-trailer", "x-amz-checksum-crc32")],
            &[("x-amz-checksum-crc32", "AAAA")],
            &[("x-amz-checksum-crc32", "not base64!")],
            &[("x-amz-checksum-crc64nvme", "AAAAAA==")],
            &[("x-amz-checksum-crc16", "AAA=")],
            &[("x-amz-checksum-sha512", "AAA=")],
            &[("x-amz-checksum-xxhash128", "AAAAAAAAAAA=")],
            &[("x-amz-checksum-xxhash32", "AAAAAA==")],
            &[("x-amz-trailer", "x-amz-meta-a")],
            &[("x-amz-trailer", "x-amz-checksum-crc16")],
            &[("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")],
            &[("x-amz-sdk-checksum-algorithm", "CRC32")],
            &[("x-amz-sdk-checksum-algorithm", "CRC31"), ("x-amz-checksum-crc32", "AAAAAA==")],
            &[("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", "AAAAAA==")],
        ] {
            assert_eq!(code(bad), Code::InvalidRequest, "{bad:?}");
        }
    }

    #[test]
    fn values_are_compared() {
        let header =
            Declared { algorithm: ChecksumAlgorithm::Crc32, value: DeclaredValue::Header(vec![1, 2, 3, 4]) };
        assert!(header.check(None, &[1, 2, 3, 4]).is_ok());
        assert_eq!(header.check(None, &[1, 2, 3, 5]).unwrap_err().code(), &Code::BadDigest);
        assert_eq!(header.check(None, &[1, 2, 3]).unwrap_err().code(), &Code::BadDigest);
        let trailer = Declared { algorithm: ChecksumAlgorithm::Crc32, value: DeclaredValue::Trailer };
        assert!(trailer.check(Some("AQIDBA=="), &[1, 2, 3, 4]).is_ok());
        assert_eq!(trailer.check(Some("AQIDBQ=="), &[1, 2, 3, 4]).unwrap_err().code(), &Code::BadDigest);
        let garbled = trailer.check(Some("AQID"), &[1, 2, 3, 4]).unwrap_err();
        assert_eq!(garbled.code(), &Code::InvalidRequest);
        assert_eq!(garbled.message(), "Value for x-amz-checksum-crc32 trailing header is invalid.");
        assert_eq!(trailer.check(None, &[1, 2, 3, 4]).unwrap_err().code(), &Code::InvalidRequest);
    }
}
