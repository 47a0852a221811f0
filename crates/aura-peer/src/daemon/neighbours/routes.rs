//! Messages to devices that there is no link with: over whoever is between.
//!
//! Invariant: only what opens with this device's receive key is acted on, and a probe is all that is answered.

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::peer::{
    links::LinkId,
    routes::{self, Input, Routes},
};
use aura_proto::{
    Code, PeerId,
    limits::ROUTED_HOPS_MAX,
    message::{Routed, RoutedBody},
};
use aura_trust::{Letter, open_routed, seal_routed, verify_receive_key};

use crate::{clock::random, daemon::Daemon};

/// Probes that wait for their answer; the oldest is forgotten for another one.
const PROBES_MAX: usize = 256;
/// A probe may get lost with a link that ends; until the time is over another one goes out this often.
const AGAIN_MS: u64 = 2_000;

/// How a device answered a probe.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Reached {
    pub(in crate::daemon) rtt_ms: u64,
    /// Who passed the probe on, in order.
    pub(in crate::daemon) passed: Vec<PeerId>,
}

/// A probe without an answer.
struct Probe {
    to: PeerId,
    sent_ms: u64,
}

/// How a device is asked for an answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Wish {
    /// Over at most so many links.
    pub(in crate::daemon) hops: u8,
    /// Until when, on the monotonic clock.
    pub(in crate::daemon) until_ms: u64,
    /// Whether those over whom it answers are asked next, as for a person who wants to see the way.
    pub(in crate::daemon) leads_on: bool,
}

/// Messages of this device that are on their way.
pub(super) struct Letters {
    pub(super) routes: Routes,
    probes: BTreeMap<[u8; 16], Probe>,
    /// Devices that have not answered, with when the next probe is due.
    asked: BTreeMap<PeerId, (u64, Wish)>,
    reached: BTreeMap<PeerId, Reached>,
}

impl Letters {
    pub(super) fn new(routes: Routes) -> Self {
        Self {
            routes,
            probes: BTreeMap::new(),
            asked: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    /// When the next probe is due, on the monotonic clock.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.asked.values().map(|(at_ms, _)| *at_ms).min()
    }
}

impl Daemon {
    pub(super) fn tell_routes(&mut self, input: Input) {
        let now = self.now();
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.letters.routes.handle(now, input);
        }
        let next = |daemon: &mut Self| daemon.neighbours.as_mut()?.letters.routes.poll();
        while let Some(output) = next(self) {
            match output {
                routes::Output::Send { link, message } => {
                    self.send_on(link, 0, &message);
                }
                routes::Output::Deliver(routed) => self.delivered(&routed),
                routes::Output::Forged(link) => {
                    let detail = "a message that its writer did not sign";
                    self.close_thread(link, Code::BAD_SIGNATURE, detail);
                }
            }
        }
    }

    /// A neighbour passes a message on.
    pub(super) fn hear_routed(&mut self, from: LinkId, routed: Routed) {
        let known = self.neighbours.as_ref();
        let is_removed = known.is_none_or(|known| known.is_removed(routed.from));
        let is_member = self.peers.contains_key(&routed.from) && !is_removed;
        self.tell_routes(Input::Received {
            from,
            routed,
            is_member,
        });
    }

    /// The receive key of a device, signed by it.
    fn receive_key_of(&self, peer: PeerId) -> Option<[u8; 32]> {
        let team = self.team.as_ref();
        let member = team.and_then(|team| team.roster.member(peer));
        let member = member.map(|member| (member.receive_key, &member.receive_key_signature));
        let card = || {
            let card = self.peers.get(&peer)?.receive.as_ref()?;
            Some((card.key, &card.signature))
        };
        let (key, signature) = member.or_else(card)?;
        verify_receive_key(peer, &key, signature).ok()?;
        Some(key)
    }

    fn letter(&self, to: PeerId, body: &RoutedBody) -> Option<Routed> {
        let letter = Letter {
            team: self.identity.enrolment.as_ref()?.team,
            id: random(),
            to,
            receive_key: &self.receive_key_of(to)?,
            time_ms: self.clock.wall_ms(),
            body,
        };
        seal_routed(&self.identity.key, &letter, random()).ok()
    }

