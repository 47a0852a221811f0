//! With whom links are kept when nobody asks for one.
//!
//! Every link counts, whoever dialled it, so that a team does not dial twice what it needs. People come before
//! devices: what one device of a person has, the others have soon, so links to different people bring more.
//!
//! Invariants:
//! - one peer is chosen at a time, with a pause, so that what others dial meanwhile is seen;
//! - a link that somebody needs, or the only one to a person, is not closed while there is a better one to close;
//! - peers that are out of reach hold no place, and at most [`RETRIED_MAX`] of them are dialled again and again.

use std::{cmp::Reverse, collections::BTreeMap};

use aura_proto::{Code, PeerId};

use super::{Links, table::Peer};
use crate::Now;

/// Time between two choices in milliseconds.
pub const CHOICE_MS: u64 = 250;
/// Time until a choice that found nobody is tried again if nothing happens until then, in milliseconds.
const NOBODY_MS: u64 = 30_000;
/// Peers that were replaced, and that are dialled all the same.
const RETRIED_MAX: usize = 16;
/// Scores that differ by less count as the same, in milliseconds.
const SCORE_STEP_MS: u64 = 100;

impl Links {
    /// The peers that links are with or are expected with.
    pub(super) fn serving(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        let serves = |peer: &Peer| peer.up.is_some() || (peer.is_mesh && !peer.is_replaced);
        self.peers.iter().filter(move |(_, peer)| serves(peer))
    }

    /// Sees to it that the mesh is looked at again soon.
    pub(super) fn rethink(&mut self, now: Now) {
        let earliest_ms = now.mono_ms.max(self.chosen_ms + CHOICE_MS);
        self.choose_at_ms = self.choose_at_ms.min(earliest_ms);
        self.is_stirred = true;
    }

    fn is_own(&self, person: &str) -> bool {
        self.own_person.as_deref() == Some(person)
    }

    fn is_offline(&self, peer: &Peer) -> bool {
        self.is_control_up && peer.known.is_online == Some(false)
    }

    /// Peers that are away by the Mothership's word are looked for only when they are back.
    pub(super) fn give_up_on_the_absent(&mut self) {
        if !self.is_control_up {
            return;
        }
        for peer in self.peers.values_mut() {
            if peer.up.is_none() && peer.known.is_online == Some(false) {
                peer.is_mesh = false;
                peer.is_replaced = false;
                peer.failing_since_ms = None;
            }
        }
    }

