//! The bytes of a layout table and of a footer, before sealing. No keys here.
//! Reserved bytes are zero; a reader refuses others, since only another version may give them meaning.

use super::Footer;
use super::facts::{ChecksumFact, ChecksumKind, EtagFact, SealedFacts};
use crate::FORMAT_VERSION;
use crate::envelope::Kind;
use crate::key::{SALT, Salt};
use crate::length::MAX_PLAIN;

/// The most parts that an object has.
pub const MAX_PARTS: usize = 10_000;
/// The highest part number.
pub const MAX_PART_NUMBER: u16 = 10_000;

/// Length of one table entry.
pub(super) const ENTRY: usize = 112;
/// Length of a footer before sealing.
pub(super) const FOOTER_PLAIN: usize = 336;
/// Length of the public magic and version.
pub(super) const MAGIC: usize = 16;
/// Length of everything behind the table: salt, table tag, sealed footer, its tag, magic.
pub(super) const FIXED: usize = SALT + 16 + FOOTER_PLAIN + 16 + MAGIC;
/// The magic without the version byte behind it. Its first byte is no text, its last ones no UTF-8.
pub(super) const MAGIC_NAME: &[u8; MAGIC - 1] = b"\x89s3cloak object";

const CHECKSUM: usize = 64;

/// One part of a multipart object, as its layout table keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartEntry {
    /// The client's part number, 1 to 10 000.
    pub number: u16,
    /// Plaintext length, in bytes.
    pub size: u64,
    /// Salt of the attempt whose bytes stand.
    pub salt: [u8; 16],
    /// Checksum of the part, under the algorithm of the object's; `None` where the object has none.
    pub checksum: Option<Vec<u8>>,
}

pub(super) fn magic() -> [u8; MAGIC] {
    let mut magic = [FORMAT_VERSION; MAGIC];
    magic[..MAGIC - 1].copy_from_slice(MAGIC_NAME);
    magic
}

/// The rules for a list of parts, the same for writing and reading. The sum of the sizes, if they hold.
pub(super) fn check_parts(parts: &[PartEntry]) -> Result<u64, &'static str> {
    if !(1..=MAX_PARTS).contains(&parts.len()) {
        return Err("an object has 1 to 10000 parts");
    }
    if parts.first().is_some_and(|first| first.number == 0)
        || parts.iter().any(|part| part.number > MAX_PART_NUMBER)
    {
        return Err("part numbers go from 1 to 10000");
    }
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err("part numbers ascend");
    }
    if parts.iter().any(|part| part.size > MAX_PLAIN) {
        return Err("no part can be larger than an object");
    }
    Ok(parts.iter().map(|part| part.size).sum())
}

pub(super) fn write_table(
    parts: &[PartEntry],
    object: Option<&ChecksumFact>,
) -> Result<Vec<u8>, &'static str> {
    let mut table = Vec::with_capacity(parts.len() * ENTRY);
    for part in parts {
        let checksum = part.checksum.as_deref().unwrap_or_default();
        if part.checksum.is_some() && !length_fits(checksum, object) {
            return Err("a part's checksum is not of the object's algorithm");
        }
        table.extend(part.number.to_be_bytes());
        table.extend(&part.size.to_be_bytes()[2..]);
        table.extend(part.salt);
        table.extend(padded(checksum));
        table.push(checksum.len() as u8);
        table.resize(table.len() + 23, 0);
    }
    Ok(table)
}

pub(super) fn read_table(table: &[u8], object: Option<&ChecksumFact>) -> Option<Vec<PartEntry>> {
    table.chunks(ENTRY).map(|entry| read_entry(&mut Reader(entry), object)).collect()
}

fn read_entry(entry: &mut Reader<'_>, object: Option<&ChecksumFact>) -> Option<PartEntry> {
    let number = u16::from_be_bytes(entry.array()?);
    let [a, b, c, d, e, f] = entry.array()?;
    let size = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let salt: Salt = entry.array()?;
    let padded: [u8; CHECKSUM] = entry.array()?;
    let [length] = entry.array()?;
    let checksum = unpadded(&padded, length)?;
    entry.zeros()?;
    let checksum = if checksum.is_empty() { None } else { Some(checksum) };
    if checksum.as_deref().is_some_and(|checksum| !length_fits(checksum, object)) {
        return None;
    }
    Some(PartEntry { number, size, salt, checksum })
}

fn length_fits(checksum: &[u8], object: Option<&ChecksumFact>) -> bool {
    object.and_then(|fact| ChecksumFact::value_len(fact.algorithm)) == Some(checksum.len())
}

