//! Plaintext in, sealed object out: verified whole from a buffer where there is room, else streamed with the last
//! sealed bytes held back until every promise of the client held.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use object_format::{
    Attempt, ChecksumFact, ChecksumKind, EnvelopeHeader, EtagFact, KeyRef, ObjectName, SealedFacts, Sealer,
};

use super::digest::content_md5;
use super::incoming::{BodyFacts, Incoming, Learn};
use super::{BufferBudget, required_length};
use crate::auth::Verified;
use crate::backend::{Backend, Body, Caller, Outgoing, Response, Step};
use crate::config::EtagPolicy;
use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::keys::OpenKey;
use crate::keys::random::SystemRandom;
use crate::s3::S3Request;
use crate::s3::xml::first_text;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Error documents are short.
const ERROR_DOCUMENT: usize = 64 * 1024;
/// Header that carries an envelope.
const ENVELOPE_HEADER: HeaderName = HeaderName::from_static("x-amz-meta-s3cloak");

/// How one object is to be sealed.
pub struct Sealing<'a> {
    /// Clear part of the envelope.
    pub header: EnvelopeHeader,
    /// The key that wraps the object's own key.
    pub key: &'a OpenKey,
    /// What the object is bound to.
    pub name: ObjectName<'a>,
    /// What its ETag will be.
    pub etag: EtagPolicy,
    /// Bodies up to this length are verified whole first.
    pub buffer: u64,
}

/// What the backend said of the sealed object, and what the plaintext was.
pub struct Stored {
    /// The backend's answer, success or not.
    pub response: Response,
    /// `None` where the backend answered before the body was read.
    pub facts: Option<BodyFacts>,
}

/// Reads, verifies, seals and stores a request body. `out` is the backend request without envelope and framing.
pub async fn store(
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
    budget: &BufferBudget,
    backend: &Backend,
    caller: &Caller,
    mut out: Outgoing,
    sealing: Sealing<'_>,
) -> Result<Stored> {
    let length = required_length(request)?;
    let learn = Learn { md5: sealing.etag == EtagPolicy::Md5, checksum: true };
    let mut incoming = Incoming::new(request, length, learn)?;
    exchange.send_continue().await?;
    let room = if length <= sealing.buffer { budget.try_take(length) } else { None };

    let Some(_room) = room else {
        // A streamed body may only be named good at its end: nothing was sealed under this attempt before.
        let attempt = attempt(&sealing, length, &mut out)?;
        return stream(exchange, incoming, backend, caller, out, attempt, sealing.etag).await;
    };
    let capacity = usize::try_from(length).map_err(|_| Error::internal("a buffered body of 2^64"))?;
    // One buffer: pieces kept as they come would each cost more than the byte that a hostile client puts in it.
    let mut plain = BytesMut::with_capacity(capacity);
    while let Some(piece) = incoming.next(exchange).await? {
        plain.extend_from_slice(&piece);
    }
    let facts = incoming.finish().await?;
    let attempt = attempt(&sealing, length, &mut out)?;
    let body = seal_whole(attempt, &plain, &facts, sealing.etag)?;
    let mut response = backend.call(caller, out.clone(), body.clone()).await?;
    if response.status == StatusCode::BAD_REQUEST && wants_digest(&mut response).await? {
        // The same sealed bytes go out again: nothing is sealed twice under one salt.
        out.headers.insert(CONTENT_MD5, content_md5(&body));
        response = backend.call(caller, out, body).await?;
    }
    Ok(Stored { response, facts: Some(facts) })
}

/// Whether a refusal may be that of a bucket with Object Lock, which wants a digest of what it stores and says so only
/// then, as InvalidRequest. The answer stays readable.
async fn wants_digest(response: &mut Response) -> Result<bool> {
    let body = std::mem::replace(&mut response.body, Body::from_bytes(Bytes::new()));
    let document = body.collect(ERROR_DOCUMENT).await?;
    let code = first_text(&document, "Code").ok().flatten();
    response.body = Body::from_bytes(document);
    Ok(code.as_deref() == Some("InvalidRequest"))
}

