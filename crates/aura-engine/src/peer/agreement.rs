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
    PeerId, RepoPath, Writer,
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
/// Over what time those who would all say the same are spread, in milliseconds: first those who wrote in the file.
const WRITERS_MS: u64 = 4_000;
/// Then the others.
const OTHERS_MS: u64 = 56_000;
/// Longest name of a blob.
const BLOB_BYTES_MAX: usize = 64;
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
        let blob = self.holding.blob.as_ref();
        let is_bounded = self.channel.len() <= WORD_BYTES_MAX
            && blob.is_none_or(|blob| blob.len() <= BLOB_BYTES_MAX);
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
    /// Whether this very device wrote it.
    pub is_own: bool,
}

impl Heard {
    fn place(&self) -> u64 {
        self.origin.seq.unwrap_or(u64::MAX)
    }
}

/// What this device has of a file, as far as that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// This.
    Here(Holding),
    /// It is about to change.
    Later,
    /// It differs for a reason that is known: git, another conflict, text that was never told.
    Apart,
}

/// Different texts of those who know the same patches of a file.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// What this device has.
    pub mine: Holding,
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
    /// These have the same text and have carried out every patch: what waits here of theirs is in it.
    Same {
        /// Who said so.
        by: Vec<PeerId>,
    },
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
    heard: BTreeMap<Writer, Heard>,
    /// The last word that was given to be told, and whether with the text.
    said: Option<(Holding, bool)>,
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
    /// Numbers of own words that have no place yet.
    unplaced: BTreeSet<(Writer, u64)>,
}

