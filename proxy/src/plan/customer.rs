//! Keys that customers send along (SSE-C): three headers read into one value, with every refusal that S3 has for them
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html>).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use object_format::{CustomerKey, KeyRef};
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};

/// Beginning of the names of all headers about the object's own customer key.
const PREFIX: &str = "x-amz-server-side-encryption-customer-";
/// The same for the source of a copy.
const SOURCE_PREFIX: &str = "x-amz-copy-source-server-side-encryption-customer-";
/// The one algorithm there is.
const AES256: &str = "AES256";
/// `x-amz-server-side-encryption-customer-algorithm`
const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
/// `x-amz-server-side-encryption-customer-key-MD5`
const KEY_MD5: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5");

/// A customer's key as a request brought it, checked. Neither it nor its MD5 is stored or logged: no Debug, no Clone;
/// the key is wiped on drop.
pub struct CustomerKeyHeaders {
    key: CustomerKey,
    md5: HeaderValue,
}

impl CustomerKeyHeaders {
    /// The key in a request's headers, `None` if none of its headers is there. One of them alone asks for SSE-C and is
    /// refused for lack of the others.
    ///
    /// # Errors
    /// InvalidArgument (InvalidEncryptionAlgorithmError for another algorithm than AES256), in S3's order: algorithm, key
    /// there, MD5 there, key, MD5 right.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        if asked(headers, PREFIX) { Self::parse(headers, PREFIX).map(Some) } else { Ok(None) }
    }

    /// The key of a copy's source, likewise.
    ///
    /// # Errors
    /// As [`CustomerKeyHeaders::of`].
    pub fn of_copy_source(headers: &HeaderMap) -> Result<Option<Self>> {
        if asked(headers, SOURCE_PREFIX) { Self::parse(headers, SOURCE_PREFIX).map(Some) } else { Ok(None) }
    }

    fn parse(headers: &HeaderMap, prefix: &str) -> Result<Self> {
        match one(headers, prefix, "algorithm") {
            Some(value) if value.as_bytes() == AES256.as_bytes() => {}
            Some(_) => {
                return Err(Error::client(
                    Code::InvalidEncryptionAlgorithm,
                    "The encryption request you specified is not valid. The valid value is AES256.",
                ));
            }
            None => return Err(lacks("a valid encryption algorithm")),
        }
        let encoded = one(headers, prefix, "key").ok_or_else(|| lacks("an appropriate secret key"))?;
        let md5 = one(headers, prefix, "key-md5")
            .ok_or_else(|| lacks("the client calculated MD5 of the secret key"))?;
        let key = decoded(encoded).ok_or_else(|| {
            Error::client(Code::InvalidArgument, "The secret key was invalid for the specified algorithm.")
                .field("ArgumentName", format!("{prefix}key"))
        })?;
        let computed = STANDARD.encode(Md5::digest(&key[..]));
        if verify_slices_are_equal(computed.as_bytes(), md5.as_bytes()).is_err() {
            return Err(Error::client(
                Code::InvalidArgument,
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            )
            .field("ArgumentName", format!("{prefix}key-MD5")));
        }
        Ok(Self { key: CustomerKey::new(key), md5: md5.clone() })
    }

    /// The key itself, for wrapping and unwrapping DEKs.
    pub fn key_ref(&self) -> KeyRef<'_> {
        KeyRef::Customer(&self.key)
    }

    /// What every answer about the object carries: algorithm and MD5, never the key.
    pub fn response_headers(&self, out: &mut HeaderMap) {
        out.insert(ALGORITHM, HeaderValue::from_static(AES256));
        out.insert(KEY_MD5, self.md5.clone());
    }
}

/// A customer's key is taken over a secure connection only, whatever the operation.
///
/// # Errors
/// InvalidRequest where it came over another one.
pub fn refuse_insecure(headers: &HeaderMap, secure: bool) -> Result<()> {
    if secure || !(asked(headers, PREFIX) || asked(headers, SOURCE_PREFIX)) {
        return Ok(());
    }
    Err(Error::client(
        Code::InvalidRequest,
        "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
    ))
}

/// A write that copies nothing has no source with a key.
///
/// # Errors
/// InvalidRequest for the headers of a copy source's key.
pub fn refuse_copy_source(headers: &HeaderMap) -> Result<()> {
    if asked(headers, SOURCE_PREFIX) { Err(not_applicable()) } else { Ok(()) }
}

/// A key was given for an object that none was used for.
pub fn not_applicable() -> Error {
    Error::client(Code::InvalidRequest, "The encryption parameters are not applicable to this object.")
}

/// No key was given for an object that needs one.
pub fn required() -> Error {
    Error::client(
        Code::InvalidRequest,
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
         retrieve the object.",
    )
}

/// Another key was given than the object's. `status` is 403 as on AWS, or 400 as on Ceph
/// (`compat.ssec_wrong_key_status`).
pub fn wrong_key(status: u16) -> Error {
    if status == 400 {
        return Error::client(
            Code::InvalidRequest,
            "The provided encryption parameters did not match the ones used originally to encrypt the object.",
        );
    }
    Error::client(Code::AccessDenied, "Access Denied").because("another customer key than the object's")
}

fn asked(headers: &HeaderMap, prefix: &str) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(prefix))
}

/// The one value of a header; none where it is empty or stands there twice.
fn one<'a>(headers: &'a HeaderMap, prefix: &str, rest: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(format!("{prefix}{rest}")).iter();
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

