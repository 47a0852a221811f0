//! Runs of entries for subscribers: encoded once, shared by reference.
//!
//! Invariants:
//! - a run that was encoded for one subscriber is the run for everybody at the same position;
//! - memory is bounded: the newest runs only, older ones are read from the log again.

use std::collections::VecDeque;

use aura_engine::hub::{Hub, record::split_entry};
use aura_proto::{
    LogId,
    event::{EventRun, PlacedBytes},
};
use aura_store::{ReadError, Reader};
use bytes::Bytes;

/// Bytes of entries in one run.
pub(crate) const RUN_BYTES_MAX: usize = 192 << 10;
/// Runs kept.
const RUNS_MAX: usize = 64;

#[derive(PartialEq, Eq, Clone, Copy)]
struct Key {
    log: LogId,
    from: u64,
    to: u64,
    head: u64,
    with_checkpoint: bool,
}

struct Run {
    key: Key,
    up_to: u64,
    bytes: Bytes,
}

/// The newest runs.
pub(crate) struct Feed {
    reader: Reader,
    runs: VecDeque<Run>,
}

impl Feed {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            runs: VecDeque::new(),
        }
    }

    /// The run from `from` to at most `to`, and the position it really reaches.
    pub(crate) fn run(
        &mut self,
        hub: &Hub,
        log: LogId,
        (from, to): (u64, u64),
        with_checkpoint: bool,
    ) -> Result<Option<(Bytes, u64)>, ReadError> {
        let head = hub.ledger().log(log).map_or(0, |log| log.seq());
        let key = Key {
            log,
            from,
            to,
            head,
            with_checkpoint,
        };
        if let Some(run) = self.runs.iter().rev().find(|run| run.key == key) {
            return Ok(Some((run.bytes.clone(), run.up_to)));
        }
        let records = self.read(hub, log, from, to)?;
        let rows: Vec<PlacedBytes<'_>> = records
            .iter()
            .filter_map(|record| split_entry(record))
            .map(|(seq, time_ms, bytes)| PlacedBytes {
                seq,
                time_ms,
                bytes,
            })
            .collect();
        let Some(up_to) = rows.last().map(|row| row.seq) else {
            return Ok(None);
        };
        let checkpoint = hub
            .checkpoint(log)
            .filter(|checkpoint| with_checkpoint && checkpoint.seq == up_to);
        let bytes = EventRun::encode(log, rows.into_iter(), checkpoint);
        self.runs.push_back(Run {
            key,
            up_to,
            bytes: bytes.clone(),
        });
        if RUNS_MAX < self.runs.len() {
            self.runs.pop_front();
        }
        Ok(Some((bytes, up_to)))
    }

    fn read(&self, hub: &Hub, log: LogId, from: u64, to: u64) -> Result<Vec<Bytes>, ReadError> {
        let Some(state) = hub.ledger().log(log) else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut page: Vec<aura_store::Record> = Vec::new();
        for seq in from..=to {
            let Some(lsn) = state.lsn(seq) else { break };
            // Positions of one log are usually neighbours in the record log: one read serves many.
            let place = |page: &[aura_store::Record]| {
                let first = page.first()?.lsn;
                page.get(usize::try_from(lsn.checked_sub(first)?).ok()?)
                    .map(|record| record.payload.clone())
            };
            let payload = match place(&page) {
                Some(payload) => payload,
                None => {
                    page = self.reader.read(lsn, RUN_BYTES_MAX)?;
                    let Some(payload) = place(&page) else { break };
                    payload
                }
            };
            bytes += payload.len();
            if !records.is_empty() && RUN_BYTES_MAX < bytes {
                break;
            }
            records.push(payload);
        }
        Ok(records)
    }
}
