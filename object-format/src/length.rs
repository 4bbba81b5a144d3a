//! The size function g and its inverse: the ciphertext length is a function of the plaintext length alone.
//! Frozen for every version of the format, since a listing sees a size and no version.

use crate::Kind;

/// Plaintext bytes in a chunk; only the last chunk of a segment has fewer.
pub const CHUNK: u64 = 65536;
/// Length of the AES-GCM tag behind each chunk.
pub const TAG: u64 = 16;
/// What the shortest trailer takes: footer, magic and the room of one table entry.
pub const FOOTER: u64 = 512;
/// The largest plaintext: 10 000 parts of 5 GiB.
pub const MAX_PLAIN: u64 = 10_000 * (5 << 30);

/// S3 demands this much of every part but the last; so it bounds how many parts an object can have.
pub(crate) const MIN_PART: u64 = 5 << 20;
/// What each further part may cost: one more chunk tag (16) and one more table entry (112).
const PER_PART: u64 = 128;
/// How many parts an object can have besides the first.
const MAX_FURTHER_PARTS: u64 = 9_999;
/// Ciphertext of [`MIN_PART`] bytes and what a further part may cost.
const SEALED_MIN_PART: u64 = MIN_PART + MIN_PART / CHUNK * TAG + PER_PART;
/// Length of a multipart object of no bytes: one empty chunk and a trailer. `g` never takes this value.
const EMPTY_MULTIPART: u64 = TAG + FOOTER;

/// g: the body length of an object of `plain` bytes; of a multipart object also, unless it is empty.
///
/// ```
/// # use object_format::length::sealed_len;
/// assert_eq!(sealed_len(0), 0);
/// assert_eq!(sealed_len(1), 1 + 16 + 512);
/// assert_eq!(sealed_len(5 << 20), (5 << 20) + 80 * 16 + 512 + 128);
/// ```
///
/// Saturates for sizes that no object can have ([`MAX_PLAIN`]).
pub fn sealed_len(plain: u64) -> u64 {
    if plain == 0 {
        return 0;
    }
    segment_len(plain)
        .saturating_add(FOOTER)
        .saturating_add(PER_PART * (plain / MIN_PART).min(MAX_FURTHER_PARTS))
}

/// The exact inverse: the plaintext length of a body of `sealed` bytes, `None` for a length that no object has.
///
/// The empty multipart object (528 bytes) also inverts, to 0.
///
/// ```
/// # use object_format::length::plain_len;
/// assert_eq!(plain_len(0), Some(0));
/// assert_eq!(plain_len(529), Some(1));
/// assert_eq!(plain_len(100), None);
/// ```
pub fn plain_len(sealed: u64) -> Option<u64> {
    if sealed == 0 || sealed == EMPTY_MULTIPART {
        return Some(0);
    }
    let body = sealed.checked_sub(FOOTER)?;
    let further_parts = (body / SEALED_MIN_PART).min(MAX_FURTHER_PARTS);
    let segment = body - further_parts * PER_PART;
    let plain = segment.checked_sub(segment.div_ceil(CHUNK + TAG) * TAG)?;
    (plain <= MAX_PLAIN && sealed_len(plain) == sealed).then_some(plain)
}

/// The body length of an object of `plain` bytes and this kind: g, but for the empty multipart object.
pub fn total_len(kind: Kind, plain: u64) -> u64 {
    match (kind, plain) {
        (Kind::Multipart, 0) => EMPTY_MULTIPART,
        _ => sealed_len(plain),
    }
}

/// The ciphertext length of one segment (one part, without any trailer); an empty part has one empty chunk.
pub fn segment_len(plain: u64) -> u64 {
    plain.saturating_add(chunks(plain) * TAG)
}

/// How many chunks a segment of `plain` bytes has: at least one.
pub(crate) fn chunks(plain: u64) -> u64 {
    plain.div_ceil(CHUNK).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_around_every_border_and_nowhere_else() {
        let borders = (0..40)
            .map(|n| n * CHUNK)
            .chain((1..20).map(|n| n * MIN_PART))
            .chain((9_990..10_010).map(|n| n * MIN_PART))
            .chain([5 << 30, 1 << 40, MAX_PLAIN - 70_000]);
        for border in borders {
            for plain in border.saturating_sub(3)..border + 3 {
                let sealed = sealed_len(plain);
                assert_eq!(plain_len(sealed), Some(plain), "{plain}");
                let next = sealed_len(plain + 1);
                assert!(next > sealed, "strictly increasing at {plain}");
                for hole in sealed + 1..next {
                    assert_eq!(
                        plain_len(hole),
                        (hole == EMPTY_MULTIPART).then_some(0),
                        "hole {hole} over {plain}"
                    );
                }
            }
        }
    }

    #[test]
    fn refuses_what_no_object_has() {
        assert_eq!(plain_len(sealed_len(MAX_PLAIN)), Some(MAX_PLAIN));
        assert_eq!(plain_len(sealed_len(MAX_PLAIN + 1)), None);
        assert_eq!(plain_len(u64::MAX), None);
        assert_eq!(sealed_len(u64::MAX), u64::MAX);
        for sealed in 1..sealed_len(1) {
            assert_eq!(plain_len(sealed), (sealed == EMPTY_MULTIPART).then_some(0));
        }
    }

    #[test]
    fn overhead_at_one_gibibyte_is_at_most_three_hundredths_of_a_percent() {
        let plain = 1u64 << 30;
        let overhead = sealed_len(plain) - plain;
        assert!(overhead * 10_000 <= plain * 3, "{overhead} bytes");
    }
}
