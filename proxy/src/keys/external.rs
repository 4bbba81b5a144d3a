//! What is known of one external key: when it last worked, since when it does not, and what that allows. A pure state
//! machine over instants; asking the key service and dropping cached keys are done elsewhere, by its verdicts.

use std::time::Duration;

use bytes::Bytes;
use kms_client::KeyError;
use tokio::time::Instant;

use crate::config::BucketKeyPolicy;

/// A key counts as erased when the service misses it twice this far apart: KES says the same of every key while its
/// file store is not mounted.
pub(super) const CONFIRM_MISSING: Duration = Duration::from_secs(3);
/// How often a key in trouble is looked at.
const HASTE: Duration = Duration::from_secs(5);

/// What a bucket key is wanted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    Read,
    Write,
}

/// Whether cached data keys of an external key may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It works.
    Good,
    /// The service can't be asked; within grace.
    Offline,
    /// Nobody has looked for too long.
    Stale,
    /// Trouble has lasted beyond its grace, or the key is gone.
    Lost,
}

/// What has to be done about cached data keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Keep,
    /// Drop them all, for this reason.
    Drop(&'static str),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    Unreachable,
    Misbehaving,
}

/// A sealed data key that opened; opening it again proves that the external key still works.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) context: Bytes,
    pub(super) sealed: Bytes,
}

pub(super) struct External {
    /// It has worked at some time in this process.
    pub(super) worked: bool,
    /// Rises with every drop, so that a fetch that began before one is not cached after it.
    pub(super) epoch: u64,
    pub(super) sample: Option<Sample>,
    confirmed: Option<Instant>,
    checked: Option<Instant>,
    missing_since: Option<Instant>,
    trouble: Option<(Trouble, Instant)>,
    /// Why it is lost, for readiness and logs.
    problem: Option<String>,
}

impl External {
    pub(super) fn new() -> Self {
        Self {
            worked: false,
            epoch: 0,
            sample: None,
            confirmed: None,
            checked: None,
            missing_since: None,
            trouble: None,
            problem: None,
        }
    }

    /// The service opened a data key with it.
    pub(super) fn succeeded(&mut self, now: Instant, sample: Sample) {
        self.worked = true;
        self.confirmed = Some(now);
        self.checked = Some(now);
        self.missing_since = None;
        self.trouble = None;
        self.problem = None;
        self.sample = Some(sample);
    }

    /// The service did not. Not for a data key that was never open here: that one may be forged.
    pub(super) fn failed(&mut self, now: Instant, error: &KeyError) -> Verdict {
        self.checked = Some(now);
        self.problem = Some(error.to_string());
        match error {
            KeyError::Denied => self.gone("the key service refuses us the key"),
            KeyError::NotFound => match self.missing_since {
                Some(since) if now - since >= CONFIRM_MISSING => self.gone("the key does not exist any more"),
                Some(_) => Verdict::Keep,
                None => {
                    self.missing_since = Some(now);
                    Verdict::Keep
                }
            },
            KeyError::NotAuthentic => self.gone("the key was replaced by another of its name"),
            error => {
                let kind = if error.is_unreachable() { Trouble::Unreachable } else { Trouble::Misbehaving };
                match self.trouble {
                    Some((known, _)) if known == kind => {}
                    // A service that misbehaves after it was unreachable has come to no better end.
                    Some((_, since)) => self.trouble = Some((kind, since)),
                    None => self.trouble = Some((kind, now)),
                }
                Verdict::Keep
            }
        }
    }

    /// Taken away on purpose.
    pub(super) fn gone(&mut self, why: &'static str) -> Verdict {
        let known_already = self.confirmed.is_none() && self.sample.is_none();
        self.epoch += 1;
        self.confirmed = None;
        self.trouble = None;
        self.sample = None;
        self.problem = Some(why.to_owned());
        if known_already { Verdict::Keep } else { Verdict::Drop(why) }
    }

    pub(super) fn standing(&self, now: Instant, what_for: Use, policy: &BucketKeyPolicy) -> Standing {
        let Some(confirmed) = self.confirmed else { return Standing::Lost };
        let offline = match what_for {
            Use::Read => policy.offline_reads,
            Use::Write => policy.offline_writes,
        };
        match self.trouble {
            Some((Trouble::Unreachable, since)) if now - since <= offline => Standing::Offline,
            // One odd answer is no reason to stop; a lasting one is no outage that grace is meant for.
            Some((Trouble::Misbehaving, since)) if now - since <= policy.recheck * 2 => Standing::Good,
            Some(_) => Standing::Lost,
            None if now - confirmed <= policy.recheck * 2 + HASTE => Standing::Good,
            None => Standing::Stale,
        }
    }

    /// A data key was opened lately, and nothing has gone wrong since.
    pub(super) fn is_confirmed(&self, now: Instant, policy: &BucketKeyPolicy) -> bool {
        self.trouble.is_none()
            && self.missing_since.is_none()
            && self.standing(now, Use::Write, policy) == Standing::Good
    }

    /// Trouble has outlasted every grace, so the data keys need not stay in memory.
    pub(super) fn outlasted(&self, now: Instant, policy: &BucketKeyPolicy) -> bool {
        [Use::Read, Use::Write].iter().all(|u| self.standing(now, *u, policy) == Standing::Lost)
    }

