//! The documents that calls answer with.
//!
//! Invariants:
//! - `schema` is the first field and names type and version;
//! - times are RFC 3339 in UTC, durations say their unit in the name.

use serde::{Deserialize, Serialize};

use crate::Next;

macro_rules! doc {
    ($(#[$doc:meta])* $name:ident = $schema:literal { $($(#[$fdoc:meta])* $field:ident : $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, crate::schema::JsonSchema)]
        pub struct $name {
            /// Name and version of this document.
            #[schemars(extend("const" = $schema))]
            pub schema: String,
            $($(#[$fdoc])* pub $field: $type,)*
        }

        impl $name {
            /// The value of the `schema` field.
            pub const SCHEMA: &'static str = $schema;
        }
    };
}

macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, crate::schema::JsonSchema)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $type,)*
        }
    };
}

mod impact;
mod messages;
mod pause;
mod programs;
mod prompts;
mod support;
mod zones;

pub use impact::{AlertDoc, CallerDoc, Impact};
pub use messages::{Inbox, MessageDoc, Sent};
pub use pause::{PauseDoc, Paused};
pub use programs::{
    BoxEvent, DaemonLogs, ExitCodeDoc, ExitCodes, Failed, JoinChecked, ManPages, SchemaDoc, Schemas,
};
pub use prompts::{PromptDoc, Prompts};
pub use support::{BugReport, CheckDoc, Doctor, FixDoc};
pub use zones::{AskDoc, Touching, ZoneDoc, ZoneDone, Zones};

row! {
    /// The state of the control link.
    LinkDoc {
        /// `online`, `connecting`, `offline` or `revoked`.
        state: String,
        /// Address in use or tried last.
        endpoint: String,
        /// Last measured round trip in milliseconds.
        rtt_ms: Option<f64>,
        /// How long the Mothership has not been reached, in seconds.
        offline_for_s: u64,
        /// Own entries not yet acknowledged.
        queued: u64,
        /// Why the link is down, for people.
        why: Option<String>,
    }
}

row! {
    /// Something that waits for a person.
    NeedDoc {
        /// `conflict`, `approval`, `damage` …
        kind: String,
        /// Short id such as `c-12`.
        id: String,
        /// The unit concerned.
        symbol: Option<String>,
        /// Who else.
        with: Vec<String>,
        /// Since when.
        since: Option<String>,
        /// One line for people.
        text: String,
    }
}

row! {
    /// The repository that a status is about.
    RepoDoc {
        /// Root commit that names the repository.
        root_commit: String,
        /// Branch, or the commit when detached.
        branch: String,
        /// Commit checked out.
        head: String,
        /// Absolute path of the work tree.
        path: String,
        /// Files indexed.
        files: u64,
        /// Units indexed.
        units: u64,
    }
}

row! {
    /// Patches that wait to be taken.
    IncomingDoc {
        /// How many units have a newer version than the working copy.
        patches: u64,
        /// How many of them also have unpublished or concurrent edits here.
        touching_my_edits: u64,
        /// From whom.
        from: Vec<String>,
    }
}

row! {
    /// The own side.
    MineDoc {
        /// Units edited and not yet published.
        unpublished: u64,
        /// Units published by this device.
        published: u64,
        /// Files held back because they do not parse.
        held_back: Vec<String>,
    }
}

mod changes;
mod merging;
mod network;
mod past;

pub use changes::{Joined, Published, Undone};
pub use merging::*;
pub use network::{
    AddressDoc, DoingDoc, HopDoc, Netcheck, PeerDoc, Peers, Ping, StreamDoc, TestMessage, TriedDoc,
};
pub use past::{
    Blamed, BlamedLineDoc, BlamedUnitDoc, Dag, DagUnitDoc, Found, FoundDoc, Log, OpDoc, Restored,
    Shown, ShownUnitDoc, ThenDoc,
};

doc! {
    /// Answer of `status`.
    Status = "aura.status/1" {
        /// When it was made.
        at: String,
        /// Number of the newest event.
        seq: u64,
        /// `synced`, `syncing`, `offline`, `partial` or `error`.
        word: String,
        /// How many files hold what is not told, where the word is `partial`.
        #[serde(default)]
        lacking: u64,
        /// Team name.
        team: Option<String>,
        /// Name of this device.
        name: Option<String>,
        /// The repository, when asked inside one.
        repo: Option<RepoDoc>,
        /// Mode of the repository.
        mode: Option<String>,
        /// Control link.
        link: LinkDoc,
        /// What waits for a person.
        needs_you: Vec<NeedDoc>,
        /// The peer list.
        peers: Vec<PeerDoc>,
        /// Patches that wait.
        incoming: IncomingDoc,
        /// The own side.
        mine: MineDoc,
        /// Zones that this device holds, and those of others that block.
        #[serde(default)]
        zones: Vec<ZoneDoc>,
        /// What holds still; null where nothing does.
        #[serde(default)]
        paused: Option<PauseDoc>,
        /// How the changes of others come in.
        #[serde(default)]
        stream: Option<StreamDoc>,
        /// What to do now.
        next: Vec<Next>,
    }
}

