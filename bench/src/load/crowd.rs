//! Many clients at once, for the memory that they cost: PUTs that all are under way together, and GETs that are read
//! slowly and given up.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use tokio::task::LocalSet;

use super::connection::{Connection, Prepared};
use super::{Job, Outcome, Verb};
use crate::Failure;

/// Between two pieces that a slow reader takes.
const PAUSE: Duration = Duration::from_millis(25);

pub(super) async fn run(
    job: &Job,
    verb: Verb,
    key: &str,
    size: u64,
    clients: usize,
    millis: u64,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let deadline = started + Duration::from_millis(millis);
    let tasks = LocalSet::new();
    let workers: Vec<_> = (0..clients)
        .map(|number| {
            let (job, key) = (job.clone(), key.to_owned());
            tasks.spawn_local(async move {
                let mut connection = Connection::open(&job).await?;
                if verb == Verb::Put {
                    let prepared = Prepared::new(&job, verb.method(), &format!("/{key}{number:05}"), size)?;
                    connection.exchange(&prepared, None).await?;
                    return Ok::<_, Failure>(size);
                }
                let prepared = Prepared::new(&job, verb.method(), &format!("/{key}"), size)?;
                let mut body = connection.send(&prepared, None).await?.into_body();
                let mut read = 0;
                while Instant::now() < deadline {
                    let Some(frame) = body.frame().await else { break };
                    read += frame?.into_data().map_or(0, |data| data.len() as u64);
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(read)
            })
        })
        .collect();
    let mut bytes = 0;
    tasks
        .run_until(async {
            for worker in workers {
                bytes += worker.await??;
            }
            Ok::<_, Failure>(())
        })
        .await?;
    Ok(Outcome {
        seconds: started.elapsed().as_secs_f64(),
        requests: clients as u64,
        bytes,
        ..Outcome::default()
    })
}
