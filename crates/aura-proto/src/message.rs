//! The messages of a link, as values.
//!
//! Invariants:
//! - variants and fields are only ever appended (bincode numbers them by position);
//! - runs of entries ([`crate::event`]) pass through as bytes and are decoded once, by whoever acts on them.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    activity::AgedActivity,
    codec::{self, DecodeError},
    codes::Code,
    frame::FrameType,
    ids::{Digest, LogId, PeerId, TeamId},
    limits::NAME_BYTES_MAX,
    reach::{Reach, SignedReach},
    vector::VersionVector,
};

/// Lowest protocol version that this build talks.
pub const VERSION_MIN: u16 = 1;
/// Highest protocol version that this build talks.
pub const VERSION_MAX: u16 = 1;

/// Feature bits offered in HELLO; what the other side does not offer is not sent to it.
pub mod feature {
    /// Checkpoints travel with runs and subscriptions.
    pub const CHECKPOINTS: u64 = 1 << 0;
    /// Peer events are sent.
    pub const PEER_EVENTS: u64 = 1 << 1;
    /// WAL_SUBSCRIBE and WAL_HEAD say what is held of each writer.
    pub const VECTORS: u64 = 1 << 2;
    /// Circuits are relayed, or taken.
    pub const RELAY: u64 = 1 << 3;
    /// Who edits what now is told.
    pub const ACTIVITY: u64 = 1 << 4;
    /// Everything that this build offers.
    pub const ALL: u64 = CHECKPOINTS | PEER_EVENTS | VECTORS | RELAY | ACTIVITY;
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May invite, approve, revoke.
    Admin,
    /// Edits.
    Member,
    /// Edits under a member.
    Agent,
    /// Reads.
    Observer,
    /// Stores and forwards, without the team key.
    Relay,
    /// The coordinator itself.
    Mothership,
}

impl Role {
    /// The lower-case word, as in certificates and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Agent => "agent",
            Self::Observer => "observer",
            Self::Relay => "relay",
            Self::Mothership => "mothership",
        }
    }

    /// Reads the lower-case word.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Admin,
            Self::Member,
            Self::Agent,
            Self::Observer,
            Self::Relay,
            Self::Mothership,
        ]
        .into_iter()
        .find(|role| role.as_str() == word)
    }

    /// Whether the role may write patches, intents and messages.
    pub fn may_write(self) -> bool {
        matches!(self, Self::Admin | Self::Member | Self::Agent)
    }
}

/// First message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest version spoken.
    pub version_min: u16,
    /// Highest version spoken.
    pub version_max: u16,
    /// Bits of [`feature`].
    pub features: u64,
    /// Program and version, for people.
    pub agent: String,
    /// Position of the newest revocation known.
    pub revocation_epoch: u64,
}

/// Proof of the identity key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// Who is speaking.
    pub peer: PeerId,
    /// Ed25519 over purpose and TLS exporter value of this session.
    pub signature: Vec<u8>,
    /// Where this peer can be dialled, if it says so.
    pub reach: Option<SignedReach>,
}

/// The server's answer to AUTH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version chosen.
    pub version: u16,
    /// The features both sides have.
    pub features: u64,
    /// The team.
    pub team: TeamId,
    /// The team's display name.
    pub team_name: String,
    /// Server's wall clock in milliseconds since 1970, for a clock check.
    pub time_ms: u64,
    /// The address that the server sees the peer under.
    pub seen_as: String,
    /// Heartbeat period in milliseconds that the server expects.
    pub heartbeat_ms: u64,
}

/// Asks for everything in one log that the sender lacks, now and from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Which log.
    pub log: LogId,
    /// Epoch of the last verified position, 0 when nothing is held.
    pub epoch: u64,
    /// Last verified position, 0 when nothing is held.
    pub seq: u64,
    /// Running hash at that position.
    pub hash: Digest,
    /// What the sender holds of each writer, through whatever path it came.
    pub vector: VersionVector,
    /// The newest checkpoint that the sender verified, encoded; empty when it has none.
    pub checkpoint: Vec<u8>,
}

