//! `gc`: collects what ended uploads left in the system areas, and tells of what it cannot. What may go is decided in
//! `uploads/collect.rs`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use time::OffsetDateTime;

use super::progress::Progress;
use super::{ConfigFile, Failure, block_on};
use crate::backend::{Backend, Backends, Caller};
use crate::config::Config;
use crate::error::Error;
use crate::keys::Keyring;
use crate::metrics::Metrics;
use crate::ops::bucket::all_of;
use crate::s3::name::{BucketName, ObjectKey};
use crate::uploads::{Collector, Fate, Judged, Tally, Uploads, strays};

const ABOUT: &str = "\
Only what is older than `gc_min_age` of its backend is looked at. It goes if its state opens under
our keys and the storage says that there is no such upload any more, or if it has no state, without
which nobody can use it. An upload that a proxy made for a copy, and that is on record as such, is
ended at the storage once its proxy no longer says that it runs. Running proxies do the same now and then; several at once do
no harm.
Uploads that the storage has and that have no state here are listed, and left to you: nobody can
tell whether they were made past the proxy.

Examples:
  s3cloak gc --dry-run      what would be removed
  s3cloak gc
  s3cloak gc --min-age 1d

Exit status: 0 done, 1 something could not be judged or removed and stays, 64 wrong arguments.";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Tell what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Look at what is older than this, whatever the configuration says. Below an hour, a copy that runs may be taken for one
    /// that never ended
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    min_age: Option<Duration>,
    /// Only this backend; all of the configuration otherwise
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let chosen = |name: &str| arguments.backend.as_deref().is_none_or(|only| only == name);
    if !config.backends.keys().any(|name| chosen(name)) {
        let known: Vec<&str> = config.backends.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("there is no such backend; known: {}", known.join(", "))));
    }
    let backends = Backends::from_config(&config)?;
    let keyring = Keyring::from_config(&config.keys)?;
    let uploads = Uploads::new(Metrics::new().tamper_alarm());
    let mut failed = Vec::new();
    block_on(async {
        for backend in backends.iter().filter(|backend| chosen(backend.name())) {
            let collector = Collector {
                keyring: &keyring,
                uploads: &uploads,
                backend,
                min_age: arguments.min_age.unwrap_or(backend.config().system.gc_min_age),
                now: OffsetDateTime::now_utc(),
                dry_run: arguments.dry_run,
            };
            failed.extend(one(&config, &collector, out).await?);
        }
        Ok(())
    })?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(failed.join("\n"))) }
}

/// One backend. The outer result is the output's; the inner one tells why something stays that might have to go.
async fn one(
    config: &Config,
    collector: &Collector<'_>,
    out: &mut dyn Write,
) -> Result<Option<String>, Failure> {
    let backend = collector.backend;
    writeln!(out, "{} at {}", backend.name(), backend.config().endpoint)?;
    let progress = Progress::new("gc", "uploads", 0);
    let mut report =
        Report { dry_run: collector.dry_run, looked_at: 0, kept: 0, broken: None, progress, out };
    let tally = collector.run(|judged| report.add(judged)).await;
    report.done()?;
    let tally = match tally {
        Ok(tally) => tally,
        Err(error) => return Ok(Some(format!("{}: {error}", backend.name()))),
    };
    summary(&tally, collector, out)?;
    let unseen = foreign(config, collector, out).await?;
    if let Err(error) = unseen {
        return Ok(Some(format!("{}: its own uploads cannot be listed: {error}", backend.name())));
    }
    let why = format!("{}: {} could not be judged and stay", backend.name(), count(tally.kept, "upload"));
    Ok((tally.kept > 0).then_some(why))
}

/// A line for each upload that goes or cannot be judged, and progress for whoever watches.
struct Report<'a> {
    dry_run: bool,
    looked_at: u64,
    kept: u64,
    /// The first failure of the output.
    broken: Option<std::io::Error>,
    progress: Progress,
    out: &'a mut dyn Write,
}

