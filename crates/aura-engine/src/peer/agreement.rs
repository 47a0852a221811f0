//! Whether those who know the same patches of a file have the same file.
//!
//! Devices carry the same patches out in different orders, on files that their users are at. They come to one text, as
//! far as the rules for that go, and where a rule fails nobody would know. So who has reason to doubt says what it has:
//! a hash, and its text only where somebody else has said otherwise. Different texts are a conflict of the file.
//!
//! Invariants:
//! - nobody says anything of a file that is not in doubt, and nothing twice of the same patches and the same text;
//! - what is compared are files of which the same patches are known, over the same blob of git.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_proto::{
    PeerId, RepoPath,
    codec::{self, DecodeError},
    pack::{pack, unpack},
};
use aura_semantic::{ContentHash, Text};
use serde::{Deserialize, Serialize};

use super::{
    body::{BodyError, WORD_BYTES_MAX},
    units::Origin,
};

/// How long a file must have been quiet before it is spoken of, in milliseconds.
const QUIET_MS: u64 = 300;
/// How long whoever does not owe a word waits for one, in milliseconds.
const PATIENCE_MS: u64 = 10_000;
/// Over what time those who would all say the same are spread, in milliseconds.
const SPREAD_MS: u64 = 4_000;
/// Devices whose word on one file is remembered.
const HEARD_MAX: usize = 64;

/// Names a set of patches, in whatever order they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSet(pub [u8; 16]);

impl PatchSet {
    /// With one more patch: that with this number of this author.
    // spec: patch/6.2
    pub fn add(&mut self, origin: &Origin) {
        let mut hasher = blake3::Hasher::new_derive_key("aura/v1/patch-set");
        hasher.update(&origin.writer.peer.0);
        hasher.update(&origin.writer.incarnation.0.to_be_bytes());
        hasher.update(&origin.author_seq.to_be_bytes());
        let name = hasher.finalize();
        let bytes = self.0.iter_mut().zip(name.as_bytes());
        bytes.for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// What a device has of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The patches of the file that it knows on the branch.
    pub patches: PatchSet,
    /// The blob of the file in the commit that is checked out, hexadecimal; none if it has none.
    pub blob: Option<String>,
    /// Whether it has carried out all of these patches.
    pub is_complete: bool,
    /// The content that it comes to; none where the file is gone.
    pub content: Option<ContentHash>,
}

impl Holding {
    /// Whether both ought to have the same content.
    fn is_like(&self, other: &Self) -> bool {
        self.patches == other.patches && self.blob == other.blob
    }
}

/// The body of a state entry: what its author has of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateBody {
    /// The branch.
    pub channel: String,
    /// The file.
    pub path: String,
    /// What the author has of it.
    pub holding: Holding,
    /// The text, where somebody else has another.
    pub text: Option<Text>,
}

impl StateBody {
    /// Whether an honest daemon could have made it.
    // spec: patch/6.3
    pub fn check(&self) -> Result<(), BodyError> {
        RepoPath::try_from(self.path.as_str()).map_err(BodyError::Path)?;
        let blob = self.holding.blob.iter();
        let mut words = blob.chain([&self.channel]);
        let is_bounded = words.all(|word| word.len() <= WORD_BYTES_MAX);
        let text = self.text.as_ref();
        let is_true =
            text.is_none_or(|text| Some(ContentHash::of(text.bytes())) == self.holding.content);
        (is_bounded && is_true)
            .then_some(())
            .ok_or(BodyError::Bounds)
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        pack(codec::encode(self))
    }

    /// Reads unsealed bytes.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        codec::decode(&unpack(bytes)?)
    }
}

/// What somebody said of a file.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What it has.
    pub holding: Holding,
    /// Where the entry is and who wrote it.
    pub origin: Origin,
    /// Whether the entry has the text.
    pub has_text: bool,
}

/// Different texts of those who know the same patches of a file.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// What is known.
    pub patches: PatchSet,
    /// What this device has.
    pub mine: Option<ContentHash>,
    /// The other contents, as they were told first; of each whoever told its text, else anybody.
    pub others: Vec<Heard>,
    /// How many patches were recorded when it was found.
    pub recorded: usize,
}

