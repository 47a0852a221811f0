//! The answers to a join, a publication and an undo.
//!
//! Invariant: a field that came later is false, empty or none in a document of before.

use serde::{Deserialize, Serialize};

use super::{OpDoc, SetUpStepDoc};
use crate::Next;

doc! {
    /// Answer of `join`.
    Joined = "aura.join/1" {
        /// Team name.
        team: String,
        /// Team id.
        team_id: String,
        /// Name of this device.
        name: String,
        /// Identity key of this device.
        peer: String,
        /// Role in the team.
        role: String,
        /// `joined` or `waiting_for_approval`.
        state: String,
        /// Words of the CA's fingerprint.
        ca_words: String,
        /// Words of this device's fingerprint, to be compared at approval.
        device_words: String,
        /// Mode of the repository.
        mode: String,
        /// Files indexed.
        files: u64,
        /// Units indexed.
        units: u64,
        /// Milliseconds that indexing took.
        index_ms: u64,
        /// Names of peers that are online now.
        online: Vec<String>,
        /// Whether the device was a member before, so that no token was used.
        #[serde(default)]
        was_member: bool,
        /// What became of this clone: `added`, `mode` (it has another one now) or `known`.
        #[serde(default)]
        clone: String,
        /// The address that the Mothership has now, when the token told a new one.
        #[serde(default)]
        endpoint: Option<String>,
        /// What git was told, or with the state `failed` why it was told nothing; none with `--no-git`.
        #[serde(default)]
        git: Option<SetUpStepDoc>,
        /// What to do now.
        next: Vec<Next>,
    }
}

doc! {
    /// Answer of `publish`.
    Published = "aura.publish/1" {
        /// What was published.
        ops: Vec<OpDoc>,
        /// Position of the last entry; null when nothing was published, queued or not waited for.
        seq: Option<u64>,
        /// `published`, `queued` or `nothing`.
        state: String,
        /// Files held back because they do not parse.
        held_back: Vec<String>,
        /// Whether git moves files, so that it is done when it has stopped.
        #[serde(default)]
        postponed: bool,
        /// How many of `ops` were published before and got the reason now.
        #[serde(default)]
        explained: u64,
        /// Own entries that wait for the mothership.
        #[serde(default)]
        queued: u64,
    }
}

doc! {
    /// Answer of `undo`.
    Undone = "aura.undo/1" {
        /// The operation taken back.
        op: String,
        /// Units restored.
        symbols: Vec<String>,
        /// New operations published by it.
        ops: Vec<OpDoc>,
    }
}
