//! Who edits what now, as one clone says it, hears it and passes it on.
//!
//! A word follows the subscriptions of its log: whoever asked this device for the log is told, and the Mothership while
//! it serves it. So it gets to everybody by the ways by which changes do, once over each link.
//!
//! Invariants:
//! - the own word is said at once, and then at most every [`SAY_MS`], whatever is edited how often;
//! - a word that came over a link does not go back over it, and goes over each other one once;
//! - what is told of is what was edited within the last hour, at most [`SPOTS_MAX`] places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::{
    AgedActivity, Code, LogId, SignedActivity, TeamId, Writer,
    codec::{self, DecodeError},
    limits::{ACTIVITY_MS_MAX, PEERS_PER_MESSAGE_MAX},
};
use aura_semantic::UnitId;
use serde::{Deserialize, Serialize};

use super::links::LinkId;
use crate::{
    Now,
    activity::{Verdict, Words},
};

/// Time between two own words in milliseconds, where something else is edited.
pub const SAY_MS: u64 = 2_000;
/// The same where the same is edited still.
pub const SAY_AGAIN_MS: u64 = 30_000;
/// Places that one word names, the newest first.
pub const SPOTS_MAX: usize = 12;

/// A place in a repository that is edited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spot {
    /// The file.
    pub path: String,
    /// The unit in it and its name; none for the file as a whole.
    pub unit: Option<(UnitId, String)>,
    /// How long ago it was edited last, in milliseconds.
    pub ago_ms: u64,
}

impl Spot {
    /// Where it is, whenever it was edited.
    pub fn place(&self) -> (&str, Option<UnitId>) {
        (&self.path, self.unit.as_ref().map(|(unit, _)| *unit))
    }
}

/// What a word says, before it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityBody {
    /// The branch.
    pub channel: String,
    /// What is edited, the newest first.
    pub spots: Vec<Spot>,
}

impl ActivityBody {
    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads unsealed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

/// By which way words come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The control link.
    Mothership,
    /// A link with another device.
    Neighbour(LinkId),
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// These were edited.
    Edited(Vec<Spot>),
    /// What [`Output::Say`] asked for, sealed and signed.
    Said(SignedActivity),
    /// It cannot be sealed yet; [`Input::Edited`] asks for it again, also with nothing new.
    Unsaid,
    /// Nothing more is told of what is edited here, and what was told is over.
    Silent,
    /// Who wants to hear of this log.
    Listeners(BTreeSet<Via>),
    /// Words of members came.
    Heard {
        /// By which way.
        from: Via,
        /// Which.
        words: Vec<AgedActivity>,
    },
    /// A deadline passed.
    Tick,
}

/// What is wanted.
#[derive(Debug)]
pub enum Output {
    /// Seal and sign this; answer with [`Input::Said`].
    Say {
        /// The word's number.
        counter: u64,
        /// What is edited here; the branch is the shell's to know.
        spots: Vec<Spot>,
    },
    /// Tell words.
    Tell {
        /// By which way.
        to: Via,
        /// Which.
        words: Vec<AgedActivity>,
    },
    /// There is a new word of this clone.
    Learned(Writer),
    /// Close a link that tells what nobody said.
    Close {
        /// Which.
        from: Via,
        /// Why.
        code: Code,
    },
}

/// What one clone says and knows of who edits what.
pub struct Activity {
    team: TeamId,
    log: LogId,
    words: Words,
    /// What each was told, or told itself.
    told: BTreeMap<Via, BTreeMap<Writer, u64>>,
    /// What is edited here, and until when it is worth telling.
    spots: Vec<(Spot, u64)>,
    counter: u64,
    said_ms: Option<u64>,
    due_ms: Option<u64>,
    outputs: VecDeque<Output>,
}

impl Activity {
    /// Of a clone that has said nothing and knows nothing.
    pub fn new(team: TeamId, log: LogId) -> Self {
        Self {
            team,
            log,
            words: Words::default(),
            told: BTreeMap::new(),
            spots: Vec::new(),
            counter: 0,
            said_ms: None,
            due_ms: None,
            outputs: VecDeque::new(),
        }
    }

