//! When a peer is dialled, by which way, and what follows when nobody answers.
//!
//! Invariants:
//! - a direct dial comes first, a circuit only where that failed or is not possible;
//! - a circuit is asked for from the Mothership, while it is there and has a link to the peer, then from each device
//!   that relays and is linked directly;
//! - one dial of a peer is under way at a time.

use std::net::SocketAddr;

use aura_proto::{Code, PeerId, limits::HINTS_MAX, message::feature, reach::Visibility};

use super::{
    Links,
    io::{Arrived, Attempt, LinkId, Output, Way},
    table::{Dialing, Link, Peer},
};
use crate::Now;

/// Longest pause between dials of a peer in milliseconds, before jitter.
pub const BACKOFF_MS_MAX: u64 = 30_000;
/// A link that was up for as long makes the next pause a short one, in milliseconds.
pub const LASTING_MS: u64 = 10_000;
/// Longest time between tries to get from a relayed link to a direct one, in milliseconds, before jitter.
pub const UPGRADE_MS: u64 = 60_000;
/// The first of these times where an address has answered; each is twice the one before. A peer that has just joined may
/// have refused somebody of whom it had not heard yet.
const UPGRADE_MS_MIN: u64 = 2_000;
/// How long somebody who wants a link is thought to need it, in milliseconds.
pub const WANTED_MS: u64 = 60_000;
/// A peer that is not reached for as long is asked about and replaced, in milliseconds.
pub const ASK_AFTER_MS: u64 = 120_000;
/// A dial whose outcome is not told within this many milliseconds has failed.
pub const DIAL_MS_MAX: u64 = 45_000;
/// Shortest pause between dials of a peer, however often it is wanted or moves, in milliseconds.
const DIAL_PAUSE_MS: u64 = 1_000;
/// How long a peer is left alone that closed the link for want of room, in milliseconds.
const DECLINED_MS: u64 = 60_000;

impl Links {
    /// Whether this device may dial that peer directly, as far as both want it.
    fn may_dial_directly(&self, peer: &Peer) -> bool {
        self.settings.direct && self.settings.visibility != Visibility::Strict && peer.is_open()
    }

    /// Whether a link of this kind may be, as far as both ends want it.
    pub(super) fn may_be(&self, peer: PeerId, way: Way, is_dialled_here: bool) -> bool {
        let is_strict = |peer: &Peer| peer.known.reach.visibility == Visibility::Strict;
        let accepts = self.settings.visibility == Visibility::Open || is_dialled_here;
        !way.is_direct()
            || (self.settings.direct
                && self.settings.visibility != Visibility::Strict
                && accepts
                && !self.peers.get(&peer).is_some_and(is_strict))
    }

    /// Who can be asked for a circuit to the peer, in order: none is the Mothership.
    pub(super) fn relays_to(&self, id: PeerId, peer: &Peer) -> Vec<Option<LinkId>> {
        let may_mothership = self.is_control_up && peer.known.is_online != Some(false);
        let relays = self.links.iter().filter_map(|(link, state)| {
            let relay = self.peers.get(&state.peer)?;
            let serves = relay.known.is_relay
                && state.way.is_direct()
                && state.peer != id
                && state.features & feature::RELAY != 0;
            (serves && relay.up == Some(*link)).then_some((relay.score_ms(), *link))
        });
        let mut relays: Vec<_> = relays.collect();
        relays.sort_unstable();
        let relays = relays.into_iter().map(|(_, link)| Some(link));
        may_mothership
            .then_some(None)
            .into_iter()
            .chain(relays)
            .collect()
    }

    pub(super) fn may_circuit(&self, id: PeerId, peer: &Peer) -> bool {
        !self.relays_to(id, peer).is_empty()
    }

    /// The addresses of a peer that may be dialled now, best first.
    pub(super) fn dialable(&self, now: Now, peer: &Peer) -> Vec<SocketAddr> {
        if !self.may_dial_directly(peer) {
            return Vec::new();
        }
        let addresses = peer.known.addresses.iter().copied();
        addresses
            .filter(|address| peer.memory.is_dialable(now.mono_ms, *address))
            .take(HINTS_MAX)
            .collect()
    }

    /// Closes what may not be any more.
    pub(super) fn close_forbidden(&mut self, now: Now) {
        let forbidden = (self.links.iter())
            .filter(|(_, link)| !self.may_be(link.peer, link.way, link.is_dialled_here))
            .map(|(id, _)| *id);
        for id in forbidden.collect::<Vec<_>>() {
            self.close(now, id, Code::FORBIDDEN, "no direct links any more");
        }
    }

    /// When the next dial of the peer is due, without regard to the budget.
    pub(super) fn dial_at_ms(&self, peer: &Peer) -> Option<u64> {
        if peer.dialing.is_some() {
            return None;
        }
        let is_relayed = peer.up.map(|id| self.is_relayed(id));
        let is_due = match is_relayed {
            _ if peer.is_fresh_asked => true,
            Some(is_relayed) => is_relayed && self.may_dial_directly(peer),
            None => peer.is_mesh || peer.next_dial_ms < peer.wanted_until_ms,
        };
        is_due.then_some(peer.next_dial_ms)
    }

