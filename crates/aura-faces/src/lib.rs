//! The command lines `aura` and `mothership`: arguments in, one document or a few lines out.
//!
//! Invariants:
//! - with `--json` there is exactly one document on standard output, for success and for failure; streams are NDJSON;
//! - what comes from outside reaches a terminal only through the escaper;
//! - a token is never printed back, and never stands in a failure.

pub mod aura;
pub mod mothership;

mod common;
mod completions;
mod duration;
mod escape;
mod man;
mod moment;
mod output;
mod process;
mod qr;
#[cfg(test)]
mod said;
mod schemas;
mod table;
mod when;
mod world;

pub use escape::JsonLog;
