//! What the Mothership shows of a log, verified before anything of it is kept.
//!
//! Invariants:
//! - a run counts only behind a head that was asked for and holds;
//! - signature, author chain, position and running hash of an entry hold before it is queued for the disk; the first
//!   that does not ends the feed.

use aura_proto::{
    Code, Writer,
    event::{Checkpoint, EventRun, Placed, chain},
};
use aura_trust::{VerifiedEntry, verify_checkpoint, verify_entry};

use super::{ALTERED, NO_TIP, Own, Record, Replica, Tip, record::Settled};

impl Replica {
    /// Verifies a run and queues its records; a fault stops the replica.
    // spec: sync/3.3
    pub(super) fn event(&mut self, run: EventRun) {
        // Without a head that holds, what is shown may be another history.
        if self.is_faulted || self.is_starved || self.remote.is_none() {
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
        // First, so that whatever was altered is one refusal.
        let verified: VerifiedEntry =
            verify_entry(placed.entry.clone()).map_err(|_| (Code::BAD_SIGNATURE, ALTERED))?;
        let header = placed.entry.header();
        let (writer, author_seq) = (header.writer, header.author_seq);
        let own = Own::of(&placed.entry);
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
        let hash = chain(self.staged.1, placed.seq, placed.time_ms, verified.hash());
        self.staged = (placed.seq, hash);
        self.staged_tips.insert(
            writer,
            Tip {
                author_seq,
                hash: verified.hash(),
            },
        );
        // What is being given up is gone when this is durable.
        if self.has_heard(&placed.entry) && !self.is_given_up(writer, author_seq) {
            self.queue.push_back(Record::HeardPlaced(Settled {
                seq: placed.seq,
                time_ms: placed.time_ms,
                writer,
                author_seq,
            }));
            return Ok(());
        }
        let is_held = writer.peer == self.key.peer()
            && self
                .outbox
                .get(&own)
                .is_some_and(|entry| entry.hash() == verified.hash());
        self.queue.push_back(if is_held {
            Record::OwnPlaced {
                seq: placed.seq,
                time_ms: placed.time_ms,
                own,
            }
        } else {
            Record::Placed(placed)
        });
        Ok(())
    }

    // spec: sync/5.3
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

    pub(super) fn staged_tip(&self, writer: Writer) -> Tip {
        let durable = || self.tips.get(&writer).copied().unwrap_or(NO_TIP);
        self.staged_tips
            .get(&writer)
            .copied()
            .unwrap_or_else(durable)
    }
}
