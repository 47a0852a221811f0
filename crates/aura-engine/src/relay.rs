//! Circuits between two peers that cannot reach each other: their bytes, passed on unread.
//!
//! One machine, whoever relays. The asker opens a stream on its own link and says whom it wants; the other peer is
//! offered the circuit on its control stream and takes it by opening a stream of its own. From then on what comes on
//! one stream goes out on the other. Inside is the same mutual TLS as on a direct link.
//!
//! [`Relay::handle`] takes a message of a ready link, [`Relay::poll`] gives what is to be sent (call it until `None`
//! after every input), [`Relay::deadline`] says when [`Relay::tick`] is wanted. Time must not run backwards.
//!
//! Invariants:
//! - nothing is passed on but between two ready links, and nothing of a circuit is looked at;
//! - what waits here of a circuit is at most a window in each direction, every message counted with what it costs: its
//!   ends grant each other what they have taken, and one that sends more loses the circuit;
//! - circuits of a peer are counted, those of a pair and those that it asks for in a minute as well;
//! - nothing that is passed on is longer than it came: no relayed message can end another's link;
//! - a circuit that ends is told to both ends, with the reason.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::{
    Code, PeerId,
    limits::{
        RELAY_CIRCUITS_PER_PEER_MAX, RELAY_GRANT_BYTES_MIN, RELAY_OFFER_MS_MAX,
        RELAY_OPENS_PER_MIN_MAX, RELAY_WINDOW_BYTES, relay_cost,
    },
    message::{Message, RelayClose, RelayCredit, RelayOpen},
    session::cut_detail,
};
use bytes::Bytes;

use crate::Now;

const MINUTE_MS: u64 = 60_000;

/// Circuits between the same two peers: both may ask at once, and what a better link replaced lasts for a while.
const PER_PAIR_MAX: usize = 4;

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that one circuit may carry, both directions together.
    pub bytes_max: u64,
    /// How long one circuit may last, in milliseconds.
    pub lasts_ms_max: u64,
    /// Circuits that one peer may have, asked for or taken.
    pub per_peer_max: usize,
}

impl Default for Limits {
    /// No end in bytes or time.
    fn default() -> Self {
        Self {
            bytes_max: u64::MAX,
            lasts_ms_max: u64::MAX,
            per_peer_max: RELAY_CIRCUITS_PER_PEER_MAX,
        }
    }
}

/// What is to be sent; a stream on which [`Message::RelayClose`] was sent is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing<L> {
    /// On which link.
    pub link: L,
    /// On which stream.
    pub stream: u32,
    /// What.
    pub message: Message,
}

/// Where a message of a circuit came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<L> {
    /// The ready link.
    pub link: L,
    /// Whose it is.
    pub peer: PeerId,
    /// The stream.
    pub stream: u32,
}

/// One end of a circuit.
#[derive(Debug, Clone, Copy)]
struct End<L> {
    link: L,
    peer: PeerId,
    /// None while the offer is not taken.
    stream: Option<u32>,
    /// Bytes that this end may send before the other one has granted more.
    room: u32,
}

#[derive(Debug)]
struct Circuit<L> {
    /// Who asked, and who was offered.
    ends: [End<L>; 2],
    opened_ms: u64,
    /// When it has lasted for too long.
    due_ms: u64,
    carried: u64,
}

impl<L> Circuit<L> {
    fn is_taken(&self) -> bool {
        self.ends[1].stream.is_some()
    }
}

/// The circuits of one relay. `L` names a link; links with a stream 0 that both sides speak.
#[derive(Debug)]
pub struct Relay<L> {
    limits: Limits,
    circuits: BTreeMap<u64, Circuit<L>>,
    /// Which end of which circuit a stream is.
    by_stream: BTreeMap<(L, u32), (u64, usize)>,
    /// Circuits of each peer that has any: those that it asked for, and those that it took.
    held: BTreeMap<PeerId, usize>,
    /// Circuits of each pair that has any, smaller id first.
    pairs: BTreeMap<(PeerId, PeerId), usize>,
    /// When which circuit has lasted for too long.
    due: BTreeSet<(u64, u64)>,
    /// When a peer asked within the last minute.
    asked: BTreeMap<PeerId, VecDeque<u64>>,
    number_last: u64,
    /// Bytes passed on since the start.
    carried: u64,
    outputs: VecDeque<Outgoing<L>>,
}