impl Agreement {
    /// Nothing is in doubt.
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            cases: BTreeMap::new(),
            unplaced: BTreeSet::new(),
        }
    }

    /// A file may differ from what others have: a patch came to another text here than where it was made, or could not
    /// be carried out. Whoever `owes` wrote last, so the others wait for its word; the others who wrote in it speak
    /// before those who did not.
    // spec: patch/6.1
    pub fn doubt(&mut self, path: &Arc<str>, owes: bool, is_writer: bool, now_ms: u64) {
        let later = now_ms + PATIENCE_MS + spread(self.me, path, is_writer);
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

    /// What this device was to tell of a file could not be told yet.
    pub fn untold(&mut self, path: &str, now_ms: u64) {
        if let Some(case) = self.cases.get_mut(path) {
            case.said = None;
            case.asks_at_ms = Some(now_ms + PATIENCE_MS);
            case.look(now_ms + PATIENCE_MS);
        }
    }

    /// A patch of a file was recorded, or carried out here; `seq` is its place.
    pub fn patched(&mut self, path: &str, seq: Option<u64>, now_ms: u64) {
        let Some(case) = self.cases.get_mut(path) else {
            return;
        };
        let mut own = case.heard.values().filter(|heard| heard.is_own);
        if let Some(mine) = own.next_back() {
            // Those who have that patch cannot compare what was said without it.
            case.owes |= case.open.is_some() || seq.is_some_and(|seq| seq < mine.place());
        }
        case.open = None;
        case.look_at_ms = None;
        case.tells_at_ms = None;
        case.look(now_ms + QUIET_MS);
    }

    /// Somebody, or this device, said what it has of a file. Whoever `knows_more` than that by own patches owes an
    /// answer: it cannot compare.
    pub fn heard(&mut self, path: &Arc<str>, heard: Heard, knows_more: bool, now_ms: u64) {
        let case = self.cases.entry(Arc::clone(path)).or_default();
        let writer = heard.origin.writer;
        let known = case.heard.get(&writer);
        if known.is_some_and(|known| heard.origin.lsn < known.origin.lsn) {
            return;
        }
        if known.is_none() && HEARD_MAX <= case.heard.len() {
            let patches = heard.holding.patches;
            (case.heard).retain(|_, known| known.is_own || known.holding.patches == patches);
            if HEARD_MAX <= case.heard.len() && !heard.is_own {
                return;
            }
        }
        if heard.is_own {
            (case.owes, case.asks_at_ms) = (false, None);
        }
        if heard.origin.seq.is_none() {
            self.unplaced.insert((writer, heard.origin.author_seq));
        }
        case.heard.insert(writer, heard);
        case.owes |= knows_more;
        case.look(now_ms + QUIET_MS);
    }

    /// An entry has its place.
    pub fn placed(&mut self, writer: Writer, author_seq: u64, seq: u64) {
        if !self.unplaced.remove(&(writer, author_seq)) {
            return;
        }
        let words = self.cases.values_mut();
        let mine = words.filter_map(|case| case.heard.get_mut(&writer));
        for heard in mine.filter(|heard| heard.origin.author_seq == author_seq) {
            heard.origin.seq = Some(seq);
        }
    }

    /// Another branch was checked out: what differs there is looked for anew.
    pub fn leave(&mut self) {
        self.cases.clear();
        self.unplaced.clear();
    }

    /// Nothing can be compared now: files are looked at when something has happened. What differs stays so, unless this
    /// device does not carry patches out any more.
    pub fn put_off(&mut self, is_apart: bool) {
        for case in self.cases.values_mut() {
            case.look_at_ms = None;
            case.open = case.open.take().filter(|_| !is_apart);
        }
    }

    /// Something may have become comparable that was not: another mode, another commit, or all of the log is here.
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

    /// Looks at a file of which this device knows `patches`, and `recorded` patches in all; `holding` tells what it has.
    // spec: patch/6.4
    pub fn look(
        &mut self,
        path: &Arc<str>,
        (now_ms, is_writer): (u64, bool),
        (patches, recorded): (PatchSet, usize),
        holding: impl FnOnce() -> Held,
    ) -> Option<Act> {
        let wait_ms = spread(self.me, path, is_writer);
        let case = self.cases.get_mut(path)?;
        case.look_at_ms = None;
        let is_doubted = case.owes || case.asks_at_ms.is_some();
        let mut words = case.heard.values();
        if !is_doubted && !words.any(|heard| heard.holding.patches == patches) {
            case.open = None;
            return None;
        }
        let mine = match holding() {
            Held::Here(mine) => mine,
            Held::Later => return None,
            Held::Apart => {
                case.open = None;
                return None;
            }
        };
        let (others, is_told) = case.compare(&mine);
        if !is_told && case.is_mistaken(&mine) {
            return case.tell(now_ms, 0, mine, false);
        }
        if (others.iter()).any(|other| other.holding.content != mine.content) {
            return case.disagree((now_ms, recorded, wait_ms), (mine, others, is_told));
        }
        case.open = None;
        if others.is_empty() {
            return case.speak(now_ms, mine, is_told);
        }
        (case.owes, case.asks_at_ms) = (false, None);
        let (complete, waiting): (Vec<&Heard>, Vec<&Heard>) =
            others.iter().partition(|other| other.holding.is_complete);
        let by: Vec<PeerId> = complete
            .iter()
            .map(|other| other.origin.writer.peer)
            .collect();
        // Who waits for something is told by its author that it is in the text.
        let is_asked = !waiting.is_empty() && (by.is_empty() || is_writer);
        if mine.is_complete && is_asked && !is_told {
            return case.tell(now_ms, wait_ms, mine, false);
        }
        if mine.is_complete {
            self.cases.remove(path);
            return None;
        }
        (!by.is_empty()).then_some(Act::Same { by })
    }

    /// Files of which those who know the same have different texts.
    pub fn open(&self) -> impl Iterator<Item = (&Arc<str>, &Disagreement)> {
        let cases = self.cases.iter();
        cases.filter_map(|(path, case)| Some((path, case.open.as_ref()?)))
    }

    /// The disagreement over a file that is open.
    pub fn open_of(&self, path: &str) -> Option<&Disagreement> {
        self.cases.get(path)?.open.as_ref()
    }

    /// The disagreement over a file that is open, or was the last that was.
    pub fn last(&self, path: &str) -> Option<&Disagreement> {
        self.cases.get(path)?.last.as_ref()
    }

    /// The word that was told first, if this device is the one that told another one first: where nobody loses by that
    /// it takes the text of the first.
    pub fn yields_to(&self, path: &str) -> Option<&Heard> {
        let case = self.cases.get(path)?;
        let mine = &case.open.as_ref()?.mine;
        let like = (case.heard.values()).filter(|heard| heard.holding.is_like(mine));
        let mut words: Vec<&Heard> = like.filter(|heard| heard.origin.seq.is_some()).collect();
        words.sort_by_key(|heard| heard.place());
        let first = *words.first()?;
        let is_other = |heard: &&&Heard| heard.holding.content != first.holding.content;
        let second = words.iter().find(is_other)?;
        (second.is_own && first.has_text).then_some(first)
    }
}

