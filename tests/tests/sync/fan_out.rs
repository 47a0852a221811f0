//! H16: one entry for many, some of whom do not read.

use aura_proto::{LogId, limits::SEND_QUEUE_BYTES_MAX, message::Message, session::Class};
use mothership_tests::{
    amount,
    follower::Follower,
    raw::{Raw, message, opening},
    scene::{Scene, figure},
    wire::{Device, Wire},
};
use tokio::task::JoinSet;

const LOG: LogId = LogId([7; 16]);
const PEERS: usize = 100;
const STUCK: usize = 5;
/// A typical patch, and a long one.
const BODY_BYTES: [usize; 2] = [10 << 10, 64 << 10];
/// Bytes of entries in one run, as the Mothership makes them.
const RUN_BYTES_MAX: usize = 192 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn h16_an_entry_is_read_and_encoded_once_for_everybody() {
    let scene = Scene::new().await;
    let mut author = Author::new(&scene).await;
    let mut readers = Readers::new(&scene).await;
    let entries = amount(50, 500);
    let bytes = entries * BODY_BYTES[0];
    author.write_to(&mut readers, entries, BODY_BYTES[0]).await;
    let read = scene.process().file_bytes_read();
    author.write_to(&mut readers, entries, BODY_BYTES[0]).await;
    let read = (scene.process().file_bytes_read() - read) as usize;
    figure(&format!(
        "{read} bytes read for {bytes} written, {PEERS} readers"
    ));
    // Once, with its head and what else a look at the log costs; by each reader it would be a hundred times.
    assert!(read < 2 * bytes, "{read} bytes read for {bytes}");
    // As many long ones as the Mothership keeps at hand.
    author.write_to(&mut readers, 64, BODY_BYTES[1]).await;
    let kb = scene.process().resident_kb();
    // Some of them stop reading: each may cost what its queue may hold, whatever is written.
    let stuck = readers.stop(&scene).await;
    for _ in 0..2 {
        author.write_to(&mut readers, 32, BODY_BYTES[1]).await;
        let most = STUCK * (SEND_QUEUE_BYTES_MAX + RUN_BYTES_MAX) / 1_024;
        scene.grew_less_than(most as u64, kb);
    }
    drop((stuck, readers, author));
    scene.is_calm().await;
}

struct Author {
    device: Device,
    wire: Wire,
    seq: u64,
}

impl Author {
    async fn new(scene: &Scene) -> Self {
        let device = scene.join("author").await;
        let wire = device.connect().await.unwrap();
        Self {
            device,
            wire,
            seq: 0,
        }
    }

    /// Writes entries one after the other, until all readers have them.
    async fn write_to(&mut self, readers: &mut Readers, count: usize, body_bytes: usize) {
        let body = vec![7; body_bytes];
        self.seq += count as u64;
        let write = async {
            for _ in 0..count {
                let entry = self.device.entry(LOG, &body).unwrap();
                self.wire.store(LOG, &[entry]).await.unwrap();
            }
        };
        tokio::join!(write, readers.reach(self.seq));
    }
}

struct Readers {
    links: Vec<(Wire, Follower)>,
}

impl Readers {
    async fn new(scene: &Scene) -> Self {
        let mut links = Vec::new();
        for n in 0..PEERS {
            let device = scene.join(&format!("reader-{n}")).await;
            let mut wire = device.connect().await.unwrap();
            let copy = Follower::new(LOG);
            copy.subscribe(&mut wire).await.unwrap();
            links.push((wire, copy));
        }
        Self { links }
    }

    /// Waits until everybody has everything.
    async fn reach(&mut self, seq: u64) {
        let mut reading = JoinSet::new();
        for (mut wire, mut copy) in self.links.drain(..) {
            reading.spawn(async move {
                copy.until(&mut wire, seq).await.unwrap();
                (wire, copy)
            });
        }
        self.links = reading.join_all().await;
    }

    /// Replaces some of the readers by some that ask for everything and read nothing.
    async fn stop(&mut self, scene: &Scene) -> Vec<Raw> {
        self.links.truncate(PEERS - STUCK);
        let mut stuck = Vec::new();
        for n in 0..STUCK {
            let device = scene.join(&format!("stuck-{n}")).await;
            let mut raw = Raw::ready(&device).await.unwrap();
            let question = Message::Subscribe(Follower::new(LOG).question());
            let question = message(Class::Patch, 1, &question);
            raw.write(&[opening(Class::Patch, 1), question].concat())
                .await
                .unwrap();
            stuck.push(raw);
        }
        stuck
    }
}
