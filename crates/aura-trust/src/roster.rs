//! Who belongs to the team and who holds which team key: the team's log, folded in its order.
//!
//! Invariants:
//! - the same entries in the same order give the same roster, on every machine;
//! - an entry that does not hold changes nothing;
//! - the genesis is the one that the root names, where it names one;
//! - a founded team has at least one admin; a removed identity never returns; no two members share a name;
//! - a key epoch is wrapped for exactly the readers at its place in the log, and follows the epoch before.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{Digest, Kind, LogId, PeerId, TeamId, Writer, message::Role};

use crate::{
    entry::VerifiedEntry,
    keys::{has_small_order, verify_receive_key},
    membership::{KeyBody, LastAccepted, MemberCard, MembershipBody, is_name},
    wrap::WRAP_BYTES,
};

/// What an accepted entry changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A member joined.
    Added(PeerId),
    /// The team came to be.
    Founded,
    /// Members that lacked an epoch were handed its key.
    Granted {
        /// Which epoch.
        epoch: u32,
    },
    /// The entry is about something else.
    None,
    /// A member replaced its receive key.
    ReceiveKeySet(PeerId),
    /// A member was removed.
    Removed(PeerId),
    /// A member's role changed.
    RoleSet(PeerId),
    /// A new epoch began.
    Rotated {
        /// Which epoch.
        epoch: u32,
    },
}

/// Why an entry changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A second genesis.
    #[error("the team is founded already")]
    AlreadyFounded,
    /// The peer is a member.
    #[error("the peer is a member already")]
    AlreadyMember,
    /// The body is not one of its kind.
    #[error("the body cannot be read")]
    Body,
    /// The new epoch reuses the key of an earlier one.
    #[error("the key was used in an earlier epoch")]
    KeyReused,
    /// Nobody would be left to admit and remove.
    #[error("the team would be without an admin")]
    LastAdmin,
    /// The text cannot be a name.
    #[error("the name is not allowed")]
    Name,
    /// Another member has this name.
    #[error("another member has this name")]
    NameTaken,
    /// The author is not a member at this place.
    #[error("the author is not a member")]
    NotActive,
    /// Only an admin may say this.
    #[error("the author is not an admin")]
    NotAdmin,
    /// The founder's card is not that of the author.
    #[error("the author is not the founder that it names")]
    NotFounder,
    /// The genesis is not the one that is known to be the team's.
    #[error("it is not the founding that this device knows of the team")]
    OtherGenesis,
    /// Nothing holds before the genesis.
    #[error("the team is not founded yet")]
    NotFounded,
    /// The author does not hold the key that it hands on.
    #[error("the author does not hold the key")]
    NotHolder,
    /// The entry belongs to another team or log, or its body is sealed.
    #[error("the entry does not belong here")]
    Place,
    /// The receive key is not signed by the identity that it is for.
    #[error("the receive key is not signed by its owner")]
    ReceiveKey,
    /// The key is not wrapped for exactly those that it must be wrapped for.
    #[error("the key is not wrapped for the right members")]
    Recipients,
    /// The identity was removed once.
    #[error("the peer was removed from the team")]
    RemovedForEver,
    /// No member has this role.
    #[error("no member has this role")]
    Role,
    /// The epoch does not follow the current one; another was first.
    #[error("the epoch does not follow the current one")]
    StaleEpoch,
    /// The peer is not a member.
    #[error("the peer is not a member")]
    UnknownPeer,
}

/// What is known of a team's genesis before its log is read: where the trust in everything behind it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Nothing; the first one that holds counts.
    Any,
    /// This peer founds the team.
    Founder(PeerId),
    /// Its hash, out of an invite or as it was accepted before.
    Genesis(Digest),
}

/// One epoch of the team key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Epoch {
    parent: Digest,
    commitment: Digest,
    holders: BTreeSet<PeerId>,
}

/// The members and key epochs of a team, as its log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    team: TeamId,
    root: Root,
    genesis: Option<Digest>,
    team_name: String,
    members: BTreeMap<PeerId, MemberCard>,
    removed: BTreeMap<PeerId, Vec<LastAccepted>>,
    /// Every role that somebody was given, and since when by the Mothership's clock; kept after a removal.
    roles: BTreeMap<PeerId, Vec<(u64, Role)>>,
    /// Epoch `n` stands at index `n - 1`.
    epochs: Vec<Epoch>,
}

