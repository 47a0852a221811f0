//! The daemon of a laptop and its command line.

use std::process::ExitCode;

use aura_faces::JsonLog;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("AURA_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(|| JsonLog(std::io::stderr()))
        .init();
    aura_faces::aura::run(aura_peer::run_daemon)
}
