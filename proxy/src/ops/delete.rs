//! DeleteObject and DeleteObjects: rights key by key, conditions translated to what the backend stores
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Route, folded, version};
use crate::auth::Verified;
use crate::backend::{Names, Outgoing, error_from};
use crate::body;
use crate::config::Action;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::plan::answer;
use crate::s3::S3Request;
use crate::s3::checksum::content_md5;
use crate::s3::xml::{
    DeleteResult, FailedKey, MAX_DELETE_BODY, ObjectToDelete, parse_delete, parse_delete_result,
    render_delete, render_delete_result,
};
use crate::services::Services;
use guard::Guard;

mod guard;

/// Largest result that is taken from a backend: 1 000 keys, each with a message.
const MAX_RESULT: usize = 16 << 20;

/// Answers DeleteObject.
pub async fn delete_object(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?.at(version(request)?);
    let guard = Guard::of_headers(&request.headers)?;
    let conditional = !guard.is_empty();
    let mut out = target.outgoing(Method::DELETE);
    out.headers = forwarded(&request.headers);
    guard.settle(services, &target).await?.write_headers(&mut out.headers)?;

    let result = route.backend.call(&route.caller, out, Bytes::new()).await;
    // Also after a failure: the backend may have deleted it although its answer was lost.
    services.info.forget(target.bucket, target.key, target.version);
    services.info.forget(target.bucket, target.key, None);
    let response = result?;
    if response.is_success() {
        let headers = answer::from_backend(&response.headers);
        return Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::NO_CONTENT, headers })));
    }
    let error = error_from(response, &target.names()).await;
    // To delete what is not there is no error in S3; some backends say otherwise.
    if !conditional && *error.code() == Code::NoSuchKey {
        return Ok(Outcome::Reply(Reply::empty(Head::new(StatusCode::NO_CONTENT))));
    }
    Err(error)
}

/// Answers DeleteObjects.
pub async fn delete_objects(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let body = body::collect(request, exchange, MAX_DELETE_BODY).await?;
    let asked = parse_delete(&body)?;
    let mut result = DeleteResult::default();
    let mut allowed = Vec::with_capacity(asked.objects.len());
    for object in asked.objects {
        match admit(services, request, &route, &object).await {
            Ok(translated) => allowed.push(translated),
            // One key's fault is that key's; a proxy that cannot decide must not delete the others either.
            Err(error) if error.code().status().is_server_error() => return Err(error),
            Err(error) => result.failed.push(FailedKey::from_error(&object, &error)),
        }
    }
    let mut headers = HeaderMap::new();
    if !allowed.is_empty() {
        let answered = forward(services, request, &route, &allowed).await?;
        headers = answered.0;
        result.deleted = answered.1.deleted;
        result.failed.extend(answered.1.failed);
    }
    let body = render_delete_result(&result, asked.quiet);
    Ok(Outcome::Reply(Reply::xml(Head { status: StatusCode::OK, headers }, body)))
}

/// Whether this key may be deleted by this identity, and as what the backend is asked to delete it.
async fn admit(
    services: &Services,
    request: &Verified<S3Request>,
    route: &Route<'_>,
    object: &ObjectToDelete,
) -> Result<ObjectToDelete> {
    if route.backend.is_hidden(route.bucket, Some(object.key.as_bytes())) {
        return Err(Error::client(Code::AccessDenied, "Access Denied").because("a key of the system area"));
    }
    request.identity().authorize(Action::Write, route.bucket, Some(object.key.as_bytes()))?;
    folded::refuse_missing(route.backend, &object.key).await?;
    let guard = Guard::of_entry(object);
    if guard.is_empty() {
        return Ok(object.clone());
    }
    let target = route.target(&object.key, object.version_id.as_deref()).carrying(&request.headers);
    let settled = guard.settle(services, &target).await?;
    Ok(ObjectToDelete {
        etag: settled.etag()?,
        size: settled.size,
        last_modified: settled.last_modified,
        ..object.clone()
    })
}

async fn forward(
    services: &Services,
    request: &Verified<S3Request>,
    route: &Route<'_>,
    objects: &[ObjectToDelete],
) -> Result<(HeaderMap, DeleteResult)> {
    let body = Bytes::from(render_delete(objects));
    let mut out = Outgoing::bucket(Method::POST, route.bucket).flag("delete");
    out.headers = forwarded(&request.headers);
    out.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    out.headers.insert("content-md5", content_md5(&body));
    let answered = route.backend.call(&route.caller, out, body).await;
    for object in objects {
        services.info.forget(route.bucket, &object.key, object.version_id.as_deref());
        services.info.forget(route.bucket, &object.key, None);
    }
    let response = answered?;
    if response.status != StatusCode::OK {
        return Err(error_from(response, &Names { bucket: Some(route.bucket), key: None }).await);
    }
    let headers = answer::from_backend(&response.headers);
    let result = parse_delete_result(&response.body.collect(MAX_RESULT).await?)?;
    // The conditions in its messages are those that we sent; S3's own sentence says as much.
    let failed = result.failed.into_iter().map(|failed| match failed.code.as_str() {
        "PreconditionFailed" => FailedKey {
            message: "At least one of the pre-conditions you specified did not hold".to_owned(),
            ..failed
        },
        _ => failed,
    });
    Ok((headers, DeleteResult { deleted: result.deleted, failed: failed.collect() }))
}

/// What of a delete's headers goes on as it is.
fn forwarded(headers: &HeaderMap) -> HeaderMap {
    const NAMES: [HeaderName; 5] = [
        ORIGIN,
        HeaderName::from_static("x-amz-bypass-governance-retention"),
        HeaderName::from_static("x-amz-expected-bucket-owner"),
        HeaderName::from_static("x-amz-mfa"),
        HeaderName::from_static("x-amz-request-payer"),
    ];
    NAMES.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value))).collect()
}
