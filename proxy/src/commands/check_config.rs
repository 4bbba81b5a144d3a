//! `check-config`: all faults, or a summary of what the configuration comes to and what to think about.

use std::io::Write;

use super::{ConfigFile, Failure};
use crate::config::{Config, KeyServiceConfig, Unencrypted};

pub(super) fn run(file: &ConfigFile, out: &mut dyn Write) -> Result<(), Failure> {
    let config = file.load_to_listen()?;
    writeln!(out, "{}: no fault found", file.config.display())?;
    for listener in &config.listen {
        let how = match (&listener.tls, listener.tls_terminated_in_front) {
            (Some(_), _) => "TLS",
            (None, true) => "plain HTTP, TLS ends in front",
            (None, false) => "plain HTTP",
        };
        writeln!(out, "  clients      {} ({how})", listener.address)?;
    }
    if let Some(address) = config.admin {
        writeln!(out, "  operators    http://{address}/ready and /metrics")?;
    }
    for (name, backend) in &config.backends {
        writeln!(
            out,
            "  storage      {name}: {} (our own state: {})",
            backend.endpoint, backend.system.bucket
        )?;
    }
    for (name, service) in &config.keys.services {
        let what = match service {
            KeyServiceConfig::Kes(kes) => format!("KES at {}", kes.endpoints.join(", ")),
            KeyServiceConfig::Local { path } => format!("folder {}", path.display()),
        };
        writeln!(out, "  keys         {name}: {what}")?;
    }
    writeln!(out, "  default key  {}/{}", config.keys.service, config.keys.default_key)?;
    writeln!(out, "  credentials  {}", config.credentials.len())?;
    for advice in advice(&config) {
        writeln!(out, "note: {advice}")?;
    }
    Ok(())
}

/// What is allowed, and worth a thought.
pub(super) fn advice(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    for listener in &config.listen {
        if listener.tls.is_none() && !listener.tls_terminated_in_front && !listener.address.ip().is_loopback()
        {
            notes.push(format!(
                "clients reach {} over plain HTTP from other hosts: what they send travels in clear. \
                 Give the listener `tls`, or set `tls_terminated_in_front` behind a balancer.",
                listener.address
            ));
        }
    }
    if config.admin.is_some_and(|address| !address.ip().is_loopback()) {
        notes.push(
            "`admin` can be reached from other hosts: metrics name buckets' backends and load.".to_owned(),
        );
    }
    for (name, service) in &config.keys.services {
        if let KeyServiceConfig::Local { path } = service {
            notes.push(format!(
                "the key service {name} is a folder: whoever reads {} can decrypt everything, and losing it loses everything.",
                path.display()
            ));
        }
    }
    if config.keys.create_missing
        && matches!(config.keys.services.get(&config.keys.service), Some(KeyServiceConfig::Kes(_)))
    {
        notes.push(
            "`create_missing` with KES: several replicas that start at once may each create the default key, and on some \
             key stores the last one wins. Create it once with `s3cloak key create` instead."
                .to_owned(),
        );
    }
    if config.buckets.iter().any(|rule| matches!(rule.unencrypted_objects, Unencrypted::Pass { .. })) {
        notes.push(
            "`unencrypted_objects: pass`: the storage's owner can put plaintext of their own in place of an object."
                .to_owned(),
        );
    }
    notes
}
