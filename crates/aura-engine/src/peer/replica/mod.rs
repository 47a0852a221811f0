//! One peer's copy of one log, and the entries of its own that are still on their way.
//!
//! Everything durable goes through one batch at a time, as in the Mothership: what arrives while a batch is being
//! synced waits for the next one, and state changes only when records are durable.
//!
//! Invariants:
//! - the copy is a prefix of the Mothership's log: positions without gaps, running hash verified;
//! - own entries are contiguous and chained; each stays in the outbox until its place in the log is known, or until
//!   it was written again because its number turned out to be taken (a restored backup);
//! - what a full disk refused is asked for again from the last position that is durable here;
//! - the logical clock never goes back, not even over a restart;
//! - a checkpoint that contradicts the copy stops the replica and is kept as proof.

mod fates;
mod feed;
mod heard;
mod io;
mod offers;
mod record;
mod witness;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
};

use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{Checkpoint, EventRun, Placed, PlacedBytes, RunError, chain, encode_push},
    limits::ENTRIES_PER_BATCH_MAX,
    message::{Head, Message, Outcome, PushAck, Subscribe, feature},
};
use aura_trust::{IdentityKey, sign_entry};
use bytes::Bytes;
use offers::{Offers, Pushed};
use witness::Witness;

pub use fates::Fates;
pub use heard::{HEARD_BYTES_MAX, HEARD_BYTES_PER_AUTHOR_MAX, HEARD_LIVES_MAX};
pub use io::{Input, Output};
pub use record::{GivenUp, Own, RECORD_BYTES_MAX, Record, RecordError, Settled};
pub use witness::WITNESSED_MAX;

/// Bytes of own entries that may wait for the Mothership; beyond it, publishing is refused.
pub const OUTBOX_BYTES_MAX: usize = 256 << 20;
/// Bytes of one push message.
const PUSH_BYTES_MAX: usize = 1 << 20;

/// What is known of one writer.
#[derive(Debug, Clone, Copy)]
struct Tip {
    author_seq: u64,
    hash: Digest,
}

/// One peer's copy of one log.
pub struct Replica {
    team: TeamId,
    log: LogId,
    key: IdentityKey,
    checkpoint_key: PeerId,
    incarnation: Incarnation,
    // Durable state.
    seq: u64,
    hash: Digest,
    witness: Witness,
    lamport: u64,
    tips: BTreeMap<Writer, Tip>,
    checkpoint: Option<Checkpoint>,
    outbox: BTreeMap<Own, Entry>,
    outbox_bytes: usize,
    /// Entries of others without a place.
    heard: BTreeMap<(Writer, u64), Entry>,
    /// Their bytes by author.
    heard_bytes: BTreeMap<PeerId, usize>,
    /// From which number on the Mothership refused for good what was heard of a writer.
    given_up: BTreeMap<Writer, u64>,
    /// Writers of two entries under one number.
    flagged: BTreeSet<Writer>,
    // On its way to the disk.
    queue: VecDeque<Record>,
    flight: Option<(u64, Vec<Record>)>,
    batch_last: u64,
    staged_own: Tip,
    staged: (u64, Digest),
    staged_tips: BTreeMap<Writer, Tip>,
    staged_heard: BTreeMap<Writer, Tip>,
    // Link.
    features: u64,
    is_linked: bool,
    /// Whether received entries were lost to a full disk, so that the link's feed has a hole for us.
    is_starved: bool,
    /// Whether a new incarnation was asked for and is not durable yet.
    awaits_incarnation: bool,
    /// Whether this link has brought a new incarnation; one disk is restored once.
    is_reborn: bool,
    pushed: u64,
    /// What of others was pushed on this link.
    offers: Offers,
    /// Pushes without an answer.
    pushes: Vec<Pushed>,
    /// Questions for a head without an answer; the answer to the last one counts.
    asked: u32,
    remote: Option<Head>,
    is_faulted: bool,
    outputs: VecDeque<Output>,
}

/// What is said of an entry that is not what its author signed, whichever part differs.
const ALTERED: &str = "a signature does not verify";

