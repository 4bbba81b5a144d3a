//! AbortMultipartUpload: the backend's parts go, then all that is kept here
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>).

use bytes::Bytes;
use http::{Method, StatusCode};

use super::behind::error_about;
use super::upload;
use crate::auth::Verified;
use crate::error::{Code, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::ops::Route;
use crate::plan::answer;
use crate::s3::S3Request;
use crate::services::Services;

const INITIATED: &str = "x-amz-if-match-initiated-time";

/// Answers AbortMultipartUpload.
pub(super) async fn abort_multipart_upload(
    services: &Services,
    request: &Verified<S3Request>,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let at = upload(&target, request)?;
    // One that was not made through the proxy is left alone.
    services.uploads.load(&services.keyring, route.backend, &at).await?;
    let mut out = target.outgoing(Method::DELETE).param("uploadId", at.id);
    if let Some(time) = request.headers.get(INITIATED) {
        out.headers.insert(INITIATED, time.clone());
    }
    let response = route.backend.call(&route.caller, out, Bytes::new()).await?;
    if response.is_success() {
        let headers = answer::from_backend(&response.headers);
        services.uploads.remove(route.backend, &at).await?;
        return Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::NO_CONTENT, headers })));
    }
    let error = error_about(response, &target.names()).await;
    if *error.code() == Code::NoSuchUpload {
        // It has ended already, and its state was left behind.
        services.uploads.remove(route.backend, &at).await?;
    }
    Err(error)
}
