//! Who belongs, who waits, who is there.
//!
//! Invariant: a device reads only after it was handed the key, by an admin or by an invite of one.

use std::{collections::BTreeMap, path::Path, sync::mpsc};

use aura_api::{Exit, Failure, Reply, docs};
use aura_proto::message::{PeerCard, Role};
use aura_proto::{PeerId, limits::TOKEN_TTL_S_MAX};
use aura_trust::{InviteSeed, JoinClaims, Token, make_join_jwt, seal_ring_for_invite, words};

use super::{Answer, Until, Waiting, document, no_peer};
use crate::clock::{random, rfc3339};
use crate::{daemon::Daemon, desk::Desk};
use crate::{docs as shape, team};

/// How long the Mothership may take to say who somebody is, in milliseconds.
const INTRODUCTION_MS: u64 = 5_000;

impl Daemon {
    pub(in crate::daemon) fn reads(&self, card: &PeerCard) -> bool {
        if card.peer == self.identity.key.peer() {
            return !self.identity.ring.is_empty();
        }
        self.team
            .as_ref()
            .is_some_and(|team| team.roster.reads(card.peer))
    }

    /// How far a device has come, in one word.
    fn standing(&self, card: &PeerCard) -> &'static str {
        let is_approved = |team: &team::Team| team.is_being_approved(card.peer);
        match self.team.as_ref() {
            _ if self.reads(card) => "reads",
            Some(team) if is_approved(team) => "approved",
            Some(_) | None => "waiting",
        }
    }

    /// Devices that the Mothership admitted and no member has approved yet.
    pub(in crate::daemon) fn waiting_for_approval(&self) -> Vec<PeerCard> {
        let Some(team) = &self.team else {
            return Vec::new();
        };
        let waits = |card: &&PeerCard| card.role != Role::Relay && !team.roster.reads(card.peer);
        self.peers.values().filter(waits).cloned().collect()
    }

    /// Approves devices as soon as it is known how to hand them the key, which takes a question to the Mothership.
    pub(in crate::daemon) fn approve_when_known(
        &mut self,
        names: Vec<String>,
        all: bool,
        peers: Vec<String>,
        reply: &mpsc::Sender<Reply>,
    ) -> Option<Answer> {
        if self.knows_who_waits() {
            return Some(self.approve(names, all, &peers));
        }
        self.waiting.push(Waiting {
            until: Until::Introduced,
            repo: None,
            deadline_ms: self.clock.mono_ms() + INTRODUCTION_MS,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| match daemon.approve(names, all, &peers) {
                Ok(document) => Some(Reply::Done(document)),
                Err(failure) => Some(Reply::Failed(failure)),
            }),
        });
        None
    }

    /// Approves devices by name; `peers` are those whose words a person compared, when there was one to.
    pub(in crate::daemon) fn approve(
        &mut self,
        names: Vec<String>,
        all: bool,
        peers: &[String],
    ) -> Answer {
        let mut cards = Vec::new();
        if all {
            cards = self.waiting_for_approval();
        }
        for name in names {
            let card = self.peers.values().find(|card| card.name == name);
            cards.push(card.cloned().ok_or_else(|| no_peer(&name))?);
        }
        let is_another =
            |card: &&PeerCard| !peers.is_empty() && !peers.contains(&card.peer.to_string());
        if let Some(card) = cards.iter().find(is_another) {
            let message = format!("{} is not the device whose words were shown", card.name);
            return Err(Failure::new("AE-OTHER-DEVICE", Exit::REFUSED, message)
                .next("aura members", "shows the words of every device"));
        }
        let mut approved = Vec::new();
        let mut result = Ok(());
        for card in cards {
            if let Some(team) = &mut self.team {
                result = team.approve(&card, card.role, &mut self.identity);
            }
            if result.is_err() {
                break;
            }
            approved.push(card.name);
        }
        self.flush();
        result?;
        self.members(approved)
    }

    pub(in crate::daemon) fn members(&self, approved: Vec<String>) -> Answer {
        let row = |card: &PeerCard| docs::MemberDoc {
            name: card.name.clone(),
            peer: card.peer.to_string(),
            role: card.role.as_str().to_owned(),
            state: self.standing(card).to_owned(),
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

    pub(in crate::daemon) fn invite(
        &self,
        name: Option<String>,
        role: &str,
        uses: u32,
        ttl_s: u64,
    ) -> Answer {
        let usage = |why: &str| Failure::new("AE-USAGE", Exit::USAGE, why.to_owned());
        let Some(enrolment) = &self.identity.enrolment else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this device is on no team",
            ));
        };
        if enrolment.role != Role::Admin {
            let message = "only an admin invites from its own device";
            return Err(Failure::new("FORBIDDEN", Exit::REFUSED, message).next(
                "mothership invite",
                "on the box; an admin approves the newcomer",
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
        let sealed_ring = has_key.then(|| self.handed(&seed)).transpose()?;
        let token = Token {
            endpoints: enrolment.endpoints.clone(),
            team: enrolment.team,
            ca_hash: enrolment.ca_hash,
            expires_s: claims.expires_s,
            jwt: make_join_jwt(&self.identity.key, &claims).into(),
            sealed_ring,
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

    /// What an invite says about the team, for its bearer alone.
    // spec: identity/3.12
    fn handed(&self, seed: &InviteSeed) -> Result<Vec<u8>, Failure> {
        if let Some(fault) = self.team.as_ref().and_then(|team| team.fault.as_ref()) {
            return Err(team::at_fault(fault));
        }
        let Some(genesis) = self.identity.genesis else {
            let message = "the team is not founded yet: this device has not reached the mothership";
            return Err(Failure::new("AE-UNREACHABLE", Exit::UNREACHABLE, message)
                .next("aura wait --for synced", "then invite again")
                .retryable());
        };
        Ok(seal_ring_for_invite(genesis, &self.identity.ring, seed))
    }

    pub(in crate::daemon) fn peer_list(&self) -> Answer {
        document(&docs::Peers {
            schema: docs::Peers::SCHEMA.to_owned(),
            peers: self.peer_rows(None),
        })
    }

    pub(in crate::daemon) fn peer_rows(&self, repo: Option<&Path>) -> Vec<docs::PeerDoc> {
        let me = self.identity.key.peer();
        let mut doing = self.doing(repo);
        let is_up = self.is_control_up();
        let links = self.link_rows();
        let row = |card: &PeerCard| {
            let standing = (self.reads(card), is_up);
            let row = shape::peer(card, me, standing, links.get(&card.peer));
            docs::PeerDoc {
                doing: doing.remove(&card.peer).unwrap_or_default(),
                ..row
            }
        };
        let mut rows: Vec<docs::PeerDoc> = self.peers.values().map(row).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    /// What everybody else edits in one repository, or in all.
    fn doing(&self, repo: Option<&Path>) -> BTreeMap<PeerId, Vec<docs::DoingDoc>> {
        let mut doing: BTreeMap<PeerId, Vec<docs::DoingDoc>> = BTreeMap::new();
        let wall_ms = self.clock.wall_ms();
        let is_meant = |desk: &&Desk| repo.is_none_or(|repo| desk.path == repo);
        for desk in self.desks.values().filter(is_meant) {
            for edited in desk.edited_by_others(&self.identity.ring) {
                let row = shape::doing(desk, &edited, wall_ms);
                doing.entry(edited.peer).or_default().push(row);
            }
        }
        doing
    }
}
