//! What uses what.
//!
//! Invariant: as of all documents, fields may be added, never taken away.

use serde::{Deserialize, Serialize};

row! {
    /// Own code that uses what somebody else changed.
    AlertDoc {
        /// Short id, `i-…`.
        id: String,
        /// Full name of the own unit.
        caller: String,
        /// Full name of the unit that changed, as it was called before.
        callee: String,
        /// `body`, `signature`, `renamed` or `deleted`.
        kind: String,
        /// `certain` or `likely`.
        confidence: String,
        /// The unit between them; null where the caller uses it itself.
        via: Option<String>,
        /// Who changed it.
        author: String,
        /// The branch on which it was changed.
        branch: String,
        /// The operation that changed it.
        op: String,
        /// When it was changed.
        since: String,
        /// Until when it is put off; null where it is not.
        #[serde(default)]
        snoozed_until: Option<String>,
    }
}

row! {
    /// A unit that uses another.
    CallerDoc {
        /// Full name; the path for what stands outside of all units.
        symbol: String,
        /// Full name of the unit that it uses.
        callee: String,
        /// The file.
        path: String,
        /// First line of the unit, counted from one.
        line: u64,
        /// Its sort: `function`, `method` …
        kind: String,
        /// `certain`, `likely` or `possible`.
        confidence: String,
    }
}

doc! {
    /// Answer of `impact`.
    Impact = "aura.impact/1" {
        /// Whether the files were read and all that arrived was weighed.
        ready: bool,
        /// Open alerts, the oldest first; with a symbol only those about it.
        alerts: Vec<AlertDoc>,
        /// The symbol asked for.
        symbol: Option<String>,
        /// What uses it, the surest first.
        callers: Vec<CallerDoc>,
        /// Ids of alerts closed by this call.
        acked: Vec<String>,
        /// Ids of alerts put off by this call.
        #[serde(default)]
        snoozed: Vec<String>,
    }
}
