//! CopyObject as clients ask for it: rights on both sides, directives, conditions, and the answer, which may have to begin
//! before the copy is done.

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue, StatusCode};
use time::OffsetDateTime;
use time::macros::format_description;

use super::pump::{Pump, Pumped, pump_object};
use super::rewrap::writing;
use super::{ATTEMPTS, Copied, Rewrap, is_safe};
use crate::auth::Verified;
use crate::body;
use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head, Outcome, Reply};
use crate::info::{self, Info, Nature, Need, Target};
use crate::ops::put::{Writing, translate_conditions};
use crate::ops::source::Source;
use crate::ops::write_key::{self, WriteKey};
use crate::ops::{Route, keep_alive};
use crate::plan::checksum::ShownChecksum;
use crate::plan::copy::{
    Directives, MAX_COPY, Reseal, asked_checksum, backend_headers, changes_itself, changes_nothing,
    has_checksum,
};
use crate::plan::{answer, write};
use crate::s3::S3Request;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::condition::WriteConditions;
use crate::s3::xml::{CopyResult, render_copied_object};
use crate::services::Services;

/// A copy has no body; what some client sends all the same is read and means nothing.
const MAX_BODY: usize = 64 * 1024;

/// Answers CopyObject.
pub async fn copy_object(
    services: &Services,
    request: &Verified<S3Request>,
    exchange: &mut dyn Exchange,
) -> Result<Outcome> {
    let route = Route::of(services, request)?;
    let target = route.object(request)?;
    let directives = Directives::of(&request.headers)?;
    let checksum = asked_checksum(&request.headers)?;
    // Also where the directive leaves it aside.
    write::check_metadata(&request.headers)?;
    body::collect(request, exchange, MAX_BODY).await?;
    let source = Source::of(services, request, Need::Footer).await?;
    let onto_itself = source.named.bucket == *target.bucket && source.named.key == *target.key;
    let changes = changes_itself(&request.headers, &directives) || source.customer.is_some();
    if onto_itself && source.named.version.is_none() && !changes {
        return Err(changes_nothing());
    }
    if source.info().plain_size > MAX_COPY {
        return Err(Error::client(
            Code::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_COPY}"
            ),
        ));
    }
    let sse = write_key::decide(services, request, &route).await?;
    let context = sse.context_len();
    let key = WriteKey::of(services, request, &target, sse).await?;
    let mut early = HeaderMap::new();
    key.response_headers(&mut early);
    let copying =
        Copying { services, request, route: &route, target, directives, checksum, context, onto_itself, key };
    keep_alive::answer(request, exchange, early, Box::pin(copying.run(source))).await
}

/// One request to copy an object.
struct Copying<'a> {
    services: &'a Services,
    request: &'a Verified<S3Request>,
    route: &'a Route<'a>,
    target: Target<'a>,
    directives: Directives,
    checksum: Option<ChecksumAlgorithm>,
    /// Length of the client's encryption context.
    context: usize,
    onto_itself: bool,
    key: WriteKey,
}

