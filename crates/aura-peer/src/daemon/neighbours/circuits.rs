//! Circuits: links to devices that cannot be dialled, through the Mothership or a device that relays.
//!
//! Invariants:
//! - what a circuit carries is the same session of TLS as a direct link, and is judged by the same machine;
//! - a circuit ends with the link that carries it;
//! - circuits come from the Mothership and from devices with that role, and only such a device relays for others;
//! - a circuit that is over for this end is forgotten, whatever the relay still says of it.

use std::collections::BTreeMap;

use aura_engine::{
    peer::links::{Arrived, Input, LinkId},
    relay::{self, Relay},
};
use aura_net::{
    LinkHandle,
    circuit::{Asked, Circuit, CircuitInlet, Offered, accept_through, circuit, dial_through},
    tls::calendar,
};
use aura_proto::{
    Code, PeerId,
    limits::{RELAY_CIRCUITS_PER_PEER_MAX, RELAY_OFFER_MS_MAX},
    message::{Message, RelayClose, RelayOpen, Role},
    session::{Class, Side, cut_detail},
};

use crate::{
    clock::random,
    daemon::{Daemon, Event},
};

/// Circuits over one carrier: twice what one relay allows.
const CIRCUITS_MAX: usize = 2 * RELAY_CIRCUITS_PER_PEER_MAX;
/// How long it is waited until a circuit stands, in milliseconds: an offer and its answer both ways.
const ASKED_MS_MAX: u64 = 2 * RELAY_OFFER_MS_MAX;

/// Which link carries a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::daemon) enum Carrier {
    /// The control link of this number.
    Mothership(u64),
    /// A link to a device that relays.
    Relay(LinkId),
}

/// A circuit of this device.
struct Path {
    peer: PeerId,
    inlet: CircuitInlet,
    /// Until the relay says that the circuit stands, and since when.
    asked: Option<(Circuit, u64)>,
}

/// The circuits that end here, and those that are relayed here.
pub(super) struct Circuits {
    paths: BTreeMap<(Carrier, u32), Path>,
    relay: Option<Relay<LinkId>>,
}

impl Circuits {
    pub(super) fn new(is_relay: bool) -> Self {
        // Not those of another relay, so that neither takes the other's for its own.
        let number = u64::from(u32::from_be_bytes(random())) << 16;
        Self {
            paths: BTreeMap::new(),
            relay: is_relay.then(|| Relay::new(relay::Limits::default(), number)),
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let relay = self.relay.as_ref().and_then(Relay::deadline);
        let asked = self.paths.values().filter_map(|path| path.asked.as_ref());
        let asked = asked.map(|(_, since_ms)| since_ms + ASKED_MS_MAX);
        asked.chain(relay).min()
    }

    /// Forgets what is over; whether another one may be over this carrier.
    fn has_room(&mut self, carrier: Carrier) -> bool {
        self.paths
            .retain(|_, path| path.asked.is_some() || !path.inlet.is_over());
        let over = self.paths.keys().filter(|(on, _)| *on == carrier);
        over.count() < CIRCUITS_MAX
    }
}

impl Daemon {
    fn carrier_link(&self, carrier: Carrier) -> Option<LinkHandle> {
        match carrier {
            Carrier::Mothership(number) => {
                let is_it = number == self.link_number;
                self.link.clone().filter(|_| is_it)
            }
            Carrier::Relay(link) => {
                let threads = &self.neighbours.as_ref()?.threads;
                let thread = threads.get(&link).filter(|thread| thread.is_up)?;
                Some(thread.handle.clone())
            }
        }
    }

    /// Whether a circuit of this device is carried there.
    pub(in crate::daemon) fn has_circuit(&self, carrier: Carrier, stream: u32) -> bool {
        let known = self.neighbours.as_ref();
        known.is_some_and(|known| known.circuits.paths.contains_key(&(carrier, stream)))
    }

