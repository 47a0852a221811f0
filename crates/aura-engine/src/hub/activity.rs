//! Who edits what now, passed on to whoever follows the same log.
//!
//! Invariants:
//! - nobody is told of a log that it does not follow, and nothing of it is kept on disk;
//! - what comes in a crowd is told together, at most [`TELL_MS`] later, and made once however many hear it.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{
    AgedActivity, Code, LogId, PeerId, Writer,
    limits::PEERS_PER_MESSAGE_MAX,
    message::{Message, feature},
};

use super::{Hub, LinkId, Member, Output, links::Link};
use crate::{
    Now,
    activity::{Verdict, Words},
};

/// How long a word may wait to be told together with others, in milliseconds.
const TELL_MS: u64 = 100;

/// The newest words, and which are still to be told.
#[derive(Debug, Default)]
pub(super) struct Activity {
    words: Words,
    news: BTreeMap<LogId, BTreeSet<Writer>>,
    tell_at_ms: Option<u64>,
}

impl Activity {
    /// When what waits is told.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.tell_at_ms
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.words.forget(peer);
    }
}

impl Hub {
    /// Takes what a device says of its work, or passes on of others'.
    // spec: activity/2.1, activity/2.2
    pub(super) fn hear_what_is_edited(
        &mut self,
        now: Now,
        (link, peer): (LinkId, PeerId),
        words: &[AgedActivity],
    ) {
        if PEERS_PER_MESSAGE_MAX < words.len() {
            let detail = "too many words in one message";
            return self.close(link, Code::TOO_LARGE, detail);
        }
        for word in words {
            let writer = word.said.writer;
            let follows = |link: &Link| link.follows(word.said.log);
            let writes =
                |member: &Member| member.revoked.is_none() && member.admitted.role.may_write();
            let counts = self.links.get(&link).is_some_and(follows)
                && self.roll.member(writer.peer).is_some_and(writes);
            if !counts {
                continue;
            }
            let is_own = writer.peer == peer;
            let words = &mut self.activity.words;
            match words.take(now, self.config.team, word, is_own) {
                Verdict::New => {
                    let news = self.activity.news.entry(word.said.log);
                    news.or_default().insert(writer);
                    let soon_ms = now.mono_ms + TELL_MS;
                    self.activity.tell_at_ms.get_or_insert(soon_ms);
                }
                Verdict::Old => {}
                Verdict::Forged => {
                    let detail = "a word that its device did not sign";
                    return self.close(link, Code::BAD_SIGNATURE, detail);
                }
            }
        }
    }

    /// Tells whoever begins to follow a log what is edited in it.
    pub(super) fn tell_what_is_edited(&mut self, now: Now, link: LinkId, log: LogId) {
        let understands = |link: &Link| link.has(feature::ACTIVITY);
        if self.links.get(&link).is_some_and(understands) {
            let words: Vec<AgedActivity> = self.activity.words.of(now, log).collect();
            self.tell_words(&[link], words);
        }
    }

    /// Tells what has waited for long enough.
    pub(super) fn tell_edits_due(&mut self, now: Now) {
        let tell_at_ms = self.activity.tell_at_ms;
        if tell_at_ms.is_none_or(|at_ms| now.mono_ms < at_ms) {
            return;
        }
        self.activity.tell_at_ms = None;
        self.activity.words.sweep(now);
        for (log, writers) in std::mem::take(&mut self.activity.news) {
            let words = &self.activity.words;
            let writers = writers.into_iter();
            let words = writers.filter_map(|writer| words.of_clone(now, log, writer));
            let words: Vec<AgedActivity> = words.collect();
            let hears = |link: &Link| {
                link.ready().is_some() && link.has(feature::ACTIVITY) && link.follows(log)
            };
            let links = self.links.iter().filter(|(_, link)| hears(link));
            let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
            self.tell_words(&links, words);
        }
    }

    fn tell_words(&mut self, links: &[LinkId], words: Vec<AgedActivity>) {
        for words in words.chunks(PEERS_PER_MESSAGE_MAX) {
            let (links, words) = (links.to_vec(), words.to_vec());
            let messages = vec![Message::Activity(words)];
            self.outputs.push_back(Output::Tell { links, messages });
        }
    }
}