impl Roster {
    /// The roster of `team` before its first entry, when nothing is known of its genesis.
    pub fn new(team: TeamId) -> Self {
        Self::rooted(team, Root::Any)
    }

    /// The roster of `team` before its first entry.
    pub fn rooted(team: TeamId, root: Root) -> Self {
        Self {
            team,
            root,
            genesis: None,
            team_name: String::new(),
            members: BTreeMap::new(),
            removed: BTreeMap::new(),
            roles: BTreeMap::new(),
            epochs: Vec::new(),
        }
    }

    /// Applies the next entry of the team's log, at its place since `time_ms`; what is refused leaves the roster as it
    /// was.
    pub fn apply(&mut self, entry: &VerifiedEntry, time_ms: u64) -> Result<Change, Refusal> {
        let change = self.decide(entry)?;
        if let Change::Added(peer) | Change::RoleSet(peer) = change
            && let Some(card) = self.members.get(&peer)
        {
            let role = card.role;
            self.roles.entry(peer).or_default().push((time_ms, role));
        }
        Ok(change)
    }

    fn decide(&mut self, entry: &VerifiedEntry) -> Result<Change, Refusal> {
        let header = entry.header();
        if header.kind != Kind::MEMBERSHIP && header.kind != Kind::KEY {
            return Ok(Change::None);
        }
        // spec: identity/6.1
        if header.team != self.team || header.log != LogId::TEAM || header.key_epoch != 0 {
            return Err(Refusal::Place);
        }
        let author = header.writer.peer;
        if header.kind == Kind::KEY {
            let body = KeyBody::decode(&entry.body()).map_err(|_| Refusal::Body)?;
            return self.apply_key(author, &body);
        }
        match MembershipBody::decode(&entry.body()).map_err(|_| Refusal::Body)? {
            MembershipBody::Genesis { team_name, founder } => {
                self.found(author, entry.hash(), team_name, founder)
            }
            MembershipBody::Add(card) => self.add(author, card),
            MembershipBody::Remove {
                peer,
                last_accepted,
                ..
            } => self.remove(author, peer, last_accepted),
            MembershipBody::SetRole { peer, role } => self.set_role(author, peer, role),
            MembershipBody::SetReceiveKey {
                receive_key,
                receive_key_signature,
            } => self.set_receive_key(author, receive_key, receive_key_signature),
        }
    }

    fn found(
        &mut self,
        author: PeerId,
        hash: Digest,
        team_name: String,
        founder: MemberCard,
    ) -> Result<Change, Refusal> {
        if self.genesis.is_some() {
            return Err(Refusal::AlreadyFounded);
        }
        if founder.peer != author {
            return Err(Refusal::NotFounder);
        }
        if founder.role != Role::Admin {
            return Err(Refusal::Role);
        }
        if !is_name(&team_name) {
            return Err(Refusal::Name);
        }
        self.check_card(&founder)?;
        // spec: identity/6.9
        let is_known = match self.root {
            Root::Any => true,
            Root::Founder(peer) => peer == author,
            Root::Genesis(known) => known == hash,
        };
        if !is_known {
            return Err(Refusal::OtherGenesis);
        }
        self.genesis = Some(hash);
        self.team_name = team_name;
        self.members.insert(author, founder);
        Ok(Change::Founded)
    }

    fn add(&mut self, author: PeerId, card: MemberCard) -> Result<Change, Refusal> {
        self.may_add(author, &card)?;
        let peer = card.peer;
        self.members.insert(peer, card);
        Ok(Change::Added(peer))
    }

    fn remove(
        &mut self,
        author: PeerId,
        peer: PeerId,
        last_accepted: Vec<LastAccepted>,
    ) -> Result<Change, Refusal> {
        self.may_remove(author, peer)?;
        self.members.remove(&peer);
        self.removed.insert(peer, last_accepted);
        Ok(Change::Removed(peer))
    }

