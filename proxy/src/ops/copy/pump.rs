//! The pump: a stored object's plaintext, sealed anew into another object in constant memory. For what no copy of ciphertext can
//! do: sources that are not encrypted or lie on another backend, and checksums that were never sealed.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use object_format::length::sealed_len;
use object_format::{Kind, SealedFacts, Trailer};

use super::parts;
use crate::backend::error_from;
use crate::body::{self, Learn, ObjectSealing, Sealing, StoredBody};
use crate::error::{Error, Result};
use crate::info::{self, Found, Target};
use crate::ops::fetch;
use crate::ops::put::Writing;
use crate::ops::tags::say_tags;
use crate::ops::write_key::WriteKey;
use crate::plan::answer;
use crate::plan::checksum::ShownChecksum;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::services::Services;

const METADATA_DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");

/// What is to be pumped where.
#[derive(Clone, Copy)]
pub struct Pump<'a> {
    /// The shared parts.
    pub services: &'a Services,
    /// The source, as its caller may read it.
    pub from: &'a Target<'a>,
    /// What a fresh look found there.
    pub found: &'a Found,
    /// What it will be.
    pub to: &'a Target<'a>,
    /// The key that it will be under.
    pub key: &'a WriteKey,
    /// Whether a source that came in parts stays one, with its ETag and checksums: a copy in its own place.
    pub keeps_parts: bool,
    /// The checksum that is asked for; else one of the source's algorithm, and CRC64NVME where it has none.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// An object that was stored.
#[derive(Debug)]
pub struct Pumped {
    /// Its ETag as clients see it, unquoted.
    pub etag: String,
    /// Its checksum as clients see it.
    pub checksum: Option<ShownChecksum>,
    /// What the backend's answer may show.
    pub headers: HeaderMap,
}

/// Stores the whole source with `headers`, which are those of a copy that the backend would make: metadata, directives, and
/// conditions on the destination in the backend's terms. It gets the ETag of an object that was put at once, whatever parts the
/// source had, as S3's copies do, unless they are kept.
///
/// # Errors
/// SlowDown where the source is another object by now. Nothing is stored of a source that does not authenticate to its end.
pub async fn pump_object(pump: &Pump<'_>, mut headers: HeaderMap) -> Result<Pumped> {
    // The metadata is all there.
    headers.remove(METADATA_DIRECTIVE);
    say_tags(&mut headers, pump.from, &pump.found.headers).await?;
    let size = pump.found.info.plain_size;
    let reader = fetch::read(pump.services, pump.from, pump.found, &(0..size)).await?;
    let sealing = pump.sealing();
    let parts = pump.kept_parts();
    let stored = if let Some(trailer) = parts {
        let body = StoredBody::new(reader, Learn::default());
        Box::pin(parts::same_parts(pump, body, headers, trailer)).await
    } else {
        let body = StoredBody::new(reader, sealing.learn());
        match pump.fits() {
            true => pump.at_once(body, headers, &sealing).await,
            false => Box::pin(parts::in_parts(pump, body, headers, sealing.etag)).await,
        }
    };
    // Also after a failure: the backend may hold the new object although its answer was lost.
    pump.services.info.forget(pump.to.bucket, pump.to.key, None);
    let Stored { facts, headers, backend_etag } = stored?;
    let count = parts.and_then(|trailer| u16::try_from(trailer.parts.len()).ok());
    Ok(Pumped {
        etag: info::sealed_etag(sealing.etag, &facts.etag, &backend_etag),
        checksum: facts.checksum.as_ref().and_then(|fact| ShownChecksum::of_fact(fact, count)),
        headers,
    })
}

/// What the footer says, what the backend's answer may show, and its ETag.
pub(super) struct Stored {
    pub(super) facts: SealedFacts,
    pub(super) headers: HeaderMap,
    pub(super) backend_etag: String,
}

impl Pump<'_> {
    /// How its object comes into being, for its conditions.
    pub(super) fn writing(&self) -> Writing {
        if self.kept_parts().is_none() && self.fits() { Writing::Put } else { Writing::Complete }
    }

    /// Of a source that came in parts and is to stay so.
    fn kept_parts(&self) -> Option<&Trailer> {
        self.found.info.trailer().filter(|trailer| self.keeps_parts && trailer.kind == Kind::Multipart)
    }

    /// Whether the backend takes it at once.
    fn fits(&self) -> bool {
        sealed_len(self.found.info.plain_size) <= self.to.backend.config().limits.put
    }

    fn sealing(&self) -> ObjectSealing<'_> {
        ObjectSealing {
            header: self.key.envelope_header(Kind::Single),
            key: self.key.key_ref(),
            name: self.to.object_name(),
            etag: self.key.etag_policy(self.to.rule),
            checksum: self.checksum.or_else(|| self.sources_algorithm()),
            buffer: self.services.config.limits.buffer,
        }
    }

    fn sources_algorithm(&self) -> Option<ChecksumAlgorithm> {
        let fact = self.found.info.end().facts()?.checksum.as_ref()?;
        ChecksumAlgorithm::from_id(fact.algorithm)
    }

    async fn at_once(
        &self,
        body: StoredBody,
        headers: HeaderMap,
        sealing: &ObjectSealing<'_>,
    ) -> Result<Stored> {
        let (to, budget) = (self.to, &self.services.budget);
        let mut out = to.outgoing(Method::PUT);
        out.headers.extend(headers);
        let stored = body::store(body, budget, to.backend, to.caller, out, sealing).await?;
        if stored.response.status != StatusCode::OK {
            return Err(error_from(stored.response, &to.names()).await);
        }
        let (facts, ()) = stored.sealed.ok_or_else(|| Error::internal("a stored object without facts"))?;
        let headers = &stored.response.headers;
        Ok(Stored {
            facts: body::sealed_facts(&facts, sealing.etag),
            headers: answer::from_backend(headers),
            backend_etag: info::backend_etag(headers)?,
        })
    }
}
