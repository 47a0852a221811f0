//! H6: much on one link, and still no waiting for what matters.

use std::time::Duration;

use aura_net::LinkHandle;
use aura_proto::{
    LogId,
    message::{Heartbeat, Message},
};
use mothership_tests::{
    amount,
    follower::Follower,
    scene::{Scene, figure, in_time, now},
    wire::{self, Wire},
};
use tokio::sync::mpsc;

const BODY_BYTES: usize = 64 << 10;
const PATCHES: LogId = LogId([7; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn h06_a_transfer_delays_neither_patches_nor_heartbeats() {
    // The log of the transfer before and behind the other, in any order that a Mothership may keep.
    for bulk in [LogId([6; 16]), LogId([8; 16])] {
        beside_a_transfer(bulk).await;
    }
}

/// Patches and heartbeats on a link on which a log of many megabytes arrives.
async fn beside_a_transfer(bulk: LogId) {
    let entries = amount(48 << 20, 100 << 20) / BODY_BYTES;
    let scene = Scene::new().await;
    let mut author = scene.join("author").await;
    let mut writes = author.connect().await.unwrap();
    let body = vec![7; BODY_BYTES];
    for _ in 0..entries / 8 {
        let entry = |_| author.entry(bulk, &body).unwrap();
        let batch: Vec<_> = (0..8).map(entry).collect();
        writes.store(bulk, &batch).await.unwrap();
    }
    let mut other = scene.join("other").await;
    let mut patches = other.connect().await.unwrap();
    let mut reads = scene.join("reader").await.connect().await.unwrap();
    Follower::new(PATCHES).subscribe(&mut reads).await.unwrap();
    let start = Follower::new(bulk);
    let streams = reads.streams.clone();
    let head = reads.subscribe_on(streams[2], bulk, start.cursor, start.vector);
    assert_eq!(head.await.unwrap().seq, entries as u64);
    let link = reads.link.clone();
    let mut arrivals = sorted(reads, bulk, entries * BODY_BYTES);
    let (mut patch_us, mut beat_us) = (Vec::new(), Vec::new());
    // Fewer heartbeats than would be a flood.
    let mut pace = tokio::time::interval(Duration::from_millis(11));
    loop {
        pace.tick().await;
        let entry = other.entry(PATCHES, b"a patch").unwrap();
        let begun = now();
        patches.push(PATCHES, &[entry]);
        beat(&link, patch_us.len() as u64);
        let mut missing = 2;
        while 0 < missing {
            let arrival = arrivals.recv().await.unwrap();
            let taken = begun.elapsed().as_micros() as u64;
            match arrival {
                Arrival::Beat => beat_us.push(taken),
                Arrival::Patch => patch_us.push(taken),
                Arrival::Whole => break,
            }
            missing -= 1;
        }
        if 0 < missing {
            break;
        }
        patches.acked().await.unwrap();
    }
    for (what, us) in [("patch", &mut patch_us), ("heartbeat", &mut beat_us)] {
        us.sort_unstable();
        assert!(
            10 < us.len(),
            "{what}: {us:?}: the transfer was over too soon to tell"
        );
        let p99 = us[us.len() * 99 / 100];
        figure(&format!(
            "{what}: {} beside {entries} entries, p50 {} us, p99 {p99} us",
            us.len(),
            us[us.len() / 2]
        ));
        in_time(p99 / 1_000, 50);
    }
    drop((arrivals, link, patches, writes));
    scene.is_calm().await;
}

enum Arrival {
    Beat,
    Patch,
    /// The last of the transfer.
    Whole,
}

/// Reads a link to the end of the transfer and says what came.
fn sorted(mut wire: Wire, bulk: LogId, bytes: usize) -> mpsc::UnboundedReceiver<Arrival> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut came = 0;
        while let Ok((_, message)) = wire.next().await {
            let arrival = match message {
                Message::Event(run) if run.starts_with(&bulk.0) => {
                    came += run.len();
                    if came < bytes {
                        continue;
                    }
                    Arrival::Whole
                }
                Message::Event(_) => Arrival::Patch,
                Message::HeartbeatAck(_) => Arrival::Beat,
                _ => continue,
            };
            let is_last = matches!(arrival, Arrival::Whole);
            if sender.send(arrival).is_err() || is_last {
                return;
            }
        }
    });
    arrivals
}

fn beat(link: &LinkHandle, nonce: u64) {
    let heads = Vec::new();
    wire::send(link, 0, &Message::Heartbeat(Heartbeat { nonce, heads }));
}
