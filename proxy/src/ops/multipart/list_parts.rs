//! ListParts: the newest attempt at each part whose bytes stand, held or on the backend, as clients see it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>).

use http::{HeaderMap, StatusCode};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::complete::backend_parts;
use super::upload;
use crate::auth::Verified;
use crate::error::{Error, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::ops::Route;
use crate::plan::multipart::{PartRecord, newest};
use crate::plan::uploads::page_number;
use crate::s3::S3Request;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::name::encode_path;
use crate::s3::xml::{PartList, ShownPart, render_part_list};
use crate::services::Services;

/// Most parts of a page.
const MOST: u16 = 1000;

/// Answers ListParts.
pub(super) async fn list_parts(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let marker = page_number(&request.query, "part-number-marker")?.unwrap_or(0);
    let max_parts = page_number(&request.query, "max-parts")?.unwrap_or(MOST).min(MOST);
    let at = upload(&target, request)?;
    let state = services.uploads.load(&services.keyring, route.backend, &at).await?;
    // Of an upload that has ended the backend says so.
    let (current, about) = backend_parts(&target, at.id).await?;
    let mut parts = newest(state.records().await?, &current);
    parts.retain(|part| part.number > marker);
    // A page of nothing leads nowhere: its marker would be the one that was asked with.
    let truncated = max_parts > 0 && parts.len() > usize::from(max_parts);
    parts.truncate(usize::from(max_parts));
    let shown = parts.iter().map(shown).collect::<Result<Vec<_>>>()?;
    let url = request.query.get_str("encoding-type") == Some("url");
    let checksums = state.checksums();
    let document = render_part_list(&PartList {
        bucket: target.bucket.as_str(),
        key: &if url { encode_path(target.key.as_bytes()) } else { target.key.to_lossy() },
        encoding_type: url.then_some("url"),
        upload_id: at.id,
        about: &about,
        marker,
        max_parts,
        truncated,
        checksum: checksums.explicit.then_some((checksums.algorithm, checksums.kind_name())),
        parts: &shown,
    });
    Ok(Outcome::Reply(Reply::xml(Head { status: StatusCode::OK, headers: HeaderMap::new() }, document)))
}

fn shown(part: &PartRecord) -> Result<ShownPart> {
    Ok(ShownPart {
        number: part.number,
        last_modified: time(part)?,
        etag: part.client_etag(),
        size: part.size,
        checksum: ChecksumAlgorithm::format_value(&part.checksum),
    })
}

/// When a part was stored, as clients see it: by the storage's clock where it has told, like the time of an object.
pub(super) fn time(part: &PartRecord) -> Result<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    part.kept
        .or_else(|| OffsetDateTime::from_unix_timestamp_nanos(i128::from(part.at_ms) * 1_000_000).ok())
        .map(|time| time.to_offset(UtcOffset::UTC))
        .and_then(|time| time.format(format).ok())
        .ok_or_else(|| Error::internal("a part of no time"))
}
