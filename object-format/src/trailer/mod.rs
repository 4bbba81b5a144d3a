//! The trailer: the sealed layout table, the sealed footer and the public magic at the end of every body.
//! Its bytes are `codec.rs`'s; here it is sealed, opened and checked against the length of the whole ciphertext.

mod codec;
mod facts;

pub use codec::{MAX_PART_NUMBER, MAX_PARTS, PartEntry};
pub use facts::{ChecksumFact, ChecksumKind, EtagFact, SealedFacts, list_tag, upload_tag};

use crate::attempt::ObjectSecrets;
use crate::envelope::Kind;
use crate::error::{OpenError, SealError};
use crate::key::{SALT, Salt, TrailerKey};
use crate::length::{self, FOOTER, TAG};
use crate::nonce;
use aws_lc_rs::aead::Aad;
use codec::{ENTRY, FIXED, FOOTER_PLAIN, MAGIC, MAGIC_NAME};

/// AAD of the table: this label, the ciphertext length of the whole object.
const TABLE_LABEL: &[u8] = b"s3cloak/1/table";
/// AAD of the footer: this label, the ciphertext length, then the public bytes of the trailer: salt, table tag, magic.
const FOOTER_LABEL: &[u8] = b"s3cloak/1/footer";
const TAG_LENGTH: usize = TAG as usize;

/// What a footer says; the last 512 bytes of a body are enough to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Plaintext length of the object, in bytes.
    pub plain_size: u64,
    /// How it was written.
    pub kind: Kind,
    /// How many parts it has; 1 for a single PUT.
    pub part_count: u16,
    /// Its ETag and checksum.
    pub facts: SealedFacts,
    /// [`upload_tag`] of the upload; zeros for a single PUT.
    pub upload_tag: [u8; 32],
    /// [`list_tag`] of the parts that the client listed; zeros for a single PUT.
    pub list_tag: [u8; 32],
}

/// What a whole trailer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Plaintext length of the object, in bytes.
    pub plain_size: u64,
    /// How it was written.
    pub kind: Kind,
    /// Its parts in order; none for a single PUT.
    pub parts: Vec<PartEntry>,
    /// Its ETag and checksum.
    pub facts: SealedFacts,
    /// [`upload_tag`] of the upload; zeros for a single PUT.
    pub upload_tag: [u8; 32],
    /// [`list_tag`] of the parts that the client listed; zeros for a single PUT.
    pub list_tag: [u8; 32],
}

impl Trailer {
    /// What is known of an empty single PUT, whose body is empty: nothing was sealed about it.
    fn of_empty_object() -> Self {
        Footer::of_empty_object().with_parts(Vec::new())
    }
}

impl Footer {
    fn of_empty_object() -> Self {
        Self {
            plain_size: 0,
            kind: Kind::Single,
            part_count: 1,
            facts: SealedFacts { etag: EtagFact::Opaque, checksum: None },
            upload_tag: [0; 32],
            list_tag: [0; 32],
        }
    }

    fn with_parts(self, parts: Vec<PartEntry>) -> Trailer {
        Trailer {
            plain_size: self.plain_size,
            kind: self.kind,
            parts,
            facts: self.facts,
            upload_tag: self.upload_tag,
            list_tag: self.list_tag,
        }
    }

    fn table_len(&self) -> usize {
        match self.kind {
            Kind::Single => 0,
            Kind::Multipart => usize::from(self.part_count) * ENTRY,
        }
    }
}

/// The result of [`open_trailer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailerRead {
    /// The whole trailer.
    Ready(Trailer),
    /// Authentic so far, but the table begins before the bytes given.
    NeedMore {
        /// How many bytes from the object's end are needed.
        tail_bytes: u64,
    },
}

/// The result of [`open_footer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FooterRead {
    /// The footer.
    Ready(Footer),
    /// Fewer than 512 bytes were given of an object that has more.
    NeedMore {
        /// How many bytes from the object's end are needed.
        tail_bytes: u64,
    },
}

/// Whether these last bytes of an object end in the public magic of this format, of whatever version: then the object
/// is encrypted, were its envelope lost, and must not be served as it is.
pub fn has_magic(tail: &[u8]) -> bool {
    tail.len() >= MAGIC && tail[tail.len() - MAGIC..].starts_with(MAGIC_NAME)
}

/// Length of table, footer and magic of an object with `parts` table entries (0 for a single PUT), in bytes.
pub fn trailer_len(parts: usize) -> u64 {
    (parts * ENTRY + FIXED) as u64
}

