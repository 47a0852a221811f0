//! How a stranger becomes a member: token, proof, certificate, in this order.
//!
//! Invariants:
//! - the use of a token is a durable record before the certificate leaves;
//! - a failed proof uses nothing up;
//! - the same token with the same key gets the same certificate again, with another key nothing.

use std::collections::BTreeMap;

use aura_proto::ids::base32;
use aura_proto::{
    Code, PeerId, TeamId,
    limits::{RENEWAL_GRACE_S, TOKEN_TTL_S_MAX},
    message::{
        DEVICE_NAME_RULE, JoinGrant, JoinRequest, Message, RenewGrant, RenewRequest, Role,
        is_device_name,
    },
};
use aura_trust::{
    JoinClaims, JoinPolicy, JoinTranscript, RenewTranscript, check_join_jwt, verify_join,
    verify_renew,
};

use super::{
    Hub, LinkId, Member, Output, Pending, Then,
    record::{Admitted, Fact},
    roll::{Use, is_same_name},
};
use crate::Now;

/// A certificate younger than this part of its life is handed out again instead of a new one.
const FRESH_PART: u64 = 20;

/// What a certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueSubject {
    /// The team.
    pub team: TeamId,
    /// What the peer may do.
    pub role: Role,
    /// Identity key.
    pub peer: PeerId,
    /// Name, information only.
    pub name: String,
    /// Seconds that it lives.
    pub ttl_s: u64,
}

/// A certificate from the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// DER.
    pub certificate: Vec<u8>,
    /// Seconds since 1970 when it ends.
    pub not_after_s: u64,
}

/// A request that waits for its certificate.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a handful at a time, each a moment"
)]
enum Request {
    Join {
        link: LinkId,
        request: JoinRequest,
        claims: JoinClaims,
    },
    Renew {
        link: LinkId,
        peer: PeerId,
    },
}

/// Requests between the check of their token and the durable record.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    ticket_last: u64,
    requests: BTreeMap<u64, Request>,
    /// Keys being admitted right now, by token.
    reserved: BTreeMap<String, Vec<PeerId>>,
    /// Names being given right now.
    names: BTreeMap<String, PeerId>,
}

impl Admissions {
    fn ticket(&mut self, request: Request) -> u64 {
        self.ticket_last += 1;
        self.requests.insert(self.ticket_last, request);
        self.ticket_last
    }

    fn reserved(&self, jti: &str) -> &[PeerId] {
        self.reserved.get(jti).map_or(&[], Vec::as_slice)
    }

    /// Ends the reservation of a newcomer whose record is durable, or failed.
    pub(super) fn release(&mut self, fact: &Fact) {
        if let Fact::Joined { member, jti, .. } = fact {
            self.unreserve(jti, member.peer);
        }
    }

    fn unreserve(&mut self, jti: &str, peer: PeerId) {
        if let Some(peers) = self.reserved.get_mut(jti) {
            peers.retain(|reserved| *reserved != peer);
            if peers.is_empty() {
                self.reserved.remove(jti);
            }
        }
        self.names.retain(|_, reserved| *reserved != peer);
    }
}

impl Hub {
    // spec: identity/3.1
    pub(super) fn join(&mut self, now: Now, link: LinkId, request: JoinRequest) {
        if self.is_clock_behind(now) {
            return self.close(
                link,
                Code::CLOCK_BEHIND,
                "the mothership's clock is behind its log",
            );
        }
        match self.admit(now, link, &request) {
            Err((code, detail)) => {
                self.notice(
                    "refused",
                    request.name.clone(),
                    &format!("{code}: {detail}"),
                );
                self.close(link, code, &detail);
            }
            Ok(Admission::Again(grant)) => self.send(link, 0, Message::JoinGrant(grant)),
            Ok(Admission::Fresh(claims, subject)) => {
                self.admissions
                    .reserved
                    .entry(text_of(&claims))
                    .or_default()
                    .push(request.peer);
                self.admissions
                    .names
                    .insert(subject.name.clone(), request.peer);
                let csr = request.csr.clone();
                let ticket = self.admissions.ticket(Request::Join {
                    link,
                    request,
                    claims,
                });
                self.outputs.push_back(Output::Issue {
                    ticket,
                    csr,
                    subject,
                });
            }
        }
    }

