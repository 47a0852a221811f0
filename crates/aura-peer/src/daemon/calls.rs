//! What faces ask, answered.
//!
//! Invariant: a call that changes something is answered when the change is durable, here or there as it says.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
};

use aura_api::{Call, Choice, Exit, Failure, Next, Reply, Request, docs};
use aura_engine::peer::{control::Control, units::Recorded};
use aura_proto::{
    Code, PeerId,
    limits::TOKEN_TTL_S_MAX,
    message::{PeerCard, PeerState, Role},
};
use aura_tree::Repo;
use aura_trust::{
    CertIdentity, InviteSeed, JoinClaims, Token, make_join_jwt, seal_ring_for_invite, words,
};
use serde::Serialize;
use serde_json::Value;

use super::{Daemon, Until, Waiting};
use crate::{
    clock::{random, rfc3339},
    desk::{
        Mode, git_failure,
        publish::Intent,
        take::{Taken, Wanted, names},
    },
    docs as shape, enrol,
};

type Answer = Result<Value, Failure>;

/// Operations that `log` shows unless told otherwise.
const LOG_OPS_MAX: usize = 1_000;

/// Which operations `log` shows.
struct Listed {
    symbol: Option<String>,
    actor: Option<String>,
    since_ms: u64,
    limit: usize,
}

impl Daemon {
    pub(super) fn call(&mut self, request: Request, reply: &mpsc::Sender<Reply>) {
        let repo = request.repo.as_deref();
        let answer = match request.call {
            Call::Join {
                token,
                name,
                mode,
                dry_run,
            } => match self.join(repo, token, name, mode, dry_run, reply) {
                Ok(None) => return,
                Ok(Some(document)) => Ok(document),
                Err(failure) => Err(failure),
            },
            Call::Publish {
                why,
                symbols,
                no_wait,
            } => match self.publish(repo, &Intent { why, symbols }, no_wait, reply) {
                Ok(None) => return,
                Ok(Some(document)) => Ok(document),
                Err(failure) => Err(failure),
            },
            Call::Wait { wanted, timeout_ms } => {
                match self.wait(repo, &wanted, timeout_ms, reply) {
                    Ok(()) => return,
                    Err(failure) => Err(failure),
                }
            }
            Call::Watch { since } => return self.subscribe(since, reply),
            Call::Approve { names, all } => self.approve_call(names, all),
            Call::ConfigGet { key } => self.config(key.as_deref()),
            Call::ConfigSet { key, value } => self.config_set(&key, value),
            Call::Conflicts { id } => self.conflicts(repo, id.as_deref()),
            Call::Diff { symbols } => self.diff(repo, &symbols),
            Call::Down => {
                self.is_stopping = true;
                document(&docs::Down {
                    schema: docs::Down::SCHEMA.to_owned(),
                    was_running: true,
                })
            }
            Call::Hello => self.hello(),
            Call::Invite {
                name,
                role,
                uses,
                ttl_s,
            } => self.invite(name, &role, uses, ttl_s),
            Call::Log {
                symbol,
                actor,
                since_ms,
                limit,
            } => {
                let listed = Listed {
                    symbol,
                    actor,
                    since_ms: since_ms.unwrap_or(u64::MAX),
                    limit: limit.unwrap_or(LOG_OPS_MAX),
                };
                self.log(repo, &listed)
            }
            Call::Members => self.members(Vec::new()),
            Call::Mode { set } => self.mode(repo, set.as_deref()),
            Call::Peers => self.peer_list(),
            Call::Pull {
                symbols,
                from,
                dry_run,
            } => self.pull(repo, symbols, from, dry_run),
            Call::Resolve { ids, choice } => self.resolve(repo, &ids, &choice),
            Call::Status => self.status(repo),
            Call::Undo { op } => self.undo(repo, op.as_deref()),
            Call::Whoami => self.whoami(),
        };
        let reply_line = match answer {
            Ok(document) => Reply::Done(document),
            Err(failure) => Reply::Failed(failure),
        };
        // A face that hung up needs no answer.
        reply.send(reply_line).ok();
    }

