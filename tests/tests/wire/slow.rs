//! C. Readers and links that are slow, stuck or gone.

use aura_net::Clock;
use aura_proto::{
    Code, LogId,
    frame::FrameType,
    limits::STALLED_MS_MAX,
    message::{Heartbeat, Message, Outcome},
    session::Class,
};
use mothership_tests::{
    Team, amount,
    follower::Follower,
    proxy::{Fate, Proxy, Way},
    raw::{Raw, message, opening},
    scene::{Scene, figure, in_time, now},
    wire::{Device, Wire},
};
use serde_json::Value;

const LOG: LogId = LogId([7; 16]);
const BODY_BYTES: usize = 16 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn case_043_a_reader_that_stops_costs_its_place_and_nothing_else() {
    let entries = amount(4 << 20, 100 << 20) / BODY_BYTES;
    let scene = Scene::new().await;
    let mut writer = Pair::new(&scene, "writer", "reader").await;
    let mut alone = writer.deliver(entries).await;
    let stuck = scene.join("stuck").await;
    let mut raw = Raw::ready(&stuck).await.unwrap();
    let subscribe = message(
        Class::Patch,
        1,
        &Message::Subscribe(Follower::new(LOG).question()),
    );
    raw.write(&[opening(Class::Patch, 1), subscribe].concat())
        .await
        .unwrap();
    raw.expect(FrameType::WAL_HEAD).await.unwrap();
    // From here on it reads nothing.
    let clock = Clock::start();
    let kb = scene.process().resident_kb();
    let mut beside = writer.deliver(entries / 4).await;
    let lag = |name: &str| {
        let peers = scene.peers();
        let row = peers.iter().find(|peer| peer["name"] == name);
        row.and_then(|peer| peer["lag"].as_u64()).unwrap()
    };
    assert!(entries as u64 <= lag("stuck"), "it counts as up to date");
    assert_eq!(lag("reader"), 0);
    if amount(false, true) {
        let alone = percentile(&mut alone, 99);
        let beside = percentile(&mut beside, 99);
        figure(&format!(
            "p99 {alone} us alone, {beside} us beside a stuck reader"
        ));
        assert!(beside <= 2 * alone);
        let is_cut = |event: &Value| event["kind"] == "away" && event["who"] == "stuck";
        scene.mothership.event(is_cut);
        let ms = clock.mono_ms();
        figure(&format!("cut after {ms} ms"));
        assert!(ms <= STALLED_MS_MAX + 5_000, "{ms} ms");
    }
    writer.deliver(entries - entries / 4).await;
    scene.grew_less_than(2 * 1_024, kb);
    drop(raw);
    // It comes back and lacks nothing.
    let mut wire = stuck.connect().await.unwrap();
    let mut copy = Follower::new(LOG);
    let head = copy.subscribe(&mut wire).await.unwrap();
    assert_eq!(head.seq, 2 * entries as u64);
    copy.until(&mut wire, head.seq).await.unwrap();
    drop((wire, writer));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c51_case_044_a_silent_device_is_away_and_then_offline() {
    let team = Team::new();
    let flags = ["--heartbeat", "500ms", "--offline-after", "2s"];
    let mothership = team.serve_with(&team.state(), "127.0.0.1:0", &flags);
    let alice = team.founder(&mothership, "observe");
    let mute = Device::join(&team.invite(), "mute").await.unwrap();
    let raw = Raw::ready(&mute).await.unwrap();
    let clock = Clock::start();
    assert_eq!(raw.until_closed(b"").await, Some(Code::TIMEOUT));
    in_time(clock.mono_ms(), 3 * 500 + 500);
    alice.event(|event| event["text"] == "mute is away");
    alice.event(|event| event["text"] == "mute is offline");
    in_time(clock.mono_ms(), 3 * 500 + 2_000 + 1_000);
    assert_eq!(alice.aura(&["status"]).ok()["link"]["state"], "online");
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_case_044_a_half_open_link_is_found_on_both_sides_in_three_heartbeats() {
    let team = Team::new();
    let proxy = Proxy::to("127.0.0.1:1");
    let flags = ["--heartbeat", "2s", "--advertise", &proxy.listen];
    let mothership = team.serve_with(&team.state(), "127.0.0.1:0", &flags);
    proxy.lead_to(&mothership.listen);
    let alice = team.founder(&mothership, "observe");
    let clock = Clock::start();
    for way in [Way::There, Way::Back] {
        proxy.set(way, Fate::Lose);
    }
    mothership.event(|event| event["kind"] == "away");
    in_time(clock.mono_ms(), 3 * 2_000 + 500);
    alice.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    in_time(clock.mono_ms(), 3 * 2_000 + 500);
    for way in [Way::There, Way::Back] {
        proxy.set(way, Fate::Pass);
    }
    proxy.cut();
    alice
        .aura(&["wait", "--for", "synced", "--timeout", "60s"])
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_047_a_large_push_keeps_nobody_waiting_on_its_own_link() {
    let scene = Scene::new().await;
    let mut eve = scene.join("eve").await;
    let mut wire = eve.connect().await.unwrap();
    let bodies = vec![0; (1 << 20) - 1_024];
    let entries: Vec<_> = (0..8).map(|_| eve.entry(LOG, &bodies).unwrap()).collect();
    let mut slowest_ms = 0;
    let mut asked = 0;
    // Fewer heartbeats than would be a flood.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(12));
    wire.push(LOG, &entries);
    let outcomes = loop {
        pace.tick().await;
        let clock = Clock::start();
        asked += 1;
        wire.link.send(0, FrameType::MSG_SEND, "hello".into());
        let heads = Vec::new();
        wire.send(
            0,
            &Message::Heartbeat(Heartbeat {
                nonce: asked,
                heads,
            }),
        );
        let mut answers = 0;
        let acked = loop {
            match wire.next().await.unwrap() {
                (0, Message::Error(refusal)) if refusal.code == Code::UNSUPPORTED => answers += 1,
                (0, Message::HeartbeatAck(ack)) if ack.nonce == asked => answers += 1,
                (_, Message::PushAck(ack)) => break Some(ack.outcomes),
                _ => {}
            }
            if answers == 2 {
                break None;
            }
        };
        if let Some(outcomes) = acked {
            break outcomes;
        }
        slowest_ms = slowest_ms.max(clock.mono_ms());
    };
    figure(&format!(
        "{asked} questions during the push, the slowest answer took {slowest_ms} ms"
    ));
    assert!(1 < asked, "nothing was asked while the push was on its way");
    in_time(slowest_ms, 250);
    let stored = |row: &(u64, Outcome)| matches!(row.1, Outcome::Stored { .. });
    assert!(outcomes.len() == 8 && outcomes.iter().all(stored));
    drop(wire);
    scene.is_calm().await;
}

/// A device that writes and one that reads it at once.
struct Pair {
    device: Device,
    writes: Wire,
    reads: Wire,
}

impl Pair {
    async fn new(scene: &Scene, writer: &str, reader: &str) -> Self {
        let device = scene.join(writer).await;
        let writes = device.connect().await.unwrap();
        let mut reads = scene.join(reader).await.connect().await.unwrap();
        Follower::new(LOG).subscribe(&mut reads).await.unwrap();
        Self {
            device,
            writes,
            reads,
        }
    }

    /// Writes entries one by one; how long each took to be read, in microseconds.
    async fn deliver(&mut self, count: usize) -> Vec<u64> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = self.device.entry(LOG, &[7; BODY_BYTES]).unwrap();
            let begun = now();
            self.writes.push(LOG, std::slice::from_ref(&entry));
            let run = self.reads.run().await.unwrap();
            taken.push(begun.elapsed().as_micros() as u64);
            assert_eq!(run.entries[0].entry, entry);
            self.writes.acked().await.unwrap();
        }
        taken
    }
}

fn percentile(taken: &mut [u64], p: usize) -> u64 {
    taken.sort_unstable();
    taken[taken.len() * p / 100]
}
