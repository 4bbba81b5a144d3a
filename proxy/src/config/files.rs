//! PEM files that the configuration names: there, readable, and holding what they should. Their content is not kept.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFiles;
use super::reader::{Map, Value};

/// `{ certificate, private_key }`, both there.
pub(super) fn pair(map: &Map<'_>) -> Option<TlsFiles> {
    let (certificate, private_key) = named(map);
    let certificate = certificate.and_then(|value| certificates(&value));
    let private_key = private_key.and_then(|value| {
        let path = value.path()?;
        match PrivateKeyDer::from_pem_file(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                refuse(&value, &path, "a private key", &error);
                None
            }
        }
    });
    Some(TlsFiles { certificate: certificate?, private_key: private_key? })
}

/// `{ certificate, private_key }`, which somebody else reads.
pub(super) fn unread_pair(map: &Map<'_>) -> Option<TlsFiles> {
    let (certificate, private_key) = named(map);
    let (certificate, private_key) =
        (certificate.and_then(|value| value.path()), private_key.and_then(|value| value.path()));
    Some(TlsFiles { certificate: certificate?, private_key: private_key? })
}

fn named<'a>(map: &Map<'a>) -> (Option<Value<'a>>, Option<Value<'a>>) {
    (
        map.need("certificate", "Name a PEM file with the certificate chain, leaf first."),
        map.need("private_key", "Name a PEM file with the private key."),
    )
}

/// A PEM file with at least one certificate.
pub(super) fn certificates(value: &Value<'_>) -> Option<std::path::PathBuf> {
    let path = value.path()?;
    let first = CertificateDer::pem_file_iter(&path)
        .and_then(|mut all| all.next().unwrap_or(Err(rustls_pki_types::pem::Error::NoItemsFound)));
    match first {
        Ok(_) => Some(path),
        Err(error) => {
            refuse(value, &path, "a certificate", &error);
            None
        }
    }
}

fn refuse(value: &Value<'_>, path: &Path, what: &str, error: &rustls_pki_types::pem::Error) {
    let why = match error {
        rustls_pki_types::pem::Error::NoItemsFound => {
            format!("it holds no {}", what.trim_start_matches("a "))
        }
        rustls_pki_types::pem::Error::Io(error) => error.to_string(),
        // Other errors may quote the content.
        _ => "it is not well-formed PEM".to_owned(),
    };
    value.fault(
        format!("cannot use {}: {why}", path.display()),
        format!(
            "Name a readable PEM file with {what}; relative paths count from the configuration's folder."
        ),
    );
}
