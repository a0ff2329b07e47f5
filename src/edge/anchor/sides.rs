//! What the media of a call is told of its two sides.

use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::shown::Scope;
use crate::edge::settings::{Ice, Srtp};
use crate::relay::{RelayAddress, RelayAddresses, Side, SideAddrs};
use crate::sdp::Media;

/// How the two sides of this call are to be treated.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Caller's side.
    pub a: SideSettings,
    /// Called side.
    pub b: SideSettings,
}

impl Sides {
    pub(super) fn of(&self, side: Side) -> &SideSettings {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

/// One side's.
#[derive(Clone, Debug)]
pub struct SideSettings {
    /// The relayed addresses it may be shown; first that of the family of its SIP.
    pub relay: RelayAddresses,
    /// Real source of its SIP, which may latch its media (behind NAT); `None` for a side whose SDP is to be believed.
    pub sip_source: Option<IpAddr>,
    /// `trust: none`: an SDP address that is private, loopback, multicast or ours is never a destination, and any other
    /// only once that side has spoken from it, or where it is the SIP source.
    pub untrusted: bool,
    /// Addresses of this machine: but for relayed ones, an untrusted side's media is never there.
    pub own: Arc<[IpAddr]>,
    /// What becomes of ICE.
    pub ice: Ice,
    /// Messages to it are to stay small (UDP): it is offered ICE only once it has offered ICE itself.
    pub ice_on_request: bool,
    /// Of its addresses the other side is shown those that mean something this far, or farther.
    pub shows: Scope,
    /// Nor is the other side shown the address in its `o=`, whatever it is.
    pub hides_origin: bool,
    /// Which media security it speaks.
    pub srtp: Srtp,
    /// Networks of the zone: their addresses may latch.
    pub allowed: Arc<[IpNetwork]>,
}

impl SideSettings {
    /// What its offer wants to be shown: of the family that it is in itself. `None`: it does not say.
    pub(super) fn relay_for(&self, media: &Media<'_>) -> Option<RelayAddress> {
        let ip = media.rtp.map(|rtp| rtp.ip()).filter(|ip| !ip.is_unspecified())?;
        Some(self.relay.preferring(ip).first())
    }

    /// What it is shown by a new pair, where another one, or none, has shown it `before`.
    pub(super) fn relay_at(&self, before: Option<SideAddrs>) -> RelayAddress {
        match before {
            Some(before) => self.relay.preferring(before.rtp().0.ip()).first(),
            None => self.relay.first(),
        }
    }
}
