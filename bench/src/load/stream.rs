//! Large objects, one after another.

use std::time::Instant;

use http_body_util::BodyExt as _;

use super::connection::{Connection, Prepared};
use super::{Job, Outcome, Verb};
use crate::Failure;
use crate::pattern::Pattern;

pub(super) async fn run(
    job: &Job,
    verb: Verb,
    key: &str,
    size: u64,
    count: usize,
) -> Result<Outcome, Failure> {
    let prepared = Prepared::new(job, verb.method(), &format!("/{key}"), size)?;
    let mut connection = Connection::open(job).await?;
    let started = Instant::now();
    for _ in 0..count {
        let length = connection.exchange(&prepared, None).await?;
        if verb == Verb::Get && length != size {
            return Err(format!("GET {key}: {length} bytes instead of {size}").into());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome { seconds, requests: count as u64, bytes: size * count as u64, ..Outcome::default() })
}

/// Reads an object once and compares every byte.
pub(super) async fn verify(job: &Job, key: &str, size: u64) -> Result<Outcome, Failure> {
    let prepared = Prepared::new(job, Verb::Get.method(), &format!("/{key}"), size)?;
    let mut connection = Connection::open(job).await?;
    let mut body = connection.send(&prepared, None).await?.into_body();
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if !Pattern::is_at(at, &data) {
            return Err(format!("GET {key}: wrong bytes behind offset {at}").into());
        }
        at += data.len() as u64;
    }
    if at != size {
        return Err(format!("GET {key}: {at} bytes instead of {size}").into());
    }
    Ok(Outcome { bytes: at, requests: 1, ..Outcome::default() })
}