    fn set_role(&mut self, author: PeerId, peer: PeerId, role: Role) -> Result<Change, Refusal> {
        self.require_admin(author)?;
        check_role(role)?;
        if role != Role::Admin {
            self.require_other_admin(peer)?;
        }
        let card = self.members.get_mut(&peer).ok_or(Refusal::UnknownPeer)?;
        card.role = role;
        Ok(Change::RoleSet(peer))
    }

    fn set_receive_key(
        &mut self,
        author: PeerId,
        receive_key: [u8; 32],
        receive_key_signature: Vec<u8>,
    ) -> Result<Change, Refusal> {
        self.require_active(author)?;
        verify_receive_key(author, &receive_key, &receive_key_signature)
            .map_err(|_| Refusal::ReceiveKey)?;
        let card = self.members.get_mut(&author).ok_or(Refusal::NotActive)?;
        card.receive_key = receive_key;
        card.receive_key_signature = receive_key_signature;
        Ok(Change::ReceiveKeySet(author))
    }

    fn apply_key(&mut self, author: PeerId, body: &KeyBody) -> Result<Change, Refusal> {
        self.require_active(author)?;
        let recipients = recipients(body)?;
        let index = body.epoch.checked_sub(1).ok_or(Refusal::StaleEpoch)? as usize;
        if index == self.epochs.len() {
            self.rotate(author, body, recipients)
        } else {
            self.grant(author, body, index, recipients)
        }
    }

    /// Begins the next epoch. Of several that follow the same one, the first in the log wins; and when members
    /// came or went meanwhile, the recipients are not the readers any more and the author tries again.
    fn rotate(
        &mut self,
        author: PeerId,
        body: &KeyBody,
        recipients: BTreeSet<PeerId>,
    ) -> Result<Change, Refusal> {
        let is_first = self.epochs.is_empty();
        // Nobody can see whether what is wrapped for another opens: a member could lock others out.
        if !(self.is_admin(author) || is_first && self.is_reader(author)) {
            return Err(Refusal::NotAdmin);
        }
        if body.parent != self.commitment() {
            return Err(Refusal::StaleEpoch);
        }
        if self
            .epochs
            .iter()
            .any(|epoch| epoch.commitment == body.commitment)
            || body.commitment == Digest::ZERO
        {
            return Err(Refusal::KeyReused);
        }
        if !recipients.iter().eq(self.readers().map(|card| &card.peer)) {
            return Err(Refusal::Recipients);
        }
        self.epochs.push(Epoch {
            parent: body.parent,
            commitment: body.commitment,
            holders: recipients,
        });
        Ok(Change::Rotated { epoch: body.epoch })
    }

    /// Hands the key of an epoch to readers that lack it; of an earlier epoch, or once more, only an admin may.
    fn grant(
        &mut self,
        author: PeerId,
        body: &KeyBody,
        index: usize,
        recipients: BTreeSet<PeerId>,
    ) -> Result<Change, Refusal> {
        let is_earlier = index + 1 != self.epochs.len();
        if is_earlier && !self.is_admin(author) {
            return Err(Refusal::NotAdmin);
        }
        let epoch = self.epochs.get(index).ok_or(Refusal::StaleEpoch)?;
        if (epoch.parent, epoch.commitment) != (body.parent, body.commitment) {
            return Err(Refusal::StaleEpoch);
        }
        if !epoch.holders.contains(&author) {
            return Err(Refusal::NotHolder);
        }
        // An admin may hand it over again to whom it did not open.
        let again = self.is_admin(author);
        let lacks =
            |peer: &PeerId| self.is_reader(*peer) && (again || !epoch.holders.contains(peer));
        if recipients.is_empty() || !recipients.iter().all(lacks) {
            return Err(Refusal::Recipients);
        }
        self.epochs[index].holders.extend(recipients);
        Ok(Change::Granted { epoch: body.epoch })
    }

    fn require_active(&self, author: PeerId) -> Result<(), Refusal> {
        if self.genesis.is_none() {
            return Err(Refusal::NotFounded);
        }
        if self.is_active(author) {
            Ok(())
        } else {
            Err(Refusal::NotActive)
        }
    }

    fn require_admin(&self, author: PeerId) -> Result<(), Refusal> {
        self.require_active(author)?;
        if self.is_admin(author) {
            Ok(())
        } else {
            Err(Refusal::NotAdmin)
        }
    }