    fn admit(
        &self,
        now: Now,
        link: LinkId,
        request: &JoinRequest,
    ) -> Result<Admission, (Code, String)> {
        let issuer = |id: &str| self.issuer(id);
        let policy = JoinPolicy {
            now_s: now.wall_ms / 1_000,
            audience: self.config.key.peer(),
            team: self.config.team,
            issuers: &issuer,
            ttl_s_max: TOKEN_TTL_S_MAX,
        };
        let claims = check_join_jwt(&request.jwt, &policy)
            .map_err(|code| (code, "the token was not accepted".to_owned()))?
            .claims;
        let exporter = self
            .links
            .get(&link)
            .map(|state| state.exporter)
            .unwrap_or_default();
        let transcript = JoinTranscript {
            jti: &claims.jti,
            peer: request.peer,
            receive_key: &request.receive_key,
            csr: &request.csr,
            exporter: &exporter,
        };
        let (seed, identity) = (&request.seed_proof, &request.identity_proof);
        // spec: identity/3.3
        verify_join(claims.seed_key, &transcript, seed, identity)
            .map_err(|code| (code, "the proof of possession failed".to_owned()))?;
        let jti = text_of(&claims);
        let reserved = self.admissions.reserved(&jti);
        if reserved.contains(&request.peer) {
            return Err((
                Code::BUSY,
                "this device is being admitted right now".to_owned(),
            ));
        }
        let usage = self
            .roll
            .check_use(&jti, claims.uses, request.peer, reserved)
            .map_err(|code| (code, "the token is spent".to_owned()))?;
        match usage {
            Use::Again(member) => Ok(Admission::Again(self.grant_of(member))),
            Use::Fresh => {
                let name = self.name_for(&claims, request)?;
                let subject = IssueSubject {
                    team: self.config.team,
                    role: claims.role,
                    peer: request.peer,
                    name,
                    ttl_s: self.config.leaf_ttl_s,
                };
                Ok(Admission::Fresh(claims, subject))
            }
        }
    }

    /// The name that the newcomer gets: the one it wants, unless somebody has it.
    // spec: identity/3.6
    fn name_for(
        &self,
        claims: &JoinClaims,
        request: &JoinRequest,
    ) -> Result<String, (Code, String)> {
        let wanted = match &claims.subject {
            Some(subject) if request.name.is_empty() => subject,
            Some(_) | None => &request.name,
        };
        if !is_device_name(wanted) {
            return Err((Code::DECODE, DEVICE_NAME_RULE.to_owned()));
        }
        let reserved = self
            .admissions
            .names
            .iter()
            .any(|(name, peer)| is_same_name(name, wanted) && *peer != request.peer);
        if reserved || self.roll.is_name_taken(wanted, request.peer) {
            return Err((
                Code::NAME_TAKEN,
                format!("there is already a device named {wanted}"),
            ));
        }
        Ok(wanted.clone())
    }

    /// Who may sign invites: the Mothership itself and every admin that was not removed.
    fn issuer(&self, id: &str) -> Option<PeerId> {
        let peer: PeerId = id.parse().ok()?;
        let is_admin =
            |member: &Member| member.revoked.is_none() && member.admitted.role == Role::Admin;
        let may = peer == self.config.key.peer() || self.roll.member(peer).is_some_and(is_admin);
        may.then_some(peer)
    }

    // spec: identity/4.1
    pub(super) fn renew(&mut self, now: Now, link: LinkId, request: RenewRequest) {
        match self.may_renew(now, link, &request) {
            // Whoever is a member stays connected: the certificate in use may still be good for days.
            Err((code, detail)) if self.is_ready(link) => self.refuse(link, 0, code, detail),
            Err((code, detail)) => self.close(link, code, detail),
            Ok(_) if self.is_fresh(now, request.peer) => self.grant_current(link, request.peer),
            Ok(subject) => {
                let ticket = self.admissions.ticket(Request::Renew {
                    link,
                    peer: request.peer,
                });
                self.outputs.push_back(Output::Issue {
                    ticket,
                    csr: request.csr,
                    subject,
                });
            }
        }
    }

    /// Whether a certificate was issued so short a time ago that nobody needs another.
    fn is_fresh(&self, now: Now, peer: PeerId) -> bool {
        let ttl_s = self.config.leaf_ttl_s;
        self.roll.member(peer).is_some_and(|member| {
            let left_s = member
                .admitted
                .not_after_s
                .saturating_sub(now.wall_ms / 1_000);
            ttl_s - ttl_s / FRESH_PART < left_s && left_s <= ttl_s
        })
    }

    fn grant_current(&mut self, link: LinkId, peer: PeerId) {
        let Some(member) = self.roll.member(peer) else {
            return;
        };
        let grant = RenewGrant {
            certificate: member.admitted.certificate.clone(),
            ca: self.config.ca.clone(),
        };
        self.send(link, 0, Message::RenewGrant(grant));
    }

