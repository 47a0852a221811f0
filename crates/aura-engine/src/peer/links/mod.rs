//! Which peers this device is linked with: whom to dial, when, by which way, and whether they are still there.
//!
//! One machine decides for the whole device, since all repositories share one link to a peer. [`Links::handle`] takes
//! one input, [`Links::poll`] gives the outputs in order (call it until `None` after every `handle`),
//! [`Links::deadline`] says when a [`Input::Tick`] is wanted. Time must not run backwards.
//!
//! A link is a session of TLS whose certificate already proved who is at the other end; here both ends prove the
//! identity key once more, bound to that session, before anything else is said on it.
//!
//! Invariants:
//! - links exist only with those that the shell named as members; gossip is a reason to ask, never to believe;
//! - at most one link to a peer is up, and of two that are ready both ends keep the same one: the end that dialled the
//!   one to keep closes the other, since it is the last to learn that both are ready;
//! - an address that never led to its peer is dialled once in ten minutes, whatever is announced, and all peers share
//!   one budget of dialled addresses;
//! - pauses between dials of a peer double up to half a minute, and only a link that lasted shortens them;
//! - whoever hides where it is, is not dialled directly, and who hides itself accepts nothing directly.

mod dial;
mod gossip;
mod io;
mod mesh;
mod rows;
mod session;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::{Code, Digest, LogId, PeerId, SignedReach, TeamId, reach::Visibility};
use aura_trust::IdentityKey;

pub use dial::{ASK_AFTER_MS, BACKOFF_MS_MAX, DIAL_MS_MAX, LASTING_MS, UPGRADE_MS, WANTED_MS};
pub use gossip::{ASKS_PER_MIN_MAX, ROUND_MS, RUMOUR_LINKS_MAX};
pub use io::{Arrived, Attempt, BadMesh, Input, Known, LinkId, Mesh, Output, Settings, Way};
pub use mesh::CHOICE_MS;
pub use rows::{AttemptRow, PeerLinkRow, Reachability, Why};
pub use session::{PENDING_MAX, SETTLED_MS, SPARE_MS};
pub use table::{
    ADDRESS_REST_MS, ADDRESSES_REMEMBERED_MAX, DIALS_BURST, DIALS_PER_S, WORDS_PER_SPAN_MAX,
};

use crate::Now;
use gossip::Asks;
use table::{Budget, Chance, Link, Peer, Proven};

/// Shortest heartbeat period in milliseconds.
const HEARTBEAT_MS_MIN: u64 = 100;
/// Longest heartbeat period in milliseconds: a day.
const HEARTBEAT_MS_MAX: u64 = 86_400_000;

/// Who this device is, as it tells other peers.
pub struct Own {
    /// Its identity key.
    pub key: IdentityKey,
    /// The team.
    pub team: TeamId,
    /// The team's display name.
    pub team_name: String,
    /// Program and version, for people.
    pub agent: String,
}

/// The links of this device to other peers.
pub struct Links {
    own: Own,
    own_person: Option<String>,
    settings: Settings,
    announced: Option<SignedReach>,
    heads: Vec<(LogId, u64, u64, Digest)>,
    is_control_up: bool,
    peers: BTreeMap<PeerId, Peer>,
    links: BTreeMap<LinkId, Link>,
    /// Links that ever began, to tell which of two is newer.
    links_begun: u64,
    budget: Budget,
    /// When the budget has room for the dial that waits first.
    budget_at_ms: u64,
    asks: Asks,
    /// When the next peer of the mesh is chosen.
    choose_at_ms: u64,
    chosen_ms: u64,
    chance: Chance,
    /// Which kinds of links there have been.
    proven: Proven,
    /// Whether something happened that decisions may hang on.
    is_stirred: bool,
    outputs: VecDeque<Output>,
}

impl Links {
    /// A device without links. `seed` feeds jitter and choices.
    pub fn new(now: Now, own: Own, settings: Settings, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let first_ms = now.mono_ms + chance.next() % CHOICE_MS;
        let mut links = Self {
            own,
            own_person: None,
            settings: Settings::default(),
            announced: None,
            heads: Vec::new(),
            is_control_up: false,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            links_begun: 0,
            budget: Budget::new(now.mono_ms),
            budget_at_ms: 0,
            asks: Asks::default(),
            choose_at_ms: u64::MAX,
            chosen_ms: first_ms,
            chance,
            proven: Proven::default(),
            is_stirred: false,
            outputs: VecDeque::new(),
        };
        links.set(now, settings);
        links
    }

    /// The verified heads that heartbeats and their answers carry, for witnesses to compare.
    pub fn set_heads(&mut self, heads: Vec<(LogId, u64, u64, Digest)>) {
        self.heads = heads;
    }

    /// The link to a peer that is up.
    pub fn link_to(&self, peer: PeerId) -> Option<LinkId> {
        self.peers.get(&peer)?.up
    }

