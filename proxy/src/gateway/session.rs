//! An [`Exchange`] over one Pingora HTTP/1.1 session: reads, writes, deadlines, keep-alive.
//! No S3 meaning lives here.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use crate::error::{Code, Error, Result};
use crate::exchange::{Exchange, Head};

/// Silence after which a client's upload counts as gone; AWS closes idle uploads after about this long.
const READ_IDLE: Duration = Duration::from_secs(60);
/// A write that makes no progress for this long means that the client stopped reading.
const WRITE_IDLE: Duration = Duration::from_secs(60);
/// A close that the client does not take is left to the kernel after this.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// Whole answers are written in pieces of this size, each with a deadline of its own.
const PIECE: usize = 64 * 1024;
/// Idle keep-alive connections are closed after this many seconds.
pub(super) const KEEP_ALIVE_SECONDS: u64 = 60;
/// An answered request whose body was not read: up to this many bytes are read and dropped, so that the answer
/// arrives (a close with unread bytes resets the connection) and the connection can stay.
const DRAIN_BYTES: u64 = 64 * 1024 * 1024;
/// ... and for no longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How a client finds the end of an answer.
enum Framing {
    /// It has no body.
    None,
    Length(u64),
    Chunked,
}

/// One request on a Pingora session.
pub(super) struct PingoraExchange {
    session: ServerSession,
    request_id: String,
    understood: bool,
    expects_continue: bool,
    continued: bool,
    started: bool,
    finished: bool,
    reusable: bool,
    head_only: bool,
    sent: u64,
    received: u64,
    status: Option<StatusCode>,
}

