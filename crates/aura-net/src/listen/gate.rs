//! How many sockets may be strangers at once.
//!
//! Invariants:
//! - the count of an address is the number of its living [`Slot`]s, and the total is their sum;
//! - an address stands in the map only while it holds a slot.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Counts sockets that have not authenticated.
#[derive(Clone)]
pub(super) struct Gate {
    shared: Arc<Shared>,
}

struct Shared {
    overall_max: usize,
    per_address_max: usize,
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// One counted socket; frees its place when dropped.
pub struct Slot {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Gate {
    pub(super) fn new(overall_max: usize, per_address_max: usize) -> Self {
        let (held, freed) = (Mutex::default(), Notify::new());
        Self {
            shared: Arc::new(Shared {
                overall_max,
                per_address_max,
                held,
                freed,
            }),
        }
    }

    /// A place for a socket of this network (see [`network_of`]), if there is one.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Slot> {
        let mut held = self.shared.lock();
        let from_here = held.by_address.get(&address).copied().unwrap_or(0);
        if self.shared.overall_max <= held.total || self.shared.per_address_max <= from_here {
            return None;
        }
        held.total += 1;
        held.by_address.insert(address, from_here + 1);
        Some(Slot {
            shared: Arc::clone(&self.shared),
            address,
        })
    }

    /// Sockets counted now.
    pub(super) fn total(&self) -> usize {
        self.shared.lock().total
    }

    /// Resolves when a place has become free since the last call.
    pub(super) async fn freed(&self) {
        self.shared.freed.notified().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.shared.lock();
        held.total -= 1;
        if let Some(count) = held.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.by_address.remove(&self.address);
            }
        }
        drop(held);
        self.shared.freed.notify_one();
    }
}

/// The unit of counting: an IPv4 address, also when it comes mapped into IPv6, or the /64 of an IPv6 one.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn network(text: &str) -> IpAddr {
        network_of(text.parse().unwrap())
    }

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let gate = Gate::new(3, 2);
        let greedy = network("192.0.2.1");
        let held: Vec<_> = (0..5).filter_map(|_| gate.enter(greedy)).collect();
        assert_eq!(held.len(), 2);
        let other = gate.enter(network("192.0.2.2")).unwrap();
        assert!(gate.enter(network("192.0.2.3")).is_none());
        drop(held);
        assert!(gate.enter(network("192.0.2.3")).is_some());
        drop(other);
        assert_eq!(gate.total(), 0);
        assert!(gate.shared.lock().by_address.is_empty());
    }

    #[test]
    fn all_of_a_v6_network_counts_as_one_and_mapped_v4_as_v4() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
