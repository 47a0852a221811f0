//! The answers about zones.

use serde::{Deserialize, Serialize};

use super::ConflictDoc;

row! {
    /// A question about a zone that its holder has not answered.
    AskDoc {
        /// Such as `a-17`.
        id: String,
        /// Who asks.
        who: String,
        /// What for.
        text: String,
        /// Since when.
        at: String,
    }
}

row! {
    /// A zone that somebody holds.
    ZoneDoc {
        /// Such as `z-12`; the number is its fence.
        id: String,
        /// Position in the log from which on it is held.
        fence: u64,
        /// Whose it is.
        holder: String,
        /// Whether it is this device's.
        mine: bool,
        /// `warn` or `block`.
        mode: String,
        /// What it covers.
        covers: Vec<String>,
        /// The branch; none for all.
        branch: Option<String>,
        /// Why.
        why: String,
        /// Since when.
        since: String,
        /// When it ends, unless its holder changes something in it before.
        ends: String,
        /// How many units its holder has changed in it.
        changes: u64,
        /// When it did so last.
        last_change: Option<String>,
        /// Who asks for it.
        asks: Vec<AskDoc>,
    }
}

doc! {
    /// Answer of `zone list`.
    Zones = "aura.zones/1" {
        /// The zones, by fence.
        zones: Vec<ZoneDoc>,
        /// How long the Mothership has not been reached, in seconds: what is shown is as old.
        offline_for_s: Option<u64>,
    }
}

doc! {
    /// Answer of whatever changes zones.
    ZoneDone = "aura.zone/1" {
        /// `claimed`, `released`, `extended`, `asked`, `granted`, `denied`, `queued` or `nothing`.
        state: String,
        /// The zones meant.
        ids: Vec<String>,
        /// The zone, where there is one now.
        zone: Option<ZoneDoc>,
        /// Zones of others that ended for it.
        taken: Vec<String>,
        /// Patches of others in it that this working copy does not have.
        waiting: u64,
    }
}

doc! {
    /// Answer of `touching`: what somebody who changes some files should know.
    Touching = "aura.touching/1" {
        /// Zones of others that block one of them.
        zones: Vec<ZoneDoc>,
        /// Open conflicts in them.
        conflicts: Vec<ConflictDoc>,
    }
}
