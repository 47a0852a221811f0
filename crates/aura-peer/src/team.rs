//! The team's own log on this device: who belongs, and who holds the team key.
//!
//! Invariants:
//! - membership counts only as the roster accepts it, entry by entry in log order, from the one genesis that is known;
//! - a team key is taken only from a wrap that opens and fits the epoch's commitment, and while every key held fits the
//!   log's;
//! - a log that contradicts what is known of the team is a fault: nothing of it counts from there on;
//! - what this device writes by itself, it writes when nothing else of it is on its way: never twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use aura_api::{Exit, Failure, shell_operand, shell_word};
use aura_engine::peer::replica::{self, Fates, Record};
use aura_proto::{
    Code, Digest, Entry, Kind, LogId, PeerId, Reach, Writer,
    message::{Message, PeerCard, PeerState, ReceiveCard, Role},
};
use aura_store::ensure_private_dir;
use aura_trust::{
    Change, KeyBody, KeyRing, KeyWrap, LastAccepted, MemberCard, MembershipBody, Refusal, Roster,
    TeamKey, VerifiedEntry, commit, sign_receive_key, unwrap_key, verify_entry, verify_receive_key,
    wrap_key,
};

use crate::{
    book::Book,
    clock::{Clock, random},
    desk::{RETRY_MS, storage},
    identity::{Enrolment, Identity},
};

/// The time of what has no place yet: behind everything that has one.
const UNPLACED_MS: u64 = u64::MAX - 1;

pub(crate) struct Team {
    pub(crate) book: Book,
    /// Shared with the desks, which see it as it was when they were last told.
    pub(crate) roster: Arc<Roster>,
    pub(crate) stream: Option<u32>,
    pub(crate) sends: Vec<Message>,
    /// The roster as far as the Mothership ordered it, while something else counts, too.
    ordered: Option<Roster>,
    /// Own entries without a place yet.
    unplaced: BTreeMap<replica::Own, Entry>,
    /// Entries of others without a place.
    heard: BTreeMap<(Writer, u64), VerifiedEntry>,
    /// Whether the roster has to be folded anew.
    is_unfolded: bool,
    /// What neighbours showed and was not taken: who, and why.
    pub(crate) not_heard: Vec<(u64, Code, &'static str)>,
    /// When the Mothership is offered what others wrote without it.
    offer_at_ms: Option<u64>,
    /// Whom the Mothership removed, and why.
    gone: BTreeMap<PeerId, String>,
    /// Who wrote something that opens under the team key.
    writers: BTreeSet<PeerId>,
    /// When what a full disk refused is tried again.
    retry_at_ms: Option<u64>,
    /// Why the log is not that of the team as this device knows it.
    pub(crate) fault: Option<String>,
    /// Why nothing more of the log is taken for now.
    stopped: Option<String>,
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
        let book = Book::of(
            &dir.join("log"),
            (enrolment.team, LogId::TEAM),
            &identity.key,
            enrolment.checkpoint_key,
            clock,
        );
        let mut book = book.map_err(|failure| match failure.exit {
            // Its own words in it are few, and only a person knows which were on their way.
            Exit::INTEGRITY => failure.next(
                format!(
                    "mv {0} {0}.damaged",
                    shell_word(dir.join("log").display().to_string())
                ),
                "the team's log is then fetched anew; look at: aura members",
            ),
            _ => failure,
        })?;
        if book.lost().is_some() {
            tracing::warn!("the team's log has lost its end; it is fetched again");
            book.forget_lost();
        }
        let mut team = Self {
            book,
            roster: Arc::new(Roster::rooted(enrolment.team, identity.root())),
            ordered: None,
            heard: BTreeMap::new(),
            is_unfolded: false,
            not_heard: Vec::new(),
            offer_at_ms: None,
            stream: None,
            sends: Vec::new(),
            unplaced: BTreeMap::new(),
            gone: BTreeMap::new(),
            writers: BTreeSet::new(),
            retry_at_ms: None,
            fault: None,
            stopped: None,
            clock,
        };
        let mut records = Vec::new();
        team.book
            .replay(|lsn, record| records.push((lsn, record)))?;
        let fates = Fates::of(records.iter().map(|(lsn, record)| (*lsn, record)));
        for (_, record) in records.into_iter().filter(|(lsn, _)| !fates.is_void(*lsn)) {
            team.take_in(record, identity);
        }
        team.is_unfolded = true;
        team.fold(identity);
        Ok(team)
    }

