//! Faults that tests inject into the test server, and its counters. What they look like on the wire is `routes`'.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

/// What goes wrong with an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The answer comes late.
    Slow(Duration),
    /// No answer, ever.
    Hang,
    /// Another status with a KES message.
    Status(u16, &'static str),
    /// A status with HTML, as a balancer answers.
    Html(u16),
    /// The stream (HTTP/2) or connection (HTTP/1.1) breaks before an answer; the call is not carried out.
    Reset,
    /// As `Reset`, but the call was carried out.
    ResetAfter,
    /// The body ends early.
    Truncated,
    /// A 200 with this many bytes, announced or not.
    Oversized {
        /// Length of the body.
        bytes: usize,
        /// Whether Content-Length tells.
        announced: bool,
    },
    /// A 200 that holds something else than KES's JSON.
    Garbage,
}

#[derive(Debug)]
struct Rule {
    prefix: String,
    fault: Fault,
    left: usize,
}

/// Rules that apply to the requests to come.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    store_down: Mutex<bool>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Faults {
    /// The next `times` requests whose path starts with `prefix` meet `fault`.
    pub fn inject(&self, prefix: &str, fault: Fault, times: usize) {
        self.rules.lock().push(Rule { prefix: prefix.to_owned(), fault, left: times });
    }

    /// No more injected faults, and the key store is back.
    pub fn clear(&self) {
        self.rules.lock().clear();
        *self.store_down.lock() = false;
    }

    /// The key store behind KES fails or works.
    pub fn store_down(&self, down: bool) {
        *self.store_down.lock() = down;
    }

    pub(super) fn is_store_down(&self) -> bool {
        *self.store_down.lock()
    }

    /// Takes the fault that is due for a path.
    pub(super) fn next(&self, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock();
        let at = rules.iter().position(|r| r.left > 0 && path.starts_with(&r.prefix))?;
        rules[at].left -= 1;
        let fault = rules[at].fault.clone();
        rules.retain(|r| r.left > 0);
        Some(fault)
    }

    pub(super) fn count(&self, verb: &str) {
        *self.counts.lock().entry(verb.to_owned()).or_default() += 1;
    }

    /// Requests so far by verb: `generate`, `decrypt`, `describe`, ..., answered or not.
    pub fn calls(&self, verb: &str) -> u64 {
        self.counts.lock().get(verb).copied().unwrap_or(0)
    }

    /// Requests so far.
    pub fn total(&self) -> u64 {
        self.counts.lock().values().sum()
    }
}
