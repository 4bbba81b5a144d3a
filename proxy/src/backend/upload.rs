//! A streamed upload: one fresh connection, polled in the request's own task, that opens with the first sealed bytes
//! and is cut when the upload is dropped. Nothing here seals; nothing here is sent twice.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::connect::Deaf;
use super::framing::{Framer, Framing, Piece};
use super::response::{Body, Carrier, Response};
use super::{Backend, Caller, Outgoing, Verdict, describe, unreachable};
use crate::auth::sign::anonymous;
use crate::error::{Code, Error, Result};

/// Frames between the sealer and the socket. While the client has bytes to give they gather here, and leave in one write:
/// on loopback each write costs about as much as sealing what is in it.
const PIECES: usize = 4;

/// What a step of an upload came to.
#[derive(Debug)]
pub enum Step<T> {
    /// It went through.
    Done(T),
    /// The backend answered, with an error, before it had the whole body: the upload is over.
    Answered(Response),
}

/// An upload under way. Dropping it withholds the end of the body and cuts the connection, so that the backend
/// stores nothing.
pub struct Upload {
    backend: Backend,
    who: Caller,
    out: Outgoing,
    framing: Framing,
    sealed_len: u64,
    state: State,
}

enum State {
    /// Nothing sent: the backend does not know of us yet.
    Idle,
    Open(Box<Open>),
    Over,
}

type Answer = hyper::Result<http::Response<Incoming>>;

struct Open {
    carrier: Option<Carrier>,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    pieces: mpsc::Sender<Piece>,
    framer: Framer,
    drained: Arc<AtomicBool>,
    deaf: Deaf,
    region: String,
}

impl Upload {
    pub(super) fn new(
        backend: Backend,
        who: Caller,
        out: Outgoing,
        framing: Framing,
        sealed_len: u64,
    ) -> Self {
        Self { backend, who, out, framing, sealed_len, state: State::Idle }
    }

