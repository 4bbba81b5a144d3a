//! Uploads that the storage itself has, and that nothing in the system area belongs to: made past the proxy, or their
//! state was lost. Nobody can tell which, so they are shown to the operator and never ended here.

use http::HeaderMap;
use time::OffsetDateTime;

use super::folder::Folder;
use super::{TheirUploads, UploadRef};
use crate::backend::{Backend, Caller};
use crate::error::Result;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::xml::BackendUpload;

/// An upload of the storage without a state here.
#[derive(Clone, Debug)]
pub struct Stray {
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object that it would be.
    pub key: ObjectKey,
    /// The storage's upload id.
    pub id: String,
    /// When it was begun, as the storage writes it.
    pub initiated: String,
}

/// Tells of every stray upload in a bucket that was begun before `before`.
pub async fn strays(
    backend: &Backend,
    bucket: &BucketName,
    before: OffsetDateTime,
    mut tell: impl FnMut(Stray),
) -> Result<()> {
    let area = backend.system().await?;
    let mut pages = TheirUploads::of(backend, &Caller::Own, bucket, HeaderMap::new());
    while let Some(page) = pages.next().await? {
        for BackendUpload { key, id, initiated, .. } in page {
            let Ok(key) = ObjectKey::parse(key) else { continue };
            let old = initiated.at.is_some_and(|at| at < before);
            if !old || backend.is_hidden(bucket, Some(key.as_bytes())) {
                continue;
            }
            let folder = Folder::of(&UploadRef { bucket, key: &key, id: &id });
            if area.get(&folder.state()).await?.is_none() && area.get(&folder.own()).await?.is_none() {
                tell(Stray { bucket: bucket.clone(), key, id, initiated: initiated.text });
            }
        }
    }
    Ok(())
}
