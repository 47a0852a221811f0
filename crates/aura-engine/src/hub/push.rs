//! Entries on their way into the log: checks that need no state, checks that do, and the acknowledgement.
//!
//! Invariants:
//! - one bad entry of a push does not spoil the others, and each gets its own outcome;
//! - an entry that is already stored is answered with the place it has, as often as it is sent.

use aura_proto::{
    Code, LogId,
    event::{self, RunError},
    limits::ENTRIES_PER_BATCH_MAX,
    message::{Message, Outcome, PushAck},
};
use aura_trust::{VerifiedEntry, verify_entry};
use bytes::Bytes;

use super::{
    Flight, Hub, LinkId, Output, Pending, QUEUE_BYTES_MAX, QUEUE_MAX, Staged, Then,
    ledger::{self, Placement},
    record::Record,
};
use crate::Now;
use aura_proto::{Kind, message::Role};

/// One entry of a push after the checks that need no state: verified, or the author's number and why not.
pub type PushedEntry = Result<VerifiedEntry, (u64, Code)>;

/// Splits a push and verifies signatures; costs processor time but needs no state, so any task may do it.
pub fn check_push(payload: &Bytes) -> Result<(LogId, Vec<PushedEntry>), RunError> {
    let (log, entries) = event::decode_push(payload)?;
    if ENTRIES_PER_BATCH_MAX < entries.len() {
        return Err(RunError::Malformed);
    }
    let check = |entry: Result<aura_proto::Entry, _>| {
        // One refusal for whatever was altered: which part it was helps only whoever altered it.
        let entry = entry.map_err(|_| (0, Code::BAD_SIGNATURE))?;
        let author_seq = entry.header().author_seq;
        verify_entry(entry).map_err(|_| (author_seq, Code::BAD_SIGNATURE))
    };
    Ok((log, entries.into_iter().map(check).collect()))
}

/// A push that waits for its batch.
#[derive(Debug)]
pub(super) struct PendingPush {
    link: LinkId,
    stream: u32,
    log: LogId,
    entries: Vec<PushedEntry>,
}

impl PendingPush {
    /// Bytes of its entries.
    pub(super) fn bytes(&self) -> usize {
        let entries = self.entries.iter().flatten();
        entries.map(|entry| entry.bytes().len()).sum()
    }
}

/// The answer to a push, sent when its batch is durable.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    link: LinkId,
    stream: u32,
    ack: PushAck,
}

impl Hub {
    pub(super) fn pushed(
        &mut self,
        now: Now,
        link: LinkId,
        stream: u32,
        log: LogId,
        entries: Vec<PushedEntry>,
    ) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        if state.ready().is_none() {
            return self.close(link, Code::PROTOCOL, "a push before authentication");
        }
        state.deadline_ms = now.mono_ms + 3 * self.config.heartbeat_ms;
        if let Some(code) = self.push_obstacle() {
            return self.refuse_push(link, stream, log, &entries, code);
        }
        let push = PendingPush {
            link,
            stream,
            log,
            entries,
        };
        self.queued_bytes += push.bytes();
        self.queue.push_back(Pending::Push(push));
    }

    /// Whether whoever comes with something to store is told to come again.
    pub(super) fn is_overloaded(&self) -> bool {
        QUEUE_MAX <= self.queue.len() || QUEUE_BYTES_MAX <= self.queued_bytes
    }

    fn push_obstacle(&self) -> Option<Code> {
        self.fault.or(self.is_overloaded().then_some(Code::BUSY))
    }

    /// Refuses a push that had already been queued.
    pub(super) fn refuse_pending(&mut self, push: PendingPush, code: Code) {
        self.refuse_push(push.link, push.stream, push.log, &push.entries, code);
    }

    fn refuse_push(
        &mut self,
        link: LinkId,
        stream: u32,
        log: LogId,
        entries: &[PushedEntry],
        code: Code,
    ) {
        let number = |entry: &PushedEntry| match entry {
            Ok(verified) => verified.header().author_seq,
            Err((author_seq, _)) => *author_seq,
        };
        let outcomes = entries
            .iter()
            .map(|entry| (number(entry), Outcome::Refused(code)))
            .collect();
        self.send(link, stream, Message::PushAck(PushAck { log, outcomes }));
    }

    /// Checks a push against the state and the batch so far, and puts what is new into the batch.
    /// Answers how many bytes it added.
    pub(super) fn stage_push(
        &mut self,
        now: Now,
        staged: &mut ledger::Staged,
        flight: &mut Flight,
        push: PendingPush,
    ) -> usize {
        let time_ms = self.clock(now);
        let mut ack = PushAck {
            log: push.log,
            outcomes: Vec::with_capacity(push.entries.len()),
        };
        let mut bytes = 0;
        for entry in push.entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err((author_seq, code)) => {
                    ack.outcomes.push((author_seq, Outcome::Refused(code)));
                    continue;
                }
            };
            let author_seq = entry.header().author_seq;
            let placement = self
                .allowed(push.log, &entry)
                .and_then(|()| self.ledger.place(staged, entry.entry()))
                .and_then(|placement| {
                    let writer = entry.header().writer;
                    let admits = self.ledger.admits(staged, push.log, writer);
                    admits.map(|()| placement)
                });
            let outcome = match placement {
                Err(code) => Outcome::Refused(code),
                Ok(Placement::Known { seq, time_ms }) => Outcome::Stored { seq, time_ms },
                Ok(Placement::New { seq }) => {
                    self.ledger.stage(staged, seq, time_ms, entry.entry());
                    bytes += entry.bytes().len();
                    let record = Record::Entry {
                        seq,
                        time_ms,
                        entry: entry.into_entry(),
                    };
                    flight.staged.push(Staged {
                        record,
                        then: Then::Nothing,
                    });
                    Outcome::Stored { seq, time_ms }
                }
            };
            ack.outcomes.push((author_seq, outcome));
        }
        flight.acks.push(Acknowledgement {
            link: push.link,
            stream: push.stream,
            ack,
        });
        bytes
    }

    /// Whether the author may write this entry into this log.
    // spec: sync/4.2
    fn allowed(&self, log: LogId, entry: &VerifiedEntry) -> Result<(), Code> {
        let header = entry.header();
        if header.team != self.config.team {
            return Err(Code::WRONG_TEAM);
        }
        if header.log != log {
            return Err(Code::UNKNOWN_LOG);
        }
        let Some(author) = self.roll.member(header.writer.peer) else {
            return Err(Code::WRONG_AUTHOR);
        };
        if author.revoked.is_some() {
            return Err(Code::REVOKED);
        }
        let may = match header.kind {
            Kind::MEMBERSHIP | Kind::KEY => {
                matches!(author.admitted.role, Role::Admin | Role::Member)
            }
            _ => author.admitted.role.may_write(),
        };
        if may { Ok(()) } else { Err(Code::FORBIDDEN) }
    }

    /// Sends the answers of a batch; what turned out not to be durable is refused.
    // spec: sync/4.3
    pub(super) fn acknowledge(&mut self, acks: Vec<Acknowledgement>) {
        for Acknowledgement {
            link,
            stream,
            mut ack,
        } in acks
        {
            let durable = self.ledger.log(ack.log).map_or(0, super::Log::seq);
            for (_, outcome) in &mut ack.outcomes {
                if matches!(outcome, Outcome::Stored { seq, .. } if durable < *seq) {
                    *outcome = Outcome::Refused(Code::NO_SPACE);
                }
            }
            self.outputs.push_back(Output::Send {
                link,
                stream,
                message: Message::PushAck(ack),
            });
        }
    }
}
