//! Whether media may go where an SDP says (ATTACKS.md: SDP that points at 127.0.0.1, 169.254.169.254, RFC 1918, our own
//! ports, a victim).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::relay::{Owner, Relay};

use super::SideSettings;

/// What may be done with an address that an SDP names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// The address, if it may be reached at all.
    pub address: Option<SocketAddr>,
    /// Even before anything came from there.
    pub send_before_latch: bool,
    /// It is a relayed address of ours: nobody speaks from elsewhere in its name (docs/adr/0009).
    pub ours: bool,
}

const NOWHERE: Destination = Destination { address: None, send_before_latch: false, ours: false };

/// `own` are the relayed addresses of the same call.
pub(super) fn of(
    address: Option<SocketAddr>,
    side: &SideSettings,
    own: &[SocketAddr],
    relay: &dyn Relay,
) -> Destination {
    let Some(address) = address else { return NOWHERE };
    let ip = address.ip();
    if ip.is_unspecified()
        || ip.is_multicast()
        || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
        || own.contains(&address)
    {
        return NOWHERE;
    }
    let owner = relay.owner_of(address);
    let may_be_reached = match owner {
        // Somebody else's call.
        Some(Owner::Pair) => !side.untrusted,
        Some(Owner::Allocation) => true,
        None => !side.untrusted || is_public(ip) && !side.own.contains(&ip),
    };
    if !may_be_reached {
        return NOWHERE;
    }
    // An untrusted side has proved one address: the one that its SIP comes from. That an allocation is its own it proves
    // by speaking from there.
    let proved = !side.untrusted || side.sip_source.is_some_and(|source| source.to_canonical() == ip);
    Destination { address: Some(address), send_before_latch: proved, ours: owner.is_some() }
}

/// Reachable over the internet, as far as the address tells (RFC 6890 and the registries it started). `ip` is canonical:
/// no IPv4-mapped IPv6. Addresses for documentation count as public; nobody is there.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    // RFC 6598: carrier-grade NAT. RFC 1122 §3.2.1.3: "this network". RFC 1112 §4: class E.
    let shared = a == 100 && (64..128).contains(&b);
    !(a == 0 || a >= 224 || shared || ip.is_private() || ip.is_loopback() || ip.is_link_local())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        // RFC 4291 §2.5.5.1 IPv4-compatible, with :: and ::1 among them.
        [0, 0, 0, 0, 0, 0, ..] => false,
        // RFC 6052 §2.1 NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        [0x64, 0xff9b, 1, ..] => false,
        // RFC 6666 discard-only.
        [0x100, 0, 0, 0, ..] => false,
        // RFC 4380 Teredo, RFC 3056 6to4.
        [0x2001, 0, ..] => false,
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // RFC 4193 unique local, RFC 4291 §2.5.6 link-local, RFC 3879 site-local, multicast.
        [first, ..] => first & 0xfe00 != 0xfc00 && first & 0xff80 != 0xfe80 && first & 0xff00 != 0xff00,
    }
}
