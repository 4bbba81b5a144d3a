//! `rewrap`: every object below a prefix gets another key or mode. The backend copies each onto itself under a new envelope, and
//! no data moves; or it is read and sealed anew, where its own key is not to be trusted any more.

mod wanted;

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;

use super::walk::{self, Ground, Listed, Visit, Visitor};
use super::{ConfigFile, Failure, block_on};
use crate::error::{Code, Error, Result};
use crate::info::{self, Found, Nature, Need};
use crate::ops::copy::{ATTEMPTS, is_safe, onto_itself, seal_in_place};
use crate::ops::write_key::WriteKey;
use crate::plan::sse::BucketDefault;
use crate::services::Services;
use wanted::{Sse, Wanted};

const EXAMPLES: &str = "\
Without --key and --sse every object gets what the bucket's default gives to a new one today: run it after you changed that,
or keys.default_key. Objects that have it already are left alone, so a second run does only what the first one missed.

Examples:
  s3cloak rewrap s3://photos --key photos-2027
  s3cloak rewrap s3://photos/2026/ --sse aws:kms --key archive --checkpoint rewrap.state
  s3cloak rewrap s3://photos --dry-run

With --reseal each object also gets a new key of its own, so that whoever kept its old envelope and key cannot open the new bytes.

What it cannot reach, the report names: objects under customers' keys (SSE-C) and objects that are not encrypted. In a bucket
with versioning the latest version of each object is copied into a new one; older versions stay under their keys.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    walk: walk::Arguments,
    /// The key that objects get, spelled as clients may; their mode stays unless --sse says otherwise
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// The mode that clients are shown
    #[arg(long, value_name = "MODE")]
    sse: Option<Sse>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Nobody writes to these objects meanwhile: go on where the storage cannot pin a copy to the object that was looked at
    #[arg(long)]
    no_writers: bool,
    /// Read every object and seal it under a new key of its own; moves all data
    #[arg(long)]
    reseal: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let place = arguments.walk.place()?;
    let config = Arc::new(arguments.config.load()?);
    block_on(async {
        let services = Services::new(config)?;
        let ground = Ground::of(&services, &place).await?;
        let profile = ground.backend.profile();
        let pinned = if arguments.reseal { profile.put_if_match } else { profile.has_safe_self_copies() };
        if !pinned && !arguments.no_writers {
            return Err(Failure::Failed(format!(
                "The storage {} cannot pin a write to the object that was looked at: an object that a client replaces at \
                 that moment would be lost. Stop all writers and say --no-writers.",
                ground.backend.name()
            )));
        }
        let wanted = wanted(&ground, arguments).await?;
        let versioned = ground.keeps_versions().await?;
        let rewrapper = Rewrapper {
            ground: &ground,
            wanted: &wanted,
            dry_run: arguments.dry_run,
            no_writers: arguments.no_writers,
            reseal: arguments.reseal,
        };
        let task = if arguments.reseal { format!("{wanted}, sealed anew") } else { wanted.to_string() };
        let task = if arguments.dry_run { format!("dry run: {task}") } else { task };
        writeln!(out, "{task}")?;
        let report = walk::walk(&arguments.walk, ground.backend, &place, &task, &rewrapper, out).await;
        if versioned {
            writeln!(
                out,
                "The bucket keeps versions: older ones than the latest stay under their keys. Do not delete those keys while \
                 these versions are to be read."
            )?;
        }
        report.map(drop)
    })
}

/// What every object is to have, with its key tried.
async fn wanted(ground: &Ground<'_>, arguments: &Arguments) -> Result<Wanted, Failure> {
    let Ground { services, backend, rule, bucket } = ground;
    let stored = services.rules.get(&services.keyring, backend, bucket).await?;
    let default = BucketDefault::of(rule, stored.as_deref());
    let wanted = Wanted::new(&services.keyring, &default, arguments.sse, arguments.key.clone())?;
    let binding = rule.binding.as_deref().unwrap_or(bucket.as_str());
    wanted.try_key(&services.keyring, binding).await?;
    Ok(wanted)
}

struct Rewrapper<'a> {
    ground: &'a Ground<'a>,
    wanted: &'a Wanted,
    dry_run: bool,
    no_writers: bool,
    reseal: bool,
}

#[async_trait]
impl Visitor for Rewrapper<'_> {
    async fn visit(&self, object: &Listed) -> Visit {
        match Box::pin(self.rewrap(object)).await {
            Ok(what) => Visit::Counted(what),
            // It was deleted since it was listed.
            Err(error) if *error.code() == Code::NoSuchKey => Visit::Counted("gone meanwhile"),
            Err(error) => Visit::Failed(error.to_string()),
        }
    }
}

impl Rewrapper<'_> {
    async fn rewrap(&self, object: &Listed) -> Result<&'static str> {
        let (services, target) = (self.ground.services, self.ground.target(object));
        for _ in 0..ATTEMPTS {
            let found = match self.reseal {
                true => info::read(services, &target, Need::Tail).await?,
                false => info::look(services, &target).await?,
            };
            if let Some(why) = self.left_alone(&found) {
                return Ok(why);
            }
            if self.dry_run {
                return Ok(if self.reseal { "to be sealed anew" } else { "to be re-wrapped" });
            }
            if !self.reseal && !self.no_writers && !is_safe(&target, &found, &target) {
                return Err(Error::internal("a copy that cannot be pinned"));
            }
            let header = found.opened.as_ref().map(|(envelope, _)| envelope.header());
            let header = header.ok_or_else(|| Error::internal("a sealed object without an envelope"))?;
            let sse = self.wanted.for_object(header)?;
            let context = sse.context.as_ref().map_or(0, String::len);
            let key = WriteKey::of_operator(services, &target, sse).await?;
            if self.reseal {
                if seal_in_place(services, &target, &found, &key, context).await?.is_some() {
                    return Ok("sealed anew");
                }
            } else if onto_itself(services, &target, &found, &key, context).await?.is_some() {
                return Ok("re-wrapped");
            }
        }
        Err(info::changed())
    }

    fn left_alone(&self, found: &Found) -> Option<&'static str> {
        match (&found.info.nature, &found.opened) {
            (Nature::Sealed { .. }, Some((envelope, _))) => {
                (!self.reseal && self.wanted.is_met(envelope.header())).then_some("had it already")
            }
            (Nature::Sealed { .. }, None) => Some("under a customer's key, left alone"),
            (Nature::Marker | Nature::Plain, _) => Some("not encrypted, left alone"),
        }
    }
}
