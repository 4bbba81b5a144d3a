//! Failures of a backend, told in S3's words: its error documents rebuilt with the client's names, its redirects
//! and its complaints about our own credentials kept from the client. Says nothing about success.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::response::Response;
use super::xml::leaves;
use crate::error::{Code, Error};
use crate::s3::name::{BucketName, ObjectKey};
use crate::uploads::NO_SUCH_UPLOAD;

/// Error documents are short; what is longer is cut.
pub(super) const MAX_DOCUMENT: usize = 64 * 1024;

/// What the client called the things that the backend's error speaks of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The client's bucket.
    pub bucket: Option<&'a BucketName>,
    /// The client's key.
    pub key: Option<&'a ObjectKey>,
}

/// What we read of `<Error>…</Error>`; names, hosts, ids and strings to sign are left where they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Document {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) region: Option<String>,
    fields: Vec<(&'static str, String)>,
}

/// Elements that a client may see as the backend wrote them.
const HANDED_ON: [&str; 10] = [
    "AccessTier",
    "ArgumentName",
    "ArgumentValue",
    "Condition",
    "Header",
    "Method",
    "ResourceType",
    "StorageClass",
    "UploadId",
    "VersionId",
];

impl Document {
    /// Reads what can be read; garbage gives an empty document.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut document = Self::default();
        for (path, text) in leaves(body) {
            if let Some(name) = path.strip_prefix("Error/") {
                document.take(name, text);
            }
        }
        document
    }

    fn take(&mut self, name: &str, text: String) {
        match name {
            "Code" => self.code = Some(text.trim().to_owned()).filter(|code| is_code(code)),
            "Message" => self.message = Some(text),
            "Region" => self.region = Some(text.trim().to_owned()),
            _ => {
                let known = HANDED_ON.into_iter().find(|known| *known == name);
                if let Some(known) = known.filter(|_| text.len() <= 1024) {
                    self.fields.push((known, text));
                }
            }
        }
    }
}

fn is_code(code: &str) -> bool {
    code.starts_with(|first: char| first.is_ascii_alphabetic())
        && code.len() <= 64
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
}

/// A region name that may go into a host name and a credential scope.
pub(super) fn is_region(region: &str) -> bool {
    (1..=40).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
}

/// The region that an answer says the bucket is in.
pub(super) fn region_of(headers: &HeaderMap, document: &Document) -> Option<String> {
    let named = headers.get("x-amz-bucket-region").and_then(|v| v.to_str().ok()).map(str::to_owned);
    named.or_else(|| document.region.clone()).filter(|region| is_region(region))
}

/// A complaint about the credentials, clock or scope that the proxy itself signed with. Clients must not see it:
/// they would correct their own clock or region.
pub(super) fn is_about_us(code: &str) -> bool {
    matches!(
        code,
        "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "InvalidToken"
            | "RequestTimeTooSkewed"
            | "AuthorizationHeaderMalformed"
            | "ExpiredToken"
            | "TokenRefreshRequired"
            | "XAmzContentSHA256Mismatch"
            | "InvalidClientTokenId"
    )
}

/// 503 for such a complaint.
pub(super) fn our_fault(backend: &str, code: &str) -> Error {
    Error::backend(
        Code::ServiceUnavailable,
        "The storage behind the proxy does not accept the proxy's own credentials or clock. Tell the operator.",
    )
    .because(format!("backend {backend} answered {code}: check its keys, region and this machine's clock"))
}

/// 502 for a redirect that is not a region's.
pub(super) fn redirected(backend: &str, status: StatusCode) -> Error {
    Error::backend(
        Code::BadGateway,
        "The storage behind the proxy redirected this request, and redirects are not followed. Tell the operator.",
    )
    .because(format!("backend {backend} answered {status}: check its endpoint, region and addressing"))
}

/// An error answer as the client may see it: the backend's code, or one from its status where there is no document
/// (HEAD), the client's names, and never the backend's host, id or signature strings.
pub async fn error_from(response: Response, names: &Names<'_>) -> Error {
    let Response { status, headers, body } = response;
    let document = Document::parse(&body.prefix(MAX_DOCUMENT).await);
    rebuild(status, &headers, document, names)
}

