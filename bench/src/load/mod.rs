//! The load client: a process of its own that carries out one job over keep-alive connections and prints what it saw.
//! One thread, so that it takes at most one core from what is measured.

mod connection;
mod copy;
mod crowd;
mod list;
mod multipart;
mod repeat;
mod stream;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::sign::Endpoint;

/// Reading or writing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Verb {
    Get,
    Put,
}

impl Verb {
    fn method(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Put => http::Method::PUT,
        }
    }
}

/// What a load client is to do, in one bucket.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) endpoint: Endpoint,
    pub(crate) bucket: String,
    pub(crate) work: Work,
}

/// The kinds of load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Work {
    /// Makes the bucket.
    CreateBucket,
    /// Writes `<prefix>00000` and so on, each once.
    Fill { prefix: String, count: usize, size: u64, connections: usize },
    /// Sends one large object `count` times, one after another on one connection.
    Stream { verb: Verb, key: String, size: u64, count: usize },
    /// Uploads an object in parts, so many at once, `count` times.
    Multipart { key: String, part_size: u64, parts: u16, connections: usize, count: usize },
    /// Copies an object `count` times, one after another on one connection; onto itself with other metadata each time.
    Copy { from: String, to: String, count: usize },
    /// Reads one object and compares every byte.
    Verify { key: String, size: u64 },
    /// The same small request on each connection as often as possible for so long, over `keys` keys.
    Repeat {
        verb: Verb,
        prefix: String,
        keys: usize,
        size: u64,
        range: Option<u64>,
        connections: usize,
        millis: u64,
    },
    /// Lists `<prefix>*` to its end, and counts.
    List { prefix: String, expected: usize },
    /// So many clients at once: PUTs of one size each, or GETs that are read slowly.
    Crowd { verb: Verb, key: String, size: u64, clients: usize, millis: u64 },
}

/// What came of it. Times are those of the load alone, without start-up, signing and connecting.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    /// Payload.
    pub(crate) bytes: u64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

/// Carries out a job given as JSON and prints its outcome as JSON.
pub(crate) fn run(job: &str) -> Result<(), Failure> {
    let job: Job = serde_json::from_str(job)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match &job.work {
            Work::CreateBucket => list::create_bucket(&job).await,
            Work::Fill { prefix, count, size, connections } => {
                repeat::fill(&job, prefix, *count, *size, *connections).await
            }
            Work::Stream { verb, key, size, count } => stream::run(&job, *verb, key, *size, *count).await,
            Work::Multipart { key, part_size, parts, connections, count } => {
                multipart::run(&job, key, *part_size, *parts, *connections, *count).await
            }
            Work::Copy { from, to, count } => copy::run(&job, from, to, *count).await,
            Work::Verify { key, size } => stream::verify(&job, key, *size).await,
            Work::Repeat { verb, prefix, keys, size, range, connections, millis } => {
                let load = repeat::Repeat {
                    verb: *verb,
                    prefix,
                    keys: *keys,
                    size: *size,
                    range: *range,
                    connections: *connections,
                    millis: *millis,
                };
                repeat::run(&job, &load).await
            }
            Work::List { prefix, expected } => list::run(&job, prefix, *expected).await,
            Work::Crowd { verb, key, size, clients, millis } => {
                crowd::run(&job, *verb, key, *size, *clients, *millis).await
            }
        }
    })?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
