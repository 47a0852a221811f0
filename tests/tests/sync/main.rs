//! What travels between devices and the real `mothership`, and what does not have to.
//!
//! Numbers are those of the capabilities.

#![allow(clippy::unwrap_used, missing_docs)]

mod bulk;
mod fan_out;
mod negotiate;
mod reconcile;
