//! The bytes of an envelope: fixed head, then fields as tag, length, value, in ascending order of tag.
//! One envelope has one spelling: what parses is what is written, byte for byte.

use super::{
    BucketKeyFlag, Envelope, EnvelopeHeader, Kind, MAX_CONTEXT, MAX_ENVELOPE, MAX_OWN_ENVELOPE, Mode,
};
use crate::FORMAT_VERSION;
use crate::error::{EnvelopeError, SealError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Length of what a single PUT's envelope wraps: DEK, segment salt, plaintext size.
pub(super) const SINGLE_SECRETS: usize = 32 + 16 + 8;
/// Length of what a multipart object's envelope wraps: the DEK.
const MULTIPART_SECRETS: usize = 32;
const TAG_LENGTH: usize = 16;
/// Version, kind, mode, flags.
const HEAD: usize = 4;

const MAX_SERVICE: usize = 64;
const MAX_KEY_NAME: usize = 80;
const MAX_KEY_SPELLING: usize = 256;
const MAX_SEALED_KEY: usize = 256;

// Tags of the fields, in the order in which they stand.
const SERVICE: u8 = 1;
const KEY_NAME: u8 = 2;
const KEY_SPELLING: u8 = 3;
const SEALED_KEY: u8 = 4;
const CONTEXT: u8 = 5;
const SALT: u8 = 6;
const COMMITMENT: u8 = 7;
const WRAPPED: u8 = 8;

const FLAG_SHOWN: u8 = 1;
const FLAG_PER_OBJECT: u8 = 2;

/// Everything before the wrapped part, including that part's own tag and length.
pub(super) fn bound(header: &EnvelopeHeader, salt: &[u8; 32], commitment: &[u8; 32]) -> Vec<u8> {
    let kind = match header.kind {
        Kind::Single => 1,
        Kind::Multipart => 2,
    };
    let mode = match header.mode {
        Mode::SseS3 => 1,
        Mode::SseKms => 2,
        Mode::SseC => 3,
    };
    let flags = match header.bucket_key {
        BucketKeyFlag::Shared => 0,
        BucketKeyFlag::SharedShown => FLAG_SHOWN,
        BucketKeyFlag::PerObject => FLAG_PER_OBJECT,
    };
    let mut out = vec![FORMAT_VERSION, kind, mode, flags];
    let mut field = |tag: u8, value: &[u8]| {
        out.push(tag);
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
    };
    if header.mode != Mode::SseC {
        field(SERVICE, header.service.as_bytes());
        field(KEY_NAME, header.key_name.as_bytes());
        if let Some(spelling) = &header.key_spelling {
            field(KEY_SPELLING, spelling.as_bytes());
        }
        field(SEALED_KEY, &header.sealed_key);
        if let Some(context) = &header.context {
            field(CONTEXT, context);
        }
    }
    field(SALT, salt);
    field(COMMITMENT, commitment);
    out.push(WRAPPED);
    out.extend((wrapped_length(header.kind) as u16).to_be_bytes());
    out
}

pub(super) fn to_value(envelope: &Envelope) -> String {
    let mut bytes = bound(&envelope.header, &envelope.salt, &envelope.commitment);
    bytes.extend(&envelope.wrapped);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Holds an envelope to our share of the metadata; the client's context counts as the client's.
pub(super) fn check_own_share(envelope: &Envelope) -> Result<(), SealError> {
    let context = envelope.header.context.as_ref().map_or(0, |context| 3 + context.len());
    let bytes = bound(&envelope.header, &envelope.salt, &envelope.commitment).len() + envelope.wrapped.len()
        - context;
    let length = (bytes * 4).div_ceil(3);
    if length > MAX_OWN_ENVELOPE { Err(SealError::EnvelopeTooLong { length }) } else { Ok(()) }
}

fn wrapped_length(kind: Kind) -> usize {
    TAG_LENGTH
        + match kind {
            Kind::Single => SINGLE_SECRETS,
            Kind::Multipart => MULTIPART_SECRETS,
        }
}

/// The rules for a header, the same for writing and reading.
pub(super) fn check(header: &EnvelopeHeader) -> Result<(), &'static str> {
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let within = |length: usize, max: usize| (1..=max).contains(&length);
    if header.mode == Mode::SseC {
        let bare = header.service.is_empty() && header.key_name.is_empty() && header.sealed_key.is_empty();
        if !bare || header.bucket_key != BucketKeyFlag::Shared {
            return Err("a customer's key has no service, name, sealed form or flags");
        }
    } else {
        if !within(header.service.len(), MAX_SERVICE) || !printable(&header.service) {
            return Err("the name of a key service is 1 to 64 printable ASCII characters");
        }
        if !within(header.key_name.len(), MAX_KEY_NAME) || !printable(&header.key_name) {
            return Err("a key name is 1 to 80 printable ASCII characters");
        }
        if !within(header.sealed_key.len(), MAX_SEALED_KEY) {
            return Err("a sealed data key is 1 to 256 bytes");
        }
    }
    if header.mode != Mode::SseKms && (header.key_spelling.is_some() || header.context.is_some()) {
        return Err("a key id or a context goes with aws:kms alone");
    }
    if header
        .key_spelling
        .as_ref()
        .is_some_and(|text| !within(text.len(), MAX_KEY_SPELLING) || !printable(text))
    {
        return Err("a key id is 1 to 256 printable ASCII characters");
    }
    if header.context.as_ref().is_some_and(|context| !within(context.len(), MAX_CONTEXT)) {
        return Err("an encryption context is 1 to 1024 bytes");
    }
    Ok(())
}

pub(super) fn parse(value: &str) -> Result<Envelope, EnvelopeError> {
    if value.len() > MAX_ENVELOPE {
        return Err(EnvelopeError::TooLong);
    }
    let bytes = URL_SAFE_NO_PAD.decode(value).map_err(|_| EnvelopeError::NotBase64)?;
    match bytes.first() {
        Some(&FORMAT_VERSION) => {}
        Some(&version) => return Err(EnvelopeError::UnsupportedVersion(version)),
        None => return Err(EnvelopeError::Malformed),
    }
    let envelope = fields(&bytes).ok_or(EnvelopeError::Malformed)?;
    check(&envelope.header).map_err(|_| EnvelopeError::Malformed)?;
    // Order, doubles and stray fields show as another spelling than the one that would be written.
    let mut canonical = bound(&envelope.header, &envelope.salt, &envelope.commitment);
    canonical.extend(&envelope.wrapped);
    if canonical != bytes { Err(EnvelopeError::Malformed) } else { Ok(envelope) }
}

fn fields(bytes: &[u8]) -> Option<Envelope> {
    let (head, mut rest) = bytes.split_at_checked(HEAD)?;
    let kind = match head[1] {
        1 => Kind::Single,
        2 => Kind::Multipart,
        _ => return None,
    };
    let mode = match head[2] {
        1 => Mode::SseS3,
        2 => Mode::SseKms,
        3 => Mode::SseC,
        _ => return None,
    };
    let bucket_key = match head[3] {
        0 => BucketKeyFlag::Shared,
        FLAG_SHOWN => BucketKeyFlag::SharedShown,
        FLAG_PER_OBJECT => BucketKeyFlag::PerObject,
        _ => return None,
    };
    let mut values: [Option<&[u8]>; 9] = [None; 9];
    while !rest.is_empty() {
        let (tag, after) = rest.split_first()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let slot = values.get_mut(usize::from(*tag)).filter(|slot| *tag != 0 && slot.is_none())?;
        *slot = Some(value);
        rest = after;
    }
    let bytes_of = |tag: u8| values[usize::from(tag)].map(<[u8]>::to_vec);
    let text_of = |tag: u8| bytes_of(tag).map(String::from_utf8).transpose().ok();
    let wrapped = bytes_of(WRAPPED).filter(|wrapped| wrapped.len() == wrapped_length(kind))?;
    Some(Envelope {
        header: EnvelopeHeader {
            kind,
            mode,
            bucket_key,
            service: text_of(SERVICE)?.unwrap_or_default(),
            key_name: text_of(KEY_NAME)?.unwrap_or_default(),
            key_spelling: text_of(KEY_SPELLING)?,
            sealed_key: bytes_of(SEALED_KEY).unwrap_or_default(),
            context: bytes_of(CONTEXT),
        },
        salt: values[usize::from(SALT)]?.try_into().ok()?,
        commitment: values[usize::from(COMMITMENT)]?.try_into().ok()?,
        wrapped,
    })
}
