//! Which adverts are news.
//!
//! Invariants:
//! - what is remembered, and how often something is said of it, is bounded, whoever floods the network;
//! - an address that nobody may be made to dial is none, whoever advertises it;
//! - time is an argument.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use aura_proto::{
    PeerId, Reach,
    reach::{Locality, class_of},
};

use super::advert::{Advert, LanKey, Part};

/// Adverts that are remembered; a network with more devices of one team is told of some of them twice.
pub const ADVERTS_MAX: usize = 256;
/// Epochs of the team key under which adverts are read: who missed more changes of it hears of them elsewhere.
pub const LAN_KEYS_MAX: usize = 4;
/// How long the same advert is no news, in milliseconds: answers to questions of others repeat it.
pub const AGAIN_MS: u64 = 30_000;
/// Sightings that are told in one burst: everybody in a large office at once.
pub const BURST_MAX: u32 = 64;
/// How long it takes until one more may be told after a burst, in milliseconds.
pub const REFILL_MS: u64 = 1_000;

/// An advert of somebody in the team: where somebody may be, which the handshake has to show.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where to dial, the nearest first; 1 to [`HINTS_MAX`](aura_proto::limits::HINTS_MAX).
    pub addresses: Vec<SocketAddr>,
    advert: Advert,
    key: LanKey,
}

impl Found {
    /// Who of these says that it is there; the others cannot be told from strangers.
    pub fn peer_among(&self, peers: impl IntoIterator<Item = PeerId>) -> Option<PeerId> {
        let mut peers = peers.into_iter();
        peers.find(|peer| self.advert.is_by(&self.key, *peer))
    }
}

/// What was told of an advert, and when.
#[derive(Debug)]
struct Told {
    addresses: Vec<SocketAddr>,
    at_ms: u64,
}

/// The adverts seen on the network.
#[derive(Debug)]
pub(super) struct Sightings {
    keys: Vec<LanKey>,
    own: PeerId,
    locality: Locality,
    told: BTreeMap<(Part, Part), Told>,
    left: u32,
    refilled_ms: u64,
}

impl Sightings {
    /// Looks out for adverts under these keys, of which the first [`LAN_KEYS_MAX`] count, and of others than `own`.
    pub(super) fn new(keys: &[LanKey], own: PeerId, locality: Locality) -> Self {
        Self {
            keys: keys.iter().take(LAN_KEYS_MAX).cloned().collect(),
            own,
            locality,
            told: BTreeMap::new(),
            left: BURST_MAX,
            refilled_ms: 0,
        }
    }

    /// An advert was seen at these addresses; whether that is news.
    // spec: peers/8.2, peers/8.3
    pub(super) fn see(
        &mut self,
        now_ms: u64,
        advert: Advert,
        ips: impl IntoIterator<Item = IpAddr>,
    ) -> Option<Found> {
        let key = self.keys.iter().find(|key| advert.is_of(key))?.clone();
        if advert.is_by(&key, self.own) {
            return None;
        }
        let addresses = dialable(ips, advert.port, self.locality);
        let name = (advert.nonce, advert.key_hash);
        let is_same = |told: &Told| {
            told.addresses == addresses && now_ms.saturating_sub(told.at_ms) < AGAIN_MS
        };
        if addresses.is_empty()
            || self.told.get(&name).is_some_and(is_same)
            || !self.may_tell(now_ms)
        {
            return None;
        }
        self.forget_one_for(&name);
        let told = Told {
            addresses: addresses.clone(),
            at_ms: now_ms,
        };
        self.told.insert(name, told);
        Some(Found {
            addresses,
            advert,
            key,
        })
    }

