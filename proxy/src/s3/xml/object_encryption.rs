//! ObjectEncryption: what UpdateObjectEncryption asks for
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html>).

use super::tokens::{Broken, Tokens};
use crate::error::{Code, Error, Result};

/// The encryption that an object is to have: `aws:kms`, the only one that may be asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectEncryption {
    /// `KMSKeyArn`, as the client spells it.
    pub key_id: String,
    /// `BucketKeyEnabled`
    pub bucket_key: Option<bool>,
}

/// Reads it.
///
/// # Errors
/// MalformedXML for what is not the schema, InvalidRequest for an encryption that cannot be asked for.
pub fn parse_object_encryption(document: &[u8]) -> Result<ObjectEncryption> {
    let mut tokens = Tokens::new(document);
    tokens.root("ObjectEncryption").map_err(Broken::by_client)?;
    let mut asked = None;
    while let Some(name) = tokens.child().map_err(Broken::by_client)? {
        match name {
            b"SSE-KMS" if asked.is_none() => asked = Some(kms(&mut tokens)?),
            b"SSE-KMS" => return Err(Broken::new("SSE-KMS stands twice").by_client()),
            b"SSE-C" | b"DSSE-KMS" | b"SSE-KMS-DSSE" => {
                return Err(refused(
                    "The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or \
                     SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.",
                ));
            }
            _ => return Err(no_type()),
        }
    }
    tokens.end().map_err(Broken::by_client)?;
    asked.ok_or_else(no_type)
}

fn kms(tokens: &mut Tokens<'_>) -> Result<ObjectEncryption> {
    let (mut key_id, mut bucket_key) = (None, None);
    while let Some(name) = tokens.child().map_err(Broken::by_client)? {
        match name {
            b"KMSKeyArn" if key_id.is_none() => key_id = Some(tokens.text().map_err(Broken::by_client)?),
            b"BucketKeyEnabled" if bucket_key.is_none() => {
                bucket_key = Some(match tokens.text().map_err(Broken::by_client)?.trim() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        return Err(refused(
                            "The BucketKeyEnabled value isn't valid. Valid values are true or false. Modify the request \
                             to specify a valid value, and then try again.",
                        ));
                    }
                });
            }
            _ => return Err(Broken::new("an element is unknown, or stands twice").by_client()),
        }
    }
    let key_id = key_id.filter(|id| !id.trim().is_empty()).ok_or_else(|| {
        refused(
            "Requests that modify an object's encryption type to SSE-KMS require an Amazon Web Services KMS key Amazon \
             Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again.",
        )
    })?;
    Ok(ObjectEncryption { key_id, bucket_key })
}

fn no_type() -> Error {
    refused(
        "Requests that modify an object encryption configuration require a valid new encryption type. Valid values are \
         SSEKMS. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.",
    )
}

fn refused(message: &'static str) -> Error {
    Error::client(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<ObjectEncryption, String> {
        let document = format!("<ObjectEncryption xmlns=\"x\">{inside}</ObjectEncryption>");
        parse_object_encryption(document.as_bytes()).map_err(|error| error.code().name().to_owned())
    }

    #[test]
    fn a_key_is_asked_for() {
        for (inside, bucket_key) in [
            ("<SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS>", None),
            (
                "<SSE-KMS><BucketKeyEnabled>true</BucketKeyEnabled><KMSKeyArn>k</KMSKeyArn></SSE-KMS>",
                Some(true),
            ),
            (
                "<SSE-KMS><KMSKeyArn>k</KMSKeyArn><BucketKeyEnabled>false</BucketKeyEnabled></SSE-KMS>",
                Some(false),
            ),
        ] {
            assert_eq!(read(inside), Ok(ObjectEncryption { key_id: "k".to_owned(), bucket_key }), "{inside}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let key = "<KMSKeyArn>k</KMSKeyArn>";
        for (inside, code) in [
            (String::new(), "InvalidRequest"),
            ("<SSE-S3/>".to_owned(), "InvalidRequest"),
            ("<SSE-C/>".to_owned(), "InvalidRequest"),
            ("<DSSE-KMS/>".to_owned(), "InvalidRequest"),
            ("<SSE-KMS/>".to_owned(), "InvalidRequest"),
            ("<SSE-KMS><KMSKeyArn> </KMSKeyArn></SSE-KMS>".to_owned(), "InvalidRequest"),
            (format!("<SSE-KMS>{key}<BucketKeyEnabled>yes</BucketKeyEnabled></SSE-KMS>"), "InvalidRequest"),
            (format!("<SSE-KMS>{key}{key}</SSE-KMS>"), "MalformedXML"),
            (format!("<SSE-KMS>{key}<X/></SSE-KMS>"), "MalformedXML"),
            (format!("<SSE-KMS>{key}</SSE-KMS><SSE-KMS>{key}</SSE-KMS>"), "MalformedXML"),
        ] {
            assert_eq!(read(&inside), Err(code.to_owned()), "{inside}");
        }
        for bad in ["", "x", "<Other/>", "<ObjectEncryption>", "<ObjectEncryption/>x"] {
            assert!(parse_object_encryption(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
