//! `encrypt`: objects that were on the storage before the proxy are sealed where they are, under the bucket's default
//! encryption, with their metadata and tags.

mod object;

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;

use super::walk::{self, Ground, Listed, Visit, Visitor};
use super::{ConfigFile, Failure, block_on};
use crate::error::Result;
use crate::ops::copy::ATTEMPTS;
use crate::services::Services;
use object::{Done, seal};

const EXAMPLES: &str = "\
Each object is read and written once; those that are encrypted already are left alone, so a second run does only what the first
one missed. Until the whole bucket is done, keep `unencrypted_objects: pass` for it; afterwards `s3cloak verify` tells whether
anything is left, and `reject` closes the door.

Examples:
  s3cloak encrypt s3://photos --dry-run                     how many there are
  s3cloak encrypt s3://photos --checkpoint encrypt.state    to be gone on with where it was cut off

An object that a client replaces meanwhile stays as the client wrote it, where the storage honours conditions on writes; elsewhere stop
all writers and say --no-writers. Content headers, user metadata, storage class, locks and tags are kept; an ACL is not. Last-Modified
changes, and the ETag of an object that was uploaded in parts. In a bucket with versioning the plaintext stays as an older version
until you delete it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    walk: walk::Arguments,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Nobody writes to these objects meanwhile: go on where the storage does not honour conditions on writes
    #[arg(long)]
    no_writers: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let place = arguments.walk.place()?;
    let config = Arc::new(arguments.config.load()?);
    block_on(async {
        let services = Services::new(config)?;
        let ground = Ground::of(&services, &place).await?;
        let pinned = ground.backend.profile().put_if_match;
        if !pinned && !arguments.no_writers && !arguments.dry_run {
            return Err(Failure::Failed(format!(
                "The storage {} ignores conditions on writes: an object that a client replaces at that moment would be lost. \
                 Stop all writers and say --no-writers.",
                ground.backend.name()
            )));
        }
        let encrypter = Encrypter { ground: &ground, dry_run: arguments.dry_run };
        let task = if arguments.dry_run { "encrypt, dry run" } else { "encrypt" };
        let versioned = ground.keeps_versions().await?;
        let report = walk::walk(&arguments.walk, ground.backend, &place, task, &encrypter, out).await;
        if versioned {
            writeln!(
                out,
                "The bucket keeps versions: what was not encrypted stays readable on the storage as an older version of its object, \
                 and this command does not reach it. Delete such versions, or have the bucket's lifecycle expire them."
            )?;
        }
        report.map(drop)
    })
}

struct Encrypter<'a> {
    ground: &'a Ground<'a>,
    dry_run: bool,
}

#[async_trait]
impl Visitor for Encrypter<'_> {
    async fn visit(&self, object: &Listed) -> Visit {
        match Box::pin(self.seal(object)).await {
            Ok(Done::Sealed) => Visit::Counted("encrypted"),
            Ok(Done::Would) => Visit::Counted("to be encrypted"),
            Ok(Done::Already) => Visit::Counted("encrypted already"),
            Ok(Done::Gone) => Visit::Counted("gone meanwhile"),
            Ok(Done::Replaced) => Visit::Failed("it is being replaced all the time: try again".to_owned()),
            Err(error) => Visit::Failed(error.to_string()),
        }
    }
}

impl Encrypter<'_> {
    async fn seal(&self, object: &Listed) -> Result<Done> {
        let target = self.ground.target(object);
        for _ in 0..ATTEMPTS {
            match seal(self.ground.services, &target, self.dry_run).await? {
                Done::Replaced => {}
                done => return Ok(done),
            }
        }
        Ok(Done::Replaced)
    }
}