    /// Its service can't be asked, so a data key that leaves memory now does not come back before the outage ends.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.trouble, Some((Trouble::Unreachable, _)))
    }

    pub(super) fn check_due(&self, now: Instant, policy: &BucketKeyPolicy) -> bool {
        let calm = self.confirmed.is_some() && self.missing_since.is_none() && self.trouble.is_none();
        let interval = if calm { policy.recheck } else { policy.recheck.min(HASTE) };
        self.checked.is_none_or(|checked| now - checked >= interval)
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BucketKeyPolicy = BucketKeyPolicy {
        rotate: Duration::from_secs(86_400),
        idle: Duration::from_secs(3600),
        recheck: Duration::from_secs(60),
        offline_reads: Duration::from_secs(86_400),
        offline_writes: Duration::from_secs(3600),
    };

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn away() -> KeyError {
        KeyError::Unavailable { reason: "x".to_owned() }
    }

    fn odd() -> KeyError {
        KeyError::Protocol { status: Some(302), message: "x".to_owned() }
    }

    fn working(now: Instant) -> External {
        let mut external = External::new();
        external.succeeded(now, Sample { context: Bytes::new(), sealed: Bytes::new() });
        external
    }

    #[tokio::test(start_paused = true)]
    async fn outage_has_its_grace_for_reads_and_writes() {
        let t = Instant::now();
        let mut key = working(t);
        assert_eq!(key.failed(t, &away()), Verdict::Keep);
        let at = |s, what_for| key.standing(t + secs(s), what_for, &POLICY);
        assert_eq!((at(0, Use::Read), at(0, Use::Write)), (Standing::Offline, Standing::Offline));
        assert_eq!((at(3600, Use::Read), at(3600, Use::Write)), (Standing::Offline, Standing::Offline));
        assert_eq!((at(3601, Use::Read), at(3601, Use::Write)), (Standing::Offline, Standing::Lost));
        assert_eq!((at(86_401, Use::Read), at(86_401, Use::Write)), (Standing::Lost, Standing::Lost));
        assert!(!key.outlasted(t + secs(86_400), &POLICY) && key.outlasted(t + secs(86_401), &POLICY));
        // Grace counts from the first failure, not from the last.
        key.failed(t + secs(3000), &away());
        assert_eq!(key.standing(t + secs(3601), Use::Write, &POLICY), Standing::Lost);
        key.succeeded(t + secs(4000), Sample { context: Bytes::new(), sealed: Bytes::new() });
        assert_eq!(key.standing(t + secs(4000), Use::Write, &POLICY), Standing::Good);
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_and_replacement_take_hold_at_once() {
        for error in [KeyError::Denied, KeyError::NotAuthentic] {
            let t = Instant::now();
            let mut key = working(t);
            let before = key.epoch;
            assert!(matches!(key.failed(t, &error), Verdict::Drop(_)));
            assert_eq!(key.failed(t, &error), Verdict::Keep, "there is nothing left to drop");
            assert_eq!(key.standing(t, Use::Read, &POLICY), Standing::Lost);
            assert!(key.worked && key.sample.is_none() && key.epoch > before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn missing_counts_when_seen_twice_apart() {
        let t = Instant::now();
        let mut key = working(t);
        assert_eq!(key.failed(t, &KeyError::NotFound), Verdict::Keep);
        assert_eq!(key.failed(t + secs(2), &KeyError::NotFound), Verdict::Keep, "too close together");
        assert_eq!(key.standing(t + secs(2), Use::Read, &POLICY), Standing::Good);
        assert!(matches!(key.failed(t + secs(3), &KeyError::NotFound), Verdict::Drop(_)));

        let mut key = working(t);
        key.failed(t, &KeyError::NotFound);
        key.succeeded(t + secs(1), Sample { context: Bytes::new(), sealed: Bytes::new() });
        assert_eq!(key.failed(t + secs(9), &KeyError::NotFound), Verdict::Keep, "a success in between");
    }

    #[tokio::test(start_paused = true)]
    async fn odd_answers_have_no_outage_grace() {
        let t = Instant::now();
        let mut key = working(t);
        key.failed(t, &odd());
        assert_eq!(key.standing(t + secs(120), Use::Read, &POLICY), Standing::Good);
        assert_eq!(key.standing(t + secs(121), Use::Read, &POLICY), Standing::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_having_looked_is_noticed() {
        let t = Instant::now();
        let key = working(t);
        assert_eq!(key.standing(t + secs(125), Use::Read, &POLICY), Standing::Good);
        assert_eq!(key.standing(t + secs(126), Use::Read, &POLICY), Standing::Stale);
        assert_eq!(External::new().standing(t, Use::Write, &POLICY), Standing::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_looked_at_sooner() {
        let t = Instant::now();
        let mut key = External::new();
        assert!(key.check_due(t, &POLICY), "never looked at");
        key.succeeded(t, Sample { context: Bytes::new(), sealed: Bytes::new() });
        assert!(!key.check_due(t + secs(59), &POLICY) && key.check_due(t + secs(60), &POLICY));
        key.failed(t, &away());
        assert!(!key.check_due(t + secs(4), &POLICY) && key.check_due(t + secs(5), &POLICY));
    }
}