    /// What a durable record means for roster and keys.
    fn take_in(&mut self, record: Record, identity: &mut Identity) {
        match record {
            Record::Own(entry) => {
                self.unplaced.insert(replica::Own::of(&entry), entry);
            }
            Record::OwnPlaced { own, time_ms, .. } => {
                if let Some(entry) = self.unplaced.remove(&own) {
                    self.note(entry, time_ms, identity);
                }
            }
            Record::Placed(placed) => self.note(placed.entry, placed.time_ms, identity),
            Record::Retired(own) => {
                self.unplaced.remove(&own);
            }
            Record::Heard(entry) => self.hear(entry),
            Record::HeardPlaced(settled) => {
                self.settle(
                    (settled.writer, settled.author_seq),
                    settled.time_ms,
                    identity,
                );
            }
            Record::Checkpoint(_)
            | Record::Evidence(_)
            | Record::GivenUp(_)
            | Record::Incarnation(_) => {}
        }
    }

    /// Feeds the replica and carries out what it orders.
    pub(crate) fn feed(&mut self, input: replica::Input, identity: &mut Identity) {
        self.carry_out(input, identity);
        self.is_unfolded |= !self.heard.is_empty() || !self.unplaced.is_empty();
        self.fold(identity);
    }

    fn carry_out(&mut self, input: replica::Input, identity: &mut Identity) {
        for output in self.book.feed(input) {
            match output {
                replica::Output::Send(message) => self.sends.push(message),
                replica::Output::Queued { entry, .. } => {
                    self.take_in(Record::Own(entry), identity);
                }
                replica::Output::Delivered { placed, .. } => {
                    self.note(placed.entry, placed.time_ms, identity);
                }
                replica::Output::Acknowledged { own, time_ms, .. } => {
                    if let Some(entry) = self.unplaced.remove(&own) {
                        self.note(entry, time_ms, identity);
                    }
                    self.found(identity);
                }
                replica::Output::Heard { entry, .. } => self.hear(entry),
                replica::Output::Settled {
                    writer,
                    author_seq,
                    time_ms,
                    ..
                } => self.settle((writer, author_seq), time_ms, identity),
                replica::Output::GivenUp(given_up) => {
                    self.unhear(given_up.writer, given_up.author_seq);
                }
                replica::Output::NotHeard {
                    from, code, detail, ..
                } => {
                    self.not_heard.push((from, code, detail));
                }
                replica::Output::OfferLater => {
                    self.offer_at_ms = Some(self.clock.mono_ms() + RETRY_MS / 4);
                }
                replica::Output::RetryLater => {
                    self.retry_at_ms = Some(self.clock.mono_ms() + RETRY_MS);
                }
                replica::Output::CaughtUp { .. } => {
                    self.stopped = None;
                    self.found(identity);
                }
                replica::Output::Fault { code, detail } => {
                    tracing::error!(%code, detail, "the team's log");
                    self.stopped = Some(format!("{code}: {detail}"));
                }
                replica::Output::Stranded(entry) => self.write_again(&entry, identity),
                // Whoever wrote it hears of it.
                replica::Output::Contradicted { .. }
                | replica::Output::NotStored
                | replica::Output::Append { .. }
                | replica::Output::Refused { .. }
                | replica::Output::Reincarnate => {}
            }
        }
    }

    /// Takes an entry of another in that has no place yet.
    fn hear(&mut self, entry: Entry) {
        let header = entry.header();
        let name = (header.writer, header.author_seq);
        let is_of_team = matches!(header.kind, Kind::KEY | Kind::MEMBERSHIP);
        if let Some(entry) = Some(entry).filter(|_| is_of_team)
            && let Ok(entry) = verify_entry(entry)
        {
            self.heard.insert(name, entry);
            self.is_unfolded = true;
        }
    }

    /// An entry that was heard has its place.
    fn settle(&mut self, name: (Writer, u64), time_ms: u64, identity: &mut Identity) {
        if let Some(entry) = self.heard.remove(&name) {
            self.place(&entry, time_ms, identity);
        }
    }