impl<L: Copy + Ord> Relay<L> {
    /// A relay without circuits.
    ///
    /// Its numbers follow `number`: an end that relays itself must not take another relay's for its own.
    pub fn new(limits: Limits, number: u64) -> Self {
        Self {
            limits,
            circuits: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            held: BTreeMap::new(),
            pairs: BTreeMap::new(),
            due: BTreeSet::new(),
            asked: BTreeMap::new(),
            number_last: number,
            carried: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a message of a circuit from a ready link; `link_to` says by which ready link a peer takes circuits.
    // spec: peers/6.1
    pub fn handle(
        &mut self,
        now: Now,
        from: Origin<L>,
        message: Message,
        link_to: impl Fn(PeerId) -> Option<L>,
    ) {
        match message {
            Message::RelayOpen(open) if open.circuit == 0 => {
                self.asked(now, from, open.peer, link_to);
            }
            Message::RelayOpen(open) => self.taken(from, open),
            Message::RelayData(bytes) => self.data(from, bytes),
            Message::RelayCredit(credit) => self.credit(from, credit),
            Message::RelayClose(close) => self.closed(from, &close),
            _ => {}
        }
    }

    /// Takes the next message to send.
    pub fn poll(&mut self) -> Option<Outgoing<L>> {
        self.outputs.pop_front()
    }

    /// When [`Relay::tick`] is wanted, on the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Circuits that stand or are offered.
    pub fn count(&self) -> usize {
        self.circuits.len()
    }

    /// Bytes passed on since the start.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Ends what has lasted for too long.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, number)) = self.due.first().filter(|(at_ms, _)| *at_ms <= now.mono_ms) {
            let number = *number;
            let is_taken = self.circuits.get(&number).is_some_and(Circuit::is_taken);
            let (code, detail) = if is_taken {
                (Code::RATE, "this circuit has lasted for as long as one may")
            } else {
                (Code::TIMEOUT, "it did not take the circuit in time")
            };
            self.end(number, [true, true], code, detail);
        }
        for times in self.asked.values_mut() {
            times.retain(|at_ms| now.mono_ms < at_ms + MINUTE_MS);
        }
        self.asked.retain(|_, times| !times.is_empty());
    }

    /// A stream was reset, and with it the circuit on it.
    pub fn stream_gone(&mut self, link: L, stream: u32) {
        if let Some((number, end)) = self.by_stream.get(&(link, stream)).copied() {
            let detail = "the other device gave it up";
            self.end(number, [end != 0, end != 1], Code::BYE, detail);
        }
    }

    /// A link is gone, and with it the circuits on it.
    pub fn gone(&mut self, link: L) {
        let has = |circuit: &Circuit<L>| circuit.ends.iter().any(|end| end.link == link);
        let gone = self.circuits.iter().filter(|(_, circuit)| has(circuit));
        for number in gone.map(|(number, _)| *number).collect::<Vec<_>>() {
            let told = match self.circuits.get(&number) {
                Some(circuit) => circuit.ends.map(|end| end.link != link),
                None => continue,
            };
            self.end(number, told, Code::BYE, "the other device lost its link");
        }
    }

    fn asked(
        &mut self,
        now: Now,
        from: Origin<L>,
        whom: PeerId,
        link_to: impl Fn(PeerId) -> Option<L>,
    ) {
        let detail = "a circuit has a stream of its own";
        if let Some((number, _)) = self.by_stream.get(&(from.link, from.stream)).copied() {
            // A stream on which something was refused is finished, and so is what it carried.
            return self.end(number, [true, true], Code::PROTOCOL, detail);
        }
        if from.stream == 0 {
            return self.refuse(from, 0, Code::PROTOCOL, detail);
        }
        if let Err((code, detail)) = self.may_ask(now, from.peer, whom) {
            return self.refuse(from, 0, code, detail);
        }
        let Some(link) = link_to(whom) else {
            return self.refuse(from, 0, Code::UNKNOWN_PEER, "it is not here");
        };
        self.number_last += 1;
        let number = self.number_last;
        let end = |link, peer, stream| End {
            link,
            peer,
            stream,
            room: RELAY_WINDOW_BYTES,
        };
        let circuit = Circuit {
            ends: [
                end(from.link, from.peer, Some(from.stream)),
                end(link, whom, None),
            ],
            opened_ms: now.mono_ms,
            due_ms: now.mono_ms + RELAY_OFFER_MS_MAX,
            carried: 0,
        };
        self.due.insert((circuit.due_ms, number));
        *self.held.entry(from.peer).or_default() += 1;
        *self.pairs.entry(pair(from.peer, whom)).or_default() += 1;
        self.circuits.insert(number, circuit);
        self.by_stream.insert((from.link, from.stream), (number, 0));
        self.say_open(link, 0, from.peer, number);
    }

