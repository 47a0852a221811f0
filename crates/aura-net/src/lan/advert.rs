//! What an advert says: who of which team, to those who know already.
//!
//! Invariants:
//! - whoever does not hold the team's key sees random bytes, and others at each start;
//! - only holders of the key can make an advert; a copy of one is good for its own peer and port alone.

use std::{fmt, sync::Arc};

use aura_proto::PeerId;
use zeroize::Zeroizing;

/// Bytes of the nonce, of the key hash and of the tag: none of them is met twice by chance.
const PART_BYTES: usize = 16;
/// The layout below.
const VERSION: &[u8] = b"1";

/// 16 bytes of an advert.
pub(super) type Part = [u8; PART_BYTES];

/// By what the readers of one epoch know each other's adverts (`aura_trust::TeamKey::lan_key`).
#[derive(Clone)]
pub struct LanKey(Arc<Zeroizing<[u8; 32]>>);

impl LanKey {
    /// The key of 32 secret bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// The first bytes of the keyed hash of `parts`, all of which have a fixed length.
    fn hash(&self, purpose: &[u8], parts: &[&[u8]]) -> Part {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose);
        for part in parts {
            hasher.update(part);
        }
        let mut out = [0; PART_BYTES];
        hasher.finalize_xof().fill(&mut out);
        out
    }
}

impl fmt::Debug for LanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LanKey([redacted])")
    }
}

/// The TXT record of an advert, and the port beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advert {
    /// Random at each start, so that what a device says today is not linked with what it said yesterday.
    pub(super) nonce: Part,
    /// Of the peer.
    pub(super) key_hash: Part,
    /// Of the team, over all of the above and the port.
    pub(super) tag: Part,
    /// Where the peer listens.
    pub(super) port: u16,
}

impl Advert {
    /// What `peer` says of itself.
    pub(super) fn new(key: &LanKey, nonce: Part, peer: PeerId, port: u16) -> Self {
        let key_hash = key_hash(key, &nonce, peer);
        Self {
            nonce,
            key_hash,
            tag: tag(key, &nonce, &key_hash, port),
            port,
        }
    }

    /// The properties of the TXT record.
    // spec: peers/8.1
    pub(super) fn properties(&self) -> [(&'static str, &[u8]); 4] {
        [
            ("v", VERSION),
            ("n", &self.nonce),
            ("k", &self.key_hash),
            ("t", &self.tag),
        ]
    }

    /// Reads properties; none unless each is there once, of its length, and nothing else is.
    pub(super) fn read<'a>(
        properties: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
        port: u16,
    ) -> Option<Self> {
        let [mut nonce, mut key_hash, mut tag] = [None::<Part>; 3];
        let mut is_known = None;
        for (name, value) in properties {
            let value = value?;
            let slot = match name {
                "v" if value == VERSION && is_known.is_none() => {
                    is_known = Some(());
                    continue;
                }
                "n" => &mut nonce,
                "k" => &mut key_hash,
                "t" => &mut tag,
                _ => return None,
            };
            if slot.replace(value.try_into().ok()?).is_some() {
                return None;
            }
        }
        is_known?;
        Some(Self {
            nonce: nonce?,
            key_hash: key_hash?,
            tag: tag?,
            port,
        })
    }

    /// Whether a holder of `key` made it.
    // spec: peers/8.2
    pub(super) fn is_of(&self, key: &LanKey) -> bool {
        self.tag == tag(key, &self.nonce, &self.key_hash, self.port)
    }

    /// Whether it is what `peer` says of itself, in an advert that was made with `key`.
    pub(super) fn is_by(&self, key: &LanKey, peer: PeerId) -> bool {
        self.key_hash == key_hash(key, &self.nonce, peer)
    }
}

fn key_hash(key: &LanKey, nonce: &Part, peer: PeerId) -> Part {
    key.hash(b"aura/v1/lan-peer\0", &[nonce, &peer.0])
}

