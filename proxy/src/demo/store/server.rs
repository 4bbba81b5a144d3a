//! HTTP in front of the store: accepts connections (without Nagle's delay, which costs 40 ms a request), applies faults,
//! and hands requests to `s3s`. Nothing here knows an S3 operation.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, StdError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::StoreConfig;
use super::catalog::Catalog;
use super::faults::{Fault, Faults, Journal, Seen};
use super::reading::Status;
use super::service::Store;

/// What every connection needs.
struct Shared {
    service: S3Service,
    faults: Faults,
    journal: Journal,
    requests: AtomicU64,
}

/// Serves until it is dropped, and cuts every connection then.
pub(super) async fn run(
    listener: TcpListener,
    catalog: Arc<Catalog>,
    config: StoreConfig,
    faults: Faults,
    journal: Journal,
) {
    let mut builder = S3ServiceBuilder::new(Store::new(catalog, config.quirks));
    builder.set_auth(SimpleAuth::from_single(config.access_key, config.secret_key));
    let shared = Arc::new(Shared { service: builder.build(), faults, journal, requests: AtomicU64::new(1) });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, most likely: let some connection end first.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                if stream.set_nodelay(true).is_err() {
                    continue;
                }
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    // An error here is a client that went away, or a fault that was asked for.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Answers one request; an error closes its connection.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Faulty>, StdError> {
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    shared.journal.add(|| Seen {
        method: request.method().clone(),
        target: target.clone(),
        headers: request.headers().clone(),
    });
    let head = request.method() == http::Method::HEAD;
    let fault = shared.faults.take(request.method(), &target);
    match &fault {
        Some(Fault::Status(status, code)) => return error_answer(*status, code, head),
        Some(Fault::Answer(status, headers, body)) => {
            let mut response = Response::new(Faulty::whole(Body::from(Bytes::from(body.clone()))));
            *response.status_mut() = StatusCode::from_u16(*status)?;
            set_headers(&mut response, headers)?;
            return Ok(response);
        }
        Some(Fault::Reset) => return Err(cut()),
        Some(Fault::Stall) => std::future::pending().await,
        _ => {}
    }
    if request.method() == http::Method::OPTIONS {
        // No bucket here has CORS rules, and `s3s` knows no preflight.
        return refusal(403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.", false);
    }
    let response = shared.service.call(request.map(Body::from)).await?;
    let is_xml = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    let mut response = response.map(|body| Faulty::whole(if is_xml { as_references(body) } else { body }));
    if let Some(Status(status)) = response.extensions_mut().remove() {
        *response.status_mut() = status;
    }
    let id = shared.requests.fetch_add(1, Ordering::Relaxed);
    response.headers_mut().insert("x-amz-request-id", HeaderValue::try_from(format!("{id:016X}"))?);
    match fault {
        Some(Fault::StatusAfter(status, code)) => return error_answer(status, &code, head),
        Some(Fault::ResetAfter) => return Err(cut()),
        Some(Fault::CutBody(after)) => response.body_mut().then = Some((after, Then::Cut)),
        Some(Fault::StallBody(after)) => response.body_mut().then = Some((after, Then::Stall)),
        Some(Fault::ShortBody(after)) => {
            response.body_mut().then = Some((after, Then::End));
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(after));
        }
        Some(Fault::FlipByte(at)) => response.body_mut().flip = Some(at),
        Some(Fault::Headers(headers)) => set_headers(&mut response, &headers)?,
        _ => {}
    }
    Ok(response)
}

fn cut() -> StdError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn set_headers(response: &mut Response<Faulty>, headers: &[(String, String)]) -> Result<(), StdError> {
    for (name, value) in headers {
        response.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(())
}

/// Control characters in names go as character references, as S3 writes them: a bare CR would be read back as LF. NUL has none. What is
/// not in memory is no document of the store's.
fn as_references(body: Body) -> Body {
    let is_bare = |byte: &u8| matches!(byte, 1..=8 | 11..=31);
    let Some(document) = body.bytes().filter(|document| document.iter().any(is_bare)) else { return body };
    let mut out = Vec::with_capacity(document.len() + 64);
    for byte in document {
        if is_bare(&byte) {
            out.extend_from_slice(format!("&#x{byte:X};").as_bytes());
        } else {
            out.push(byte);
        }
    }
    Body::from(Bytes::from(out))
}

fn error_answer(status: u16, code: &str, head: bool) -> Result<Response<Faulty>, StdError> {
    refusal(status, code, "", head)
}

fn refusal(status: u16, code: &str, message: &str, head: bool) -> Result<Response<Faulty>, StdError> {
    let message = if message.is_empty() { String::new() } else { format!("<Message>{message}</Message>") };
    let xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>{message}</Error>");
    let body = if head { Body::empty() } else { Body::from(Bytes::from(xml)) };
    let mut response = Response::new(Faulty::whole(body));
    *response.status_mut() = StatusCode::from_u16(status)?;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

/// What a body does once it has sent so much.
#[derive(Clone, Copy, Debug)]
enum Then {
    Cut,
    Stall,
    End,
}

/// A response body that may go wrong on its way.
struct Faulty {
    inner: Body,
    sent: u64,
    then: Option<(u64, Then)>,
    flip: Option<u64>,
}

impl Faulty {
    fn whole(inner: Body) -> Self {
        Self { inner, sent: 0, then: None, flip: None }
    }
}

impl http_body::Body for Faulty {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let sent = self.sent;
        if let Some((after, then)) = self.then
            && sent >= after
        {
            return match then {
                Then::Cut => Poll::Ready(Some(Err(cut()))),
                Then::Stall => Poll::Pending,
                Then::End => Poll::Ready(None),
            };
        }
        let polled = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        let frame = match polled {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        if let Some((after, _)) = self.then {
            data.truncate(usize::try_from(after - sent).unwrap_or(usize::MAX));
        }
        if let Some(at) = self.flip.and_then(|at| usize::try_from(at.checked_sub(sent)?).ok())
            && at < data.len()
        {
            let mut changed = data.to_vec();
            changed[at] ^= 1;
            data = changed.into();
        }
        self.sent += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // Only a body without faults knows its size; the others are framed by their Content-Length header.
        if self.then.is_none() { self.inner.size_hint() } else { http_body::SizeHint::default() }
    }

    fn is_end_stream(&self) -> bool {
        self.then.is_none() && self.inner.is_end_stream()
    }
}