    /// Asks for a circuit to a device.
    pub(super) fn ask_for_circuit(&mut self, peer: PeerId, via: Option<LinkId>) {
        let carrier = via.map_or(Carrier::Mothership(self.link_number), Carrier::Relay);
        let known = self.neighbours.as_mut();
        if !known.is_some_and(|known| known.circuits.has_room(carrier)) {
            return self.circuit_failed(peer, "as many circuits as one relay may carry".to_owned());
        }
        let is_up = via.is_some() || self.is_control_up();
        let link = self.carrier_link(carrier).filter(|_| is_up);
        let stream = link.and_then(|link| Some((link.open_stream(Class::Bulk).ok()?, link)));
        let Some((stream, link)) = stream else {
            return self.circuit_failed(peer, "there is no link to the relay".to_owned());
        };
        let open = Message::RelayOpen(RelayOpen { peer, circuit: 0 });
        let (kind, payload) = open.encode();
        link.send(stream, kind, payload);
        let (asked, inlet) = circuit(link, stream);
        let path = Path {
            peer,
            inlet,
            asked: Some((asked, self.clock.mono_ms())),
        };
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.circuits.paths.insert((carrier, stream), path);
        }
    }

    fn circuit_failed(&mut self, peer: PeerId, why: String) {
        let input = Input::Dialed {
            peer,
            result: Err(why),
            attempts: Vec::new(),
        };
        self.tell_links(input);
    }

    /// A message about a circuit; one that is for none of them is dropped.
    pub(in crate::daemon) fn hear_of_circuit(
        &mut self,
        carrier: Carrier,
        stream: u32,
        message: Message,
    ) {
        let known = self.neighbours.as_mut();
        let path = known.and_then(|known| known.circuits.paths.get_mut(&(carrier, stream)));
        match (path, message) {
            (Some(path), Message::RelayData(bytes)) => path.inlet.data(bytes),
            (Some(path), Message::RelayCredit(credit)) => path.inlet.credit(credit.bytes),
            (Some(path), Message::RelayOpen(_)) => {
                if let Some((asked, _)) = path.asked.take() {
                    let peer = path.peer;
                    self.begin_through(peer, asked);
                }
            }
            (Some(_), Message::RelayClose(close)) => {
                self.circuit_closed(carrier, stream, close.code, &close.detail);
            }
            (Some(_), Message::Error(refusal)) => {
                self.circuit_closed(carrier, stream, refusal.code, &refusal.detail);
            }
            (None, Message::RelayOpen(open)) if stream == 0 => {
                if self.is_relay(carrier) {
                    self.circuit_offered(carrier, open);
                }
            }
            (None, message) => self.relay_for_others(carrier, stream, message),
            (Some(_), _) => {}
        }
    }

    /// Whether circuits come from the other end of this link.
    fn is_relay(&self, carrier: Carrier) -> bool {
        let Carrier::Relay(link) = carrier else {
            return true;
        };
        let role = |peer: PeerId| Some(self.peers.get(&peer)?.role);
        self.peer_of(link).and_then(role) == Some(Role::Relay)
    }

