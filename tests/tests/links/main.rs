//! Laptops that are linked with each other: real processes, each on an address of its own.
//!
//! Numbers are those of the capabilities.

#![allow(clippy::unwrap_used, missing_docs)]

mod after;
mod dial;
mod relay;
mod without;

use std::net::TcpListener;

use mothership_tests::{Laptop, Mothership, Team};
use serde_json::Value;

/// A team whose laptops listen at 127.0.1.1, 127.0.1.2 …, all in mode live and linked with each other.
pub(crate) struct Mesh {
    pub(crate) team: Team,
    pub(crate) box_: Mothership,
    pub(crate) laptops: Vec<Laptop>,
}

impl Mesh {
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::with(names, |_, _| {}, |_, invite| invite)
    }

    /// The same, but nobody waits for the links.
    pub(crate) fn apart(names: &[&str], prepare: impl Fn(usize, &mut Laptop)) -> Self {
        Self::joined(names, prepare, |_, invite| invite)
    }

    /// The same, where `prepare` may change a laptop, and `invited` what it joins with, before it joins.
    pub(crate) fn with(
        names: &[&str],
        prepare: impl Fn(usize, &mut Laptop),
        invited: impl Fn(usize, String) -> String,
    ) -> Self {
        let mesh = Self::joined(names, prepare, invited);
        let laptops = &mesh.laptops;
        for (n, laptop) in laptops.iter().enumerate() {
            let is_open = |m: usize| laptops[m].listen.is_some();
            for (m, other) in names.iter().enumerate() {
                if m != n && is_open(m) && is_open(n) {
                    linked(laptop, other);
                }
            }
            laptop.synced();
        }
        mesh
    }

    fn joined(
        names: &[&str],
        prepare: impl Fn(usize, &mut Laptop),
        invited: impl Fn(usize, String) -> String,
    ) -> Self {
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        let mut laptops: Vec<Laptop> = Vec::new();
        for (n, name) in (1..).zip(names) {
            let mut laptop = team.laptop(name);
            laptop.listen = Some(format!("127.0.1.{n}:0"));
            let invite = match laptops.first() {
                Some(founder) => mothership_tests::token(&founder.aura(&["invite"]).ok()),
                None => mothership_tests::token(&box_.ready),
            };
            prepare(laptops.len(), &mut laptop);
            let invite = invited(laptops.len(), invite);
            laptop.join(&invite, name, "live").ok();
            if laptops.is_empty() {
                laptop
                    .aura(&["config", "set", "members.approve", "auto"])
                    .ok();
            }
            laptops.push(laptop);
        }
        Self {
            team,
            box_,
            laptops,
        }
    }
}

/// Waits until a laptop is linked with another one.
pub(crate) fn linked(laptop: &Laptop, with: &str) {
    laptop
        .event(|event| event["kind"] == "direct" && event["text"] == format!("linked with {with}"));
}

/// Waits until a laptop has received a change of this function, for the `nth` time, from 1.
pub(crate) fn received(laptop: &Laptop, symbol: &str, nth: usize) -> Value {
    let mut seen = 0;
    laptop.event(|event| {
        seen += usize::from(event["kind"] == "received" && event["symbol"] == symbol);
        seen == nth
    })
}

/// Waits until a laptop is told that somebody edits a function.
pub(crate) fn sees(laptop: &Laptop, who: &str, symbol: &str) {
    let actor = Value::from(who);
    laptop.event(|event| {
        event["kind"] == "editing" && event["actor"] == actor && event["symbol"] == symbol
    });
}

/// An address on which nobody listens any more.
pub(crate) fn free(ip: &str) -> String {
    let listener = TcpListener::bind(format!("{ip}:0")).unwrap();
    listener.local_addr().unwrap().to_string()
}
