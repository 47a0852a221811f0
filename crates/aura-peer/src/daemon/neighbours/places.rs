//! Where this device is, and where the others were.
//!
//! Invariants:
//! - what this device announces, it listens at; a change gets a higher counter, over restarts as well;
//! - what others said of where they are is remembered, so that a device finds them while the Mothership is away.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
};

use aura_engine::peer::links::Input;
use aura_net::{Listener, Revoked};
use aura_proto::{
    PeerId, Reach, Visibility, codec,
    limits::HINTS_MAX,
    reach::{Class, Locality, class_of},
};
use aura_store::write_atomic;
use aura_trust::sign_reach;
use serde::{Deserialize, Serialize};

use super::Neighbours;
use crate::daemon::{Daemon, Event};

/// How often the addresses of this device are looked at, in milliseconds.
const LOOK_MS: u64 = 5_000;

/// The file with the directory, below the home.
const DIRECTORY: &str = "team/directory";

/// What is remembered of where everybody is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Directory {
    /// The port on which this device listened last: others find it there while the Mothership is away.
    pub(super) port: u16,
    /// Whether the Mothership was on this machine when it was reached last.
    pub(super) is_local: bool,
    pub(super) reaches: BTreeMap<PeerId, Reach>,
}

impl Daemon {
    /// Listens for others, unless nobody is to dial this device.
    pub(in crate::daemon) fn open_door(&mut self) {
        let (settings, listen) = (self.settings.links(), self.settings.listen());
        let wanted = settings.direct && settings.visibility == Visibility::Open;
        let credentials = self.identity.credentials();
        let (Some(neighbours), Some(listen), Some(credentials), Some(enrolment)) = (
            &mut self.neighbours,
            listen.filter(|_| wanted),
            credentials,
            &self.identity.enrolment,
        ) else {
            return;
        };
        let removed = Arc::clone(&neighbours.removed);
        let revoked: Revoked = Arc::new(move |peer| {
            removed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&peer)
        });
        let _guard = self.runtime.enter();
        let bind = |port: u16| {
            let at = SocketAddr::new(listen.ip(), port);
            Listener::bind(at, &credentials, enrolment.team, Arc::clone(&revoked))
        };
        let again = Some(neighbours.directory.port).filter(|_| listen.port() == 0);
        let bound = again.map_or_else(
            || bind(listen.port()),
            |port| bind(port).or_else(|_| bind(0)),
        );
        let mut listener = match bound {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), %listen, "no device can dial this one");
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
        let settings = self.settings.links();
        if let Some(neighbours) = &mut self.neighbours {
            if let Some((.., task)) = neighbours.door.take() {
                task.abort();
            }
            (neighbours.is_stale, neighbours.look_at_ms) = (true, 0);
        }
        self.open_door();
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
        let known = neighbours.directory.reaches.get(&me);
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
        neighbours.directory.reaches.insert(me, reach.clone());
        let said = sign_reach(&self.identity.key, team, reach);
        neighbours
            .machine
            .handle(now, Input::Announce(said.clone()));
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

    /// Keeps where everybody is, for a start without the Mothership.
    pub(in crate::daemon) fn remember_reaches(&mut self) {
        let me = self.identity.key.peer();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        neighbours.is_stale = true;
        let reaches = &mut neighbours.directory.reaches;
        let before = reaches.len();
        reaches.retain(|peer, _| *peer == me || self.peers.contains_key(peer));
        let mut is_new = before != reaches.len();
        for card in self.peers.values().filter(|card| card.peer != me) {
            if reaches.get(&card.peer) != Some(&card.reach) {
                reaches.insert(card.peer, card.reach.clone());
                is_new = true;
            }
        }
        neighbours.is_unsaved |= is_new;
    }

    /// Where this device says that it is.
    pub(in crate::daemon) fn announced(&self) -> Option<&Reach> {
        let known = &self.neighbours.as_ref()?.directory.reaches;
        known.get(&self.identity.key.peer())
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
