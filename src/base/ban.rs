//! Banned sources: nobody reads what they send until their time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// A table of banned sources. Bounded: where there is no room, the ban that ends first is lifted.
#[derive(Debug)]
pub struct Bans {
    until: BTreeMap<IpAddr, Instant>,
    by_end: BTreeSet<(Instant, IpAddr)>,
    capacity: usize,
}

impl Bans {
    /// Nobody is banned.
    pub fn new(capacity: usize) -> Self {
        Bans { until: BTreeMap::new(), by_end: BTreeSet::new(), capacity }
    }

    /// True while a ban of this source lasts.
    pub fn holds(&self, source: IpAddr, now: Instant) -> bool {
        self.until.get(&banned(source)).is_some_and(|until| now < *until)
    }

    /// A longer ban wins over a shorter one.
    pub fn insert(&mut self, source: IpAddr, until: Instant, now: Instant) {
        let source = banned(source);
        if self.until.get(&source).is_some_and(|known| *known >= until) {
            return;
        }
        if let Some(shorter) = self.until.insert(source, until) {
            self.by_end.remove(&(shorter, source));
        }
        self.by_end.insert((until, source));
        while let Some((first, source)) = self.by_end.first().copied()
            && (first <= now || self.until.len() > self.capacity)
        {
            self.by_end.remove(&(first, source));
            self.until.remove(&source);
        }
    }
}

/// Who is banned with `source`: itself, of IPv6 its /64, since the next address costs its owner nothing.
pub fn banned(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bans_end_are_bounded_and_never_shortened() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut bans = Bans::new(2);
        bans.insert(ip(1), at(10), at(0));
        bans.insert(ip(1), at(5), at(0));
        assert!(bans.holds(ip(1), at(9)) && !bans.holds(ip(1), at(10)));
        bans.insert(ip(2), at(20), at(0));
        bans.insert(ip(3), at(30), at(0));
        assert!(!bans.holds(ip(1), at(1)), "full: the one that ends first is lifted");
        assert!(bans.holds(ip(2), at(1)) && bans.holds(ip(3), at(1)));
        bans.insert(ip(4), at(60), at(40));
        assert_eq!((bans.until.len(), bans.by_end.len()), (1, 1), "what has ended is cleared away");
    }

    #[test]
    fn the_next_ipv6_address_of_the_same_customer_is_banned_too() {
        let now = Instant::now();
        let mut bans = Bans::new(2);
        bans.insert("2001:db8::1".parse().unwrap(), now + Duration::from_secs(1), now);
        assert!(bans.holds("2001:db8::2".parse().unwrap(), now));
        assert!(!bans.holds("2001:db8:0:1::1".parse().unwrap(), now));
        bans.insert("::ffff:192.0.2.1".parse().unwrap(), now + Duration::from_secs(1), now);
        assert!(bans.holds("192.0.2.1".parse().unwrap(), now));
    }
}
