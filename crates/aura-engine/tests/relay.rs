//! A relay between peers that cannot meet: what it joins, what it bounds, and what each end is told.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use aura_engine::{
    Now,
    relay::{Limits, Origin, Outgoing, Relay},
};
use aura_proto::{
    Code, PeerId,
    limits::{
        RELAY_CIRCUITS_PER_PEER_MAX, RELAY_GRANT_BYTES_MIN, RELAY_MESSAGE_BYTES,
        RELAY_OFFER_MS_MAX, RELAY_OPENS_PER_MIN_MAX, RELAY_WINDOW_BYTES,
    },
    message::{Message, RelayClose, RelayCredit, RelayOpen},
    session::DETAIL_BYTES_MAX,
};
use bytes::Bytes;

const ANNA: PeerId = PeerId([1; 32]);
const BERT: PeerId = PeerId([2; 32]);
const CARL: PeerId = PeerId([3; 32]);

/// A relay to which each peer has the link of its own number.
struct Scene {
    relay: Relay<u8>,
    here: BTreeMap<PeerId, u8>,
    now_ms: u64,
    sent: Vec<Outgoing<u8>>,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let here = [ANNA, BERT, CARL].map(|peer| (peer, peer.0[0]));
        Self {
            relay: Relay::new(limits, 0),
            here: here.into(),
            now_ms: 0,
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 0,
        }
    }

    /// What the relay sends when it hears this.
    fn say(&mut self, peer: PeerId, stream: u32, message: Message) -> Vec<(u8, u32, Message)> {
        let link = peer.0[0];
        let here = self.here.clone();
        let from = Origin { link, peer, stream };
        self.relay
            .handle(self.now(), from, message, |peer| here.get(&peer).copied());
        self.sent()
    }

    fn sent(&mut self) -> Vec<(u8, u32, Message)> {
        let mut sent = Vec::new();
        while let Some(send) = self.relay.poll() {
            self.sent.push(send.clone());
            sent.push((send.link, send.stream, send.message));
        }
        sent
    }

    fn tick(&mut self) -> Vec<(u8, u32, Message)> {
        self.relay.tick(self.now());
        self.sent()
    }

    /// A circuit that stands between a stream of each, and its number.
    fn joined(&mut self, asker: (PeerId, u32), offered: (PeerId, u32)) -> u64 {
        let offer = self.say(asker.0, asker.1, open(offered.0, 0));
        let [(_, 0, Message::RelayOpen(offer))] = &offer[..] else {
            panic!("no offer: {offer:?}");
        };
        let number = offer.circuit;
        let stands = self.say(offered.0, offered.1, open(asker.0, number));
        let expected = (asker.0.0[0], asker.1, open(offered.0, number));
        assert_eq!(stands, [expected]);
        number
    }
}

fn open(peer: PeerId, circuit: u64) -> Message {
    Message::RelayOpen(RelayOpen { peer, circuit })
}

fn data(bytes: usize) -> Message {
    Message::RelayData(Bytes::from(vec![7; bytes]))
}

fn credit(bytes: u32) -> Message {
    Message::RelayCredit(RelayCredit { bytes })
}

fn bye() -> Message {
    Message::RelayClose(RelayClose {
        circuit: 0,
        code: Code::BYE,
        detail: String::new(),
    })
}

/// Whom each end of a circuit was told why it is over.
fn closes(sent: &[(u8, u32, Message)]) -> Vec<(u8, u32, Code)> {
    let close = |(link, stream, message): &(u8, u32, Message)| match message {
        Message::RelayClose(close) => Some((*link, *stream, close.code)),
        _ => None,
    };
    sent.iter().filter_map(close).collect()
}

