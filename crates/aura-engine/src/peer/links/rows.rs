//! What people see of the links.

use std::{fmt, net::SocketAddr};

use aura_proto::{PeerId, reach::Visibility};

use super::{
    Links,
    io::{LinkId, Way},
    table::{Peer, Proven},
};
use crate::Now;

/// Why there is no link to a peer, or only one through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// This device makes no direct links.
    DirectOff,
    /// The peer is reached through relays alone.
    Strict,
    /// The peer announces no address that may be dialled.
    NoAddress,
    /// None of the addresses led to it.
    NoAnswer,
    /// The Mothership has no link to it.
    Offline,
    /// There are enough other links.
    NotNeeded,
    /// The last dial failed a moment ago.
    Waiting,
    /// A dial is under way or about to begin.
    Dialing,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DirectOff => "direct links are switched off here",
            Self::Strict => "it is strict: it is reached through relays alone",
            Self::NoAddress => "it announces no address",
            Self::NoAnswer => "no announced address answered",
            Self::Offline => "it is offline",
            Self::NotNeeded => "not needed: there are enough other links",
            Self::Waiting => "the last dial failed; the next one waits",
            Self::Dialing => "it is being dialled",
        })
    }
}

/// How others get to this device, as far as its links show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Others have dialled it.
    Direct,
    /// It has dialled others, and nobody has dialled it.
    OutboundOnly,
    /// All its links run through relays.
    RelayedOnly,
    /// It has had no link.
    Unknown,
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::OutboundOnly => "outbound only",
            Self::RelayedOnly => "relayed only",
            Self::Unknown => "unknown",
        })
    }
}

/// What became of one address of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Which.
    pub address: SocketAddr,
    /// As the shell told it.
    pub result: String,
    /// How long it took in milliseconds.
    pub ms: u64,
    /// How long ago it ended, in milliseconds.
    pub age_ms: u64,
}

/// How things stand with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLinkRow {
    /// Who.
    pub peer: PeerId,
    /// Whose device it is.
    pub person: String,
    /// The link that is up.
    pub link: Option<LinkId>,
    /// How that one runs.
    pub way: Option<Way>,
    /// Smoothed round trip in milliseconds.
    pub srtt_ms: Option<u64>,
    /// Milliseconds that the link has been ready.
    pub up_ms: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What became of its addresses.
    pub attempts: Vec<AttemptRow>,
    /// Whether links are kept with it without anybody asking.
    pub is_mesh: bool,
    /// Milliseconds until the next dial, if one is planned.
    pub next_dial_ms: Option<u64>,
    /// Milliseconds of round trip, and 500 for each failure in a row; less is better.
    pub score_ms: u64,
    /// Why it is relayed or not linked; none where the link is direct.
    pub why: Option<Why>,
}

impl Links {
    /// How others get to this device, since it announced where it is.
    pub fn reachability(&self) -> Reachability {
        match self.proven {
            Proven { dialled: true, .. } => Reachability::Direct,
            Proven { dials: true, .. } => Reachability::OutboundOnly,
            Proven { relayed: true, .. } => Reachability::RelayedOnly,
            Proven { .. } => Reachability::Unknown,
        }
    }

    /// How things stand with each peer, in order of their ids.
    pub fn rows(&self, now: Now) -> Vec<PeerLinkRow> {
        let row = |(id, peer): (&PeerId, &Peer)| self.row(now, *id, peer);
        self.peers.iter().map(row).collect()
    }

    fn row(&self, now: Now, id: PeerId, peer: &Peer) -> PeerLinkRow {
        let link = peer.up.and_then(|id| self.links.get(&id));
        let attempts = peer.tried.values().map(|tried| AttemptRow {
            address: tried.attempt.address,
            result: tried.attempt.result.clone(),
            ms: tried.attempt.ms,
            age_ms: now.mono_ms.saturating_sub(tried.at_ms),
        });
        let next_ms = self.dial_at_ms(peer);
        PeerLinkRow {
            peer: id,
            person: peer.known.person.clone(),
            link: peer.up,
            way: link.map(|link| link.way),
            srtt_ms: peer.srtt_ms,
            up_ms: link.map(|link| now.mono_ms.saturating_sub(link.ready_ms)),
            last_error: peer.last_error.clone(),
            attempts: attempts.collect(),
            is_mesh: peer.is_mesh,
            next_dial_ms: next_ms.map(|at_ms| at_ms.saturating_sub(now.mono_ms)),
            score_ms: peer.score_ms(),
            why: self.why(now, id, peer, link.map(|link| link.way)),
        }
    }

    fn why(&self, now: Now, id: PeerId, peer: &Peer, way: Option<Way>) -> Option<Why> {
        let is_off = !self.settings.direct || self.settings.visibility == Visibility::Strict;
        let no_direct = if is_off {
            Why::DirectOff
        } else if peer.known.reach.visibility == Visibility::Strict {
            Why::Strict
        } else if peer.known.addresses.is_empty() {
            Why::NoAddress
        } else {
            Why::NoAnswer
        };
        match way {
            Some(Way::Direct(_)) => return None,
            Some(Way::Relay) => return Some(no_direct),
            None => {}
        }
        let next_ms = self.dial_at_ms(peer);
        Some(if peer.dialing.is_some() {
            Why::Dialing
        } else if self.is_control_up && peer.known.is_online == Some(false) {
            Why::Offline
        } else if next_ms.is_some_and(|at_ms| now.mono_ms < at_ms) {
            Why::Waiting
        } else if next_ms.is_some() {
            Why::Dialing
        } else if !self.may_circuit(id, peer) && self.dialable(now, peer).is_empty() {
            // Neither way is open.
            no_direct
        } else {
            Why::NotNeeded
        })
    }
}
