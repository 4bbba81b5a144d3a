//! The server's certificate: read and checked once before Pingora starts (which panics on bad files), and again
//! whenever the files change.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

/// The certificate that new handshakes get.
#[derive(Debug)]
pub(super) struct ReloadingCertificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
    seen: parking_lot::Mutex<Option<(SystemTime, SystemTime)>>,
}

impl ReloadingCertificate {
    /// Reads the files; the error says which one is bad and why.
    pub(super) fn load(files: &TlsFiles) -> Result<Arc<Self>, String> {
        let seen = modified(files);
        Ok(Arc::new(Self {
            files: files.clone(),
            current: ArcSwap::from_pointee(read(files)?),
            seen: parking_lot::Mutex::new(seen),
        }))
    }

    /// Reads the files again if they changed. A bad pair is reported and the old one stays.
    pub(super) fn refresh(&self) {
        let now = modified(&self.files);
        let mut seen = self.seen.lock();
        if now == *seen {
            return;
        }
        match read(&self.files) {
            Ok(key) => {
                self.current.store(Arc::new(key));
                *seen = now;
                tracing::info!(certificate = %self.files.certificate.display(), "TLS certificate reloaded");
            }
            Err(error) => tracing::warn!(%error, "TLS certificate not reloaded; the old one stays"),
        }
    }
}

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn modified(files: &TlsFiles) -> Option<(SystemTime, SystemTime)> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    Some((time(&files.certificate)?, time(&files.private_key)?))
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, String> {
    let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| at(&files.certificate, &e))?;
    if chain.is_empty() {
        return Err(at(&files.certificate, &"no PEM certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.private_key).map_err(|e| at(&files.private_key, &e))?;
    let signer = any_supported_type(&key).map_err(|e| at(&files.private_key, &e))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(at(&files.private_key, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: dir.join(format!("{name}.crt")),
            private_key: dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.private_key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_changed_pair_is_taken_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), "a");
        let loaded = ReloadingCertificate::load(&files).unwrap();
        let first = loaded.current.load_full().cert[0].clone();

        std::fs::write(&files.certificate, "nonsense").unwrap();
        *loaded.seen.lock() = None;
        loaded.refresh();
        assert_eq!(loaded.current.load_full().cert[0], first);

        write(dir.path(), "a");
        *loaded.seen.lock() = None;
        loaded.refresh();
        assert_ne!(loaded.current.load_full().cert[0], first);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (write(dir.path(), "a"), write(dir.path(), "b"));
        let mixed = TlsFiles { certificate: a.certificate, private_key: b.private_key };
        assert!(ReloadingCertificate::load(&mixed).is_err());
    }
}