impl Report<'_> {
    fn add(&mut self, judged: &Judged) {
        self.looked_at += 1;
        self.kept += u64::from(matches!(judged.fate, Fate::Kept(_)));
        self.progress.set(self.looked_at, self.kept, "kept");
        if let Err(error) = self.write(judged) {
            self.broken.get_or_insert(error);
        }
    }

    fn write(&mut self, judged: &Judged) -> std::io::Result<()> {
        let upload = match &judged.upload {
            Some(owner) => {
                format!("upload {} of {}", owner.id.escape_debug(), address(&owner.bucket, &owner.key))
            }
            None => judged.place.clone(),
        };
        let (verb, rest) = match &judged.fate {
            Fate::Young | Fate::UnderWay => return Ok(()),
            Fate::Ended(objects) => (self.verb(), count(*objects, "object")),
            Fate::Abandoned(objects) => (
                self.verb(),
                format!("{}, and a copy that never ended at the storage", count(*objects, "object")),
            ),
            Fate::Orphaned(objects) => {
                (self.verb(), format!("{}, without a state", count(*objects, "object")))
            }
            Fate::Kept(why) => ("kept", why.clone()),
        };
        self.progress.line(self.out, &format!("  {verb} {upload}: {rest}"))
    }

    fn verb(&self) -> &'static str {
        if self.dry_run { "would remove" } else { "removed" }
    }

    fn done(self) -> std::io::Result<()> {
        self.progress.finish();
        self.broken.map_or(Ok(()), Err)
    }
}

fn summary(tally: &Tally, collector: &Collector<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    let age = age(collector.min_age);
    writeln!(
        out,
        "  {} looked at: {} {} that ended, {} of copies that never did and {} without a state, {} in all; {} under way, {} younger than {age}, {} kept",
        count(tally.looked_at(), "upload"),
        if collector.dry_run { "would remove" } else { "removed" },
        tally.ended,
        tally.abandoned,
        tally.orphaned,
        count(tally.objects, "object"),
        tally.under_way,
        tally.young,
        tally.kept,
    )?;
    if tally.strangers > 0 {
        writeln!(
            out,
            "  {} below mpu/ are not named as ours are, and stay",
            count(tally.strangers, "object")
        )?;
    }
    Ok(())
}

/// Tells of the storage's uploads that nothing here belongs to. The inner result is the storage's.
async fn foreign(
    config: &Config,
    collector: &Collector<'_>,
    out: &mut dyn Write,
) -> Result<Result<(), Error>, Failure> {
    let backend = collector.backend;
    let buckets = match buckets(config, backend).await {
        Ok(buckets) => buckets,
        Err(error) => return Ok(Err(error)),
    };
    let mut lines = Vec::new();
    for bucket in buckets {
        let told = strays(backend, &bucket, collector.now - collector.min_age, |stray| {
            let place = address(&stray.bucket, &stray.key);
            let (id, begun) = (stray.id.escape_debug(), stray.initiated.escape_debug());
            lines.push(format!("    upload {id} of {place}, begun {begun}"));
        })
        .await;
        if let Err(error) = told {
            return Ok(Err(error));
        }
    }
    if !lines.is_empty() {
        writeln!(
            out,
            "  {} of the storage's own, older than {}, have no state here: made past the proxy, or their state was \
             lost. The proxy serves none of them; abort them at the storage if nobody there needs them:",
            count(lines.len() as u64, "upload"),
            age(collector.min_age)
        )?;
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    Ok(Ok(()))
}

/// The buckets of a backend that are routed to it.
async fn buckets(config: &Config, backend: &Backend) -> Result<Vec<BucketName>, Error> {
    let found = all_of(backend, &Caller::Own, None).await?;
    let named = found.buckets.iter().filter_map(|bucket| BucketName::parse(bucket.name.as_bytes()).ok());
    let routed = |bucket: &BucketName| {
        config.buckets.rule(bucket).backend == backend.name() && !backend.is_hidden(bucket, None)
    };
    Ok(named.filter(routed).collect())
}

/// Keys hold any character, those included that mean something to a terminal.
fn address(bucket: &BucketName, key: &ObjectKey) -> String {
    format!("s3://{bucket}/{}", key.to_lossy().escape_debug())
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn age(age: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(age)
}
