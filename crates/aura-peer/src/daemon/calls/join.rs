//! Joining a team, or adding a repository to it.
//!
//! Invariants:
//! - a step that fails leaves the device as it was;
//! - a device that is a member uses no token up and changes neither its team nor its name.

use std::path::PathBuf;
use std::sync::mpsc;

use aura_api::{Exit, Failure, Next, Reply, docs, shell_operand};
use aura_proto::message::{DEVICE_NAME_RULE, PeerState, is_device_name};
use aura_tree::Repo;
use aura_trust::{Token, inspect_join_jwt, open_ring_from_invite, words};
use serde_json::Value;

use super::{Answer, document, reply_of};
use crate::daemon::{Daemon, Until, Waiting};
use crate::desk::{Mode, git_failure};
use crate::enrol;
use crate::identity::Enrolment;

/// What a face that joins asks for.
pub(in crate::daemon) struct Wish {
    pub(in crate::daemon) token: Option<String>,
    pub(in crate::daemon) name: Option<String>,
    /// The name to ask for when neither the user nor the token says one.
    pub(in crate::daemon) device: Option<String>,
    pub(in crate::daemon) mode: Option<String>,
    pub(in crate::daemon) dry_run: bool,
}

impl Wish {
    fn mode(&self) -> Result<Option<Mode>, Failure> {
        let word = self.mode.as_deref();
        word.map(super::mode_of).transpose()
    }

    fn token(&self) -> Result<Option<Token>, Failure> {
        let text = self.token.as_deref();
        text.map(|text| Token::parse(text).map_err(|_| enrol::shape()))
            .transpose()
    }

    /// The name to ask for; none where the token says one.
    fn device_name(self, token: &Token) -> String {
        let claims = inspect_join_jwt(&token.jwt);
        let is_named = claims
            .and_then(|claims| claims.subject)
            .is_some_and(|name| is_device_name(&name));
        match self.name {
            Some(name) => name,
            None if is_named => String::new(),
            None => self
                .device
                .filter(|name| is_device_name(name))
                .unwrap_or_else(|| "device".to_owned()),
        }
    }
}

/// What a join did.
pub(in crate::daemon) struct Done {
    was_member: bool,
    clone: &'static str,
    endpoint: Option<String>,
    index_ms: u64,
}

