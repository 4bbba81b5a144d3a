//! ServerSideEncryptionConfiguration: a bucket's default encryption as clients put and get it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html>).

use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::config::SseMode;
use crate::error::{Code, Error, Result};

/// The one rule of a configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EncryptionRule {
    /// `ApplyServerSideEncryptionByDefault`; absent in a rule that only blocks.
    pub default: Option<DefaultEncryption>,
    /// `BucketKeyEnabled`
    pub bucket_key: Option<bool>,
    /// `BlockedEncryptionTypes`: whether writes under customers' keys are blocked. `None` where the rule does not say.
    pub blocks_customer_keys: Option<bool>,
}

/// `ApplyServerSideEncryptionByDefault`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefaultEncryption {
    /// `SSEAlgorithm`
    pub mode: SseMode,
    /// `KMSMasterKeyID` as the client spells it; only with `aws:kms`.
    pub key_id: Option<String>,
}

/// Reads a client's configuration.
///
/// # Errors
/// MalformedXML for what is not the schema: not one rule, a rule that says nothing, an unknown algorithm, a key id beside
/// AES256 or with blanks around it. InvalidArgument for methods of AWS that are known and not here.
pub fn parse_encryption(body: &[u8]) -> Result<EncryptionRule> {
    let mut tokens = Tokens::new(body);
    tokens.root("ServerSideEncryptionConfiguration").map_err(faulty)?;
    let mut rule = None;
    while let Some(name) = tokens.child().map_err(faulty)? {
        match name {
            b"Rule" if rule.is_none() => rule = Some(parse_rule(&mut tokens)?),
            b"Rule" => return Err(faulty(Broken::new("there is more than one Rule"))),
            other => return Err(unknown(other)),
        }
    }
    tokens.end().map_err(faulty)?;
    rule.ok_or_else(|| faulty(Broken::new("there is no Rule")))
}

fn parse_rule(tokens: &mut Tokens<'_>) -> Result<EncryptionRule> {
    let mut rule = EncryptionRule::default();
    while let Some(name) = tokens.child().map_err(faulty)? {
        match name {
            b"ApplyServerSideEncryptionByDefault" if rule.default.is_none() => {
                rule.default = Some(parse_default(tokens)?);
            }
            b"BucketKeyEnabled" if rule.bucket_key.is_none() => {
                rule.bucket_key = Some(match tokens.text().map_err(faulty)?.trim() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(faulty(Broken::new("BucketKeyEnabled is neither true nor false"))),
                });
            }
            b"BlockedEncryptionTypes" if rule.blocks_customer_keys.is_none() => {
                rule.blocks_customer_keys = Some(parse_blocked(tokens)?);
            }
            other => return Err(unknown(other)),
        }
    }
    if rule.default.is_none() && rule.blocks_customer_keys.is_none() {
        return Err(faulty(Broken::new("the Rule has no ApplyServerSideEncryptionByDefault")));
    }
    Ok(rule)
}

fn parse_default(tokens: &mut Tokens<'_>) -> Result<DefaultEncryption> {
    let (mut algorithm, mut key_id) = (None, None);
    while let Some(name) = tokens.child().map_err(faulty)? {
        let slot = match name {
            b"SSEAlgorithm" => &mut algorithm,
            b"KMSMasterKeyID" => &mut key_id,
            other => return Err(unknown(other)),
        };
        if slot.replace(tokens.text().map_err(faulty)?).is_some() {
            return Err(faulty(Broken::new("an element stands twice")));
        }
    }
    let mode = match algorithm.as_deref() {
        Some("AES256") => SseMode::SseS3,
        Some("aws:kms") => SseMode::SseKms,
        Some(other @ ("aws:kms:dsse" | "aws:fsx" | "aws:backup")) => {
            return Err(Error::client(
                Code::InvalidArgument,
                format!("The encryption method {other} is not supported. Use AES256 or aws:kms."),
            ));
        }
        Some(_) => return Err(faulty(Broken::new("SSEAlgorithm is neither AES256 nor aws:kms"))),
        None => return Err(faulty(Broken::new("there is no SSEAlgorithm"))),
    };
    let key_id = key_id.filter(|id| !id.is_empty());
    if let Some(id) = &key_id {
        if mode == SseMode::SseS3 {
            return Err(faulty(Broken::new("KMSMasterKeyID goes with aws:kms only")));
        }
        if id.trim() != id {
            return Err(faulty(Broken::new("KMSMasterKeyID has blanks around it")));
        }
    }
    Ok(DefaultEncryption { mode, key_id })
}

fn parse_blocked(tokens: &mut Tokens<'_>) -> Result<bool> {
    let mut said = None;
    while let Some(name) = tokens.child().map_err(faulty)? {
        if name != b"EncryptionType" {
            return Err(unknown(name));
        }
        let blocks = match tokens.text().map_err(faulty)?.as_str() {
            "SSE-C" => true,
            "NONE" => false,
            _ => return Err(faulty(Broken::new("EncryptionType is neither SSE-C nor NONE"))),
        };
        if said.is_some_and(|before| before != blocks) {
            return Err(faulty(Broken::new("NONE stands beside another EncryptionType")));
        }
        said = Some(blocks);
    }
    said.ok_or_else(|| faulty(Broken::new("BlockedEncryptionTypes names no EncryptionType")))
}

