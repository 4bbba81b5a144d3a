//! What a holder of the keys could seal against the SPEC: authentic, and still refused. Sealed by the second implementation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
mod reference;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::*;
use object_format::*;

fn gcm_seal(key: &[u8], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = Aes256Gcm::new_from_slice(key).unwrap();
    cipher.encrypt(&[0; 12].into(), Payload { msg: plain, aad }).unwrap()
}

/// Wraps the content of an envelope anew under its own salt, with its head and commitment changed first.
fn rewrapped(
    envelope: &Envelope,
    edit: impl Fn(&mut Vec<u8>, &mut Vec<u8>),
) -> Result<Envelope, EnvelopeError> {
    let value = envelope.to_value();
    let (_, mut secrets) =
        reference::unwrap_envelope(&value, "bucket", &KEY, NAME.binding, NAME.key).unwrap();
    let mut bound = URL_SAFE_NO_PAD.decode(&value).unwrap();
    bound.truncate(bound.len() - secrets.len() - 16);
    let salt = bound[bound.len() - 3 - 35 - 32..bound.len() - 3 - 35].to_vec();
    edit(&mut bound, &mut secrets);
    let wrapping = reference::derive(&KEY, &salt, "wrap/bucket", &[], 64);
    let mut aad = Vec::new();
    for field in [&bound[..], NAME.binding.as_bytes(), NAME.key] {
        aad.extend((field.len() as u32).to_be_bytes());
        aad.extend(field);
    }
    let wrapped = gcm_seal(&wrapping[..32], &aad, &secrets);
    Envelope::parse(&URL_SAFE_NO_PAD.encode([bound, wrapped].concat()))
}

fn opens(envelope: &Envelope) -> bool {
    envelope.open(KeyRef::Bucket(&bucket_key()), &NAME).is_ok()
}

#[test]
fn a_wrong_commitment_is_refused_even_where_the_rest_is_authentic() {
    let sealed = seal_single("strict", vec![1], &[]);
    assert!(opens(&rewrapped(&sealed.envelope, |_, _| ()).unwrap()));
    let wrong = rewrapped(&sealed.envelope, |bound, _| {
        let last = bound.len() - 4;
        bound[last] ^= 1;
    });
    assert!(!opens(&wrong.unwrap()));
}

#[test]
fn a_bucket_key_does_not_open_an_envelope_that_says_sse_c() {
    let sealed = seal_single("strict", vec![1], &[]);
    let said = rewrapped(&sealed.envelope, |bound, _| {
        // SSE-C has neither service, name nor sealed key: only the fields from the salt on.
        let fields = bound[bound.len() - 3 - 35 - 35..].to_vec();
        *bound = [&[1, 1, 3, 0], &fields[..]].concat();
    });
    assert!(!opens(&said.unwrap()));
}

#[test]
fn a_size_that_no_object_has_is_refused() {
    let sealed = seal_single("strict", vec![1], &[]);
    let sized = |size: u64| {
        rewrapped(&sealed.envelope, |_, secrets| secrets[48..].copy_from_slice(&size.to_be_bytes()))
    };
    assert!(opens(&sized(length::MAX_PLAIN).unwrap()));
    assert!(!opens(&sized(length::MAX_PLAIN + 1).unwrap()));
    assert!(!opens(&sized(u64::MAX).unwrap()));
}

/// Seals table and footer of an object anew, with their content changed first; the segments stay.
fn retrailed(sealed: &Sealed, edit: impl Fn(&mut Vec<u8>, &mut Vec<u8>)) -> Result<TrailerRead, OpenError> {
    let value = sealed.envelope.to_value();
    let opened = reference::open(&value, "bucket", &KEY, NAME.binding, NAME.key, &sealed.body).unwrap();
    let (_, secrets) = reference::unwrap_envelope(&value, "bucket", &KEY, NAME.binding, NAME.key).unwrap();
    let (mut table, mut footer) = (opened.table, opened.footer.unwrap());
    let start = sealed.body.len() - 400 - table.len();
    edit(&mut table, &mut footer);

    let (total, salt, magic) = ((sealed.body.len() as u64).to_be_bytes(), [5; 16], b"\x89s3cloak object\x01");
    let tk = reference::derive(&secrets[..32], b"", "trailer", &[], 32);
    let mut tail = sealed.body[..start].to_vec();
    let mut table_tag = vec![0; 16];
    if !table.is_empty() {
        let aad = [&b"s3cloak/1/table"[..], &total].concat();
        let mut sealed = gcm_seal(&reference::derive(&tk, &salt, "table", &[], 32), &aad, &table);
        table_tag = sealed.split_off(table.len());
        tail.extend(sealed);
    }
    let aad = [&b"s3cloak/1/footer"[..], &total, &salt, &table_tag, magic].concat();
    let footer = gcm_seal(&reference::derive(&tk, &salt, "footer", &[], 32), &aad, &footer);
    tail.extend([&salt[..], &table_tag, &footer, magic].concat());
    open_trailer(&sealed.secrets(), &tail, sealed.body.len() as u64)
}

