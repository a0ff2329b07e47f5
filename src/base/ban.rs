//! Banned networks and users: nobody listens to them until their time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// Who is banned. As text: `203.0.113.7`, `198.51.100.0/24`, `2001:db8::/64`, `user:201`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Banned {
    /// A source, or all of a network. Of IPv6 a /64 at least, since the next address costs its owner nothing.
    Network(IpNetwork),
    /// A user, wherever they come from.
    User(Arc<str>),
}

/// Users of longer names are not banned by name.
const LONGEST_NAME: usize = 256;

impl Banned {
    /// Whoever sends from this address.
    pub fn source(source: IpAddr) -> Banned {
        Banned::Network(cut(source.to_canonical(), u8::MAX))
    }

    /// Whoever sends from this network.
    pub fn network(network: IpNetwork) -> Banned {
        let (ip, prefix) = (network.network().to_canonical(), network.prefix());
        // Only what lies within ::ffff:0:0/96 is IPv4 by another name.
        match ip {
            IpAddr::V4(_) if network.is_ipv6() && prefix < 96 => Banned::Network(network),
            IpAddr::V4(_) if network.is_ipv6() => Banned::Network(cut(ip, prefix - 96)),
            ip => Banned::Network(cut(ip, prefix)),
        }
    }

    /// True if it is a network, and this address lies in it.
    pub fn covers(&self, source: IpAddr) -> bool {
        matches!(self, Banned::Network(network) if network.contains(source.to_canonical()))
    }
}

/// The network of so many bits that an address lies in; of IPv6 a /64 at least.
fn cut(ip: IpAddr, prefix: u8) -> IpNetwork {
    let (family, bits) = bits(ip);
    let prefix = prefix.min(LONGEST_PREFIX[family]);
    network_of(family, prefix, masked(family, prefix, bits))
}

/// Of IPv4 and IPv6, which in this order are families 0 and 1.
const LONGEST_PREFIX: [u8; 2] = [32, 64];
const WIDTH: [u8; 2] = [32, 128];

/// Family, and the address as a number.
fn bits(ip: IpAddr) -> (usize, u128) {
    match ip {
        IpAddr::V4(v4) => (0, v4.to_bits().into()),
        IpAddr::V6(v6) => (1, v6.to_bits()),
    }
}

fn masked(family: usize, prefix: u8, bits: u128) -> u128 {
    let host = u32::from(WIDTH[family] - prefix);
    bits.checked_shr(host).and_then(|kept| kept.checked_shl(host)).unwrap_or(0)
}

fn network_of(family: usize, prefix: u8, bits: u128) -> IpNetwork {
    let ip =
        if family == 0 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() };
    IpNetwork::new(ip, prefix).unwrap_or_else(|_| ip.into())
}

impl fmt::Display for Banned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Banned::Network(IpNetwork::V4(one)) if one.prefix() == 32 => write!(f, "{}", one.ip()),
            Banned::Network(network) => write!(f, "{network}"),
            Banned::User(name) => write!(f, "user:{name}"),
        }
    }
}

/// A text that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nobody who can be banned: write an address (203.0.113.7), a network (198.51.100.0/24) or a user (user:201)"
)]
pub struct Nobody(String);

impl FromStr for Banned {
    type Err = Nobody;

    fn from_str(text: &str) -> Result<Banned, Nobody> {
        if let Some(name) = text.strip_prefix("user:") {
            let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
            return is_name.then(|| Banned::User(name.into())).ok_or_else(|| Nobody(text.into()));
        }
        text.parse().map(Banned::network).map_err(|_| Nobody(text.into()))
    }
}

impl TryFrom<String> for Banned {
    type Error = Nobody;
    fn try_from(text: String) -> Result<Banned, Nobody> {
        text.parse()
    }
}

impl From<Banned> for String {
    fn from(banned: Banned) -> String {
        banned.to_string()
    }
}

/// A table of bans, each with a word on it. Bounded: where there is no room, the ban that ends first is lifted.
#[derive(Debug)]
pub struct Bans<W = ()> {
    /// By family and length of the prefix, of which each is one look-up: by their first addresses.
    networks: [BTreeMap<u8, BTreeMap<u128, Ban<W>>>; 2],
    users: BTreeMap<Arc<str>, Ban<W>>,
    by_end: BTreeSet<(Instant, Banned)>,
    capacity: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Ban<W> {
    /// When it ends by itself.
    pub until: Option<Instant>,
    /// What is said of it.
    pub word: W,
}

impl<W> Ban<W> {
    fn lasts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl<W> Bans<W> {
    /// Nobody is banned.
    pub fn new(capacity: usize) -> Self {
        Bans { networks: Default::default(), users: BTreeMap::new(), by_end: BTreeSet::new(), capacity }
    }

    /// True while a ban of this source lasts. Asked per packet.
    pub fn holds(&self, source: IpAddr, now: Instant) -> bool {
        let (family, source) = bits(source.to_canonical());
        let by_length = self.networks[family].iter();
        by_length
            .filter_map(|(prefix, networks)| networks.get(&masked(family, *prefix, source)))
            .any(|ban| ban.lasts(now))
    }

    /// True while a ban of this user lasts.
    pub fn holds_user(&self, user: &str, now: Instant) -> bool {
        self.users.get(user).is_some_and(|ban| ban.lasts(now))
    }

    /// The ban of exactly this one, if it lasts.
    pub fn get(&self, banned: &Banned, now: Instant) -> Option<&Ban<W>> {
        let known = match banned {
            Banned::Network(network) => {
                let (family, first) = bits(network.network());
                self.networks[family].get(&network.prefix()).and_then(|networks| networks.get(&first))
            }
            Banned::User(name) => self.users.get(name),
        };
        known.filter(|ban| ban.lasts(now))
    }

    /// All that last.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (Banned, &Ban<W>)> {
        let networks = (0..).zip(&self.networks).flat_map(|(family, by_length)| {
            by_length.iter().flat_map(move |(prefix, networks)| {
                let of = move |first| Banned::Network(network_of(family, *prefix, first));
                networks.iter().map(move |(first, ban)| (of(*first), ban))
            })
        });
        let users = self.users.iter().map(|(name, ban)| (Banned::User(name.clone()), ban));
        networks.chain(users).filter(move |(_, ban)| ban.lasts(now))
    }

