//! Headers of answers about objects: what of the backend's may pass, what a client overrides, how an ETag is written.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Code, Error, Result};
use crate::s3::headers;
use crate::s3::query::Query;

/// `response-*` parameters of GetObject and HeadObject and the headers that they replace.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-cache-control", http::header::CACHE_CONTROL),
    ("response-content-disposition", http::header::CONTENT_DISPOSITION),
    ("response-content-encoding", http::header::CONTENT_ENCODING),
    ("response-content-language", http::header::CONTENT_LANGUAGE),
    ("response-content-type", http::header::CONTENT_TYPE),
    ("response-expires", http::header::EXPIRES),
];

/// The allowlisted headers of a backend's answer. `aws-chunked`, which some backends keep, is not a coding that a
/// client asked for.
pub fn from_backend(backend: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(backend.len() + 8);
    for (name, value) in backend {
        if headers::is_forwarded_response_header(name) {
            out.append(name.clone(), value.clone());
        }
    }
    if out.contains_key(http::header::CONTENT_ENCODING) {
        match headers::content_encoding(backend) {
            Some(value) => drop(out.insert(http::header::CONTENT_ENCODING, value)),
            None => drop(out.remove(http::header::CONTENT_ENCODING)),
        }
    }
    out
}

/// Applies `response-*`.
pub fn apply_overrides(query: &Query, out: &mut HeaderMap) -> Result<()> {
    for (parameter, header) in OVERRIDES {
        let Some(value) = query.get(parameter) else { continue };
        let value = HeaderValue::from_bytes(value).map_err(|_| {
            Error::client(Code::InvalidArgument, format!("The value of {parameter} cannot be a header."))
        })?;
        out.insert(header, value);
    }
    Ok(())
}

/// An ETag as a header value: in quotes.
pub fn quoted(etag: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\""))
        .map_err(|_| Error::internal("an ETag is not a header value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_headers_pass_only_by_name() {
        let mut backend = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-encoding", "aws-chunked,gzip"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-s3cloak", "secret envelope"),
            ("server", "MinIO"),
            ("seaweed-x-amz-etag", "abc"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("location", "http://backend/"),
            ("set-cookie", "a=b"),
            ("etag", "\"cipher\""),
            ("content-length", "4624"),
        ] {
            backend.insert(name, value.parse().unwrap());
        }
        let out = from_backend(&backend);
        let mut names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-encoding", "content-type", "x-amz-meta-a"]);
        assert_eq!(out["content-encoding"], "gzip");
    }

    #[test]
    fn overrides_replace_and_bad_ones_are_refused() {
        let mut out = HeaderMap::new();
        out.insert("content-type", "a/b".parse().unwrap());
        apply_overrides(&Query::parse("response-content-type=text%2Fx&response-expires=now"), &mut out)
            .unwrap();
        assert_eq!(
            (out["content-type"].as_bytes(), out["expires"].as_bytes()),
            (&b"text/x"[..], &b"now"[..])
        );
        let bad = apply_overrides(&Query::parse("response-cache-control=a%0d%0ab"), &mut out);
        assert_eq!(bad.unwrap_err().code(), &Code::InvalidArgument);
    }
}
