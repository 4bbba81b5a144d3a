//! `serve`: from the configuration to a running proxy. The serving itself is `gateway/`'s.

use std::sync::Arc;

use super::{ConfigFile, Failure, check_config};
use crate::config::Config;
use crate::services::Services;
use crate::{gateway, logging};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load_to_listen()?;
    logging::init(&config.log).map_err(Failure::Failed)?;
    for advice in check_config::advice(&config) {
        tracing::warn!("{advice}");
    }
    gateway(config)
}

/// Serves until a signal ends the process.
pub(super) fn gateway(config: Config) -> Result<(), Failure> {
    let services = Arc::new(Services::new(Arc::new(config))?);
    gateway::run(services).map_err(Failure::Failed)
}