/// Where a log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which log.
    pub log: LogId,
    /// Epoch of the answering side.
    pub epoch: u64,
    /// Last durable position.
    pub seq: u64,
    /// Running hash at that position.
    pub hash: Digest,
    /// What the answering side holds of each writer.
    pub vector: VersionVector,
}

/// Wants no more entries of one log from a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// Which log.
    pub log: LogId,
    /// Whether it is to be told the numbers of what it may lack.
    pub wants_numbers: bool,
}

/// What became of one pushed entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Durable at this position since this time (milliseconds since 1970).
    Stored {
        /// Position in the log.
        seq: u64,
        /// Stored at.
        time_ms: u64,
    },
    /// Not stored.
    Refused(Code),
}

/// What became of the entries of one push, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushAck {
    /// Which log.
    pub log: LogId,
    /// For each entry: the author's number as far as it could be read (else 0), and the outcome.
    pub outcomes: Vec<(u64, Outcome)>,
}

/// Whether a peer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Has a link.
    Online,
    /// Lost its link less than the offline window ago.
    Away,
    /// Without a link for longer.
    Offline,
}

/// One row of the peer list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCard {
    /// Identity key.
    pub peer: PeerId,
    /// Name that is unique in the team.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How to wrap a team key for it; left out of the whole list, where nearly all are members already.
    pub receive: Option<ReceiveCard>,
    /// Whether it is there.
    pub state: PeerState,
    /// Milliseconds since 1970 when it was last heard of.
    pub last_seen_ms: u64,
    /// Where it can be dialled, as far as it says.
    pub reach: Reach,
}

/// The key to which team keys are wrapped for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveCard {
    /// X25519.
    pub key: [u8; 32],
    /// The peer's signature over it, so that the Mothership cannot replace it.
    pub signature: Vec<u8>,
}

/// The peer list or a change of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerEvent {
    /// The whole list, after AUTH.
    Snapshot(Vec<PeerCard>),
    /// A peer joined the team.
    Added(PeerCard),
    /// A peer was removed from the team.
    Gone {
        /// Who.
        peer: PeerId,
        /// Why, for people.
        reason: String,
    },
    /// A peer is elsewhere, or wants to be reached in another way.
    NetworkUpdate(SignedReach),
    /// A peer came or went.
    State {
        /// Who.
        peer: PeerId,
        /// Whether it is there.
        state: PeerState,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// The answer to [`PeerQuery`]: who is asked for and a member, with everything that is known.
    Known(Vec<PeerCard>),
}

/// Asks for everything that is known of some peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerQuery {
    /// Whom.
    pub peers: Vec<PeerId>,
}

/// A sealed message for one peer, passed on by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// Random, so that whoever has passed it on knows it again.
    pub id: [u8; 16],
    /// Who wrote it.
    pub from: PeerId,
    /// Whom it is for.
    pub to: PeerId,
    /// The writer's wall clock, milliseconds since 1970.
    pub time_ms: u64,
    /// Over how many more links it may go.
    pub hops_left: u8,
    /// Who passed it on, in order.
    pub passed: Vec<PeerId>,
    /// Over whom it is to go, in order; over anybody where it is empty.
    pub way: Vec<PeerId>,
    /// HPKE to the receive key of `to`: 32 bytes of encapsulated key, then a [`RoutedBody`] and the tag.
    pub sealed: Vec<u8>,
    /// Ed25519 of `from`, 64 bytes, purpose `aura/v1/routed`, over [`Routed::signed_parts`].
    pub signature: Vec<u8>,
}

