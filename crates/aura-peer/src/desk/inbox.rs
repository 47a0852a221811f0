//! Messages between members: they travel as entries of the repository's log.
//!
//! Invariants:
//! - a message is told of once, whether it was heard first or came with its place;
//! - what was read stays read over restarts; losing the file costs a second look;
//! - only people make a message urgent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    body::WORD_BYTES_MAX,
    mail::{EntryName, MessageBody, message_name},
    replica::Own,
};
use aura_proto::{Entry, Kind, PeerId, Writer, message::Role};
use aura_store::write_atomic;
use aura_trust::KeyRing;
use serde::{Deserialize, Serialize};

use super::{Desk, Notice, opened, storage, symbols::full};

/// Messages that are listed; older ones are in the log alone.
const LISTED_MAX: usize = 10_000;
/// How far back those who changed something count as its editors, in milliseconds: a day.
const EDITORS_MS: u64 = 24 * 60 * 60 * 1_000;

/// A message as it is listed; its text stays in the log.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) lsn: u64,
    pub(crate) from: PeerId,
    /// For whom; nobody in particular is everybody.
    pub(crate) to: Vec<PeerId>,
    pub(crate) about: Option<String>,
    /// The message that it answers.
    pub(crate) re: Option<EntryName>,
    pub(crate) is_urgent: bool,
    /// By its author's clock.
    pub(crate) time_ms: u64,
    /// Who has taken note of it.
    pub(crate) acks: BTreeSet<PeerId>,
}

/// What is kept over restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    read: BTreeSet<String>,
}

/// The messages of one log.
pub(crate) struct Inbox {
    at: PathBuf,
    kept: Kept,
    rows: BTreeMap<(Writer, u64), Row>,
    order: VecDeque<(Writer, u64)>,
    /// Those for this device that were not read.
    unread: BTreeSet<(Writer, u64)>,
}

impl Inbox {
    pub(super) fn open(state_dir: &Path) -> Self {
        let at = state_dir.join("inbox.json");
        let kept = fs::read(&at).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            at,
            kept: kept.unwrap_or_default(),
            rows: BTreeMap::new(),
            order: VecDeque::new(),
            unread: BTreeSet::new(),
        }
    }

    /// Forgets what the log says, not what was read.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.order.clear();
        self.unread.clear();
    }

    /// The messages in the order in which they came.
    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.order.iter().filter_map(|key| self.rows.get(key))
    }

    pub(crate) fn get(&self, name: &EntryName) -> Option<&Row> {
        self.rows.get(&name.key())
    }

    pub(crate) fn named(&self, id: &str) -> Option<(EntryName, &Row)> {
        let found = self.rows.iter().find(|(_, row)| row.id == id);
        found.map(|((writer, author_seq), row)| {
            let name = EntryName {
                peer: writer.peer,
                incarnation: writer.incarnation,
                author_seq: *author_seq,
            };
            (name, row)
        })
    }

    /// Whether a message is for this device and was not read.
    pub(crate) fn is_unread(&self, row: &Row, me: PeerId) -> bool {
        let is_for_me = row.from != me && (row.to.is_empty() || row.to.contains(&me));
        is_for_me && !self.kept.read.contains(&row.id)
    }

    fn insert(&mut self, key: (Writer, u64), row: Row, me: PeerId) {
        if self.is_unread(&row, me) {
            self.unread.insert(key);
        }
        self.rows.insert(key, row);
        self.order.push_back(key);
        if LISTED_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
            && let Some(row) = self.rows.remove(&oldest)
        {
            self.kept.read.remove(&row.id);
            self.unread.remove(&oldest);
        }
    }

    /// How many messages are for this device and were not read.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// These were read.
    pub(crate) fn read(&mut self, ids: &[String]) -> Result<(), Failure> {
        let before = self.kept.read.len();
        self.kept.read.extend(ids.iter().cloned());
        let (rows, read) = (&self.rows, &self.kept.read);
        self.unread
            .retain(|key| rows.get(key).is_some_and(|row| !read.contains(&row.id)));
        if self.kept.read.len() == before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        write_atomic(&self.at, &bytes, 0o600).map_err(|error| storage(&error))
    }
}

