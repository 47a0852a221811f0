//! The coordinator of a team.

use std::process::ExitCode;

use aura_faces::{
    JsonLog,
    mothership::{Engine, Serve},
};
use aura_mothership::ServeConfig;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_env("MOTHERSHIP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(|| JsonLog(std::io::stderr()))
        .init();
    aura_faces::mothership::run(Engine {
        serve: |serve, on_line| aura_mothership::serve(config(serve), on_line),
        verify: aura_mothership::wal_verify,
        read_only: aura_mothership::read_only,
    })
}

fn config(serve: Serve) -> ServeConfig {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
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
