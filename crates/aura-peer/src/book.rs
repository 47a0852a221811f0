//! One log on this device: the machine that decides and the file that remembers.
//!
//! Invariants:
//! - what the machine wants stored is durable before it hears so;
//! - a disk that fails a sync ends the process: what it holds is known only after the next start has read it.

use std::{path::Path, sync::Arc};

use aura_api::{Exit, Failure};
use aura_engine::peer::replica::{self, Record, Replica};
use aura_proto::Incarnation;
use aura_store::{AppendError, CommitError, Log, Options, Reader, RealDisk};
use bytes::Bytes;

use crate::clock::random;

// A record that the log refuses would stop the daemon at every start.
const _: () = assert!(replica::RECORD_BYTES_MAX <= Options::peer().record_bytes_max as usize);

pub(crate) struct Book {
    pub(crate) replica: Replica,
    log: Log,
    reader: Reader,
}

impl Book {
    /// Opens the log in `dir` and replays it into `replica`. A new one begins with its incarnation.
    pub(crate) fn open(dir: &Path, mut replica: Replica) -> Result<Self, Failure> {
        let mut unread = None;
        let mut is_new = true;
        let visit = |record: aura_store::RecordView<'_>| {
            // Boot records carry nothing.
            if !record.payload.is_empty() {
                is_new = false;
                match Record::decode(&Bytes::copy_from_slice(record.payload)) {
                    Ok(known) => replica.replay(&known),
                    Err(error) => unread = unread.take().or(Some((record.lsn, error))),
                }
            }
        };
        let (log, _) = Log::open_with(Arc::new(RealDisk), dir, Options::peer(), visit)
            .map_err(|error| open_failure(&error))?;
        if let Some((lsn, error)) = unread {
            let message = format!("record {lsn} in {}: {error}", dir.display());
            return Err(Failure::new("AE-LOG-CORRUPT", Exit::INTEGRITY, message));
        }
        let mut book = Self {
            replica,
            reader: log.reader(),
            log,
        };
        if is_new {
            let incarnation = book.replica.writer().incarnation;
            book.feed(replica::Input::Incarnation(incarnation));
        }
        Ok(book)
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
                other => rest.push(other),
            }
        }
        rest
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
            Ok(_) => self.log.prepare(),
            Err(CommitError::NoSpace) => {}
            Err(error) => crate::storage_failed(&error),
        }
        usize::try_from(self.log.durable() - before).unwrap_or(0)
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
