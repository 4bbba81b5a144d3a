//! Multipart objects made by hand with the object format and put into the store behind the proxy: any layout, and
//! every piece of it at hand for tampering.

use object_format::{
    BucketKeyFlag, ChecksumFact, ChecksumKind, Envelope, EnvelopeHeader, EtagFact, KeyRef, Kind, Mode,
    ObjectName, ObjectSecrets, PartAttempt, PartEntry, SealedFacts, list_tag, seal_trailer, upload_tag,
};
use s3cloak::keys::Scope;
use s3cloak::keys::random::SystemRandom;
use s3cloak::s3::checksum::{ChecksumAlgorithm, Hasher};

use super::{BUCKET, Call, Stack};

/// S3's smallest part but the last.
pub const MIN_PART: usize = 5 << 20;
pub const ENVELOPE: &str = "x-amz-meta-s3cloak";

/// One upload: its key and envelope.
pub struct Upload {
    secrets: ObjectSecrets,
    pub envelope: String,
}

/// One sealed part.
#[derive(Clone)]
pub struct Part {
    pub sealed: Vec<u8>,
    pub plain: Vec<u8>,
    pub entry: PartEntry,
}

/// A whole object, in its pieces.
#[derive(Clone)]
pub struct Object {
    pub parts: Vec<Part>,
    /// Padding, table, footer and magic.
    pub trailer: Vec<u8>,
    pub envelope: String,
    /// As clients see it.
    pub etag: String,
}

impl Upload {
    pub async fn new(stack: &Stack, key: &str) -> Self {
        let keyring = &stack.services.keyring;
        let resolved = keyring.resolve(None).unwrap();
        let open = keyring.for_write(&resolved, Scope::Bucket { binding: BUCKET }).await.unwrap();
        let secrets = ObjectSecrets::multipart(&mut SystemRandom);
        let header = EnvelopeHeader {
            kind: Kind::Multipart,
            mode: Mode::SseS3,
            bucket_key: BucketKeyFlag::Shared,
            service: open.service.clone(),
            key_name: open.key_name.clone(),
            key_spelling: None,
            sealed_key: open.sealed.to_vec(),
            context: None,
        };
        let name = ObjectName { binding: BUCKET, key: key.as_bytes() };
        let envelope =
            Envelope::rewrap(&secrets, header, KeyRef::Bucket(open.key()), &name, &mut SystemRandom).unwrap();
        Self { secrets, envelope: envelope.to_value() }
    }

    /// One attempt at a part.
    pub fn part(&self, number: u16, plain: Vec<u8>) -> Part {
        let attempt = PartAttempt::new(&self.secrets, number, plain.len() as u64, &mut SystemRandom).unwrap();
        let entry = attempt.entry(Some(sha256(&plain)));
        let mut sealer = attempt.into_sealer();
        let mut sealed = Vec::new();
        sealer.push(&plain, &mut |chunk| sealed.extend(chunk)).unwrap();
        sealed.extend(sealer.finish().unwrap());
        Part { sealed, plain, entry }
    }

    /// A part of `size` bytes of which nobody will read any.
    pub fn unread(&self, number: u16, size: u64) -> Part {
        let attempt = PartAttempt::new(&self.secrets, number, size, &mut SystemRandom).unwrap();
        Part { sealed: Vec::new(), plain: Vec::new(), entry: attempt.entry(Some(sha256(b""))) }
    }

    /// These parts as one object, its checksum a SHA-256 of the parts' own.
    pub fn complete(&self, parts: Vec<Part>) -> Object {
        use md5::Digest;
        let mut md5 = md5::Md5::new();
        parts.iter().for_each(|part| md5.update(md5::Md5::digest(&part.plain)));
        let md5: [u8; 16] = md5.finalize().into();
        let sums: Vec<u8> = parts.iter().flat_map(|part| part.entry.checksum.clone().unwrap()).collect();
        let facts = SealedFacts {
            etag: EtagFact::Multipart { md5, parts: parts.len() as u16 },
            checksum: Some(ChecksumFact {
                algorithm: ChecksumAlgorithm::Sha256.id(),
                kind: ChecksumKind::Composite,
                value: sha256(&sums),
            }),
        };
        let entries: Vec<PartEntry> = parts.iter().map(|part| part.entry.clone()).collect();
        let listed = list_tag(entries.iter().map(|entry| (entry.number, "etag")));
        let trailer =
            seal_trailer(&self.secrets.trailer_key(), &entries, &facts, &upload_tag(b"id"), &listed).unwrap();
        let etag = format!("{}-{}", hex::encode(md5), parts.len());
        Object { parts, trailer, envelope: self.envelope.clone(), etag }
    }
}

impl Object {
    /// Parts of these bytes, under numbers with gaps.
    pub async fn build(stack: &Stack, key: &str, parts: Vec<Vec<u8>>) -> Self {
        let upload = Upload::new(stack, key).await;
        let sealed = parts.into_iter().enumerate().map(|(at, plain)| upload.part(at as u16 * 3 + 2, plain));
        upload.complete(sealed.collect())
    }

    pub fn body(&self) -> Vec<u8> {
        let sealed = self.parts.iter().map(|part| part.sealed.as_slice());
        sealed.chain([self.trailer.as_slice()]).collect::<Vec<_>>().concat()
    }

    pub fn plain(&self) -> Vec<u8> {
        self.parts.iter().map(|part| part.plain.as_slice()).collect::<Vec<_>>().concat()
    }

    /// Puts it into the store.
    pub async fn store(&self, stack: &Stack, key: &str) {
        let call = Call::new("PUT", format!("/{BUCKET}/{key}"))
            .header(ENVELOPE, self.envelope.clone())
            .payload("UNSIGNED-PAYLOAD")
            .body(self.body());
        let answer = stack.backend.send(call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

pub fn sha256(data: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
    hasher.update(data);
    hasher.finish()
}

/// The store's object as the proxy has to see it anew.
pub fn forget(stack: &Stack, key: &str) {
    let bucket = s3cloak::s3::name::BucketName::parse(BUCKET.as_bytes()).unwrap();
    let key = s3cloak::s3::name::ObjectKey::parse(key.as_bytes()).unwrap();
    stack.services.info.forget(&bucket, &key, None);
}
