//! Looks at the object that stands at a key for one question alone: whether an upload became it, or whether it is still what
//! was found there.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use object_format::{Envelope, Trailer, TrailerKey, TrailerRead, open_multipart_trailer};

use super::open::parsed;
use super::read::{Found, Looks, Need, Target};
use super::tail::{End, backend_etag, pinned_tail, tail_of};
use crate::backend::error_from;
use crate::error::{Code, Error, Result};
use crate::s3::headers::ENVELOPE;

/// An object that was made by the upload.
pub struct Standing {
    /// Its opened trailer.
    pub trailer: Trailer,
    /// The backend's ETag, unquoted.
    pub backend_etag: String,
    /// The backend's headers.
    pub headers: HeaderMap,
}

/// What stands at the key of an upload.
pub enum Stands {
    /// What the upload became.
    Made(Box<Standing>),
    /// An object with the upload's envelope, whose trailer does not open: the storage put other bytes together than any
    /// replica told it to.
    Spoiled,
    /// Another object.
    Other,
}

/// Looks at the object there with the key and the envelope of an upload.
///
/// # Errors
/// NoSuchKey where there is none.
pub async fn standing(target: &Target<'_>, key: &TrailerKey, envelope: &Envelope) -> Result<Stands> {
    let mut looks = Looks::default();
    loop {
        match standing_once(target, key, envelope).await {
            Ok(Stands::Spoiled) if looks.another(true) => {}
            Err(error) if looks.another_after(&error) => {}
            found => return found,
        }
    }
}

async fn standing_once(target: &Target<'_>, key: &TrailerKey, envelope: &Envelope) -> Result<Stands> {
    let End::Read(tail) = tail_of(target, Need::Tail.bytes()).await? else { return Ok(Stands::Other) };
    let etag = backend_etag(&tail.headers)?;
    let trailer = match open_multipart_trailer(key, &tail.bytes, tail.total) {
        Ok(TrailerRead::NeedMore { tail_bytes }) => {
            let more = pinned_tail(target, tail_bytes, tail.total, &etag).await?;
            open_multipart_trailer(key, &more, tail.total)
        }
        other => other,
    };
    Ok(match trailer {
        Ok(TrailerRead::Ready(trailer)) => {
            Stands::Made(Box::new(Standing { trailer, backend_etag: etag, headers: tail.headers }))
        }
        // No other object has this envelope.
        Ok(TrailerRead::NeedMore { .. }) | Err(_) => match parsed(&tail.headers) {
            Ok(Some(found)) if found.to_value() == envelope.to_value() => Stands::Spoiled,
            _ => Stands::Other,
        },
    })
}

/// Right before something that was made of an object replaces it: whether that is still what was found, under the envelope that
/// it had then. A copy onto itself, with other metadata or another key, leaves its ETag as it is, and no condition on that keeps
/// the newer one from being lost.
///
/// # Errors
/// PreconditionFailed where it is not.
pub(crate) async fn check_unchanged(target: &Target<'_>, found: &Found) -> Result<()> {
    let response = target.backend.call(target.caller, target.outgoing(Method::HEAD), Bytes::new()).await?;
    let same = match response.status {
        StatusCode::OK => {
            let now = &response.headers;
            backend_etag(now)? == found.info.backend_etag && now.get(ENVELOPE) == found.headers.get(ENVELOPE)
        }
        StatusCode::NOT_FOUND => false,
        _ => return Err(error_from(response, &target.names()).await),
    };
    if same {
        return Ok(());
    }
    Err(Error::client(Code::PreconditionFailed, "The object was changed while it was copied onto itself."))
}
