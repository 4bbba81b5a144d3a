//! UploadPartCopy: a range of another object's plaintext, sealed anew as a part: its chunks are bound to their object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>).

use http::{HeaderMap, StatusCode};

use super::list_parts::time;
use super::part::Slot;
use super::{sse_headers, upload};
use crate::auth::Verified;
use crate::body::{self, StoredBody};
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::Need;
use crate::ops::source::Source;
use crate::ops::{Route, fetch, keep_alive};
use crate::plan::copy;
use crate::plan::customer::CustomerKeyHeaders;
use crate::plan::multipart::{MAX_PART, part_number};
use crate::s3::S3Request;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::xml::{CopyResult, render_copied_part};
use crate::services::Services;

/// A copy has no body; what some client sends all the same is read and means nothing.
const MAX_BODY: usize = 64 * 1024;

/// Answers UploadPartCopy.
pub(super) async fn upload_part_copy(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let number = part_number(request.query.get_str("partNumber"))?;
    let at = upload(&target, request)?;
    let asked = copy::source_range(&request.headers)?;
    let customer = CustomerKeyHeaders::of(&request.headers)?;
    body::collect(request, exchange, MAX_BODY).await?;
    let source = Box::pin(Source::of(services, request, Need::Tail)).await?;
    let size = source.info().plain_size;
    let range = match asked {
        Some(range) => copy::within(range, size)?,
        None => 0..size,
    };
    let length = range.end - range.start;
    if length > MAX_PART {
        return Err(Error::client(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PART}"
            ),
        ));
    }
    let slot = Slot::of(services, target, at, number, length).await?;
    let part = slot.open(customer.as_ref()).await?;
    // All that can be refused soon has been: from here on it may take long.
    let mut headers = HeaderMap::new();
    sse_headers(part.state().envelope(), customer.as_ref(), &mut headers);
    source.show_version(&mut headers);
    let early = headers.clone();
    let work = async {
        let reader = fetch::read(services, &source.target(), &source.found, &range).await?;
        let kept = part.store(StoredBody::new(reader, part.learn())).await?;
        let algorithm = part.state().checksums().algorithm;
        let document = render_copied_part(&CopyResult {
            etag: &kept.record.client_etag(),
            last_modified: &time(&kept.record)?,
            checksum: Some((algorithm, ChecksumAlgorithm::format_value(&kept.record.checksum), None)),
        });
        headers.extend(kept.headers);
        Ok(Reply::xml(Head { status: StatusCode::OK, headers }, document))
    };
    keep_alive::answer(request, exchange, early, Box::pin(work)).await
}
