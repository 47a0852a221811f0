//! Devices of the team on the same network, looked for while the Mothership is away.
//!
//! Invariants:
//! - nobody is looked for, and nothing is advertised, while the Mothership says where everybody is;
//! - what is found is one more address to dial, beside what the device itself said; it is neither kept nor passed on.

use std::net::SocketAddr;

use aura_net::lan::{Found, LAN_KEYS_MAX, Lan, LanConfig, LanKey, MDNS_PORT, PAUSE};
use aura_proto::{PeerId, Visibility};

use crate::{
    clock::random,
    daemon::{Daemon, Event},
};

/// How long after it could not be started it is tried again, in milliseconds.
const AGAIN_MS: u64 = 60_000;

impl Daemon {
    /// Whether others are to be looked for on this network.
    fn wants_lan(&self) -> bool {
        let is_away = self.down_why.is_some() && !self.is_control_up();
        if !is_away || self.settings.get("links.mdns") != "on" {
            return false;
        }
        let settings = self.settings.links();
        settings.direct
            && settings.visibility != Visibility::Strict
            && !self.identity.ring.is_empty()
    }

    /// Begins or ends to look for others.
    pub(super) fn tend_lan(&mut self) {
        let wants = self.wants_lan();
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        if !wants {
            self.end_lan();
        } else if neighbours.lan.is_none() && neighbours.lan_at_ms <= now_ms {
            neighbours.lan_at_ms = now_ms + AGAIN_MS;
            self.begin_lan();
        }
    }

    /// Looks for nobody any more; what was found counts no longer.
    pub(in crate::daemon) fn end_lan(&mut self) {
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        // What was found may be dialled no longer.
        neighbours.is_stale |= !neighbours.found.is_empty();
        neighbours.found.clear();
        neighbours.lan_at_ms = 0;
        if let Some((lan, task)) = neighbours.lan.take() {
            task.abort();
            // Its good-bye on the network may take a moment.
            self.runtime.spawn_blocking(move || drop(lan));
        }
    }

    fn begin_lan(&mut self) {
        let Some(team) = self.identity.enrolment.as_ref().map(|own| own.team) else {
            return;
        };
        let announced = self.announced();
        let addresses = announced.map_or_else(Vec::new, |reach| reach.addresses.clone());
        let is_loopback_only = is_loopback(&addresses);
        let newest = self.identity.ring.iter().rev().take(LAN_KEYS_MAX);
        let config = LanConfig {
            keys: newest.map(|key| LanKey::new(key.lan_key(team))).collect(),
            own: self.identity.key.peer(),
            is_loopback_only,
            addresses,
            locality: self.locality(),
            port: MDNS_PORT,
            random: random(),
            pause: PAUSE,
        };
        match Lan::start(config) {
            Ok((lan, mut found)) => {
                let events = self.sender.clone();
                let task = self.runtime.spawn(async move {
                    while let Some(found) = found.recv().await {
                        if events.send(Event::Found(found)).is_err() {
                            return;
                        }
                    }
                });
                if let Some(neighbours) = &mut self.neighbours {
                    neighbours.lan = Some((lan, task));
                }
            }
            Err(error) => tracing::warn!(%error, "nobody is looked for on this network"),
        }
    }

    /// Somebody of the team is on this network.
    pub(in crate::daemon) fn found_near(&mut self, found: &Found) {
        let me = self.identity.key.peer();
        let peers = self.peers.keys().copied().filter(|peer| *peer != me);
        let Some(peer) = found.peer_among(peers) else {
            return;
        };
        if let Some(neighbours) = &mut self.neighbours {
            let known = neighbours.found.insert(peer, found.addresses.clone());
            if known.as_ref() == Some(&found.addresses) {
                return;
            }
        }
        self.tell_of(peer);
    }

    /// Where somebody was found, besides what it said itself.
    pub(super) fn found_at(&self, peer: PeerId) -> impl Iterator<Item = SocketAddr> {
        let found = self
            .neighbours
            .iter()
            .filter_map(move |known| known.found.get(&peer));
        found.flatten().copied()
    }
}

/// Whether others can only be on this very machine: what a device without addresses is looked for by, nobody knows.
pub(super) fn is_loopback(addresses: &[SocketAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|at| at.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_who_announces_loopback_alone_keeps_to_it() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(is_loopback(&at(&["127.0.0.1:7777", "[::1]:7777"])));
        assert!(!is_loopback(&at(&["127.0.0.1:7777", "10.0.0.5:7777"])));
        assert!(!is_loopback(&[]));
    }
}
