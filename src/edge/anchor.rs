//! Media of one call: offers and answers go in, rewritten ones come out, pairs of relayed addresses are opened, told
//! who may speak, and closed. Knows RFC 3264's states, no SIP: the edge says which body is an offer or an answer.

use crate::relay::{Relay, RelayAddress, RelayEvent, Side};

/// How the two sides of this call are to be treated.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Caller's side.
    pub a: SideSettings,
    /// Called side.
    pub b: SideSettings,
}

/// One side's.
#[derive(Clone, Debug)]
pub struct SideSettings {
    /// The relayed address it is shown.
    pub relay: RelayAddress,
    /// Real source of its SIP, which may latch its media (behind NAT); `None` for a side whose SDP is to be believed.
    pub sip_source: Option<std::net::IpAddr>,
    /// `trust: none`: an SDP address that is private, loopback, multicast or ours is never a destination.
    pub untrusted: bool,
    /// Append relay candidates towards this side.
    pub ice_append: bool,
    /// Networks of the zone: their addresses may latch.
    pub allowed: std::sync::Arc<[ipnetwork::IpNetwork]>,
}

/// Why an offer or answer could not be rewritten.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error("SDP {0}")]
    Sdp(#[from] crate::sdp::SdpError),
    #[error("{0}")]
    Ports(#[from] crate::relay::OpenError),
    #[error("an answer without an offer")]
    NoOffer,
}

impl AnchorError {
    /// 488 for SDP that cannot be read, 503 when no port is free, 400 for an answer out of place.
    pub fn status(&self) -> u16 {
        todo!()
    }
}

/// The media of one call: streams (m= lines) in order, each with its pair, the kept offer, and per To tag of an early
/// dialog its own answer.
#[derive(Debug)]
pub struct CallMedia {}

impl CallMedia {
    /// Nothing open yet.
    pub fn new(sides: Sides) -> CallMedia {
        let _ = sides;
        todo!()
    }
    /// An offer from `from`; appends the rewritten body for the other side to `out`. Opens pairs for new streams.
    pub fn offer(
        &mut self,
        from: Side,
        sdp: &[u8],
        relay: &mut dyn Relay,
        out: &mut Vec<u8>,
    ) -> Result<(), AnchorError> {
        let _ = (from, sdp, relay, out);
        todo!()
    }
    /// An answer from `from` in the (early) dialog of `tag` (the To tag; the same bytes again give the same rewrite).
    /// `is_final`: 2xx, PRACK'd or ACK: latch rules now follow this dialog alone.
    pub fn answer(
        &mut self,
        from: Side,
        tag: &[u8],
        is_final: bool,
        sdp: &[u8],
        relay: &mut dyn Relay,
        out: &mut Vec<u8>,
    ) -> Result<(), AnchorError> {
        let _ = (from, tag, is_final, sdp, relay, out);
        todo!()
    }
    /// The pending offer was refused (488, 491, …): what held before holds again.
    pub fn roll_back(&mut self, relay: &mut dyn Relay) {
        let _ = relay;
        todo!()
    }
    /// Frees every pair. Twice does nothing.
    pub fn close(&mut self, relay: &mut dyn Relay) {
        let _ = relay;
        todo!()
    }
    /// True if every open stream of the call is idle after this event.
    pub fn handle_relay(&mut self, event: RelayEvent) -> bool {
        let _ = event;
        todo!()
    }
    /// Pairs of this call, for the edge's table from pair to call.
    pub fn pairs(&self) -> impl Iterator<Item = crate::relay::PairId> + '_ {
        std::iter::empty()
    }
    /// Counters for the CDR.
    pub fn streams(&self) -> Vec<super::event::StreamCdr> {
        todo!()
    }
}
