//! What the integration tests share: seeded randomness, patterned plaintext, and sealing in one call.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses its own part of it")]

use object_format::*;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Random bytes that are a function of a seed: SHA-256(seed ‖ u64 counter), block after block, each fill from a new block.
pub(crate) struct Seeded {
    seed: String,
    counter: u64,
}

impl Seeded {
    pub(crate) fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), counter: 0 }
    }
}

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for block in out.chunks_mut(32) {
            let hash =
                Sha256::new().chain_update(&self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            block.copy_from_slice(&hash[..block.len()]);
            self.counter += 1;
        }
    }
}

/// Plaintext of `size` bytes that is a function of a seed.
pub(crate) fn plaintext(seed: &str, size: u64) -> Vec<u8> {
    let mut plain = vec![0; size as usize];
    Seeded::new(seed).fill(&mut plain);
    plain
}

pub(crate) const KEY: [u8; 32] = [0x42; 32];
pub(crate) const NAME: ObjectName<'static> = ObjectName { binding: "photos", key: b"2026/\xff cat.jpg" };

pub(crate) fn bucket_key() -> BucketKey {
    BucketKey::new(Zeroizing::new(KEY))
}

pub(crate) fn header(kind: Kind) -> EnvelopeHeader {
    EnvelopeHeader {
        kind,
        mode: Mode::SseS3,
        bucket_key: BucketKeyFlag::Shared,
        service: "main".into(),
        key_name: "s3cloak-default".into(),
        key_spelling: None,
        sealed_key: vec![0x5e; 76],
        context: None,
    }
}

pub(crate) fn facts() -> SealedFacts {
    SealedFacts {
        etag: EtagFact::Md5([0xd5; 16]),
        checksum: Some(ChecksumFact { algorithm: 3, kind: ChecksumKind::FullObject, value: vec![0xc6; 8] }),
    }
}

/// One sealed object with all that is needed to open it.
pub(crate) struct Sealed {
    pub(crate) envelope: Envelope,
    pub(crate) body: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) parts: Vec<PartEntry>,
}

impl Sealed {
    pub(crate) fn secrets(&self) -> ObjectSecrets {
        self.envelope.open(KeyRef::Bucket(&bucket_key()), &NAME).unwrap()
    }

    pub(crate) fn trailer(&self) -> Trailer {
        match open_trailer(&self.secrets(), &self.body, self.body.len() as u64).unwrap() {
            TrailerRead::Ready(trailer) => trailer,
            TrailerRead::NeedMore { .. } => panic!("the whole body was given"),
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::from_trailer(&self.secrets(), &self.trailer()).unwrap()
    }
}

/// Cuts `bytes` into pieces of these lengths, over and over; 0 gives an empty piece.
pub(crate) fn split<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let total: usize = lengths.iter().sum();
    let mut next = lengths.iter().cycle();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = if total == 0 { rest.len() } else { *next.next()? };
        let (piece, later) = rest.split_at(length.min(rest.len()));
        rest = later;
        Some(piece)
    })
}

pub(crate) fn seal_single(seed: &str, plain: Vec<u8>, splits: &[usize]) -> Sealed {
    seal_single_as(seed, plain, splits, header(Kind::Single), KeyRef::Bucket(&bucket_key()))
}

pub(crate) fn seal_single_as(
    seed: &str,
    plain: Vec<u8>,
    splits: &[usize],
    header: EnvelopeHeader,
    key: KeyRef<'_>,
) -> Sealed {
    let mut rng = Seeded::new(seed);
    let attempt = Attempt::single(plain.len() as u64, &mut rng);
    let envelope = attempt.envelope(header, key, &NAME, &mut rng).unwrap();
    let promised = attempt.sealed_len();
    let mut sealer = attempt.into_sealer();
    let mut body = Vec::new();
    for piece in split(&plain, splits) {
        sealer.push(piece, &mut |sealed| body.extend(sealed)).unwrap();
    }
    body.extend(sealer.finish(&facts()).unwrap());
    assert_eq!(body.len() as u64, promised);
    Sealed { envelope, body, plain, parts: Vec::new() }
}

/// One multipart object of parts `(number, size)`.
pub(crate) fn seal_multipart(seed: &str, sizes: &[(u16, u64)], splits: &[usize]) -> Sealed {
    let mut rng = Seeded::new(seed);
    let secrets = ObjectSecrets::multipart(&mut rng);
    let envelope =
        Envelope::rewrap(&secrets, header(Kind::Multipart), KeyRef::Bucket(&bucket_key()), &NAME, &mut rng)
            .unwrap();
    let plain = plaintext(seed, sizes.iter().map(|(_, size)| size).sum());
    let (mut body, mut parts, mut rest) = (Vec::new(), Vec::new(), &plain[..]);
    for (number, size) in sizes {
        let (part, later) = rest.split_at(*size as usize);
        rest = later;
        let attempt = PartAttempt::new(&secrets, *number, *size, &mut rng).unwrap();
        parts.push(attempt.entry(Some(vec![0xc7; 8])));
        let promised = attempt.sealed_len();
        let before = body.len();
        let mut sealer = attempt.into_sealer();
        for piece in split(part, splits) {
            sealer.push(piece, &mut |sealed| body.extend(sealed)).unwrap();
        }
        body.extend(sealer.finish().unwrap());
        assert_eq!((body.len() - before) as u64, promised);
    }
    let facts =
        SealedFacts { etag: EtagFact::Multipart { md5: [0xd6; 16], parts: sizes.len() as u16 }, ..facts() };
    let lists = list_tag(sizes.iter().map(|(number, _)| (*number, "0123")));
    body.extend(
        seal_trailer(&secrets.trailer_key(), &parts, &facts, &upload_tag(b"upload"), &lists).unwrap(),
    );
    Sealed { envelope, body, plain, parts }
}

/// What a full read released, and how it ended.
pub(crate) fn open_full(
    layout: &Layout,
    body: &[u8],
    splits: &[usize],
) -> (Vec<u8>, Result<Trailer, OpenError>) {
    let mut released = Vec::new();
    let mut opener = layout.full_opener(body.len() as u64);
    for piece in split(body, splits) {
        if let Err(error) = opener.push(piece, &mut |plain| released.extend(plain)) {
            return (released, Err(error));
        }
    }
    let end = opener.finish(&mut |plain| released.extend(plain));
    (released, end)
}

/// What a ranged read released, and how it ended.
pub(crate) fn open_range(
    layout: &Layout,
    range: std::ops::Range<u64>,
    body: &[u8],
    splits: &[usize],
) -> (Vec<u8>, Result<(), OpenError>) {
    let cipher = layout.body_range(range.clone());
    let mut released = Vec::new();
    let mut opener = layout.opener(range);
    for piece in split(&body[cipher.start as usize..cipher.end as usize], splits) {
        if let Err(error) = opener.push(piece, &mut |plain| released.extend(plain)) {
            return (released, Err(error));
        }
    }
    let end = opener.finish(&mut |plain| released.extend(plain));
    (released, end)
}
