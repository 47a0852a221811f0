//! The daemon of one laptop: repositories, the control link, and the socket that faces talk to.
//!
//! Invariants:
//! - one thread owns all state; links, watchers and faces only send to it;
//! - what a face is told is true when it is told: queued is on this disk, published is on the Mothership's;
//! - one daemon per home, one home per repository's log.

mod book;
mod clock;
mod daemon;
mod desk;
mod docs;
mod enrol;
mod faces;
mod identity;
mod parses;
mod settings;
mod team;
mod tip;

use std::path::Path;

use aura_api::Failure;

/// Runs the daemon of a home until it is told to stop.
pub fn run_daemon(home: &Path) -> Result<(), Failure> {
    daemon::run(home)
}

/// Names the program that runs: each build finds what it finds.
fn program() -> std::io::Result<blake3::Hasher> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(std::env::current_exe()?)?;
    let mut hasher = blake3::Hasher::new();
    for part in [meta.dev(), meta.ino(), meta.len()] {
        hasher.update(&part.to_be_bytes());
    }
    for part in [meta.mtime(), meta.mtime_nsec()] {
        hasher.update(&part.to_be_bytes());
    }
    Ok(hasher)
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Ends the process after a failed sync: what the disk holds is known only after the next start has read it.
fn storage_failed(error: &dyn std::error::Error) -> ! {
    tracing::error!(error = %chain(error), "the disk failed; stopping");
    std::process::exit(i32::from(aura_api::Exit::STORAGE.0))
}
