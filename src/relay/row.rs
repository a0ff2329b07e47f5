//! Flat flow rows: what the packet path needs to know about one side, compiled from its rules and its leg whenever they change.

use std::net::{IpAddr, SocketAddr};

use super::Component;
use crate::media::latch::{Leg, LegRules};
use crate::media::packet;

/// One side of a pair: what its two sockets take, and where what leaves from them goes.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Payload types that pass, by bit.
    payload_types: u128,
    takes: Takes,
    /// RTCP shares RTP's port.
    rtcp_mux: bool,
    /// By component; `None`: nobody is there yet.
    exits: [Option<Exit>; 2],
}

/// Where a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// From which socket of the other side.
    pub component: Component,
    /// To which address.
    pub to: SocketAddr,
    /// The address may be a relayed one of ours, which is reached without leaving the process.
    pub ours: bool,
}

/// What a packet is, as far as its way differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP, and whatever else is not RTCP.
    Media,
    /// RTCP.
    Rtcp,
}

/// What the sockets of a side take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Takes {
    /// Nothing: the stream has not been described yet.
    #[default]
    Nothing,
    /// Any datagram that is not empty (T.38, data channels).
    Anything,
    /// Valid RTP and RTCP, and what else is said.
    Media { stun_and_dtls: bool },
}

impl Row {
    /// New rules for the side.
    pub fn set_rules(&mut self, rules: &LegRules) {
        let all = rules.payload_types.is_empty();
        self.payload_types = if all { u128::MAX } else { bits(&rules.payload_types) };
        self.takes = match rules.rtp_only {
            false => Takes::Anything,
            true => Takes::Media { stun_and_dtls: rules.stun_and_dtls },
        };
        self.rtcp_mux = rules.rtcp_mux;
    }

    /// The side is reached where `leg` says; `own` are our relay addresses.
    pub fn set_exits(&mut self, leg: &Leg, own: &[IpAddr]) {
        self.exits = [Component::Rtp, Component::Rtcp].map(|component| {
            let exit = |to: SocketAddr| Exit { component, to, ours: own.contains(&to.ip()) };
            leg.destination(component).map(exit)
        });
    }

    /// From which of its sockets a packet of this kind leaves that came to the other side's `component`.
    #[inline]
    pub fn exit_component(&self, component: Component, kind: Kind) -> Component {
        match kind {
            Kind::Media => component,
            // RFC 5761 §3: with rtcp-mux, RTCP shares RTP's port.
            Kind::Rtcp if self.rtcp_mux => Component::Rtp,
            Kind::Rtcp => Component::Rtcp,
        }
    }

    /// Where such a packet goes; `None` if nobody is there yet.
    #[inline]
    pub fn exit(&self, component: Component, kind: Kind) -> Option<Exit> {
        self.exits[self.exit_component(component, kind) as usize]
    }

    /// RTCP shares RTP's port.
    #[inline]
    pub fn does_rtcp_mux(&self) -> bool {
        self.rtcp_mux
    }

    /// The side sends RTP.
    #[inline]
    pub fn takes_rtp(&self) -> bool {
        matches!(self.takes, Takes::Media { .. })
    }

    /// What `packet` is, if the socket `component` takes it.
    #[inline]
    pub fn kind(&self, component: Component, packet: &[u8]) -> Option<Kind> {
        let stun_and_dtls = match self.takes {
            Takes::Media { stun_and_dtls } => stun_and_dtls,
            Takes::Anything => return (!packet.is_empty()).then_some(Kind::Media),
            Takes::Nothing => return None,
        };
        let rtp = component == Component::Rtp;
        let rtcp = !rtp || self.rtcp_mux;
        // RFC 7983 §7: 128 to 191 is RTP or RTCP.
        match packet.first()? {
            128..=191 if rtcp && packet::looks_like_rtcp(packet) => {
                packet::is_rtcp(packet).then_some(Kind::Rtcp)
            }
            128..=191 if rtp => {
                let payload_type = packet::rtp_payload_type(packet)?;
                (self.payload_types >> payload_type & 1 == 1).then_some(Kind::Media)
            }
            0..=63 if stun_and_dtls => {
                (packet::is_stun(packet) || packet::is_dtls(packet)).then_some(Kind::Media)
            }
            _ => None,
        }
    }
}

/// RFC 3550 §5.1: a payload type has seven bits; greater numbers cannot be sent and are left out.
fn bits(payload_types: &[u8]) -> u128 {
    payload_types.iter().filter(|payload_type| **payload_type < 128).fold(0, |bits, bit| bits | 1 << bit)
}
