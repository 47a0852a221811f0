//! What goes into the links machine and what comes out of it.

use std::net::SocketAddr;

use aura_proto::{
    Code, Digest, LogId, PeerId, SignedReach,
    limits::PEER_HEARTBEAT_MS,
    message::Message,
    reach::{Reach, Visibility},
};

/// A TLS session with another peer, numbered by the shell whoever dialled it, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A member with whom links are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub peer: PeerId,
    /// Whose device it is; the devices of one person have the same text here.
    pub person: String,
    /// What it says of where it is.
    pub reach: Reach,
    /// The announced addresses that may be dialled, best first.
    pub addresses: Vec<SocketAddr>,
    /// Whether the Mothership has a link to it, where it is known.
    pub is_online: Option<bool>,
    /// Whether it relays for others: those that have its role.
    pub is_relay: bool,
}

/// A session that this device dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub link: LinkId,
    /// TLS exporter value.
    pub exporter: [u8; 32],
    /// The address that answered; none through a relay.
    pub address: Option<SocketAddr>,
    /// When the peer's certificate ends, milliseconds since 1970.
    pub until_ms: u64,
}

/// What became of one address in a dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which address.
    pub address: SocketAddr,
    /// `ok`, `slower`, `refused`, `timeout`, `no_route` …
    pub result: String,
    /// How long it took in milliseconds.
    pub ms: u64,
}

/// How a link runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From device to device; the address of the other end.
    Direct(SocketAddr),
    /// Through a circuit of a relay.
    Relay,
}

impl Way {
    pub(super) fn of(address: Option<SocketAddr>) -> Self {
        address.map_or(Self::Relay, Self::Direct)
    }

    /// Whether no relay is between.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Direct(_))
    }
}

/// How many links are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mesh {
    low: u8,
    target: u8,
    high: u8,
}

/// The numbers of a mesh are not 1 ≤ low ≤ target ≤ high ≤ 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mesh has 1 ≤ low ≤ target ≤ high ≤ 32")]
pub struct BadMesh;

impl Mesh {
    /// Most links that may be asked for.
    pub const HIGH_MAX: u8 = 32;

    /// Keeps at least `low` links, dials up to `target`, and closes some above `high`.
    pub fn new(low: u8, target: u8, high: u8) -> Result<Self, BadMesh> {
        let is_in_order = 1 <= low && low <= target && target <= high && high <= Self::HIGH_MAX;
        is_in_order
            .then_some(Self { low, target, high })
            .ok_or(BadMesh)
    }

    /// Links below which even those are asked that have just declined.
    pub fn low(self) -> usize {
        self.low.into()
    }

    /// Links up to which others are dialled.
    pub fn target(self) -> usize {
        self.target.into()
    }

    /// Links above which some are closed.
    pub fn high(self) -> usize {
        self.high.into()
    }
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            low: 3,
            target: 4,
            high: 8,
        }
    }
}

/// What people may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether links may run from device to device at all.
    pub direct: bool,
    /// Who may know where this device is, and who dials whom.
    pub visibility: Visibility,
    /// How many links are kept.
    pub mesh: Mesh,
    /// Heartbeat period in milliseconds, from 100 to a day.
    pub heartbeat_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            direct: true,
            visibility: Visibility::Open,
            mesh: Mesh::default(),
            heartbeat_ms: PEER_HEARTBEAT_MS,
        }
    }
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Input {
    /// Everybody with whom links are allowed from now on. An entry for this device itself only says whose it is.
    Peers(Vec<Known>),
    /// The same for one member more, or news of one.
    Peer(Known),
    /// Whether the control link is up.
    Control {
        /// Whether it is.
        is_up: bool,
    },
    /// Somebody dialled this device; TLS proved whose certificate it is.
    Accepted {
        /// The session.
        link: LinkId,
        /// The peer that the certificate names.
        peer: PeerId,
        /// TLS exporter value.
        exporter: [u8; 32],
        /// Where the other end is; none through a relay.
        remote: Option<SocketAddr>,
        /// When the peer's certificate ends, milliseconds since 1970.
        until_ms: u64,
    },
    /// The outcome of [`Output::Dial`] or [`Output::Circuit`].
    Dialed {
        /// Who was dialled.
        peer: PeerId,
        /// The session with that very peer, or why there is none.
        result: Result<Arrived, String>,
        /// Each address that was tried.
        attempts: Vec<Attempt>,
    },
    /// A message of stream 0.
    Received {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// The link ended, by the other side or by the network.
    Closed {
        /// Which.
        link: LinkId,
        /// Why, if the other side said so.
        code: Option<Code>,
        /// For people.
        detail: String,
    },
    /// A person asks for a fresh dial: of one peer, or of all of the mesh.
    Reconnect(Option<PeerId>),
    /// Somebody needs a link to this peer within the next minute.
    Want(PeerId),
    /// What people set.
    Settings(Settings),
    /// Where this device is, signed by it.
    Announce(SignedReach),
    /// A deadline passed.
    Tick,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial these addresses at the same time; the first one that proves to be the peer wins.
    Dial {
        /// Whom.
        peer: PeerId,
        /// Where, best first.
        addresses: Vec<SocketAddr>,
    },
    /// Ask a relay for a circuit.
    Circuit {
        /// To whom.
        peer: PeerId,
        /// The link to the relay; none is the Mothership.
        via: Option<LinkId>,
    },
    /// Close the link; no [`Input::Closed`] is needed for it.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        code: Code,
        /// For people.
        detail: String,
    },
    /// Send on stream 0.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// Both ends of this link have proved themselves.
    Ready(LinkId),
    /// From now on this link is the one with that peer.
    Up {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: PeerId,
        /// Bits of [`aura_proto::message::feature`] that both sides have.
        features: u64,
        /// How it runs.
        way: Way,
    },
    /// This link is no more the one with that peer.
    Down {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: PeerId,
        /// For people.
        detail: String,
    },
    /// A member's newer word of where it is, verified; told back by [`Input::Peer`] with what of it may be dialled.
    Learned(SignedReach),
    /// Ask the Mothership what it knows of these peers.
    Ask(Vec<PeerId>),
    /// What a peer has verified, as its heartbeat says.
    Heads {
        /// Who.
        peer: PeerId,
        /// Log, epoch, position and running hash of each.
        heads: Vec<(LogId, u64, u64, Digest)>,
    },
    /// A measured round trip.
    Rtt {
        /// To whom.
        peer: PeerId,
        /// Milliseconds.
        ms: u64,
    },
}
