//! One log on this device: the machine that decides and the file that remembers.
//!
//! Invariants:
//! - what the machine wants stored is durable before it hears so;
//! - a disk that fails a sync ends the process: what it holds is known only after the next start has read it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    exchange::{self, Exchange},
    links::LinkId,
    replica::{self, Record, Replica},
};
use aura_proto::{
    Entry, Incarnation, LogId, PeerId, TeamId, Writer, limits::ENTRIES_PER_BATCH_MAX,
};
use aura_store::{AppendError, CommitError, Log, Options, Reader, RealDisk, recovery::QUARANTINE};
use aura_trust::IdentityKey;
use bytes::Bytes;

use crate::{
    clock::{Clock, now, random},
    tip::{Memory, Tip},
};

// A record that the log refuses would stop the daemon at every start.
const _: () = assert!(replica::RECORD_BYTES_MAX <= Options::peer().record_bytes_max as usize);

/// Bytes of entries that are shown to a neighbour in one step.
const SHOWN_BYTES_MAX: usize = 192 << 10;

pub(crate) struct Book {
    pub(crate) replica: Replica,
    /// What neighbours are told of it and tell.
    pub(crate) exchange: Exchange,
    /// The record of each writer's entries, by their numbers from 1 on.
    records: BTreeMap<Writer, Vec<u64>>,
    /// Whether an open cut what was behind the last good record, and what counted as queued may be lost with it.
    pub(crate) was_cut: bool,
    dir: PathBuf,
    tip: Memory,
    /// How far the log once came, if it has lost some of that.
    lost: Option<Tip>,
    /// The last record that the open found.
    found: u64,
    /// Whether the Mothership does not answer, as far as is known.
    is_doubted: bool,
    /// Whether another clone on this device has this log without the Mothership.
    is_twin_alone: bool,
    clock: Clock,
    log: Log,
    reader: Reader,
}

impl Book {
    /// Opens the log of this name in `dir`. Its first incarnation is drawn once and replayed from then on.
    pub(crate) fn of(
        dir: &Path,
        (team, log): (TeamId, LogId),
        key: &IdentityKey,
        checkpoint_key: PeerId,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let key = IdentityKey::from_seed(*key.to_bytes());
        let incarnation = Incarnation(u64::from_be_bytes(random()));
        let replica = Replica::new(team, log, key, checkpoint_key, incarnation);
        Self::open(dir, replica, clock)
    }

