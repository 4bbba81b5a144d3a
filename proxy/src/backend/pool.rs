//! Idle connections to one backend. A connection has no task of its own: it moves while the request that holds it is
//! polled, so that an answer changes neither task nor thread, and it rests here between two requests.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use parking_lot::Mutex;
use tokio::runtime;
use tokio::time::Instant;

use super::connect::Stream;
use super::response::Carrier;

/// Idle connections are given up before common backends and balancers close them (60 s and more).
const IDLE: Duration = Duration::from_secs(30);
/// Most that rest. Conditional writes bring one each, and open files are few.
pub(super) const MOST_IDLE: usize = 256;
/// Most bytes read ahead on one connection: two chunks. hyper's own 400 KiB, a hundred slow readers wide, would be most
/// of the proxy's memory.
const READ_AHEAD: usize = 128 * 1024;

/// Where a connection leads, and the runtime that wakes it: another one may end before it.
type Place = (runtime::Id, Authority);

/// The connections of one backend that stand idle.
#[derive(Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    lines: HashMap<Place, Vec<(Instant, Line)>>,
    /// A task looks after the old ones.
    swept: bool,
}

/// One connection, with nothing under way.
pub(super) struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    carrier: Carrier,
}

/// The head of an answer, and the connection on which its body follows.
pub(super) struct Carried {
    pub(super) answer: Response<Incoming>,
    pub(super) sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    pub(super) carrier: Option<Carrier>,
}

/// What a body needs to give its connection back.
pub(super) struct Home {
    pool: Arc<Pool>,
    place: Place,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Pool {
    /// An idle connection to `authority` that has not been closed, as far as anybody can know.
    pub(super) async fn take(&self, authority: &Authority) -> Option<Line> {
        let place = place(authority);
        // Nobody has polled them since they came to rest.
        poll_fn(|cx| {
            while let Some(mut line) = self.pop(&place) {
                if line.carrier.as_mut().poll(cx).is_pending() && line.sender.is_ready() {
                    return Poll::Ready(Some(line));
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    fn pop(&self, place: &Place) -> Option<Line> {
        let mut idle = self.0.lock();
        let (since, line) = idle.lines.get_mut(place)?.pop()?;
        // The last to come is the first to go: behind one that is too old all others are.
        if since.elapsed() < IDLE {
            return Some(line);
        }
        idle.lines.remove(place);
        None
    }

    fn put(self: &Arc<Self>, place: Place, line: Line) {
        let mut idle = self.0.lock();
        let lines = idle.lines.entry(place).or_default();
        if lines.len() >= MOST_IDLE {
            // The oldest, which is the likeliest to be closed soon anyway.
            lines.remove(0);
        }
        lines.push((Instant::now(), line));
        if !std::mem::replace(&mut idle.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what has been idle for too long, until nothing is left.
async fn sweep(pool: Weak<Pool>) {
    // Should the runtime end first, the next connection that comes to rest finds nobody sweeping.
    let sweeping = Sweeping(pool);
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(pool) = sweeping.0.upgrade() else { return };
        let mut idle = pool.0.lock();
        idle.lines.retain(|_, lines| {
            lines.retain(|(since, _)| since.elapsed() < IDLE);
            !lines.is_empty()
        });
        if idle.lines.is_empty() {
            return;
        }
    }
}

struct Sweeping(Weak<Pool>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.0.lock().swept = false;
        }
    }
}

fn place(authority: &Authority) -> Place {
    (runtime::Handle::current().id(), authority.clone())
}

impl Line {
    /// A new connection over `stream`.
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let (sender, connection) = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(stream).await?;
        Ok(Self { sender, carrier: Box::pin(connection) })
    }

    /// Sends a request and waits for the head of its answer. The rest of the connection is for the answer's body.
    pub(super) async fn carry(self, request: Request<Full<Bytes>>) -> hyper::Result<Carried> {
        let Self { mut sender, carrier } = self;
        let mut carrier = Some(carrier);
        let answer = {
            let mut answer = pin!(sender.send_request(request));
            poll_fn(|cx| {
                if let Some(Poll::Ready(_)) = carrier.as_mut().map(|carrier| carrier.as_mut().poll(cx)) {
                    // Its end is the answer's affair: dropped, it tells that none comes.
                    carrier = None;
                }
                answer.as_mut().poll(cx)
            })
            .await?
        };
        Ok(Carried { answer, sender, carrier })
    }
}

impl Home {
    /// The way back to `pool` for a connection to `authority`.
    pub(super) fn new(
        pool: &Arc<Pool>,
        authority: &Authority,
        sender: http1::SendRequest<Full<Bytes>>,
    ) -> Self {
        Self { pool: pool.clone(), place: place(authority), sender }
    }

    /// Brings a connection to rest whose answer has been read to its end; one that is not done by then is closed.
    pub(super) fn rest(self, mut carrier: Carrier, cx: &mut Context<'_>) {
        let Self { pool, place, sender } = self;
        if carrier.as_mut().poll(cx).is_pending() && sender.is_ready() {
            pool.put(place, Line { sender, carrier });
        }
    }
}