fn rebuild(status: StatusCode, headers: &HeaderMap, document: Document, names: &Names<'_>) -> Error {
    if !(status.is_client_error() || status.is_server_error() || status == StatusCode::NOT_MODIFIED) {
        return Error::backend(
            Code::BadGateway,
            "The storage behind the proxy answered something unexpected.",
        )
        .because(format!("backend status {status}"));
    }
    let code = match &document.code {
        Some(name) => Code::known(name)
            .filter(|known| known.status() == status)
            .unwrap_or_else(|| Code::Backend { name: name.clone(), status }),
        None => code_of(status, names),
    };
    let message = message_of(&code, document.message.as_deref());
    let shown_key = matches!(code, Code::NoSuchKey | Code::NoSuchVersion);
    let shown_bucket = code.name().contains("Bucket");
    let mut error = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Error::backend(code, message).because(format!("backend answered {status}"))
    } else {
        Error::client(code, message)
    };
    for (name, text) in document.fields {
        error = error.field(name, text);
    }
    if let Some(key) = names.key.filter(|_| shown_key) {
        error = error.field("Key", key.to_lossy());
    }
    if let Some(bucket) = names.bucket.filter(|_| shown_bucket) {
        error = error.field("BucketName", bucket.as_str());
    }
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        error = error.header(name.clone(), value.clone());
    }
    error
}

/// Headers of an error answer that mean something to a client.
fn is_kept(name: &HeaderName) -> bool {
    *name == header::RETRY_AFTER
        || *name == header::ALLOW
        || *name == header::VARY
        || matches!(name.as_str(), "x-amz-delete-marker" | "x-amz-version-id" | "x-amz-bucket-region")
        || name.as_str().starts_with("access-control-")
}

/// Where only the status speaks.
fn code_of(status: StatusCode, names: &Names<'_>) -> Code {
    match status.as_u16() {
        304 => Code::NotModified,
        400 => Code::BadRequest,
        401 | 403 => Code::AccessDenied,
        404 if names.key.is_some() => Code::NoSuchKey,
        404 => Code::NoSuchBucket,
        405 => Code::MethodNotAllowed,
        409 => Code::ConditionalRequestConflict,
        411 => Code::MissingContentLength,
        412 => Code::PreconditionFailed,
        416 => Code::InvalidRange,
        429 | 503 => Code::SlowDown,
        500 => Code::InternalError,
        501 => Code::NotImplemented,
        502 => Code::BadGateway,
        504 => Code::GatewayTimeout,
        _ => Code::Backend { name: "BackendError".to_owned(), status },
    }
}

/// The one reason for AccessDenied that S3 gives beside none: it is about the object, and tells nothing of the storage.
const LOCKED: &str = "Access Denied because object protected by object lock.";

/// AWS's sentences for what clients see most; else the backend's own, if it names no address.
fn message_of(code: &Code, theirs: Option<&str>) -> String {
    match code {
        Code::NoSuchKey => "The specified key does not exist.",
        Code::NoSuchBucket => "The specified bucket does not exist",
        Code::NoSuchUpload => NO_SUCH_UPLOAD,
        Code::NoSuchVersion => "The specified version does not exist.",
        Code::PreconditionFailed => "At least one of the pre-conditions you specified did not hold",
        Code::NotModified => "Not Modified",
        Code::InvalidRange => "The requested range is not satisfiable",
        Code::AccessDenied if theirs == Some(LOCKED) => LOCKED,
        Code::AccessDenied => "Access Denied",
        Code::SlowDown => "Please reduce your request rate.",
        Code::InternalError => "We encountered an internal error. Please try again.",
        _ => {
            return theirs
                .and_then(presentable)
                .unwrap_or_else(|| "The storage refused this request.".to_owned());
        }
    }
    .to_owned()
}

fn presentable(message: &str) -> Option<String> {
    let message: String = message.chars().filter(|c| !c.is_control()).take(300).collect();
    Some(message).filter(|m| !m.trim().is_empty() && !m.contains("://"))
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