    /// Opens the log in `dir` and replays it into `replica`. A new one begins with its incarnation.
    fn open(dir: &Path, mut replica: Replica, clock: Clock) -> Result<Self, Failure> {
        let mut unread = None;
        let mut records = BTreeMap::new();
        let mut is_new = true;
        let mut is_fresh = false;
        let visit = |record: aura_store::RecordView<'_>| {
            // Boot records carry nothing.
            if !record.payload.is_empty() {
                is_new = false;
                match Record::decode(&Bytes::copy_from_slice(record.payload)) {
                    Ok(known) => {
                        is_fresh = matches!(known, Record::Incarnation(_));
                        replica.replay(&known);
                        if let Some(entry) = known.entry() {
                            keep_record(&mut records, entry, record.lsn);
                        }
                    }
                    Err(error) => unread = unread.take().or(Some((record.lsn, error))),
                }
            }
        };
        let (log, recovery) = Log::open_with(Arc::new(RealDisk), dir, Options::peer(), visit)
            .map_err(|error| open_failure(&error))?;
        if let Some((lsn, error)) = unread {
            let message = format!("record {lsn} in {}: {error}", dir.display());
            return Err(Failure::new("AE-LOG-CORRUPT", Exit::INTEGRITY, message));
        }
        let (tip, known) = Memory::beside(dir);
        let lost = known.filter(|known| !known.is_in(&log));
        let mut exchange = Exchange::new(replica.log(), replica.held());
        exchange.handle(now(clock), exchange::Input::Alone(true));
        let mut book = Self {
            exchange,
            records,
            // What was cut is kept before it is cut, so that a process may end between the two.
            was_cut: !cut_tails(dir).is_empty(),
            dir: dir.to_owned(),
            tip,
            lost,
            found: recovery.last_lsn,
            is_doubted: false,
            is_twin_alone: false,
            clock,
            replica,
            reader: log.reader(),
            log,
        };
        book.keep_tip();
        if is_new {
            let incarnation = book.replica.writer().incarnation;
            book.feed(replica::Input::Incarnation(incarnation));
        } else if (book.was_cut || book.lost.is_some()) && !is_fresh {
            // A number of what was cut may be known to others.
            let incarnation = Incarnation(u64::from_be_bytes(random()));
            book.feed(replica::Input::Incarnation(incarnation));
        }
        Ok(book)
    }

    /// How far the log once came, if it has lost some of that; and the last record that was found.
    pub(crate) fn lost(&self) -> Option<(Tip, u64)> {
        self.lost.map(|tip| (tip, self.found))
    }

    /// It is durable somewhere else what was lost.
    pub(crate) fn forget_lost(&mut self) {
        self.lost = None;
        self.keep_tip();
    }

    fn keep_tip(&mut self) {
        if self.lost.is_none() {
            self.tip.keep(Tip::of(&self.log, self.replica.cursor().0));
        }
    }

    /// What was cut is made good, or is no loss.
    pub(crate) fn forget_cut(&mut self) {
        if std::mem::take(&mut self.was_cut) {
            for tail in cut_tails(&self.dir) {
                // One that keeps its name is looked at again after the next start.
                fs::rename(&tail, tail.with_extension("seen")).ok();
            }
        }
    }

    /// Feeds the machine and stores what it orders; answers what else it wants or tells.
    pub(crate) fn feed(&mut self, input: replica::Input) -> Vec<replica::Output> {
        self.replica.handle(input);
        let mut rest = Vec::new();
        while let Some(output) = self.replica.poll() {
            match output {
                replica::Output::Append { batch, records } => {
                    let first_lsn = self.log.durable() + 1;
                    let count = self.store(&records);
                    self.replica.handle(replica::Input::Stored {
                        batch,
                        first_lsn,
                        count,
                    });
                }
                replica::Output::Reincarnate => {
                    let incarnation = Incarnation(u64::from_be_bytes(random()));
                    self.replica
                        .handle(replica::Input::Incarnation(incarnation));
                }
                other => {
                    self.tell_exchange(&other);
                    rest.push(other);
                }
            }
        }
        self.tell_whether_alone();
        rest
    }

    /// Whether the Mothership does not answer, so that neighbours are told what it was told.
    pub(crate) fn doubt(&mut self, is_doubted: bool) {
        self.is_doubted = is_doubted;
        self.tell_whether_alone();
    }

    /// Whether this log is without the Mothership: one that is there and does not serve it is none to it.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_doubted || !self.replica.is_served()
    }

    /// Whether another clone on this device is without it: to a neighbour both are one, and it would be asked by the
    /// one and sent away by the other, without end.
    pub(crate) fn share_loneliness(&mut self, is_twin_alone: bool) {
        if self.is_twin_alone != is_twin_alone {
            self.is_twin_alone = is_twin_alone;
            self.tell_whether_alone();
        }
    }

    fn tell_whether_alone(&mut self) {
        let is_alone = self.is_alone() || self.is_twin_alone;
        self.hear(exchange::Input::Alone(is_alone));
    }

    /// What neighbours may hear of what the machine told.
    fn tell_exchange(&mut self, told: &replica::Output) {
        let (lsn, entry) = match told {
            replica::Output::Queued { lsn, entry } | replica::Output::Heard { lsn, entry } => {
                (*lsn, entry)
            }
            replica::Output::Delivered { lsn, placed } => {
                let author = placed.entry.header().writer.peer;
                self.hear(exchange::Input::Placed(author));
                (*lsn, &placed.entry)
            }
            replica::Output::NotHeard { spurned, .. } => {
                let spurned = *spurned;
                return self.hear(exchange::Input::NotHeard { spurned });
            }
            replica::Output::NotStored => {
                return self.hear(exchange::Input::NotHeard { spurned: None });
            }
            replica::Output::Settled { writer, .. } => {
                return self.hear(exchange::Input::Placed(writer.peer));
            }
            replica::Output::Contradicted { .. } | replica::Output::GivenUp(_) => {
                let left = exchange::Input::Left(self.replica.held());
                return self.exchange.handle(now(self.clock), left);
            }
            _ => return,
        };
        keep_record(&mut self.records, entry, lsn);
        let header = entry.header();
        let held = exchange::Input::Held {
            writer: header.writer,
            author_seq: header.author_seq,
        };
        self.exchange.handle(now(self.clock), held);
    }

    /// Entries of a writer from a number on, as many as are shown in one step.
    pub(crate) fn entries(&self, writer: Writer, first: u64, last: u64) -> Vec<Entry> {
        let numbers = (first..=last).take(ENTRIES_PER_BATCH_MAX);
        let records = self.records.get(&writer);
        let lsn = |number: u64| {
            let at = usize::try_from(number.checked_sub(1)?).ok()?;
            records?.get(at).copied().filter(|lsn| *lsn != 0)
        };
        let mut bytes = 0;
        let entries = numbers.map_while(|number| self.entry(lsn(number)?));
        let fitting = entries.take_while(|entry| {
            let fits = bytes == 0 || bytes + entry.bytes().len() <= SHOWN_BYTES_MAX;
            bytes += entry.bytes().len();
            fits
        });
        fitting.collect()
    }

    /// A link with a neighbour has something to say about this log.
    pub(crate) fn hear(&mut self, input: exchange::Input) {
        self.exchange.handle(now(self.clock), input);
    }

    /// Whether neighbours have to be told or asked.
    pub(crate) fn tick_exchange(&mut self) {
        let now = now(self.clock);
        if self.exchange.deadline().is_some_and(|at| at <= now.mono_ms) {
            self.exchange.handle(now, exchange::Input::Tick);
        }
    }

    /// Begins to exchange with a neighbour.
    pub(crate) fn meet(&mut self, neighbour: LinkId) {
        self.hear(exchange::Input::Up(neighbour));
    }

    /// Shows every stored record again, in order.
    pub(crate) fn replay(&self, mut visit: impl FnMut(u64, Record)) -> Result<(), Failure> {
        let shown = self.reader.replay(1, |record| {
            if let Ok(known) = Record::decode(&Bytes::copy_from_slice(record.payload)) {
                visit(record.lsn, known);
            }
        });
        shown.map_err(|error| Failure::new("AE-LOG-CORRUPT", Exit::INTEGRITY, crate::chain(&error)))
    }

    /// One stored record.
    pub(crate) fn read(&self, lsn: u64) -> Option<Record> {
        let record = self.reader.read(lsn, 1).ok()?.into_iter().next()?;
        Record::decode(&record.payload).ok()
    }

    /// The entry in a stored record, if one counts there.
    pub(crate) fn entry(&self, lsn: u64) -> Option<Entry> {
        self.read(lsn)?.entry().cloned()
    }

    /// Stores a batch as far as there is space; answers how many of its records are durable.
    fn store(&mut self, records: &[Bytes]) -> usize {
        let before = self.log.durable();
        for record in records {
            match self.log.append(&[record]) {
                Ok(_) => {}
                Err(AppendError::NoSpace) => break,
                Err(error) => crate::storage_failed(&error),
            }
        }
        match self.log.commit() {
            Ok(_) => {
                self.log.prepare();
                self.keep_tip();
            }
            Err(CommitError::NoSpace) => {}
            Err(error) => crate::storage_failed(&error),
        }
        usize::try_from(self.log.durable() - before).unwrap_or(0)
    }
}

