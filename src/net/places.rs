//! Places for connections of all kinds, SIP and TURN, accepted and opened: so many in all, so many for one source (handshakes
//! that are not done yet included). Shared by all threads; asked once per connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::settings::Capacity;

/// The places of a node. Cloning gives another hand on the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<Counted>>);

#[derive(Debug)]
struct Counted {
    taken: usize,
    by_source: HashMap<IpAddr, usize>,
    capacity: Capacity,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    source: Option<IpAddr>,
}

impl Places {
    /// All free.
    pub fn new(capacity: Capacity) -> Places {
        Places(Arc::new(Mutex::new(Counted { taken: 0, by_source: HashMap::new(), capacity })))
    }

    /// A place for a connection from `source`, or (`None`) one that we open.
    pub fn take(&self, source: Option<IpAddr>) -> Option<Place> {
        let source = source.map(network);
        let mut counted = self.counted();
        let Counted { taken, by_source, capacity } = &mut *counted;
        if *taken >= capacity.connections {
            return None;
        }
        if let Some(source) = source {
            let of_source = by_source.entry(source).or_default();
            if *of_source >= capacity.connections_per_source {
                return None;
            }
            *of_source += 1;
        }
        *taken += 1;
        drop(counted);
        Some(Place { places: self.clone(), source })
    }

    /// Two numbers are never left half written, so a thread that panicked has spoilt nothing.
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counted = self.places.counted();
        counted.taken -= 1;
        if let Some(source) = self.source
            && let Some(of_source) = counted.by_source.get_mut(&source)
        {
            *of_source -= 1;
            if *of_source == 0 {
                counted.by_source.remove(&source);
            }
        }
    }
}

/// Whoever has one IPv6 address has its /64.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_source_and_in_all_and_given_back() {
        let capacity = Capacity { connections: 4, connections_per_source: 2, ..Capacity::default() };
        let places = Places::new(capacity);
        let from = |text: &str| places.take(Some(text.parse().unwrap()));
        let first = from("192.0.2.1").unwrap();
        let _second = from("192.0.2.1").unwrap();
        assert!(from("192.0.2.1").is_none(), "one source is full");
        let _v6 = from("2001:db8::1").unwrap();
        let _ours = places.take(None).unwrap();
        assert!(from("192.0.2.2").is_none(), "all are full");
        drop(first);
        let _again = from("192.0.2.1").unwrap();
        let counted = places.0.lock().unwrap();
        assert_eq!((counted.taken, counted.by_source.len()), (4, 2));
    }

    #[test]
    fn a_whole_ipv6_network_is_one_source() {
        let capacity = Capacity { connections_per_source: 1, ..Capacity::default() };
        let places = Places::new(capacity);
        let from = |text: &str| places.take(Some(text.parse().unwrap()));
        let _one = from("2001:db8::1").unwrap();
        assert!(from("2001:db8::2").is_none());
        assert!(from("2001:db8:0:1::2").is_some());
    }
}
