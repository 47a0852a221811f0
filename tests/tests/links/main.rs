//! Laptops that are linked with each other: real processes, each on an address of its own.
//!
//! Numbers are those of the capabilities.

#![allow(clippy::unwrap_used, missing_docs)]

mod without;

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
            laptop.join(&invite, name, "live").ok();
            if laptops.is_empty() {
                laptop
                    .aura(&["config", "set", "members.approve", "auto"])
                    .ok();
            }
            laptops.push(laptop);
        }
        for (n, laptop) in laptops.iter().enumerate() {
            for other in names.iter().enumerate().filter(|(m, _)| *m != n) {
                linked(laptop, other.1);
            }
            laptop.synced();
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
