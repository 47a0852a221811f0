//! The daemon's end of the control link.
//!
//! Invariants:
//! - streams belong to one link; with the link they are gone, and the replicas are told;
//! - what a link says waits on the link, not in memory, while there is too much to be handled.

use std::{path::PathBuf, sync::Arc};

use aura_engine::peer::{activity::Via, control, replica};
use aura_net::{Dialed, LinkEvent, dial, link};
use aura_proto::{
    Code, PeerId,
    limits::PEERS_PER_MESSAGE_MAX,
    message::{Message, PeerCard, PeerEvent, PeerQuery, PeerState, RenewGrant, Role},
    session::{Class, Side},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Daemon, Event,
    neighbours::{Carrier, is_of_circuit},
};
use crate::{enrol, identity::Enrolment, team};

/// What a link may have said and nobody has handled yet, in KiB; then it is not read on: some windows' worth.
const BACKLOG_KIB: usize = 4 << 10;

/// The share of the backlog that an event takes up.
fn shares_of(event: &LinkEvent) -> u32 {
    let bytes = match event {
        LinkEvent::Message { payload, .. } => payload.len(),
        LinkEvent::Drained | LinkEvent::StreamReset { .. } | LinkEvent::Closed { .. } => 0,
    };
    let shares = (1 + bytes / 1024).min(BACKLOG_KIB);
    u32::try_from(shares).unwrap_or(u32::MAX)
}

impl Daemon {
    /// Carries out what the control machine orders.
    pub(super) fn pump_control(&mut self) {
        while let Some(output) = self.control.as_mut().and_then(control::Control::poll) {
            match output {
                control::Output::Dial => self.dial(),
                control::Output::Close(code) => {
                    if let Some(link) = &self.link {
                        link.close(code, "");
                    }
                }
                control::Output::Send(message) => self.send(0, &message),
                control::Output::Up(welcome) => {
                    if let Some(link) = &self.link {
                        link.authenticated();
                    }
                    self.down_why = None;
                    let (there, here) = (welcome.time_ms, self.clock.wall_ms());
                    let ahead = there.checked_signed_diff(here).unwrap_or_default();
                    (self.desks.values_mut()).for_each(|desk| desk.flow.ahead_ms = ahead);
                    self.link_up(welcome.features);
                    let text = format!("connected to {}", welcome.team_name);
                    self.emit("link", None, None, None, text);
                }
                control::Output::Down { code, detail } => self.link_down(code, detail),
                control::Output::Doubt(is_doubted) => {
                    if is_doubted {
                        self.level_anew();
                    }
                    self.books().for_each(|book| book.doubt(is_doubted));
                    self.pump_exchanges();
                }
                control::Output::Peer(event) => self.peer_event(event),
                control::Output::Renewed(grant) => {
                    self.renewed(grant);
                }
                control::Output::Rtt(ms) => self.rtt_ms = Some(ms),
                control::Output::Heads(_) => {}
                control::Output::Deliver(Message::Reach(words)) => {
                    words.into_iter().for_each(|said| self.learn(said));
                }
                control::Output::Deliver(Message::Activity(words)) => {
                    self.hear_of_activity(Via::Mothership, &words);
                }
                control::Output::Deliver(message) => tracing::debug!(?message, "not for anybody"),
            }
        }
    }

    fn dial(&mut self) {
        let Some(enrolment) = self.identity.enrolment.clone() else {
            return;
        };
        let Some(credentials) = self.identity.credentials() else {
            return;
        };
        self.link_number += 1;
        let (number, events) = (self.link_number, self.sender.clone());
        let wall_s = self.clock.wall_ms() / 1_000;
        if let Some(leaf) = self.identity.leaf().filter(|leaf| leaf.ends_s <= wall_s) {
            let renewal = enrol::Renewal {
                key: self.identity.key_again(),
                csr: leaf.csr,
                endpoints: enrolment.endpoints,
                ca_hash: enrolment.ca_hash,
            };
            let clock = self.clock;
            self.runtime.spawn(async move {
                let result = enrol::renew(renewal, clock).await;
                events.send(Event::Renewed(number, result)).ok();
            });
            return;
        }
        let expect = aura_net::tls::Expect {
            role: Role::Mothership,
            peer: Some(enrolment.checkpoint_key),
        };
        self.runtime.spawn(async move {
            let revoked: aura_net::Revoked = Arc::new(|_| false);
            let result = dial(&enrolment.endpoints, &credentials, expect, revoked).await;
            let result = result.map(Box::new).map_err(|error| crate::chain(&error));
            events.send(Event::Dialed(number, result)).ok();
        });
    }

