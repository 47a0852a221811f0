//! What must hold, looked at from outside the machines.

use std::collections::BTreeMap;

use aura_engine::{hub::record::Record, peer::replica::Own};
use aura_proto::{
    Writer,
    event::EventRun,
    message::{Hello, Message, feature},
};

use crate::{CALM_MS, LOG, World, nodes::peer_id};

impl World {
    /// Lets a greeting offer only what is there, and asserts that nothing else uses more.
    pub(crate) fn by_features(&self, message: &Message) -> Message {
        let has = |feature| self.features & feature != 0;
        match message {
            Message::Hello(hello) => {
                let features = hello.features & self.features;
                return Message::Hello(Hello {
                    features,
                    ..hello.clone()
                });
            }
            Message::Event(run) => {
                let run = EventRun::decode(run).unwrap();
                assert!(run.checkpoint.is_none() || has(feature::CHECKPOINTS));
            }
            Message::Head(head) => assert!(head.vector.is_empty() || has(feature::VECTORS)),
            Message::Peer(_) => assert!(has(feature::PEER_EVENTS)),
            Message::Activity(_) => assert!(has(feature::ACTIVITY)),
            Message::Subscribe(subscribe) => {
                assert!(subscribe.vector.is_empty() || has(feature::VECTORS));
                assert!(subscribe.checkpoint.is_empty() || has(feature::CHECKPOINTS));
            }
            _ => {}
        }
        message.clone()
    }

    /// I3: what a peer has verified, the Mothership has.
    pub(crate) fn check_prefix(&self) {
        let Some(hub) = &self.hub.hub else { return };
        for (n, peer) in self.peers.iter().enumerate() {
            let (seq, hash) = peer.replica.cursor();
            let ours = match hub.ledger().log(LOG) {
                Some(log) => log.hash_at(seq),
                None => (seq == 0).then_some(aura_proto::Digest::ZERO),
            };
            assert_eq!(ours, Some(hash), "peer {n} at {seq} holds another history");
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        let Some(log) = self.hub.hub.as_ref().and_then(|hub| hub.ledger().log(LOG)) else {
            return false;
        };
        self.peers.iter().all(|peer| {
            peer.replica.cursor().0 == log.seq()
                && peer.replica.queued() == 0
                && peer.replica.heard().next().is_none()
                && peer.control.is_up()
        })
    }

    /// I1, I2 and I10, when everything has come to rest.
    pub(crate) fn check_end(&self) {
        let stands: Vec<_> = self
            .peers
            .iter()
            .map(|peer| {
                let waits: Vec<Own> = peer.replica.outbox().map(Own::of).collect();
                (
                    peer.control.is_up(),
                    peer.replica.cursor().0,
                    waits,
                    peer.replica.writer().incarnation,
                )
            })
            .collect();
        let seq = self
            .hub
            .hub
            .as_ref()
            .and_then(|hub| Some(hub.ledger().log(LOG)?.seq()));
        assert!(
            self.is_settled(),
            "no convergence within {CALM_MS} ms: the log has {seq:?}, peers stand at {stands:?}"
        );
        let mut found: BTreeMap<Writer, Vec<u64>> = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut at_seq = BTreeMap::new();
        for record in &self.hub.durable {
            if let Record::Entry { seq, entry, .. } = Record::decode(record).unwrap() {
                let header = entry.header();
                found
                    .entry(header.writer)
                    .or_default()
                    .push(header.author_seq);
                places.insert((header.writer.peer, Own::of(&entry)), seq);
                at_seq.insert(seq, header.author_seq);
            }
        }
        for (writer, numbers) in found {
            let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(
                numbers, expected,
                "{writer:?}: a number is missing or doubled"
            );
        }
        for (n, peer) in self.peers.iter().enumerate() {
            for own in &peer.queued {
                let is_there = places.contains_key(&(peer_id(n), *own));
                assert!(is_there, "queued entry {own:?} of {n} is lost");
            }
            assert_eq!(peer.belief(), self.peers[0].belief(), "peer {n} and peer 0");
        }
        for (author_seq, seq) in &self.acknowledged {
            assert_eq!(at_seq.get(seq), Some(author_seq), "acknowledged at {seq}");
        }
    }
}
