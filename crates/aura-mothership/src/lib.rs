//! The Mothership's shell: sockets, disk, keys and clock around the engine that decides.
//!
//! Invariants:
//! - nothing is decided here; what the engine orders is done, what happens is told to it;
//! - keys are made once, owner-only, and never made again when damaged;
//! - a failed sync ends the process.

mod admin;
mod bridge;
mod custody;
mod feed;
mod offline;
mod serve;
mod wal;

pub use offline::{read_only, wal_verify};
pub use serve::{ServeConfig, relay_limits, serve};
