//! When zones are over: what the log cannot say by itself, as no entry comes of a holder that is gone.
//!
//! The Mothership ends a zone by an entry of its own. A zone is over when its holder has changed nothing in it for as
//! long as it was to last, or is not heard of for [`ZONE_LEASE_MS`], or was removed. The log does not keep these times:
//! after a start each zone has all of its time again, so that nothing ends early.
//!
//! Invariants:
//! - only the monotonic clock decides, whatever calendars say;
//! - an end is judged again when it is staged: whoever came back meanwhile keeps its zone.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{
    Entry, Header, Incarnation, Kind, LogId, PeerId, Writer, entry::PROTOCOL_LEVEL,
    limits::ZONE_LEASE_MS, zone::ZoneBody,
};
use aura_trust::sign_entry;

use super::{
    Hub,
    batch::{Flight, Pending, Staged, Then},
    ledger::{self, Placement},
    record::Record,
};
use crate::{
    Now,
    zones::{Zone, Zones},
};

/// How long an end that could not be stored waits, in milliseconds.
const AGAIN_MS: u64 = 10_000;

/// The zones of all logs, and when they are over.
#[derive(Debug, Default)]
pub(super) struct Leases {
    logs: BTreeMap<LogId, Zones>,
    /// When a zone has lasted without a change of its holder for as long as it was to.
    until_ms: BTreeMap<(LogId, u64), u64>,
    /// Since when a holder has no link.
    left_ms: BTreeMap<PeerId, u64>,
    /// Zones whose end is on its way, and when it is tried again.
    ending: BTreeMap<(LogId, u64), u64>,
    /// The earliest time at which one is over, if that is known.
    due_ms: Option<u64>,
}

impl Leases {
    /// Takes a durable entry; what no honest device writes says nothing.
    pub(super) fn place(&mut self, grantor: PeerId, seq: u64, entry: &Entry) {
        let header = entry.header();
        if header.kind != Kind::ZONE {
            return;
        }
        if let Ok(body) = ZoneBody::decode(&entry.body()) {
            let zones = self.logs.entry(header.log);
            let zones = zones.or_insert_with(|| Zones::new(grantor));
            zones.place(seq, header.writer.peer, &body);
        }
    }

    /// The zones of a log, if there were ever some.
    pub(super) fn zones(&self, log: LogId) -> Option<&Zones> {
        self.logs.get(&log)
    }

    /// Begins to count: each zone has all of its time.
    pub(super) fn start(&mut self, now: Now) {
        for (log, zones) in &self.logs {
            for zone in zones.live() {
                self.left_ms.insert(zone.holder, now.mono_ms);
                let until_ms = now.mono_ms + zone.ttl_ms.max(ZONE_LEASE_MS);
                self.until_ms.insert((*log, zone.fence), until_ms);
            }
        }
        self.count();
    }

    /// Follows an entry that has become durable just now: it may begin, end or renew zones.
    pub(super) fn follow(&mut self, now: Now, entry: &Entry) {
        let header = entry.header();
        let Some(zones) = self.logs.get(&header.log) else {
            return;
        };
        let (log, author) = (header.log, header.writer.peer);
        match header.kind {
            Kind::ZONE => {
                self.until_ms
                    .retain(|(of, fence), _| *of != log || zones.get(*fence).is_some());
                self.ending
                    .retain(|(of, fence), _| *of != log || zones.get(*fence).is_some());
                let extends = match ZoneBody::decode(&entry.body()) {
                    Ok(ZoneBody::Extend { fence, .. }) => Some(fence),
                    _ => None,
                };
                for zone in zones.live() {
                    let until_ms = now.mono_ms + zone.ttl_ms;
                    let known = self.until_ms.entry((log, zone.fence)).or_insert(until_ms);
                    if extends == Some(zone.fence) && zone.holder == author {
                        *known = until_ms;
                    }
                }
            }
            Kind::PATCH if header.fence != 0 => {
                let zone = zones.get(header.fence);
                if let Some(zone) = zone.filter(|zone| zone.holder == author) {
                    let until_ms = now.mono_ms + zone.ttl_ms;
                    self.until_ms.insert((log, zone.fence), until_ms);
                }
            }
            _ => return,
        }
        self.count();
    }

