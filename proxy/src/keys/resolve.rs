//! From what a client or a bucket rule calls a key to its service and name. Pure; nobody is asked whether it exists.

use std::collections::BTreeMap;
use std::fmt;

use kms_client::KeyName;

use crate::error::{Code, Error, Result};

/// An external key: a service and a name in it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResolvedKey {
    /// Name of the key service in the configuration.
    pub service: String,
    /// Name of the key there.
    pub name: KeyName,
}

impl fmt::Display for ResolvedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

/// What spellings are read with.
pub(super) struct Spellings {
    /// Names of the configured services.
    pub(super) services: Vec<String>,
    /// The service of names that tell none.
    pub(super) service: String,
    /// Spelling or bare name -> `name` or `service/name`.
    pub(super) aliases: BTreeMap<String, String>,
}

impl Spellings {
    /// `name`, `service/name`, `alias/name`, `arn:aws:kms:name`, `arn:aws:kms:region:account:{key,alias}/name`, each
    /// also through the aliases, by its whole spelling or by the name in it.
    pub(super) fn resolve(&self, spelling: &str) -> Result<ResolvedKey> {
        let bare = bare(spelling);
        let target =
            self.aliases.get(spelling).or_else(|| self.aliases.get(bare)).map_or(bare, String::as_str);
        self.qualified(target).ok_or_else(|| unknown(spelling))
    }

    /// `name` or `service/name`.
    pub(super) fn qualified(&self, text: &str) -> Option<ResolvedKey> {
        let (service, name) = match text.split_once('/') {
            Some((service, name)) if self.services.iter().any(|s| s == service) => (service, name),
            Some(_) => return None,
            None => (self.service.as_str(), text),
        };
        Some(ResolvedKey { service: service.to_owned(), name: KeyName::new(name).ok()? })
    }
}

/// The name within a spelling; a spelling of no known form is its own name.
fn bare(spelling: &str) -> &str {
    let Some(arn) = spelling.strip_prefix("arn:aws").and_then(|rest| {
        let (partition, rest) = rest.split_once(':')?;
        let ok = partition.is_empty() || partition.starts_with('-');
        rest.strip_prefix("kms:").filter(|_| ok)
    }) else {
        return spelling.strip_prefix("alias/").unwrap_or(spelling);
    };
    let mut fields = arn.splitn(3, ':');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(name), None, None) => name, // MinIO's short form
        (Some(_region), Some(_account), Some(resource)) => {
            resource.strip_prefix("key/").or_else(|| resource.strip_prefix("alias/")).unwrap_or(spelling)
        }
        _ => spelling,
    }
}

fn unknown(spelling: &str) -> Error {
    let shown: String = spelling.chars().take(200).collect();
    Error::client(
        Code::KmsNotFound,
        format!(
            "Invalid keyId '{shown}'. Name a key as NAME, alias/NAME or arn:aws:kms:REGION:ACCOUNT:key/NAME, where NAME is \
             1 to 80 of A-Z a-z 0-9 _ -, or ask the operator to add the spelling to keys.aliases."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings() -> Spellings {
        let aliases = [
            ("aws/s3", "default-key"),
            ("alias/team", "second/team-key"),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", "moved"),
            ("arn:aws:kms:eu-west-1:1:key/mine", "second/mine"),
            ("broken", "no such service/x"),
        ];
        Spellings {
            services: vec!["main".to_owned(), "second".to_owned()],
            service: "main".to_owned(),
            aliases: aliases.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }

    #[test]
    fn every_spelling_finds_its_key() {
        for (spelling, key) in [
            ("app", "main/app"),
            ("second/app", "second/app"),
            ("main/app", "main/app"),
            ("alias/app", "main/app"),
            ("arn:aws:kms:app", "main/app"),
            ("arn:aws:kms:us-east-1:123456789012:key/app", "main/app"),
            ("arn:aws:kms:us-east-1:123456789012:alias/app", "main/app"),
            ("arn:aws-cn:kms:cn-north-1:1:key/app", "main/app"),
            ("alias/aws/s3", "main/default-key"),
            ("arn:aws:kms:us-east-1:1:alias/aws/s3", "main/default-key"),
            ("alias/team", "second/team-key"),
            ("team", "main/team"),
            ("arn:aws:kms:us-east-1:1:key/1234abcd-12ab-34cd-56ef-1234567890ab", "main/moved"),
            ("arn:aws:kms:eu-west-1:1:key/mine", "second/mine"),
            ("arn:aws:kms:us-west-1:1:key/mine", "main/mine"),
        ] {
            assert_eq!(spellings().resolve(spelling).unwrap().to_string(), key, "{spelling}");
        }
    }

    #[test]
    fn anything_else_is_no_key() {
        for spelling in [
            "",
            "a.b",
            "third/app",
            "alias/",
            "alias/a/b",
            "broken",
            "arn:aws:s3:::bucket",
            "arn:aws:kms:",
            "arn:aws:kms:us-east-1:app",
            "arn:aws:kms:us-east-1:1:grant/app",
            "arn:aws:kms:us-east-1:1:key/",
            "arn:awsx:kms:app",
            "../../etc",
            "%2e",
            "second/",
            "-app",
        ] {
            let error = spellings().resolve(spelling).unwrap_err();
            assert_eq!((error.code().name(), error.code().status().as_u16()), ("KMS.NotFoundException", 400));
        }
    }
}
