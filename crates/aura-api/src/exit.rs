//! The exit codes of both programs: one table for the whole product.
//!
//! Invariant: a number never changes its meaning.

use serde::{Deserialize, Serialize};

use crate::schema::JsonSchema;

/// How a command ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Exit(pub u8);

impl Exit {
    /// Done, or nothing to do.
    pub const DONE: Self = Self(0);
    /// Failed, no finer class.
    pub const FAILED: Self = Self(1);
    /// Wrong usage, ambiguous name, malformed input.
    pub const USAGE: Self = Self(2);
    /// Not set up here.
    pub const NOT_SET_UP: Self = Self(3);
    /// Identity refused.
    pub const REFUSED: Self = Self(4);
    /// Local daemon not reachable.
    pub const NO_DAEMON: Self = Self(5);
    /// Mothership or peer unreachable.
    pub const UNREACHABLE: Self = Self(6);
    /// Open conflicts.
    pub const CONFLICT: Self = Self(7);
    /// Zone held by someone else.
    pub const ZONE_HELD: Self = Self(8);
    /// Stale or moved under you.
    pub const STALE: Self = Self(9);
    /// Versions cannot talk.
    pub const VERSION: Self = Self(10);
    /// Partly done, or queued offline.
    pub const PARTLY: Self = Self(11);
    /// Locked, already exists.
    pub const LOCKED: Self = Self(12);
    /// Busy, no space, over a limit.
    pub const BUSY: Self = Self(13);
    /// Storage I/O failed.
    pub const STORAGE: Self = Self(14);
    /// Corruption, fork, rollback.
    pub const INTEGRITY: Self = Self(15);
    /// Unsafe configuration or file permissions.
    pub const UNSAFE: Self = Self(16);
    /// The other side broke the protocol.
    pub const PROTOCOL: Self = Self(17);
    /// Bug in our program.
    pub const BUG: Self = Self(70);
    /// Timed out waiting.
    pub const TIMEOUT: Self = Self(75);

    /// The table, as `help exit-codes` prints it.
    pub const TABLE: &'static [(Self, &'static str)] = &[
        (Self::DONE, "done (also: nothing to do)"),
        (Self::FAILED, "failed, no finer class"),
        (Self::USAGE, "wrong usage, ambiguous name, malformed input"),
        (
            Self::NOT_SET_UP,
            "not set up here (no repository, not joined)",
        ),
        (Self::REFUSED, "identity refused (token or certificate)"),
        (Self::NO_DAEMON, "local daemon not reachable"),
        (Self::UNREACHABLE, "mothership or peer unreachable"),
        (Self::CONFLICT, "open conflicts"),
        (Self::ZONE_HELD, "zone held by someone else"),
        (Self::STALE, "stale or moved under you"),
        (Self::VERSION, "versions cannot talk"),
        (Self::PARTLY, "partly done, or queued offline"),
        (Self::LOCKED, "locked, already exists"),
        (Self::BUSY, "busy, no space, over a limit"),
        (Self::STORAGE, "storage I/O failed"),
        (
            Self::INTEGRITY,
            "integrity failure: corruption, fork, rollback",
        ),
        (Self::UNSAFE, "unsafe configuration or file permissions"),
        (Self::PROTOCOL, "the other side broke the protocol"),
        (Self::BUG, "bug in our program"),
        (Self::TIMEOUT, "timed out waiting"),
    ];
}
