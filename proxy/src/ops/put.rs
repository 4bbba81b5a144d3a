//! PutObject: plan, key, seal, store, answer (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>).

use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use object_format::Kind;

use super::Route;
use super::write_key::{self, WriteKey};
use crate::auth::Verified;
use crate::backend::error_from;
use crate::body::{self, BodyFacts, ClientBody, ObjectSealing, Sealing};
use crate::config::EtagPolicy;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Need, Target};
use crate::plan::answer;
use crate::plan::write;
use crate::s3::condition::{Current, WriteConditions};
use crate::s3::{S3Request, etag};
use crate::services::Services;

/// Answers PutObject.
pub async fn put_object(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let length = body::required_length(request)?;
    let sse = write_key::decide(services, request, &route).await?;
    let limits = &route.backend.config().limits;
    write::check_limits(&request.headers, length, sse.context_len(), limits)?;

    let mut out = target.outgoing(Method::PUT);
    out.headers = write::backend_headers(&request.headers);
    translate_conditions(services, &target, &request.headers, Writing::Put, &mut out.headers).await?;
    let key = WriteKey::of(services, request, &target, sse).await?;
    let etag = key.etag_policy(route.rule);
    let sealing = ObjectSealing {
        header: key.envelope_header(Kind::Single),
        key: key.key_ref(),
        name: target.object_name(),
        etag,
        checksum: None,
        buffer: services.config.limits.buffer,
    };
    let stored = async {
        let plain = ClientBody::begin(request, exchange, sealing.learn()).await?;
        body::store(plain, &services.budget, route.backend, &route.caller, out, &sealing).await
    };
    let stored = Box::pin(stored).await;
    // Also after a failure: the backend may hold the new object although its answer was lost.
    services.info.forget(target.bucket, target.key, None);
    let stored = stored?;
    if stored.response.status == StatusCode::PRECONDITION_FAILED
        && still_holds(services, &target, &request.headers).await
    {
        return Err(Error::client(
            Code::ConditionalRequestConflict,
            "The conditional request cannot succeed due to a conflicting operation against this resource.",
        ));
    }
    if stored.response.status != StatusCode::OK {
        return Err(error_from(stored.response, &target.names()).await);
    }
    let (facts, ()) = stored.sealed.ok_or_else(|| Error::internal("a stored object without facts"))?;
    let mut headers = answer::from_backend(&stored.response.headers);
    let backend_etag = info::backend_etag(&stored.response.headers)?;
    headers.insert(ETAG, answer::quoted(&shown_etag(etag, &facts, &backend_etag))?);
    checksum_header(&facts, &mut headers);
    // Some backends tell the size; theirs is that of the ciphertext.
    if stored.response.headers.contains_key("x-amz-object-size") {
        headers.insert("x-amz-object-size", HeaderValue::from(length));
    }
    key.response_headers(&mut headers);
    Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::OK, headers })))
}

/// How a write is made. A backend may honour conditions on the one and ignore them on the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writing {
    /// By PutObject.
    Put,
    /// By CompleteMultipartUpload.
    Complete,
    /// By CopyObject.
    Copy,
}

/// Conditions of a write speak of the ETag that clients see; the backend decides them atomically on its own.
pub(super) async fn translate_conditions(
    services: &Services,
    target: &Target<'_>,
    request: &HeaderMap,
    writing: Writing,
    out: &mut HeaderMap,
) -> Result<()> {
    let conditions = WriteConditions::of(request);
    if conditions.is_empty() {
        return Ok(());
    }
    conditions.check()?;
    let profile = target.backend.profile();
    let (if_match, if_none_match) = match writing {
        Writing::Put => (profile.put_if_match, profile.put_if_none_match),
        Writing::Complete => (profile.complete_if_match, profile.complete_if_none_match),
        Writing::Copy => (profile.copy_if_match, profile.copy_if_none_match),
    };
    let honoured =
        (conditions.if_match.is_none() || if_match) && (conditions.if_none_match.is_none() || if_none_match);
    if !honoured && services.config.compat.strict_conditions {
        return Err(Error::client(
            Code::NotImplemented,
            "The storage behind the proxy ignores conditions on writes, and the proxy is set to refuse them then.",
        ));
    }
    // Only a tag has to be translated; `*` means the same to the backend. Where it would ignore either, the check
    // is ours, and then the write follows.
    let current = if conditions.need_current() || !honoured {
        match Box::pin(info::lookup(services, target, Need::Footer)).await {
            Ok(info) => Some(info),
            Err(error) if error.code().status() == StatusCode::NOT_FOUND => None,
            Err(error) => return Err(error),
        }
    } else {
        None
    };
    if !honoured {
        return conditions.decide(current.as_ref().map(|info| info.etag.as_str()));
    }
    let current = current.as_ref().map(|i| Current { etag: &i.etag, backend_etag: &i.backend_etag });
    out.extend(conditions.translate(current));
    Ok(())
}

/// Whether the backend refused a condition that holds on what clients see: the same bytes were stored anew meanwhile.
async fn still_holds(services: &Services, target: &Target<'_>, request: &HeaderMap) -> bool {
    let conditions = WriteConditions::of(request);
    if !conditions.need_current() {
        return false;
    }
    let current = Box::pin(info::lookup(services, target, Need::Footer)).await;
    current.is_ok_and(|info| conditions.decide(Some(&info.etag)).is_ok())
}

fn shown_etag(policy: EtagPolicy, facts: &BodyFacts, backend_etag: &str) -> String {
    match (policy, facts.md5) {
        (EtagPolicy::Md5, Some(md5)) => hex::encode(md5),
        _ => etag::opaque(backend_etag),
    }
}

/// The checksum that the client sent, or the CRC64NVME that stands in for one, as S3 answers.
fn checksum_header(facts: &BodyFacts, out: &mut HeaderMap) {
    if let Some((name, value)) = facts.checksum_header() {
        out.insert(name, value);
        out.insert("x-amz-checksum-type", HeaderValue::from_static("FULL_OBJECT"));
    }
}
