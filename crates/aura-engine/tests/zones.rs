//! Zones: a Mothership and many devices that claim, write, stop, come back late and have clocks that jump.
//!
//! `AURA_ZONE_ROUNDS` sets how many rounds are played, `AURA_ZONE_SEED` from which seed on.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::{
    Now,
    hub::{
        Config, Hub, Input, LinkId, Output, check_push,
        record::{Admitted, Fact, Record},
    },
    zones::{Outcome, Verdict, Zone, Zones},
};
use aura_proto::{
    Digest, Entry, Header, Incarnation, Kind, LogId, PeerId, TeamId, Writer,
    entry::PROTOCOL_LEVEL,
    event::encode_push,
    limits::{ZONE_ASKS_MAX, ZONE_LEASE_MS, ZONES_PER_HOLDER_MAX},
    message::{Auth, Hello, Message, Role, VERSION_MAX, VERSION_MIN, feature},
    zone::{Place, Sealed, Tag, ZoneBody, ZoneMode},
};
use aura_trust::{IdentityKey, auth_proof, sign_entry};
use bytes::Bytes;

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
const EXPORTER: [u8; 32] = [3; 32];
const BRANCH: Tag = Tag([9; 16]);
const TTL_MS: u64 = 600_000;

fn key(n: u64) -> IdentityKey {
    IdentityKey::from_seed(Digest::of(&n.to_be_bytes()).0)
}

/// `a/b`: file b of directory a.
fn file(dir: u8, file: u8) -> Place {
    Place {
        above: vec![Tag([0; 16]), Tag([dir; 16])],
        own: Tag([100 + 10 * dir + file; 16]),
    }
}

fn directory(dir: u8) -> Place {
    Place {
        above: vec![Tag([0; 16])],
        own: Tag([dir; 16]),
    }
}

fn claim(mode: ZoneMode, places: Vec<Place>, takes: bool) -> ZoneBody {
    ZoneBody::Claim {
        mode,
        branch: Some(BRANCH),
        places,
        ttl_ms: TTL_MS,
        takes,
        details: Sealed::default(),
    }
}

/// A Mothership with so many members, and all that it has stored.
struct Court {
    hub: Hub,
    mono_ms: u64,
    wall_ms: u64,
    starts: u64,
    records: Vec<Bytes>,
    log: Vec<Entry>,
    /// Number and hash of each member's last entry.
    tips: BTreeMap<u64, (u64, Digest)>,
    there: BTreeSet<u64>,
}

