//! Who of the team is on the same network: adverts over multicast DNS.
//!
//! Invariants:
//! - an advert names nobody: random names, a nonce, and two keyed hashes, all of them new at each start;
//! - what is found is a hint; the handshake shows who is there;
//! - nothing else knows the library for multicast DNS; what a network makes it remember is looked at, and too much of
//!   it ends it for a while. It hears nothing while packets come faster than it reads them, so a flood at full speed
//!   makes it grow for as long as it lasts.
//!
//! The key of the hashes comes from the team's key, which neither the Mothership nor anybody on the way to it has. The
//! team's id would not do: it is the hash of the authority's key, which the Mothership shows to whoever connects.
//! Whoever knows only that id learns nothing from an advert. What outsiders on the same network do learn: that somebody
//! there uses Aura, on which address and port (a device keeps its port, so that both link its starts), and how many
//! do. Whoever repeats an advert with other addresses makes members dial those, at the port that it was made for, with
//! nothing but a handshake. A former member goes on to recognise adverts until the team's key changes.

mod advert;
mod sightings;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use aura_proto::{PeerId, reach::Locality};
use mdns_sd::{
    DaemonStatus, IfKind, Receiver, RecvTimeoutError, ServiceDaemon, ServiceEvent, ServiceInfo,
    TryRecvError, TxtProperty,
};
use tokio::sync::mpsc;

use self::{
    advert::{Advert, Part},
    sightings::{Sightings, dialable},
};
use crate::clock::Clock;

pub use self::{
    advert::LanKey,
    sightings::{ADVERTS_MAX, AGAIN_MS, BURST_MAX, Found, LAN_KEYS_MAX, REFILL_MS},
};

/// What is looked for and advertised.
pub const SERVICE: &str = "_aura._tcp.local.";
/// The port of multicast DNS (RFC 6762).
pub const MDNS_PORT: u16 = 5_353;

/// DNS records that the library may hold, since it knows no bound itself: [`ADVERTS_MAX`] adverts of a pointer, a
/// service, a text and 8 addresses, and as much again of strangers'.
pub const RECORDS_MAX: i64 = 6_144;
/// How often it is asked how many it holds, in milliseconds; it looks for new interfaces as often.
const LOOK_MS: u64 = 5_000;
/// It is asked after this many events as well.
const EVENTS_PER_LOOK: usize = 64;
/// How long nothing is looked for after a flood.
pub const PAUSE: Duration = Duration::from_secs(60);
/// How long the library may take to answer, or to withdraw the advert at the end.
const ANSWER: Duration = Duration::from_secs(1);

/// How to look for others.
#[derive(Debug, Clone)]
pub struct LanConfig {
    /// Keys of the team, the newest first: adverts are made with the first and read with the first [`LAN_KEYS_MAX`].
    pub keys: Vec<LanKey>,
    /// This device.
    pub own: PeerId,
    /// Where it listens, the best first; with none it looks for others and says nothing.
    pub addresses: Vec<SocketAddr>,
    /// Whether others may be on this very machine.
    pub locality: Locality,
    /// Keeps to the loopback interface.
    pub is_loopback_only: bool,
    /// The UDP port, [`MDNS_PORT`] but for tests.
    pub port: u16,
    /// Random bytes, other ones at each start.
    pub random: [u8; 32],
    /// How long nothing is looked for after a flood, [`PAUSE`] but for tests.
    pub pause: Duration,
}

/// Why nobody is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanError {
    /// Without a key of the team nobody can be told from strangers.
    #[error("no key of the team is known yet")]
    NoKey,
    /// The library does not start.
    #[error("multicast DNS does not start: {0}")]
    Mdns(String),
    /// There is no thread.
    #[error("no thread for multicast DNS")]
    Thread,
}

