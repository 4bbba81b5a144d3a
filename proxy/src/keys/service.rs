//! From the configuration's key services to clients of `kms-client`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kms_client::KeyService;
use kms_client::kes::{ApiKey, Ca, Kes, KesConfig, KesIdentity};
use kms_client::local::LocalKeys;

use crate::config;
use crate::error::{Error, Result};

/// Every configured service, by name.
pub(super) fn connect(keys: &config::Keys) -> Result<BTreeMap<String, Arc<dyn KeyService>>> {
    keys.services
        .iter()
        .map(|(name, service)| {
            let fault = |what: String| Error::internal(format!("keys.services.{name}: {what}"));
            let service: Arc<dyn KeyService> = match service {
                config::KeyServiceConfig::Kes(kes) => Arc::new(connect_kes(kes).map_err(fault)?),
                config::KeyServiceConfig::Local { path } => Arc::new(
                    LocalKeys::open(path)
                        .map_err(|e| fault(format!("cannot open the folder {}: {e}", path.display())))?,
                ),
            };
            Ok((name.clone(), service))
        })
        .collect()
}

fn connect_kes(kes: &config::KesConfig) -> std::result::Result<Kes, String> {
    let identity = match &kes.identity {
        config::KesIdentity::ApiKey(key) => {
            KesIdentity::ApiKey(ApiKey::parse(key.expose()).map_err(|e| e.to_string())?)
        }
        config::KesIdentity::Certificate(files) => KesIdentity::Certificate {
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
        },
    };
    let ca = kes.ca.clone().map(Ca::File);
    Kes::new(KesConfig { endpoints: kes.endpoints.clone(), identity, ca, timeout: kes.timeout })
        .map_err(|e| e.to_string())
}
