//! Uploads that the storage itself has, and that nothing in the system area belongs to: made past the proxy, or their
//! state was lost. Nobody can tell which, so they are shown to the operator and never ended here.

use bytes::Bytes;
use http::{Method, StatusCode};
use time::OffsetDateTime;

use super::UploadRef;
use super::folder::Folder;
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::error::{Code, Error, Result};
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::xml::{BackendUpload, parse_backend_uploads};

/// Largest page of uploads: 1 000 of them, under long keys.
const MAX_PAGE: usize = 8 << 20;

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
    let mut marker: Option<(Vec<u8>, String)> = None;
    loop {
        let mut out = Outgoing::bucket(Method::GET, bucket).flag("uploads").param("encoding-type", "url");
        if let Some((key, id)) = &marker {
            out.query.push("key-marker", key.as_slice());
            out.query.push("upload-id-marker", id.as_str());
        }
        let response = backend.call(&Caller::Own, out, Bytes::new()).await?;
        if response.status != StatusCode::OK {
            return Err(error_from(response, &Names { bucket: Some(bucket), key: None }).await);
        }
        let page = parse_backend_uploads(&response.body.collect(MAX_PAGE).await?)?;
        for BackendUpload { key, id, initiated } in page.uploads {
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
        if page.next.is_some() && page.next == marker {
            return Err(Error::backend(Code::BadGateway, "The storage lists uploads in circles."));
        }
        match page.next {
            Some(next) => marker = Some(next),
            None => return Ok(()),
        }
    }
}
