//! Flat flow rows: what the packet path needs to know about one socket, compiled from the legs whenever they change.

use std::net::{IpAddr, SocketAddr};

use super::Component;
use crate::media::latch::Leg;
use crate::media::packet;

/// One of a pair's four sockets: whom it hears, what it takes, where that goes.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The latched source; `None`: nobody is heard yet.
    pub source: Option<SocketAddr>,
    /// Where RTP goes, and whatever else is not RTCP: it leaves from the other side's socket of the same component.
    pub media: Option<Exit>,
    /// Where RTCP goes: the other side may have it on another port than this one.
    pub rtcp: Option<Exit>,
    /// Payload types that pass, by bit.
    pub payload_types: u128,
    /// What this socket takes.
    pub takes: Takes,
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

/// What a socket takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: the stream has not been described yet.
    #[default]
    Nothing,
    /// Any datagram that is not empty (T.38, data channels).
    Anything,
    /// Valid packets of these kinds.
    #[allow(missing_docs)]
    Media { rtp: bool, rtcp: bool, stun_and_dtls: bool },
}

impl Row {
    /// The row for what arrives from `from` on its socket `component` and goes to `to`; `own` are our relay addresses.
    pub fn compile(from: &Leg, to: &Leg, component: Component, own: &[IpAddr]) -> Row {
        let exit = |component| {
            let exit = |to: SocketAddr| Exit { component, to, ours: own.contains(&to.ip()) };
            to.destination(component).map(exit)
        };
        let rules = from.rules();
        let all = rules.payload_types.is_empty();
        Row {
            source: from.source(component),
            media: exit(component),
            // RFC 5761 §3: with rtcp-mux, RTCP shares RTP's port.
            rtcp: exit(if to.rules().rtcp_mux { Component::Rtp } else { Component::Rtcp }),
            payload_types: if all { u128::MAX } else { bits(&rules.payload_types) },
            takes: match (rules.rtp_only, component) {
                (false, _) => Takes::Anything,
                (true, Component::Rtp) => {
                    Takes::Media { rtp: true, rtcp: rules.rtcp_mux, stun_and_dtls: rules.stun_and_dtls }
                }
                (true, Component::Rtcp) => {
                    Takes::Media { rtp: false, rtcp: true, stun_and_dtls: rules.stun_and_dtls }
                }
            },
        }
    }

    /// Where a packet of this kind goes; `None` if nobody is there yet.
    #[inline]
    pub fn exit(&self, kind: Kind) -> Option<Exit> {
        match kind {
            Kind::Media => self.media,
            Kind::Rtcp => self.rtcp,
        }
    }

    /// What `packet` is, if the socket takes it.
    #[inline]
    pub fn kind(&self, packet: &[u8]) -> Option<Kind> {
        let (rtp, rtcp, stun_and_dtls) = match self.takes {
            Takes::Media { rtp, rtcp, stun_and_dtls } => (rtp, rtcp, stun_and_dtls),
            Takes::Anything => return (!packet.is_empty()).then_some(Kind::Media),
            Takes::Nothing => return None,
        };
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
