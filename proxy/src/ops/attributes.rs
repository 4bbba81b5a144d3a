//! GetObjectAttributes: what is known of an object, without its bytes
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>).

use bytes::Bytes;
use http::header::IF_MATCH;
use http::{HeaderMap, Method, StatusCode};

use super::get::not_modified;
use super::{Route, version};
use crate::auth::Verified;
use crate::error::Result;
use crate::exchange::{Head, Outcome, Reply};
use crate::info::{self, Info, Nature, Need, Target};
use crate::plan::answer;
use crate::plan::attributes::Wanted;
use crate::plan::read;
use crate::plan::sse;
use crate::s3::S3Request;
use crate::s3::xml::render_attributes;
use crate::services::Services;

/// Answers GetObjectAttributes.
pub async fn get_object_attributes(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let wanted = Wanted::of(&request.headers)?;
    let customer = sse::for_read(&request.headers)?;
    let target = target.at(version(request)?).opening_with(customer.as_ref());
    let need = if wanted.parts { Need::Tail } else { Need::Footer };
    let found = Box::pin(info::read(services, &target, need)).await?;
    if read::is_unmodified(&request.headers, &found.info)? {
        return Err(not_modified(&found.info, &found.headers));
    }
    let legacy_parts = if wanted.parts && matches!(found.info.nature, Nature::Plain) {
        legacy_parts(&target, &found.info).await?
    } else {
        None
    };
    let attributes = wanted.from_info(&found.info, &found.headers, legacy_parts);
    let head = Head { status: StatusCode::OK, headers: shown(&found.headers) };
    Ok(Outcome::Reply(Reply::xml(head, render_attributes(&attributes))))
}

/// How many parts an object that is not encrypted has, if the backend tells.
async fn legacy_parts(target: &Target<'_>, info: &Info) -> Result<Option<u16>> {
    let mut out = target.outgoing(Method::HEAD);
    out.query.push("partNumber", "1");
    out.headers.insert(IF_MATCH, info::pin(&info.backend_etag)?);
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    if response.status == StatusCode::PRECONDITION_FAILED {
        return Err(info::changed());
    }
    let count = response.headers.get("x-amz-mp-parts-count").filter(|_| response.is_success());
    Ok(count.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()))
}

/// The headers that this answer has: none of the object's own metadata.
fn shown(backend: &HeaderMap) -> HeaderMap {
    const SHOWN: [&str; 5] =
        ["last-modified", "vary", "x-amz-delete-marker", "x-amz-request-charged", "x-amz-version-id"];
    let mut out = answer::from_backend(backend);
    let dropped: Vec<_> = out
        .keys()
        .filter(|name| !SHOWN.contains(&name.as_str()) && !name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in dropped {
        out.remove(name);
    }
    out
}
