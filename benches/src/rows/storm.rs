//! Everybody comes back at once: connect, prove, subscribe. And what those cost who are there and do nothing.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    Failure, Ground,
    figure::{
        Against::{One, Peer},
        Bound::AtMost,
        Figure,
    },
    host::{ms, now},
    line::System,
    load::bounded,
    nats::{Delivery, Syncs},
    server::Server,
};

const PEERS: usize = 500;
/// Peers that are there and do nothing.
const CROWD: usize = 2_000;
/// Of these, how many come at one time.
const AT_ONCE: usize = 32;

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(ground.scratch.path(), 1 + PEERS).await?;
    let ours = bounded("storm", storm(server)).await?;
    let mut peer = None;
    if let Some(nats) = ground.nats(Syncs::Always, Delivery::Core).await? {
        peer = Some(bounded("storm", storm(nats)).await?);
    }
    let server = Server::start(ground.scratch.path(), 1 + CROWD).await?;
    let ours_kib = bounded("crowd", crowd(server)).await?;
    let mut peer_kib = None;
    if let Some(nats) = ground.nats(Syncs::Always, Delivery::Core).await? {
        peer_kib = Some(bounded("crowd", crowd(nats)).await?);
    }
    let (ours_ms, ours_us) = ours;
    Ok(vec![
        Figure::new(
            format!("{CROWD} are there and idle: KiB of the server each"),
            ours_kib,
        )
        .peer(peer_kib)
        .goal(AtMost, 40.0, One),
        Figure::new(
            format!("storm of {PEERS}: all are back, ms; the peer stores nothing"),
            ours_ms,
        )
        .peer(peer.map(|(ms, _)| ms))
        .goal(AtMost, 0.75, Peer),
        Figure::new(
            format!("storm of {PEERS}: none waits a second, ms"),
            ours_ms,
        )
        .goal(AtMost, 1_000.0, One),
        Figure::new(format!("storm of {PEERS}: server us each"), ours_us)
            .peer(peer.map(|(_, us)| us)),
    ])
}

/// Milliseconds until the last peer has subscribed, and the server's processor time for each in microseconds.
async fn storm<S: System + Send + 'static>(system: S) -> Result<(f64, f64), Failure> {
    let topic = system.topic().await?;
    let system = std::sync::Arc::new(system);
    let mut waits: Vec<Duration> = Vec::new();
    let mut lines = Vec::new();
    let mut running = JoinSet::new();
    let (cpu, begun) = (system.process().cpu()?, now());
    for n in 1..=PEERS {
        let system = std::sync::Arc::clone(&system);
        running.spawn(async move {
            let mut line = system.connect(n, topic).await?;
            line.subscribe().await?;
            Ok::<_, Failure>((line, begun.elapsed()))
        });
    }
    while let Some(done) = running.join_next().await {
        let (line, wait) = done??;
        // Kept open: who leaves early makes room.
        lines.push(line);
        waits.push(wait);
    }
    let cpu = system.process().cpu()? - cpu;
    let last = waits.into_iter().max().map_or(0.0, ms);
    Ok((last, cpu.as_secs_f64() * 1e6 / PEERS as f64))
}

/// KiB of memory that the server takes for each of many that are there; an error if one is refused.
async fn crowd<S: System + Send + 'static>(system: S) -> Result<f64, Failure> {
    let topic = system.topic().await?;
    let system = std::sync::Arc::new(system);
    let before = system.process().memory_kib()?;
    let (mut lines, mut running) = (Vec::new(), JoinSet::new());
    for n in 1..=CROWD {
        if AT_ONCE <= running.len()
            && let Some(done) = running.join_next().await
        {
            lines.push(done??);
        }
        let system = std::sync::Arc::clone(&system);
        running.spawn(async move {
            let mut line = system.connect(n, topic).await?;
            line.subscribe().await?;
            Ok::<_, Failure>(line)
        });
    }
    while let Some(done) = running.join_next().await {
        lines.push(done??);
    }
    Ok((system.process().memory_kib()? - before) / CROWD as f64)
}
