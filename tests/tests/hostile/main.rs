//! What bad members, other users of the machine and bad input must not be able to do to a laptop.

#![allow(clippy::unwrap_used, missing_docs)]

mod local;
mod members;
mod parser;
mod shown;
mod traps;
mod trust;
mod versions;