impl Copying<'_> {
    async fn run(&self, mut source: Source<'_>) -> Result<Reply> {
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 {
                source.again(self.services, self.request, Need::Footer).await?;
            }
            if let Some(reply) = self.once(&mut source).await? {
                return Ok(reply);
            }
            self.check_destination().await?;
        }
        if WriteConditions::of(&self.request.headers).is_empty() {
            return Err(info::changed());
        }
        Err(Error::client(
            Code::ConditionalRequestConflict,
            "The conditional request cannot succeed due to a conflicting operation against this resource.",
        ))
    }

    /// `None`: a condition did not hold at the backend.
    async fn once(&self, source: &mut Source<'_>) -> Result<Option<Reply>> {
        if let Some(why) = self.reseal(source) {
            tracing::debug!(?why, "a copy has to be sealed anew");
            if !source.info().whole {
                source.again(self.services, self.request, Need::Tail).await?;
            }
            let pumped = Box::pin(self.pump(source)).await?;
            return pumped.map(|pumped| self.pumped(source, pumped)).transpose();
        }
        let copied = self.rewrap(source).await;
        // Also after a failure: the backend may have made the copy although its answer was lost.
        self.services.info.forget(self.target.bucket, self.target.key, None);
        copied?.map(|copied| self.reply(source, copied)).transpose()
    }

    /// Why the bytes cannot stay as they are, if so.
    fn reseal(&self, source: &Source<'_>) -> Option<Reseal> {
        if source.backend.name() != self.target.backend.name() {
            return Some(Reseal::Elsewhere);
        }
        match (&source.info().nature, &source.found.opened) {
            (Nature::Sealed { .. }, Some(_)) => {}
            _ => return Some(Reseal::Plain),
        }
        if !has_checksum(source.info(), self.checksum) {
            return Some(Reseal::Checksum);
        }
        (!is_safe(&source.target(), &source.found, &self.target)).then_some(Reseal::Unpinned)
    }

    /// Everything that the copy has beside its bytes and its envelope, and conditions on what it replaces. `None`: the
    /// client's do not hold on the object that was looked at.
    async fn headers(&self, source: &Source<'_>, writing: Writing) -> Result<Option<(HeaderMap, HeaderMap)>> {
        let headers = backend_headers(&self.request.headers, &source.found.headers, &self.directives)?;
        write::check_limits(&headers, 0, self.context, &self.target.backend.config().limits)?;
        let mut conditions = HeaderMap::new();
        translate_conditions(self.services, &self.target, &self.request.headers, writing, &mut conditions)
            .await?;
        if self.onto_itself && source.named.version.is_none() {
            let pins = self_pins(&self.target, source.info(), writing)?;
            let other =
                |asked: &HeaderValue| *asked != "*" && pins.get(IF_MATCH).is_some_and(|pin| pin != asked);
            if conditions.get(IF_MATCH).is_some_and(other) {
                return Ok(None);
            }
            conditions.extend(pins);
        }
        Ok(Some((headers, conditions)))
    }

    async fn pump(&self, source: &Source<'_>) -> Result<Option<Pumped>> {
        let (from, found, to) = (&source.target(), &source.found, &self.target);
        let (services, key, checksum) = (self.services, &self.key, self.checksum);
        let pump = Pump { services, from, found, to, key, keeps_parts: false, checksum };
        let Some((mut headers, conditions)) = self.headers(source, pump.writing()).await? else {
            return Ok(None);
        };
        headers.extend(conditions);
        match pump_object(&pump, headers).await {
            Ok(pumped) => Ok(Some(pumped)),
            Err(error) if *error.code() == Code::PreconditionFailed => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn rewrap(&self, source: &Source<'_>) -> Result<Option<Copied>> {
        let writing = writing(&source.target(), source.info(), &self.target);
        let Some((headers, conditions)) = self.headers(source, writing).await? else { return Ok(None) };
        let (source, found, key) = (source.target(), &source.found, &self.key);
        let (services, destination) = (self.services, self.target);
        Rewrap { services, source, found, destination, key, headers, conditions }.make().await
    }

    /// After a condition failed at the backend: whether it is one of the client's on the destination, as it is now.
    async fn check_destination(&self) -> Result<()> {
        let conditions = WriteConditions::of(&self.request.headers);
        if conditions.is_empty() {
            return Ok(());
        }
        match Box::pin(info::lookup(self.services, &self.target, Need::Footer)).await {
            Ok(info) => conditions.decide(Some(&info.etag)),
            Err(error) if error.code().status() == StatusCode::NOT_FOUND => conditions.decide(None),
            Err(error) => Err(error),
        }
    }

    fn reply(&self, source: &Source<'_>, copied: Copied) -> Result<Reply> {
        let info = source.info();
        let fact = info.end().facts().map(|facts| &facts.etag);
        let policy = self.key.etag_policy(self.route.rule);
        let etag = info::shown_etag(policy, fact, info.plain_size, &copied.backend_etag);
        let last_modified = match copied.last_modified {
            Some(text) => text,
            None => now()?,
        };
        let checksum = ShownChecksum::of_object(info);
        self.document(source, answer::from_backend(&copied.headers), &etag, &last_modified, checksum)
    }

    fn pumped(&self, source: &Source<'_>, pumped: Pumped) -> Result<Reply> {
        self.document(source, pumped.headers, &pumped.etag, &now()?, pumped.checksum)
    }

    fn document(
        &self,
        source: &Source<'_>,
        mut headers: HeaderMap,
        etag: &str,
        last_modified: &str,
        checksum: Option<ShownChecksum>,
    ) -> Result<Reply> {
        let document = render_copied_object(&CopyResult {
            etag,
            last_modified,
            checksum: checksum.map(|shown| (shown.algorithm, shown.text(), Some(shown.kind))),
        });
        source.show_version(&mut headers);
        self.key.response_headers(&mut headers);
        Ok(Reply::xml(Head { status: StatusCode::OK, headers }, document))
    }
}

/// What keeps an object that only gets another key or metadata from replacing a newer one, where the backend can.
pub(super) fn self_pins(target: &Target<'_>, info: &Info, writing: Writing) -> Result<HeaderMap> {
    let profile = target.backend.profile();
    let honoured = match writing {
        Writing::Put => profile.put_if_match,
        Writing::Complete => profile.complete_if_match,
        Writing::Copy => profile.copy_if_match,
    };
    let mut out = HeaderMap::new();
    if honoured {
        out.insert(IF_MATCH, info::pin(&info.backend_etag)?);
    }
    Ok(out)
}

/// RFC 3339 with milliseconds.
fn now() -> Result<String> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(format).map_err(|e| Error::internal(format!("the time: {e}")))
}
