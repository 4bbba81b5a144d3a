//! UploadPart: sealed as a segment of its own, in any order and any number of times; its record is kept before the answer
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>). UploadPartCopy stores its parts here too.

use std::sync::Arc;

use http::header::ETAG;
use http::{HeaderMap, Method, StatusCode};
use object_format::length::segment_len;
use object_format::{ObjectSecrets, trailer_len};

use super::{behind, check_customer, sse_headers, upload};
use crate::auth::Verified;
use crate::backend::{Caller, Names, Response, error_from};
use crate::body::{self, BodyFacts, ClientBody, Learn, PartSealing, Plaintext, Sealing, Stored};
use crate::config::BackendLimits;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Target};
use crate::ops::Route;
use crate::plan::answer;
use crate::plan::customer::{self, CustomerKeyHeaders};
use crate::plan::multipart::{MAX_PART, MAX_PART_NUMBER, MIN_PART, PartRecord, part_number};
use crate::s3::S3Request;
use crate::s3::checksum::Declared;
use crate::services::Services;
use crate::uploads::{UploadRef, UploadState};

/// Answers UploadPart.
pub(super) async fn upload_part(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let number = part_number(request.query.get_str("partNumber"))?;
    let at = upload(&target, request)?;
    let length = body::required_length(request)?;
    let slot = Slot::of(services, target, at, number, length).await?;
    let declared = Declared::of(&request.headers)?;
    slot.state.checksums().check_part(declared.map(|declared| declared.algorithm))?;
    let customer = CustomerKeyHeaders::of(&request.headers)?;
    let part = slot.open(customer.as_ref()).await?;
    // Boxed: it holds a sealer and two connections, and nothing before it has to make room for them.
    let kept = Box::pin(async {
        let plain = ClientBody::begin(request, exchange, part.learn()).await?;
        part.store(plain).await
    });
    let KeptPart { record, facts, headers: mut shown } = kept.await?;
    shown.insert(ETAG, answer::quoted(&record.client_etag())?);
    shown.extend(facts.checksum_header());
    sse_headers(part.state().envelope(), customer.as_ref(), &mut shown);
    Ok(Outcome::Reply(Reply::empty(Head { status: StatusCode::OK, headers: shown })))
}

/// Where a part of a known length goes.
pub(super) struct Slot<'a> {
    services: &'a Services,
    target: Target<'a>,
    at: UploadRef<'a>,
    number: u16,
    length: u64,
    pub(super) state: Arc<UploadState>,
}

impl<'a> Slot<'a> {
    /// Checks the size, and that there is such an upload.
    pub(super) async fn of(
        services: &'a Services,
        target: Target<'a>,
        at: UploadRef<'a>,
        number: u16,
        length: u64,
    ) -> Result<Self> {
        check_size(number, length, &target.backend.config().limits)?;
        // What the backend holds it refuses itself once the upload has ended; what we hold, only we can.
        let state = if is_held(number, length) {
            services.uploads.load(&services.keyring, target.backend, &at).await?
        } else {
            services.uploads.cached(&services.keyring, target.backend, &at).await?
        };
        Ok(Self { services, target, at, number, length, state })
    }

    /// Opens the upload's key: with the customer's, where it was begun under one.
    pub(super) async fn open(self, customer: Option<&CustomerKeyHeaders>) -> Result<OpenSlot<'a>> {
        let envelope = self.state.envelope();
        check_customer(envelope, customer)?;
        let secrets = match customer {
            Some(customer) => envelope
                .open(customer.key_ref(), &self.target.object_name())
                .map_err(|_| customer::wrong_key(400))?,
            None => info::open_with_own_key(self.services, &self.target, envelope).await?,
        };
        Ok(OpenSlot { slot: self, secrets })
    }
}

/// The same with the key in hand.
pub(super) struct OpenSlot<'a> {
    slot: Slot<'a>,
    secrets: ObjectSecrets,
}

