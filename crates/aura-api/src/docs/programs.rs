//! What the programs say about themselves and their work: failures, notices, exit codes, schemas, manual pages.

use serde::{Deserialize, Serialize};

use crate::Failure;

doc! {
    /// Answer of any call that could not be done.
    Failed = "aura.error/1" {
        /// Why not, and what to do now.
        error: Failure,
    }
}

doc! {
    /// Answer of `daemon logs`.
    DaemonLogs = "aura.daemon_logs/1" {
        /// The newest lines, oldest first.
        lines: Vec<String>,
    }
}

row! {
    /// One exit code.
    ExitCodeDoc {
        /// The number.
        code: u8,
        /// What it means, for people.
        meaning: String,
    }
}

doc! {
    /// Answer of `help exit-codes`.
    ExitCodes = "aura.exit_codes/1" {
        /// By number.
        codes: Vec<ExitCodeDoc>,
    }
}

doc! {
    /// Answer of `join --dry-run`.
    JoinChecked = "aura.join_dry_run/1" {
        /// `dry_run`: what was given reads well, and nothing was done.
        state: String,
    }
}

row! {
    /// One document that the programs print.
    SchemaDoc {
        /// Name and version, as in the `schema` field.
        name: String,
        /// What it is, for people.
        about: String,
    }
}

doc! {
    /// Answer of `schema` without a name.
    Schemas = "aura.schemas/1" {
        /// By name.
        schemas: Vec<SchemaDoc>,
    }
}

doc! {
    /// Answer of `man`.
    ManPages = "aura.man/1" {
        /// The files written with `--dir`.
        files: Vec<String>,
        /// The page of the program itself, without `--dir`.
        page: Option<String>,
    }
}

doc! {
    /// One later line of `mothership serve --json`.
    BoxEvent = "mothership.event/1" {
        /// When.
        at: String,
        /// `joined`, `refused`, `online`, `away`, `revoked`, `fault` …
        kind: String,
        /// The device, or the beginning of a log's id, that it is about.
        who: String,
        /// One line for people.
        text: String,
    }
}
