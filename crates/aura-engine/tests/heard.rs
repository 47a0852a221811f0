//! What neighbours tell of without the Mothership: how much of it is taken, how it is offered, and what becomes of it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, VecDeque};

use aura_engine::peer::replica::{
    Fates, GivenUp, HEARD_BYTES_PER_AUTHOR_MAX, HEARD_LIVES_MAX, Input, Output, Record, Replica,
};
use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{EventRun, PlacedBytes, chain, decode_push},
    limits::BODY_BYTES_MAX,
    message::{Head, Message, Outcome, PushAck},
};
use aura_trust::{IdentityKey, sign_entry};
use bytes::Bytes;

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
const BOB: u8 = 3;
const CAROL: u8 = 6;
const SEEDS: u64 = 500;

fn key(author: u8) -> IdentityKey {
    IdentityKey::from_seed([author; 32])
}

fn writer(author: u8, life: u64) -> Writer {
    Writer {
        peer: key(author).peer(),
        incarnation: Incarnation(life),
    }
}

/// An entry that follows `prev` in its author's life.
fn entry(author: u8, life: u64, prev: Option<&Entry>, body: &[u8]) -> Entry {
    let author_seq = prev.map_or(0, |prev| prev.header().author_seq) + 1;
    let header = Header {
        level: PROTOCOL_LEVEL,
        kind: Kind::PATCH,
        flags: 0,
        team: TEAM,
        log: LOG,
        writer: writer(author, life),
        author_seq,
        prev: prev.map_or(Digest::ZERO, Entry::hash),
        lamport: author_seq,
        time_ms: 0,
        fence: 0,
        key_epoch: 1,
        body_len: 0,
        body_hash: Digest::ZERO,
    };
    sign_entry(&key(author), &header, body).unwrap()
}

fn chained(author: u8, life: u64, count: usize, body: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        entries.push(entry(author, life, entries.last(), body));
    }
    entries
}

/// A device, its disk, and a Mothership that keeps a log and answers when it is told to.
struct Device {
    replica: Replica,
    disk: Vec<Record>,
    flying: VecDeque<(u64, Vec<Bytes>)>,
    /// Whether batches wait until they are told to be durable.
    is_slow: bool,
    said: Vec<Output>,
    pushes: VecDeque<Vec<Entry>>,
    log: Vec<Entry>,
    hashes: Vec<Digest>,
    counts: BTreeMap<(Writer, u64), (Digest, Option<u64>)>,
}

fn blank() -> Replica {
    let mothership = key(5).peer();
    Replica::new(TEAM, LOG, key(4), mothership, Incarnation(1))
}

