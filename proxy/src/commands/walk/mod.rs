//! Walks every object below a prefix: pages of a listing, a bounded number of objects at a time, progress on the terminal,
//! a checkpoint to go on from, and a report. What is done with each object is the command's own.

mod checkpoint;
mod ground;
mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use async_trait::async_trait;
use clap::Args;
use futures_util::{StreamExt, stream};

use super::Failure;
use super::progress::Progress;
use crate::backend::Backend;
use crate::s3::name::{BucketName, ObjectKey};
use checkpoint::Checkpoint;
pub(super) use ground::Ground;

/// What every such command takes.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The objects, as s3://BUCKET or s3://BUCKET/PREFIX with the prefix as it is (nothing percent-encoded)
    #[arg(value_name = "s3://BUCKET[/PREFIX]")]
    place: String,
    /// Objects worked on at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Where to note how far it got; with the same file, it goes on from there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

/// Whose objects are walked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// Their bucket.
    pub(super) bucket: BucketName,
    /// What their keys begin with.
    pub(super) prefix: Vec<u8>,
}

impl Arguments {
    /// The place that is named.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        let text = &self.place;
        let usage =
            || Failure::Usage(format!("{text:?} is no place: write s3://BUCKET or s3://BUCKET/PREFIX"));
        let rest = text.strip_prefix("s3://").ok_or_else(usage)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = BucketName::parse(bucket.as_bytes()).map_err(|_| usage())?;
        Ok(Place { bucket, prefix: prefix.as_bytes().to_vec() })
    }
}

/// One object of a listing.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its key.
    pub(super) key: ObjectKey,
}

/// What became of one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Visit {
    /// It is well, or was left alone on purpose; the words are those of the report.
    Counted(&'static str),
    /// It is not; why.
    Failed(String),
}

/// What a command does with each object. Several are worked on at a time, in no order.
#[async_trait]
pub(super) trait Visitor: Sync {
    /// Works on one object.
    async fn visit(&self, object: &Listed) -> Visit;
}

/// What a walk came to, and, where it went on from a checkpoint, those before it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Report {
    /// Objects by what became of them.
    pub(super) counts: BTreeMap<String, u64>,
    /// Objects that are not well.
    pub(super) failed: u64,
}

impl Report {
    fn add(&mut self, visit: &Visit) {
        match visit {
            Visit::Counted(what) => *self.counts.entry((*what).to_owned()).or_default() += 1,
            Visit::Failed(_) => self.failed += 1,
        }
    }

    /// Objects seen.
    pub(super) fn objects(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.failed
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "{} objects", self.objects())?;
        for (what, count) in &self.counts {
            writeln!(out, "  {count:>12}  {what}")?;
        }
        if self.failed > 0 {
            writeln!(out, "  {:>12}  failed", self.failed)?;
        }
        Ok(())
    }
}

/// Walks `place` on `backend`, prints each failure as it comes and the report at the end. `task` says what is done, with all
/// that decides what comes of it: a checkpoint of another task is refused.
///
/// # Errors
/// Where a listing fails, and, after the report, where an object did.
pub(super) async fn walk(
    arguments: &Arguments,
    backend: &Backend,
    place: &Place,
    task: &str,
    visitor: &dyn Visitor,
    out: &mut dyn Write,
) -> Result<Report, Failure> {
    if backend.is_hidden(&place.bucket, None) {
        return Err(Failure::Usage(format!("{} is the proxy's own bucket", place.bucket)));
    }
    let mut checkpoint = Checkpoint::open(arguments.checkpoint.as_deref(), task, place)?;
    let progress = Progress::new(task, "objects", checkpoint.report.objects());
    if let Some(after) = &checkpoint.after {
        progress.line(out, &format!("going on after {}", shown(place, after)))?;
    }
    loop {
        let page = list::page(backend, place, checkpoint.after.as_deref()).await?;
        let visits = page.objects.iter().map(|object| async move { (object, visitor.visit(object).await) });
        let mut visits = stream::iter(visits).buffer_unordered(arguments.concurrency.into());
        while let Some((object, visit)) = visits.next().await {
            if let Visit::Failed(why) = &visit {
                progress.line(out, &format!("{}: {why}", shown(place, object.key.as_bytes())))?;
            }
            checkpoint.report.add(&visit);
            progress.set(checkpoint.report.objects(), checkpoint.report.failed, "failed");
        }
        drop(visits);
        let Some(next) = page.next else { break };
        checkpoint.reach(next)?;
    }
    progress.finish();
    let report = checkpoint.close()?;
    report.write(out)?;
    if report.failed == 0 {
        return Ok(report);
    }
    Err(Failure::Failed(format!("{} of {} objects failed", report.failed, report.objects())))
}

fn shown(place: &Place, key: &[u8]) -> String {
    format!("s3://{}/{}", place.bucket, String::from_utf8_lossy(key).escape_debug())
}