row! {
    /// One unit that a pull touched or would touch.
    PulledDoc {
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// Author of the newest version.
        from: String,
        /// `applied`, `merged`, `would_apply`, `conflict`, `waiting`.
        outcome: String,
        /// Why not, when it was not applied.
        why: Option<String>,
    }
}

doc! {
    /// Answer of `pull`.
    Pulled = "aura.pull/1" {
        /// One row per unit.
        units: Vec<PulledDoc>,
        /// How many were written.
        applied: u64,
        /// Operation that `undo` takes back.
        op: Option<String>,
    }
}

row! {
    /// One side of a conflict.
    SideDoc {
        /// Operation that made it; null for an unpublished edit or the base.
        op: Option<String>,
        /// Who.
        author: String,
        /// When.
        at: Option<String>,
        /// The text; absent in lists; null when the unit is deleted on this side.
        text: Option<String>,
        /// Whether the unit is deleted on this side.
        deleted: bool,
    }
}

row! {
    /// One conflict.
    ConflictDoc {
        /// Short id, `c-…`.
        id: String,
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// Since when.
        since: String,
        /// Why it could not be merged.
        reason: String,
        /// Last common version.
        base: Option<SideDoc>,
        /// This working copy's side.
        mine: SideDoc,
        /// The other side.
        theirs: SideDoc,
    }
}

doc! {
    /// Answer of `conflicts`.
    Conflicts = "aura.conflicts/1" {
        /// Open conflicts, oldest first.
        conflicts: Vec<ConflictDoc>,
    }
}

doc! {
    /// Answer of `resolve`.
    Resolved = "aura.resolve/1" {
        /// What was published.
        ops: Vec<OpDoc>,
        /// How many conflicts are settled.
        resolved: u64,
        /// The undo of it.
        next: Vec<Next>,
    }
}

doc! {
    /// Answer of `diff`.
    Diff = "aura.diff/1" {
        /// One row per unit that differs from the team's newest.
        units: Vec<DiffDoc>,
    }
}

row! {
    /// One unit that differs.
    DiffDoc {
        /// Full name of the unit.
        symbol: String,
        /// File.
        path: String,
        /// `unpublished`, `incoming`, `both`.
        state: String,
        /// Text here.
        mine: Option<String>,
        /// The team's newest text.
        team: Option<String>,
    }
}

doc! {
    /// Answer of `wait`.
    Waited = "aura.wait/1" {
        /// What was waited for.
        wanted: String,
        /// How long it took in milliseconds.
        waited_ms: u64,
    }
}

doc! {
    /// Answer of `mode`.
    Mode = "aura.mode/1" {
        /// `observe`, `ask` or `live`.
        mode: String,
        /// What it does to files, for people.
        means: String,
    }
}

doc! {
    /// Answer of `whoami`.
    Whoami = "aura.whoami/1" {
        /// Name of this device, when joined.
        name: Option<String>,
        /// Identity key, when made.
        peer: Option<String>,
        /// Words of the identity's fingerprint.
        device_words: Option<String>,
        /// Team name.
        team: Option<String>,
        /// Team id.
        team_id: Option<String>,
        /// Role.
        role: Option<String>,
        /// Words of the CA's fingerprint.
        ca_words: Option<String>,
        /// When the certificate ends.
        certificate_until: Option<String>,
        /// Whether this device holds the team key.
        reads: bool,
    }
}

row! {
    /// One member.
    MemberDoc {
        /// Name.
        name: String,
        /// Identity key.
        peer: String,
        /// Role.
        role: String,
        /// `reads`, `approved` while the key is on its way, `waiting` or `removed`.
        state: String,
        /// Words of its fingerprint, to be compared before approval.
        device_words: String,
    }
}

doc! {
    /// Answer of `members` and `members approve`.
    Members = "aura.members/1" {
        /// Everybody known.
        members: Vec<MemberDoc>,
        /// Names approved by this call.
        approved: Vec<String>,
    }
}

doc! {
    /// Answer of `invite`.
    Invite = "aura.invite/1" {
        /// The token.
        token: String,
        /// When it ends.
        expires: String,
        /// Role of the newcomer.
        role: String,
        /// How often it can be used.
        uses: u32,
        /// For whom.
        name: Option<String>,
        /// Whether its bearer waits for an admin's approval.
        needs_approval: bool,
    }
}