impl Routed {
    /// The bytes under the signature, behind the purpose: team 16 ‖ id 16 ‖ from 32 ‖ to 32 ‖ time 8 ‖ sealed. Hops
    /// are not signed, since whoever passes it on changes them.
    // spec: peers/7.2
    pub fn signed_parts(&self, team: TeamId) -> Vec<u8> {
        let time = self.time_ms.to_be_bytes();
        [
            &team.0[..],
            &self.id,
            &self.from.0,
            &self.to.0,
            &time,
            &self.sealed,
        ]
        .concat()
    }
}

/// What a routed message says to whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoutedBody {
    /// "Answer me."
    Probe,
    /// The answer to a probe.
    Answer {
        /// Which.
        id: [u8; 16],
        /// Who passed the probe on, in order.
        passed: Vec<PeerId>,
    },
}

/// A circuit: asked for, offered, taken, or standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOpen {
    /// Who is at the other end.
    pub peer: PeerId,
    /// The relay's number of it; 0 from whoever asks.
    pub circuit: u64,
}

/// The end of a circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayClose {
    /// The relay's number of it; 0 from whoever asked and knows none.
    pub circuit: u64,
    /// Why.
    pub code: Code,
    /// One line for people; never trusted, always escaped when shown.
    pub detail: String,
}

/// Bytes that were taken out of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayCredit {
    /// How many.
    pub bytes: u32,
}

/// "Are you there", with the sender's verified heads, so that witnesses can compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Echoed by the answer.
    pub nonce: u64,
    /// (log, epoch, seq, running hash).
    pub heads: Vec<(LogId, u64, u64, Digest)>,
}

/// What a device may be called, for whoever chose another name.
pub const DEVICE_NAME_RULE: &str = "a name has letters, digits and - _ . @ / #, at most 128 bytes, begins without @ and is not all";
const _: () = assert!(NAME_BYTES_MAX == 128);

/// Whether a newcomer may ask for this name.
// spec: identity/3.6
pub fn is_device_name(text: &str) -> bool {
    // `@all` is everybody, and what stands behind an @ is somebody.
    let is_word = text == "all" || text.starts_with('@');
    !is_word && (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_in_device_name)
}

/// Whether a device's name may hold this character.
pub fn is_in_device_name(c: char) -> bool {
    c.is_alphanumeric() || "-_.@/#".contains(c)
}

/// A request for admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The JWT out of the token.
    pub jwt: String,
    /// Identity key of the newcomer.
    pub peer: PeerId,
    /// Name wanted.
    pub name: String,
    /// X25519 receive key.
    pub receive_key: [u8; 32],
    /// Identity signature over the receive key.
    pub receive_key_signature: Vec<u8>,
    /// PKCS#10 request (DER) for the TLS key.
    pub csr: Vec<u8>,
    /// Signature by the token's seed key over the proof transcript.
    pub seed_proof: Vec<u8>,
    /// Signature by the identity key over the same transcript.
    pub identity_proof: Vec<u8>,
}

/// Certificate and team of a newcomer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// Leaf certificate, DER.
    pub certificate: Vec<u8>,
    /// CA certificate, DER.
    pub ca: Vec<u8>,
    /// The team.
    pub team: TeamId,
    /// Its display name.
    pub team_name: String,
    /// Role given.
    pub role: Role,
    /// Name given.
    pub name: String,
    /// Whether this is the first member, who makes the team key.
    pub founder: bool,
    /// Key that signs checkpoints.
    pub checkpoint_key: PeerId,
}

/// A request for a fresh certificate with the same identity key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Identity key.
    pub peer: PeerId,
    /// PKCS#10 request (DER).
    pub csr: Vec<u8>,
    /// Identity signature over the proof transcript.
    pub identity_proof: Vec<u8>,
}

/// The fresh certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewGrant {
    /// Leaf certificate, DER.
    pub certificate: Vec<u8>,
    /// CA certificate, DER.
    pub ca: Vec<u8>,
}

/// A refusal, or the reason for closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// One line for people; never trusted, always escaped when shown.
    pub detail: String,
}

