//! ListMultipartUploads: the storage's own page where it was seen to make one as S3 does, else one made here of all the uploads
//! that it has (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>).

use http::{HeaderMap, StatusCode};

use crate::auth::Verified;
use crate::error::Result;
use crate::exchange::{Head, Outcome, Reply};
use crate::ops::{Route, list};
use crate::plan::uploads::{Asked, Selection};
use crate::s3::S3Request;
use crate::s3::xml::{UploadList, render_upload_list};
use crate::services::Services;
use crate::uploads::TheirUploads;

/// Answers ListMultipartUploads.
pub(super) async fn list_multipart_uploads(
    services: &Services,
    request: &Verified<S3Request>,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    if route.backend.profile().lists_uploads {
        return Box::pin(list::list(services, request)).await;
    }
    let asked = Asked::of(&request.query)?;
    let mut selection = Selection::of(asked.clone());
    let headers = list::forwarded(request);
    let mut pages = TheirUploads::of(route.backend, &route.caller, route.bucket, headers);
    while let Some(page) = pages.next().await? {
        for upload in page {
            if !route.backend.is_hidden(route.bucket, Some(&upload.key)) {
                selection.add(upload);
            }
        }
    }
    let page = selection.page();
    let document = render_upload_list(&UploadList {
        bucket: route.bucket.as_str(),
        url: asked.url,
        prefix: &asked.prefix,
        delimiter: &asked.delimiter,
        marker: &asked.marker,
        max_uploads: asked.max_uploads,
        next: page.next.as_ref(),
        uploads: &page.uploads.iter().collect::<Vec<_>>(),
        common_prefixes: &page.common_prefixes.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    });
    Ok(Outcome::Reply(Reply::xml(Head { status: StatusCode::OK, headers: HeaderMap::new() }, document)))
}
