//! PutObject: what goes to the backend and what is refused before any body byte is read
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>).

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use object_format::length::sealed_len;

use crate::config::BackendLimits;
use crate::error::{Code, Error, Result};
use crate::s3::headers;

/// The client's share of user metadata, names without prefix and values, as S3 counts.
pub const CLIENT_METADATA_LIMIT: usize = 2048;
/// Upper bound of our own metadata entry: its name and an envelope without a client context.
const ENVELOPE_ROOM: usize = 7 + 640;
/// Largest single PUT of S3, in plaintext bytes: 5 GiB.
const PUT_LIMIT: u64 = 5 * 1024 * 1024 * 1024;

/// Headers of the backend request that makes an object: the allowlisted ones of the client.
pub fn backend_headers(request: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in request {
        if headers::is_forwarded_request_header(name) {
            out.append(name.clone(), value.clone());
        }
    }
    // `aws-chunked` speaks of the client's framing, which ended here.
    out.remove(CONTENT_ENCODING);
    if let Some(coding) = headers::content_encoding(request) {
        out.insert(CONTENT_ENCODING, coding);
    }
    // S3's own default. Without it some backends would guess from the ciphertext.
    out.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    out
}

/// A website redirects within itself, or to a URL.
fn check_redirect(request: &HeaderMap) -> Result<()> {
    let Some(to) = request.get("x-amz-website-redirect-location") else { return Ok(()) };
    let leads_somewhere =
        ["/", "http://", "https://"].iter().any(|start| to.as_bytes().starts_with(start.as_bytes()));
    if leads_somewhere {
        return Ok(());
    }
    Err(Error::client(
        Code::InvalidRedirectLocation,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ))
}

/// What can be refused before the body: sizes, and a redirect to nowhere. `context` is the length of the client's encryption context.
pub fn check_limits(request: &HeaderMap, length: u64, context: usize, limits: &BackendLimits) -> Result<()> {
    let too_large = |size: u64, limit: u64| {
        Error::client(Code::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
            .field("ProposedSize", size.to_string())
            .field("MaxSizeAllowed", limit.to_string())
    };
    if length > PUT_LIMIT {
        return Err(too_large(length, PUT_LIMIT));
    }
    if sealed_len(length) > limits.put {
        return Err(Error::client(
            Code::EntityTooLarge,
            format!(
                "Encrypted, your proposed upload is {} bytes, and the storage behind the proxy takes {} at once. \
                 Use a multipart upload.",
                sealed_len(length),
                limits.put
            ),
        )
        .field("ProposedSize", length.to_string()));
    }
    check_redirect(request)?;
    let client = check_metadata(request)?;
    let ours = ENVELOPE_ROOM + context * 2;
    if client + ours > limits.metadata {
        return Err(Error::client(
            Code::MetadataTooLarge,
            format!(
                "Your metadata has {client} bytes; the proxy's own entry needs up to {ours} of the {} that the \
                 storage behind it takes.",
                limits.metadata
            ),
        )
        .field("Size", (client + ours).to_string())
        .field("MaxSizeAllowed", limits.metadata.to_string()));
    }
    Ok(())
}

/// Holds a client's own share of user metadata to S3's limit; gives its size.
///
/// # Errors
/// MetadataTooLarge.
pub fn check_metadata(request: &HeaderMap) -> Result<usize> {
    let client = headers::user_metadata_size(request);
    if client <= CLIENT_METADATA_LIMIT {
        return Ok(client);
    }
    Err(Error::client(
        Code::MetadataTooLarge,
        "Your metadata headers exceed the maximum allowed metadata size",
    )
    .field("Size", client.to_string())
    .field("MaxSizeAllowed", CLIENT_METADATA_LIMIT.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BackendLimits = BackendLimits { put: 5 << 30, metadata: 8192 };

    fn with_metadata(bytes: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-k", "v".repeat(bytes - 1).parse().unwrap());
        headers
    }

    #[test]
    fn metadata_is_held_to_s3s_limit_and_then_to_the_backends() {
        assert!(check_limits(&with_metadata(2048), 1, 0, &LIMITS).is_ok());
        assert_eq!(
            check_limits(&with_metadata(2049), 1, 0, &LIMITS).unwrap_err().code(),
            &Code::MetadataTooLarge
        );
        let tight = BackendLimits { metadata: 2048, ..LIMITS };
        assert!(check_limits(&with_metadata(1000), 1, 0, &tight).is_ok());
        let error = check_limits(&with_metadata(2000), 1, 0, &tight).unwrap_err();
        assert!(error.message().contains("proxy's own entry"), "{error}");
    }

    #[test]
    fn a_redirect_leads_somewhere() {
        let check = |to: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-website-redirect-location", to.parse().unwrap());
            check_limits(&headers, 1, 0, &LIMITS).map_err(|error| error.code().clone())
        };
        for good in ["/", "/there", "http://a", "https://a/b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "there", "ftp://a", "javascript:/x"] {
            assert_eq!(check(bad), Err(Code::InvalidRedirectLocation), "{bad}");
        }
    }

    #[test]
    fn an_upload_that_only_its_ciphertext_makes_too_large_is_told_so() {
        let none = HeaderMap::new();
        assert!(check_limits(&none, 1 << 30, 0, &LIMITS).is_ok());
        let sealed = check_limits(&none, PUT_LIMIT, 0, &LIMITS).unwrap_err();
        assert!(sealed.message().starts_with("Encrypted"), "{sealed}");
        let plain = check_limits(&none, PUT_LIMIT + 1, 0, &LIMITS).unwrap_err();
        assert_eq!(plain.code(), &Code::EntityTooLarge);
    }
}