    /// Applies one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Edited(spots) => self.edited(now, spots),
            Input::Said(said) => {
                let writer = said.writer;
                let word = AgedActivity { said, age_ms: 0 };
                if self.words.take(now, self.team, &word, true) == Verdict::New {
                    self.spread(now, &[writer]);
                }
            }
            Input::Unsaid => self.said_ms = None,
            Input::Silent if self.said_ms.is_some() => {
                self.spots.clear();
                self.due_ms = Some(now.mono_ms);
                self.tick(now);
            }
            Input::Silent => {}
            Input::Listeners(listeners) => self.listen(now, &listeners),
            Input::Heard { from, words } => self.heard(now, from, &words),
            Input::Tick => self.tick(now),
        }
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a tick is wanted, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        self.due_ms
    }

    /// What is known of others and of this clone, each word with its age.
    pub fn words(&self, now: Now) -> impl Iterator<Item = AgedActivity> + '_ {
        self.words.of(now, self.log)
    }

    /// The word of one clone.
    pub fn word_of(&self, now: Now, writer: Writer) -> Option<AgedActivity> {
        self.words.of_clone(now, self.log, writer)
    }

    // spec: activity/1.4
    fn edited(&mut self, now: Now, spots: Vec<Spot>) {
        let mut has_new = false;
        for spot in spots {
            let Some(left_ms) = ACTIVITY_MS_MAX.checked_sub(spot.ago_ms) else {
                continue;
            };
            let until_ms = now.mono_ms + left_ms;
            let before = self
                .spots
                .iter()
                .position(|(known, _)| known.place() == spot.place());
            let before = before.map(|at| self.spots.remove(at));
            has_new |= before.is_none();
            let until_ms = before.map_or(until_ms, |(_, before_ms)| until_ms.max(before_ms));
            self.spots.push((spot, until_ms));
        }
        // Newest first, and of what was edited at once the first.
        self.spots
            .sort_by_key(|(_, until_ms)| std::cmp::Reverse(*until_ms));
        self.spots.truncate(SPOTS_MAX);
        let pause_ms = if has_new { SAY_MS } else { SAY_AGAIN_MS };
        let at_ms = self
            .said_ms
            .map_or(now.mono_ms, |said_ms| now.mono_ms.max(said_ms + pause_ms));
        let is_worth_telling = !self.spots.is_empty();
        if is_worth_telling {
            self.due_ms = Some(self.due_ms.map_or(at_ms, |due_ms| due_ms.min(at_ms)));
        }
        self.tick(now);
    }

    fn tick(&mut self, now: Now) {
        self.words.sweep(now);
        if self.due_ms.is_none_or(|due_ms| now.mono_ms < due_ms) {
            return;
        }
        self.due_ms = None;
        self.said_ms = Some(now.mono_ms);
        self.counter = now.wall_ms.max(self.counter + 1);
        self.spots.retain(|(_, until_ms)| now.mono_ms < *until_ms);
        let spot = |(spot, until_ms): &(Spot, u64)| Spot {
            ago_ms: ACTIVITY_MS_MAX.saturating_sub(until_ms.saturating_sub(now.mono_ms)),
            ..spot.clone()
        };
        self.outputs.push_back(Output::Say {
            counter: self.counter,
            spots: self.spots.iter().map(spot).collect(),
        });
    }

    fn listen(&mut self, now: Now, listeners: &BTreeSet<Via>) {
        self.told.retain(|via, _| listeners.contains(via));
        let is_new = |via: &&Via| !self.told.contains_key(via);
        let new: Vec<Via> = listeners.iter().filter(is_new).copied().collect();
        for via in new {
            self.told.insert(via, BTreeMap::new());
            let words = self.words.of(now, self.log);
            let known: Vec<Writer> = words.map(|word| word.said.writer).collect();
            self.tell(now, via, &known);
        }
    }

    // spec: activity/2.1, activity/2.2
    fn heard(&mut self, now: Now, from: Via, words: &[AgedActivity]) {
        if PEERS_PER_MESSAGE_MAX < words.len() {
            let code = Code::TOO_LARGE;
            return self.outputs.push_back(Output::Close { from, code });
        }
        let mut learned = Vec::new();
        for word in words.iter().filter(|word| word.said.log == self.log) {
            let writer = word.said.writer;
            match self.words.take(now, self.team, word, false) {
                Verdict::New => {
                    learned.push(writer);
                    self.outputs.push_back(Output::Learned(writer));
                }
                Verdict::Old => {}
                Verdict::Forged => {
                    let code = Code::BAD_SIGNATURE;
                    self.outputs.push_back(Output::Close { from, code });
                    break;
                }
            }
            if let Some(told) = self.told.get_mut(&from) {
                let known = told.entry(writer).or_default();
                *known = word.said.counter.max(*known);
            }
        }
        self.spread(now, &learned);
    }

    fn spread(&mut self, now: Now, writers: &[Writer]) {
        for via in self.told.keys().copied().collect::<Vec<_>>() {
            self.tell(now, via, writers);
        }
    }

    /// Tells a listener the words of these clones that it was not told.
    fn tell(&mut self, now: Now, via: Via, writers: &[Writer]) {
        let Some(told) = self.told.get_mut(&via) else {
            return;
        };
        let words = writers
            .iter()
            .filter_map(|writer| self.words.of_clone(now, self.log, *writer));
        let lacking = words.filter(|word| {
            let known = told.entry(word.said.writer).or_default();
            let is_lacking = *known < word.said.counter;
            *known = word.said.counter.max(*known);
            is_lacking
        });
        let lacking: Vec<AgedActivity> = lacking.collect();
        for words in lacking.chunks(PEERS_PER_MESSAGE_MAX) {
            let words = words.to_vec();
            self.outputs.push_back(Output::Tell { to: via, words });
        }
    }
}

#[cfg(test)]
mod tests;