impl Daemon {
    pub(in crate::daemon) fn join(
        &mut self,
        repo: Option<&str>,
        wish: Wish,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<Option<Value>, Failure> {
        let start = repo.unwrap_or(".");
        let repo =
            Repo::discover(std::path::Path::new(start)).map_err(|error| git_failure(&error))?;
        let (mode, token) = (wish.mode()?, wish.token()?);
        if let Some(name) = wish.name.as_ref().filter(|name| !is_device_name(name)) {
            let message = format!("{name:?} cannot be a name: {DEVICE_NAME_RULE}");
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura join TOKEN --name NAME", "the invite is still good"));
        }
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
        let (is_dry, was_member) = (wish.dry_run, self.identity.enrolment.is_some());
        let endpoint = if was_member {
            self.join_again(token.as_ref(), &wish)?
        } else {
            self.enrol(token, wish, &progress)?;
            None
        };
        if is_dry {
            return Ok(Some(Value::Null));
        }
        self.enter_team()?;
        let begun = self.clock.mono_ms();
        let path = repo.work_tree().to_owned();
        let clone = match self.desks.get(&path).map(|desk| desk.mode) {
            Some(before) => {
                if let Some(mode) = mode {
                    self.set_mode(&path, mode)?;
                }
                let is_same = mode.is_none_or(|mode| mode == before);
                if is_same { "known" } else { "mode" }
            }
            None => {
                let mode = mode.unwrap_or(Mode::Observe);
                self.open_desk(repo, mode, &mut |done, total| {
                    progress("index", done, total, format!("{done} of {total} files"));
                })?;
                "added"
            }
        };
        let now = self.clock.mono_ms();
        let done = Done {
            was_member,
            clone,
            endpoint,
            index_ms: now - begun,
        };
        let for_answer = path.clone();
        self.waiting.push(Waiting {
            until: Until::Joined,
            repo: Some(path),
            deadline_ms: now + 30_000,
            reply: reply.clone(),
            answer: Box::new(move |daemon, holds| {
                if !holds {
                    return Some(Reply::Failed(daemon.unreachable()));
                }
                Some(reply_of(daemon.joined(&for_answer, done)))
            }),
        });
        Ok(None)
    }

    fn enrol(
        &mut self,
        token: Option<Token>,
        wish: Wish,
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
        let sealed = token.sealed_ring.as_ref();
        // spec: identity/3.12
        let handed = sealed
            .map(|sealed| open_ring_from_invite(sealed, &token.seed))
            .transpose()
            .map_err(|error| enrol::not_of_its_seed(&error))?;
        progress("enrol", 1, 3, "token reads well".to_owned());
        if wish.dry_run {
            return Ok(());
        }
        let name = wish.device_name(&token);
        let enrolment =
            self.runtime
                .block_on(enrol::join(&self.identity, &token, &name, self.clock))?;
        progress("enrol", 2, 3, "certificate received".to_owned());
        self.identity.begin_trust(handed)?;
        self.identity.save_enrolment(enrolment)?;
        progress("enrol", 3, 3, "this device is a member".to_owned());
        Ok(())
    }

    /// A member uses no token up: one of its team says where the Mothership is now, another is refused.
    /// Answers the address that is new, once the same Mothership has answered there.
    fn join_again(
        &mut self,
        token: Option<&Token>,
        wish: &Wish,
    ) -> Result<Option<String>, Failure> {
        let Some(enrolment) = self.identity.enrolment.clone() else {
            return Ok(None);
        };
        let (team, name) = (&enrolment.team_name, &enrolment.name);
        if wish.name.as_ref().is_some_and(|wanted| wanted != name) {
            let message = format!("this device is a member of {team} already, named {name}");
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura join", "adds this clone; the name stays"));
        }
        let Some(token) = token else {
            return Ok(None);
        };
        if (token.team, token.ca_hash) != (enrolment.team, enrolment.ca_hash) {
            let message = format!(
                "the token is for another team ({}); this device is a member of {team}",
                words(&token.ca_hash, 4)
            );
            return Err(Failure::new("AE-OTHER-TEAM", Exit::REFUSED, message).next(
                "AURA_HOME=DIR aura join TOKEN",
                "each team has a home of its own",
            ));
        }
        if wish.dry_run || token.endpoints == enrolment.endpoints {
            return Ok(None);
        }
        let found = enrol::find(&token.endpoints, &enrolment);
        let addr = match self.runtime.block_on(found) {
            Ok(addr) => addr,
            // The address in use is as good as it was.
            Err(_) if self.is_control_up() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        self.identity.save_enrolment(Enrolment {
            endpoints: token.endpoints.clone(),
            ..enrolment
        })?;
        self.reconnect();
        Ok(Some(addr))
    }

    pub(in crate::daemon) fn joined(&self, path: &PathBuf, done: Done) -> Answer {
        let (Some(enrolment), Some(desk)) = (&self.identity.enrolment, self.desks.get(path)) else {
            return Err(Failure::new(
                "AE-INTERNAL",
                Exit::BUG,
                "joined without a team",
            ));
        };
        let me = self.identity.key.peer();
        let is_in = !self.identity.ring.is_empty() || self.is_relay_device();
        let online = self
            .peers
            .values()
            .filter(|card| card.peer != me && card.state == PeerState::Online);
        let next = if is_in {
            Next {
                cmd: "aura status".to_owned(),
                why: "who is here and what waits".to_owned(),
            }
        } else {
            Next {
                cmd: format!("aura members approve {}", shell_operand(&enrolment.name)),
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
            state: if is_in {
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
            index_ms: done.index_ms,
            was_member: done.was_member,
            clone: done.clone.to_owned(),
            endpoint: done.endpoint,
            online: online.map(|card| card.name.clone()).collect(),
            // Git is set up by the face, which is where its surroundings are.
            git: None,
            next: vec![next],
        })
    }
}
