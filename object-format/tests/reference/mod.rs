//! A second implementation of reading, written from SPEC.md alone over `aes-gcm`, `hkdf` and `sha2`.
//! It shares no code with the crate, takes whole objects, and is as plain as the text.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses its own part of it")]

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use base64::Engine;
use hkdf::Hkdf;
use sha2::Sha256;

pub(crate) struct Opened {
    pub(crate) plain: Vec<u8>,
    pub(crate) footer: Option<Vec<u8>>,
    pub(crate) table: Vec<u8>,
}

pub(crate) fn derive(secret: &[u8], salt: &[u8], label: &str, fields: &[&[u8]], length: usize) -> Vec<u8> {
    let mut info = format!("s3cloak/1/{label}").into_bytes();
    for field in fields {
        info.extend((field.len() as u32).to_be_bytes());
        info.extend(*field);
    }
    let mut out = vec![0; length];
    Hkdf::<Sha256>::new(Some(salt), secret).expand(&info, &mut out).unwrap();
    out
}

pub(crate) fn gcm_open(key: &[u8], nonce: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new_from_slice(key).unwrap();
    cipher.decrypt(nonce.into(), Payload { msg: sealed, aad }).ok()
}

/// Fields of an envelope: its four head bytes, and the values by tag.
pub(crate) fn envelope_fields(bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut rest = bytes.get(4..)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let length = u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?]) as usize;
        fields.push((rest[0], rest.get(3..3 + length)?.to_vec()));
        rest = &rest[3 + length..];
    }
    Some(fields)
}

/// What the envelope wraps.
pub(crate) fn unwrap_envelope(
    value: &str,
    role: &str,
    key: &[u8; 32],
    binding: &str,
    name: &[u8],
) -> Option<(u8, Vec<u8>)> {
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(value).ok()?;
    if bytes.first() != Some(&1) {
        return None;
    }
    let fields = envelope_fields(&bytes)?;
    let field = |tag| fields.iter().find(|(t, _)| *t == tag).map(|(_, value)| &value[..]);
    let both = derive(key, field(6)?, &format!("wrap/{role}"), &[], 64);
    if field(7)? != &both[32..] {
        return None;
    }
    let wrapped = field(8)?;
    let mut aad = Vec::new();
    for part in [&bytes[..bytes.len() - wrapped.len()], binding.as_bytes(), name] {
        aad.extend((part.len() as u32).to_be_bytes());
        aad.extend(part);
    }
    Some((bytes[1], gcm_open(&both[..32], &[0; 12], &aad, wrapped)?))
}

fn open_segment(dek: &[u8], salt: &[u8], number: u16, size: u64, body: &mut &[u8]) -> Option<Vec<u8>> {
    let key = derive(dek, salt, "segment", &[&number.to_be_bytes()], 32);
    let chunks = size.div_ceil(65536).max(1);
    let mut plain = Vec::new();
    for index in 0..chunks {
        let length = (size - index * 65536).min(65536) + 16;
        let (chunk, rest) = body.split_at_checked(length as usize)?;
        *body = rest;
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = u8::from(index + 1 == chunks);
        plain.extend(gcm_open(&key, &nonce, b"", chunk)?);
    }
    Some(plain)
}

/// Opens a whole object, checking everything that the SPEC says, or nothing.
pub(crate) fn open(
    value: &str,
    role: &str,
    key: &[u8; 32],
    binding: &str,
    name: &[u8],
    body: &[u8],
) -> Option<Opened> {
    let (kind, secrets) = unwrap_envelope(value, role, key, binding, name)?;
    let dek = &secrets[..32];
    let single =
        (kind == 1).then(|| (&secrets[32..48], u64::from_be_bytes(secrets[48..56].try_into().unwrap())));
    if single.is_some_and(|(_, size)| size == 0) {
        return body.is_empty().then_some(Opened { plain: vec![], footer: None, table: vec![] });
    }
    let total = (body.len() as u64).to_be_bytes();
    let fixed = &body[body.len().checked_sub(400)?..];
    let (salt, table_tag, sealed_footer, magic) =
        (&fixed[..16], &fixed[16..32], &fixed[32..384], &fixed[384..]);
    if magic != b"\x89s3cloak object\x01" {
        return None;
    }
    let tk = derive(dek, b"", "trailer", &[], 32);
    let aad = [&b"s3cloak/1/footer"[..], &total, salt, table_tag, magic].concat();
    let footer = gcm_open(&derive(&tk, salt, "footer", &[], 32), &[0; 12], &aad, sealed_footer)?;
    let size = u64::from_be_bytes(footer[88..96].try_into().unwrap());
    let table_len = u32::from_be_bytes(footer[100..104].try_into().unwrap()) as usize;
    let table_start = (body.len() - 400).checked_sub(table_len)?;
    let mut table = Vec::new();
    if table_len > 0 {
        let sealed = [&body[table_start..table_start + table_len], table_tag].concat();
        let aad = [&b"s3cloak/1/table"[..], &total].concat();
        table = gcm_open(&derive(&tk, salt, "table", &[], 32), &[0; 12], &aad, &sealed)?;
    }
    // HMAC is HKDF's extract: the key in the salt's place.
    let content = [&table[..], &footer, &total].concat();
    assert_eq!(
        &Hkdf::<Sha256>::extract(Some(&tk), &content).0[..16],
        salt,
        "the salt is that of the content"
    );

    let mut rest = &body[..table_start];
    let mut plain = Vec::new();
    if let Some((salt, single_size)) = single {
        if (footer[0], single_size) != (1, size) {
            return None;
        }
        plain = open_segment(dek, salt, 0, size, &mut rest)?;
    } else {
        if footer[0] != 2 {
            return None;
        }
        for entry in table.chunks(112) {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let size = entry[2..8].iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
            plain.extend(open_segment(dek, &entry[8..24], number, size, &mut rest)?);
        }
    }
    (plain.len() as u64 == size && rest.iter().all(|byte| *byte == 0)).then_some(Opened {
        plain,
        footer: Some(footer),
        table,
    })
}