/// Padding and trailer of a multipart object: what follows its last segment.
///
/// Equal arguments give equal bytes, so two Completes of one upload agree; different ones never share a key.
///
/// # Errors
/// [`SealError::Parts`] if there are no parts, or more than 10 000, or their numbers do not ascend, or they are more or
/// smaller than S3's rules allow (5 MiB for all but the last), so that the object would be longer than its size says;
/// [`SealError::TooLarge`]; [`SealError::Facts`].
pub fn seal_trailer(
    key: &TrailerKey,
    parts: &[PartEntry],
    facts: &SealedFacts,
    upload_tag: &[u8; 32],
    list_tag: &[u8; 32],
) -> Result<Vec<u8>, SealError> {
    let plain_size = codec::check_parts(parts).map_err(SealError::Parts)?;
    if plain_size > length::MAX_PLAIN {
        return Err(SealError::TooLarge);
    }
    let footer = Footer {
        plain_size,
        kind: Kind::Multipart,
        part_count: parts.len() as u16,
        facts: facts.clone(),
        upload_tag: *upload_tag,
        list_tag: *list_tag,
    };
    let segments: u64 = parts.iter().map(|part| length::segment_len(part.size)).sum();
    let padding = length::total_len(Kind::Multipart, plain_size)
        .checked_sub(segments + trailer_len(parts.len()))
        .ok_or(SealError::Parts("every part but the last has at least 5 MiB"))?;
    let table = codec::write_table(parts, facts.checksum.as_ref()).map_err(SealError::Facts)?;
    let mut out = Vec::with_capacity(padding as usize + table.len() + FIXED);
    out.resize(padding as usize, 0);
    append(&mut out, key, table, &footer)?;
    Ok(out)
}

/// Padding and trailer of a single PUT, appended to its last chunk.
pub(crate) fn append_single(
    out: &mut Vec<u8>,
    key: &TrailerKey,
    plain_size: u64,
    facts: &SealedFacts,
) -> Result<(), SealError> {
    let footer = Footer { plain_size, facts: facts.clone(), ..Footer::of_empty_object() };
    let padding = length::sealed_len(plain_size) - length::segment_len(plain_size) - FIXED as u64;
    out.reserve_exact(padding as usize + FIXED);
    out.resize(out.len() + padding as usize, 0);
    append(out, key, Vec::new(), &footer)
}

fn append(out: &mut Vec<u8>, key: &TrailerKey, mut table: Vec<u8>, footer: &Footer) -> Result<(), SealError> {
    let total = length::total_len(footer.kind, footer.plain_size);
    let mut sealed = codec::write_footer(footer).map_err(SealError::Facts)?;
    let salt = key.salt_for(&[&table, &sealed, &total.to_be_bytes()]);
    let impossible = "tables and footers are far below AES-GCM's limit";
    let mut table_tag = [0; TAG_LENGTH];
    if !table.is_empty() {
        let tag = key
            .table_key(&salt)
            .seal_in_place_separate_tag(nonce::of_single_use_key(), Aad::from(table_aad(total)), &mut table)
            .expect(impossible);
        table_tag.copy_from_slice(tag.as_ref());
    }
    let tag = key
        .footer_key(&salt)
        .seal_in_place_separate_tag(
            nonce::of_single_use_key(),
            Aad::from(footer_aad(total, &salt, &table_tag)),
            &mut sealed,
        )
        .expect(impossible);
    out.extend(table);
    out.extend(salt);
    out.extend(table_tag);
    out.extend(sealed);
    out.extend(tag.as_ref());
    out.extend(codec::magic());
    Ok(())
}

fn table_aad(total: u64) -> Vec<u8> {
    [TABLE_LABEL, &total.to_be_bytes()].concat()
}

fn footer_aad(total: u64, salt: &Salt, table_tag: &[u8; TAG_LENGTH]) -> Vec<u8> {
    [FOOTER_LABEL, &total.to_be_bytes(), salt, table_tag, &codec::magic()].concat()
}

/// Opens the footer alone: size, ETag and checksum without the layout. `tail` are the object's last bytes, of any number
/// from 512 on, `sealed_total` the length of its whole ciphertext.
///
/// # Errors
/// [`OpenError::NotAuthentic`]: not this object's footer, or the object does not have the length that it was sealed with.
pub fn open_footer(secrets: &ObjectSecrets, tail: &[u8], sealed_total: u64) -> Result<FooterRead, OpenError> {
    if secrets.single_size() == Some(0) {
        return empty(tail, sealed_total).map(|()| FooterRead::Ready(Footer::of_empty_object()));
    }
    if let Some(read) = too_short(tail, sealed_total)? {
        return Ok(FooterRead::NeedMore { tail_bytes: read });
    }
    let (footer, _) = open_fixed(&secrets.trailer_key(), secrets.kind(), tail, sealed_total)?;
    match secrets.single_size() {
        Some(size) if size != footer.plain_size => Err(OpenError::NotAuthentic),
        _ => Ok(FooterRead::Ready(footer)),
    }
}

