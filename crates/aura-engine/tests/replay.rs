//! C14: repetition and order change nothing.
//!
//! A seed draws what three people write, some of it side by side; then everything comes twice, from three sources or
//! in any order at all.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    replica::{Input, Output, Replica},
    units::{Conflict, Origin, Recorded, Units},
};
use aura_proto::{
    Digest, Header, Incarnation, Kind, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{EventRun, Placed, PlacedBytes, chain},
    message::{Head, Message},
};
use aura_semantic::{FilePatch, Op, OwnText, Touched, UnitId};
use aura_trust::{IdentityKey, sign_checkpoint, sign_entry};
use bytes::Bytes;

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
const PATH: &str = "src/lib.rs";
const SEEDS: u64 = 100;
const PEOPLE: usize = 3;
const UNITS: usize = 4;
const PATCHES: usize = 24;
const SOURCES: usize = 3;

#[test]
fn c14_patches_in_any_order_and_twice_make_the_same_graph() {
    for seed in 0..SEEDS {
        let mut random = Random::of(seed);
        let story = Story::new(&mut random);
        for me in 0..PEOPLE {
            let expected = state(me, &story.patches);
            for _ in 0..3 {
                let mut twice = [&story.patches[..], &story.patches].concat();
                random.shuffle(&mut twice);
                assert_eq!(state(me, &twice), expected, "seed {seed}");
            }
        }
    }
}

#[test]
fn c14_frames_twice_from_three_sources_make_the_same_copy() {
    for seed in 0..SEEDS {
        let mut random = Random::of(seed);
        let story = Story::new(&mut random);
        let log = story.log();
        let frames = log.frames(&mut random);
        let mut sources: Vec<Vec<&Bytes>> = Vec::new();
        for _ in 0..SOURCES {
            sources.push(random.repeated(&frames));
        }
        let mut copy = Copy::new(&log);
        while sources.iter().any(|source| !source.is_empty()) {
            let source = &mut sources[random.below(SOURCES)];
            if !source.is_empty() {
                copy.take(source.remove(0));
            }
        }
        assert_eq!(copy.replica.cursor(), log.cursor(), "seed {seed}");
        let placed: Vec<&Placed> = copy.delivered.iter().collect();
        assert_eq!(placed, log.placed.iter().collect::<Vec<_>>(), "seed {seed}");
        // What was delivered is what was written, so the graphs are the same as well.
        let patches: Vec<Patch> = placed.into_iter().map(Patch::of).collect();
        assert_eq!(state(0, &patches), state(0, &story.patches), "seed {seed}");
    }
}

/// One patch and where it stands.
#[derive(Clone)]
struct Patch {
    body: PatchBody,
    origin: Origin,
}

impl Patch {
    fn of(placed: &Placed) -> Self {
        let header = placed.entry.header();
        let origin = Origin {
            writer: header.writer,
            author_seq: header.author_seq,
            lsn: placed.seq,
            time_ms: header.time_ms,
            seq: Some(placed.seq),
        };
        let body = PatchBody::decode(placed.entry.body().to_vec()).unwrap();
        Self { body, origin }
    }
}

/// What three people wrote, in the order of the log.
struct Story {
    patches: Vec<Patch>,
}

impl Story {
    fn new(random: &mut Random) -> Self {
        let mut people: Vec<Person> = (0..PEOPLE).map(Person::new).collect();
        let mut patches: Vec<Patch> = Vec::new();
        let mut texts = BTreeMap::new();
        while patches.len() < PATCHES {
            let person = &mut people[random.below(PEOPLE)];
            if random.below(3) == 0 {
                person.catch_up(&patches);
            }
            let seq = patches.len() as u64 + 1;
            patches.push(person.write(random, &mut texts, seq));
        }
        Self { patches }
    }

    fn log(&self) -> Written {
        let mut written = Written::default();
        let mut tips = [(0, Digest::ZERO); PEOPLE];
        for patch in &self.patches {
            let n = (0..PEOPLE)
                .find(|n| writer(*n) == patch.origin.writer)
                .unwrap();
            let body = patch.body.encode();
            let header = Header {
                level: PROTOCOL_LEVEL,
                kind: Kind::PATCH,
                flags: 0,
                team: TEAM,
                log: LOG,
                writer: writer(n),
                author_seq: tips[n].0 + 1,
                prev: tips[n].1,
                lamport: patch.origin.lsn,
                time_ms: patch.origin.time_ms,
                fence: 0,
                key_epoch: 1,
                body_len: 0,
                body_hash: Digest::ZERO,
            };
            let entry = sign_entry(&key(n), &header, &body).unwrap();
            tips[n] = (header.author_seq, entry.hash());
            let seq = patch.origin.lsn;
            let time_ms = 10 + seq;
            written
                .hashes
                .push(chain(written.cursor().1, seq, time_ms, entry.hash()));
            written.placed.push(Placed {
                seq,
                time_ms,
                entry,
            });
        }
        written
    }
}

