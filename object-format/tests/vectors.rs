//! The named vector files: objects that open and objects that must not, with exactly the plaintext that may be released.
//! `WRITE_VECTORS=1 cargo test -p object-format --test vectors` writes them anew; otherwise they must be what is sealed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
mod reference;

use common::*;
use object_format::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// One vector file. All bytes in hex.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    about: String,
    envelope: String,
    /// `bucket` or `customer`.
    key_role: String,
    /// The plaintext of the sealed bucket key, or the customer's key.
    key: String,
    binding: String,
    object_key: String,
    body: Body,
    /// What was done to the body after sealing, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edits: Vec<Edit>,
    /// A ranged read of plaintext `[start, end)` in place of a full one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<(u64, u64)>,
    expect: Expect,
}

/// Where the body comes from.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Body {
    /// The bytes of a file beside this one.
    File(String),
    /// Too large for a file: to be sealed again from what is said here, and to be compared with the hash.
    Recipe {
        /// Plaintext: SHA-256(seed ‖ u64 counter), block after block.
        plain_seed: String,
        /// Number, size and salt of each segment.
        segments: Vec<(u16, u64, String)>,
        padding: u64,
        trailer: String,
        sha256: String,
    },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Edit {
    Flip {
        bit: usize,
    },
    Cut {
        to: usize,
    },
    Append {
        hex: String,
    },
    /// Exchanges two stretches of the same length.
    Swap {
        a: usize,
        b: usize,
        length: usize,
    },
    /// Puts in bytes of another vector's (unedited) body, from the same offset.
    Graft {
        from: String,
        at: usize,
        length: usize,
    },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// Where it fails, if it does: `envelope_syntax`, `envelope`, `trailer`, `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fails_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What is released: length and hash of a prefix of the plaintext (or of the range).
    released_len: u64,
    released_sha256: String,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What a reader that holds nothing but the vector releases, and where it stops.
fn read(vector: &Vector, body: &[u8]) -> (Vec<u8>, Option<(&'static str, String)>) {
    let fail = |at, error: String| (Vec::new(), Some((at, error)));
    let envelope = match Envelope::parse(&vector.envelope) {
        Ok(envelope) => envelope,
        Err(error) => return fail("envelope_syntax", format!("{error:?}")),
    };
    let key = Zeroizing::new(<[u8; 32]>::try_from(hex::decode(&vector.key).unwrap()).unwrap());
    let object_key = hex::decode(&vector.object_key).unwrap();
    let name = ObjectName { binding: &vector.binding, key: &object_key };
    let opened = match vector.key_role.as_str() {
        "bucket" => envelope.open(KeyRef::Bucket(&BucketKey::new(key)), &name),
        "customer" => envelope.open(KeyRef::Customer(&CustomerKey::new(key)), &name),
        role => panic!("unknown role {role}"),
    };
    let secrets = match opened {
        Ok(secrets) => secrets,
        Err(error) => return fail("envelope", format!("{error:?}")),
    };
    let layout = match Layout::single(&secrets) {
        Some(layout) => layout,
        None => match open_trailer(&secrets, body, body.len() as u64) {
            Ok(TrailerRead::Ready(trailer)) => Layout::from_trailer(&secrets, &trailer).unwrap(),
            Ok(TrailerRead::NeedMore { .. }) => return fail("trailer", "Truncated".into()),
            Err(error) => return fail("trailer", format!("{error:?}")),
        },
    };
    let (released, end) = match vector.range {
        Some((start, end)) => open_range(&layout, start..end, body, &[40_000, 1]),
        None => {
            let (released, end) = open_full(&layout, body, &[40_000, 1]);
            (released, end.map(|_| ()))
        }
    };
    (released, end.err().map(|error| ("body", format!("{error:?}"))))
}

fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut body = body.to_vec();
    for edit in edits {
        match edit {
            Edit::Flip { bit } => body[bit / 8] ^= 1 << (bit % 8),
            Edit::Cut { to } => body.truncate(*to),
            Edit::Append { hex } => body.extend(hex::decode(hex).unwrap()),
            Edit::Swap { a, b, length } => {
                for at in 0..*length {
                    body.swap(a + at, b + at);
                }
            }
            Edit::Graft { from, at, length } => {
                let other = made(from).1;
                body[*at..at + length].copy_from_slice(&other[*at..at + length]);
            }
        }
    }
    body
}

/// The objects that are sealed, by name; each is sealed once.
fn made(name: &str) -> (Arc<Sealed>, Vec<u8>) {
    static MADE: Mutex<BTreeMap<String, Arc<Sealed>>> = Mutex::new(BTreeMap::new());
    let sealed = MADE.lock().unwrap().entry(name.to_owned()).or_insert_with(|| Arc::new(seal(name))).clone();
    let body = sealed.body.clone();
    (sealed, body)
}

fn seal(name: &str) -> Sealed {
    match name {
        "single-empty" => seal_single(name, plaintext(name, 0), &[]),
        "single-empty-sha256" => {
            let mut rng = Seeded::new(name);
            let attempt = Attempt::empty(5, &mut rng).unwrap();
            let key = bucket_key();
            let header = header(Kind::Single);
            let envelope = attempt.envelope(header, KeyRef::Bucket(&key), &NAME, &mut rng).unwrap();
            Sealed { envelope, body: vec![], plain: vec![], parts: vec![] }
        }
        "single-one-byte" => seal_single(name, plaintext(name, 1), &[]),
        "single-one-chunk" => seal_single(name, plaintext(name, 65536), &[]),
        "single-one-chunk-and-a-byte" => seal_single(name, plaintext(name, 65537), &[]),
        "single-three-chunks" | "single-three-chunks-again" => {
            seal_single(name, plaintext("single-three-chunks", 140_000), &[])
        }
        "single-sse-c" => {
            let bare = EnvelopeHeader::customer(Kind::Single);
            let key = CustomerKey::new(Zeroizing::new(KEY));
            seal_single_as(name, plaintext(name, 1000), &[], bare, KeyRef::Customer(&key))
        }
        "single-sse-kms" => {
            let header = EnvelopeHeader {
                mode: Mode::SseKms,
                bucket_key: BucketKeyFlag::PerObject,
                key_spelling: Some("arn:aws:kms:photos-key".into()),
                context: Some(b"eyJwcm9qZWN0IjoicGhvdG9zIn0=".to_vec()),
                ..header(Kind::Single)
            };
            seal_single_as(name, plaintext(name, 1000), &[], header, KeyRef::Bucket(&bucket_key()))
        }
        "multipart-empty" => seal_multipart(name, &[(1, 0)], &[]),
        "multipart-one-part" => seal_multipart(name, &[(3, 70_000)], &[]),
        "multipart-two-parts" => seal_multipart(name, &[(1, (5 << 20) + 12_345), (2, 70_001)], &[]),
        "multipart-last-part-empty" => seal_multipart(name, &[(2, 5 << 20), (9_999, 0)], &[]),
        _ => panic!("no object is called {name}"),
    }
}

fn vector(name: &str, about: &str, object: &str, edits: Vec<Edit>, range: Option<(u64, u64)>) -> Vector {
    let (sealed, body) = made(object);
    let body = if body.len() < 200_000 {
        Body::File(format!("{object}.body"))
    } else {
        let segments: u64 = sealed.parts.iter().map(|part| length::segment_len(part.size)).sum();
        let trailer = body.len() - trailer_len(sealed.parts.len()) as usize;
        Body::Recipe {
            plain_seed: object.to_owned(),
            segments: sealed
                .parts
                .iter()
                .map(|part| (part.number, part.size, hex::encode(part.salt)))
                .collect(),
            padding: trailer as u64 - segments,
            trailer: hex::encode(&body[trailer..]),
            sha256: sha256(&body),
        }
    };
    Vector {
        name: name.into(),
        about: about.into(),
        envelope: sealed.envelope.to_value(),
        key_role: if object == "single-sse-c" { "customer" } else { "bucket" }.into(),
        key: hex::encode(KEY),
        binding: NAME.binding.into(),
        object_key: hex::encode(NAME.key),
        body,
        edits,
        range,
        expect: Expect { fails_at: None, error: None, released_len: 0, released_sha256: String::new() },
    }
}

/// Every vector, with its expectation: at which stage it fails, and how many bytes may be released.
fn all() -> Vec<Vector> {
    let mut all = Vec::new();
    let mut add = |mut vector: Vector, fails: Option<(&str, &str)>, released: u64| {
        let object = match &vector.body {
            Body::File(file) => file.trim_end_matches(".body").to_owned(),
            Body::Recipe { plain_seed, .. } => plain_seed.clone(),
        };
        let plain = &made(&object).0.plain;
        let start = vector.range.map_or(0, |(start, _)| start) as usize;
        vector.expect = Expect {
            fails_at: fails.map(|(at, _)| at.into()),
            error: fails.map(|(_, error)| error.into()),
            released_len: released,
            released_sha256: sha256(&plain[start..start + released as usize]),
        };
        all.push(vector);
    };
    let body = Some(("body", "NotAuthentic"));
    let envelope = Some(("envelope", "NotAuthentic"));
    let trailer = Some(("trailer", "NotAuthentic"));

    for (name, about, size) in [
        ("single-empty", "An empty PUT: the body is empty and the envelope alone says so.", 0),
        ("single-empty-sha256", "An empty PUT with a checksum, whose algorithm the envelope keeps.", 0),
        ("single-one-byte", "The smallest body.", 1),
        ("single-one-chunk", "Exactly one chunk.", 65536),
        ("single-one-chunk-and-a-byte", "One byte over a chunk.", 65537),
        ("single-three-chunks", "Three chunks, the last one short.", 140_000),
        ("single-sse-c", "Under a customer's key, of which the envelope says nothing.", 1000),
        ("single-sse-kms", "Under a data key of its own, with the client's key id and context.", 1000),
        ("single-three-chunks-again", "The same plaintext, sealed by another attempt.", 140_000),
        ("multipart-empty", "A multipart object of no bytes: one empty chunk and a trailer.", 0),
        ("multipart-one-part", "One part, numbered 3.", 70_000),
        ("multipart-two-parts", "Two parts that end in the middle of a chunk.", (5 << 20) + 12_345 + 70_001),
        ("multipart-last-part-empty", "Two parts, the last one empty and numbered 9999.", 5 << 20),
    ] {
        add(vector(name, about, name, vec![], None), None, size);
    }
    let three = "single-three-chunks";
    add(
        vector(
            "range-inside-a-chunk",
            "A range within the second chunk.",
            three,
            vec![],
            Some((70_000, 70_100)),
        ),
        None,
        100,
    );
    add(
        vector(
            "range-over-all-chunks",
            "A range that begins in the first chunk and ends in the last.",
            three,
            vec![],
            Some((65_535, 131_073)),
        ),
        None,
        65_538,
    );
    let border = (5 << 20) + 12_345;
    add(
        vector(
            "range-over-parts",
            "A range over the border of two parts.",
            "multipart-two-parts",
            vec![],
            Some((border - 100, border + 100)),
        ),
        None,
        200,
    );

    // Failing ones: what stands before the fault may be released, chunk by chunk, and never the last chunk.
    let flip = |bit| vec![Edit::Flip { bit }];
    add(vector("flip-in-first-chunk", "A bit of the first chunk.", three, flip(80), None), body, 0);
    add(
        vector("flip-in-second-chunk", "A bit of the second chunk.", three, flip(8 * 65_552), None),
        body,
        65_536,
    );
    add(
        vector("flip-in-last-chunk", "A bit of the last chunk.", three, flip(8 * 131_104), None),
        body,
        131_072,
    );
    add(vector("flip-in-tag", "A bit of the first chunk's tag.", three, flip(8 * 65_551), None), body, 0);
    add(vector("flip-in-padding", "A bit of the padding.", three, flip(8 * 140_050), None), body, 131_072);
    add(
        vector(
            "flip-in-trailer-salt",
            "A bit of the trailer's salt.",
            three,
            flip(8 * (140_560 - 400)),
            None,
        ),
        body,
        131_072,
    );
    add(
        vector("flip-in-footer", "A bit of the sealed footer.", three, flip(8 * (140_560 - 300)), None),
        body,
        131_072,
    );
    add(
        vector("flip-in-version", "Another version behind the magic.", three, flip(8 * 140_559), None),
        body,
        131_072,
    );
    add(
        vector(
            "flip-outside-a-range",
            "The fault lies in a chunk that the range does not touch.",
            three,
            flip(80),
            Some((70_000, 70_100)),
        ),
        None,
        100,
    );
    add(
        vector(
            "flip-inside-a-range",
            "The fault lies in the range's second chunk.",
            three,
            flip(8 * 65_552),
            Some((65_000, 140_000)),
        ),
        body,
        536,
    );
    add(
        vector(
            "flip-in-table",
            "A bit of the layout table.",
            "multipart-one-part",
            flip(8 * (70_544 - 450)),
            None,
        ),
        trailer,
        0,
    );
    add(
        vector(
            "flip-in-table-tag",
            "A bit of the table's tag.",
            "multipart-one-part",
            flip(8 * (70_544 - 380)),
            None,
        ),
        trailer,
        0,
    );
    let total = 140_560;
    add(vector("cut-to-nothing", "The body is emptied.", three, vec![Edit::Cut { to: 0 }], None), body, 0);
    add(
        vector(
            "cut-at-a-chunk",
            "The body ends behind its second chunk.",
            three,
            vec![Edit::Cut { to: 131_104 }],
            None,
        ),
        body,
        0,
    );
    add(
        vector(
            "cut-in-a-chunk",
            "The body ends within its second chunk.",
            three,
            vec![Edit::Cut { to: 100_000 }],
            None,
        ),
        body,
        0,
    );
    add(
        vector("cut-by-one", "The last byte is missing.", three, vec![Edit::Cut { to: total - 1 }], None),
        body,
        0,
    );
    add(vector("extended", "One byte more.", three, vec![Edit::Append { hex: "00".into() }], None), body, 0);
    add(
        vector(
            "chunks-swapped",
            "The first two chunks exchanged.",
            three,
            vec![Edit::Swap { a: 0, b: 65_552, length: 65_552 }],
            None,
        ),
        body,
        0,
    );
    add(
        vector(
            "chunk-of-another-object",
            "The second chunk is another object's, of equal plaintext.",
            three,
            vec![Edit::Graft { from: "single-three-chunks-again".into(), at: 65_552, length: 65_552 }],
            None,
        ),
        body,
        65_536,
    );
    add(
        vector(
            "trailer-of-another-object",
            "The trailer is another object's, of equal plaintext.",
            three,
            vec![Edit::Graft { from: "single-three-chunks-again".into(), at: total - 400, length: 400 }],
            None,
        ),
        body,
        131_072,
    );
    add(
        vector(
            "multipart-cut-to-nothing",
            "A multipart object whose body is emptied.",
            "multipart-empty",
            vec![Edit::Cut { to: 0 }],
            None,
        ),
        trailer,
        0,
    );
    add(
        vector(
            "multipart-extended",
            "Zeros put behind a multipart object.",
            "multipart-one-part",
            vec![Edit::Append { hex: "00".repeat(16) }],
            None,
        ),
        trailer,
        0,
    );
    let swap = Edit::Swap { a: 0, b: 65_552, length: 65_552 };
    add(
        vector(
            "multipart-chunks-swapped",
            "The first two chunks of a part exchanged.",
            "multipart-two-parts",
            vec![swap],
            None,
        ),
        body,
        0,
    );

    let mut copied = vector(
        "copied",
        "Re-wrapped under another key for another place: no data moved.",
        three,
        vec![],
        None,
    );
    let other_key = [0x43; 32];
    copied.key = hex::encode(other_key);
    (copied.binding, copied.object_key) = ("archive".into(), hex::encode("copy"));
    let there = ObjectName { binding: "archive", key: b"copy" };
    let other_key = BucketKey::new(Zeroizing::new(other_key));
    let (secrets, mut rng) = (made(three).0.secrets(), Seeded::new("copied"));
    copied.envelope =
        Envelope::rewrap(&secrets, header(Kind::Single), KeyRef::Bucket(&other_key), &there, &mut rng)
            .unwrap()
            .to_value();
    add(copied, None, 140_000);
    let mut wrong = vector("sse-c-other-key", "Another customer's key.", "single-sse-c", vec![], None);
    wrong.key = hex::encode([0x43; 32]);
    add(wrong, envelope, 0);
    let mut wrong = vector(
        "sse-c-key-of-a-bucket",
        "A customer's key given as a bucket's.",
        "single-sse-c",
        vec![],
        None,
    );
    wrong.key_role = "bucket".into();
    add(wrong, envelope, 0);

    let mut other = |name: &str, about: &str, fails, edit: &dyn Fn(&mut Vector)| {
        let mut vector = vector(name, about, "single-one-byte", vec![], None);
        edit(&mut vector);
        add(vector, fails, 0);
    };
    other("other-key", "Another bucket key: the commitment tells.", envelope, &|v| {
        v.key = hex::encode([0x43; 32])
    });
    other("other-role", "The bucket key given as a customer's.", envelope, &|v| {
        v.key_role = "customer".into()
    });
    other("other-bucket", "The object moved to another bucket.", envelope, &|v| v.binding = "photo".into());
    other("other-name", "The object moved to another name.", envelope, &|v| {
        v.object_key = hex::encode("2026/cat.jpg")
    });
    other("other-envelope", "The envelope of another object under the same name.", body, &|v| {
        v.envelope = made("single-three-chunks").0.envelope.to_value();
    });
    let respell = |v: &mut Vector, edit: &dyn Fn(&mut Vec<u8>)| {
        use base64::Engine;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let mut bytes = engine.decode(&v.envelope).unwrap();
        edit(&mut bytes);
        v.envelope = engine.encode(bytes);
    };
    other("envelope-other-mode", "The mode changed to SSE-KMS.", envelope, &|v| {
        respell(v, &|bytes| bytes[2] = 2)
    });
    other("envelope-other-flag", "The flag of a shown bucket key set.", envelope, &|v| {
        respell(v, &|bytes| bytes[3] = 1)
    });
    other("envelope-other-service", "A letter of the service's name changed.", envelope, &|v| {
        respell(v, &|bytes| bytes[7] ^= 1)
    });
    other("envelope-other-commitment", "A bit of the commitment changed.", envelope, &|v| {
        respell(v, &|bytes| {
            let at = bytes.len() - 72 - 3 - 1;
            bytes[at] ^= 1;
        })
    });
    other("envelope-other-wrapped", "A bit of the wrapped part changed.", envelope, &|v| {
        respell(v, &|bytes| *bytes.last_mut().unwrap() ^= 1)
    });
    let malformed = Some(("envelope_syntax", "Malformed"));
    other(
        "envelope-other-kind",
        "The kind changed to multipart: the wrapped part has the wrong length.",
        malformed,
        &|v| respell(v, &|bytes| bytes[1] = 2),
    );
    other("envelope-cut", "The last byte of the envelope is missing.", malformed, &|v| {
        respell(v, &|bytes| {
            bytes.pop();
        })
    });
    other("envelope-extended", "A byte behind the envelope.", malformed, &|v| {
        respell(v, &|bytes| bytes.push(0))
    });
    other(
        "envelope-version-2",
        "A version that is not known.",
        Some(("envelope_syntax", "UnsupportedVersion(2)")),
        &|v| respell(v, &|bytes| bytes[0] = 2),
    );
    other("envelope-padded", "Base64 with padding.", Some(("envelope_syntax", "NotBase64")), &|v| {
        v.envelope.push('=')
    });
    other("envelope-too-long", "Over 2048 characters.", Some(("envelope_syntax", "TooLong")), &|v| {
        v.envelope = "A".repeat(2049)
    });
    all
}

#[test]
fn the_files_are_what_this_crate_seals() {
    let write = std::env::var_os("WRITE_VECTORS").is_some();
    let mut expected: Vec<String> = Vec::new();
    for vector in all() {
        let file = format!("{}.json", vector.name);
        let text = serde_json::to_string_pretty(&vector).unwrap() + "\n";
        if write {
            fs::write(folder().join(&file), &text).unwrap();
        }
        assert_eq!(fs::read_to_string(folder().join(&file)).unwrap(), text, "{file}");
        expected.push(file);
        if let Body::File(file) = &vector.body {
            let body = made(file.trim_end_matches(".body")).1;
            if write {
                fs::write(folder().join(file), &body).unwrap();
            }
            assert!(fs::read(folder().join(file)).unwrap() == body, "{file}");
            expected.push(file.clone());
        }
    }
    expected.sort();
    expected.dedup();
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_file_opens_or_fails_as_it_says_and_releases_exactly_that() {
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let vector: Vector = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let body = match &vector.body {
            Body::File(file) => fs::read(folder().join(file)).unwrap(),
            Body::Recipe { plain_seed, sha256: hash, .. } => {
                let body = made(plain_seed).1;
                assert_eq!(&sha256(&body), hash, "{}", vector.name);
                body
            }
        };
        let body = edited(&body, &vector.edits);
        let (released, failed) = read(&vector, &body);
        let expected = vector.expect.fails_at.as_deref().zip(vector.expect.error.as_deref());
        assert_eq!(failed.as_ref().map(|(at, error)| (*at, error.as_str())), expected, "{}", vector.name);
        assert_eq!(released.len() as u64, vector.expect.released_len, "{}", vector.name);
        assert_eq!(sha256(&released), vector.expect.released_sha256, "{}", vector.name);

        let key = hex::decode(&vector.key).unwrap().try_into().unwrap();
        let object_key = hex::decode(&vector.object_key).unwrap();
        let role = &vector.key_role;
        let reference = reference::open(&vector.envelope, role, &key, &vector.binding, &object_key, &body);
        match vector.range {
            None => assert_eq!(reference.is_some(), expected.is_none(), "{}", vector.name),
            Some(_) => assert_eq!(reference.is_some(), vector.edits.is_empty(), "{}", vector.name),
        }
        seen += 1;
    }
    assert_eq!(seen, all().len());
}
