//! Where a peer can be dialled: what it says of itself, and what of that may be believed.
//!
//! Invariants:
//! - what is signed is laid out here byte for byte, whatever encoding carries it;
//! - an address that could make peers knock at a stranger's or at a machine's own doors is none, whoever announces it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{PeerId, TeamId},
    limits::{HINT_PORT_MIN, HINTS_MAX},
};

/// Who may know where a peer is, and who dials whom.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Its addresses are told to members; it dials and is dialled.
    #[default]
    Open,
    /// It tells nobody where it is, and dials others.
    Outbound,
    /// It tells nobody where it is, and is reached through relays alone.
    Strict,
}

impl Visibility {
    /// The lower-case word, as in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Outbound => "outbound",
            Self::Strict => "strict",
        }
    }

    /// Reads the lower-case word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Outbound, Self::Strict]
            .into_iter()
            .find(|visibility| visibility.as_str() == word)
    }

    fn byte(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Outbound => 1,
            Self::Strict => 2,
        }
    }
}

/// What a peer says of where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Higher than whatever the peer said before.
    pub counter: u64,
    /// Who may know.
    pub visibility: Visibility,
    /// Where it listens, best first; none unless it is open.
    pub addresses: Vec<SocketAddr>,
}

/// The same, signed by the peer, so that anybody can pass it on and nobody can make it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReach {
    /// Whose.
    pub peer: PeerId,
    /// What it says.
    pub reach: Reach,
    /// Ed25519, 64 bytes, purpose `aura/v1/reach`, over [`Reach::signed_parts`].
    pub signature: Vec<u8>,
}

impl Reach {
    /// The bytes under the signature, behind the purpose: team 16 ‖ counter 8 ‖ visibility 1 ‖ number of addresses 1 ‖ each address as 16 bytes of IPv6 (IPv4 mapped into it) and 2 of the port.
    // spec: peers/1.2
    pub fn signed_parts(&self, team: TeamId) -> Vec<u8> {
        let mut out = team.0.to_vec();
        out.extend(self.counter.to_be_bytes());
        out.push(self.visibility.byte());
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend(ip.octets());
            out.extend(address.port().to_be_bytes());
        }
        out
    }

    /// Whether it has the form that a peer may give it.
    // spec: peers/1.3
    pub fn is_well_formed(&self) -> bool {
        let has_any = !self.addresses.is_empty();
        self.addresses.len() <= HINTS_MAX && (!has_any || self.visibility == Visibility::Open)
    }

    /// The addresses that may be dialled, each once.
    pub fn dialable(&self, locality: Locality) -> Vec<SocketAddr> {
        let mut seen = BTreeSet::new();
        let plain = self.addresses.iter().map(|address| unmapped(*address));
        let allowed =
            plain.filter(|address| class_of(*address, locality).is_some() && seen.insert(*address));
        allowed.take(HINTS_MAX).collect()
    }
}

/// Whether this device's own Mothership is on this very machine; only then are addresses of the machine itself dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locality {
    /// The Mothership was reached through the loopback interface.
    Machine,
    /// The Mothership is elsewhere.
    Network,
}

/// What kind of network an address is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The same machine.
    Machine,
    /// A private network (RFC 1918, RFC 4193 with `L` unset).
    Lan,
    /// A mesh VPN: shared address space (RFC 6598) or a self-made prefix (RFC 4193, `fd00::/8`).
    Mesh,
    /// Anywhere else.
    Other,
}

impl Class {
    /// The lower-case word, for people and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Lan => "lan",
            Self::Mesh => "mesh",
            Self::Other => "other",
        }
    }
}

/// The IPv4 address that an IPv6 one only wraps, so that no rule is passed by in disguise.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The class of an address that may be dialled; none for one that may not.
// spec: peers/1.4
pub fn class_of(address: SocketAddr, locality: Locality) -> Option<Class> {
    if address.port() < HINT_PORT_MIN {
        return None;
    }
    let ip = unmapped(address).ip();
    if ip.is_loopback() {
        return (locality == Locality::Machine).then_some(Class::Machine);
    }
    match ip {
        IpAddr::V4(ip) => class_of_v4(ip),
        IpAddr::V6(ip) => class_of_v6(ip),
    }
}

