//! Words of where peers are, passed on by peers, so that a team finds itself without the Mothership.
//!
//! What is new is told at once to a few, and in rounds to the rest. A link loses nothing but with itself, so each is told
//! a word once, unless the other side said the same itself, and the next link to that peer is told again.
//!
//! Invariants:
//! - a word counts only if the peer is a member already, the word is newer, and the peer signed it;
//! - questions about strangers are few, whatever gossip names;
//! - a peer that moves all the time is believed now and then, so that its words cost the others little;
//! - who hides where it is, is never told of with an address, since no such word is well formed.

use std::collections::VecDeque;

use aura_proto::{
    Code, PeerId, SignedReach, limits::PEERS_PER_MESSAGE_MAX, message::Message, reach::Visibility,
};
use aura_trust::verify_reach;

use super::{
    Links,
    io::{LinkId, Output},
    table::{Link, Stage},
};
use crate::Now;

/// Time between two rounds on one link in milliseconds, before jitter.
pub const ROUND_MS: u64 = 30_000;
/// Links that a new word is passed on to at once.
pub const RUMOUR_LINKS_MAX: usize = 3;
/// Peers that are asked about in a minute.
pub const ASKS_PER_MIN_MAX: usize = 10;
/// Of these, how many may be strangers that gossip named; the rest is for members out of reach.
const STRANGERS_PER_MIN_MAX: usize = 8;
const MINUTE_MS: u64 = 60_000;

/// The questions of the last minute.
#[derive(Debug, Default)]
pub(super) struct Asks {
    asked: VecDeque<(u64, PeerId)>,
    pub(super) unknown_words: u64,
}

impl Asks {
    /// How many more may be asked now.
    fn room(&mut self, now_ms: u64) -> usize {
        while (self.asked.front()).is_some_and(|(at_ms, _)| at_ms + MINUTE_MS <= now_ms) {
            self.asked.pop_front();
        }
        ASKS_PER_MIN_MAX.saturating_sub(self.asked.len())
    }

    /// Whether a stranger may be asked about now.
    fn may_ask(&mut self, now_ms: u64, peer: PeerId) -> bool {
        let reserve = ASKS_PER_MIN_MAX - STRANGERS_PER_MIN_MAX;
        reserve < self.room(now_ms) && self.asked.iter().all(|(_, asked)| *asked != peer)
    }
}

impl Links {
    /// This device's own word, unless it would say what people have hidden.
    pub(super) fn own_word(&self) -> Option<SignedReach> {
        let may_say = |word: &&SignedReach| {
            self.settings.visibility == Visibility::Open || word.reach.addresses.is_empty()
        };
        self.announced.as_ref().filter(may_say).cloned()
    }

    pub(super) fn announce(&mut self, word: SignedReach) {
        if self.announced.as_ref() == Some(&word) {
            return;
        }
        // What was so elsewhere says nothing of where it is now.
        self.proven = super::Proven::default();
        self.announced = Some(word);
        let Some(word) = self.own_word() else {
            return;
        };
        let ready = self
            .links
            .iter_mut()
            .filter(|(_, link)| link.stage == Stage::Ready);
        for (id, link) in ready {
            link.told.insert(word.peer, word.reach.counter);
            let message = Message::Reach(vec![word.clone()]);
            self.outputs.push_back(Output::Send { link: *id, message });
        }
    }

    pub(super) fn heard_words(&mut self, now: Now, id: LinkId, words: &[SignedReach]) {
        if PEERS_PER_MESSAGE_MAX < words.len() {
            self.close(now, id, Code::TOO_LARGE, "too many words in one message");
            return;
        }
        let mut learned = Vec::new();
        let mut strangers = Vec::new();
        let mut is_forged = false;
        for word in words.iter().filter(|word| word.peer != self.own.key.peer()) {
            let Some(peer) = self.peers.get_mut(&word.peer) else {
                self.asks.unknown_words += 1;
                strangers.push(word.peer);
                continue;
            };
            if peer.known.reach.counter < word.reach.counter {
                if !peer.words.takes(now.mono_ms) {
                    continue;
                }
                if verify_reach(self.own.team, word).is_err() {
                    is_forged = true;
                    break;
                }
                peer.learn(word);
                learned.push(word.clone());
                self.outputs.push_back(Output::Learned(word.clone()));
            }
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            tell(link, std::slice::from_ref(word));
        }
        self.ask_about_strangers(now, &strangers);
        self.pass_on(&learned);
        if is_forged {
            self.close(
                now,
                id,
                Code::BAD_SIGNATURE,
                "a word that its peer did not sign",
            );
        }
        if !learned.is_empty() {
            self.close_forbidden(now);
            self.is_stirred = true;
        }
    }