    // spec: identity/6.3
    fn require_other_admin(&self, peer: PeerId) -> Result<(), Refusal> {
        let is_last = self.is_admin(peer) && self.admins().count() == 1;
        if is_last {
            Err(Refusal::LastAdmin)
        } else {
            Ok(())
        }
    }

    fn check_card(&self, card: &MemberCard) -> Result<(), Refusal> {
        if self.removed.contains_key(&card.peer) {
            return Err(Refusal::RemovedForEver);
        }
        if self.is_active(card.peer) {
            return Err(Refusal::AlreadyMember);
        }
        check_role(card.role)?;
        if !is_name(&card.name) {
            return Err(Refusal::Name);
        }
        let name = card.name.to_lowercase();
        if self
            .members
            .values()
            .any(|member| member.name.to_lowercase() == name)
        {
            return Err(Refusal::NameTaken);
        }
        if has_small_order(&card.peer.0) {
            return Err(Refusal::ReceiveKey);
        }
        verify_receive_key(card.peer, &card.receive_key, &card.receive_key_signature)
            .map_err(|_| Refusal::ReceiveKey)
    }

    /// Whether `author` could admit this peer now.
    pub fn may_add(&self, author: PeerId, card: &MemberCard) -> Result<(), Refusal> {
        self.require_admin(author)?;
        self.check_card(card)
    }

    /// Whether `author` could remove this peer now.
    pub fn may_remove(&self, author: PeerId, peer: PeerId) -> Result<(), Refusal> {
        self.require_admin(author)?;
        self.require_other_admin(peer)?;
        if self.is_active(peer) {
            Ok(())
        } else {
            Err(Refusal::UnknownPeer)
        }
    }

    /// The team.
    pub fn team(&self) -> TeamId {
        self.team
    }

    /// The team's display name; empty before the genesis.
    pub fn team_name(&self) -> &str {
        &self.team_name
    }

    /// Hash of the genesis entry, to pin.
    pub fn genesis(&self) -> Option<Digest> {
        self.genesis
    }

    /// The card of an active member.
    pub fn member(&self, peer: PeerId) -> Option<&MemberCard> {
        self.members.get(&peer)
    }

    /// The active members, in order of identity key.
    pub fn members(&self) -> impl Iterator<Item = &MemberCard> {
        self.members.values()
    }

    /// The admins among them.
    pub fn admins(&self) -> impl Iterator<Item = &MemberCard> {
        self.members().filter(|card| card.role == Role::Admin)
    }

    /// The members that must hold the team key: all but relays.
    pub fn readers(&self) -> impl Iterator<Item = &MemberCard> {
        self.members().filter(|card| reads(card.role))
    }

    /// Whether the peer is a member now.
    pub fn is_active(&self, peer: PeerId) -> bool {
        self.members.contains_key(&peer)
    }

    /// Everybody who was removed, for ever.
    pub fn removed(&self) -> impl Iterator<Item = PeerId> {
        self.removed.keys().copied()
    }

    /// Whether the peer was removed, which is for ever.
    pub fn is_removed(&self, peer: PeerId) -> bool {
        self.removed.contains_key(&peer)
    }

    /// Whether the peer is an admin now.
    pub fn is_admin(&self, peer: PeerId) -> bool {
        self.member(peer)
            .is_some_and(|card| card.role == Role::Admin)
    }

    /// Whether the peer must hold the team key now.
    pub fn is_reader(&self, peer: PeerId) -> bool {
        self.member(peer).is_some_and(|card| reads(card.role))
    }

    /// Whether a patch of this writer, at its place since `time_ms`, counts. Whoever was not admitted yet may hold the
    /// key by an invite; who was observer or relay at that time only read; and a removed member counts up to where it
    /// was accepted, in logs that its removal names.
    // spec: identity/6.7
    pub fn counts(&self, log: LogId, writer: Writer, author_seq: u64, time_ms: u64) -> bool {
        if !self.wrote_at(writer.peer, time_ms) {
            return false;
        }
        let Some(accepted) = self.removed.get(&writer.peer) else {
            return true;
        };
        let mut named = accepted.iter().filter(|last| last.log == log).peekable();
        named.peek().is_none()
            || named
                .any(|last| last.incarnation == writer.incarnation && author_seq <= last.author_seq)
    }

