//! One object, read and checked to its last byte. What is printed of it is decided elsewhere.

use object_format::{ChecksumKind, EtagFact, SealedFacts};

use crate::body::{BodyFacts, Learn, Plaintext as _, StoredBody};
use crate::error::{Blame, Error, Result};
use crate::info::{self, Found, Nature, Need, Target};
use crate::ops::fetch;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::services::Services;

/// What an object turned out to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Sealed, and every byte of it that was read is authentic.
    Whole,
    /// Sealed under a customer's key, which is not here: it was not read.
    CustomerKey,
    /// Not encrypted.
    Plaintext,
    /// It does not authenticate, and why.
    Tampered(String),
    /// It names a key that is gone or may not be used, and why.
    MissingKey(String),
    /// It was deleted meanwhile.
    Gone,
}

/// Reads `target` whole, or, where `quick`, no more than its envelope and its end.
///
/// # Errors
/// Where it could not be read: nothing is known of it then.
pub(super) async fn check(services: &Services, target: &Target<'_>, quick: bool) -> Result<Verdict> {
    match read(services, target, quick).await {
        Ok(verdict) => Ok(verdict),
        Err(error) if error.blame() == Blame::Tampered => Ok(Verdict::Tampered(why(&error))),
        Err(error) if error.blame() == Blame::Keys && error.is_lasting() => {
            Ok(Verdict::MissingKey(why(&error)))
        }
        Err(error) if error.code().status() == http::StatusCode::NOT_FOUND => Ok(Verdict::Gone),
        Err(error) => Err(error),
    }
}

fn why(error: &Error) -> String {
    error.cause().unwrap_or_else(|| error.message()).to_owned()
}

async fn read(services: &Services, target: &Target<'_>, quick: bool) -> Result<Verdict> {
    let found = info::read(services, target, Need::Tail).await?;
    match (&found.info.nature, &found.opened) {
        (Nature::Plain, _) => return Ok(Verdict::Plaintext),
        (Nature::Sealed { .. }, None) => return Ok(Verdict::CustomerKey),
        _ => {}
    }
    if quick {
        return Ok(Verdict::Whole);
    }
    let learned = drain(services, target, &found).await?;
    match found.info.end().facts().and_then(|facts| difference(facts, &learned)) {
        None => Ok(Verdict::Whole),
        Some(what) => Ok(Verdict::Tampered(format!("its bytes are authentic, and its {what} is not theirs"))),
    }
}

/// Opens all of it.
async fn drain(services: &Services, target: &Target<'_>, found: &Found) -> Result<BodyFacts> {
    let learn = found.info.end().facts().map(to_learn).unwrap_or_default();
    let reader = fetch::read(services, target, found, &(0..found.info.plain_size)).await?;
    let mut body = StoredBody::new(reader, learn);
    while body.next().await?.is_some() {}
    body.finish().await
}

/// What a footer says that one pass over the bytes can tell.
fn to_learn(facts: &SealedFacts) -> Learn {
    let checksum = facts.checksum.as_ref().filter(|fact| fact.kind == ChecksumKind::FullObject);
    Learn {
        md5: matches!(facts.etag, EtagFact::Md5(_)),
        checksum: false,
        also: checksum.and_then(|fact| ChecksumAlgorithm::from_id(fact.algorithm)),
    }
}

/// What a footer says that is not so.
fn difference(facts: &SealedFacts, learned: &BodyFacts) -> Option<&'static str> {
    if let (EtagFact::Md5(sealed), Some(md5)) = (&facts.etag, &learned.md5)
        && sealed != md5
    {
        return Some("ETag");
    }
    match (&facts.checksum, &learned.checksum) {
        (Some(fact), Some((algorithm, value)))
            if fact.algorithm == algorithm.id() && fact.value != *value =>
        {
            Some("checksum")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use object_format::ChecksumFact;

    use super::*;

    #[test]
    fn what_a_footer_says_is_held_against_the_bytes() {
        let sum = |kind, value: u8| ChecksumFact {
            algorithm: ChecksumAlgorithm::Crc32.id(),
            kind,
            value: vec![value; 4],
        };
        let facts = |kind| SealedFacts { etag: EtagFact::Md5([1; 16]), checksum: Some(sum(kind, 2)) };
        let whole = facts(ChecksumKind::FullObject);
        let learn = to_learn(&whole);
        assert_eq!((learn.md5, learn.also), (true, Some(ChecksumAlgorithm::Crc32)));
        assert_eq!(to_learn(&facts(ChecksumKind::Composite)).also, None);
        let learned = |md5: u8, sum: u8| BodyFacts {
            md5: Some([md5; 16]),
            checksum: Some((ChecksumAlgorithm::Crc32, vec![sum; 4])),
            also: None,
        };
        assert_eq!(difference(&whole, &learned(1, 2)), None);
        assert_eq!(difference(&whole, &learned(3, 2)), Some("ETag"));
        assert_eq!(difference(&whole, &learned(1, 3)), Some("checksum"));
        let opaque = SealedFacts { etag: EtagFact::Opaque, checksum: None };
        assert_eq!(difference(&opaque, &BodyFacts::default()), None);
    }
}
