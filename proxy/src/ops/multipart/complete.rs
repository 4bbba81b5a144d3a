//! CompleteMultipartUpload: chooses the attempts that the client means, appends the sealed layout and has the backend put
//! them together. What then stands there decides the answer, whatever became of the backend's
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use object_format::{EtagFact, Mode, SealedFacts, list_tag, seal_trailer, upload_tag};

use super::behind::{self, MAX_ANSWER};
use super::{sse_headers, upload};
use crate::auth::Verified;
use crate::body;
use crate::config::EtagPolicy;
use crate::error::{Blame, Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Need, Stands, Target};
use crate::ops::put::{Writing, translate_conditions};
use crate::ops::{Route, keep_alive};
use crate::plan::checksum::ShownChecksum;
use crate::plan::customer::{self, CustomerKeyHeaders};
use crate::plan::multipart::{
    PartRecord, Standing, check_promised, check_promises, choose, facts, is_unsettled, plain_size,
    trailer_number,
};
use crate::s3::S3Request;
use crate::s3::xml::{
    AboutUpload, Completed, ListedPart, MAX_COMPLETE_BODY, parse_backend_parts, parse_complete,
    render_completed,
};
use crate::services::Services;
use crate::uploads::{UploadRef, UploadState, no_such_upload};

use super::last;

/// Before it is tried again, where a part was being sent again or another Complete was at it just then. Together they
/// stay below what a client waits for without white space.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];

/// One request to complete an upload.
pub(super) struct Completion<'a> {
    pub(super) services: &'a Services,
    pub(super) request: &'a Verified<S3Request>,
    pub(super) target: Target<'a>,
    pub(super) at: UploadRef<'a>,
    pub(super) listed: Vec<ListedPart>,
    pub(super) customer: Option<CustomerKeyHeaders>,
}

/// The object that an upload became.
struct Made {
    headers: HeaderMap,
    etag: EtagFact,
    checksum: Option<ShownChecksum>,
    backend_etag: String,
}

/// Why a try failed.
enum Tried {
    /// Something else was writing to the upload at the same moment, so the next try may go well.
    Raced(Error),
    Failed(Error),
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Tried::Failed(error)
    }
}

/// Answers CompleteMultipartUpload.
pub(super) async fn complete_multipart_upload(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let at = upload(&target, request)?;
    let customer = CustomerKeyHeaders::of(&request.headers)?;
    check_promised(&request.headers)?;
    let listed = {
        let length = body::declared_length(request)?.unwrap_or_default().min(MAX_COMPLETE_BODY as u64);
        let _room = services.budget.try_take(length).ok_or_else(busy)?;
        parse_complete(&body::collect(request, exchange, MAX_COMPLETE_BODY).await?)?
    };
    let this = Completion { services, request, target, at, listed, customer };
    keep_alive::answer(request, exchange, HeaderMap::new(), Box::pin(this.answer())).await
}