    /// The roster as it will be when everything has its place in the order of the logical clock: what was heard, and,
    /// while nobody gives places, what this device wrote.
    // spec: peers/4.6
    fn fold(&mut self, identity: &mut Identity) {
        if !std::mem::take(&mut self.is_unfolded) {
            return;
        }
        let is_alone = !self.book.replica.is_caught_up();
        let own = self.unplaced.values().filter(|_| is_alone);
        let own = own.filter_map(|entry| verify_entry(entry.clone()).ok());
        let mut unplaced: Vec<VerifiedEntry> = self.heard.values().cloned().chain(own).collect();
        if unplaced.is_empty() {
            if let Some(ordered) = self.ordered.take() {
                self.roster = Arc::new(ordered);
            }
            return;
        }
        unplaced.sort_by_key(|entry| {
            let header = entry.header();
            (header.lamport, header.writer, header.author_seq)
        });
        let ordered = self
            .ordered
            .get_or_insert_with(|| Roster::clone(&self.roster));
        let mut roster = ordered.clone();
        // What does not hold yet may hold behind what is still to come.
        let holds = |entry: &&VerifiedEntry| {
            roster.apply(entry, UNPLACED_MS).is_ok() && entry.header().kind == Kind::KEY
        };
        let keys: Vec<VerifiedEntry> = unplaced.iter().filter(holds).cloned().collect();
        self.roster = Arc::new(roster);
        for entry in keys {
            self.take_key(&entry, identity);
        }
    }

    /// Takes a placed entry into the roster, and its key if it wraps one for this device.
    fn note(&mut self, entry: Entry, time_ms: u64, identity: &mut Identity) {
        let Ok(entry) = verify_entry(entry) else {
            return;
        };
        // Where the log has another entry than the one that was heard, what followed from that one is gone as well.
        let header = entry.header();
        let name = (header.writer, header.author_seq);
        let heard = self.heard.remove(&name);
        if heard.is_some_and(|heard| heard.hash() != entry.hash()) {
            self.unhear(header.writer, header.author_seq);
        }
        self.place(&entry, time_ms, identity);
    }

    /// What was heard of a writer from this number on does not count any more.
    fn unhear(&mut self, writer: Writer, author_seq: u64) {
        let rest = (writer, author_seq)..=(writer, u64::MAX);
        self.heard.extract_if(rest, |_, _| true).for_each(drop);
        self.is_unfolded = true;
    }

    fn place(&mut self, entry: &VerifiedEntry, time_ms: u64, identity: &mut Identity) {
        if self.fault.is_some() {
            return;
        }
        self.is_unfolded |= self.ordered.is_some();
        let applied = match &mut self.ordered {
            Some(ordered) => ordered.apply(entry, time_ms),
            None => Arc::make_mut(&mut self.roster).apply(entry, time_ms),
        };
        match applied {
            Ok(Change::None) => {}
            Ok(Change::Founded) => self.pin(identity),
            Ok(_) if entry.header().kind == Kind::KEY => self.take_key(entry, identity),
            Ok(_) => {}
            Err(Refusal::OtherGenesis) => self.contradicted(format!(
                "FORK: the mothership shows a team's log that begins with {}; {}",
                entry.hash().short(),
                Refusal::OtherGenesis
            )),
            Err(refusal) => tracing::warn!(%refusal, "an entry of the team's log does not count"),
        }
    }

    /// The log is not that of the team: nothing of it counts from here on, and nothing is sealed.
    fn contradicted(&mut self, why: String) {
        tracing::error!(why, "the team's log");
        self.fault.get_or_insert(why);
    }

    /// Remembers the genesis, so that no other one counts after this log is lost.
    fn pin(&mut self, identity: &mut Identity) {
        let genesis = self.roster.genesis();
        if let Some(genesis) = genesis.filter(|genesis| identity.genesis != Some(*genesis))
            && let Err(failure) = identity.save_genesis(genesis)
        {
            tracing::warn!(%failure, "the genesis is remembered at the next start");
        }
    }

