//! What a hostile backend can put together out of authentic pieces, and what a careless caller can ask for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
mod reference;

use common::*;
use object_format::*;

const MIB5: u64 = 5 << 20;

fn opaque() -> SealedFacts {
    SealedFacts { etag: EtagFact::Opaque, checksum: None }
}

fn sealed_part(attempt: PartAttempt, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sealer = attempt.into_sealer();
    sealer.push(plain, &mut |sealed| out.extend(sealed)).unwrap();
    out.extend(sealer.finish().unwrap());
    out
}

/// One upload with two attempts at its only part: the bytes of both, and both trailers.
struct TwoAttempts {
    secrets: ObjectSecrets,
    old: (Vec<u8>, Vec<u8>),
    new: (Vec<u8>, Vec<u8>),
}

fn two_attempts() -> TwoAttempts {
    let mut rng = Seeded::new("two attempts");
    let secrets = ObjectSecrets::multipart(&mut rng);
    let mut one = |plain: &[u8]| {
        let attempt = PartAttempt::new(&secrets, 1, plain.len() as u64, &mut rng).unwrap();
        let entries = [attempt.entry(None)];
        let trailer = seal_trailer(&secrets.trailer_key(), &entries, &opaque(), &[1; 32], &[2; 32]).unwrap();
        (sealed_part(attempt, plain), trailer)
    };
    let (old, new) = (one(b"old bytes"), one(b"new bytes"));
    TwoAttempts { secrets, old, new }
}

fn open_multipart(secrets: &ObjectSecrets, body: &[u8]) -> Result<Vec<u8>, OpenError> {
    let TrailerRead::Ready(trailer) = open_trailer(secrets, body, body.len() as u64)? else {
        panic!("the whole body was given")
    };
    let layout = Layout::from_trailer(secrets, &trailer)?;
    let (plain, end) = open_full(&layout, body, &[]);
    end.map(|_| plain)
}

#[test]
fn an_older_attempt_at_a_part_does_not_stand_in_for_a_newer_one() {
    let TwoAttempts { secrets, old, new } = two_attempts();
    assert_eq!(open_multipart(&secrets, &[&new.0[..], &new.1].concat()), Ok(b"new bytes".to_vec()));
    assert_eq!(open_multipart(&secrets, &[&old.0[..], &old.1].concat()), Ok(b"old bytes".to_vec()));
    assert_eq!(open_multipart(&secrets, &[&old.0[..], &new.1].concat()), Err(OpenError::NotAuthentic));
}

#[test]
fn tables_and_footers_of_two_attempts_do_not_mix() {
    let TwoAttempts { secrets, old, new } = two_attempts();
    let table = 112;
    let mixed = [&new.0[..], &old.1[..table], &new.1[table..]].concat();
    assert_eq!(open_multipart(&secrets, &mixed), Err(OpenError::NotAuthentic));
    // The other's table with its salt and tag, before this one's footer.
    let mixed = [&new.0[..], &old.1[..table + 32], &new.1[table + 32..]].concat();
    assert_eq!(open_multipart(&secrets, &mixed), Err(OpenError::NotAuthentic));
    // The other's table with its tag under this one's salt.
    let mixed = [
        &new.0[..],
        &old.1[..table],
        &new.1[table..table + 16],
        &old.1[table + 16..table + 32],
        &new.1[table + 32..],
    ];
    assert_eq!(open_multipart(&secrets, &mixed.concat()), Err(OpenError::NotAuthentic));
}

#[test]
fn a_layout_that_was_read_before_holds_the_object_to_it() {
    let TwoAttempts { secrets, old, new } = two_attempts();
    let (old, new) = ([&old.0[..], &old.1].concat(), [&new.0[..], &new.1].concat());
    let Ok(TrailerRead::Ready(trailer)) = open_trailer(&secrets, &old, old.len() as u64) else {
        panic!("authentic")
    };
    let layout = Layout::from_trailer(&secrets, &trailer).unwrap();
    assert_eq!(open_full(&layout, &new, &[]), (vec![], Err(OpenError::NotAuthentic)));
    // Old bytes with a newer trailer behind them: nothing of the only chunk is released.
    let cut = old.len() - trailer_len(1) as usize;
    let mixed = [&old[..cut], &new[cut..]].concat();
    assert_eq!(open_full(&layout, &mixed, &[]), (vec![], Err(OpenError::NotAuthentic)));
}

