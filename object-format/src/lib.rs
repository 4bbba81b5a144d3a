//! The s3cloak object format: what an encrypted object looks like on the backend, byte for byte (`SPEC.md`).
//! Pure functions over bytes: no I/O, no async, and every random byte comes from the caller's [`Random`].
//!
//! ```text
//! x-amz-meta-s3cloak: envelope      version, kind, mode, key names, sealed bucket key, wrapped DEK     envelope/
//!
//! body: ┌──────────────┬─────┬──────────────┬─────────┬───────────┬────────────────┬───────┐
//!       │ segment 1    │ ... │ segment n    │ zeros   │ table     │ footer         │ magic │
//!       │ 64 KiB + tag │     │ 64 KiB + tag │ padding │ 112 × n   │ 384            │ 16    │
//!       └──────────────┴─────┴──────────────┴─────────┴───────────┴────────────────┴───────┘
//!         seal.rs, open.rs, layout.rs         length.rs   trailer/
//! ```
//!
//! The length of a body is a function of the plaintext's length alone ([`length`]), so a listing shows exact sizes.
//!
//! Writing one object is one value, an [`Attempt`]; it is moved into its [`Sealer`], so that no key and nonce can ever
//! meet twice:
//!
//! ```
//! use object_format::*;
//! # struct Seeded(u8);
//! # impl Random for Seeded { fn fill(&mut self, out: &mut [u8]) { for b in out { self.0 = self.0.wrapping_mul(5).wrapping_add(1); *b = self.0; } } }
//! # let mut rng = Seeded(3);
//! # let header = EnvelopeHeader { kind: Kind::Single, mode: Mode::SseS3, bucket_key: BucketKeyFlag::Shared, service: "main".into(),
//! #     key_name: "k".into(), key_spelling: None, sealed_key: vec![1], context: None };
//! let key = BucketKey::new(zeroize::Zeroizing::new([7; 32]));
//! let name = ObjectName { binding: "photos", key: b"cat.jpg" };
//!
//! let attempt = Attempt::single(5, &mut rng);
//! let envelope = attempt.envelope(header, KeyRef::Bucket(&key), &name, &mut rng)?;
//! let mut body = Vec::new();
//! let mut sealer = attempt.into_sealer();
//! sealer.push(b"hello", &mut |sealed| body.extend(sealed))?;
//! body.extend(sealer.finish(&SealedFacts { etag: EtagFact::Opaque, checksum: None })?);
//! assert_eq!(body.len() as u64, length::sealed_len(5));
//!
//! let secrets = Envelope::parse(&envelope.to_value())?.open(KeyRef::Bucket(&key), &name)?;
//! let layout = Layout::single(&secrets).expect("a single PUT");
//! let mut plain = Vec::new();
//! let mut opener = layout.full_opener(body.len() as u64);
//! opener.push(&body, &mut |opened| plain.extend(opened))?;
//! opener.finish(&mut |opened| plain.extend(opened))?;
//! assert_eq!(plain, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What does not compile
//!
//! An attempt used twice (a second body under the keys of the first):
//!
//! ```compile_fail,E0382
//! fn twice(attempt: object_format::Attempt) {
//!     let first = attempt.into_sealer();
//!     let second = attempt.into_sealer();
//! }
//! ```
//!
//! An attempt copied:
//!
//! ```compile_fail,E0599
//! fn copied(attempt: object_format::Attempt) -> object_format::Attempt {
//!     attempt.clone()
//! }
//! ```
//!
//! Sealing after the end:
//!
//! ```compile_fail,E0382
//! fn after_the_end(mut sealer: object_format::Sealer, facts: object_format::SealedFacts) {
//!     let tail = sealer.finish(&facts);
//!     let more = sealer.push(b"more", &mut |_| ());
//! }
//! ```
//!
//! Reading after the end:
//!
//! ```compile_fail,E0382
//! fn after_the_end(mut opener: object_format::RangeOpener) {
//!     let end = opener.finish(&mut |_| ());
//!     let more = opener.push(b"more", &mut |_| ());
//! }
//! ```
//!
//! A nonce passed in, or even named:
//!
//! ```compile_fail,E0603
//! use object_format::nonce::ChunkNonce;
//! ```
//!
//! ```compile_fail,E0061
//! fn with_a_nonce(attempt: object_format::Attempt) {
//!     let sealer = attempt.into_sealer([0u8; 12]);
//! }
//! ```
//!
//! A key printed or copied:
//!
//! ```compile_fail,E0277
//! fn printed(key: object_format::BucketKey) {
//!     println!("{key:?}");
//! }
//! ```
//!
//! ```compile_fail,E0599
//! fn copied(key: &object_format::TrailerKey) -> object_format::TrailerKey {
//!     key.clone()
//! }
//! ```

mod attempt;
mod envelope;
mod error;
mod key;
mod layout;
pub mod length;
mod nonce;
mod open;
mod seal;
mod segment;
mod trailer;

pub use attempt::{Attempt, ObjectSecrets, PartAttempt};
pub use envelope::{
    BucketKeyFlag, Envelope, EnvelopeHeader, Kind, MAX_CONTEXT, MAX_ENVELOPE, MAX_OWN_ENVELOPE,
    METADATA_NAME, Mode, ObjectName,
};
pub use error::{EnvelopeError, OpenError, SealError};
pub use key::{BucketKey, CustomerKey, KeyRef, TrailerKey};
pub use layout::{CipherRange, Layout};
pub use open::{FullOpener, RangeOpener};
pub use seal::{PartSealer, Sealer};
pub use trailer::{
    ChecksumFact, ChecksumKind, EtagFact, Footer, FooterRead, MAX_PART_NUMBER, MAX_PARTS, PartEntry,
    SealedFacts, Trailer, TrailerRead, has_magic, list_tag, open_footer, open_multipart_trailer,
    open_trailer, seal_trailer, trailer_len, upload_tag,
};

/// The version that this crate writes, the only one that it reads. `SPEC.md` names the same, by test.
pub const FORMAT_VERSION: u8 = 1;

/// A source of random bytes, injected, so that tests can assert whole ciphertexts.
///
/// An implementation must be a cryptographically secure generator: DEKs and salts come from it.
pub trait Random {
    /// Fills the whole of `out`.
    fn fill(&mut self, out: &mut [u8]);
}
