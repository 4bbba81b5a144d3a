//! One object that is not encrypted, sealed in its place with all that it has. Whoever writes it meanwhile wins.

use http::StatusCode;

use crate::error::Result;
use crate::info::{self, Nature, Need, Target};
use crate::ops::copy::seal_in_place;
use crate::ops::write_key::WriteKey;
use crate::plan::sse::BucketDefault;
use crate::services::Services;

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Done {
    /// It is encrypted now.
    Sealed,
    /// It was encrypted already, or is an empty folder's marker.
    Already,
    /// It would be encrypted: nothing was changed.
    Would,
    /// It was replaced meanwhile, by what has to be looked at.
    Replaced,
    /// It was deleted meanwhile.
    Gone,
}

/// Seals what stands at `target` under the bucket's default encryption.
///
/// # Errors
/// Those of reading and writing.
pub(super) async fn seal(services: &Services, target: &Target<'_>, dry_run: bool) -> Result<Done> {
    let found = match info::read(services, target, Need::Tail).await {
        Err(error) if error.code().status() == StatusCode::NOT_FOUND => return Ok(Done::Gone),
        other => other?,
    };
    if !matches!(found.info.nature, Nature::Plain) {
        return Ok(Done::Already);
    }
    if dry_run {
        return Ok(Done::Would);
    }
    let stored = services.rules.get(&services.keyring, target.backend, target.bucket).await?;
    let sse = BucketDefault::of(target.rule, stored.as_deref()).for_nothing_asked();
    let key = WriteKey::of_operator(services, target, sse).await?;
    match seal_in_place(services, target, &found, &key, 0).await {
        Ok(Some(_)) => Ok(Done::Sealed),
        Ok(None) => Ok(Done::Replaced),
        Err(error) if error.code().status() == StatusCode::NOT_FOUND => Ok(Done::Gone),
        Err(error) => Err(error),
    }
}