#[test]
fn parts_do_not_change_places_and_objects_do_not_exchange_parts() {
    let sizes = [(1, MIB5), (2, MIB5), (3, 10)];
    let (a, b) = (seal_multipart("a", &sizes, &[]), seal_multipart("b", &sizes, &[]));
    let segment = length::segment_len(MIB5) as usize;
    let mut swapped = a.body.clone();
    let (one, two) = swapped.split_at_mut(segment);
    one.swap_with_slice(&mut two[..segment]);
    assert_eq!(open_full(&a.layout(), &swapped, &[]), (vec![], Err(OpenError::NotAuthentic)));

    let mut grafted = a.body.clone();
    grafted[segment..2 * segment].copy_from_slice(&b.body[segment..2 * segment]);
    let (released, end) = open_full(&a.layout(), &grafted, &[]);
    assert_eq!(end, Err(OpenError::NotAuthentic));
    assert!(released == a.plain[..MIB5 as usize], "the first part is authentic");

    // Another object's trailer under this one's envelope.
    assert_eq!(open_trailer(&a.secrets(), &b.body, b.body.len() as u64), Err(OpenError::NotAuthentic));
    let single = seal_single("c", plaintext("c", 2 * MIB5 + 10), &[]);
    assert_eq!(single.body.len(), a.body.len());
    assert_eq!(open_trailer(&a.secrets(), &single.body, a.body.len() as u64), Err(OpenError::NotAuthentic));
}

#[test]
fn a_trailer_binds_the_length_of_the_whole_ciphertext() {
    let sealed = seal_single("length", plaintext("p", 1000), &[]);
    let (secrets, total) = (sealed.secrets(), sealed.body.len() as u64);
    let tail = &sealed.body[sealed.body.len() - 512..];
    assert!(matches!(open_footer(&secrets, tail, total), Ok(FooterRead::Ready(_))));
    for wrong in [0, 511, 512, total - 1, total + 1, u64::MAX] {
        assert_eq!(open_footer(&secrets, tail, wrong), Err(OpenError::NotAuthentic), "{wrong}");
        assert_eq!(open_trailer(&secrets, tail, wrong), Err(OpenError::NotAuthentic), "{wrong}");
        assert_eq!(open_full(&sealed.layout(), &[], &[]).1, Err(OpenError::NotAuthentic));
    }
    assert_eq!(open_trailer(&secrets, &tail[200..], total), Ok(TrailerRead::NeedMore { tail_bytes: 512 }));
    assert_eq!(open_footer(&secrets, &[], total), Ok(FooterRead::NeedMore { tail_bytes: 512 }));
}

#[test]
fn an_empty_single_put_has_an_empty_body_and_nothing_else() {
    let sealed = seal_single("empty", vec![], &[]);
    assert!(sealed.body.is_empty());
    let secrets = sealed.secrets();
    assert_eq!(secrets.single_size(), Some(0));
    assert_eq!(sealed.trailer().facts, opaque());
    let body = seal_single("other", vec![1], &[]).body;
    assert_eq!(open_trailer(&secrets, &body, body.len() as u64), Err(OpenError::NotAuthentic));
    assert_eq!(open_full(&sealed.layout(), &body, &[]), (vec![], Err(OpenError::NotAuthentic)));
    assert_eq!(sealed.layout().body_range(0..10), CipherRange { start: 0, end: 0 });
    assert_eq!(open_range(&sealed.layout(), 0..10, &[], &[]), (vec![], Ok(())));
    // What a trailer would say of its checksum, the envelope does.
    assert_eq!(secrets.empty_checksum(), None);
    for algorithm in 1..=10 {
        let attempt = Attempt::empty(algorithm, &mut Seeded::new("e")).unwrap();
        let key = bucket_key();
        let header = header(Kind::Single);
        let sealed = attempt.envelope(header, KeyRef::Bucket(&key), &NAME, &mut Seeded::new("f")).unwrap();
        let secrets = sealed.open(KeyRef::Bucket(&key), &NAME).unwrap();
        assert_eq!((secrets.single_size(), secrets.empty_checksum()), (Some(0), Some(algorithm)));
        assert_eq!(attempt.into_sealer().finish(&facts()).unwrap(), []);
    }
    for unknown in [0, 11, 255] {
        assert!(matches!(Attempt::empty(unknown, &mut Seeded::new("e")), Err(SealError::Facts(_))));
    }
    assert_eq!(seal_single("one", vec![1], &[]).secrets().empty_checksum(), None);
    // An attempt at an empty object refuses any byte, and its sealer gives nothing.
    let mut sealer = Attempt::single(0, &mut Seeded::new("e")).into_sealer();
    assert_eq!(sealer.push(b"x", &mut |_| panic!("emitted")), Err(SealError::TooLong { declared: 0 }));
}

