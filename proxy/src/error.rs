//! What can go wrong, sorted by who is to blame, and the ONE map from it to an S3 code and HTTP status.
//! Rendering to XML and writing to the wire live in `gateway/`; nothing here does I/O.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};

/// Result of everything that answers a client.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act for the request to succeed; it decides log level and metrics label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Blame {
    /// The request was wrong; the client has to change it.
    Client,
    /// The storage behind us failed or answered something we do not accept.
    Backend,
    /// The key service failed, refused, or does not have the key.
    Keys,
    /// Stored bytes do not authenticate: corruption or tampering. Always logged as an alert.
    Tampered,
    /// A fault of this program or its configuration.
    Internal,
}

impl Blame {
    /// Label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Backend => "backend",
            Blame::Keys => "keys",
            Blame::Tampered => "tampered",
            Blame::Internal => "internal",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal;)*) => {
        /// S3 error codes that this proxy itself answers with
        /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
        #[allow(missing_docs)]
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A backend's own code, handed on with its status (NoSuchBucket's many cousins).
            Backend { name: String, status: StatusCode },
        }

        impl Code {
            /// The code as S3 spells it in `<Code>`.
            pub fn name(&self) -> &str {
                match self {
                    $(Code::$variant => $name,)*
                    Code::Backend { name, .. } => name,
                }
            }

            /// The code of that name, if it is one of ours.
            pub fn known(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Code::$variant),)*
                    _ => None,
                }
            }

            /// The HTTP status that AWS sends with it.
            pub fn status(&self) -> StatusCode {
                match self {
                    $(Code::$variant => StatusCode::from_u16($status)
                        .expect("every status in the table is a three-digit literal"),)*
                    Code::Backend { status, .. } => *status,
                }
            }
        }
    };
}

codes! {
    AccessDenied = "AccessDenied", 403;
    AuthorizationHeaderMalformed = "AuthorizationHeaderMalformed", 400;
    AuthorizationQueryParametersError = "AuthorizationQueryParametersError", 400;
    BadDigest = "BadDigest", 400;
    BadGateway = "BadGateway", 502;
    BadRequest = "BadRequest", 400;
    BucketNotEmpty = "BucketNotEmpty", 409;
    ConditionalRequestConflict = "ConditionalRequestConflict", 409;
    EntityTooLarge = "EntityTooLarge", 400;
    EntityTooSmall = "EntityTooSmall", 400;
    /// Presigned URL past its life: AWS answers AccessDenied with the text "Request has expired".
    ExpiredToken = "ExpiredToken", 400;
    GatewayTimeout = "GatewayTimeout", 504;
    IncompleteBody = "IncompleteBody", 400;
    InternalError = "InternalError", 500;
    InvalidAccessKeyId = "InvalidAccessKeyId", 403;
    InvalidArgument = "InvalidArgument", 400;
    InvalidBucketName = "InvalidBucketName", 400;
    /// AWS: only the last chunk of a signed upload may be shorter than 8 KiB.
    InvalidChunkSize = "InvalidChunkSizeError", 403;
    InvalidDigest = "InvalidDigest", 400;
    InvalidEncryptionAlgorithm = "InvalidEncryptionAlgorithmError", 400;
    InvalidObjectState = "InvalidObjectState", 403;
    InvalidPart = "InvalidPart", 400;
    InvalidPartNumber = "InvalidPartNumber", 416;
    InvalidPartOrder = "InvalidPartOrder", 400;
    InvalidPolicyDocument = "InvalidPolicyDocument", 400;
    InvalidRange = "InvalidRange", 416;
    InvalidRedirectLocation = "InvalidRedirectLocation", 400;
    InvalidRequest = "InvalidRequest", 400;
    InvalidToken = "InvalidToken", 400;
    InvalidUri = "InvalidURI", 400;
    KeyTooLong = "KeyTooLongError", 400;
    KmsNotFound = "KMS.NotFoundException", 400;
    MalformedPostRequest = "MalformedPOSTRequest", 400;
    MalformedTrailer = "MalformedTrailerError", 400;
    MalformedXml = "MalformedXML", 400;
    MaxPostPreDataLengthExceeded = "MaxPostPreDataLengthExceeded", 400;
    MetadataTooLarge = "MetadataTooLarge", 400;
    MethodNotAllowed = "MethodNotAllowed", 405;
    MissingContentLength = "MissingContentLength", 411;
    MissingSecurityHeader = "MissingSecurityHeader", 400;
    NoSuchBucket = "NoSuchBucket", 404;
    NoSuchKey = "NoSuchKey", 404;
    NoSuchUpload = "NoSuchUpload", 404;
    NoSuchVersion = "NoSuchVersion", 404;
    NotImplemented = "NotImplemented", 501;
    NotModified = "NotModified", 304;
    PreconditionFailed = "PreconditionFailed", 412;
    RequestHeaderSectionTooLarge = "RequestHeaderSectionTooLarge", 400;
    RequestTimeTooSkewed = "RequestTimeTooSkewed", 403;
    RequestTimeout = "RequestTimeout", 400;
    ServerSideEncryptionConfigurationNotFound = "ServerSideEncryptionConfigurationNotFoundError", 404;
    ServiceUnavailable = "ServiceUnavailable", 503;
    SignatureDoesNotMatch = "SignatureDoesNotMatch", 403;
    SlowDown = "SlowDown", 503;
    XAmzContentSha256Mismatch = "XAmzContentSHA256Mismatch", 400;
}