    /// Peers that were out of reach for long hold no place any more, and are asked about.
    pub(super) fn replace_the_failing(&mut self, now: Now) {
        let is_long = |since_ms: u64| since_ms + super::ASK_AFTER_MS <= now.mono_ms;
        let mut has_any = false;
        for peer in self.peers.values_mut() {
            let is_failing = peer.up.is_none() && peer.failing_since_ms.is_some_and(is_long);
            if is_failing && peer.is_mesh && !peer.is_replaced {
                (peer.is_replaced, peer.is_ask_due) = (true, true);
                has_any = true;
            }
        }
        if !has_any {
            return;
        }
        let replaced = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_mesh && peer.is_replaced && peer.up.is_none());
        let mut replaced: Vec<_> = replaced
            .map(|(id, peer)| (peer.failing_since_ms, *id))
            .collect();
        replaced.sort_unstable();
        let too_many = replaced.len().saturating_sub(RETRIED_MAX);
        for (_, id) in &replaced[..too_many] {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.is_mesh = false;
            }
        }
        self.rethink(now);
    }

    /// Whether there is a way worth keeping a link for: what the Mothership passes on as a circuit, it passes on as
    /// entries as well, so that its circuits serve only whom nothing else leads to, or whom somebody wants.
    fn has_way(&self, now: Now, id: PeerId, peer: &Peer) -> bool {
        self.relays_to(id, peer).iter().any(Option::is_some) || !self.dialable(now, peer).is_empty()
    }

    /// Takes one more peer into the mesh when there are too few.
    pub(super) fn choose(&mut self, now: Now) {
        if now.mono_ms < self.choose_at_ms {
            return;
        }
        let mesh = self.settings.mesh;
        let links_of = persons(self.serving().map(|(_, peer)| peer));
        let count = self.serving().count();
        let people = links_of.keys().filter(|person| !self.is_own(person));
        // Links that others made may all be with the devices of one person.
        let needs_people = people.count() < mesh.target() && count < mesh.high();
        if mesh.target() <= count && !needs_people {
            self.choose_at_ms = u64::MAX;
            return;
        }
        let is_new = |person: &str| !links_of.contains_key(person) && !self.is_own(person);
        let candidates = self.peers.iter().filter(|(id, peer)| {
            let is_free = peer.up.is_none() && !peer.is_mesh && peer.is_open();
            is_free
                && !self.is_offline(peer)
                && (peer.declined_until_ms <= now.mono_ms || count < mesh.low())
                && (count < mesh.target() || is_new(&peer.known.person))
                && self.has_way(now, **id, peer)
        });
        // The last place goes by chance alone: those that are near each other must not form an island.
        let by_score = u64::from(count + 1 < mesh.target());
        let ranked = candidates.map(|(id, peer)| {
            let person = peer.known.person.as_str();
            let links = links_of.get(person).copied().unwrap_or(0);
            let rank = (
                now.mono_ms < peer.declined_until_ms,
                links + usize::from(self.is_own(person)),
                peer.known.is_online == Some(false),
                peer.failures.min(5),
                peer.score_ms() / SCORE_STEP_MS * by_score,
            );
            (rank, *id)
        });
        let ranked = ranked.collect();
        let Some(id) = self.lowest(ranked) else {
            self.choose_at_ms = now.mono_ms + NOBODY_MS;
            return;
        };
        self.chosen_ms = now.mono_ms;
        self.choose_at_ms = now.mono_ms + CHOICE_MS;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_mesh = true;
            peer.is_replaced = false;
            peer.next_dial_ms = peer.next_dial_ms.max(now.mono_ms);
        }
    }

    /// One of those with the lowest rank, by chance.
    fn lowest<R: Ord + Copy>(&mut self, ranked: Vec<(R, PeerId)>) -> Option<PeerId> {
        let lowest = ranked.iter().map(|(rank, _)| *rank).min()?;
        let ties: Vec<_> = (ranked.iter())
            .filter(|(rank, _)| *rank == lowest)
            .map(|(_, id)| *id)
            .collect();
        let pick = self.chance.next() % ties.len() as u64;
        ties.get(pick as usize).copied()
    }

    /// Closes links while there are more than wanted.
    pub(super) fn prune(&mut self, now: Now) {
        while self.settings.mesh.high() < self.links_up() {
            let Some(worst) = self.worst(now) else {
                return;
            };
            let link = self.link_to(worst);
            if let Some(peer) = self.peers.get_mut(&worst) {
                peer.is_mesh = false;
            }
            let Some(link) = link else { return };
            self.close(now, link, Code::BYE, "more links than wanted");
        }
    }

    /// The peer whose link is missed least; none while all are needed.
    fn worst(&mut self, now: Now) -> Option<PeerId> {
        let up = || self.peers.iter().filter(|(_, peer)| peer.up.is_some());
        let links_of = persons(up().map(|(_, peer)| peer));
        let has_doubled = links_of.values().any(|links| 1 < *links);
        let idle = up().filter(|(_, peer)| !peer.is_wanted(now.mono_ms));
        let ranked = idle.filter_map(|(id, peer)| {
            let person = peer.known.person.as_str();
            let links = links_of.get(person).copied().unwrap_or(0);
            let is_only = links < 2 && has_doubled;
            let rank = Reverse((links, peer.score_ms() / SCORE_STEP_MS));
            (!is_only).then_some((rank, *id))
        });
        let ranked = ranked.collect();
        self.lowest(ranked)
    }
}

/// How many links each person has.
fn persons<'a>(peers: impl Iterator<Item = &'a Peer>) -> BTreeMap<&'a str, usize> {
    let mut links_of = BTreeMap::new();
    for peer in peers {
        *links_of.entry(peer.known.person.as_str()).or_default() += 1;
    }
    links_of
}