#[test]
fn the_magic_is_seen_whatever_the_version() {
    let mut body = seal_single("magic", vec![1, 2, 3], &[]).body;
    assert!(has_magic(&body));
    assert!(has_magic(&body[body.len() - 16..]));
    assert!(!has_magic(&body[body.len() - 15..]));
    *body.last_mut().unwrap() = 2;
    assert!(has_magic(&body));
    body.push(0);
    assert!(!has_magic(&body));
    assert!(!has_magic(b""));
}

#[test]
fn a_body_of_another_size_than_declared_is_refused_for_good() {
    let mut rng = Seeded::new("sizes");
    let mut sealer = Attempt::single(100_000, &mut rng).into_sealer();
    let mut emitted = Vec::new();
    sealer.push(&[0; 100_000], &mut |sealed| emitted.extend(sealed)).unwrap();
    assert_eq!(emitted.len(), 65_552, "the last chunk is held back");
    let too_long = Err(SealError::TooLong { declared: 100_000 });
    assert_eq!(sealer.push(b"x", &mut |_| panic!("emitted")), too_long);
    assert_eq!(sealer.push(b"", &mut |_| panic!("emitted")), too_long);
    assert_eq!(sealer.finish(&opaque()).err(), too_long.err());

    let mut sealer = Attempt::single(10, &mut rng).into_sealer();
    sealer.push(b"123456789", &mut |_| panic!("emitted")).unwrap();
    assert_eq!(sealer.finish(&opaque()), Err(SealError::TooShort { declared: 10, pushed: 9 }));

    let secrets = ObjectSecrets::multipart(&mut rng);
    let mut part = PartAttempt::new(&secrets, 1, 3, &mut rng).unwrap().into_sealer();
    assert_eq!(part.push(b"1234", &mut |_| panic!("emitted")), Err(SealError::TooLong { declared: 3 }));
    let part = PartAttempt::new(&secrets, 1, 3, &mut rng).unwrap().into_sealer();
    assert_eq!(part.finish(), Err(SealError::TooShort { declared: 3, pushed: 0 }));

    let too_large = length::MAX_PLAIN + 1;
    let mut sealer = Attempt::single(too_large, &mut rng).into_sealer();
    assert_eq!(sealer.push(b"x", &mut |_| panic!("emitted")), Err(SealError::TooLarge));
    assert_eq!(PartAttempt::new(&secrets, 1, too_large, &mut rng).err(), Some(SealError::TooLarge));
}

#[test]
fn part_lists_that_no_object_has_are_refused() {
    let secrets = ObjectSecrets::multipart(&mut Seeded::new("lists"));
    let part = |number, size| PartEntry { number, size, salt: [3; 16], checksum: None };
    let seal =
        |parts: &[PartEntry]| seal_trailer(&secrets.trailer_key(), parts, &opaque(), &[0; 32], &[0; 32]);
    let refused = |parts: &[PartEntry]| assert!(matches!(seal(parts), Err(SealError::Parts(_))), "{parts:?}");
    assert!(seal(&[part(1, MIB5), part(2, 1)]).is_ok());
    refused(&[]);
    refused(&[part(0, 1)]);
    refused(&[part(10_001, 1)]);
    refused(&[part(2, MIB5), part(1, MIB5)]);
    refused(&[part(1, MIB5), part(1, MIB5)]);
    refused(&[part(1, 100), part(2, 100)]);
    refused(&[part(1, MIB5 - 1), part(2, 0)]);
    refused(&[part(1, u64::MAX), part(2, 2)]);
    refused(&vec![part(1, MIB5); 10_001]);
    assert_eq!(seal(&[part(1, length::MAX_PLAIN), part(2, 1)]), Err(SealError::TooLarge));

    let mut rng = Seeded::new("numbers");
    for number in [0, 10_001] {
        assert!(matches!(PartAttempt::new(&secrets, number, 1, &mut rng), Err(SealError::Parts(_))));
    }
    let single = seal_single("single", vec![1], &[]).secrets();
    assert!(matches!(PartAttempt::new(&single, 1, 1, &mut rng), Err(SealError::Parts(_))));
}