const NO_TIP: Tip = Tip {
    author_seq: 0,
    hash: Digest::ZERO,
};

impl Replica {
    /// An empty copy; feed it its records with [`Replica::replay`] before the first input.
    pub fn new(
        team: TeamId,
        log: LogId,
        key: IdentityKey,
        checkpoint_key: PeerId,
        incarnation: Incarnation,
    ) -> Self {
        Self {
            team,
            log,
            key,
            checkpoint_key,
            incarnation,
            seq: 0,
            hash: Digest::ZERO,
            witness: Witness::default(),
            lamport: 0,
            tips: BTreeMap::new(),
            checkpoint: None,
            outbox: BTreeMap::new(),
            outbox_bytes: 0,
            heard: BTreeMap::new(),
            heard_bytes: BTreeMap::new(),
            given_up: BTreeMap::new(),
            flagged: BTreeSet::new(),
            queue: VecDeque::new(),
            flight: None,
            batch_last: 0,
            staged_own: NO_TIP,
            staged: (0, Digest::ZERO),
            staged_tips: BTreeMap::new(),
            staged_heard: BTreeMap::new(),
            features: feature::ALL,
            is_linked: false,
            is_starved: false,
            awaits_incarnation: false,
            is_reborn: false,
            pushed: 0,
            offers: Offers::default(),
            pushes: Vec::new(),
            asked: 0,
            remote: None,
            is_faulted: false,
            outputs: VecDeque::new(),
        }
    }

    /// Applies one stored record, in order.
    pub fn replay(&mut self, record: &Record) {
        self.apply(record);
        self.staged = (self.seq, self.hash);
        self.staged_own = self.own_tip();
        self.staged_tips.clear();
        self.staged_heard.clear();
    }

    /// This device as a writer.
    pub fn writer(&self) -> Writer {
        Writer {
            peer: self.key.peer(),
            incarnation: self.incarnation,
        }
    }

    /// The log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The number that the next own entry gets; its body is sealed to it.
    pub fn next_number(&self) -> u64 {
        self.staged_own.author_seq + 1
    }

    /// The last placed number of each incarnation of a peer.
    pub fn placed_of(&self, peer: PeerId) -> impl Iterator<Item = (Incarnation, u64)> {
        let own = self
            .tips
            .iter()
            .filter(move |(writer, _)| writer.peer == peer);
        own.map(|(writer, tip)| (writer.incarnation, tip.author_seq))
    }

    /// Whether another device's verified head is on the history that was verified here; nothing where that cannot be
    /// told, as it is further on or too old.
    // spec: peers/3.5
    pub fn agrees(&self, seq: u64, hash: Digest) -> Option<bool> {
        self.witness.agrees(seq, hash)
    }

    /// Last verified position and running hash.
    pub fn cursor(&self) -> (u64, Digest) {
        (self.seq, self.hash)
    }

    /// Own entries without a place yet, oldest first.
    pub fn outbox(&self) -> impl Iterator<Item = &Entry> {
        self.outbox.values()
    }

    /// Whether an own entry still waits for its place.
    pub fn holds(&self, own: Own) -> bool {
        self.outbox.contains_key(&own)
    }

    /// How many own entries have no place yet, durable or not.
    pub fn queued(&self) -> u64 {
        let waiting = |record: &&Record| matches!(record, Record::Own(_));
        let flying = self.flight.iter().flat_map(|(_, records)| records);
        (self.outbox.len() + self.queue.iter().chain(flying).filter(waiting).count()) as u64
    }

    /// Whether everything that the Mothership told of is here, and everything of ours is there.
    pub fn is_synced(&self) -> bool {
        self.is_caught_up() && self.queued() == 0
    }

    /// Whether everything that the Mothership told of, when it was asked last, is here.
    pub fn is_caught_up(&self) -> bool {
        let head = self.remote.as_ref();
        self.is_linked && head.is_some_and(|head| head.seq <= self.seq)
    }

    /// Whether the Mothership serves this log, as far as is known: it is asked, or has answered with what follows from
    /// what was verified.
    pub fn is_served(&self) -> bool {
        self.is_linked && !self.is_faulted && (self.remote.is_some() || 0 < self.asked)
    }

