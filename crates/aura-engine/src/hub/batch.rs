//! Group commit: everything durable goes to the disk one batch at a time.
//!
//! Invariants:
//! - at most one batch is with the disk; what did not fit leaves no trace in the state;
//! - a Mothership that knows that it lost history stores nothing at all.

use aura_proto::{Code, LogId};

use super::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Hub, LinkId, Output, ledger,
    push::{self, PendingPush},
    record::{Fact, Record},
};
use crate::Now;

/// A request that needs the disk.
#[derive(Debug)]
pub(super) enum Pending {
    /// A zone is over.
    End {
        log: LogId,
        fence: u64,
    },
    Fact {
        fact: Fact,
        then: Then,
    },
    Push(PendingPush),
}

/// Whom to tell when a fact is durable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    Answer(u64),
    GrantJoin(LinkId),
    GrantRenewal(LinkId),
    Nothing,
}

/// One record of the batch in flight and what follows from it.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) batch: u64,
    pub(super) is_urgent: bool,
    pub(super) staged: Vec<Staged>,
    pub(super) acks: Vec<push::Acknowledgement>,
}

impl Hub {
    pub(super) fn next_batch(&mut self, now: Now) {
        if self.flight.is_some() || self.queue.is_empty() {
            return;
        }
        let mut staged = ledger::Staged::default();
        let mut flight = Flight {
            batch: self.batch_last + 1,
            is_urgent: false,
            staged: Vec::new(),
            acks: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(pending) = self.queue.pop_front() {
            if let Pending::Push(push) = &pending {
                self.queued_bytes -= push.bytes();
            }
            match (pending, self.fault) {
                (Pending::Fact { fact, then }, Some(fault)) => {
                    self.not_stored(&fact, then, fault, "the mothership lost history");
                }
                (Pending::Push(push), Some(fault)) => self.refuse_pending(push, fault),
                (Pending::End { .. }, Some(_)) => {}
                (Pending::End { log, fence }, None) => {
                    self.stage_end(now, &mut staged, &mut flight, (log, fence));
                }
                (Pending::Fact { fact, then }, None) => {
                    flight.is_urgent =
                        flight.staged.is_empty() && matches!(fact, Fact::Revoked { .. });
                    flight.staged.push(Staged {
                        record: Record::Fact(fact),
                        then,
                    });
                }
                (Pending::Push(push), None) => {
                    bytes += self.stage_push(now, &mut staged, &mut flight, push)
                }
            }
            let is_full = BATCH_ENTRIES_MAX <= flight.staged.len() || BATCH_BYTES_MAX <= bytes;
            if is_full || flight.is_urgent {
                break;
            }
        }
        if flight.staged.is_empty() {
            self.acknowledge(flight.acks);
            return self.next_batch(now);
        }
        self.batch_last = flight.batch;
        let records = flight
            .staged
            .iter()
            .map(|staged| staged.record.encode())
            .collect();
        let (batch, is_urgent) = (flight.batch, flight.is_urgent);
        self.outputs.push_back(Output::Append {
            batch,
            records,
            is_urgent,
        });
        self.flight = Some(flight);
    }

    pub(super) fn stored(&mut self, now: Now, batch: u64, first_lsn: u64, count: usize) {
        let Some(mut flight) = self.flight.take_if(|flight| flight.batch == batch) else {
            return;
        };
        let lost = flight.staged.split_off(count.min(flight.staged.len()));
        let mut touched = Vec::new();
        for (lsn, staged) in (first_lsn..).zip(flight.staged) {
            self.apply(lsn, &staged.record)
                .expect("the batch was checked against the same state when it was staged");
            if let Record::Entry { entry, .. } = &staged.record {
                self.leases.follow(now, entry);
            }
            match staged.record {
                Record::Entry { entry, .. } if !touched.contains(&entry.header().log) => {
                    touched.push(entry.header().log);
                }
                Record::Entry { .. } => {}
                Record::Fact(fact) => self.established(now, fact, staged.then),
            }
        }
        self.no_space_for(lost, flight.is_urgent);
        self.acknowledge(flight.acks);
        for log in &touched {
            self.sign_checkpoint(now, *log);
        }
        if !touched.is_empty() {
            let links: Vec<LinkId> = self.links.keys().copied().collect();
            links.into_iter().for_each(|link| self.feed_link(link));
        }
    }

    /// Tells whoever waits for these records. A revocation that shared its batch with others is tried again
    /// alone, because it may use the reserve.
    fn no_space_for(&mut self, lost: Vec<Staged>, was_urgent: bool) {
        for staged in lost {
            match staged.record {
                Record::Fact(fact @ Fact::Revoked { .. }) if !was_urgent => {
                    self.queue.push_front(Pending::Fact {
                        fact,
                        then: staged.then,
                    });
                }
                Record::Fact(fact) => {
                    let detail = "the mothership's disk is full";
                    self.not_stored(&fact, staged.then, Code::NO_SPACE, detail);
                }
                Record::Entry { .. } => {}
            }
        }
    }

    fn not_stored(&mut self, fact: &Fact, then: Then, code: Code, detail: &str) {
        self.admissions.release(fact);
        match then {
            Then::Answer(request) => {
                self.outputs.push_back(Output::Answer {
                    request,
                    result: Err(code),
                });
            }
            Then::GrantJoin(link) | Then::GrantRenewal(link) => {
                self.close(link, code, detail);
            }
            Then::Nothing => {}
        }
    }
}