    fn is_relayed(&self, id: LinkId) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| !link.way.is_direct())
    }

    /// When something of the peer is due.
    pub(super) fn peer_due_ms(&self, peer: &Peer) -> Option<u64> {
        let dial = self
            .dial_at_ms(peer)
            .map(|at_ms| at_ms.max(self.budget_at_ms));
        let stale = (peer.dialing.filter(|dialing| dialing.link.is_none()))
            .map(|dialing| dialing.since_ms + DIAL_MS_MAX);
        let failing = (peer.failing_since_ms)
            .filter(|_| peer.up.is_none() && peer.is_mesh && !peer.is_replaced)
            .map(|since_ms| since_ms + ASK_AFTER_MS);
        [dial, stale, failing].into_iter().flatten().min()
    }

    pub(super) fn end_stale_dials(&mut self, now: Now) {
        let is_stale = |peer: &Peer| {
            (peer.dialing).is_some_and(|dialing| {
                dialing.link.is_none() && dialing.since_ms + DIAL_MS_MAX <= now.mono_ms
            })
        };
        let stale = self.peers.iter().filter(|(_, peer)| is_stale(peer));
        for id in stale.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.dial_failed(now, id, "the dial did not end".to_owned());
        }
    }

    /// Dials whoever is due, the longest waiting first.
    pub(super) fn dial_due(&mut self, now: Now) {
        if now.mono_ms < self.budget_at_ms {
            return;
        }
        let due = self.peers.iter().filter_map(|(id, peer)| {
            let at_ms = self.dial_at_ms(peer)?;
            (at_ms <= now.mono_ms).then_some((at_ms, *id))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        for (_, id) in due {
            if let Err(room_at_ms) = self.dial(now, id) {
                self.budget_at_ms = room_at_ms;
                return;
            }
        }
    }

    /// Dials one peer by the best way there is; fails with the moment when the budget has room for it.
    fn dial(&mut self, now: Now, id: PeerId) -> Result<(), u64> {
        let upgrade_at_ms = self.upgrade_at_ms(now, id);
        let Some(peer) = self.peers.get(&id) else {
            return Ok(());
        };
        let addresses = self.dialable(now, peer);
        let relay = self.relays_to(id, peer).first().copied();
        let is_direct = peer.up.is_some_and(|up| self.is_direct(up));
        if !addresses.is_empty() {
            self.budget.take(now.mono_ms, addresses.len())?;
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        let is_fresh_asked = std::mem::take(&mut peer.is_fresh_asked);
        peer.dialled_ms = Some(now.mono_ms);
        let dialing = Dialing {
            since_ms: now.mono_ms,
            relays_asked: usize::from(addresses.is_empty()),
            link: None,
            is_hurried: false,
        };
        if !addresses.is_empty() {
            for address in &addresses {
                peer.memory.dialled(now.mono_ms, *address);
            }
            peer.dialing = Some(dialing);
            let dial = Output::Dial {
                peer: id,
                addresses,
            };
            self.outputs.push_back(dial);
        } else if peer.up.is_some() && (is_direct || !is_fresh_asked) {
            peer.next_dial_ms = upgrade_at_ms;
        } else if let Some(via) = relay {
            peer.dialing = Some(dialing);
            self.outputs.push_back(Output::Circuit { peer: id, via });
        } else {
            // Nothing can be tried, so another one serves better.
            peer.is_mesh = false;
            self.failed(now, id, "there is no way to it".to_owned());
            self.choose_at_ms = self.choose_at_ms.min(now.mono_ms + super::CHOICE_MS);
        }
        Ok(())
    }

    pub(super) fn dialed(
        &mut self,
        now: Now,
        id: PeerId,
        result: Result<Arrived, String>,
        attempts: Vec<Attempt>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            if let Ok(arrived) = result {
                self.push_close(arrived.link, Code::REVOKED, "no member any more");
            }
            return;
        };
        peer.note(now.mono_ms, attempts);
        match result {
            Ok(arrived) => self.arrived(now, id, arrived),
            Err(error) if peer.dialing.is_some_and(|dialing| dialing.link.is_none()) => {
                self.dial_failed(now, id, error);
            }
            // The outcome of a dial that was given up.
            Err(error) => peer.last_error = Some(error),
        }
    }

    /// When it is tried again to get from a relayed link to a direct one.
    pub(super) fn upgrade_at_ms(&mut self, now: Now, id: PeerId) -> u64 {
        let peer = self.peers.get(&id);
        let answered = |peer: &Peer| {
            peer.tried
                .values()
                .any(|tried| tried.attempt.result == "ok")
        };
        let pause_ms = match peer.filter(|peer| answered(peer)) {
            Some(peer) => (UPGRADE_MS_MIN << peer.upgrades.min(5)).min(UPGRADE_MS),
            None => UPGRADE_MS,
        };
        now.mono_ms + self.chance.about(pause_ms)
    }

    /// The dial under way led to nothing: goes on with a circuit, or waits.
    pub(super) fn dial_failed(&mut self, now: Now, id: PeerId, error: String) {
        let upgrade_at_ms = self.upgrade_at_ms(now, id);
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let asked = peer.dialing.map(|dialing| dialing.relays_asked);
        let relays = self.relays_to(id, peer);
        let next = asked.and_then(|asked| Some((asked + 1, *relays.get(asked)?)));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let dialing = peer.dialing.take();
        let is_hurried = dialing.is_some_and(|dialing| dialing.is_hurried);
        if peer.up.is_some() {
            peer.last_error = Some(error);
            peer.next_dial_ms = upgrade_at_ms;
            peer.upgrades = peer.upgrades.saturating_add(1);
            if is_hurried {
                hurry(now, peer);
            }
        } else if let Some((relays_asked, via)) = next {
            peer.last_error = Some(error);
            peer.dialing = Some(Dialing {
                since_ms: now.mono_ms,
                relays_asked,
                link: None,
                is_hurried,
            });
            self.outputs.push_back(Output::Circuit { peer: id, via });
        } else {
            self.failed(now, id, error);
            if let Some(peer) = self.peers.get_mut(&id).filter(|_| is_hurried) {
                hurry(now, peer);
            }
        }
        self.is_stirred = true;
    }

    /// Neither way led to the peer, or its link was lost: the next dial waits for twice as long.
    fn failed(&mut self, now: Now, id: PeerId, error: String) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let base_ms = (1_000u64 << peer.failures.min(5)).min(BACKOFF_MS_MAX);
        peer.next_dial_ms = now.mono_ms + self.chance.about(base_ms);
        peer.failures = peer.failures.saturating_add(1);
        peer.failing_since_ms.get_or_insert(now.mono_ms);
        peer.last_error = Some(error);
    }

    /// The link that was up is gone, and there is no other.
    pub(super) fn lost(&mut self, now: Now, link: &Link, code: Option<Code>, error: String) {
        let is_enough = self.settings.mesh.target() < self.serving().count();
        let Some(peer) = self.peers.get_mut(&link.peer) else {
            return;
        };
        if link.ready_ms + LASTING_MS <= now.mono_ms {
            peer.failures = 0;
            peer.failing_since_ms = None;
            peer.is_replaced = false;
        }
        peer.is_mesh &= peer.is_open() && !is_enough;
        match code {
            Some(Code::SUPERSEDED) => {
                // The other end has a newer one; that is no failure, whatever became of it.
                peer.next_dial_ms = now.mono_ms + self.chance.about(1_000);
                peer.last_error = Some(error);
            }
            Some(Code::BYE) => {
                peer.is_mesh = false;
                peer.declined_until_ms = now.mono_ms + DECLINED_MS;
                peer.next_dial_ms = now.mono_ms + self.chance.about(BACKOFF_MS_MAX);
                peer.last_error = Some(error);
            }
            _ => self.failed(now, link.peer, error),
        }
        self.rethink(now);
    }

    /// The peer can be dialled elsewhere from now on.
    pub(super) fn moved(&mut self, now: Now, id: PeerId) {
        let has_way =
            (self.peers.get(&id)).is_some_and(|peer| !self.dialable(now, peer).is_empty());
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| has_way) {
            hurry(now, peer);
        }
        self.is_stirred = true;
    }

    pub(super) fn reconnect(&mut self, now: Now, whom: Option<PeerId>) {
        for (id, peer) in &mut self.peers {
            let is_meant = match whom {
                Some(whom) => whom == *id,
                None => peer.is_mesh || peer.up.is_some(),
            };
            if is_meant {
                peer.memory.forget();
                peer.failures = 0;
                peer.failing_since_ms = None;
                peer.is_replaced = false;
                peer.declined_until_ms = 0;
                peer.next_dial_ms = now.mono_ms;
                peer.is_fresh_asked = peer.dialing.is_none();
            }
        }
        self.rethink(now);
    }

    pub(super) fn want(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.wanted_until_ms = now.mono_ms + WANTED_MS;
        if peer.up.is_none() {
            hurry(now, peer);
        }
        self.is_stirred = true;
    }
}

/// The next dial of the peer does not wait for the back-off.
fn hurry(now: Now, peer: &mut Peer) {
    let paused_ms = peer.dialled_ms.map_or(0, |at_ms| at_ms + DIAL_PAUSE_MS);
    peer.next_dial_ms = peer.next_dial_ms.min(paused_ms.max(now.mono_ms));
    if let Some(dialing) = &mut peer.dialing {
        dialing.is_hurried = true;
    }
}
