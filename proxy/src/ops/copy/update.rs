//! UpdateObjectEncryption: an object gets another key and keeps everything else, by a copy onto itself under a new envelope
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html>).

use http::{HeaderName, StatusCode};
use object_format::{Envelope, Mode};
use time::OffsetDateTime;

use super::object::self_pins;
use super::rewrap::writing;
use super::{ATTEMPTS, Copied, Rewrap, is_safe, seal_in_place};
use crate::auth::Verified;
use crate::body;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Found, Nature, Need, Opens, Target};
use crate::ops::write_key::{self, WriteKey};
use crate::ops::{Route, version};
use crate::plan::copy::own_headers;
use crate::plan::sse::{DeploymentSse, WriteSse};
use crate::plan::{answer, write};
use crate::s3::S3Request;
use crate::s3::xml::{ObjectEncryption, parse_object_encryption};
use crate::services::Services;

const MAX_DOCUMENT: usize = 64 * 1024;
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// Answers UpdateObjectEncryption.
pub async fn update_object_encryption(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let target = Target { opens: Opens::Facts, ..target };
    let asked = parse_object_encryption(&body::collect(request, exchange, MAX_DOCUMENT).await?)?;
    // Until it is measured a backend promises nothing.
    route.backend.prepare().await?;
    for _ in 0..ATTEMPTS {
        let found = Box::pin(info::look(services, &target)).await?;
        let sealed = sealed(&found)?;
        check_version(request, &found)?;
        let sse = sse(services, &route, &asked, sealed).await?;
        let context = sse.context_len();
        let key = WriteKey::of(services, request, &target, sse).await?;
        let headers = if is_safe(&target, &found, &target) {
            let copied = onto_itself(services, &target, &found, &key, context).await;
            services.info.forget(target.bucket, target.key, None);
            copied?.map(|copied| answer::from_backend(&copied.headers))
        } else {
            // The backend might copy or keep other bytes than those that were looked at.
            let found = Box::pin(info::read(services, &target, Need::Tail)).await?;
            let sealed = Box::pin(seal_in_place(services, &target, &found, &key, context)).await?;
            sealed.map(|sealed| sealed.headers)
        };
        if let Some(headers) = headers {
            return Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::OK, headers })));
        }
    }
    Err(info::changed())
}

/// Copies an object onto itself under `key`, with all that it has. `found` is what its headers tell: with HEAD every backend
/// shows a lock, and no byte of the object moves. `None`: it was replaced meanwhile, and stays as it is.
pub(crate) async fn onto_itself(
    services: &Services,
    target: &Target<'_>,
    found: &Found,
    key: &WriteKey,
    context: usize,
) -> Result<Option<Copied>> {
    let headers = own_headers(&found.headers, OffsetDateTime::now_utc())?;
    write::check_limits(&headers, 0, context, &target.backend.config().limits)?;
    let conditions = self_pins(target, &found.info, writing(target, &found.info, target))?;
    Rewrap { services, source: *target, found, destination: *target, key, headers, conditions }.make().await
}

/// The envelope of an object whose encryption can be changed so.
fn sealed(found: &Found) -> Result<&Envelope> {
    match (&found.info.nature, &found.opened) {
        (Nature::Sealed { .. }, Some((envelope, _))) => Ok(envelope),
        (Nature::Sealed { .. }, None) => Err(Error::client(
            Code::InvalidRequest,
            "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. \
             Only source objects encrypted with SSE-S3 or SSE-KMS are supported.",
        )),
        (Nature::Marker | Nature::Plain, _) => Err(Error::client(
            Code::InvalidRequest,
            "The UpdateObjectEncryption operation doesn't supported unencrypted source objects. Only source objects \
             encrypted with SSE-S3 or SSE-KMS are supported.",
        )),
    }
}

/// Only the latest version can be copied onto itself and stay the latest.
fn check_version(request: &S3Request, found: &Found) -> Result<()> {
    let Some(named) = version(request)? else { return Ok(()) };
    let latest = found.headers.get(VERSION_ID).map(|id| id.as_bytes()).unwrap_or(b"null");
    if latest == named.as_bytes() {
        return Ok(());
    }
    Err(Error::client(
        Code::NotImplemented,
        "The encryption of an object can be updated for its latest version only. To change an older one, copy it.",
    ))
}

/// The encryption asked for. A context that the object has stays with it, as everything else does.
async fn sse(
    services: &Services,
    route: &Route<'_>,
    asked: &ObjectEncryption,
    sealed: &Envelope,
) -> Result<WriteSse> {
    let context = sealed.header().context.clone().filter(|_| sealed.header().mode == Mode::SseKms);
    let context = context.map(String::from_utf8).transpose();
    let context = context.map_err(|_| Error::tampered("an encryption context that is not text"))?;
    Ok(WriteSse::Deployment(DeploymentSse {
        mode: Mode::SseKms,
        key_id: Some(asked.key_id.clone()),
        bucket_key_id: write_key::default_of(services, route).await?.key_id().map(str::to_owned),
        key_named_by_client: true,
        per_object: asked.bucket_key == Some(false) || context.is_some(),
        context,
        shows_bucket_key: asked.bucket_key == Some(true),
    }))
}