    /// Whether an entry that has no place counts as far as is known: its author belongs to the team now and may write, or
    /// its removal names this entry.
    // spec: peers/4.5
    pub fn counts_unplaced(&self, log: LogId, writer: Writer, author_seq: u64) -> bool {
        let names = |last: &LastAccepted| {
            last.log == log
                && last.incarnation == writer.incarnation
                && author_seq <= last.author_seq
        };
        match self.removed.get(&writer.peer) {
            Some(accepted) => accepted.iter().any(names),
            None => self.is_active(writer.peer) && self.wrote_at(writer.peer, u64::MAX),
        }
    }

    /// Whether a role of the peer allowed it to write at some instant of this millisecond.
    // spec: identity/6.10
    fn wrote_at(&self, peer: PeerId, time_ms: u64) -> bool {
        let roles = self.roles.get(&peer).map_or(&[][..], |roles| roles);
        let mut earlier = roles.iter().rev().filter(|(since, _)| *since < time_ms);
        earlier.next().is_none_or(|(_, role)| writes(*role))
            || roles
                .iter()
                .any(|(since, role)| *since == time_ms && writes(*role))
    }

    /// The current key epoch; 0 before the first.
    pub fn epoch(&self) -> u32 {
        u32::try_from(self.epochs.len()).expect("an epoch is numbered by a u32 before it is added")
    }

    /// The commitment of the current epoch; zero before the first.
    pub fn commitment(&self) -> Digest {
        self.epochs
            .last()
            .map_or(Digest::ZERO, |epoch| epoch.commitment)
    }

    /// The commitment of one epoch.
    pub fn commitment_of(&self, epoch: u32) -> Option<Digest> {
        self.epoch_at(epoch).map(|epoch| epoch.commitment)
    }

    /// Whether the log says that the peer was handed the key of `epoch`.
    pub fn holds(&self, peer: PeerId, epoch: u32) -> bool {
        self.epoch_at(epoch)
            .is_some_and(|epoch| epoch.holders.contains(&peer))
    }

    /// Whether the log says that the peer was handed the current key.
    pub fn reads(&self, peer: PeerId) -> bool {
        self.holds(peer, self.epoch())
    }

    /// The readers that the current epoch was not wrapped for.
    pub fn lacking(&self) -> impl Iterator<Item = &MemberCard> {
        self.readers().filter(|card| !self.reads(card.peer))
    }

    /// Whether nothing may be sealed before somebody begins a new epoch: there is none, or somebody holds the
    /// current key who may not read any more.
    pub fn must_rotate(&self) -> bool {
        self.epochs
            .last()
            .is_none_or(|epoch| epoch.holders.iter().any(|holder| !self.is_reader(*holder)))
    }

    fn epoch_at(&self, epoch: u32) -> Option<&Epoch> {
        self.epochs.get(epoch.checked_sub(1)? as usize)
    }
}

fn check_role(role: Role) -> Result<(), Refusal> {
    // The Mothership is known by its certificate and its checkpoint key, not by membership.
    if role == Role::Mothership {
        Err(Refusal::Role)
    } else {
        Ok(())
    }
}

fn reads(role: Role) -> bool {
    match role {
        Role::Admin | Role::Member | Role::Agent | Role::Observer => true,
        Role::Relay | Role::Mothership => false,
    }
}

fn writes(role: Role) -> bool {
    match role {
        Role::Admin | Role::Member | Role::Agent => true,
        Role::Observer | Role::Relay | Role::Mothership => false,
    }
}

fn recipients(body: &KeyBody) -> Result<BTreeSet<PeerId>, Refusal> {
    let is_ordered = body.wraps.is_sorted_by(|a, b| a.peer < b.peer);
    let is_wrapped = body
        .wraps
        .iter()
        .all(|wrap| wrap.wrapped.len() == WRAP_BYTES);
    if !is_ordered || !is_wrapped {
        return Err(Refusal::Recipients);
    }
    Ok(body.wraps.iter().map(|wrap| wrap.peer).collect())
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
