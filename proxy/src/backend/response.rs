//! A backend's answer: its head as it came, and its body piece by piece, each piece with a deadline. Which headers
//! a client may see is decided by the callers, from an allowlist.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::pool::Home;
use crate::error::{Code, Error, Result};

/// Any answer of a backend; redirects and complaints about our own credentials never get this far.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Every header as it came.
    pub headers: HeaderMap,
    /// The body, not yet read.
    pub body: Body,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Content-Length, if there is exactly one that parses.
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// Most room that is made for a body on the word of the backend: a page of a thousand long names.
const MAX_ROOM: usize = 1 << 20;

/// A connection: it has no task of its own and moves when its answer is read.
pub(super) type Carrier = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A response body. Dropping it before its end closes the connection that it came over.
pub struct Body {
    source: Source,
    idle: Duration,
}

enum Source {
    Whole(Option<Bytes>),
    Stream(Box<Streamed>),
}

struct Streamed {
    incoming: Incoming,
    carrier: Option<Carrier>,
    /// Where the connection goes at the end; without one it is closed.
    home: Option<Home>,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Source::Whole(bytes) => write!(f, "Body({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Source::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl Body {
    /// A body in memory, for answers made here and for tests of those who read one.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Whole(Some(bytes.into())), idle: Duration::MAX }
    }

    /// What comes over a connection, which goes `home` after the last byte.
    pub(super) async fn stream(
        incoming: Incoming,
        carrier: Option<Carrier>,
        home: Option<Home>,
        idle: Duration,
    ) -> Self {
        let left = incoming.size_hint().exact();
        let mut streamed = Streamed { incoming, carrier, home, left };
        if streamed.incoming.is_end_stream() {
            poll_fn(|cx| {
                streamed.go_home(cx);
                Poll::Ready(())
            })
            .await;
        }
        Self { source: Source::Stream(Box::new(streamed)), idle }
    }

    /// The next piece, `None` at a clean end. A connection cut in the middle is an error, never an end; so is
    /// silence for longer than the backend's `timeouts.idle`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match &mut self.source {
            Source::Whole(bytes) => Ok(bytes.take().filter(|b| !b.is_empty())),
            Source::Stream(streamed) => {
                let next = poll_fn(|cx| streamed.poll_chunk(cx));
                match tokio::time::timeout(self.idle, next).await {
                    Ok(Ok(Some(bytes))) => Ok(Some(bytes)),
                    Ok(Ok(None)) if streamed.left.is_some_and(|left| left > 0) => Err(broken("ended early")),
                    Ok(Ok(None)) => Ok(None),
                    Ok(Err(e)) => Err(broken(&super::describe(&e))),
                    Err(_) => Err(Error::backend(
                        Code::GatewayTimeout,
                        "The storage behind the proxy stopped sending. Try again.",
                    )
                    .because("backend body idle for timeouts.idle")),
                }
            }
        }
    }

    /// Bytes that are still to come; 0 where that is not known.
    fn left(&self) -> usize {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            Source::Stream(streamed) => {
                streamed.left.and_then(|left| usize::try_from(left).ok()).unwrap_or_default()
            }
        }
    }

    /// The rest of the body, refused when it is longer than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let mut more = BytesMut::new();
        let mut whole = first;
        while let Some(next) = self.chunk().await? {
            if more.is_empty() {
                more.reserve(whole.len() + self.left().min(MAX_ROOM).max(next.len()));
                more.extend_from_slice(&whole);
            }
            more.extend_from_slice(&next);
            if more.len() > limit {
                break;
            }
        }
        if !more.is_empty() {
            whole = more.freeze();
        }
        if whole.len() > limit {
            return Err(Error::backend(
                Code::BadGateway,
                "The storage behind the proxy answered more than this request can hold.",
            )
            .because(format!("backend body over {limit} bytes")));
        }
        Ok(whole)
    }

    /// At most `limit` bytes of the body; what follows is dropped with the connection.
    pub(super) async fn prefix(mut self, limit: usize) -> Bytes {
        let mut out = BytesMut::new();
        while let Ok(Some(bytes)) = self.chunk().await {
            let room = limit - out.len();
            out.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if out.len() == limit {
                break;
            }
        }
        out.freeze()
    }
}

impl Streamed {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<Option<Bytes>>> {
        loop {
            // The connection first: it moves bytes into the body.
            let ended = match self.carrier.as_mut().map(|carrier| carrier.as_mut().poll(cx)) {
                Some(Poll::Ready(result)) => {
                    self.carrier = None;
                    result.err()
                }
                _ => None,
            };
            match (Pin::new(&mut self.incoming).poll_frame(cx), ended) {
                (Poll::Ready(Some(Ok(frame))), None) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                        if self.left == Some(0) {
                            // Whoever knows the length does not ask for the end.
                            self.go_home(cx);
                        }
                        return Poll::Ready(Ok(Some(data)));
                    }
                    // Trailers and empty frames carry nothing for us.
                    _ => {}
                },
                (Poll::Ready(Some(Err(e))), _) | (_, Some(e)) => return Poll::Ready(Err(e)),
                (Poll::Ready(None), None) => {
                    if self.left.is_none_or(|left| left == 0) {
                        self.go_home(cx);
                    }
                    return Poll::Ready(Ok(None));
                }
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
    }

    fn go_home(&mut self, cx: &mut Context<'_>) {
        if let (Some(carrier), Some(home)) = (self.carrier.take(), self.home.take()) {
            home.rest(carrier, cx);
        }
    }
}

fn broken(how: &str) -> Error {
    Error::backend(Code::BadGateway, "The connection to the storage behind the proxy broke. Try again.")
        .because(format!("backend body: {how}"))
}