doc! {
    /// Answer of `config`.
    Config = "aura.config/1" {
        /// Effective settings.
        settings: Vec<SettingDoc>,
    }
}

row! {
    /// One setting.
    SettingDoc {
        /// Key.
        key: String,
        /// Effective value.
        value: String,
        /// `default`, `user`, `repo`, `env`.
        origin: String,
    }
}

doc! {
    /// Answer of `hello` and `up`.
    Hello = "aura.hello/1" {
        /// Version of the daemon.
        version: String,
        /// Its process id.
        pid: u32,
        /// Its state directory.
        home: String,
        /// Repositories that it serves.
        repos: Vec<String>,
    }
}

doc! {
    /// Answer of `down`.
    Down = "aura.down/1" {
        /// Whether a daemon was running.
        was_running: bool,
    }
}

doc! {
    /// One event of `watch`.
    Event = "aura.event/1" {
        /// Number, contiguous.
        seq: u64,
        /// When.
        at: String,
        /// `link`, `peer`, `published`, `received`, `applied`, `conflict`, `resolved`, `held_back`, `motion`, `gap` …
        kind: String,
        /// Repository path, when it is about one.
        repo: Option<String>,
        /// Unit, when it is about one.
        symbol: Option<String>,
        /// Who, when somebody did it.
        actor: Option<String>,
        /// One line for people.
        text: String,
        /// Details by kind.
        data: serde_json::Value,
    }
}

doc! {
    /// First line of `mothership serve --json`.
    Ready = "mothership.ready/1" {
        /// Addresses in use, `host:port`.
        listen: Vec<String>,
        /// Team name.
        team: String,
        /// Team id.
        team_id: String,
        /// SHA-256 of the CA's public key, hex.
        ca: String,
        /// The same as words.
        ca_words: String,
        /// A first invite; absent with `--no-invite`.
        token: Option<String>,
        /// State directory.
        state_dir: String,
        /// Process id.
        pid: u32,
    }
}

row! {
    /// One token made by the Mothership.
    TokenDoc {
        /// Token id.
        id: String,
        /// For whom.
        name: Option<String>,
        /// Role.
        role: String,
        /// Uses left.
        uses_left: u32,
        /// When it ends.
        expires: String,
        /// `open`, `used`, `expired` or `revoked`.
        state: String,
        /// Names of those who used it.
        used_by: Vec<String>,
    }
}

doc! {
    /// Answer of `token list`.
    Tokens = "mothership.tokens/1" {
        /// Newest first.
        tokens: Vec<TokenDoc>,
    }
}

doc! {
    /// Answer of `mothership invite`.
    BoxInvite = "mothership.invite/1" {
        /// The token.
        token: String,
        /// Token id.
        id: String,
        /// When it ends.
        expires: String,
        /// Role of the newcomer.
        role: String,
        /// How often it can be used.
        uses: u32,
        /// For whom.
        name: Option<String>,
        /// Whether its bearer waits for an admin's approval.
        needs_approval: bool,
    }
}

row! {
    /// One peer as the Mothership sees it.
    BoxPeerDoc {
        /// Name.
        name: String,
        /// Identity key.
        peer: String,
        /// Role.
        role: String,
        /// `online`, `away`, `offline` or `revoked`.
        state: String,
        /// When it was last heard of.
        last_seen: Option<String>,
        /// Entries not yet handed to it.
        lag: u64,
        /// Addresses that it announced.
        hints: Vec<String>,
        /// When its certificate ends.
        certificate_until: String,
    }
}

doc! {
    /// Answer of `peer list`.
    BoxPeers = "mothership.peers/1" {
        /// By name.
        peers: Vec<BoxPeerDoc>,
    }
}

doc! {
    /// Answer of `peer revoke`.
    PeerRevoked = "mothership.peer_revoke/1" {
        /// Who.
        name: String,
        /// Identity key.
        peer: String,
    }
}

doc! {
    /// Answer of `token revoke`.
    TokenRevoked = "mothership.token_revoke/1" {
        /// Token id.
        id: String,
    }
}

row! {
    /// One log as the Mothership sees it.
    LogStatDoc {
        /// Log id.
        log: String,
        /// Last durable position.
        seq: u64,
        /// Running hash there, hex.
        hash: String,
        /// Writers seen.
        writers: u64,
    }
}

