//! The protocol as `proto-spec/` writes it, against the product.
//!
//! - each vector file holds what the code gives, and reads back ([`golden`]);
//! - a second implementation, written from the pages alone, gives the same bytes ([`second`]);
//! - tables of codes, limits, purposes, fields and variants equal the code ([`pages`]);
//! - each citation leads to a clause, each clause with a MUST is cited ([`clauses`]).

#![allow(clippy::unwrap_used, missing_docs)]

mod bodies;
mod clauses;
mod entries;
mod golden;
mod log;
mod messages;
mod pages;
mod runs;
mod second;
mod shapes;
mod trace;
mod trust;
mod units;
