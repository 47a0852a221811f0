//! One thread that turns many submissions into few syncs.
//!
//! Invariants:
//! - positions follow the order of submission, and outcomes are told in that order;
//! - `Durable` is told only after the commit that covers it returned;
//! - every submission taken gets exactly one outcome;
//! - `Failed` is told once and is the last outcome.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use thiserror::Error;

use crate::log::{AppendError, CommitError, Log};

/// How much may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Submissions in the queue.
    pub records_max: usize,
    /// Payload bytes in the queue.
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    /// 16,384 records and 32 MiB: a quarter of a second at 128 MiB/s.
    fn default() -> Self {
        Self {
            records_max: 16_384,
            bytes_max: 32 << 20,
        }
    }
}

/// A record to be written, with the caller's own mark for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission<T> {
    /// Comes back with the outcome.
    pub ticket: T,
    /// The payload in parts, so that nobody copies a body to put a few bytes before it.
    pub parts: Vec<Bytes>,
    /// May use the log's reserve when the disk is full.
    pub is_urgent: bool,
}

/// Why a submission was not taken; it comes back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError<T> {
    /// The writer stopped.
    #[error("the log writer has stopped")]
    Closed(Submission<T>),
    /// The queue is at its limit.
    #[error("the log writer's queue is full")]
    Full(Submission<T>),
}

/// What became of submissions, in their order.
#[derive(Debug)]
pub enum Outcome<T> {
    /// These records are durable, and so is everything up to `up_to`.
    Durable {
        /// Highest durable position.
        up_to: u64,
        /// Each submission's position and ticket, ascending.
        records: Vec<(u64, T)>,
    },
    /// The write path stopped for good; none of these is promised.
    Failed {
        /// What stopped it.
        error: CommitError,
        /// Submissions without a position that counts.
        tickets: Vec<T>,
    },
    /// The log would not take it, and goes on.
    Refused {
        /// Too large, or no space.
        error: AppendError,
        /// The submission.
        ticket: T,
    },
}

/// The thread that owns the log.
pub struct Writer<T> {
    queue: Arc<Queue<T>>,
    thread: Option<JoinHandle<Log>>,
}

/// Hands submissions to the writer; clones share its queue.
pub struct WriterHandle<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Clone for WriterHandle<T> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
        }
    }
}

struct Queue<T> {
    state: Mutex<QueueState<T>>,
    /// Something was submitted, or the queue closed.
    filled: Condvar,
    /// Room came back, or the queue closed.
    drained: Condvar,
    limits: QueueLimits,
}

struct QueueState<T> {
    waiting: VecDeque<Submission<T>>,
    bytes: usize,
    is_closed: bool,
}

impl<T> Submission<T> {
    /// A record that is not urgent.
    #[must_use]
    pub fn new(ticket: T, parts: Vec<Bytes>) -> Self {
        Self {
            ticket,
            parts,
            is_urgent: false,
        }
    }

    fn bytes(&self) -> usize {
        self.parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.len()))
    }
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    fn has_room(&self, state: &QueueState<T>, bytes: usize) -> bool {
        let is_empty = state.waiting.is_empty();
        let fits = state.bytes.saturating_add(bytes) <= self.limits.bytes_max;
        is_empty || (state.waiting.len() < self.limits.records_max && fits)
    }

    fn put(&self, mut state: MutexGuard<'_, QueueState<T>>, submission: Submission<T>) {
        state.bytes = state.bytes.saturating_add(submission.bytes());
        state.waiting.push_back(submission);
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for submissions and takes one batch; `None` once closed and empty.
    fn take(&self, batch: &mut VecDeque<Submission<T>>) -> Option<()> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0_usize;
        while let Some(next) = state.waiting.front() {
            let size = next.bytes();
            if !batch.is_empty() && BATCH_BYTES_MAX < bytes.saturating_add(size) {
                break;
            }
            bytes = bytes.saturating_add(size);
            batch.extend(state.waiting.pop_front());
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.drained.notify_all();
        Some(())
    }

    /// Closes the queue and takes everything that still waits.
    fn abandon(&self) -> VecDeque<Submission<T>> {
        let mut state = self.state();
        state.is_closed = true;
        state.bytes = 0;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.drained.notify_all();
        left
    }
}

impl<T> WriterHandle<T> {
    /// Queues a record without waiting.
    pub fn submit(&self, submission: Submission<T>) -> Result<(), SubmitError<T>> {
        let state = self.queue.state();
        if state.is_closed {
            return Err(SubmitError::Closed(submission));
        }
        if !self.queue.has_room(&state, submission.bytes()) {
            return Err(SubmitError::Full(submission));
        }
        self.queue.put(state, submission);
        Ok(())
    }