    fn join(
        &mut self,
        repo: Option<&str>,
        token: Option<String>,
        name: Option<String>,
        mode: Option<String>,
        dry_run: bool,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<Value>, Failure> {
        let start = repo.unwrap_or(".");
        let repo =
            Repo::discover(std::path::Path::new(start)).map_err(|error| git_failure(&error))?;
        let mode = match mode {
            None => Mode::Observe,
            Some(word) => Mode::from_word(&word)
                .ok_or_else(|| Failure::new("AE-USAGE", Exit::USAGE, format!("no mode {word}")))?,
        };
        let progress = |step: &str, done, total, text: String| {
            reply
                .send(Reply::Progress {
                    step: step.to_owned(),
                    done,
                    total,
                    text,
                })
                .ok();
        };
        if self.identity.enrolment.is_none() {
            self.enrol(token, name, dry_run, &progress)?;
            if dry_run {
                return Ok(Some(Value::Null));
            }
        }
        self.enter_team()?;
        let begun = self.clock.mono_ms();
        let path = repo.work_tree().to_owned();
        if self.desks.contains_key(&path) {
            self.set_mode(&path, mode)?;
        } else {
            self.open_desk(repo, mode, &mut |done, total| {
                progress("index", done, total, format!("{done} of {total} files"));
            })?;
        }
        let index_ms = self.clock.mono_ms() - begun;
        let now = self.clock.mono_ms();
        let for_answer = path.clone();
        self.waiting.push(Waiting {
            until: Until::Joined,
            repo: Some(path),
            deadline_ms: now + 30_000,
            reply: reply.clone(),
            answer: Box::new(move |daemon, holds| {
                if !holds {
                    return Reply::Failed(daemon.unreachable());
                }
                reply_of(daemon.joined(&for_answer, index_ms))
            }),
        });
        Ok(None)
    }

    fn enrol(
        &mut self,
        token: Option<String>,
        name: Option<String>,
        dry_run: bool,
        progress: &dyn Fn(&str, u64, u64, String),
    ) -> Result<(), Failure> {
        let Some(token) = token else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this device is on no team",
            )
            .next(
                "aura join TOKEN",
                "paste the line that the mothership printed",
            ));
        };
        let token = Token::parse(&token).map_err(|_| enrol::shape())?;
        progress("enrol", 1, 3, "token reads well".to_owned());
        if dry_run {
            return Ok(());
        }
        let name = name.unwrap_or_default();
        let enrolment =
            self.runtime
                .block_on(enrol::join(&self.identity, &token, &name, self.clock))?;
        progress("enrol", 2, 3, "certificate received".to_owned());
        if let Some(sealed) = &token.sealed_ring {
            let ring = aura_trust::open_ring_from_invite(sealed, &token.seed).map_err(|error| {
                Failure::new("AE-TOKEN-SHAPE", Exit::REFUSED, error.to_string())
            })?;
            for key in ring.iter() {
                self.identity.ring.insert(key.duplicate()).ok();
            }
            self.identity.save_ring()?;
        }
        self.identity.save_enrolment(enrolment)?;
        progress("enrol", 3, 3, "this device is a member".to_owned());
        Ok(())
    }

    fn joined(&self, path: &PathBuf, index_ms: u64) -> Answer {
        let (Some(enrolment), Some(desk)) = (&self.identity.enrolment, self.desks.get(path)) else {
            return Err(Failure::new(
                "AE-INTERNAL",
                Exit::BUG,
                "joined without a team",
            ));
        };
        let me = self.identity.key.peer();
        let reads = !self.identity.ring.is_empty();
        let online = self
            .peers
            .values()
            .filter(|card| card.peer != me && card.state == PeerState::Online);
        let next = if reads {
            Next {
                cmd: "aura status".to_owned(),
                why: "who is here and what waits".to_owned(),
            }
        } else {
            Next {
                cmd: format!("aura members approve {}", enrolment.name),
                why: "a member runs this after comparing the device words".to_owned(),
            }
        };
        document(&docs::Joined {
            schema: docs::Joined::SCHEMA.to_owned(),
            team: enrolment.team_name.clone(),
            team_id: enrolment.team.to_string(),
            name: enrolment.name.clone(),
            peer: me.to_string(),
            role: enrolment.role.as_str().to_owned(),
            state: if reads {
                "joined"
            } else {
                "waiting_for_approval"
            }
            .to_owned(),
            ca_words: words(&enrolment.ca_hash, 4),
            device_words: words(&me.0, 6),
            mode: desk.mode.as_str().to_owned(),
            files: desk.files.len() as u64,
            units: desk.unit_count(),
            index_ms,
            online: online.map(|card| card.name.clone()).collect(),
            next: vec![next],
        })
    }

    fn unreachable(&self) -> Failure {
        let (code, detail) = self
            .down_why
            .clone()
            .unwrap_or((None, "no answer yet".to_owned()));
        match code {
            Some(code @ (Code::REVOKED | Code::UNKNOWN_PEER)) => enrol::refused(code, &detail),
            _ => {
                let message = format!("cannot reach the mothership: {detail}");
                Failure::new("AE-UNREACHABLE", Exit::UNREACHABLE, message)
                    .next("aura status", "see which address was tried")
                    .retryable()
            }
        }
    }

    fn publish(
        &mut self,
        repo: Option<&str>,
        intent: &Intent,
        no_wait: bool,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<Value>, Failure> {
        let path = self.repo_of(repo)?;
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let count = self.with_desk(&path, |desk, ring| {
            let changed = desk.changed_files()?;
            desk.publish(&changed, intent, ring)
        })?;
        let is_up = self.control.as_ref().is_some_and(Control::is_up);
        let is_idle = self
            .desks
            .get(&path)
            .is_none_or(|desk| desk.book.replica.queued() == 0);
        if no_wait || !is_up || (count == 0 && is_idle) {
            return self.published(&path, first, count).map(Some);
        }
        let now = self.clock.mono_ms();
        let for_answer = path.clone();
        self.waiting.push(Waiting {
            until: Until::Acknowledged,
            repo: Some(path),
            deadline_ms: now + 30_000,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| {
                reply_of(daemon.published(&for_answer, first, count))
            }),
        });
        Ok(None)
    }

    fn published(&self, path: &PathBuf, first: usize, count: usize) -> Answer {
        let Some(desk) = self.desks.get(path) else {
            return Ok(Value::Null);
        };
        let me = self.identity.key.peer();
        let mine: Vec<_> = desk.units.recorded()[first..]
            .iter()
            .filter(|recorded| recorded.origin.writer.peer == me)
            .collect();
        let seq = mine.last().and_then(|recorded| recorded.origin.seq);
        let state = match (count, desk.book.replica.queued()) {
            (0, 0) => "nothing",
            (_, 0) => "published",
            _ => "queued",
        };
        document(&docs::Published {
            schema: docs::Published::SCHEMA.to_owned(),
            ops: mine
                .iter()
                .flat_map(|recorded| shape::ops(recorded, &self.peers))
                .collect(),
            seq,
            state: state.to_owned(),
            held_back: held_back(desk),
        })
    }

    fn wait(
        &mut self,
        repo: Option<&str>,
        wanted: &str,
        timeout_ms: u64,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        let until = match wanted {
            "up" => Until::Up,
            "synced" | "quiet" => Until::Synced,
            other => match other.strip_prefix("peer:") {
                Some(name) => Until::Peer(name.to_owned()),
                None => {
                    let message = format!("cannot wait for {other}");
                    return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                        .next("aura wait --for synced", "up, synced, quiet or peer:NAME"));
                }
            },
        };
        let repo = self.repo_of(repo).ok();
        let now = self.clock.mono_ms();
        let wanted = wanted.to_owned();
        self.waiting.push(Waiting {
            until,
            repo,
            deadline_ms: now + timeout_ms,
            reply: reply.clone(),
            answer: Box::new(move |daemon, holds| {
                if !holds {
                    let message = format!("{wanted} did not come in time");
                    let failure = Failure::new("AE-TIMEOUT", Exit::TIMEOUT, message);
                    return Reply::Failed(
                        failure
                            .next("aura status", "see what is missing")
                            .retryable(),
                    );
                }
                reply_of(document(&docs::Waited {
                    schema: docs::Waited::SCHEMA.to_owned(),
                    wanted,
                    waited_ms: daemon.clock.mono_ms() - now,
                }))
            }),
        });
        Ok(())
    }

    fn pull(
        &mut self,
        repo: Option<&str>,
        symbols: Vec<String>,
        from: Option<String>,
        is_dry_run: bool,
    ) -> Answer {
        let path = self.repo_of(repo)?;
        let from = match from {
            None => None,
            Some(name) => Some(self.peer_named(&name)?),
        };
        let wanted = Wanted {
            symbols,
            from,
            is_dry_run,
        };
        let (taken, op) = self.with_desk(&path, |desk, ring| Ok(desk.pull(&wanted, ring)))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let mut units = Vec::new();
        for (index, taken) in &taken {
            let recorded = &desk.units.recorded()[*index];
            let (outcome, why) = match taken {
                Taken::Applied => ("applied", None),
                Taken::Known => ("known", None),
                Taken::WouldApply => ("would_apply", None),
                Taken::Waiting(why) if why.starts_with("CONFLICT") => {
                    ("conflict", Some(why.clone()))
                }
                Taken::Waiting(why) => ("waiting", Some(why.clone())),
            };
            for (_, name, ..) in &recorded.touched {
                units.push(docs::PulledDoc {
                    symbol: format!("{}::{name}", recorded.path),
                    path: recorded.path.to_string(),
                    from: shape::name_of(&self.peers, recorded.origin.writer.peer),
                    outcome: outcome.to_owned(),
                    why: why.clone(),
                });
            }
        }
        let applied = units
            .iter()
            .filter(|unit| unit.outcome == "applied")
            .count() as u64;
        document(&docs::Pulled {
            schema: docs::Pulled::SCHEMA.to_owned(),
            units,
            applied,
            op,
        })
    }

    fn log(&self, repo: Option<&str>, wanted: &Listed) -> Answer {
        let path = self.repo_of(repo)?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let actor = match &wanted.actor {
            Some(name) => Some(self.peer_named(name)?),
            None => None,
        };
        let oldest_ms = self.clock.wall_ms().saturating_sub(wanted.since_ms);
        let is_wanted = |recorded: &&Recorded| {
            let (author, time_ms) = (recorded.origin.writer.peer, recorded.origin.time_ms);
            actor.is_none_or(|actor| actor == author) && oldest_ms <= time_ms
        };
        let named = |(path, op): &(Arc<str>, docs::OpDoc)| {
            let name = op
                .symbol
                .strip_prefix(&format!("{path}::"))
                .unwrap_or(&op.symbol);
            wanted
                .symbol
                .as_ref()
                .is_none_or(|symbol| names(path, name, symbol))
        };
        let recorded = desk.units.recorded().iter().rev().filter(is_wanted);
        let ops = recorded
            .flat_map(|recorded| {
                let ops = shape::ops(recorded, &self.peers).into_iter();
                ops.map(|op| (Arc::clone(&recorded.path), op))
            })
            .filter(named)
            .map(|(_, op)| op)
            .take(wanted.limit)
            .collect();
        document(&docs::Log {
            schema: docs::Log::SCHEMA.to_owned(),
            ops,
        })
    }

    fn peer_named(&self, name: &str) -> Result<PeerId, Failure> {
        let mut cards = self.peers.values();
        let found = cards.find(|card| card.name == name);
        found.map(|card| card.peer).ok_or_else(|| no_peer(name))
    }

    fn conflicts(&self, repo: Option<&str>, id: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let conflicts: Vec<docs::ConflictDoc> = desk
            .conflicts(&self.identity.ring)
            .iter()
            .filter(|conflict| id.is_none_or(|id| conflict.id.starts_with(id)))
            .map(|conflict| shape::conflict(desk, conflict, &self.peers, true))
            .collect();
        if let (Some(id), []) = (id, &conflicts[..]) {
            return Err(no_conflict(id));
        }
        document(&docs::Conflicts {
            schema: docs::Conflicts::SCHEMA.to_owned(),
            conflicts,
        })
    }

    fn resolve(&mut self, repo: Option<&str>, ids: &[String], choice: &Choice) -> Answer {
        let path = self.repo_of(repo)?;
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let resolved = self.with_desk(&path, |desk, ring| {
            let mut count = 0;
            for id in ids {
                let found = desk
                    .conflicts(ring)
                    .into_iter()
                    .find(|c| c.id.starts_with(id.as_str()));
                let conflict = found.ok_or_else(|| no_conflict(id))?;
                desk.resolve(&conflict, choice, ring)?;
                count += 1;
            }
            Ok(count)
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let new = &desk.units.recorded()[first..];
        let ops: Vec<docs::OpDoc> = new
            .iter()
            .flat_map(|recorded| shape::ops(recorded, &self.peers))
            .collect();
        let next = ops
            .last()
            .map(|op| Next {
                cmd: format!("aura undo {}", op.op),
                why: "takes it back".to_owned(),
            })
            .into_iter()
            .collect();
        document(&docs::Resolved {
            schema: docs::Resolved::SCHEMA.to_owned(),
            ops,
            resolved,
            next,
        })
    }

    fn undo(&mut self, repo: Option<&str>, op: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let (op, symbols) = self.with_desk(&path, |desk, ring| match op {
            Some(pull) if pull.starts_with("p-") => Ok((pull.to_owned(), desk.undo_pull(pull)?)),
            op => desk.undo(op, ring),
        })?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let new = &desk.units.recorded()[first..];
        let ops = new
            .iter()
            .flat_map(|recorded| shape::ops(recorded, &self.peers))
            .collect();
        document(&docs::Undone {
            schema: docs::Undone::SCHEMA.to_owned(),
            op,
            symbols,
            ops,
        })
    }

    fn diff(&mut self, repo: Option<&str>, symbols: &[String]) -> Answer {
        let path = self.repo_of(repo)?;
        let wanted = Wanted {
            symbols: symbols.to_vec(),
            is_dry_run: true,
            ..Wanted::default()
        };
        let taken = self.with_desk(&path, |desk, ring| Ok(desk.take_waiting(&wanted, ring)))?;
        let Some(desk) = self.desks.get(&path) else {
            return Ok(Value::Null);
        };
        let mut units = Vec::new();
        for index in taken.keys() {
            let recorded = &desk.units.recorded()[*index];
            for (_, name, ..) in &recorded.touched {
                units.push(docs::DiffDoc {
                    symbol: format!("{}::{name}", recorded.path),
                    path: recorded.path.to_string(),
                    state: "incoming".to_owned(),
                    mine: None,
                    team: None,
                });
            }
        }
        document(&docs::Diff {
            schema: docs::Diff::SCHEMA.to_owned(),
            units,
        })
    }

    fn mode(&mut self, repo: Option<&str>, set: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        if let Some(word) = set {
            let mode = Mode::from_word(word).ok_or_else(|| {
                Failure::new("AE-USAGE", Exit::USAGE, format!("there is no mode {word}"))
                    .next("aura mode live", "observe, ask or live")
            })?;
            self.set_mode(&path, mode)?;
        }
        let mode = self
            .desks
            .get(&path)
            .map_or(Mode::Observe, |desk| desk.mode);
        document(&docs::Mode {
            schema: docs::Mode::SCHEMA.to_owned(),
            mode: mode.as_str().to_owned(),
            means: mode.means().to_owned(),
        })
    }

    fn hello(&self) -> Answer {
        document(&docs::Hello {
            schema: docs::Hello::SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            home: self.home.display().to_string(),
            repos: self
                .desks
                .keys()
                .map(|path| path.display().to_string())
                .collect(),
        })
    }

    fn whoami(&self) -> Answer {
        let enrolment = self.identity.enrolment.as_ref();
        let me = self.identity.key.peer();
        let certificate = enrolment.and_then(|e| CertIdentity::from_der(&e.certificate).ok());
        document(&docs::Whoami {
            schema: docs::Whoami::SCHEMA.to_owned(),
            name: enrolment.map(|e| e.name.clone()),
            peer: Some(me.to_string()),
            device_words: Some(words(&me.0, 6)),
            team: enrolment.map(|e| e.team_name.clone()),
            team_id: enrolment.map(|e| e.team.to_string()),
            role: enrolment.map(|e| e.role.as_str().to_owned()),
            ca_words: enrolment.map(|e| words(&e.ca_hash, 4)),
            certificate_until: certificate.map(|c| rfc3339(c.not_after_s * 1_000)),
            reads: !self.identity.ring.is_empty(),
        })
    }

    fn peer_list(&self) -> Answer {
        document(&docs::Peers {
            schema: docs::Peers::SCHEMA.to_owned(),
            peers: self.peer_rows(),
        })
    }

    fn peer_rows(&self) -> Vec<docs::PeerDoc> {
        let me = self.identity.key.peer();
        let mut rows: Vec<docs::PeerDoc> = self
            .peers
            .values()
            .map(|card| shape::peer(card, me, self.reads(card)))
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn reads(&self, card: &PeerCard) -> bool {
        if card.peer == self.identity.key.peer() {
            return !self.identity.ring.is_empty();
        }
        self.team
            .as_ref()
            .is_some_and(|team| team.roster.is_active(card.peer))
    }

    /// Devices that the Mothership admitted and no member has approved yet.
    pub(super) fn waiting_for_approval(&self) -> Vec<PeerCard> {
        let Some(team) = &self.team else {
            return Vec::new();
        };
        let waits =
            |card: &&PeerCard| card.role != Role::Relay && !team.roster.is_active(card.peer);
        self.peers.values().filter(waits).cloned().collect()
    }

    pub(super) fn approve(&mut self, names: &[String]) -> Result<Vec<String>, Failure> {
        let mut approved = Vec::new();
        for name in names {
            let card = self
                .peers
                .values()
                .find(|card| card.name == *name)
                .cloned()
                .ok_or_else(|| no_peer(name))?;
            if let Some(team) = &mut self.team {
                team.approve(&card, &mut self.identity)?;
                approved.push(card.name);
            }
        }
        self.flush();
        Ok(approved)
    }

    fn approve_call(&mut self, names: Vec<String>, all: bool) -> Answer {
        let names = if all {
            self.waiting_for_approval()
                .into_iter()
                .map(|card| card.name)
                .collect()
        } else {
            names
        };
        let approved = self.approve(&names)?;
        self.members(approved)
    }

    fn members(&self, approved: Vec<String>) -> Answer {
        let row = |card: &PeerCard| docs::MemberDoc {
            name: card.name.clone(),
            peer: card.peer.to_string(),
            role: card.role.as_str().to_owned(),
            state: if self.reads(card) || approved.contains(&card.name) {
                "reads"
            } else {
                "waiting"
            }
            .to_owned(),
            device_words: words(&card.peer.0, 6),
        };
        let mut members: Vec<docs::MemberDoc> = self.peers.values().map(row).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        document(&docs::Members {
            schema: docs::Members::SCHEMA.to_owned(),
            members,
            approved,
        })
    }

    fn invite(&self, name: Option<String>, role: &str, uses: u32, ttl_s: u64) -> Answer {
        let usage = |why: &str| Failure::new("AE-USAGE", Exit::USAGE, why.to_owned());
        let Some(enrolment) = &self.identity.enrolment else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this device is on no team",
            ));
        };
        if enrolment.role != Role::Admin {
            let message = "only admins invite from their own device";
            return Err(Failure::new("FORBIDDEN", Exit::REFUSED, message).next(
                "mothership invite",
                "on the box; a member approves the newcomer",
            ));
        }
        let role = match Role::from_word(role) {
            Some(Role::Mothership) | None => return Err(usage("there is no such role")),
            Some(role) => role,
        };
        if ttl_s == 0 || TOKEN_TTL_S_MAX < ttl_s || uses == 0 || aura_trust::USES_MAX < uses {
            return Err(usage(
                "an invite lives one second to seven days and is used at least once",
            ));
        }
        let seed = InviteSeed::new(random());
        let now_s = self.clock.wall_ms() / 1_000;
        let claims = JoinClaims {
            audience: enrolment.checkpoint_key,
            subject: name.clone(),
            jti: random(),
            issued_at_s: now_s,
            not_before_s: now_s.saturating_sub(5),
            expires_s: now_s + ttl_s,
            role,
            team: enrolment.team,
            ca_hash: enrolment.ca_hash,
            uses,
            seed_key: seed.key().peer(),
        };
        let has_key = !self.identity.ring.is_empty() && role != Role::Relay;
        let token = Token {
            endpoints: enrolment.endpoints.clone(),
            team: enrolment.team,
            ca_hash: enrolment.ca_hash,
            expires_s: claims.expires_s,
            jwt: make_join_jwt(&self.identity.key, &claims).into(),
            sealed_ring: has_key.then(|| seal_ring_for_invite(&self.identity.ring, &seed)),
            seed,
        };
        let text = token.to_text().map_err(|error| usage(&error.to_string()))?;
        document(&docs::Invite {
            schema: docs::Invite::SCHEMA.to_owned(),
            token: text.to_string(),
            expires: rfc3339(claims.expires_s * 1_000),
            role: role.as_str().to_owned(),
            uses,
            name,
            needs_approval: !has_key,
        })
    }

    fn config(&self, key: Option<&str>) -> Answer {
        let known = [("publish", "save"), ("members.approve", "ask")];
        let rows = known
            .iter()
            .filter(|(name, _)| key.is_none_or(|key| key == *name))
            .map(|(name, default)| match self.settings.get(*name) {
                Some(value) => (name, value.clone(), "user"),
                None => (name, (*default).to_owned(), "default"),
            })
            .map(|(name, value, origin)| docs::SettingDoc {
                key: (*name).to_owned(),
                value,
                origin: origin.to_owned(),
            })
            .collect();
        document(&docs::Config {
            schema: docs::Config::SCHEMA.to_owned(),
            settings: rows,
        })
    }

    fn config_set(&mut self, key: &str, value: String) -> Answer {
        let allowed: &[&str] = match key {
            "publish" => &["save", "intent", "commit"],
            "members.approve" => &["ask", "auto"],
            _ => {
                let message = format!("there is no setting {key}");
                return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                    .next("aura config list", "the settings and their values"));
            }
        };
        if !allowed.contains(&value.as_str()) {
            let message = format!("{key} is one of {}", allowed.join(", "));
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message));
        }
        self.settings.insert(key.to_owned(), value);
        let path = self.home.join("settings.json");
        let bytes = serde_json::to_vec(&self.settings).unwrap_or_default();
        aura_store::write_atomic(&path, &bytes, 0o600)
            .map_err(|error| crate::identity::failure(&error, &path))?;
        let publishing = self.publishing();
        for desk in self.desks.values_mut() {
            desk.publishing = publishing;
        }
        if key == "members.approve" && self.settings[key] == "auto" {
            let waiting: Vec<String> = self
                .waiting_for_approval()
                .into_iter()
                .map(|card| card.name)
                .collect();
            if !self.identity.ring.is_empty() {
                self.approve(&waiting)?;
            }
        }
        self.config(Some(key))
    }

    fn status(&mut self, repo: Option<&str>) -> Answer {
        let found = self.repo_of(repo);
        let path = match (found, &self.identity.enrolment) {
            (Ok(path), _) => Some(path),
            (Err(failure), _) if failure.id != "AE-NOT-JOINED" => return Err(failure),
            (Err(failure), None) => return Err(failure),
            (Err(failure), Some(_)) => return Err(failure),
        };
        let incoming = match &path {
            Some(path) => self.with_desk(path, |desk, ring| Ok(desk.incoming(ring)))?,
            None => Default::default(),
        };
        let is_up = self.control.as_ref().is_some_and(Control::is_up);
        let desk = path.as_ref().and_then(|path| self.desks.get(path));
        let me = self.identity.key.peer();
        let mut needs_you = Vec::new();
        let mut from = Vec::new();
        let (mut patches, mut touching) = (0, 0);
        if let Some(desk) = desk {
            for conflict in desk.conflicts(&self.identity.ring) {
                let row = shape::conflict(desk, &conflict, &self.peers, false);
                let text = format!(
                    "{} and {} both changed it",
                    row.mine.author, row.theirs.author
                );
                needs_you.push(docs::NeedDoc {
                    kind: "conflict".to_owned(),
                    id: row.id,
                    symbol: Some(row.symbol),
                    with: vec![row.theirs.author],
                    since: Some(row.since),
                    text,
                });
            }
            for (index, taken) in &incoming {
                patches += 1;
                if matches!(taken, Taken::Waiting(_)) {
                    touching += 1;
                }
                let name = shape::name_of(
                    &self.peers,
                    desk.units.recorded()[*index].origin.writer.peer,
                );
                if !from.contains(&name) {
                    from.push(name);
                }
            }
        }
        for card in self
            .waiting_for_approval()
            .iter()
            .filter(|card| card.peer != me)
        {
            needs_you.push(docs::NeedDoc {
                kind: "approval".to_owned(),
                id: card.name.clone(),
                symbol: None,
                with: vec![card.name.clone()],
                since: None,
                text: format!("{} waits for the team key", card.name),
            });
        }
        let next = match (needs_you.first(), patches) {
            (Some(need), _) if need.kind == "conflict" => {
                Some((format!("aura conflicts show {}", need.id), "open conflict"))
            }
            (Some(need), _) => Some((
                format!("aura members approve {}", need.id),
                "compare the device words first",
            )),
            (None, 1..) => Some(("aura pull".to_owned(), "take what waits")),
            (None, 0) => None,
        };
        let queued = desk.map_or(0, |desk| desk.book.replica.queued());
        let is_synced = desk.is_none_or(|desk| desk.book.replica.is_synced());
        let word = match (
            is_up,
            desk.is_some_and(|desk| desk.fault.is_some()),
            is_synced,
        ) {
            (_, true, _) => "error",
            (false, ..) => "offline",
            (true, false, false) => "syncing",
            (true, false, true) => "synced",
        };
        let is_barred = self.control.as_ref().is_some_and(Control::is_barred);
        let link = docs::LinkDoc {
            state: if is_barred {
                "revoked"
            } else if is_up {
                "online"
            } else {
                "offline"
            }
            .to_owned(),
            endpoint: self
                .identity
                .enrolment
                .as_ref()
                .and_then(|e| e.endpoints.first().cloned())
                .unwrap_or_default(),
            rtt_ms: self.rtt_ms.filter(|_| is_up).map(|ms| ms as f64),
            offline_for_s: if is_up {
                0
            } else {
                (self.clock.mono_ms() - self.offline_since_ms) / 1_000
            },
            queued,
            why: self.down_why.as_ref().map(|(_, detail)| detail.clone()),
        };
        let repo = desk.map(|desk| docs::RepoDoc {
            root_commit: desk.repo.root_commit().as_str().to_owned(),
            branch: desk.units.channel().to_owned(),
            head: desk.commit().to_owned(),
            path: desk.path.display().to_string(),
            files: desk.files.len() as u64,
            units: desk.unit_count(),
        });
        document(&docs::Status {
            schema: docs::Status::SCHEMA.to_owned(),
            at: rfc3339(self.clock.wall_ms()),
            seq: self.event_last(),
            word: word.to_owned(),
            team: self
                .identity
                .enrolment
                .as_ref()
                .map(|e| e.team_name.clone()),
            name: self.identity.enrolment.as_ref().map(|e| e.name.clone()),
            repo,
            mode: desk.map(|desk| desk.mode.as_str().to_owned()),
            link,
            needs_you,
            peers: self.peer_rows(),
            incoming: docs::IncomingDoc {
                patches,
                touching_my_edits: touching,
                from,
            },
            mine: docs::MineDoc {
                unpublished: desk.map_or(0, |desk| desk.held_back.len() as u64),
                published: desk.map_or(0, |desk| {
                    desk.units
                        .recorded()
                        .iter()
                        .filter(|r| r.origin.writer.peer == me)
                        .count() as u64
                }),
                held_back: desk.map(held_back).unwrap_or_default(),
            },
            next: next
                .map(|(cmd, why)| Next {
                    cmd,
                    why: why.to_owned(),
                })
                .into_iter()
                .collect(),
        })
    }
}

fn held_back(desk: &crate::desk::Desk) -> Vec<String> {
    desk.held_back
        .iter()
        .map(|(path, why)| format!("{}: {why}", path.as_str()))
        .collect()
}

fn no_peer(name: &str) -> Failure {
    Failure::new(
        "AE-NO-PEER",
        Exit::USAGE,
        format!("nobody is called {name}"),
    )
    .next("aura peers", "who there is")
}

fn no_conflict(id: &str) -> Failure {
    Failure::new(
        "AE-NO-CONFLICT",
        Exit::USAGE,
        format!("there is no open conflict {id}"),
    )
    .next("aura conflicts", "the open ones")
}

fn document<T: Serialize>(value: &T) -> Answer {
    serde_json::to_value(value)
        .map_err(|error| Failure::new("AE-INTERNAL", Exit::BUG, error.to_string()))
}

fn reply_of(answer: Answer) -> Reply {
    match answer {
        Ok(document) => Reply::Done(document),
        Err(failure) => Reply::Failed(failure),
    }
}