    /// A device that came with an ended certificate has its answer; with a fresh one it dials again.
    pub(super) fn renewed_at_the_door(
        &mut self,
        number: u64,
        result: Result<RenewGrant, (Option<Code>, String)>,
    ) {
        if number != self.link_number {
            return;
        }
        let (code, detail) = match result {
            Err(refused) => refused,
            Ok(grant) => {
                if self.renewed(grant) {
                    return self.dial();
                }
                (None, "the fresh certificate cannot be used".to_owned())
            }
        };
        let now = self.now();
        if let Some(control) = &mut self.control {
            control.handle(now, control::Input::Down { code, detail });
        }
        self.pump_control();
    }

    /// Keeps a fresh certificate for the links that follow; the present one goes on with the old.
    fn renewed(&mut self, grant: RenewGrant) -> bool {
        let Some(enrolment) = self.identity.enrolment.clone() else {
            return false;
        };
        let fresh = Enrolment {
            certificate: grant.certificate,
            ..enrolment
        };
        if !enrol::is_for(&self.identity, &fresh) {
            tracing::warn!("a certificate that is not for this device was ignored");
            return false;
        }
        if let Err(failure) = self.identity.save_enrolment(fresh) {
            tracing::warn!(%failure, "the fresh certificate could not be kept");
            return false;
        }
        let (now, leaf) = (self.now(), self.identity.leaf());
        if let (Some(control), Some(leaf)) = (&mut self.control, leaf) {
            let until = crate::clock::rfc3339(leaf.ends_s * 1_000);
            control.handle(now, control::Input::Certified(leaf));
            let text = format!("certificate renewed until {until}");
            self.renew_door();
            self.emit("renewed", None, None, None, text);
        }
        true
    }

    pub(super) fn dialed(&mut self, number: u64, result: Result<Box<Dialed>, String>) {
        if number != self.link_number {
            return;
        }
        let now = self.now();
        match result {
            Err(detail) => {
                if let Some(control) = &mut self.control {
                    control.handle(now, control::Input::Down { code: None, detail });
                }
            }
            Ok(dialed) => {
                self.mothership_is_at(dialed.stream.get_ref().0.peer_addr().ok());
                let classes = vec![Class::Patch; 1 + self.desks.len()];
                let _guard = self.runtime.enter();
                let (handle, streams, received) =
                    link::spawn(dialed.stream, Side::Client, false, &classes, self.clock);
                self.link = Some(handle);
                let mut streams = streams.into_iter();
                if let Some(team) = &mut self.team {
                    team.stream = streams.next();
                }
                for desk in self.desks.values_mut() {
                    desk.stream = streams.next();
                }
                self.pass_on(received, move |event, share| {
                    Event::Link(number, event, share)
                });
                if let Some(control) = &mut self.control {
                    control.handle(
                        now,
                        control::Input::Dialed {
                            exporter: dialed.exporter,
                        },
                    );
                }
            }
        }
        self.pump_control();
    }

    /// Hands what a link says to the one thread, as far as there is room for what it has not handled.
    pub(super) fn pass_on(
        &self,
        mut received: tokio::sync::mpsc::Receiver<LinkEvent>,
        named: impl Fn(LinkEvent, OwnedSemaphorePermit) -> Event + Send + 'static,
    ) {
        let events = self.sender.clone();
        self.runtime.spawn(async move {
            let backlog = Arc::new(Semaphore::new(BACKLOG_KIB));
            while let Some(event) = received.recv().await {
                let backlog = Arc::clone(&backlog);
                let Ok(share) = backlog.acquire_many_owned(shares_of(&event)).await else {
                    return;
                };
                if events.send(named(event, share)).is_err() {
                    return;
                }
            }
        });
    }

