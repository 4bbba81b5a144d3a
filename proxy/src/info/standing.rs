//! Looks at the object that stands at a key with the trailer key of an upload alone: whether that upload became it.

use http::HeaderMap;
use object_format::{Envelope, Trailer, TrailerKey, TrailerRead, open_multipart_trailer};

use super::open::parsed;
use super::read::{Need, Target};
use super::tail::{End, backend_etag, pinned_tail, tail_of};
use crate::error::Result;

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
