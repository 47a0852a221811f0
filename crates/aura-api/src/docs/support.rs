//! The answers about what is wrong, and what is handed to whoever is to help.

use serde::{Deserialize, Serialize};

use crate::Next;

row! {
    /// One thing that was looked at.
    CheckDoc {
        /// What it is about, such as `git` or `disk`.
        name: String,
        /// `ok`, `warn` or `fail`.
        state: String,
        /// One line for people.
        text: String,
        /// What to do about it; nothing where it is `ok`.
        next: Vec<Next>,
    }
}

row! {
    /// One thing that was put right, or could not be.
    FixDoc {
        /// The check that it is for.
        check: String,
        /// `done` or `failed`.
        state: String,
        /// One line for people.
        text: String,
    }
}

doc! {
    /// Answer of `doctor`.
    Doctor = "aura.doctor/1" {
        /// Version of the program.
        version: String,
        /// The worst state of any check: `ok`, `warn` or `fail`.
        state: String,
        /// What was looked at, as it is after `fixed`.
        checks: Vec<CheckDoc>,
        /// What `--fix` did.
        fixed: Vec<FixDoc>,
        /// What to do now: the steps of all checks.
        next: Vec<Next>,
    }
}

doc! {
    /// Answer of `bugreport`.
    BugReport = "aura.bugreport/1" {
        /// The file that was written.
        path: String,
        /// Its length.
        bytes: u64,
    }
}