#[test]
fn c27_bytes_go_both_ways_unread_once_the_other_peer_has_taken_the_circuit() {
    let mut scene = Scene::new(Limits::default());
    let offer = scene.say(ANNA, 5, open(BERT, 0));
    assert_eq!(offer, [(2, 0, open(ANNA, 1))]);
    scene.say(BERT, 8, open(ANNA, 1));
    assert_eq!(scene.say(ANNA, 5, data(3)), [(2, 8, data(3))]);
    assert_eq!(scene.say(BERT, 8, data(4)), [(1, 5, data(4))]);
    assert_eq!((scene.relay.count(), scene.relay.carried()), (1, 7));
    // The end is told to both, on the streams that are done with that.
    let sent = scene.say(BERT, 8, bye());
    assert_eq!(closes(&sent), [(1, 5, Code::BYE), (2, 8, Code::BYE)]);
    assert_eq!(scene.say(ANNA, 5, data(1)), []);
    assert_eq!(scene.relay.count(), 0);
}

#[test]
fn nobody_joins_a_circuit_that_was_offered_to_another() {
    let mut scene = Scene::new(Limits::default());
    scene.say(ANNA, 5, open(BERT, 0));
    let sent = scene.say(CARL, 6, open(ANNA, 1));
    assert_eq!(closes(&sent), [(3, 6, Code::UNKNOWN_PEER)]);
    // Nor does Bert take it as one from somebody else, or twice.
    let sent = scene.say(BERT, 8, open(CARL, 1));
    assert_eq!(closes(&sent), [(2, 8, Code::UNKNOWN_PEER)]);
    assert_eq!(scene.say(BERT, 8, open(ANNA, 1)), [(1, 5, open(BERT, 1))]);
    let sent = scene.say(BERT, 10, open(ANNA, 1));
    assert_eq!(closes(&sent), [(2, 10, Code::UNKNOWN_PEER)]);
    assert_eq!(scene.say(CARL, 6, data(1)), []);
}

#[test]
fn whoever_is_not_there_or_declines_is_no_end_of_a_circuit() {
    let mut scene = Scene::new(Limits::default());
    scene.here.remove(&BERT);
    let sent = scene.say(ANNA, 5, open(BERT, 0));
    assert_eq!(closes(&sent), [(1, 5, Code::UNKNOWN_PEER)]);
    scene.say(ANNA, 7, open(CARL, 0));
    let decline = Message::RelayClose(RelayClose {
        circuit: 1,
        code: Code::BUSY,
        detail: "no".to_owned(),
    });
    assert_eq!(closes(&scene.say(CARL, 0, decline)), [(1, 7, Code::BUSY)]);
    // Nobody answers.
    scene.say(ANNA, 9, open(CARL, 0));
    scene.now_ms = RELAY_OFFER_MS_MAX;
    assert_eq!(scene.relay.deadline(), Some(RELAY_OFFER_MS_MAX));
    let sent = scene.tick();
    assert_eq!(
        closes(&sent),
        [(1, 9, Code::TIMEOUT), (3, 0, Code::TIMEOUT)]
    );
    assert_eq!((scene.relay.count(), scene.relay.deadline()), (0, None));
    let sent = scene.say(ANNA, 11, open(ANNA, 0));
    assert_eq!(closes(&sent), [(1, 11, Code::IDENTITY_MISMATCH)]);
}

