//! The Mothership: admits peers, orders what they write, and tells the others. It cannot read any of it.
//!
//! Methods come in three kinds: [`Hub::handle`] takes one input, [`Hub::poll`] gives the outputs in order (call it
//! until `None` after every `handle`), [`Hub::deadline`] says when a [`Input::Tick`] is wanted. Time must not run
//! backwards.
//!
//! Everything durable goes through one batch at a time: requests queue up while a batch is being synced, the next
//! batch takes all of them (group commit), and state changes only when its records are durable, by the same code
//! that replays them.
//!
//! Invariants:
//! - nothing is acknowledged, granted or fed before its record is durable;
//! - at most one batch is with the disk; what did not fit leaves no trace in the state;
//! - every refusal names its code; no input from outside panics.

mod activity;
mod admission;
mod batch;
mod circuits;
mod feed;
mod io;
mod leases;
mod ledger;
mod links;
mod presence;
mod push;
pub mod record;
mod roll;

use std::collections::{BTreeMap, VecDeque};

use aura_proto::{
    Code, Digest, LogId, PeerId, SignedReach,
    event::Checkpoint,
    limits::{AUTH_MS_MAX, CLOCK_BEHIND_MS_MAX, LOGS_PER_LINK_MAX},
    message::{
        Auth, Heartbeat, Hello, Message, PeerEvent, PeerState, Refusal, VERSION_MAX, VERSION_MIN,
        Welcome, feature,
    },
};
use aura_trust::{proof::Side, verify_auth};
use bytes::Bytes;

pub use admission::{IssueSubject, Issued};
pub use io::{Command, Config, Input, Output};
pub use ledger::{LIVES_MAX, LOGS_MAX, LOGS_PER_AUTHOR_MAX, Ledger, Log};
pub use links::LinkId;
pub use push::{PushedEntry, check_push};
pub use roll::{MadeToken, Member, Roll};

use crate::{Now, relay::Relay};
use batch::{Flight, Pending, Staged, Then};
use links::{Link, Stage};
use record::{Fact, Record, RecordError};

/// Entries fed to one subscriber in one step.
pub const FEED_ENTRIES_MAX: u64 = 256;
/// Entries that one batch takes, so that a commit stays short.
pub const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes of entries that one batch takes.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// Requests that may wait for the disk before newcomers are told to come back.
pub const QUEUE_MAX: usize = 65_536;
/// Bytes of entries that may wait for the disk: eight full batches.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The Mothership's engine.
pub struct Hub {
    config: Config,
    /// Epoch of the record log since this start.
    epoch: u64,
    roll: Roll,
    ledger: Ledger,
    leases: leases::Leases,
    links: BTreeMap<LinkId, Link>,
    by_peer: BTreeMap<PeerId, LinkId>,
    /// When a peer that lost its link counts as offline, on the monotonic clock.
    away_until_ms: BTreeMap<PeerId, u64>,
    checkpoints: BTreeMap<LogId, Checkpoint>,
    admissions: admission::Admissions,
    activity: activity::Activity,
    presence: presence::Presence,
    relay: Relay<LinkId>,
    queue: VecDeque<Pending>,
    queued_bytes: usize,
    flight: Option<Flight>,
    batch_last: u64,
    time_high_ms: u64,
    /// Why nothing is appended: a peer has verified more than we hold.
    fault: Option<Code>,
    outputs: VecDeque<Output>,
}

/// What a removed device is told.
fn said_of_removal(reason: &str) -> String {
    match reason {
        "" => "this device was removed".to_owned(),
        reason => format!("this device was removed: {reason}"),
    }
}

impl Hub {
    /// An empty Mothership; feed it its log with [`Hub::replay`] before the first input.
    pub fn new(config: Config) -> Self {
        Self {
            relay: Relay::new(config.relay, 0),
            config,
            epoch: 0,
            roll: Roll::default(),
            ledger: Ledger::default(),
            leases: leases::Leases::default(),
            links: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            away_until_ms: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            admissions: admission::Admissions::default(),
            activity: activity::Activity::default(),
            presence: presence::Presence::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: None,
            batch_last: 0,
            time_high_ms: 0,
            fault: None,
            outputs: VecDeque::new(),
        }
    }

