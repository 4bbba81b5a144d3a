//! The envelope: the one metadata value that tells how an object's DEK is wrapped, and wraps it.
//! Its bytes are `codec.rs`'s; here are its meaning, wrapping, opening and re-wrapping.

mod codec;

use crate::Random;
use crate::attempt::{ObjectSecrets, SingleBody};
use crate::error::{EnvelopeError, OpenError, SealError};
use crate::key::{Dek, KeyRef, SALT, WrappingKey};
use crate::length::MAX_PLAIN;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The user-metadata name of the envelope; on the wire `x-amz-meta-s3cloak`.
pub const METADATA_NAME: &str = "s3cloak";
/// The longest envelope value that is parsed, in characters: S3's limit for all user metadata.
pub const MAX_ENVELOPE: usize = 2048;
/// The longest envelope value without a client context, in characters: our share of a client's metadata.
pub const MAX_OWN_ENVELOPE: usize = 640;
/// The longest client context, in bytes as sent.
pub const MAX_CONTEXT: usize = 1024;

/// How an object's body was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By one PutObject: one segment, whose salt and size stand in the envelope.
    Single,
    /// By parts: as many segments, whose salts and sizes stand in the trailer's table.
    Multipart,
}

/// Which server-side encryption the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `AES256`: the deployment's or bucket's own key.
    SseS3,
    /// `aws:kms`: a key that was named.
    SseKms,
    /// A customer's own key, of which nothing is stored.
    SseC,
}

/// Whose data key wraps the DEK. [`Shared`](Self::Shared) for SSE-C, which has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketKeyFlag {
    /// The bucket's, and clients are not told.
    Shared,
    /// The bucket's, and responses say `bucket-key-enabled: true`.
    SharedShown,
    /// A data key generated for this object alone.
    PerObject,
}

/// The public fields of an envelope: what is needed to find the key that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeHeader {
    /// How the body was written.
    pub kind: Kind,
    /// What the client sees.
    pub mode: Mode,
    /// Whose data key wraps the DEK.
    pub bucket_key: BucketKeyFlag,
    /// Name of the key service, 1 to 64 bytes of printable ASCII; empty for SSE-C.
    pub service: String,
    /// Name of the key in that service, 1 to 80 bytes of printable ASCII; empty for SSE-C.
    pub key_name: String,
    /// The key id as the client wrote it, up to 256 bytes of printable ASCII, where it did; SSE-KMS only.
    pub key_spelling: Option<String>,
    /// The data key as sealed by the service, 1 to 256 bytes; empty for SSE-C.
    pub sealed_key: Vec<u8>,
    /// The client's encryption context as sent, 1 to [`MAX_CONTEXT`] bytes; SSE-KMS only.
    pub context: Option<Vec<u8>>,
}

impl EnvelopeHeader {
    /// The header under a customer's key, of which nothing is stored.
    pub fn customer(kind: Kind) -> Self {
        Self {
            kind,
            mode: Mode::SseC,
            bucket_key: BucketKeyFlag::Shared,
            service: String::new(),
            key_name: String::new(),
            key_spelling: None,
            sealed_key: Vec::new(),
            context: None,
        }
    }
}

/// Where an object lies. The wrapping binds it to this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectName<'a> {
    /// The bucket's binding name: the bucket's own, if not configured otherwise.
    pub binding: &'a str,
    /// The object's key, percent-decoded, not normalised.
    pub key: &'a [u8],
}

/// An envelope that is well formed; whether it is authentic, [`open`](Self::open) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    header: EnvelopeHeader,
    salt: [u8; 32],
    commitment: [u8; 32],
    wrapped: Vec<u8>,
}

impl Envelope {
    /// Reads a metadata value, strictly: exactly the values that [`to_value`](Self::to_value) can give.
    ///
    /// # Errors
    /// See [`EnvelopeError`]. A value over [`MAX_ENVELOPE`] characters is not looked at.
    pub fn parse(value: &str) -> Result<Self, EnvelopeError> {
        codec::parse(value)
    }

    /// The one spelling of this envelope: base64url without padding.
    pub fn to_value(&self) -> String {
        codec::to_value(self)
    }

    /// The public fields. Not authentic before [`open`](Self::open) succeeded.
    pub fn header(&self) -> &EnvelopeHeader {
        &self.header
    }

