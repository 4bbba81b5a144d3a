//! Operations that are handed on: request and answer go through allowlists and signature, bodies stay as they are.
//! Some bodies are read first, where the backend would act on what it cannot see or must not touch.

mod body;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Route, object_key};
use crate::auth::Verified;
use crate::backend::{Caller, Names, Outgoing, Response, error_from};
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::plan::answer;
use crate::s3::S3Request;
use crate::s3::headers::is_forwarded_configuration_header;
use crate::s3::operation::{Class, Operation};
use crate::services::Services;

/// Largest configuration document, in or out.
const MAX_DOCUMENT: usize = 1 << 20;
/// Largest answer: ACLs, inventories, lists of configurations.
const MAX_ANSWER: usize = 5 << 20;

/// Hands an operation on to the backend of its bucket.
pub async fn pass(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    if request.operation == Operation::Preflight {
        return preflight(services, request).await;
    }
    let route = Route::of(services, request)?;
    let key = match request.key {
        Some(_) => Some(object_key(&route, request)?),
        None => None,
    };
    if let Class::PassIfListed(subresource) = request.operation.class() {
        refuse_unknown(&route, request.operation, subresource)?;
    }
    let has_body = matches!(request.method, Method::PUT | Method::POST);
    let document =
        if has_body { crate::body::collect(request, exchange, MAX_DOCUMENT).await? } else { Bytes::new() };
    body::refuse_harmful(services, &route, request.operation, &document)?;
    let out = Outgoing {
        method: request.method.clone(),
        bucket: Some(route.bucket.clone()),
        key: key.cloned(),
        query: request.backend_query(),
        headers: forwarded(&request.headers, &document),
    };
    let response = route.backend.call(&route.caller, out, document).await?;
    reply(response, &Names { bucket: Some(route.bucket), key }).await
}

/// A backend that does not know the subresource would run the bare operation: `DELETE /b?website` the DeleteBucket.
fn refuse_unknown(route: &Route<'_>, operation: Operation, subresource: &str) -> Result<()> {
    if route.backend.profile().has_subresource(subresource) {
        return Ok(());
    }
    Err(Error::client(
        Code::NotImplemented,
        format!(
            "{} is not implemented: the storage behind the proxy is not known to have `{subresource}`. If it has, \
             name it under `profile.subresources` of that backend in the proxy's configuration.",
            operation.name()
        ),
    ))
}

/// A CORS preflight, unsigned as browsers send it: the backend holds the rules.
async fn preflight(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let Some(bucket) = &request.bucket else {
        return Err(forbidden_preflight("a preflight without a bucket"));
    };
    let route = Route::to(services, request, bucket)?;
    let key = match &request.key {
        Some(_) => Some(object_key(&route, request)?),
        None => None,
    };
    let out = Outgoing {
        method: Method::OPTIONS,
        bucket: Some(bucket.clone()),
        key: key.cloned(),
        query: request.backend_query(),
        headers: forwarded(&request.headers, &[]),
    };
    let response = route.backend.call(&Caller::Anonymous, out, Bytes::new()).await?;
    reply(response, &Names { bucket: Some(bucket), key }).await
}

fn forbidden_preflight(cause: &'static str) -> Error {
    let code = Code::Backend { name: "AccessForbidden".to_owned(), status: StatusCode::FORBIDDEN };
    Error::client(code, "CORSResponse: CORS is not enabled for this bucket.").because(cause)
}

/// The headers of a passed request. Checksums of the client's were verified and end here; Content-MD5, which every
/// backend reads, takes their place.
pub(super) fn forwarded(headers: &HeaderMap, body: &[u8]) -> HeaderMap {
    let mut out: HeaderMap = headers
        .iter()
        .filter(|(name, _)| {
            is_forwarded_configuration_header(name) && **name != http::header::CONTENT_ENCODING
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if body.is_empty() {
        out.remove(CONTENT_TYPE);
    } else {
        out.insert(HeaderName::from_static("content-md5"), crate::s3::checksum::content_md5(body));
        out.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/xml"));
    }
    out
}

async fn reply(response: Response, names: &Names<'_>) -> Result<Outcome> {
    if !response.is_success() {
        return Err(error_from(response, names).await);
    }
    let head = Head { status: response.status, headers: answer::from_backend(&response.headers) };
    let body = response.body.collect(MAX_ANSWER).await?;
    Ok(Outcome::Reply(Reply { head, body, shown_length: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_on_by_name() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-confirm-remove-self-bucket-access", "true"),
            ("origin", "https://a"),
            ("content-type", "text/xml"),
            ("content-encoding", "aws-chunked"),
            ("content-md5", "client"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-server-side-encryption", "AES256"),
            ("authorization", "secret"),
            ("x-amz-security-token", "secret"),
            ("cookie", "secret"),
            ("x-vendor", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let sorted = |map: HeaderMap| {
            let mut names: Vec<String> = map.keys().map(HeaderName::to_string).collect();
            names.sort_unstable();
            names
        };
        let out = forwarded(&headers, b"<a/>");
        assert_eq!(out["content-md5"], crate::s3::checksum::content_md5(b"<a/>"));
        assert_eq!(out["content-type"], "text/xml");
        let common = ["origin", "x-amz-acl", "x-amz-confirm-remove-self-bucket-access"];
        assert_eq!(sorted(out), [&["content-md5", "content-type"][..], &common[..]].concat());
        assert_eq!(sorted(forwarded(&headers, b"")), common);
    }

    #[test]
    fn documents_without_a_type_are_xml() {
        assert_eq!(forwarded(&HeaderMap::new(), b"x")["content-type"], "application/xml");
        assert!(forwarded(&HeaderMap::new(), b"").is_empty());
    }
}
