//! The logs of a team: who wrote what, in which order, and what a new entry must satisfy.
//!
//! Invariants:
//! - a log is one sequence from 1 without gaps; per writer, log order is author order;
//! - a pair (writer, author_seq) stands in a log at most once;
//! - an entry is checked against the durable state and whatever else its batch already holds.

use std::collections::BTreeMap;

use aura_proto::{
    Code, Digest, Entry, Incarnation, LogId, PeerId, VersionVector, Writer, event::chain,
};

/// Logs that one team may have; a repository each.
pub const LOGS_MAX: usize = 4_096;
/// Logs that one member may begin.
pub const LOGS_PER_AUTHOR_MAX: usize = 256;
/// Lives of one member in one log: each clone and each restored disk is one.
pub const LIVES_MAX: usize = 1_024;

/// One durable entry: where it is in the record log, when it came, and the running hash after it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    lsn: u64,
    time_ms: u64,
    hash: Digest,
}

/// What is known of one writer in one log.
#[derive(Debug, Clone)]
struct Chain {
    /// Log positions by author_seq - 1.
    seqs: Vec<u64>,
    last: Digest,
    level: u8,
}

/// One log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    slots: Vec<Slot>,
    writers: BTreeMap<Writer, Chain>,
    /// The author of the first entry.
    founder: Option<PeerId>,
}

impl Log {
    /// Last durable position, 0 when empty.
    pub fn seq(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Running hash after the last entry.
    pub fn hash(&self) -> Digest {
        self.slots.last().map_or(Digest::ZERO, |slot| slot.hash)
    }

    /// Running hash after position `seq`; `None` beyond the end.
    pub fn hash_at(&self, seq: u64) -> Option<Digest> {
        match seq.checked_sub(1) {
            None => Some(Digest::ZERO),
            Some(index) => self.slot(index).map(|slot| slot.hash),
        }
    }

    /// When the last entry was stored.
    pub fn time_ms(&self) -> u64 {
        self.slots.last().map_or(0, |slot| slot.time_ms)
    }

    /// Record number of position `seq`.
    pub fn lsn(&self, seq: u64) -> Option<u64> {
        seq.checked_sub(1)
            .and_then(|index| self.slot(index))
            .map(|slot| slot.lsn)
    }

    /// What the log holds of each writer.
    pub fn vector(&self) -> VersionVector {
        let mut vector = VersionVector::default();
        for (writer, chain) in &self.writers {
            vector.observe(*writer, chain.seqs.len() as u64);
        }
        vector
    }

    /// How many writers have written.
    pub fn writers(&self) -> usize {
        self.writers.len()
    }

    fn slot(&self, index: u64) -> Option<Slot> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.slots.get(index))
            .copied()
    }

    /// Where an entry already stands, if its number is taken; another entry under the number is a fault.
    fn placed(&self, entry: &Entry) -> Option<Result<(u64, u64), Code>> {
        let header = entry.header();
        let index = usize::try_from(header.author_seq.checked_sub(1)?).ok()?;
        let seq = *self.writers.get(&header.writer)?.seqs.get(index)?;
        let slot = self.slot(seq - 1)?;
        let before = self.hash_at(seq - 1)?;
        let same = chain(before, seq, slot.time_ms, entry.hash()) == slot.hash;
        Some(if same {
            Ok((seq, slot.time_ms))
        } else {
            Err(Code::EQUIVOCATION)
        })
    }

    fn append(&mut self, lsn: u64, time_ms: u64, entry: &Entry) {
        let header = entry.header();
        let seq = self.seq() + 1;
        let hash = chain(self.hash(), seq, time_ms, entry.hash());
        self.slots.push(Slot { lsn, time_ms, hash });
        self.founder.get_or_insert(header.writer.peer);
        let chain = self.writers.entry(header.writer).or_insert_with(|| Chain {
            seqs: Vec::new(),
            last: Digest::ZERO,
            level: 0,
        });
        chain.seqs.push(seq);
        chain.last = entry.hash();
        chain.level = header.level;
    }
}

/// All logs of the team.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    logs: BTreeMap<LogId, Log>,
}

