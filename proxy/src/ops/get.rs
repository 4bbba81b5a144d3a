//! GetObject and HeadObject: info, plan, one pinned body request, opened towards the client
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{IF_MATCH, RANGE};
use http::{HeaderValue, Method, StatusCode};
use object_format::{Envelope, Layout, ObjectSecrets, Trailer};

mod legacy;
mod shown;

pub(super) use shown::not_modified;

use shown::answer_head;

use super::{Route, object_key, version};
use crate::auth::Verified;
use crate::backend::{Body, Response, error_from};
use crate::body::{self, Download, Window};
use crate::error::{Error, Result};
use crate::exchange::{Exchange, Outcome, Reply};
use crate::info::{self, Found, Info, Need, Target};
use crate::plan::read::{self, ReadBytes, ReadPlan};
use crate::plan::sse;
use crate::s3::S3Request;
use crate::s3::condition::ReadConditions;
use crate::services::Services;

/// Looks at an object at most this often before it gives up on one that is being replaced all the time.
const ATTEMPTS: usize = 3;

/// Answers HeadObject.
pub async fn head_object(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let key = object_key(&route, request)?;
    let customer = sse::for_read(&request.headers)?;
    let target =
        route.target(key, version(request)?).carrying(&request.headers).opening_with(customer.as_ref());
    // A footer does not tell the parts of a multipart object.
    let need = if request.query.has("partNumber") { Need::Tail } else { Need::Footer };
    let found = Box::pin(info::read(services, &target, need)).await?;
    let info = &found.info;
    match read::plan(&request.headers, &request.query, info)? {
        ReadPlan::NotModified => Err(not_modified(info, &found.headers)),
        ReadPlan::LegacyPart(number) => {
            let part = legacy::part(services, request, &target, info, number, None);
            Box::pin(part).await?.ok_or_else(info::changed)
        }
        ReadPlan::Bytes(bytes) => {
            let opened = found.opened.as_ref().map(|(envelope, _)| envelope);
            let head = answer_head(request, &target, info, &bytes, &found.headers, opened)?;
            let length = bytes.range.end - bytes.range.start;
            Ok(Outcome::Reply(Reply { head, body: Bytes::new(), shown_length: Some(length) }))
        }
    }
}

/// Answers GetObject.
pub async fn get_object(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let key = object_key(&route, request)?;
    let customer = sse::for_read(&request.headers)?;
    let target =
        route.target(key, version(request)?).carrying(&request.headers).opening_with(customer.as_ref());
    // Stored anew without a change, an object is younger than what is known of it.
    let dated = ReadConditions::of(&request.headers).allow_until_a_date();
    let mut known =
        services.info.get(target.bucket, target.key, target.version).filter(|info| info.whole && !dated);
    for _ in 0..ATTEMPTS {
        // A cached "not modified" or "failed" is not believed: only an answer of now may say so.
        let planned =
            known.take().and_then(|info| match read::plan(&request.headers, &request.query, &info).ok()? {
                ReadPlan::Bytes(bytes) if !bytes.range.is_empty() => Some((info, bytes)),
                _ => None,
            });
        let (info, bytes) = match planned {
            Some(warm) => warm,
            None => {
                let found = Box::pin(info::read(services, &target, Need::Tail)).await?;
                match read::plan(&request.headers, &request.query, &found.info)? {
                    ReadPlan::NotModified => return Err(not_modified(&found.info, &found.headers)),
                    ReadPlan::LegacyPart(number) => {
                        let exchange: Option<&mut dyn Exchange> = Some(&mut *exchange);
                        let part = legacy::part(services, request, &target, &found.info, number, exchange);
                        match Box::pin(part).await? {
                            Some(outcome) => return Ok(outcome),
                            None => continue,
                        }
                    }
                    ReadPlan::Bytes(bytes) => {
                        // There is nothing to fetch of an empty part either.
                        let has_all = found.tail.len() as u64 == found.info.sealed_len;
                        if has_all || bytes.range.is_empty() {
                            return from_memory(request, &target, exchange, found, &bytes).await;
                        }
                        (found.info, bytes)
                    }
                }
            }
        };
        if let Some(fetched) = Box::pin(fetch(services, &target, &info, &bytes)).await? {
            return serve(request, &target, exchange, fetched, &info, &bytes).await;
        }
        services.info.forget(target.bucket, target.key, target.version);
    }
    Err(info::changed())
}

/// The body request's answer, checked against the info that planned it.
struct Fetched {
    response: Response,
    opened: Option<(Envelope, ObjectSecrets)>,
    layout: Option<Layout>,
    window: Window,
    whole: bool,
}