pub(super) fn write_footer(footer: &Footer) -> Result<Vec<u8>, &'static str> {
    let kind = match footer.kind {
        Kind::Single => 1,
        Kind::Multipart => 2,
    };
    let (etag_kind, etag_parts, etag) = match footer.facts.etag {
        EtagFact::Opaque => (0, 0, [0; 16]),
        EtagFact::Md5(md5) => (1, 0, md5),
        EtagFact::Multipart { parts: 0, .. } => return Err("an ETag of parts counts at least one"),
        EtagFact::Multipart { md5, parts } => (2, parts, md5),
    };
    let mut out = Vec::with_capacity(FOOTER_PLAIN);
    out.extend([kind, etag_kind]);
    out.extend(etag_parts.to_be_bytes());
    out.extend(etag);
    match &footer.facts.checksum {
        None => out.resize(out.len() + 4 + CHECKSUM, 0),
        Some(fact) => {
            if !length_fits(&fact.value, Some(fact)) {
                return Err("a checksum is not as long as its algorithm says, or of an unknown one");
            }
            let kind = match fact.kind {
                ChecksumKind::FullObject => 1,
                ChecksumKind::Composite => 2,
            };
            out.extend([fact.algorithm, kind, fact.value.len() as u8, 0]);
            out.extend(padded(&fact.value));
        }
    }
    out.extend(footer.plain_size.to_be_bytes());
    out.extend(u32::from(footer.part_count).to_be_bytes());
    out.extend((footer.table_len() as u32).to_be_bytes());
    out.extend(footer.upload_tag);
    out.extend(footer.list_tag);
    out.resize(FOOTER_PLAIN, 0);
    Ok(out)
}

pub(super) fn read_footer(plain: &[u8; FOOTER_PLAIN]) -> Option<Footer> {
    let mut reader = Reader(plain);
    let [kind, etag_kind] = reader.array()?;
    let kind = match kind {
        1 => Kind::Single,
        2 => Kind::Multipart,
        _ => return None,
    };
    let etag_parts = u16::from_be_bytes(reader.array()?);
    let etag = match (etag_kind, etag_parts, reader.array()?) {
        (0, 0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => EtagFact::Opaque,
        (1, 0, md5) => EtagFact::Md5(md5),
        (2, 1.., md5) => EtagFact::Multipart { md5, parts: etag_parts },
        _ => return None,
    };
    let checksum_head: [u8; 4] = reader.array()?;
    let checksum: [u8; CHECKSUM] = reader.array()?;
    let checksum = match checksum_head {
        [0, 0, 0, 0] if checksum == [0; CHECKSUM] => None,
        [algorithm, kind @ (1 | 2), length, 0] => {
            let kind = if kind == 1 { ChecksumKind::FullObject } else { ChecksumKind::Composite };
            let fact = ChecksumFact { algorithm, kind, value: unpadded(&checksum, length)? };
            Some(fact).filter(|fact| length_fits(&fact.value, Some(fact))).map(Some)?
        }
        _ => return None,
    };
    let plain_size = u64::from_be_bytes(reader.array()?);
    let part_count = u16::try_from(u32::from_be_bytes(reader.array()?)).ok()?;
    let table_len = u32::from_be_bytes(reader.array()?);
    let upload_tag = reader.array()?;
    let list_tag = reader.array()?;
    reader.zeros()?;
    let footer =
        Footer { plain_size, kind, part_count, facts: SealedFacts { etag, checksum }, upload_tag, list_tag };
    let count_fits = match kind {
        Kind::Single => part_count == 1,
        Kind::Multipart => (1..=MAX_PARTS).contains(&usize::from(part_count)),
    };
    (count_fits && plain_size <= MAX_PLAIN && footer.table_len() == table_len as usize).then_some(footer)
}

fn padded(checksum: &[u8]) -> [u8; CHECKSUM] {
    let mut out = [0; CHECKSUM];
    out[..checksum.len()].copy_from_slice(checksum);
    out
}

fn unpadded(padded: &[u8; CHECKSUM], length: u8) -> Option<Vec<u8>> {
    let (value, zeros) = padded.split_at_checked(usize::from(length))?;
    zeros.iter().all(|byte| *byte == 0).then(|| value.to_vec())
}

/// Takes fields of fixed length from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn zeros(&self) -> Option<()> {
        self.0.iter().all(|byte| *byte == 0).then_some(())
    }
}