doc! {
    /// Answer of `mothership status`.
    BoxStatus = "mothership.status/1" {
        /// When it was made.
        at: String,
        /// Team name.
        team: String,
        /// Team id.
        team_id: String,
        /// Version of the program.
        version: String,
        /// Process id; absent when read from the directory.
        pid: Option<u32>,
        /// Addresses in use.
        listen: Vec<String>,
        /// Peers online.
        online: u64,
        /// Peers in all.
        peers: u64,
        /// Circuits between devices that stand or are offered now.
        #[serde(default)]
        circuits: u64,
        /// Bytes that circuits have carried since the start.
        #[serde(default)]
        relayed_bytes: u64,
        /// The logs.
        logs: Vec<LogStatDoc>,
        /// `ok`, or why nothing is taken now.
        health: String,
    }
}

doc! {
    /// Answer of `wal stat`.
    WalStat = "mothership.wal_stat/1" {
        /// Segment files.
        segments: u64,
        /// Records.
        records: u64,
        /// Last durable record.
        durable: u64,
        /// Bytes on disk.
        bytes: u64,
        /// Epoch of the log.
        epoch: u64,
    }
}

doc! {
    /// Answer of `wal verify`.
    WalVerify = "mothership.wal_verify/1" {
        /// Whether everything holds.
        ok: bool,
        /// Records checked.
        records: u64,
        /// Entries whose author signature was checked.
        entries: u64,
        /// Bytes of an unfinished tail that a start would cut.
        torn_tail_bytes: u64,
        /// Hash over the whole log, hex.
        head: String,
    }
}

row! {
    /// One record of the log.
    WalRecordDoc {
        /// Record number.
        lsn: u64,
        /// `entry`, `joined`, `token`, `revoked`, `boot` …
        kind: String,
        /// When it was stored.
        at: Option<String>,
        /// One line for people.
        text: String,
    }
}

doc! {
    /// Answer of `wal tail`.
    WalTail = "mothership.wal_tail/1" {
        /// Oldest first.
        records: Vec<WalRecordDoc>,
    }
}

doc! {
    /// Answer of `mothership log`.
    BoxLog = "mothership.log/1" {
        /// Oldest first.
        records: Vec<WalRecordDoc>,
    }
}

row! {
    /// One unit of a file, as `outline` lists it.
    OutlineUnitDoc {
        /// Identity, hex.
        id: String,
        /// `function`, `method`, `class` …
        kind: String,
        /// Path of the file, as its ids were derived.
        path: String,
        /// Name through all containers.
        name: String,
        /// First byte.
        start: u64,
        /// The byte after the last.
        end: u64,
        /// First line, counted from one.
        start_line: u64,
        /// Last line, counted from one.
        end_line: u64,
        /// Hash of the unit's own content, hex.
        hash: String,
        /// Identity of the container.
        parent: Option<String>,
        /// Whether a part of it could not be parsed.
        opaque: bool,
    }
}

doc! {
    /// Answer of `outline`.
    Outline = "aura.outline/1" {
        /// Path by which ids and language were derived.
        path: String,
        /// Language, when there is a grammar.
        language: Option<String>,
        /// Containers before their members.
        units: Vec<OutlineUnitDoc>,
        /// What could not be understood, `no_grammar`, `too_large` …
        problems: Vec<String>,
    }
}

row! {
    /// One change of one unit between two files.
    UnitChangeDoc {
        /// Identity, hex.
        id: String,
        /// `function`, `method`, `class` …
        kind: String,
        /// Name through all containers, the new one if there is one.
        name: String,
        /// `added`, `removed`, `body`, `signature`, `comment`, `renamed`, `moved`, `whole`.
        change: String,
        /// Name before, of a renamed unit.
        from: Option<String>,
        /// First line in the old file.
        before_line: Option<u64>,
        /// First line in the new file.
        after_line: Option<u64>,
    }
}

doc! {
    /// Answer of `diff --files`.
    DiffFiles = "aura.diff_files/1" {
        /// Path by which ids and language were derived.
        path: String,
        /// In the order of the new file; removed units last.
        changes: Vec<UnitChangeDoc>,
    }
}

doc! {
    /// Answer of `merge`.
    Merged = "aura.merge/1" {
        /// Path by which the language was found.
        path: String,
        /// Whether there was no conflict.
        clean: bool,
        /// `lines` or `units`, of a clean merge.
        level: Option<String>,
        /// Regions in conflict.
        conflicts: u64,
        /// The file written with `-o`.
        output: Option<String>,
        /// The result, without `-o`.
        text: Option<String>,
    }
}

doc! {
    /// Answer of `aura version` and `mothership version`.
    Version = "aura.version/1" {
        /// Version of the program.
        version: String,
        /// Version of the running daemon; null when none answers.
        daemon: Option<String>,
        /// Oldest protocol spoken.
        protocol_min: u16,
        /// Newest protocol spoken.
        protocol_max: u16,
    }
}
