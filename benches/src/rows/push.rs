//! Durable pushes: rate and answer, beside a sync of the disk for the same bytes.

use crate::{
    Failure, Ground,
    figure::{
        Against::Peer,
        Bound::{AtLeast, AtMost},
        Figure,
    },
    host::{Disk, percentile},
    load::{Pushed, bounded, push},
    nats::{Delivery, Syncs},
    rows::BODY,
    server::Server,
};

/// Writers, unanswered publications of each, publications of each.
const LOADS: [(usize, usize, usize); 5] = [
    (1, 1, 1_000),
    (10, 1, 200),
    (100, 1, 40),
    (1, 16, 3_000),
    (1, 64, 6_000),
];

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let disk = Disk::new(ground.scratch.path())?;
    let server = Server::start(ground.scratch.path(), 100).await?;
    let always = ground.nats(Syncs::Always, Delivery::Live).await?;
    let later = ground.nats(Syncs::Later, Delivery::Live).await?;
    let mut figures = Vec::new();
    for (writers, in_flight, each) in LOADS {
        let name = format!("push, {writers} writers, {in_flight} in flight");
        let load = push(&server, writers, in_flight, each, BODY);
        let mut ours = bounded(&name, load).await?;
        let mut peer = None;
        if let Some(nats) = &always {
            peer = Some(bounded(&name, push(nats, writers, in_flight, each, BODY)).await?);
        }
        let peer_ms = |p: usize, peer: &mut Option<Pushed>| {
            peer.as_mut().map(|peer| percentile(&mut peer.acks, p))
        };
        let group = writers * in_flight;
        let mut syncs = disk.syncs(group * BODY)?;
        let sync_ms = percentile(&mut syncs, 50);
        let rate = Figure::new(format!("{name}: entries/s"), ours.per_second)
            .limit(group as f64 * 1e3 / sync_ms)
            .peer(peer.as_ref().map(|peer| peer.per_second));
        let p50 = Figure::new(
            format!("{name}: ack p50 ms"),
            percentile(&mut ours.acks, 50),
        )
        .limit(sync_ms)
        .peer(peer_ms(50, &mut peer));
        let p99 = Figure::new(
            format!("{name}: ack p99 ms"),
            percentile(&mut ours.acks, 99),
        )
        .limit(percentile(&mut syncs, 99))
        .peer(peer_ms(99, &mut peer));
        let cpu = Figure::new(format!("{name}: server us each"), ours.cpu_us)
            .peer(peer.as_ref().map(|peer| peer.cpu_us));
        if group == 1 {
            figures.extend([
                rate,
                p50.goal(AtMost, 0.75, Peer),
                p99.goal(AtMost, 0.5, Peer),
                cpu,
            ]);
        } else {
            figures.extend([rate, p50, p99, cpu]);
        }
        if let Some(nats) = later.as_ref().filter(|_| in_flight == 64) {
            let peer = bounded(&name, push(nats, writers, in_flight, each, BODY)).await?;
            figures.push(
                Figure::new(
                    format!("{name}: entries/s; the peer does not sync"),
                    ours.per_second,
                )
                .peer(Some(peer.per_second))
                .goal(AtLeast, 0.9, Peer),
            );
        }
    }
    Ok(figures)
}
