//! The answers about pauses.
//!
//! Invariant: as of all documents, fields may be added, never taken away.

use serde::{Deserialize, Serialize};

row! {
    /// What of a repository holds still: until when, or `resume` for until its user says so.
    PauseDoc {
        /// Publishing.
        publishing: Option<String>,
        /// Taking what others publish by itself.
        taking: Option<String>,
    }
}

doc! {
    /// Answer of `pause` and `resume`.
    Paused = "aura.pause/1" {
        /// What holds still now; null where nothing does.
        paused: Option<PauseDoc>,
    }
}