fn tag(key: &LanKey, nonce: &Part, key_hash: &Part, port: u16) -> Part {
    let parts: [&[u8]; 3] = [nonce, key_hash, &port.to_be_bytes()];
    key.hash(b"aura/v1/lan-team\0", &parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BOB: PeerId = PeerId([2; 32]);

    fn key(byte: u8) -> LanKey {
        LanKey::new(Zeroizing::new([byte; 32]))
    }

    fn advert() -> Advert {
        Advert::new(&key(1), [7; 16], BOB, 7_777)
    }

    type Property = (&'static str, Option<Vec<u8>>);

    fn properties(advert: &Advert) -> Vec<Property> {
        let said = advert.properties();
        said.map(|(name, value)| (name, Some(value.to_vec())))
            .to_vec()
    }

    fn read(properties: &[Property]) -> Option<Advert> {
        let said = properties.iter();
        Advert::read(said.map(|(name, value)| (*name, value.as_deref())), 7_777)
    }

    #[test]
    fn an_advert_reads_back_and_is_its_teams_and_its_peers() {
        let read = read(&properties(&advert())).unwrap();
        assert_eq!(read, advert());
        assert!(read.is_of(&key(1)) && read.is_by(&key(1), BOB));
    }

    #[test]
    fn another_key_knows_neither_team_nor_peer() {
        assert!(!advert().is_of(&key(2)));
        assert!(!advert().is_by(&key(2), BOB));
        assert!(!advert().is_by(&key(1), PeerId([3; 32])));
    }

    #[test]
    fn no_two_starts_and_no_two_peers_say_anything_alike() {
        let own = advert();
        let others = [
            Advert::new(&key(1), [8; 16], BOB, 7_777),
            Advert::new(&key(2), [7; 16], BOB, 7_777),
            Advert::new(&key(1), [7; 16], PeerId([3; 32]), 7_777),
        ];
        for other in others {
            assert_ne!(own.tag, other.tag);
            assert_ne!(own.key_hash, other.key_hash);
            assert_ne!(own.tag, other.key_hash);
        }
    }

    #[test]
    fn a_changed_bit_or_another_port_makes_it_nobodys() {
        let own = advert();
        for bit in 0..128 {
            let flip = |part: Part| {
                let mut part = part;
                part[bit / 8] ^= 1 << (bit % 8);
                part
            };
            let changed = [
                Advert {
                    nonce: flip(own.nonce),
                    ..own
                },
                Advert {
                    key_hash: flip(own.key_hash),
                    ..own
                },
                Advert {
                    tag: flip(own.tag),
                    ..own
                },
                Advert {
                    port: own.port ^ 1 << (bit % 16),
                    ..own
                },
            ];
            for changed in changed {
                assert!(!changed.is_of(&key(1)), "{changed:?}");
            }
        }
    }

    #[test]
    fn properties_that_are_missing_doubled_strange_or_of_another_length_are_no_advert() {
        let good = properties(&advert());
        for at in 0..good.len() {
            let mut missing = good.clone();
            missing.remove(at);
            assert_eq!(read(&missing), None, "without {}", good[at].0);
            let mut doubled = good.clone();
            doubled.push(good[at].clone());
            assert_eq!(read(&doubled), None, "two {}", good[at].0);
            for value in [None, Some(Vec::new()), Some(vec![0; 15]), Some(vec![0; 17])] {
                let mut other = good.clone();
                other[at].1 = value;
                assert_eq!(read(&other), None, "{:?}", other[at]);
            }
        }
        let mut strange = good.clone();
        strange.push(("name", Some(b"acme".to_vec())));
        assert_eq!(read(&strange), None);
        let mut newer = good;
        newer[0].1 = Some(b"2".to_vec());
        assert_eq!(read(&newer), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_order_of_properties_says_nothing() {
        let mut turned = properties(&advert());
        turned.reverse();
        assert_eq!(read(&turned), Some(advert()));
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", key(9)), "LanKey([redacted])");
    }
}
