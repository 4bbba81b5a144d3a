//! Envelopes: what opens, what must not, and that a value has one spelling.

use super::*;
use crate::attempt::Attempt;
use crate::key::{BucketKey, CustomerKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

struct Counter(u8);

impl Random for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn bucket_key(byte: u8) -> BucketKey {
    BucketKey::new(Zeroizing::new([byte; 32]))
}

fn customer_key(byte: u8) -> CustomerKey {
    CustomerKey::new(Zeroizing::new([byte; 32]))
}

fn header(mode: Mode) -> EnvelopeHeader {
    let named = mode != Mode::SseC;
    EnvelopeHeader {
        kind: Kind::Single,
        mode,
        bucket_key: BucketKeyFlag::Shared,
        service: if named { "main".into() } else { String::new() },
        key_name: if named { "photos-key".into() } else { String::new() },
        key_spelling: None,
        sealed_key: if named { vec![9; 76] } else { vec![] },
        context: None,
    }
}

const NAME: ObjectName<'static> = ObjectName { binding: "photos", key: b"a/b" };

fn sealed(header: EnvelopeHeader, key: KeyRef<'_>) -> Result<Envelope, SealError> {
    let mut rng = Counter(1);
    let attempt = Attempt::single(1234, &mut rng);
    attempt.envelope(header, key, &NAME, &mut rng)
}

#[test]
fn opens_what_it_wrapped_and_keeps_every_field() {
    let key = bucket_key(1);
    let mut full = header(Mode::SseKms);
    full.bucket_key = BucketKeyFlag::SharedShown;
    full.key_spelling = Some("arn:aws:kms:photos-key".into());
    full.context = Some(b"eyJhIjoiYiJ9".to_vec());
    for header in [header(Mode::SseS3), full] {
        let envelope = sealed(header.clone(), KeyRef::Bucket(&key)).unwrap();
        let parsed = Envelope::parse(&envelope.to_value()).unwrap();
        assert_eq!(parsed, envelope);
        assert_eq!(parsed.header(), &header);
        assert_eq!(parsed.open(KeyRef::Bucket(&key), &NAME).unwrap().single_size(), Some(1234));
    }
    let key = customer_key(1);
    let envelope = sealed(header(Mode::SseC), KeyRef::Customer(&key)).unwrap();
    assert_eq!(envelope.open(KeyRef::Customer(&key), &NAME).unwrap().single_size(), Some(1234));
}

#[test]
fn another_key_role_bucket_or_name_does_not_open() {
    let key = bucket_key(1);
    let envelope = sealed(header(Mode::SseS3), KeyRef::Bucket(&key)).unwrap();
    let refused = |key: KeyRef<'_>, name: &ObjectName<'_>| {
        assert_eq!(envelope.open(key, name).err(), Some(OpenError::NotAuthentic));
    };
    refused(KeyRef::Bucket(&bucket_key(2)), &NAME);
    refused(KeyRef::Customer(&customer_key(1)), &NAME);
    refused(KeyRef::Bucket(&key), &ObjectName { binding: "photo", key: b"a/b" });
    refused(KeyRef::Bucket(&key), &ObjectName { binding: "photos", key: b"a/c" });
    // The border between bucket and key is bound too.
    refused(KeyRef::Bucket(&key), &ObjectName { binding: "photosa", key: b"/b" });
}

#[test]
fn one_flipped_bit_anywhere_never_opens() {
    let key = bucket_key(1);
    let mut header = header(Mode::SseKms);
    header.context = Some(b"context".to_vec());
    header.key_spelling = Some("spelling".into());
    let bytes = URL_SAFE_NO_PAD.decode(sealed(header, KeyRef::Bucket(&key)).unwrap().to_value()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let opens = Envelope::parse(&URL_SAFE_NO_PAD.encode(&flipped))
            .is_ok_and(|envelope| envelope.open(KeyRef::Bucket(&key), &NAME).is_ok());
        assert!(!opens, "bit {bit}");
    }
}

#[test]
fn a_value_has_one_spelling() {
    let key = bucket_key(1);
    let value = sealed(header(Mode::SseS3), KeyRef::Bucket(&key)).unwrap().to_value();
    let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
    let parse = |bytes: &[u8]| Envelope::parse(&URL_SAFE_NO_PAD.encode(bytes));

    assert_eq!(Envelope::parse(&format!("{value}=")), Err(EnvelopeError::NotBase64));
    assert_eq!(Envelope::parse(&format!("{value} ")), Err(EnvelopeError::NotBase64));
    assert_eq!(Envelope::parse(&"A".repeat(MAX_ENVELOPE + 1)), Err(EnvelopeError::TooLong));
    assert_eq!(Envelope::parse(""), Err(EnvelopeError::Malformed));

    let mut other_version = bytes.clone();
    other_version[0] = 2;
    assert_eq!(parse(&other_version), Err(EnvelopeError::UnsupportedVersion(2)));
    for length in 1..bytes.len() {
        assert_eq!(parse(&bytes[..length]), Err(EnvelopeError::Malformed), "cut to {length}");
    }
    let doubled = [&bytes[..4], b"\x01\x00\x04main", &bytes[4..]].concat();
    assert_eq!(parse(&doubled), Err(EnvelopeError::Malformed));
    let unordered = [&bytes[..4], &bytes[11..24], &bytes[4..11], &bytes[24..]].concat();
    assert_eq!((&bytes[4..11], &bytes[11..24]), (&b"\x01\x00\x04main"[..], &b"\x02\x00\x0aphotos-key"[..]));
    assert_eq!(parse(&unordered), Err(EnvelopeError::Malformed));
    for stray in
        [&b"\x09\x00\x00"[..], b"\x00\x00\x00", b"\xff\x00\x01a", b"\x03\x00\x00", b"\x05\x00\x00", b"\x00"]
    {
        assert_eq!(parse(&[&bytes[..], stray].concat()), Err(EnvelopeError::Malformed));
    }
}

#[test]
fn fields_that_do_not_go_together_are_refused() {
    let key = bucket_key(1);
    let refused = |edit: &dyn Fn(&mut EnvelopeHeader)| {
        let mut header = header(Mode::SseS3);
        edit(&mut header);
        let error = sealed(header, KeyRef::Bucket(&key)).err();
        assert!(matches!(error, Some(SealError::Header(_))), "{error:?}");
    };
    refused(&|header| header.kind = Kind::Multipart);
    refused(&|header| header.mode = Mode::SseC);
    refused(&|header| header.service.clear());
    refused(&|header| header.key_name = "x".repeat(81));
    refused(&|header| header.key_name = "a\nb".into());
    refused(&|header| header.sealed_key.clear());
    refused(&|header| header.context = Some(b"c".to_vec()));
    refused(&|header| header.key_spelling = Some("k".into()));
    refused(&|header| {
        header.mode = Mode::SseKms;
        header.context = Some(vec![0; MAX_CONTEXT + 1]);
    });
    let customer = customer_key(1);
    let mut named = header(Mode::SseC);
    named.key_name = "k".into();
    assert!(matches!(sealed(named, KeyRef::Customer(&customer)), Err(SealError::Header(_))));
}

#[test]
fn our_share_of_the_metadata_is_640_characters_and_all_of_it_is_parsed() {
    let key = bucket_key(1);
    let mut longest = header(Mode::SseKms);
    longest.service = "s".repeat(32);
    longest.key_name = "k".repeat(80);
    longest.key_spelling = Some("a".repeat(128));
    longest.context = Some(vec![b'c'; MAX_CONTEXT]);
    let value = sealed(longest.clone(), KeyRef::Bucket(&key)).unwrap().to_value();
    assert!(value.len() <= MAX_ENVELOPE, "{}", value.len());
    assert!(Envelope::parse(&value).is_ok());

    let mut own = longest.clone();
    own.context = None;
    let own = sealed(own, KeyRef::Bucket(&key)).unwrap().to_value();
    assert!(own.len() <= MAX_OWN_ENVELOPE, "{}", own.len());

    longest.sealed_key = vec![9; 160];
    let error = sealed(longest, KeyRef::Bucket(&key)).err();
    assert!(
        matches!(error, Some(SealError::EnvelopeTooLong { length }) if length > MAX_OWN_ENVELOPE),
        "{error:?}"
    );
}

#[test]
fn rewrapping_changes_the_envelope_and_not_the_secrets() {
    let (old, new) = (bucket_key(1), customer_key(2));
    let envelope = sealed(header(Mode::SseS3), KeyRef::Bucket(&old)).unwrap();
    let secrets = envelope.open(KeyRef::Bucket(&old), &NAME).unwrap();
    let there = ObjectName { binding: "other", key: b"copy" };
    let mut rng = Counter(77);
    let copy =
        Envelope::rewrap(&secrets, header(Mode::SseC), KeyRef::Customer(&new), &there, &mut rng).unwrap();
    assert_ne!(copy.commitment(), envelope.commitment());
    assert_eq!(copy.open(KeyRef::Customer(&new), &NAME).err(), Some(OpenError::NotAuthentic));
    let same = copy.open(KeyRef::Customer(&new), &there).unwrap();
    assert_eq!(same.dek.bytes(), secrets.dek.bytes());
    assert_eq!(same.single.unwrap().salt, secrets.single.unwrap().salt);
    assert_eq!(same.single_size(), Some(1234));
}
