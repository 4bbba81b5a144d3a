//! What is pumped as an upload of which no client hears: because the backend does not take so much at once, or because the
//! source came in parts and is to stay so. Nothing is there before all of it is.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};
use object_format::length::{CHUNK, TAG};
use object_format::{PartEntry, SealedFacts, Trailer, list_tag, seal_trailer, upload_tag};

use super::pump::{Pump, Stored};
use crate::backend::{Outgoing, Response, error_from};
use crate::body::{self, BodyFacts, BodySealer, Cut, Learn, PartSealing, Plaintext, Sealing, StoredBody};
use crate::config::EtagPolicy;
use crate::error::{Code, Error, Result};
use crate::info;
use crate::ops::multipart::behind::{self, Begun};
use crate::ops::multipart::own::OwnUpload;
use crate::plan::multipart::{MAX_PART_NUMBER, MIN_PART};
use crate::s3::checksum::ChecksumAlgorithm;

/// Parts as large as this where the backend takes them.
const PART: u64 = 512 << 20;
/// Most parts, of which one is the trailer.
const MOST_PARTS: u64 = 9_999;

/// Stores `body` in parts of this program's own choice: to clients it is an object that was put at once.
pub(super) async fn in_parts(
    pump: &Pump<'_>,
    mut body: StoredBody,
    headers: HeaderMap,
    etag: EtagPolicy,
) -> Result<Stored> {
    let sizes = part_sizes(body.length(), pump.to.backend.config().limits.put)?;
    let (own, mut upload, conditions) = Upload::begin(pump, headers).await?;
    let made = own.carry(async {
        for (number, size) in (1..).zip(sizes) {
            upload.part(number, body.cut(size), None).await?;
        }
        let facts = body::sealed_facts(&whole(body).await?, etag);
        let trailer = upload.trailer(&facts, None)?;
        upload.end(trailer).await?;
        upload.finish(facts, conditions).await
    });
    Box::pin(made).await
}

/// Stores `body` in the parts that the source has, under their numbers, with its ETag and checksums.
pub(super) async fn same_parts(
    pump: &Pump<'_>,
    mut body: StoredBody,
    headers: HeaderMap,
    source: &Trailer,
) -> Result<Stored> {
    let (last, parts) = source.parts.split_last().ok_or_else(|| Error::internal("an object of no parts"))?;
    let (own, mut upload, conditions) = Upload::begin(pump, headers).await?;
    let made = own.carry(async {
        for part in parts {
            upload.part(part.number, body.cut(part.size), part.checksum.clone()).await?;
        }
        // Behind a small part, or the one of the highest number, there can be no other.
        if last.size < MIN_PART || last.number == MAX_PART_NUMBER {
            upload.last_part(last, body.cut(last.size), &source.facts).await?;
        } else {
            upload.part(last.number, body.cut(last.size), last.checksum.clone()).await?;
            let trailer = upload.trailer(&source.facts, None)?;
            upload.end(trailer).await?;
        }
        whole(body).await?;
        upload.finish(source.facts.clone(), conditions).await
    });
    Box::pin(made).await
}

/// What was learned of a source, once there is no more of it.
async fn whole(mut body: StoredBody) -> Result<BodyFacts> {
    match body.next().await? {
        None => body.finish().await,
        Some(_) => Err(Error::internal("a stored object is longer than its parts")),
    }
}

struct Upload<'a> {
    pump: &'a Pump<'a>,
    begun: Begun,
    entries: Vec<PartEntry>,
    /// The backend's ETags.
    tags: Vec<(u16, String)>,
}

impl<'a> Upload<'a> {
    /// Begins one that is on record, and gives the conditions, which are held against what stands there when the object is
    /// made.
    async fn begin(pump: &'a Pump<'a>, mut headers: HeaderMap) -> Result<(OwnUpload<'a>, Self, HeaderMap)> {
        let mut conditions = HeaderMap::new();
        for name in [IF_MATCH, IF_NONE_MATCH] {
            conditions.extend(headers.remove(&name).map(|value| (name, value)));
        }
        let mut all = pump.to.outgoing(Method::POST).headers;
        all.extend(headers);
        let begun = behind::begin(pump.to, all, pump.key).await?;
        let own = OwnUpload::on_record(pump.services, pump.to, begun.id.clone()).await?;
        Ok((own, Self { pump, begun, entries: Vec::new(), tags: Vec::new() }, conditions))
    }