/// What the current batch has already taken, on top of the durable state.
#[derive(Debug, Default)]
pub struct Staged {
    seqs: BTreeMap<LogId, u64>,
    writers: BTreeMap<(LogId, Writer), (u64, Digest, u8)>,
    places: BTreeMap<(LogId, Writer, u64), (Digest, u64, u64)>,
}

/// What is to become of a checked entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// New: it gets this position.
    New {
        /// Position in the log.
        seq: u64,
    },
    /// Already durable, or already in this batch, at this position.
    Known {
        /// Position in the log.
        seq: u64,
        /// Stored at.
        time_ms: u64,
    },
}

impl Ledger {
    /// One log, when something was ever stored in it.
    pub fn log(&self, log: LogId) -> Option<&Log> {
        self.logs.get(&log)
    }

    /// All logs by id.
    pub fn iter(&self) -> impl Iterator<Item = (LogId, &Log)> {
        self.logs.iter().map(|(id, log)| (*id, log))
    }

    /// Decides where `entry` goes, without storing it.
    ///
    /// Errors: EQUIVOCATION, AUTHOR_GAP, ORDER, LEVEL.
    // spec: sync/4.1, entry/1.8, entry/1.11
    pub fn place(&self, staged: &Staged, entry: &Entry) -> Result<Placement, Code> {
        let header = entry.header();
        let durable = self.logs.get(&header.log);
        if let Some(placed) = durable.and_then(|log| log.placed(entry)) {
            return placed.map(|(seq, time_ms)| Placement::Known { seq, time_ms });
        }
        let key = (header.log, header.writer, header.author_seq);
        if let Some((hash, seq, time_ms)) = staged.places.get(&key) {
            let same = *hash == entry.hash();
            return if same {
                Ok(Placement::Known {
                    seq: *seq,
                    time_ms: *time_ms,
                })
            } else {
                Err(Code::EQUIVOCATION)
            };
        }
        self.follows(staged, entry)?;
        let seq = staged
            .seqs
            .get(&header.log)
            .copied()
            .unwrap_or_else(|| durable.map_or(0, Log::seq))
            + 1;
        Ok(Placement::New { seq })
    }

    /// Whether an entry is the next one of its writer.
    fn follows(&self, staged: &Staged, entry: &Entry) -> Result<(), Code> {
        let header = entry.header();
        let (count, last, level) = self.writer_state(staged, header.log, header.writer);
        if count.checked_add(1) != Some(header.author_seq) {
            return Err(Code::AUTHOR_GAP);
        }
        if header.prev != last {
            return Err(Code::ORDER);
        }
        if header.level < level {
            return Err(Code::LEVEL);
        }
        Ok(())
    }

    /// Whether an entry may begin a log, and a life of its author in it, if it does; asked before it is stored, never
    /// at replay.
    ///
    /// Errors: BUSY while another member may still begin the log, WRONG_AUTHOR for a life too many: no life ever ends.
    // spec: sync/4.5
    pub fn admits(&self, staged: &Staged, log: LogId, writer: Writer) -> Result<(), Code> {
        if !self.admits_log(staged, log, writer.peer) {
            return Err(Code::BUSY);
        }
        let has_room = self.admits_writer(staged, log, writer);
        has_room.then_some(()).ok_or(Code::WRONG_AUTHOR)
    }

    fn admits_log(&self, staged: &Staged, log: LogId, author: PeerId) -> bool {
        let is_known = |log: &LogId| self.logs.contains_key(log) || *log == LogId::TEAM;
        if is_known(&log) || staged.seqs.contains_key(&log) {
            return true;
        }
        let new = staged.seqs.keys().filter(|log| !is_known(log)).count();
        let begun = self.logs.values().filter(|log| log.founder == Some(author));
        self.logs.len() + new < LOGS_MAX && begun.count() + new < LOGS_PER_AUTHOR_MAX
    }

    fn admits_writer(&self, staged: &Staged, log: LogId, writer: Writer) -> bool {
        let is_staged = staged.writers.contains_key(&(log, writer));
        let Some(known) = self.logs.get(&log) else {
            return true;
        };
        let lives = |incarnation| Writer {
            peer: writer.peer,
            incarnation,
        };
        let lives = lives(Incarnation(0))..=lives(Incarnation(u64::MAX));
        is_staged
            || known.writers.contains_key(&writer)
            || known.writers.range(lives).count() < LIVES_MAX
    }

