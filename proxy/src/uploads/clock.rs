//! The replica's own clock, as far as uploads need it: it tells apart what the storage's clock gives one time, and says how
//! old an upload is. Nothing depends on what the clocks of two replicas say beside each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives times that only grow, also where the clock behind them is set back.
pub struct Clock {
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    last: AtomicU64,
}

impl Clock {
    /// That of the machine.
    pub fn system() -> Self {
        Self::reading(SystemTime::now)
    }

    /// That of `now`.
    pub fn reading(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), last: AtomicU64::new(0) }
    }

    /// Milliseconds since 1970; later than every time before.
    pub fn next_ms(&self) -> u64 {
        let now = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let after = |last: u64| now.max(last.saturating_add(1));
        match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last))) {
            Ok(last) | Err(last) => after(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_grow_although_the_clock_stands_or_is_set_back() {
        let seconds = std::sync::Arc::new(AtomicU64::new(0));
        let hand = seconds.clone();
        let clock = Clock::reading(move || UNIX_EPOCH + Duration::from_secs(hand.load(Ordering::Relaxed)));
        for (at, expected) in [(1000, 1_000_000), (1000, 1_000_001), (2, 1_000_002), (2000, 2_000_000)] {
            seconds.store(at, Ordering::Relaxed);
            assert_eq!(clock.next_ms(), expected);
        }
    }
}