    /// Whether the Mothership has said that it feeds this log.
    pub fn is_fed(&self) -> bool {
        self.is_served() && self.remote.is_some()
    }

    /// Whether nothing more of the log comes on this link: it contradicts the copy, or the Mothership refused to tell.
    pub fn is_cut_off(&self) -> bool {
        let is_refused = self.is_linked && self.asked == 0 && self.remote.is_none();
        self.is_faulted || is_refused
    }

    /// Tells what the other side of the next link understands; everything, until told.
    pub fn set_features(&mut self, features: u64) {
        self.features = features;
    }

    /// The newest verified checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Whether another own entry of this size may be queued.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.outbox_bytes.saturating_add(bytes) <= OUTBOX_BYTES_MAX
    }

    /// Applies one input.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Author {
                kind,
                fence,
                key_epoch,
                body,
                time_ms,
                author_seq,
                replaces,
            } => {
                let header = Header {
                    level: PROTOCOL_LEVEL,
                    kind,
                    flags: 0,
                    team: self.team,
                    log: self.log,
                    writer: self.writer(),
                    author_seq,
                    prev: self.staged_own.hash,
                    lamport: self.lamport.saturating_add(1),
                    time_ms,
                    fence,
                    key_epoch,
                    body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
                    body_hash: Digest::of(&body),
                };
                self.author(&header, &body, replaces);
            }
            Input::Ask => {
                if self.is_linked {
                    self.ask();
                }
            }
            Input::LinkUp => {
                self.is_linked = true;
                self.is_reborn = false;
                self.asked = 0;
                self.ask();
            }
            Input::LinkDown => {
                self.is_linked = false;
                self.asked = 0;
                self.remote = None;
                self.offers = Offers::default();
                self.pushes.clear();
            }
            Input::Incarnation(incarnation) => {
                self.queue.push_back(Record::Incarnation(incarnation));
            }
            Input::Heard { from, entries } => self.hear(from, entries),
            Input::Offer => self.offer(),
            Input::Received(message) => self.received(message),
            Input::Retire(own) => self.queue.push_back(Record::Retired(own)),
            Input::Retry => {
                if self.is_linked && self.is_starved {
                    self.ask();
                } else {
                    self.push();
                }
            }
            Input::Stored {
                batch,
                first_lsn,
                count,
            } => self.stored(batch, first_lsn, count),
        }
        self.next_batch();
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn subscribe(&self) -> Subscribe {
        let mut vector = VersionVector::default();
        if self.features & feature::VECTORS != 0 {
            for (writer, tip) in &self.tips {
                vector.observe(*writer, tip.author_seq);
            }
        }
        let checkpoint = self
            .checkpoint
            .as_ref()
            .filter(|_| self.features & feature::CHECKPOINTS != 0);
        Subscribe {
            log: self.log,
            epoch: self
                .checkpoint
                .as_ref()
                .map_or(0, |checkpoint| checkpoint.epoch),
            seq: self.seq,
            hash: self.hash,
            vector,
            checkpoint: checkpoint.map(Checkpoint::encode).unwrap_or_default(),
        }
    }

    /// Asks for everything behind the last durable position.
    fn ask(&mut self) {
        self.remote = None;
        self.asked += 1;
        self.outputs
            .push_back(Output::Send(Message::Subscribe(self.subscribe())));
    }

    fn author(&mut self, header: &Header, body: &[u8], replaces: Option<Own>) {
        let is_next = header.author_seq == self.next_number();
        match sign_entry(&self.key, header, body) {
            Ok(entry) if is_next => {
                self.lamport = header.lamport;
                self.staged_own = Tip {
                    author_seq: header.author_seq,
                    hash: entry.hash(),
                };
                self.queue.push_back(Record::Own(entry));
                self.queue.extend(replaces.map(Record::Retired));
            }
            Ok(_) | Err(_) => self.outputs.push_back(Output::NotStored),
        }
    }

    fn received(&mut self, message: Message) {
        match message {
            Message::Head(head) if head.log == self.log => self.head(head),
            Message::Event(run) => match EventRun::decode(&run) {
                Ok(run) if run.log == self.log => self.event(run),
                Err(RunError::Entry { .. }) => self.fault(Code::BAD_SIGNATURE, ALTERED),
                Ok(_) | Err(RunError::Malformed) => {
                    self.fault(Code::DECODE, "a run of entries is malformed");
                }
            },
            Message::PushAck(ack) if ack.log == self.log => self.push_ack(&ack),
            Message::Error(refusal) => {
                self.asked = self.asked.saturating_sub(1);
                if matches!(refusal.code, Code::FORK | Code::BEHIND_PEERS) {
                    let detail = "the mothership's history is not the one verified here";
                    self.outputs.push_back(Output::Fault {
                        code: refusal.code,
                        detail: detail.to_owned(),
                    });
                }
            }
            _ => {}
        }
    }

    // spec: sync/2.2
    fn head(&mut self, head: Head) {
        let is_last = self.asked == 1;
        self.asked = self.asked.saturating_sub(1);
        // One that nobody asked for, or that was on its way when it was asked again.
        if !is_last {
            return;
        }
        if head.seq < self.seq {
            self.outputs.push_back(Output::Fault {
                code: Code::BEHIND_PEERS,
                detail: format!(
                    "the mothership stands at {}, we verified {}",
                    head.seq, self.seq
                ),
            });
            return;
        }
        if head.seq == self.seq && head.hash != self.hash {
            return self.fault(Code::FORK, "the mothership shows another history");
        }
        // More than was ever written here is no proof of a restored disk: the entries are, once they are shown.
        self.pushed = head.vector.get(&self.writer());
        // The feed starts anew behind the position that was asked for.
        self.is_starved = false;
        self.remote = Some(head);
        self.push();
        self.caught_up();
    }

    /// Tells when the copy equals what the Mothership told of.
    fn caught_up(&mut self) {
        let told = self.remote.as_ref().map(|head| head.seq);
        let is_idle = self.queue.is_empty() && self.flight.is_none();
        if !is_idle || told.is_none_or(|seq| self.seq < seq) {
            return;
        }
        self.outputs.push_back(Output::CaughtUp { seq: self.seq });
        if !self.heard.is_empty() {
            self.outputs.push_back(Output::OfferLater);
        }
        let stranded = |own: &Own| own.incarnation != self.incarnation;
        let entries = self.outbox.iter().filter(|(own, _)| stranded(own));
        self.outputs
            .extend(entries.map(|(_, entry)| Output::Stranded(entry.clone())));
    }

    /// Whether a waiting own entry has a number under which the log holds another one.
    fn has_taken_number(&self) -> bool {
        let placed = self.tips.get(&self.writer()).copied().unwrap_or(NO_TIP);
        let oldest = self.outbox.range(self.numbers(1)).next();
        oldest.is_some_and(|(own, _)| own.author_seq <= placed.author_seq)
    }

    /// Numbers of this writer stand for what this disk does not hold; they must not be used again.
    // spec: sync/2.4, entry/1.10
    fn reincarnate(&mut self) {
        if !self.awaits_incarnation && !self.is_reborn {
            self.awaits_incarnation = true;
            self.outputs.push_back(Output::Reincarnate);
        }
    }

    /// Outcomes of a push; places follow through the feed, so only refusals matter here.
    ///
    /// The first refusal says why; those behind it only say that its number is missing.
    fn push_ack(&mut self, ack: &PushAck) {
        if let Some(answered) = self.answered(ack) {
            return self.offer_ack(&answered, ack);
        }
        let first = ack.outcomes.iter().find_map(|(_, outcome)| match outcome {
            Outcome::Refused(code) => Some(*code),
            Outcome::Stored { .. } => None,
        });
        if first.is_some_and(Code::passes) {
            self.outputs.push_back(Output::RetryLater);
        }
        for (author_seq, outcome) in &ack.outcomes {
            if let Outcome::Refused(code) = outcome {
                self.outputs.push_back(Output::Refused {
                    author_seq: *author_seq,
                    code: *code,
                });
                self.pushed = self.pushed.min(author_seq.saturating_sub(1));
            }
        }
    }

    /// Sends own entries that the Mothership does not have yet.
    fn push(&mut self) {
        if !self.is_linked || self.remote.is_none() || self.is_faulted {
            return;
        }
        loop {
            let mut bytes = 0;
            let waiting: Vec<&Entry> = self
                .outbox
                .range(self.numbers(self.pushed.saturating_add(1)))
                .map(|(_, entry)| entry)
                .take(ENTRIES_PER_BATCH_MAX)
                .take_while(|entry| {
                    let fits = bytes == 0 || bytes + entry.bytes().len() <= PUSH_BYTES_MAX;
                    bytes += entry.bytes().len();
                    fits
                })
                .collect();
            let Some(last) = waiting.last().map(|entry| entry.header().author_seq) else {
                return;
            };
            let run = encode_push(self.log, waiting.iter().map(|entry| &entry.bytes()[..]));
            let numbers = waiting.iter().map(|entry| entry.header().author_seq);
            self.pushes.push(Pushed::Own(numbers.collect()));
            self.pushed = last;
            self.outputs.push_back(Output::Send(Message::Push(run)));
        }
    }

    fn next_batch(&mut self) {
        if self.flight.is_some() || self.queue.is_empty() {
            return;
        }
        self.batch_last += 1;
        let batch = self.batch_last;
        let records: Vec<Record> = self.queue.drain(..).collect();
        let encoded = records.iter().map(Record::encode).collect();
        self.flight = Some((batch, records));
        self.outputs.push_back(Output::Append {
            batch,
            records: encoded,
        });
    }

    // spec: log/3.4
    fn stored(&mut self, batch: u64, first_lsn: u64, count: usize) {
        let Some((_, mut records)) = self.flight.take_if(|(flying, _)| *flying == batch) else {
            return;
        };
        let is_short = count < records.len();
        let is_heard = |record: &Record| matches!(record, Record::Heard(_));
        if self.is_linked && records.iter().take(count).any(is_heard) {
            self.outputs.push_back(Output::OfferLater);
        }
        records.truncate(count);
        let mut is_restored = false;
        for (lsn, record) in (first_lsn..).zip(records) {
            self.tell_contradiction(&record);
            self.apply(&record);
            match record {
                Record::Own(entry) => self.outputs.push_back(Output::Queued { lsn, entry }),
                Record::Placed(placed) => {
                    is_restored |= placed.entry.header().writer == self.writer();
                    self.outputs.push_back(Output::Delivered { lsn, placed });
                }
                Record::OwnPlaced { seq, own, time_ms } => {
                    self.outputs
                        .push_back(Output::Acknowledged { own, seq, time_ms });
                }
                // What the log contradicted, or refused, on its way to the disk does not count.
                Record::Heard(entry) if !self.has_heard(&entry) => {}
                Record::Heard(entry) => self.outputs.push_back(Output::Heard { lsn, entry }),
                Record::HeardPlaced(settled) => self.outputs.push_back(Output::Settled {
                    writer: settled.writer,
                    author_seq: settled.author_seq,
                    seq: settled.seq,
                    time_ms: settled.time_ms,
                }),
                Record::Incarnation(_) => {
                    self.staged_own = self.own_tip();
                    self.pushed = 0;
                    self.awaits_incarnation = false;
                    self.is_reborn = true;
                }
                Record::GivenUp(given_up) => self.outputs.push_back(Output::GivenUp(given_up)),
                Record::Checkpoint(_) | Record::Evidence(_) | Record::Retired(_) => {}
            }
        }
        if is_short {
            self.no_space();
        }
        if is_restored || self.has_taken_number() {
            self.reincarnate();
        }
        self.push();
        self.caught_up();
    }

    /// What is not on disk has not happened: received entries are asked for again, own ones are the author's to repeat.
    fn no_space(&mut self) {
        self.queue.clear();
        self.staged = (self.seq, self.hash);
        self.staged_own = self.own_tip();
        self.staged_tips.clear();
        self.staged_heard.clear();
        self.forget_verdicts();
        self.is_starved = true;
        self.awaits_incarnation = false;
        self.outputs.push_back(Output::NotStored);
        self.outputs.push_back(Output::RetryLater);
    }

    fn tell_contradiction(&mut self, record: &Record) {
        if let Record::Placed(placed) = record
            && self.contradicts(&placed.entry)
        {
            let header = placed.entry.header();
            self.outputs.push_back(Output::Contradicted {
                writer: header.writer,
                author_seq: header.author_seq,
            });
        }
    }

    /// The one place where durable records change state.
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Own(entry) => {
                let header = entry.header();
                self.lamport = self.lamport.max(header.lamport);
                self.outbox_bytes += entry.bytes().len();
                self.outbox.insert(Own::of(entry), entry.clone());
            }
            Record::Placed(placed) => {
                let header = placed.entry.header();
                if self.contradicts(&placed.entry) {
                    self.drop_heard_from(header.writer, header.author_seq);
                    self.flagged.insert(header.writer);
                }
                self.place(placed.seq, placed.time_ms, &placed.entry);
            }
            Record::Heard(entry) => self.keep_heard(entry),
            Record::HeardPlaced(settled) => {
                if let Some(entry) = self.leave_heard(settled.writer, settled.author_seq) {
                    self.place(settled.seq, settled.time_ms, &entry);
                }
            }
            Record::Evidence(entry) => {
                self.flagged.insert(entry.header().writer);
            }
            Record::GivenUp(given_up) => self.keep_given_up(given_up.writer, given_up.author_seq),
            Record::OwnPlaced { seq, time_ms, own } => {
                if let Some(entry) = self.leave(*own) {
                    self.place(*seq, *time_ms, &entry);
                }
            }
            Record::Checkpoint(checkpoint) => self.checkpoint = Some(checkpoint.clone()),
            Record::Incarnation(incarnation) => self.incarnation = *incarnation,
            Record::Retired(own) => {
                self.leave(*own);
            }
        }
    }

    /// Takes an own entry out of the outbox.
    fn leave(&mut self, own: Own) -> Option<Entry> {
        let entry = self.outbox.remove(&own)?;
        self.outbox_bytes -= entry.bytes().len();
        Some(entry)
    }

    /// Own entries of the present incarnation from number `first` on.
    fn numbers(&self, first: u64) -> RangeInclusive<Own> {
        let at = |author_seq| Own {
            incarnation: self.incarnation,
            author_seq,
        };
        at(first)..=at(u64::MAX)
    }

    fn place(&mut self, seq: u64, time_ms: u64, entry: &Entry) {
        let header = entry.header();
        self.leave_heard(header.writer, header.author_seq);
        self.placed_after_all(header.writer, header.author_seq);
        self.lamport = self.lamport.max(header.lamport);
        self.hash = chain(self.hash, seq, time_ms, entry.hash());
        self.seq = seq;
        self.witness.note(seq, self.hash);
        let tip = Tip {
            author_seq: header.author_seq,
            hash: entry.hash(),
        };
        self.tips.insert(header.writer, tip);
    }

    /// The last own entry, placed or not.
    fn own_tip(&self) -> Tip {
        let placed = self.tips.get(&self.writer()).copied().unwrap_or(NO_TIP);
        let queued = self.outbox.range(self.numbers(1)).next_back();
        queued.map_or(placed, |(own, entry)| Tip {
            author_seq: own.author_seq,
            hash: entry.hash(),
        })
    }

    fn fault(&mut self, code: Code, detail: &str) {
        self.is_faulted = true;
        self.outputs.push_back(Output::Fault {
            code,
            detail: detail.to_owned(),
        });
    }
}

/// Encodes stored entries again for another peer; the same bytes that the Mothership sent.
pub fn encode_run(log: LogId, placed: &[Placed]) -> Bytes {
    let rows = placed.iter().map(|placed| PlacedBytes {
        seq: placed.seq,
        time_ms: placed.time_ms,
        bytes: placed.entry.bytes(),
    });
    EventRun::encode(log, rows, None)
}
