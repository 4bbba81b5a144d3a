//! Making the store misbehave, and remembering what it was asked. A [`Fault`] hits the next request that its rule
//! matches, once; tests queue as many as they need.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{HeaderMap, Method};
use parking_lot::Mutex;

/// One misbehaviour.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers at once, without reading the body, with this status, S3 error code and no effect.
    Status(u16, String),
    /// Carries the request out, then answers with this status and error code all the same.
    StatusAfter(u16, String),
    /// Answers with this status, these headers and this body, which need not be S3.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// Closes the connection without an answer, and without effect.
    Reset,
    /// Carries the request out, then closes the connection without an answer.
    ResetAfter,
    /// Never answers.
    Stall,
    /// Closes the connection after so many bytes of the response's body.
    CutBody(u64),
    /// Stops sending after so many bytes of the response's body, and keeps the connection open.
    StallBody(u64),
    /// Sends so many bytes of the response's body as if they were all, with a Content-Length to match.
    ShortBody(u64),
    /// Changes this byte of the response's body.
    FlipByte(u64),
    /// Sets these headers of the response, such as a wrong `ETag` or `Content-Range`.
    Headers(Vec<(String, String)>),
}

#[derive(Clone, Debug)]
struct Rule {
    method: Option<Method>,
    target: String,
    fault: Fault,
}

/// The faults that wait for a request. Clones share one queue.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<VecDeque<Rule>>>);

impl Faults {
    /// The next request fails so.
    pub fn next(&self, fault: Fault) {
        self.add(None, "", fault);
    }

    /// The next request of this method, and with `target` somewhere in its raw path and query, fails so. Several faults
    /// for one kind of request are used up in order.
    pub fn on(&self, method: Method, target: &str, fault: Fault) {
        self.add(Some(method), target, fault);
    }

    /// Forgets every fault that has not happened.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// How many faults have not happened yet.
    pub fn waiting(&self) -> usize {
        self.0.lock().len()
    }

    fn add(&self, method: Option<Method>, target: &str, fault: Fault) {
        self.0.lock().push_back(Rule { method, target: target.to_owned(), fault });
    }

    pub(super) fn take(&self, method: &Method, target: &str) -> Option<Fault> {
        let mut rules = self.0.lock();
        let at = rules.iter().position(|rule| {
            rule.method.as_ref().is_none_or(|wanted| wanted == method) && target.contains(&rule.target)
        })?;
        rules.remove(at).map(|rule| rule.fault)
    }
}

/// The head of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Raw path and query.
    pub target: String,
    /// Every header.
    pub headers: HeaderMap,
}

/// The requests that came in, in order, faulty ones included. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Journal(Option<Arc<Mutex<Vec<Seen>>>>);

impl Journal {
    pub(super) fn new(on: bool) -> Self {
        Self(on.then(Default::default))
    }

    pub(super) fn add(&self, seen: impl FnOnce() -> Seen) {
        if let Some(list) = &self.0 {
            list.lock().push(seen());
        }
    }

    /// Returns what was seen since the last call, and forgets it.
    pub fn take(&self) -> Vec<Seen> {
        self.0.as_ref().map(|list| std::mem::take(&mut *list.lock())).unwrap_or_default()
    }
}
