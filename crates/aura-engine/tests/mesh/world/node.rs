//! One device: its machines while it runs, its disk always.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use aura_engine::{
    Now,
    peer::{
        exchange::Exchange,
        links::{self, Input, Known, LinkId, Links, Settings},
        replica::{self, Replica},
    },
};
use aura_proto::{
    Entry, Incarnation, LogId, PeerId, SignedReach, TeamId, Writer,
    reach::{Locality, Reach, Visibility},
};
use aura_trust::{IdentityKey, sign_reach};
use bytes::Bytes;

pub(crate) const TEAM: TeamId = TeamId([7; 16]);
pub(crate) const LOG: LogId = LogId([2; 16]);
/// What an entry begins with that removes a member; the rest names it.
const REMOVAL: &[u8] = b"removed ";

/// Whose entry, and its number.
pub(crate) type Name = (Writer, u64);

pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) person: String,
    pub(crate) address: SocketAddr,
    pub(crate) word: SignedReach,
    pub(crate) settings: Settings,
    /// What it knows of each member, on disk.
    pub(crate) table: BTreeMap<PeerId, Known>,
    /// Whether it is without the Mothership.
    pub(crate) is_alone: bool,
    /// How often it has started.
    pub(crate) life: u64,
    pub(crate) running: Option<Running>,
    pub(super) durable: Vec<Bytes>,
    index: usize,
}

/// A process.
pub(crate) struct Running {
    pub(crate) links: Links,
    pub(crate) exchange: Exchange,
    /// Everything that is durable.
    pub(crate) entries: BTreeMap<Name, Entry>,
    /// The link with each peer, by what the machine told.
    pub(crate) up: BTreeMap<PeerId, LinkId>,
    /// Who is no member any more.
    pub(crate) removed: BTreeSet<PeerId>,
    pub(super) replica: Replica,
    /// Links that take no more entries for now.
    pub(super) full: BTreeSet<LinkId>,
    pub(super) flying: BTreeMap<u64, Vec<Bytes>>,
    pub(super) due_ms: Option<u64>,
    /// When the links want to be woken, where that is known.
    pub(super) links_due_ms: Option<Option<u64>>,
}

fn key(n: usize) -> IdentityKey {
    let mut seed = [0x22; 32];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    IdentityKey::from_seed(seed)
}

/// Where a node is dialled that has moved that often.
pub(super) fn address(n: usize, place: u8) -> SocketAddr {
    let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
    SocketAddr::from(([10, place, high, low], 7_000))
}

pub(super) fn name(entry: &Entry) -> Name {
    let header = entry.header();
    (header.writer, header.author_seq)
}

/// Body of an entry that removes a member.
pub(crate) fn removal_of(peer: PeerId) -> Vec<u8> {
    [REMOVAL, &peer.0].concat()
}

/// Whom an entry removes.
pub(super) fn removal(entry: &Entry) -> Option<PeerId> {
    let body = entry.body();
    let peer = body.strip_prefix(REMOVAL)?;
    Some(PeerId(peer.try_into().ok()?))
}

impl Node {
    pub(super) fn new(n: usize) -> Self {
        let key = key(n);
        let mut node = Self {
            id: key.peer(),
            person: format!("person {n}"),
            address: address(n, 0),
            word: sign_reach(&key, TEAM, Reach::default()),
            settings: Settings::default(),
            table: BTreeMap::new(),
            is_alone: true,
            life: 0,
            running: None,
            durable: Vec::new(),
            index: n,
        };
        node.move_to(address(n, 0));
        node
    }

    pub(super) fn move_to(&mut self, address: SocketAddr) {
        self.address = address;
        let reach = Reach {
            counter: self.word.reach.counter + 1,
            visibility: Visibility::Open,
            addresses: vec![address],
        };
        self.word = sign_reach(&key(self.index), TEAM, reach);
    }

    /// What somebody knows who knows it as it is now.
    pub(super) fn known(&self) -> Known {
        Known {
            peer: self.id,
            person: self.person.clone(),
            addresses: self.word.reach.dialable(Locality::Network),
            reach: self.word.reach.clone(),
            is_online: None,
            is_relay: false,
        }
    }

    /// The process begins with what is on disk.
    pub(super) fn boot(&mut self, now: Now, seed: u64) {
        assert!(self.running.is_none(), "it runs already");
        let own = links::Own {
            key: key(self.index),
            team: TEAM,
            team_name: "acme".to_owned(),
            agent: "test".to_owned(),
        };
        let incarnation = Incarnation(1);
        let mut replica = Replica::new(TEAM, LOG, key(self.index), self.id, incarnation);
        let mut entries = Vec::new();
        for record in &self.durable {
            let record = replica::Record::decode(record).unwrap();
            replica.replay(&record);
            if let replica::Record::Own(entry) | replica::Record::Heard(entry) = record {
                entries.push(entry);
            }
        }
        self.running = Some(Running {
            links: Links::new(now, own, self.settings, seed),
            exchange: Exchange::new(LOG, replica.held()),
            entries: BTreeMap::new(),
            up: BTreeMap::new(),
            removed: BTreeSet::new(),
            replica,
            full: BTreeSet::new(),
            flying: BTreeMap::new(),
            due_ms: None,
            links_due_ms: None,
        });
        for entry in &entries {
            self.keep(entry);
            if let Some(gone) = removal(entry) {
                self.remove(gone);
            }
        }
    }

    pub(super) fn first_inputs(&self) -> [Input; 4] {
        [
            Input::Settings(self.settings),
            Input::Announce(self.word.clone()),
            Input::Control {
                is_up: !self.is_alone,
            },
            Input::Peers(self.table.values().cloned().collect()),
        ]
    }

    /// Takes a durable entry: each writer's come in order, each once and chained to the one before.
    pub(super) fn keep(&mut self, entry: &Entry) -> Name {
        let (writer, number) = name(entry);
        let running = self.running.as_mut().unwrap();
        if let Some(before) = number.checked_sub(1).filter(|before| 0 < *before) {
            let before = running.entries.get(&(writer, before));
            let before = before.expect("no gap before what is held");
            assert_eq!(before.hash(), entry.header().prev, "one history");
        }
        let old = running.entries.insert((writer, number), entry.clone());
        assert!(old.is_none(), "held once");
        (writer, number)
    }

    /// Somebody is no member any more; who is left.
    pub(super) fn remove(&mut self, gone: PeerId) -> Vec<Known> {
        self.table.remove(&gone);
        let running = self.running.as_mut().unwrap();
        running.removed.insert(gone);
        self.table.values().cloned().collect()
    }
}
