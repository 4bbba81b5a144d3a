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

#[cfg(feature = "demo")]
mod with_a_backend {
    use std::net::TcpListener;
    use std::path::Path;

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, Method};
    use object_format::Envelope;

    use super::super::super::tests::configuration;
    use super::*;
    use crate::backend::{Backends, Caller, Outgoing};
    use crate::config;
    use crate::demo::store::{self, Handle, StoreConfig};
    use crate::keys::{Keyring, Scope};
    use crate::s3::name::{BucketName, ObjectKey};

    /// Stores one object as the proxy would, under a key of the configuration.
    async fn store_sealed(file: &Path, bucket: &str, key: &str, plain: &[u8]) {
        let config = config::load(file, false).unwrap();
        let keyring = Keyring::from_config(&config.keys).unwrap();
        let external = keyring.resolve(None).unwrap();
        keyring.create(&external).await.unwrap();
        let data_key = keyring.for_write(&external, Scope::Bucket { binding: bucket }).await.unwrap();
        let header = EnvelopeHeader {
            kind: Kind::Single,
            mode: Mode::SseS3,
            bucket_key: BucketKeyFlag::Shared,
            service: data_key.service.clone(),
            key_name: data_key.key_name.clone(),
            key_spelling: None,
            sealed_key: data_key.sealed.to_vec(),
            context: None,
        };
        let mut rng = Counting(3);
        let attempt = Attempt::single(plain.len() as u64, &mut rng);
        let name = ObjectName { binding: bucket, key: key.as_bytes() };
        let envelope: Envelope =
            attempt.envelope(header, KeyRef::Bucket(data_key.key()), &name, &mut rng).unwrap();
        let mut sealer = attempt.into_sealer();
        let mut body = Vec::new();
        sealer.push(plain, &mut |chunk| body.extend(chunk)).unwrap();
        let facts = SealedFacts { etag: EtagFact::Md5([0xab; 16]), checksum: None };
        body.extend(sealer.finish(&facts).unwrap());

        let bucket = BucketName::parse(bucket.as_bytes()).unwrap();
        let key = ObjectKey::parse(key.as_bytes()).unwrap();
        let put = Outgoing::object(Method::PUT, &bucket, &key).header(
            HeaderName::from_static("x-amz-meta-s3cloak"),
            HeaderValue::from_str(&envelope.to_value()).unwrap(),
        );
        let backends = Backends::from_config(&config).unwrap();
        let answer =
            backends.get("default").unwrap().call(&Caller::Own, put, Bytes::from(body)).await.unwrap();
        assert!(answer.is_success());
    }

    fn inspect(file: &Path, more: &[&str]) -> Result<String, Failure> {
        typed(&[&["inspect", "--config", file.to_str().unwrap()], more].concat())
    }

    #[test]
    fn an_object_is_opened_with_its_key_and_only_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let storage: Handle = runtime.block_on(async {
            store::serve(TcpListener::bind("127.0.0.1:0").unwrap(), StoreConfig::memory("AK", "SK")).unwrap()
        });
        storage.create_bucket("photos").unwrap();
        let file = configuration(folder.path(), &storage.endpoint());
        runtime.block_on(store_sealed(&file, "photos", "a b/cat.jpg", &[5; 70_000]));

        let shown = inspect(&file, &["s3://photos/a b/cat.jpg"]).unwrap();
        for part in
            ["SSE-S3", "main/first", "yes: envelope and trailer", "70000 bytes, sealed", &"ab".repeat(16)]
        {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        let clear = inspect(&file, &["s3://photos/a b/cat.jpg", "--no-keys"]).unwrap();
        assert!(!clear.contains("opened") && clear.contains("70000 bytes, by the stored size"), "{clear}");

        let missing = inspect(&file, &["s3://photos/no-such-object"]);
        assert!(matches!(missing, Err(Failure::Failed(text)) if text.contains("NoSuchKey")));
        let elsewhere = inspect(&file, &["s3://photos/a b/cat.jpg", "--backend", "other"]);
        assert!(matches!(elsewhere, Err(Failure::Usage(_))));

        let changed = storage.tamper("photos", "a b/cat.jpg", |object| {
            let place = object.body.len() - 100;
            object.body[place] ^= 1;
        });
        assert!(changed.unwrap());
        let tampered = inspect(&file, &["s3://photos/a b/cat.jpg"]).unwrap();
        assert!(tampered.contains("the trailer is not"), "{tampered}");

        typed(&["key", "--config", file.to_str().unwrap(), "delete", "first", "--yes"]).unwrap();
        let shredded = inspect(&file, &["s3://photos/a b/cat.jpg"]).unwrap();
        assert!(shredded.contains("main/first") && shredded.contains("opened       no: "), "{shredded}");
    }
}
