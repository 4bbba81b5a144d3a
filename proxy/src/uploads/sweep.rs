//! The sweep: every running proxy collects now and then what ended uploads left behind. Several at once do no harm, since
//! each proves for itself what it removes, and removing twice is removing once.

use std::convert::Infallible;
use std::time::Duration;

use object_format::Random as _;
use time::OffsetDateTime;

use super::{Collector, Fate, Judged, Tally};
use crate::backend::Backend;
use crate::error::Result;
use crate::keys::random::SystemRandom;
use crate::services::Services;

/// Sweeps fit into the least age of what they collect: every six hours where it is seven days.
const PER_MIN_AGE: u32 = 28;
/// ... and are never closer together, or further apart, than this.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The first one follows the start within this: a proxy may be started anew more often than it would sweep.
const FIRST: Duration = Duration::from_secs(15);

/// Sweeps every backend for as long as it is polled. It may be dropped at any moment.
pub async fn forever(services: &Services) -> Infallible {
    futures_util::future::join_all(services.backends.iter().map(|backend| async move {
        let mut wait = FIRST.mul_f64(part());
        loop {
            tokio::time::sleep(wait).await;
            wait = pause(backend.config().system.gc_min_age);
            // What went wrong is told in the log, and the next one begins from the start.
            let _ = sweep(services, backend).await;
        }
    }))
    .await;
    std::future::pending().await
}

/// One sweep of a backend, logged and counted.
pub async fn sweep(services: &Services, backend: &Backend) -> Result<Tally> {
    let collector = Collector {
        keyring: &services.keyring,
        uploads: &services.uploads,
        backend,
        min_age: backend.config().system.gc_min_age,
        now: OffsetDateTime::now_utc(),
        dry_run: false,
    };
    let swept = collector.run(|judged: &Judged| log(backend, judged)).await;
    services.metrics.sweep(swept.as_ref().ok());
    match &swept {
        Ok(tally) => tracing::info!(
            backend = backend.name(),
            uploads = tally.looked_at(),
            ended = tally.ended,
            abandoned = tally.abandoned,
            orphaned = tally.orphaned,
            objects = tally.objects,
            under_way = tally.under_way,
            young = tally.young,
            kept = tally.kept,
            "swept what ended uploads left behind"
        ),
        Err(error) => tracing::warn!(backend = backend.name(), %error, "a sweep ended early"),
    }
    swept
}

fn log(backend: &Backend, judged: &Judged) {
    let (backend, place) = (backend.name(), judged.place.as_str());
    match &judged.fate {
        Fate::Ended(objects) | Fate::Orphaned(objects) => {
            tracing::info!(backend, place, objects, "collected what an ended upload left behind");
        }
        Fate::Abandoned(objects) => {
            tracing::info!(backend, place, objects, "ended a copy whose process had ended");
        }
        Fate::Kept(why) => tracing::warn!(backend, place, why, "cannot tell whether an upload has ended"),
        Fate::Young | Fate::UnderWay => {}
    }
}

/// Half to one and a half times the interval, so that replicas that started together do not sweep together.
fn pause(min_age: Duration) -> Duration {
    let interval = (min_age / PER_MIN_AGE).clamp(SHORTEST, LONGEST);
    interval / 2 + interval.mul_f64(part())
}

/// Some part of one.
fn part() -> f64 {
    let mut part = [0; 2];
    SystemRandom.fill(&mut part);
    f64::from(u16::from_be_bytes(part)) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_spread_and_fit_into_the_least_age() {
        let day = 24 * 60 * 60;
        for (age, interval) in [(7 * day, day / 4), (1, 1), (10 * 365 * day, day)] {
            let interval = Duration::from_secs(interval);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(Duration::from_secs(age))).collect();
            assert!(pauses.iter().all(|p| (interval / 2..interval * 3 / 2).contains(p)), "{pauses:?}");
            assert!(pauses.iter().any(|p| *p < interval) && pauses.iter().any(|p| *p > interval));
        }
    }
}
