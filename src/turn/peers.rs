//! Whom a client may reach. Every spelling of an address is read for what it stands for; what is not public is denied
//! unless a role names it, our own sockets always, and a role of `peers: calls` reaches nothing but live calls.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;
use smallvec::SmallVec;

/// Whom the clients of a role may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Our own relayed addresses, and the media addresses that a live call named.
    Calls,
    /// These networks. What is denied by default stays denied unless a network here lies wholly inside it: `0.0.0.0/0`
    /// is the internet and opens no `10.0.0.0/8`; `10.20.0.0/16` does.
    Networks(Vec<IpNetwork>),
}

/// What is ours: peers may be relayed addresses of ours, never a listener.
#[derive(Clone, Debug)]
pub struct Own {
    /// Every SIP, TURN and admin listener; one on a wildcard stands here as it is, and once for each address of the machine.
    pub listeners: Vec<SocketAddr>,
    /// The addresses of relayed transport addresses, as bound and as advertised.
    pub relay_addresses: Vec<IpAddr>,
    /// Their ports. On those addresses nothing else can be a peer unless a role names them.
    pub relay_ports: RangeInclusive<u16>,
}

/// The ports of one peer address that a permission opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// First and last of each range; they do not overlap.
    ports: SmallVec<[(u16, u16); 1]>,
    /// How to get there.
    pub through: Through,
}

/// How a packet gets to a peer address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Through {
    /// Through the kernel.
    #[default]
    Kernel,
    /// The address is ours. Whoever in the process has the port takes it; if nobody has, it goes nowhere.
    Own,
    /// The address is ours, and the role names it: a port that nobody in the process has is reached through the kernel.
    OwnOrKernel,
}

impl Reach {
    /// True if nothing is open.
    pub fn is_nothing(&self) -> bool {
        self.ports.is_empty()
    }

    /// True if `port` is open.
    #[inline]
    pub fn holds(&self, port: u16) -> bool {
        self.ports.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }
}

/// What the rules for peers need to know; the same for all roles.
#[derive(Debug)]
pub struct Neighbourhood {
    own: Own,
    /// Media addresses that live calls named, and how many calls named each; bounded by the calls that the edge admits.
    calls: HashMap<IpAddr, SmallVec<[(u16, u32); 2]>>,
}

impl Neighbourhood {
    /// No call is up.
    pub fn new(own: Own) -> Self {
        Neighbourhood { own, calls: HashMap::new() }
    }

    /// A call that was admitted named `peer`. True if that opens anything.
    pub fn open_call_peer(&mut self, peer: SocketAddr) -> bool {
        let ports = self.calls.entry(peer.ip()).or_default();
        match ports.iter_mut().find(|(port, _)| *port == peer.port()) {
            Some((_, calls)) => *calls += 1,
            None => ports.push((peer.port(), 1)),
        }
        ports.iter().any(|named| *named == (peer.port(), 1))
    }

    /// A call that had named `peer` ended, or moved. True if that closes anything.
    pub fn close_call_peer(&mut self, peer: SocketAddr) -> bool {
        let Some(ports) = self.calls.get_mut(&peer.ip()) else { return false };
        let Some(at) = ports.iter().position(|(port, _)| *port == peer.port()) else { return false };
        if let Some((_, calls)) = ports.get_mut(at).filter(|(_, calls)| *calls > 1) {
            *calls -= 1;
            return false;
        }
        ports.swap_remove(at);
        if ports.is_empty() {
            self.calls.remove(&peer.ip());
        }
        true
    }

    /// What a role of `peers` opens at `ip`, where `deny` lists networks that it does not for anything; nothing: 403.
    pub fn reach(&self, peers: &Peers, deny: &[IpNetwork], ip: IpAddr) -> Reach {
        let is_denied = spellings(ip).iter().any(|ip| deny.iter().any(|network| network.contains(*ip)));
        if is_denied { Reach::default() } else { self.opened(peers, ip) }
    }

    fn opened(&self, peers: &Peers, ip: IpAddr) -> Reach {
        // One of ours in another spelling is no relayed address either: only the socket's own form is.
        if self.own.relay_addresses.contains(&ip) {
            return self.opened_of_ours(peers, ip);
        }
        let spelt = spellings(ip);
        // An address of the relay reached by a detour would be a send to ourselves.
        if spelt.iter().any(|ip| self.own.relay_addresses.iter().any(|ours| ours.to_canonical() == *ip)) {
            return Reach::default();
        }
        let ports = match peers {
            Peers::Calls if is_denied(ip, &[]) => SmallVec::new(),
            Peers::Calls => {
                self.calls.get(&ip).into_iter().flatten().map(|(port, _)| (*port, *port)).collect()
            }
            Peers::Networks(networks) => {
                let open = networks.iter().any(|network| network.contains(ip)) && !is_denied(ip, networks);
                if open { smallvec::smallvec![(1, u16::MAX)] } else { SmallVec::new() }
            }
        };
        Reach { ports: self.without_listeners(&spelt, ports), through: Through::Kernel }
    }

