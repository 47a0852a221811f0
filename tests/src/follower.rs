//! A device's copy of one log, reduced to how far it has come.
//!
//! Invariant: what it takes continues what it has, position, running hash and signature, or it panics.

use aura_proto::{
    Digest, LogId, VersionVector,
    event::{EventRun, Placed, chain},
    message::{Head, Subscribe},
};
use aura_trust::verify_entry;

use crate::wire::{Failure, Wire};

/// How far a device has come in one log.
#[derive(Debug, Clone)]
pub struct Follower {
    pub log: LogId,
    /// The last position taken and the running hash there.
    pub cursor: (u64, Digest),
    /// What it has of each writer.
    pub vector: VersionVector,
}

impl Follower {
    /// One that has nothing.
    pub fn new(log: LogId) -> Self {
        Self {
            log,
            cursor: (0, Digest::ZERO),
            vector: VersionVector::default(),
        }
    }

    /// The question for what it lacks.
    pub fn question(&self) -> Subscribe {
        Subscribe {
            log: self.log,
            epoch: 0,
            seq: self.cursor.0,
            hash: self.cursor.1,
            vector: self.vector.clone(),
            checkpoint: Vec::new(),
        }
    }

    /// Asks for what it lacks; where the log stands.
    pub async fn subscribe(&self, wire: &mut Wire) -> Result<Head, Failure> {
        wire.subscribe(self.log, self.cursor, self.vector.clone())
            .await
    }

    /// Takes a run that follows.
    #[track_caller]
    pub fn take(&mut self, run: EventRun) -> Vec<Placed> {
        assert_eq!(run.log, self.log);
        for placed in &run.entries {
            assert_eq!(placed.seq, self.cursor.0 + 1, "a gap or a repetition");
            let entry = verify_entry(placed.entry.clone()).expect("a signature does not verify");
            let header = entry.header();
            self.vector.observe(header.writer, header.author_seq);
            let hash = chain(self.cursor.1, placed.seq, placed.time_ms, entry.hash());
            self.cursor = (placed.seq, hash);
        }
        if let Some(checkpoint) = run.checkpoint {
            assert_eq!(checkpoint.hash, self.cursor.1, "another history");
        }
        run.entries
    }

    /// Takes runs until it has come to `seq`; how many came.
    pub async fn until(&mut self, wire: &mut Wire, seq: u64) -> Result<usize, Failure> {
        let mut runs = 0;
        while self.cursor.0 < seq {
            self.take(wire.run().await?);
            runs += 1;
        }
        Ok(runs)
    }
}
