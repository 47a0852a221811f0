//! C1: one contract for everything that keeps entries.
//!
//! Invariants:
//! - the same random operations have the same results, whatever keeps the entries and however often it died;
//! - a position is given once, in order from 1, and what stands there never changes.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use aura_proto::{Digest, Entry, LogId, TeamId, event::chain, message::Outcome};
use aura_store::{Crash, Disk, FaultyDisk, Kind, Log, Options, RealDisk};
use bytes::Bytes;
use mothership_tests::{
    amount,
    follower::Follower,
    scene::Scene,
    wire::{Device, Wire},
};

use crate::Random;

const LOGS: usize = 12;
const SEED: u64 = 11;
/// Bytes of one read during a scan: a few entries.
const PAGE_BYTES: usize = 2 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn c01_a_log_on_the_double_of_a_disk_keeps_the_contract() {
    let disk = FaultyDisk::new(SEED);
    let power_cut = {
        let disk = disk.clone();
        move || disk.crash(Crash::Power)
    };
    let mut store = OnDisk::new(Arc::new(disk), PathBuf::from("/logs"), power_cut);
    conformance(&mut store, TeamId([1; 16])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c01_a_log_on_a_real_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = OnDisk::new(Arc::new(RealDisk), dir.path().to_owned(), || {});
    conformance(&mut store, TeamId([1; 16])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c01_a_mothership_on_the_wire_keeps_the_contract() {
    let mut store = OnTheWire::new().await;
    let team = store.carrier.team();
    conformance(&mut store, team).await;
    let OnTheWire {
        scene,
        writes,
        reads,
        ..
    } = store;
    drop((writes, reads));
    scene.is_calm().await;
}

/// What everything that keeps entries can do, log by log.
trait Store {
    /// Keeps an entry; its position.
    async fn put(&mut self, log: LogId, entry: &Entry) -> u64;
    /// Whether something stands at a position.
    async fn has(&mut self, log: LogId, seq: u64) -> bool {
        (1..=self.head(log).await).contains(&seq)
    }
    /// What stands at a position.
    async fn get(&mut self, log: LogId, seq: u64) -> Option<Bytes>;
    /// What stands from a position on, at most so many.
    async fn scan(&mut self, log: LogId, from: u64, count: usize) -> Vec<Bytes>;
    /// The last position.
    async fn head(&mut self, log: LogId) -> u64;
    /// Dies and comes back.
    async fn reopen(&mut self);
}

/// Plays random operations against a store and a model of it.
async fn conformance(store: &mut impl Store, team: TeamId) {
    let mut random = Random(SEED);
    let author = |n| Device::unadmitted(&author(n), team);
    let mut authors: Vec<Device> = (0..LOGS).map(author).collect();
    let mut model: BTreeMap<LogId, Vec<Bytes>> = BTreeMap::new();
    let operations = amount(600, 10_000);
    for n in 0..operations {
        let which = random.below(LOGS);
        let log = log(which);
        let kept = model.entry(log).or_default();
        // Positions that are taken, the one after, and 0.
        let seq = random.below(kept.len() + 2) as u64;
        match random.below(10) {
            0..3 => {
                let body = vec![random.below(256) as u8; random.below(400)];
                let entry = authors[which].entry(log, &body).unwrap();
                kept.push(entry.bytes().clone());
                assert_eq!(store.put(log, &entry).await, kept.len() as u64, "{n}");
            }
            3..5 => assert_eq!(store.has(log, seq).await, at(kept, seq).is_some(), "{n}"),
            5..7 => assert_eq!(store.get(log, seq).await.as_ref(), at(kept, seq), "{n}"),
            7..9 => {
                let count = 1 + random.below(20);
                let from = seq.max(1) as usize - 1;
                let rows = kept.iter().skip(from).take(count).cloned();
                let found = store.scan(log, seq.max(1), count).await;
                assert_eq!(found, rows.collect::<Vec<_>>(), "{n}");
            }
            _ => assert_eq!(store.head(log).await, kept.len() as u64, "{n}"),
        }
        if n % (operations / 4) == operations / 8 {
            store.reopen().await;
        }
    }
}

fn at(kept: &[Bytes], seq: u64) -> Option<&Bytes> {
    kept.get(usize::try_from(seq.checked_sub(1)?).ok()?)
}

fn log(n: usize) -> LogId {
    LogId([1 + n as u8; 16])
}

/// Each log has an author of its own.
fn author(n: usize) -> String {
    format!("author-{n}")
}

/// The segment log, one for each log of entries.
struct OnDisk<F> {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    die: F,
    logs: BTreeMap<LogId, (Log, Vec<u64>)>,
}

impl<F: Fn()> OnDisk<F> {
    fn new(disk: Arc<dyn Disk>, dir: PathBuf, die: F) -> Self {
        let logs = BTreeMap::new();
        let mut store = Self {
            disk,
            dir,
            die,
            logs,
        };
        store.open();
        store
    }

    /// Opens every log and finds the records that are entries.
    fn open(&mut self) {
        for log in (0..LOGS).map(log) {
            let mut places = Vec::new();
            let (disk, dir) = (Arc::clone(&self.disk), self.dir.join(log.to_string()));
            let opened = Log::open_with(disk, &dir, Options::peer(), |record| {
                places.extend((record.kind == Kind::Data).then_some(record.lsn));
            });
            self.logs.insert(log, (opened.unwrap().0, places));
        }
    }
}

impl<F: Fn()> Store for OnDisk<F> {
    async fn put(&mut self, log: LogId, entry: &Entry) -> u64 {
        let (log, places) = self.logs.get_mut(&log).unwrap();
        places.push(log.append(&[entry.bytes()]).unwrap());
        assert_eq!(log.commit().unwrap(), *places.last().unwrap());
        places.len() as u64
    }

    async fn get(&mut self, log: LogId, seq: u64) -> Option<Bytes> {
        let (log, places) = &self.logs[&log];
        let lsn = places.get(usize::try_from(seq.checked_sub(1)?).ok()?)?;
        let record = log.read(*lsn, 1).unwrap().into_iter().next()?;
        Some(record.payload)
    }

    async fn scan(&mut self, log: LogId, from: u64, count: usize) -> Vec<Bytes> {
        let (log, places) = &self.logs[&log];
        let mut rows = Vec::new();
        let mut next = places.get(from as usize - 1).copied();
        while let Some(page) = next.map(|lsn| log.read(lsn, PAGE_BYTES).unwrap()) {
            next = page.last().map(|record| record.lsn + 1);
            let entries = page.into_iter().filter(|record| record.kind == Kind::Data);
            rows.extend(entries.map(|record| record.payload));
            next = next.filter(|_| rows.len() < count);
        }
        rows.truncate(count);
        rows
    }

    async fn head(&mut self, log: LogId) -> u64 {
        self.logs[&log].1.len() as u64
    }

    async fn reopen(&mut self) {
        // A machine that lost its power lets go of nothing in order.
        (self.die)();
        self.logs.clear();
        self.open();
    }
}

/// The real Mothership; what was acknowledged is all that is remembered here.
struct OnTheWire {
    scene: Scene,
    carrier: Device,
    writes: Wire,
    reads: Wire,
    /// Running hashes by position, from 0.
    hashes: BTreeMap<LogId, Vec<Digest>>,
}

impl OnTheWire {
    async fn new() -> Self {
        let scene = Scene::new().await;
        for n in 0..LOGS {
            scene.join(&author(n)).await;
        }
        let carrier = scene.join("carrier").await;
        let writes = carrier.connect().await.unwrap();
        let reads = scene.join("reader").await.connect().await.unwrap();
        let hashes = (0..LOGS).map(|n| (log(n), vec![Digest::ZERO])).collect();
        Self {
            scene,
            carrier,
            writes,
            reads,
            hashes,
        }
    }
}

impl Store for OnTheWire {
    async fn put(&mut self, log: LogId, entry: &Entry) -> u64 {
        let entry = entry.clone();
        let hash = entry.hash();
        let outcomes = self.writes.store(log, &[entry]).await.unwrap();
        let [Outcome::Stored { seq, time_ms }] = outcomes[..] else {
            panic!("{outcomes:?}");
        };
        let hashes = self.hashes.get_mut(&log).unwrap();
        hashes.push(chain(*hashes.last().unwrap(), seq, time_ms, hash));
        seq
    }

    async fn get(&mut self, log: LogId, seq: u64) -> Option<Bytes> {
        let rows = self.scan(log, seq.max(1), 1).await;
        rows.into_iter().next().filter(|_| seq != 0)
    }

    async fn scan(&mut self, log: LogId, from: u64, count: usize) -> Vec<Bytes> {
        let hashes = &self.hashes[&log];
        let Some(hash) = hashes.get(from as usize - 1) else {
            return Vec::new();
        };
        let mut copy = Follower::new(log);
        copy.cursor = (from - 1, *hash);
        let head = copy.subscribe(&mut self.reads).await.unwrap();
        let mut rows = Vec::new();
        while rows.len() < count && copy.cursor.0 < head.seq {
            let run = self.reads.run().await.unwrap();
            rows.extend(copy.take(run));
        }
        rows.truncate(count);
        rows.into_iter()
            .map(|placed| placed.entry.bytes().clone())
            .collect()
    }

    async fn head(&mut self, log: LogId) -> u64 {
        let hashes = &self.hashes[&log];
        let mut copy = Follower::new(log);
        copy.cursor = (hashes.len() as u64 - 1, hashes[hashes.len() - 1]);
        let head = copy.subscribe(&mut self.reads).await.unwrap();
        assert_eq!(head.hash, hashes[head.seq as usize]);
        head.seq
    }

    async fn reopen(&mut self) {
        self.scene.restart("-KILL").await;
        self.writes = self.carrier.connect().await.unwrap();
        let reader = self.scene.join("reader").await;
        self.reads = reader.connect().await.unwrap();
    }
}