    /// What is open at a relay address. Relayed addresses guard themselves; the rest of the machine is as closed as any
    /// address that is denied by default, also where the address is public: `0.0.0.0/0` is the internet, not this host.
    fn opened_of_ours(&self, peers: &Peers, ip: IpAddr) -> Reach {
        let networks = match peers {
            Peers::Calls => &[][..],
            Peers::Networks(networks) if networks.iter().any(|network| network.contains(ip)) => networks,
            Peers::Networks(_) => return Reach::default(),
        };
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let names_it = |network: &IpNetwork| network.prefix() == whole && network.contains(ip);
        let is_named = networks.iter().any(names_it) || is_denied(ip, &[]) && !is_denied(ip, networks);
        if is_named {
            let ports = self.without_listeners(&[ip], smallvec::smallvec![(1, u16::MAX)]);
            return Reach { ports, through: Through::OwnOrKernel };
        }
        let relayed = (*self.own.relay_ports.start(), *self.own.relay_ports.end());
        Reach { ports: self.without_listeners(&[ip], smallvec::smallvec![relayed]), through: Through::Own }
    }

    /// Cuts our own listeners out of `ports` of an address, in whatever way it spells one of ours.
    fn without_listeners(
        &self,
        spelt: &[IpAddr],
        mut ports: SmallVec<[(u16, u16); 1]>,
    ) -> SmallVec<[(u16, u16); 1]> {
        // RFC 1122 §3.2.1.3: the host itself is all of 127.0.0.0/8, and whoever listens on a wildcard hears all of it.
        let is_heard =
            |ip: IpAddr| ip.is_unspecified() && spelt.iter().any(|at| at.is_ipv4() && at.is_loopback());
        let is_ours =
            |listener: &&SocketAddr| spelt.contains(&listener.ip().to_canonical()) || is_heard(listener.ip());
        for taken in self.own.listeners.iter().filter(is_ours).map(SocketAddr::port) {
            let cut = |(first, last): (u16, u16)| {
                let below = taken.checked_sub(1).map(|end| (first, end.min(last)));
                let above = taken.checked_add(1).map(|start| (start.max(first), last));
                let parts = if (first..=last).contains(&taken) {
                    [below, above]
                } else {
                    [Some((first, last)), None]
                };
                parts.into_iter().flatten().filter(|(first, last)| first <= last)
            };
            ports = ports.into_iter().flat_map(cut).collect();
        }
        ports
    }
}

/// True if `ip`, or an address that it stands for, is denied by default and no network in `named` opens it.
fn is_denied(ip: IpAddr, named: &[IpNetwork]) -> bool {
    // An IPv6 packet to ::ffff:a.b.c.d or ::a.b.c.d is a packet to nobody (RFC 4291 §2.5.5): there is nothing to open.
    if let IpAddr::V6(v6) = ip
        && !v6.is_loopback()
        && Denied::MAPPED_AND_COMPATIBLE.iter().any(|denied| denied.holds(v6.into()))
    {
        return true;
    }
    spellings(ip).iter().any(|ip| {
        Denied::NETWORKS.iter().filter(|denied| denied.holds(*ip)).any(|denied| {
            let opened = named.iter().any(|network| network.contains(*ip) && denied.is_around(network));
            !(opened && denied.may_be_named)
        })
    })
}

/// Where packets to an address end up, if it is another spelling of an IPv4 address.
pub(super) fn meant(ip: IpAddr) -> IpAddr {
    spellings(ip).last().copied().unwrap_or(ip)
}