/// What is to be done for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Tell the team what this device has of it.
    Tell {
        /// What that is.
        holding: Holding,
        /// Whether with the text.
        with_text: bool,
    },
    /// Somebody who has carried out every patch has the same text: what waits here is in it.
    Same,
}

/// One file that is in doubt, or of which something was heard.
#[derive(Debug, Default)]
struct Case {
    /// When it is looked at; none until something happens.
    look_at_ms: Option<u64>,
    /// Whether the others wait for this device's word.
    owes: bool,
    /// From when on this device asks for theirs by giving its own.
    asks_at_ms: Option<u64>,
    /// From when on it tells a text that others could tell as well.
    tells_at_ms: Option<u64>,
    /// The last word of each.
    heard: BTreeMap<PeerId, Heard>,
    open: Option<Disagreement>,
    /// The last one that was open: somebody may settle it.
    last: Option<Disagreement>,
}

impl Case {
    fn look(&mut self, at_ms: u64) {
        self.look_at_ms = Some(self.look_at_ms.map_or(at_ms, |before| before.min(at_ms)));
    }
}

/// Every file in doubt.
#[derive(Debug)]
pub struct Agreement {
    me: PeerId,
    cases: BTreeMap<Arc<str>, Case>,
}

impl Agreement {
    /// Nothing is in doubt.
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            cases: BTreeMap::new(),
        }
    }

    /// A file may differ from what others have: a patch came to another text here than where it was made, or could not
    /// be carried out. Whoever `owes` wrote last, so the others wait for its word.
    // spec: patch/6.1
    pub fn doubt(&mut self, path: &Arc<str>, owes: bool, now_ms: u64) {
        let later = now_ms + PATIENCE_MS + spread(self.me, path);
        let case = self.cases.entry(Arc::clone(path)).or_default();
        case.owes |= owes;
        let asks_at_ms = *case.asks_at_ms.get_or_insert(later);
        case.look_at_ms = None;
        case.look(if case.owes {
            now_ms + QUIET_MS
        } else {
            asks_at_ms
        });
    }

    /// A patch of a file was recorded, or carried out here; `seq` is its place.
    pub fn patched(&mut self, path: &str, seq: Option<u64>, now_ms: u64) {
        let Some(case) = self.cases.get_mut(path) else {
            return;
        };
        if let Some(mine) = case.heard.get(&self.me) {
            let place = mine.origin.seq.unwrap_or(u64::MAX);
            // Those who have that patch cannot compare what was said without it.
            case.owes |= case.open.is_some() || seq.is_some_and(|seq| seq < place);
        }
        case.open = None;
        case.look_at_ms = None;
        case.tells_at_ms = None;
        case.look(now_ms + QUIET_MS);
    }

    /// Somebody, or this device, said what it has of a file. Whoever `knows_more` than that by own patches owes an
    /// answer: it cannot compare.
    pub fn heard(&mut self, path: &Arc<str>, heard: Heard, knows_more: bool, now_ms: u64) {
        let me = self.me;
        let case = self.cases.entry(Arc::clone(path)).or_default();
        let peer = heard.origin.writer.peer;
        if !case.heard.contains_key(&peer) && HEARD_MAX <= case.heard.len() && peer != me {
            return;
        }
        case.heard.insert(peer, heard);
        case.owes |= knows_more;
        case.look(if knows_more {
            now_ms + QUIET_MS
        } else {
            now_ms
        });
    }

    /// An own entry has its place.
    pub fn placed(&mut self, author_seq: u64, seq: u64) {
        let mine = self.cases.values_mut();
        let mine = mine.filter_map(|case| case.heard.get_mut(&self.me));
        for heard in mine.filter(|heard| heard.origin.author_seq == author_seq) {
            heard.origin.seq = Some(seq);
        }
    }

    /// Nothing can be compared now: files are looked at when something has happened.
    pub fn put_off(&mut self, now_ms: u64) {
        let cases = self.cases.values_mut();
        let is_due = |case: &&mut Case| case.look_at_ms.is_some_and(|at| at <= now_ms);
        cases.filter(is_due).for_each(|case| case.look_at_ms = None);
    }

    /// Another branch was checked out: what differs there is looked for anew.
    pub fn leave(&mut self) {
        for case in self.cases.values_mut() {
            let heard = std::mem::take(&mut case.heard);
            *case = Case {
                heard,
                ..Case::default()
            };
        }
    }

    /// Something may have become comparable that was not: another branch, another mode.
    pub fn look_again(&mut self, now_ms: u64) {
        let cases = self.cases.values_mut();
        cases.for_each(|case| case.look(now_ms + QUIET_MS));
    }

    /// When the next file is to be looked at.
    pub fn deadline(&self) -> Option<u64> {
        let times = self.cases.values().filter_map(|case| case.look_at_ms);
        times.min()
    }

    /// The files that are to be looked at now.
    pub fn due(&self, now_ms: u64) -> Vec<Arc<str>> {
        let is_due = |case: &Case| case.look_at_ms.is_some_and(|at| at <= now_ms);
        let due = self.cases.iter().filter(|(_, case)| is_due(case));
        due.map(|(path, _)| Arc::clone(path)).collect()
    }

    /// Looks at a file of which this device knows `patches`, and `recorded` patches in all; `holding` tells what it has,
    /// or nothing while that is about to change.
    // spec: patch/6.4
    pub fn look(
        &mut self,
        path: &Arc<str>,
        now_ms: u64,
        (patches, recorded): (PatchSet, usize),
        holding: impl FnOnce() -> Option<Holding>,
    ) -> Option<Act> {
        let me = self.me;
        let case = self.cases.get_mut(path)?;
        case.look_at_ms = None;
        let is_doubted = case.owes || case.asks_at_ms.is_some();
        let mut words = case.heard.values();
        if !is_doubted && !words.any(|heard| heard.holding.patches == patches) {
            return None;
        }
        let mine = holding()?;
        let (others, is_told) = case.compare(me, &mine);
        if others
            .iter()
            .any(|other| other.holding.content != mine.content)
        {
            let act = case.disagree(me, path, (now_ms, recorded), (mine, others, is_told));
            return act;
        }
        if let Some(other) = others.first() {
            let is_known = others.iter().any(|other| other.holding.is_complete);
            let waits = other.origin.seq.is_none();
            // Who waits for something is told that it is in the text.
            if !is_known && mine.is_complete && !is_told && !waits {
                return case.tell(now_ms, spread(me, path), mine);
            }
            let waits_here = !mine.is_complete;
            self.cases.remove(path);
            return (is_known && waits_here).then_some(Act::Same);
        }
        case.open = None;
        let is_due = case.owes || case.asks_at_ms.is_some_and(|at| at <= now_ms);
        if is_due && !is_told {
            (case.owes, case.asks_at_ms) = (false, None);
            return Some(Act::Tell {
                holding: mine,
                with_text: false,
            });
        }
        if is_due {
            (case.owes, case.asks_at_ms) = (false, None);
        } else if let Some(at) = case.asks_at_ms {
            case.look(at);
        }
        None
    }

    /// Files of which those who know the same have different texts.
    pub fn open(&self) -> impl Iterator<Item = (&Arc<str>, &Disagreement)> {
        let cases = self.cases.iter();
        cases.filter_map(|(path, case)| Some((path, case.open.as_ref()?)))
    }

    /// The disagreement over a file that is open, or was the last that was.
    pub fn last(&self, path: &str) -> Option<&Disagreement> {
        self.cases.get(path)?.last.as_ref()
    }

    /// Whether this device is the one that brings its text to the one told first, where nobody loses by that: it told
    /// another first.
    pub fn yields(&self, disagreement: &Disagreement, path: &str) -> bool {
        let heard = self.cases.get(path).map(|case| &case.heard);
        let place = |heard: &Heard| {
            (
                heard.origin.seq.unwrap_or(u64::MAX),
                heard.origin.writer.peer,
            )
        };
        let is_like = |heard: &&Heard| heard.holding.patches == disagreement.patches;
        let mut words: Vec<&Heard> = heard
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(is_like)
            .collect();
        words.sort_by_key(|heard| place(heard));
        let Some(first) = words.first().map(|heard| heard.holding.content) else {
            return false;
        };
        let second = words.iter().find(|heard| heard.holding.content != first);
        second
            .is_some_and(|heard| heard.origin.writer.peer == self.me && heard.origin.seq.is_some())
    }

    /// The content of a disagreement that was told first.
    pub fn first(&self, disagreement: &Disagreement, path: &str) -> Option<&Heard> {
        let heard = &self.cases.get(path)?.heard;
        let words = heard.values();
        let words = words.filter(|heard| heard.holding.patches == disagreement.patches);
        words.min_by_key(|heard| heard.origin.seq.unwrap_or(u64::MAX))
    }
}

