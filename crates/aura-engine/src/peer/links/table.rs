//! What is remembered of each peer, each address and each link.
//!
//! Invariants:
//! - whatever others can make grow has a named limit;
//! - nothing here knows the time but as an argument, in milliseconds of the monotonic clock.

use std::{collections::BTreeMap, net::SocketAddr};

use aura_proto::{PeerId, RateWindow, SignedReach, limits::HINTS_MAX, reach::Visibility};

use super::io::{Attempt, Known, LinkId, Way};

/// An address that never led to its peer is not dialled again for this long, in milliseconds.
pub const ADDRESS_REST_MS: u64 = 600_000;
/// Addresses remembered of one peer; while all of them rest, no other one of it is dialled.
pub const ADDRESSES_REMEMBERED_MAX: usize = 64;
/// Addresses dialled in one second, over all peers.
pub const DIALS_PER_S: u64 = 10;
/// Addresses dialled at once after a pause, over all peers.
pub const DIALS_BURST: u64 = 16;
/// Attempts kept of one peer, for people.
const ATTEMPTS_KEPT_MAX: usize = 2 * HINTS_MAX;
/// New words of one peer that are believed within a minute; honest devices say one when they move.
pub const WORDS_PER_SPAN_MAX: u32 = 12;
/// See [`WORDS_PER_SPAN_MAX`], in milliseconds.
const WORDS_SPAN_MS: u64 = 60_000;
/// A round trip that is assumed where none was measured, in milliseconds.
const RTT_GUESS_MS: u64 = 100;
/// What one failure in a row counts for in a score, in milliseconds of round trip.
const FAILURE_COST_MS: u64 = 500;
/// Failures that a score counts.
const FAILURES_COUNTED_MAX: u32 = 10;

/// What is known of an address of a peer.
#[derive(Debug, Clone, Copy)]
struct Memory {
    dialled_ms: u64,
    /// Whether it once led to somebody with the peer's certificate.
    is_proven: bool,
}

/// The addresses of one peer that were dialled.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<SocketAddr, Memory>);

impl Addresses {
    /// Whether the address may be dialled as far as its own past goes.
    pub(super) fn is_dialable(&self, now_ms: u64, address: SocketAddr) -> bool {
        match self.0.get(&address) {
            Some(memory) => memory.is_proven || memory.dialled_ms + ADDRESS_REST_MS <= now_ms,
            None => self.0.len() < ADDRESSES_REMEMBERED_MAX || self.has_stale(now_ms),
        }
    }

    fn has_stale(&self, now_ms: u64) -> bool {
        let mut all = self.0.values();
        all.any(|memory| memory.dialled_ms + ADDRESS_REST_MS <= now_ms)
    }

    /// The address is dialled; it counts as failed until it is proven, whoever cancels the attempt.
    pub(super) fn dialled(&mut self, now_ms: u64, address: SocketAddr) {
        if let Some(memory) = self.0.get_mut(&address) {
            memory.dialled_ms = now_ms;
            return;
        }
        if ADDRESSES_REMEMBERED_MAX <= self.0.len() {
            self.0
                .retain(|_, memory| now_ms < memory.dialled_ms + ADDRESS_REST_MS);
        }
        let memory = Memory {
            dialled_ms: now_ms,
            is_proven: false,
        };
        self.0.insert(address, memory);
    }

    pub(super) fn proven(&mut self, address: SocketAddr) {
        if let Some(memory) = self.0.get_mut(&address) {
            memory.is_proven = true;
        }
    }

    /// A person wants all of them tried again.
    pub(super) fn forget(&mut self) {
        self.0.retain(|_, memory| memory.is_proven);
    }
}

/// A dial under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialing {
    pub(super) since_ms: u64,
    /// How many relays were asked; a direct dial comes before all of them.
    pub(super) relays_asked: usize,
    /// The session that it led to, until that one is ready.
    pub(super) link: Option<LinkId>,
    /// Whether the peer was wanted or moved meanwhile, so that the next dial does not wait if this one fails.
    pub(super) is_hurried: bool,
}