/// Looks for others and tells them where this device is, until it is dropped.
#[derive(Debug)]
pub struct Lan {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Lan {
    /// Starts. Sightings come out of the channel; those for which it has no room are lost until they come again.
    ///
    /// That no socket can be bound, the library does not say: then nobody is found.
    pub fn start(config: LanConfig) -> Result<(Self, mpsc::Receiver<Found>), LanError> {
        let key = config.keys.first().ok_or(LanError::NoKey)?.clone();
        let sightings = Sightings::new(&config.keys, config.own, config.locality);
        let (nonce, names) = config.random.split_at(16);
        let [instance, host] = [&names[..8], &names[8..]].map(hex);
        let shared = Arc::new(Shared {
            advertiser: Advertiser {
                key,
                nonce: nonce.try_into().expect("the first half of 32 bytes"),
                own: config.own,
                instance,
                host: format!("{host}.local."),
            },
            locality: config.locality,
            is_loopback_only: config.is_loopback_only,
            port: config.port,
            pause: config.pause,
            state: Mutex::new(State {
                daemon: None,
                addresses: allowed(&config.addresses, config.locality),
                is_told: false,
                is_over: false,
            }),
            over: Condvar::new(),
        });
        let mdns = |error: mdns_sd::Error| LanError::Mdns(error.to_string());
        let events = shared.open().map_err(mdns)?;
        let (sender, found) = mpsc::channel(BURST_MAX as usize);
        let thread = {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("lan".to_owned());
            builder.spawn(move || run(&shared, events, sightings, &sender))
        };
        let lan = Self {
            shared,
            thread: thread.ok(),
        };
        if lan.thread.is_none() {
            return Err(LanError::Thread);
        }
        Ok((lan, found))
    }

