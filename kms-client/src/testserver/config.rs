//! A configuration file of KES, as far as the test server follows it: address, admin, certificate, policies and the folder
//! that holds the keys. Of the other key stores it has none, and it caches nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Policy;

/// What such a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub(super) address: SocketAddr,
    pub(super) admin: Admin,
    pub(super) tls: Tls,
    policy: BTreeMap<String, FilePolicy>,
    pub(super) keystore: KeyStore,
    #[serde(rename = "cache")]
    _cache: IgnoredAny,
    #[serde(rename = "log")]
    _log: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// `disabled` is nobody's.
    pub(super) identity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) key: PathBuf,
    pub(super) cert: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicy {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    identities: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyStore {
    pub(super) fs: Folder,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Config {
    /// Reads the text of a file. As KES does it, `${NAME}` is replaced by what `variable` says of that name, where it is a
    /// whole value; identities are the values that need it.
    ///
    /// # Errors
    /// A sentence for whoever wrote the file.
    pub fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut config: Self = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
        let identities = config.policy.values_mut().flat_map(|policy| &mut policy.identities);
        for identity in identities.chain([&mut config.admin.identity]) {
            if let Some(name) = identity.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                *identity = variable(name).ok_or_else(|| format!("the variable {name} is not set"))?;
            }
        }
        Ok(config)
    }

    /// The policy of each identity.
    pub(super) fn policies(&self) -> BTreeMap<String, Policy> {
        let each = self.policy.values().flat_map(|policy| {
            let granted = Policy { allow: policy.allow.clone(), deny: policy.deny.clone() };
            policy.identities.iter().map(move |identity| (identity.clone(), granted.clone()))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../docker/kes/fs.yaml");

    #[test]
    fn the_file_of_the_compose_set_up_is_followed() {
        let config =
            Config::parse(FILE, |name| (name == "S3CLOAK_IDENTITY").then(|| "abc".to_owned())).unwrap();
        assert_eq!((config.address.port(), config.admin.identity.as_str()), (7373, "disabled"));
        let policies = config.policies();
        assert_eq!(policies.keys().collect::<Vec<_>>(), ["abc"]);
        assert!(policies["abc"].allows("/v1/key/generate/s3cloak-default"));
        assert!(
            !policies["abc"].allows("/v1/key/generate/other")
                && !policies["abc"].allows("/v1/key/delete/s3cloak-default")
        );
    }

    #[test]
    fn what_is_unknown_or_missing_is_told() {
        let fault = |text: &str| Config::parse(text, |_| None).err().unwrap();
        assert_eq!(fault(FILE), "the variable S3CLOAK_IDENTITY is not set");
        assert!(fault(&FILE.replace("cert:", "certificate:")).contains("certificate"));
        assert!(fault(&FILE.replace("  fs:", "  vault:")).contains("vault"));
        assert!(fault("address: 127.0.0.1:1").contains("admin"));
    }
}