    /// Queues a record, waiting while the queue is full; fails only with `Closed`.
    pub fn submit_wait(&self, submission: Submission<T>) -> Result<(), SubmitError<T>> {
        let mut state = self.queue.state();
        loop {
            if state.is_closed {
                return Err(SubmitError::Closed(submission));
            }
            if self.queue.has_room(&state, submission.bytes()) {
                self.queue.put(state, submission);
                return Ok(());
            }
            state = self
                .queue
                .drained
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Submissions that wait for the writer now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.state().waiting.len()
    }
}

impl<T: Send + 'static> Writer<T> {
    /// Starts the thread; `on_outcome` runs on it and must not wait for the writer's own queue.
    pub fn spawn(
        log: Log,
        limits: QueueLimits,
        on_outcome: impl FnMut(Outcome<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState {
                waiting: VecDeque::new(),
                bytes: 0,
                is_closed: false,
            }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            limits,
        });
        let worker = Worker {
            log,
            queue: Arc::clone(&queue),
            on_outcome,
            appended: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || worker.run())?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// A handle for submitting.
    #[must_use]
    pub fn handle(&self) -> WriterHandle<T> {
        WriterHandle {
            queue: Arc::clone(&self.queue),
        }
    }

    /// Takes nothing more, writes what waits and gives the log back; `None` if the callback
    /// panicked.
    #[must_use]
    pub fn close(mut self) -> Option<Log> {
        self.queue.close();
        self.thread.take()?.join().ok()
    }
}

impl<T> Drop for Writer<T> {
    /// Closes the queue and waits until what was taken is durable or refused.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<T, F> {
    log: Log,
    queue: Arc<Queue<T>>,
    on_outcome: F,
    /// Appended and not yet told.
    appended: Vec<(u64, T)>,
}

/// Closes the queue even if the callback panics, so that nobody waits for a dead thread.
struct CloseOnExit<T>(Arc<Queue<T>>);

impl<T> Drop for CloseOnExit<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<T, F: FnMut(Outcome<T>)> Worker<T, F> {
    fn run(mut self) -> Log {
        let _close = CloseOnExit(Arc::clone(&self.queue));
        let mut batch = VecDeque::new();
        while self.queue.take(&mut batch).is_some() {
            if let Err(error) = self.write(&mut batch) {
                self.fail(error, batch);
                break;
            }
            self.log.prepare();
        }
        self.log
    }

    fn write(&mut self, batch: &mut VecDeque<Submission<T>>) -> Result<(), CommitError> {
        while let Some(submission) = batch.pop_front() {
            let parts: Vec<&[u8]> = submission.parts.iter().map(Bytes::as_ref).collect();
            let appended = if submission.is_urgent {
                self.log.append_urgent(&parts)
            } else {
                self.log.append(&parts)
            };
            match appended {
                Ok(lsn) => self.appended.push((lsn, submission.ticket)),
                Err(error @ (AppendError::NoSpace | AppendError::TooLarge { .. })) => {
                    // Outcomes keep the order of submission.
                    let committed = self.commit();
                    let ticket = submission.ticket;
                    (self.on_outcome)(Outcome::Refused { error, ticket });
                    committed?;
                }
                Err(error) => {
                    batch.push_front(submission);
                    return match error {
                        AppendError::Io(source) => Err(CommitError::Io(source)),
                        AppendError::NoSpace
                        | AppendError::Poisoned
                        | AppendError::TooLarge { .. } => Err(CommitError::Poisoned),
                    };
                }
            }
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        match self.log.commit() {
            Ok(up_to) => {
                self.tell_durable(up_to);
                Ok(())
            }
            Err(CommitError::NoSpace) => {
                self.tell_durable(self.log.durable());
                for (_, ticket) in std::mem::take(&mut self.appended) {
                    let error = AppendError::NoSpace;
                    (self.on_outcome)(Outcome::Refused { error, ticket });
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn tell_durable(&mut self, up_to: u64) {
        let count = self.appended.partition_point(|(lsn, _)| *lsn <= up_to);
        let rest = self.appended.split_off(count);
        let records = std::mem::replace(&mut self.appended, rest);
        if !records.is_empty() {
            (self.on_outcome)(Outcome::Durable { up_to, records });
        }
    }

    fn fail(&mut self, error: CommitError, batch: VecDeque<Submission<T>>) {
        // What a roll committed before the failure is durable all the same.
        self.tell_durable(self.log.durable());
        let appended = std::mem::take(&mut self.appended)
            .into_iter()
            .map(|(_, ticket)| ticket);
        let left = batch.into_iter().chain(self.queue.abandon());
        let tickets = appended
            .chain(left.map(|submission| submission.ticket))
            .collect();
        (self.on_outcome)(Outcome::Failed { error, tickets });
    }
}

/// Bytes committed at once: 400 bodies of 10 KiB, a few milliseconds of disk.
const BATCH_BYTES_MAX: usize = 4 << 20;
