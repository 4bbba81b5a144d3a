//! CreateMultipartUpload: the backend's upload begins with the object's envelope, and its state is kept before the client
//! learns its id (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>).

use http::{HeaderValue, StatusCode};

use super::behind::{self, Begun};
use crate::auth::Verified;
use crate::config::EtagPolicy;
use crate::error::Result;
use crate::exchange::{Head, Outcome, Reply};
use crate::ops::Route;
use crate::ops::write_key::{self, WriteKey};
use crate::plan::multipart::Checksums;
use crate::plan::write;
use crate::s3::S3Request;
use crate::s3::xml::render_initiated;
use crate::services::Services;
use crate::uploads::{NewState, UploadRef};

/// Answers CreateMultipartUpload.
pub(super) async fn create_multipart_upload(
    services: &Services,
    request: &Verified<S3Request>,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let checksums = Checksums::of_create(&request.headers)?;
    let sse = write_key::decide(services, request, &route).await?;
    let limits = &route.backend.config().limits;
    write::check_limits(&request.headers, 0, sse.context_len(), limits)?;
    let key = WriteKey::of(services, request, &target, sse).await?;

    let Begun { id, envelope, secrets, mut headers } =
        behind::begin(&target, write::backend_headers(&request.headers), &key).await?;
    let at = UploadRef { bucket: target.bucket, key: target.key, id: &id };
    let new = NewState {
        envelope,
        trailer: secrets.trailer_key(),
        md5: key.etag_policy(route.rule) == EtagPolicy::Md5,
        checksums,
        created_ms: services.uploads.now_ms(),
    };
    if let Err(error) = services.uploads.create(&services.keyring, route.backend, &at, &new).await {
        behind::give_up(&target, &id).await;
        return Err(error);
    }
    if checksums.explicit {
        headers.insert("x-amz-checksum-algorithm", HeaderValue::from_static(checksums.algorithm.name()));
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(checksums.kind_name()));
    }
    key.response_headers(&mut headers);
    let document = render_initiated(target.bucket.as_str(), &target.key.to_lossy(), &id);
    Ok(Outcome::Reply(Reply::xml(Head { status: StatusCode::OK, headers }, document)))
}