#[test]
fn more_than_a_window_waits_for_nobody() {
    let window = usize::try_from(RELAY_WINDOW_BYTES).unwrap();
    let each = usize::try_from(RELAY_MESSAGE_BYTES).unwrap();
    let least = RELAY_GRANT_BYTES_MIN;
    let mut scene = Scene::new(Limits::default());
    scene.joined((ANNA, 5), (BERT, 8));
    scene.say(ANNA, 5, data(window - each));
    assert_eq!(scene.say(BERT, 8, credit(least)), [(1, 5, credit(least))]);
    let more = usize::try_from(least).unwrap() - each;
    assert_eq!(scene.say(ANNA, 5, data(more)), [(2, 8, data(more))]);
    let sent = scene.say(ANNA, 5, data(1));
    let both = [(1, 5, Code::FLOW_CONTROL), (2, 8, Code::FLOW_CONTROL)];
    assert_eq!(closes(&sent), both);
    // What was not sent cannot be granted.
    scene.joined((ANNA, 7), (BERT, 10));
    let sent = scene.say(BERT, 10, credit(least));
    assert_eq!(closes(&sent).len(), 2);
    // Small messages and small grants cost the relay what they take up.
    scene.joined((ANNA, 11), (BERT, 12));
    for _ in 0..window / (each + 1) {
        assert_eq!(scene.say(ANNA, 11, data(1)), [(2, 12, data(1))]);
    }
    assert_eq!(closes(&scene.say(ANNA, 11, data(1))).len(), 2);
    for bytes in [0, least - 1] {
        let stream = 13 + bytes;
        scene.joined((ANNA, stream), (BERT, stream));
        scene.say(ANNA, stream, data(window / 2));
        let sent = scene.say(BERT, stream, credit(bytes));
        assert_eq!(closes(&sent).len(), 2, "{bytes}");
    }
    // Nor is anything sent before the other one has taken it.
    for early in [data(1), credit(least)] {
        scene.say(ANNA, 9, open(BERT, 0));
        assert_eq!(closes(&scene.say(ANNA, 9, early)).len(), 2);
    }
}

#[test]
fn c64_a_circuit_ends_by_its_bytes_or_its_time_and_the_next_one_begins() {
    let limits = Limits {
        bytes_max: 100,
        lasts_ms_max: 60_000,
        ..Limits::default()
    };
    let mut scene = Scene::new(limits);
    scene.joined((ANNA, 5), (BERT, 8));
    scene.say(ANNA, 5, data(60));
    scene.say(BERT, 8, data(40));
    let both = [(1, 5, Code::RATE), (2, 8, Code::RATE)];
    assert_eq!(closes(&scene.say(BERT, 8, data(1))), both);
    scene.joined((ANNA, 7), (BERT, 10));
    scene.now_ms = 60_000;
    assert_eq!(scene.relay.deadline(), Some(60_000));
    let both = [(1, 7, Code::RATE), (2, 10, Code::RATE)];
    assert_eq!(closes(&scene.tick()), both);
    scene.joined((ANNA, 9), (BERT, 12));
}

#[test]
fn c64_one_peer_has_so_many_circuits_and_asks_for_so_many_in_a_minute() {
    let mut scene = Scene::new(Limits::default());
    let others = (10..).map(|n| PeerId([n; 32]));
    let others: Vec<PeerId> = others.take(RELAY_CIRCUITS_PER_PEER_MAX).collect();
    for (stream, other) in (10..).zip(&others) {
        scene.here.insert(*other, other.0[0]);
        scene.joined((ANNA, stream), (*other, 2));
    }
    let sent = scene.say(ANNA, 101, open(CARL, 0));
    assert_eq!(closes(&sent), [(1, 101, Code::BUSY)]);
    // Those that it took count as well, and nobody is offered what would be more.
    let sent = scene.say(CARL, 1, open(ANNA, 0));
    assert_eq!(closes(&sent), [(3, 1, Code::BUSY)]);
    scene.relay.gone(1);
    scene.sent();
    let asked = RELAY_CIRCUITS_PER_PEER_MAX + 1;
    for n in asked..RELAY_OPENS_PER_MIN_MAX {
        let stream = u32::try_from(2 * n + 201).unwrap();
        assert_eq!(scene.say(ANNA, stream, open(CARL, 0)).len(), 1);
        assert_eq!(closes(&scene.say(ANNA, stream, bye())).len(), 2);
    }
    let sent = scene.say(ANNA, 901, open(CARL, 0));
    assert_eq!(closes(&sent), [(1, 901, Code::RATE)]);
    scene.now_ms = 60_000;
    scene.joined((ANNA, 903), (CARL, 904));
}