/// What opens of the log in `dir` have cut and nobody has looked after yet.
fn cut_tails(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join(QUARANTINE)).into_iter().flatten();
    let files = files.flatten().map(|file| file.path());
    let is_tail = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "tail");
    files.filter(is_tail).collect()
}

/// Remembers where an entry is; the last record of a number is the one that counts.
fn keep_record(records: &mut BTreeMap<Writer, Vec<u64>>, entry: &Entry, lsn: u64) {
    let header = entry.header();
    let rows = records.entry(header.writer).or_default();
    // A writer's numbers come in order, so a gap is no longer than what a restored disk lost.
    if let Some(at) = header
        .author_seq
        .checked_sub(1)
        .and_then(|at| usize::try_from(at).ok())
        && at <= rows.len() + ENTRIES_PER_BATCH_MAX
    {
        if rows.len() <= at {
            rows.resize(at + 1, 0);
        }
        rows[at] = lsn;
    }
}

fn open_failure(error: &aura_store::OpenError) -> Failure {
    use aura_store::OpenError as E;
    let (id, exit) = match error {
        E::Corrupt(_) => ("AE-LOG-CORRUPT", Exit::INTEGRITY),
        E::Locked { .. } => ("LOCKED", Exit::LOCKED),
        E::NoSpace { .. } => ("NO_SPACE", Exit::BUSY),
        _ => ("AE-STORAGE", Exit::STORAGE),
    };
    Failure::new(id, exit, crate::chain(error))
}
