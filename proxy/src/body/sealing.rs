//! The two ways of sealing a request body: as a whole object, whose envelope travels with it, and as a part of a
//! multipart upload, whose salt its record keeps. How bodies move is `upload.rs`'s.

use http::HeaderValue;
use object_format::{
    Attempt, ChecksumFact, ChecksumKind, Envelope, EnvelopeHeader, EtagFact, KeyRef, ObjectName,
    ObjectSecrets, PartAttempt, PartSealer, SealError, SealedFacts, Sealer,
};

use super::learn::{BodyFacts, Learn};
use super::upload::{BodySealer, Sealing};
use crate::backend::Outgoing;
use crate::config::EtagPolicy;
use crate::error::{Error, Result};
use crate::keys::random::SystemRandom;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::headers::ENVELOPE;

/// Lets an envelope travel with a backend request.
pub fn carry_envelope(envelope: &Envelope, out: &mut Outgoing) -> Result<()> {
    let value = HeaderValue::from_str(&envelope.to_value())
        .map_err(|_| Error::internal("an envelope is not a header value"))?;
    out.headers.insert(ENVELOPE, value);
    Ok(())
}

/// How one object is to be sealed.
pub struct ObjectSealing<'a> {
    /// Clear part of the envelope.
    pub header: EnvelopeHeader,
    /// The key that wraps the object's own key.
    pub key: KeyRef<'a>,
    /// What the object is bound to.
    pub name: ObjectName<'a>,
    /// What its ETag will be.
    pub etag: EtagPolicy,
    /// The checksum that it needs where the body comes with none; else CRC64NVME.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Bodies up to this length are verified whole first.
    pub buffer: u64,
}

/// The sealer of a whole object, and what its ETag will be.
pub struct ObjectSealer(Sealer, u64, EtagPolicy);

impl Sealing for ObjectSealing<'_> {
    type Sealer = ObjectSealer;

    fn buffer(&self) -> u64 {
        self.buffer
    }

    fn learn(&self) -> Learn {
        Learn { md5: self.etag == EtagPolicy::Md5, checksum: true, also: self.checksum }
    }

    fn begin(&self, length: u64, facts: Option<&BodyFacts>, out: &mut Outgoing) -> Result<ObjectSealer> {
        let checksum = facts.and_then(|facts| facts.checksum.as_ref()).map(|(algorithm, _)| algorithm.id());
        let attempt = match checksum.filter(|_| length == 0) {
            Some(algorithm) => Attempt::empty(algorithm, &mut SystemRandom).map_err(failed)?,
            None => Attempt::single(length, &mut SystemRandom),
        };
        let envelope = attempt
            .envelope(self.header.clone(), self.key, &self.name, &mut SystemRandom)
            .map_err(|e| Error::internal(format!("sealing an envelope: {e}")))?;
        carry_envelope(&envelope, out)?;
        let sealed_len = attempt.sealed_len();
        Ok(ObjectSealer(attempt.into_sealer(), sealed_len, self.etag))
    }
}

impl BodySealer for ObjectSealer {
    type Mark = ();

    fn mark(&self) {}

    fn sealed_len(&self) -> u64 {
        self.1
    }

    fn push(&mut self, plain: &[u8], emit: &mut (dyn FnMut(Vec<u8>) + Send)) -> Result<()> {
        self.0.push(plain, &mut |sealed| emit(sealed)).map_err(failed)
    }

    fn finish(self, facts: &BodyFacts) -> Result<Vec<u8>> {
        self.0.finish(&sealed_facts(facts, self.2)).map_err(failed)
    }
}

/// How one part is to be sealed.
pub struct PartSealing<'a> {
    /// The upload's.
    pub secrets: &'a ObjectSecrets,
    /// 1 to 10 000.
    pub number: u16,
    /// Whether the upload's ETags are MD5s.
    pub md5: bool,
    /// The checksum that the upload needs of each part.
    pub checksum: ChecksumAlgorithm,
    /// Bodies up to this length are verified whole first.
    pub buffer: u64,
}

/// The sealer of one attempt at a part.
pub struct PartBodySealer {
    sealer: PartSealer,
    sealed_len: u64,
    salt: [u8; 16],
}

impl Sealing for PartSealing<'_> {
    type Sealer = PartBodySealer;

    fn buffer(&self) -> u64 {
        self.buffer
    }

    fn learn(&self) -> Learn {
        Learn { md5: self.md5, checksum: true, also: Some(self.checksum) }
    }

    fn begin(&self, length: u64, _: Option<&BodyFacts>, _: &mut Outgoing) -> Result<PartBodySealer> {
        let attempt =
            PartAttempt::new(self.secrets, self.number, length, &mut SystemRandom).map_err(failed)?;
        let (sealed_len, salt) = (attempt.sealed_len(), attempt.salt());
        Ok(PartBodySealer { sealer: attempt.into_sealer(), sealed_len, salt })
    }
}

impl BodySealer for PartBodySealer {
    /// The salt of the attempt.
    type Mark = [u8; 16];

    fn mark(&self) -> [u8; 16] {
        self.salt
    }

    fn sealed_len(&self) -> u64 {
        self.sealed_len
    }

    fn push(&mut self, plain: &[u8], emit: &mut (dyn FnMut(Vec<u8>) + Send)) -> Result<()> {
        self.sealer.push(plain, &mut |sealed| emit(sealed)).map_err(failed)
    }

    fn finish(self, _: &BodyFacts) -> Result<Vec<u8>> {
        self.sealer.finish().map_err(failed)
    }
}

/// What a footer says of a whole object.
pub fn sealed_facts(facts: &BodyFacts, etag: EtagPolicy) -> SealedFacts {
    SealedFacts {
        etag: match (etag, facts.md5) {
            (EtagPolicy::Md5, Some(md5)) => EtagFact::Md5(md5),
            _ => EtagFact::Opaque,
        },
        checksum: facts.checksum.as_ref().map(|(algorithm, value)| ChecksumFact {
            algorithm: algorithm.id(),
            kind: ChecksumKind::FullObject,
            value: value.clone(),
        }),
    }
}

fn failed(error: SealError) -> Error {
    Error::internal(format!("sealing a body: {error}"))
}
