//! Who hears what about whom.
//!
//! Invariants:
//! - a newcomer gets the whole list before any change of it;
//! - a change that comes alone is told at once, and what comes in a crowd is told together at most [`TELL_MS`]
//!   later: when everybody returns at once, telling each of each would cost more than everything else;
//! - a message is made once, however many hear it.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{
    PeerId, SignedReach,
    limits::{HINT_CHANGES_PER_HOUR_MAX, PEERS_PER_MESSAGE_MAX},
    message::{Message, PeerEvent, PeerQuery, PeerState, feature},
};
use aura_trust::verify_reach;

use super::{Hub, LinkId, Member, Output, links::Link};
use crate::Now;

/// How long a change may wait to be told together with others, in milliseconds.
const TELL_MS: u64 = 200;
/// How often within that time something is told at once.
const TELLS_MAX: u32 = 16;

const HOUR_MS: u64 = 3_600_000;

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Links that have no list yet.
    newcomers: BTreeSet<LinkId>,
    /// Changes in order, the newest of each kind and peer.
    news: Vec<PeerEvent>,
    /// When the current span of [`TELL_MS`] began.
    span_ms: u64,
    /// How often something was told in it.
    tells: u32,
    /// What was told of where each peer is.
    moves: BTreeMap<PeerId, Moves>,
}

/// What was told of where a peer is.
#[derive(Debug, Default)]
struct Moves {
    /// When, within the last hour.
    told_ms: Vec<u64>,
    /// Whether it was told last that it is somewhere.
    is_somewhere: bool,
}

impl Presence {
    /// When what waits is told.
    pub(super) fn deadline(&self) -> Option<u64> {
        let waits = !self.newcomers.is_empty() || !self.news.is_empty();
        waits.then_some(self.span_ms + TELL_MS)
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.newcomers.remove(&link);
    }

    fn add(&mut self, event: PeerEvent) {
        self.news.retain(|known| !replaces(&event, known));
        self.news.push(event);
    }
}

/// Whether an event makes an earlier one superfluous.
fn replaces(event: &PeerEvent, known: &PeerEvent) -> bool {
    use PeerEvent as E;
    match (event, known) {
        (E::NetworkUpdate(said), E::NetworkUpdate(before)) => said.peer == before.peer,
        (E::State { peer, .. }, E::State { peer: other, .. }) => peer == other,
        _ => false,
    }
}

impl Hub {
    /// Owes the whole list to a link.
    pub(super) fn introduce(&mut self, link: LinkId) {
        self.presence.newcomers.insert(link);
    }

    /// Changes whether a peer is there and tells the others; answers its name if that is news.
    pub(super) fn set_state(&mut self, now: Now, peer: PeerId, state: PeerState) -> Option<String> {
        let member = self.roll.member_mut(peer)?;
        let is_news = member.state != state;
        member.state = state;
        if state == PeerState::Online {
            member.last_seen_ms = now.wall_ms;
        }
        let name = member.admitted.name.clone();
        if is_news {
            self.presence.add(PeerEvent::State {
                peer,
                state,
                at_ms: now.wall_ms,
            });
        }
        is_news.then_some(name)
    }

    /// Takes a peer's own word on where it is, if it is newer than what is known, and tells the others.
    // spec: peers/1.5
    pub(super) fn set_reach(&mut self, now: Now, peer: PeerId, said: SignedReach) {
        let team = self.config.team;
        let Some(member) = self.roll.member_mut(peer) else {
            return;
        };
        let known = member.reach.as_ref();
        let is_newer = known.is_none_or(|known| known.reach.counter < said.reach.counter);
        if said.peer != peer || !is_newer || verify_reach(team, &said).is_err() {
            return;
        }
        member.reach = Some(said.clone());
        // Who changes more often is in the list as it is now; nobody is made to dial after it.
        let moves = self.presence.moves.entry(peer).or_default();
        moves.told_ms.retain(|at_ms| now.mono_ms < at_ms + HOUR_MS);
        // Whoever hides is hidden at once, which is news only if somebody was told where it is.
        let is_somewhere = !said.reach.addresses.is_empty();
        let is_hiding = moves.is_somewhere && !is_somewhere;
        if is_hiding || moves.told_ms.len() < HINT_CHANGES_PER_HOUR_MAX {
            moves.told_ms.push(now.mono_ms);
            moves.is_somewhere = is_somewhere;
            self.presence.add(PeerEvent::NetworkUpdate(said));
        }
    }

    /// Answers who somebody is.
    // spec: session/4.2
    pub(super) fn peer_query(&mut self, link: LinkId, query: &PeerQuery) {
        let asked = query.peers.iter().take(PEERS_PER_MESSAGE_MAX);
        let member = |peer: &PeerId| {
            self.roll
                .member(*peer)
                .filter(|known| known.revoked.is_none())
        };
        let members: Vec<&Member> = asked.filter_map(member).collect();
        let words = members.iter().filter_map(|known| known.reach.clone());
        let words: Vec<SignedReach> = words.collect();
        let cards = members.into_iter().map(Member::card).collect();
        self.send(link, 0, Message::Peer(PeerEvent::Known(cards)));
        if !words.is_empty() {
            self.send(link, 0, Message::Reach(words));
        }
    }

    /// Tells everybody what cannot wait, after whatever waits.
    pub(super) fn broadcast(&mut self, event: PeerEvent) {
        self.tell();
        let links = self.listeners().collect();
        self.tell_to(links, vec![Message::Peer(event)]);
    }

    /// Tells what waits, unless so much was told lately that it is better told together.
    pub(super) fn tell_due(&mut self, now: Now) {
        if self.presence.deadline().is_none() {
            return;
        }
        if self.presence.span_ms + TELL_MS <= now.mono_ms {
            self.presence.span_ms = now.mono_ms;
            self.presence.tells = 0;
        }
        if self.presence.tells < TELLS_MAX {
            self.presence.tells += 1;
            self.tell();
        }
    }

    fn tell(&mut self) {
        let newcomers = std::mem::take(&mut self.presence.newcomers);
        let news = std::mem::take(&mut self.presence.news);
        let (new, old) = self.listeners().partition(|link| newcomers.contains(link));
        self.tell_to(old, news.into_iter().map(Message::Peer).collect());
        if !newcomers.is_empty() {
            let cards = self.roll.active().map(Member::row).collect();
            self.tell_to(new, vec![Message::Peer(PeerEvent::Snapshot(cards))]);
        }
    }

    fn tell_to(&mut self, links: Vec<LinkId>, messages: Vec<Message>) {
        if !links.is_empty() && !messages.is_empty() {
            self.outputs.push_back(Output::Tell { links, messages });
        }
    }

    /// Links that want to hear of peers.
    fn listeners(&self) -> impl Iterator<Item = LinkId> {
        let wants = |link: &Link| link.ready().is_some() && link.has(feature::PEER_EVENTS);
        self.by_peer
            .values()
            .copied()
            .filter(move |link| self.links.get(link).is_some_and(wants))
    }
}