impl Case {
    /// The words of others that can be compared with what is here, as they came; and whether this device has said so.
    fn compare(&self, me: PeerId, mine: &Holding) -> (Vec<Heard>, bool) {
        let words = self.heard.iter();
        let like = words.filter(|(_, heard)| heard.holding.is_like(mine));
        let (own, others): (Vec<_>, Vec<_>) = like.partition(|(peer, _)| **peer == me);
        let is_told = own.iter().any(|(_, heard)| heard.holding == *mine);
        let mut others: Vec<Heard> = others.into_iter().map(|(_, heard)| heard.clone()).collect();
        others.sort_by_key(|heard| heard.origin.seq.unwrap_or(u64::MAX));
        (others, is_told)
    }

    /// Notes that texts differ, and tells the own one unless somebody did.
    fn disagree(
        &mut self,
        me: PeerId,
        path: &str,
        (now_ms, recorded): (u64, usize),
        (mine, words, is_told): (Holding, Vec<Heard>, bool),
    ) -> Option<Act> {
        (self.owes, self.asks_at_ms) = (false, None);
        let mut seen = BTreeSet::new();
        let (with, without): (Vec<Heard>, Vec<Heard>) =
            words.iter().cloned().partition(|heard| heard.has_text);
        let texts = with.into_iter().chain(without);
        let texts = texts.filter(|heard| heard.holding.content != mine.content);
        let mut others: Vec<Heard> = texts
            .filter(|heard| seen.insert(heard.holding.content))
            .collect();
        others.sort_by_key(|heard| heard.origin.seq.unwrap_or(u64::MAX));
        let open = Disagreement {
            patches: mine.patches,
            mine: mine.content,
            others,
            recorded,
        };
        self.last = Some(open.clone());
        self.open = Some(open);
        let mut words = words.iter().chain(self.heard.get(&me));
        let has_it = words.any(|heard| {
            heard.holding.is_like(&mine)
                && heard.holding.content == mine.content
                && (heard.has_text || mine.content.is_none())
        });
        if has_it {
            return None;
        }
        // Who has spoken is asked; who has not gives way to others of the same text.
        let wait_ms = if is_told { 0 } else { spread(me, path) };
        let act = self.tell(now_ms, wait_ms, mine)?;
        Some(match act {
            Act::Tell { holding, .. } => Act::Tell {
                holding,
                with_text: true,
            },
            Act::Same => Act::Same,
        })
    }

    /// Tells what is here, but for what somebody else may say meanwhile.
    fn tell(&mut self, now_ms: u64, wait_ms: u64, holding: Holding) -> Option<Act> {
        let at = *self.tells_at_ms.get_or_insert(now_ms + wait_ms);
        if now_ms < at {
            self.look(at);
            return None;
        }
        self.tells_at_ms = None;
        Some(Act::Tell {
            holding,
            with_text: false,
        })
    }
}

/// How long a device gives way to others that would say the same of a file, in milliseconds.
fn spread(me: PeerId, path: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&me.0);
    hasher.update(path.as_bytes());
    let [first, second, ..] = *hasher.finalize().as_bytes();
    u64::from(u16::from_be_bytes([first, second])) % SPREAD_MS
}
