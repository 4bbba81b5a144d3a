//! `verify`: reads every object below a prefix and tells which are not encrypted, do not authenticate, or are under a key that is
//! gone. Changes nothing.

mod check;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;

use super::walk::{self, Ground, Listed, Visit, Visitor};
use super::{ConfigFile, Failure, block_on};
use crate::error::Result;
use crate::services::Services;
use check::{Verdict, check};

/// How often an object is read before its error counts, and how long apart.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Reads all data, and holds it against the sealed ETag and checksum too. Each object that is not encrypted, does not authenticate or is
under a key that is gone is a line of the report.

Examples:
  s3cloak verify s3://photos                              every object of a bucket
  s3cloak verify s3://photos/2026/ --quick                envelopes and ends alone: one small read for each
  s3cloak verify s3://photos --checkpoint verify.state    to be gone on with where it was cut off

Exit status: 0 every object is encrypted and whole, 1 one is not or could not be read, 64 wrong arguments or configuration.
It looks at the latest version of each object. Objects under customers' keys (SSE-C) cannot be opened; they are counted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    walk: walk::Arguments,
    /// Look at the envelope and the end of each object, and do not read the rest
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let place = arguments.walk.place()?;
    let config = Arc::new(arguments.config.load()?);
    block_on(async {
        let services = Services::new(config)?;
        let ground = Ground::of(&services, &place).await?;
        let verifier = Verifier { ground: &ground, quick: arguments.quick };
        let task = if arguments.quick { "verify envelopes and ends" } else { "verify" };
        walk::walk(&arguments.walk, ground.backend, &place, task, &verifier, out).await.map(drop)
    })
}

struct Verifier<'a> {
    ground: &'a Ground<'a>,
    quick: bool,
}

#[async_trait]
impl Visitor for Verifier<'_> {
    async fn visit(&self, object: &Listed) -> Visit {
        match Box::pin(self.verdict(object)).await {
            Ok(Verdict::Whole) if self.quick => Visit::Counted("encrypted"),
            Ok(Verdict::Whole) => Visit::Counted("encrypted and whole"),
            Ok(Verdict::CustomerKey) => Visit::Counted("under a customer's key, not read"),
            Ok(Verdict::Gone) => Visit::Counted("gone meanwhile"),
            Ok(Verdict::Plaintext) => Visit::Failed("not encrypted".to_owned()),
            Ok(Verdict::Tampered(why)) => Visit::Failed(format!("tampered with or damaged: {why}")),
            Ok(Verdict::MissingKey(why)) => Visit::Failed(format!("its key cannot be used: {why}")),
            Err(error) => Visit::Failed(format!("could not be read: {error}")),
        }
    }
}

impl Verifier<'_> {
    async fn verdict(&self, object: &Listed) -> Result<Verdict> {
        let (services, target) = (self.ground.services, self.ground.target(object));
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match check(services, &target, self.quick).await {
                // Replaced while it was read, or a storage that is busy.
                Err(error) if !error.is_lasting() => {
                    tracing::debug!(%error, "reading an object again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        check(services, &target, self.quick).await
    }
}