    /// Applies one durable record of the log, in order.
    pub fn replay(&mut self, lsn: u64, bytes: &Bytes) -> Result<(), ReplayError> {
        let record = Record::decode(bytes).map_err(ReplayError::Record)?;
        self.apply(lsn, &record)
            .map_err(|code| ReplayError::Order { lsn, code })
    }

    /// Begins service after the replay, in an epoch of its own: founds the team at the very first start.
    pub fn start(&mut self, now: Now, epoch: u64) {
        self.epoch = epoch;
        self.time_high_ms = self.time_high_ms.max(1);
        if self.roll.team_name().is_none() {
            let team_name = self.config.team_name.clone();
            let fact = Fact::Founded {
                team_name,
                at_ms: self.clock(now),
            };
            self.queue.push_back(Pending::Fact {
                fact,
                then: Then::Nothing,
            });
        }
        let logs: Vec<LogId> = self.ledger.iter().map(|(log, _)| log).collect();
        for log in logs {
            self.sign_checkpoint(now, log);
        }
        self.leases.start(now);
        self.next_batch(now);
    }

    /// Peers and tokens.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// The logs.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The newest checkpoint of a log.
    pub fn checkpoint(&self, log: LogId) -> Option<&Checkpoint> {
        self.checkpoints.get(&log)
    }

    /// Why nothing is appended, if so.
    pub fn fault(&self) -> Option<Code> {
        self.fault
    }