impl Completion<'_> {
    async fn answer(&self) -> Result<Reply> {
        let (services, target) = (self.services, &self.target);
        let state = match services.uploads.load(&services.keyring, target.backend, &self.at).await {
            Ok(state) => state,
            Err(error) if *error.code() == Code::NoSuchUpload => return self.again().await,
            Err(error) => return Err(error),
        };
        self.check_customer(&state)?;
        let done = Box::pin(self.complete(&state)).await;
        // Also after a failure: the backend may have made the object although its answer was lost.
        services.info.forget(target.bucket, target.key, None);
        let made = match done {
            Ok(made) => self.stands(&state, made).await?,
            Err(error) => self.stands_all_the_same(&state, error).await?,
        };
        if let Err(error) = services.uploads.remove(target.backend, &self.at).await {
            tracing::warn!(%error, "the state of a completed upload is left behind");
        }
        let policy = if state.md5() { EtagPolicy::Md5 } else { EtagPolicy::Opaque };
        let etag = info::sealed_etag(policy, &made.etag, &made.backend_etag);
        let mut headers = made.headers;
        sse_headers(state.envelope(), self.customer.as_ref(), &mut headers);
        Ok(self.reply(headers, &etag, made.checksum))
    }

    async fn complete(&self, state: &UploadState) -> Result<Made> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match (Box::pin(self.attempt(state)).await, pauses.next()) {
                (Ok(made), _) => return Ok(made),
                (Err(Tried::Raced(error)), Some(pause)) => {
                    tracing::debug!(%error, "an upload is being written to while it is completed");
                    tokio::time::sleep(pause).await;
                }
                (Err(Tried::Raced(error) | Tried::Failed(error)), _) => return Err(error),
            }
        }
    }

    async fn attempt(&self, state: &UploadState) -> Result<Made, Tried> {
        let records = state.records().await?;
        let (current, _) = backend_parts(&self.target, self.at.id).await?;
        let chosen = choose(&self.listed, &records, &current, state.checksums()).map_err(|error| {
            let raced = *error.code() == Code::InvalidPart && is_unsettled(&self.listed, &records, &current);
            if raced { Tried::Raced(error) } else { Tried::Failed(error) }
        })?;
        let facts = facts(&chosen, state.checksums())?;
        let checksum = shown_checksum(&facts, chosen.len());
        if let Some(computed) = &checksum {
            check_promises(&self.request.headers, state.checksums(), plain_size(&chosen), computed)?;
        }
        let mut conditions = HeaderMap::new();
        let headers = &self.request.headers;
        translate_conditions(self.services, &self.target, headers, Writing::Complete, &mut conditions)
            .await?;
        let entries: Vec<_> = chosen.iter().map(|part| part.entry(state.checksums())).collect();
        let (upload_tag, list_tag) = self.tags();
        let trailer = seal_trailer(state.trailer_key(), &entries, &facts, &upload_tag, &list_tag)
            .map_err(|e| Error::internal(format!("sealing a trailer: {e}")))?;
        let parts = self.with_trailer(state, &chosen, &records, trailer.into()).await?;
        let completed = behind::complete(&self.target, self.at.id, &parts, conditions).await;
        let (headers, backend_etag) = completed.map_err(|error| {
            // Each part stood with its ETag a moment ago.
            if *error.code() == Code::InvalidPart { Tried::Raced(error) } else { Tried::Failed(error) }
        })?;
        Ok(Made { headers, etag: facts.etag, checksum, backend_etag })
    }

    /// The backend's numbers and ETags: a last part that is held goes there with the trailer behind it, else the trailer
    /// is a part of its own.
    async fn with_trailer(
        &self,
        state: &UploadState,
        chosen: &[PartRecord],
        records: &[PartRecord],
        trailer: Bytes,
    ) -> Result<Vec<(u16, String)>> {
        let mut parts: Vec<(u16, String)> =
            chosen.iter().filter_map(|part| Some((part.number, part.backend_etag.clone()?))).collect();
        let last = chosen.last().ok_or_else(|| Error::internal("an object of no parts"))?;
        let number = if last.is_held() { Some(last.number) } else { trailer_number(last.number, records) };
        let number = number.ok_or_else(|| Error::internal("no part number is left for the trailer"))?;
        let held = if last.is_held() { Some(last) } else { None };
        let response = last::store(self, state, number, held, trailer).await?;
        if response.status != StatusCode::OK {
            return Err(behind::error_about(response, &self.target.names()).await);
        }
        parts.push((number, info::backend_etag(&response.headers)?));
        Ok(parts)
    }

    /// After a success: a storage may answer with what another list of the same upload made, and one that does not hold
    /// parts to their ETags may have put other bytes together than it was told to.
    async fn stands(&self, state: &UploadState, made: Made) -> Result<Made> {
        match self.look(state).await {
            Ok(Stands::Made(found)) if (found.trailer.upload_tag, found.trailer.list_tag) != self.tags() => {
                Err(no_such_upload())
            }
            Ok(Stands::Spoiled) => {
                Err(Error::tampered("the storage put other parts together than it was told to"))
            }
            // Another object may have been written over it already, and what cannot be told now is no failure.
            Ok(Stands::Made(_) | Stands::Other) | Err(_) => Ok(made),
        }
    }

    async fn look(&self, state: &UploadState) -> Result<Stands> {
        info::standing(&self.target, state.trailer_key(), state.envelope()).await
    }

    /// After a failure: whether this very upload with this very list became the object all the same.
    async fn stands_all_the_same(&self, state: &UploadState, error: Error) -> Result<Made> {
        let open = matches!(
            error.code(),
            Code::NoSuchUpload
                | Code::InvalidPart
                | Code::PreconditionFailed
                | Code::ConditionalRequestConflict
        );
        if !open && error.blame() != Blame::Backend {
            return Err(error);
        }
        // Storage may let go of an upload before the object is there that another Complete makes of it just then.
        let mut pauses = PAUSES.into_iter().filter(|_| *error.code() == Code::NoSuchUpload);
        let found = loop {
            if let Ok(Stands::Made(found)) = self.look(state).await {
                break found;
            }
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        };
        if (found.trailer.upload_tag, found.trailer.list_tag) != self.tags() {
            return Err(error);
        }
        tracing::info!(%error, "the upload was completed all the same");
        let (etag, checksum) =
            (found.trailer.facts.etag, shown_checksum(&found.trailer.facts, found.trailer.parts.len()));
        Ok(Made { headers: version_of(&found.headers), etag, checksum, backend_etag: found.backend_etag })
    }

    /// Where no state is left: the same answer again, if the same request has succeeded.
    async fn again(&self) -> Result<Reply> {
        let target = self.target.opening_with(self.customer.as_ref());
        let found = match info::read(self.services, &target, Need::Tail).await {
            Ok(found) => found,
            Err(error) if error.code().status().is_server_error() => return Err(error),
            Err(_) => return Err(no_such_upload()),
        };
        let (Some(trailer), Some((envelope, _))) = (found.info.trailer(), &found.opened) else {
            return Err(no_such_upload());
        };
        if (trailer.upload_tag, trailer.list_tag) != self.tags() {
            return Err(no_such_upload());
        }
        let mut headers = version_of(&found.headers);
        sse_headers(envelope, self.customer.as_ref(), &mut headers);
        Ok(self.reply(headers, &found.info.etag, ShownChecksum::of_object(&found.info)))
    }

    /// What a trailer says of the upload and the list that made it.
    fn tags(&self) -> ([u8; 32], [u8; 32]) {
        let listed = self.listed.iter().map(|part| (part.number, part.etag.as_str()));
        (upload_tag(self.at.id.as_bytes()), list_tag(listed))
    }

    /// A customer's key is not needed here; one that is given has to be the upload's.
    fn check_customer(&self, state: &UploadState) -> Result<()> {
        let Some(customer) = &self.customer else { return Ok(()) };
        if state.envelope().header().mode != Mode::SseC {
            return Err(customer::not_applicable());
        }
        let opened = state.envelope().open(customer.key_ref(), &self.target.object_name());
        opened.map(drop).map_err(|_| customer::wrong_key(400))
    }

    fn reply(&self, headers: HeaderMap, etag: &str, checksum: Option<ShownChecksum>) -> Reply {
        let key = self.target.key.to_lossy();
        let host = self.request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if self.request.secure { "https" } else { "http" };
        let location = format!("{scheme}://{host}{}", self.request.raw_path);
        let document = render_completed(&Completed {
            location: &location,
            bucket: self.target.bucket.as_str(),
            key: &key,
            etag,
            checksum: checksum.map(|checksum| (checksum.algorithm, checksum.text(), checksum.kind)),
        });
        Reply::xml(Head { status: StatusCode::OK, headers }, document)
    }
}