fn class_of_v4(ip: Ipv4Addr) -> Option<Class> {
    let [first, second, ..] = ip.octets();
    // 0/8 is "this network", 240/4 reserved with the broadcast address in it.
    let is_nobody = first == 0 || 240 <= first || ip.is_multicast() || ip.is_link_local();
    if is_nobody {
        None
    } else if ip.is_private() {
        Some(Class::Lan)
    } else if first == 100 && (64..128).contains(&second) {
        Some(Class::Mesh)
    } else {
        Some(Class::Other)
    }
}

fn class_of_v6(ip: Ipv6Addr) -> Option<Class> {
    /// Where a cloud's machines ask for their own secrets.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let first = ip.segments()[0];
    let is_nobody = ip.is_unspecified()
        || ip.is_multicast()
        || first & 0xffc0 == 0xfe80
        // Other ways to write IPv4: compatible addresses, NAT64, 6to4 and Teredo.
        || ip.segments()[..6] == [0; 6]
        || ip.segments()[..2] == [0x64, 0xff9b]
        || first == 0x2002
        || ip.segments()[..2] == [0x2001, 0]
        || ip == METADATA;
    if is_nobody {
        None
    } else if first & 0xff00 == 0xfd00 {
        Some(Class::Mesh)
    } else if first & 0xff00 == 0xfc00 {
        Some(Class::Lan)
    } else {
        Some(Class::Other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn class(address: &str) -> Option<Class> {
        class_of(address.parse().unwrap(), Locality::Network)
    }

    #[test]
    fn case_105_addresses_that_nobody_may_be_made_to_dial_are_none() {
        for address in [
            "127.0.0.1:7777",
            "127.9.9.9:7777",
            "[::1]:7777",
            "0.0.0.0:7777",
            "0.1.2.3:7777",
            "169.254.169.254:8080",
            "169.254.1.1:7777",
            "224.0.0.251:5353",
            "255.255.255.255:7777",
            "[::]:7777",
            "[fe80::1]:7777",
            "[ff02::fb]:5353",
            "[fd00:ec2::254]:8080",
            "[::ffff:127.0.0.1]:7777",
            "[::ffff:169.254.169.254]:8080",
            "[::7f00:1]:7777",
            "[64:ff9b::a9fe:a9fe]:8080",
            "[2002:7f00:1::1]:7777",
            "10.0.0.5:25",
            "93.184.216.34:443",
            "10.0.0.5:0",
        ] {
            assert_eq!(class(address), None, "{address}");
        }
    }

    #[test]
    fn an_address_is_of_the_network_that_it_is_in() {
        for (address, expected) in [
            ("192.168.1.7:7777", Class::Lan),
            ("10.1.2.3:7777", Class::Lan),
            ("172.31.0.9:7777", Class::Lan),
            ("[fc00::7]:7777", Class::Lan),
            ("100.64.0.1:7777", Class::Mesh),
            ("100.127.255.254:7777", Class::Mesh),
            ("[fd7a:115c::1]:7777", Class::Mesh),
            ("100.128.0.1:7777", Class::Other),
            ("172.32.0.1:7777", Class::Other),
            ("[2001:db8::1]:7777", Class::Other),
            ("[::ffff:10.0.0.1]:7777", Class::Lan),
        ] {
            assert_eq!(class(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn the_machine_itself_is_dialled_only_where_the_mothership_is_on_it() {
        let own = "127.0.0.5:7777".parse().unwrap();
        assert_eq!(class_of(own, Locality::Machine), Some(Class::Machine));
        assert_eq!(class_of(own, Locality::Network), None);
    }

    #[test]
    fn an_address_that_is_announced_twice_is_dialled_once() {
        let addresses = ["10.0.0.1:7777", "[::ffff:10.0.0.1]:7777", "10.0.0.1:22"];
        let reach = Reach {
            addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
            ..Reach::default()
        };
        assert_eq!(
            reach.dialable(Locality::Network),
            ["10.0.0.1:7777".parse().unwrap()]
        );
    }

    #[test]
    fn who_is_not_open_announces_no_address() {
        let mut reach = Reach {
            addresses: vec!["10.0.0.1:7777".parse().unwrap()],
            ..Reach::default()
        };
        assert!(reach.is_well_formed());
        reach.visibility = Visibility::Outbound;
        assert!(!reach.is_well_formed());
        reach.addresses.clear();
        assert!(reach.is_well_formed());
    }

    #[test]
    fn every_visibility_has_its_word() {
        for word in ["open", "outbound", "strict"] {
            assert_eq!(Visibility::from_word(word).unwrap().as_str(), word);
        }
        assert_eq!(Visibility::from_word("closed"), None);
    }
}
