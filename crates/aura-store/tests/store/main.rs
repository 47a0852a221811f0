//! The proof of durability: crashes, losses, damage and lack of space against the whole crate.
//!
//! Invariants:
//! - every run is a function of its seed;
//! - `acked ⊆ recovered ⊆ attempted` is checked by [`ledger::Ledger`] and nowhere else.

#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod files;
mod ledger;
mod real;
mod space;
mod views;
mod writer;
