//! Properties over random lengths, splits, ranges and part layouts: what was sealed opens, here and in the second
//! implementation, and what was touched does not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
mod reference;

use common::*;
use object_format::*;
use proptest::prelude::*;

const MIB5: u64 = 5 << 20;

fn open_by_reference(sealed: &Sealed, body: &[u8]) -> Option<Vec<u8>> {
    reference::open(&sealed.envelope.to_value(), "bucket", &KEY, NAME.binding, NAME.key, body)
        .map(|opened| opened.plain)
}

fn check_opens(sealed: &Sealed, splits: &[usize]) {
    let layout = sealed.layout();
    let (plain, end) = open_full(&layout, &sealed.body, splits);
    assert_eq!(end, Ok(sealed.trailer()));
    assert!(plain == sealed.plain);
    assert!(open_by_reference(sealed, &sealed.body) == Some(plain));
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 65_500..65_600u64, 131_000..131_100u64, 0..400_000u64]
}

fn splits() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..40usize, 1_000..200_000usize], 1..6)
}

/// Splits for objects of some MiB, which would take too long byte by byte.
fn large_splits() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(500..200_000usize, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_length_in_any_split_opens(length in lengths(), seal in splits(), open in splits()) {
        let sealed = seal_single("any length", plaintext("p", length), &seal);
        prop_assert_eq!(sealed.body.len() as u64, length::sealed_len(length));
        check_opens(&sealed, &open);
    }

    #[test]
    fn any_range_of_a_single_put_opens(length in lengths(), a: u64, b: u64, open in splits()) {
        let sealed = seal_single("any range", plaintext("p", length), &[100_000]);
        let layout = Layout::single(&sealed.secrets()).unwrap();
        let (a, b) = (a % (length + 1), b % (length + 1));
        let range = a.min(b)..a.max(b);
        let (plain, end) = open_range(&layout, range.clone(), &sealed.body, &open);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(plain == sealed.plain[range.start as usize..range.end as usize]);
        let cipher = layout.body_range(range.clone());
        let chunks = range.end.div_ceil(65536) - range.start / 65536;
        prop_assert!(range.is_empty() || cipher.end - cipher.start <= chunks * 65552);
    }

    #[test]
    fn one_flipped_bit_never_passes_and_never_releases_a_wrong_byte(length in 1..200_000u64, bit: u64) {
        let sealed = seal_single("flip", plaintext("p", length), &[]);
        let mut body = sealed.body.clone();
        let bit = bit % (body.len() as u64 * 8);
        body[(bit / 8) as usize] ^= 1 << (bit % 8);
        let (plain, end) = open_full(&Layout::single(&sealed.secrets()).unwrap(), &body, &[50_000]);
        prop_assert_eq!(end, Err(OpenError::NotAuthentic));
        // Exactly the whole chunks before the flip, and never the last.
        let chunks_before = (bit / 8 / 65552).min((length - 1) / 65536);
        prop_assert!(plain == sealed.plain[..(chunks_before * 65536) as usize]);
    }

    #[test]
    fn a_cut_object_never_passes(length in 1..200_000u64, cut: u64) {
        let sealed = seal_single("cut", plaintext("p", length), &[]);
        let layout = Layout::single(&sealed.secrets()).unwrap();
        let cut = (cut % sealed.body.len() as u64) as usize;
        // The backend owns up to the shorter length: refused before the first byte.
        prop_assert_eq!(open_full(&layout, &sealed.body[..cut], &[]), (vec![], Err(OpenError::NotAuthentic)));
        // It announces the whole length and then ends.
        let mut released = Vec::new();
        let mut opener = layout.full_opener(sealed.body.len() as u64);
        opener.push(&sealed.body[..cut], &mut |plain| released.extend(plain)).unwrap();
        let end = opener.finish(&mut |plain| released.extend(plain));
        prop_assert_eq!(end, Err(OpenError::Truncated));
        prop_assert!(released.len() < sealed.plain.len() && sealed.plain.starts_with(&released));
    }

    #[test]
    fn no_bytes_parse_as_an_envelope_unless_they_are_its_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use base64::Engine;
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() { *first = 1 }
        let value = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
        if let Ok(envelope) = Envelope::parse(&value) {
            prop_assert_eq!(envelope.to_value(), value);
        }
    }

    #[test]
    fn sizes_invert(plain in 0..length::MAX_PLAIN) {
        prop_assert_eq!(length::plain_len(length::sealed_len(plain)), Some(plain));
    }

    #[test]
    fn inverting_any_length_is_exact(sealed: u64) {
        if let Some(plain) = length::plain_len(sealed) {
            prop_assert_eq!(length::sealed_len(plain), sealed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_part_layout_opens_whole_and_in_ranges(
        first in MIB5..MIB5 + 200_000,
        last in prop_oneof![Just(0u64), 1..200_000u64],
        number in 1..5_000u16, gap in 1..5_000u16,
        seal in large_splits(), open in large_splits(),
        ranges in prop::collection::vec((any::<u64>(), 0..150_000u64), 8),
    ) {
        let sealed = seal_multipart("layout", &[(number, first), (number + gap, last)], &seal);
        prop_assert_eq!(sealed.body.len() as u64, length::sealed_len(first + last));
        check_opens(&sealed, &open);
        let layout = sealed.layout();
        let around_the_border = (first.saturating_sub(70_000), 140_000);
        for (start, length) in ranges.into_iter().chain([around_the_border, (0, u64::MAX)]) {
            let start = start % (first + last);
            let range = start..start.saturating_add(length);
            let (plain, end) = open_range(&layout, range.clone(), &sealed.body, &open);
            prop_assert_eq!(end, Ok(()));
            let expected = &sealed.plain[range.start as usize..range.end.min(first + last) as usize];
            prop_assert!(plain == expected);
        }
    }
}

#[test]
fn every_single_bit_of_small_objects_counts() {
    for sealed in [
        seal_single("one byte", plaintext("p", 1), &[]),
        seal_multipart("one part", &[(7, 3)], &[]),
        seal_multipart("no bytes", &[(1, 0)], &[]),
    ] {
        let layout = sealed.layout();
        for bit in 0..sealed.body.len() * 8 {
            let mut body = sealed.body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_full(&layout, &body, &[]), (vec![], Err(OpenError::NotAuthentic)), "bit {bit}");
            // Read anew, the trailer already tells, unless the bit stands before it.
            let trailer = open_trailer(&sealed.secrets(), &body, body.len() as u64);
            let in_trailer = bit / 8 >= body.len() - trailer_len(sealed.parts.len()) as usize;
            assert_eq!(trailer.is_err(), in_trailer, "bit {bit}");
        }
    }
}

#[test]
fn multipart_objects_of_few_bytes_have_the_length_of_their_size() {
    for size in [1, 65536, 65537, MIB5 - 1, MIB5] {
        let sealed = seal_multipart("few", &[(1, size)], &[]);
        assert_eq!(sealed.body.len() as u64, length::sealed_len(size));
        check_opens(&sealed, &[70_000]);
    }
    let empty = seal_multipart("empty", &[(1, 0)], &[]);
    assert_eq!(empty.body.len(), 528);
    assert_eq!(length::plain_len(528), Some(0));
    check_opens(&empty, &[1]);
}

#[test]
fn ten_thousand_parts_seal_and_read_by_arithmetic() {
    let mut rng = Seeded::new("ten thousand");
    let secrets = ObjectSecrets::multipart(&mut rng);
    let parts: Vec<PartEntry> = (1..=10_000u16)
        .map(|number| {
            let size = if number == 10_000 { 0 } else { MIB5 + u64::from(number) * 7_919 % 100_003 };
            PartAttempt::new(&secrets, number, size, &mut rng).unwrap().entry(None)
        })
        .collect();
    let facts = SealedFacts { etag: EtagFact::Opaque, checksum: None };
    let tail = seal_trailer(&secrets.trailer_key(), &parts, &facts, &[1; 32], &[2; 32]).unwrap();
    let plain: u64 = parts.iter().map(|part| part.size).sum();
    let total = length::sealed_len(plain);
    let segments: u64 = parts.iter().map(|part| length::segment_len(part.size)).sum();
    assert_eq!(segments + tail.len() as u64, total);

    // 581 entries come with the last 64 KiB; more take a second read, whose length the first one tells.
    let last = &tail[tail.len() - 65536..];
    let needed = 10_000 * 112 + 400;
    assert_eq!(open_trailer(&secrets, last, total), Ok(TrailerRead::NeedMore { tail_bytes: needed }));
    let Ok(FooterRead::Ready(footer)) = open_footer(&secrets, &tail[tail.len() - 512..], total) else {
        panic!("512 bytes are enough for a footer")
    };
    assert_eq!((footer.plain_size, footer.part_count), (plain, 10_000));
    let Ok(TrailerRead::Ready(trailer)) =
        open_trailer(&secrets, &tail[tail.len() - needed as usize..], total)
    else {
        panic!("the table is there")
    };
    assert_eq!(trailer.parts, parts);
    let layout = Layout::from_trailer(&secrets, &trailer).unwrap();
    assert_eq!((layout.plain_size(), layout.sealed_total()), (plain, total));

    let (mut plain_start, mut cipher_start) = (0, 0);
    for (index, part) in parts.iter().enumerate() {
        let range = plain_start..plain_start + part.size;
        assert_eq!(layout.part_range(index), Some(range.clone()));
        let end = cipher_start + length::segment_len(part.size);
        if part.size > 0 {
            assert_eq!(layout.body_range(range), CipherRange { start: cipher_start, end });
        }
        plain_start += part.size;
        cipher_start = end;
    }

    // A range over the border of two parts in the middle.
    let border = layout.part_range(7_776).unwrap().end;
    let mut body = Vec::new();
    for number in [7_777, 7_778] {
        let attempt =
            PartAttempt::new(&secrets, number, parts[usize::from(number) - 1].size, &mut rng).unwrap();
        assert_ne!(attempt.salt(), parts[usize::from(number) - 1].salt);
        let mut sealer = attempt.into_sealer();
        sealer
            .push(&plaintext("middle", parts[usize::from(number) - 1].size), &mut |sealed| {
                body.extend(sealed)
            })
            .unwrap();
        body.extend(sealer.finish().unwrap());
    }
    let start = layout.body_range(layout.part_range(7_776).unwrap()).start;
    let cipher = layout.body_range(border - 10..border + 10);
    let fetched = &body[(cipher.start - start) as usize..(cipher.end - start) as usize];
    let mut opener = layout.opener(border - 10..border + 10);
    // Sealed by another attempt than the one in the table: a part that was overwritten does not open.
    assert_eq!(opener.push(fetched, &mut |_| panic!("nothing is released")), Err(OpenError::NotAuthentic));
}