impl Court {
    fn new(members: u64) -> Self {
        let founded = Fact::Founded {
            team_name: "acme".to_owned(),
            at_ms: 1,
        };
        let joined = (1..=members).map(|n| Fact::Joined {
            jti: format!("token-{n}"),
            member: Admitted {
                peer: key(n).peer(),
                name: format!("peer-{n}"),
                role: Role::Member,
                receive_key: [0; 32],
                receive_key_signature: Vec::new(),
                certificate: Vec::new(),
                not_after_s: u64::MAX,
                founder: n == 1,
            },
            uses: 1,
            at_ms: 1,
        });
        let facts = [founded].into_iter().chain(joined);
        let records = facts.map(|fact| Record::Fact(fact).encode()).collect();
        let mut court = Self {
            hub: hub(),
            mono_ms: 1_000,
            wall_ms: 1_800_000_000_000,
            starts: 0,
            records,
            log: Vec::new(),
            tips: BTreeMap::new(),
            there: BTreeSet::new(),
        };
        court.restart();
        court
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.mono_ms,
            wall_ms: self.wall_ms,
        }
    }

    /// The Mothership ends and starts from what it has stored; nobody is linked any more.
    fn restart(&mut self) {
        self.hub = hub();
        for (lsn, record) in (1..).zip(&self.records) {
            self.hub.replay(lsn, record).unwrap();
        }
        self.starts += 1;
        self.there.clear();
        let now = self.now();
        self.hub.start(now, self.starts);
        self.drain();
    }

    fn tell(&mut self, input: Input) {
        let now = self.now();
        self.hub.handle(now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll() {
            if let Output::Append { batch, records, .. } = output {
                let first_lsn = self.records.len() as u64 + 1;
                for record in &records {
                    if let Ok(Record::Entry { seq, entry, .. }) = Record::decode(record) {
                        self.log.push(entry);
                        assert_eq!(seq, self.log.len() as u64);
                    }
                }
                let count = records.len();
                self.records.extend(records);
                let now = self.now();
                let stored = Input::Stored {
                    batch,
                    first_lsn,
                    count,
                };
                self.hub.handle(now, stored);
            }
        }
    }

    fn arrives(&mut self, n: u64) {
        if !self.there.insert(n) {
            return;
        }
        let (link, key) = (LinkId(n), key(n));
        self.tell(Input::Connected {
            link,
            peer: key.peer(),
            exporter: EXPORTER,
            remote: String::new(),
        });
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: feature::ALL,
            agent: String::new(),
            revocation_epoch: 0,
        };
        let auth = Auth {
            peer: key.peer(),
            signature: auth_proof(&key, &EXPORTER, aura_trust::Side::Dialler).to_vec(),
            reach: None,
        };
        for message in [Message::Hello(hello), Message::Auth(auth)] {
            self.tell(Input::Received {
                link,
                stream: 0,
                message,
            });
        }
    }

    fn leaves(&mut self, n: u64) {
        if self.there.remove(&n) {
            self.tell(Input::Disconnected { link: LinkId(n) });
        }
    }

    /// Time passes on the Mothership's clock; what is due is done. Those who are there go on to be.
    fn pass(&mut self, ms: u64) {
        let end_ms = self.mono_ms + ms;
        loop {
            for n in self.there.clone() {
                let beat = aura_proto::message::Heartbeat {
                    nonce: 1,
                    heads: Vec::new(),
                };
                self.tell(Input::Received {
                    link: LinkId(n),
                    stream: 0,
                    message: Message::Heartbeat(beat),
                });
            }
            if end_ms <= self.mono_ms {
                return;
            }
            let step = (end_ms - self.mono_ms).min(20_000);
            (self.mono_ms, self.wall_ms) = (self.mono_ms + step, self.wall_ms + step);
            self.tell(Input::Tick);
        }
    }

    fn entry(&mut self, n: u64, kind: Kind, fence: u64, body: &[u8]) -> Entry {
        let key = key(n);
        let (author_seq, prev) = self.tips.get(&n).copied().unwrap_or((0, Digest::ZERO));
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind,
            flags: 0,
            team: TEAM,
            log: LOG,
            writer: Writer {
                peer: key.peer(),
                incarnation: Incarnation(7),
            },
            author_seq: author_seq + 1,
            prev,
            lamport: author_seq + 1,
            time_ms: 1,
            fence,
            key_epoch: 0,
            body_len: 0,
            body_hash: Digest::ZERO,
        };
        let entry = sign_entry(&key, &header, body).unwrap();
        self.tips.insert(n, (author_seq + 1, entry.hash()));
        entry
    }

    /// A member pushes an entry; its position.
    fn push(&mut self, n: u64, kind: Kind, fence: u64, body: &[u8]) -> u64 {
        self.arrives(n);
        let entry = self.entry(n, kind, fence, body);
        let run = encode_push(LOG, std::iter::once(&entry.bytes()[..]));
        let (log, entries) = check_push(&run).unwrap();
        self.tell(Input::Pushed {
            link: LinkId(n),
            stream: 1,
            log,
            entries,
        });
        let found = self
            .log
            .iter()
            .rposition(|known| known.hash() == entry.hash());
        found.expect("it was stored") as u64 + 1
    }

    fn say(&mut self, n: u64, body: &ZoneBody) -> u64 {
        self.push(n, Kind::ZONE, 0, &body.encode())
    }
}

