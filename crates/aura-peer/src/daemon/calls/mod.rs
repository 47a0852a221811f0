//! What faces ask, answered.
//!
//! Invariant: a call that changes something is answered when the change is durable, here or there as it says.

mod history;
mod impact;
mod join;
mod members;
mod messages;
mod network;
mod past;
mod status;
mod zones;

use std::{path::PathBuf, sync::mpsc};

use aura_api::{Call, Exit, Failure, Reply, Request, docs};
use aura_engine::peer::control::Control;
use aura_proto::{Code, PeerId};
use aura_trust::{CertIdentity, words};
use serde::Serialize;
use serde_json::Value;

use self::join::Wish as Joining;
use super::{Daemon, Until, Waiting};
use crate::{
    clock::rfc3339,
    desk::{Desk, Mode, publish::Intent, restore::Wish},
    docs as shape, enrol,
    settings::Refused,
};

type Answer = Result<Value, Failure>;

/// Which operations `log` shows.
pub(in crate::daemon) struct Listed {
    symbol: Option<String>,
    actor: Option<String>,
    since_ms: Option<u64>,
    /// Only what was joined without anybody deciding.
    is_auto: bool,
    limit: Option<usize>,
}

/// How long a call waits for git to come to rest, in milliseconds: whoever asked for the state of the tree has made git
/// look at all files just now.
const STILL_MS: u64 = 1_000;

/// Whether a call writes into working copies.
fn writes(call: &Call) -> bool {
    matches!(
        call,
        Call::Pull { dry_run: false, .. }
            | Call::Resolve { .. }
            | Call::Restore { dry_run: false, .. }
            | Call::Undo { .. }
    )
}

impl Daemon {
    pub(super) fn call(&mut self, request: Request, reply: &mpsc::Sender<Reply>) {
        let repo = request.repo.as_deref();
        // Some answers come later, when what was asked for has happened.
        let answer = match request.call {
            Call::Join {
                token,
                name,
                device,
                mode,
                dry_run,
            } => {
                let wish = Joining {
                    token,
                    name,
                    device,
                    mode,
                    dry_run,
                };
                self.join(repo, wish, reply).transpose()
            }
            Call::Publish {
                why,
                symbols,
                no_wait,
            } => self
                .publish(repo, &Intent { why, symbols }, no_wait, reply)
                .transpose(),
            Call::Wait { wanted, timeout_ms } => {
                let waits = self.wait(repo, &wanted, timeout_ms, reply);
                waits.err().map(Err)
            }
            Call::Approve { names, all, peers } => {
                self.approve_when_known(names, all, peers, reply)
            }
            Call::Zone(call) => self.zone(repo, call, reply),
            Call::Ping { peer, timeout_ms } => self.ping(&peer, timeout_ms, reply).err().map(Err),
            Call::TestMessage {
                peer,
                hops,
                timeout_ms,
            } => {
                let sent = self.test_message(&peer, (hops, timeout_ms), reply);
                sent.err().map(Err)
            }
            Call::Watch { since } => return self.subscribe(since, reply),
            Call::Impact {
                symbol,
                ack,
                snooze_ms,
            } => {
                let asked = impact::Asked {
                    symbol,
                    ack,
                    snooze_ms,
                };
                let waits = self.when_weighed(repo, asked, reply);
                waits.err().map(Err)
            }
            call => match self.moving(repo, &call) {
                Some(moving) => return self.when_still(moving, call, reply),
                None => Some(self.answer(repo, call)),
            },
        };
        if let Some(answer) = answer {
            // A face that hung up needs no answer.
            reply.send(reply_of(answer)).ok();
        }
    }

    /// The repository in which git moves files now, if the call would write some.
    fn moving(&mut self, repo: Option<&str>, call: &Call) -> Option<PathBuf> {
        let path = self.repo_of(repo).ok().filter(|_| writes(call))?;
        let desk = self.desks.get_mut(&path)?;
        desk.git_moves().then_some(path)
    }

