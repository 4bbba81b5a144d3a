//! `inspect`: one stored object as it lies there, for operators and for whoever doubts that it is encrypted.
//! Reads and prints; opens nothing but the trailer, and never a byte of the body.

mod report;
mod source;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use object_format::{Envelope, EnvelopeError, MAX_ENVELOPE};

use super::{ConfigFile, Failure};
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
    let (stored, opened) = match &arguments.object {
        Some(object) => source::from_backend(arguments, object)?,
        None => (source::from_files(arguments.envelope.as_deref(), arguments.file.as_deref())?, None),
    };
    let envelope = stored.envelope.as_deref().map(parse).transpose()?;
    Report { stored: &stored, envelope: envelope.as_ref(), opened }.write(out)?;
    Ok(())
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
