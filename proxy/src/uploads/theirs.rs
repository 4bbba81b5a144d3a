//! The uploads that the storage itself has in a bucket, page by page and in its own order. Storage differs in where it says
//! that the next page begins, and some does not take its own word for it.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::error::{Code, Error, Result};
use crate::s3::name::BucketName;
use crate::s3::xml::{BackendUpload, BackendUploads, UploadMarker, parse_backend_uploads};

/// Largest page: 10 000 of them, under long keys.
const MAX_PAGE: usize = 32 << 20;

/// The pages, in turn.
pub struct TheirUploads<'a> {
    backend: &'a Backend,
    caller: &'a Caller,
    bucket: &'a BucketName,
    headers: HeaderMap,
    next: Next,
    /// Where pages began: a storage that names one twice would be listed forever.
    seen: HashSet<UploadMarker>,
    /// The uploads under the last key of the page before, which the next page may begin with once more.
    given: HashSet<(Vec<u8>, String)>,
}

enum Next {
    First,
    /// Behind this; and behind this key, where it does not take that.
    Behind(UploadMarker, Option<Vec<u8>>),
    Ended,
}

impl<'a> TheirUploads<'a> {
    /// Those of a bucket, for `caller`. `headers` go along with each request.
    pub fn of(backend: &'a Backend, caller: &'a Caller, bucket: &'a BucketName, headers: HeaderMap) -> Self {
        let (seen, given) = (HashSet::new(), HashSet::new());
        Self { backend, caller, bucket, headers, next: Next::First, seen, given }
    }

    /// The next page; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<BackendUpload>>> {
        let body = match std::mem::replace(&mut self.next, Next::Ended) {
            Next::Ended => return Ok(None),
            Next::First => self.fetch(&UploadMarker::default()).await?,
            Next::Behind(marker, before) => match (self.fetch(&marker).await, before) {
                (Err(error), Some(key)) if *error.code() == Code::InvalidArgument => {
                    self.fetch(&UploadMarker { key, id: String::new() }).await?
                }
                (fetched, _) => fetched?,
            },
        };
        let BackendUploads { mut uploads, next } = parse_backend_uploads(&body)?;
        let name = |upload: &BackendUpload| (upload.key.clone(), upload.id.clone());
        let last = uploads.last().map(|upload| upload.key.clone());
        let (ends, before): (Vec<_>, Vec<_>) =
            uploads.iter().partition(|upload| Some(&upload.key) == last.as_ref());
        if let Some(next) = next {
            if !self.seen.insert(next.clone()) {
                return Err(Error::backend(Code::BadGateway, "The storage lists uploads in circles."));
            }
            self.next = Next::Behind(next, before.last().map(|upload| upload.key.clone()));
        }
        let given = std::mem::replace(&mut self.given, ends.into_iter().map(name).collect());
        uploads.retain(|upload| !given.contains(&name(upload)));
        Ok(Some(uploads))
    }

    async fn fetch(&self, behind: &UploadMarker) -> Result<Bytes> {
        let mut out = Outgoing::bucket(Method::GET, self.bucket).flag("uploads");
        // Some storage says that names are encoded, and gives them as they are.
        if self.backend.profile().lists_uploads {
            out = out.param("encoding-type", "url");
        }
        if !behind.key.is_empty() {
            out = out.param("key-marker", &*behind.key);
        }
        if !behind.id.is_empty() {
            out = out.param("upload-id-marker", behind.id.as_str());
        }
        out.headers = self.headers.clone();
        let response = self.backend.call(self.caller, out, Bytes::new()).await?;
        if response.status != StatusCode::OK {
            return Err(error_from(response, &Names { bucket: Some(self.bucket), key: None }).await);
        }
        response.body.collect(MAX_PAGE).await
    }
}
