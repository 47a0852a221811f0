//! What a replica is told and what it orders.
//!
//! Invariant: an input is a fact or a request, an output an order or a result; neither holds a resource.

use aura_proto::{Code, Entry, Incarnation, Kind, Writer, event::Placed, message::Message};
use bytes::Bytes;

use super::{GivenUp, Own};

/// What happens to a replica.
#[derive(Debug)]
pub enum Input {
    /// This device writes an entry; the body is sealed already.
    Author {
        /// What it says.
        kind: Kind,
        /// The zone that it relies on, 0 for none.
        fence: u64,
        /// The team key that sealed the body, 0 for none.
        key_epoch: u32,
        /// The sealed body.
        body: Vec<u8>,
        /// Wall clock, milliseconds since 1970.
        time_ms: u64,
        /// The number that [`super::Replica::next_number`] told; the body is sealed to it.
        author_seq: u64,
        /// The entry that this one stands for, as asked by [`Output::Stranded`].
        replaces: Option<Own>,
    },
    /// Something happened whose place in the log matters: what the head was before is not enough from now on.
    Ask,
    /// The control link is ready.
    LinkUp,
    /// The control link is gone.
    LinkDown,
    /// A new incarnation was drawn, as asked by [`Output::Reincarnate`].
    Incarnation(Incarnation),
    /// A neighbour showed entries of this log, each writer's in order.
    Heard {
        /// Names the neighbour in [`Output::NotHeard`].
        from: u64,
        /// As shown.
        entries: Vec<Entry>,
    },
    /// Some time after [`Output::OfferLater`]: the Mothership is shown what it has not placed of what others wrote.
    Offer,
    /// A message on this log's stream.
    Received(Message),
    /// A stranded entry is given up.
    Retire(Own),
    /// Some time after [`Output::RetryLater`]: what was refused for now is asked for, or sent, again.
    Retry,
    /// The first records of a batch are durable, usually all; there was no space for the others.
    Stored {
        /// Which.
        batch: u64,
        /// Record number of its first record.
        first_lsn: u64,
        /// How many are durable.
        count: usize,
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
        /// Which.
        own: Own,
        /// Its position.
        seq: u64,
        /// Since when it is there, by the Mothership's clock.
        time_ms: u64,
    },
    /// Somebody else's entry is durable here.
    Delivered {
        /// Its record.
        lsn: u64,
        /// The entry and its place.
        placed: Placed,
    },
    /// An entry of another is durable here without a place.
    Heard {
        /// Its record.
        lsn: u64,
        /// The entry.
        entry: Entry,
    },
    /// An entry of another that was here has its place now.
    Settled {
        /// Whose.
        writer: Writer,
        /// Its number.
        author_seq: u64,
        /// Its position.
        seq: u64,
        /// Since when it is there, by the Mothership's clock.
        time_ms: u64,
    },
    /// The Mothership placed another entry than the one that was heard under this number; what was heard of its writer
    /// from there on does not count.
    Contradicted {
        /// Whose.
        writer: Writer,
        /// From which number on.
        author_seq: u64,
    },
    /// The Mothership refused for good what was heard under this number; it does not count any more, nor what its writer
    /// wrote after it, unless the log has it some day all the same.
    GivenUp(GivenUp),
    /// Something that a neighbour showed was not taken, nor what came behind it: of its writer, or of anybody.
    NotHeard {
        /// Who, as in [`Input::Heard`].
        from: u64,
        /// Why.
        code: Code,
        /// For people.
        detail: &'static str,
        /// Of whom nothing more is taken until the Mothership has spoken; without one, the same may be taken later.
        spurned: Option<Writer>,
    },
    /// [`Input::Offer`] is wanted after a while: others may offer the same by then.
    OfferLater,
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
    /// The log holds own entries that this disk does not: a restored backup. Draw a new incarnation.
    Reincarnate,
    /// History was rewritten, or is not what it was said to be; nothing more is taken.
    Fault {
        /// What.
        code: Code,
        /// For people.
        detail: String,
    },
    /// There was no space here for own entries; they are to be written again.
    NotStored,
    /// A disk is full, or the Mothership busy: [`Input::Retry`] is wanted after a while.
    RetryLater,
    /// An own entry whose number was taken before this disk was restored: write it again, or give it up.
    /// Told again until one of both has happened.
    Stranded(Entry),
}
