//! One link from its beginning to its end: who is there, whether it still is, and which of two links stays.
//!
//! Invariants:
//! - nothing but HELLO, AUTH and WELCOME counts before a link is ready, and none of these afterwards;
//! - of two ready links both ends prefer the same one: the later one where the earlier has stood for long, since who
//!   dials has lost it; otherwise the direct one, then that which the smaller id dialled, then the later one;
//! - the end that dialled the preferred link closes the other one. The other end keeps it as a spare, so that there
//!   is a link whatever becomes of either;
//! - a link ends with the certificate that it began with: whoever may renew it comes back with the next;
//! - `Up` of the next link is told before `Down` of the last one.

use std::{collections::BTreeMap, net::SocketAddr};

use aura_proto::{
    Code, Digest, LogId, PeerId,
    limits::{AUTH_MS_MAX, HEARTBEATS_MISSED_MAX, LOGS_PER_LINK_MAX},
    message::{Auth, Heartbeat, Hello, Message, VERSION_MAX, VERSION_MIN, Welcome, feature},
};
use aura_trust::{auth_proof, proof::Side, verify_auth};

use super::{
    Links,
    gossip::ROUND_MS,
    io::{Arrived, LinkId, Output, Way},
    table::{Link, Stage},
};
use crate::Now;

/// A link that was ready this long before another one began has been lost by whoever dialled that, in milliseconds.
/// The ends see the two moments a round trip apart; should they differ for once, both links end and are dialled again.
pub const SETTLED_MS: u64 = 15_000;
/// How long a second ready link waits for the other end to close it, in milliseconds.
pub const SPARE_MS: u64 = 20_000;
/// Links of one peer that may be without proof at one time.
pub const PENDING_MAX: usize = 4;

impl Links {
    fn open(
        &mut self,
        now: Now,
        id: LinkId,
        link: (PeerId, Way, [u8; 32], u64),
        is_dialled_here: bool,
    ) {
        let (peer, way, exporter, until_ms) = link;
        self.links_begun += 1;
        let link = Link {
            peer,
            is_dialled_here,
            way,
            exporter,
            stage: Stage::Greeting,
            features: 0,
            number: self.links_begun,
            opened_ms: now.mono_ms,
            ready_ms: 0,
            until_ms: now
                .mono_ms
                .saturating_add(until_ms.saturating_sub(now.wall_ms)),
            heard_ms: now.mono_ms,
            is_confirmed: false,
            spare_since_ms: 0,
            beat_at_ms: 0,
            nonce: 0,
            sent_at_ms: None,
            told: BTreeMap::new(),
            round_at_ms: 0,
        };
        self.links.insert(id, link);
    }

    pub(super) fn accepted(
        &mut self,
        now: Now,
        id: LinkId,
        (peer, exporter, until_ms): (PeerId, [u8; 32], u64),
        remote: Option<SocketAddr>,
    ) {
        let way = Way::of(remote);
        let of_peer = |link: &&Link| link.peer == peer && link.stage != Stage::Ready;
        let pending = self.links.values().filter(of_peer).count();
        if self.links.contains_key(&id) {
            return;
        }
        if !self.peers.contains_key(&peer) {
            self.push_close(id, Code::UNKNOWN_PEER, "no member that is known here");
        } else if !self.may_be(peer, way, false) {
            self.push_close(id, Code::FORBIDDEN, "no direct links here");
        } else if PENDING_MAX <= pending {
            self.push_close(id, Code::BUSY, "too many links without proof");
        } else {
            self.open(now, id, (peer, way, exporter, until_ms), false);
        }
    }

