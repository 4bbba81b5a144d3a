//! UploadPart: sealed as a segment of its own, in any order and any number of times; its record is kept before the answer
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>).

use http::header::ETAG;
use http::{HeaderMap, Method, StatusCode};
use object_format::ObjectSecrets;
use object_format::length::segment_len;

use super::{check_customer, now_ms, sse_headers, upload};
use crate::auth::Verified;
use crate::backend::{Caller, Names, Response, error_from};
use crate::body::{self, BodyFacts, PartSealing, Stored};
use crate::config::BackendLimits;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Target};
use crate::ops::{Route, object_key};
use crate::plan::answer;
use crate::plan::customer::{self, CustomerKeyHeaders};
use crate::plan::multipart::{MAX_PART, MAX_PART_NUMBER, MIN_PART, PartRecord, part_number};
use crate::s3::S3Request;
use crate::s3::checksum::Declared;
use crate::services::Services;
use crate::uploads::UploadState;

/// Answers UploadPart.
pub async fn upload_part(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let key = object_key(&route, request)?;
    let target = route.target(key, None).carrying(&request.headers);
    let number = part_number(request.query.get_str("partNumber"))?;
    let at = upload(&target, request)?;
    let length = body::required_length(request)?;
    check_size(length, &route.backend.config().limits)?;
    // On the backend the trailer has to follow. And what it holds it refuses itself once the upload has ended; what we
    // hold, only we can.
    let held = length < MIN_PART || number == MAX_PART_NUMBER;
    let state = if held {
        services.uploads.load(&services.keyring, route.backend, &at).await?
    } else {
        services.uploads.cached(&services.keyring, route.backend, &at).await?
    };
    let declared = Declared::of(&request.headers)?;
    state.checksums().check_part(declared.map(|declared| declared.algorithm))?;
    let customer = CustomerKeyHeaders::of(&request.headers)?;
    let secrets = secrets(services, &target, &state, customer.as_ref()).await?;
    let sealing = PartSealing {
        secrets: &secrets,
        number,
        md5: state.md5(),
        checksum: state.checksums().algorithm,
        buffer: services.config.limits.buffer,
    };
    let stored = if held {
        let (out, sealing) = state.hold(sealing)?;
        let (budget, backend) = (&services.budget, route.backend);
        Box::pin(body::store(request, exchange, budget, backend, &Caller::Own, out, &sealing)).await?
    } else {
        let mut out = target.outgoing(Method::PUT);
        out = out.param("partNumber", number.to_string()).param("uploadId", at.id);
        let (budget, backend) = (&services.budget, route.backend);
        Box::pin(body::store(request, exchange, budget, backend, &route.caller, out, &sealing)).await?
    };
    let Stored { response, sealed } = stored;
    if response.status != StatusCode::OK {
        let names = if held { Names::default() } else { target.names() };
        let error = error_from(response, &names).await;
        if *error.code() == Code::NoSuchUpload {
            services.uploads.forget(route.backend, &at);
        }
        return Err(error);
    }
    let (facts, salt) = sealed.ok_or_else(|| Error::internal("a stored part without facts"))?;
    let record = record(&state, number, length, salt, &facts, (!held).then_some(&response))?;
    state.keep(&record).await?;
    let mut headers = if held { HeaderMap::new() } else { answer::from_backend(&response.headers) };
    headers.insert(ETAG, answer::quoted(&record.client_etag())?);
    headers.extend(facts.checksum_header());
    sse_headers(state.envelope(), customer.as_ref(), &mut headers);
    Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::OK, headers })))
}

fn record(
    state: &UploadState,
    number: u16,
    size: u64,
    salt: [u8; 16],
    facts: &BodyFacts,
    response: Option<&Response>,
) -> Result<PartRecord> {
    let checksum = facts
        .checksum_of(state.checksums().algorithm)
        .ok_or_else(|| Error::internal("a part without the checksum of its upload"))?
        .to_vec();
    let backend_etag = response.map(|response| info::backend_etag(&response.headers)).transpose()?;
    // A client may send an MD5 where ETags are not made of it; it ends here.
    let md5 = facts.md5.filter(|_| state.md5());
    Ok(PartRecord { number, at_ms: now_ms(), size, salt, md5, checksum, backend_etag })
}

async fn secrets(
    services: &Services,
    target: &Target<'_>,
    state: &UploadState,
    customer: Option<&CustomerKeyHeaders>,
) -> Result<ObjectSecrets> {
    let envelope = state.envelope();
    check_customer(envelope, customer)?;
    if let Some(customer) = customer {
        return envelope
            .open(customer.key_ref(), &target.object_name())
            .map_err(|_| customer::wrong_key(400));
    }
    info::open_with_own_key(services, target, envelope).await
}

fn check_size(length: u64, limits: &BackendLimits) -> Result<()> {
    let message = if length > MAX_PART {
        "Your proposed upload exceeds the maximum allowed size".to_owned()
    } else if segment_len(length) > limits.put {
        format!(
            "Encrypted, your proposed part is {} bytes, and the storage behind the proxy takes {} at once. Use \
             smaller parts.",
            segment_len(length),
            limits.put
        )
    } else {
        return Ok(());
    };
    Err(Error::client(Code::EntityTooLarge, message).field("ProposedSize", length.to_string()))
}