/// One message of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// PEER_ACTIVITY.
    Activity(Vec<AgedActivity>),
    /// AUTH.
    Auth(Auth),
    /// WAL_EVENT; decoded with [`crate::event::EventRun::decode`].
    Event(Bytes),
    /// ERROR.
    Error(Refusal),
    /// WAL_HEAD.
    Head(Head),
    /// HEARTBEAT.
    Heartbeat(Heartbeat),
    /// HEARTBEAT_ACK.
    HeartbeatAck(Heartbeat),
    /// HELLO.
    Hello(Hello),
    /// JOIN_GRANT.
    JoinGrant(JoinGrant),
    /// JOIN_REQUEST.
    JoinRequest(JoinRequest),
    /// PEER_EVENT.
    Peer(PeerEvent),
    /// PEER_QUERY.
    PeerQuery(PeerQuery),
    /// WAL_PRUNE.
    Prune(Prune),
    /// PATCH_PUSH; decoded with [`crate::event::decode_push`].
    Push(Bytes),
    /// PATCH_ACK.
    PushAck(PushAck),
    /// PEER_REACH.
    Reach(Vec<SignedReach>),
    /// RELAY_CLOSE.
    RelayClose(RelayClose),
    /// RELAY_CREDIT.
    RelayCredit(RelayCredit),
    /// RELAY_DATA.
    RelayData(Bytes),
    /// RELAY_OPEN.
    RelayOpen(RelayOpen),
    /// RENEW_GRANT.
    RenewGrant(RenewGrant),
    /// RENEW_REQUEST.
    RenewRequest(RenewRequest),
    /// MSG_ROUTE.
    Routed(Routed),
    /// WAL_SUBSCRIBE.
    Subscribe(Subscribe),
    /// A type that is known but not served here (zones, messages), or optional and unknown.
    Unserved(FrameType),
    /// WELCOME.
    Welcome(Welcome),
}

impl Message {
    /// The frame type and payload of the message.
    pub fn encode(&self) -> (FrameType, Bytes) {
        fn row<T: Serialize>(kind: FrameType, value: &T) -> (FrameType, Bytes) {
            (kind, Bytes::from(codec::encode(value)))
        }
        match self {
            Self::Activity(value) => row(FrameType::PEER_ACTIVITY, value),
            Self::Auth(value) => row(FrameType::AUTH, value),
            Self::Event(run) => (FrameType::WAL_EVENT, run.clone()),
            Self::Error(value) => row(FrameType::ERROR, value),
            Self::Head(value) => row(FrameType::WAL_HEAD, value),
            Self::Heartbeat(value) => row(FrameType::HEARTBEAT, value),
            Self::HeartbeatAck(value) => row(FrameType::HEARTBEAT_ACK, value),
            Self::Hello(value) => row(FrameType::HELLO, value),
            Self::JoinGrant(value) => row(FrameType::JOIN_GRANT, value),
            Self::JoinRequest(value) => row(FrameType::JOIN_REQUEST, value),
            Self::Peer(value) => row(FrameType::PEER_EVENT, value),
            Self::PeerQuery(value) => row(FrameType::PEER_QUERY, value),
            Self::Prune(value) => row(FrameType::WAL_PRUNE, value),
            Self::Push(run) => (FrameType::PATCH_PUSH, run.clone()),
            Self::PushAck(value) => row(FrameType::PATCH_ACK, value),
            Self::Reach(value) => row(FrameType::PEER_REACH, value),
            Self::RelayClose(value) => row(FrameType::RELAY_CLOSE, value),
            Self::RelayCredit(value) => row(FrameType::RELAY_CREDIT, value),
            Self::RelayData(bytes) => (FrameType::RELAY_DATA, bytes.clone()),
            Self::RelayOpen(value) => row(FrameType::RELAY_OPEN, value),
            Self::RenewGrant(value) => row(FrameType::RENEW_GRANT, value),
            Self::RenewRequest(value) => row(FrameType::RENEW_REQUEST, value),
            Self::Routed(value) => row(FrameType::MSG_ROUTE, value),
            Self::Subscribe(value) => row(FrameType::WAL_SUBSCRIBE, value),
            Self::Unserved(kind) => (*kind, Bytes::new()),
            Self::Welcome(value) => row(FrameType::WELCOME, value),
        }
    }

