//! Looks objects of one page up: concurrently, bounded, within a deadline. A failure that may pass fails the page,
//! since a wrong size or tag makes sync tools copy; one that lasts (archived, deleted meanwhile, refused, tampered with,
//! its key gone) leaves the line to arithmetic.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::error::{Blame, Code, Error, Result};
use crate::info::{self, Info, Need};
use crate::ops::Route;
use crate::s3::listing::{Entry, Listing};
use crate::s3::name::ObjectKey;
use crate::services::Services;

/// Reads in flight for one page.
const CONCURRENT: usize = 32;
/// Time for one page, below the minute after which clients and balancers give up.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pauses before a read is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Info of the entries `wanted` (indices); `None` of those that cannot be opened for good.
pub(super) async fn up(
    services: &Services,
    route: &Route<'_>,
    listing: &Listing<'_>,
    wanted: Vec<usize>,
    cached: bool,
) -> Result<Vec<(usize, Option<Arc<Info>>)>> {
    let mut found = Vec::with_capacity(wanted.len());
    let mut absent = Vec::new();
    for at in wanted {
        let entry = &listing.entries[at];
        if let Some(info) = known(services, route, entry).filter(|_| cached) {
            found.push((at, Some(info)));
        } else if let Ok(key) = ObjectKey::parse(&*entry.key) {
            absent.push((at, key));
        } else {
            // A name that no request could spell has no object that could be read.
            found.push((at, None));
        }
    }
    if absent.is_empty() {
        return Ok(found);
    }
    let reads = stream::iter(absent)
        .map(|(at, key)| async move {
            let version = listing.entries[at].version_id.as_deref();
            read(services, route, &key, version).await.map(|info| (at, info))
        })
        .buffer_unordered(CONCURRENT)
        .try_collect::<Vec<_>>();
    let read = tokio::time::timeout(DEADLINE, reads)
        .await
        .map_err(|_| slow_down("the page's objects were not read in time"))??;
    found.extend(read);
    Ok(found)
}

fn known(services: &Services, route: &Route<'_>, entry: &Entry<'_>) -> Option<Arc<Info>> {
    let version = entry.version_id.as_deref();
    let (etag, modified) = (entry.etag.as_deref()?, entry.last_modified.as_deref()?);
    services.info.get_listed(route.bucket, &entry.key, version, etag, modified, entry.size?)
}

/// `None`: it cannot be opened, and trying again would not change that.
async fn read(
    services: &Services,
    route: &Route<'_>,
    key: &ObjectKey,
    version: Option<&str>,
) -> Result<Option<Arc<Info>>> {
    let target = route.target(key, version);
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match info::lookup(services, &target, Need::Footer).await {
            Ok(info) => return Ok(Some(info)),
            Err(error) => error,
        };
        if error.is_lasting() {
            if error.blame() == Blame::Tampered {
                services.metrics.tamper_alarm().raise();
                tracing::error!(bucket = %route.bucket, key = %key.to_lossy(), %error, alert = "tampered", "stored object refused in a listing");
            } else {
                tracing::debug!(bucket = %route.bucket, %error, "an object is listed by arithmetic");
            }
            return Ok(None);
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(slow_down(&error.to_string())),
        }
    }
}

/// The page's failure.
pub(super) fn slow_down(cause: &str) -> Error {
    Error::backend(
        Code::SlowDown,
        "The objects of this page could not all be read just now. Please reduce your request rate and try again.",
    )
    .because(cause.to_owned())
}
