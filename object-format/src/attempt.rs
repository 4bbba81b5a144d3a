//! One attempt at writing, and the secrets of an object: DEK, salts and sizes live and move together.
//! A retry either resends the same sealed bytes or makes a new attempt.

use crate::Random;
use crate::envelope::{Envelope, EnvelopeHeader, Kind, ObjectName};
use crate::error::SealError;
use crate::key::{Dek, KeyRef, SALT, Salt, TrailerKey};
use crate::length;
use crate::seal::{PartSealer, Sealer};
use crate::trailer::{ChecksumFact, MAX_PART_NUMBER, PartEntry};

/// What an envelope wraps: the DEK and, for a single PUT, the salt of its segment and its plaintext size.
pub struct ObjectSecrets {
    pub(crate) dek: Dek,
    pub(crate) single: Option<SingleBody>,
}

/// The wrapped facts of a single PUT.
#[derive(Clone, Copy)]
pub(crate) struct SingleBody {
    /// Of the segment. An empty object has none, and here the algorithm of its checksum (0 for none) and zeros.
    pub(crate) salt: Salt,
    pub(crate) size: u64,
}

impl SingleBody {
    /// `None` for what no writer makes.
    pub(crate) fn parse(salt: Salt, size: u64) -> Option<Self> {
        let [algorithm, zeros @ ..] = salt;
        let fits = match size {
            0 => zeros == [0; SALT - 1] && (algorithm == 0 || ChecksumFact::value_len(algorithm).is_some()),
            _ => size <= length::MAX_PLAIN,
        };
        fits.then_some(Self { salt, size })
    }
}

impl ObjectSecrets {
    /// New secrets for a multipart upload: one DEK for all of its parts.
    pub fn multipart(rng: &mut dyn Random) -> Self {
        Self { dek: Dek::generate(rng), single: None }
    }

    /// Which kind of object these belong to.
    pub fn kind(&self) -> Kind {
        if self.single.is_some() { Kind::Single } else { Kind::Multipart }
    }

    /// The authenticated plaintext size, in bytes, of a single PUT; a multipart object's stands in its trailer.
    pub fn single_size(&self) -> Option<u64> {
        self.single.map(|single| single.size)
    }

    /// Under which algorithm (see [`ChecksumFact`]) an empty single PUT has its checksum. It has no trailer that says so.
    pub fn empty_checksum(&self) -> Option<u8> {
        let empty = self.single.filter(|single| single.size == 0)?;
        Some(empty.salt[0]).filter(|algorithm| *algorithm != 0)
    }

    /// The key of the object's trailer, which opens no data.
    pub fn trailer_key(&self) -> TrailerKey {
        self.dek.trailer_key()
    }
}

/// One attempt at writing an object with a single PUT.
///
/// It draws a DEK and a segment salt of its own and is used up by its sealer, so that no (key, nonce) pair is used twice:
/// sealing again, were it the same bytes, takes a new attempt.
#[must_use]
pub struct Attempt {
    secrets: ObjectSecrets,
    single: SingleBody,
}

impl Attempt {
    /// An attempt for an object of exactly `plain_size` bytes.
    pub fn single(plain_size: u64, rng: &mut dyn Random) -> Self {
        let dek = Dek::generate(rng);
        let mut salt = [0; SALT];
        if plain_size > 0 {
            rng.fill(&mut salt);
        }
        let single = SingleBody { salt, size: plain_size };
        Self { secrets: ObjectSecrets { dek, single: Some(single) }, single }
    }

    /// An attempt for an empty object that has a checksum under this algorithm (see [`ChecksumFact`]).
    ///
    /// # Errors
    /// [`SealError::Facts`] for an algorithm that the format does not know.
    pub fn empty(checksum: u8, rng: &mut dyn Random) -> Result<Self, SealError> {
        if ChecksumFact::value_len(checksum).is_none() {
            return Err(SealError::Facts("no such checksum algorithm"));
        }
        let mut this = Self::single(0, rng);
        this.single.salt[0] = checksum;
        this.secrets.single = Some(this.single);
        Ok(this)
    }

    /// The object's envelope, under a wrap salt of its own.
    ///
    /// # Errors
    /// See [`Envelope::rewrap`]; also [`SealError::TooLarge`].
    pub fn envelope(
        &self,
        header: EnvelopeHeader,
        key: KeyRef<'_>,
        name: &ObjectName<'_>,
        rng: &mut dyn Random,
    ) -> Result<Envelope, SealError> {
        Envelope::rewrap(&self.secrets, header, key, name, rng)
    }

    /// How many bytes the sealer will yield in all.
    pub fn sealed_len(&self) -> u64 {
        length::sealed_len(self.single.size)
    }

    /// Uses the attempt up.
    pub fn into_sealer(self) -> Sealer {
        Sealer::new(&self.secrets.dek, &self.single.salt, self.single.size)
    }
}

/// One attempt at one part of a multipart upload, with a salt of its own.
#[must_use]
pub struct PartAttempt {
    dek: Dek,
    number: u16,
    size: u64,
    salt: Salt,
}

impl PartAttempt {
    /// An attempt at part `number` (1 to 10 000) with exactly `plain_size` bytes.
    ///
    /// # Errors
    /// [`SealError::Parts`] for another number or for secrets that are not a multipart upload's; [`SealError::TooLarge`].
    pub fn new(
        secrets: &ObjectSecrets,
        number: u16,
        plain_size: u64,
        rng: &mut dyn Random,
    ) -> Result<Self, SealError> {
        if secrets.single.is_some() {
            return Err(SealError::Parts("the object was written with a single PUT"));
        }
        if !(1..=MAX_PART_NUMBER).contains(&number) {
            return Err(SealError::Parts("part numbers go from 1 to 10000"));
        }
        if plain_size > length::MAX_PLAIN {
            return Err(SealError::TooLarge);
        }
        let mut salt = [0; SALT];
        rng.fill(&mut salt);
        Ok(Self { dek: secrets.dek.share(), number, size: plain_size, salt })
    }

    /// The salt of this attempt: not secret, and to be kept for the trailer.
    pub fn salt(&self) -> [u8; 16] {
        self.salt
    }

    /// How many bytes the sealer will yield in all.
    pub fn sealed_len(&self) -> u64 {
        length::segment_len(self.size)
    }

    /// What the trailer's table will say of this attempt.
    pub fn entry(&self, checksum: Option<Vec<u8>>) -> PartEntry {
        PartEntry { number: self.number, size: self.size, salt: self.salt, checksum }
    }

    /// Uses the attempt up.
    pub fn into_sealer(self) -> PartSealer {
        PartSealer::new(&self.dek, &self.salt, self.number, self.size)
    }
}
