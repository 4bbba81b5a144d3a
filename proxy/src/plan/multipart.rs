//! Multipart uploads without I/O: which checksums an upload has, which attempt at each part an object is made of, and
//! what its footer says (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>).

use std::collections::{BTreeMap, HashMap};

use http::HeaderMap;
use object_format::{ChecksumFact, ChecksumKind, EtagFact, PartEntry, SealedFacts};
use time::OffsetDateTime;

use super::checksum::ShownChecksum;
use crate::error::{Code, Error, Result};
use crate::s3::checksum::{ChecksumAlgorithm, Hasher, several};
use crate::s3::query::number;
use crate::s3::xml::ListedPart;

/// S3's smallest part but the last, in plaintext bytes: 5 MiB.
pub const MIN_PART: u64 = 5 * 1024 * 1024;
/// S3's largest part, in plaintext bytes: 5 GiB.
pub const MAX_PART: u64 = 5 * 1024 * 1024 * 1024;
/// The highest part number.
pub const MAX_PART_NUMBER: u16 = 10_000;

/// Which checksum the parts of an upload have, and what becomes of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checksums {
    /// Computed of every part.
    pub algorithm: ChecksumAlgorithm,
    /// COMPOSITE: a checksum of the parts' checksums. Else FULL_OBJECT: combined from them.
    pub composite: bool,
    /// Whether the client asked for it; S3 takes CRC64NVME where it did not.
    pub explicit: bool,
}

impl Checksums {
    /// What CreateMultipartUpload asks for in `x-amz-checksum-algorithm` and `x-amz-checksum-type`.
    ///
    /// # Errors
    /// InvalidRequest for an unknown algorithm, a type without one, and pairs that S3 does not have.
    pub fn of_create(headers: &HeaderMap) -> Result<Self> {
        let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or_default());
        let kind = text("x-amz-checksum-type");
        check_kind(kind)?;
        let Some(name) = text("x-amz-checksum-algorithm") else {
            return match kind {
                None => {
                    Ok(Self { algorithm: ChecksumAlgorithm::Crc64Nvme, composite: false, explicit: false })
                }
                Some(_) => Err(refused(
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm = ChecksumAlgorithm::named(name)?;
        let combines =
            algorithm.combine(&vec![0; algorithm.length()], &vec![0; algorithm.length()], 0).is_some();
        let composite = match kind.map(str::to_ascii_uppercase).as_deref() {
            None => algorithm != ChecksumAlgorithm::Crc64Nvme,
            Some("COMPOSITE") if algorithm != ChecksumAlgorithm::Crc64Nvme => true,
            Some("FULL_OBJECT") if combines => false,
            Some(kind) => {
                return Err(refused(format!(
                    "The {kind} checksum type cannot be used with the {} checksum algorithm.",
                    algorithm.name().to_ascii_lowercase()
                )));
            }
        };
        Ok(Self { algorithm, composite, explicit: true })
    }

    /// The same out of a kept state; `None` for what no release of ours keeps.
    pub fn from_parts(algorithm: u8, composite: bool, explicit: bool) -> Option<Self> {
        ChecksumAlgorithm::from_id(algorithm).map(|algorithm| Self { algorithm, composite, explicit })
    }

    /// `COMPOSITE` or `FULL_OBJECT`.
    pub fn kind_name(&self) -> &'static str {
        if self.composite { "COMPOSITE" } else { "FULL_OBJECT" }
    }

    /// Refuses a part whose checksum is of another algorithm than the one that its upload was made with, or that has none
    /// where the checksum of the whole will be made of those of the parts.
    pub fn check_part(&self, declared: Option<ChecksumAlgorithm>) -> Result<()> {
        let fits = match declared {
            Some(declared) => declared == self.algorithm,
            None => !self.composite,
        };
        if fits || !self.explicit {
            return Ok(());
        }
        let name = |algorithm: ChecksumAlgorithm| algorithm.name().to_ascii_lowercase();
        Err(refused(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            name(self.algorithm),
            declared.map_or("null".to_owned(), name)
        )))
    }
}

/// The backend's ETags of each part number that it has now, unquoted. Some storage keeps what was sent before beside what was
/// sent again, and completes with whichever the list names.
pub type Standing = HashMap<u16, Vec<String>>;

/// What is known of one attempt at a part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartRecord {
    /// The client's part number, 1 to 10 000.
    pub number: u16,
    /// When it was stored, in milliseconds since 1970, by the clock of the replica that stored it.
    pub at_ms: u64,
    /// When its record was written, by the storage's clock; `None` where nobody has told.
    pub kept: Option<OffsetDateTime>,
    /// Plaintext bytes.
    pub size: u64,
    /// Salt of its segment.
    pub salt: [u8; 16],
    /// MD5 of its plaintext, where the upload's ETags are MD5s.
    pub md5: Option<[u8; 16]>,
    /// Its checksum under the upload's algorithm.
    pub checksum: Vec<u8>,
    /// The backend's ETag of the part, unquoted; `None` for a part that is held in the system area.
    pub backend_etag: Option<String>,
}