    /// Carries a call out when git has come to rest, or says then that it has not.
    fn when_still(&mut self, path: PathBuf, call: Call, reply: &mpsc::Sender<Reply>) {
        self.waiting.push(Waiting {
            until: Until::Still,
            repo: Some(path.clone()),
            deadline_ms: self.clock.mono_ms() + STILL_MS,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| {
                Some(reply_of(daemon.answer(Some(&path.to_string_lossy()), call)))
            }),
        });
    }

    /// Acts on what git did before files are written; if git cannot be asked about it, that is the answer.
    fn settle_late(&mut self, repo: Option<&str>, call: &Call) -> Result<(), Failure> {
        match self.repo_of(repo) {
            Ok(path) if writes(call) => self.with_desk(&path, Desk::settle_late),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Calls that are answered at once.
    fn answer(&mut self, repo: Option<&str>, call: Call) -> Answer {
        self.settle_late(repo, &call)?;
        self.carry_out(repo, call)
    }

    fn carry_out(&mut self, repo: Option<&str>, call: Call) -> Answer {
        match call {
            Call::Blame { path } => self.blame(repo, &path),
            Call::ConfigGet { key } => self.config(key.as_deref()),
            Call::ConfigSet { key, value } => self.config_set(&key, value),
            Call::Conflicts { id } => self.conflicts(repo, id.as_deref()),
            Call::Dag { symbol, quick } => self.dag(repo, symbol.as_deref(), quick),
            Call::Diff { symbols } => self.diff(repo, &symbols),
            Call::Down => self.down(),
            Call::Touching { paths } => self.touching(repo, &paths),
            Call::Find { text, at, limit } => self.find(repo, &text, at.as_ref(), limit),
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
                auto,
                limit,
            } => {
                let listed = Listed {
                    symbol,
                    actor,
                    since_ms,
                    is_auto: auto,
                    limit,
                };
                self.log(repo, &listed)
            }
            Call::Members => self.members(Vec::new()),
            Call::Message(call) => self.message(repo, call),
            Call::Mode { set } => self.mode(repo, set.as_deref()),
            Call::Pause { .. } | Call::Resume => self.pause(repo, &call),
            Call::Pull {
                symbols,
                from,
                path,
                dry_run,
            } => self.pull(repo, (symbols, from, path.as_deref()), dry_run),
            Call::Resolve { ids, choice } => self.resolve(repo, &ids, &choice),
            Call::Restore {
                symbol,
                at,
                why,
                dry_run: is_dry_run,
            } => {
                let wish = Wish {
                    symbol,
                    at,
                    why,
                    is_dry_run,
                };
                self.restore(repo, wish)
            }
            Call::Show { what, at } => self.show(repo, &what, at.as_ref()),
            Call::Status => self.status(repo),
            Call::Undo { op } => self.undo(repo, op.as_deref()),
            Call::Whoami => self.whoami(),
            other => self.network(&other),
        }
    }

    fn down(&mut self) -> Answer {
        self.is_stopping = true;
        document(&docs::Down {
            schema: docs::Down::SCHEMA.to_owned(),
            was_running: true,
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
        if self.control.as_ref().is_some_and(Control::is_barred) {
            return Err(self.unreachable());
        }
        let first = self
            .desks
            .get(&path)
            .map_or(0, |desk| desk.units.recorded().len());
        let (count, explained) =
            self.with_desk(&path, |desk, ring| desk.publish_all(intent, ring))?;
        if count == 0 && explained.is_empty() {
            self.with_desk(&path, |desk, _| desk.check_symbols(&intent.symbols))?;
        }
        let is_up = self.is_control_up();
        let is_idle = self
            .desks
            .get(&path)
            .is_none_or(|desk| desk.book.replica.queued() == 0);
        if no_wait || !is_up || is_idle {
            return self.published(&path, first, count, &explained).map(Some);
        }
        let now = self.clock.mono_ms();
        let for_answer = path.clone();
        self.waiting.push(Waiting {
            until: Until::Acknowledged,
            repo: Some(path),
            deadline_ms: now + 30_000,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| {
                Some(reply_of(daemon.published(
                    &for_answer,
                    first,
                    count,
                    &explained,
                )))
            }),
        });
        Ok(None)
    }

    fn published(&self, path: &PathBuf, first: usize, count: usize, explained: &[usize]) -> Answer {
        let Some(desk) = self.desks.get(path) else {
            return Ok(Value::Null);
        };
        let me = self.identity.key.peer();
        let recorded = desk.units.recorded();
        let is_mine = |index: &usize| recorded[*index].origin.writer.peer == me;
        let new: Vec<usize> = (first..recorded.len()).filter(is_mine).collect();
        let before: Vec<usize> = explained.iter().rev().copied().collect();
        let ops_of = |index: &usize| shape::ops(&desk.units, *index, &self.peers);
        let given: Vec<_> = before.iter().flat_map(ops_of).collect();
        let all = new.iter().chain(&before);
        let seq = all.filter_map(|index| recorded[*index].origin.seq);
        let queued = desk.book.replica.queued();
        let state = match (count + explained.len(), queued) {
            (0, 0) => "nothing",
            (_, 0) => "published",
            _ => "queued",
        };
        document(&docs::Published {
            schema: docs::Published::SCHEMA.to_owned(),
            seq: seq.max().filter(|_| queued == 0),
            explained: given.len() as u64,
            ops: new.iter().flat_map(ops_of).chain(given).collect(),
            state: state.to_owned(),
            held_back: held_back(desk),
            queued,
            postponed: desk.is_postponed(),
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
                    return Some(Reply::Failed(
                        failure
                            .next("aura status", "see what is missing")
                            .retryable(),
                    ));
                }
                Some(reply_of(document(&docs::Waited {
                    schema: docs::Waited::SCHEMA.to_owned(),
                    wanted,
                    waited_ms: daemon.clock.mono_ms() - now,
                })))
            }),
        });
        Ok(())
    }

    /// A device of the team by its name, with or without `@`.
    fn peer_named(&self, name: &str) -> Result<PeerId, Failure> {
        // As messages name people.
        let plain = name.trim_start_matches('@');
        let mut cards = self.peers.values();
        let found = cards.find(|card| card.name == plain);
        found.map(|card| card.peer).ok_or_else(|| no_peer(name))
    }

    fn mode(&mut self, repo: Option<&str>, set: Option<&str>) -> Answer {
        let path = self.repo_of(repo)?;
        if let Some(word) = set {
            self.set_mode(&path, mode_of(word)?)?;
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

    fn config(&self, key: Option<&str>) -> Answer {
        let rows = self.settings.rows();
        let rows = rows.filter(|(name, ..)| key.is_none_or(|key| key == *name));
        let rows = rows.map(|(name, value, origin)| docs::SettingDoc {
            key: name.to_owned(),
            value: value.to_owned(),
            origin: origin.as_str().to_owned(),
        });
        let rows = rows.collect();
        document(&docs::Config {
            schema: docs::Config::SCHEMA.to_owned(),
            settings: rows,
        })
    }

    fn config_set(&mut self, key: &str, value: String) -> Answer {
        let usage = |message: String| Failure::new("AE-USAGE", Exit::USAGE, message);
        match self.settings.set(key, value) {
            Ok(()) => {}
            Err(Refused::Unknown) => {
                return Err(usage(format!("there is no setting {key}"))
                    .next("aura config list", "the settings and their values"));
            }
            Err(Refused::Value(takes, default)) => {
                let step = format!("aura config set {key} {default}");
                return Err(usage(format!("{key} is {takes}")).next(step, "the default"));
            }
        }
        let path = self.home.join("settings.json");
        let bytes = serde_json::to_vec(self.settings.set_by_user()).unwrap_or_default();
        aura_store::write_atomic(&path, &bytes, 0o600)
            .map_err(|error| crate::identity::failure(&error, &path))?;
        if key.starts_with("links.") {
            self.links_were_set();
        }
        let publishing = self.publishing();
        let is_told = self.settings.get("activity") == "on";
        for desk in self.desks.values_mut() {
            desk.publishing = publishing;
            desk.tell_of_edits(is_told);
        }
        if key == "members.approve" && self.settings.get(key) == "auto" {
            self.approve_automatically();
        }
        self.config(Some(key))
    }
}

fn held_back(desk: &Desk) -> Vec<String> {
    desk.held_back
        .iter()
        .map(|(path, why)| format!("{}: {why}", path.as_str()))
        .collect()
}

fn mode_of(word: &str) -> Result<Mode, Failure> {
    Mode::from_word(word).ok_or_else(|| {
        Failure::new("AE-USAGE", Exit::USAGE, format!("there is no mode {word}"))
            .next("aura mode live", "observe, ask or live")
    })
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
