//! Large objects in parts, several parts at once.

use std::rc::Rc;
use std::time::Instant;

use http::Method;
use tokio::task::LocalSet;

use super::connection::{Connection, Prepared};
use super::{Job, Outcome};
use crate::Failure;

/// Uploads an object `count` times. Its parts hold the pattern from its beginning, so the object does where a part's size
/// is a multiple of the pattern's period.
pub(super) async fn run(
    job: &Job,
    key: &str,
    part_size: u64,
    parts: u16,
    connections: usize,
    count: usize,
) -> Result<Outcome, Failure> {
    let mut first = Connection::open(job).await?;
    let mut workers = Vec::new();
    for _ in 0..connections {
        workers.push(Connection::open(job).await?);
    }
    let begin = Prepared::post(job, &format!("/{key}?uploads"), String::new())?;
    let started = Instant::now();
    for _ in 0..count {
        let (_, answer) = first.ask(&begin).await?;
        let id = Rc::new(id_in(&answer).ok_or("an upload without an id")?);
        let tasks = LocalSet::new();
        let sent: Vec<_> = (0_u16..)
            .zip(std::mem::take(&mut workers))
            .map(|(worker, mut connection)| {
                let (job, key, id) = (job.clone(), key.to_owned(), id.clone());
                tasks.spawn_local(async move {
                    let mut tags = Vec::new();
                    for number in (1 + worker..=parts).step_by(connections) {
                        let target = format!("/{key}?partNumber={number}&uploadId={id}");
                        let part = Prepared::new(&job, Method::PUT, &target, part_size)?;
                        tags.push((number, connection.ask(&part).await?.0));
                    }
                    Ok::<_, Failure>((connection, tags))
                })
            })
            .collect();
        let mut tags = Vec::new();
        tasks
            .run_until(async {
                for worker in sent {
                    let (connection, mine) = worker.await??;
                    workers.push(connection);
                    tags.extend(mine);
                }
                Ok::<_, Failure>(())
            })
            .await?;
        tags.sort_unstable();
        let list: String = tags
            .iter()
            .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
            .collect();
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let complete = Prepared::post(job, &format!("/{key}?uploadId={id}"), list)?;
        let (_, answer) = first.ask(&complete).await?;
        if !answer.contains("<ETag>") {
            return Err(format!("POST {key}: {answer}").into());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let bytes = part_size * u64::from(parts) * count as u64;
    Ok(Outcome { seconds, requests: u64::from(parts) * count as u64, bytes, ..Outcome::default() })
}

/// The upload's id, for a query.
fn id_in(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("<UploadId>")?;
    let (id, _) = rest.split_once('<')?;
    Some(percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string())
}
