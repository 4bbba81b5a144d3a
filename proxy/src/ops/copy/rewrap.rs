//! A copy that the backend makes of sealed bytes, with the object's own key wrapped anew. Whoever asks for it has read the
//! source, holds the key, and says what headers the copy has.

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, Method};
use object_format::Envelope;

use super::ranges;
use crate::backend::{Names, error_from};
use crate::body;
use crate::error::{Code, Error, Result};
use crate::info::{self, Found, Info, Target};
use crate::keys::random::SystemRandom;
use crate::ops::late;
use crate::ops::put::Writing;
use crate::ops::source::{is_version, pins};
use crate::ops::write_key::WriteKey;
use crate::s3::checksum::content_md5;
use crate::s3::etag;
use crate::s3::xml::parse_backend_copy;
use crate::services::Services;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// One copy to be made.
pub(crate) struct Rewrap<'a> {
    /// Everything that runs.
    pub(crate) services: &'a Services,
    /// A sealed object, on the destination's backend.
    pub(crate) source: Target<'a>,
    /// What was found there; its envelope was opened.
    pub(crate) found: &'a Found,
    /// Where the copy goes; the source itself where it only gets another key.
    pub(crate) destination: Target<'a>,
    /// What wraps the object's own key from now on.
    pub(crate) key: &'a WriteKey,
    /// Everything that the copy has beside its bytes and its envelope, as `plan::copy` puts it together.
    pub(crate) headers: HeaderMap,
    /// Conditions on the destination, on the backend's ETags.
    pub(crate) conditions: HeaderMap,
}

/// A copy that was made.
pub(crate) struct Copied {
    /// Headers of the backend's answer.
    pub(crate) headers: HeaderMap,
    /// The backend's ETag of the copy, unquoted.
    pub(crate) backend_etag: String,
    /// As the backend writes it, if it tells.
    pub(crate) last_modified: Option<String>,
}

/// How the backend makes a copy of sealed bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// By CopyObject.
    AtOnce,
    /// As a multipart upload whose parts it copies: where there are more bytes than it copies at once, and onto an object
    /// itself, which other storage than S3 changes in place. The upload's object replaces the old one as a whole.
    Parts,
    /// By PutObject: of an object that is copied onto itself and has no bytes.
    Empty,
}

impl Way {
    fn of(source: &Target<'_>, info: &Info, destination: &Target<'_>) -> Self {
        let profile = destination.backend.profile();
        let in_place = is_itself(source, destination) && !profile.whole_self_copies;
        if in_place && info.sealed_len == 0 {
            Self::Empty
        } else if info.sealed_len > destination.backend.config().limits.put
            || (in_place && profile.part_copies)
        {
            Self::Parts
        } else {
            Self::AtOnce
        }
    }
}

fn is_itself(source: &Target<'_>, destination: &Target<'_>) -> bool {
    source.bucket == destination.bucket && source.key == destination.key
}

/// How a copy comes into being, for its conditions.
pub(super) fn writing(source: &Target<'_>, info: &Info, destination: &Target<'_>) -> Writing {
    match Way::of(source, info, destination) {
        Way::AtOnce => Writing::Copy,
        Way::Parts => Writing::Complete,
        Way::Empty => Writing::Put,
    }
}

/// Whether the backend copies this very object or nothing, and never mixes it with one that another writer stores
/// meanwhile. Elsewhere another object's bytes could get this one's key.
pub(crate) fn is_safe(source: &Target<'_>, found: &Found, destination: &Target<'_>) -> bool {
    let profile = destination.backend.profile();
    let (version, itself) = (is_version(source, found), is_itself(source, destination));
    match Way::of(source, &found.info, destination) {
        Way::AtOnce => {
            profile.copies
                && (profile.copy_source_if_match || version)
                && (profile.whole_self_copies || !itself)
        }
        // What the upload replaces is what its parts were copied of.
        Way::Parts => {
            let replaces = itself && source.version.is_none() && profile.complete_if_match;
            profile.part_copies && (profile.part_copy_source_if_match || version || replaces)
        }
        Way::Empty => profile.put_if_match,
    }
}

impl Rewrap<'_> {
    /// Makes it. `None`: a condition did not hold, so the source or the destination is another object by now, and nothing
    /// was changed.
    pub(crate) async fn make(&self) -> Result<Option<Copied>> {
        let envelope = self.envelope()?;
        let made = match Way::of(&self.source, &self.found.info, &self.destination) {
            Way::AtOnce => self.at_once(&envelope).await,
            Way::Parts => Box::pin(ranges::copy(self, &envelope)).await,
            Way::Empty => Box::pin(self.empty(&envelope)).await,
        };
        match made {
            Ok(copied) => Ok(Some(copied)),
            Err(error) if *error.code() == Code::PreconditionFailed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object's own key and salt under the new key, bound to the new place.
    fn envelope(&self) -> Result<Envelope> {
        let opened = self.found.opened.as_ref();
        let (_, secrets) =
            opened.ok_or_else(|| Error::internal("a re-wrap of an object that is not open"))?;
        let header = self.key.envelope_header(secrets.kind());
        let name = self.destination.object_name();
        Envelope::rewrap(secrets, header, self.key.key_ref(), &name, &mut SystemRandom)
            .map_err(|e| Error::internal(format!("sealing an envelope: {e}")))
    }

    async fn at_once(&self, envelope: &Envelope) -> Result<Copied> {
        let mut out = self.destination.outgoing(Method::PUT);
        out.headers.extend(self.headers.clone());
        out.headers.extend(self.conditions.clone());
        out.headers.extend(pins(&self.source, &self.found.info)?);
        body::carry_envelope(envelope, &mut out)?;
        let response = self.destination.backend.call(self.destination.caller, out, Bytes::new()).await?;
        if !response.is_success() {
            return Err(error_from(response, &self.names()).await);
        }
        let (headers, document) = late::document(response, &self.names()).await?;
        let copy = parse_backend_copy(&document)?;
        Ok(Copied { headers, backend_etag: copy.etag, last_modified: copy.last_modified })
    }

    async fn empty(&self, envelope: &Envelope) -> Result<Copied> {
        let mut out = self.destination.outgoing(Method::PUT);
        out.headers.extend(ranges::headers(self).await?);
        out.headers.extend(self.conditions.clone());
        // A bucket with Object Lock wants a digest, and elsewhere it does no harm.
        out.headers.insert(CONTENT_MD5, content_md5(b""));
        body::carry_envelope(envelope, &mut out)?;
        let mut response = self.destination.backend.call(self.destination.caller, out, Bytes::new()).await?;
        if !response.is_success() {
            return Err(error_from(response, &self.names()).await);
        }
        let etag = response.headers.remove(ETAG);
        let etag = etag.as_ref().and_then(|value| value.to_str().ok()).map(etag::unquote);
        let etag = etag.ok_or_else(|| info::unexpected("no ETag of an object that it has just stored"))?;
        Ok(Copied { backend_etag: etag.to_owned(), headers: response.headers, last_modified: None })
    }

    /// Whether the copy takes the place of what it is made of.
    pub(super) fn replaces_its_source(&self) -> bool {
        is_itself(&self.source, &self.destination) && self.source.version.is_none()
    }

    /// Both buckets were there a moment ago, and a key that is missing is the source's.
    pub(super) fn names(&self) -> Names<'_> {
        Names { bucket: Some(self.destination.bucket), key: Some(self.source.key) }
    }
}