/// A fault that the client is told in full: its document holds no secrets.
fn faulty(broken: Broken) -> Error {
    let Broken(why) = broken;
    Error::client(
        Code::MalformedXml,
        format!(
            "The XML you provided was not well-formed or did not validate against our published schema ({why})"
        ),
    )
}

fn unknown(name: &[u8]) -> Error {
    let name: String = String::from_utf8_lossy(name).chars().take(64).collect();
    faulty(Broken::new(format!("the element {name} is unknown, or stands twice")))
}

/// Writes a configuration as S3 does.
pub fn render_encryption(rule: &EncryptionRule) -> String {
    let mut writer = Writer::new("ServerSideEncryptionConfiguration");
    writer.open("Rule");
    if let Some(default) = &rule.default {
        writer.open("ApplyServerSideEncryptionByDefault");
        writer.text(
            "SSEAlgorithm",
            match default.mode {
                SseMode::SseS3 => "AES256",
                SseMode::SseKms => "aws:kms",
            },
        );
        if let Some(id) = &default.key_id {
            writer.text("KMSMasterKeyID", id);
        }
        writer.close();
    }
    if let Some(enabled) = rule.bucket_key {
        writer.text("BucketKeyEnabled", if enabled { "true" } else { "false" });
    }
    if let Some(blocks) = rule.blocks_customer_keys {
        writer.open("BlockedEncryptionTypes");
        writer.text("EncryptionType", if blocks { "SSE-C" } else { "NONE" });
        writer.close();
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rule: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<ServerSideEncryptionConfiguration xmlns=\"{}\">{rule}</ServerSideEncryptionConfiguration>",
            super::super::NAMESPACE
        )
    }

    fn apply(inside: &str) -> String {
        document(&format!(
            "<Rule><ApplyServerSideEncryptionByDefault>{inside}</ApplyServerSideEncryptionByDefault></Rule>"
        ))
    }

    #[test]
    fn rules_go_round() {
        let kms = |key_id: Option<&str>| {
            Some(DefaultEncryption { mode: SseMode::SseKms, key_id: key_id.map(str::to_owned) })
        };
        let s3 = Some(DefaultEncryption { mode: SseMode::SseS3, key_id: None });
        for (default, bucket_key, blocks_customer_keys) in [
            (s3.clone(), None, None),
            (s3, Some(false), Some(false)),
            (kms(None), Some(true), None),
            (kms(Some("arn:aws:kms:us-east-1:1:key/a&b")), Some(false), Some(true)),
            (None, None, Some(true)),
            (None, Some(true), Some(false)),
        ] {
            let rule = EncryptionRule { default, bucket_key, blocks_customer_keys };
            assert_eq!(parse_encryption(render_encryption(&rule).as_bytes()).unwrap(), rule);
        }
        let empty_id = apply("<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID/>");
        assert_eq!(parse_encryption(empty_id.as_bytes()).unwrap().default.unwrap().key_id, None);
    }

    #[test]
    fn everything_else_is_malformed() {
        let good = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                    </ApplyServerSideEncryptionByDefault></Rule>";
        let beside = |more: &str| document(&good.replace("</Rule>", &format!("{more}</Rule>")));
        assert!(parse_encryption(document(good).as_bytes()).is_ok());
        for bad in [
            String::new(),
            "x".to_owned(),
            "<Rule/>".to_owned(),
            document(""),
            document(&good.repeat(2)),
            document("<Rule/>"),
            document("<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>"),
            document("<Other/>"),
            document(good).replace("</Rule>", "</Rule>text"),
            apply(""),
            apply("<SSEAlgorithm/>"),
            apply("<SSEAlgorithm>aes256</SSEAlgorithm>"),
            apply("<SSEAlgorithm>AES128</SSEAlgorithm>"),
            apply("<SSEAlgorithm> AES256</SSEAlgorithm>"),
            apply("<SSEAlgorithm>AES256</SSEAlgorithm><SSEAlgorithm>AES256</SSEAlgorithm>"),
            apply("<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>"),
            apply("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID> k</KMSMasterKeyID>"),
            apply("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>k\n</KMSMasterKeyID>"),
            apply("<KMSMasterKeyID>k</KMSMasterKeyID>"),
            apply("<SSEAlgorithm>AES256</SSEAlgorithm><X/>"),
            beside("<BucketKeyEnabled>yes</BucketKeyEnabled>"),
            beside("<BucketKeyEnabled>true</BucketKeyEnabled><BucketKeyEnabled>true</BucketKeyEnabled>"),
            beside("<BlockedEncryptionTypes/>"),
            beside(
                "<BlockedEncryptionTypes><EncryptionType>AES256</EncryptionType></BlockedEncryptionTypes>",
            ),
            beside(
                "<BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType><EncryptionType>SSE-C</EncryptionType>\
                 </BlockedEncryptionTypes>",
            ),
        ] {
            assert_eq!(parse_encryption(bad.as_bytes()).unwrap_err().code(), &Code::MalformedXml, "{bad}");
        }
        for method in ["aws:kms:dsse", "aws:fsx", "aws:backup"] {
            let error = parse_encryption(apply(&format!("<SSEAlgorithm>{method}</SSEAlgorithm>")).as_bytes());
            let error = error.unwrap_err();
            assert!(*error.code() == Code::InvalidArgument && error.message().contains(method), "{error}");
        }
    }
}