/// One failed request: what the client is told, and what only the log may hold. Boxed, since it stands in the result
/// of almost every function.
pub struct Error(Box<Parts>);

struct Parts {
    blame: Blame,
    code: Code,
    message: Cow<'static, str>,
    fields: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
    repeat: Repeat,
}

/// What the same request would meet next, where more is known of it than who is to blame.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Repeat {
    Unknown,
    /// The same, until somebody acts.
    Same,
    /// Another object: the one that was read is being replaced.
    Another,
}

impl Error {
    fn new(blame: Blame, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let (fields, headers) = (Vec::new(), Vec::new());
        Self(Box::new(Parts {
            blame,
            code,
            message: message.into(),
            fields,
            headers,
            cause: None,
            repeat: Repeat::Unknown,
        }))
    }

    /// The client's fault. The message says what to change.
    pub fn client(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Client, code, message)
    }

    /// The backend's fault.
    pub fn backend(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Backend, code, message)
    }

    /// A key service's fault, or a key that is gone.
    pub fn keys(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Blame::Keys, code, message)
    }

    /// Stored bytes that do not authenticate. The client learns no more than that.
    pub fn tampered(cause: impl Into<String>) -> Self {
        Self::new(
            Blame::Tampered,
            Code::InternalError,
            "The stored object failed its integrity check and is not served. Tell the operator the request id.",
        )
        .because(cause)
    }

    /// Our own fault.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            Blame::Internal,
            Code::InternalError,
            "The proxy failed on this request. Tell the operator the request id.",
        )
        .because(cause)
    }

    /// Adds what only the log shows. Never put key material or signatures here.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds an element to the XML body, such as `("ServerTime", …)`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.fields.push((name, value.into()));
        self
    }

    /// Adds a response header, such as `Retry-After` or `x-amz-delete-marker`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Marks a server's error that the same request would get again, such as a key that is gone.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.0.repeat = Repeat::Same;
        self
    }

    /// Marks an error that comes of an object being replaced while it is looked at.
    #[must_use]
    pub fn replaced(mut self) -> Self {
        self.0.repeat = Repeat::Another;
        self
    }

    /// Whether what was read may have been two objects, one of which replaced the other meanwhile. Storage that finds headers
    /// and bytes by name, one after the other, mixes them in one answer, and then they look tampered with.
    pub fn may_be_of_two(&self) -> bool {
        self.0.blame == Blame::Tampered || self.0.repeat == Repeat::Another
    }

    /// Whether the same request would get the same answer until somebody acts: all that is the client's fault, stored
    /// bytes that do not authenticate, and what was marked so.
    pub fn is_lasting(&self) -> bool {
        self.0.repeat == Repeat::Same || matches!(self.0.blame, Blame::Client | Blame::Tampered)
    }

    /// Who has to act.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// The S3 code; its status is [`Code::status`].
    pub fn code(&self) -> &Code {
        &self.0.code
    }

    /// The sentence for the client.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Further XML elements.
    pub fn fields(&self) -> &[(&'static str, String)] {
        &self.0.fields
    }

    /// Further response headers.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// What only the log shows.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.0.code.name(), self.0.blame.as_str(), self.0.message)?;
        if let Some(cause) = &self.0.cause {
            write!(f, " [{cause}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_from_what_passes() {
        for lasting in [
            Error::client(Code::NoSuchKey, ""),
            Error::client(Code::InvalidObjectState, ""),
            Error::tampered(""),
            Error::keys(Code::ServiceUnavailable, "").lasting(),
        ] {
            assert!(lasting.is_lasting(), "{lasting}");
        }
        for passing in [
            Error::backend(Code::SlowDown, ""),
            Error::backend(Code::BadGateway, ""),
            Error::keys(Code::ServiceUnavailable, ""),
            Error::internal(""),
        ] {
            assert!(!passing.is_lasting(), "{passing}");
        }
    }
}
