//! GetObject and HeadObject: info, plan, one pinned body request, opened towards the client
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).

use bytes::Bytes;
use http::HeaderMap;
use object_format::{Envelope, ObjectSecrets};

mod legacy;
mod shown;

pub(super) use shown::not_modified;

use shown::answer_head;

use super::fetch::{fetch, from_memory, is_in_memory};
use super::{Route, version};
use crate::auth::Verified;
use crate::body::{self, Reader};
use crate::error::Result;
use crate::exchange::{Exchange, Outcome, Reply};
use crate::info::{self, Info, Need, Target};
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
    let target = route.object(request)?;
    let customer = sse::for_read(&request.headers)?;
    read::asked_part(&request.headers, &request.query)?;
    let target = target.at(version(request)?).opening_with(customer.as_ref());
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
    let target = route.object(request)?;
    let customer = sse::for_read(&request.headers)?;
    read::asked_part(&request.headers, &request.query)?;
    let target = target.at(version(request)?).opening_with(customer.as_ref());
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
                        if is_in_memory(&found, &bytes.range) {
                            let reader = from_memory(&found, &bytes.range)?;
                            let stored = (&found.headers, found.opened.as_ref());
                            return serve(request, &target, exchange, reader, stored, &found.info, &bytes)
                                .await;
                        }
                        (found.info, bytes)
                    }
                }
            }
        };
        if let Some(fetched) = Box::pin(fetch(services, &target, &info, &bytes.range)).await? {
            let stored = (&fetched.headers, fetched.opened.as_ref());
            return serve(request, &target, exchange, fetched.reader, stored, &info, &bytes).await;
        }
        services.info.forget(target.bucket, target.key, target.version);
    }
    Err(info::changed())
}

/// Hands the bytes on. `stored` are the headers that came with them, and the envelope.
async fn serve(
    request: &Verified<S3Request>,
    target: &Target<'_>,
    exchange: &mut dyn Exchange,
    reader: Reader,
    stored: (&HeaderMap, Option<&(Envelope, ObjectSecrets)>),
    info: &Info,
    bytes: &ReadBytes,
) -> Result<Outcome> {
    let (headers, opened) = stored;
    let head = answer_head(request, target, info, bytes, headers, opened.map(|(envelope, _)| envelope))?;
    body::deliver(exchange, head, reader).await
}