    /// Who is at the other end of the link with it that is up.
    fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        let neighbours = self.neighbours.as_ref()?;
        let peer = neighbours.threads.get(&link)?.peer?;
        (neighbours.machine.link_to(peer) == Some(link)).then_some(peer)
    }

    /// A stream was reset, and with it the circuit on it.
    pub(in crate::daemon) fn circuit_reset(&mut self, carrier: Carrier, stream: u32, code: Code) {
        self.circuit_closed(carrier, stream, code, "the relay gave it up");
        let known = self.neighbours.as_mut();
        if let (Carrier::Relay(link), Some(relay)) = (
            carrier,
            known.and_then(|known| known.circuits.relay.as_mut()),
        ) {
            relay.stream_gone(link, stream);
            self.pass_circuits_on();
        }
    }

    fn circuit_closed(&mut self, carrier: Carrier, stream: u32, code: Code, detail: &str) {
        let known = self.neighbours.as_mut();
        let Some(path) = known.and_then(|known| known.circuits.paths.remove(&(carrier, stream)))
        else {
            return;
        };
        // A relay may say anything; people are shown as much as anybody may say.
        let detail = cut_detail(detail);
        path.inlet.closed(code, detail);
        if path.asked.is_some() {
            self.circuit_failed(path.peer, format!("no circuit: {detail}"));
        }
    }

    /// The link that carried circuits is gone.
    pub(in crate::daemon) fn carrier_gone(&mut self, carrier: Carrier) {
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        if let (Carrier::Relay(link), Some(relay)) = (carrier, &mut neighbours.circuits.relay) {
            relay.gone(link);
        }
        let streams = neighbours.circuits.paths.keys();
        let gone = streams.filter(|(on, _)| *on == carrier);
        for (_, stream) in gone.copied().collect::<Vec<_>>() {
            self.circuit_closed(carrier, stream, Code::BYE, "the link to the relay is gone");
        }
        self.pass_circuits_on();
    }

    /// Somebody asks for a circuit to this device.
    fn circuit_offered(&mut self, carrier: Carrier, open: RelayOpen) {
        let Some(link) = self.carrier_link(carrier) else {
            return;
        };
        let decline = |code, detail: &str| {
            let detail = detail.to_owned();
            let circuit = open.circuit;
            let close = Message::RelayClose(RelayClose {
                circuit,
                code,
                detail,
            });
            let (kind, payload) = close.encode();
            link.send(0, kind, payload);
        };
        let credentials = self.identity.credentials();
        let (Some(neighbours), Some(credentials), Some(enrolment)) =
            (&mut self.neighbours, credentials, &self.identity.enrolment)
        else {
            return decline(Code::DRAINING, "not on the team yet");
        };
        if !self.peers.contains_key(&open.peer) || neighbours.is_removed(open.peer) {
            return decline(Code::UNKNOWN_PEER, "no member that is known here");
        }
        if !neighbours.circuits.has_room(carrier) {
            return decline(Code::BUSY, "as many circuits as one relay may carry");
        }
        let Ok(stream) = link.open_stream(Class::Bulk) else {
            return decline(Code::BUSY, "as many streams as one link may have");
        };
        let (kind, payload) = Message::RelayOpen(open).encode();
        link.send(stream, kind, payload);
        let (taken, inlet) = circuit(link, stream);
        let path = Path {
            peer: open.peer,
            inlet,
            asked: None,
        };
        neighbours.circuits.paths.insert((carrier, stream), path);
        let (events, team) = (self.sender.clone(), enrolment.team);
        let revoked = neighbours.revoked();
        self.runtime.spawn(async move {
            let own = (&credentials, team);
            match accept_through(taken, own, open.peer, revoked, &calendar()).await {
                Ok(offered) => drop(events.send(Event::CircuitTaken(Box::new(offered)))),
                Err(error) => tracing::debug!(%error, "no session within a circuit"),
            }
        });
    }

    /// The circuit that was asked for stands: the session within it begins.
    fn begin_through(&self, peer: PeerId, asked: Circuit) {
        let Some(credentials) = self.identity.credentials() else {
            return;
        };
        let events = self.sender.clone();
        self.runtime.spawn(async move {
            let result = dial_through(asked, &credentials, peer, &calendar()).await;
            let result = result.map(Box::new).map_err(|error| crate::chain(&error));
            events.send(Event::CircuitDialed(peer, result)).ok();
        });
    }

    /// The session within a circuit has begun, or could not.
    pub(in crate::daemon) fn circuit_dialed(
        &mut self,
        peer: PeerId,
        result: Result<Box<Asked>, String>,
    ) {
        let result = result.map(|asked| Arrived {
            exporter: asked.exporter,
            address: None,
            until_ms: asked.identity.not_after_s.saturating_mul(1_000),
            link: self.drive(asked.stream, Side::Client, None),
        });
        self.tell_links(Input::Dialed {
            peer,
            result,
            attempts: Vec::new(),
        });
    }

    /// Another device has begun a session with this one within a circuit.
    pub(in crate::daemon) fn circuit_taken(&mut self, offered: Offered) {
        let (peer, until_s) = (offered.identity.peer, offered.identity.not_after_s);
        let link = self.drive(offered.stream, Side::Server, None);
        self.tell_links(Input::Accepted {
            link,
            peer,
            exporter: offered.exporter,
            remote: None,
            until_ms: until_s.saturating_mul(1_000),
        });
    }

    /// Passes circuits of others on, if that is what this device is for.
    // spec: peers/6.6
    fn relay_for_others(&mut self, carrier: Carrier, stream: u32, message: Message) {
        let now = self.now();
        let Carrier::Relay(link) = carrier else {
            return;
        };
        // What stands goes on over a link beside the one that is up, as long as it lasts.
        let is_new = matches!(message, Message::RelayOpen(RelayOpen { circuit: 0, .. }));
        let up = self.peer_of(link);
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let thread = neighbours.threads.get(&link);
        let peer = up.or_else(|| thread?.peer.filter(|_| !is_new));
        let is_direct = neighbours.machine.is_direct(link);
        // Only between direct links: a circuit through a circuit would pass everything on twice.
        let relay = neighbours.circuits.relay.as_mut().filter(|_| is_direct);
        let (Some(relay), Some(peer)) = (relay, peer) else {
            if is_new {
                let close = RelayClose {
                    circuit: 0,
                    code: Code::UNSUPPORTED,
                    detail: "this device does not relay".to_owned(),
                };
                self.send_on(link, stream, &Message::RelayClose(close));
                self.end_stream(link, stream);
            }
            return;
        };
        let machine = &neighbours.machine;
        let is_direct = |link: &LinkId| machine.is_direct(*link);
        let from = relay::Origin { link, peer, stream };
        relay.handle(now, from, message, |peer| {
            machine.link_to(peer).filter(is_direct)
        });
        self.pass_circuits_on();
    }

    /// Ends circuits that have lasted for too long.
    pub(in crate::daemon) fn tick_circuits(&mut self) {
        let now = self.now();
        self.give_up_on_circuits();
        if let Some(neighbours) = &mut self.neighbours
            && let Some(relay) = &mut neighbours.circuits.relay
            && relay.deadline().is_some_and(|at_ms| at_ms <= now.mono_ms)
        {
            relay.tick(now);
            self.pass_circuits_on();
        }
    }

    /// Ends circuits that were asked for and do not stand in time.
    fn give_up_on_circuits(&mut self) {
        let now_ms = self.clock.mono_ms();
        let paths = self
            .neighbours
            .iter()
            .flat_map(|known| &known.circuits.paths);
        let is_late = |path: &Path| {
            let asked = path.asked.as_ref();
            asked.is_some_and(|(_, since_ms)| since_ms + ASKED_MS_MAX <= now_ms)
        };
        let late = paths.filter(|(_, path)| is_late(path));
        let late: Vec<(Carrier, u32)> = late.map(|(key, _)| *key).collect();
        for (carrier, stream) in late {
            if let Some(link) = self.carrier_link(carrier) {
                link.reset(stream, Code::TIMEOUT);
            }
            self.circuit_closed(carrier, stream, Code::TIMEOUT, "the relay does not answer");
        }
    }

    fn pass_circuits_on(&mut self) {
        let next = |daemon: &mut Self| daemon.neighbours.as_mut()?.circuits.relay.as_mut()?.poll();
        while let Some(send) = next(self) {
            self.send_on(send.link, send.stream, &send.message);
            if matches!(send.message, Message::RelayClose(_)) && send.stream != 0 {
                self.end_stream(send.link, send.stream);
            }
        }
    }

    fn end_stream(&self, link: LinkId, stream: u32) {
        let known = self.neighbours.as_ref();
        if let Some(thread) = known.and_then(|known| known.threads.get(&link)) {
            thread.handle.finish(stream);
        }
    }
}