    /// A member has a link again, or has none any more.
    pub(super) fn seen(&mut self, now: Now, peer: PeerId, is_there: bool) {
        if is_there {
            self.left_ms.remove(&peer);
        } else {
            self.left_ms.insert(peer, now.mono_ms);
        }
        self.count();
    }

    /// A member was removed: its zones are over at once.
    pub(super) fn removed(&mut self, now: Now, peer: PeerId) {
        for (log, zones) in &self.logs {
            for zone in zones.live().filter(|zone| zone.holder == peer) {
                self.until_ms.insert((*log, zone.fence), now.mono_ms);
            }
        }
        self.count();
    }

    /// When a zone is over, as far as is known now.
    fn over_ms(&self, log: LogId, zone: &Zone) -> u64 {
        let until_ms = self.until_ms.get(&(log, zone.fence)).copied();
        let left_ms = self.left_ms.get(&zone.holder);
        let lapses_ms = left_ms.map(|left_ms| left_ms + ZONE_LEASE_MS);
        let times = until_ms.into_iter().chain(lapses_ms);
        times.min().unwrap_or(u64::MAX)
    }

    fn all(&self) -> impl Iterator<Item = (LogId, u64, u64)> + '_ {
        self.logs.iter().flat_map(move |(log, zones)| {
            zones.live().map(move |zone| {
                let again_ms = self.ending.get(&(*log, zone.fence)).copied();
                let over_ms = self.over_ms(*log, zone).max(again_ms.unwrap_or(0));
                (*log, zone.fence, over_ms)
            })
        })
    }

    fn count(&mut self) {
        self.due_ms = self.all().map(|(.., over_ms)| over_ms).min();
    }

    /// When one is over, on the monotonic clock.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.due_ms
    }

    /// Zones that are over; each is named again after a while, unless its end has come.
    pub(super) fn take_over(&mut self, now: Now) -> Vec<(LogId, u64)> {
        if self.due_ms.is_none_or(|due_ms| now.mono_ms < due_ms) {
            return Vec::new();
        }
        let over = self.all().filter(|(.., over_ms)| *over_ms <= now.mono_ms);
        let over: BTreeSet<(LogId, u64)> = over.map(|(log, fence, _)| (log, fence)).collect();
        for zone in &over {
            self.ending.insert(*zone, now.mono_ms + AGAIN_MS);
        }
        self.count();
        over.into_iter().collect()
    }

    /// Whether a zone whose end is on its way is over still.
    fn is_over(&self, now: Now, log: LogId, fence: u64) -> bool {
        let zone = self.zones(log).and_then(|zones| zones.get(fence));
        zone.is_some_and(|zone| self.over_ms(log, zone) <= now.mono_ms)
    }
}

impl Hub {
    /// Ends what is over.
    pub(super) fn end_zones(&mut self, now: Now) {
        for (log, fence) in self.leases.take_over(now) {
            self.queue.push_back(Pending::End { log, fence });
        }
    }

    /// Puts the end of a zone into the batch, as an entry of the Mothership.
    // spec: zones/2.4
    pub(super) fn stage_end(
        &mut self,
        now: Now,
        staged: &mut ledger::Staged,
        flight: &mut Flight,
        (log, fence): (LogId, u64),
    ) {
        if !self.leases.is_over(now, log, fence) {
            return;
        }
        let writer = Writer {
            peer: self.config.key.peer(),
            incarnation: Incarnation(self.epoch),
        };
        let (author_seq, prev) = self.ledger.next(staged, log, writer);
        let body = ZoneBody::End { fence }.encode();
        let time_ms = self.clock(now);
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::ZONE,
            flags: 0,
            team: self.config.team,
            log,
            writer,
            author_seq,
            prev,
            lamport: author_seq,
            time_ms,
            fence,
            key_epoch: 0,
            body_len: 0,
            body_hash: aura_proto::Digest::ZERO,
        };
        let Ok(entry) = sign_entry(&self.config.key, &header, &body) else {
            return;
        };
        if let Ok(Placement::New { seq }) = self.ledger.place(staged, &entry) {
            self.ledger.stage(staged, seq, time_ms, &entry);
            flight.staged.push(Staged {
                record: Record::Entry {
                    seq,
                    time_ms,
                    entry,
                },
                then: Then::Nothing,
            });
        }
    }
}