/// Which kinds of links there have been since this device announced where it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Proven {
    /// Others dialled it directly.
    pub(super) dialled: bool,
    /// It dialled others directly.
    pub(super) dials: bool,
    /// Through a relay.
    pub(super) relayed: bool,
}

/// An attempt that people may see.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) attempt: Attempt,
    pub(super) at_ms: u64,
}

/// A member with whom links are allowed.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) known: Known,
    /// Its newest word that a peer told, as long as nothing newer is known.
    pub(super) word: Option<SignedReach>,
    /// How often it has said something new lately.
    pub(super) words: RateWindow,
    pub(super) memory: Addresses,
    /// The link that is up.
    pub(super) up: Option<LinkId>,
    pub(super) dialing: Option<Dialing>,
    /// Whether it is one that links are kept with.
    pub(super) is_mesh: bool,
    pub(super) wanted_until_ms: u64,
    /// When the next dial may begin.
    pub(super) next_dial_ms: u64,
    /// Whether the next dial is made even if a link is up.
    pub(super) is_fresh_asked: bool,
    pub(super) failures: u32,
    /// How often it was tried in vain to get from a relayed link to a direct one.
    pub(super) upgrades: u32,
    /// When the last dial of it began.
    pub(super) dialled_ms: Option<u64>,
    pub(super) failing_since_ms: Option<u64>,
    /// Whether it has failed for so long that the Mothership was or will be asked, and another one serves instead.
    pub(super) is_replaced: bool,
    pub(super) is_ask_due: bool,
    /// Until when it is left alone since it closed the link for want of room.
    pub(super) declined_until_ms: u64,
    pub(super) srtt_ms: Option<u64>,
    pub(super) last_error: Option<String>,
    pub(super) tried: BTreeMap<SocketAddr, Tried>,
}

impl Peer {
    pub(super) fn new(now_ms: u64, known: Known) -> Self {
        Self {
            known,
            word: None,
            words: RateWindow::new(WORDS_SPAN_MS, WORDS_PER_SPAN_MAX),
            memory: Addresses::default(),
            up: None,
            dialing: None,
            is_mesh: false,
            wanted_until_ms: 0,
            next_dial_ms: now_ms,
            is_fresh_asked: false,
            failures: 0,
            upgrades: 0,
            dialled_ms: None,
            failing_since_ms: None,
            is_replaced: false,
            is_ask_due: false,
            declined_until_ms: 0,
            srtt_ms: None,
            last_error: None,
            tried: BTreeMap::new(),
        }
    }

    /// Takes what the shell knows; whether that changes where it can be dialled.
    pub(super) fn update(&mut self, known: Known) -> bool {
        let old = &mut self.known;
        old.person = known.person;
        old.is_online = known.is_online;
        old.is_relay = known.is_relay;
        // The shell may not have seen yet what was learned here.
        if known.reach.counter < old.reach.counter {
            return false;
        }
        if self
            .word
            .as_ref()
            .is_some_and(|word| word.reach.counter < known.reach.counter)
        {
            self.word = None;
        }
        let is_open = known.reach.visibility == Visibility::Open;
        let addresses = if is_open { known.addresses } else { Vec::new() };
        let has_moved =
            old.addresses != addresses || old.reach.visibility != known.reach.visibility;
        old.reach = known.reach;
        old.addresses = addresses;
        has_moved
    }

    /// Takes a word of the peer itself that is newer. Its addresses count once the shell has said which may be dialled.
    pub(super) fn learn(&mut self, word: &SignedReach) {
        self.known.reach = word.reach.clone();
        if word.reach.visibility != Visibility::Open {
            self.known.addresses.clear();
        }
        self.word = Some(word.clone());
    }

    pub(super) fn is_open(&self) -> bool {
        self.known.reach.visibility == Visibility::Open
    }

