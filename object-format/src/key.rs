//! Every key of the format: one type per role, and ALL derivations with their labels.
//! Keys are zeroized when dropped and have neither `Debug` nor `Clone`. Nothing else of the crate calls HKDF or HMAC.

use crate::Random;
use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

/// Every HKDF info starts with this; the label of the role follows.
const PREFIX: &[u8] = b"s3cloak/1/";
/// Bucket key (or per-object key) to wrapping key and commitment.
const WRAP_BUCKET: &[u8] = b"wrap/bucket";
/// Customer key (SSE-C) to wrapping key and commitment.
const WRAP_CUSTOMER: &[u8] = b"wrap/customer";
/// DEK to the key of one segment; field: part number.
const SEGMENT: &[u8] = b"segment";
/// DEK to the trailer base key TK, which opens no data.
const TRAILER: &[u8] = b"trailer";
/// TK to the key of one layout table.
const TABLE: &[u8] = b"table";
/// TK to the key of one footer.
const FOOTER: &[u8] = b"footer";

/// Length of the random salts of segments and of the trailer's own.
pub(crate) const SALT: usize = 16;

/// A salt drawn for one segment, or derived for one trailer. Not secret.
pub(crate) type Salt = [u8; SALT];

/// A bucket data key, from a key service's `generate`; also a data key made for one object.
pub struct BucketKey(Zeroizing<[u8; 32]>);

impl BucketKey {
    /// Takes the plaintext of the data key.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

/// A customer's own key (SSE-C), as decoded from the request.
pub struct CustomerKey(Zeroizing<[u8; 32]>);

impl CustomerKey {
    /// Takes the 32 bytes of the client's header.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

/// The key that wraps a DEK. The two roles derive under different labels.
#[derive(Clone, Copy)]
pub enum KeyRef<'a> {
    /// SSE-S3 and SSE-KMS.
    Bucket(&'a BucketKey),
    /// SSE-C.
    Customer(&'a CustomerKey),
}

/// Wraps one DEK, once.
pub(crate) struct WrappingKey(Zeroizing<[u8; 32]>);

impl WrappingKey {
    /// Derives the wrapping key and its commitment; `salt` is new at every wrap.
    pub(crate) fn derive(key: KeyRef<'_>, salt: &[u8; 32]) -> (Self, [u8; 32]) {
        let (secret, label) = match key {
            KeyRef::Bucket(key) => (&key.0, WRAP_BUCKET),
            KeyRef::Customer(key) => (&key.0, WRAP_CUSTOMER),
        };
        let both = derive::<64>(secret, salt, label, &[]);
        let mut wrapping = Zeroizing::new([0; 32]);
        let mut commitment = [0; 32];
        wrapping.copy_from_slice(&both[..32]);
        commitment.copy_from_slice(&both[32..]);
        (Self(wrapping), commitment)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An object's data key: 32 random bytes, from which every key of its body derives.
pub(crate) struct Dek(Zeroizing<[u8; 32]>);

impl Dek {
    pub(crate) fn generate(rng: &mut dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill(&mut bytes[..]);
        Self(bytes)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut own = Zeroizing::new([0; 32]);
        (bytes.len() == own.len()).then(|| own.copy_from_slice(bytes))?;
        Some(Self(own))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A second holder of the same key, for a value that outlives this one.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// The key of one segment. `number` is the part's number, 0 for a single PUT.
    ///
    /// `salt` must be drawn anew for every attempt at a segment: that is what keeps a (key, nonce) pair from being used
    /// twice. `Attempt` and `PartAttempt` draw it, and they alone.
    pub(crate) fn segment_key(&self, salt: &Salt, number: u16) -> LessSafeKey {
        aead(&derive(&self.0, salt, SEGMENT, &[&number.to_be_bytes()]))
    }

    pub(crate) fn trailer_key(&self) -> TrailerKey {
        TrailerKey(derive(&self.0, &[], TRAILER, &[]))
    }
}

/// The trailer base key TK: seals and opens an object's layout table and footer, and opens no data.
///
/// So a record of an upload may hold it where it must not hold the DEK (SSE-C).
pub struct TrailerKey(Zeroizing<[u8; 32]>);

impl TrailerKey {
    /// Takes back what [`to_bytes`](Self::to_bytes) gave, out of a sealed record.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The key itself, to be sealed into a record.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// HMAC-SHA-256(TK, `parts`), cut to a salt: equal trailers get equal bytes, different ones never share a key.
    pub(crate) fn salt_for(&self, parts: &[&[u8]]) -> Salt {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]));
        for part in parts {
            mac.update(part);
        }
        let mut salt = [0; SALT];
        salt.copy_from_slice(&mac.sign().as_ref()[..SALT]);
        salt
    }

    /// The key of the one table under this salt.
    pub(crate) fn table_key(&self, salt: &Salt) -> LessSafeKey {
        aead(&derive(&self.0, salt, TABLE, &[]))
    }

    /// The key of the one footer under this salt.
    pub(crate) fn footer_key(&self, salt: &Salt) -> LessSafeKey {
        aead(&derive(&self.0, salt, FOOTER, &[]))
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA-256 (RFC 5869) with info = `s3cloak/1/` ‖ label ‖ (u32 length ‖ bytes) for every field.
fn derive<const N: usize>(
    secret: &[u8; 32],
    salt: &[u8],
    label: &[u8],
    fields: &[&[u8]],
) -> Zeroizing<[u8; N]> {
    let lengths: Vec<[u8; 4]> = fields.iter().map(|field| (field.len() as u32).to_be_bytes()).collect();
    let mut info = vec![PREFIX, label];
    for (length, field) in lengths.iter().zip(fields) {
        info.extend([&length[..], field]);
    }
    let mut out = Zeroizing::new([0; N]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&info, Length(N))
        .and_then(|okm| okm.fill(&mut out[..]))
        .expect("HKDF-SHA-256 yields up to 8160 bytes, and these are 64 at most");
    out
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes"))
}
