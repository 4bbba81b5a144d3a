//! The Pingora HTTP application: one call per request, from its head to the answer. It knows the order of the rooms
//! and nothing of what they do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Version};
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use time::OffsetDateTime;

use super::answer::{self, ErrorForm};
use super::session::{KEEP_ALIVE_SECONDS, PingoraExchange};
use crate::audit::{Entry, Stage, Trail};
use crate::auth;
use crate::config::Listener;
use crate::error::{Code, Error, Result};
use crate::metrics::RequestRecord;
use crate::ops;
use crate::s3::name::{BucketName, ObjectKey};
use crate::s3::operation::Operation;
use crate::s3::xml::ErrorContext;
use crate::s3::{RequestHead, RequestId, S3Request, target_text};
use crate::services::Services;

/// From an idle connection to the end of a request's head: the wait for a next request, and as long again for a head that
/// comes byte by byte.
const HEAD_TIME: Duration = Duration::from_secs(2 * KEEP_ALIVE_SECONDS);

/// The operation of what is no S3 request.
const UNPARSED: &str = "Unparsed";

/// Serves the clients of one listener.
pub struct S3App {
    services: Arc<Services>,
    secure: bool,
    domains: Vec<String>,
    region: Option<String>,
}

impl S3App {
    /// An application for `listener`.
    pub fn new(services: Arc<Services>, listener: &Listener) -> Self {
        Self {
            services,
            secure: listener.tls.is_some() || listener.tls_terminated_in_front,
            domains: listener.domains.clone(),
            region: listener.region.clone(),
        }
    }

    async fn serve(&self, session: ServerSession, reusable: bool) -> Option<ServerSession> {
        let began = Instant::now();
        let _in_flight = self.services.in_flight.enter();
        let id = RequestId::fresh();
        let from = self.from(&session);
        let head = session.req_header();
        let target = target_text(head.raw_path());
        let understood = || {
            S3Request::parse(RequestHead {
                method: head.method.clone(),
                target: &target,
                headers: head.headers.clone(),
                secure: self.secure,
                domains: &self.domains,
                region: self.region.as_deref(),
                minio_api: self.services.config.compat.minio_api,
                request_id: id.clone(),
            })
        };
        let parsed = check_framing(head).and_then(|()| understood());
        let mut exchange = PingoraExchange::new(session, id.to_string(), reusable);
        let trail = Trail::default();
        let (mut operation, mut who, mut reached) = (UNPARSED, None, Stage::Parsing);
        let resource = target.split('?').next().unwrap_or_default();
        let mut context =
            ErrorContext { resource, bucket: None, key: None, request_id: id.as_str(), host_id: id.as_str() };
        let names;
        let result = match parsed {
            Err(error) => Err(error),
            Ok(request) => {
                operation = request.operation.name();
                reached = Stage::Verification;
                names = (request.bucket.clone(), request.key.as_ref().map(ObjectKey::to_lossy));
                context.bucket = names.0.as_ref().map(BucketName::as_str);
                context.key = names.1.as_deref();
                let now = OffsetDateTime::now_utc();
                match auth::verify(request, &self.services.credentials, now) {
                    Err(error) => {
                        who = claimed(&error);
                        Err(error)
                    }
                    Ok(verified) => {
                        reached = Stage::Handling;
                        who = Some(verified.identity().access_key().to_owned());
                        let work = ops::dispatch(&self.services, &verified, &mut exchange);
                        match self.services.audit {
                            None => work.await,
                            Some(_) => trail.follow(work).await,
                        }
                    }
                }
            }
        };
        let form = if operation == Operation::MinioKms.name() { ErrorForm::Json } else { ErrorForm::Xml };
        let failure = answer::write(&mut exchange, result, form, &context).await;
        if let Some(error) = &failure {
            answer::log(error, id.as_str(), operation);
        }
        let form = trail.form();
        let sender = form.as_ref().map(|(who, object)| (who.as_str(), object.as_str()));
        let entry = Entry {
            request_id: id.as_str(),
            from,
            who: sender.map(|sender| sender.0).or(who.as_deref()),
            operation,
            bucket: context.bucket,
            object: sender.map(|sender| sender.1).or(context.key),
            keys: &trail,
            status: exchange.status().map(|s| s.as_u16()),
            failure: failure.as_ref(),
            reached,
        };
        self.account(&entry, exchange.bytes(), began);
        exchange.into_session().await
    }

