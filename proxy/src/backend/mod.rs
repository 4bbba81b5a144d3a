//! WHERE IT IS STORED: one hyper client per S3 backend. Requests go out signed and in canonical encoding, every await
//! has a deadline, and nothing of a backend's redirects or complaints about us reaches a client.
//! What is asked, and what of an answer is shown, is decided by the callers.

mod connect;
mod failure;
mod folding;
mod framing;
mod outgoing;
mod pool;
mod probe;
mod profile;
mod response;
mod subresources;
mod system;
mod upload;
mod xml;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_MATCH, IF_NONE_MATCH};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use parking_lot::RwLock;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

pub use failure::{Names, error_from};
pub use folding::Fold;
pub use framing::TrailerChecksum;
pub use outgoing::Outgoing;
pub use probe::{Finding, Report};
pub use profile::Profile;
pub use response::{Body, Response};
pub use system::{Named, Page, Pages, SystemArea, SystemId, components};
pub use upload::{Step, Upload};

use crate::auth::sign::{PayloadHash, SignedRequest, Signer, anonymous};
use crate::config::{self, Config};
use crate::error::{Code, Error, Result};
use crate::metrics::BackendLatency;
use crate::s3::headers::{COPY_SOURCE, copy_source};
use crate::s3::name::{BucketName, ObjectKey};
use connect::Connector;
use failure::Document;
use outgoing::Endpoint;
use pool::{Carried, Home, Line, Pool};

/// Most buckets whose region was learnt from a redirect that are remembered.
const MAX_REGIONS: usize = 10_000;

/// Under whose keys a request goes out.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The backend's own keys from the configuration.
    Own,
    /// Keys that a client's identity brings along (`backend_keys`).
    As(Signer),
    /// No signature: the backend's policy decides about strangers.
    Anonymous,
}

/// Every backend of the configuration, by name.
#[derive(Clone, Debug)]
pub struct Backends(Arc<BTreeMap<String, Backend>>);

impl Backends {
    /// Makes the clients; nothing is connected yet.
    pub fn from_config(config: &Config) -> Result<Self> {
        let mut backends = BTreeMap::new();
        for (name, backend) in &config.backends {
            let keys = config
                .credentials
                .iter()
                .filter_map(|c| Some((c.access_key.clone(), Signer::new(c.backend_keys.get(name)?.clone()))))
                .collect();
            backends.insert(name.clone(), Backend::with_callers(name, backend.clone(), keys)?);
        }
        Ok(Self(Arc::new(backends)))
    }

    /// The backend of that name; rules are checked against the names at start.
    pub fn get(&self, name: &str) -> Result<&Backend> {
        self.0.get(name).ok_or_else(|| Error::internal(format!("no backend is named {name:?}")))
    }

    /// The backend that a bucket is routed to.
    pub fn for_bucket(&self, config: &Config, bucket: &BucketName) -> Result<&Backend> {
        self.get(&config.buckets.rule(bucket).backend)
    }

    /// Reports how long they take to answer from now on.
    pub fn report_to(&self, latency: &BackendLatency) {
        for backend in self.iter() {
            // Set once, at start; a second time changes nothing.
            let _ = backend.0.latency.set(latency.clone());
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.0.values()
    }
}

/// One S3 backend. Cheap to clone.
#[derive(Clone)]
pub struct Backend(Arc<Inner>);

struct Inner {
    name: String,
    config: config::Backend,
    endpoint: Endpoint,
    connector: Connector,
    pool: Arc<Pool>,
    own: Signer,
    /// By the client's access key.
    callers: HashMap<String, Signer>,
    /// Buckets that turned out to be in another region than the configured one.
    regions: RwLock<HashMap<BucketName, String>>,
    system: OnceCell<system::Opened>,
    profile: OnceCell<Arc<Profile>>,
    latency: OnceLock<BackendLatency>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({} at {})", self.0.name, self.0.config.endpoint)
    }
}

/// What an answer turned out to be.
enum Verdict {
    Answer(Response),
    OtherRegion(String),
}

impl Backend {
    /// A client for one backend, under its own keys only.
    pub fn new(name: &str, config: config::Backend) -> Result<Self> {
        Self::with_callers(name, config, HashMap::new())
    }

