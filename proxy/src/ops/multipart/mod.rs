//! Multipart uploads: each part a segment of its own on the backend, the layout sealed when they become an object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>).

mod abort;
pub(super) mod behind;
mod complete;
mod create;
mod last;
mod list_parts;
mod list_uploads;
pub(super) mod own;
mod part;
mod part_copy;

use abort::abort_multipart_upload;
use complete::complete_multipart_upload;
use create::create_multipart_upload;
use list_parts::list_parts;
use list_uploads::list_multipart_uploads;
use part::upload_part;
use part_copy::upload_part_copy;

use http::HeaderMap;
use object_format::{Envelope, Mode};

use crate::auth::Verified;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Outcome};
use crate::info::Target;
use crate::ops::Route;
use crate::plan::customer::{self, CustomerKeyHeaders};
use crate::plan::sse;
use crate::s3::S3Request;
use crate::s3::operation::Operation;
use crate::services::Services;
use crate::uploads::{UploadRef, no_such_upload};

/// The upload that a request names.
fn upload<'a>(target: &Target<'a>, request: &'a S3Request) -> Result<UploadRef<'a>> {
    let id = request.query.get_str("uploadId").filter(|id| !id.is_empty()).ok_or_else(no_such_upload)?;
    Ok(UploadRef { bucket: target.bucket, key: target.key, id })
}

/// Runs the handler of an operation on an upload. Where there is no upload because there is no bucket, S3 says so.
pub async fn dispatch(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let done = match request.operation {
        Operation::CreateMultipartUpload => {
            return Box::pin(create_multipart_upload(services, request)).await;
        }
        Operation::ListMultipartUploads => {
            return Box::pin(list_multipart_uploads(services, request)).await;
        }
        Operation::UploadPart => Box::pin(upload_part(services, request, exchange)).await,
        Operation::UploadPartCopy => Box::pin(upload_part_copy(services, request, exchange)).await,
        Operation::CompleteMultipartUpload => {
            Box::pin(complete_multipart_upload(services, request, exchange)).await
        }
        Operation::ListParts => Box::pin(list_parts(services, request)).await,
        Operation::AbortMultipartUpload => Box::pin(abort_multipart_upload(services, request)).await,
        other => Err(Error::internal(format!("{} is not on an upload", other.name()))),
    };
    match done {
        Err(error) if *error.code() == Code::NoSuchUpload => {
            let exists = Box::pin(Route::of(services, request)?.exists(request)).await;
            Err(exists.err().filter(|refused| *refused.code() == Code::NoSuchBucket).unwrap_or(error))
        }
        done => done,
    }
}

/// A customer's key comes with every part of an upload that was begun under one, and with no other.
fn check_customer(envelope: &Envelope, customer: Option<&CustomerKeyHeaders>) -> Result<()> {
    match (envelope.header().mode, customer) {
        (Mode::SseC, None) => Err(Error::client(
            Code::InvalidRequest,
            "The multipart upload initiate requested encryption. Subsequent part requests must include the \
             appropriate encryption parameters.",
        )),
        (Mode::SseS3 | Mode::SseKms, Some(_)) => Err(customer::not_applicable()),
        _ => Ok(()),
    }
}

/// What answers about an upload and its object say of their encryption.
fn sse_headers(envelope: &Envelope, customer: Option<&CustomerKeyHeaders>, out: &mut HeaderMap) {
    sse::sealed_headers(envelope.header(), out);
    if let Some(customer) = customer {
        customer.response_headers(out);
    }
}