impl PartRecord {
    /// The ETag that clients see, unquoted: the MD5, else one that every client knows not to be an MD5.
    pub fn client_etag(&self) -> String {
        match self.md5 {
            Some(md5) => hex::encode(md5),
            None => format!("{}-1", hex::encode(self.salt)),
        }
    }

    /// What says which of two attempts is the newer one, the greater. The storage's clock is the only one that all
    /// replicas share; theirs may be hours apart. What one replica stores within a step of it (a second, on some
    /// storage) is still in order by its own.
    pub fn age(&self) -> (Option<OffsetDateTime>, u64) {
        (self.kept, self.at_ms)
    }

    /// Whether it is kept in the system area until the upload is completed.
    pub fn is_held(&self) -> bool {
        self.backend_etag.is_none()
    }

    /// Whether its bytes are those that would become the object.
    fn stands(&self, current: &Standing) -> bool {
        let here = current.get(&self.number);
        self.backend_etag.as_ref().is_none_or(|own| here.is_some_and(|etags| etags.contains(own)))
    }

    /// What the layout table says of it. S3 shows no checksums of parts whose upload was begun without an algorithm, and so
    /// none is kept of them once they are an object.
    pub fn entry(&self, checksums: &Checksums) -> PartEntry {
        PartEntry {
            number: self.number,
            size: self.size,
            salt: self.salt,
            checksum: checksums.explicit.then(|| self.checksum.clone()),
        }
    }
}