    /// Says from now on that this device listens there; with no address, nothing.
    ///
    /// All have the port of the first: the others are left out.
    pub fn announce(&self, addresses: &[SocketAddr]) {
        let addresses = allowed(addresses, self.shared.locality);
        let mut state = self.shared.state();
        if state.addresses != addresses {
            (state.addresses, state.is_told) = (addresses, false);
            self.shared.tell(&mut state);
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.over.notify_all();
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Everything of an advert but where.
#[derive(Debug)]
struct Advertiser {
    key: LanKey,
    nonce: Part,
    own: PeerId,
    instance: String,
    host: String,
}

impl Advertiser {
    fn full_name(&self) -> String {
        format!("{}.{SERVICE}", self.instance)
    }

    /// The records that say that this device listens at `addresses`, all with one port.
    fn service(&self, addresses: &[SocketAddr], port: u16) -> mdns_sd::Result<ServiceInfo> {
        let advert = Advert::new(&self.key, self.nonce, self.own, port);
        let properties: Vec<TxtProperty> = advert.properties().map(TxtProperty::from).into();
        let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        let mut service = ServiceInfo::new(
            SERVICE,
            &self.instance,
            &self.host,
            &ips[..],
            port,
            properties,
        )?;
        // The names are random: nobody else has them.
        service.set_requires_probe(false);
        Ok(service)
    }
}

/// What `Lan` and its thread share.
#[derive(Debug)]
struct Shared {
    advertiser: Advertiser,
    locality: Locality,
    is_loopback_only: bool,
    port: u16,
    pause: Duration,
    state: Mutex<State>,
    over: Condvar,
}

struct State {
    /// None after a flood, for a while.
    daemon: Option<ServiceDaemon>,
    addresses: Vec<SocketAddr>,
    /// Whether the library has heard of them.
    is_told: bool,
    is_over: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the library, unless it is over.
    fn open(&self) -> mdns_sd::Result<Receiver<ServiceEvent>> {
        let mut state = self.state();
        if state.is_over {
            return Err(mdns_sd::Error::DaemonShutdown);
        }
        let daemon = ServiceDaemon::new_with_port(self.port)?;
        if self.is_loopback_only {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::LoopbackV4)?;
        } else if self.locality == Locality::Network {
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        }
        let events = daemon.browse(SERVICE)?;
        (state.daemon, state.is_told) = (Some(daemon), false);
        self.tell(&mut state);
        Ok(events)
    }

    /// Brings what is advertised up to date.
    fn tell(&self, state: &mut State) {
        let (Some(daemon), false) = (&state.daemon, state.is_told) else {
            return;
        };
        let told = match state.addresses.first() {
            Some(first) => self
                .advertiser
                .service(&state.addresses, first.port())
                .and_then(|service| daemon.register(service)),
            None => daemon.unregister(&self.advertiser.full_name()).map(drop),
        };
        state.is_told = told.is_ok();
        if let Err(error) = told {
            tracing::warn!(%error, "the network is not told where this device is");
        }
    }

    /// Withdraws the advert and ends the library; what will tell its end, if it does not end in time.
    fn close(&self) -> Option<Receiver<DaemonStatus>> {
        let daemon = self.state().daemon.take()?;
        let ending = daemon.shutdown().ok()?;
        // Until then it sends the words that withdraw the advert.
        match ending.recv_timeout(ANSWER) {
            Err(RecvTimeoutError::Timeout) => Some(ending),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Looks after the library; `false` when it holds too much, or does not answer.
    fn look(&self) -> bool {
        let mut state = self.state();
        self.tell(&mut state);
        let daemon = state.daemon.clone();
        drop(state);
        let Some(asked) = daemon.and_then(|daemon| daemon.get_metrics().ok()) else {
            return false;
        };
        let metrics = asked.recv_timeout(ANSWER);
        metrics.is_ok_and(|metrics| held(&metrics) <= RECORDS_MAX)
    }

    /// Waits after a flood; `false` when it is over.
    fn rest(&self, pause: Duration) -> bool {
        let state = self.state();
        let waited = self
            .over
            .wait_timeout_while(state, pause, |state| !state.is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_over
    }
}

/// What the thread does.
fn run(
    shared: &Shared,
    events: Receiver<ServiceEvent>,
    mut sightings: Sightings,
    found: &mpsc::Sender<Found>,
) {
    let clock = Clock::start();
    let mut events = Some(events);
    loop {
        if let Some(events) = events.take() {
            watch(shared, clock, &events, |service| {
                let advert = read(&service)?;
                let ips = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
                found
                    .try_send(sightings.see(clock.mono_ms(), advert, ips)?)
                    .ok()
            });
            if let Some(ending) = shared.close() {
                // Two of them at once would only hold twice as much.
                while matches!(ending.try_recv(), Err(TryRecvError::Empty)) {
                    if !shared.rest(ANSWER) {
                        return;
                    }
                }
            }
        }
        if !shared.rest(shared.pause) {
            return;
        }
        tracing::warn!("multicast DNS starts again after a flood or a failure");
        events = shared.open().ok();
    }
}

/// Hands over what is resolved until the library ends or holds too much.
fn watch(
    shared: &Shared,
    clock: Clock,
    events: &Receiver<ServiceEvent>,
    mut resolved: impl FnMut(mdns_sd::ResolvedService) -> Option<()>,
) {
    let (mut look_at_ms, mut since_look) = (clock.mono_ms() + LOOK_MS, 0);
    loop {
        let left_ms = look_at_ms.saturating_sub(clock.mono_ms());
        match events.recv_timeout(Duration::from_millis(left_ms)) {
            Ok(ServiceEvent::ServiceResolved(service)) => {
                resolved(*service);
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        since_look += 1;
        if look_at_ms <= clock.mono_ms() || EVENTS_PER_LOOK <= since_look {
            (look_at_ms, since_look) = (clock.mono_ms() + LOOK_MS, 0);
            if !shared.look() {
                return;
            }
        }
    }
}

fn read(service: &mdns_sd::ResolvedService) -> Option<Advert> {
    let properties = service.txt_properties.iter();
    Advert::read(
        properties.map(|property| (property.key(), property.val())),
        service.port,
    )
}

/// The addresses that may be advertised: they have to be good for others, and of one port.
fn allowed(addresses: &[SocketAddr], locality: Locality) -> Vec<SocketAddr> {
    let Some(port) = addresses.first().map(SocketAddr::port) else {
        return Vec::new();
    };
    let same = addresses.iter().filter(|address| address.port() == port);
    dialable(same.map(SocketAddr::ip), port, locality)
}

/// Records that the library holds.
fn held(metrics: &HashMap<String, i64>) -> i64 {
    let of_cache = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("cached-"));
    of_cache.map(|(_, count)| count).sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_others_can_dial_is_advertised_and_of_one_port() {
        let all = addresses(&[
            "10.0.0.5:7777",
            "127.0.0.1:7777",
            "10.0.0.6:7778",
            "[fd00::5]:7777",
            "[fe80::5]:7777",
        ]);
        let wanted = addresses(&["10.0.0.5:7777", "[fd00::5]:7777"]);
        assert_eq!(allowed(&all, Locality::Network), wanted);
        assert_eq!(allowed(&[], Locality::Network), []);
        let low = addresses(&["10.0.0.5:22"]);
        assert_eq!(allowed(&low, Locality::Network), []);
    }

    #[test]
    fn what_the_library_holds_is_every_kind_of_record() {
        let metrics = [("cached-ptr", 3), ("cached-addr", 4), ("browse", 1_000)];
        let metrics = metrics.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(held(&metrics.into()), 7);
    }
}
