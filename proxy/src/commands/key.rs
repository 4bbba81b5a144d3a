//! `key`: external keys, through the configured key services. Data keys are made by the proxy itself.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use kms_client::{EndpointStatus, KeyError};
use time::format_description::well_known::Rfc3339;

use super::{ConfigFile, Failure, block_on};
use crate::keys::{Keyring, ResolvedKey};

const EXAMPLES: &str = "\
NAME is a key of the default key service, or SERVICE/NAME, or an alias from the configuration.

Examples:
  s3cloak key create s3cloak-default        once, before the first object is stored
  s3cloak key list
  s3cloak key status                        every key service
  s3cloak key status photos-key             whether this key can be used";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Arguments {
    /// The configuration that names the key services
    #[arg(long, short, global = true, value_name = "FILE", default_value = "config.yaml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key; fails where one of that name exists
    Create {
        /// Name of the new key
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print the names of keys, one a line
    List {
        /// Only names that begin so
        #[arg(value_name = "PREFIX", default_value = "", hide_default_value = true)]
        prefix: String,
        /// Another key service than the default one
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Tell whether the key services, or one key, can be used
    Status {
        /// The key; every key service otherwise
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Erase a key, and with it every object that it encrypts, for good
    Delete {
        /// Name of the key
        #[arg(value_name = "NAME")]
        name: String,
        /// Confirm that everything under the key becomes unreadable
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let config = ConfigFile { config: arguments.config.clone() }.load()?;
    let keyring = Keyring::from_config(&config.keys)?;
    block_on(async {
        match &arguments.command {
            Command::Create { name } => create(&keyring, &key(&keyring, name)?, out).await,
            Command::List { prefix, service } => {
                if let Some(name) = service
                    && !config.keys.services.contains_key(name)
                {
                    return Err(Failure::Usage(format!(
                        "there is no key service {name:?} in the configuration"
                    )));
                }
                for name in keyring.list(service.as_deref(), prefix).await.map_err(failed)? {
                    writeln!(out, "{name}")?;
                }
                Ok(())
            }
            Command::Status { name: None } => services(&keyring, out).await,
            Command::Status { name: Some(name) } => status(&keyring, &key(&keyring, name)?, out).await,
            Command::Delete { name, yes } => {
                let key = key(&keyring, name)?;
                if !yes {
                    return Err(Failure::Usage(format!(
                        "Every object that {key} encrypts becomes unreadable for good, backups included. To go on: \
                         s3cloak key delete {name} --yes"
                    )));
                }
                keyring.delete(&key).await.map_err(|error| about(&key, &error))?;
                writeln!(out, "deleted {key}")?;
                Ok(())
            }
        }
    })
}

fn key(keyring: &Keyring, name: &str) -> Result<ResolvedKey, Failure> {
    keyring.resolve(Some(name)).map_err(|_| {
        Failure::Usage(format!(
            "{name:?} is no key: write NAME or SERVICE/NAME; names have 1 to 80 letters, digits, `-` and `_`"
        ))
    })
}

async fn create(keyring: &Keyring, key: &ResolvedKey, out: &mut dyn Write) -> Result<(), Failure> {
    keyring.create(key).await.map_err(|error| about(key, &error))?;
    writeln!(out, "made {key}")?;
    Ok(())
}

async fn services(keyring: &Keyring, out: &mut dyn Write) -> Result<(), Failure> {
    let mut bad = Vec::new();
    for (name, status) in keyring.status().await {
        writeln!(out, "{name} ({})", status.kind)?;
        for endpoint in &status.endpoints {
            writeln!(out, "  {}", show(endpoint))?;
        }
        if !status.is_usable() {
            bad.push(name);
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Failure::Failed(format!("cannot be used: {}", bad.join(", ")))) }
}

fn show(endpoint: &EndpointStatus) -> String {
    let mut text = format!("{:<40} ", endpoint.endpoint);
    text.push_str(match (endpoint.reachable, endpoint.key_store_reachable) {
        (false, _) => "not reachable",
        (true, false) => "answers, but does not reach its key store",
        (true, true) => "usable",
    });
    if let Some(version) = &endpoint.version {
        text.push_str(&format!(", version {version}"));
    }
    if let Some(latency) = endpoint.key_store_latency {
        text.push_str(&format!(", key store after {} ms", latency.as_millis()));
    }
    if let Some(problem) = &endpoint.problem {
        text.push_str(&format!(": {problem}"));
    }
    text
}

async fn status(keyring: &Arc<Keyring>, key: &ResolvedKey, out: &mut dyn Write) -> Result<(), Failure> {
    let info = keyring.describe(key).await.map_err(|error| about(key, &error))?;
    writeln!(out, "{key}")?;
    writeln!(out, "  {:<12} {}", "cipher", info.algorithm)?;
    if let Some(created) = info.created_at.and_then(|at| at.format(&Rfc3339).ok()) {
        writeln!(out, "  {:<12} {created}", "made")?;
    }
    if let Some(by) = &info.created_by {
        writeln!(out, "  {:<12} {by}", "made by")?;
    }
    // Describing may be allowed where using is not, so a data key is made and opened again.
    let trial = keyring.try_out(key).await;
    let told = |result: &Result<(), KeyError>| match result {
        Ok(()) => "works".to_owned(),
        Err(error) => format!("fails: {error}"),
    };
    writeln!(out, "  {:<12} {}", "encryption", told(&trial.encryption))?;
    let decryption = trial.decryption.as_ref().map_or("not tried".to_owned(), told);
    writeln!(out, "  {:<12} {decryption}", "decryption")?;
    if trial.is_good() { Ok(()) } else { Err(Failure::Failed(format!("{key} cannot be used"))) }
}

fn failed(error: KeyError) -> Failure {
    Failure::Failed(error.to_string())
}

fn about(key: &ResolvedKey, error: &KeyError) -> Failure {
    Failure::Failed(format!("{key}: {error}"))
}