    async fn part(&mut self, number: u16, plain: Cut<'_>, checksum: Option<Vec<u8>>) -> Result<()> {
        let size = plain.length();
        let (salt, tag) = self.store(number, plain, &self.sealing(number)).await?;
        self.entries.push(PartEntry { number, size, salt, checksum });
        self.tags.push((number, tag));
        Ok(())
    }

    /// The last part with the trailer behind it.
    async fn last_part(&mut self, part: &PartEntry, plain: Cut<'_>, facts: &SealedFacts) -> Result<()> {
        let end = |salt| self.trailer(facts, Some(PartEntry { salt, ..part.clone() }));
        let sealing = LastSealing { part: self.sealing(part.number), end: &end };
        let (salt, tag) = self.store(part.number, plain, &sealing).await?;
        self.entries.push(PartEntry { salt, ..part.clone() });
        self.tags.push((part.number, tag));
        Ok(())
    }

    fn sealing(&self, number: u16) -> PartSealing<'_> {
        // Of a part by itself nothing has to be learned.
        let checksum = ChecksumAlgorithm::Crc64Nvme;
        PartSealing { secrets: &self.begun.secrets, number, md5: false, checksum, buffer: 0 }
    }

    /// Stores one part; its salt, and the backend's ETag.
    async fn store<S>(&self, number: u16, plain: Cut<'_>, sealing: &S) -> Result<([u8; 16], String)>
    where
        S: Sealing,
        S::Sealer: BodySealer<Mark = [u8; 16]>,
    {
        let (to, budget) = (self.pump.to, &self.pump.services.budget);
        let out = to.outgoing(Method::PUT).param("partNumber", number.to_string());
        let out = out.param("uploadId", self.begun.id.as_str());
        let stored = body::store(plain, budget, to.backend, to.caller, out, sealing).await?;
        let tag = self.tag(stored.response).await?;
        let (_, salt) = stored.sealed.ok_or_else(|| Error::internal("a stored part without facts"))?;
        Ok((salt, tag))
    }

    async fn tag(&self, response: Response) -> Result<String> {
        match response.status {
            StatusCode::OK => info::backend_etag(&response.headers),
            _ => Err(error_from(response, &self.pump.to.names()).await),
        }
    }

    /// The trailer of the parts that are there, and of one more.
    fn trailer(&self, facts: &SealedFacts, more: Option<PartEntry>) -> Result<Vec<u8>> {
        let entries: Vec<PartEntry> = self.entries.iter().cloned().chain(more).collect();
        let salts: Vec<(u16, String)> =
            entries.iter().map(|entry| (entry.number, hex::encode(entry.salt))).collect();
        let listed = list_tag(salts.iter().map(|(number, salt)| (*number, salt.as_str())));
        let upload = upload_tag(self.begun.id.as_bytes());
        seal_trailer(&self.begun.secrets.trailer_key(), &entries, facts, &upload, &listed)
            .map_err(|e| Error::internal(format!("sealing a trailer: {e}")))
    }

    /// Stores the trailer as a part of its own.
    async fn end(&mut self, trailer: Vec<u8>) -> Result<()> {
        let number = self.tags.last().map_or(1, |(number, _)| number + 1);
        let response = behind::store_trailer(self.pump.to, &self.begun.id, number, trailer.into()).await?;
        let tag = self.tag(response).await?;
        self.tags.push((number, tag));
        Ok(())
    }

    /// Has the backend put it together.
    async fn finish(self, facts: SealedFacts, conditions: HeaderMap) -> Result<Stored> {
        if self.pump.keeps_parts {
            info::check_unchanged(self.pump.from, self.pump.found).await?;
        }
        let (headers, backend_etag) =
            behind::complete(self.pump.to, &self.begun.id, &self.tags, conditions).await?;
        Ok(Stored { facts, headers, backend_etag })
    }
}

