//! The thread that owns the log: one batch, one write, one sync, then the word that it is durable.
//!
//! Invariants:
//! - batches are stored in the order in which they were submitted;
//! - a record that did not fit ends its batch; what follows in the batch is not tried;
//! - after a failed sync nothing is reported and the process ends.

use std::{sync::mpsc, thread};

use aura_store::{AppendError, CommitError, Log};
use bytes::Bytes;

/// A batch on its way to the disk.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) records: Vec<Bytes>,
    pub(crate) is_urgent: bool,
}

/// How a batch ended.
pub(crate) enum Outcome {
    /// The first `count` records are durable from `first_lsn` on.
    Stored {
        batch: u64,
        first_lsn: u64,
        count: usize,
    },
    /// The disk failed; nothing more is stored.
    Failed { detail: String },
}

/// Starts the thread; it ends when the sender is dropped.
pub(crate) fn spawn(
    log: Log,
    on_outcome: impl Fn(Outcome) + Send + 'static,
) -> std::io::Result<(mpsc::Sender<Batch>, thread::JoinHandle<()>)> {
    let (sender, batches) = mpsc::channel::<Batch>();
    let work = move || {
        let mut log = log;
        for batch in batches {
            match store(&mut log, &batch) {
                Ok((first_lsn, count)) => {
                    on_outcome(Outcome::Stored {
                        batch: batch.number,
                        first_lsn,
                        count,
                    });
                }
                Err(detail) => {
                    on_outcome(Outcome::Failed { detail });
                    return;
                }
            }
            log.prepare();
        }
    };
    let thread = thread::Builder::new().name("wal".to_owned()).spawn(work)?;
    Ok((sender, thread))
}

fn store(log: &mut Log, batch: &Batch) -> Result<(u64, usize), String> {
    let first_lsn = log.durable() + 1;
    let mut count = 0;
    for record in &batch.records {
        let appended = if batch.is_urgent {
            log.append_urgent(&[record])
        } else {
            log.append(&[record])
        };
        match appended {
            Ok(_) => count += 1,
            Err(AppendError::NoSpace) => break,
            Err(
                error @ (AppendError::TooLarge { .. } | AppendError::Io(_) | AppendError::Poisoned),
            ) => {
                return Err(chain(&error));
            }
        }
    }
    match log.commit() {
        Ok(_) => Ok((first_lsn, count)),
        Err(CommitError::NoSpace) => {
            // A full segment may have been committed on the way.
            let durable = usize::try_from(log.durable() + 1 - first_lsn).unwrap_or(0);
            Ok((first_lsn, durable))
        }
        Err(error) => Err(chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
