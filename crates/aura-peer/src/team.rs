//! The team's own log on this device: who belongs, and who holds the team key.
//!
//! Invariants:
//! - membership counts only as the roster accepts it, entry by entry in log order;
//! - a team key is taken only from a wrap that opens and fits the epoch's commitment.

use std::{collections::BTreeMap, path::Path};

use aura_api::{Exit, Failure};
use aura_engine::peer::replica::{self, Record, Replica};
use aura_proto::{
    Digest, Entry, Incarnation, Kind, LogId,
    message::{Message, PeerCard},
};
use aura_store::ensure_private_dir;
use aura_trust::{
    Change, KeyBody, KeyWrap, MemberCard, MembershipBody, Roster, TeamKey, commit,
    sign_receive_key, unwrap_key, verify_entry, verify_receive_key, wrap_key,
};

use crate::{
    book::Book,
    clock::{Clock, random},
    desk::storage,
    identity::Identity,
};

pub(crate) struct Team {
    pub(crate) book: Book,
    pub(crate) roster: Roster,
    pub(crate) stream: Option<u32>,
    pub(crate) sends: Vec<Message>,
    /// Own entries without a place yet.
    unplaced: BTreeMap<replica::Own, Entry>,
    clock: Clock,
}

impl Team {
    pub(crate) fn open(
        home: &Path,
        identity: &mut Identity,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let Some(enrolment) = identity.enrolment.clone() else {
            return Err(Failure::new(
                "AE-NOT-JOINED",
                Exit::NOT_SET_UP,
                "this device is on no team",
            ));
        };
        let dir = home.join("team");
        ensure_private_dir(&dir).map_err(|error| storage(&error))?;
        // The first incarnation is drawn once and replayed from then on.
        let incarnation = Incarnation(u64::from_be_bytes(random()));
        let replica = Replica::new(
            enrolment.team,
            LogId::TEAM,
            identity.key_again(),
            enrolment.checkpoint_key,
            incarnation,
        );
        let mut team = Self {
            book: Book::open(&dir.join("log"), replica)?,
            roster: Roster::new(enrolment.team),
            stream: None,
            sends: Vec::new(),
            unplaced: BTreeMap::new(),
            clock,
        };
        let mut records = Vec::new();
        team.book.replay(|_, record| records.push(record))?;
        for record in records {
            team.take_in(record, identity);
        }
        Ok(team)
    }

    /// What a durable record means for roster and keys.
    fn take_in(&mut self, record: Record, identity: &mut Identity) {
        match record {
            Record::Own(entry) => {
                self.unplaced.insert(replica::Own::of(&entry), entry);
            }
            Record::OwnPlaced { own, .. } => {
                if let Some(entry) = self.unplaced.remove(&own) {
                    self.note(entry, identity);
                }
            }
            Record::Placed(placed) => self.note(placed.entry, identity),
            Record::Retired(own) => {
                self.unplaced.remove(&own);
            }
            Record::Checkpoint(_) | Record::Incarnation(_) => {}
        }
    }

    /// Feeds the replica and carries out what it orders.
    pub(crate) fn feed(&mut self, input: replica::Input, identity: &mut Identity) {
        for output in self.book.feed(input) {
            match output {
                replica::Output::Send(message) => self.sends.push(message),
                replica::Output::Queued { entry, .. } => {
                    self.take_in(Record::Own(entry), identity);
                }
                replica::Output::Delivered { placed, .. } => self.note(placed.entry, identity),
                replica::Output::Acknowledged { own, .. } => {
                    if let Some(entry) = self.unplaced.remove(&own) {
                        self.note(entry, identity);
                    }
                }
                replica::Output::CaughtUp { .. } => self.found(identity),
                replica::Output::Fault { code, detail } => {
                    tracing::error!(%code, detail, "the team's log");
                }
                // A decision about members is not repeated on its own: whoever made it sees that it is missing.
                replica::Output::Stranded(entry) => {
                    tracing::warn!(?entry, "lost with a restored disk");
                    let own = replica::Own::of(&entry);
                    self.unplaced.remove(&own);
                    self.feed(replica::Input::Retire(own), identity);
                }
                // A decision that was not stored was reported as such; there is a next link for the rest.
                replica::Output::NotStored
                | replica::Output::RetryLater
                | replica::Output::Append { .. }
                | replica::Output::Refused { .. }
                | replica::Output::Reincarnate => {}
            }
        }
    }

    /// Takes a placed entry into the roster, and its key if it wraps one for this device.
    fn note(&mut self, entry: Entry, identity: &mut Identity) {
        let Ok(entry) = verify_entry(entry) else {
            return;
        };
        match self.roster.apply(&entry) {
            Ok(Change::None) => {}
            Ok(_) if entry.header().kind == Kind::KEY => self.take_key(&entry, identity),
            Ok(_) => {}
            Err(refusal) => tracing::warn!(%refusal, "an entry of the team's log does not count"),
        }
    }