    /// How many adverts are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.told.len()
    }

    fn may_tell(&mut self, now_ms: u64) -> bool {
        let more = now_ms.saturating_sub(self.refilled_ms) / REFILL_MS;
        self.refilled_ms += more * REFILL_MS;
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(BURST_MAX);
        let is_left = 0 < self.left;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Makes room for one more, at the cost of the one of which nothing was told for longest.
    fn forget_one_for(&mut self, name: &(Part, Part)) {
        if self.told.len() < ADVERTS_MAX || self.told.contains_key(name) {
            return;
        }
        let oldest = self.told.iter().min_by_key(|(_, told)| told.at_ms);
        if let Some(name) = oldest.map(|(name, _)| *name) {
            self.told.remove(&name);
        }
    }
}

/// The addresses that may be dialled, the nearest first, each once and not too many.
pub(super) fn dialable(
    ips: impl IntoIterator<Item = IpAddr>,
    port: u16,
    locality: Locality,
) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = ips
        .into_iter()
        .map(|ip| SocketAddr::new(ip.to_canonical(), port))
        .collect();
    addresses.sort_by_key(|address| (class_of(*address, locality), *address));
    let reach = Reach {
        addresses,
        ..Reach::default()
    };
    reach.dialable(locality)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aura_proto::limits::HINTS_MAX;
    use zeroize::Zeroizing;

    use super::*;

    const ALICE: PeerId = PeerId([1; 32]);
    const BOB: PeerId = PeerId([2; 32]);

    fn key(byte: u8) -> LanKey {
        LanKey::new(Zeroizing::new([byte; 32]))
    }

    fn alice() -> Sightings {
        Sightings::new(&[key(1)], ALICE, Locality::Network)
    }

    fn of_bob() -> Advert {
        Advert::new(&key(1), [7; 16], BOB, 7_777)
    }

    /// The `n`th start of somebody.
    fn nth(n: usize) -> Advert {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        Advert::new(&key(1), nonce, BOB, 7_777)
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn lan() -> Vec<IpAddr> {
        ips(&["10.0.0.5"])
    }

    #[test]
    fn a_member_is_found_and_told_apart_by_those_who_know_it() {
        let found = alice().see(0, of_bob(), lan()).unwrap();
        assert_eq!(found.addresses, ["10.0.0.5:7777".parse().unwrap()]);
        assert_eq!(found.peer_among([ALICE, BOB]), Some(BOB));
        assert_eq!(found.peer_among([ALICE]), None);
    }

    #[test]
    fn c54_adverts_of_another_team_forged_ones_and_ones_own_are_nothing() {
        let mut alice = alice();
        let foreign = Advert::new(&key(2), [7; 16], BOB, 7_777);
        let moved = Advert {
            port: 7_778,
            ..of_bob()
        };
        let mixed = Advert {
            key_hash: Advert::new(&key(1), [7; 16], PeerId([3; 32]), 7_777).key_hash,
            ..of_bob()
        };
        // Another start, and another clone of this device, is this device all the same.
        let own = Advert::new(&key(1), [9; 16], ALICE, 7_777);
        for advert in [foreign, moved, mixed, own] {
            assert!(alice.see(0, advert, lan()).is_none(), "{advert:?}");
        }
        assert_eq!(alice.len(), 0);
    }

    #[test]
    fn who_has_missed_a_change_of_the_team_key_is_found_and_who_missed_many_is_not() {
        let keys: Vec<LanKey> = (10..20).map(key).collect();
        for (at, key) in keys.iter().enumerate() {
            let advert = Advert::new(key, [7; 16], BOB, 7_777);
            let mut alice = Sightings::new(&keys, ALICE, Locality::Network);
            let found = alice.see(0, advert, lan());
            assert_eq!(found.is_some(), at < LAN_KEYS_MAX, "key {at}");
            assert!(found.is_none_or(|found| found.peer_among([BOB]) == Some(BOB)));
        }
    }

    #[test]
    fn case_105_an_address_that_nobody_may_be_made_to_dial_is_not_found() {
        let refused = ips(&[
            "127.0.0.1",
            "169.254.169.254",
            "224.0.0.251",
            "255.255.255.255",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "ff02::fb",
            "::ffff:127.0.0.1",
        ]);
        let mut alice = alice();
        assert!(alice.see(0, of_bob(), refused).is_none());
        let smtp = Advert::new(&key(1), [7; 16], BOB, 25);
        assert!(alice.see(0, smtp, lan()).is_none());
        let mixed = ips(&["127.0.0.1", "10.0.0.5"]);
        let found = alice.see(0, of_bob(), mixed).unwrap();
        assert_eq!(found.addresses, ["10.0.0.5:7777".parse().unwrap()]);
    }

    #[test]
    fn the_machine_itself_is_found_where_the_mothership_is_on_it() {
        let mut alice = Sightings::new(&[key(1)], ALICE, Locality::Machine);
        let found = alice.see(0, of_bob(), ips(&["127.0.0.1"])).unwrap();
        assert_eq!(found.addresses, ["127.0.0.1:7777".parse().unwrap()]);
    }

    #[test]
    fn of_many_addresses_the_nearest_are_kept_each_once() {
        let far = (0..100).map(|n| IpAddr::from([93, 184, 216, n]));
        let near = ips(&["::ffff:10.0.0.5", "10.0.0.5"]);
        let found = alice().see(0, of_bob(), far.chain(near)).unwrap();
        assert_eq!(found.addresses.len(), HINTS_MAX);
        let nearest: SocketAddr = "10.0.0.5:7777".parse().unwrap();
        assert_eq!(found.addresses[0], nearest);
        let same = found.addresses.iter().filter(|known| **known == nearest);
        assert_eq!(same.count(), 1);
    }

    #[test]
    fn the_same_is_no_news_for_a_while_and_another_address_is() {
        let mut alice = alice();
        assert!(alice.see(0, of_bob(), lan()).is_some());
        assert!(alice.see(AGAIN_MS - 1, of_bob(), lan()).is_none());
        assert!(
            alice
                .see(AGAIN_MS - 1, of_bob(), ips(&["10.0.0.6"]))
                .is_some()
        );
        assert!(
            alice
                .see(2 * AGAIN_MS, of_bob(), ips(&["10.0.0.6"]))
                .is_some()
        );
    }

    #[test]
    fn a_flood_is_told_of_slowly_and_not_remembered() {
        let mut alice = alice();
        let mut told = 0;
        for n in 0..10_000 {
            told += u32::from(alice.see(0, nth(n), lan()).is_some());
        }
        assert_eq!(told, BURST_MAX);
        assert_eq!(alice.len(), usize::try_from(BURST_MAX).unwrap());
        assert!(alice.see(REFILL_MS - 1, nth(10_001), lan()).is_none());
        assert!(alice.see(REFILL_MS, nth(10_001), lan()).is_some());
        assert!(alice.see(REFILL_MS, nth(10_002), lan()).is_none());
        // However long it was quiet, no more than one burst is told.
        let later = 1_000 * AGAIN_MS;
        let again = (20_000..30_000).filter(|n| alice.see(later, nth(*n), lan()).is_some());
        assert_eq!(u32::try_from(again.count()).unwrap(), BURST_MAX);
    }

    #[test]
    fn the_one_of_which_was_told_longest_ago_is_forgotten_first() {
        let mut alice = alice();
        let at = |n: usize| u64::try_from(n).unwrap() * REFILL_MS;
        for n in 0..=ADVERTS_MAX {
            assert!(alice.see(at(n), nth(n), lan()).is_some());
        }
        assert_eq!(alice.len(), ADVERTS_MAX);
        // The newest are known still, and the first is news again.
        let now = at(ADVERTS_MAX);
        assert!(alice.see(now, nth(ADVERTS_MAX - 1), lan()).is_none());
        assert!(alice.see(now, nth(0), lan()).is_some());
        assert_eq!(alice.len(), ADVERTS_MAX);
    }
}