/// An address and every address that travels inside it.
fn spellings(ip: IpAddr) -> SmallVec<[IpAddr; 3]> {
    let mut all: SmallVec<[IpAddr; 3]> = smallvec::smallvec![ip];
    let IpAddr::V6(v6) = ip else { return all };
    if v6.is_loopback() || v6.is_unspecified() {
        return all;
    }
    let bits = v6.to_bits();
    let v4_at = |shift: u32| IpAddr::V4(Ipv4Addr::from_bits((bits >> shift) as u32));
    match v6.segments() {
        // RFC 4291 §2.5.5.2 mapped, §2.5.5.1 compatible; ::ffff:0:a.b.c.d of RFC 2765 §2.1.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => all.push(v4_at(0)),
        // RFC 6052 §2.1: NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => all.push(v4_at(0)),
        // RFC 3056 §2: 6to4.
        [0x2002, ..] => all.push(v4_at(80)),
        // RFC 4380 §4: Teredo carries its server, and its client with every bit turned round.
        [0x2001, 0, ..] => all.extend([v4_at(64), IpAddr::V4(Ipv4Addr::from_bits(!(bits as u32)))]),
        // RFC 5214 §6.1: ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => all.push(v4_at(0)),
        _ => {}
    }
    all
}

/// A network where no peer is unless a role says so.
struct Denied {
    first: IpAddr,
    prefix: u8,
    may_be_named: bool,
}

impl Denied {
    const MAPPED_AND_COMPATIBLE: &[Denied] = &[
        Denied::v6([0, 0, 0, 0, 0, 0xffff], 96),
        Denied::v6([0, 0, 0, 0, 0, 0], 96),
        Denied::v6([0, 0, 0, 0, 0xffff, 0], 96),
    ];

    /// The special-purpose registries of RFC 6890 as they concern a relay.
    const NETWORKS: &[Denied] = &[
        Denied::v4([0, 0, 0, 0], 8).for_ever(),
        Denied::v4([127, 0, 0, 0], 8),
        Denied::v4([10, 0, 0, 0], 8),
        Denied::v4([172, 16, 0, 0], 12),
        Denied::v4([192, 168, 0, 0], 16),
        // RFC 6598: CGNAT. One cloud keeps its metadata at 100.100.100.200.
        Denied::v4([100, 64, 0, 0], 10),
        // RFC 3927; 169.254.169.254 is the clouds' metadata service.
        Denied::v4([169, 254, 0, 0], 16),
        // RFC 6890 §2.2.2: protocol assignments; another cloud's metadata at 192.0.0.192.
        Denied::v4([192, 0, 0, 0], 24),
        // RFC 2544: benchmarks. RFC 7526: the 6to4 relay anycast.
        Denied::v4([198, 18, 0, 0], 15),
        Denied::v4([192, 88, 99, 0], 24),
        Denied::v4([224, 0, 0, 0], 4).for_ever(),
        // Class E and 255.255.255.255.
        Denied::v4([240, 0, 0, 0], 4).for_ever(),
        // Metadata service of one cloud's host agent.
        Denied::v4([168, 63, 129, 16], 32),
        Denied::v6([0, 0, 0, 0, 0, 0], 128).for_ever(),
        Denied::v6_loopback(),
        // RFC 8215: local-use NAT64.
        Denied::v6([0x64, 0xff9b, 1, 0, 0, 0], 48),
        // RFC 6666: discard only.
        Denied::v6([0x100, 0, 0, 0, 0, 0], 64).for_ever(),
        // RFC 4193: ULA, and the clouds' fd00:ec2::254.
        Denied::v6([0xfc00, 0, 0, 0, 0, 0], 7),
        Denied::v6([0xfe80, 0, 0, 0, 0, 0], 10),
        // RFC 3879: site-local, given up but still routed by some.
        Denied::v6([0xfec0, 0, 0, 0, 0, 0], 10),
        Denied::v6([0xff00, 0, 0, 0, 0, 0], 8).for_ever(),
    ];

    const fn v4(octets: [u8; 4], prefix: u8) -> Denied {
        let [a, b, c, d] = octets;
        Denied { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, may_be_named: true }
    }

    const fn v6(start: [u16; 6], prefix: u8) -> Denied {
        let [a, b, c, d, e, f] = start;
        Denied { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, 0, 0)), prefix, may_be_named: true }
    }

    const fn v6_loopback() -> Denied {
        Denied { first: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128, may_be_named: true }
    }

    /// No role can open it.
    const fn for_ever(self) -> Denied {
        Denied { may_be_named: false, ..self }
    }

    fn holds(&self, ip: IpAddr) -> bool {
        let differs = match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => (first.to_bits() ^ ip.to_bits()).leading_zeros(),
            (IpAddr::V6(first), IpAddr::V6(ip)) => (first.to_bits() ^ ip.to_bits()).leading_zeros(),
            _ => return false,
        };
        differs >= u32::from(self.prefix)
    }

    fn is_around(&self, network: &IpNetwork) -> bool {
        network.prefix() >= self.prefix && self.holds(network.network())
    }
}

#[cfg(test)]
mod tests;