fn hub() -> Hub {
    Hub::new(Config {
        team: TEAM,
        team_name: "acme".to_owned(),
        key: key(0),
        ca: Vec::new(),
        heartbeat_ms: 30_000,
        offline_after_ms: 60_000,
        leaf_ttl_s: 3_600,
        relay: aura_engine::relay::Limits::default(),
    })
}

/// What a device makes of the log, position by position, and whether that may be.
struct Reader {
    zones: Zones,
    position: u64,
    fences: BTreeSet<u64>,
    over: BTreeSet<u64>,
    refused: usize,
    applied: usize,
}

impl Reader {
    fn new() -> Self {
        Self {
            zones: Zones::new(key(0).peer()),
            position: 0,
            fences: BTreeSet::new(),
            over: BTreeSet::new(),
            refused: 0,
            applied: 0,
        }
    }

    fn read(&mut self, entry: &Entry) -> Option<Outcome> {
        self.position += 1;
        let header = entry.header();
        let author = header.writer.peer;
        if header.kind == Kind::ZONE {
            let body = ZoneBody::decode(&entry.body()).unwrap();
            let outcome = self.zones.place(self.position, author, &body);
            self.check();
            return Some(outcome);
        }
        let place = file(entry.body()[0], entry.body()[1]);
        let judged = self
            .zones
            .judge(author, header.fence, BRANCH, std::slice::from_ref(&place));
        let blocking = self.zones.live().find(|zone| {
            let holds = zone.places.iter().any(|spot| spot.holds(&place));
            zone.mode == ZoneMode::Block && holds
        });
        if judged.is_ok() {
            assert!(
                blocking.is_none_or(|zone| zone.holder == author),
                "a stale write counts"
            );
            assert!(header.fence == 0 || self.zones.get(header.fence).is_some());
            self.applied += 1;
        } else {
            self.refused += 1;
        }
        None
    }

    /// At most one holder, and fences that only grow.
    fn check(&mut self) {
        let zones: Vec<&Zone> = self.zones.live().collect();
        for (n, zone) in zones.iter().enumerate() {
            for other in &zones[n + 1..] {
                let meets = |spot: &Place| other.places.iter().any(|there| there.meets(spot));
                let excludes = zone.holder != other.holder
                    && [zone.mode, other.mode].contains(&ZoneMode::Block)
                    && zone.places.iter().any(meets);
                assert!(!excludes, "two hold one place: {zone:?} {other:?}");
            }
        }
        let live: BTreeSet<u64> = zones.iter().map(|zone| zone.fence).collect();
        let newest = self.fences.last().copied().unwrap_or(0);
        for fence in live.difference(&self.fences) {
            assert!(newest < *fence && *fence == self.position, "fences grow");
        }
        self.over.extend(self.fences.difference(&live));
        assert!(
            live.is_disjoint(&self.over),
            "one that was over lives again"
        );
        self.fences.extend(live);
    }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Fifty devices, each with what it has read of the log and the zone that it last thought its own.
struct Crowd {
    court: Court,
    chance: Chance,
    views: BTreeMap<u64, Reader>,
    own: BTreeMap<u64, (u64, [u8; 2])>,
}

impl Crowd {
    /// A device that was stopped has read less than there is.
    fn reads(&mut self, n: u64) {
        let view = self.views.get_mut(&n).unwrap();
        let from = view.position as usize;
        let unread = self.court.log.len() as u64 - view.position;
        let count = match self.chance.below(4) {
            0 => self.chance.below(unread + 1),
            _ => unread,
        };
        for entry in &self.court.log[from..][..count as usize] {
            view.read(entry);
        }
    }