    /// Whether a message of the control link is about a circuit.
    fn is_circuit(&self, number: u64, stream: u32, message: &Message) -> bool {
        let is_up = self.is_control_up();
        let carrier = Carrier::Mothership(number);
        let is_refused = matches!(message, Message::Error(_)) && self.has_circuit(carrier, stream);
        is_up && (is_of_circuit(message) || is_refused)
    }

    pub(super) fn on_link(&mut self, number: u64, event: LinkEvent) {
        if number != self.link_number {
            return;
        }
        let now = self.now();
        match event {
            LinkEvent::Message {
                stream,
                kind,
                payload,
            } => match Message::decode(kind, payload) {
                Ok(message) if self.is_circuit(number, stream, &message) => {
                    self.hear_of_circuit(Carrier::Mothership(number), stream, message);
                }
                Ok(message) if stream == 0 => {
                    if let Some(control) = &mut self.control {
                        control.handle(now, control::Input::Received(message));
                    }
                }
                Ok(message) => {
                    if let Some(control) = &mut self.control {
                        control.handle(now, control::Input::Heard);
                    }
                    self.deliver(stream, message);
                }
                Err(error) => {
                    if let Some(link) = &self.link {
                        link.close(Code::DECODE, &error.to_string());
                    }
                }
            },
            LinkEvent::Drained => {}
            LinkEvent::StreamReset { stream, code } => {
                self.circuit_reset(Carrier::Mothership(number), stream, code);
            }
            LinkEvent::Closed {
                code,
                detail,
                by_peer,
            } => {
                self.link = None;
                self.carrier_gone(Carrier::Mothership(number));
                let code = by_peer.then_some(code);
                if let Some(control) = &mut self.control {
                    control.handle(now, control::Input::Down { code, detail });
                }
            }
        }
        self.pump_control();
    }

    fn deliver(&mut self, stream: u32, message: Message) {
        if let Some(team) = self
            .team
            .as_mut()
            .filter(|team| team.stream == Some(stream))
        {
            let had = !self.identity.ring.is_empty();
            team.feed(replica::Input::Received(message), &mut self.identity);
            if !had && !self.identity.ring.is_empty() {
                self.key_came();
            }
            self.approve_automatically();
            return;
        }
        let ring = &self.identity.ring;
        let desk = self
            .desks
            .values_mut()
            .find(|desk| desk.stream == Some(stream));
        if let Some(desk) = desk {
            desk.feed(replica::Input::Received(message), ring);
            desk.settle(ring);
        }
    }

    /// The team key has arrived: what was sealed opens, what was held back is published.
    pub(super) fn key_came(&mut self) {
        // Others are looked for on this network under the keys that are held now.
        self.end_lan();
        let paths: Vec<PathBuf> = self.desks.keys().cloned().collect();
        for path in paths {
            let done = self.with_desk(&path, |desk, ring| {
                desk.unseal(ring);
                desk.publish_saved(ring)?;
                desk.settle(ring);
                desk.say_again();
                Ok(())
            });
            if let Err(failure) = done {
                tracing::warn!(%failure, "after the team key came");
            }
        }
    }

    fn link_up(&mut self, features: u64) {
        self.link_features = features;
        if let Some(team) = &mut self.team {
            team.book.replica.set_features(features);
            team.feed(replica::Input::LinkUp, &mut self.identity);
        }
        for desk in self.desks.values_mut() {
            desk.book.replica.set_features(features);
            desk.feed(replica::Input::LinkUp, &self.identity.ring);
        }
        self.mothership_is(true);
        self.flush();
    }

