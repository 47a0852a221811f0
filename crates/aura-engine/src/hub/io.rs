//! What the Mothership's engine is told and what it orders.
//!
//! Invariant: an input is a fact or a request, an output an order or a result; neither holds a resource.

use aura_proto::{
    Code, LogId, PeerId, TeamId,
    message::{Message, Role},
};
use aura_trust::IdentityKey;
use bytes::Bytes;

use super::{IssueSubject, Issued, LinkId, PushedEntry};

/// What the Mothership is made of when it starts.
pub struct Config {
    /// The team.
    pub team: TeamId,
    /// Display name, written down at the very first start.
    pub team_name: String,
    /// Key that signs checkpoints and box-made invites; its verifying half is the Mothership's id.
    pub key: IdentityKey,
    /// CA certificate, DER, handed to newcomers.
    pub ca: Vec<u8>,
    /// Heartbeat period in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a silent peer counts as away before it counts as offline, in milliseconds.
    pub offline_after_ms: u64,
    /// Life of the certificates that are issued, in seconds.
    pub leaf_ttl_s: u64,
    /// What circuits between peers may take.
    pub relay: crate::relay::Limits,
}

/// A request of whoever runs the box.
#[derive(Debug, Clone)]
pub enum Command {
    /// Writes down an invite that the Mothership signs.
    MakeToken {
        /// Token id, random.
        jti: String,
        /// For whom.
        name: Option<String>,
        /// Role of the newcomer.
        role: Role,
        /// How often it can be used.
        uses: u32,
        /// Seconds since 1970 when it ends.
        expires_s: u64,
    },
    /// Removes a peer.
    Revoke {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// Ends a token.
    RevokeToken {
        /// Token id.
        jti: String,
    },
}

/// What happens to the Mothership.
#[derive(Debug)]
pub enum Input {
    /// An operator asks; answered with [`Output::Answer`] of the same number.
    Command {
        /// Chosen by the caller.
        request: u64,
        /// What.
        command: Command,
    },
    /// A peer with a good certificate connected.
    Connected {
        /// Number of the link.
        link: LinkId,
        /// Identity in the certificate.
        peer: PeerId,
        /// TLS exporter value.
        exporter: [u8; 32],
        /// Address.
        remote: String,
    },
    /// A link is gone.
    Disconnected {
        /// Which.
        link: LinkId,
    },
    /// The queue of a link has drained.
    Drained {
        /// Which.
        link: LinkId,
    },
    /// Somebody without a certificate connected.
    Enrolling {
        /// Number of the link.
        link: LinkId,
        /// TLS exporter value.
        exporter: [u8; 32],
        /// Address.
        remote: String,
    },
    /// The shell handed over what [`Output::Feed`] asked for, up to here.
    Fed {
        /// Which link.
        link: LinkId,
        /// On which stream.
        stream: u32,
        /// Of which log.
        log: LogId,
        /// Last position handed over.
        up_to: u64,
        /// Whether the queue takes more of this log.
        has_room: bool,
    },
    /// The certificate asked for by [`Output::Issue`].
    Issued {
        /// Which request.
        ticket: u64,
        /// The certificate, or nothing when the request was unusable.
        issued: Option<Issued>,
    },
    /// The first records of a batch are durable, usually all; there was no space for the others.
    Stored {
        /// Which.
        batch: u64,
        /// Record number of its first record; the others follow.
        first_lsn: u64,
        /// How many are durable.
        count: usize,
    },
    /// Entries were pushed; checked by [`super::check_push`].
    Pushed {
        /// By which link.
        link: LinkId,
        /// On which stream.
        stream: u32,
        /// To which log.
        log: LogId,
        /// Each with its own verdict so far.
        entries: Vec<PushedEntry>,
    },
    /// A message other than a push arrived.
    Received {
        /// On which link.
        link: LinkId,
        /// On which stream.
        stream: u32,
        /// What.
        message: Message,
    },
    /// The other side gave a stream up.
    StreamReset {
        /// On which link.
        link: LinkId,
        /// Which.
        stream: u32,
    },
    /// A deadline passed.
    Tick,
}

/// What the Mothership wants done.
#[derive(Debug)]
pub enum Output {
    /// The answer to a command.
    Answer {
        /// Which.
        request: u64,
        /// Done, or why not.
        result: Result<(), Code>,
    },
    /// Store these records in order and sync them; answer with [`Input::Stored`].
    Append {
        /// Number of the batch.
        batch: u64,
        /// The records in order.
        records: Vec<Bytes>,
        /// Whether the reserve may be used.
        is_urgent: bool,
    },
    /// Close a link, telling why.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        code: Code,
        /// For people.
        detail: String,
    },
    /// Hand entries to a subscriber from the log and answer with [`Input::Fed`].
    Feed {
        /// Which link.
        link: LinkId,
        /// On which stream.
        stream: u32,
        /// Which log.
        log: LogId,
        /// First position.
        from: u64,
        /// Last position.
        to: u64,
        /// Whether the checkpoint goes with it, if the last position is the head.
        with_checkpoint: bool,
    },
    /// Issue a certificate and answer with [`Input::Issued`].
    Issue {
        /// Number of the request.
        ticket: u64,
        /// PKCS#10, DER.
        csr: Vec<u8>,
        /// What the certificate says.
        subject: IssueSubject,
    },
    /// Something that an operator may want to see.
    Notice {
        /// `joined`, `refused`, `online`, `away`, `revoked` …
        kind: &'static str,
        /// Who.
        who: String,
        /// One line.
        text: String,
    },
    /// Send a message.
    Send {
        /// To which link.
        link: LinkId,
        /// On which stream.
        stream: u32,
        /// What.
        message: Message,
    },
    /// Send the same messages on stream 0 of many links.
    Tell {
        /// To which links.
        links: Vec<LinkId>,
        /// What, in order.
        messages: Vec<Message>,
    },
}
