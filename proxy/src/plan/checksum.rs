//! Which checksum of an object or part a client is shown, and how it is written
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>).

use http::{HeaderMap, HeaderValue};
use object_format::{ChecksumFact, ChecksumKind, PartEntry};

use crate::info::{Info, Nature};
use crate::s3::checksum::ChecksumAlgorithm;

/// A checksum as clients see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownChecksum {
    /// Its algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// base64, without the number of parts.
    pub value: String,
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub kind: &'static str,
    /// How many parts a composite checksum is made of; `None` for others, and for a part's own.
    parts: Option<u16>,
}

impl ShownChecksum {
    /// That of a whole object: the sealed one.
    pub fn of_object(info: &Info) -> Option<Self> {
        let Nature::Sealed { end, .. } = &info.nature else { return None };
        Self::of_fact(end.checksum()?, end.parts_count())
    }

    /// That of one part of an object, where one was sealed.
    pub fn of_part(info: &Info, part: &PartEntry) -> Option<Self> {
        Self::of(info.end().facts()?.checksum.as_ref()?, part.checksum.as_ref()?)
    }

    /// That of an object of `parts` parts of which a footer says `fact`.
    pub fn of_fact(fact: &ChecksumFact, parts: Option<u16>) -> Option<Self> {
        let parts = parts.filter(|_| fact.kind == ChecksumKind::Composite);
        Some(Self { parts, ..Self::of(fact, &fact.value)? })
    }

    fn of(object: &ChecksumFact, value: &[u8]) -> Option<Self> {
        Some(Self {
            algorithm: ChecksumAlgorithm::from_id(object.algorithm)?,
            value: ChecksumAlgorithm::format_value(value),
            kind: match object.kind {
                ChecksumKind::FullObject => "FULL_OBJECT",
                ChecksumKind::Composite => "COMPOSITE",
            },
            parts: None,
        })
    }

    /// As it is written: a composite checksum has the number of its parts behind it.
    pub fn text(&self) -> String {
        match self.parts {
            Some(parts) => format!("{}-{parts}", self.value),
            None => self.value.clone(),
        }
    }

    /// As headers of an answer.
    pub fn headers(&self, out: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.text()) {
            out.insert(self.algorithm.header_name(), value);
            out.insert("x-amz-checksum-type", HeaderValue::from_static(self.kind));
        }
    }
}
