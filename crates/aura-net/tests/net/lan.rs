//! Finding each other without the Mothership: real multicast on the loopback interface.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use aura_net::lan::{Found, Lan, LanConfig, LanError, LanKey, PAUSE, SERVICE};
use aura_proto::{PeerId, reach::Locality};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

const ALICE: PeerId = PeerId([0xa1; 32]);
const BOB: PeerId = PeerId([0xb0; 32]);
const EVERYBODY: [PeerId; 2] = [ALICE, BOB];

/// A port on which nobody speaks multicast DNS yet.
fn port() -> u16 {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A device of the team with this key, on the loopback interface.
fn device(own: PeerId, port: u16, key: u8, random: u8, addresses: &[&str]) -> LanConfig {
    LanConfig {
        keys: vec![LanKey::new(Zeroizing::new([key; 32]))],
        own,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        locality: Locality::Machine,
        is_loopback_only: true,
        port,
        random: [random; 32],
        pause: PAUSE,
    }
}

/// Waits until a device is found where it says that it is.
async fn finds(found: &mut mpsc::Receiver<Found>, peer: PeerId, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(found) = found.recv().await {
            if found.peer_among(EVERYBODY) == Some(peer) && found.addresses == [address] {
                return;
            }
        }
    });
    waited.await.unwrap();
}

/// Somebody on the network who belongs to no team.
struct Outsider {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl Outsider {
    fn at(port: u16) -> Self {
        let daemon = ServiceDaemon::new_with_port(port).unwrap();
        daemon.disable_interface(IfKind::All).unwrap();
        daemon.enable_interface(IfKind::LoopbackV4).unwrap();
        let events = daemon.browse(SERVICE).unwrap();
        Self { daemon, events }
    }

