//! What a daemon and its faces say to each other over the owner-only local socket.
//!
//! One request is one JSON line; the answer is NDJSON: any number of [`Reply::Progress`] or [`Reply::Event`]
//! lines, then exactly one [`Reply::Done`] or [`Reply::Failed`].
//!
//! Invariants:
//! - every document names its schema and version in `schema`; fields are only added within a version;
//! - a failure is a document too, with a stable id, an exit code and a next step.

pub mod docs;
pub mod exit;
pub mod failure;
pub mod home;
pub mod schema;
pub mod shell;
pub mod socket;
pub mod worker;

pub use exit::Exit;
pub use failure::{Failure, Next};
pub use home::Home;
pub use shell::{shell_operand, shell_word};
pub use worker::{NoAnswer, ask_worker};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest request line in bytes; a longer one closes the connection.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A request to the peer daemon. `repo` is the absolute path that the caller stands in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Absolute path of the caller's directory (`-C` or the current one).
    pub repo: Option<String>,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// Which versions of a conflict to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Keep what this working copy has.
    Mine,
    /// Take the other side's.
    Theirs,
    /// Both bodies, mine first.
    Both,
    /// The given text.
    With {
        /// The text, base64 is not needed: source text; lossless via `bytes`.
        bytes: Vec<u8>,
    },
}

/// A moment of the past that a history is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// Right behind this operation.
    Op(String),
    /// When the Mothership's log had reached this position.
    Seq(u64),
    /// By the clocks of those who wrote, milliseconds since 1970.
    TimeMs(u64),
}

/// What the daemon can be asked about messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageCall {
    /// Tells its sender that a message was taken note of; answers `aura.message/1`.
    Ack {
        /// Such as `m-7sy5pp`.
        id: String,
    },
    /// Messages; answers `aura.inbox/1`.
    Inbox {
        /// Only those that were not read.
        unread: bool,
    },
    /// Messages with their threads, which are read now; answers `aura.inbox/1`.
    Read {
        /// Such as `m-7sy5pp`; all that is unread when empty.
        ids: Vec<String>,
    },
    /// Sends one; answers `aura.message/1`.
    Send {
        /// `@name`, `@all`, `@zone:z-4`, `@editing:symbol`.
        to: Vec<String>,
        /// The words.
        text: String,
        /// A symbol, a conflict, a zone.
        about: Option<String>,
        /// The message that it answers; then it is for those who had that one.
        re: Option<String>,
        /// Whether it should not wait.
        urgent: bool,
    },
}

/// What the daemon can be asked about zones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneCall {
    /// Answers a question about an own zone; answers `aura.zone/1`.
    Answer {
        /// Such as `a-17`.
        id: String,
        /// Whether whoever asks gets the zone.
        grants: bool,
        /// In words.
        text: String,
    },
    /// Asks the holder of a zone for it; answers `aura.zone/1`.
    Ask {
        /// Such as `z-12`.
        id: String,
        /// What for.
        text: String,
    },
    /// Claims a zone; answers `aura.zone/1`.
    Claim {
        /// Files, directories, patterns, symbols.
        what: Vec<String>,
        /// Why.
        why: String,
        /// How long it lasts without a change, in milliseconds.
        ttl_ms: u64,
        /// Whether changes of others in it do not count.
        block: bool,
        /// Whether it is for all branches.
        everywhere: bool,
        /// Whether zones in the way end.
        take: bool,
        /// How long to wait for zones in the way to end, in milliseconds.
        wait_ms: u64,
    },
    /// Lets a zone last longer; answers `aura.zone/1`.
    Extend {
        /// Such as `z-12`.
        id: String,
        /// From now on, in milliseconds.
        ttl_ms: u64,
    },
    /// The zones; answers `aura.zones/1`.
    List {
        /// Only own ones.
        mine: bool,
        /// Only those that cover this.
        path: Option<String>,
    },
    /// Says that zones are over; answers `aura.zone/1`.
    Release {
        /// Such as `z-12`.
        ids: Vec<String>,
        /// All that this device holds.
        all: bool,
    },
}

