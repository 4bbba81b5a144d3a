//! The backend's last part: the trailer, behind the client's last part where that is held.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Method};
use object_format::length::segment_len;

use super::behind::store_trailer;
use super::complete::Completion;
use crate::backend::{Response, Step};
use crate::error::{Error, Result};
use crate::info;
use crate::plan::multipart::{MIN_PART, PartRecord};
use crate::s3::checksum::content_md5;
use crate::uploads::{UploadState, no_such_upload};

/// Up to this many bytes, and where `limits.buffers` has room, the last part is put together in memory: a held one that its
/// size made so, and a trailer.
const IN_MEMORY: u64 = MIN_PART + (4 << 20);

/// Stores it as part `number`; the answer may be an error.
pub(super) async fn store(
    this: &Completion<'_>,
    state: &UploadState,
    number: u16,
    held: Option<&PartRecord>,
    trailer: Bytes,
) -> Result<Response> {
    let (target, backend) = (&this.target, this.target.backend);
    let Some(record) = held else { return store_trailer(target, this.at.id, number, trailer).await };
    let mut out = target.outgoing(Method::PUT);
    out = out.param("partNumber", number.to_string()).param("uploadId", this.at.id);
    let stored = state.held_part(backend, record.number, &record.salt).await?;
    // It stands as long as its upload.
    let mut stored = stored.ok_or_else(no_such_upload)?;
    let length = segment_len(record.size);
    if stored.content_length().is_some_and(|stored| stored != length) {
        return Err(Error::tampered("a held part of another length"));
    }
    let total = length + trailer.len() as u64;
    let room = if total <= IN_MEMORY { this.services.budget.try_take(total) } else { None };
    if let Some(_room) = room {
        let mut whole = BytesMut::new();
        while let Some(piece) = stored.body.chunk().await? {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > length {
                return Err(Error::tampered("a held part of another length"));
            }
        }
        if whole.len() as u64 != length {
            return Err(info::unexpected("a held part that ends early"));
        }
        whole.extend_from_slice(&trailer);
        let whole = whole.freeze();
        out.headers.insert(HeaderName::from_static("content-md5"), content_md5(&whole));
        return backend.call(target.caller, out, whole).await;
    }
    let mut upload = backend.upload(target.caller, out, total).await?;
    loop {
        let piece = match upload.drive(stored.body.chunk()).await? {
            Step::Done(piece) => piece?,
            Step::Answered(response) => return Ok(response),
        };
        let Some(piece) = piece else { break };
        if let Step::Answered(response) = upload.send(piece).await? {
            return Ok(response);
        }
    }
    upload.finish(trailer).await
}
