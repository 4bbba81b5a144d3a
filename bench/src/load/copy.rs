//! Copies that the other side makes, one after another.

use std::time::Instant;

use http::HeaderName;

use super::connection::{Connection, Prepared};
use super::{Job, Outcome};
use crate::Failure;

/// See [`super::Work::Copy`].
pub(super) async fn run(job: &Job, from: &str, to: &str, count: usize) -> Result<Outcome, Failure> {
    let prepare = |number: usize| {
        let name = HeaderName::from_static;
        let more = match from == to {
            true => vec![
                (name("x-amz-metadata-directive"), "REPLACE".to_owned()),
                (name("x-amz-meta-copy"), number.to_string()),
            ],
            false => Vec::new(),
        };
        Prepared::copy(job, &format!("/{from}"), &format!("/{to}"), more)
    };
    let prepared = (0..=count).map(prepare).collect::<Result<Vec<_>, _>>()?;
    let mut connection = Connection::open(job).await?;
    let mut latencies = Vec::with_capacity(count);
    for (number, prepared) in prepared.iter().enumerate() {
        let begun = Instant::now();
        let (_, answer) = connection.ask(prepared).await?;
        // An error can come with a 200.
        if !answer.contains("<ETag>") {
            return Err(format!("a copy of {from}: {answer}").into());
        }
        // The first one warms pools and caches up.
        if number > 0 {
            latencies.push(begun.elapsed());
        }
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let seconds = latencies.iter().map(std::time::Duration::as_secs_f64).sum();
    let (p50_micros, p99_micros) = (at(0.5), at(0.99));
    Ok(Outcome { seconds, requests: count as u64, p50_micros, p99_micros, ..Outcome::default() })
}