    /// The next number of a writer, and the hash of the entry before it.
    pub fn next(&self, staged: &Staged, log: LogId, writer: Writer) -> (u64, Digest) {
        let (count, last, _) = self.writer_state(staged, log, writer);
        (count + 1, last)
    }

    /// Remembers a placement for the rest of the batch.
    pub fn stage(&self, staged: &mut Staged, seq: u64, time_ms: u64, entry: &Entry) {
        let header = entry.header();
        staged.seqs.insert(header.log, seq);
        staged.writers.insert(
            (header.log, header.writer),
            (header.author_seq, entry.hash(), header.level),
        );
        staged.places.insert(
            (header.log, header.writer, header.author_seq),
            (entry.hash(), seq, time_ms),
        );
    }

    /// Applies a durable entry record; live and at replay.
    pub fn apply(&mut self, lsn: u64, seq: u64, time_ms: u64, entry: &Entry) -> Result<(), Code> {
        let placement = self.place(&Staged::default(), entry)?;
        if placement != (Placement::New { seq }) {
            return Err(Code::ORDER);
        }
        self.logs
            .entry(entry.header().log)
            .or_default()
            .append(lsn, time_ms, entry);
        Ok(())
    }

    fn writer_state(&self, staged: &Staged, log: LogId, writer: Writer) -> (u64, Digest, u8) {
        staged
            .writers
            .get(&(log, writer))
            .copied()
            .unwrap_or_else(|| {
                self.logs
                    .get(&log)
                    .and_then(|log| log.writers.get(&writer))
                    .map_or((0, Digest::ZERO, 0), |chain| {
                        (chain.seqs.len() as u64, chain.last, chain.level)
                    })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(n: usize) -> LogId {
        let mut id = [1; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        LogId(id)
    }

    #[test]
    fn logs_that_share_a_batch_count_together_and_a_log_that_is_there_always_has_room() {
        let mut ledger = Ledger::default();
        for n in 1..LOGS_MAX {
            ledger.logs.insert(log(n), Log::default());
        }
        let mut staged = Staged::default();
        let writer = Writer {
            peer: PeerId([1; 32]),
            incarnation: Incarnation(1),
        };
        let admits = |staged: &Staged, log| ledger.admits(staged, log, writer).is_ok();
        assert!(admits(&staged, log(LOGS_MAX)));
        staged.seqs.insert(log(LOGS_MAX), 1);
        assert!(admits(&staged, log(LOGS_MAX)));
        assert!(!admits(&staged, log(LOGS_MAX + 1)));
        assert!(admits(&staged, log(1)) && admits(&staged, LogId::TEAM));
    }

    #[test]
    fn one_member_begins_so_many_logs_and_has_so_many_lives_in_one() {
        let mut ledger = Ledger::default();
        let writer = |peer: u8, incarnation: usize| Writer {
            peer: PeerId([peer; 32]),
            incarnation: Incarnation(incarnation as u64),
        };
        for n in 0..LOGS_PER_AUTHOR_MAX {
            let founder = Some(PeerId([1; 32]));
            let begun = Log {
                founder,
                ..Log::default()
            };
            ledger.logs.insert(log(n), begun);
        }
        let staged = Staged::default();
        let new = log(LOGS_PER_AUTHOR_MAX);
        let admits = |log, writer| ledger.admits(&staged, log, writer);
        assert_eq!(admits(new, writer(1, 1)), Err(Code::BUSY));
        assert_eq!(admits(new, writer(2, 1)), Ok(()));
        let known = ledger.logs.entry(log(0)).or_default();
        for n in 0..LIVES_MAX {
            let chain = Chain {
                seqs: Vec::new(),
                last: Digest::ZERO,
                level: 0,
            };
            known.writers.insert(writer(1, n), chain);
        }
        let admits = |writer| ledger.admits(&staged, log(0), writer);
        assert_eq!(admits(writer(1, 0)), Ok(()));
        assert_eq!(admits(writer(1, LIVES_MAX)), Err(Code::WRONG_AUTHOR));
        assert_eq!(admits(writer(2, LIVES_MAX)), Ok(()));
    }
}