impl PingoraExchange {
    pub(super) fn new(mut session: ServerSession, request_id: String, reusable: bool) -> Self {
        session.set_read_timeout(Some(READ_IDLE));
        session.set_write_timeout(Some(WRITE_IDLE));
        let head = session.req_header();
        // A client of HTTP/1.0 knows no interim answer (RFC 9110 10.1.1).
        let expects_continue = head.version >= Version::HTTP_11
            && head.headers.get(EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let reusable = reusable && session.get_keepalive().is_some();
        let head_only = session.req_header().method == Method::HEAD;
        Self {
            expects_continue,
            reusable,
            head_only,
            understood: true,
            ..Self::unparsed(session, request_id)
        }
    }

    /// For bytes that are no request: they can be answered, once, and nothing can be asked of their head.
    pub(super) fn unparsed(mut session: ServerSession, request_id: String) -> Self {
        session.set_write_timeout(Some(WRITE_IDLE));
        Self {
            session,
            request_id,
            understood: false,
            expects_continue: false,
            continued: false,
            started: false,
            finished: false,
            reusable: false,
            head_only: false,
            sent: 0,
            received: 0,
            status: None,
        }
    }

    /// Whether a head went out, so that nothing but cutting the connection can report a failure.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Status sent, once there is one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Body bytes (received, sent).
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// Writes a whole answer. `length` is shown where it differs from the body's (HEAD).
    pub(super) async fn answer(&mut self, head: Head, body: Bytes, length: Option<u64>) -> Result<()> {
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing =
            if bodiless { Framing::None } else { Framing::Length(length.unwrap_or(body.len() as u64)) };
        self.write_head(head, framing).await?;
        if !self.head_only && !bodiless {
            let mut left = body;
            while !left.is_empty() {
                self.write_body(left.split_to(left.len().min(PIECE))).await?;
            }
        }
        self.finish().await
    }

    /// Gives the session back for the next request, or closes it.
    pub(super) async fn into_session(mut self) -> Option<ServerSession> {
        if !self.finished {
            // Dropping the session cuts the connection: the client sees an incomplete body.
            return None;
        }
        let body_may_follow = self.understood && (!self.expects_continue || self.continued);
        if body_may_follow && !self.session.is_body_done() {
            let drained = tokio::time::timeout(DRAIN_TIME, self.drain()).await;
            if !matches!(drained, Ok(true)) {
                self.reusable = false;
            }
        }
        if self.reusable {
            Some(self.session)
        } else {
            // A client that reads nothing would hold up the close too.
            let _ = tokio::time::timeout(CLOSE_TIME, self.session.shutdown()).await;
            None
        }
    }

    async fn drain(&mut self) -> bool {
        let mut dropped = 0u64;
        while dropped <= DRAIN_BYTES {
            match self.session.read_request_body().await {
                Ok(Some(bytes)) => dropped += bytes.len() as u64,
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn announced_length(&self) -> Option<u64> {
        let headers: &HeaderMap = &self.session.req_header().headers;
        headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    async fn write_head(&mut self, head: Head, framing: Framing) -> Result<()> {
        let unread = self.understood && !self.session.is_body_done();
        if unread && self.expects_continue && !self.continued {
            // The client may send its body or not: only a new connection is unambiguous.
            self.reusable = false;
        } else if unread && self.announced_length().is_none_or(|left| left > DRAIN_BYTES) {
            self.reusable = false;
        }
        let mut out = ResponseHeader::build(head.status, Some(head.headers.len() + 4))
            .map_err(|e| Error::internal(format!("building a response head: {e}")))?;
        for (name, value) in &head.headers {
            out.append_header(name, value.clone())
                .map_err(|e| Error::internal(format!("response header {name}: {e}")))?;
        }
        let set = |out: &mut ResponseHeader, name: &'static str, value: String| {
            out.insert_header(name, value)
                .map_err(|e| Error::internal(format!("response header {name}: {e}")))
        };
        set(&mut out, "x-amz-request-id", self.request_id.clone())?;
        set(&mut out, "x-amz-id-2", self.request_id.clone())?;
        set(&mut out, "server", "s3cloak".to_owned())?;
        out.remove_header(&TRANSFER_ENCODING);
        match framing {
            Framing::None => {}
            Framing::Length(length) => set(&mut out, "content-length", length.to_string())?,
            Framing::Chunked => set(&mut out, "transfer-encoding", "chunked".to_owned())?,
        }
        // Pingora switches keep-alive off after a 100 and while the body is unread; what we decided holds.
        self.session.set_close_on_response_before_downstream_finish(false);
        self.session.set_keepalive(self.reusable.then_some(KEEP_ALIVE_SECONDS));
        self.started = true;
        self.status = Some(head.status);
        within("writing the response head", self.session.write_response_header(Box::new(out))).await
    }
}

#[async_trait]
impl Exchange for PingoraExchange {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let piece = self.session.read_request_body().await.map_err(|e| {
            // Where this body ends is not known, so neither is where a next request would begin (RFC 9112 section 9.3), although
            // Pingora calls the body done.
            self.reusable = false;
            if matches!(e.etype(), pingora::ErrorType::ReadTimedout) {
                Error::client(
                    Code::RequestTimeout,
                    "Your socket connection to the server was not read from or written to within the timeout period.",
                )
            } else {
                Error::client(
                    Code::IncompleteBody,
                    "The request body ended before the declared length, or could not be read.",
                )
                .because(format!("reading the request body: {e}"))
            }
        })?;
        if let Some(bytes) = &piece {
            self.received += bytes.len() as u64;
        }
        Ok(piece)
    }

    async fn send_continue(&mut self) -> Result<()> {
        if !self.expects_continue || self.continued {
            return Ok(());
        }
        self.continued = true;
        within("writing 100 Continue", self.session.write_continue_response()).await
    }

    async fn start(&mut self, head: Head, length: u64) -> Result<()> {
        self.write_head(head, Framing::Length(length)).await
    }

    fn takes_unsized(&self) -> bool {
        self.understood && self.session.req_header().version >= Version::HTTP_11
    }

    async fn start_unsized(&mut self, head: Head) -> Result<()> {
        if !self.takes_unsized() {
            return Err(Error::internal("an answer without a length to a client that takes none"));
        }
        self.write_head(head, Framing::Chunked).await
    }

    async fn write_body(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sent += bytes.len() as u64;
        within("writing the response body", self.session.write_response_body(bytes, false)).await
    }

    async fn finish(&mut self) -> Result<()> {
        within("ending the response body", self.session.write_response_body(Bytes::new(), true)).await?;
        self.finished = true;
        Ok(())
    }
}

/// A write to the client. Pingora's own deadline covers bodies, and neither heads nor the last flush: a client that sends
/// requests and reads no answer would hold each of them for good.
async fn within(what: &str, write: impl Future<Output = pingora::Result<()>>) -> Result<()> {
    match tokio::time::timeout(WRITE_IDLE, write).await {
        Ok(written) => written.map_err(|e| client_gone(format!("{what}: {e}"))),
        Err(_) => Err(client_gone(format!("{what}: the client takes no bytes"))),
    }
}

fn client_gone(cause: String) -> Error {
    Error::client(Code::RequestTimeout, "The client closed the connection.").because(cause)
}