    /// Awaits something of the client while the backend's connection moves on, and sees an early answer. `other` is
    /// dropped unfinished in that case.
    pub async fn drive<F: Future>(&mut self, other: F) -> Result<Step<F::Output>> {
        let State::Open(open) = &mut self.state else { return Ok(Step::Done(other.await)) };
        let mut other = pin!(other);
        // What the client has already given comes first, so that frames gather.
        let outcome = poll_fn(|cx| match other.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => open.poll_answer(cx).map(Err),
        })
        .await;
        match outcome {
            Ok(output) => Ok(Step::Done(output)),
            Err(answer) => Ok(Step::Answered(self.early(answer).await?)),
        }
    }

    /// Hands over sealed bytes, in any split; waits for room. The first call opens the request.
    pub async fn send(&mut self, sealed: Bytes) -> Result<Step<()>> {
        let open = self.open().await?;
        let pieces = open.framer.push(sealed)?;
        match self.put(pieces).await? {
            Some(answer) => Ok(Step::Answered(self.early(answer).await?)),
            None => Ok(Step::Done(())),
        }
    }

    /// The last sealed bytes, the checksum and the end of the body, then the answer, whatever its status.
    pub async fn finish(mut self, last: Bytes) -> Result<Response> {
        let began = Instant::now();
        let answer = self.send_last(last).await;
        self.backend.observed(began, &answer);
        answer
    }

    async fn send_last(&mut self, last: Bytes) -> Result<Response> {
        let open = self.open().await?;
        let pieces = open.framer.push(last)?;
        if let Some(answer) = self.put(pieces).await? {
            return self.conclude(answer).await;
        }
        let end = self.open().await?.framer.finish()?;
        if let Some(answer) = self.put(vec![end]).await? {
            return self.conclude(answer).await;
        }
        let State::Open(open) = &mut self.state else { return Err(over()) };
        let answer = self.backend.within_head_deadline(poll_fn(|cx| open.poll_answer(cx))).await?;
        self.conclude(answer).await
    }

    /// An answer at the end: a success counts if every byte of the body was on its way before it came.
    async fn conclude(&mut self, answer: Answer) -> Result<Response> {
        let State::Open(open) = &self.state else { return Err(over()) };
        let drained = open.drained.load(Ordering::Relaxed) && !open.deaf.is();
        let response = self.receive(answer).await?;
        if response.is_success() && !drained { Err(premature(self.backend.name())) } else { Ok(response) }
    }

    async fn open(&mut self) -> Result<&mut Open> {
        if matches!(self.state, State::Idle) {
            self.state = State::Open(Box::new(self.connect().await?));
        }
        match &mut self.state {
            State::Open(open) => Ok(open),
            _ => Err(over()),
        }
    }

    // By unique reference: an upload is Send and, holding a connection, not Sync.
    async fn connect(&mut self) -> Result<Open> {
        let backend = &self.backend.0;
        let region = self.backend.region(self.out.bucket.as_ref());
        let mut unsigned = self.out.address(&backend.endpoint, &region)?;
        self.framing.announce(&mut unsigned.headers, self.sealed_len)?;
        let now = OffsetDateTime::now_utc();
        let signer = match &self.who {
            Caller::Own => Some(&backend.own),
            Caller::As(signer) => Some(signer),
            Caller::Anonymous => None,
        };
        let (request, signatures) = match (signer, self.framing) {
            (Some(signer), Framing::Signed) => {
                let (request, signatures) = signer.sign_chunked(unsigned, &region, now)?;
                (request, Some(signatures))
            }
            (Some(signer), framing) => (signer.sign(unsigned, &region, now, framing.payload())?, None),
            (None, Framing::Signed) => {
                return Err(Error::client(
                    Code::NotImplemented,
                    "This storage takes long uploads with signed chunks only, so sign the request.",
                ));
            }
            (None, framing) => (anonymous(unsigned, framing.payload())?, None),
        };
        let stream = backend.connector.dial(request.uri()).await;
        let stream = stream.map_err(|e| unreachable(&backend.name, true, e.as_ref()))?;
        let deaf = stream.deaf();
        let handshake = http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|e| unreachable(&backend.name, true, &e))?;
        let (pieces, queue) = mpsc::channel(PIECES);
        let drained = Arc::new(AtomicBool::new(false));
        let body = Frames {
            queue,
            frame: VecDeque::new(),
            left: self.framing.wire_len(self.sealed_len),
            drained: drained.clone(),
        };
        let request = request.into_origin_form(body);
        Ok(Open {
            carrier: Some(Box::pin(connection)),
            // The sender lives until the head of the answer is there.
            answer: Box::pin(async move { sender.send_request(request).await }),
            pieces,
            framer: Framer::new(self.framing, self.sealed_len, signatures),
            drained,
            deaf,
            region,
        })
    }

    /// Queues frames; `Some` is an answer that came before there was room.
    async fn put(&mut self, pieces: Vec<Piece>) -> Result<Option<Answer>> {
        let State::Open(open) = &mut self.state else { return Err(over()) };
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let queue = open.pieces.clone();
            let mut room = pin!(queue.reserve());
            let waiting = poll_fn(|cx| {
                if let Poll::Ready(answer) = open.poll_answer(cx) {
                    return Poll::Ready(Err(answer));
                }
                match room.as_mut().poll(cx) {
                    Poll::Ready(Ok(permit)) => Poll::Ready(Ok(permit)),
                    // The connection dropped the body: its answer or error is about to come out of it.
                    Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
                }
            });
            match tokio::time::timeout(self.backend.0.config.timeouts.idle, waiting).await {
                Ok(Ok(permit)) => permit.send(piece),
                Ok(Err(answer)) => return Ok(Some(answer)),
                Err(_) => {
                    self.state = State::Over;
                    return Err(Error::backend(
                        Code::GatewayTimeout,
                        "The storage behind the proxy stopped taking bytes. Try again.",
                    )
                    .because(format!("backend {}: upload idle for timeouts.idle", self.backend.name())));
                }
            }
        }
        if open.pieces.capacity() > 0 && !open.framer.is_done() {
            return Ok(None);
        }
        // Gets the bytes under way before the caller turns to its client again.
        match poll_fn(|cx| Poll::Ready(open.poll_answer(cx))).await {
            Poll::Ready(answer) => Ok(Some(answer)),
            Poll::Pending => Ok(None),
        }
    }

    /// An answer before the end of the body: an error that the caller may pass on, never a success.
    async fn early(&mut self, answer: Answer) -> Result<Response> {
        let response = self.receive(answer).await?;
        if response.is_success() { Err(premature(self.backend.name())) } else { Ok(response) }
    }

    async fn receive(&mut self, answer: Answer) -> Result<Response> {
        let State::Open(open) = std::mem::replace(&mut self.state, State::Over) else { return Err(over()) };
        let Open { carrier, region, .. } = *open;
        let (head, incoming) = answer.map_err(|e| unreachable(self.backend.name(), false, &e))?.into_parts();
        let body = Body::stream(incoming, carrier, None, self.backend.0.config.timeouts.idle).await;
        let response = Response { status: head.status, headers: head.headers, body };
        match self.backend.judge(response, &region).await? {
            Verdict::Answer(response) => Ok(response),
            Verdict::OtherRegion(region) => {
                // Bytes are gone, so this one can't follow; the client's next try goes there at once.
                self.backend.learn(self.out.bucket.as_ref(), &region);
                Err(Error::backend(Code::SlowDown, "The bucket's region had to be looked up. Try again.")
                    .because(format!("backend {}: bucket is in {region}", self.backend.name())))
            }
        }
    }
}

impl Open {
    /// Moves the connection; ready with the head of an answer or with its failure.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if let Some(Poll::Ready(ended)) = self.carrier.as_mut().map(|carrier| carrier.as_mut().poll(cx)) {
            self.carrier = None;
            if let Err(error) = ended {
                tracing::debug!(error = %describe(&error), "upload connection ended");
            }
        }
        self.answer.as_mut().poll(cx)
    }
}

/// The request's body: frames as they come, and an error unless all of them came.
struct Frames {
    queue: mpsc::Receiver<Piece>,
    frame: VecDeque<Bytes>,
    left: u64,
    drained: Arc<AtomicBool>,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        loop {
            if let Some(bytes) = self.frame.pop_front() {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                if self.left == 0 {
                    self.drained.store(true, Ordering::Relaxed);
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            match self.queue.poll_recv(cx) {
                Poll::Ready(Some(piece)) => self.frame = piece.into(),
                Poll::Ready(None) => return Poll::Ready(Some(Err(Withheld))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The upload was given up; the connection is cut where it stands.
#[derive(Debug, thiserror::Error)]
#[error("the end of the body is withheld")]
struct Withheld;

fn over() -> Error {
    Error::internal("an upload was used after its answer")
}

fn premature(backend: &str) -> Error {
    Error::backend(Code::BadGateway, "The storage behind the proxy answered before it had the whole object.")
        .because(format!("backend {backend}: success before the end of the body"))
}
