//! Messages, as faces send and read them.
//!
//! Invariant: whom a message names is somebody; nothing is ever sent to everybody for want of a name.

use std::{collections::BTreeSet, path::Path};

use aura_api::{Exit, Failure, MessageCall, docs};
use aura_engine::peer::mail::MessageBody;
use aura_proto::{PeerId, message::Role};

use super::{Answer, document, no_peer};
use crate::{
    clock::rfc3339,
    daemon::{Daemon, person_of},
    desk::{Desk, claim::fence_of, inbox::Row},
    docs as shape,
};

impl Daemon {
    pub(in crate::daemon) fn message(&mut self, repo: Option<&str>, call: MessageCall) -> Answer {
        let path = self.repo_of(repo)?;
        match call {
            MessageCall::Inbox { unread } => {
                let me = self.identity.key.peer();
                let desk = self.desk_at(&path)?;
                let is_meant = |row: &&Row| !unread || desk.inbox.is_unread(row, me);
                self.inbox(desk, desk.inbox.rows().filter(is_meant))
            }
            MessageCall::Read { ids } => self.read_messages(&path, ids),
            MessageCall::Ack { id } => self.ack_message(&path, &id),
            MessageCall::Send {
                to,
                text,
                about,
                re,
                urgent,
            } => {
                let peers = self.recipients(&path, &to, re.as_deref())?;
                let is_agent =
                    (self.identity.enrolment.as_ref()).is_some_and(|own| own.role == Role::Agent);
                if urgent && is_agent {
                    let message = "only people make a message urgent";
                    return Err(Failure::new("FORBIDDEN", Exit::REFUSED, message)
                        .next("aura msg send @NAME TEXT", "without --urgent"));
                }
                let desk = self.desk_at(&path)?;
                let re = re
                    .and_then(|id| desk.inbox.named(&id))
                    .map(|(name, _)| name);
                let body = MessageBody::Text {
                    to: peers.clone(),
                    about,
                    re,
                    is_urgent: urgent,
                    text,
                };
                self.send_message(&path, &body, &peers)
            }
        }
    }

    pub(in crate::daemon) fn desk_at(&self, path: &Path) -> Result<&Desk, Failure> {
        let desk = self.desks.get(path);
        desk.ok_or_else(|| Failure::new("AE-INTERNAL", Exit::BUG, "no such clone"))
    }

