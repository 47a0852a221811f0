//! TLS, listening, dialling and links over real sockets on loopback.

#![allow(clippy::unwrap_used, missing_docs)]

mod circuits;
mod dialling;
mod lan;
mod links;
mod listening;
mod refusals;
mod team;
