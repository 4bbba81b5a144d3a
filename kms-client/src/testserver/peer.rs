//! TLS of the test server: its own CA and certificate, and who the client is. KES looks at the public key of the one
//! client certificate that is not a CA's, and at nothing else of it.

use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;

/// A CA and a server certificate for loopback, PEM.
#[derive(Clone)]
pub(super) struct Pems {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

pub(super) fn make_certificates() -> Result<Pems, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Names that differ: OpenSSL takes a certificate for self-signed where subject and issuer are equal.
    ca.distinguished_name.push(rcgen::DnType::CommonName, "kes-testd CA");
    let ca_certificate = ca.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    for address in [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()] {
        server.subject_alt_names.push(SanType::IpAddress(address));
    }
    let certificate = server.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;
    Ok(Pems { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

pub(super) fn server_config(
    pems: &Pems,
    http2: bool,
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = AnyClient(provider.signature_verification_algorithms);
    let chain = CertificateDer::pem_slice_iter(pems.certificate.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    if http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// Any certificate will do, but there must be one (`tls.auth: off`).
#[derive(Debug)]
struct AnyClient(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The identity behind a chain, or KES's complaint about it.
pub(super) fn identity(chain: &[CertificateDer<'_>]) -> Result<String, &'static str> {
    let mut found = None;
    for certificate in chain {
        let (spki, is_ca) = inspect(certificate).ok_or("tls: client certificate is required")?;
        if is_ca {
            continue;
        }
        if found.is_some() {
            return Err("tls: received more than one client certificate");
        }
        found = Some(hex::encode(digest::digest(&digest::SHA256, spki)));
    }
    found.ok_or("tls: client certificate is required")
}

/// SubjectPublicKeyInfo with its header, and whether BasicConstraints say CA (RFC 5280 section 4.1).
fn inspect(certificate: &[u8]) -> Option<(&[u8], bool)> {
    let (_, _, outer, _) = der(certificate)?;
    let (_, _, mut rest, _) = der(outer)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (tag, whole, content, after) = der(rest)?;
        fields.push((tag, whole, content));
        rest = after;
    }
    let version = usize::from(fields.first()?.0 == 0xa0);
    let spki = fields.get(version + 5)?.1;
    let extensions = fields.iter().find(|f| f.0 == 0xa3).map(|f| f.2).unwrap_or_default();
    // extnID 2.5.29.19, maybe `critical`, then an OCTET STRING around SEQUENCE { BOOLEAN cA ... }
    let id = [0x06, 0x03, 0x55, 0x1d, 0x13];
    let is_ca = extensions
        .windows(id.len())
        .position(|w| w == id)
        .map(|at| &extensions[at + id.len()..])
        .and_then(|after| {
            let (tag, _, content, next) = der(after)?;
            let value = if tag == 0x01 { der(next)?.2 } else { content };
            Some(der(value)?.2.starts_with(&[0x01, 0x01, 0xff]))
        })
        .unwrap_or(false);
    Some((spki, is_ca))
}

/// Tag, the whole element, its content, what follows it.
type Element<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

/// Splits one DER element off.
fn der(input: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))?, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, &input[..input.len() - after.len()], content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_of_certificates_are_those_of_the_service() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/kes-vectors.json")).unwrap();
        for case in vectors["cert_identities"].as_array().unwrap() {
            let der = CertificateDer::from_pem_slice(case["cert_pem"].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(
                identity(&[der]),
                Ok(case["identity"].as_str().unwrap().to_owned()),
                "{}",
                case["kind"]
            );
        }
    }

    #[test]
    fn a_ca_is_nobody() {
        let pems = make_certificates().unwrap();
        let ca = CertificateDer::from_pem_slice(pems.ca.as_bytes()).unwrap();
        let leaf = CertificateDer::from_pem_slice(pems.certificate.as_bytes()).unwrap();
        assert_eq!(identity(std::slice::from_ref(&ca)), Err("tls: client certificate is required"));
        assert_eq!(identity(&[]), Err("tls: client certificate is required"));
        assert!(identity(&[leaf.clone(), ca]).is_ok());
        assert_eq!(identity(&[leaf.clone(), leaf]), Err("tls: received more than one client certificate"));
        assert!(identity(&[CertificateDer::from(&b"\x30\x05"[..])]).is_err());
    }
}