#[test]
fn the_second_implementation_seals_what_the_first_opens() {
    for sealed in [seal_single("strict", vec![1], &[]), seal_multipart("strict", &[(4, 9)], &[])] {
        assert_eq!(retrailed(&sealed, |_, _| ()), Ok(TrailerRead::Ready(sealed.trailer())));
    }
}

#[test]
fn footers_that_the_spec_does_not_know_are_refused() {
    let single = seal_single("strict", plaintext("p", 9), &[]);
    let multipart = seal_multipart("strict", &[(4, 9)], &[]);
    let refused = |sealed: &Sealed, what: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        assert_eq!(retrailed(sealed, |_, footer| edit(footer)), Err(OpenError::NotAuthentic), "{what}");
    };
    for sealed in [&single, &multipart] {
        for kind in (0..=255).filter(|kind| *kind != if sealed.parts.is_empty() { 1 } else { 2 }) {
            refused(sealed, "kind", &|footer| footer[0] = kind);
        }
        for form in (0..=255).filter(|form| *form != if sealed.parts.is_empty() { 1 } else { 2 }) {
            refused(sealed, "ETag form", &|footer| footer[1] = form);
        }
        refused(sealed, "plaintext size", &|footer| footer[95] += 1);
        refused(sealed, "plaintext size", &|footer| footer[88] = 255);
        refused(sealed, "number of parts", &|footer| footer[99] = 2);
        refused(sealed, "number of parts", &|footer| footer[99] = 0);
        refused(sealed, "number of parts", &|footer| footer[97] = 1);
        refused(sealed, "length of the table", &|footer| footer[103] ^= 1);
        for algorithm in (0..=255).filter(|algorithm| ChecksumFact::value_len(*algorithm) != Some(8)) {
            refused(sealed, "checksum algorithm", &|footer| footer[20] = algorithm);
        }
        for kind in (0..=255).filter(|kind| ![1, 2].contains(kind)) {
            refused(sealed, "checksum type", &|footer| footer[21] = kind);
        }
        for length in (0..=255).filter(|length| *length != 8) {
            refused(sealed, "checksum length", &|footer| footer[22] = length);
        }
        for zero in [23].into_iter().chain(24 + 8..88).chain(168..336) {
            refused(sealed, "a byte that is zero", &|footer| footer[zero] = 1);
        }
    }
    refused(&single, "parts behind an MD5", &|footer| footer[3] = 1);
    refused(&multipart, "no parts behind an MD5 of MD5s", &|footer| footer[3] = 0);
    refused(&single, "no ETag, but an MD5", &|footer| footer[1] = 0);
}

#[test]
fn tables_that_the_spec_does_not_know_are_refused() {
    let sealed = seal_multipart("strict", &[(4, 9)], &[]);
    let refused = |what: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        assert_eq!(retrailed(&sealed, |table, _| edit(table)), Err(OpenError::NotAuthentic), "{what}");
    };
    refused("part number 0", &|table| table[1] = 0);
    refused("part number 10 001", &|table| table[..2].copy_from_slice(&10_001u16.to_be_bytes()));
    refused("another size than the footer's", &|table| table[7] += 1);
    refused("a size that no part has", &|table| table[2] = 255);
    for length in (0..=255).filter(|length| *length != 8) {
        refused("checksum length", &|table| table[88] = length);
    }
    for zero in (24 + 8..88).chain(89..112) {
        refused("a byte that is zero", &|table| table[zero] = 1);
    }
    let two = seal_multipart("strict", &[(1, 5 << 20), (2, 0)], &[]);
    let swapped = retrailed(&two, |table, _| table.rotate_left(112));
    assert_eq!(swapped, Err(OpenError::NotAuthentic), "descending numbers");
    let doubled = retrailed(&two, |table, _| table[113] = 1);
    assert_eq!(doubled, Err(OpenError::NotAuthentic), "a number twice");
}

#[test]
fn where_an_empty_object_has_no_salt_nothing_else_stands() {
    let empty = seal_single("strict", vec![], &[]);
    let with =
        |at: usize, value: u8| opens(&rewrapped(&empty.envelope, |_, secrets| secrets[at] = value).unwrap());
    for algorithm in 0..=10 {
        assert!(with(32, algorithm), "{algorithm}");
    }
    assert!(!with(32, 11) && !with(32, 255));
    for at in 33..48 {
        assert!(!with(at, 1), "{at}");
    }
}