    /// Asks a device for an answer, and again until it comes or the time is over; whether it could be asked.
    pub(in crate::daemon) fn ask_over(&mut self, to: PeerId, wish: Wish) -> bool {
        if !self.probe(to, wish.hops) {
            return false;
        }
        let again_ms = self.clock.mono_ms() + AGAIN_MS;
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.letters.asked.insert(to, (again_ms, wish));
        }
        true
    }

    /// Asks once more whoever has not answered yet.
    pub(super) fn tick_letters(&mut self) {
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let is_due = |_: &PeerId, (at_ms, _): &mut (u64, Wish)| *at_ms <= now_ms;
        let due: Vec<_> = neighbours.letters.asked.extract_if(.., is_due).collect();
        for (to, (_, wish)) in due {
            if now_ms < wish.until_ms {
                self.ask_over(to, wish);
            }
        }
    }

    /// Sends a probe over at most so many links; whether it could be sealed.
    fn probe(&mut self, to: PeerId, hops: u8) -> bool {
        let Some(mut routed) = self.letter(to, &RoutedBody::Probe) else {
            return false;
        };
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return false;
        };
        let probes = &mut neighbours.letters.probes;
        if PROBES_MAX <= probes.len() {
            let oldest = probes.iter().min_by_key(|(_, probe)| probe.sent_ms);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| probes.remove(&id));
        }
        let probe = Probe {
            to,
            sent_ms: now_ms,
        };
        probes.insert(routed.id, probe);
        routed.hops_left = hops;
        self.tell_routes(Input::Send(routed));
        true
    }

    /// Forgets how a device answered before.
    pub(in crate::daemon) fn forget_reached(&mut self, peer: PeerId) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.letters.reached.remove(&peer);
        }
    }

    /// How a device answered a probe.
    pub(in crate::daemon) fn reached(&self, peer: PeerId) -> Option<&Reached> {
        self.neighbours.as_ref()?.letters.reached.get(&peer)
    }

    /// Whether a device is still asked.
    pub(in crate::daemon) fn is_asked(&self, peer: PeerId) -> bool {
        let known = self.neighbours.as_ref();
        known.is_some_and(|known| known.letters.asked.contains_key(&peer))
    }

    fn delivered(&mut self, routed: &Routed) {
        let Some(team) = self.identity.enrolment.as_ref().map(|own| own.team) else {
            return;
        };
        match open_routed(&self.identity.receive, team, routed) {
            Some(RoutedBody::Probe) => {
                let (id, passed) = (routed.id, routed.passed.clone());
                let body = RoutedBody::Answer { id, passed };
                if let Some(mut answer) = self.letter(routed.from, &body) {
                    answer.way = routed.passed.iter().rev().copied().collect();
                    answer.hops_left = 1;
                    self.tell_routes(Input::Send(answer));
                }
            }
            Some(RoutedBody::Answer { id, passed }) => self.probe_answered(routed.from, id, passed),
            None => tracing::debug!("a message that does not open here"),
        }
    }

    fn probe_answered(&mut self, from: PeerId, id: [u8; 16], passed: Vec<PeerId>) {
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let letters = &mut neighbours.letters;
        // Somebody else's answer is none.
        let is_of_it = (letters.probes.get(&id)).is_some_and(|probe| probe.to == from);
        let Some(probe) = is_of_it.then(|| letters.probes.remove(&id)).flatten() else {
            return;
        };
        let me = self.identity.key.peer();
        let mut passed: Vec<PeerId> = passed.into_iter().take(ROUTED_HOPS_MAX).collect();
        passed.retain(|hop| *hop != from && *hop != me);
        let hops: BTreeSet<PeerId> = passed.iter().copied().collect();
        let rtt_ms = now_ms.saturating_sub(probe.sent_ms);
        letters.reached.insert(from, Reached { rtt_ms, passed });
        let Some((_, wish)) = letters.asked.remove(&from) else {
            return;
        };
        if wish.leads_on {
            // What is shown of those between is how they answer themselves, just now.
            letters.reached.retain(|hop, _| !hops.contains(hop));
            let hops_max = u8::try_from(ROUTED_HOPS_MAX).unwrap_or(u8::MAX);
            let wish = Wish {
                hops: hops_max,
                leads_on: false,
                ..wish
            };
            for hop in hops {
                self.ask_over(hop, wish);
            }
        }
    }
}