    fn with_callers(name: &str, config: config::Backend, callers: HashMap<String, Signer>) -> Result<Self> {
        let connector = Connector::new(&config)?;
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            endpoint: Endpoint::new(&config)?,
            own: Signer::new(config.keys.clone()),
            connector,
            pool: Arc::default(),
            callers,
            regions: RwLock::default(),
            system: OnceCell::new(),
            profile: OnceCell::new(),
            latency: OnceLock::new(),
            config,
        })))
    }

    /// Name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its configuration.
    pub fn config(&self) -> &config::Backend {
        &self.0.config
    }

    /// Under whose keys the requests of a client go out here: the identity's own `backend_keys`, else ours.
    pub fn caller(&self, access_key: &str) -> Caller {
        self.0.callers.get(access_key).map_or(Caller::Own, |signer| Caller::As(signer.clone()))
    }

    /// Whether every signed request goes out under our own keys. Storage may give other owners other buckets of the same
    /// name.
    pub fn has_one_caller(&self) -> bool {
        self.0.callers.is_empty()
    }

    /// Sends a request whose whole body is in memory and waits for the head of the answer.
    ///
    /// The body is covered by its SHA-256. A connection of the pool that turns out to be dead is replaced once; a
    /// redirect to another region is followed once. Any status comes back as a [`Response`], except redirects (502)
    /// and complaints about the proxy's own credentials (503).
    pub async fn call(&self, who: &Caller, out: Outgoing, body: Bytes) -> Result<Response> {
        let payload = PayloadHash::of(&body);
        let began = Instant::now();
        let answer = self.call_with(who, out, body, payload).await;
        self.observed(began, &answer);
        answer
    }

    /// Tells the metrics how long an answer took.
    fn observed(&self, began: Instant, answer: &Result<Response>) {
        if let Some(latency) = self.0.latency.get() {
            latency.observe(self.name(), answer.as_ref().ok().map(|answer| answer.status), began.elapsed());
        }
    }

    async fn call_with(
        &self,
        who: &Caller,
        out: Outgoing,
        body: Bytes,
        payload: PayloadHash,
    ) -> Result<Response> {
        let region = self.region(out.bucket.as_ref());
        let first = self.exchange(who, &out, &region, &body, payload).await?;
        match self.judge(first, &region).await? {
            Verdict::Answer(response) => Ok(response),
            Verdict::OtherRegion(region) => {
                self.learn(out.bucket.as_ref(), &region);
                let second = self.exchange(who, &out, &region, &body, payload).await?;
                let status = second.status;
                match self.judge(second, &region).await? {
                    Verdict::Answer(response) => Ok(response),
                    Verdict::OtherRegion(_) => Err(failure::redirected(self.name(), status)),
                }
            }
        }
    }

    /// Begins a streamed upload of exactly `sealed_len` ciphertext bytes. Nothing is sent before the first of them
    /// is in hand; nothing is retried. Waits for the probe where the framing is not configured.
    pub async fn upload(&self, who: &Caller, out: Outgoing, sealed_len: u64) -> Result<Upload> {
        let profile = match self.0.config.profile.framing {
            Some(_) => self.profile(),
            None => self.prepare().await?,
        };
        Ok(Upload::new(self.clone(), who.clone(), out, profile.upload_framing(), sealed_len))
    }

    /// What is known of the backend: measured once [`Backend::prepare`] has succeeded, assumed before.
    pub fn profile(&self) -> Arc<Profile> {
        let assumed = || Arc::new(Profile::assumed(&self.0.config.profile));
        self.0.profile.get().cloned().unwrap_or_else(assumed)
    }

    /// Whether the probe has succeeded.
    pub fn is_prepared(&self) -> bool {
        self.0.profile.initialized()
    }

    /// Opens the system area and probes the backend, once; a failure leaves it to the next call. Called at start, and
    /// by whatever needs the answer before that has worked.
    pub async fn prepare(&self) -> Result<Arc<Profile>> {
        // Boxed: it runs once, and every upload's future would have to hold room for it.
        let probe = Box::pin(async {
            let report = probe::run(self, &self.system().await?, false).await?;
            for finding in &report.findings {
                tracing::info!(backend = self.name(), "{finding}");
            }
            Ok(Arc::new(report.profile))
        });
        self.0.profile.get_or_try_init(|| probe).await.cloned()
    }

    /// Probes everything now, whatever is known already; what it finds about subresources is kept for the next start.
    pub async fn check(&self) -> Result<Report> {
        Box::pin(probe::run(self, &self.system().await?, true)).await
    }

    /// What makes the backend take this key for another one, if it does. Only a key that some storage takes so waits for the
    /// probe.
    pub async fn folds(&self, key: &ObjectKey) -> Result<Option<Fold>> {
        if Fold::of(key.as_bytes()).next().is_none() {
            return Ok(None);
        }
        let profile = self.prepare().await?;
        Ok(Fold::of(key.as_bytes()).find(|fold| profile.folds.contains(fold)))
    }

    /// The system area; made and checked at the first call.
    pub async fn system(&self) -> Result<SystemArea> {
        let opened = self.0.system.get_or_try_init(|| Box::pin(SystemArea::open(self))).await?;
        Ok(SystemArea::new(self, *opened))
    }

    /// One request and the head of its answer, whatever it is.
    async fn exchange(
        &self,
        who: &Caller,
        out: &Outgoing,
        region: &str,
        body: &Bytes,
        payload: PayloadHash,
    ) -> Result<Response> {
        let request = self.sign(who, out, region, payload)?;
        let authority = request.uri().authority().cloned();
        let authority = authority.ok_or_else(|| Error::internal("a backend address without a host"))?;
        if !is_conditional_write(out)
            && let Some(line) = self.0.pool.take(&authority).await
        {
            match self.within_head_deadline(line.carry(whole(request, body))).await? {
                Ok(carried) => return Ok(self.answered(&authority, carried).await),
                // Whatever stands idle beside it may be as dead: the second try is over a fresh one.
                Err(error) => {
                    let error = describe(&error);
                    tracing::debug!(
                        backend = self.name(),
                        error,
                        "pooled connection was stale, sending again"
                    );
                }
            }
            let again = self.sign(who, out, region, payload)?;
            return self.exchange_afresh(&authority, again, body).await;
        }
        self.exchange_afresh(&authority, request, body).await
    }

    /// The same on a connection of its own, which joins the pool afterwards.
    async fn exchange_afresh(
        &self,
        authority: &Authority,
        request: SignedRequest,
        body: &Bytes,
    ) -> Result<Response> {
        let carried = self.within_head_deadline(async {
            let stream = self.0.connector.connect(request.uri()).await;
            let stream = stream.map_err(|e| unreachable(self.name(), true, e.as_ref()))?;
            let broken = |e| unreachable(self.name(), false, &e);
            let line = Line::new(stream).await.map_err(broken)?;
            line.carry(whole(request, body)).await.map_err(broken)
        });
        // Boxed: connecting is rare, and every call's future would have to hold room for it.
        let carried = Box::pin(carried).await??;
        Ok(self.answered(authority, carried).await)
    }

    /// The head of an answer, with a body that keeps to this backend's deadlines.
    async fn answered(&self, authority: &Authority, carried: Carried) -> Response {
        let Carried { answer, sender, carrier } = carried;
        let (head, incoming) = answer.into_parts();
        let home = Home::new(&self.0.pool, authority, sender);
        let body = Body::stream(incoming, carrier, Some(home), self.0.config.timeouts.idle).await;
        Response { status: head.status, headers: head.headers, body }
    }

    fn sign(
        &self,
        who: &Caller,
        out: &Outgoing,
        region: &str,
        payload: PayloadHash,
    ) -> Result<SignedRequest> {
        let unsigned = out.address(&self.0.endpoint, region)?;
        let now = OffsetDateTime::now_utc();
        match who {
            Caller::Own => self.0.own.sign(unsigned, region, now, payload),
            Caller::As(signer) => signer.sign(unsigned, region, now, payload),
            Caller::Anonymous => anonymous(unsigned, payload),
        }
    }

    /// Connecting has its own, shorter deadline inside.
    async fn within_head_deadline<F: Future>(&self, work: F) -> Result<F::Output> {
        let timeouts = &self.0.config.timeouts;
        tokio::time::timeout(timeouts.connect.saturating_add(timeouts.response), work).await.map_err(|_| {
            Error::backend(
                Code::GatewayTimeout,
                "The storage behind the proxy did not answer in time. Try again.",
            )
            .because(format!("backend {}: no response head within timeouts.response", self.name()))
        })
    }

    /// Sorts out redirects and complaints about ourselves.
    async fn judge(&self, response: Response, region: &str) -> Result<Verdict> {
        let Response { status, headers, body } = response;
        let suspicious = status.is_redirection() && status != StatusCode::NOT_MODIFIED
            || status.is_informational()
            || matches!(status.as_u16(), 400 | 401 | 403);
        if !suspicious {
            return Ok(Verdict::Answer(Response { status, headers, body }));
        }
        let bytes = body.prefix(failure::MAX_DOCUMENT).await;
        let document = Document::parse(&bytes);
        let code = document.code.as_deref();
        // A 400 to HEAD has no document; there the header alone tells of another region.
        let about_region = match status.as_u16() {
            301 | 302 | 307 | 308 => true,
            400 => bytes.is_empty() || code == Some("AuthorizationHeaderMalformed"),
            _ => false,
        };
        if about_region && let Some(other) = failure::region_of(&headers, &document).filter(|r| r != region) {
            return Ok(Verdict::OtherRegion(other));
        }
        if status.is_redirection() || status.is_informational() {
            return Err(failure::redirected(self.name(), status));
        }
        if let Some(code) = code.filter(|code| failure::is_about_us(code)) {
            return Err(failure::our_fault(self.name(), code));
        }
        Ok(Verdict::Answer(Response { status, headers, body: Body::from_bytes(bytes) }))
    }

    fn region(&self, bucket: Option<&BucketName>) -> String {
        let learnt = bucket.and_then(|bucket| self.0.regions.read().get(bucket).cloned());
        learnt.unwrap_or_else(|| self.0.config.region.clone())
    }

    fn learn(&self, bucket: Option<&BucketName>, region: &str) {
        let Some(bucket) = bucket else { return };
        let mut regions = self.0.regions.write();
        if regions.len() >= MAX_REGIONS {
            regions.clear();
        }
        regions.insert(bucket.clone(), region.to_owned());
    }
}