impl Desk {
    /// Takes in a message.
    pub(super) fn note_message(&mut self, lsn: u64, entry: &Entry, ring: &KeyRing) {
        let header = entry.header();
        let key = (header.writer, header.author_seq);
        let body = opened(entry, Kind::MESSAGE, ring)
            .and_then(|plain| MessageBody::decode(plain).ok())
            .filter(|body| body.check().is_ok());
        let from = header.writer.peer;
        match body {
            Some(MessageBody::Text {
                to,
                about,
                re,
                is_urgent,
                text,
            }) if !self.inbox.rows.contains_key(&key) => {
                // spec: messages/1.4
                let is_person =
                    (self.roster.member(from)).is_none_or(|card| card.role != Role::Agent);
                let row = Row {
                    id: message_name(entry),
                    lsn,
                    from,
                    to,
                    about,
                    re,
                    is_urgent: is_urgent && is_person,
                    time_ms: header.time_ms,
                    acks: BTreeSet::new(),
                };
                if self.inbox.is_unread(&row, self.key_peer) {
                    self.notices.push(Notice {
                        kind: "message",
                        symbol: None,
                        peer: Some(from),
                        text: format!("{} {text}", row.id),
                    });
                }
                self.inbox.insert(key, row, self.key_peer);
            }
            Some(MessageBody::Ack { of }) => {
                if let Some(row) = self.inbox.rows.get_mut(&of.key()) {
                    row.acks.insert(from);
                }
            }
            _ => {}
        }
    }

    /// The words of a message.
    pub(crate) fn text_of(&self, row: &Row, ring: &KeyRing) -> String {
        let entry = self.book.entry(row.lsn);
        let plain = entry.and_then(|entry| opened(&entry, Kind::MESSAGE, ring));
        match plain.and_then(|plain| MessageBody::decode(plain).ok()) {
            Some(MessageBody::Text { text, .. }) => text,
            _ => String::new(),
        }
    }

    /// Writes a message; answers what it is called.
    pub(crate) fn send(
        &mut self,
        body: &MessageBody,
        ring: &KeyRing,
    ) -> Result<Option<String>, Failure> {
        self.may_speak()?;
        if let MessageBody::Text { text, about, .. } = body {
            let problem = if text.trim().is_empty() {
                Some("a message says something")
            } else if about
                .as_ref()
                .is_some_and(|about| WORD_BYTES_MAX < about.len())
            {
                Some("what a message is about is a name, and that is too long for one")
            } else {
                body.check()
                    .is_err()
                    .then_some("a message has at most 64 KiB")
            };
            if let Some(message) = problem {
                return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                    .next("aura msg send @NAME TEXT", "in fewer words, or name a file"));
            }
        }
        let plain = body.encode();
        let own = Own {
            incarnation: self.book.replica.writer().incarnation,
            author_seq: self.book.replica.next_number(),
        };
        if ring.current().is_none() {
            let message = "this device does not have the team key yet";
            return Err(Failure::new("AE-NO-KEY", Exit::NOT_SET_UP, message)
                .next("aura status", "an admin approves it first"));
        }
        let has_room = self.book.replica.has_room(plain.len());
        if !has_room || !self.author((Kind::MESSAGE, 0), &plain, None, ring) {
            return Err(super::publish::no_space());
        }
        let key = (self.writer(own), own.author_seq);
        Ok(self.inbox.rows.get(&key).map(|row| row.id.clone()))
    }

    /// Who works on a symbol: whoever edits it now or changed it lately, or holds a zone in which it is.
    pub(crate) fn editors(
        &mut self,
        wanted: &str,
        ring: &KeyRing,
    ) -> Result<BTreeSet<PeerId>, Failure> {
        let symbol = self.symbol(wanted)?;
        let since_ms = self.clock.wall_ms().saturating_sub(EDITORS_MS);
        let changed = |recorded: &&aura_engine::peer::units::Recorded| {
            let is_it = |(unit, ..): &(aura_semantic::UnitId, _, _, _)| *unit == symbol.unit;
            *recorded.path == *symbol.path
                && since_ms <= recorded.origin.time_ms
                && (symbol.is_file() || recorded.touched.iter().any(is_it))
        };
        let recorded = self.units.recorded().iter().filter(changed);
        let mut editors: BTreeSet<PeerId> = recorded
            .map(|recorded| recorded.origin.writer.peer)
            .collect();
        editors.extend(self.holders_of(&symbol, ring));
        let unit = (!symbol.is_file()).then_some(symbol.unit);
        editors.extend(self.editing_now(&symbol.path, unit, ring));
        editors.remove(&self.key_peer);
        if editors.is_empty() {
            let message = format!("nobody else works on {}", full(&symbol.path, &symbol.name));
            return Err(Failure::new("AE-NO-PEER", Exit::USAGE, message)
                .next("aura msg send @all TEXT", "tells everybody"));
        }
        Ok(editors)
    }
}
