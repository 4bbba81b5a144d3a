//! `inspect`: one stored object as it lies there, for operators and for whoever doubts that it is encrypted.
//! Reads and prints; opens nothing but the trailer, and never a byte of the body.

mod open;
mod report;
mod source;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use object_format::{Envelope, EnvelopeError, MAX_ENVELOPE};

use super::{ConfigFile, Failure, block_on};
use crate::backend::Backends;
use report::Report;

const EXAMPLES: &str = "\
Examples:
  s3cloak inspect s3://photos/cat.jpg                   as stored on the backend of that bucket
  s3cloak inspect --envelope AXQ… --file stored.bin     without any configuration, from a copy of the stored bytes

The envelope is the value of the stored object's user metadata `s3cloak` (header x-amz-meta-s3cloak).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// The object, as s3://BUCKET/KEY with the key as it is (nothing percent-encoded)
    #[arg(value_name = "s3://BUCKET/KEY", required_unless_present_any = ["envelope", "file"])]
    object: Option<String>,
    /// Where to look, if not at the backend of the bucket's rule
    #[arg(long, value_name = "NAME", conflicts_with_all = ["envelope", "file"])]
    backend: Option<String>,
    /// A version of the object
    #[arg(long, value_name = "ID", conflicts_with_all = ["envelope", "file"])]
    version_id: Option<String>,
    /// Do not ask the key service; show only what is in clear
    #[arg(long, conflicts_with_all = ["envelope", "file"])]
    no_keys: bool,
    /// The envelope's value, instead of asking a backend
    #[arg(long, value_name = "VALUE", conflicts_with = "object")]
    envelope: Option<String>,
    /// A file with the stored bytes, or their last 512 and more
    #[arg(long, value_name = "FILE", conflicts_with = "object")]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    match &arguments.object {
        Some(object) => stored_object(arguments, object, out),
        None => {
            let stored = source::from_files(arguments.envelope.as_deref(), arguments.file.as_deref())?;
            let envelope = stored.envelope.as_deref().map(parse).transpose()?;
            Ok(Report { stored: &stored, envelope: envelope.as_ref(), opened: None }.write(out)?)
        }
    }
}

fn stored_object(arguments: &Arguments, object: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let (bucket, key) = source::parse_object(object)?;
    let config = arguments.config.load()?;
    let name = arguments.backend.as_deref().unwrap_or(&config.buckets.rule(&bucket).backend);
    if !config.backends.contains_key(name) {
        return Err(Failure::Usage(format!("there is no backend {name:?} in the configuration")));
    }
    let backends = Backends::from_config(&config)?;
    let backend = backends.get(name)?;
    block_on(async {
        let mut stored = source::fetch(backend, &bucket, &key, arguments.version_id.as_deref()).await?;
        stored.title = format!("{object} on {name} ({})", backend.config().endpoint);
        let envelope = stored.envelope.as_deref().map(parse).transpose()?;
        let opened = match &envelope {
            Some(envelope) if !arguments.no_keys => {
                Some(open::open(&config, &bucket, &key, envelope, &stored).await)
            }
            _ => None,
        };
        Ok(Report { stored: &stored, envelope: envelope.as_ref(), opened }.write(out)?)
    })
}

fn parse(value: &str) -> Result<Envelope, Failure> {
    Envelope::parse(value.trim()).map_err(|error| {
        let hint = match error {
            EnvelopeError::TooLong => format!("; an envelope has at most {MAX_ENVELOPE} characters"),
            _ => String::new(),
        };
        Failure::Failed(format!("{error}{hint}"))
    })
}
