//! Keys that the storage takes for other ones: nothing is stored under them, and nothing can be there. Asked before
//! every operation on a key, since the storage would run it on the other key's object.

use super::Route;
use crate::auth::Verified;
use crate::backend::{Backend, Fold};
use crate::error::{Code, Error, Result};
use crate::s3::S3Request;
use crate::s3::name::ObjectKey;
use crate::s3::operation::Operation;
use crate::services::Services;
use crate::uploads::no_such_upload;

/// Refuses an operation on a key that its storage does not keep apart from others.
///
/// # Errors
/// InvalidRequest where it would make an object; NoSuchUpload or NoSuchKey for every other; those of looking for the bucket.
pub(super) async fn refuse(services: &Services, request: &Verified<S3Request>) -> Result<()> {
    let Some(key) = &request.key else { return Ok(()) };
    if request.operation == Operation::Preflight || Fold::of(key.as_bytes()).next().is_none() {
        return Ok(());
    }
    let route = Route::of(services, request)?;
    let Some(fold) = route.backend.folds(key).await? else { return Ok(()) };
    route.exists(request).await?;
    Err(match request.operation {
        Operation::PutObject | Operation::CopyObject | Operation::CreateMultipartUpload => {
            let what = fold.what();
            Error::client(
                Code::InvalidRequest,
                format!(
                    "The storage behind the proxy takes this key for another one, because it has {what}. Nothing was \
                     stored: use a key without that."
                ),
            )
            .field("Key", key.to_lossy())
        }
        Operation::UploadPart
        | Operation::UploadPartCopy
        | Operation::CompleteMultipartUpload
        | Operation::AbortMultipartUpload
        | Operation::ListParts => no_such_upload(),
        _ => no_such_key(key),
    })
}

/// NoSuchKey where nothing can be stored under that key.
pub(super) async fn refuse_missing(backend: &Backend, key: &ObjectKey) -> Result<()> {
    backend.folds(key).await?.map_or(Ok(()), |_| Err(no_such_key(key)))
}

fn no_such_key(key: &ObjectKey) -> Error {
    Error::client(Code::NoSuchKey, "The specified key does not exist.").field("Key", key.to_lossy())
}
