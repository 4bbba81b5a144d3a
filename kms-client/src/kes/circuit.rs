//! Whether an endpoint is worth a try: a pure state machine over instants. After a failure it rests: others are asked before
//! it. After three in a row it is not asked at all, for longer each time; then one caller at a time may try. No clock and no
//! I/O here.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const THRESHOLD: u32 = 3;
/// First and longest time that it rests. Short, so that a service that comes back is found soon.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// How long one that others contradicted is asked last. It costs its share of the load and nothing else.
const BEHIND: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    rests_until: Option<Instant>,
    probing: bool,
    /// Until then others are asked before it, though it answers.
    behind_until: Option<Instant>,
}

impl Circuit {
    /// May a call go out now? One admitted after the open time is the probe; report its end.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if self.failures < THRESHOLD {
            return true;
        }
        if self.rests(now) {
            return false;
        }
        self.probing = true;
        true
    }

    /// Are others to be asked before it?
    pub(super) fn comes_last(&self, now: Instant) -> bool {
        self.rests(now) || self.behind_until.is_some_and(|until| now < until)
    }

    fn rests(&self, now: Instant) -> bool {
        self.probing || self.rests_until.is_some_and(|until| now < until)
    }

    /// The endpoint answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self { behind_until: self.behind_until, ..Self::default() };
    }

    /// It lacked or refused what another endpoint then gave. Tells whether that is news.
    pub(super) fn contradicted(&mut self, now: Instant) -> bool {
        let news = self.behind_until.is_none_or(|until| now >= until);
        self.behind_until = Some(now + BEHIND);
        news
    }

    /// The endpoint could not be reached.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.probing = false;
        let times = self.failures.saturating_sub(THRESHOLD);
        self.rests_until = Some(now + FIRST.saturating_mul(1 << times.min(8)).min(LONGEST));
    }

    /// The caller went away before it knew.
    pub(super) fn abandoned(&mut self) {
        self.probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn opens_probes_once_and_closes() {
        let mut circuit = Circuit::default();
        let start = Instant::now();
        for _ in 0..2 {
            circuit.failed(start);
            assert!(circuit.admit(start), "one or two failures do not open it");
            assert!(
                circuit.rests(start) && !circuit.rests(start + FIRST),
                "and others are asked first for a moment"
            );
        }
        circuit.failed(start);
        assert!(!circuit.admit(start));
        assert!(!circuit.admit(start + FIRST - Duration::from_millis(1)));
        let later = start + FIRST;
        assert!(circuit.admit(later), "the probe");
        assert!(!circuit.admit(later), "one probe at a time");
        circuit.failed(later);
        assert!(!circuit.admit(later + FIRST), "longer the second time");
        assert!(circuit.admit(later + FIRST * 2));
        circuit.abandoned();
        assert!(circuit.admit(later + FIRST * 2), "an abandoned probe frees the place");
        circuit.succeeded();
        assert!(circuit.admit(later) && circuit.admit(later));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_contradicted_is_asked_last_for_a_while() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        assert!(!circuit.comes_last(now));
        assert!(circuit.contradicted(now) && !circuit.contradicted(now), "news once");
        circuit.succeeded();
        assert!(circuit.comes_last(now) && circuit.admit(now), "last, but asked");
        assert!(!circuit.comes_last(now + BEHIND) && circuit.contradicted(now + BEHIND));
    }

    #[tokio::test(start_paused = true)]
    async fn never_stays_open_longer_than_the_limit() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..1000 {
            circuit.failed(now);
        }
        assert!(!circuit.admit(now + LONGEST - Duration::from_millis(1)));
        assert!(circuit.admit(now + LONGEST));
    }
}