impl Case {
    /// The words of others that can be compared with what is here, as they came; and whether this device has said so.
    fn compare(&self, mine: &Holding) -> (Vec<Heard>, bool) {
        let like = (self.heard.values()).filter(|heard| heard.holding.is_like(mine));
        let (own, others): (Vec<&Heard>, Vec<&Heard>) = like.partition(|heard| heard.is_own);
        let is_said = self.said.as_ref().is_some_and(|(said, _)| said == mine);
        let is_told = is_said || own.iter().any(|heard| heard.holding == *mine);
        let mut others: Vec<Heard> = others.into_iter().cloned().collect();
        others.sort_by_key(Heard::place);
        (others, is_told)
    }

    /// Whether this device said something else of the same patches: it has carried more of them out since.
    fn is_mistaken(&self, mine: &Holding) -> bool {
        let mut own = self.heard.values().filter(|heard| heard.is_own);
        own.any(|heard| heard.holding.is_like(mine) && heard.holding != *mine)
    }

    /// Nobody has said anything that can be compared: says it, if that is due.
    fn speak(&mut self, now_ms: u64, mine: Holding, is_told: bool) -> Option<Act> {
        let is_due = self.owes || self.asks_at_ms.is_some_and(|at| at <= now_ms);
        if !is_due {
            if let Some(at) = self.asks_at_ms {
                self.look(at);
            }
            return None;
        }
        (self.owes, self.asks_at_ms) = (false, None);
        match is_told {
            true => None,
            false => self.tell(now_ms, 0, mine, false),
        }
    }

    /// Notes that texts differ, and tells the own one unless somebody did.
    fn disagree(
        &mut self,
        (now_ms, recorded, wait_ms): (u64, usize, u64),
        (mine, words, is_told): (Holding, Vec<Heard>, bool),
    ) -> Option<Act> {
        (self.owes, self.asks_at_ms) = (false, None);
        let mut seen = BTreeSet::new();
        let (with, without): (Vec<&Heard>, Vec<&Heard>) =
            words.iter().partition(|heard| heard.has_text);
        let texts = with.into_iter().chain(without);
        let texts = texts.filter(|heard| heard.holding.content != mine.content);
        let first = texts.filter(|heard| seen.insert(heard.holding.content));
        let mut others: Vec<Heard> = first.cloned().collect();
        others.sort_by_key(Heard::place);
        let open = Disagreement {
            mine: mine.clone(),
            others,
            recorded,
        };
        self.last = Some(open.clone());
        self.open = Some(open);
        let is_it = |heard: &Heard| {
            let is_same = heard.holding.is_like(&mine) && heard.holding.content == mine.content;
            is_same && (heard.has_text || mine.content.is_none())
        };
        let is_said = self.said.as_ref() == Some(&(mine.clone(), true));
        if is_said || self.heard.values().any(is_it) {
            return None;
        }
        // Who has spoken is asked; who has not gives way to others of the same text.
        let wait_ms = if is_told { 0 } else { wait_ms };
        self.tell(now_ms, wait_ms, mine, true)
    }

    /// Tells what is here, but for what somebody else may say meanwhile.
    fn tell(&mut self, now_ms: u64, wait_ms: u64, mine: Holding, with_text: bool) -> Option<Act> {
        let at = *self.tells_at_ms.get_or_insert(now_ms + wait_ms);
        if now_ms < at {
            self.look(at);
            return None;
        }
        self.tells_at_ms = None;
        self.said = Some((mine.clone(), with_text));
        Some(Act::Tell {
            holding: mine,
            with_text,
        })
    }
}

/// How long a device gives way to others that would say the same of a file, in milliseconds.
fn spread(me: PeerId, path: &str, is_writer: bool) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&me.0);
    hasher.update(path.as_bytes());
    let [first, second, ..] = *hasher.finalize().as_bytes();
    let share = u64::from(u16::from_be_bytes([first, second]));
    match is_writer {
        true => share % WRITERS_MS,
        false => WRITERS_MS + share % OTHERS_MS,
    }
}
