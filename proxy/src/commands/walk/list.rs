//! The pages of a walk: a listing of one bucket under the backend's own keys, without what is the proxy's own.

use bytes::Bytes;
use http::Method;

use super::{Listed, Place};
use crate::backend::{Backend, Caller, Names, Outgoing, error_from};
use crate::error::{Error, Result};
use crate::info;
use crate::s3::listing::{EntryKind, Listing};
use crate::s3::name::ObjectKey;

/// Pages of 1 000 long keys with everything around them.
const MAX_PAGE: usize = 16 << 20;

/// Some objects in the order of the listing.
pub(super) struct Page {
    pub(super) objects: Vec<Listed>,
    /// The key behind which the next page begins; none at the end.
    pub(super) next: Option<Vec<u8>>,
}

/// The objects behind `after`. A page goes on from a key and not from a token: one of those would not outlive a restart.
pub(super) async fn page(backend: &Backend, place: &Place, after: Option<&[u8]>) -> Result<Page> {
    let mut out = Outgoing::bucket(Method::GET, &place.bucket)
        .param("list-type", "2")
        .param("encoding-type", "url")
        .param("prefix", place.prefix.clone());
    if let Some(after) = after {
        out = out.param("start-after", after);
    }
    let response = backend.call(&Caller::Own, out, Bytes::new()).await?;
    if !response.is_success() {
        return Err(error_from(response, &Names { bucket: Some(&place.bucket), key: None }).await);
    }
    let document = response.body.collect(MAX_PAGE).await?;
    let listing = Listing::parse(&document)?;
    let mut objects = Vec::with_capacity(listing.entries.len());
    let mut last = None;
    for entry in &listing.entries {
        if entry.kind != EntryKind::Object {
            continue;
        }
        last = Some(entry.key.to_vec());
        if !backend.is_hidden(&place.bucket, Some(&entry.key)) {
            objects.push(Listed { key: ObjectKey::parse(entry.key.to_vec())? });
        }
    }
    if !listing.is_truncated {
        return Ok(Page { objects, next: None });
    }
    match last {
        Some(last) if after.is_none_or(|after| last.as_slice() > after) => {
            Ok(Page { objects, next: Some(last) })
        }
        Some(_) | None => Err(circles()),
    }
}

fn circles() -> Error {
    info::unexpected("a truncated listing that does not go on in the order of the keys")
}