    /// What identifies this very wrapping: it differs between any two envelopes made apart.
    pub fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    /// Unwraps the DEK, and thereby authenticates every field of the header, the key and the name.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] for every failure alike.
    pub fn open(&self, key: KeyRef<'_>, name: &ObjectName<'_>) -> Result<ObjectSecrets, OpenError> {
        let (wrapping, commitment) = WrappingKey::derive(key, &self.salt);
        if !bool::from(commitment.ct_eq(&self.commitment)) || !fits(self.header.mode, key) {
            return Err(OpenError::NotAuthentic);
        }
        let aad = aad(&codec::bound(&self.header, &self.salt, &self.commitment), name);
        let payload = Payload { msg: &self.wrapped, aad: &aad };
        let plain =
            cipher(&wrapping).decrypt(&ZERO_NONCE.into(), payload).map_err(|_| OpenError::NotAuthentic)?;
        unwrapped(self.header.kind, &Zeroizing::new(plain)).ok_or(OpenError::NotAuthentic)
    }

    /// Wraps secrets, new or of an object that exists, for a key, mode, bucket and name.
    ///
    /// The body does not change: a copy or a key rotation is this and a backend-side copy.
    ///
    /// # Errors
    /// [`SealError::Header`] for a field that no envelope can carry or that does not go with another,
    /// [`SealError::EnvelopeTooLong`], [`SealError::TooLarge`] for a single PUT's size.
    pub fn rewrap(
        secrets: &ObjectSecrets,
        header: EnvelopeHeader,
        key: KeyRef<'_>,
        name: &ObjectName<'_>,
        rng: &mut dyn Random,
    ) -> Result<Envelope, SealError> {
        codec::check(&header).map_err(SealError::Header)?;
        if header.kind != secrets.kind() {
            return Err(SealError::Header("its kind is not that of the object"));
        }
        if !fits(header.mode, key) {
            return Err(SealError::Header("its mode does not go with the kind of key"));
        }
        if secrets.single_size().is_some_and(|size| size > MAX_PLAIN) {
            return Err(SealError::TooLarge);
        }
        let mut salt = [0; 32];
        rng.fill(&mut salt);
        let (wrapping, commitment) = WrappingKey::derive(key, &salt);

        let mut plain = Zeroizing::new(Vec::with_capacity(codec::SINGLE_SECRETS));
        plain.extend(secrets.dek.bytes());
        if let Some(single) = secrets.single {
            plain.extend(single.salt);
            plain.extend(single.size.to_be_bytes());
        }
        let aad = aad(&codec::bound(&header, &salt, &commitment), name);
        let wrapped = cipher(&wrapping)
            .encrypt(&ZERO_NONCE.into(), Payload { msg: &plain, aad: &aad })
            .expect("72 bytes are far below AES-GCM's limit");
        let envelope = Self { header, salt, commitment, wrapped };
        codec::check_own_share(&envelope)?;
        Ok(envelope)
    }
}

/// A wrapping key seals one message in its life, since its salt is new at every wrap.
const ZERO_NONCE: [u8; 12] = [0; 12];

fn cipher(wrapping: &WrappingKey) -> Aes256Gcm {
    Aes256Gcm::new(wrapping.bytes().into())
}

fn fits(mode: Mode, key: KeyRef<'_>) -> bool {
    matches!(key, KeyRef::Customer(_)) == (mode == Mode::SseC)
}

/// Everything before the wrapped part, and where the object lies, each with its length.
fn aad(bound: &[u8], name: &ObjectName<'_>) -> Vec<u8> {
    let fields = [bound, name.binding.as_bytes(), name.key];
    let mut aad = Vec::with_capacity(fields.iter().map(|field| 4 + field.len()).sum());
    for field in fields {
        aad.extend((field.len() as u32).to_be_bytes());
        aad.extend(field);
    }
    aad
}

fn unwrapped(kind: Kind, plain: &[u8]) -> Option<ObjectSecrets> {
    let (dek, rest) = plain.split_at_checked(32)?;
    let dek = Dek::from_slice(dek)?;
    let single = match kind {
        Kind::Multipart => {
            if !rest.is_empty() {
                return None;
            }
            None
        }
        Kind::Single => {
            let (salt, size) = rest.split_at_checked(SALT)?;
            let size = u64::from_be_bytes(size.try_into().ok()?);
            Some(SingleBody::parse(salt.try_into().ok()?, size)?)
        }
    };
    Some(ObjectSecrets { dek, single })
}

#[cfg(test)]
mod tests;