/// Opens a whole trailer. `tail` are the object's last bytes, of any number from 512 on, `sealed_total` the length of its
/// whole ciphertext.
///
/// # Errors
/// [`OpenError::NotAuthentic`]: not this object's trailer, or the object does not have the length that it was sealed with.
pub fn open_trailer(
    secrets: &ObjectSecrets,
    tail: &[u8],
    sealed_total: u64,
) -> Result<TrailerRead, OpenError> {
    match secrets.single_size() {
        Some(0) => empty(tail, sealed_total).map(|()| TrailerRead::Ready(Trailer::of_empty_object())),
        Some(size) => match open_with(&secrets.trailer_key(), Kind::Single, tail, sealed_total)? {
            TrailerRead::Ready(trailer) if trailer.plain_size != size => Err(OpenError::NotAuthentic),
            read => Ok(read),
        },
        None => open_multipart_trailer(&secrets.trailer_key(), tail, sealed_total),
    }
}

/// [`open_trailer`] for who holds a multipart object's trailer key and not its secrets.
///
/// # Errors
/// As there.
pub fn open_multipart_trailer(
    key: &TrailerKey,
    tail: &[u8],
    sealed_total: u64,
) -> Result<TrailerRead, OpenError> {
    open_with(key, Kind::Multipart, tail, sealed_total)
}

fn open_with(key: &TrailerKey, kind: Kind, tail: &[u8], sealed_total: u64) -> Result<TrailerRead, OpenError> {
    if let Some(tail_bytes) = too_short(tail, sealed_total)? {
        return Ok(TrailerRead::NeedMore { tail_bytes });
    }
    let (footer, public) = open_fixed(key, kind, tail, sealed_total)?;
    let table_len = footer.table_len();
    if table_len == 0 {
        return Ok(TrailerRead::Ready(footer.with_parts(Vec::new())));
    }
    let before = &tail[..tail.len() - FIXED];
    let Some(start) = before.len().checked_sub(table_len) else {
        return Ok(TrailerRead::NeedMore { tail_bytes: (table_len + FIXED) as u64 });
    };
    let mut table = before[start..].to_vec();
    key.table_key(&public.salt)
        .open_in_place_separate_tag(
            nonce::of_single_use_key(),
            Aad::from(table_aad(sealed_total)),
            &public.table_tag,
            &mut table,
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    let parts = codec::read_table(&table, footer.facts.checksum.as_ref())
        .filter(|parts| codec::check_parts(parts) == Ok(footer.plain_size))
        .ok_or(OpenError::NotAuthentic)?;
    let segments: u64 = parts.iter().map(|part| length::segment_len(part.size)).sum();
    if segments + trailer_len(parts.len()) > sealed_total {
        return Err(OpenError::NotAuthentic);
    }
    Ok(TrailerRead::Ready(footer.with_parts(parts)))
}

fn empty(tail: &[u8], sealed_total: u64) -> Result<(), OpenError> {
    if tail.is_empty() && sealed_total == 0 { Ok(()) } else { Err(OpenError::NotAuthentic) }
}

/// How many bytes of the tail are needed at least, if that is more than there are.
fn too_short(tail: &[u8], sealed_total: u64) -> Result<Option<u64>, OpenError> {
    if sealed_total < FOOTER || tail.len() as u64 > sealed_total {
        return Err(OpenError::NotAuthentic);
    }
    // The fixed part alone is shorter than what a reader should ask for, which brings a small table along.
    Ok((tail.len() < FIXED).then_some(FOOTER))
}

/// The public bytes of a trailer.
struct Public {
    salt: Salt,
    table_tag: [u8; TAG_LENGTH],
}

fn open_fixed(key: &TrailerKey, kind: Kind, tail: &[u8], total: u64) -> Result<(Footer, Public), OpenError> {
    let not_authentic = OpenError::NotAuthentic;
    let fixed = tail.last_chunk::<FIXED>().ok_or(not_authentic)?;
    let (salt, rest) = fixed.split_first_chunk::<SALT>().ok_or(not_authentic)?;
    let (table_tag, rest) = rest.split_first_chunk::<TAG_LENGTH>().ok_or(not_authentic)?;
    let (sealed, rest) = rest.split_first_chunk::<FOOTER_PLAIN>().ok_or(not_authentic)?;
    let (tag, magic) = rest.split_first_chunk::<TAG_LENGTH>().ok_or(not_authentic)?;
    if magic != codec::magic() {
        return Err(not_authentic);
    }
    let mut plain = *sealed;
    key.footer_key(salt)
        .open_in_place_separate_tag(
            nonce::of_single_use_key(),
            Aad::from(footer_aad(total, salt, table_tag)),
            tag,
            &mut plain,
        )
        .map_err(|_| not_authentic)?;
    let footer = codec::read_footer(&plain).ok_or(not_authentic)?;
    if footer.kind != kind || length::total_len(kind, footer.plain_size) != total {
        return Err(not_authentic);
    }
    Ok((footer, Public { salt: *salt, table_tag: *table_tag }))
}
