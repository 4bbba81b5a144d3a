//! KES API keys: an Ed25519 seed, the identity that KES knows it by, and the client certificate that proves it.
//! The certificate is made here and never stored; KES looks at its public key alone.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SerialNumber,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::ConfigError;

const PREFIX: &str = "kes:v1:";
/// PKCS#8 of an Ed25519 seed up to the seed (RFC 8410 section 7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// SubjectPublicKeyInfo of an Ed25519 key up to the key (RFC 8410 section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Life of a certificate: what the official client gives it.
pub(super) const LIFE: Duration = Duration::hours(2160);

/// `kes:v1:` and base64 of a type byte 0 and a 32-byte seed. The prefix may be left out.
pub struct ApiKey {
    seed: Zeroizing<[u8; 32]>,
}

impl ApiKey {
    /// Reads an API key as `kes identity new` prints it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = STANDARD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| ConfigError::ApiKey("it is not 'kes:v1:' followed by base64"))?;
        match bytes.split_first() {
            Some((0, seed)) => {
                seed.try_into().map(|seed| Self { seed: Zeroizing::new(seed) }).map_err(|_| {
                    ConfigError::ApiKey("its length is wrong: 33 bytes in base64 are 44 characters")
                })
            }
            Some(_) => Err(ConfigError::ApiKey("its type is not supported: only Ed25519 keys (type 0) are")),
            None => Err(ConfigError::ApiKey("it is empty")),
        }
    }

    /// An API key of a given seed.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self { seed }
    }

    /// The key as text, for configuration files.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[1..].copy_from_slice(&*self.seed);
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(bytes.as_slice())))
    }

    /// What KES knows the holder by: lower-case hex of SHA-256 over the DER of the public key.
    pub fn identity(&self) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*self.seed)
            .expect("every 32 bytes are an Ed25519 seed, and the length is in the type");
        let mut spki = SPKI.to_vec();
        spki.extend_from_slice(pair.public_key().as_ref());
        hex::encode(digest::digest(&digest::SHA256, &spki))
    }

    /// A self-signed client certificate valid from `now` for 90 days, and its key, both PEM.
    pub(super) fn certificate(&self, now: OffsetDateTime) -> Result<Zeroizing<String>, ConfigError> {
        let mut pkcs8 = Zeroizing::new(PKCS8.to_vec());
        pkcs8.extend_from_slice(&*self.seed);
        let pair =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()), &PKCS_ED25519)
                .map_err(|e| ConfigError::Certificate(e.to_string()))?;

        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial)
            .map_err(|_| ConfigError::Certificate("the system gives no randomness".to_owned()))?;
        serial[0] &= 0x7f; // a serial number is positive
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.identity());
        params.not_before = now;
        params.not_after = now + LIFE;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa; // KES does not count a CA certificate as a client's
        let certificate = params.self_signed(&pair).map_err(|e| ConfigError::Certificate(e.to_string()))?;
        let key = Zeroizing::new(pair.serialize_pem());
        Ok(Zeroizing::new(format!("{}{}", certificate.pem(), &*key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/data/kes-vectors.json")).unwrap()
    }

    #[test]
    fn identities_are_those_of_the_service() {
        let vectors = vectors();
        let cases = vectors["api_keys"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let text = case["api_key"].as_str().unwrap();
            let key = ApiKey::parse(text).unwrap();
            assert_eq!(key.identity(), case["identity"].as_str().unwrap());
            assert_eq!(key.to_text().as_str(), text);
            assert_eq!(ApiKey::parse(text.strip_prefix(PREFIX).unwrap()).unwrap().identity(), key.identity());
        }
        let documented = ApiKey::parse("kes:v1:AGaV6VXHasF0FnaB60WdCOeTZ8eTIDikL4zlN16c8NAs").unwrap();
        assert_eq!(documented.identity(), "ea9826089311fe44d7590408ede9150f7c637b6cab0a91ee6fe1aa5d9fb366f6");
    }

    #[test]
    fn malformed_keys_are_refused_without_being_shown() {
        for (text, why) in [
            ("", "empty"),
            ("kes:v1:", "empty"),
            ("kes:v1:AAAA", "length"),
            ("kes:v1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", "type"),
            ("kes:v2:AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", "base64"),
            ("kes:v1:AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAAAA", "length"),
            ("kes:v1:!!EBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", "base64"),
        ] {
            let error = ApiKey::parse(text).err().unwrap().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("EBAQ"), "{error}");
        }
    }

    #[test]
    fn certificate_is_a_fresh_one_over_the_same_key() {
        let key = ApiKey::from_seed(Zeroizing::new([2; 32]));
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (one, two) = (key.certificate(now).unwrap(), key.certificate(now).unwrap());
        assert_ne!(*one, *two, "serial numbers are random");
        assert!(one.contains("BEGIN CERTIFICATE") && one.contains("BEGIN PRIVATE KEY"));
    }
}
