//! Where this device is, and where the others were.
//!
//! Invariants:
//! - what this device announces, it listens at; a change gets a higher counter, over restarts as well;
//! - what others said of where they are is remembered, so that a device finds them while the Mothership is away.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use aura_engine::peer::links::Input;
use aura_net::{ListenConfig, Listener};
use aura_proto::{
    PeerId, Reach, SignedReach, TeamId, Visibility, codec,
    limits::{HINTS_MAX, PEERS_PER_MESSAGE_MAX},
    message::{Message, PeerCard, PeerQuery},
    reach::{Class, Locality, class_of},
};
use aura_store::write_atomic;
use aura_trust::{sign_reach, verify_reach};
use serde::{Deserialize, Serialize};

use super::{Neighbours, lan::is_loopback};
use crate::daemon::{Daemon, Event};

/// How often the addresses of this device are looked at, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// How often it is tried again to listen, in milliseconds.
const DOOR_MS: u64 = 10_000;

/// The file with the directory, below the home.
const DIRECTORY: &str = "team/directory";

/// What is remembered of where everybody is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Directory {
    /// The port on which this device listened last: others find it there while the Mothership is away.
    pub(super) port: u16,
    /// Whether the Mothership was on this machine when it was reached last.
    pub(super) is_local: bool,
    /// What each said last, with its signature.
    pub(super) words: BTreeMap<PeerId, SignedReach>,
}

impl Directory {
    /// What is known of where a device is: its own word, or else what the Mothership's list says, which nobody signed
    /// and which every word therefore replaces.
    // spec: peers/1.7
    fn reach_of(&self, card: &PeerCard) -> Reach {
        match self.words.get(&card.peer) {
            Some(said) => said.reach.clone(),
            None => Reach {
                counter: 0,
                ..card.reach.clone()
            },
        }
    }

    fn counter_of(&self, peer: PeerId) -> u64 {
        let said = self.words.get(&peer);
        said.map_or(0, |said| said.reach.counter)
    }

    /// Keeps a device's own word, if it is one and newer than what it said before; whether it did.
    // spec: peers/1.2
    fn learn(&mut self, team: TeamId, said: SignedReach) -> bool {
        let is_newer = self.counter_of(said.peer) < said.reach.counter;
        let counts = is_newer && verify_reach(team, &said).is_ok();
        if counts {
            self.words.insert(said.peer, said);
        }
        counts
    }

    /// Those whose newest word is not here, as the Mothership's list says.
    fn behind<'a>(&self, cards: impl Iterator<Item = &'a PeerCard>) -> Vec<PeerId> {
        let behind = cards.filter(|card| self.counter_of(card.peer) < card.reach.counter);
        behind.map(|card| card.peer).collect()
    }
}

impl Daemon {
    /// Where others may dial this device, as it is set.
    fn wants_door(&self) -> Option<SocketAddr> {
        let settings = self.settings.links();
        let is_open = settings.direct && settings.visibility == Visibility::Open;
        self.settings.listen().filter(|_| is_open)
    }