    fn event<T>(&self, mut wanted: impl FnMut(ServiceEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(30)).unwrap();
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    fn resolved(&self) -> ResolvedService {
        self.event(|event| match event {
            ServiceEvent::ServiceResolved(service) => Some(*service),
            _ => None,
        })
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        self.daemon.shutdown().ok();
    }
}

#[tokio::test]
async fn c54_two_devices_of_a_team_find_each_other_and_what_changes() {
    let port = port();
    let (alice, mut by_alice) = Lan::start(device(ALICE, port, 1, 1, &["127.0.0.1:7001"])).unwrap();
    let (_bob, mut by_bob) = Lan::start(device(BOB, port, 1, 2, &["127.0.0.1:7002"])).unwrap();
    finds(&mut by_alice, BOB, "127.0.0.1:7002").await;
    finds(&mut by_bob, ALICE, "127.0.0.1:7001").await;
    alice.announce(&["127.0.0.1:7003".parse().unwrap()]);
    finds(&mut by_bob, ALICE, "127.0.0.1:7003").await;
}

#[tokio::test]
async fn who_says_nothing_finds_others_and_says_where_it_is_once_it_is_told() {
    let port = port();
    let (alice, mut by_alice) = Lan::start(device(ALICE, port, 1, 1, &[])).unwrap();
    let (_bob, mut by_bob) = Lan::start(device(BOB, port, 1, 2, &["127.0.0.1:7002"])).unwrap();
    finds(&mut by_alice, BOB, "127.0.0.1:7002").await;
    assert!(by_bob.try_recv().is_err());
    alice.announce(&["127.0.0.1:7001".parse().unwrap()]);
    finds(&mut by_bob, ALICE, "127.0.0.1:7001").await;
}

#[tokio::test]
async fn c54_another_team_on_the_network_is_not_found() {
    let port = port();
    let (_mallory, mut by_mallory) =
        Lan::start(device(BOB, port, 2, 3, &["127.0.0.1:7009"])).unwrap();
    // The stranger is there, and seen by whoever looks.
    Outsider::at(port).resolved();
    let (_alice, mut by_alice) =
        Lan::start(device(ALICE, port, 1, 1, &["127.0.0.1:7001"])).unwrap();
    let (_bob, mut by_bob) = Lan::start(device(BOB, port, 1, 2, &["127.0.0.1:7002"])).unwrap();
    finds(&mut by_bob, ALICE, "127.0.0.1:7001").await;
    let first = by_alice.recv().await.unwrap();
    assert_eq!(first.addresses, ["127.0.0.1:7002".parse().unwrap()]);
    assert!(by_mallory.try_recv().is_err());
}

#[tokio::test]
async fn c54_an_outsider_sees_an_address_and_random_bytes_until_the_advert_is_withdrawn() {
    let port = port();
    let outsider = Outsider::at(port);
    let (alice, _found) = Lan::start(device(ALICE, port, 1, 0x5a, &["127.0.0.1:7001"])).unwrap();
    let seen = outsider.resolved();
    let mut names: Vec<&str> = seen.txt_properties.iter().map(|p| p.key()).collect();
    names.sort_unstable();
    assert_eq!(names, ["k", "n", "t", "v"]);
    let random = "5a5a5a5a5a5a5a5a";
    assert_eq!(seen.fullname, format!("{random}.{SERVICE}"));
    assert_eq!(seen.host, format!("{random}.local."));
    let shown = format!("{seen:?}");
    assert!(!shown.contains("a1a1a1a1"), "{shown}");
    // The second start says nothing that the first one said, but for version, address and port.
    let (again, _found) = Lan::start(device(ALICE, port, 1, 0x5b, &["127.0.0.1:7001"])).unwrap();
    let seen_again = outsider.event(|event| match event {
        ServiceEvent::ServiceResolved(service) if service.fullname != seen.fullname => {
            Some(*service)
        }
        _ => None,
    });
    for name in ["k", "n", "t"] {
        let [one, other] = [&seen, &seen_again].map(|seen| seen.get_property_val(name).unwrap());
        assert_ne!(one, other, "{name}");
    }
    let is_withdrawn = |gone: &ResolvedService| {
        outsider.event(|event| match event {
            ServiceEvent::ServiceRemoved(_, name) => (name == gone.fullname).then_some(()),
            _ => None,
        });
    };
    again.announce(&[]);
    is_withdrawn(&seen_again);
    drop(alice);
    is_withdrawn(&seen);
}

/// A response that says again that there is one instance, and, beside it, where a host is that nobody asked for.
fn unasked(n: u32) -> Vec<u8> {
    let mut packet = b"\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    packet.extend_from_slice(b"\x05_aura\x04_tcp\x05local\x00");
    packet.extend_from_slice(b"\x00\x0c\x00\x01\x00\x01\x51\x80\x00\x04\x01x\xc0\x0c");
    packet.push(8);
    packet.extend_from_slice(format!("{n:08x}").as_bytes());
    packet.extend_from_slice(b"\xc0\x17\x00\x01\x00\x01\x00\x01\x51\x80\x00\x04\x0a\x00\x00\x01");
    packet
}

#[tokio::test]
async fn a_flood_that_no_event_tells_of_ends_the_search_for_a_while() {
    let port = port();
    let mut config = device(ALICE, port, 1, 1, &["127.0.0.1:7001"]);
    config.pause = Duration::from_secs(1);
    let (_alice, mut by_alice) = Lan::start(config).unwrap();
    let bob = |random| Lan::start(device(BOB, port, 1, random, &["127.0.0.1:7002"])).unwrap();
    let first = bob(2);
    finds(&mut by_alice, BOB, "127.0.0.1:7002").await;
    drop(first);
    let flooder = UdpSocket::bind("127.0.0.1:0").unwrap();
    flooder.connect(("127.0.0.1", port)).unwrap();
    flooder
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    // Once nobody listens any more, the system says so, to whoever sends or receives.
    let is_refused = |round: u32| {
        let mut packets = (0..100).map(|n| unasked(100 * round + n));
        packets.any(|packet| flooder.send(&packet).is_err())
            || flooder
                .recv(&mut [0; 16])
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    assert!((0..3_000).any(is_refused), "the search goes on");
    let _second = bob(3);
    finds(&mut by_alice, BOB, "127.0.0.1:7002").await;
}

#[test]
fn without_a_key_of_the_team_nobody_is_looked_for() {
    let mut config = device(ALICE, port(), 1, 1, &[]);
    config.keys.clear();
    assert_eq!(Lan::start(config).unwrap_err(), LanError::NoKey);
}