#[test]
fn facts_come_back_and_impossible_ones_are_refused() {
    let secrets = ObjectSecrets::multipart(&mut Seeded::new("facts"));
    let seal = |facts: &SealedFacts, checksum: Option<Vec<u8>>| {
        let parts = [PartEntry { number: 1, size: 5, salt: [3; 16], checksum }];
        let tail = seal_trailer(&secrets.trailer_key(), &parts, facts, &[4; 32], &[5; 32])?;
        Ok::<_, SealError>(match open_trailer(&secrets, &tail, length::sealed_len(5)).unwrap() {
            TrailerRead::Ready(trailer) => trailer,
            TrailerRead::NeedMore { .. } => panic!("it is all there"),
        })
    };
    for algorithm in 0..=255 {
        for length in 0..=66 {
            for kind in [ChecksumKind::FullObject, ChecksumKind::Composite] {
                let checksum = Some(ChecksumFact { algorithm, kind, value: vec![6; length] });
                let facts = SealedFacts { etag: EtagFact::Multipart { md5: [7; 16], parts: 1 }, checksum };
                let of_part = vec![8; length];
                match seal(&facts, Some(of_part.clone())) {
                    Ok(trailer) => {
                        assert_eq!(ChecksumFact::value_len(algorithm), Some(length));
                        assert_eq!((trailer.facts, &trailer.parts[0].checksum), (facts, &Some(of_part)));
                        assert_eq!((trailer.upload_tag, trailer.list_tag), ([4; 32], [5; 32]));
                    }
                    Err(error) => {
                        assert_ne!(ChecksumFact::value_len(algorithm), Some(length));
                        assert!(matches!(error, SealError::Facts(_)));
                    }
                }
            }
        }
    }
    let no_parts = SealedFacts { etag: EtagFact::Multipart { md5: [7; 16], parts: 0 }, checksum: None };
    assert!(matches!(seal(&no_parts, None), Err(SealError::Facts(_))));
    assert!(matches!(seal(&opaque(), Some(vec![1; 4])), Err(SealError::Facts(_))));
}

#[test]
fn equal_trailers_have_equal_bytes_and_different_ones_no_common_salt() {
    let secrets = ObjectSecrets::multipart(&mut Seeded::new("trailers"));
    let seal = |size, tag: u8| {
        let parts = [PartEntry { number: 1, size, salt: [3; 16], checksum: None }];
        seal_trailer(&secrets.trailer_key(), &parts, &opaque(), &[tag; 32], &[0; 32]).unwrap()
    };
    let salt = |trailer: &[u8]| trailer[trailer.len() - 400..trailer.len() - 384].to_vec();
    assert_eq!(seal(9, 1), seal(9, 1));
    assert_ne!(salt(&seal(9, 1)), salt(&seal(9, 2)));
    assert_ne!(salt(&seal(9, 1)), salt(&seal(8, 1)));
}

#[test]
fn tags_tell_uploads_and_lists_apart() {
    assert_ne!(upload_tag(b"a"), upload_tag(b"b"));
    let list = |parts: &[(u16, &'static str)]| list_tag(parts.iter().copied());
    assert_eq!(list(&[(1, "a"), (2, "b")]), list(&[(1, "a"), (2, "b")]));
    for other in [&[(1, "a")][..], &[(2, "b"), (1, "a")], &[(1, "a"), (2, "c")], &[(1, "a"), (3, "b")], &[]] {
        assert_ne!(list(&[(1, "a"), (2, "b")]), list(other));
    }
}

#[test]
fn the_trailer_key_opens_trailers_and_comes_back_from_its_bytes() {
    let sealed = seal_multipart("trailer key", &[(4, 1000)], &[]);
    let key = TrailerKey::from_bytes(sealed.secrets().trailer_key().to_bytes());
    let read = open_multipart_trailer(&key, &sealed.body, sealed.body.len() as u64);
    assert_eq!(read, Ok(TrailerRead::Ready(sealed.trailer())));
}

#[test]
fn no_two_segments_share_a_key() {
    // Equal plaintext under the same DEK: other attempt, other number, other salt, never equal ciphertext.
    let mut rng = Seeded::new("keys");
    let secrets = ObjectSecrets::multipart(&mut rng);
    let mut seen = std::collections::HashSet::new();
    for number in [1, 1, 2, 2, 3] {
        assert!(
            seen.insert(sealed_part(PartAttempt::new(&secrets, number, 16, &mut rng).unwrap(), &[0; 16]))
        );
    }
}