/// A part that is stored and recorded.
pub(super) struct KeptPart {
    pub(super) record: PartRecord,
    pub(super) facts: BodyFacts,
    /// What the backend's answer may show.
    pub(super) headers: HeaderMap,
}

impl OpenSlot<'_> {
    /// The upload.
    pub(super) fn state(&self) -> &UploadState {
        &self.slot.state
    }

    /// What has to be learned of the plaintext.
    pub(super) fn learn(&self) -> Learn {
        self.sealing().learn()
    }

    /// Seals and stores the part, and keeps its record.
    pub(super) async fn store(&self, plain: impl Plaintext) -> Result<KeptPart> {
        let Slot { services, target, at, number, length, state } = &self.slot;
        let (budget, backend) = (&services.budget, target.backend);
        let held = is_held(*number, *length);
        let Stored { response, sealed } = if held {
            let (out, sealing) = state.hold(self.sealing())?;
            body::store(plain, budget, backend, &Caller::Own, out, &sealing).await?
        } else {
            let mut out = target.outgoing(Method::PUT);
            out = out.param("partNumber", number.to_string()).param("uploadId", at.id);
            body::store(plain, budget, backend, target.caller, out, &self.sealing()).await?
        };
        if response.status != StatusCode::OK {
            let error = if held {
                error_from(response, &Names::default()).await
            } else {
                behind::error_about(response, &target.names()).await
            };
            if *error.code() == Code::NoSuchUpload {
                services.uploads.forget(backend, at);
            }
            return Err(error);
        }
        let (facts, salt) = sealed.ok_or_else(|| Error::internal("a stored part without facts"))?;
        let record = self.record(salt, &facts, (!held).then_some(&response))?;
        state.keep(&record).await?;
        let headers = if held { HeaderMap::new() } else { answer::from_backend(&response.headers) };
        Ok(KeptPart { record, facts, headers })
    }

    fn sealing(&self) -> PartSealing<'_> {
        let state = &self.slot.state;
        PartSealing {
            secrets: &self.secrets,
            number: self.slot.number,
            md5: state.md5(),
            checksum: state.checksums().algorithm,
            buffer: self.slot.services.config.limits.buffer,
        }
    }

    fn record(&self, salt: [u8; 16], facts: &BodyFacts, response: Option<&Response>) -> Result<PartRecord> {
        let Slot { services, number, length, state, .. } = &self.slot;
        let checksum = facts
            .checksum_of(state.checksums().algorithm)
            .ok_or_else(|| Error::internal("a part without the checksum of its upload"))?
            .to_vec();
        let backend_etag = response.map(|response| info::backend_etag(&response.headers)).transpose()?;
        // A client may send an MD5 where ETags are not made of it; it ends here.
        let md5 = facts.md5.filter(|_| state.md5());
        Ok(PartRecord {
            number: *number,
            at_ms: services.uploads.now_ms(),
            kept: None,
            size: *length,
            salt,
            md5,
            checksum,
            backend_etag,
        })
    }
}

/// Whether a part is kept in the system area: on the backend the trailer has to follow.
fn is_held(number: u16, length: u64) -> bool {
    length < MIN_PART || number == MAX_PART_NUMBER
}

fn check_size(number: u16, length: u64, limits: &BackendLimits) -> Result<()> {
    // What is held goes to the backend with the trailer behind it.
    let trailer = if is_held(number, length) { trailer_len(usize::from(MAX_PART_NUMBER)) } else { 0 };
    let stored = segment_len(length) + trailer;
    let message = if length > MAX_PART {
        "Your proposed upload exceeds the maximum allowed size".to_owned()
    } else if stored > limits.put {
        format!(
            "Encrypted, your proposed part is {} bytes, and the storage behind the proxy takes {} at once. Use \
             smaller parts.",
            stored, limits.put
        )
    } else {
        return Ok(());
    };
    Err(Error::client(Code::EntityTooLarge, message).field("ProposedSize", length.to_string()))
}
