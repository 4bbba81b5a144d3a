//! Small requests in a closed loop: each connection sends its next request when it has the last answer whole.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::task::LocalSet;

use super::connection::{Connection, Prepared};
use super::{Job, Outcome, Verb};
use crate::Failure;

/// See [`super::Work::Repeat`].
pub(super) struct Repeat<'a> {
    pub(super) verb: Verb,
    pub(super) prefix: &'a str,
    pub(super) keys: usize,
    pub(super) size: u64,
    pub(super) range: Option<u64>,
    pub(super) connections: usize,
    pub(super) millis: u64,
}

/// Ranges at places that no chunk size divides, the same in every run.
fn ranges(load: &Repeat<'_>) -> Result<Vec<Option<HeaderValue>>, Failure> {
    let Some(length) = load.range else { return Ok(vec![None]) };
    let places =
        load.size.checked_sub(length).filter(|places| *places > 0).ok_or("a range beyond its object")?;
    let mut state = 0x5DEE_CE66_D1CE_4E5B_u64;
    let range = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = (state >> 16) % places;
        Ok(Some(HeaderValue::try_from(format!("bytes={start}-{}", start + length - 1))?))
    };
    (0..251).map(range).collect()
}

pub(super) async fn run(job: &Job, load: &Repeat<'_>) -> Result<Outcome, Failure> {
    let prepare = |number| {
        let target = if load.range.is_some() {
            format!("/{}", load.prefix)
        } else {
            format!("/{}{number:05}", load.prefix)
        };
        Prepared::new(job, load.verb.method(), &target, load.size)
    };
    let prepared: Rc<Vec<Prepared>> = Rc::new((0..load.keys).map(prepare).collect::<Result<_, _>>()?);
    let ranges = Rc::new(ranges(load)?);
    let expected = match (load.verb, load.range) {
        (Verb::Put, _) => 0,
        (Verb::Get, range) => range.unwrap_or(load.size),
    };
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(job).await?);
    }
    // Every connection and key once, so that pools and caches are warm.
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.exchange(&prepared[number % prepared.len()], ranges[0].as_ref()).await?;
    }
    for one in prepared.iter() {
        connections[0].exchange(one, ranges[0].as_ref()).await?;
    }
    let next = Rc::new(Cell::new(0_usize));
    let started = Instant::now();
    let deadline = started + Duration::from_millis(load.millis);
    let tasks = LocalSet::new();
    let workers: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (prepared, ranges, next) = (prepared.clone(), ranges.clone(), next.clone());
            tasks.spawn_local(async move {
                let mut latencies = Vec::with_capacity(1 << 16);
                loop {
                    let number = next.get();
                    next.set(number.wrapping_add(1));
                    let begun = Instant::now();
                    if begun >= deadline {
                        return Ok::<_, Failure>(latencies);
                    }
                    let range = ranges[number % ranges.len()].as_ref();
                    let length = connection.exchange(&prepared[number % prepared.len()], range).await?;
                    if length != expected {
                        return Err(format!("an answer of {length} bytes instead of {expected}").into());
                    }
                    latencies.push(begun.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    tasks
        .run_until(async {
            for worker in workers {
                latencies.extend(worker.await??);
            }
            Ok::<_, Failure>(())
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies
            .get(place.min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let requests = latencies.len() as u64;
    let each = load.range.unwrap_or(load.size);
    Ok(Outcome { seconds, requests, bytes: requests * each, p50_micros: at(0.5), p99_micros: at(0.99) })
}

pub(super) async fn fill(
    job: &Job,
    prefix: &str,
    count: usize,
    size: u64,
    connections: usize,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let tasks = LocalSet::new();
    let workers: Vec<_> = (0..connections)
        .map(|first| {
            let (job, prefix) = (job.clone(), prefix.to_owned());
            tasks.spawn_local(async move {
                let mut connection = Connection::open(&job).await?;
                for number in (first..count).step_by(connections) {
                    let target = format!("/{prefix}{number:05}");
                    let prepared = Prepared::new(&job, Verb::Put.method(), &target, size)?;
                    connection.exchange(&prepared, None).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    tasks
        .run_until(async {
            for worker in workers {
                worker.await??;
            }
            Ok::<_, Failure>(())
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { seconds, requests: count as u64, bytes: size * count as u64, ..Outcome::default() })
}