    /// Audit line and counters of a request that has its answer.
    fn account(&self, entry: &Entry<'_>, (received, sent): (u64, u64), began: Instant) {
        if let Some(audit) = &self.services.audit {
            audit.write(entry);
        }
        let metrics = &self.services.metrics;
        if let Some(why) = entry.denial() {
            metrics.denied(why);
        }
        metrics.request(&RequestRecord {
            operation: entry.operation,
            status: entry.status.unwrap_or(0),
            blame: entry.failure.map(Error::blame),
            received,
            sent,
            elapsed: began.elapsed(),
        });
        let Entry { request_id, operation, status, .. } = entry;
        tracing::debug!(request_id, operation, ?status, received, sent, "request done");
    }

    /// Where the client's connection comes from, if that is kept.
    fn from(&self, session: &ServerSession) -> Option<String> {
        self.services.audit.as_ref().and(session.client_addr()).map(ToString::to_string)
    }

    /// Bytes that are no HTTP request still get an S3 answer, and then the connection ends. Pingora's description of them
    /// quotes them, signatures and customer keys included: it must not reach the log.
    async fn refuse_unparsable(&self, session: ServerSession, too_large: bool) {
        let began = Instant::now();
        let _in_flight = self.services.in_flight.enter();
        let id = RequestId::fresh();
        let from = self.from(&session);
        let error = if too_large {
            Error::client(
                Code::RequestHeaderSectionTooLarge,
                "Your request header section exceeds the maximum allowed size of 8 KiB.",
            )
        } else {
            Error::client(Code::BadRequest, "The request is not valid HTTP/1.1.")
        };
        let mut exchange = PingoraExchange::unparsed(session, id.to_string());
        let context = ErrorContext {
            resource: "",
            bucket: None,
            key: None,
            request_id: id.as_str(),
            host_id: id.as_str(),
        };
        let failure = answer::write(&mut exchange, Err(error), ErrorForm::Xml, &context).await;
        if let Some(error) = &failure {
            answer::log(error, id.as_str(), UNPARSED);
        }
        let entry = Entry {
            request_id: id.as_str(),
            from,
            who: None,
            operation: UNPARSED,
            bucket: None,
            object: None,
            keys: &Trail::default(),
            status: exchange.status().map(|s| s.as_u16()),
            failure: failure.as_ref(),
            reached: Stage::Parsing,
        };
        self.account(&entry, exchange.bytes(), began);
        exchange.into_session().await;
    }
}

/// What HTTP/1.1 wants of every request (RFC 9112 sections 3.2 and 6.1).
fn check_framing(head: &RequestHeader) -> Result<()> {
    if head.version >= Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(Error::client(Code::BadRequest, "The request has no Host header."));
    }
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if codings.next().is_none_or(chunked) && codings.next().is_none() {
        return Ok(());
    }
    Err(Error::client(
        Code::NotImplemented,
        "A header you provided implies functionality that is not implemented: Transfer-Encoding takes `chunked` alone.",
    )
    .field("Header", "Transfer-Encoding"))
}

/// The access key that a request names whose signature does not hold.
fn claimed(error: &Error) -> Option<String> {
    let (_, value) = error.fields().iter().find(|(name, _)| *name == "AWSAccessKeyId")?;
    Some(value.clone())
}

#[async_trait]
impl HttpServerApp for S3App {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut stopping = shutdown.clone();
        let read = tokio::select! {
            biased;
            read = tokio::time::timeout(HEAD_TIME, session.read_request()) => match read {
                Ok(read) => read,
                Err(_) => return None,
            },
            // An idle keep-alive connection must not hold up a shutdown.
            _ = stopping.wait_for(|stop| *stop) => return None,
        };
        match read {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) if *error.etype() == ErrorType::InvalidHTTPHeader => {
                self.refuse_unparsable(session, error.to_string().contains("larger than")).await;
                return None;
            }
            Err(_) => return None,
        }
        if session.req_header().method == Method::CONNECT {
            self.refuse_unparsable(session, false).await;
            return None;
        }
        let reusable = !*shutdown.borrow();
        let session = Box::pin(self.serve(session, reusable)).await?;
        let settings = HttpPersistentSettings::for_session(&session);
        match tokio::time::timeout(HEAD_TIME, session.finish()).await {
            Ok(Ok(Some(stream))) => Some(ReusedHttpStream::from_reusable_stream(stream, settings)),
            Ok(Ok(None) | Err(_)) | Err(_) => None,
        }
    }
}
