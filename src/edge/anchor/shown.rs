//! Which addresses of one side the other is shown (DESIGN.md §4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::destination::is_public;
use super::ice::Towards;
use super::stream::canonical;
use super::{CallMedia, Sides};
use crate::relay::{Relay, Side};
use crate::sdp::{self, View};

/// How far an address means something (RFC 4007 §4; RFC 1918 is the same for IPv4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// On one link or host: loopback, link-local; and what is no unicast address.
    Link,
    /// In a private network: RFC 1918, RFC 6598, RFC 4193, …
    Private,
    /// Everywhere.
    Global,
}

impl Scope {
    /// Of an address, also one that is an IPv4 address in IPv6's clothes.
    pub fn of(ip: IpAddr) -> Scope {
        let ip = ip.to_canonical();
        let is_of_link = match ip {
            IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::BROADCAST,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if is_of_link || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
            Scope::Link
        } else if is_public(ip) {
            Scope::Global
        } else {
            Scope::Private
        }
    }
}

impl CallMedia {
    /// The two endpoints do ICE with one another, as far as is known: candidates that are trickled concern both.
    pub fn passes_ice(&self) -> bool {
        self.ice.passes()
    }

    /// What `from` has trickled (RFC 8840 §9), for the other side. Ours is not added: it stands in the offer or answer before it.
    pub fn trickle(&self, from: Side, fragment: &[u8], relay: &dyn Relay, out: &mut Vec<u8>) {
        let towards = self.ice.unless_lite(&self.sides);
        let said = Said { from, towards: &towards, body: fragment, has_ours: false };
        show(&said, &self.sides, relay, out);
    }
}

/// A body of one side.
pub(super) struct Said<'b> {
    pub from: Side,
    pub towards: &'b Towards,
    pub body: &'b [u8],
    /// It was rewritten: candidates at relayed addresses of ours stand there because we want them to.
    pub has_ours: bool,
}

/// Appends the body as far as the other side may see it.
pub(super) fn show(said: &Said<'_>, sides: &Sides, relay: &dyn Relay, out: &mut Vec<u8>) {
    let least = sides.of(said.from).shows;
    let shows_candidates = said.towards.shows_candidates();
    let is_seen = |ip: IpAddr| Scope::of(ip) >= least;
    let is_ours = |address: SocketAddr| relay.owner_of(canonical(address)).is_some();
    let is_candidate_seen = |address: SocketAddr| {
        if is_ours(address) { said.has_ours } else { shows_candidates && is_seen(address.ip()) }
    };
    let instead = sides.of(said.from.other()).relay.first().advertise;
    let view = View {
        // A name means something to mDNS on its own link; agents resolve no other.
        candidate: &|address| address.map_or(shows_candidates && least == Scope::Link, is_candidate_seen),
        // The relayed address that it checked with is no candidate of the far endpoint's own.
        remote: &|address| shows_candidates && !is_ours(address) && is_seen(address.ip()),
        host: &is_seen,
        instead: (least == Scope::Global).then_some(instead),
        origin: sides.of(said.from).hides_origin.then_some(instead),
    };
    sdp::show(said.body, &view, out);
}