/// Takes, for each part that the client lists, the newest attempt with that ETag whose bytes stand.
///
/// `current` is what the backend has now; a held part stands as long as its record.
///
/// # Errors
/// InvalidPartOrder, InvalidPart, EntityTooSmall.
pub fn choose(
    listed: &[ListedPart],
    records: &[PartRecord],
    current: &Standing,
    checksums: &Checksums,
) -> Result<Vec<PartRecord>> {
    if !listed.is_sorted_by(|a, b| a.number < b.number) {
        return Err(Error::client(
            Code::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    let mut candidates: HashMap<u16, Vec<&PartRecord>> = HashMap::new();
    for record in records.iter().filter(|r| r.stands(current)) {
        candidates.entry(record.number).or_default().push(record);
    }
    let mut chosen = Vec::with_capacity(listed.len());
    for part in listed {
        let attempts = candidates.get(&part.number).map(Vec::as_slice).unwrap_or_default();
        let record = attempts
            .iter()
            .filter(|r| r.client_etag() == part.etag)
            .max_by_key(|r| r.age())
            .ok_or_else(|| invalid_part(part))?;
        check_checksum(part, record, checksums)?;
        chosen.push((*record).clone());
    }
    let all_but_last = chosen.iter().take(chosen.len().saturating_sub(1));
    if let Some((small, part)) = all_but_last.zip(listed).find(|(record, _)| record.size < MIN_PART) {
        return Err(Error::client(
            Code::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size",
        )
        .field("ProposedSize", small.size.to_string())
        .field("MinSizeAllowed", MIN_PART.to_string())
        .field("PartNumber", part.number.to_string())
        .field("ETag", part.etag.clone()));
    }
    Ok(chosen)
}

/// Whether a listed part has bytes that no record speaks of: they are being sent again just now, and their record follows,
/// or whoever sent them has gone.
pub fn is_unsettled(listed: &[ListedPart], records: &[PartRecord], current: &Standing) -> bool {
    let settled = |number: u16, etag: &String| {
        let mut attempts = records.iter().filter(|record| record.number == number);
        attempts.any(|record| record.backend_etag.as_ref().is_none_or(|own| own == etag))
    };
    listed.iter().any(|part| {
        let here = current.get(&part.number).map(Vec::as_slice).unwrap_or_default();
        here.iter().any(|etag| !settled(part.number, etag))
    })
}

fn check_checksum(part: &ListedPart, record: &PartRecord, checksums: &Checksums) -> Result<()> {
    let readable = part.checksums.iter().all(|(algorithm, value)| algorithm.parse_value(value).is_ok());
    if part.checksums.len() > 1 || !readable {
        return Err(Error::client(
            Code::InvalidArgument,
            "Invalid Base64 or multiple checksums present in request",
        ));
    }
    for (algorithm, value) in &part.checksums {
        match (*algorithm == checksums.algorithm, checksums.explicit) {
            (true, _) if *value == ChecksumAlgorithm::format_value(&record.checksum) => {}
            (true, _) => return Err(invalid_part(part)),
            // UploadPart verified it; only the one that stands in for none is kept.
            (false, false) => {}
            (false, true) => {
                return Err(Error::client(
                    Code::BadDigest,
                    format!(
                        "The {} you specified for part {} did not match what we received.",
                        algorithm.name().to_ascii_lowercase(),
                        part.number
                    ),
                ));
            }
        }
    }
    if part.checksums.is_empty() && checksums.explicit && checksums.composite {
        return Err(refused(format!(
            "The upload was created using a {} checksum. The complete request must include the checksum for each \
             part. It was missing for part {} in the request.",
            checksums.algorithm.name().to_ascii_lowercase(),
            part.number
        )));
    }
    Ok(())
}

/// The newest attempt at each number whose bytes stand, in order of the numbers.
pub fn newest(records: Vec<PartRecord>, current: &Standing) -> Vec<PartRecord> {
    let mut latest = BTreeMap::<u16, PartRecord>::new();
    for record in records.into_iter().filter(|record| record.stands(current)) {
        match latest.get(&record.number) {
            Some(other) if other.age() > record.age() => {}
            _ => drop(latest.insert(record.number, record)),
        }
    }
    latest.into_values().collect()
}

/// Plaintext bytes of the object.
pub fn plain_size(chosen: &[PartRecord]) -> u64 {
    chosen.iter().map(|part| part.size).sum()
}

/// What the footer of the object will say: ETag and checksum as S3 makes them.
pub fn facts(chosen: &[PartRecord], checksums: &Checksums) -> Result<SealedFacts> {
    let md5s: Option<Vec<[u8; 16]>> = chosen.iter().map(|part| part.md5).collect();
    let etag = match md5s {
        Some(md5s) => {
            let mut hasher = Hasher::new(ChecksumAlgorithm::Md5);
            for md5 in &md5s {
                hasher.update(md5);
            }
            let md5 = hasher.finish().try_into().map_err(|_| Error::internal("an MD5 has 16 bytes"))?;
            let parts = u16::try_from(md5s.len()).map_err(|_| Error::internal("over 10000 parts"))?;
            EtagFact::Multipart { md5, parts }
        }
        None => EtagFact::Opaque,
    };
    let value = if checksums.composite {
        let mut hasher = Hasher::new(checksums.algorithm);
        for part in chosen {
            hasher.update(&part.checksum);
        }
        Some(hasher.finish())
    } else {
        let mut parts = chosen.iter();
        let first = parts.next().map(|part| part.checksum.clone());
        parts.fold(first, |whole, part| checksums.algorithm.combine(&whole?, &part.checksum, part.size))
    };
    let value = value.ok_or_else(|| Error::internal("checksums that do not combine"))?;
    let kind = if checksums.composite { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    Ok(SealedFacts {
        etag,
        checksum: Some(ChecksumFact { algorithm: checksums.algorithm.id(), kind, value }),
    })
}

/// Whether such promises can be read, before anything is held against them: a checksum at most, and a type that is one.
///
/// # Errors
/// InvalidRequest.
pub fn check_promised(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default().trim());
    check_kind(text("x-amz-checksum-type"))?;
    let promised = |algorithm: ChecksumAlgorithm| Some((algorithm, text(algorithm.header_name().as_str())?));
    let mut promised = ChecksumAlgorithm::ALL.into_iter().filter_map(promised);
    let Some((algorithm, value)) = promised.next() else { return Ok(()) };
    if promised.next().is_some() {
        return Err(several());
    }
    // A composite one may say of how many parts it is.
    let bare = value.rsplit_once('-').filter(|(_, parts)| number::<u16>(parts).is_some());
    algorithm.parse_value(bare.map_or(value, |(value, _)| value)).map(drop)
}

/// Holds the promises of a CompleteMultipartUpload request about the whole object against what its parts came to:
/// `x-amz-mp-object-size`, `x-amz-checksum-*`, `x-amz-checksum-type`.
///
/// # Errors
/// InvalidRequest for another size or type, BadDigest for another checksum.
pub fn check_promises(
    headers: &HeaderMap,
    checksums: &Checksums,
    size: u64,
    computed: &ShownChecksum,
) -> Result<()> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default().trim());
    if let Some(promised) = text("x-amz-mp-object-size") {
        let promised: u64 = number(promised).ok_or_else(|| {
            refused(match promised.starts_with('-') {
                true => format!("Value for x-amz-mp-object-size header is less than zero: '{promised}'"),
                false => format!("Value for x-amz-mp-object-size header is invalid: '{promised}'"),
            })
        })?;
        if promised != size {
            return Err(refused(format!(
                "The provided 'x-amz-mp-object-size' header value {promised} does not match what was computed: {size}"
            )));
        }
    }
    if let Some(kind) = text("x-amz-checksum-type")
        && !kind.eq_ignore_ascii_case(checksums.kind_name())
    {
        return Err(refused(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            checksums.kind_name()
        )));
    }
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(promised) = text(algorithm.header_name().as_str()) else { continue };
        if algorithm != checksums.algorithm {
            checksums.check_part(Some(algorithm))?;
            continue;
        }
        // SDKs send a composite checksum with and without the number of parts.
        if promised != computed.text() && promised != computed.value {
            return Err(Error::client(
                Code::BadDigest,
                format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
            ));
        }
    }
    Ok(())
}