    fn inbox<'a>(&self, desk: &Desk, rows: impl Iterator<Item = &'a Row>) -> Answer {
        document(&docs::Inbox {
            schema: docs::Inbox::SCHEMA.to_owned(),
            messages: rows.map(|row| self.message_doc(desk, row)).collect(),
        })
    }

    /// A message as faces see it.
    pub(in crate::daemon) fn message_doc(&self, desk: &Desk, row: &Row) -> docs::MessageDoc {
        let name = |peer: &PeerId| shape::name_of(&self.peers, *peer);
        let is_agent = desk
            .roster
            .member(row.from)
            .is_some_and(|card| card.role == Role::Agent);
        let answered = row.re.and_then(|name| desk.inbox.get(&name));
        docs::MessageDoc {
            id: row.id.clone(),
            from: name(&row.from),
            kind: if is_agent { "agent" } else { "person" }.to_owned(),
            to: row.to.iter().map(name).collect(),
            about: row.about.clone(),
            re: answered.map(|row| row.id.clone()),
            urgent: row.is_urgent,
            text: desk.text_of(row, &self.identity.ring),
            at: rfc3339(row.time_ms),
            unread: desk.inbox.is_unread(row, self.identity.key.peer()),
            acks: row.acks.iter().map(name).collect(),
        }
    }

    /// Who is meant; a word that names nobody is refused.
    // spec: messages/1.2
    fn recipients(
        &mut self,
        path: &Path,
        to: &[String],
        re: Option<&str>,
    ) -> Result<Vec<PeerId>, Failure> {
        let me = self.identity.key.peer();
        let (mut peers, mut is_for_all) = (BTreeSet::new(), false);
        if let Some(re) = re {
            let desk = self.desk_at(path)?;
            let (_, row) = desk.inbox.named(re).ok_or_else(|| no_message(re))?;
            // Whoever had it as one of all answers to all.
            if !row.to.is_empty() {
                peers.extend(row.to.iter().copied().chain([row.from]));
            }
        }
        for word in to {
            let word = word.trim_start_matches('@');
            if word == "all" {
                is_for_all = true;
                continue;
            }
            if let Some(zone) = word.strip_prefix("zone:") {
                let zone = self.desk_at(path)?.law.zones.get(fence_of(zone)?);
                let zone = zone.ok_or_else(|| crate::desk::claim::no_zone(word))?;
                peers.insert(zone.holder);
            } else if let Some(symbol) = word.strip_prefix("editing:") {
                let symbol = symbol.to_owned();
                let editors = self.with_desk(path, |desk, ring| desk.editors(&symbol, ring))?;
                peers.extend(editors);
            } else {
                let is_meant = |name: &str| name == word || person_of(name) == word;
                let cards = self.peers.values().filter(|card| is_meant(&card.name));
                let found: Vec<PeerId> = cards.map(|card| card.peer).collect();
                if found.is_empty() {
                    return Err(no_peer(word));
                }
                peers.extend(found);
            }
        }
        if is_for_all {
            return Ok(Vec::new());
        }
        peers.remove(&me);
        if peers.is_empty() && !to.is_empty() {
            let message = "that is you alone";
            return Err(
                Failure::new("AE-NO-PEER", Exit::USAGE, message).next("aura peers", "the others")
            );
        }
        Ok(peers.into_iter().collect())
    }

    fn send_message(&mut self, path: &Path, body: &MessageBody, to: &[PeerId]) -> Answer {
        let id = self.with_desk(path, |desk, ring| desk.send(body, ring))?;
        let state = if self.is_control_up() {
            "sent"
        } else {
            "queued"
        };
        let name = |peer: &PeerId| shape::name_of(&self.peers, *peer);
        document(&docs::Sent {
            schema: docs::Sent::SCHEMA.to_owned(),
            state: state.to_owned(),
            id: id.unwrap_or_default(),
            to: to.iter().map(name).collect(),
        })
    }

    fn ack_message(&mut self, path: &Path, id: &str) -> Answer {
        let desk = self.desk_at(path)?;
        let (of, row) = desk.inbox.named(id).ok_or_else(|| no_message(id))?;
        let from = row.from;
        let read = [id.to_owned()];
        self.with_desk(path, |desk, _| desk.inbox.read(&read))?;
        let answer = self.send_message(path, &MessageBody::Ack { of }, &[from])?;
        let mut answer = answer;
        answer["id"] = id.into();
        Ok(answer)
    }

    fn read_messages(&mut self, path: &Path, ids: Vec<String>) -> Answer {
        let me = self.identity.key.peer();
        let desk = self.desk_at(path)?;
        if let Some(id) = ids.iter().find(|id| desk.inbox.named(id).is_none()) {
            return Err(no_message(id));
        }
        let is_meant = |row: &&Row| match ids.is_empty() {
            true => desk.inbox.is_unread(row, me),
            false => ids.contains(&row.id),
        };
        let rows: Vec<Row> = desk.inbox.rows().filter(is_meant).cloned().collect();
        let answer = self.inbox(desk, rows.iter())?;
        let read: Vec<String> = rows.into_iter().map(|row| row.id).collect();
        self.with_desk(path, |desk, _| desk.inbox.read(&read))?;
        Ok(answer)
    }
}

fn no_message(id: &str) -> Failure {
    let message = format!("there is no message {id}");
    Failure::new("AE-NO-MESSAGE", Exit::USAGE, message).next("aura inbox", "names them")
}
