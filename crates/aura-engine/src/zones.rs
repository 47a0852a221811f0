//! Who holds which zone of a repository, as its log says.
//!
//! The Mothership and every device fold the same entries in the order of the log, so they agree at each position, and no
//! clock decides anything here: that a lease has lapsed is said by an entry of the Mothership, whose clock it is.
//!
//! Invariants:
//! - of two zones that meet on one branch and have two holders, neither blocks;
//! - fences are positions in the log, so they only grow, and one that is over never lives again;
//! - whatever others can make grow has a limit: the zones of a holder, the questions about a zone.

use std::collections::BTreeMap;

use aura_proto::{
    PeerId,
    limits::{ZONE_ASKS_MAX, ZONES_PER_HOLDER_MAX},
    zone::{Place, Tag, ZoneBody, ZoneMode},
};

/// A zone that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its fencing number: the position from which on its holder holds it.
    pub fence: u64,
    /// Position of the claim that says what it covers.
    pub claim: u64,
    /// Who holds it.
    pub holder: PeerId,
    /// What it does to the changes of others.
    pub mode: ZoneMode,
    /// The branch; none for all.
    pub branch: Option<Tag>,
    /// What it covers.
    pub places: Vec<Place>,
    /// How long it lasts after the last change of its holder in it, in milliseconds.
    pub ttl_ms: u64,
}

impl Zone {
    /// Whether one of these places is in it, or has something of it in itself.
    pub fn meets(&self, places: &[Place]) -> bool {
        let meets = |place: &Place| self.places.iter().any(|own| own.meets(place));
        places.iter().any(meets)
    }
}

/// A question that the holder of a zone has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which zone.
    pub fence: u64,
    /// Who asks.
    pub asker: PeerId,
}

/// What became of an entry at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The claim is a zone from here on.
    Granted {
        /// Zones of others that ended for it.
        taken: Vec<u64>,
    },
    /// Another zone is in the way.
    Held {
        /// Its fence.
        by: u64,
    },
    /// A zone is over.
    Ended(u64),
    /// A zone lasts longer.
    Extended(u64),
    /// Somebody asks for a zone.
    Asked(Ask),
    /// The holder answered; whether the zone is the asker's from here on.
    Answered {
        /// Position of the question.
        ask: u64,
        /// Who asked for which zone.
        asked: Ask,
        /// Whether it was granted.
        grants: bool,
    },
    /// It says nothing here: its author holds no such zone, or has too many.
    Void,
}

/// Why a change does not count at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It relies on a zone that its author does not hold there.
    Stale,
    /// Somebody else holds a zone in which it is.
    Held {
        /// Its fence.
        by: u64,
    },
}

/// The zones of one log.
#[derive(Debug, Clone)]
pub struct Zones {
    grantor: PeerId,
    live: BTreeMap<u64, Zone>,
    asks: BTreeMap<u64, Ask>,
}

impl Zones {
    /// None yet; `grantor` is the Mothership's key, which ends zones.
    pub fn new(grantor: PeerId) -> Self {
        Self {
            grantor,
            live: BTreeMap::new(),
            asks: BTreeMap::new(),
        }
    }

    /// Zones that are held, by fence.
    pub fn live(&self) -> impl Iterator<Item = &Zone> {
        self.live.values()
    }

    /// A zone that is held.
    pub fn get(&self, fence: u64) -> Option<&Zone> {
        self.live.get(&fence)
    }

    /// Questions that are not answered, by position.
    pub fn asks(&self) -> impl Iterator<Item = (u64, Ask)> {
        self.asks.iter().map(|(position, ask)| (*position, *ask))
    }

    /// A question that is not answered.
    pub fn ask(&self, position: u64) -> Option<Ask> {
        self.asks.get(&position).copied()
    }

    /// Takes the entry at a position.
    // spec: zones/2.1
    pub fn place(&mut self, position: u64, author: PeerId, body: &ZoneBody) -> Outcome {
        match body {
            ZoneBody::Claim {
                mode,
                branch,
                places,
                ttl_ms,
                takes,
                ..
            } => {
                let zone = Zone {
                    fence: position,
                    claim: position,
                    holder: author,
                    mode: *mode,
                    branch: *branch,
                    places: places.clone(),
                    ttl_ms: *ttl_ms,
                };
                self.claim(zone, *takes)
            }
            ZoneBody::End { fence } => match self.of(*fence, author) {
                Some(_) => {
                    self.end(*fence);
                    Outcome::Ended(*fence)
                }
                None => Outcome::Void,
            },
            ZoneBody::Extend { fence, ttl_ms } => {
                match self.of(*fence, author).filter(|_| author != self.grantor) {
                    Some(_) => {
                        if let Some(zone) = self.live.get_mut(fence) {
                            zone.ttl_ms = *ttl_ms;
                        }
                        Outcome::Extended(*fence)
                    }
                    None => Outcome::Void,
                }
            }
            ZoneBody::Ask { fence, .. } => self.asked(position, *fence, author),
            ZoneBody::Answer { ask, grants, .. } => self.answered(position, author, *ask, *grants),
        }
    }

