//! Documents that are passed on only after a look into them.

use http::StatusCode;

use crate::error::{Code, Error, Result};
use crate::ops::Route;
use crate::s3::operation::Operation;
use crate::s3::xml::first_text;
use crate::services::Services;

/// Refuses documents on which the backend would do harm: to ciphertext, or to our own area.
pub(super) fn refuse_harmful(
    services: &Services,
    route: &Route<'_>,
    operation: Operation,
    document: &[u8],
) -> Result<()> {
    match operation {
        Operation::PutBucketPolicy => policy(document),
        Operation::RestoreObject => restore(document),
        Operation::PutBucketLogging => {
            let hidden =
                |name: &str| services.backends.iter().any(|b| b.config().system.bucket.as_str() == name);
            match first_text(document, "TargetBucket")? {
                Some(target) if hidden(&target) => Err(Error::client(
                    Code::AccessDenied,
                    "The target bucket is the proxy's own. Log to another bucket.",
                )),
                _ => Ok(()),
            }
        }
        Operation::PutBucketVersioning
        | Operation::PutBucketLifecycleConfiguration
        | Operation::PutObjectLockConfiguration
            if route.backend.config().system.bucket == *route.bucket =>
        {
            Err(Error::client(
                Code::AccessDenied,
                "This bucket also holds the proxy's own state, which versions, locks and lifecycle rules would break. \
                 Give the proxy a bucket of its own under `system.bucket` first.",
            ))
        }
        _ => Ok(()),
    }
}

/// Conditions on SSE headers are refused: the backend never sees those headers, so that the usual
/// "deny what is not encrypted" would deny everything.
fn policy(document: &[u8]) -> Result<()> {
    let malformed = |message: String| {
        Error::client(
            Code::Backend { name: "MalformedPolicy".to_owned(), status: StatusCode::BAD_REQUEST },
            message,
        )
    };
    if document.first() != Some(&b'{') {
        return Err(malformed("Policies must be valid JSON and the first byte must be '{'".to_owned()));
    }
    let policy: serde_json::Value = serde_json::from_slice(document)
        .map_err(|e| malformed("This policy contains invalid Json".to_owned()).because(e.to_string()))?;
    match sse_condition(&policy) {
        None => Ok(()),
        Some(key) => Err(malformed(format!(
            "The condition key {key} cannot be used: the proxy encrypts every object itself, and the storage behind \
             it never sees encryption headers. Remove the condition."
        ))),
    }
}

/// The first condition key on an SSE header, as the policy spells it.
fn sse_condition(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::Object(map) => map.iter().find_map(|(name, inner)| {
            let is_sse = name.to_ascii_lowercase().starts_with("s3:x-amz-server-side-encryption");
            if is_sse { Some(name.as_str()) } else { sse_condition(inner) }
        }),
        serde_json::Value::Array(items) => items.iter().find_map(sse_condition),
        _ => None,
    }
}

/// A restore that selects, or writes elsewhere, would run on ciphertext.
fn restore(document: &[u8]) -> Result<()> {
    for element in ["SelectParameters", "OutputLocation"] {
        if first_text(document, element)?.is_some() {
            return Err(Error::client(
                Code::NotImplemented,
                "A restore with SelectParameters or OutputLocation is not implemented: the storage behind the proxy \
                 holds only ciphertext.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_on_sse_headers_are_refused() {
        let with = |condition: &str| {
            format!(
                "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Deny\",\"Principal\":\"*\",\
                 \"Action\":\"s3:PutObject\",\"Resource\":\"arn:aws:s3:::b/*\",\"Condition\":{condition}}}]}}"
            )
        };
        for bad in [
            "{\"StringNotEquals\":{\"s3:x-amz-server-side-encryption\":\"AES256\"}}",
            "{\"Null\":{\"S3:X-Amz-Server-Side-Encryption-aws-kms-key-id\":true}}",
        ] {
            let error = policy(with(bad).as_bytes()).unwrap_err();
            assert_eq!(
                (error.code().name(), error.code().status().as_u16()),
                ("MalformedPolicy", 400),
                "{bad}"
            );
            assert!(error.message().to_lowercase().contains("s3:x-amz-server-side-encryption"), "{error}");
        }
        assert!(policy(with("{\"Bool\":{\"aws:SecureTransport\":\"false\"}}").as_bytes()).is_ok());
        assert_eq!(policy(b"").unwrap_err().code().name(), "MalformedPolicy");
        assert_eq!(policy(b"<Policy/>").unwrap_err().code().name(), "MalformedPolicy");
        assert!(policy(("{\"a\":".to_owned() + &"[".repeat(100_000)).as_bytes()).is_err());
        assert!(policy(b"{").unwrap_err().message().contains("invalid Json"));
        assert!(policy(b" {}").unwrap_err().message().contains("first byte"));
    }

    #[test]
    fn restores_that_read_are_refused() {
        assert!(restore(b"").is_ok());
        assert!(restore(b"<RestoreRequest><Days>1</Days></RestoreRequest>").is_ok());
        for bad in [
            &b"<RestoreRequest><Type>SELECT</Type><SelectParameters><X/></SelectParameters></RestoreRequest>"
                [..],
            b"<RestoreRequest><OutputLocation/></RestoreRequest>",
        ] {
            assert_eq!(restore(bad).unwrap_err().code(), &Code::NotImplemented);
        }
        assert_eq!(restore(b"<RestoreRequest>").unwrap_err().code(), &Code::MalformedXml);
    }
}
