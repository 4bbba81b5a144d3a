//! A copy that the backend makes of sealed bytes, with the object's own key wrapped anew. Whoever asks for it has read the
//! source, holds the key, and says what headers the copy has.

use bytes::Bytes;
use http::{HeaderMap, Method};
use object_format::Envelope;

use super::ranges;
use crate::backend::{Names, error_from};
use crate::body;
use crate::error::{Code, Error, Result};
use crate::info::{Found, Target};
use crate::keys::random::SystemRandom;
use crate::ops::late;
use crate::ops::source::pins;
use crate::ops::write_key::WriteKey;
use crate::s3::xml::parse_backend_copy;
use crate::services::Services;

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

impl Rewrap<'_> {
    /// Makes it. `None`: a condition did not hold, so the source or the destination is another object by now, and nothing
    /// was changed.
    pub(crate) async fn make(&self) -> Result<Option<Copied>> {
        let envelope = self.envelope()?;
        let at_once = self.found.info.sealed_len <= self.destination.backend.config().limits.put;
        let made = if at_once {
            self.at_once(&envelope).await
        } else {
            Box::pin(ranges::copy(self, &envelope)).await
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

    /// Both buckets were there a moment ago, and a key that is missing is the source's.
    pub(super) fn names(&self) -> Names<'_> {
        Names { bucket: Some(self.destination.bucket), key: Some(self.source.key) }
    }
}