struct Person {
    n: usize,
    written: u64,
    seen: usize,
    units: Units,
}

impl Person {
    fn new(n: usize) -> Self {
        Self {
            n,
            written: 0,
            seen: 0,
            units: Units::new(writer(n).peer, "main"),
        }
    }

    fn catch_up(&mut self, patches: &[Patch]) {
        for patch in &patches[self.seen..] {
            self.units.record(&patch.body, patch.origin);
        }
        self.seen = patches.len();
    }

    /// Writes a new version of some unit that follows all that this person knows of it.
    fn write(
        &mut self,
        random: &mut Random,
        texts: &mut BTreeMap<VersionId, Option<OwnText>>,
        seq: u64,
    ) -> Patch {
        let which = random.below(UNITS);
        let unit = UnitId([which as u8 + 1; 16]);
        let born = text(which, 0);
        let heads = self.units.heads(PATH, unit);
        let parents = if heads.is_empty() {
            vec![VersionId::birth(unit, born.hash())]
        } else {
            heads
        };
        let base = texts.get(&parents[0]).cloned().unwrap_or(Some(born));
        let new = text(which, random.below(4));
        let is_end = base.is_some() && random.below(12) == 0;
        let after = (!is_end).then_some(new);
        let name = format!("f{which}");
        let op = operation(unit, &name, base.as_ref(), after.as_ref());
        let touched = Touched {
            unit,
            name,
            before: base.as_ref().map(OwnText::hash),
            after: after.as_ref().map(OwnText::hash),
        };
        let patch = FilePatch {
            path: PATH.to_owned(),
            base: None,
            result: None,
            ops: vec![op],
            touched: vec![touched],
        };
        let body = PatchBody {
            channel: "main".to_owned(),
            commit: String::new(),
            cause: if 1 < parents.len() {
                Cause::Resolve
            } else {
                Cause::Edit
            },
            why: None,
            patch,
            parents: vec![parents],
        };
        let (_, version, _) = body.versions().next().unwrap();
        texts.insert(version, after);
        self.written += 1;
        let origin = Origin {
            writer: writer(self.n),
            author_seq: self.written,
            lsn: seq,
            time_ms: seq,
            seq: Some(seq),
        };
        self.units.record(&body, origin);
        Patch { body, origin }
    }
}

fn operation(unit: UnitId, name: &str, base: Option<&OwnText>, after: Option<&OwnText>) -> Op {
    let name = name.to_owned();
    match (base, after) {
        (Some(base), Some(text)) => Op::Replace {
            unit,
            name,
            base: base.hash(),
            base_text: base.clone(),
            text: text.clone(),
        },
        (Some(base), None) => Op::Delete {
            unit,
            name,
            base: base.hash(),
            base_text: base.head.clone(),
        },
        (None, after) => Op::File {
            base: None,
            base_text: None,
            text: after.map(|text| text.head.clone()),
        },
    }
}

/// What the Mothership keeps of a story.
#[derive(Default)]
struct Written {
    placed: Vec<Placed>,
    hashes: Vec<Digest>,
}

impl Written {
    fn cursor(&self) -> (u64, Digest) {
        (
            self.hashes.len() as u64,
            self.hashes.last().copied().unwrap_or(Digest::ZERO),
        )
    }

    /// Runs of some entries each, as a Mothership feeds them.
    fn frames(&self, random: &mut Random) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut rest = &self.placed[..];
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(rest.len().min(1 + random.below(5)));
            rest = behind;
            let last = run.last().unwrap().seq;
            let hash = self.hashes[last as usize - 1];
            let checkpoint = sign_checkpoint(&hub(), LOG, 1, last, 1, hash);
            let rows = run.iter().map(|placed| PlacedBytes {
                seq: placed.seq,
                time_ms: placed.time_ms,
                bytes: placed.entry.bytes(),
            });
            frames.push(EventRun::encode(LOG, rows, Some(&checkpoint)));
        }
        frames
    }
}

/// A device that only reads.
struct Copy {
    replica: Replica,
    lsn: u64,
    delivered: Vec<Placed>,
}