    fn claims(&mut self, n: u64, spot: [u8; 2]) {
        let places = match self.chance.below(4) {
            0 => vec![directory(spot[0])],
            _ => vec![file(spot[0], spot[1])],
        };
        let mode = match self.chance.below(3) {
            0 => ZoneMode::Warn,
            _ => ZoneMode::Block,
        };
        let zone = Zone {
            fence: 0,
            claim: 0,
            holder: key(n).peer(),
            mode,
            branch: Some(BRANCH),
            places: places.clone(),
            ttl_ms: TTL_MS,
        };
        let body = claim(mode, places, self.chance.below(6) == 0);
        if self.views[&n].zones.obstacle(&zone).is_none() {
            let position = self.court.say(n, &body);
            self.own.insert(n, (position, spot));
        }
    }

    fn acts(&mut self, n: u64) {
        let spot = [1, 1].map(|first| first + self.chance.below(2) as u8);
        match (self.chance.below(8), self.own.get(&n).copied()) {
            (0..=2, _) => self.claims(n, spot),
            // Whoever was stopped writes as if nothing had happened.
            (3 | 4, Some((fence, spot))) => {
                self.court.push(n, Kind::PATCH, fence, &spot);
            }
            (5, Some((fence, _))) => {
                self.court.say(n, &ZoneBody::End { fence });
                self.own.remove(&n);
            }
            (6, _) => self.court.leaves(n),
            _ => {
                self.court.push(n, Kind::PATCH, 0, &spot);
            }
        }
    }

