//! What KES seals with: both ciphers, the present frame and the two older ones that it still opens. Pure; iv and nonce
//! are arguments. For tests and development only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20::cipher::consts::U10;
use chacha20::hchacha;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use serde::Deserialize;

use crate::seal;

/// Ciphers of KES keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cipher {
    /// AES-256-GCM under HMAC-SHA256(key, iv).
    Aes256,
    /// ChaCha20-Poly1305 under HChaCha20(key, iv).
    ChaCha20,
}

impl Cipher {
    /// Name in an import request, case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Some(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Some(Self::ChaCha20),
            _ => None,
        }
    }

    /// Name in a describe answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::ChaCha20 => "ChaCha20",
        }
    }

    /// Seals; `ciphertext ‖ tag ‖ iv ‖ nonce`.
    pub fn seal(
        self,
        key: &[u8; 32],
        plain: &[u8],
        context: &[u8],
        iv: &[u8; 16],
        nonce: &[u8; 12],
    ) -> Vec<u8> {
        match self {
            Self::Aes256 => seal::seal(key, plain, context, iv, nonce),
            Self::ChaCha20 => {
                let mut sealed = plain.to_vec();
                let tag = chacha(key, iv)
                    .encrypt_in_place_detached(nonce.into(), context, &mut sealed)
                    .expect("ChaCha20-Poly1305 takes 256 GiB, and request bodies end at 1 MB");
                sealed.extend_from_slice(&tag);
                sealed.extend_from_slice(iv);
                sealed.extend_from_slice(nonce);
                sealed
            }
        }
    }

    /// Opens any frame that KES opens.
    pub fn open(self, key: &[u8; 32], sealed: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let parts = match sealed.first()? {
            0x95 => msgpack(sealed, self),
            b'{' => json(sealed, self),
            _ => None,
        };
        let parts = parts.or_else(|| present(sealed))?;
        match self {
            Self::Aes256 => seal::open_parts(key, &parts.body, &parts.tag, &parts.iv, &parts.nonce, context)
                .map(|p| p.to_vec()),
            Self::ChaCha20 => {
                let mut plain = parts.body;
                chacha(key, &parts.iv)
                    .decrypt_in_place_detached(
                        (&parts.nonce).into(),
                        context,
                        &mut plain,
                        (&parts.tag).into(),
                    )
                    .ok()?;
                Some(plain)
            }
        }
    }
}

fn chacha(key: &[u8; 32], iv: &[u8; 16]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&hchacha::<U10>(key.into(), iv.into()))
}

struct Parts {
    body: Vec<u8>,
    tag: [u8; 16],
    iv: [u8; 16],
    nonce: [u8; 12],
}

impl Parts {
    fn new(sealed: &[u8], iv: &[u8], nonce: &[u8]) -> Option<Self> {
        let (body, tag) = sealed.split_last_chunk::<16>()?;
        Some(Self { body: body.to_vec(), tag: *tag, iv: iv.try_into().ok()?, nonce: nonce.try_into().ok()? })
    }
}

fn present(sealed: &[u8]) -> Option<Parts> {
    let (rest, nonce) = sealed.split_last_chunk::<12>()?;
    let (rest, iv) = rest.split_last_chunk::<16>()?;
    Parts::new(rest, iv, nonce)
}

/// `{"aead","id","iv","nonce","bytes"}`: the oldest frame.
fn json(sealed: &[u8], cipher: Cipher) -> Option<Parts> {
    #[derive(Deserialize)]
    struct Frame {
        aead: String,
        iv: String,
        nonce: String,
        bytes: String,
    }
    let frame: Frame = serde_json::from_slice(sealed).ok()?;
    let expected = match cipher {
        Cipher::Aes256 => "AES-256-GCM-HMAC-SHA-256",
        Cipher::ChaCha20 => "ChaCha20Poly1305",
    };
    if frame.aead != expected {
        return None;
    }
    let bytes = |text: &str| STANDARD.decode(text).ok();
    Parts::new(&bytes(&frame.bytes)?, &bytes(&frame.iv)?, &bytes(&frame.nonce)?)
}

/// An array of five: cipher, key id, iv, nonce, ciphertext.
fn msgpack(sealed: &[u8], cipher: Cipher) -> Option<Parts> {
    fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = input.split_at_checked(count)?;
        *input = rest;
        Some(taken)
    }
    fn item<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let marker = take(input, 1)?[0];
        let length = match marker {
            0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 | 0xc4 => usize::from(take(input, 1)?[0]),
            _ => return None,
        };
        take(input, length)
    }
    let mut input = sealed.strip_prefix(&[0x95])?;
    let name = std::str::from_utf8(item(&mut input)?).ok()?;
    let _id = item(&mut input)?;
    let (iv, nonce, body) = (item(&mut input)?, item(&mut input)?, item(&mut input)?);
    if Cipher::parse(name)? != cipher || !input.is_empty() {
        return None;
    }
    Parts::new(body, iv, nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/data/kes-vectors.json")).unwrap()
    }

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        value.as_str().map(|text| STANDARD.decode(text).unwrap()).unwrap_or_default()
    }

    fn key(value: &serde_json::Value) -> [u8; 32] {
        hex::decode(value["key_hex"].as_str().unwrap()).unwrap().try_into().unwrap()
    }

    #[test]
    fn every_vector_opens_and_seals_to_the_same_bytes() {
        let vectors = vectors();
        let mut count = 0;
        for set in ["encrypt", "generate"] {
            for v in vectors[set].as_array().unwrap() {
                let cipher = Cipher::parse(v["cipher"].as_str().unwrap()).unwrap();
                let (sealed, context) = (bytes(&v["ciphertext_b64"]), bytes(&v["context_b64"]));
                let plain = bytes(&v["plaintext_b64"]);
                assert_eq!(cipher.open(&key(v), &sealed, &context).as_ref(), Some(&plain));
                let (rest, nonce) = sealed.split_last_chunk::<12>().unwrap();
                let (_, iv) = rest.split_last_chunk::<16>().unwrap();
                assert_eq!(cipher.seal(&key(v), &plain, &context, iv, nonce), sealed);
                count += 1;
            }
        }
        assert_eq!(count, 80);
    }

    #[test]
    fn older_frames_open() {
        let vectors = vectors();
        let cases = vectors["legacy_decrypt"].as_array().unwrap();
        assert_eq!(cases.len(), 12);
        for v in cases {
            let cipher = Cipher::parse(v["cipher"].as_str().unwrap()).unwrap();
            let (sealed, context) = (bytes(&v["ciphertext_b64"]), bytes(&v["context_b64"]));
            assert_eq!(
                cipher.open(&key(v), &sealed, &context),
                Some(bytes(&v["plaintext_b64"])),
                "{}",
                v["form"]
            );
            assert_eq!(cipher.open(&key(v), &sealed, b"another"), None);
            assert_eq!(cipher.open(&key(v), &sealed[..sealed.len() - 1], &context), None);
        }
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        let vectors = vectors();
        let mut count = 0;
        for v in vectors["decrypt_errors"].as_array().unwrap() {
            let Some(k) = vectors["keys"].as_array().unwrap().iter().find(|k| k["name"] == v["key_name"])
            else {
                assert_eq!(v["status"], 404);
                continue;
            };
            let cipher = Cipher::parse(k["import_cipher"].as_str().unwrap()).unwrap();
            let opened = cipher.open(&key(k), &bytes(&v["ciphertext_b64"]), &bytes(&v["context_b64"]));
            assert_eq!(opened, None, "{}", v["case"]);
            count += 1;
        }
        assert_eq!(count, 13);
    }
}
