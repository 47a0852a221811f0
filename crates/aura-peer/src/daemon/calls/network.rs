//! How other devices are reached, and what can be done about it.
//!
//! Invariant: what is shown of a link is what the machine that decides about it knows.

use std::{collections::BTreeMap, sync::mpsc};

use aura_api::{Call, Exit, Failure, Reply, docs};
use aura_engine::peer::links::{Input, PeerLinkRow, Reachability, Way};
use aura_proto::PeerId;

use super::{Answer, Until, Waiting, document};
use crate::{
    daemon::{Daemon, neighbours::Wish},
    docs as shape,
};

impl Daemon {
    /// What is known of the link with each device.
    pub(in crate::daemon) fn link_rows(&self) -> BTreeMap<PeerId, PeerLinkRow> {
        let rows = self
            .neighbours
            .as_ref()
            .map(|known| known.machine.rows(self.now()));
        let rows = rows.unwrap_or_default().into_iter();
        rows.map(|row| (row.peer, row)).collect()
    }

    /// A device of the team by its name.
    fn other_device(&self, name: &str) -> Result<PeerId, Failure> {
        let peer = self.peer_named(name)?;
        if peer == self.identity.key.peer() {
            let message = format!("{name} is this device");
            return Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                .next("aura peers", "the other devices"));
        }
        Ok(peer)
    }

    /// Answers what is asked about other devices at once.
    pub(in crate::daemon) fn network(&mut self, call: &Call) -> Answer {
        match call {
            Call::Netcheck { peer } => self.netcheck(peer.as_deref()),
            Call::Reconnect { peer } => self.reconnect_to(peer.as_deref()),
            Call::Peers => self.peer_list(),
            _ => Err(Failure::new("AE-INTERNAL", Exit::BUG, "not answered here")),
        }
    }

    fn netcheck(&self, peer: Option<&str>) -> Answer {
        let peer = peer.map(|name| self.other_device(name)).transpose()?;
        let wanted = peer.map(|peer| peer.to_string());
        let me = self.identity.key.peer().to_string();
        let is_wanted = |row: &docs::PeerDoc| match &wanted {
            Some(wanted) => row.peer == *wanted,
            None => row.peer != me,
        };
        let is_up = self.is_control_up();
        let mothership = match &self.down_why {
            _ if is_up => "up".to_owned(),
            Some((_, why)) => why.clone(),
            None => "it is being dialled".to_owned(),
        };
        let address = |address: &std::net::SocketAddr| docs::AddressDoc {
            address: address.to_string(),
            class: shape::class_word(*address).to_owned(),
        };
        let own = self.peers.get(&self.identity.key.peer());
        let announced = self.announced().or_else(|| own.map(|card| &card.reach));
        document(&docs::Netcheck {
            schema: docs::Netcheck::SCHEMA.to_owned(),
            mothership,
            rtt_ms: self.rtt_ms.filter(|_| is_up),
            visibility: self.settings.get("links.visibility").to_owned(),
            reachable: self.reachability().to_string(),
            listens: announced
                .iter()
                .flat_map(|reach| &reach.addresses)
                .map(address)
                .collect(),
            listens_not: self
                .neighbours
                .as_ref()
                .and_then(|known| known.door_why.clone()),
            peers: self.peer_rows(None).into_iter().filter(is_wanted).collect(),
        })
    }

    fn reachability(&self) -> Reachability {
        let known = self.neighbours.as_ref();
        known.map_or(Reachability::Unknown, |known| known.machine.reachability())
    }

    fn reconnect_to(&mut self, peer: Option<&str>) -> Answer {
        let peer = peer.map(|name| self.other_device(name)).transpose()?;
        if peer.is_none() {
            self.reconnect();
        }
        self.tell_links(Input::Reconnect(peer));
        self.peer_list()
    }

    /// Answers when a device has answered, or the time is over.
    pub(in crate::daemon) fn ping(
        &mut self,
        name: &str,
        timeout_ms: u64,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        let peer = self.other_device(name)?;
        self.ask_whether_there(peer);
        let name = name.to_owned();
        self.waiting.push(Waiting {
            until: Until::Pong(peer),
            repo: None,
            deadline_ms: self.clock.mono_ms().saturating_add(timeout_ms),
            reply: reply.clone(),
            answer: Box::new(move |daemon, holds| match daemon.pong(&name, peer, holds) {
                Ok(document) => Some(Reply::Done(document)),
                Err(failure) => Some(Reply::Failed(failure)),
            }),
        });
        Ok(())
    }

    fn pong(&mut self, name: &str, peer: PeerId, holds: bool) -> Answer {
        let rtt_ms = self.pong_of(peer).filter(|_| holds);
        let row = self.link_rows().remove(&peer);
        let way = row.as_ref().and_then(|row| row.way);
        let (Some(rtt_ms), Some(way)) = (rtt_ms, way) else {
            let why = row.as_ref().and_then(shape::why_not_direct);
            let why = why.map(|why| format!(": {why}"));
            let message = format!("{name} does not answer{}", why.unwrap_or_default());
            return Err(
                Failure::new("AE-UNREACHABLE", Exit::UNREACHABLE, message).next(
                    format!("aura netcheck {}", aura_api::shell_operand(name)),
                    "each address and what became of it",
                ),
            );
        };
        document(&docs::Ping {
            schema: docs::Ping::SCHEMA.to_owned(),
            peer: name.to_owned(),
            path: shape::path_of(way).to_owned(),
            address: match way {
                Way::Direct(address) => Some(address.to_string()),
                Way::Relay => None,
            },
            rtt_ms,
        })
    }

    /// Sends a message to a device over whoever is between, and answers when it and these have answered.
    pub(in crate::daemon) fn test_message(
        &mut self,
        name: &str,
        (hops, timeout_ms): (u8, u64),
        reply: &mpsc::Sender<Reply>,
    ) -> Result<(), Failure> {
        let peer = self.other_device(name)?;
        self.forget_reached(peer);
        let until_ms = self.clock.mono_ms().saturating_add(timeout_ms);
        let wish = Wish {
            hops,
            until_ms,
            leads_on: true,
        };
        if !self.ask_over(peer, wish) {
            let message = format!("the receive key of {name} is not known here yet");
            return Err(Failure::new("AE-UNREACHABLE", Exit::UNREACHABLE, message)
                .next("aura status", "an admin approves it first"));
        }
        let name = name.to_owned();
        self.waiting.push(Waiting {
            until: Until::Reached(peer),
            repo: None,
            deadline_ms: until_ms,
            reply: reply.clone(),
            answer: Box::new(move |daemon, _| match daemon.way_to(&name, peer) {
                Ok(document) => Some(Reply::Done(document)),
                Err(failure) => Some(Reply::Failed(failure)),
            }),
        });
        Ok(())
    }

    /// Whether a device has answered, and everybody over whom it did.
    pub(in crate::daemon) fn has_reached(&self, peer: PeerId) -> bool {
        let reached = self.reached(peer);
        reached.is_some_and(|reached| {
            let mut passed = reached.passed.iter();
            passed.all(|hop| self.reached(*hop).is_some() || !self.is_asked(*hop))
        })
    }

    fn way_to(&self, name: &str, peer: PeerId) -> Answer {
        let Some(reached) = self.reached(peer) else {
            let message = format!("no message reaches {name} over the devices that are linked");
            return Err(
                Failure::new("AE-UNREACHABLE", Exit::UNREACHABLE, message).next(
                    format!("aura netcheck {}", aura_api::shell_operand(name)),
                    "each address and what became of it",
                ),
            );
        };
        let hop = |hop: &PeerId| docs::HopDoc {
            name: shape::name_of(&self.peers, *hop),
            rtt_ms: self.reached(*hop).map(|reached| reached.rtt_ms),
        };
        document(&docs::TestMessage {
            schema: docs::TestMessage::SCHEMA.to_owned(),
            peer: name.to_owned(),
            hops: reached.passed.iter().map(hop).collect(),
            rtt_ms: reached.rtt_ms,
        })
    }
}
