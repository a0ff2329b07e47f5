//! Sets of networks: any number of CIDRs compiled to sorted ranges that neither overlap nor touch, found by halving.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// A set of addresses. IPv4 addresses written as IPv6 (`::ffff:192.0.2.1`) are the IPv4 addresses they stand for.
#[derive(Clone, Debug, Default)]
pub struct NetworkSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl NetworkSet {
    /// True if one of the networks holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        }
    }

    /// True if every address of `other` is in this set.
    pub fn covers(&self, other: &NetworkSet) -> bool {
        all_in(&self.v4, &other.v4) && all_in(&self.v6, &other.v6)
    }

    /// True if some address is in both.
    pub fn overlaps(&self, network: IpNetwork) -> bool {
        match (network.network().to_canonical(), network.broadcast().to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => meets(&self.v4, first.to_bits(), last.to_bits()),
            _ => match network {
                IpNetwork::V6(wide) => meets(&self.v6, wide.network().to_bits(), wide.broadcast().to_bits()),
                IpNetwork::V4(_) => false,
            },
        }
    }
}

impl FromIterator<IpNetwork> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = IpNetwork>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            // Of an IPv6 network, only one inside ::ffff:0:0/96 begins and ends as IPv4: `::/0` means IPv6 alone.
            match (network.network().to_canonical(), network.broadcast().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                _ => {
                    if let IpNetwork::V6(wide) = network {
                        v6.push((wide.network().to_bits(), wide.broadcast().to_bits()));
                    }
                }
            }
        }
        NetworkSet { v4: merged(v4, |end| end.checked_add(1)), v6: merged(v6, |end| end.checked_add(1)) }
    }
}

/// Sorted, and what overlaps or touches made one.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joined = after(kept.1).is_none_or(|free| next.0 <= free);
        if joined {
            kept.1 = kept.1.max(next.1);
        }
        joined
    });
    ranges.shrink_to_fit();
    ranges
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    meets(ranges, address, address)
}

/// Of the ranges that begin up to `last`, the last one ends last.
fn meets<T: Ord + Copy>(ranges: &[(T, T)], first: T, last: T) -> bool {
    let behind = ranges.partition_point(|(begin, _)| *begin <= last);
    behind.checked_sub(1).and_then(|i| ranges.get(i)).is_some_and(|(_, end)| first <= *end)
}

/// What does not touch is one of the ranges, or crosses a gap.
fn all_in<T: Ord + Copy>(wide: &[(T, T)], narrow: &[(T, T)]) -> bool {
    narrow.iter().all(|(first, last)| {
        let behind = wide.partition_point(|(begin, _)| begin <= first);
        behind.checked_sub(1).and_then(|i| wide.get(i)).is_some_and(|(_, end)| last <= end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn set(networks: &[&str]) -> NetworkSet {
        networks.iter().map(|n| n.parse::<IpNetwork>().unwrap()).collect()
    }

    #[test]
    fn neighbours_become_one_range() {
        let set = set(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.0.3.0/24", "2001:db8::/32"]);
        assert_eq!(set.v4.len(), 2);
        assert_eq!(set.v6.len(), 1);
        assert!(set.contains("10.0.1.255".parse().unwrap()));
        assert!(!set.contains("10.0.2.0".parse().unwrap()));
        assert!(set.contains("2001:db8:ffff::1".parse().unwrap()));
    }

    #[test]
    fn another_spelling_is_no_way_around() {
        let deny = set(&["192.0.2.0/24"]);
        assert!(deny.contains("::ffff:192.0.2.9".parse().unwrap()));
        assert!(set(&["::ffff:192.0.2.0/120"]).contains("192.0.2.9".parse().unwrap()));
        let all_v6 = set(&["::/0"]);
        assert!(all_v6.contains("2001:db8::1".parse().unwrap()));
        assert!(!all_v6.contains("192.0.2.9".parse().unwrap()));
        assert!(set(&["0.0.0.0/0"]).contains("255.255.255.255".parse().unwrap()));
        assert!(!set(&[]).contains("0.0.0.0".parse().unwrap()));
    }

    fn network() -> impl Strategy<Value = IpNetwork> {
        // Few distinct bits, so that networks overlap and addresses hit their edges.
        let v4 = (0u32..64, 0u8..=32)
            .prop_map(|(bits, len)| IpNetwork::new(Ipv4Addr::from_bits(bits << 26 | bits).into(), len));
        let v6 = (0u128..64, 0u8..=128)
            .prop_map(|(bits, len)| IpNetwork::new(Ipv6Addr::from_bits(bits << 122 | bits).into(), len));
        prop_oneof![v4, v6].prop_map(|n| n.unwrap())
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u32..64, 0u32..64).prop_map(|(a, b)| IpAddr::from(Ipv4Addr::from_bits(a << 26 | b))),
            (1u128..64, 0u128..64).prop_map(|(a, b)| IpAddr::from(Ipv6Addr::from_bits(a << 122 | b))),
        ]
    }

    proptest! {
        #[test]
        fn the_ranges_agree_with_reading_the_list(
            networks in prop::collection::vec(network(), 0..12),
            address in address(),
        ) {
            let set: NetworkSet = networks.iter().copied().collect();
            prop_assert_eq!(set.contains(address), networks.iter().any(|n| n.contains(address)));
            let one = IpNetwork::from(address);
            prop_assert_eq!(set.overlaps(one), set.contains(address));
        }

        #[test]
        fn networks_overlap_if_one_holds_the_others_first_address(
            networks in prop::collection::vec(network(), 0..12),
            other in network(),
        ) {
            let set: NetworkSet = networks.iter().copied().collect();
            let meet = |n: &IpNetwork| n.contains(other.network()) || other.contains(n.network());
            prop_assert_eq!(set.overlaps(other), networks.iter().any(meet));
        }

        #[test]
        fn a_set_covers_its_parts_and_nothing_that_it_lacks(
            networks in prop::collection::vec(network(), 0..6),
            others in prop::collection::vec(network(), 0..4),
            address in address(),
        ) {
            let set: NetworkSet = networks.iter().copied().collect();
            let other: NetworkSet = others.iter().copied().collect();
            let both: NetworkSet = networks.iter().chain(&others).copied().collect();
            prop_assert!(both.covers(&set) && both.covers(&other));
            prop_assert!(!set.covers(&other) || !other.contains(address) || set.contains(address));
        }
    }
}
