//! Plaintext in, sealed body out: verified whole from a buffer where there is room, else streamed with the last sealed bytes
//! held back until the whole of it was seen to be good. Where it comes from is `plaintext.rs`'s, how it is sealed `sealing.rs`'s.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, StatusCode};

use super::BufferBudget;
use super::learn::{BodyFacts, Learn};
use super::plaintext::Plaintext;
use crate::backend::{Backend, Body, Caller, Outgoing, Response, Step};
use crate::error::{Code, Error, Result};
use crate::s3::checksum::content_md5;
use crate::s3::xml::first_text;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Error documents are short.
const ERROR_DOCUMENT: usize = 64 * 1024;

/// How a body is to be sealed: as a whole object or as a part of one.
pub trait Sealing: Sync {
    /// The sealer of one attempt.
    type Sealer: BodySealer;
    /// Bodies up to this length are verified whole before they are sealed.
    fn buffer(&self) -> u64;
    /// What is to be learned from the plaintext on its way.
    fn learn(&self) -> Learn;
    /// Begins the one attempt at a body of `length` bytes: draws its salt, and writes into the backend request what has
    /// to travel with it. A streamed body may only be named good at its end: nothing was sealed under this attempt before.
    /// `facts` are those of a body that was verified whole, as an empty one always is.
    fn begin(&self, length: u64, facts: Option<&BodyFacts>, out: &mut Outgoing) -> Result<Self::Sealer>;
}

/// The sealer of one attempt, used up by its end.
pub trait BodySealer: Send {
    /// What is to be kept of the attempt.
    type Mark: Clone + Send;
    /// What is to be kept of the attempt.
    fn mark(&self) -> Self::Mark;
    /// Bytes that it will yield in all.
    fn sealed_len(&self) -> u64;
    /// Seals the next bytes, in any split.
    fn push(&mut self, plain: &[u8], emit: &mut (dyn FnMut(Vec<u8>) + Send)) -> Result<()>;
    /// What was held back, once the whole body is verified.
    fn finish(self, facts: &BodyFacts) -> Result<Vec<u8>>;
}

/// What the backend said of the sealed body, and what the plaintext was.
pub struct Stored<M> {
    /// The backend's answer, success or not.
    pub response: Response,
    /// `None` where the backend answered before the body was read.
    pub sealed: Option<(BodyFacts, M)>,
}

/// Reads, verifies, seals and stores a body. `out` is the backend request without framing.
pub async fn store<S: Sealing>(
    mut body: impl Plaintext,
    budget: &BufferBudget,
    backend: &Backend,
    caller: &Caller,
    mut out: Outgoing,
    sealing: &S,
) -> Result<Stored<<S::Sealer as BodySealer>::Mark>> {
    let length = body.length();
    let room = if length <= sealing.buffer() { budget.try_take(length) } else { None };

    let Some(_room) = room else {
        let sealer = sealing.begin(length, None, &mut out)?;
        return stream(body, backend, caller, out, sealer).await;
    };
    let capacity = usize::try_from(length).map_err(|_| Error::internal("a buffered body of 2^64"))?;
    // One buffer: pieces kept as they come would each cost more than the byte that a hostile client puts in it.
    let mut plain = BytesMut::with_capacity(capacity);
    while let Some(piece) = body.next().await? {
        plain.extend_from_slice(&piece);
    }
    let facts = body.finish().await?;
    let sealer = sealing.begin(length, Some(&facts), &mut out)?;
    let mark = sealer.mark();
    let sealed = seal_whole(sealer, &plain, &facts)?;
    let mut response = backend.call(caller, out.clone(), sealed.clone()).await?;
    if response.status == StatusCode::BAD_REQUEST && wants_digest(&mut response).await? {
        // The same sealed bytes go out again: nothing is sealed twice under one salt.
        out.headers.insert(CONTENT_MD5, content_md5(&sealed));
        response = backend.call(caller, out, sealed).await?;
    }
    Ok(Stored { response, sealed: Some((facts, mark)) })
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

fn seal_whole(mut sealer: impl BodySealer, plain: &[u8], facts: &BodyFacts) -> Result<Bytes> {
    let capacity =
        usize::try_from(sealer.sealed_len()).map_err(|_| Error::internal("a buffered body of 2^64"))?;
    let mut body = BytesMut::with_capacity(capacity);
    sealer.push(plain, &mut |sealed| body.extend_from_slice(&sealed))?;
    let last = sealer.finish(facts)?;
    body.extend_from_slice(&last);
    Ok(body.freeze())
}

async fn stream<B: BodySealer>(
    mut body: impl Plaintext,
    backend: &Backend,
    caller: &Caller,
    out: Outgoing,
    mut sealer: B,
) -> Result<Stored<B::Mark>> {
    let mut upload = backend.upload(caller, out, sealer.sealed_len()).await?;
    let mark = sealer.mark();
    let mut sealed = Vec::new();
    // Leaving this function early drops the upload, which withholds its end: the backend stores nothing.
    loop {
        let piece = match upload.drive(body.next()).await? {
            Step::Done(piece) => piece?,
            Step::Answered(response) => return early(response),
        };
        let Some(piece) = piece else { break };
        sealer.push(&piece, &mut |chunk| sealed.push(chunk))?;
        for chunk in sealed.drain(..) {
            if let Step::Answered(response) = upload.send(Bytes::from(chunk)).await? {
                return early(response);
            }
        }
    }
    let facts = match upload.drive(body.finish()).await? {
        Step::Done(facts) => facts?,
        Step::Answered(response) => return early(response),
    };
    let last = sealer.finish(&facts)?;
    let response = upload.finish(Bytes::from(last)).await?;
    Ok(Stored { response, sealed: Some((facts, mark)) })
}

/// A backend that answers before it has the whole body refuses it; a success at that point is a lie.
fn early<M>(response: Response) -> Result<Stored<M>> {
    if response.status.is_success() {
        return Err(Error::backend(
            Code::BadGateway,
            "The storage behind the proxy accepted an upload before it was complete.",
        ));
    }
    Ok(Stored { response, sealed: None })
}