    // spec: peers/6.5
    fn may_ask(
        &mut self,
        now: Now,
        peer: PeerId,
        whom: PeerId,
    ) -> Result<(), (Code, &'static str)> {
        let times = self.asked.entry(peer).or_default();
        while (times.front()).is_some_and(|at_ms| at_ms + MINUTE_MS <= now.mono_ms) {
            times.pop_front();
        }
        if RELAY_OPENS_PER_MIN_MAX <= times.len() {
            return Err((Code::RATE, "too many circuits were asked for in a minute"));
        }
        times.push_back(now.mono_ms);
        if whom == peer {
            return Err((Code::IDENTITY_MISMATCH, "no circuit leads to oneself"));
        }
        let held = |peer| self.held.get(&peer).copied().unwrap_or(0);
        let is_full = |peer| self.limits.per_peer_max <= held(peer);
        if is_full(peer) || is_full(whom) {
            return Err((Code::BUSY, "as many circuits as one device may have"));
        }
        let between = self.pairs.get(&pair(peer, whom)).copied();
        if between.is_some_and(|count| PER_PAIR_MAX <= count) {
            return Err((Code::BUSY, "as many circuits as two devices may have"));
        }
        Ok(())
    }

    /// The offer is taken: the circuit stands.
    fn taken(&mut self, from: Origin<L>, open: RelayOpen) {
        if let Some((number, _)) = self.by_stream.get(&(from.link, from.stream)).copied() {
            return self.end(
                number,
                [true, true],
                Code::PROTOCOL,
                "a circuit has a stream of its own",
            );
        }
        let is_fresh = from.stream != 0;
        let circuit = self.circuits.get_mut(&open.circuit);
        let circuit = circuit.filter(|circuit| {
            let [asker, offered] = &circuit.ends;
            offered.link == from.link && offered.stream.is_none() && asker.peer == open.peer
        });
        let Some(circuit) = circuit.filter(|_| is_fresh) else {
            let detail = "there is no such circuit any more";
            return self.refuse(from, open.circuit, Code::UNKNOWN_PEER, detail);
        };
        let held = self.held.get(&from.peer).copied().unwrap_or(0);
        if self.limits.per_peer_max <= held {
            let detail = "as many circuits as one device may have";
            self.end(open.circuit, [true, false], Code::BUSY, detail);
            return self.refuse(from, open.circuit, Code::BUSY, detail);
        }
        circuit.ends[1].stream = Some(from.stream);
        *self.held.entry(from.peer).or_default() += 1;
        self.due.remove(&(circuit.due_ms, open.circuit));
        circuit.due_ms = (circuit.opened_ms).saturating_add(self.limits.lasts_ms_max);
        if circuit.due_ms < u64::MAX {
            self.due.insert((circuit.due_ms, open.circuit));
        }
        let asker = circuit.ends[0];
        let key = (from.link, from.stream);
        self.by_stream.insert(key, (open.circuit, 1));
        self.say_open(
            asker.link,
            asker.stream.unwrap_or(0),
            from.peer,
            open.circuit,
        );
    }

