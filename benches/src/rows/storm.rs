//! Everybody comes back at once: connect, prove, subscribe.

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

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(ground.scratch.path(), 1 + PEERS).await?;
    let ours = bounded("storm", storm(server)).await?;
    let mut peer = None;
    if let Some(nats) = ground.nats(Syncs::Always, Delivery::Core).await? {
        peer = Some(bounded("storm", storm(nats)).await?);
    }
    let (ours_ms, ours_us) = ours;
    Ok(vec![
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