/// Makes what follows the part of that salt.
type End<'a> = &'a (dyn Fn([u8; 16]) -> Result<Vec<u8>> + Sync);

/// Seals a part with the object's end behind it.
struct LastSealing<'a> {
    part: PartSealing<'a>,
    end: End<'a>,
}

struct LastSealer {
    part: <PartSealing<'static> as Sealing>::Sealer,
    end: Vec<u8>,
}

impl Sealing for LastSealing<'_> {
    type Sealer = LastSealer;

    fn buffer(&self) -> u64 {
        self.part.buffer()
    }

    fn learn(&self) -> Learn {
        self.part.learn()
    }

    fn begin(&self, length: u64, facts: Option<&BodyFacts>, out: &mut Outgoing) -> Result<LastSealer> {
        let part = self.part.begin(length, facts, out)?;
        let end = (self.end)(part.mark())?;
        Ok(LastSealer { part, end })
    }
}

impl BodySealer for LastSealer {
    type Mark = [u8; 16];

    fn mark(&self) -> [u8; 16] {
        self.part.mark()
    }

    fn sealed_len(&self) -> u64 {
        self.part.sealed_len() + self.end.len() as u64
    }

    fn push(&mut self, plain: &[u8], emit: &mut (dyn FnMut(Vec<u8>) + Send)) -> Result<()> {
        self.part.push(plain, emit)
    }

    fn finish(self, facts: &BodyFacts) -> Result<Vec<u8>> {
        let mut last = self.part.finish(facts)?;
        last.extend(self.end);
        Ok(last)
    }
}

/// Plaintext sizes of about equal parts, each within what the backend takes at once (`limit`, in stored bytes) and, so that the
/// trailer can follow as a part of its own, of no less than S3's smallest.
fn part_sizes(size: u64, limit: u64) -> Result<Vec<u64>> {
    let most = (limit / (CHUNK + TAG) * CHUNK).max(1);
    let count = size.div_ceil(PART.min(most)).clamp(1, MOST_PARTS);
    let (each, more) = (size / count, size % count);
    let fits = each + u64::from(more > 0) <= most && each >= MIN_PART;
    if !fits {
        return Err(Error::client(
            Code::EntityTooLarge,
            "Encrypted, the object is larger than what the storage behind the proxy takes.",
        )
        .field("ProposedSize", size.to_string()));
    }
    Ok((0..count).map(|at| each + u64::from(at < more)).collect())
}

#[cfg(test)]
mod tests {
    use object_format::length::segment_len;

    use super::*;

    #[test]
    fn parts_fit_the_backend_and_end_in_a_large_one() {
        for (size, limit) in [
            (5 << 30, 5 << 30),
            ((5 << 30) + 1, 5 << 30),
            (12 << 20, 11 << 20),
            ((12 << 20) + 12345, 11 << 20),
            (5 << 40, 5 << 30),
            (9_999 * (512 << 20) + 1, 5 << 30),
            (20 << 20, (5 << 20) + (1 << 16) + 2000),
        ] {
            let sizes = part_sizes(size, limit).unwrap();
            assert_eq!(sizes.iter().sum::<u64>(), size);
            assert!((1..=9_999).contains(&sizes.len()), "{size} {limit}");
            for part in sizes {
                assert!(part >= MIN_PART && segment_len(part) <= limit, "{size} {limit}: {part}");
            }
        }
    }

    #[test]
    fn what_fits_in_no_way_is_refused() {
        for (size, limit) in
            [(6 << 20, 5 << 20), (12 << 20, 6 << 20), (1 << 20, 1 << 10), (6 << 20, 0), (60 << 40, 5 << 30)]
        {
            assert_eq!(part_sizes(size, limit).unwrap_err().code(), &Code::EntityTooLarge, "{size} {limit}");
        }
    }
}