    fn take_key(&self, entry: &Entry, identity: &mut Identity) {
        let Ok(body) = KeyBody::decode(&entry.body()) else {
            return;
        };
        let me = identity.key.peer();
        let Some(wrap) = body.wraps.iter().find(|wrap| wrap.peer == me) else {
            return;
        };
        let team = self.roster.team();
        let key = unwrap_key(
            &identity.receive,
            team,
            me,
            body.epoch,
            body.commitment,
            &wrap.wrapped,
        );
        match key {
            Ok(key) => {
                if identity.ring.get(body.epoch).is_none() && identity.ring.insert(key).is_ok() {
                    identity.save_ring().ok();
                }
            }
            Err(error) => tracing::warn!(%error, "EPOCH_INVALID"),
        }
    }

    /// The first member founds the team: genesis, then the first key.
    fn found(&mut self, identity: &mut Identity) {
        let is_founder = identity
            .enrolment
            .as_ref()
            .is_some_and(|enrolment| enrolment.founder);
        if !is_founder || !self.unplaced.is_empty() || self.roster.genesis().is_some() {
            return;
        }
        if identity.ring.is_empty() {
            identity.ring.insert(TeamKey::new(1, random())).ok();
            identity.save_ring().ok();
        }
        let Some(enrolment) = identity.enrolment.clone() else {
            return;
        };
        let founder = own_card(identity, enrolment.name, enrolment.role);
        let genesis = MembershipBody::Genesis {
            team_name: enrolment.team_name,
            founder,
        };
        self.write(Kind::MEMBERSHIP, genesis.encode(), identity);
        let me = identity.key.peer();
        let receive = identity.receive.public();
        if let Some(body) = self.key_body(identity, Digest::ZERO, &[(me, receive)]) {
            self.write(Kind::KEY, body.encode(), identity);
        }
    }

    fn key_body(
        &self,
        identity: &Identity,
        parent: Digest,
        to: &[(aura_proto::PeerId, [u8; 32])],
    ) -> Option<KeyBody> {
        let key = identity.ring.current()?;
        let team = self.roster.team();
        let mut wraps = Vec::new();
        for (peer, receive) in to {
            let wrapped = wrap_key(key, receive, team, *peer, random()).ok()?;
            wraps.push(KeyWrap {
                peer: *peer,
                wrapped,
            });
        }
        wraps.sort_by_key(|wrap| wrap.peer);
        Some(KeyBody {
            epoch: key.epoch,
            parent,
            commitment: commit(key),
            wraps,
        })
    }

    /// Hands the team key to a device that waits for it.
    pub(crate) fn approve(
        &mut self,
        card: &PeerCard,
        identity: &mut Identity,
    ) -> Result<(), Failure> {
        if identity.ring.is_empty() {
            let message = "this device does not hold the team key itself";
            return Err(Failure::new("AE-NO-KEY", Exit::REFUSED, message));
        }
        // spec: session/4.1
        if verify_receive_key(card.peer, &card.receive_key, &card.receive_key_signature).is_err() {
            let message = format!("the receive key of {} is not signed by it", card.name);
            return Err(Failure::new("BAD_SIGNATURE", Exit::INTEGRITY, message));
        }
        if !self.roster.is_active(card.peer) {
            let card = MemberCard {
                peer: card.peer,
                name: card.name.clone(),
                role: card.role,
                receive_key: card.receive_key,
                receive_key_signature: card.receive_key_signature.clone(),
            };
            self.write(
                Kind::MEMBERSHIP,
                MembershipBody::Add(card).encode(),
                identity,
            );
        }
        if let Some(body) = self.key_body(identity, Digest::ZERO, &[(card.peer, card.receive_key)])
        {
            self.write(Kind::KEY, body.encode(), identity);
        }
        Ok(())
    }

    fn write(&mut self, kind: Kind, body: Vec<u8>, identity: &mut Identity) {
        let author_seq = self.book.replica.next_number();
        let time_ms = self.clock.wall_ms();
        let input = replica::Input::Author {
            kind,
            key_epoch: 0,
            body,
            time_ms,
            author_seq,
            replaces: None,
        };
        self.feed(input, identity);
    }
}

fn own_card(identity: &Identity, name: String, role: aura_proto::message::Role) -> MemberCard {
    let receive_key = identity.receive.public();
    MemberCard {
        peer: identity.key.peer(),
        name,
        role,
        receive_key,
        receive_key_signature: sign_receive_key(&identity.key, &receive_key).to_vec(),
    }
}
