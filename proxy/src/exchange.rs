//! One request's I/O with its client, as the handlers see it. `gateway/` implements it over Pingora, tests over
//! memory; no handler names the framework.

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::Result;

/// Status and headers of an answer, before framing. `Date`, `x-amz-request-id` and `Connection` are the gateway's.
#[derive(Debug, Default)]
pub struct Head {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers without framing (no Content-Length: the gateway sets it from `length`).
    pub headers: HeaderMap,
}

impl Head {
    /// A head without headers.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

/// A whole answer in memory.
#[derive(Debug)]
pub struct Reply {
    /// Status and headers.
    pub head: Head,
    /// The body; for HEAD requests it is measured and not sent.
    pub body: Bytes,
    /// Content-Length to show where it is not the body's (HEAD answers).
    pub shown_length: Option<u64>,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(head: Head) -> Self {
        Self { head, body: Bytes::new(), shown_length: None }
    }

    /// An XML answer.
    pub fn xml(mut head: Head, body: impl Into<Bytes>) -> Self {
        head.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
        Self { head, body: body.into(), shown_length: None }
    }
}

/// What a handler leaves behind when it succeeds.
#[derive(Debug)]
pub enum Outcome {
    /// The gateway writes this.
    Reply(Reply),
    /// The handler has written head and body itself through the [`Exchange`].
    Streamed,
}

/// The client's side of one request. Every call has its own deadline inside. An `Err` means that the client is
/// gone or broke the protocol; after a head was started nothing but closing the connection is possible.
#[async_trait]
pub trait Exchange: Send {
    /// Next piece of the request body as it stands on the wire (at most 64 KiB), `None` at its end.
    async fn read_body(&mut self) -> Result<Option<Bytes>>;

    /// Sends `100 Continue` once, if the client asked for it. Called after authentication and header checks.
    async fn send_continue(&mut self) -> Result<()>;

    /// Starts a streamed answer of exactly `length` body bytes.
    async fn start(&mut self, head: Head, length: u64) -> Result<()>;

    /// Whether an answer can go out before its length is known: not to a client of HTTP/1.0.
    fn takes_unsized(&self) -> bool;

    /// Starts a streamed answer whose length is not known yet. Only where [`Exchange::takes_unsized`].
    async fn start_unsized(&mut self, head: Head) -> Result<()>;

    /// Next bytes of a streamed answer.
    async fn write_body(&mut self, bytes: Bytes) -> Result<()>;

    /// Ends a streamed answer cleanly. Without it the gateway cuts the connection.
    async fn finish(&mut self) -> Result<()>;
}