impl Device {
    fn new() -> Self {
        Self {
            replica: blank(),
            disk: Vec::new(),
            flying: VecDeque::new(),
            is_slow: false,
            said: Vec::new(),
            pushes: VecDeque::new(),
            log: Vec::new(),
            hashes: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Applies one input and answers what else was said.
    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.replica.handle(input);
        self.pump();
        std::mem::take(&mut self.said)
    }

    fn pump(&mut self) {
        while let Some(output) = self.replica.poll() {
            match output {
                Output::Append { batch, records } => {
                    self.flying.push_back((batch, records));
                    if !self.is_slow {
                        self.store(usize::MAX);
                    }
                }
                Output::Send(Message::Subscribe(asked)) => self.show(asked.seq),
                Output::Send(Message::Push(run)) => {
                    let entries = decode_push(&run).unwrap().1;
                    self.pushes
                        .push_back(entries.into_iter().map(Result::unwrap).collect());
                }
                Output::Fault { code, detail } => panic!("{code}: {detail}"),
                other => {
                    self.count(&other);
                    self.said.push(other);
                }
            }
        }
    }

    /// What counts here, as whoever listens has it.
    fn count(&mut self, said: &Output) {
        let mut end = |writer, author_seq| {
            let rest = (writer, author_seq)..=(writer, u64::MAX);
            let without_place = |_: &_, (_, seq): &mut (Digest, Option<u64>)| seq.is_none();
            self.counts.extract_if(rest, without_place).for_each(drop);
        };
        match said {
            Output::Heard { entry, .. } => {
                self.counts.insert(name(entry), (entry.hash(), None));
            }
            Output::Delivered { placed, .. } => {
                let row = (placed.entry.hash(), Some(placed.seq));
                self.counts.insert(name(&placed.entry), row);
            }
            Output::Settled {
                writer,
                author_seq,
                seq,
                ..
            } => self.counts.get_mut(&(*writer, *author_seq)).unwrap().1 = Some(*seq),
            Output::Contradicted { writer, author_seq } => end(*writer, *author_seq),
            Output::GivenUp(given_up) => end(given_up.writer, given_up.author_seq),
            _ => {}
        }
    }

    /// Makes up to so many records of the oldest batch durable.
    fn store(&mut self, count: usize) {
        let Some((batch, records)) = self.flying.pop_front() else {
            return;
        };
        let count = count.min(records.len());
        let first_lsn = self.disk.len() as u64 + 1;
        let decoded = records.iter().take(count);
        self.disk
            .extend(decoded.map(|record| Record::decode(record).unwrap()));
        self.replica.handle(Input::Stored {
            batch,
            first_lsn,
            count,
        });
        self.pump();
    }

    fn settle(&mut self) {
        while !self.flying.is_empty() {
            self.store(usize::MAX);
        }
    }

    fn hear(&mut self, entries: &[Entry]) -> Vec<Output> {
        let entries = entries.to_vec();
        self.feed(Input::Heard { from: 7, entries })
    }

    /// The Mothership shows its log behind a position.
    fn show(&mut self, seq: u64) {
        let head = Head {
            log: LOG,
            epoch: 1,
            seq: self.log.len() as u64,
            hash: self.hash(),
            vector: VersionVector::default(),
        };
        self.replica.handle(Input::Received(Message::Head(head)));
        for at in seq as usize..self.log.len() {
            self.show_at(at);
        }
    }

    fn show_at(&mut self, at: usize) {
        let row = PlacedBytes {
            seq: at as u64 + 1,
            time_ms: 7,
            bytes: self.log[at].bytes(),
        };
        let run = EventRun::encode(LOG, std::iter::once(row), None);
        self.replica.handle(Input::Received(Message::Event(run)));
    }

    fn hash(&self) -> Digest {
        self.hashes.last().copied().unwrap_or(Digest::ZERO)
    }

    /// The Mothership gives an entry the next place and shows it.
    fn place(&mut self, entry: &Entry) -> Vec<Output> {
        let seq = self.log.len() as u64 + 1;
        self.hashes.push(chain(self.hash(), seq, 7, entry.hash()));
        self.log.push(entry.clone());
        self.show_at(self.log.len() - 1);
        self.pump();
        std::mem::take(&mut self.said)
    }

    /// The Mothership answers the oldest push.
    fn answer(&mut self, outcomes: &[Outcome]) -> Vec<Output> {
        let push = self.pushes.pop_front().unwrap();
        self.answer_to(&push, outcomes)
    }

    fn answer_to(&mut self, push: &[Entry], outcomes: &[Outcome]) -> Vec<Output> {
        assert_eq!(push.len(), outcomes.len());
        let numbers = push.iter().map(|entry| entry.header().author_seq);
        let outcomes = numbers.zip(outcomes.iter().copied()).collect();
        let ack = PushAck { log: LOG, outcomes };
        self.feed(Input::Received(Message::PushAck(ack)))
    }

    fn held(&self, writer: Writer) -> u64 {
        self.replica.held().get(&writer)
    }

    /// The disk, read by a process that begins.
    fn replayed(&self) -> Replica {
        let mut replica = blank();
        self.disk.iter().for_each(|record| replica.replay(record));
        replica
    }

    /// What is known live is what a restart gives.
    fn assert_alike(&self) {
        let again = self.replayed();
        assert_eq!(self.replica.held(), again.held());
        assert_eq!(self.replica.cursor(), again.cursor());
        assert!(self.replica.heard().eq(again.heard()));
        let fates = Fates::of((1..).zip(&self.disk));
        let mut counts = BTreeMap::new();
        for (lsn, record) in (1..).zip(&self.disk) {
            match record {
                Record::Heard(entry) if !fates.is_void(lsn) => {
                    let seq = fates.place(entry).map(|settled| settled.seq);
                    counts.insert(name(entry), (entry.hash(), seq));
                }
                Record::Placed(placed) => {
                    let row = (placed.entry.hash(), Some(placed.seq));
                    counts.insert(name(&placed.entry), row);
                }
                _ => {}
            }
        }
        assert_eq!(self.counts, counts);
    }
}

fn name(entry: &Entry) -> (Writer, u64) {
    (entry.header().writer, entry.header().author_seq)
}

fn refusal(said: &[Output]) -> Option<(Code, Option<Writer>)> {
    said.iter().find_map(|output| match output {
        Output::NotHeard { code, spurned, .. } => Some((*code, *spurned)),
        _ => None,
    })
}

fn is_offer_wanted(said: &[Output]) -> bool {
    let is_it = |output: &Output| matches!(output, Output::OfferLater);
    said.iter().any(is_it)
}

const STORED: Outcome = Outcome::Stored { seq: 1, time_ms: 7 };
const BUSY: Outcome = Outcome::Refused(Code::BUSY);
const GAP: Outcome = Outcome::Refused(Code::AUTHOR_GAP);
const REVOKED: Outcome = Outcome::Refused(Code::REVOKED);

// spec: peers/4.8
#[test]
fn one_author_fills_its_share_of_bytes_and_others_are_still_taken() {
    let body = vec![0; BODY_BYTES_MAX];
    let most = HEARD_BYTES_PER_AUTHOR_MAX / entry(BOB, 1, None, &body).bytes().len();
    let bobs = chained(BOB, 1, most + 2, &body);
    let carols = chained(CAROL, 1, 1, b"sealed");
    for is_slow in [false, true] {
        let mut device = Device::new();
        device.is_slow = is_slow;
        let mut refused = Vec::new();
        let all = [&bobs[..], &carols].concat();
        for some in all.chunks(10) {
            refused.extend(refusal(&device.hear(some)));
        }
        device.settle();
        assert_eq!(device.held(writer(BOB, 1)), most as u64);
        assert_eq!(device.held(writer(CAROL, 1)), 1, "behind what was refused");
        let (code, spurned) = refused[0];
        assert_eq!((code, spurned), (Code::BUSY, Some(writer(BOB, 1))));
        // Another life is no other author.
        let said = device.hear(&chained(BOB, 2, 1, &body));
        assert_eq!(refusal(&said).map(|(code, _)| code), Some(Code::BUSY));
        // What gets its place makes room.
        device.feed(Input::LinkUp);
        device.place(&bobs[0]);
        device.settle();
        assert_eq!(refusal(&device.hear(&bobs[most..=most])), None);
    }
}

// spec: peers/4.8
#[test]
fn one_author_has_so_many_lives_without_a_place_and_one_with_a_place_does_not_count() {
    let first = |life: u64| chained(BOB, life, 1, b"sealed");
    for is_slow in [false, true] {
        let mut device = Device::new();
        device.is_slow = is_slow;
        device.feed(Input::LinkUp);
        for life in 1..=HEARD_LIVES_MAX as u64 {
            assert_eq!(refusal(&device.hear(&first(life))), None);
        }
        let said = device.hear(&first(99));
        let expected = Some((Code::BUSY, Some(writer(BOB, 99))));
        assert_eq!(refusal(&said), expected);
        assert_eq!(
            refusal(&device.hear(&chained(CAROL, 1, 1, b"sealed"))),
            None
        );
        // A life that is known goes on.
        assert_eq!(refusal(&device.hear(&chained(BOB, 1, 2, b"sealed"))), None);
        device.place(&first(1)[0]);
        device.settle();
        assert_eq!(refusal(&device.hear(&first(99))), None);
        assert!(refusal(&device.hear(&first(100))).is_some());
        device.settle();
        device.assert_alike();
        // A restart forgets nobody.
        device.replica = device.replayed();
        assert!(refusal(&device.hear(&first(100))).is_some());
    }
}

// spec: peers/4.8
#[test]
fn lives_that_were_refused_for_good_make_no_room_for_others() {
    let mut device = Device::new();
    device.feed(Input::LinkUp);
    for life in 1..=HEARD_LIVES_MAX as u64 {
        device.hear(&chained(BOB, life, 1, b"sealed"));
    }
    device.feed(Input::Offer);
    device.answer(&[REVOKED; HEARD_LIVES_MAX]);
    assert_eq!(device.replica.heard().count(), 0);
    for is_restarted in [false, true] {
        if is_restarted {
            device.replica = device.replayed();
        }
        let said = device.hear(&chained(BOB, 99, 1, b"sealed"));
        assert_eq!(refusal(&said).map(|(code, _)| code), Some(Code::BUSY));
    }
}

// spec: peers/5.3
#[test]
fn what_the_mothership_refuses_for_good_is_given_up_and_not_offered_again() {
    let bobs = chained(BOB, 1, 3, b"sealed");
    let carols = chained(CAROL, 1, 1, b"sealed");
    let mut device = Device::new();
    device.hear(&[&bobs[..], &carols].concat());
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    let push = device.pushes.front().unwrap().clone();
    let bob = writer(BOB, 1);
    let outcomes: Vec<Outcome> = push
        .iter()
        .map(|entry| match name(entry) {
            (writer, 2) if writer == bob => REVOKED,
            (writer, 3) if writer == bob => GAP,
            _ => STORED,
        })
        .collect();
    let said = device.answer(&outcomes);
    let given_up = GivenUp {
        writer: bob,
        author_seq: 2,
        code: Code::REVOKED,
    };
    let is_it = |output: &&Output| matches!(output, Output::GivenUp(it) if *it == given_up);
    assert_eq!(said.iter().filter(is_it).count(), 1, "{said:?}");
    device.feed(Input::Offer);
    assert!(device.pushes.is_empty(), "offered again");
    assert_eq!(device.held(bob), 1, "neighbours are told no more than this");
    device.assert_alike();
    for is_restarted in [false, true] {
        if is_restarted {
            device.replica = device.replayed();
        }
        let said = device.hear(&bobs[1..]);
        assert_eq!(refusal(&said), Some((Code::FORBIDDEN, Some(bob))));
        device.feed(Input::LinkDown);
        device.feed(Input::LinkUp);
        device.feed(Input::Offer);
        let pushed = device.pushes.pop_front().unwrap();
        let names: Vec<_> = pushed.iter().map(name).collect();
        assert!(
            names.contains(&(bob, 1)) && !names.contains(&(bob, 2)),
            "{names:?}"
        );
    }
}

// spec: peers/5.3
#[test]
fn what_gets_its_place_after_it_was_given_up_counts_and_its_writer_is_heard_again() {
    let bobs = chained(BOB, 1, 3, b"sealed");
    let mut device = Device::new();
    device.hear(&bobs[..2]);
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    device.answer(&[REVOKED, GAP]);
    assert_eq!(device.held(writer(BOB, 1)), 0);
    device.place(&bobs[0]);
    assert_eq!(device.held(writer(BOB, 1)), 1);
    assert_eq!(refusal(&device.hear(&bobs[1..])), None);
    assert_eq!(device.held(writer(BOB, 1)), 3);
    device.assert_alike();
    device.replica = device.replayed();
    assert_eq!(refusal(&device.hear(&chained(BOB, 1, 4, b"sealed"))), None);
    assert_eq!(device.held(writer(BOB, 1)), 4);
}

#[test]
fn a_place_and_a_refusal_side_by_side_end_in_the_place() {
    for is_refused_first in [false, true] {
        let bobs = chained(BOB, 1, 2, b"sealed");
        let mut device = Device::new();
        device.hear(&bobs);
        device.feed(Input::LinkUp);
        device.feed(Input::Offer);
        device.is_slow = true;
        // Something that is being synced, so that both wait for the next batch.
        device.hear(&chained(CAROL, 1, 1, b"sealed"));
        if is_refused_first {
            device.answer(&[REVOKED, GAP]);
            device.place(&bobs[0]);
        } else {
            device.place(&bobs[0]);
            device.answer(&[REVOKED, GAP]);
        }
        device.settle();
        assert_eq!(device.replica.cursor(), (1, device.hash()));
        let expected = if is_refused_first { 1 } else { 2 };
        assert_eq!(device.held(writer(BOB, 1)), expected);
        device.assert_alike();
        device.place(&bobs[1]);
        device.settle();
        assert_eq!(device.replica.cursor(), (2, device.hash()));
        device.assert_alike();
    }
}

#[test]
fn a_refusal_that_found_no_space_is_asked_for_again() {
    let bobs = chained(BOB, 1, 2, b"sealed");
    let mut device = Device::new();
    device.hear(&bobs);
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    device.is_slow = true;
    device.answer(&[REVOKED, GAP]);
    device.store(0);
    device.assert_alike();
    assert_eq!(device.held(writer(BOB, 1)), 2);
    device.feed(Input::LinkDown);
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    device.answer(&[REVOKED, GAP]);
    device.settle();
    assert_eq!(device.held(writer(BOB, 1)), 0);
    device.assert_alike();
}

// spec: peers/5.3
#[test]
fn what_is_refused_for_now_is_offered_again_alone_and_less_and_less_often() {
    let mut device = Device::new();
    device.hear(&chained(BOB, 1, 2, b"sealed"));
    device.hear(&chained(CAROL, 1, 1, b"sealed"));
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    let first = device.pushes.front().unwrap().clone();
    let is_bobs = |entry: &Entry| name(entry).0 == writer(BOB, 1);
    let outcomes: Vec<Outcome> = first
        .iter()
        .map(|entry| if is_bobs(entry) { BUSY } else { STORED })
        .collect();
    assert!(is_offer_wanted(&device.answer(&outcomes)));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let mut offers = 0;
        while device.pushes.is_empty() {
            assert!(offers < 100, "never offered again");
            offers += 1;
            let said = device.feed(Input::Offer);
            assert!(!device.pushes.is_empty() || is_offer_wanted(&said));
        }
        let again = device.pushes.front().unwrap();
        assert_eq!(again.len(), 2);
        assert!(
            again.iter().all(is_bobs),
            "what was taken is not offered again"
        );
        assert!(is_offer_wanted(&device.answer(&[BUSY, GAP])));
        pauses.push(offers);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
    // What is new meanwhile does not wait for it.
    device.hear(&chained(CAROL, 2, 1, b"sealed"));
    device.feed(Input::Offer);
    assert_eq!(device.answer(&[STORED]).len(), 0);
    while device.pushes.is_empty() {
        device.feed(Input::Offer);
    }
    let said = device.answer(&[STORED, STORED]);
    assert!(!is_offer_wanted(&said), "{said:?}");
}

#[test]
fn one_offer_at_a_time_waits_for_its_answer_and_the_next_follows_it() {
    let body = vec![0; BODY_BYTES_MAX];
    let bobs = chained(BOB, 1, 3, &body);
    let mut device = Device::new();
    device.hear(&bobs);
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    device.feed(Input::Offer);
    let mut offered = Vec::new();
    while let Some(push) = device.pushes.front() {
        assert_eq!(device.pushes.len(), 1, "more than one without an answer");
        offered.extend(push.iter().map(name));
        let outcomes = vec![STORED; push.len()];
        device.answer(&outcomes);
    }
    assert_eq!(offered, bobs.iter().map(name).collect::<Vec<_>>());
}

#[test]
fn a_mothership_that_takes_nothing_says_nothing_of_what_it_was_offered() {
    for code in [Code::FORK, Code::BEHIND_PEERS, Code::DRAINING, Code(60_000)] {
        let mut device = Device::new();
        device.hear(&chained(BOB, 1, 1, b"sealed"));
        device.feed(Input::LinkUp);
        device.feed(Input::Offer);
        let said = device.answer(&[Outcome::Refused(code)]);
        assert!(is_offer_wanted(&said), "{code}: {said:?}");
        assert_eq!(device.replica.heard().count(), 1, "{code}");
    }
}

#[test]
fn an_answer_that_may_be_to_an_own_push_gives_nothing_up() {
    let mut device = Device::new();
    device.hear(&chained(BOB, 1, 1, b"sealed"));
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    device.feed(Input::Author {
        kind: Kind::PATCH,
        fence: 0,
        key_epoch: 1,
        body: b"sealed".to_vec(),
        time_ms: 0,
        author_seq: 1,
        replaces: None,
    });
    assert_eq!(device.pushes.len(), 2, "both of the number 1");
    device.answer(&[REVOKED]);
    assert_eq!(device.replica.heard().count(), 1);
    device.answer(&[STORED]);
    device.feed(Input::Offer);
    device.answer(&[REVOKED]);
    assert_eq!(device.replica.heard().count(), 0, "this one is certain");
}

#[test]
fn an_entry_that_the_mothership_cannot_read_is_given_up() {
    let mut device = Device::new();
    device.hear(&chained(BOB, 1, 1, b"sealed"));
    device.feed(Input::LinkUp);
    device.feed(Input::Offer);
    let outcomes = vec![(0, Outcome::Refused(Code::BAD_SIGNATURE))];
    let ack = PushAck { log: LOG, outcomes };
    device.feed(Input::Received(Message::PushAck(ack)));
    assert_eq!(device.replica.heard().count(), 0);
}

// spec: log/3.3
#[test]
fn what_follows_an_entry_that_the_log_contradicted_on_the_way_is_judged_alike_live_and_at_replay() {
    let bobs = chained(BOB, 1, 2, b"sealed");
    let other = entry(BOB, 1, None, b"another");
    let mut device = Device::new();
    device.feed(Input::LinkUp);
    device.is_slow = true;
    device.hear(&bobs[..1]);
    device.place(&other);
    device.hear(&bobs[1..]);
    device.settle();
    let heard = Record::Heard(bobs[1].clone());
    assert_eq!(device.disk.last(), Some(&heard), "it was on its way");
    assert_eq!(device.held(writer(BOB, 1)), 1);
    device.assert_alike();
}

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Two branches of each of two writers, which share a random beginning.
fn branches(random: &mut Random) -> Vec<Vec<Entry>> {
    let mut branches = Vec::new();
    for author in [BOB, CAROL] {
        let left = chained(author, 1, 6, b"left");
        let mut right = left[..random.below(5)].to_vec();
        while right.len() < 6 {
            right.push(entry(author, 1, right.last(), b"right"));
        }
        branches.extend([left, right]);
    }
    branches
}

// spec: log/3.3
#[test]
fn what_is_heard_is_judged_alike_live_and_at_replay_whatever_its_writer_and_the_mothership_do() {
    let mut seen = [0; 4];
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let branches = branches(&mut random);
        let mut device = Device::new();
        device.is_slow = true;
        device.feed(Input::LinkUp);
        for _ in 0..60 {
            let branch = &branches[random.below(4)];
            match random.below(12) {
                0..4 => {
                    let first = random.below(6);
                    let last = first + 1 + random.below(6 - first);
                    device.hear(&branch[first..last]);
                }
                4..6 => {
                    let placed = device
                        .log
                        .iter()
                        .filter(|entry| entry.header().writer == branch[0].header().writer);
                    let tip = placed.last();
                    let prev = tip.map_or(Digest::ZERO, Entry::hash);
                    let next = branch.iter().find(|entry| entry.header().prev == prev);
                    if let Some(next) = next.cloned() {
                        device.place(&next);
                    }
                }
                6 => drop(device.feed(Input::Offer)),
                7 if !device.pushes.is_empty() => {
                    let count = device.pushes[0].len();
                    let all = [STORED, BUSY, GAP, REVOKED];
                    let outcomes: Vec<_> = (0..count).map(|_| all[random.below(4)]).collect();
                    device.answer(&outcomes);
                }
                8 if random.below(4) == 0 => {
                    device.feed(Input::LinkDown);
                    device.pushes.clear();
                    device.feed(Input::LinkUp);
                }
                9 if random.below(3) == 0 => {
                    device.store(random.below(3));
                    device.feed(Input::Retry);
                }
                _ => device.store(usize::MAX),
            }
        }
        device.settle();
        if device.replica.cursor().0 < device.log.len() as u64 {
            device.feed(Input::Retry);
            device.settle();
        }
        assert_eq!(
            device.replica.cursor(),
            (device.log.len() as u64, device.hash()),
            "seed {seed}"
        );
        device.assert_alike();
        for record in &device.disk {
            match record {
                Record::GivenUp(_) => seen[0] += 1,
                Record::Evidence(_) => seen[1] += 1,
                Record::HeardPlaced(_) => seen[2] += 1,
                Record::Placed(_) => seen[3] += 1,
                _ => {}
            }
        }
    }
    assert!(seen.iter().all(|seen| 100 < *seen), "{seen:?}");
}