    /// Tries again to listen, where that was not possible: an interface may come late.
    pub(super) fn tend_door(&mut self) {
        let now_ms = self.clock.mono_ms();
        let at_ms = self.neighbours.as_ref().and_then(|known| known.door_at_ms);
        if at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.open_door();
            if let Some(neighbours) = &mut self.neighbours {
                neighbours.look_at_ms = 0;
            }
        }
    }

    /// Listens for others, unless nobody is to dial this device.
    pub(in crate::daemon) fn open_door(&mut self) {
        let listen = self.wants_door();
        let again_ms = self.clock.mono_ms() + DOOR_MS;
        let credentials = self.identity.credentials();
        let (Some(neighbours), Some(listen), Some(credentials), Some(enrolment)) = (
            &mut self.neighbours,
            listen,
            credentials,
            &self.identity.enrolment,
        ) else {
            return;
        };
        let revoked = neighbours.revoked();
        neighbours.door_at_ms = None;
        let known = neighbours.door_why.take();
        let _guard = self.runtime.enter();
        let bind = |port: u16| {
            let at = SocketAddr::new(listen.ip(), port);
            let config = ListenConfig {
                enrols: false,
                ..ListenConfig::default()
            };
            Listener::bind_with(
                at,
                &credentials,
                enrolment.team,
                Arc::clone(&revoked),
                config,
            )
        };
        let again = Some(neighbours.directory.port).filter(|_| listen.port() == 0);
        let bound = again.map_or_else(
            || bind(listen.port()),
            |port| bind(port).or_else(|_| bind(0)),
        );
        let mut listener = match bound {
            Ok(listener) => listener,
            Err(error) => {
                let why = format!("cannot listen at {listen}: {}", crate::chain(&error));
                neighbours.door_at_ms = Some(again_ms);
                neighbours.door_why = Some(why.clone());
                if known.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                    self.emit("link", None, None, None, why);
                }
                return;
            }
        };
        let (local, renewer) = (listener.local(), listener.renewer());
        neighbours.directory.port = local.port();
        let events = self.sender.clone();
        let task = self.runtime.spawn(async move {
            while let Some(incoming) = listener.next().await {
                if events.send(Event::Incoming(Box::new(incoming))).is_err() {
                    return;
                }
            }
        });
        neighbours.door = Some((local, renewer, task));
    }

    /// Links are made as they are set from now on.
    pub(in crate::daemon) fn links_were_set(&mut self) {
        let (settings, wanted) = (self.settings.links(), self.wants_door());
        let mut stands = false;
        if let Some(neighbours) = &mut self.neighbours {
            let is_it = |local: &SocketAddr, at: SocketAddr| {
                at.ip() == local.ip() && (at.port() == 0 || at.port() == local.port())
            };
            let door = neighbours.door.as_ref();
            stands = door.is_some_and(|(local, ..)| wanted.is_some_and(|at| is_it(local, at)));
            if !stands && let Some((.., task)) = neighbours.door.take() {
                task.abort();
            }
            neighbours.door_at_ms = None;
            (neighbours.is_stale, neighbours.look_at_ms) = (true, 0);
        }
        self.end_lan();
        if !stands {
            self.open_door();
        }
        self.tell_links(Input::Settings(settings));
    }

    /// A fresh certificate is shown from now on.
    pub(in crate::daemon) fn renew_door(&self) {
        let door = self
            .neighbours
            .as_ref()
            .and_then(|known| known.door.as_ref());
        if let (Some((_, renewer, _)), Some(credentials)) = (door, self.identity.credentials())
            && let Err(error) = renewer.renew(&credentials)
        {
            tracing::warn!(%error, "the door keeps its certificate");
        }
    }

    /// The Mothership was reached: on this machine or elsewhere.
    pub(in crate::daemon) fn mothership_is_at(&mut self, remote: Option<SocketAddr>) {
        let is_local = remote.is_some_and(|remote| remote.ip().is_loopback());
        if let Some(neighbours) = &mut self.neighbours
            && neighbours.directory.is_local != is_local
        {
            neighbours.directory.is_local = is_local;
            (neighbours.is_stale, neighbours.look_at_ms) = (true, 0);
            self.save_directory();
        }
    }

    pub(in crate::daemon) fn locality(&self) -> Locality {
        let is_local = self
            .neighbours
            .as_ref()
            .is_some_and(|known| known.directory.is_local);
        if is_local {
            Locality::Machine
        } else {
            Locality::Network
        }
    }

    /// Tells where this device is, if that has changed.
    pub(in crate::daemon) fn look_at_own_addresses(&mut self) {
        let now = self.now();
        let is_due = |known: &Neighbours| known.look_at_ms <= now.mono_ms;
        if !self.neighbours.as_ref().is_some_and(is_due) {
            return;
        }
        let (locality, settings) = (self.locality(), self.settings.links());
        let announced = self.settings.announce();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        neighbours.look_at_ms = now.mono_ms + LOOK_MS;
        let is_unsaved = neighbours.is_unsaved;
        let is_open = settings.visibility == Visibility::Open;
        let addresses = match neighbours.door.as_ref().map(|(local, ..)| *local) {
            Some(_) if is_open && !announced.is_empty() => announced,
            Some(local) if is_open => own_addresses(local, locality),
            Some(_) | None => Vec::new(),
        };
        let addresses: Vec<SocketAddr> = addresses.into_iter().take(HINTS_MAX).collect();
        let Some(team) = self.identity.enrolment.as_ref().map(|own| own.team) else {
            return;
        };
        let me = self.identity.key.peer();
        let known = neighbours.directory.words.get(&me).map(|said| &said.reach);
        let is_same = known.is_some_and(|known| {
            known.addresses == addresses && known.visibility == settings.visibility
        });
        let counter = known.map_or(0, |known| known.counter);
        let counter = if is_same {
            counter
        } else {
            (counter + 1).max(now.wall_ms / 1_000)
        };
        let reach = Reach {
            counter,
            visibility: settings.visibility,
            addresses,
        };
        let is_told = self
            .control
            .as_ref()
            .is_some_and(|control| control.has_reach(counter));
        if is_same && is_told {
            if is_unsaved {
                self.save_directory();
            }
            return;
        }
        let said = sign_reach(&self.identity.key, team, reach);
        let before = neighbours.directory.words.insert(me, said.clone());
        let was_loopback = before.is_some_and(|said| is_loopback(&said.reach.addresses));
        if let Some((lan, _)) = &neighbours.lan {
            lan.announce(&said.reach.addresses);
        }
        neighbours
            .machine
            .handle(now, Input::Announce(said.clone()));
        // Which interfaces it looks at is chosen when it begins.
        if was_loopback != is_loopback(&said.reach.addresses) {
            self.end_lan();
        }
        if let Some(control) = &mut self.control {
            control.set_reach(said);
        }
        self.save_directory();
        self.pump_control();
    }

    /// Where others were; one that cannot be read is told anew.
    pub(super) fn read_directory(&self) -> Directory {
        let bytes = std::fs::read(self.home.join(DIRECTORY)).unwrap_or_default();
        codec::decode(&bytes).unwrap_or_default()
    }

    pub(in crate::daemon) fn save_directory(&mut self) {
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        neighbours.is_unsaved = false;
        let bytes = codec::encode(&neighbours.directory);
        if let Err(error) = write_atomic(&self.home.join(DIRECTORY), &bytes, 0o600) {
            tracing::warn!(error = %crate::chain(&error), "where others are is not remembered");
        }
    }

    /// What is known of where a device is.
    pub(super) fn reach_of(&self, card: &PeerCard) -> Reach {
        let known = self.neighbours.as_ref();
        known.map_or_else(Reach::default, |known| known.directory.reach_of(card))
    }

    /// Takes a device's own word of where it is, if it is one and newer than what it said before.
    pub(in crate::daemon) fn learn(&mut self, said: SignedReach) {
        let is_other = said.peer != self.identity.key.peer();
        let is_member = self.peers.contains_key(&said.peer);
        let team = self.identity.enrolment.as_ref().map(|own| own.team);
        if let (Some(team), Some(neighbours)) = (team, &mut self.neighbours)
            && is_other
            && is_member
            && neighbours.directory.learn(team, said)
        {
            (neighbours.is_stale, neighbours.is_unsaved) = (true, true);
        }
    }

    /// Asks for the words of devices that, as the Mothership's list says, have said something newer.
    // spec: peers/1.7
    pub(in crate::daemon) fn ask_for_words(&mut self) {
        let me = self.identity.key.peer();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let words = &mut neighbours.directory.words;
        // The list alone does not make anybody forgotten: it is not signed.
        let is_member = |peer| {
            let team = self.team.as_ref();
            team.is_some_and(|team| team.roster.member(peer).is_some())
        };
        words.retain(|peer, _| *peer == me || self.peers.contains_key(peer) || is_member(*peer));
        let others = self.peers.values().filter(|card| card.peer != me);
        let behind = neighbours.directory.behind(others);
        for peers in behind.chunks(PEERS_PER_MESSAGE_MAX) {
            let peers = peers.to_vec();
            self.send(0, &Message::PeerQuery(PeerQuery { peers }));
        }
    }

    /// Where this device says that it is.
    pub(in crate::daemon) fn announced(&self) -> Option<&Reach> {
        let known = &self.neighbours.as_ref()?.directory.words;
        Some(&known.get(&self.identity.key.peer())?.reach)
    }
}

