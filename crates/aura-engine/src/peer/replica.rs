//! One peer's copy of one log, and the entries of its own that are still on their way.
//!
//! Everything durable goes through one batch at a time, as in the Mothership: what arrives while a batch is being
//! synced waits for the next one, and state changes only when records are durable.
//!
//! Invariants:
//! - the copy is a prefix of the Mothership's log: positions without gaps, running hash verified;
//! - own entries are contiguous and chained; each stays in the outbox until its place in the log is known;
//! - the logical clock never goes back, not even over a restart;
//! - a checkpoint that contradicts the copy stops the replica and is kept as proof.

use std::collections::{BTreeMap, VecDeque};

use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{Checkpoint, EventRun, Placed, PlacedBytes, chain, encode_push},
    limits::ENTRIES_PER_BATCH_MAX,
    message::{Head, Message, Outcome, PushAck, Subscribe},
};
use aura_trust::{IdentityKey, VerifiedEntry, sign_entry, verify_checkpoint, verify_entry};
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of own entries that may wait for the Mothership; beyond it, publishing is refused.
pub const OUTBOX_BYTES_MAX: usize = 256 << 20;
/// Bytes of one push message.
const PUSH_BYTES_MAX: usize = 1 << 20;

const TAG_OWN: u8 = 1;
const TAG_PLACED: u8 = 2;
const TAG_OWN_PLACED: u8 = 3;
const TAG_CHECKPOINT: u8 = 4;
const TAG_INCARNATION: u8 = 5;

/// One record of a peer's log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An own entry, queued.
    Own(Entry),
    /// Somebody else's entry at its place.
    Placed(Placed),
    /// The place of an own entry.
    OwnPlaced {
        /// Position in the Mothership's log.
        seq: u64,
        /// Stored at, milliseconds since 1970.
        time_ms: u64,
        /// Epoch of the Mothership's log.
        author_seq: u64,
    },
    /// A verified checkpoint.
    Checkpoint(Checkpoint),
    /// From here on own entries carry this incarnation.
    Incarnation(Incarnation),
}

/// Why bytes are not a record of a peer's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of the peer's log does not decode")]
pub struct RecordError;

impl Record {
    /// The bytes of the record.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Own(entry) => {
                out.put_u8(TAG_OWN);
                out.put_slice(entry.bytes());
            }
            Self::Placed(placed) => {
                out.put_u8(TAG_PLACED);
                out.put_u64(placed.seq);
                out.put_u64(placed.time_ms);
                out.put_slice(placed.entry.bytes());
            }
            Self::OwnPlaced {
                seq,
                time_ms,
                author_seq,
            } => {
                out.put_u8(TAG_OWN_PLACED);
                out.put_u64(*seq);
                out.put_u64(*time_ms);
                out.put_u64(*author_seq);
            }
            Self::Checkpoint(checkpoint) => {
                out.put_u8(TAG_CHECKPOINT);
                out.put_slice(&checkpoint.encode());
            }
            Self::Incarnation(incarnation) => {
                out.put_u8(TAG_INCARNATION);
                out.put_u64(incarnation.0);
            }
        }
        out.freeze()
    }

    /// Reads a record.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let number = |at: usize| -> Result<u64, RecordError> {
            let field = bytes.get(at..at + 8).ok_or(RecordError)?;
            Ok(u64::from_be_bytes(
                field.try_into().map_err(|_| RecordError)?,
            ))
        };
        let entry = |at: usize| -> Result<Entry, RecordError> {
            if bytes.len() < at {
                return Err(RecordError);
            }
            Entry::decode(bytes.slice(at..)).map_err(|_| RecordError)
        };
        match bytes.first() {
            Some(&TAG_OWN) => Ok(Self::Own(entry(1)?)),
            Some(&TAG_PLACED) => {
                let placed = Placed {
                    seq: number(1)?,
                    time_ms: number(9)?,
                    entry: entry(17)?,
                };
                Ok(Self::Placed(placed))
            }
            Some(&TAG_OWN_PLACED) => Ok(Self::OwnPlaced {
                seq: number(1)?,
                time_ms: number(9)?,
                author_seq: number(17)?,
            }),
            Some(&TAG_CHECKPOINT) => Checkpoint::decode(&bytes[1..])
                .map(Self::Checkpoint)
                .map_err(|_| RecordError),
            Some(&TAG_INCARNATION) => Ok(Self::Incarnation(Incarnation(number(1)?))),
            Some(_) | None => Err(RecordError),
        }
    }
}

