//! H6: much on one link, and still no waiting for what matters.

use std::time::{Duration, Instant};

use aura_net::LinkHandle;
use aura_proto::{
    Digest, LogId, VersionVector,
    message::{Heartbeat, Message},
};
use mothership_tests::{
    amount,
    follower::Follower,
    scene::{Scene, figure, in_time, now},
    wire::{self, Device, Wire},
};
use tokio::sync::mpsc;

const BODY_BYTES: usize = 64 << 10;
/// The log that is transferred.
const BULK: LogId = LogId([6; 16]);
/// Logs of patches before it and behind it, in any order that a Mothership may keep.
const PATCHES: [LogId; 2] = [LogId([5; 16]), LogId([7; 16])];

#[tokio::test(flavor = "multi_thread")]
async fn h06_a_transfer_delays_neither_patches_nor_heartbeats() {
    let entries = (16 << 20) / BODY_BYTES;
    let scene = Scene::new().await;
    fill(&scene, entries).await;
    let mut authors = Vec::new();
    for (n, log) in PATCHES.into_iter().enumerate() {
        let device = scene.join(&format!("author-{n}")).await;
        let wire = device.connect().await.unwrap();
        authors.push((log, device, wire));
    }
    let mut reads = scene.join("reader").await.connect().await.unwrap();
    for (log, stream) in PATCHES.into_iter().zip(reads.streams.clone()) {
        let vector = VersionVector::default();
        let asked = reads.subscribe_on(stream, log, (0, Digest::ZERO), vector);
        asked.await.unwrap();
    }
    let link = reads.link.clone();
    let mut arrivals = over_and_over(reads, entries);
    let (mut patch_us, mut beat_us, mut transfers) = (Vec::new(), Vec::new(), 0);
    // Fewer heartbeats than would be a flood.
    let mut pace = tokio::time::interval(Duration::from_millis(11));
    while patch_us.len() < amount(60, 600) || transfers < amount(1, 7) {
        pace.tick().await;
        let turn = patch_us.len() % PATCHES.len();
        let (log, device, wire) = &mut authors[turn];
        let begun = now();
        write(device, wire, *log);
        beat(&link, patch_us.len() as u64);
        let answered = async {
            wire.acked().await.unwrap();
            now()
        };
        let arrived = both(&mut arrivals, &mut transfers);
        let (stored, (patch, heartbeat)) = tokio::join!(answered, arrived);
        // How long the disk took is not the link's doing.
        patch_us.push(patch.saturating_duration_since(stored).as_micros());
        beat_us.push((heartbeat - begun).as_micros());
    }
    let megabytes = (transfers * entries * BODY_BYTES) >> 20;
    for (what, us) in [("patch", &mut patch_us), ("heartbeat", &mut beat_us)] {
        us.sort_unstable();
        let (count, p50, p99) = (us.len(), us[us.len() / 2], us[us.len() * 99 / 100]);
        figure(&format!(
            "{count} times a {what} beside {megabytes} MiB: p50 {p50} us, p99 {p99} us"
        ));
        in_time((p99 / 1_000) as u64, 50);
    }
    drop((arrivals, link, authors));
    scene.is_calm().await;
}

/// When a patch and an answered heartbeat have arrived; counts the transfers that end meanwhile.
async fn both(
    arrivals: &mut mpsc::UnboundedReceiver<Arrival>,
    transfers: &mut usize,
) -> (Instant, Instant) {
    let (mut patch, mut heartbeat) = (None, None);
    loop {
        match arrivals.recv().await.unwrap() {
            Arrival::Beat => heartbeat = Some(now()),
            Arrival::Patch => patch = Some(now()),
            Arrival::Whole => *transfers += 1,
        }
        if let (Some(patch), Some(heartbeat)) = (patch, heartbeat) {
            return (patch, heartbeat);
        }
    }
}

/// Writes the log that is to be transferred.
async fn fill(scene: &Scene, entries: usize) {
    let mut author = scene.join("author").await;
    let mut wire = author.connect().await.unwrap();
    let body = vec![7; BODY_BYTES];
    for _ in 0..entries / 8 {
        let entry = |_| author.entry(BULK, &body).unwrap();
        let batch: Vec<_> = (0..8).map(entry).collect();
        wire.store(BULK, &batch).await.unwrap();
    }
}

fn write(device: &mut Device, wire: &Wire, log: LogId) {
    let entry = device.entry(log, b"a patch").unwrap();
    wire.push(log, &[entry]);
}

fn beat(link: &LinkHandle, nonce: u64) {
    let heads = Vec::new();
    wire::send(link, 0, &Message::Heartbeat(Heartbeat { nonce, heads }));
}

enum Arrival {
    Beat,
    Patch,
    /// The last of a transfer.
    Whole,
}

/// Asks for the whole log again whenever it has come, and says what comes.
fn over_and_over(mut wire: Wire, entries: usize) -> mpsc::UnboundedReceiver<Arrival> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let question = Message::Subscribe(Follower::new(BULK).question());
        let bulk = wire.streams[2];
        let mut came = 0;
        wire.send(bulk, &question);
        while let Ok((_, message)) = wire.next().await {
            let arrival = match message {
                Message::Event(run) if run.starts_with(&BULK.0) => {
                    came += run.len();
                    if came < entries * BODY_BYTES {
                        continue;
                    }
                    came = 0;
                    wire.send(bulk, &question);
                    Arrival::Whole
                }
                Message::Event(_) => Arrival::Patch,
                Message::HeartbeatAck(_) => Arrival::Beat,
                _ => continue,
            };
            if sender.send(arrival).is_err() {
                return;
            }
        }
    });
    arrivals
}