/// Where this device can be dialled, the nearest first.
fn own_addresses(local: SocketAddr, locality: Locality) -> Vec<SocketAddr> {
    let ips: Vec<IpAddr> = if local.ip().is_unspecified() {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        interfaces.iter().map(if_addrs::Interface::ip).collect()
    } else {
        vec![local.ip()]
    };
    let listens = |ip: &IpAddr| local.is_ipv6() || ip.is_ipv4();
    let addresses = ips
        .into_iter()
        .filter(listens)
        .map(|ip| SocketAddr::new(ip, local.port()));
    let classed = addresses.filter_map(|address| Some((class_of(address, locality)?, address)));
    let mut classed: Vec<(Class, SocketAddr)> = classed.collect();
    classed.sort();
    classed.dedup();
    let addresses = classed.into_iter().map(|(_, address)| address);
    addresses.take(HINTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aura_proto::message::{PeerState, Role};
    use aura_trust::IdentityKey;

    use super::*;

    const TEAM: TeamId = TeamId([1; 16]);

    fn bob() -> IdentityKey {
        IdentityKey::from_seed([2; 32])
    }

    fn reach(counter: u64, address: &str) -> Reach {
        Reach {
            counter,
            visibility: Visibility::Open,
            addresses: vec![address.parse().unwrap()],
        }
    }

    /// What the Mothership's list says of Bob.
    fn listed(counter: u64, address: &str) -> PeerCard {
        PeerCard {
            peer: bob().peer(),
            name: "bob".to_owned(),
            role: Role::Member,
            receive: None,
            state: PeerState::Online,
            last_seen_ms: 0,
            reach: reach(counter, address),
        }
    }

    #[test]
    fn what_the_list_says_serves_until_the_device_says_something_itself() {
        let mut directory = Directory::default();
        let card = listed(u64::MAX, "10.0.0.66:7777");
        let hint = directory.reach_of(&card);
        assert_eq!((hint.counter, &hint.addresses), (0, &card.reach.addresses));
        let own = reach(3, "10.0.0.2:7777");
        assert!(directory.learn(TEAM, sign_reach(&bob(), TEAM, own.clone())));
        assert_eq!(directory.reach_of(&card), own);
        // The list alone moves nobody; it is a reason to ask.
        assert_eq!(directory.behind([&card].into_iter()), [bob().peer()]);
        assert_eq!(
            directory.behind([&listed(3, "10.0.0.66:1")].into_iter()),
            []
        );
    }

    #[test]
    fn of_two_words_the_newer_one_counts_and_a_forged_one_never() {
        let mut directory = Directory::default();
        let said = |counter, address| sign_reach(&bob(), TEAM, reach(counter, address));
        assert!(directory.learn(TEAM, said(5, "10.0.0.2:7777")));
        assert!(!directory.learn(TEAM, said(5, "10.0.0.3:7777")));
        assert!(!directory.learn(TEAM, said(4, "10.0.0.3:7777")));
        let mut forged = said(6, "10.0.0.3:7777");
        forged.reach.addresses = reach(6, "10.0.0.66:7777").addresses;
        assert!(!directory.learn(TEAM, forged));
        assert!(!directory.learn(TeamId([9; 16]), said(7, "10.0.0.3:7777")));
        assert_eq!(directory.counter_of(bob().peer()), 5);
        assert!(directory.learn(TEAM, said(6, "10.0.0.4:7777")));
    }
}
