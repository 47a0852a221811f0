//! Messages that travel over other peers, while there is no link to whom they are for.
//!
//! A message without a way goes to every neighbour, and from each to its neighbours, over at most
//! [`ROUTED_HOPS_MAX`] links; its answer goes back over those who passed it on. [`Routes::handle`] takes one input,
//! [`Routes::poll`] gives the outputs in order. Time must not run backwards.
//!
//! Invariants:
//! - nothing is passed on but what a member signed, once, and not back to where it was;
//! - whatever others can make grow has a limit: a writer's messages in a minute, those that are remembered;
//! - what is delivered is for this peer, fresh, and delivered once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::{
    PeerId, RateWindow, TeamId,
    limits::{ROUTED_HOPS_MAX, ROUTED_PER_MIN_MAX, ROUTED_SKEW_MS_MAX},
    message::{Message, Routed},
};
use aura_trust::verify_routed;

use super::links::LinkId;
use crate::Now;

/// Messages that are remembered, so that each is passed on once: as many as a hundred writers may send in the time that
/// a message counts as fresh.
pub const REMEMBERED_MAX: usize = 131_072;
const MINUTE_MS: u64 = 60_000;
/// How long a message is remembered: from the earliest to the latest clock that takes it for fresh.
const REMEMBERED_MS: u64 = 2 * ROUTED_SKEW_MS_MAX;

/// What happens.
#[derive(Debug, Clone)]
pub enum Input {
    /// There is a link to a neighbour.
    Up {
        /// Who.
        peer: PeerId,
        /// The link.
        link: LinkId,
    },
    /// The link is gone.
    Down(LinkId),
    /// A neighbour passes a message on; `is_member` whether its writer is one.
    Received {
        /// By which link.
        from: LinkId,
        /// What.
        routed: Routed,
        /// Whether the writer belongs to the team.
        is_member: bool,
    },
    /// A message of this peer, sealed and signed; with the hops that it may take and the way, if it has one.
    Send(Routed),
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send on stream 0.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// A message for this peer, its signature checked.
    Deliver(Routed),
    /// A neighbour passed on what its writer did not sign: close the link.
    Forged(LinkId),
}

/// What this peer knows of messages on their way.
#[derive(Debug)]
pub struct Routes {
    team: TeamId,
    own: PeerId,
    neighbours: BTreeMap<LinkId, PeerId>,
    /// Messages that were seen.
    seen: BTreeSet<(PeerId, [u8; 16])>,
    /// The same in the order in which they came, with the time.
    order: VecDeque<(u64, PeerId, [u8; 16])>,
    /// How often each writer's messages are passed on.
    rates: BTreeMap<PeerId, RateWindow>,
    outputs: VecDeque<Output>,
}

impl Routes {
    /// A peer without neighbours.
    pub fn new(team: TeamId, own: PeerId) -> Self {
        Self {
            team,
            own,
            neighbours: BTreeMap::new(),
            seen: BTreeSet::new(),
            order: VecDeque::new(),
            rates: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Up { peer, link } => {
                self.neighbours.insert(link, peer);
            }
            Input::Down(link) => {
                self.neighbours.remove(&link);
            }
            Input::Received {
                from,
                routed,
                is_member,
            } => self.received(now, from, routed, is_member),
            Input::Send(routed) => {
                self.remember(now, &routed);
                self.pass_on(None, routed);
            }
        }
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    // spec: peers/7.3
    fn received(&mut self, now: Now, from: LinkId, mut routed: Routed, is_member: bool) {
        let Some(neighbour) = self.neighbours.get(&from).copied() else {
            return;
        };
        let hops = routed.passed.len() + routed.way.len() + usize::from(routed.hops_left);
        let is_sound = hops < ROUTED_HOPS_MAX && routed.from != self.own && is_member;
        let is_fresh = now.wall_ms.abs_diff(routed.time_ms) <= ROUTED_SKEW_MS_MAX;
        // Who passes it on names itself, or it would hide how far the message has come.
        let last = routed.passed.last().copied().unwrap_or(routed.from);
        if !is_sound || !is_fresh || last != neighbour || routed.passed.contains(&self.own) {
            return;
        }
        let rate = self.rates.entry(routed.from);
        let rate = rate.or_insert(RateWindow::new(MINUTE_MS, ROUTED_PER_MIN_MAX));
        if self.seen.contains(&(routed.from, routed.id)) || !rate.has_room(now.mono_ms) {
            return;
        }
        if verify_routed(self.team, &routed).is_err() {
            // Whoever passes on what nobody signed costs a signature each time, so it does that once.
            self.neighbours.remove(&from);
            return self.outputs.push_back(Output::Forged(from));
        }
        // Only now: nobody else uses up what a writer may send.
        if let Some(rate) = self.rates.get_mut(&routed.from) {
            rate.takes(now.mono_ms);
        }
        self.remember(now, &routed);
        if routed.to == self.own {
            self.outputs.push_back(Output::Deliver(routed));
        } else {
            routed.passed.push(self.own);
            self.pass_on(Some(from), routed);
        }
    }

    fn remember(&mut self, now: Now, routed: &Routed) {
        let is_over = |at_ms: u64| at_ms + REMEMBERED_MS <= now.mono_ms;
        while (self.order.front())
            .is_some_and(|(at_ms, ..)| is_over(*at_ms) || REMEMBERED_MAX <= self.order.len())
        {
            if let Some((_, writer, id)) = self.order.pop_front() {
                self.seen.remove(&(writer, id));
            }
        }
        self.seen.insert((routed.from, routed.id));
        self.order.push_back((now.mono_ms, routed.from, routed.id));
    }

    /// Sends to the next of the way, to whom it is for, or to everybody who has not had it.
    // spec: peers/7.1
    fn pass_on(&mut self, from: Option<LinkId>, mut routed: Routed) {
        let link_to = |peer: PeerId| {
            let found = self.neighbours.iter().find(|(_, known)| **known == peer);
            found.map(|(link, _)| *link)
        };
        if !routed.way.is_empty() {
            let next = routed.way.remove(0);
            if let Some(link) = link_to(next) {
                self.send(link, routed);
            }
            return;
        }
        let Some(hops_left) = routed.hops_left.checked_sub(1) else {
            return;
        };
        routed.hops_left = hops_left;
        if let Some(link) = link_to(routed.to) {
            return self.send(link, routed);
        }
        let has_had = |peer: &PeerId| *peer == routed.from || routed.passed.contains(peer);
        let next = self.neighbours.iter().filter(|(link, peer)| {
            let is_back = from == Some(**link);
            !is_back && !has_had(peer)
        });
        let next: BTreeMap<PeerId, LinkId> = next.map(|(link, peer)| (*peer, *link)).collect();
        for link in next.into_values() {
            self.send(link, routed.clone());
        }
    }

    fn send(&mut self, link: LinkId, routed: Routed) {
        let message = Message::Routed(routed);
        self.outputs.push_back(Output::Send { link, message });
    }
}
