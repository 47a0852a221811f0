//! A Mothership under test, and a bystander who must not notice any of it.
//!
//! Invariants, asserted by [`Scene::is_calm`] at the end of a case:
//! - the Mothership lives, and its log verifies;
//! - its sockets are back to what they were;
//! - the bystander is still online, and what it writes comes back to it in time.

use std::{io::Write, time::Duration};

use aura_net::Clock;
use aura_proto::{Digest, LogId, VersionVector};
use serde_json::Value;

use crate::{
    Mothership, Team, amount,
    process::Process,
    token,
    wire::{Device, Wire},
};

/// How long the Mothership has to let everything go.
const CALM: Duration = Duration::from_secs(10);
/// How long the bystander may wait for its own entry, in milliseconds.
const BYSTANDER_MS: u64 = 1_000;

/// Asserts a deadline of a case; a quick run may share its machine with anything and gets ten times as much.
#[track_caller]
pub fn in_time(ms: u64, limit_ms: u64) {
    assert!(ms <= limit_ms * amount(10, 1), "{ms} ms of {limit_ms}");
}

/// Shows a figure of a long run.
pub fn figure(text: &str) {
    if amount(false, true) {
        // Nobody may be there to read it.
        writeln!(std::io::stderr(), "{text}").ok();
    }
}

/// For what is measured in less than milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "finer than the clock of the product"
)]
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The log that the bystander writes to.
pub const BYSTANDING: LogId = LogId([0xbb; 16]);

/// A Mothership, its first member and a bystander.
pub struct Scene {
    pub team: Team,
    pub mothership: Mothership,
    /// The first member, an admin.
    pub admin: Device,
    /// An invite that a thousand may use.
    pub invite: String,
    bystander: (Device, Wire),
    sockets: usize,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A scene whose Mothership has these flags.
    pub async fn with(flags: &[&str]) -> Self {
        let team = Team::new();
        let mothership = team.serve_with(&team.state(), "127.0.0.1:0", flags);
        let admin = Device::join(&token(&mothership.ready), "admin")
            .await
            .unwrap();
        let invite = token(&team.mothership(&["invite", "--uses", "1000"]).ok());
        let device = Device::join(&invite, "bystander").await.unwrap();
        let wire = watching(&device).await;
        let mut scene = Self {
            team,
            mothership,
            admin,
            invite,
            bystander: (device, wire),
            sockets: 0,
        };
        scene.bystander_is_served().await;
        scene.sockets = scene.process().sockets();
        scene
    }

    /// Another member.
    pub async fn join(&self, name: &str) -> Device {
        Device::join(&self.invite, name).await.unwrap()
    }

    /// The process under test.
    pub fn process(&self) -> Process {
        Process(self.mothership.pid())
    }

    /// Asserts that the process holds fewer KiB more than it did.
    #[track_caller]
    pub fn grew_less_than(&self, kb: u64, before: u64) {
        let grown = self.process().resident_kb().saturating_sub(before);
        assert!(grown < kb, "{grown} KiB more than {before}");
    }

    /// The rows of the peer list that are not removed.
    pub fn peers(&self) -> Vec<Value> {
        let peers = self.team.mothership(&["peer", "list"]).ok();
        let peers = peers["peers"].as_array().cloned().unwrap_or_default();
        peers
            .into_iter()
            .filter(|peer| peer["state"] != "revoked")
            .collect()
    }

    /// Entries in a log.
    pub fn entries(&self, log: LogId) -> u64 {
        let status = self.team.mothership(&["status"]).ok();
        let logs = status["logs"].as_array().cloned().unwrap_or_default();
        let log = logs.iter().find(|row| row["log"] == log.to_string());
        log.map_or(0, |row| row["seq"].as_u64().unwrap())
    }

    /// Stops the Mothership with a signal and serves again on the same state and address; the bystander returns.
    pub async fn restart(&mut self, signal: &str) {
        let listen = self.mothership.listen.clone();
        self.mothership.signal(signal);
        self.mothership = self.team.serve(&listen);
        self.bystander.1 = watching(&self.bystander.0).await;
        self.bystander_is_served().await;
        self.sockets = self.process().sockets();
    }

    /// Asserts what must hold after every case.
    pub async fn is_calm(mut self) {
        self.bystander_is_served().await;
        let before = self.sockets;
        let calm = async {
            // Each look costs a round trip to the Mothership, so this does not spin.
            while before < self.process().sockets() {
                self.peers();
                tokio::task::yield_now().await;
            }
        };
        let calm = tokio::time::timeout(CALM, calm).await;
        let left = self.process().sockets();
        assert!(calm.is_ok(), "{left} sockets are left of {before}");
        assert_eq!(self.mothership.exit(), None);
        let verified = self.team.mothership(&["wal", "verify"]).ok();
        assert_eq!(verified["ok"], true);
    }

    /// Asserts that the bystander gets its own entry back in time.
    async fn bystander_is_served(&mut self) {
        let (device, wire) = &mut self.bystander;
        let entry = device.entry(BYSTANDING, b"here").unwrap();
        let clock = Clock::start();
        wire.push(BYSTANDING, std::slice::from_ref(&entry));
        while !(wire.run().await.unwrap().entries.iter()).any(|placed| placed.entry == entry) {}
        in_time(clock.mono_ms(), BYSTANDER_MS);
    }
}

/// A link that sees what the bystander writes.
async fn watching(device: &Device) -> Wire {
    let mut wire = device.connect().await.unwrap();
    let start = (0, Digest::ZERO);
    let head = wire.subscribe(BYSTANDING, start, VersionVector::default());
    head.await.unwrap();
    wire
}