#[test]
fn a_circuit_ends_with_the_link_that_carries_it() {
    let mut scene = Scene::new(Limits::default());
    scene.joined((ANNA, 5), (BERT, 8));
    scene.joined((CARL, 5), (ANNA, 8));
    scene.relay.gone(1);
    let sent = scene.sent();
    assert_eq!(closes(&sent), [(2, 8, Code::BYE), (3, 5, Code::BYE)]);
    assert_eq!(scene.relay.count(), 0);
}

#[test]
fn a_circuit_has_a_stream_of_its_own() {
    let mut scene = Scene::new(Limits::default());
    scene.joined((ANNA, 5), (BERT, 8));
    let sent = scene.say(ANNA, 0, open(CARL, 0));
    assert_eq!(closes(&sent), [(1, 0, Code::PROTOCOL)]);
    assert_eq!(scene.say(ANNA, 5, data(2)), [(2, 8, data(2))]);
    // A refusal finishes its stream, so both ends hear that what it carried is over.
    let sent = scene.say(ANNA, 5, open(CARL, 0));
    let over = [(1, 5, Code::PROTOCOL), (2, 8, Code::PROTOCOL)];
    assert_eq!(closes(&sent), over);
    assert_eq!(scene.relay.count(), 0);
}

#[test]
fn one_peer_cannot_take_the_circuits_of_another() {
    let mut scene = Scene::new(Limits::default());
    for n in 0..4 {
        scene.joined((ANNA, 11 + 2 * n), (BERT, 12 + 2 * n));
    }
    let sent = scene.say(ANNA, 31, open(BERT, 0));
    assert_eq!(closes(&sent), [(1, 31, Code::BUSY)]);
    let sent = scene.say(BERT, 32, open(ANNA, 0));
    assert_eq!(closes(&sent), [(2, 32, Code::BUSY)]);
    scene.joined((CARL, 11), (BERT, 34));
    // What is merely offered costs whoever asks.
    for n in 0..4 {
        scene.say(ANNA, 41 + 2 * n, open(CARL, 0));
    }
    scene.joined((CARL, 51), (BERT, 52));
}

#[test]
fn a_reason_is_passed_on_as_long_as_one_may_be() {
    let mut scene = Scene::new(Limits::default());
    scene.joined((ANNA, 5), (BERT, 8));
    let close = Message::RelayClose(RelayClose {
        circuit: 0,
        code: Code::BYE,
        detail: "ä".repeat(4_000_000),
    });
    for (_, _, message) in scene.say(ANNA, 5, close) {
        let Message::RelayClose(close) = message else {
            panic!("{message:?}");
        };
        assert_eq!(close.detail.len(), DETAIL_BYTES_MAX);
    }
}

#[test]
fn a_stream_that_is_reset_ends_its_circuit() {
    let mut scene = Scene::new(Limits::default());
    scene.joined((ANNA, 5), (BERT, 8));
    scene.relay.stream_gone(2, 8);
    let sent = scene.sent();
    assert_eq!(closes(&sent), [(1, 5, Code::BYE)]);
    assert_eq!(scene.relay.count(), 0);
}

#[test]
fn c64_of_many_that_were_offered_at_once_no_more_are_taken_than_one_may_have() {
    let mut scene = Scene::new(Limits::default());
    let count = u8::try_from(RELAY_CIRCUITS_PER_PEER_MAX).unwrap() + 1;
    let askers: Vec<PeerId> = (10..10 + count).map(|n| PeerId([n; 32])).collect();
    for asker in &askers {
        scene.here.insert(*asker, asker.0[0]);
        assert_eq!(scene.say(*asker, 1, open(ANNA, 0)).len(), 1);
    }
    let mut refused = Vec::new();
    for (number, asker) in (1..).zip(&askers) {
        let stream = u32::try_from(2 * number).unwrap();
        refused.extend(closes(&scene.say(ANNA, stream, open(*asker, number))));
    }
    let last = askers.last().unwrap().0[0];
    let stream = 2 * u32::from(count);
    assert_eq!(refused, [(last, 1, Code::BUSY), (1, stream, Code::BUSY)]);
}
