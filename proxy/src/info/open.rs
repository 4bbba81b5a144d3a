//! Opens the envelope that came with an answer of the backend: with the key that it names, or the customer's key that
//! the request brought. What is known of one without a key stands here too.

use std::sync::Arc;

use http::HeaderMap;
use object_format::length::plain_len;
use object_format::{Envelope, KeyRef, Kind, Mode, ObjectSecrets};

use super::read::Target;
use super::tail::last_modified;
use super::{Info, Nature, SealedEnd};
use crate::config::{BucketRule, EtagPolicy};
use crate::error::{Error, Result};
use crate::plan::customer::{self, CustomerKeyHeaders};
use crate::s3::etag;
use crate::s3::headers::ENVELOPE;
use crate::services::Services;

/// What an object's envelope may be opened with.
#[derive(Clone, Copy)]
pub enum Opens<'a> {
    /// A client reads it: with the customer's key that it sent, if any, which has to go with the object.
    Client(Option<&'a CustomerKeyHeaders>),
    /// Listings and conditions look at it: a customer's key is not needed, and none is taken.
    Facts,
}

impl Default for Opens<'_> {
    fn default() -> Self {
        Self::Client(None)
    }
}

/// Opens the envelope among `headers` with this request's key and rights, each time anew. `None`: there is none.
///
/// # Errors
/// InvalidRequest for a customer's key where none was used, or none where one was; AccessDenied for another one. All
/// before anything of the object is shown, its size included.
pub async fn open_envelope(
    services: &Services,
    target: &Target<'_>,
    headers: &HeaderMap,
) -> Result<Option<(Envelope, ObjectSecrets)>> {
    let given = match target.opens {
        Opens::Client(customer) => customer,
        Opens::Facts => None,
    };
    let Some(envelope) = parsed(headers)? else {
        return if given.is_some() { Err(customer::not_applicable()) } else { Ok(None) };
    };
    let name = target.object_name();
    let secrets = match (envelope.header().mode, given) {
        (Mode::SseC, None) => return Err(customer::required()),
        (Mode::SseC, Some(customer)) => envelope
            .open(customer.key_ref(), &name)
            .map_err(|_| customer::wrong_key(services.config.compat.ssec_wrong_key_status))?,
        (_, Some(_)) => return Err(customer::not_applicable()),
        (_, None) => open_with_own_key(services, target, &envelope).await?,
    };
    Ok(Some((envelope, secrets)))
}

/// Opens an envelope with the deployment's key that it names.
pub async fn open_with_own_key(
    services: &Services,
    target: &Target<'_>,
    envelope: &Envelope,
) -> Result<ObjectSecrets> {
    let key = services.keyring.for_read(envelope.header(), target.binding(), target.key.as_bytes()).await?;
    envelope
        .open(KeyRef::Bucket(key.key()), &target.object_name())
        .map_err(|e| Error::tampered(format!("envelope: {e}")))
}

/// What listings and conditions may know of an object under a customer's key: its size follows from its length, its ETag
/// is the backend's. Not authentic, as nothing is that a backend lists.
pub(super) fn without_key(
    services: &Services,
    target: &Target<'_>,
    headers: &HeaderMap,
    total: u64,
    backend_etag: &str,
) -> Result<Option<Arc<Info>>> {
    if !matches!(target.opens, Opens::Facts) {
        return Ok(None);
    }
    let Some(envelope) = parsed(headers)?.filter(|envelope| envelope.header().mode == Mode::SseC) else {
        return Ok(None);
    };
    let empty = (total == 0 && envelope.header().kind == Kind::Single).then_some(0);
    let plain_size = empty
        .or_else(|| plain_len(total))
        .ok_or_else(|| Error::tampered("a sealed object of no possible length"))?;
    let info = Arc::new(Info {
        nature: Nature::Sealed { commitment: *envelope.commitment(), end: SealedEnd::Unseen },
        plain_size,
        sealed_len: total,
        etag: etag::opaque(backend_etag),
        backend_etag: backend_etag.to_owned(),
        last_modified: last_modified(headers),
        whole: false,
    });
    services.info.put(target.bucket, target.key, target.version, info.clone());
    Ok(Some(info))
}

/// Under a customer's key an ETag is never an MD5.
pub(super) fn etag_policy(rule: &BucketRule, envelope: &Envelope) -> EtagPolicy {
    if envelope.header().mode == Mode::SseC { EtagPolicy::Opaque } else { rule.etag }
}

pub(super) fn parsed(headers: &HeaderMap) -> Result<Option<Envelope>> {
    let Some(value) = headers.get(ENVELOPE) else { return Ok(None) };
    value
        .to_str()
        .map_err(|_| Error::tampered("an envelope that is not text"))
        .and_then(|v| Envelope::parse(v).map_err(|e| Error::tampered(format!("envelope: {e}"))))
        .map(Some)
}