/// A conditional write that is sent again after a stale connection could meet its own first effect as a failed condition,
/// so it goes over a connection that cannot be stale. A copy onto itself changes no byte, so it meets the same ETag again.
fn is_conditional_write(out: &Outgoing) -> bool {
    let writes = out.method != Method::GET && out.method != Method::HEAD;
    writes
        && [IF_MATCH, IF_NONE_MATCH].iter().any(|n| out.headers.contains_key(n))
        && !copies_onto_itself(out)
}

fn copies_onto_itself(out: &Outgoing) -> bool {
    match (out.headers.get(COPY_SOURCE), &out.bucket, &out.key) {
        (Some(source), Some(bucket), Some(key)) => {
            copy_source(bucket, key, None).is_ok_and(|itself| itself == source)
        }
        _ => false,
    }
}

/// No answer: 503 where nothing was reached, 502 where something broke off.
fn unreachable(backend: &str, connecting: bool, error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = format!("backend {backend}: {}", describe(error));
    if connecting {
        Error::backend(
            Code::ServiceUnavailable,
            "The storage behind the proxy can't be reached. Try again later.",
        )
    } else {
        Error::backend(
            Code::BadGateway,
            "The storage behind the proxy broke off or answered garbage. Try again.",
        )
    }
    .because(cause)
}

/// A request with its whole body. S3 wants to hear the length of an upload of nothing, which hyper leaves out.
fn whole(request: SignedRequest, body: &Bytes) -> Request<Full<Bytes>> {
    let mut request = request.into_origin_form(Full::new(body.clone()));
    if body.is_empty() && matches!(*request.method(), Method::PUT | Method::POST) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    request
}

/// An error with its sources, on one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        out.push_str(": ");
        out.push_str(&inner.to_string());
        source = inner.source();
    }
    out
}

#[cfg(test)]
mod tests;