    pub(super) fn is_wanted(&self, now_ms: u64) -> bool {
        now_ms < self.wanted_until_ms
    }

    /// What a link to it costs, as far as its past tells: milliseconds of round trip, and 500 for each failure in a row.
    pub(super) fn score_ms(&self) -> u64 {
        let failures = u64::from(self.failures.min(FAILURES_COUNTED_MAX));
        self.srtt_ms.unwrap_or(RTT_GUESS_MS) + failures * FAILURE_COST_MS
    }

    pub(super) fn measured(&mut self, ms: u64) {
        self.srtt_ms = Some(match self.srtt_ms {
            Some(old) if ms < old => old - (old - ms) / 8,
            Some(old) => old + (ms - old) / 8,
            None => ms,
        });
    }

    pub(super) fn note(&mut self, now_ms: u64, attempts: Vec<Attempt>) {
        for attempt in attempts.into_iter().take(HINTS_MAX) {
            let tried = Tried {
                attempt,
                at_ms: now_ms,
            };
            self.tried.insert(tried.attempt.address, tried);
        }
        while ATTEMPTS_KEPT_MAX < self.tried.len() {
            let oldest = self.tried.iter().min_by_key(|(_, tried)| tried.at_ms);
            let Some(address) = oldest.map(|(address, _)| *address) else {
                return;
            };
            self.tried.remove(&address);
        }
    }
}

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// HELLO is awaited.
    Greeting,
    /// AUTH is awaited.
    Proving,
    /// The answerer has proved itself; WELCOME is awaited.
    Proven,
    /// Everything is open.
    Ready,
}

/// A TLS session with a peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) is_dialled_here: bool,
    pub(super) way: Way,
    pub(super) exporter: [u8; 32],
    pub(super) stage: Stage,
    pub(super) features: u64,
    /// Order in which links began.
    pub(super) number: u64,
    pub(super) opened_ms: u64,
    pub(super) ready_ms: u64,
    /// When the certificate ends that it began with.
    pub(super) until_ms: u64,
    pub(super) heard_ms: u64,
    /// Whether anything was heard since it is ready: then both ends know that it is.
    pub(super) is_confirmed: bool,
    /// When it became a ready one beside the one that is up.
    pub(super) spare_since_ms: u64,
    pub(super) beat_at_ms: u64,
    pub(super) nonce: u64,
    /// When the newest heartbeat was sent, until it is answered.
    pub(super) sent_at_ms: Option<u64>,
    /// The counter of the newest word of each peer that the other side was told, or said itself.
    pub(super) told: BTreeMap<PeerId, u64>,
    pub(super) round_at_ms: u64,
}

/// Tokens for addresses that may be dialled.
#[derive(Debug)]
pub(super) struct Budget {
    thousandths: u64,
    at_ms: u64,
}

impl Budget {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            thousandths: DIALS_BURST * 1_000,
            at_ms: now_ms,
        }
    }

    /// Takes `count` tokens, or says when there will be as many.
    pub(super) fn take(&mut self, now_ms: u64, count: usize) -> Result<(), u64> {
        let grown = now_ms
            .saturating_sub(self.at_ms)
            .saturating_mul(DIALS_PER_S);
        self.thousandths = (self.thousandths.saturating_add(grown)).min(DIALS_BURST * 1_000);
        self.at_ms = now_ms;
        let wanted = (count as u64).min(DIALS_BURST) * 1_000;
        match self.thousandths.checked_sub(wanted) {
            Some(rest) => {
                self.thousandths = rest;
                Ok(())
            }
            None => Err(now_ms + (wanted - self.thousandths).div_ceil(DIALS_PER_S)),
        }
    }
}

/// Chance out of a seed: xorshift64, only to spread peers out, never for secrets.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// `base`, a fifth of it more or less.
    pub(super) fn about(&mut self, base: u64) -> u64 {
        let spread = base / 5;
        base - spread + self.next() % (2 * spread + 1)
    }
}
