//! ListParts: the newest attempt at each part whose bytes stand, held or on the backend, as clients see it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>).

use http::{HeaderMap, StatusCode};
use time::OffsetDateTime;
use time::macros::format_description;

use super::complete::backend_parts;
use super::upload;
use crate::auth::Verified;
use crate::error::{Code, Error, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::ops::Route;
use crate::plan::multipart::{PartRecord, newest};
use crate::s3::S3Request;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::name::encode_path;
use crate::s3::query::{self, Query};
use crate::s3::xml::{PartList, ShownPart, render_part_list};
use crate::services::Services;

/// Most parts of a page.
const MOST: u16 = 1000;

/// Answers ListParts.
pub(super) async fn list_parts(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let marker = number(&request.query, "part-number-marker")?.unwrap_or(0);
    let max_parts = number(&request.query, "max-parts")?.unwrap_or(MOST).min(MOST);
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

/// When a part was stored, as clients see it.
pub(super) fn time(part: &PartRecord) -> Result<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(part.at_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .ok_or_else(|| Error::internal("a part of no time"))
}

/// A number of the query; larger ones than any part has mean the same as the highest.
fn number(query: &Query, name: &'static str) -> Result<Option<u16>> {
    let Some(text) = query.get_str(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let value: u32 = query::number(text).ok_or_else(|| {
        Error::client(
            Code::InvalidArgument,
            format!("Provided {name} not an integer or within integer range"),
        )
        .field("ArgumentName", name)
        .field("ArgumentValue", text)
    })?;
    Ok(Some(u16::try_from(value).unwrap_or(u16::MAX)))
}
