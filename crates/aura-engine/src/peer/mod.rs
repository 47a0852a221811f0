//! One laptop's side: the control link, the links to other peers, the replica of each log, and the versions of each unit.
//!
//! [`control`] decides when to dial the Mothership and what to answer, [`links`] which peers to be linked with, [`replica`] verifies and stores what a log says and sees to
//! it that own entries arrive, [`agreement`] sees to it that files which ought to be alike are, [`activity`] tells who edits what now, [`standing`] says how it all stands in one word, [`units`] knows which version of which unit everybody has and where they differ.
//!
//! Invariants:
//! - an own entry is durable here before anybody hears of it, and stays until the Mothership has it;
//! - what a log says is verified against signature, author chain and running hash before it counts;
//! - two concurrent versions of a unit are a value, never an overwrite.

pub mod activity;
pub mod agreement;
pub mod body;
pub mod control;
pub mod exchange;
pub mod links;
pub mod mail;
pub mod replica;
pub mod routes;
pub mod standing;
pub mod units;
