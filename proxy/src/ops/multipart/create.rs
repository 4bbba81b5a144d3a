//! CreateMultipartUpload: the backend's upload begins with the object's envelope, and its state is kept before the client
//! learns its id (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>).

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use object_format::{Envelope, Kind, ObjectSecrets};

use super::now_ms;
use crate::auth::Verified;
use crate::backend::error_from;
use crate::body;
use crate::config::EtagPolicy;
use crate::error::{Error, Result};
use crate::exchange::{Head, Outcome, Reply};
use crate::info::Target;
use crate::keys::random::SystemRandom;
use crate::ops::write_key::{self, WriteKey};
use crate::ops::{Route, object_key};
use crate::plan::multipart::Checksums;
use crate::plan::{answer, write};
use crate::s3::S3Request;
use crate::s3::xml::{parse_initiated, render_initiated};
use crate::services::Services;
use crate::uploads::{NewState, UploadRef};

const MAX_ANSWER: usize = 1 << 20;

/// Answers CreateMultipartUpload.
pub async fn create_multipart_upload(services: &Services, request: &Verified<S3Request>) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let key = object_key(&route, request)?;
    let target = route.target(key, None).carrying(&request.headers);
    let checksums = Checksums::of_create(&request.headers)?;
    let sse = write_key::decide(services, request, &route).await?;
    let limits = &route.backend.config().limits;
    write::check_limits(&request.headers, 0, sse.context_len(), limits)?;
    let key = WriteKey::of(services, request, &target, sse).await?;

    let secrets = ObjectSecrets::multipart(&mut SystemRandom);
    let header = key.envelope_header(Kind::Multipart);
    let envelope =
        Envelope::rewrap(&secrets, header, key.key_ref(), &target.object_name(), &mut SystemRandom)
            .map_err(|e| Error::internal(format!("sealing an envelope: {e}")))?;
    let mut out = target.outgoing(Method::POST).flag("uploads");
    out.headers = write::backend_headers(&request.headers);
    body::carry_envelope(&envelope, &mut out)?;
    let response = route.backend.call(&route.caller, out, Bytes::new()).await?;
    if response.status != StatusCode::OK {
        return Err(error_from(response, &target.names()).await);
    }
    let mut headers = answer::from_backend(&response.headers);
    let id = parse_initiated(&response.body.collect(MAX_ANSWER).await?)?;

    let at = UploadRef { bucket: target.bucket, key: target.key, id: &id };
    let new = NewState {
        envelope,
        trailer: secrets.trailer_key(),
        md5: key.etag_policy(route.rule) == EtagPolicy::Md5,
        checksums,
        created_ms: now_ms(),
    };
    if let Err(error) = services.uploads.create(&services.keyring, route.backend, &at, &new).await {
        abandon(&target, &id).await;
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

/// Ends an upload that no client will hear of.
async fn abandon(target: &Target<'_>, id: &str) {
    let out = target.outgoing(Method::DELETE).param("uploadId", id);
    if let Err(error) = target.backend.call(target.caller, out, Bytes::new()).await {
        tracing::warn!(%error, "an upload whose state could not be kept stays on the backend");
    }
}
