//! The record of one attempt at a part: all that is known of it, sealed under the upload's record key into the *name* of
//! an empty object, so that a page of a listing tells of a thousand parts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::backend::{SystemId, components};
use crate::error::{Error, Result};
use crate::plan::multipart::PartRecord;

const LABEL: &[u8] = b"s3cloak/1/part";
const NONCE: usize = 12;

/// Seals and opens the records of one upload.
pub(super) struct RecordKey {
    key: RandomizedNonceKey,
    bound: Vec<u8>,
}

impl RecordKey {
    pub(super) fn new(key: &[u8; 32], system: &SystemId, folder: &str) -> Result<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key)
            .map_err(|_| Error::internal("AES-256 takes any 32 bytes"))?;
        Ok(Self { key, bound: [LABEL, system.as_bytes(), folder.as_bytes()].concat() })
    }

    /// The name that is the record, below `parts/`.
    pub(super) fn name(&self, record: &PartRecord) -> Result<String> {
        let mut sealed = encode(record).ok_or_else(|| Error::internal("a part that no record can hold"))?;
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(&self.bound), &mut sealed)
            .map_err(|_| Error::internal("a record is far below AES-GCM's limit"))?;
        let whole = [&nonce.as_ref()[..], &sealed].concat();
        Ok(format!("{:05}/{}", record.number, components(&URL_SAFE_NO_PAD.encode(whole))))
    }

    /// Reads such a name; `None` for what is not ours.
    pub(super) fn read(&self, name: &str) -> Option<PartRecord> {
        let (number, rest) = name.split_once('/')?;
        let whole = URL_SAFE_NO_PAD.decode(rest.replace('/', "")).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(&self.bound), &mut sealed).ok()?;
        decode(plain).filter(|record| number.parse() == Ok(record.number))
    }
}

/// Fixed fields first, then those whose length varies, each behind its length (0: there is none).
fn encode(record: &PartRecord) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(192);
    out.extend(record.number.to_be_bytes());
    out.extend(record.at_ms.to_be_bytes());
    out.extend(record.size.to_be_bytes());
    out.extend(record.salt);
    let md5 = record.md5.as_ref().map(|md5| &md5[..]).unwrap_or_default();
    let etag = record.backend_etag.as_deref().unwrap_or_default();
    for field in [md5, &record.checksum, etag.as_bytes()] {
        out.push(u8::try_from(field.len()).ok()?);
        out.extend(field);
    }
    Some(out)
}

fn decode(mut bytes: &[u8]) -> Option<PartRecord> {
    let number = u16::from_be_bytes(take(&mut bytes)?);
    let at_ms = u64::from_be_bytes(take(&mut bytes)?);
    let size = u64::from_be_bytes(take(&mut bytes)?);
    let salt = take(&mut bytes)?;
    let md5 = field(&mut bytes)?;
    let md5 = if md5.is_empty() { None } else { Some(md5.try_into().ok()?) };
    let checksum = field(&mut bytes)?.to_vec();
    let etag = std::str::from_utf8(field(&mut bytes)?).ok()?;
    let backend_etag = Some(etag.to_owned()).filter(|etag| !etag.is_empty());
    bytes.is_empty().then_some(PartRecord {
        number,
        at_ms,
        kept: None,
        size,
        salt,
        md5,
        checksum,
        backend_etag,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = take(bytes)?;
    let (field, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(id: &str) -> SystemId {
        SystemId::parse(id).unwrap()
    }

    fn key(folder: &str) -> RecordKey {
        RecordKey::new(&[7; 32], &system(&"ab".repeat(16)), folder).unwrap()
    }

    fn record() -> PartRecord {
        PartRecord {
            number: 10_000,
            at_ms: 1_700_000_000_123,
            kept: None,
            size: 5 << 30,
            salt: [3; 16],
            md5: Some([4; 16]),
            checksum: vec![5; 64],
            backend_etag: Some("0123456789abcdef0123456789abcdef-1".to_owned()),
        }
    }

    #[test]
    fn records_come_back_out_of_their_names() {
        let whole = record();
        for record in [
            PartRecord { md5: None, ..whole.clone() },
            PartRecord { backend_etag: None, checksum: vec![], number: 1, ..whole.clone() },
            whole,
        ] {
            let name = key("a").name(&record).unwrap();
            assert!(name.split('/').all(|part| (1..=200).contains(&part.len())), "{name}");
            let read = key("a").read(&name).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
            assert_ne!(name, key("a").name(&record).unwrap(), "a nonce was used twice");
        }
    }

    #[test]
    fn a_record_of_another_place_or_key_is_none() {
        let name = key("a").name(&record()).unwrap();
        assert!(key("b").read(&name).is_none());
        let other = RecordKey::new(&[8; 32], &system(&"ab".repeat(16)), "a").unwrap();
        assert!(other.read(&name).is_none());
        let moved = RecordKey::new(&[7; 32], &system(&"cd".repeat(16)), "a").unwrap();
        assert!(moved.read(&name).is_none());
        assert!(key("a").read(&name.replacen("10000", "09999", 1)).is_none());
        for bad in ["", "10000", "10000/", "10000/AAAA", &name[..name.len() - 1]] {
            assert!(key("a").read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_no_record_holds_is_an_error() {
        let long = PartRecord { backend_etag: Some("e".repeat(256)), ..record() };
        assert!(key("a").name(&long).is_err());
    }
}