    fn link_down(&mut self, code: Option<Code>, detail: String) {
        let was_up = self.down_why.is_none();
        if was_up {
            self.offline_since_ms = self.clock.mono_ms();
            self.emit("link", None, None, None, format!("offline: {detail}"));
            // Not at each dial in vain: neighbours would be asked anew each time.
            self.level_anew();
        }
        self.down_why = Some((code, detail));
        if let Some(team) = &mut self.team {
            team.stream = None;
            team.feed(replica::Input::LinkDown, &mut self.identity);
        }
        for desk in self.desks.values_mut() {
            desk.stream = None;
            desk.feed(replica::Input::LinkDown, &self.identity.ring);
        }
        self.mothership_is(false);
    }

    /// Drops the link, if any, and dials at once: the streams must follow the repositories.
    pub(super) fn reconnect(&mut self) {
        if let Some(link) = self.link.take() {
            link.close(Code::BYE, "");
            self.carrier_gone(Carrier::Mothership(self.link_number));
            self.link_number += 1;
            let now = self.now();
            if let Some(control) = &mut self.control {
                let detail = "reconnecting".to_owned();
                control.handle(now, control::Input::Down { code: None, detail });
            }
            self.pump_control();
        }
        let now = self.now();
        if let Some(control) = &mut self.control {
            control.handle(now, control::Input::Reconnect);
        }
        self.pump_control();
    }

