//! What any program can send to the real `mothership`, and what it gets for it.
//!
//! Numbers are those of the cases; each ends with a look at the process, its log and a bystander.

#![allow(clippy::unwrap_used, missing_docs)]

mod floods;
mod frames;
mod slow;
mod tls;
mod tokens;