    pub(super) fn arrived(&mut self, now: Now, peer: PeerId, arrived: Arrived) {
        let (id, way) = (arrived.link, Way::of(arrived.address));
        if self.links.contains_key(&id) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            if let Some(dialing) = peer.dialing.as_mut() {
                dialing.link.get_or_insert(id);
            }
            // The certificate was the peer's, so nobody else is being knocked at, whatever becomes of the link.
            if let Way::Direct(address) = way {
                peer.memory.proven(address);
            }
        }
        self.open(
            now,
            id,
            (peer, way, arrived.exporter, arrived.until_ms),
            true,
        );
        if self.may_be(peer, way, true) {
            let hello = Message::Hello(self.hello());
            self.send(id, hello);
        } else {
            self.close(now, id, Code::FORBIDDEN, "no direct links any more");
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::ALL,
            agent: self.own.agent.clone(),
            revocation_epoch: 0,
        }
    }

    pub(super) fn send(&mut self, link: LinkId, message: Message) {
        self.outputs.push_back(Output::Send { link, message });
    }

    pub(super) fn received(&mut self, now: Now, id: LinkId, message: Message) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.heard_ms = now.mono_ms;
        if link.stage == Stage::Ready {
            link.is_confirmed = true;
            self.heard(now, id, message);
            return;
        }
        let (stage, is_dialled_here) = (link.stage, link.is_dialled_here);
        match (stage, message) {
            (Stage::Greeting, Message::Hello(hello)) => self.greeted(now, id, &hello),
            (Stage::Proving, Message::Auth(auth)) => self.proved(now, id, &auth),
            (Stage::Proven, Message::Welcome(welcome)) if is_dialled_here => {
                self.welcomed(now, id, &welcome);
            }
            // Whoever says why, closes.
            (_, Message::Error(_)) => {}
            _ => self.close(now, id, Code::PROTOCOL, "not allowed before the proofs"),
        }
    }

    fn greeted(&mut self, now: Now, id: LinkId, hello: &Hello) {
        if hello.version_max < VERSION_MIN || VERSION_MAX < hello.version_min {
            self.close(now, id, Code::VERSION, "no common version");
            return;
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Proving;
        link.features = hello.features & feature::ALL;
        if link.is_dialled_here {
            self.send_auth(id);
        } else {
            let hello = Message::Hello(self.hello());
            self.send(id, hello);
        }
    }

    fn send_auth(&mut self, id: LinkId) {
        let reach = self.own_word();
        let own = self.own.key.peer();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let side = if link.is_dialled_here {
            Side::Dialler
        } else {
            Side::Answerer
        };
        if let Some(word) = &reach {
            link.told.insert(own, word.reach.counter);
        }
        let auth = Auth {
            peer: own,
            signature: auth_proof(&self.own.key, &link.exporter, side).to_vec(),
            reach,
        };
        self.send(id, Message::Auth(auth));
    }

    // spec: peers/3.1
    fn proved(&mut self, now: Now, id: LinkId, auth: &Auth) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (peer, is_dialled_here) = (link.peer, link.is_dialled_here);
        let side = if is_dialled_here {
            Side::Answerer
        } else {
            Side::Dialler
        };
        let is_proof =
            auth.peer == peer && verify_auth(peer, &link.exporter, side, &auth.signature).is_ok();
        if !is_proof {
            self.close(
                now,
                id,
                Code::POP_FAILED,
                "the proof of the identity failed",
            );
            return;
        }
        if let Some(word) = &auth.reach {
            if word.peer != peer {
                self.close(now, id, Code::BAD_SIGNATURE, "a word of somebody else");
                return;
            }
            self.heard_words(now, id, std::slice::from_ref(word));
        }
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Proven;
        if !is_dialled_here {
            let (features, way) = (link.features, link.way);
            self.send_auth(id);
            let welcome = Welcome {
                version: VERSION_MAX,
                features,
                team: self.own.team,
                team_name: self.own.team_name.clone(),
                time_ms: now.wall_ms,
                seen_as: match way {
                    Way::Direct(remote) => remote.to_string(),
                    Way::Relay => String::new(),
                },
                heartbeat_ms: self.settings.heartbeat_ms,
            };
            self.send(id, Message::Welcome(welcome));
            self.ready(now, id);
        }
    }

    fn welcomed(&mut self, now: Now, id: LinkId, welcome: &Welcome) {
        if welcome.team != self.own.team {
            self.close(now, id, Code::WRONG_TEAM, "another team");
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.features &= welcome.features;
            // The answerer is ready since it said so.
            link.is_confirmed = true;
        }
        self.ready(now, id);
    }

    /// Both ends have proved themselves.
    fn ready(&mut self, now: Now, id: LinkId) {
        let round_at_ms = now.mono_ms + self.chance.about(ROUND_MS);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Ready;
        link.ready_ms = now.mono_ms;
        self.outputs.push_back(Output::Ready(id));
        link.heard_ms = now.mono_ms;
        link.round_at_ms = round_at_ms;
        match (link.way.is_direct(), link.is_dialled_here) {
            (true, true) => self.proven.dials = true,
            (true, false) => self.proven.dialled = true,
            (false, _) => self.proven.relayed = true,
        }
        let id_of_peer = link.peer;
        let Some(peer) = self.peers.get_mut(&id_of_peer) else {
            return;
        };
        if peer.dialing.is_some_and(|dialing| dialing.link == Some(id)) {
            peer.dialing = None;
        }
        let old = peer.up;
        match old {
            Some(old) if !self.is_preferred(id, old) => {
                self.spare(now, id);
                self.close_spares(now, id_of_peer, old);
            }
            Some(old) => {
                self.spare(now, old);
                self.up(now, id);
                self.push_down(old, id_of_peer, "a better link took over".to_owned());
                self.close_spares(now, id_of_peer, id);
            }
            None => self.up(now, id),
        }
        self.rethink(now);
    }

    fn spare(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.spare_since_ms = now.mono_ms;
        }
    }

    /// Whether the `new` link, which became ready just now, is to stay rather than the `old` one.
    fn is_preferred(&self, new: LinkId, old: LinkId) -> bool {
        let (Some(new), Some(old)) = (self.links.get(&new), self.links.get(&old)) else {
            return true;
        };
        let is_smaller_here = self.own.key.peer() < new.peer;
        // By the smaller id?
        let by_smaller = |link: &Link| link.is_dialled_here == is_smaller_here;
        if old.ready_ms + SETTLED_MS <= new.opened_ms {
            return true;
        }
        let rank = |link: &Link| (link.way.is_direct(), by_smaller(link), link.number);
        rank(old) < rank(new)
    }

    /// Closes the ready links beside `kept`, if it is for this end to do so.
    fn close_spares(&mut self, now: Now, peer: PeerId, kept: LinkId) {
        if !self
            .links
            .get(&kept)
            .is_some_and(|link| link.is_dialled_here)
        {
            return;
        }
        let is_spare =
            |id: LinkId, link: &Link| id != kept && link.peer == peer && link.stage == Stage::Ready;
        let spares = self.links.iter().filter(|(id, link)| is_spare(**id, link));
        for id in spares.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(now, id, Code::SUPERSEDED, "there is a better link");
        }
    }

    /// From now on this is the link with its peer.
    fn up(&mut self, now: Now, id: LinkId) {
        let is_needed = self.links_up() < self.settings.mesh.target();
        let Some(whom) = self.links.get(&id).map(|link| link.peer) else {
            return;
        };
        let upgrade_at_ms = self.upgrade_at_ms(now, whom);
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&link.peer) else {
            return;
        };
        peer.is_mesh |= is_needed && peer.up.is_none();
        peer.up = Some(id);
        peer.is_ask_due = false;
        match link.way.is_direct() {
            true => peer.upgrades = 0,
            false => peer.next_dial_ms = upgrade_at_ms,
        }
        let up = Output::Up {
            link: id,
            peer: link.peer,
            features: link.features,
            way: link.way,
        };
        self.outputs.push_back(up);
        self.beat(now, id);
    }

    fn beat(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.nonce += 1;
        link.sent_at_ms = Some(now.mono_ms);
        link.beat_at_ms = now.mono_ms + self.settings.heartbeat_ms;
        let beat = Heartbeat {
            nonce: link.nonce,
            heads: self.heads.clone(),
        };
        self.send(id, Message::Heartbeat(beat));
    }

    /// A message on a ready link.
    fn heard(&mut self, now: Now, id: LinkId, message: Message) {
        match message {
            Message::Heartbeat(beat) => {
                let ack = Heartbeat {
                    nonce: beat.nonce,
                    heads: self.heads.clone(),
                };
                self.send(id, Message::HeartbeatAck(ack));
                self.witness(id, beat.heads);
            }
            Message::HeartbeatAck(ack) => {
                self.answered(now, id, ack.nonce);
                self.witness(id, ack.heads);
            }
            Message::Reach(words) => self.heard_words(now, id, &words),
            Message::Hello(_) | Message::Auth(_) | Message::Welcome(_) => {
                self.close(now, id, Code::PROTOCOL, "the proofs are done");
            }
            // Everything else is for the shell.
            _ => {}
        }
    }

    fn witness(&mut self, id: LinkId, mut heads: Vec<(LogId, u64, u64, Digest)>) {
        heads.truncate(LOGS_PER_LINK_MAX);
        if let Some(peer) = self.links.get(&id).map(|link| link.peer)
            && !heads.is_empty()
        {
            self.outputs.push_back(Output::Heads { peer, heads });
        }
    }

    fn answered(&mut self, now: Now, id: LinkId, nonce: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.nonce == nonce) else {
            return;
        };
        // Each heartbeat is measured once, whoever repeats the answer.
        let Some(sent_at_ms) = link.sent_at_ms.take() else {
            return;
        };
        let ms = now.mono_ms.saturating_sub(sent_at_ms);
        let peer = link.peer;
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.measured(ms);
        }
        self.outputs.push_back(Output::Rtt { peer, ms });
    }

    fn silent_at_ms(&self, link: &Link) -> u64 {
        link.heard_ms + u64::from(HEARTBEATS_MISSED_MAX) * self.settings.heartbeat_ms
    }

    /// When the link has waited for long enough as a spare one; it waits on while the one that is up may be dead.
    fn spare_due_ms(&self, link: &Link) -> u64 {
        let up = self.link_to(link.peer).and_then(|id| self.links.get(&id));
        match up {
            Some(up) if up.is_confirmed => link.spare_since_ms + SPARE_MS,
            _ => u64::MAX,
        }
    }

    pub(super) fn link_due_ms(&self, id: LinkId, link: &Link) -> u64 {
        let silent_at_ms = self.silent_at_ms(link).min(link.until_ms);
        if link.stage != Stage::Ready {
            link.opened_ms + AUTH_MS_MAX
        } else if self.link_to(link.peer) == Some(id) {
            silent_at_ms.min(link.beat_at_ms).min(link.round_at_ms)
        } else {
            silent_at_ms.min(self.spare_due_ms(link))
        }
    }

    /// What is due on the links.
    pub(super) fn tick_links(&mut self, now: Now) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get(&id) else {
                continue;
            };
            if now.mono_ms < self.link_due_ms(id, link) {
                continue;
            }
            let is_up = self.link_to(link.peer) == Some(id);
            if link.stage != Stage::Ready {
                self.close(now, id, Code::TIMEOUT, "no proof in time");
            } else if link.until_ms <= now.mono_ms {
                self.close(
                    now,
                    id,
                    Code::SUPERSEDED,
                    "the certificate of the link has ended",
                );
            } else if self.silent_at_ms(link) <= now.mono_ms {
                self.close(now, id, Code::TIMEOUT, "silent for three heartbeats");
            } else if !is_up {
                self.close(now, id, Code::SUPERSEDED, "there is a better link");
            } else {
                let is_round = link.round_at_ms <= now.mono_ms;
                if link.beat_at_ms <= now.mono_ms {
                    self.beat(now, id);
                }
                if is_round {
                    self.round(now, id);
                }
            }
        }
    }

    /// Closes a link from this end.
    pub(super) fn close(&mut self, now: Now, id: LinkId, code: Code, detail: &str) {
        if self.links.contains_key(&id) {
            self.push_close(id, code, detail);
            self.end(now, id, Some(code), detail.to_owned());
        }
    }

    /// The link is over.
    pub(super) fn end(&mut self, now: Now, id: LinkId, code: Option<Code>, detail: String) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        let detail = match code {
            Some(code) if detail.is_empty() => code.to_string(),
            Some(code) => format!("{code}: {detail}"),
            None => detail,
        };
        let Some(peer) = self.peers.get_mut(&link.peer) else {
            return;
        };
        if peer.dialing.is_some_and(|dialing| dialing.link == Some(id)) {
            self.dial_failed(now, link.peer, detail);
            return;
        }
        if peer.up != Some(id) {
            return;
        }
        peer.up = None;
        match self.best_spare(link.peer) {
            Some(next) => {
                self.up(now, next);
                self.push_down(id, link.peer, detail);
            }
            None => {
                self.push_down(id, link.peer, detail.clone());
                self.lost(now, &link, code, detail);
            }
        }
    }

    fn best_spare(&self, peer: PeerId) -> Option<LinkId> {
        let ready =
            (self.links.iter()).filter(|(_, link)| link.peer == peer && link.stage == Stage::Ready);
        ready
            .max_by_key(|(_, link)| (link.way.is_direct(), link.number))
            .map(|(id, _)| *id)
    }
}
