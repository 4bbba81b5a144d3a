//! `check-backend`: measures the storage and prints what the proxy makes of it.

use std::io::Write;

use clap::Args;

use super::{ConfigFile, Failure, block_on};
use crate::backend::{Backend, Backends, Profile};
use crate::config::UploadFraming;

const ABOUT: &str = "\
Works on objects of its own in the system area, which is made if it is missing, and removes
them.

Examples:
  s3cloak check-backend
  s3cloak check-backend --config config.yaml --backend default";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Only this backend; all of the configuration otherwise
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    if let Some(name) = &arguments.backend
        && !config.backends.contains_key(name)
    {
        let known: Vec<&str> = config.backends.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("there is no backend {name:?}; known: {}", known.join(", "))));
    }
    let backends = Backends::from_config(&config)?;
    let mut failed = Vec::new();
    block_on(async {
        for backend in backends.iter() {
            if arguments.backend.as_deref().is_none_or(|name| name == backend.name())
                && let Err(why) = check(backend, out).await?
            {
                failed.push(format!("{}: {why}", backend.name()));
            }
        }
        Ok(())
    })?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(failed.join("\n"))) }
}

/// The outer result is the output's, the inner one the backend's.
async fn check(backend: &Backend, out: &mut dyn Write) -> Result<Result<(), String>, Failure> {
    writeln!(out, "{} at {}", backend.name(), backend.config().endpoint)?;
    let report = match backend.check().await {
        Ok(report) => report,
        Err(error) => return Ok(Err(error.to_string())),
    };
    for finding in &report.findings {
        writeln!(out, "  {finding}")?;
    }
    show(&report.profile, out)?;
    Ok(Ok(()))
}

fn show(profile: &Profile, out: &mut dyn Write) -> Result<(), Failure> {
    let framing = match profile.framing {
        UploadFraming::UnsignedTrailer => "unsigned-trailer",
        UploadFraming::SignedChunks => "signed-chunks",
        UploadFraming::Plain => "plain",
    };
    let subresources: Vec<&str> = profile.subresources.iter().map(String::as_str).collect();
    writeln!(out, "  As a `profile` in the configuration, which goes before what is measured:")?;
    writeln!(
        out,
        "    profile: {{ framing: {framing}, conditional_writes: {}, pinned_copies: {}, conditional_copies: {}, \
         whole_self_copies: {}, suffix_ranges: {}, subresources: [{}] }}",
        profile.put_if_none_match && profile.put_if_match,
        profile.copies && profile.copy_source_if_match,
        profile.copy_if_match && profile.copy_if_none_match,
        profile.whole_self_copies,
        profile.suffix_ranges,
        subresources.join(", ")
    )?;
    Ok(())
}