/// Envelope, key, salt and sealer of an attempt are one value, made here and moved into the sealer.
fn attempt(sealing: &Sealing<'_>, length: u64, out: &mut Outgoing) -> Result<Attempt> {
    let attempt = Attempt::single(length, &mut SystemRandom);
    let envelope = attempt
        .envelope(sealing.header.clone(), KeyRef::Bucket(sealing.key.key()), &sealing.name, &mut SystemRandom)
        .map_err(|e| Error::internal(format!("sealing an envelope: {e}")))?;
    let value = HeaderValue::from_str(&envelope.to_value())
        .map_err(|_| Error::internal("an envelope is not a header value"))?;
    out.headers.insert(ENVELOPE_HEADER, value);
    Ok(attempt)
}

fn seal_whole(attempt: Attempt, plain: &[u8], facts: &BodyFacts, etag: EtagPolicy) -> Result<Bytes> {
    let capacity =
        usize::try_from(attempt.sealed_len()).map_err(|_| Error::internal("a buffered body of 2^64"))?;
    let mut body = BytesMut::with_capacity(capacity);
    let mut sealer = attempt.into_sealer();
    sealer.push(plain, &mut |sealed| body.extend_from_slice(&sealed)).map_err(sealing_failed)?;
    let last = sealer.finish(&sealed_facts(facts, etag)).map_err(sealing_failed)?;
    body.extend_from_slice(&last);
    Ok(body.freeze())
}

async fn stream(
    exchange: &mut dyn Exchange,
    mut incoming: Incoming,
    backend: &Backend,
    caller: &Caller,
    out: Outgoing,
    attempt: Attempt,
    etag: EtagPolicy,
) -> Result<Stored> {
    let mut upload = backend.upload(caller, out, attempt.sealed_len()).await?;
    let mut sealer: Sealer = attempt.into_sealer();
    let mut sealed = Vec::new();
    // Leaving this function early drops the upload, which withholds its end: the backend stores nothing.
    loop {
        let piece = match upload.drive(incoming.next(exchange)).await? {
            Step::Done(piece) => piece?,
            Step::Answered(response) => return early(response),
        };
        let Some(piece) = piece else { break };
        sealer.push(&piece, &mut |chunk| sealed.push(chunk)).map_err(sealing_failed)?;
        for chunk in sealed.drain(..) {
            if let Step::Answered(response) = upload.send(Bytes::from(chunk)).await? {
                return early(response);
            }
        }
    }
    let facts = match upload.drive(incoming.finish()).await? {
        Step::Done(facts) => facts?,
        Step::Answered(response) => return early(response),
    };
    let last = sealer.finish(&sealed_facts(&facts, etag)).map_err(sealing_failed)?;
    let response = upload.finish(Bytes::from(last)).await?;
    Ok(Stored { response, facts: Some(facts) })
}

/// A backend that answers before it has the whole body refuses it; a success at that point is a lie.
fn early(response: Response) -> Result<Stored> {
    if response.status.is_success() {
        return Err(Error::backend(
            crate::error::Code::BadGateway,
            "The storage behind the proxy accepted an upload before it was complete.",
        ));
    }
    Ok(Stored { response, facts: None })
}

fn sealed_facts(facts: &BodyFacts, etag: EtagPolicy) -> SealedFacts {
    SealedFacts {
        etag: match (etag, facts.md5) {
            (EtagPolicy::Md5, Some(md5)) => EtagFact::Md5(md5),
            _ => EtagFact::Opaque,
        },
        checksum: facts.checksum.as_ref().map(|(algorithm, value)| ChecksumFact {
            algorithm: algorithm.id(),
            kind: ChecksumKind::FullObject,
            value: value.clone(),
        }),
    }
}

fn sealing_failed(error: object_format::SealError) -> Error {
    Error::internal(format!("sealing a body: {error}"))
}