    /// What is wrong with the team's log, for people.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.fault.as_deref().or(self.stopped.as_deref())
    }

    /// Whether a key that is held is not the one of its epoch.
    // spec: identity/5.5
    fn contradicts(&self, ring: &KeyRing) -> Option<u32> {
        let differs = |key: &&TeamKey| {
            let said = self.roster.commitment_of(key.epoch);
            said.is_some_and(|said| said != commit(key))
        };
        ring.iter().find(differs).map(|key| key.epoch)
    }

    fn take_key(&mut self, entry: &VerifiedEntry, identity: &mut Identity) {
        if let Some(epoch) = self.contradicts(&identity.ring) {
            return self.contradicted(format!(
                "FORK: the mothership shows a team's log in which epoch {epoch} has another key"
            ));
        }
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

    /// When something that a full disk refused is tried again, on the monotonic clock.
    pub(crate) fn retry_deadline(&self) -> Option<u64> {
        let times = [self.retry_at_ms, self.offer_at_ms];
        times.into_iter().flatten().min()
    }

    /// Tries again what a full disk refused.
    pub(crate) fn retry(&mut self, identity: &mut Identity) {
        let now_ms = self.clock.mono_ms();
        if self.offer_at_ms.is_some_and(|at| at <= now_ms) {
            self.offer_at_ms = None;
            self.feed(replica::Input::Offer, identity);
        }
        if self.retry_at_ms.is_none_or(|at| now_ms < at) {
            return;
        }
        self.retry_at_ms = None;
        self.feed(replica::Input::Retry, identity);
        self.found(identity);
    }

    /// The first member founds the team: genesis, then the first key. An end between them goes on from there.
    fn found(&mut self, identity: &mut Identity) {
        let Some(enrolment) = identity.enrolment.clone().filter(|own| own.founder) else {
            return;
        };
        let is_done = self.roster.epoch() != 0 || self.fault.is_some();
        if is_done || !self.book.replica.is_synced() {
            return;
        }
        if let Err(failure) = self.write_founding(enrolment, identity) {
            tracing::warn!(%failure, "the team is not founded yet");
        }
    }

    fn write_founding(
        &mut self,
        enrolment: Enrolment,
        identity: &mut Identity,
    ) -> Result<(), Failure> {
        if identity.ring.is_empty() {
            identity.ring.insert(TeamKey::new(1, random())).ok();
            identity.save_ring()?;
        }
        let founder = own_card(identity, enrolment.name, enrolment.role);
        let mut readers: Vec<_> = self
            .roster
            .readers()
            .map(|card| (card.peer, card.receive_key))
            .collect();
        if self.roster.genesis().is_none() {
            readers.push((founder.peer, founder.receive_key));
            let genesis = MembershipBody::Genesis {
                team_name: enrolment.team_name,
                founder,
            };
            self.write(Kind::MEMBERSHIP, genesis.encode(), identity)?;
        }
        self.write_key(&readers, identity)
    }

    fn write_key(
        &mut self,
        to: &[(PeerId, [u8; 32])],
        identity: &mut Identity,
    ) -> Result<(), Failure> {
        let body = self.key_body(identity, Digest::ZERO, to);
        let body = body.ok_or_else(no_key)?;
        self.write(Kind::KEY, body.encode(), identity)
    }

    fn key_body(
        &self,
        identity: &Identity,
        parent: Digest,
        to: &[(PeerId, [u8; 32])],
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

    /// The Mothership shows who belongs: members that it does not show were removed while this device was away.
    pub(crate) fn shown(&mut self, peers: &BTreeMap<PeerId, PeerCard>) {
        let members = self.roster.members().map(|card| card.peer);
        let missing = members.filter(|peer| !peers.contains_key(peer));
        let reason = || "removed on the mothership".to_owned();
        self.gone = missing.map(|peer| (peer, reason())).collect();
    }

    /// The members as cards, of whom nobody knows whether they are there.
    pub(crate) fn cards(&self) -> BTreeMap<PeerId, PeerCard> {
        let card = |card: &MemberCard| PeerCard {
            peer: card.peer,
            name: card.name.clone(),
            role: card.role,
            receive: Some(ReceiveCard {
                key: card.receive_key,
                signature: card.receive_key_signature.clone(),
            }),
            state: PeerState::Offline,
            last_seen_ms: 0,
            reach: Reach::default(),
        };
        let cards = self.roster.members().map(card);
        cards.map(|card| (card.peer, card)).collect()
    }

    /// Whether this device is to sign a removal.
    pub(crate) fn awaits_removals(&self, me: PeerId) -> bool {
        let mut gone = self.gone.keys().filter(|peer| **peer != me);
        self.fault.is_none() && gone.any(|peer| self.roster.may_remove(me, *peer).is_ok())
    }

    /// The Mothership removed somebody.
    pub(crate) fn removed(&mut self, peer: PeerId, reason: &str) {
        self.gone.insert(peer, reason.to_owned());
    }

    /// Somebody wrote under the team key, so it holds the key already, by an invite that carried it.
    pub(crate) fn wrote(&mut self, peer: PeerId) {
        if !self.roster.reads(peer) {
            self.writers.insert(peer);
        }
    }

    /// What an admin's device writes by itself: who was removed, and who holds the key by an invite. A Mothership
    /// that forgot part of the log decides nothing here, for then the log is not synced.
    pub(crate) fn tend(
        &mut self,
        peers: &BTreeMap<PeerId, PeerCard>,
        accepted: impl Fn(PeerId) -> Option<Vec<LastAccepted>>,
        identity: &mut Identity,
    ) {
        let me = identity.key.peer();
        let may = self.fault.is_none() && self.roster.is_admin(me);
        if !may || !self.book.replica.is_synced() || self.retry_at_ms.is_some() {
            return;
        }
        let gone = self.gone.clone().into_iter();
        for (peer, reason) in gone.filter(|(peer, _)| *peer != me) {
            if self.roster.may_remove(me, peer).is_ok() {
                // Heads are asked for when somebody is gone: what was acknowledged before is on its way.
                let Some(last_accepted) = accepted(peer) else {
                    return;
                };
                let body = MembershipBody::Remove {
                    peer,
                    reason,
                    last_accepted,
                };
                if self
                    .write(Kind::MEMBERSHIP, body.encode(), identity)
                    .is_err()
                {
                    return;
                }
            }
        }
        // Only then are their names free.
        if !self.book.replica.is_synced() {
            return;
        }
        let is_known =
            |writer: &PeerId| peers.get(writer).is_some_and(|card| card.receive.is_some());
        let writers: Vec<PeerId> = self.writers.extract_if(.., is_known).collect();
        for card in writers.iter().filter_map(|writer| peers.get(writer)) {
            if let Err(failure) = self.approve(card, unattended(card.role), identity) {
                tracing::warn!(%failure, name = card.name, "not taken into the roster");
            }
        }
    }

    /// Hands the team key to a device that waits for it, and admits it as `role`.
    pub(crate) fn approve(
        &mut self,
        card: &PeerCard,
        role: Role,
        identity: &mut Identity,
    ) -> Result<(), Failure> {
        if let Some(fault) = &self.fault {
            return Err(at_fault(fault));
        }
        // What a member's key is, the roster knows better.
        let member = self.roster.member(card.peer).map(|member| ReceiveCard {
            key: member.receive_key,
            signature: member.receive_key_signature.clone(),
        });
        let receive = member.or_else(|| card.receive.clone());
        let receive = receive.ok_or_else(|| not_known_yet(&card.name))?;
        // spec: session/4.1
        if verify_receive_key(card.peer, &receive.key, &receive.signature).is_err() {
            let message = format!("the receive key of {} is not signed by it", card.name);
            return Err(Failure::new("BAD_SIGNATURE", Exit::INTEGRITY, message));
        }
        let me = identity.key.peer();
        // spec: identity/6.3
        if !self.roster.is_admin(me) {
            return Err(self.not_an_admin(&card.name));
        }
        if identity.ring.is_empty() || !self.roster.reads(me) {
            return Err(no_key());
        }
        let receive_key = receive.key;
        if let Some(member) = self.roster.member(card.peer) {
            if member.role != role && role == Role::Admin {
                let peer = card.peer;
                let body = MembershipBody::SetRole { peer, role };
                self.write(Kind::MEMBERSHIP, body.encode(), identity)?;
            }
        } else if !self.is_on_its_way(|entry| adds(entry, card.peer)) {
            let card = MemberCard {
                peer: card.peer,
                name: card.name.clone(),
                role,
                receive_key,
                receive_key_signature: receive.signature.clone(),
            };
            let may = self.roster.may_add(me, &card);
            may.map_err(|refusal| not_admitted(&card.name, refusal))?;
            let body = MembershipBody::Add(card);
            self.write(Kind::MEMBERSHIP, body.encode(), identity)?;
        }
        let has_key = role == Role::Relay
            || self.roster.reads(card.peer)
            || self.is_on_its_way(|entry| hands_key(entry, card.peer));
        if has_key {
            return Ok(());
        }
        let current = identity.ring.current();
        let is_current = current.is_some_and(|key| {
            self.roster.epoch() == key.epoch && self.roster.commitment() == commit(key)
        });
        // The team would refuse it, and it would be tried again for ever.
        if !is_current && self.roster.epoch() != 0 {
            return Err(no_key());
        }
        self.write_key(&[(card.peer, receive_key)], identity)
    }

    /// Whether this device has said that a peer is to read, and nobody has heard so yet.
    pub(crate) fn is_being_approved(&self, peer: PeerId) -> bool {
        self.is_on_its_way(|entry| hands_key(entry, peer))
    }

    /// Whom to ask for an approval.
    fn not_an_admin(&self, name: &str) -> Failure {
        let admins: Vec<&str> = self.roster.admins().map(|card| &*card.name).collect();
        let message = match &admins[..] {
            [] => "only an admin approves devices, and the team is not founded yet".to_owned(),
            admins => format!(
                "only an admin approves devices, and this one is none; ask {}",
                admins.join(" or ")
            ),
        };
        let why = "an admin runs this, after comparing the device words";
        Failure::new("FORBIDDEN", Exit::REFUSED, message)
            .next(format!("aura members approve {}", shell_operand(name)), why)
    }

    fn is_on_its_way(&self, is_meant: impl Fn(&Entry) -> bool) -> bool {
        self.unplaced.values().any(is_meant)
    }

    /// Puts a decision into the outbox again that a restored disk had numbered like another one; one that was carried
    /// out meanwhile does not count a second time.
    fn write_again(&mut self, entry: &Entry, identity: &mut Identity) {
        let own = replica::Own::of(entry);
        if !self.book.replica.holds(own) {
            return;
        }
        let (kind, body) = (entry.header().kind, entry.body().to_vec());
        // A full disk is tried again, and this with it.
        if self.write_for(kind, body, Some(own), identity).is_ok() {
            self.unplaced.remove(&own);
        }
    }

    /// Queues an entry; what the disk does not take was not written.
    fn write(&mut self, kind: Kind, body: Vec<u8>, identity: &mut Identity) -> Result<(), Failure> {
        self.write_for(kind, body, None, identity)
    }

    /// Like [`Team::write`], in place of an own entry that can never be placed.
    fn write_for(
        &mut self,
        kind: Kind,
        body: Vec<u8>,
        replaces: Option<replica::Own>,
        identity: &mut Identity,
    ) -> Result<(), Failure> {
        let author_seq = self.book.replica.next_number();
        let time_ms = self.clock.wall_ms();
        let before = self.book.replica.queued();
        let input = replica::Input::Author {
            kind,
            fence: 0,
            key_epoch: 0,
            body,
            time_ms,
            author_seq,
            replaces,
        };
        self.feed(input, identity);
        let is_queued = self.book.replica.next_number() != author_seq;
        if is_queued || before < self.book.replica.queued() {
            return Ok(());
        }
        let message = "the disk is full; nothing was written into the team's log";
        Err(Failure::new("NO_SPACE", Exit::BUSY, message).retryable())
    }
}

/// What a device becomes without a person who agreed: being an admin takes one.
pub(crate) fn unattended(role: Role) -> Role {
    if role == Role::Admin {
        Role::Member
    } else {
        role
    }
}

fn adds(entry: &Entry, peer: PeerId) -> bool {
    entry.header().kind == Kind::MEMBERSHIP
        && matches!(MembershipBody::decode(&entry.body()), Ok(MembershipBody::Add(card)) if card.peer == peer)
}

fn hands_key(entry: &Entry, peer: PeerId) -> bool {
    entry.header().kind == Kind::KEY
        && KeyBody::decode(&entry.body())
            .is_ok_and(|body| body.wraps.iter().any(|wrap| wrap.peer == peer))
}

/// What is refused while the team's log is not to be trusted.
pub(crate) fn at_fault(fault: &str) -> Failure {
    let message = format!("the team's log is not to be trusted: {fault}");
    Failure::new("FORK", Exit::INTEGRITY, message).next(
        "aura status",
        "then ask your team whether its mothership was set up anew",
    )
}

fn not_known_yet(name: &str) -> Failure {
    let message = format!("the mothership has not told the receive key of {name} yet");
    Failure::new("AE-NOT-KNOWN", Exit::BUSY, message).next("aura wait --for up", "then try again")
}

fn no_key() -> Failure {
    let message = "this device does not hold the newest team key itself";
    Failure::new("AE-NO-KEY", Exit::REFUSED, message).next(
        "aura wait --for synced",
        "it may be on its way; then try again",
    )
}

fn not_admitted(name: &str, refusal: Refusal) -> Failure {
    let id = match refusal {
        Refusal::NameTaken => "NAME_TAKEN",
        Refusal::RemovedForEver => "REVOKED",
        _ => "FORBIDDEN",
    };
    Failure::new(
        id,
        Exit::REFUSED,
        format!("{name} was not admitted: {refusal}"),
    )
}

fn own_card(identity: &Identity, name: String, role: Role) -> MemberCard {
    let receive_key = identity.receive.public();
    MemberCard {
        peer: identity.key.peer(),
        name,
        role,
        receive_key,
        receive_key_signature: sign_receive_key(&identity.key, &receive_key).to_vec(),
    }
}