/// What the first answer said of the object's version.
fn version_of(object: &HeaderMap) -> HeaderMap {
    const VERSION: HeaderName = HeaderName::from_static("x-amz-version-id");
    object.get(&VERSION).map(|version| (VERSION, version.clone())).into_iter().collect()
}

fn busy() -> Error {
    Error::client(Code::SlowDown, "Please reduce your request rate: no room for the list of parts just now.")
        .because("limits.buffers is used up")
}

fn shown_checksum(facts: &SealedFacts, parts: usize) -> Option<ShownChecksum> {
    ShownChecksum::of_fact(facts.checksum.as_ref()?, u16::try_from(parts).ok())
}

/// The parts that the backend has now, and what it says of their upload.
pub(super) async fn backend_parts(target: &Target<'_>, upload: &str) -> Result<(Standing, AboutUpload)> {
    let mut all = Standing::new();
    let mut marker: Option<String> = None;
    loop {
        let mut out = target.outgoing(Method::GET).param("uploadId", upload);
        if let Some(marker) = &marker {
            out = out.param("part-number-marker", marker.as_str());
        }
        let response = target.backend.call(target.caller, out, Bytes::new()).await?;
        if response.status != StatusCode::OK {
            return Err(behind::error_about(response, &target.names()).await);
        }
        let page = parse_backend_parts(&response.body.collect(MAX_ANSWER).await?)?;
        let mut news = false;
        for (number, etag) in page.etags {
            let here = all.entry(number).or_default();
            if !here.contains(&etag) {
                here.push(etag);
                news = true;
            }
        }
        match page.next {
            Some(next) if news => marker = Some(next),
            Some(_) => return Err(info::unexpected("a list of parts that goes in circles")),
            None => return Ok((all, page.about)),
        }
    }
}