    /// Tells a few links what is new.
    fn pass_on(&mut self, learned: &[SignedReach]) {
        if learned.is_empty() {
            return;
        }
        let mut ids: Vec<_> = self.peers.values().filter_map(|peer| peer.up).collect();
        let mut left = RUMOUR_LINKS_MAX;
        while let Some(pick) = self
            .chance
            .next()
            .checked_rem(ids.len() as u64)
            .filter(|_| 0 < left)
        {
            let id = ids.swap_remove(pick as usize);
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            let words: Vec<_> = learned
                .iter()
                .filter(|word| is_lacking(link, word))
                .cloned()
                .collect();
            if !words.is_empty() {
                tell(link, &words);
                left -= 1;
                self.send(id, Message::Reach(words));
            }
        }
    }

    /// Tells one link what it was not told yet.
    pub(super) fn round(&mut self, now: Now, id: LinkId) {
        let next_ms = now.mono_ms + self.chance.about(ROUND_MS);
        let own = self.own_word();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.round_at_ms = next_ms;
        let words = self.peers.values().filter_map(|peer| peer.word.as_ref());
        let words: Vec<_> = (own.iter().chain(words))
            .filter(|word| is_lacking(link, word))
            .take(PEERS_PER_MESSAGE_MAX)
            .cloned()
            .collect();
        if !words.is_empty() {
            tell(link, &words);
            self.send(id, Message::Reach(words));
        }
    }

    fn ask_about_strangers(&mut self, now: Now, strangers: &[PeerId]) {
        let mut asked = Vec::new();
        for peer in strangers.iter().filter(|_| self.is_control_up) {
            if self.asks.may_ask(now.mono_ms, *peer) {
                self.asks.asked.push_back((now.mono_ms, *peer));
                asked.push(*peer);
            }
        }
        if !asked.is_empty() {
            self.outputs.push_back(Output::Ask(asked));
        }
    }

    /// Asks about members that are out of reach, as far as there is room.
    pub(super) fn ask(&mut self, now: Now) {
        if !self.is_control_up {
            return;
        }
        let room = self.asks.room(now.mono_ms);
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.is_ask_due);
        let mut asked = Vec::new();
        for (id, peer) in due.take(room) {
            peer.is_ask_due = false;
            asked.push(*id);
            self.asks.asked.push_back((now.mono_ms, *id));
        }
        if !asked.is_empty() {
            self.outputs.push_back(Output::Ask(asked));
        }
    }

    /// When there is room for a question that waits.
    pub(super) fn asks_due_ms(&self) -> Option<u64> {
        let is_due = self.is_control_up && self.peers.values().any(|peer| peer.is_ask_due);
        let oldest = self
            .asks
            .asked
            .front()
            .map_or(0, |(at_ms, _)| at_ms + MINUTE_MS);
        is_due.then_some(oldest)
    }
}

/// Whether the other side may not have the word yet.
fn is_lacking(link: &Link, word: &SignedReach) -> bool {
    let told = link.told.get(&word.peer);
    word.peer != link.peer && told.is_none_or(|counter| *counter < word.reach.counter)
}

/// Remembers that the other side was told these words, or said them itself.
fn tell(link: &mut Link, words: &[SignedReach]) {
    for word in words {
        let told = link.told.entry(word.peer).or_default();
        *told = word.reach.counter.max(*told);
    }
}
