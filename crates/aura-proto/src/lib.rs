//! The language that every role speaks: identities, signed entries, frames, messages and their limits.
//!
//! Invariants:
//! - nothing here reads a clock, a socket, a file or a random source;
//! - no input from outside panics, and nothing is allocated from a length field;
//! - what is signed or hashed has its own canonical layout ([`entry`]); bincode ([`codec`]) never touches it.
//!
//! The text of the protocol, with numbered clauses and test vectors, stands in `proto-spec/`.

pub mod activity;
pub mod codec;
pub mod codes;
pub mod entry;
pub mod event;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod message;
pub mod pack;
pub mod path;
pub mod rate;
pub mod reach;
pub mod session;
pub mod vector;
pub mod zone;

pub use activity::{AgedActivity, SignedActivity};
pub use codes::Code;
pub use entry::{Entry, Header, Kind};
pub use ids::{Digest, Incarnation, LogId, PeerId, TeamId, Writer};
pub use path::RepoPath;
pub use rate::RateWindow;
pub use reach::{Reach, SignedReach, Visibility};
pub use vector::VersionVector;