    // spec: peers/6.3
    fn data(&mut self, from: Origin<L>, bytes: Bytes) {
        // What comes behind the end of its circuit is dropped.
        let Some((number, end)) = self.by_stream.get(&(from.link, from.stream)).copied() else {
            return;
        };
        let Some(circuit) = self.circuits.get_mut(&number) else {
            return;
        };
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let room = circuit.ends[end].room.checked_sub(relay_cost(len));
        let (Some(room), true) = (room, circuit.is_taken()) else {
            let detail = "more was sent than the other end has room for";
            return self.end(number, [true, true], Code::FLOW_CONTROL, detail);
        };
        circuit.ends[end].room = room;
        circuit.carried += u64::from(len);
        self.carried += u64::from(len);
        let (to, is_over) = (
            circuit.ends[1 - end],
            self.limits.bytes_max < circuit.carried,
        );
        if is_over {
            let detail = "this circuit has carried as much as one may";
            return self.end(number, [true, true], Code::RATE, detail);
        }
        self.send(to, Message::RelayData(bytes));
    }

    fn credit(&mut self, from: Origin<L>, credit: RelayCredit) {
        let Some((number, end)) = self.by_stream.get(&(from.link, from.stream)).copied() else {
            return;
        };
        let Some(circuit) = self.circuits.get_mut(&number) else {
            return;
        };
        let is_taken = circuit.is_taken();
        let other = &mut circuit.ends[1 - end];
        let room = other.room.saturating_add(credit.bytes);
        // Small grants would cost the relay more than they give.
        if !is_taken || credit.bytes < RELAY_GRANT_BYTES_MIN || RELAY_WINDOW_BYTES < room {
            let detail = "a grant that is too small, or of more than was sent";
            return self.end(number, [true, true], Code::FLOW_CONTROL, detail);
        }
        other.room = room;
        let to = *other;
        self.send(to, Message::RelayCredit(credit));
    }

    /// One end has enough of it, or the offer is declined.
    fn closed(&mut self, from: Origin<L>, close: &RelayClose) {
        let known = self.by_stream.get(&(from.link, from.stream)).copied();
        let declined = self.circuits.get(&close.circuit).filter(|circuit| {
            let offered = circuit.ends[1];
            from.stream == 0 && offered.link == from.link && offered.stream.is_none()
        });
        let (number, end) = match (known, declined) {
            (Some(known), _) => known,
            (None, Some(_)) => (close.circuit, 1),
            (None, None) => return,
        };
        // Whoever ends it is answered on its stream, which is done with that; who declines has none.
        let told = [true, end != 1 || known.is_some()];
        self.end(number, told, close.code, cut_detail(&close.detail));
    }

    /// Ends a circuit, with the last message on its streams, and tells those ends that are to be told.
    fn end(&mut self, number: u64, told: [bool; 2], code: Code, detail: &str) {
        let Some(circuit) = self.circuits.remove(&number) else {
            return;
        };
        self.due.remove(&(circuit.due_ms, number));
        let [asker, offered] = &circuit.ends;
        less(&mut self.pairs, pair(asker.peer, offered.peer));
        for (end, is_told) in circuit.ends.into_iter().zip(told) {
            if end.stream.is_some() {
                less(&mut self.held, end.peer);
            }
            if let Some(stream) = end.stream {
                self.by_stream.remove(&(end.link, stream));
            }
            let close = RelayClose {
                circuit: number,
                code,
                detail: detail.to_owned(),
            };
            // An offer that is not taken is ended on the stream on which it was made.
            if is_told {
                self.send(end, Message::RelayClose(close));
            }
        }
    }

    fn say_open(&mut self, link: L, stream: u32, peer: PeerId, circuit: u64) {
        let message = Message::RelayOpen(RelayOpen { peer, circuit });
        self.outputs.push_back(Outgoing {
            link,
            stream,
            message,
        });
    }

    fn refuse(&mut self, from: Origin<L>, circuit: u64, code: Code, detail: &str) {
        let detail = detail.to_owned();
        self.outputs.push_back(Outgoing {
            link: from.link,
            stream: from.stream,
            message: Message::RelayClose(RelayClose {
                circuit,
                code,
                detail,
            }),
        });
    }

    fn send(&mut self, to: End<L>, message: Message) {
        self.outputs.push_back(Outgoing {
            link: to.link,
            stream: to.stream.unwrap_or(0),
            message,
        });
    }
}

/// Two peers, whoever asked.
fn pair(a: PeerId, b: PeerId) -> (PeerId, PeerId) {
    (a.min(b), a.max(b))
}

/// Counts one less.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