/// 32 bytes out of base64.
fn decoded(value: &HeaderValue) -> Option<Zeroizing<[u8; 32]>> {
    // Decoding wants room for what 44 characters could hold at most.
    let mut room = Zeroizing::new([0; 36]);
    let length = STANDARD.decode_slice(value.as_bytes(), &mut room[..]).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    (length == key.len()).then(|| key.copy_from_slice(&room[..32]))?;
    Some(key)
}

fn lacks(what: &str) -> Error {
    Error::client(
        Code::InvalidArgument,
        format!(
            "Requests specifying Server Side Encryption with Customer provided keys must provide {what}."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(prefix: &str, pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (format!("{prefix}{name}").parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn code(pairs: &[(&str, &str)]) -> (String, String) {
        let error = CustomerKeyHeaders::of(&headers(PREFIX, pairs)).err().unwrap();
        (error.code().name().to_owned(), error.message().to_owned())
    }

    #[test]
    fn three_headers_are_a_key() {
        let (key, md5) = (STANDARD.encode([7; 32]), STANDARD.encode(Md5::digest([7; 32])));
        let pairs = [("algorithm", "AES256"), ("key", &key), ("key-md5", &md5)];
        let read = CustomerKeyHeaders::of(&headers(PREFIX, &pairs)).unwrap().unwrap();
        let mut out = HeaderMap::new();
        read.response_headers(&mut out);
        assert_eq!(
            (out.len(), &out[ALGORITHM], out[KEY_MD5].to_str().unwrap()),
            (2, &"AES256".parse().unwrap(), md5.as_str())
        );
        assert!(matches!(read.key_ref(), KeyRef::Customer(_)));
        // A source's key is not the object's, and the other way about.
        let source = headers(SOURCE_PREFIX, &pairs);
        assert!(CustomerKeyHeaders::of(&source).unwrap().is_none());
        assert!(CustomerKeyHeaders::of_copy_source(&source).unwrap().is_some());
        assert!(CustomerKeyHeaders::of_copy_source(&headers(PREFIX, &pairs)).unwrap().is_none());
        assert!(refuse_copy_source(&source).is_err() && refuse_copy_source(&headers(PREFIX, &pairs)).is_ok());
        for map in [headers(PREFIX, &pairs), source] {
            assert!(refuse_insecure(&map, true).is_ok());
            assert_eq!(refuse_insecure(&map, false).unwrap_err().code(), &Code::InvalidRequest);
        }
        assert!(refuse_insecure(&HeaderMap::new(), false).is_ok());
    }

    #[test]
    fn everything_else_is_refused_in_order() {
        let (key, md5) = (STANDARD.encode([7; 32]), STANDARD.encode(Md5::digest([7; 32])));
        let (key, md5) = (key.as_str(), md5.as_str());
        let short = STANDARD.encode([7; 31]);
        let short_md5 = STANDARD.encode(Md5::digest([7; 31]));
        let long = STANDARD.encode([7; 33]);
        let hex_md5 = hex::encode(Md5::digest([7; 32]));
        let invalid = "InvalidArgument";
        for (pairs, expected, words) in [
            (&[("key", key), ("key-md5", md5)][..], invalid, "valid encryption algorithm"),
            (&[("algorithm", ""), ("key", key)], invalid, "valid encryption algorithm"),
            (&[("unheard-of", "1")], invalid, "valid encryption algorithm"),
            (&[("algorithm", "aes256")], "InvalidEncryptionAlgorithmError", "AES256"),
            (
                &[("algorithm", "AES128"), ("key", key), ("key-md5", md5)],
                "InvalidEncryptionAlgorithmError",
                "AES256",
            ),
            (&[("algorithm", "AES256")], invalid, "appropriate secret key"),
            (&[("algorithm", "AES256"), ("key-md5", md5)], invalid, "appropriate secret key"),
            (&[("algorithm", "AES256"), ("key", "")], invalid, "appropriate secret key"),
            (
                &[("algorithm", "AES256"), ("key", key), ("key", key), ("key-md5", md5)],
                invalid,
                "appropriate secret key",
            ),
            (&[("algorithm", "AES256"), ("key", key)], invalid, "calculated MD5 of the secret key"),
            (&[("algorithm", "AES256"), ("key", "not base64"), ("key-md5", md5)], invalid, "was invalid"),
            (&[("algorithm", "AES256"), ("key", &short), ("key-md5", &short_md5)], invalid, "was invalid"),
            (&[("algorithm", "AES256"), ("key", &long), ("key-md5", md5)], invalid, "was invalid"),
            (&[("algorithm", "AES256"), ("key", key), ("key-md5", &short_md5)], invalid, "did not match"),
            (&[("algorithm", "AES256"), ("key", key), ("key-md5", &hex_md5)], invalid, "did not match"),
        ] {
            let (code, message) = code(pairs);
            assert_eq!(code, expected, "{pairs:?}");
            assert!(message.contains(words), "{pairs:?}: {message}");
            assert!(!message.contains(key) && !message.contains(md5), "{message}");
        }
    }

    #[test]
    fn a_wrong_key_has_the_status_that_is_configured() {
        assert_eq!(wrong_key(403).code(), &Code::AccessDenied);
        assert_eq!(wrong_key(400).code(), &Code::InvalidRequest);
    }
}