/// What happens to a replica.
#[derive(Debug)]
pub enum Input {
    /// This device writes an entry; the body is sealed already.
    Author {
        /// What it says.
        kind: Kind,
        /// The team key that sealed the body, 0 for none.
        key_epoch: u32,
        /// The sealed body.
        body: Vec<u8>,
        /// Wall clock, milliseconds since 1970.
        time_ms: u64,
        /// The number that [`Replica::next_number`] told; the body is sealed to it.
        author_seq: u64,
    },
    /// The batch could not be stored.
    Failed {
        /// Which.
        batch: u64,
    },
    /// The control link is ready.
    LinkUp,
    /// The control link is gone.
    LinkDown,
    /// A new incarnation was drawn, as asked by [`Output::Reincarnate`].
    Incarnation(Incarnation),
    /// A message on this log's stream.
    Received(Message),
    /// The records of a batch are durable.
    Stored {
        /// Which.
        batch: u64,
        /// Record number of its first record.
        first_lsn: u64,
    },
}

/// What a replica wants, or tells.
#[derive(Debug)]
pub enum Output {
    /// Store these records and sync them.
    Append {
        /// Number of the batch.
        batch: u64,
        /// The records in order.
        records: Vec<Bytes>,
    },
    /// Send on this log's stream.
    Send(Message),
    /// An own entry is durable here.
    Queued {
        /// Its record.
        lsn: u64,
        /// The entry.
        entry: Entry,
    },
    /// An own entry has its place.
    Acknowledged {
        /// Its number.
        author_seq: u64,
        /// Its position.
        seq: u64,
    },
    /// Somebody else's entry is durable here.
    Delivered {
        /// Its record.
        lsn: u64,
        /// The entry and its place.
        placed: Placed,
    },
    /// The Mothership refused an own entry.
    Refused {
        /// Its number.
        author_seq: u64,
        /// Why.
        code: Code,
    },
    /// The copy equals the Mothership's log as far as it told.
    CaughtUp {
        /// Position.
        seq: u64,
    },
    /// The Mothership holds own numbers that this disk does not: a restored backup. Draw a new incarnation.
    Reincarnate,
    /// History was rewritten, or is not what it was said to be; nothing more is taken.
    Fault {
        /// What.
        code: Code,
        /// For people.
        detail: String,
    },
    /// Own entries could not be stored.
    NotStored,
}

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
    lamport: u64,
    tips: BTreeMap<Writer, Tip>,
    checkpoint: Option<Checkpoint>,
    outbox: BTreeMap<u64, (Incarnation, Entry)>,
    outbox_bytes: usize,
    // On its way to the disk.
    queue: VecDeque<Record>,
    flight: Option<(u64, Vec<Record>)>,
    batch_last: u64,
    staged_own: Tip,
    staged: (u64, Digest),
    staged_tips: BTreeMap<Writer, Tip>,
    // Link.
    is_linked: bool,
    pushed: u64,
    remote: Option<Head>,
    is_faulted: bool,
    outputs: VecDeque<Output>,
}

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
            lamport: 0,
            tips: BTreeMap::new(),
            checkpoint: None,
            outbox: BTreeMap::new(),
            outbox_bytes: 0,
            queue: VecDeque::new(),
            flight: None,
            batch_last: 0,
            staged_own: NO_TIP,
            staged: (0, Digest::ZERO),
            staged_tips: BTreeMap::new(),
            is_linked: false,
            pushed: 0,
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

    /// Last verified position and running hash.
    pub fn cursor(&self) -> (u64, Digest) {
        (self.seq, self.hash)
    }

    /// Own entries without a place yet, oldest first.
    pub fn outbox(&self) -> impl Iterator<Item = &Entry> {
        self.outbox.values().map(|(_, entry)| entry)
    }

    /// How many own entries have no place yet, durable or not.
    pub fn queued(&self) -> u64 {
        let waiting = |record: &&Record| matches!(record, Record::Own(_));
        let flying = self.flight.iter().flat_map(|(_, records)| records);
        (self.outbox.len() + self.queue.iter().chain(flying).filter(waiting).count()) as u64
    }

    /// Whether everything that the Mothership told of is here, and everything of ours is there.
    pub fn is_synced(&self) -> bool {
        let caught_up = self
            .remote
            .as_ref()
            .is_some_and(|head| head.seq <= self.seq);
        self.is_linked && caught_up && self.queued() == 0
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
                key_epoch,
                body,
                time_ms,
                author_seq,
            } => {
                self.author(kind, key_epoch, &body, time_ms, author_seq);
            }
            Input::Failed { batch } => self.failed(batch),
            Input::LinkUp => {
                self.is_linked = true;
                self.remote = None;
                self.outputs
                    .push_back(Output::Send(Message::Subscribe(self.subscribe())));
            }
            Input::LinkDown => {
                self.is_linked = false;
                self.remote = None;
            }
            Input::Incarnation(incarnation) => {
                self.queue.push_back(Record::Incarnation(incarnation));
            }
            Input::Received(message) => self.received(message),
            Input::Stored { batch, first_lsn } => self.stored(batch, first_lsn),
        }
        self.next_batch();
    }

    /// Takes the next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn subscribe(&self) -> Subscribe {
        let mut vector = VersionVector::default();
        for (writer, tip) in &self.tips {
            vector.observe(*writer, tip.author_seq);
        }
        Subscribe {
            log: self.log,
            epoch: self
                .checkpoint
                .as_ref()
                .map_or(0, |checkpoint| checkpoint.epoch),
            seq: self.seq,
            hash: self.hash,
            vector,
            checkpoint: self
                .checkpoint
                .as_ref()
                .map(Checkpoint::encode)
                .unwrap_or_default(),
        }
    }

    fn author(&mut self, kind: Kind, key_epoch: u32, body: &[u8], time_ms: u64, author_seq: u64) {
        if author_seq != self.next_number() {
            self.outputs.push_back(Output::NotStored);
            return;
        }
        self.lamport += 1;
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind,
            flags: 0,
            team: self.team,
            log: self.log,
            writer: self.writer(),
            author_seq,
            prev: self.staged_own.hash,
            lamport: self.lamport,
            time_ms,
            fence: 0,
            key_epoch,
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            body_hash: Digest::of(body),
        };
        match sign_entry(&self.key, &header, body) {
            Ok(entry) => {
                self.staged_own = Tip {
                    author_seq,
                    hash: entry.hash(),
                };
                self.queue.push_back(Record::Own(entry));
            }
            Err(_) => self.outputs.push_back(Output::NotStored),
        }
    }

    fn received(&mut self, message: Message) {
        match message {
            Message::Head(head) if head.log == self.log => self.head(head),
            Message::Event(run) => match EventRun::decode(&run) {
                Ok(run) if run.log == self.log => self.event(run),
                Ok(_) | Err(_) => self.fault(Code::DECODE, "a run of entries is malformed"),
            },
            Message::PushAck(ack) if ack.log == self.log => self.push_ack(&ack),
            Message::Error(refusal) => {
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
        let held = head.vector.get(&self.writer());
        if self.own_tip().author_seq < held {
            self.outputs.push_back(Output::Reincarnate);
        }
        self.pushed = held;
        let seq = head.seq;
        self.remote = Some(head);
        self.push();
        if seq == self.staged.0 {
            self.outputs.push_back(Output::CaughtUp { seq });
        }
    }

    /// Verifies a run and queues its records; a fault stops the replica.
    // spec: sync/3.3
    fn event(&mut self, run: EventRun) {
        if self.is_faulted {
            return;
        }
        for placed in run.entries {
            if placed.seq <= self.staged.0 {
                continue;
            }
            if let Err((code, detail)) = self.stage_placed(placed) {
                return self.fault(code, detail);
            }
        }
        if let Some(checkpoint) = run.checkpoint {
            self.stage_checkpoint(checkpoint);
        }
    }

    fn stage_placed(&mut self, placed: Placed) -> Result<(), (Code, &'static str)> {
        if placed.seq != self.staged.0 + 1 {
            return Err((Code::ORDER, "the mothership left out a position"));
        }
        let header = placed.entry.header();
        let (writer, author_seq) = (header.writer, header.author_seq);
        let own = writer == self.writer();
        let tip = self.staged_tip(writer);
        if author_seq != tip.author_seq + 1 {
            return Err((Code::AUTHOR_GAP, "an entry of an author is missing"));
        }
        if header.prev != tip.hash {
            return Err((
                Code::ORDER,
                "an entry does not chain to its author's previous one",
            ));
        }
        if header.team != self.team || header.log != self.log {
            return Err((Code::WRONG_TEAM, "an entry belongs elsewhere"));
        }
        let entry = placed.entry.clone();
        let verified: VerifiedEntry = verify_entry(entry)
            .map_err(|_| (Code::BAD_SIGNATURE, "a signature does not verify"))?;
        let hash = chain(self.staged.1, placed.seq, placed.time_ms, verified.hash());
        self.staged = (placed.seq, hash);
        self.staged_tips.insert(
            writer,
            Tip {
                author_seq,
                hash: verified.hash(),
            },
        );
        let held = self
            .outbox
            .get(&author_seq)
            .is_some_and(|(incarnation, entry)| {
                *incarnation == writer.incarnation && entry.hash() == verified.hash()
            });
        self.queue.push_back(if own && held {
            Record::OwnPlaced {
                seq: placed.seq,
                time_ms: placed.time_ms,
                author_seq,
            }
        } else {
            Record::Placed(placed)
        });
        Ok(())
    }

    fn stage_checkpoint(&mut self, checkpoint: Checkpoint) {
        if verify_checkpoint(&checkpoint, self.checkpoint_key).is_err() {
            return self.fault(
                Code::BAD_SIGNATURE,
                "a checkpoint is not signed by the mothership",
            );
        }
        if checkpoint.seq != self.staged.0 {
            return;
        }
        if checkpoint.hash != self.staged.1 {
            return self.fault(
                Code::FORK,
                "a signed checkpoint contradicts the entries shown",
            );
        }
        self.queue.push_back(Record::Checkpoint(checkpoint));
    }

    /// Outcomes of a push; places follow through the feed, so only refusals matter here.
    fn push_ack(&mut self, ack: &PushAck) {
        for (author_seq, outcome) in &ack.outcomes {
            if let Outcome::Refused(code) = outcome {
                self.outputs.push_back(Output::Refused {
                    author_seq: *author_seq,
                    code: *code,
                });
                // Sent again after the next head: a full disk or a busy server passes.
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
                .range(self.pushed + 1..)
                .filter(|(_, (incarnation, _))| *incarnation == self.incarnation)
                .map(|(_, (_, entry))| entry)
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

    fn stored(&mut self, batch: u64, first_lsn: u64) {
        let Some((_, records)) = self.flight.take_if(|(flying, _)| *flying == batch) else {
            return;
        };
        for (lsn, record) in (first_lsn..).zip(records) {
            self.apply(&record);
            match record {
                Record::Own(entry) => self.outputs.push_back(Output::Queued { lsn, entry }),
                Record::Placed(placed) => {
                    self.outputs.push_back(Output::Delivered { lsn, placed });
                }
                Record::OwnPlaced {
                    seq, author_seq, ..
                } => {
                    self.outputs
                        .push_back(Output::Acknowledged { author_seq, seq });
                }
                Record::Checkpoint(_) | Record::Incarnation(_) => {}
            }
        }
        self.push();
        if self
            .remote
            .as_ref()
            .is_some_and(|head| head.seq <= self.seq)
            && self.queue.is_empty()
        {
            self.outputs.push_back(Output::CaughtUp { seq: self.seq });
        }
    }

    /// Nothing of the batch is on disk. What was received comes again; own entries are the author's to repeat.
    fn failed(&mut self, batch: u64) {
        if self
            .flight
            .take_if(|(flying, _)| *flying == batch)
            .is_some()
        {
            self.queue.clear();
            self.staged = (self.seq, self.hash);
            self.staged_own = self.own_tip();
            self.staged_tips.clear();
            self.outputs.push_back(Output::NotStored);
        }
    }

    /// The one place where durable records change state.
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Own(entry) => {
                let header = entry.header();
                self.lamport = self.lamport.max(header.lamport);
                self.outbox_bytes += entry.bytes().len();
                self.outbox.insert(
                    header.author_seq,
                    (header.writer.incarnation, entry.clone()),
                );
            }
            Record::Placed(placed) => self.place(placed.seq, placed.time_ms, &placed.entry),
            Record::OwnPlaced {
                seq,
                time_ms,
                author_seq,
            } => {
                if let Some((_, entry)) = self.outbox.remove(author_seq) {
                    self.outbox_bytes -= entry.bytes().len();
                    self.place(*seq, *time_ms, &entry);
                }
            }
            Record::Checkpoint(checkpoint) => self.checkpoint = Some(checkpoint.clone()),
            Record::Incarnation(incarnation) => self.incarnation = *incarnation,
        }
    }

    fn place(&mut self, seq: u64, time_ms: u64, entry: &Entry) {
        let header = entry.header();
        self.lamport = self.lamport.max(header.lamport);
        self.hash = chain(self.hash, seq, time_ms, entry.hash());
        self.seq = seq;
        let tip = Tip {
            author_seq: header.author_seq,
            hash: entry.hash(),
        };
        self.tips.insert(header.writer, tip);
    }

    /// The last own entry, placed or not.
    fn own_tip(&self) -> Tip {
        let placed = self.tips.get(&self.writer()).copied().unwrap_or(NO_TIP);
        let queued = self
            .outbox
            .values()
            .rfind(|(incarnation, _)| *incarnation == self.incarnation);
        queued.map_or(placed, |(_, entry)| Tip {
            author_seq: entry.header().author_seq,
            hash: entry.hash(),
        })
    }

    fn staged_tip(&self, writer: Writer) -> Tip {
        let durable = || self.tips.get(&writer).copied().unwrap_or(NO_TIP);
        self.staged_tips
            .get(&writer)
            .copied()
            .unwrap_or_else(durable)
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