    /// Reads the payload of a frame of type `kind`.
    pub fn decode(kind: FrameType, payload: Bytes) -> Result<Self, DecodeError> {
        fn row<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
            codec::decode(payload)
        }
        Ok(match kind {
            FrameType::AUTH => Self::Auth(row(&payload)?),
            FrameType::WAL_EVENT => Self::Event(payload),
            FrameType::ERROR => Self::Error(row(&payload)?),
            FrameType::WAL_HEAD => Self::Head(row(&payload)?),
            FrameType::HEARTBEAT => Self::Heartbeat(row(&payload)?),
            FrameType::HEARTBEAT_ACK => Self::HeartbeatAck(row(&payload)?),
            FrameType::HELLO => Self::Hello(row(&payload)?),
            FrameType::JOIN_GRANT => Self::JoinGrant(row(&payload)?),
            FrameType::JOIN_REQUEST => Self::JoinRequest(row(&payload)?),
            FrameType::MSG_ROUTE => Self::Routed(row(&payload)?),
            FrameType::PEER_EVENT => Self::Peer(row(&payload)?),
            FrameType::PEER_QUERY => Self::PeerQuery(row(&payload)?),
            FrameType::PEER_ACTIVITY => Self::Activity(row(&payload)?),
            FrameType::PEER_REACH => Self::Reach(row(&payload)?),
            FrameType::PATCH_PUSH => Self::Push(payload),
            FrameType::PATCH_ACK => Self::PushAck(row(&payload)?),
            FrameType::RELAY_CLOSE => Self::RelayClose(row(&payload)?),
            FrameType::RELAY_CREDIT => Self::RelayCredit(row(&payload)?),
            FrameType::RELAY_DATA => Self::RelayData(payload),
            FrameType::RELAY_OPEN => Self::RelayOpen(row(&payload)?),
            FrameType::RENEW_GRANT => Self::RenewGrant(row(&payload)?),
            FrameType::RENEW_REQUEST => Self::RenewRequest(row(&payload)?),
            FrameType::WAL_SUBSCRIBE => Self::Subscribe(row(&payload)?),
            FrameType::WAL_PRUNE => Self::Prune(row(&payload)?),
            FrameType::WELCOME => Self::Welcome(row(&payload)?),
            other => Self::Unserved(other),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_reads_back() {
        let message = Message::PushAck(PushAck {
            log: LogId([1; 16]),
            outcomes: vec![
                (1, Outcome::Stored { seq: 9, time_ms: 2 }),
                (2, Outcome::Refused(Code::BAD_SIGNATURE)),
            ],
        });
        let (kind, payload) = message.encode();
        assert_eq!(Message::decode(kind, payload).unwrap(), message);
    }

    #[test]
    fn what_names_people_in_a_message_is_no_name_of_a_device() {
        for name in ["all", "@all", "@bob", "", "a b", "a:b"] {
            assert!(!is_device_name(name), "{name}");
        }
        for name in ["bob", "alice@thinkpad", "bob/claude", "ball", "día#2"] {
            assert!(is_device_name(name), "{name}");
        }
    }

    #[test]
    fn every_role_has_its_word() {
        for word in [
            "admin",
            "member",
            "agent",
            "observer",
            "relay",
            "mothership",
        ] {
            assert_eq!(Role::from_word(word).unwrap().as_str(), word);
        }
        assert_eq!(Role::from_word("Admin"), None);
    }
}