/// What the peer daemon can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", content = "args", rename_all = "snake_case")]
pub enum Call {
    /// About messages.
    Message(MessageCall),
    /// About zones.
    Zone(ZoneCall),
    /// Approves devices that wait for the team key; answers `aura.members/1`.
    Approve {
        /// Names; empty with `all`.
        names: Vec<String>,
        /// Approve everybody who waits.
        all: bool,
        /// Identity keys of the devices whose words were shown; others are not approved. Empty if none were shown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        peers: Vec<String>,
    },
    /// Who wrote a file; answers `aura.blame/1`.
    Blame {
        /// The file, from the root of the repository.
        path: String,
    },
    /// Reads a setting; answers `aura.config/1`.
    ConfigGet {
        /// Key, or all when absent.
        key: Option<String>,
    },
    /// Writes a setting; answers `aura.config/1`.
    ConfigSet {
        /// Key.
        key: String,
        /// Value as text.
        value: String,
    },
    /// Conflicts; answers `aura.conflicts/1`.
    Conflicts {
        /// One conflict with its three texts.
        id: Option<String>,
    },
    /// How versions hang together; answers `aura.dag/1`.
    Dag {
        /// Only this symbol.
        symbol: Option<String>,
        /// Only whether anything has diverged, without opening a text.
        quick: bool,
    },
    /// Units that differ from the team's newest; answers `aura.diff/1`.
    Diff {
        /// Only these symbols.
        symbols: Vec<String>,
    },
    /// What blocks these files or is open in them; answers `aura.touching/1`.
    Touching {
        /// Files, from the root of the repository.
        paths: Vec<String>,
    },
    /// Stops the daemon; answers `aura.down/1`.
    Down,
    /// Symbols by a part of their names; answers `aura.find/1`.
    Find {
        /// What the names contain.
        text: String,
        /// As they were when; now when absent.
        at: Option<At>,
        /// At most this many.
        limit: Option<usize>,
    },
    /// Own code that uses what others changed, or what uses a symbol; answers `aura.impact/1`.
    Impact {
        /// Say what uses it.
        symbol: Option<String>,
        /// Alerts to close, or to put off.
        #[serde(default)]
        ack: Vec<String>,
        /// Puts alerts off for so many milliseconds instead of closing them; all, if none is named.
        #[serde(default)]
        snooze_ms: Option<u64>,
    },
    /// Makes a join token signed by this member; answers `aura.invite/1`.
    Invite {
        /// For whom.
        name: Option<String>,
        /// Role of the newcomer.
        role: String,
        /// How often it can be used.
        uses: u32,
        /// Seconds that it lives.
        ttl_s: u64,
    },
    /// Enrols and indexes `repo`; answers `aura.join/1`.
    Join {
        /// The token, absent for a second repository of the same team.
        token: Option<String>,
        /// Name wanted.
        name: Option<String>,
        /// The name to ask for when neither `name` nor the token says one.
        #[serde(default)]
        device: Option<String>,
        /// `observe`, `ask` or `live`.
        mode: Option<String>,
        /// Only check.
        dry_run: bool,
    },
    /// History; answers `aura.log/1`.
    Log {
        /// Only this symbol.
        symbol: Option<String>,
        /// Only by this peer.
        #[serde(default)]
        actor: Option<String>,
        /// Only what is at most this many milliseconds old.
        #[serde(default)]
        since_ms: Option<u64>,
        /// Only what was joined without anybody deciding.
        #[serde(default)]
        auto: bool,
        /// At most this many, newest first.
        limit: Option<usize>,
    },
    /// Members and who waits for approval; answers `aura.members/1`.
    Members,
    /// Prints or sets the mode; answers `aura.mode/1`.
    Mode {
        /// New mode.
        set: Option<String>,
    },
    /// Holds still for a while; answers `aura.pause/1`.
    Pause {
        /// Whether nothing is published.
        publishing: bool,
        /// Whether nothing of others is taken by itself.
        taking: bool,
        /// For so many milliseconds; until [`Call::Resume`] when absent.
        for_ms: Option<u64>,
    },
    /// Goes on; answers `aura.pause/1`.
    Resume,
    /// The peer list; answers `aura.peers/1`.
    Peers,
    /// Asks another device whether it is there; answers `aura.ping/1`.
    Ping {
        /// Its name.
        peer: String,
        /// How long to wait, in milliseconds.
        timeout_ms: u64,
    },
    /// Sends a message over whoever is between and waits for its answer; answers `aura.test_message/1`.
    TestMessage {
        /// To whom.
        peer: String,
        /// Over how many links at most, from 1 to 5.
        hops: u8,
        /// How long to wait, in milliseconds.
        timeout_ms: u64,
    },
    /// How this device and others can be reached; answers `aura.netcheck/1`.
    Netcheck {
        /// One device, or all.
        peer: Option<String>,
    },
    /// Dials the Mothership and other devices anew; answers `aura.peers/1`.
    Reconnect {
        /// One device, or the Mothership and all that this one keeps links with.
        peer: Option<String>,
    },
    /// Publishes what is saved; answers `aura.publish/1`.
    Publish {
        /// The reason.
        why: Option<String>,
        /// Only these symbols.
        symbols: Vec<String>,
        /// Return without waiting for the Mothership.
        no_wait: bool,
    },
    /// Takes waiting patches into clean code; answers `aura.pull/1`.
    Pull {
        /// Only these symbols.
        symbols: Vec<String>,
        /// Only from this peer.
        from: Option<String>,
        /// Only these files: a path, a directory or a pattern.
        #[serde(default)]
        path: Option<String>,
        /// Only say what would happen.
        dry_run: bool,
    },
    /// Settles conflicts; answers `aura.resolve/1`.
    Resolve {
        /// Conflict ids.
        ids: Vec<String>,
        /// Which text.
        choice: Choice,
    },
    /// Brings a text of the past back into the working copy; answers `aura.restore/1`.
    Restore {
        /// Which unit.
        symbol: String,
        /// As it was when.
        at: At,
        /// The reason, shown to the others.
        why: Option<String>,
        /// Only say what would change.
        dry_run: bool,
    },
    /// One operation, `aura.show/1`, or a symbol as it was, `aura.then/1`.
    Show {
        /// An operation, or a symbol.
        what: String,
        /// The moment, for a symbol.
        at: Option<At>,
    },
    /// Version, pid; answers `aura.hello/1`.
    Hello,
    /// The daily screen; answers `aura.status/1`.
    Status,
    /// Undoes an operation of this device; answers `aura.undo/1`.
    Undo {
        /// Operation id; the last one when absent.
        op: Option<String>,
    },
    /// Waits for a state; answers `aura.wait/1`.
    Wait {
        /// `up`, `synced`, `quiet`, `peer:NAME`.
        wanted: String,
        /// Gives up after this many milliseconds.
        timeout_ms: u64,
    },
    /// Streams events from `since`; answers with [`Reply::Event`] until the caller hangs up.
    Watch {
        /// First event number wanted; from now on when absent.
        since: Option<u64>,
    },
    /// Identity of this device; answers `aura.whoami/1`.
    Whoami,
}