    /// How many there are; some of them may have ended.
    pub fn len(&self) -> usize {
        let networks = self.networks.iter().flat_map(BTreeMap::values).map(BTreeMap::len);
        networks.sum::<usize>() + self.users.len()
    }

    /// Nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bans until then, whatever was said of them before; with `None` until somebody lifts it.
    pub fn insert(&mut self, banned: Banned, until: Option<Instant>, word: W, now: Instant) {
        self.remove(&banned);
        let ban = Ban { until, word };
        self.by_end.extend(until.map(|until| (until, banned.clone())));
        match banned {
            Banned::Network(network) => {
                let (family, first) = bits(network.network());
                self.networks[family].entry(network.prefix()).or_default().insert(first, ban);
            }
            Banned::User(name) => {
                self.users.insert(name, ban);
            }
        }
        while let Some((first, banned)) = self.by_end.first()
            && (*first <= now || self.len() > self.capacity)
        {
            self.remove(&banned.clone());
        }
    }

    /// Lifts a ban. False: there was none of exactly this one.
    pub fn remove(&mut self, banned: &Banned) -> bool {
        let known = match banned {
            Banned::Network(network) => {
                let (family, first) = bits(network.network());
                let by_length = &mut self.networks[family];
                let networks = by_length.get_mut(&network.prefix());
                let known = networks.and_then(|networks| networks.remove(&first));
                by_length.retain(|_, networks| !networks.is_empty());
                known
            }
            Banned::User(name) => self.users.remove(name),
        };
        if let Some(until) = known.as_ref().and_then(|ban| ban.until) {
            self.by_end.remove(&(until, banned.clone()));
        }
        known.is_some()
    }

    /// True if nobody but a person can end any ban, and there is no room for another.
    pub fn is_full(&self) -> bool {
        self.len() - self.by_end.len() >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn banned(text: &str) -> Banned {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn bans_end_and_are_bounded() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut bans = Bans::new(2);
        bans.insert(banned("192.0.2.1"), Some(at(10)), (), at(0));
        assert!(bans.holds(ip("192.0.2.1"), at(9)) && !bans.holds(ip("192.0.2.1"), at(10)));
        bans.insert(banned("192.0.2.2"), Some(at(20)), (), at(0));
        bans.insert(banned("user:201"), Some(at(30)), (), at(0));
        assert!(!bans.holds(ip("192.0.2.1"), at(1)), "full: the one that ends first is lifted");
        assert!(bans.holds(ip("192.0.2.2"), at(1)) && bans.holds_user("201", at(1)));
        assert!(!bans.is_full() && !bans.holds_user("20", at(1)));
        bans.insert(banned("192.0.2.4"), Some(at(60)), (), at(40));
        assert_eq!((bans.len(), bans.by_end.len()), (1, 1), "what has ended is cleared away");
        bans.insert(banned("192.0.2.5"), None, (), at(40));
        bans.insert(banned("192.0.2.6"), None, (), at(40));
        assert!(bans.is_full() && bans.holds(ip("192.0.2.5"), at(1_000_000)));
        bans.insert(banned("192.0.2.7"), Some(at(90)), (), at(41));
        assert_eq!(bans.len(), 2, "what people banned is not lifted for a rule's ban");
        assert!(bans.remove(&banned("192.0.2.5")) && !bans.remove(&banned("192.0.2.5")));
        assert!(bans.remove(&banned("192.0.2.6")) && bans.is_empty() && bans.networks[0].is_empty());
    }

    #[test]
    fn a_network_is_banned_with_all_that_lies_in_it() {
        let now = Instant::now();
        let mut bans = Bans::new(9);
        for network in ["198.51.100.77/24", "2001:db8:1::5", "2001:db8:f000::/36"] {
            bans.insert(banned(network), None, (), now);
        }
        for inside in ["198.51.100.1", "::ffff:198.51.100.9", "2001:db8:1:0:ffff::1", "2001:db8:ffff:1::1"] {
            assert!(bans.holds(ip(inside), now), "{inside}");
        }
        for outside in ["198.51.101.1", "2001:db8:1:1::1", "2001:db8:e000::1"] {
            assert!(!bans.holds(ip(outside), now), "{outside}");
        }
        assert!(bans.remove(&banned("198.51.100.0/24")), "however it was written");
        assert!(!bans.holds(ip("198.51.100.1"), now));
    }

    #[test]
    fn who_is_banned_reads_back_as_it_is_shown() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
            ("2001:db8::1", "2001:db8::/64"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("user:201", "user:201"),
            ("user:a/b", "user:a/b"),
        ] {
            assert_eq!(banned(text).to_string(), shown);
            assert_eq!(banned(shown), banned(text));
        }
        for wrong in ["", "203.0.113", "203.0.113.7/33", "201", "user:", "user:\n", "host.example.com"] {
            assert!(wrong.parse::<Banned>().is_err(), "{wrong}");
        }
    }
}
