//! What `inspect` tells of objects that it gets as copies.

use object_format::{
    Attempt, BucketKey, BucketKeyFlag, EnvelopeHeader, EtagFact, KeyRef, Kind, Mode, ObjectName, Random,
    SealedFacts,
};
use zeroize::Zeroizing;

use super::super::Failure;
use super::super::tests::typed;

/// Not random, and different at each call.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// An envelope's value and the stored bytes.
fn sealed(plain: &[u8]) -> (String, Vec<u8>) {
    let header = EnvelopeHeader {
        kind: Kind::Single,
        mode: Mode::SseKms,
        bucket_key: BucketKeyFlag::SharedShown,
        service: "main".into(),
        key_name: "photos-key".into(),
        key_spelling: Some("alias/photos".into()),
        sealed_key: vec![7; 76],
        context: None,
    };
    let mut rng = Counting(0);
    let attempt = Attempt::single(plain.len() as u64, &mut rng);
    let key = BucketKey::new(Zeroizing::new([9; 32]));
    let name = ObjectName { binding: "photos", key: b"cat.jpg" };
    let envelope = attempt.envelope(header, KeyRef::Bucket(&key), &name, &mut rng).unwrap();
    let mut sealer = attempt.into_sealer();
    let mut body = Vec::new();
    sealer.push(plain, &mut |chunk| body.extend(chunk)).unwrap();
    body.extend(sealer.finish(&SealedFacts { etag: EtagFact::Md5([1; 16]), checksum: None }).unwrap());
    (envelope.to_value(), body)
}

fn inspect(envelope: Option<&str>, body: Option<&[u8]>) -> Result<String, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stored.bin");
    let mut arguments = vec!["inspect"];
    if let Some(envelope) = envelope {
        arguments.extend(["--envelope", envelope]);
    }
    if let Some(body) = body {
        std::fs::write(&file, body).unwrap();
        arguments.extend(["--file", file.to_str().unwrap()]);
    }
    typed(&arguments)
}

#[test]
fn clear_fields_and_sizes_are_shown() {
    let (envelope, body) = sealed(&[0; 100_000]);
    let shown = inspect(Some(&envelope), Some(&body)).unwrap();
    for part in [
        "in one request",
        "SSE-KMS (aws:kms)",
        "main/photos-key",
        "\"alias/photos\"",
        "the bucket's, and clients are told",
        "s3cloak object, format 1",
        "100000 bytes, by the stored size",
        &format!("{} bytes", body.len()),
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[test]
fn what_does_not_belong_together_is_said() {
    let (envelope, mut body) = sealed(b"some bytes");
    let stripped = inspect(None, Some(&body)).unwrap();
    assert!(stripped.contains("or it was stripped") && stripped.contains("s3cloak object"), "{stripped}");
    body.push(0);
    let extended = inspect(Some(&envelope), Some(&body)).unwrap();
    assert!(extended.contains("MISSING"), "{extended}");
    let foreign = inspect(None, Some(b"hello")).unwrap();
    assert!(foreign.contains("not encrypted"), "{foreign}");
    let (empty, nothing) = sealed(b"");
    let shown = inspect(Some(&empty), Some(&nothing)).unwrap();
    assert!(shown.contains("an empty object has none") && shown.contains("0 bytes, by"), "{shown}");
}

#[test]
fn broken_envelopes_are_refused() {
    let (envelope, _) = sealed(b"x");
    for broken in ["", "not base64!", &envelope[1..], &format!("{envelope}A")] {
        assert!(matches!(inspect(Some(broken), None), Err(Failure::Failed(_))), "{broken:?}");
    }
    assert!(matches!(inspect(Some(&envelope), None), Ok(shown) if shown.contains("photos-key")));
}
