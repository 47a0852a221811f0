//! Joining a team, or adding a repository to it.
//!
//! Invariant: a step that fails leaves the device as it was.

use std::path::PathBuf;
use std::sync::mpsc;

use aura_api::{Exit, Failure, Next, Reply, docs};
use aura_proto::message::PeerState;
use aura_tree::Repo;
use aura_trust::{Token, open_ring_from_invite, words};
use serde_json::Value;

use super::{Answer, document, reply_of};
use crate::daemon::{Daemon, Until, Waiting};
use crate::desk::{Mode, git_failure};
use crate::enrol;

impl Daemon {
    pub(in crate::daemon) fn join(
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
        let mode =
            match mode {
                None => None,
                Some(word) => Some(Mode::from_word(&word).ok_or_else(|| {
                    Failure::new("AE-USAGE", Exit::USAGE, format!("no mode {word}"))
                })?),
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
            if let Some(mode) = mode {
                self.set_mode(&path, mode)?;
            }
        } else {
            let mode = mode.unwrap_or(Mode::Observe);
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

    pub(in crate::daemon) fn enrol(
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
        let sealed = token.sealed_ring.as_ref();
        // spec: identity/3.12
        let handed = sealed
            .map(|sealed| open_ring_from_invite(sealed, &token.seed))
            .transpose()
            .map_err(|error| enrol::not_of_its_seed(&error))?;
        progress("enrol", 1, 3, "token reads well".to_owned());
        if dry_run {
            return Ok(());
        }
        let name = name.unwrap_or_default();
        let enrolment =
            self.runtime
                .block_on(enrol::join(&self.identity, &token, &name, self.clock))?;
        progress("enrol", 2, 3, "certificate received".to_owned());
        self.identity.begin_trust(handed)?;
        self.identity.save_enrolment(enrolment)?;
        progress("enrol", 3, 3, "this device is a member".to_owned());
        Ok(())
    }

    pub(in crate::daemon) fn joined(&self, path: &PathBuf, index_ms: u64) -> Answer {
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
                why: "an admin runs this after comparing the device words".to_owned(),
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
}
