//! ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads: the backend's own page with plaintext sizes and the ETags that
//! clients see (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).

mod look;
mod shown;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::Route;
use crate::auth::Verified;
use crate::backend::{Names, Outgoing, Response, error_from};
use crate::error::Result;
use crate::exchange::{Head, Outcome, Reply};
use crate::plan::answer;
use crate::s3::S3Request;
use crate::s3::listing::{Edit, EntryKind, Listing};
use crate::s3::operation::Operation;
use crate::s3::query::Query;
use crate::services::Services;
use shown::Shown;

/// Largest page that is taken from a backend: 10 000 long keys with everything around them.
const MAX_PAGE: usize = 64 << 20;
/// Pages of our own state that are skipped before a page with nothing else is given as it is.
const MAX_SKIPS: usize = 8;

/// Answers the three listings of objects, and that of multipart uploads, which show nothing but their names.
pub async fn list(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let mut query = request.backend_query();
    // Which S3 takes for none.
    query.retain(|p| p.name != b"max-keys" || !p.value.as_deref().unwrap_or_default().is_empty());
    let mut skipped = false;
    for _ in 0..MAX_SKIPS {
        let response = fetch(&route, request, query.clone()).await?;
        let headers = answer::from_backend(&response.headers);
        let document = response.body.collect(MAX_PAGE).await?;
        let listing = Listing::parse(&document)?;
        if let Some(marker) = past_hidden(&route, request, &listing) {
            query.set("marker", marker);
            skipped = true;
            continue;
        }
        let edits = edits(services, request, &route, &listing).await?;
        // A client looks for the marker that it sent, and not for the one that skipped our own names.
        let marker = skipped.then(|| request.query.get("marker").unwrap_or_default());
        let body = listing.rewrite(&edits, marker);
        return Ok(Outcome::Reply(Reply::xml(Head { status: StatusCode::OK, headers }, body)));
    }
    Err(look::slow_down("pages of the system area did not end"))
}

async fn fetch(route: &Route<'_>, request: &S3Request, query: Query) -> Result<Response> {
    let mut out = Outgoing::bucket(Method::GET, route.bucket);
    out.query = query;
    out.headers = forwarded(request);
    let response = route.backend.call(&route.caller, out, Bytes::new()).await?;
    if response.status == StatusCode::OK {
        return Ok(response);
    }
    Err(error_from(response, &Names { bucket: Some(route.bucket), key: None }).await)
}

/// What of a request's headers goes along with a listing.
pub(super) fn forwarded(request: &S3Request) -> HeaderMap {
    const FORWARDED: [HeaderName; 4] = [
        ORIGIN,
        HeaderName::from_static("x-amz-expected-bucket-owner"),
        HeaderName::from_static("x-amz-optional-object-attributes"),
        HeaderName::from_static("x-amz-request-payer"),
    ];
    let sent = |name: HeaderName| Some((name.clone(), request.headers.get(name)?.clone()));
    FORWARDED.into_iter().filter_map(sent).collect()
}

/// Where to go on, if this page holds nothing but our own state and its client would not know: V1 without
/// `NextMarker` goes on from the last key of a page, and a page without keys has none.
fn past_hidden(route: &Route<'_>, request: &S3Request, listing: &Listing<'_>) -> Option<Vec<u8>> {
    let stuck = request.operation == Operation::ListObjects
        && listing.is_truncated
        && !listing.has_next
        && !listing.entries.is_empty()
        && listing.entries.iter().all(|entry| route.backend.is_hidden(route.bucket, Some(&entry.key)));
    // Our names are of `[A-Za-z0-9._/-]`, which all sort before a tilde.
    stuck.then(|| format!("{}~", route.backend.config().system.prefix).into_bytes())
}

/// What every entry shall show.
async fn edits(
    services: &Services,
    request: &Verified<S3Request>,
    route: &Route<'_>,
    listing: &Listing<'_>,
) -> Result<Vec<Edit>> {
    let mut edits = Vec::with_capacity(listing.entries.len());
    let mut open = Vec::new();
    for (at, entry) in listing.entries.iter().enumerate() {
        if route.backend.is_hidden(route.bucket, Some(&entry.key)) {
            edits.push(Edit::drop());
            continue;
        }
        edits.push(match entry.kind {
            EntryKind::Prefix | EntryKind::DeleteMarker | EntryKind::Upload => Edit::default(),
            EntryKind::Object | EntryKind::Version => match shown::decide(route.rule, entry) {
                Shown::Settled(edit) => edit,
                Shown::AsLookedUp => {
                    open.push(at);
                    Edit::default()
                }
            },
        });
    }
    // What one identity may read is no answer for a stranger.
    let cached = !request.identity().is_anonymous();
    for (at, info) in look::up(services, route, listing, open, cached).await? {
        let entry = &listing.entries[at];
        edits[at] = match info {
            Some(info) => shown::from_info(entry, &info),
            None => shown::arithmetic(entry),
        };
    }
    Ok(edits)
}