    fn may_renew(
        &self,
        now: Now,
        link: LinkId,
        request: &RenewRequest,
    ) -> Result<IssueSubject, (Code, &'static str)> {
        if self.is_clock_behind(now) {
            return Err((
                Code::CLOCK_BEHIND,
                "the mothership's clock is behind its log",
            ));
        }
        if self.is_overloaded() {
            return Err((Code::BUSY, "too much waits for the mothership's disk"));
        }
        let state = self.links.get(&link);
        let exporter = state.map(|state| state.exporter).unwrap_or_default();
        let transcript = RenewTranscript {
            peer: request.peer,
            csr: &request.csr,
            exporter: &exporter,
        };
        if verify_renew(&transcript, &request.identity_proof).is_err() {
            return Err((Code::POP_FAILED, "the proof of possession failed"));
        }
        let Some(member) = self.roll.member(request.peer) else {
            return Err((Code::UNKNOWN_PEER, "not a member of this team"));
        };
        if member.revoked.is_some() {
            return Err((Code::REVOKED, "this device was removed"));
        }
        if member.admitted.not_after_s + RENEWAL_GRACE_S < now.wall_ms / 1_000 {
            return Err((
                Code::REVOKED,
                "the certificate ended too long ago; ask for an invite",
            ));
        }
        Ok(IssueSubject {
            team: self.config.team,
            role: member.admitted.role,
            peer: request.peer,
            name: member.admitted.name.clone(),
            ttl_s: self.config.leaf_ttl_s,
        })
    }

    pub(super) fn issued(&mut self, now: Now, ticket: u64, issued: Option<Issued>) {
        let Some(request) = self.admissions.requests.remove(&ticket) else {
            return;
        };
        let at_ms = self.clock(now);
        match (request, issued) {
            (
                Request::Join {
                    link,
                    request,
                    claims,
                },
                Some(issued),
            ) => {
                let fact = self.joined_fact(request, claims, issued, at_ms);
                self.queue.push_back(Pending::Fact {
                    fact,
                    then: Then::GrantJoin(link),
                });
            }
            (
                Request::Renew { link, peer },
                Some(Issued {
                    certificate,
                    not_after_s,
                }),
            ) => {
                let fact = Fact::Renewed {
                    peer,
                    certificate,
                    not_after_s,
                    at_ms,
                };
                self.queue.push_back(Pending::Fact {
                    fact,
                    then: Then::GrantRenewal(link),
                });
            }
            (
                Request::Join {
                    link,
                    request,
                    claims,
                },
                None,
            ) => {
                self.admissions.unreserve(&text_of(&claims), request.peer);
                self.close(link, Code::DECODE, "the certificate request is unusable");
            }
            (Request::Renew { link, .. }, None) => {
                self.close(link, Code::DECODE, "the certificate request is unusable");
            }
        }
    }

    fn joined_fact(
        &self,
        request: JoinRequest,
        claims: JoinClaims,
        issued: Issued,
        at_ms: u64,
    ) -> Fact {
        let name = self
            .admissions
            .names
            .iter()
            .find(|(_, peer)| **peer == request.peer)
            .map_or_else(|| request.name.clone(), |(name, _)| name.clone());
        let member = Admitted {
            peer: request.peer,
            name,
            role: claims.role,
            receive_key: request.receive_key,
            receive_key_signature: request.receive_key_signature,
            certificate: issued.certificate,
            not_after_s: issued.not_after_s,
            founder: self.roll.is_empty() && claims.role == Role::Admin && !self.is_founding(),
        };
        Fact::Joined {
            member,
            jti: text_of(&claims),
            uses: claims.uses,
            at_ms,
        }
    }

    /// Whether another first member is already on its way to the disk.
    fn is_founding(&self) -> bool {
        let is_founder =
            |fact: &Fact| matches!(fact, Fact::Joined { member, .. } if member.founder);
        let queued = self.queue.iter().any(|pending| match pending {
            Pending::Fact { fact, .. } => is_founder(fact),
            Pending::End { .. } | Pending::Push(_) => false,
        });
        let flying = self.flight.iter().flat_map(|flight| &flight.staged).any(|staged| {
            matches!(&staged.record, super::record::Record::Fact(fact) if is_founder(fact))
        });
        queued || flying
    }

    pub(super) fn grant_join(&mut self, link: LinkId, fact: &Fact) {
        let Fact::Joined { member, .. } = fact else {
            return;
        };
        if let Some(member) = self.roll.member(member.peer) {
            let grant = self.grant_of(member);
            self.send(link, 0, Message::JoinGrant(grant));
        }
    }

    pub(super) fn grant_renewal(&mut self, link: LinkId, fact: &Fact) {
        let Fact::Renewed { certificate, .. } = fact else {
            return;
        };
        let grant = RenewGrant {
            certificate: certificate.clone(),
            ca: self.config.ca.clone(),
        };
        self.send(link, 0, Message::RenewGrant(grant));
    }

    fn grant_of(&self, member: &Member) -> JoinGrant {
        JoinGrant {
            certificate: member.admitted.certificate.clone(),
            ca: self.config.ca.clone(),
            team: self.config.team,
            team_name: self.roll.team_name().unwrap_or_default().to_owned(),
            role: member.admitted.role,
            name: member.admitted.name.clone(),
            founder: member.admitted.founder,
            checkpoint_key: self.config.key.peer(),
        }
    }
}

/// The text form of a token id, as in records and on the command line.
fn text_of(claims: &JoinClaims) -> String {
    base32().encode(&claims.jti)
}

/// What a good request leads to.
enum Admission {
    Again(JoinGrant),
    Fresh(JoinClaims, IssueSubject),
}
