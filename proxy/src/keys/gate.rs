//! How many sealed keys that nobody here has seen may be asked about, per bucket: few at once, and after a run of ones
//! that do not open, few per second. So envelopes planted by the backend cannot flood the key service.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Calls at once for one bucket.
const AT_ONCE: usize = 16;
/// Requests that may wait for their turn.
const WAITING: usize = 512;
/// Failures that come for free, and how fast they do again.
const BURST: f64 = 50.0;
const PER_SECOND: f64 = 10.0;

#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<String, Arc<Gate>>>);

struct Gate {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    failures: Mutex<Budget>,
}

struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        self.left = (self.left + since.as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
    }
}

/// A turn to ask. It costs one failure until [`Turn::opened`] gives that back.
pub(super) struct Turn {
    gate: Arc<Gate>,
    _turn: OwnedSemaphorePermit,
}

impl Turn {
    /// The call was no failure of the sealed key.
    pub(super) fn opened(self) {
        let mut budget = self.gate.failures.lock();
        budget.left = (budget.left + 1.0).min(BURST);
    }
}

impl Gates {
    /// Waits for a turn; `None` if too many wait already or too many failed lately.
    pub(super) async fn turn(&self, bucket: &str) -> Option<Turn> {
        let gate = self.gate(bucket);
        let place = Arc::clone(&gate.waiting).try_acquire_owned().ok()?;
        let turn = Arc::clone(&gate.turns).acquire_owned().await.ok()?;
        drop(place);
        {
            let mut budget = gate.failures.lock();
            budget.refill(Instant::now());
            if budget.left < 1.0 {
                return None;
            }
            budget.left -= 1.0;
        }
        Some(Turn { gate, _turn: turn })
    }

    fn gate(&self, bucket: &str) -> Arc<Gate> {
        let mut gates = self.0.lock();
        if let Some(gate) = gates.get(bucket) {
            return Arc::clone(gate);
        }
        let gate = Arc::new(Gate {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            failures: Mutex::new(Budget { left: BURST, at: Instant::now() }),
        });
        gates.insert(bucket.to_owned(), Arc::clone(&gate));
        gate
    }

    /// Forgets buckets that nobody asks about and that have nothing to remember.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.lock().retain(|_, gate| {
            let mut budget = gate.failures.lock();
            budget.refill(now);
            let full = budget.left >= BURST;
            drop(budget);
            Arc::strong_count(gate) > 1 || !full
        });
    }
}

/// What a refused request should wait.
pub(super) const RETRY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_run_out_and_come_back() {
        let gates = Gates::default();
        for _ in 0..50 {
            drop(gates.turn("b").await.unwrap());
        }
        assert!(gates.turn("b").await.is_none());
        assert!(gates.turn("other").await.is_some(), "each bucket has its own");
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            drop(gates.turn("b").await.unwrap());
        }
        assert!(gates.turn("b").await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_opens_costs_nothing() {
        let gates = Gates::default();
        for _ in 0..1000 {
            gates.turn("b").await.unwrap().opened();
        }
        gates.sweep(Instant::now());
        assert!(gates.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn few_at_once() {
        let gates = Gates::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(gates.turn("b").await.unwrap());
        }
        let next = tokio::time::timeout(Duration::from_secs(1), gates.turn("b")).await;
        assert!(next.is_err(), "it waits");
        held.pop().unwrap().opened();
        assert!(gates.turn("b").await.is_some());
    }
}
