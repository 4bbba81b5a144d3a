//! Error bodies as the client gets them. A backend's are read in `backend/failure.rs`.

use super::write::Writer;
use crate::error::Error;

/// What of the request an error body names.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorContext<'a> {
    /// The path as the client wrote it.
    pub resource: &'a str,
    /// The bucket, if one was named.
    pub bucket: Option<&'a str>,
    /// The key, if one was named.
    pub key: Option<&'a str>,
    /// `x-amz-request-id`
    pub request_id: &'a str,
    /// `x-amz-id-2`
    pub host_id: &'a str,
}

/// The body of an error answer
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses>).
/// An element that the error itself carries wins over the one of the request.
pub fn error_body(error: &Error, context: &ErrorContext<'_>) -> String {
    let mut writer = Writer::bare("Error");
    writer.text("Code", error.code().name());
    writer.text("Message", error.message());
    for (name, value) in error.fields() {
        writer.element(name, value);
    }
    let own = |name: &str| error.fields().iter().any(|(field, _)| *field == name);
    let rest = [
        ("Key", context.key),
        ("BucketName", context.bucket),
        ("Resource", Some(context.resource)),
        ("RequestId", Some(context.request_id)),
        ("HostId", Some(context.host_id)),
    ];
    for (name, value) in rest {
        match value {
            Some(value) if !own(name) => writer.text(name, value),
            _ => {}
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    const CONTEXT: ErrorContext<'static> = ErrorContext {
        resource: "/b/a&b",
        bucket: Some("b"),
        key: Some("a&b"),
        request_id: "0123456789ABCDEF",
        host_id: "host",
    };

    #[test]
    fn bodies_name_what_the_client_named() {
        let error =
            Error::client(Code::NoSuchKey, "The specified key does not exist.").because("secret cause");
        assert_eq!(
            error_body(&error, &CONTEXT),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>The specified key does not exist.</Message><Key>a&amp;b</Key><BucketName>b</BucketName>\
             <Resource>/b/a&amp;b</Resource><RequestId>0123456789ABCDEF</RequestId><HostId>host</HostId></Error>"
        );
    }

    #[test]
    fn the_errors_own_elements_win() {
        let error = Error::client(Code::KeyTooLong, "m").field("Key", "mine").field("Size", "2000");
        let body = error_body(&error, &CONTEXT);
        assert!(body.contains("<Message>m</Message><Key>mine</Key><Size>2000</Size><BucketName>"), "{body}");
        assert_eq!(body.matches("<Key>").count(), 1);
        let bare = error_body(&error, &ErrorContext::default());
        assert!(!bare.contains("BucketName"), "{bare}");
    }
}
