//! What people and programs see: the two command lines.
//!
//! Invariants:
//! - with `--json` there is exactly one document on stdout, for success and failure alike;
//! - every failure has an id, an exit code and a next step;
//! - text from outside passes one escaper before it reaches a terminal.

pub mod aura;
mod escape;
mod home;
mod local;
pub mod mothership;
mod out;
mod render;

pub use escape::escape;
pub use home::home;
