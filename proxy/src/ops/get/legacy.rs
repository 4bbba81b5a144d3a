//! `?partNumber` of objects that are not encrypted: only the backend knows their parts, so it is asked for one.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, IF_MATCH};
use http::{HeaderName, Method, StatusCode};

use super::shown::answer_head;
use crate::auth::Verified;
use crate::backend::{Response, error_from};
use crate::body::{self, Opening, Reader, Window};
use crate::error::Result;
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Info, Target};
use crate::plan::read::ReadBytes;
use crate::s3::S3Request;
use crate::services::Services;

const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");

/// Answers a GET or HEAD of part `number` of the plaintext object that `info` speaks of. `None`: it is another object
/// by now.
pub(super) async fn part(
    services: &Services,
    request: &Verified<S3Request>,
    target: &Target<'_>,
    info: &Info,
    number: u16,
    exchange: Option<&mut dyn Exchange>,
) -> Result<Option<Outcome>> {
    let method = if exchange.is_some() { Method::GET } else { Method::HEAD };
    let mut out = target.outgoing(method);
    out.query.push("partNumber", number.to_string());
    out.headers.insert(IF_MATCH, info::pin(&info.backend_etag)?);
    let response = target.backend.call(target.caller, out, Bytes::new()).await?;
    match response.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(error_from(response, &target.names()).await),
    }
    // Sealed by now, it has an envelope and another tag; its bytes are not to be relayed.
    if info::backend_etag(&response.headers)? != info.backend_etag
        || info::open_envelope(services, target, &response.headers).await?.is_some()
    {
        return Ok(None);
    }
    let length = info::content_length(&response.headers)?;
    let head = head(request, target, info, &response)?;
    let Some(exchange) = exchange else {
        return Ok(Some(Outcome::Reply(Reply { head, body: Bytes::new(), shown_length: Some(length) })));
    };
    let window = Window { skip: 0, take: length };
    let reader = Reader::new(response.body, window, length, Opening::Plain);
    body::deliver(exchange, head, reader).await.map(Some)
}

/// The backend's own word on which bytes these are, and of how many parts.
fn head(request: &S3Request, target: &Target<'_>, info: &Info, response: &Response) -> Result<Head> {
    let whole = ReadBytes { range: 0..info.plain_size, partial: false, parts_count: None, part: None };
    let mut head = answer_head(request, target, info, &whole, &response.headers, None)?;
    head.status = response.status;
    for name in [CONTENT_RANGE, PARTS_COUNT] {
        if let Some(value) = response.headers.get(&name) {
            head.headers.insert(name, value.clone());
        }
    }
    Ok(head)
}