impl Copy {
    fn new(log: &Written) -> Self {
        let reader = IdentityKey::from_seed([8; 32]);
        let replica = Replica::new(TEAM, LOG, reader, hub().peer(), Incarnation(1));
        let mut copy = Self {
            replica,
            lsn: 0,
            delivered: Vec::new(),
        };
        let (seq, hash) = log.cursor();
        copy.replica.handle(Input::LinkUp);
        copy.replica.handle(Input::Received(Message::Head(Head {
            log: LOG,
            epoch: 1,
            seq,
            hash,
            vector: VersionVector::default(),
        })));
        copy.pump();
        copy
    }

    fn take(&mut self, frame: &Bytes) {
        let message = Message::Event(frame.clone());
        self.replica.handle(Input::Received(message));
        self.pump();
    }

    fn pump(&mut self) {
        while let Some(output) = self.replica.poll() {
            match output {
                Output::Append { batch, records } => {
                    let first_lsn = self.lsn + 1;
                    self.lsn += records.len() as u64;
                    let count = records.len();
                    self.replica.handle(Input::Stored {
                        batch,
                        first_lsn,
                        count,
                    });
                }
                Output::Delivered { placed, .. } => self.delivered.push(placed),
                Output::Fault { code, detail } => panic!("{code}: {detail}"),
                _ => {}
            }
        }
    }
}

/// Everything that `n` can see of the units, as text.
fn state(n: usize, patches: &[Patch]) -> String {
    let mut units = Units::new(writer(n).peer, "main");
    let mut bodies = BTreeMap::new();
    for Patch { body, origin } in patches {
        units.record(body, *origin);
        bodies.insert(origin.lsn, body.clone());
    }
    let read = |recorded: &Recorded| bodies.get(&recorded.origin.lsn).cloned();
    let mut out = String::new();
    for which in 0..UNITS {
        let unit = UnitId([which as u8 + 1; 16]);
        let texts = (0..4).map(|n| Some(text(which, n).hash())).chain([None]);
        let working: Vec<_> = texts
            .map(|content| units.working(PATH, unit, content))
            .collect();
        out += &format!("{which}: {:?} {working:?}\n", units.heads(PATH, unit));
    }
    for conflict in units.conflicts(&read, &|_, _| None) {
        let Conflict {
            id,
            unit,
            name,
            path,
            base,
            mine,
            theirs,
            heads,
            of_file: _,
        } = conflict;
        let [mine, theirs] = [mine, theirs].map(|side| (side.version, side.text));
        out += &format!("{id} {unit:?} {name} {path} {base:?} {mine:?} {theirs:?} {heads:?}\n");
    }
    for due in units.due_merges(&read) {
        out += &format!("due {:?} {:?} {:?}\n", due.heads, due.mine, due.merged);
    }
    let known = |recorded: &Recorded| {
        let touched = recorded.touched.iter();
        let touched: Vec<_> = touched
            .map(|(unit, _, version, _)| (*unit, *version))
            .collect();
        let Origin {
            writer,
            author_seq,
            seq,
            ..
        } = recorded.origin;
        (writer, author_seq, seq, touched)
    };
    let known: BTreeSet<_> = units.recorded().iter().map(known).collect();
    assert_eq!(known.len(), units.recorded().len(), "a patch counts twice");
    out + &format!("{known:?}")
}

/// One of few texts of a unit, so that the same is written apart and comes back.
fn text(which: usize, n: usize) -> OwnText {
    OwnText::leaf(format!("fn f{which}() {{\n    {n}\n}}\n").as_bytes())
}

fn key(n: usize) -> IdentityKey {
    IdentityKey::from_seed([n as u8 + 10; 32])
}

fn hub() -> IdentityKey {
    IdentityKey::from_seed([9; 32])
}

fn writer(n: usize) -> Writer {
    let peer: PeerId = key(n).peer();
    Writer {
        peer,
        incarnation: Incarnation(1),
    }
}

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn shuffle<T>(&mut self, rows: &mut [T]) {
        for last in (1..rows.len()).rev() {
            rows.swap(last, self.below(last + 1));
        }
    }

    /// The rows in their order, and each again anywhere later.
    fn repeated<'a, T>(&mut self, rows: &'a [T]) -> Vec<&'a T> {
        let mut all: Vec<&T> = Vec::new();
        for row in rows.iter().rev() {
            let again = self.below(all.len() + 1);
            all.insert(again, row);
            all.insert(0, row);
        }
        all
    }
}