    /// Whether a link runs from device to device.
    pub fn is_direct(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|link| link.way.is_direct())
    }

    /// How many links are up.
    pub fn links_up(&self) -> usize {
        self.peers.values().filter(|peer| peer.up.is_some()).count()
    }

    /// How many words came of somebody who is no member as far as this device knows.
    pub fn unknown_words(&self) -> u64 {
        self.asks.unknown_words
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Peers(known) => self.replace_peers(now, known),
            Input::Peer(known) => self.put_peer(now, known),
            Input::Control { is_up } => self.control(now, is_up),
            Input::Accepted {
                link,
                peer,
                exporter,
                remote,
                until_ms,
            } => self.accepted(now, link, (peer, exporter, until_ms), remote),
            Input::Dialed {
                peer,
                result,
                attempts,
            } => self.dialed(now, peer, result, attempts),
            Input::Received { link, message } => self.received(now, link, message),
            Input::Closed { link, code, detail } => self.end(now, link, code, detail),
            Input::Reconnect(peer) => self.reconnect(now, peer),
            Input::Want(peer) => self.want(now, peer),
            Input::Settings(settings) => self.set(now, settings),
            Input::Announce(word) => self.announce(word),
            Input::Tick => {
                self.tick_links(now);
                self.is_stirred = true;
            }
        }
        if std::mem::take(&mut self.is_stirred) {
            self.settle(now);
        }
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a tick is wanted, in milliseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        let links = self
            .links
            .iter()
            .map(|(id, link)| self.link_due_ms(*id, link));
        let peers = self
            .peers
            .values()
            .filter_map(|peer| self.peer_due_ms(peer));
        let choice = (self.choose_at_ms != u64::MAX).then_some(self.choose_at_ms);
        let asks = self.asks_due_ms();
        links.chain(peers).chain(choice).chain(asks).min()
    }

    /// Everything that may have become due or possible.
    fn settle(&mut self, now: Now) {
        self.end_stale_dials(now);
        self.give_up_on_the_absent();
        self.replace_the_failing(now);
        self.ask(now);
        self.prune(now);
        self.choose(now);
        self.dial_due(now);
        // What followed from these steps was decided by them.
        self.is_stirred = false;
    }

    fn replace_peers(&mut self, now: Now, known: Vec<Known>) {
        let own = self.own.key.peer();
        let named: BTreeSet<_> = known.iter().map(|one| one.peer).collect();
        let gone: Vec<_> = (self.peers.keys().copied())
            .filter(|peer| !named.contains(peer))
            .collect();
        for peer in gone {
            self.expel(now, peer);
        }
        if !named.contains(&own) {
            self.own_person = None;
        }
        for one in known {
            self.put_peer(now, one);
        }
    }

    /// Ends everything with somebody who is no member any more.
    fn expel(&mut self, now: Now, peer: PeerId) {
        let of_peer = |(id, link): (&LinkId, &Link)| (link.peer == peer).then_some(*id);
        let ids: Vec<_> = self.links.iter().filter_map(of_peer).collect();
        let up = self.link_to(peer);
        self.peers.remove(&peer);
        for id in ids {
            self.links.remove(&id);
            self.push_close(id, Code::REVOKED, "no member any more");
            if up == Some(id) {
                self.push_down(id, peer, "no member any more".to_owned());
            }
        }
        for link in self.links.values_mut() {
            link.told.remove(&peer);
        }
        self.rethink(now);
    }

    fn put_peer(&mut self, now: Now, mut known: Known) {
        if known.peer == self.own.key.peer() {
            self.own_person = Some(known.person);
            return;
        }
        let id = known.peer;
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.update(known) {
                self.moved(now, id);
            }
        } else {
            if known.reach.visibility != Visibility::Open {
                known.addresses.clear();
            }
            self.peers.insert(id, Peer::new(now.mono_ms, known));
        }
        self.close_forbidden(now);
        self.rethink(now);
    }

    fn control(&mut self, now: Now, is_up: bool) {
        self.is_control_up = is_up;
        if is_up {
            // Those that somebody waits for may have had no way until now.
            for peer in self.peers.values_mut() {
                if peer.up.is_none() && peer.is_wanted(now.mono_ms) {
                    peer.next_dial_ms = peer.next_dial_ms.min(now.mono_ms);
                }
            }
        }
        self.rethink(now);
    }

    fn set(&mut self, now: Now, settings: Settings) {
        self.settings = settings;
        self.settings.heartbeat_ms = settings
            .heartbeat_ms
            .clamp(HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX);
        let beat_at_ms = now.mono_ms + self.settings.heartbeat_ms;
        for link in self.links.values_mut() {
            link.beat_at_ms = link.beat_at_ms.min(beat_at_ms);
        }
        self.close_forbidden(now);
        self.rethink(now);
    }

    fn push_close(&mut self, link: LinkId, code: Code, detail: &str) {
        let detail = detail.to_owned();
        self.outputs.push_back(Output::Close { link, code, detail });
    }

    fn push_down(&mut self, link: LinkId, peer: PeerId, detail: String) {
        self.outputs.push_back(Output::Down { link, peer, detail });
    }
}
