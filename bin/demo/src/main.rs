//! A team on one machine: one Mothership, three laptops, and everything a day of work brings.
//!
//! `demo DIRECTORY` plays in a copy of the sources there and changes a function of theirs in each language.
//!
//! Invariants:
//! - every step is checked; the exit code is 0 only if all of them held;
//! - every wait has an end, and nothing is left behind: neither a process nor a file.

mod native;
mod play;
mod stage;
mod tree;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use aura_faces::mothership::{Engine, Serve};
use aura_mothership::ServeConfig;
use tracing_subscriber::EnvFilter;

/// Names the program that this process is; absent: the demonstration itself.
pub(crate) const ROLE: &str = "DEMO_ROLE";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("aura") => {
            log("warn");
            aura_faces::aura::run(aura_peer::run_daemon)
        }
        Ok("mothership") => {
            log("info");
            aura_faces::mothership::run(Engine {
                serve: |serve, on_line| aura_mothership::serve(config(serve), on_line),
                verify: aura_mothership::wal_verify,
                read_only: aura_mothership::read_only,
            })
        }
        _ => demonstrate(),
    }
}

fn demonstrate() -> ExitCode {
    let tree = std::env::args_os().nth(1).map(PathBuf::from);
    match play::play(tree.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let mark = if std::io::stderr().is_terminal() {
                "\x1b[31m✗\x1b[0m"
            } else {
                "✗"
            };
            writeln!(std::io::stderr(), "\n{mark} {why}").ok();
            ExitCode::FAILURE
        }
    }
}

fn log(level: &str) {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .init();
}

fn config(serve: Serve) -> ServeConfig {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    ServeConfig {
        heartbeat_ms: ms(serve.heartbeat),
        offline_after_ms: ms(serve.offline_after),
        leaf_ttl_s: serve.leaf_life.as_secs(),
        relay: aura_mothership::relay_limits(
            serve.relay_bytes,
            serve.relay_time.map(ms),
            serve.relay_circuits,
        ),
        state_dir: serve.state_dir,
        listen: serve.listen,
        advertise: serve.advertise,
        name: serve.name,
        invite: serve.invite,
    }
}