/// The lowest number behind `last` that no attempt has, for the part that ends the object.
pub fn trailer_number(last: u16, records: &[PartRecord]) -> Option<u16> {
    let taken: std::collections::HashSet<u16> = records.iter().map(|r| r.number).collect();
    (last.saturating_add(1)..=MAX_PART_NUMBER).find(|n| !taken.contains(n)).or_else(|| {
        // Every number behind it was tried: the next one is the least to lose.
        (last < MAX_PART_NUMBER).then_some(last + 1)
    })
}

/// Number of a part in a request.
///
/// # Errors
/// InvalidArgument.
pub fn part_number(text: Option<&str>) -> Result<u16> {
    text.and_then(number).filter(|n| (1..=MAX_PART_NUMBER).contains(n)).ok_or_else(|| {
        Error::client(Code::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
            .field("ArgumentName", "partNumber")
            .field("ArgumentValue", text.unwrap_or_default())
    })
}

/// Whether a checksum type is one, before what it is said of is looked at.
fn check_kind(kind: Option<&str>) -> Result<()> {
    let known =
        |kind: &str| ["COMPOSITE", "FULL_OBJECT"].iter().any(|known| kind.eq_ignore_ascii_case(known));
    match kind {
        Some(kind) if !known(kind) => Err(refused("Value for x-amz-checksum-type header is invalid.")),
        Some(_) | None => Ok(()),
    }
}

fn invalid_part(part: &ListedPart) -> Error {
    Error::client(
        Code::InvalidPart,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
         specified entity tag may not match the part's entity tag.",
    )
    .field("PartNumber", part.number.to_string())
    .field("ETag", part.etag.clone())
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::client(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
