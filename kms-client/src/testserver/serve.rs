//! Connections of the test server: TLS, HTTP/1.1 and HTTP/2, reading bodies, and faults as they look on the wire.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::faults::Fault;
use super::routes::{self, Answer, Ask};
use super::{Inner, peer};

/// More than KES looks at, so that a test can pad.
const READ: usize = 4_000_000;

/// Accepts until dropped; its connections end with it.
pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Inner>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&server)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, server: Arc<Inner>) {
    let _ = stream.set_nodelay(true);
    let Ok(tls) = acceptor.accept(stream).await else { return };
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let identity = peer::identity(chain);
    let service = service_fn(move |request| {
        let (server, identity) = (Arc::clone(&server), identity.clone());
        async move { respond(&server, request, identity).await }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http2().max_concurrent_streams(250);
    let _ = http.serve_connection(TokioIo::new(tls), service).await;
}

/// An error here breaks the stream or the connection, which is what some faults want.
async fn respond(
    server: &Inner,
    request: Request<Incoming>,
    identity: Result<String, &'static str>,
) -> Result<Response<Output>, io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    server.faults.count(routes::verb(path));
    let announced = head.headers.get(header::CONTENT_LENGTH);
    let absent = body.is_end_stream() || announced.is_some_and(|length| length == "0");
    let body = Limited::new(body, READ).collect().await.map_err(io::Error::other)?.to_bytes();
    let fault = server.faults.next(path);
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(io::Error::other("injected")),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::Status(status, message)) => return Ok(whole(routes::error(status, message))),
        Some(Fault::Html(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut answer = routes::plain(status, "text/html", "<html><body>nginx</body></html>\n");
            if status.is_redirection() {
                answer
                    .headers_mut()
                    .insert(header::LOCATION, HeaderValue::from_static("https://localhost:1/"));
            }
            return Ok(whole(answer));
        }
        _ => {}
    }
    let ask = Ask {
        method: &head.method,
        path,
        identity: identity.as_deref().map_err(|e| *e),
        body: (!absent).then_some(&body[..]),
    };
    let answer = routes::answer(server, &ask);
    Ok(match fault {
        Some(Fault::ResetAfter) => return Err(io::Error::other("injected")),
        Some(Fault::Truncated) => {
            let (parts, bytes) = answer.into_parts();
            let cut = Bytes::from(bytes).slice(..1);
            Response::from_parts(parts, Output::Cut { first: Some(cut), announce: 100 })
        }
        Some(Fault::Oversized { bytes, announced }) => {
            let body = Bytes::from(vec![b' '; bytes]);
            Response::new(if announced {
                Output::Whole(Full::new(body))
            } else {
                Output::Unannounced(Some(body))
            })
        }
        Some(Fault::Garbage) => {
            whole(routes::plain(StatusCode::OK, "application/json", "{\"plaintext\":7}\n"))
        }
        _ => whole(answer),
    })
}

fn whole(answer: Answer) -> Response<Output> {
    answer.map(|bytes| Output::Whole(Full::new(Bytes::from(bytes))))
}

/// A body, whole or broken on purpose.
enum Output {
    Whole(Full<Bytes>),
    /// Announces more than comes before it breaks.
    Cut {
        first: Option<Bytes>,
        announce: u64,
    },
    /// Does not tell its length.
    Unannounced(Option<Bytes>),
}

impl Body for Output {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Cut { first, .. } => Poll::Ready(Some(match first.take() {
                Some(bytes) => Ok(Frame::data(bytes)),
                None => Err(io::Error::other("injected")),
            })),
            Self::Unannounced(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Cut { announce, .. } => SizeHint::with_exact(*announce),
            Self::Unannounced(_) => SizeHint::default(),
        }
    }
}