    /// The zone, if its author may end it.
    fn of(&self, fence: u64, author: PeerId) -> Option<&Zone> {
        let zone = self.live.get(&fence);
        zone.filter(|zone| zone.holder == author || author == self.grantor)
    }

    fn end(&mut self, fence: u64) -> Option<Zone> {
        self.asks.retain(|_, ask| ask.fence != fence);
        self.live.remove(&fence)
    }

    /// Zones of others that exclude this one.
    // spec: zones/2.2
    fn in_the_way<'a>(&'a self, zone: &Zone) -> impl Iterator<Item = &'a Zone> {
        self.live.values().filter(move |other| {
            let blocks = [zone.mode, other.mode].contains(&ZoneMode::Block);
            let shares_branch = match (zone.branch, other.branch) {
                (Some(here), Some(there)) => here == there,
                _ => true,
            };
            other.holder != zone.holder && blocks && shares_branch && other.meets(&zone.places)
        })
    }

    /// The zone of somebody else that would refuse this one now.
    pub fn obstacle(&self, zone: &Zone) -> Option<&Zone> {
        self.in_the_way(zone).next()
    }

    fn has_room(&self, holder: PeerId) -> bool {
        let held = self.live.values().filter(|held| held.holder == holder);
        held.count() < ZONES_PER_HOLDER_MAX
    }

    fn claim(&mut self, zone: Zone, takes: bool) -> Outcome {
        if !self.has_room(zone.holder) {
            return Outcome::Void;
        }
        let taken: Vec<u64> = self.in_the_way(&zone).map(|zone| zone.fence).collect();
        match taken.first() {
            Some(by) if !takes => Outcome::Held { by: *by },
            _ => {
                for fence in &taken {
                    self.end(*fence);
                }
                self.live.insert(zone.fence, zone);
                Outcome::Granted { taken }
            }
        }
    }

    fn asked(&mut self, position: u64, fence: u64, asker: PeerId) -> Outcome {
        let is_others = |zone: &Zone| zone.holder != asker;
        let open = self.asks.values().filter(|ask| ask.fence == fence).count();
        if !self.live.get(&fence).is_some_and(is_others) || ZONE_ASKS_MAX <= open {
            return Outcome::Void;
        }
        let ask = Ask { fence, asker };
        self.asks.insert(position, ask);
        Outcome::Asked(ask)
    }

    fn answered(&mut self, position: u64, author: PeerId, ask: u64, grants: bool) -> Outcome {
        let Some(asked) = self.ask(ask) else {
            return Outcome::Void;
        };
        let is_holder = |zone: &&Zone| zone.holder == author;
        let Some(zone) = self.live.get(&asked.fence).filter(is_holder).cloned() else {
            return Outcome::Void;
        };
        let granted = Zone {
            fence: position,
            holder: asked.asker,
            ..zone
        };
        let is_it = |other: &Zone| other.fence == asked.fence;
        let is_free = self.in_the_way(&granted).all(is_it);
        if grants && !(is_free && self.has_room(asked.asker)) {
            return Outcome::Void;
        }
        self.asks.remove(&ask);
        if grants {
            self.end(asked.fence);
            self.live.insert(position, granted);
        }
        Outcome::Answered { ask, asked, grants }
    }

    /// Whether a change of these places counts here; `fence` is what it relies on, 0 for nothing.
    // spec: zones/3.2
    pub fn judge(
        &self,
        author: PeerId,
        fence: u64,
        branch: Tag,
        places: &[Place],
    ) -> Result<(), Verdict> {
        let holds = |zone: &Zone| zone.holder == author;
        if fence != 0 && !self.live.get(&fence).is_some_and(holds) {
            return Err(Verdict::Stale);
        }
        let mut blocking = self.covering(branch, places);
        match blocking.find(|zone| zone.mode == ZoneMode::Block && zone.holder != author) {
            Some(zone) => Err(Verdict::Held { by: zone.fence }),
            None => Ok(()),
        }
    }

    /// The zones in which one of these places is.
    pub fn covering(&self, branch: Tag, places: &[Place]) -> impl Iterator<Item = &Zone> {
        self.live.values().filter(move |zone| {
            let is_here = zone.branch.is_none_or(|there| there == branch);
            let holds = |place: &Place| zone.places.iter().any(|there| there.holds(place));
            is_here && places.iter().any(holds)
        })
    }
}
