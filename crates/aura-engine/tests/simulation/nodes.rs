//! What runs in the simulated world: the Mothership's process and the devices.
//!
//! Invariant: a node holds its machines, its disk and what is on its way to the disk, and nothing of the network.

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::{
    hub::{
        Hub,
        record::{Admitted, Fact, Record},
    },
    peer::{
        body::{PatchBody, VersionId},
        control::Control,
        exchange::Exchange,
        replica::{self, Fates, Own, Replica},
        units::{Origin, Recorded, Units},
    },
};
use aura_proto::{Entry, PeerId, Writer, message::Role};
use aura_semantic::UnitId;
use aura_trust::IdentityKey;
use bytes::Bytes;

use crate::UNITS;

pub(crate) struct HubNode {
    pub(crate) hub: Option<Hub>,
    pub(crate) life: u64,
    pub(crate) durable: Vec<Bytes>,
    pub(crate) flying: BTreeMap<u64, Vec<Bytes>>,
}

pub(crate) struct PeerNode {
    pub(crate) key: [u8; 32],
    pub(crate) life: u64,
    pub(crate) control: Control,
    pub(crate) exchange: Exchange,
    /// Everything that is durable, by writer and number.
    pub(crate) entries: BTreeMap<(Writer, u64), Entry>,
    pub(crate) replica: Replica,
    pub(crate) units: Units,
    pub(crate) bodies: BTreeMap<(Writer, u64), PatchBody>,
    pub(crate) durable: Vec<Bytes>,
    pub(crate) flying: BTreeMap<u64, Vec<Bytes>>,
    pub(crate) link: Option<u64>,
    pub(crate) queued: BTreeSet<Own>,
}

impl PeerNode {
    /// Takes a durable entry into the versions.
    pub(crate) fn note(&mut self, entry: &Entry, seq: Option<u64>) {
        let header = entry.header();
        let body = PatchBody::decode(entry.body().to_vec()).unwrap();
        let origin = Origin {
            writer: header.writer,
            author_seq: header.author_seq,
            lsn: 0,
            time_ms: header.time_ms,
            seq,
        };
        self.units.record(&body, origin);
        self.bodies.insert((header.writer, header.author_seq), body);
    }

    /// The versions as the disk has them.
    pub(crate) fn rebuild(&mut self) {
        let decoded = self.durable.iter();
        let decoded = decoded.map(|record| replica::Record::decode(record).unwrap());
        let records: Vec<(u64, replica::Record)> = (1..).zip(decoded).collect();
        let fates = Fates::of(records.iter().map(|(lsn, record)| (*lsn, record)));
        self.units = Units::new(IdentityKey::from_seed(self.key).peer(), crate::CHANNEL);
        self.entries.clear();
        for (lsn, record) in records {
            let (entry, seq) = match record {
                replica::Record::Own(entry) => (entry, None),
                replica::Record::Placed(placed) => (placed.entry, Some(placed.seq)),
                replica::Record::Heard(entry) if !fates.is_void(lsn) => {
                    let place = fates.place(&entry);
                    (entry, place.map(|settled| settled.seq))
                }
                replica::Record::OwnPlaced { own, seq, .. } => {
                    self.placed(own, seq);
                    continue;
                }
                replica::Record::Checkpoint(_)
                | replica::Record::Evidence(_)
                | replica::Record::GivenUp(_)
                | replica::Record::Heard(_)
                | replica::Record::HeardPlaced(_)
                | replica::Record::Incarnation(_)
                | replica::Record::Retired(_) => continue,
            };
            let header = entry.header();
            let name = (header.writer, header.author_seq);
            self.note(&entry, seq);
            self.entries.insert(name, entry);
        }
    }

    pub(crate) fn placed(&mut self, own: Own, seq: u64) {
        let peer = IdentityKey::from_seed(self.key).peer();
        let incarnation = own.incarnation;
        let writer = Writer { peer, incarnation };
        self.units.placed(writer, own.author_seq, seq);
    }

    pub(crate) fn body(&self, recorded: &Recorded) -> Option<PatchBody> {
        let Origin {
            writer, author_seq, ..
        } = recorded.origin;
        self.bodies.get(&(writer, author_seq)).cloned()
    }

    /// What this peer believes: the heads of every unit and the open conflicts.
    pub(crate) fn belief(&self) -> (Vec<Vec<VersionId>>, Vec<String>) {
        let heads = (0..UNITS)
            .map(|n| self.units.heads("a.rs", unit(n)))
            .collect();
        let conflicts = self
            .units
            .conflicts(&|recorded| self.body(recorded), &|_, _| None);
        let ids = conflicts.into_iter().map(|conflict| conflict.id);
        (heads, ids.collect())
    }
}

pub(crate) fn unit(n: u64) -> UnitId {
    UnitId([u8::try_from(n).unwrap(); 16])
}

pub(crate) fn key(n: usize) -> [u8; 32] {
    [u8::try_from(n).unwrap() + 10; 32]
}

pub(crate) fn peer_id(n: usize) -> PeerId {
    IdentityKey::from_seed(key(n)).peer()
}

pub(crate) fn hub_key() -> IdentityKey {
    IdentityKey::from_seed([9; 32])
}

pub(crate) fn founding(peers: usize) -> Vec<Bytes> {
    let mut facts = vec![Fact::Founded {
        team_name: "sim".to_owned(),
        at_ms: 1,
    }];
    for n in 0..peers {
        let member = Admitted {
            peer: peer_id(n),
            name: format!("p{n}"),
            role: if n == 0 { Role::Admin } else { Role::Member },
            receive_key: [0; 32],
            receive_key_signature: Vec::new(),
            certificate: Vec::new(),
            not_after_s: u64::MAX,
            founder: n == 0,
        };
        facts.push(Fact::Joined {
            member,
            jti: format!("t{n}"),
            uses: 1,
            at_ms: 1,
        });
    }
    facts
        .into_iter()
        .map(|fact| Record::Fact(fact).encode())
        .collect()
}
