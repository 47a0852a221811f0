//! Where everything of one laptop lives.
//!
//! Invariant: `AURA_HOME` relocates everything; nothing else is consulted then.

use std::path::PathBuf;

use aura_api::{Exit, Failure};
use etcetera::BaseStrategy;

/// The home of this laptop's daemon.
pub fn home() -> Result<PathBuf, Failure> {
    if let Some(home) = std::env::var_os("AURA_HOME").filter(|home| !home.is_empty()) {
        return std::path::absolute(PathBuf::from(home))
            .map_err(|error| Failure::new("AE-USAGE", Exit::USAGE, error.to_string()));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        Failure::new("AE-USAGE", Exit::USAGE, "there is no home directory")
            .next("AURA_HOME=DIR aura …", "name one")
    })?;
    let base = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(base.join("aura"))
}
