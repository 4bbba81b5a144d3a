//! Looks at the object that stands at a key with the trailer key of an upload alone: whether that upload became it.

use object_format::{Trailer, TrailerKey, TrailerRead, open_multipart_trailer};

use super::read::{Need, Target};
use super::tail::{End, backend_etag, pinned_tail, tail_of};
use crate::error::Result;

/// An object that was made by the upload.
pub struct Standing {
    /// Its opened trailer.
    pub trailer: Trailer,
    /// The backend's ETag, unquoted.
    pub backend_etag: String,
}

/// The object there, if its trailer opens with `key`: another object's does not.
pub async fn standing(target: &Target<'_>, key: &TrailerKey) -> Result<Option<Standing>> {
    let End::Read(tail) = tail_of(target, Need::Tail.bytes()).await? else { return Ok(None) };
    let etag = backend_etag(&tail.headers)?;
    let trailer = match open_multipart_trailer(key, &tail.bytes, tail.total) {
        Ok(TrailerRead::NeedMore { tail_bytes }) => {
            let more = pinned_tail(target, tail_bytes, tail.total, &etag).await?;
            open_multipart_trailer(key, &more, tail.total)
        }
        other => other,
    };
    Ok(match trailer {
        Ok(TrailerRead::Ready(trailer)) => Some(Standing { trailer, backend_etag: etag }),
        Ok(TrailerRead::NeedMore { .. }) | Err(_) => None,
    })
}
