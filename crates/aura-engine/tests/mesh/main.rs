//! Up to two hundred devices on a seeded network without the Mothership, or with one that comes and goes.
//!
//! A seed draws how many there are, what is written, and faults: partitions, ways that are silent in one direction,
//! lossy dials, links that die, crashes that are told and crashes that are not, restarts at new addresses, devices that
//! come late. While faults are on, checkers run; then faults stop and everybody must become equal.
//! `AURA_MESH_SEED=n cargo test -p aura-engine --test mesh` plays a seed again, `AURA_MESH_SEEDS=n` plays more.

#![allow(clippy::unwrap_used, missing_docs)]

mod checks;
mod degree;
mod discovery;
mod entries;
mod storm;
mod world;
