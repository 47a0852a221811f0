//! Who edits what now: what a device says of it, sealed for the team and passed on by others.
//!
//! Invariants:
//! - what is signed is laid out here byte for byte, whatever encoding carries it;
//! - how old a word is nobody has to believe a clock for: each who passes it on adds how long it had it.

use serde::{Deserialize, Serialize};

use crate::{
    entry::Kind,
    ids::{LogId, TeamId, Writer},
    limits::ACTIVITY_BYTES_MAX,
};

/// The kind in the context that a word is sealed for; no entry has it.
pub const ACTIVITY_KIND: Kind = Kind(0);

/// What a device says of the work in one clone of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedActivity {
    /// The log of the repository.
    pub log: LogId,
    /// Whose clone.
    pub writer: Writer,
    /// Higher than whatever was said of that clone before.
    pub counter: u64,
    /// The team key that sealed it.
    pub key_epoch: u32,
    /// What is said, sealed as a body in the place of log, writer and counter, for [`ACTIVITY_KIND`].
    pub sealed: Vec<u8>,
    /// Ed25519 of the device, 64 bytes, purpose `aura/v1/activity`, over [`SignedActivity::signed_parts`].
    pub signature: Vec<u8>,
}

/// The same on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgedActivity {
    /// What was said.
    pub said: SignedActivity,
    /// How long ago, in milliseconds, as far as those know who had it.
    pub age_ms: u64,
}

impl SignedActivity {
    /// The bytes under the signature, behind the purpose: team 16 ‖ log 16 ‖ peer 32 ‖ incarnation 8 ‖ counter 8 ‖
    /// key epoch 4 ‖ sealed.
    // spec: activity/1.2
    pub fn signed_parts(&self, team: TeamId) -> Vec<u8> {
        [
            &team.0[..],
            &self.log.0,
            &self.writer.peer.0,
            &self.writer.incarnation.0.to_be_bytes(),
            &self.counter.to_be_bytes(),
            &self.key_epoch.to_be_bytes(),
            &self.sealed,
        ]
        .concat()
    }

    /// Whether it has the form that a device may give it.
    // spec: activity/1.3
    pub fn is_well_formed(&self) -> bool {
        self.log != LogId::TEAM && self.sealed.len() <= ACTIVITY_BYTES_MAX
    }
}