/// Requests the bytes, pinned to the object that the info speaks of. `None`: it is another object by now.
async fn fetch(
    services: &Services,
    target: &Target<'_>,
    info: &Arc<Info>,
    bytes: &ReadBytes,
) -> Result<Option<Fetched>> {
    let whole = bytes.range == (0..info.plain_size);
    let mut out = target.outgoing(Method::GET);
    out.headers.insert(IF_MATCH, info::pin(&info.backend_etag)?);
    // The sealed range of a multipart object hangs on its trailer, that of a single PUT on its size alone.
    let asked = if whole { None } else { Some(info.stored_range(&bytes.range)) };
    if let Some(asked) = &asked {
        let value = format!("bytes={}-{}", asked.start, asked.end.saturating_sub(1));
        out.headers.insert(RANGE, HeaderValue::from_str(&value).expect("digits are a header value"));
    }
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
            // The next round's fresh look says what is true now.
            return Ok(None);
        }
        _ => return Err(error_from(response, &target.names()).await),
    }
    let Some(window) = window(&response, asked, info.sealed_len)? else { return Ok(None) };
    if info::backend_etag(&response.headers)? != info.backend_etag {
        return Ok(None);
    }
    let opened = info::open_envelope(services, target, &response.headers).await?;
    if opened.as_ref().map(|(envelope, _)| envelope.commitment()) != info.commitment() {
        return Ok(None);
    }
    let layout = match (&opened, info.trailer()) {
        (Some((_, secrets)), Some(trailer)) => Some(layout_of(secrets, trailer)?),
        // Never `None` for a sealed object: its bytes would be relayed as they are.
        (Some((_, secrets)), None) => {
            Some(Layout::single(secrets).ok_or_else(|| info::unexpected("the bytes of an archived object"))?)
        }
        // Its end was not seen, so it may be a sealed object that lost its envelope.
        (None, _) if !info.whole => return Err(info::unexpected("the bytes of an archived object")),
        (None, _) => None,
    };
    Ok(Some(Fetched { response, opened, layout, window, whole }))
}

/// Checks the shape of the answer. `None`: the object has another length by now.
fn window(
    response: &Response,
    asked: Option<std::ops::Range<u64>>,
    sealed_len: u64,
) -> Result<Option<Window>> {
    let length = info::content_length(&response.headers)?;
    let asked = asked.unwrap_or(0..sealed_len);
    match info::content_range(&response.headers) {
        Some((_, _, total)) if total != sealed_len => Ok(None),
        Some((start, end, _))
            if start == asked.start && end + 1 == asked.end && length == end + 1 - start =>
        {
            Ok(Some(Window { skip: 0, take: length }))
        }
        Some(_) => Err(info::unexpected("another range than the one asked for")),
        None if response.status == StatusCode::PARTIAL_CONTENT => {
            Err(info::unexpected("206 without Content-Range"))
        }
        None if length != sealed_len => Ok(None),
        None => Ok(Some(Window { skip: asked.start, take: asked.end - asked.start })),
    }
}

async fn serve(
    request: &Verified<S3Request>,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
    fetched: Fetched,
    info: &Info,
    bytes: &ReadBytes,
) -> Result<Outcome> {
    let envelope = fetched.opened.as_ref().map(|(envelope, _)| envelope);
    let head = answer_head(request, target, info, bytes, &fetched.response.headers, envelope)?;
    let length = bytes.range.end - bytes.range.start;
    let body = fetched.response.body;
    match fetched.layout {
        None => body::relay(exchange, head, length, body, fetched.window).await,
        Some(layout) => {
            let download = if fetched.whole {
                Download::Full(Box::new(layout.full_opener(info.sealed_len)))
            } else {
                Download::Range(Box::new(layout.opener(bytes.range.clone())))
            };
            body::open(exchange, head, length, body, fetched.window, download).await
        }
    }
}

/// An object that the first look brought whole.
async fn from_memory(
    request: &Verified<S3Request>,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
    found: Found,
    bytes: &ReadBytes,
) -> Result<Outcome> {
    let envelope = found.opened.as_ref().map(|(envelope, _)| envelope);
    let head = answer_head(request, target, &found.info, bytes, &found.headers, envelope)?;
    let length = bytes.range.end - bytes.range.start;
    let body = Body::from_bytes(found.tail.clone());
    let whole = Window { skip: 0, take: found.info.sealed_len };
    let Some((_, secrets)) = &found.opened else {
        let window = Window { skip: bytes.range.start, take: length };
        return body::relay(exchange, head, length, body, window).await;
    };
    let layout = match found.info.trailer() {
        Some(trailer) => layout_of(secrets, trailer)?,
        None => {
            Layout::single(secrets).ok_or_else(|| Error::tampered("a multipart object without a trailer"))?
        }
    };
    if bytes.range == (0..found.info.plain_size) {
        let download = Download::Full(Box::new(layout.full_opener(found.info.sealed_len)));
        return body::open(exchange, head, length, body, whole, download).await;
    }
    let sealed = found.info.stored_range(&bytes.range);
    let window = Window { skip: sealed.start, take: sealed.end - sealed.start };
    let download = Download::Range(Box::new(layout.opener(bytes.range.clone())));
    body::open(exchange, head, length, body, window, download).await
}

fn layout_of(secrets: &ObjectSecrets, trailer: &Trailer) -> Result<Layout> {
    Layout::from_trailer(secrets, trailer).map_err(|e| Error::tampered(format!("layout: {e}")))
}
