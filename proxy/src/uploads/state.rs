//! The state of one upload: made by CreateMultipartUpload, sealed in the system area, read by every replica. It holds
//! the keys of records and trailer, never the one that opens data.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use object_format::{Envelope, TrailerKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::UploadRef;
use super::folder::Folder;
use super::part::RecordKey;
use crate::backend::SystemArea;
use crate::error::{Error, Result};
use crate::metrics::TamperAlarm;
use crate::plan::multipart::Checksums;
use crate::s3::name::{BucketName, ObjectKey};

/// Version of the document that this release writes and reads.
const VERSION: u32 = 1;
const KEY: usize = 32;

/// What an upload begins with.
pub struct NewState {
    /// Of the object that it will be.
    pub envelope: Envelope,
    /// The key of its trailer.
    pub trailer: TrailerKey,
    /// Whether ETags are MD5s of plaintext.
    pub md5: bool,
    /// Which checksum its parts have, and what becomes of them.
    pub checksums: Checksums,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// The state of an upload. No Debug, no Clone: it holds keys, which are wiped on drop.
pub struct UploadState {
    pub(super) area: SystemArea,
    pub(super) folder: Folder,
    pub(super) records: RecordKey,
    pub(super) alarm: TamperAlarm,
    trailer: TrailerKey,
    envelope: Envelope,
    md5: bool,
    checksums: Checksums,
}

/// What stands behind the two keys.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    bucket: String,
    key: String,
    upload: String,
    created: u64,
    envelope: String,
    md5: bool,
    checksum: u8,
    composite: bool,
    explicit: bool,
}

impl UploadState {
    /// The key of the object's trailer.
    pub fn trailer_key(&self) -> &TrailerKey {
        &self.trailer
    }

    /// The envelope that the object will have.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Whether its ETags are MD5s of plaintext.
    pub fn md5(&self) -> bool {
        self.md5
    }

    /// The checksum of its parts, and what becomes of them.
    pub fn checksums(&self) -> &Checksums {
        &self.checksums
    }
}

/// The bytes to seal.
pub(super) fn encode(at: &UploadRef<'_>, new: &NewState) -> Result<Zeroizing<Vec<u8>>> {
    let document = Document {
        version: VERSION,
        bucket: at.bucket.as_str().to_owned(),
        key: URL_SAFE_NO_PAD.encode(at.key.as_bytes()),
        upload: at.id.to_owned(),
        created: new.created_ms,
        envelope: new.envelope.to_value(),
        md5: new.md5,
        checksum: new.checksums.algorithm.id(),
        composite: new.checksums.composite,
        explicit: new.checksums.explicit,
    };
    let json = serde_json::to_vec(&document).map_err(|e| Error::internal(format!("an upload: {e}")))?;
    let mut records = Zeroizing::new([0; KEY]);
    aws_lc_rs::rand::fill(&mut records[..]).map_err(|_| Error::internal("no randomness"))?;
    let mut out = Zeroizing::new(Vec::with_capacity(2 * KEY + json.len()));
    out.extend_from_slice(&records[..]);
    out.extend_from_slice(&new.trailer.to_bytes()[..]);
    out.extend_from_slice(&json);
    Ok(out)
}

/// The state out of them. `Err(why)`: it is not that of this upload.
pub(super) fn decode(
    at: &UploadRef<'_>,
    area: SystemArea,
    folder: Folder,
    alarm: TamperAlarm,
    plain: &[u8],
) -> Result<Result<UploadState, &'static str>> {
    let (keys, document) = match parse(plain) {
        Ok(parsed) => parsed,
        Err(why) => return Ok(Err(why)),
    };
    let mut records = Zeroizing::new([0; KEY]);
    let mut trailer = Zeroizing::new([0; KEY]);
    records.copy_from_slice(&keys[..KEY]);
    trailer.copy_from_slice(&keys[KEY..]);
    let own = document.bucket == at.bucket.as_str()
        && document.key == URL_SAFE_NO_PAD.encode(at.key.as_bytes())
        && document.upload == at.id;
    if !own {
        return Ok(Err("it is another upload's"));
    }
    let checksums = Checksums::from_parts(document.checksum, document.composite, document.explicit);
    let (Some(checksums), Ok(envelope)) = (checksums, Envelope::parse(&document.envelope)) else {
        return Ok(Err("a later release wrote it"));
    };
    let records = RecordKey::new(&records, area.id(), folder.as_str())?;
    let trailer = TrailerKey::from_bytes(trailer);
    Ok(Ok(UploadState { area, folder, records, alarm, trailer, envelope, md5: document.md5, checksums }))
}

/// The two keys and what stands behind them.
fn parse(plain: &[u8]) -> Result<(&[u8; 2 * KEY], Document), &'static str> {
    let (keys, json) = plain.split_first_chunk::<{ 2 * KEY }>().ok_or("it is too short")?;
    let document = serde_json::from_slice(json).ok().filter(|d: &Document| d.version == VERSION);
    Ok((keys, document.ok_or("a later release wrote it")?))
}

/// Whose state one is, for who has found it without knowing.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object that it would have been.
    pub key: ObjectKey,
    /// The backend's upload id.
    pub id: String,
    /// When it was made, in milliseconds since 1970, by the clock of the replica that made it.
    pub created_ms: u64,
}

impl Owner {
    /// The upload.
    pub fn upload(&self) -> UploadRef<'_> {
        UploadRef { bucket: &self.bucket, key: &self.key, id: &self.id }
    }

    pub(super) fn read(plain: &[u8]) -> Result<Self, &'static str> {
        let (_, document) = parse(plain)?;
        Self::of(&document.bucket, &document.key, document.upload, document.created)
    }

    /// From the fields of a document.
    pub(super) fn of(bucket: &str, key: &str, id: String, created_ms: u64) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "it names what no upload of ours is called";
        let key = URL_SAFE_NO_PAD.decode(key).map_err(|_| UNKNOWN)?;
        Ok(Self {
            bucket: BucketName::parse(bucket.as_bytes()).map_err(|_| UNKNOWN)?,
            key: ObjectKey::parse(key).map_err(|_| UNKNOWN)?,
            id,
            created_ms,
        })
    }
}
