//! Every protocol decision of the product, as machines that are fed and polled.
//!
//! [`hub`] is the Mothership, [`peer`] is one laptop's replica of one log, [`relay`] joins two that cannot meet,
//! [`activity`] keeps who edits what now.
//!
//! Invariants:
//! - no clock, socket, file, thread, environment or random source: all of it enters as arguments;
//! - persist before tell: what depends on a record leaves only after the record is durable;
//! - check before append: state changes only by applying durable records, live and at replay by the same code;
//! - input from outside never panics; same inputs give the same outputs, byte for byte.

pub mod activity;
pub mod hub;
pub mod peer;
pub mod relay;
pub mod zones;

/// A moment as a machine is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds on a clock that never goes back; deadlines are measured on it.
    pub mono_ms: u64,
    /// Milliseconds since 1970, which may jump; information and token times.
    pub wall_ms: u64,
}