    /// The address that a member is connected from, and how far it is behind in all its logs.
    pub fn presence(&self, peer: PeerId) -> Option<(&str, u64)> {
        let link = self.links.get(self.by_peer.get(&peer)?)?;
        let lag = link.subscriptions.values().map(|subscription| {
            self.ledger
                .log(subscription.log)
                .map_or(0, Log::seq)
                .saturating_sub(subscription.fed)
        });
        Some((&link.remote, lag.sum()))
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Command { request, command } => self.command(now, request, command),
            Input::Connected {
                link,
                peer,
                exporter,
                remote,
            } => {
                let stage = Stage::Hello { peer };
                let deadline_ms = now.mono_ms + AUTH_MS_MAX;
                self.links
                    .insert(link, Link::new(stage, exporter, remote, deadline_ms));
            }
            Input::Disconnected { link } => self.disconnected(now, link),
            Input::Drained { link } => {
                if let Some(state) = self.links.get_mut(&link) {
                    for subscription in state.subscriptions.values_mut() {
                        subscription.is_full = false;
                    }
                    self.feed_link(link);
                }
            }
            Input::Enrolling {
                link,
                exporter,
                remote,
            } => {
                let deadline_ms = now.mono_ms + AUTH_MS_MAX;
                let state = Link::new(Stage::Enrolling, exporter, remote, deadline_ms);
                self.links.insert(link, state);
            }
            Input::Fed {
                link,
                stream,
                log,
                up_to,
                has_room,
            } => self.fed(link, (stream, log), up_to, has_room),
            Input::Issued { ticket, issued } => self.issued(now, ticket, issued),
            Input::Stored {
                batch,
                first_lsn,
                count,
            } => self.stored(now, batch, first_lsn, count),
            Input::Pushed {
                link,
                stream,
                log,
                entries,
            } => {
                self.pushed(now, link, stream, log, entries);
            }
            Input::Received {
                link,
                stream,
                message,
            } => self.received(now, link, stream, message),
            Input::StreamReset { link, stream } => self.relay.stream_gone(link, stream),
            Input::Tick => self.tick(now),
        }
        self.next_batch(now);
        self.tell_due(now);
        self.tell_edits_due(now);
        self.pass_on();
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a tick is wanted, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        let links = self.links.values().map(|link| link.deadline_ms);
        links
            .chain(self.away_until_ms.values().copied())
            .chain(self.presence.deadline())
            .chain(self.activity.deadline())
            .chain(self.relay.deadline())
            .chain(self.leases.deadline())
            .filter(|at| *at < u64::MAX)
            .min()
    }

    fn received(&mut self, now: Now, link: LinkId, stream: u32, message: Message) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        match (&state.stage, message) {
            (_, Message::Error(_)) => {}
            (Stage::Enrolling, Message::JoinRequest(request)) => self.join(now, link, request),
            (Stage::Enrolling, Message::RenewRequest(request)) => self.renew(now, link, request),
            (Stage::Hello { peer }, Message::Hello(hello)) => {
                let peer = *peer;
                self.hello(link, peer, &hello);
            }
            (Stage::Auth { peer }, Message::Auth(auth)) => {
                let peer = *peer;
                self.auth(now, link, peer, auth);
            }
            (Stage::Ready { peer }, message) => {
                let peer = *peer;
                state.deadline_ms = now.mono_ms + 3 * self.config.heartbeat_ms;
                self.serve(now, link, stream, peer, message);
            }
            (Stage::Auth { .. } | Stage::Enrolling | Stage::Hello { .. }, _) => {
                self.close(
                    link,
                    Code::PROTOCOL,
                    "this frame is not served at this stage",
                );
            }
        }
    }

    fn hello(&mut self, link: LinkId, peer: PeerId, hello: &Hello) {
        if hello.version_max < VERSION_MIN || VERSION_MAX < hello.version_min {
            let detail = format!("this mothership speaks protocol {VERSION_MIN} to {VERSION_MAX}");
            return self.close(link, Code::VERSION, &detail);
        }
        let ours = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::ALL,
            agent: concat!("mothership/", env!("CARGO_PKG_VERSION")).to_owned(),
            revocation_epoch: self.roll.revocations(),
        };
        if let Some(state) = self.links.get_mut(&link) {
            state.features = hello.features & feature::ALL;
            state.stage = Stage::Auth { peer };
        }
        self.send(link, 0, Message::Hello(ours));
    }

    // spec: session/2.2
    fn auth(&mut self, now: Now, link: LinkId, peer: PeerId, auth: Auth) {
        let Some(state) = self.links.get(&link) else {
            return;
        };
        let proven = auth.peer == peer
            && verify_auth(peer, &state.exporter, Side::Dialler, &auth.signature).is_ok();
        if !proven {
            return self.close(
                link,
                Code::POP_FAILED,
                "the proof of the identity key failed",
            );
        }
        match self.roll.member(peer) {
            None => return self.close(link, Code::UNKNOWN_PEER, "not a member of this team"),
            Some(Member {
                revoked: Some(reason),
                ..
            }) => {
                let detail = said_of_removal(reason);
                return self.close(link, Code::REVOKED, &detail);
            }
            Some(_) => {}
        }
        self.leases.seen(now, peer, true);
        if let Some(older) = self.by_peer.insert(peer, link)
            && older != link
        {
            self.close(
                older,
                Code::SUPERSEDED,
                "a newer link of this device took over",
            );
        }
        self.welcome(now, link, peer, auth.reach);
    }

    fn welcome(&mut self, now: Now, link: LinkId, peer: PeerId, reach: Option<SignedReach>) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.stage = Stage::Ready { peer };
        state.deadline_ms = now.mono_ms + 3 * self.config.heartbeat_ms;
        let welcome = Welcome {
            version: VERSION_MAX,
            features: state.features,
            team: self.config.team,
            team_name: self.roll.team_name().unwrap_or_default().to_owned(),
            time_ms: now.wall_ms,
            seen_as: state.remote.clone(),
            heartbeat_ms: self.config.heartbeat_ms,
        };
        self.send(link, 0, Message::Welcome(welcome));
        self.away_until_ms.remove(&peer);
        let came = self.set_state(now, peer, PeerState::Online);
        if let Some(said) = reach {
            self.set_reach(now, peer, said);
        }
        self.introduce(link);
        if let Some(name) = came {
            self.notice("online", name, "connected");
        }
    }

    fn serve(&mut self, now: Now, link: LinkId, stream: u32, peer: PeerId, message: Message) {
        if let Some(member) = self.roll.member_mut(peer) {
            member.last_seen_ms = now.wall_ms;
        }
        match message {
            Message::Heartbeat(heartbeat) => self.heartbeat(link, &heartbeat),
            Message::PeerQuery(query) => self.peer_query(link, &query),
            Message::Reach(said) => {
                for said in said.into_iter().take(1) {
                    self.set_reach(now, peer, said);
                }
            }
            Message::RelayClose(_)
            | Message::RelayCredit(_)
            | Message::RelayData(_)
            | Message::RelayOpen(_) => self.relay(now, link, stream, peer, message),
            Message::RenewRequest(request) => self.renew(now, link, request),
            Message::Subscribe(subscribe) => self.subscribe(now, link, stream, &subscribe),
            Message::Activity(words) => self.hear_what_is_edited(now, (link, peer), &words),
            // The Mothership has the log for what it is to carry.
            Message::Routed(_) => {
                let detail = "messages are routed between devices";
                self.refuse(link, stream, Code::UNSUPPORTED, detail);
            }
            Message::Unserved(kind) => {
                let detail = format!("frame type {:#04x} is not served by this build", kind.0);
                self.refuse(link, stream, Code::UNSUPPORTED, &detail);
            }
            Message::HeartbeatAck(_) | Message::Error(_) => {}
            Message::Auth(_)
            | Message::Event(_)
            | Message::Head(_)
            | Message::Hello(_)
            | Message::JoinGrant(_)
            | Message::JoinRequest(_)
            | Message::Peer(_)
            | Message::Prune(_)
            | Message::Push(_)
            | Message::PushAck(_)
            | Message::RenewGrant(_)
            | Message::Welcome(_) => {
                self.close(
                    link,
                    Code::PROTOCOL,
                    "this frame is not served at this stage",
                );
            }
        }
    }

    fn is_ready(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|state| state.ready().is_some())
    }

    fn heartbeat(&mut self, link: LinkId, heartbeat: &Heartbeat) {
        let asked = heartbeat.heads.iter().take(LOGS_PER_LINK_MAX);
        let head = |(id, ..): &(LogId, u64, u64, Digest)| {
            let log = self.ledger.log(*id)?;
            Some((*id, self.epoch, log.seq(), log.hash()))
        };
        let heads = asked.filter_map(head).collect();
        let ack = Heartbeat {
            nonce: heartbeat.nonce,
            heads,
        };
        self.send(link, 0, Message::HeartbeatAck(ack));
    }

    /// The one place where durable records change state.
    // spec: log/3.3
    fn apply(&mut self, lsn: u64, record: &Record) -> Result<(), Code> {
        match record {
            Record::Entry {
                seq,
                time_ms,
                entry,
            } => {
                self.time_high_ms = self.time_high_ms.max(*time_ms);
                self.ledger.apply(lsn, *seq, *time_ms, entry)?;
                self.leases.place(self.config.key.peer(), *seq, entry);
                Ok(())
            }
            Record::Fact(fact) => {
                self.time_high_ms = self.time_high_ms.max(fact.at_ms());
                self.roll.apply(fact);
                Ok(())
            }
        }
    }

    fn sign_checkpoint(&mut self, now: Now, log: LogId) {
        let Some(state) = self.ledger.log(log) else {
            return;
        };
        let (seq, hash, time_ms) = (state.seq(), state.hash(), self.clock(now));
        let (key, epoch) = (&self.config.key, self.epoch);
        let checkpoint = aura_trust::sign_checkpoint(key, log, epoch, seq, time_ms, hash);
        self.checkpoints.insert(log, checkpoint);
    }

    fn command(&mut self, now: Now, request: u64, command: Command) {
        let at_ms = self.clock(now);
        let fact = match command {
            Command::MakeToken {
                jti,
                name,
                role,
                uses,
                expires_s,
            } => Ok(Fact::TokenMade {
                jti,
                name,
                role,
                uses,
                expires_s,
                at_ms,
            }),
            Command::Revoke { peer, reason } => match self.roll.member(peer) {
                Some(member) if member.revoked.is_none() => Ok(Fact::Revoked {
                    peer,
                    reason,
                    at_ms,
                }),
                Some(_) | None => Err(Code::UNKNOWN_PEER),
            },
            Command::RevokeToken { jti } => Ok(Fact::TokenRevoked { jti, at_ms }),
        };
        match fact {
            Ok(fact) => {
                self.queue.push_back(Pending::Fact {
                    fact,
                    then: Then::Answer(request),
                });
            }
            Err(code) => {
                self.outputs.push_back(Output::Answer {
                    request,
                    result: Err(code),
                });
            }
        }
    }

    /// What follows from a durable fact.
    fn established(&mut self, now: Now, fact: Fact, then: Then) {
        self.admissions.release(&fact);
        // Whoever asked hears of it last: a removed device is out when its removal is answered.
        match &fact {
            Fact::Joined { member, .. } => {
                if let Some(card) = self.roll.member(member.peer).map(Member::card) {
                    self.notice("joined", &member.name, member.role.as_str());
                    self.broadcast(PeerEvent::Added(card));
                }
            }
            Fact::Revoked { peer, reason, .. } => self.removed(now, *peer, reason.clone()),
            Fact::Founded { .. }
            | Fact::Renewed { .. }
            | Fact::TokenMade { .. }
            | Fact::TokenRevoked { .. } => {}
        }
        match then {
            Then::Answer(request) => {
                self.outputs.push_back(Output::Answer {
                    request,
                    result: Ok(()),
                });
            }
            Then::GrantJoin(link) => self.grant_join(link, &fact),
            Then::GrantRenewal(link) => self.grant_renewal(link, &fact),
            Then::Nothing => {}
        }
    }

    fn removed(&mut self, now: Now, peer: PeerId, reason: String) {
        if let Some(link) = self.by_peer.get(&peer).copied() {
            self.close(link, Code::REVOKED, &said_of_removal(&reason));
        }
        self.leases.removed(now, peer);
        self.activity.forget(peer);
        let name = self
            .roll
            .member(peer)
            .map_or_else(|| peer.short(), |m| m.admitted.name.clone());
        self.notice("revoked", name, &reason);
        self.broadcast(PeerEvent::Gone { peer, reason });
    }

    fn tick(&mut self, now: Now) {
        let late: Vec<(LinkId, bool)> = self
            .links
            .iter()
            .filter(|(_, link)| link.deadline_ms <= now.mono_ms)
            .map(|(id, link)| (*id, link.ready().is_some()))
            .collect();
        for (link, was_ready) in late {
            let detail = if was_ready {
                "no heartbeat"
            } else {
                "not authenticated in time"
            };
            self.close(link, Code::TIMEOUT, detail);
        }
        self.age_out(now);
        self.relay.tick(now);
        self.end_zones(now);
    }

    /// Turns `away` into `offline` after the window.
    fn age_out(&mut self, now: Now) {
        let is_over = |_: &PeerId, until_ms: &mut u64| *until_ms <= now.mono_ms;
        let gone: Vec<PeerId> = self
            .away_until_ms
            .extract_if(.., is_over)
            .map(|(peer, _)| peer)
            .collect();
        for peer in gone {
            self.set_state(now, peer, PeerState::Offline);
        }
    }

    fn disconnected(&mut self, now: Now, link: LinkId) {
        let Some(state) = self.links.remove(&link) else {
            return;
        };
        self.presence.forget(link);
        self.relay.gone(link);
        let Some(peer) = state.ready() else { return };
        if self.by_peer.get(&peer) == Some(&link) {
            self.by_peer.remove(&peer);
            self.leases.seen(now, peer, false);
            self.away_until_ms
                .insert(peer, now.mono_ms + self.config.offline_after_ms);
            if let Some(name) = self.set_state(now, peer, PeerState::Away) {
                self.notice("away", name, "disconnected");
            }
        }
    }

    fn send(&mut self, link: LinkId, stream: u32, message: Message) {
        self.outputs.push_back(Output::Send {
            link,
            stream,
            message,
        });
    }

    fn refuse(&mut self, link: LinkId, stream: u32, code: Code, detail: &str) {
        let refusal = Refusal {
            code,
            detail: detail.to_owned(),
        };
        self.send(link, stream, Message::Error(refusal));
    }

    fn close(&mut self, link: LinkId, code: Code, detail: &str) {
        if let Some(state) = self.links.get_mut(&link) {
            // The shell reports the end of the link; until then nothing more is expected of it.
            state.deadline_ms = u64::MAX;
            state.is_closing = true;
            self.outputs.push_back(Output::Close {
                link,
                code,
                detail: detail.to_owned(),
            });
        }
    }

    fn notice(&mut self, kind: &'static str, who: impl Into<String>, text: &str) {
        self.outputs.push_back(Output::Notice {
            kind,
            who: who.into(),
            text: text.to_owned(),
        });
    }

    /// The wall clock, never behind what is already in the log.
    fn clock(&self, now: Now) -> u64 {
        now.wall_ms.max(self.time_high_ms)
    }

    // spec: identity/4.2
    fn is_clock_behind(&self, now: Now) -> bool {
        now.wall_ms + CLOCK_BEHIND_MS_MAX < self.time_high_ms
    }
}

/// Why a stored record cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The record contradicts those before it.
    #[error("record {lsn} does not follow from the ones before it: {code}")]
    Order {
        /// Which record.
        lsn: u64,
        /// What is wrong.
        code: Code,
    },
    /// The record does not decode.
    #[error("cannot read a record")]
    Record(#[source] RecordError),
}