    fn suffers(&mut self) {
        let court = &mut self.court;
        match self.chance.below(6) {
            0 => court.restart(),
            1 => court.pass(self.chance.below(TTL_MS + 60_000)),
            2 => court.pass(self.chance.below(2 * ZONE_LEASE_MS)),
            // Calendars are set, by hours or more than a year, either way.
            3 => court.wall_ms += 400 * 86_400_000,
            4 => court.wall_ms = court.wall_ms.saturating_sub(2 * 3_600_000),
            // A machine that slept for a night.
            _ => court.mono_ms += self.chance.below(8 * 3_600_000),
        }
        court.tell(Input::Tick);
    }
}

#[test]
fn i06_fifty_who_claim_stop_and_come_back_late_never_hold_one_place_together() {
    let rounds = number("AURA_ZONE_ROUNDS", 60);
    let seed = number("AURA_ZONE_SEED", 1);
    let mut crowd = Crowd {
        court: Court::new(50),
        chance: Chance(seed),
        views: (1..=50).map(|n| (n, Reader::new())).collect(),
        own: BTreeMap::new(),
    };
    let mut truth = Reader::new();
    for _ in 0..rounds {
        for n in 1..=50 {
            crowd.reads(n);
            crowd.acts(n);
        }
        crowd.suffers();
        let from = truth.position as usize;
        for entry in &crowd.court.log[from..] {
            truth.read(entry);
        }
    }
    assert!(0 < truth.applied && 0 < truth.refused && 10 < truth.over.len());
    // Whoever reads all of it comes to the same.
    for view in crowd.views.values_mut() {
        let from = view.position as usize;
        for entry in &crowd.court.log[from..] {
            view.read(entry);
        }
        let live = |reader: &Reader| reader.zones.live().cloned().collect::<Vec<_>>();
        assert_eq!(live(view), live(&truth), "seed {seed}");
    }
}

#[test]
fn case_089_no_calendar_ends_a_zone_early_or_keeps_it() {
    for jump_ms in [-400 * 86_400_000_i64, 400 * 86_400_000] {
        let mut court = Court::new(2);
        court.arrives(1);
        let fence = court.say(1, &claim(ZoneMode::Block, vec![file(1, 1)], false));
        court.wall_ms = court.wall_ms.saturating_add_signed(jump_ms);
        court.pass(TTL_MS - 1_000);
        assert_eq!(court.log.len(), 1, "{jump_ms}");
        court.wall_ms = court.wall_ms.saturating_add_signed(-jump_ms);
        court.pass(2_000);
        let [_, end] = &court.log[..] else {
            panic!("{:?}", court.log);
        };
        assert_eq!(ZoneBody::decode(&end.body()), Ok(ZoneBody::End { fence }));
        assert_eq!(end.header().writer.peer, key(0).peer());
    }
}

#[test]
fn a_holder_that_is_gone_loses_its_zone_and_one_that_is_there_or_comes_back_does_not() {
    let mut court = Court::new(2);
    court.say(1, &claim(ZoneMode::Block, vec![file(1, 1)], false));
    court.leaves(1);
    court.pass(ZONE_LEASE_MS - 1_000);
    court.arrives(1);
    court.pass(ZONE_LEASE_MS);
    assert_eq!(court.log.len(), 1);
    court.leaves(1);
    court.pass(ZONE_LEASE_MS + 1_000);
    assert_eq!(court.log.len(), 2, "it ended once");
    court.pass(TTL_MS);
    assert_eq!(court.log.len(), 2);
}

#[test]
fn work_in_a_zone_renews_it_and_a_restart_of_the_mothership_gives_all_of_its_time() {
    let mut court = Court::new(2);
    let fence = court.say(1, &claim(ZoneMode::Block, vec![file(1, 1)], false));
    for _ in 0..5 {
        court.pass(TTL_MS - 10_000);
        court.push(1, Kind::PATCH, fence, &[1, 1]);
    }
    court.pass(TTL_MS - 10_000);
    court.restart();
    court.arrives(1);
    court.pass(TTL_MS - 10_000);
    assert_eq!(court.log.len(), 6);
    court.pass(20_000);
    assert_eq!(court.log.len(), 7);
    // What another one writes does not renew it, whatever fence it names.
    let fence = court.say(1, &claim(ZoneMode::Warn, vec![file(1, 1)], false));
    court.pass(TTL_MS - 10_000);
    court.push(2, Kind::PATCH, fence, &[1, 1]);
    court.pass(20_000);
    assert_eq!(court.log.len(), 10);
}

#[test]
fn case_087_only_its_holder_and_the_mothership_end_a_zone_and_a_second_end_says_nothing() {
    let [alice, bob, box_] = [1, 2, 0].map(|n| key(n).peer());
    let mut zones = Zones::new(box_);
    let block = claim(ZoneMode::Block, vec![file(1, 1)], false);
    assert_eq!(
        zones.place(1, alice, &block),
        Outcome::Granted { taken: vec![] }
    );
    let end = ZoneBody::End { fence: 1 };
    assert_eq!(zones.place(2, bob, &block), Outcome::Held { by: 1 });
    assert_eq!(zones.live().count(), 1, "who is refused takes nothing");
    assert_eq!(zones.place(2, bob, &end), Outcome::Void);
    let extend = ZoneBody::Extend {
        fence: 1,
        ttl_ms: 5,
    };
    assert_eq!(zones.place(3, bob, &extend), Outcome::Void);
    assert_eq!(zones.place(4, alice, &extend), Outcome::Extended(1));
    assert_eq!(zones.place(5, alice, &end), Outcome::Ended(1));
    assert_eq!(zones.place(6, alice, &end), Outcome::Void);
    assert_eq!(
        zones.place(7, bob, &block),
        Outcome::Granted { taken: vec![] }
    );
    assert_eq!(
        zones.place(8, box_, &ZoneBody::End { fence: 7 }),
        Outcome::Ended(7)
    );
}

#[test]
fn case_085_a_write_that_relies_on_a_zone_that_is_over_does_not_count() {
    let [alice, bob, box_] = [1, 2, 0].map(|n| key(n).peer());
    let mut zones = Zones::new(box_);
    let block = claim(ZoneMode::Block, vec![file(1, 1)], false);
    zones.place(1, alice, &block);
    let judge = |zones: &Zones, who: PeerId, fence| zones.judge(who, fence, BRANCH, &[file(1, 1)]);
    assert_eq!(judge(&zones, alice, 1), Ok(()));
    assert_eq!(judge(&zones, alice, 0), Ok(()));
    assert_eq!(judge(&zones, bob, 1), Err(Verdict::Stale));
    assert_eq!(judge(&zones, bob, 0), Err(Verdict::Held { by: 1 }));
    zones.place(2, box_, &ZoneBody::End { fence: 1 });
    assert_eq!(judge(&zones, alice, 1), Err(Verdict::Stale));
    zones.place(3, bob, &block);
    assert_eq!(judge(&zones, alice, 1), Err(Verdict::Stale));
    assert_eq!(judge(&zones, alice, 0), Err(Verdict::Held { by: 3 }));
    // Another branch, and another file, are free.
    assert_eq!(zones.judge(alice, 0, Tag([8; 16]), &[file(1, 1)]), Ok(()));
    assert_eq!(zones.judge(alice, 0, BRANCH, &[file(1, 2)]), Ok(()));
    // What stands between the functions of a file is not in the zone of one of them.
    assert_eq!(zones.judge(alice, 0, BRANCH, &[directory(1)]), Ok(()));
}

#[test]
fn a_zone_inside_another_one_of_its_holder_is_not_given_away_alone() {
    let [alice, bob, box_] = [1, 2, 0].map(|n| key(n).peer());
    let mut zones = Zones::new(box_);
    zones.place(1, alice, &claim(ZoneMode::Block, vec![directory(1)], false));
    zones.place(2, alice, &claim(ZoneMode::Block, vec![file(1, 1)], false));
    let ask = ZoneBody::Ask {
        fence: 2,
        details: Sealed::default(),
    };
    zones.place(3, bob, &ask);
    let grant = ZoneBody::Answer {
        ask: 3,
        grants: true,
        details: Sealed::default(),
    };
    assert_eq!(zones.place(4, alice, &grant), Outcome::Void);
    zones.place(5, alice, &ZoneBody::End { fence: 1 });
    assert!(matches!(
        zones.place(6, alice, &grant),
        Outcome::Answered { .. }
    ));
    assert_eq!(zones.get(6).map(|zone| zone.holder), Some(bob));
}

#[test]
fn what_others_can_make_grow_has_a_limit() {
    let [alice, bob, box_] = [1, 2, 0].map(|n| key(n).peer());
    let mut zones = Zones::new(box_);
    let warn = claim(ZoneMode::Warn, vec![file(1, 1)], false);
    for position in 1..=ZONES_PER_HOLDER_MAX as u64 {
        assert!(matches!(
            zones.place(position, alice, &warn),
            Outcome::Granted { .. }
        ));
    }
    assert_eq!(zones.place(1_000, alice, &warn), Outcome::Void);
    let ask = ZoneBody::Ask {
        fence: 1,
        details: Sealed::default(),
    };
    for position in 0..ZONE_ASKS_MAX as u64 {
        let outcome = zones.place(2_000 + position, bob, &ask);
        assert!(matches!(outcome, Outcome::Asked(_)));
    }
    assert_eq!(zones.place(3_000, bob, &ask), Outcome::Void);
    assert_eq!(zones.place(3_001, alice, &ask), Outcome::Void, "one's own");
    let grant = ZoneBody::Answer {
        ask: 2_000,
        grants: true,
        details: Sealed::default(),
    };
    assert_eq!(
        zones.place(3_002, bob, &grant),
        Outcome::Void,
        "not the holder"
    );
    assert!(matches!(
        zones.place(3_003, alice, &grant),
        Outcome::Answered { grants: true, .. }
    ));
    assert_eq!(
        zones.get(3_003).map(|zone| (zone.holder, zone.claim)),
        Some((bob, 1))
    );
    assert_eq!(zones.asks().count(), 0, "they ended with the zone");
}
