//! Error bodies: ours to the client, and the backend's read for its code and message.

use super::tokens::{Broken, Tokens};
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

/// A backend's error body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendError {
    /// `<Code>`
    pub code: String,
    /// `<Message>`; empty where there is none.
    pub message: String,
    /// Every other element that holds text only.
    pub fields: Vec<(String, String)>,
}

impl BackendError {
    /// The first other element of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads an error body. `None` where it is not an `<Error>` with a code: an HTML page, an empty body, a cut one.
pub fn parse_error(body: &[u8]) -> Option<BackendError> {
    read(body).ok().filter(|error| !error.code.is_empty())
}

fn read(body: &[u8]) -> Result<BackendError, Broken> {
    let mut tokens = Tokens::new(body);
    tokens.root("Error")?;
    let mut error = BackendError::default();
    while let Some(name) = tokens.child()? {
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(text) = tokens.leaf()? else { continue };
        match name.as_str() {
            "Code" => error.code = text,
            "Message" => error.message = text,
            _ => error.fields.push((name, text)),
        }
    }
    tokens.end()?;
    Ok(error)
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

    #[test]
    fn what_is_written_is_read() {
        let error = Error::client(Code::InvalidRange, "<m>").field("ActualObjectSize", "5");
        let read = parse_error(error_body(&error, &CONTEXT).as_bytes()).unwrap();
        assert_eq!((read.code.as_str(), read.message.as_str()), ("InvalidRange", "<m>"));
        assert_eq!(read.field("ActualObjectSize"), Some("5"));
        assert_eq!(read.field("Nothing"), None);
    }

    #[test]
    fn backends_may_add_what_they_like() {
        let body = b"  <?xml version='1.0'?><Error xmlns='u'><Code>SlowDown</Code><X><Y/>z</X><Z/></Error>\n";
        let read = parse_error(body).unwrap();
        assert_eq!((read.code.as_str(), read.message.as_str(), read.field("Z")), ("SlowDown", "", Some("")));
        assert_eq!(read.field("X"), None);
    }

    #[test]
    fn what_is_no_error_body_is_none() {
        for other in [
            "",
            "<html><body>502</body></html>",
            "<Error><Code>A</Code>",
            "<Error><Message>m</Message></Error>",
            "<Error><Code>A</Code></Error><Error/>",
            "{\"code\":1}",
            "<ListBucketResult/>",
        ] {
            assert_eq!(parse_error(other.as_bytes()), None, "{other}");
        }
    }
}