    fn peer_event(&mut self, event: PeerEvent) {
        // Only the list may name words that are not known.
        let is_list = matches!(event, PeerEvent::Snapshot(_));
        // Who comes and goes says nothing of who belongs.
        let is_presence = matches!(event, PeerEvent::State { .. });
        self.peer_told(event);
        if is_list {
            self.ask_for_words();
        }
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.is_stale |= !is_presence;
        }
    }

    fn peer_told(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Snapshot(cards) => {
                self.peers = cards.into_iter().map(|card| (card.peer, card)).collect();
                if let Some(team) = &mut self.team {
                    team.shown(&self.peers);
                }
                self.ask_who_they_are();
                self.ask_for_removals();
            }
            PeerEvent::Known(cards) => self.peers_known(cards),
            PeerEvent::Added(card) => {
                let name = card.name.clone();
                self.peers.insert(card.peer, card);
                self.emit(
                    "peer_added",
                    None,
                    None,
                    Some(name.clone()),
                    format!("{name} joined"),
                );
                self.approve_automatically();
            }
            PeerEvent::Gone { peer, reason } => {
                if let Some(team) = &mut self.team {
                    team.removed(peer, &reason);
                }
                self.ask_for_removals();
                let name = self
                    .peers
                    .remove(&peer)
                    .map_or_else(|| peer.short(), |card| card.name);
                let why = Some(reason).filter(|reason| !reason.is_empty());
                let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
                let text = format!("{name} was removed{why}");
                self.emit("peer_gone", None, None, Some(name), text);
            }
            PeerEvent::NetworkUpdate(said) => self.learn(said),
            PeerEvent::State { peer, state, at_ms } => self.came_or_went(peer, state, at_ms),
        }
    }

    fn came_or_went(&mut self, peer: PeerId, state: PeerState, at_ms: u64) {
        let Some(card) = self.peers.get_mut(&peer) else {
            return;
        };
        card.state = state;
        card.last_seen_ms = at_ms;
        let name = card.name.clone();
        let word = match state {
            PeerState::Online => "online",
            PeerState::Away => "away",
            PeerState::Offline => "offline",
        };
        let text = format!("{name} is {word}");
        self.emit("peer", None, None, Some(name), text);
        self.tell_of(peer);
    }

    fn peers_known(&mut self, cards: Vec<PeerCard>) {
        for card in cards {
            if let Some(known) = self.peers.get_mut(&card.peer) {
                *known = card;
            }
        }
        self.approve_automatically();
    }

    /// Whether it is known of all who wait for approval how to hand them the key.
    pub(super) fn knows_who_waits(&self) -> bool {
        let waiting = self.waiting_for_approval();
        waiting.iter().all(|card| card.receive.is_some())
    }

    /// Asks for the receive keys of those who are in no roster yet: the list leaves them out.
    // spec: session/4.2
    fn ask_who_they_are(&mut self) {
        let strangers = self.waiting_for_approval().into_iter();
        let unknown = strangers.filter(|card| card.receive.is_none());
        let peers: Vec<PeerId> = unknown.map(|card| card.peer).collect();
        for peers in peers.chunks(PEERS_PER_MESSAGE_MAX) {
            let peers = peers.to_vec();
            self.send(0, &Message::PeerQuery(PeerQuery { peers }));
        }
    }

    /// A removal names how far its member was acknowledged, which is known from a head that was asked for after it.
    // spec: identity/6.7
    fn ask_for_removals(&mut self) {
        let me = self.identity.key.peer();
        if !self
            .team
            .as_ref()
            .is_some_and(|team| team.awaits_removals(me))
        {
            return;
        }
        for desk in self.desks.values_mut() {
            desk.feed(replica::Input::Ask, &self.identity.ring);
        }
        if let Some(team) = &mut self.team {
            team.feed(replica::Input::Ask, &mut self.identity);
        }
    }

    /// With `members.approve = auto`, an admin's daemon hands the key to whoever the Mothership admitted.
    pub(super) fn approve_automatically(&mut self) {
        if self.settings.get("members.approve") != "auto" {
            return;
        }
        let me = self.identity.key.peer();
        let waiting = self.waiting_for_approval();
        let Some(team) = self
            .team
            .as_mut()
            .filter(|team| team.roster.is_admin(me) && team.book.replica.is_synced())
        else {
            return;
        };
        for card in waiting {
            let role = team::unattended(card.role);
            if let Err(failure) = team.approve(&card, role, &mut self.identity) {
                tracing::warn!(%failure, "automatic approval");
            }
        }
        self.flush();
    }

    pub(super) fn send(&self, stream: u32, message: &Message) {
        if let Some(link) = &self.link {
            let (kind, payload) = message.encode();
            link.send(stream, kind, payload);
        }
    }

    /// Sends what desks and team have to say, and tells faces what happened.
    pub(super) fn flush(&mut self) {
        let mut sends = Vec::new();
        let mut notices = Vec::new();
        for (path, desk) in &mut self.desks {
            if let Some(team) = &self.team {
                desk.distrust.clone_from(&team.fault);
                if let Err(failure) = desk.follow(&team.roster, &self.identity.ring) {
                    tracing::error!(%failure, "the log cannot be taken in anew");
                }
            }
            let stream = desk.stream;
            sends.extend(
                desk.sends
                    .drain(..)
                    .filter_map(|message| Some((stream?, message))),
            );
            notices.extend(desk.notices.drain(..).map(|notice| (path.clone(), notice)));
        }
        if let Some(team) = &mut self.team {
            let opened = notices
                .iter()
                .filter(|(_, notice)| notice.kind == "received");
            opened
                .filter_map(|(_, notice)| notice.peer)
                .for_each(|peer| team.wrote(peer));
            let desks = &self.desks;
            let accepted = |peer| {
                let logs = desks.values().map(|desk| desk.accepted(peer));
                let logs: Option<Vec<_>> = logs.collect();
                logs.map(|logs| logs.into_iter().flatten().collect())
            };
            team.tend(&self.peers, accepted, &mut self.identity);
            let stream = team.stream;
            sends.extend(
                team.sends
                    .drain(..)
                    .filter_map(|message| Some((stream?, message))),
            );
        }
        let now = self.now();
        for (stream, message) in sends {
            if let (Message::Push(_), Some(control)) = (&message, &mut self.control) {
                control.handle(now, control::Input::Asked);
            }
            self.send(stream, &message);
        }
        for (path, notice) in notices {
            let actor = notice
                .peer
                .map(|peer| crate::docs::name_of(&self.peers, peer));
            self.emit(notice.kind, Some(&path), notice.symbol, actor, notice.text);
        }
    }
}