/// What the running Mothership can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", content = "args", rename_all = "snake_case")]
pub enum AdminCall {
    /// Makes a join token signed by the Mothership; answers `mothership.invite/1`.
    Invite {
        /// For whom.
        name: Option<String>,
        /// Role of the newcomer.
        role: String,
        /// How often it can be used.
        uses: u32,
        /// Seconds that it lives.
        ttl_s: u64,
    },
    /// Audit records; answers `mothership.log/1`.
    Log {
        /// At most this many, newest first.
        limit: usize,
    },
    /// The peer list; answers `mothership.peers/1`.
    PeerList,
    /// Removes a peer; answers `mothership.peer_revoke/1`.
    PeerRevoke {
        /// Name or id prefix.
        peer: String,
        /// Why, for people.
        reason: String,
    },
    /// One screen; answers `mothership.status/1`.
    Status,
    /// Tokens made here; answers `mothership.tokens/1`.
    TokenList,
    /// Ends a token; answers `mothership.token_revoke/1`.
    TokenRevoke {
        /// Token id or prefix.
        id: String,
    },
    /// Figures of the log; answers `mothership.wal_stat/1`.
    WalStat,
    /// Newest records; answers `mothership.wal_tail/1`.
    WalTail {
        /// How many.
        limit: usize,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The document that was asked for.
    Done(Value),
    /// One numbered event of the stream (`aura.event/1`).
    Event(Value),
    /// It could not be done.
    Failed(Failure),
    /// How far a long call is.
    Progress {
        /// What is being done: `index`, `catch_up`, `enrol` …
        step: String,
        /// Done so far.
        done: u64,
        /// Of how many, 0 when unknown.
        total: u64,
        /// One line for people.
        text: String,
    },
}
