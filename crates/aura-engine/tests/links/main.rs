//! Devices that link with each other, in a small world without sockets.

#![allow(clippy::unwrap_used, missing_docs)]

mod gossip;
mod hostile;
mod mesh;
mod pair;
mod relays;
mod sight;
mod world;
