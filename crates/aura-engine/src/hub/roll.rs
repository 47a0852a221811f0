//! Who belongs to the team as the Mothership sees it, and which tokens are spent.
//!
//! Invariants:
//! - one identity key joins once; a removed key stays removed for ever;
//! - a token admits at most as many keys as it says, whatever happens in between; spent stays spent;
//! - names are unique among peers that were not removed.

use std::collections::BTreeMap;

use aura_proto::{
    Code, PeerId, Reach, SignedReach,
    message::{PeerCard, PeerState, ReceiveCard, Role},
};

use super::record::{Admitted, Fact};

/// A member of the team.
#[derive(Debug, Clone)]
pub struct Member {
    /// As admitted; the certificate is the newest.
    pub admitted: Admitted,
    /// The token that it came with.
    pub jti: String,
    /// Why it was removed, if it was.
    pub revoked: Option<String>,
    /// When it was last heard of, milliseconds since 1970.
    pub last_seen_ms: u64,
    /// Where it said last that it is.
    pub reach: Option<SignedReach>,
    /// Whether it is there.
    pub state: PeerState,
}

impl Member {
    /// Everything that is told of it.
    pub fn card(&self) -> PeerCard {
        let receive = ReceiveCard {
            key: self.admitted.receive_key,
            signature: self.admitted.receive_key_signature.clone(),
        };
        PeerCard {
            receive: Some(receive),
            ..self.row()
        }
    }

    /// Its row in the whole list.
    // spec: session/2.7
    pub fn row(&self) -> PeerCard {
        PeerCard {
            peer: self.admitted.peer,
            name: self.admitted.name.clone(),
            role: self.admitted.role,
            receive: None,
            state: self.state,
            last_seen_ms: self.last_seen_ms,
            reach: self
                .reach
                .as_ref()
                .map_or_else(Reach::default, |said| said.reach.clone()),
        }
    }
}

/// A token that the Mothership signed itself.
#[derive(Debug, Clone)]
pub struct MadeToken {
    /// For whom.
    pub name: Option<String>,
    /// Role of the newcomer.
    pub role: Role,
    /// How often it can be used.
    pub uses: u32,
    /// Seconds since 1970 when it ends.
    pub expires_s: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

/// Peers and tokens.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    team_name: Option<String>,
    members: BTreeMap<PeerId, Member>,
    spent: BTreeMap<String, Vec<PeerId>>,
    made: BTreeMap<String, MadeToken>,
    ended: BTreeMap<String, u64>,
    revocations: u64,
}

impl Roll {
    /// The team's display name, once founded.
    pub fn team_name(&self) -> Option<&str> {
        self.team_name.as_deref()
    }

    /// How many peers were removed so far; grows with each.
    pub fn revocations(&self) -> u64 {
        self.revocations
    }

    /// One member, removed or not.
    pub fn member(&self, peer: PeerId) -> Option<&Member> {
        self.members.get(&peer)
    }

    /// One member for changes of what is not durable.
    pub fn member_mut(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.members.get_mut(&peer)
    }

    /// Everybody, by identity.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Everybody who was not removed.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.revoked.is_none())
    }

    /// Tokens made by the Mothership, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, &MadeToken)> {
        self.made.iter().map(|(jti, token)| (jti.as_str(), token))
    }

    /// Who used a token.
    pub fn users_of(&self, jti: &str) -> &[PeerId] {
        self.spent.get(jti).map_or(&[], Vec::as_slice)
    }

    /// Whether a token was ended before its time.
    pub fn is_ended(&self, jti: &str) -> bool {
        self.ended.contains_key(jti)
    }

    /// Whether nobody ever joined.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The active members whose name or identity text starts with `text`; a full name wins alone.
    pub fn find(&self, text: &str) -> Vec<&Member> {
        if let Some(exact) = self.active().find(|member| member.admitted.name == text) {
            return vec![exact];
        }
        let matches = |member: &&Member| {
            member.admitted.name.starts_with(text)
                || member.admitted.peer.to_string().starts_with(text)
        };
        if text.is_empty() {
            Vec::new()
        } else {
            self.active().filter(matches).collect()
        }
    }

    /// What using token `jti` by `peer` would mean; `reserved` are keys that are being admitted right now.
    ///
    /// Errors: TOKEN_REPLAYED, TOKEN_REVOKED, REVOKED.
    // spec: identity/3.4
    pub fn check_use(
        &self,
        jti: &str,
        uses: u32,
        peer: PeerId,
        reserved: &[PeerId],
    ) -> Result<Use<'_>, Code> {
        let users = self.users_of(jti);
        let member = self.members.get(&peer);
        match member {
            Some(member) if member.revoked.is_some() && users.contains(&peer) => {
                return Err(Code::TOKEN_REPLAYED);
            }
            Some(member) if member.revoked.is_some() => return Err(Code::REVOKED),
            Some(member) if users.contains(&peer) => return Ok(Use::Again(member)),
            Some(_) | None => {}
        }
        if self.is_ended(jti) {
            return Err(Code::TOKEN_REVOKED);
        }
        if uses as usize <= users.len() + reserved.len() {
            return Err(Code::TOKEN_REPLAYED);
        }
        if member.is_some() {
            Err(Code::NAME_TAKEN)
        } else {
            Ok(Use::Fresh)
        }
    }

    /// Whether an active member, or one being admitted, other than `peer` has the name.
    pub fn is_name_taken(&self, name: &str, peer: PeerId) -> bool {
        self.active()
            .any(|member| member.admitted.peer != peer && is_same_name(&member.admitted.name, name))
    }

    /// Applies a durable fact; live and at replay.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Founded { team_name, .. } => self.team_name = Some(team_name.clone()),
            Fact::Joined {
                member, jti, at_ms, ..
            } => {
                self.spent.entry(jti.clone()).or_default().push(member.peer);
                let joined = Member {
                    admitted: member.clone(),
                    jti: jti.clone(),
                    revoked: None,
                    last_seen_ms: *at_ms,
                    reach: None,
                    state: PeerState::Offline,
                };
                self.members.insert(member.peer, joined);
            }
            Fact::Renewed {
                peer,
                certificate,
                not_after_s,
                ..
            } => {
                if let Some(member) = self.members.get_mut(peer) {
                    member.admitted.certificate.clone_from(certificate);
                    member.admitted.not_after_s = *not_after_s;
                }
            }
            Fact::Revoked { peer, reason, .. } => {
                self.revocations += 1;
                if let Some(member) = self.members.get_mut(peer) {
                    member.revoked = Some(reason.clone());
                }
            }
            Fact::TokenMade {
                jti,
                name,
                role,
                uses,
                expires_s,
                at_ms,
            } => {
                let made = MadeToken {
                    name: name.clone(),
                    role: *role,
                    uses: *uses,
                    expires_s: *expires_s,
                    at_ms: *at_ms,
                };
                self.made.insert(jti.clone(), made);
            }
            Fact::TokenRevoked { jti, at_ms } => {
                self.ended.insert(jti.clone(), *at_ms);
            }
        }
    }
}

/// Whether people could take one name for the other, as the roster of every device sees it.
pub(super) fn is_same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// What a use of a token means.
#[derive(Debug)]
pub enum Use<'a> {
    /// The same key with the same token: it gets the same certificate again.
    Again(&'a Member),
    /// A newcomer.
    Fresh,
}
