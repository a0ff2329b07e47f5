//! THE hot path: what becomes of one packet. Reads one row, allocates nothing, waits for nothing.

mod dtls;
mod ice;
mod listen;
mod srtp;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::row::{Exit, Kind, Row};
use super::{Component, LegRules, PairCounters, SavedLeg, Side};
use crate::ice::Agent;
use crate::media::latch::Leg;
use crate::media::packet;
use crate::media::quality::{Quality, SenderReports};
pub use dtls::{Handshakes, Said};
use srtp::Protection;
pub use srtp::Way;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves from the other side.
    Forward(Exit),
    /// It was a check, and its answer was written: that goes back to where the packet came from.
    Answer,
    /// It has done its work.
    Done,
    /// It is dropped and counted.
    Drop(Reason),
}

/// How a packet came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// To this side's socket,
    pub side: Side,
    /// of this component,
    pub component: Component,
    /// from there,
    pub source: SocketAddr,
    /// in the round that began then.
    pub now: Instant,
}

/// Why a packet is dropped; each has a counter in [`super::SideCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not from the latched source, nor from one that may latch, nor from one that has authenticated itself by ICE.
    Source,
    /// Not valid, or not of a negotiated payload type.
    Payload,
    /// SRTP that is not under the key that was agreed on, or comes before one was.
    Authentication,
    /// SRTP, or what would become SRTP, that was there before or is too late to tell.
    Replay,
    /// Fine, but the other side's destination is not known yet.
    Undeliverable,
}

/// A pair of relayed transport addresses: two legs, and a row for each.
#[derive(Debug, Default)]
pub struct Pair {
    legs: [Leg; 2],
    rows: [Row; 2],
    /// Our relay addresses.
    own: Arc<[IpAddr]>,
    /// Of the sides that do ICE, by side, then component.
    agents: [[Option<Box<Agent>>; 2]; 2],
    /// How each side is protected.
    srtp: [Protection; 2],
    /// How well each side is heard.
    quality: [Quality; 2],
    reports: [SenderReports; 2],
    counters: Arc<PairCounters>,
}

impl Pair {
    /// Nobody may speak yet. `own` are our relay addresses: an [`Exit`] says whether it leads to one of them. How the legs are
    /// heard is written into `counters`.
    pub fn new(own: Arc<[IpAddr]>, counters: Arc<PairCounters>) -> Pair {
        Pair { own, counters, ..Pair::default() }
    }

    /// New rules for one side.
    pub fn set_leg(&mut self, side: Side, rules: LegRules) {
        for agent in &mut self.agents[side as usize] {
            match (&rules.ice, &mut *agent) {
                (Some(settings), Some(agent)) => agent.set(settings.clone()),
                (Some(settings), None) => *agent = Some(Box::new(Agent::new(settings.clone()))),
                (None, _) => *agent = None,
            }
        }
        self.quality[side as usize].set_clocks(&rules.clocks);
        self.rows[side as usize].set_rules(&rules);
        self.legs[side as usize].set_rules(rules);
        self.compile();
    }

    /// True if one of the sides does ICE: then [`Self::forward_ice`] is to be asked instead of [`Self::forward`].
    #[inline]
    pub fn does_ice(&self) -> bool {
        self.agents.iter().any(|of_side| of_side[0].is_some())
    }

    /// What becomes of a packet. The first good one of a source that may, latches.
    #[inline]
    pub fn forward(&mut self, arrived: &Arrived, packet: &[u8]) -> Verdict {
        let Arrived { side, component, source, .. } = *arrived;
        let leg = &self.legs[side as usize];
        let latched = match leg.source(component) {
            Some(latched) if latched == source => true,
            None if leg.may_latch(component, source) => false,
            _ => return Verdict::Drop(Reason::Source),
        };
        let Some(kind) = self.rows[side as usize].kind(component, packet) else {
            return Verdict::Drop(Reason::Payload);
        };
        let exit = self.rows[side.other() as usize].exit(component, kind);
        if !latched && !self.is_credible(arrived, kind, packet) {
            return Verdict::Drop(Reason::Source);
        }
        self.listen(arrived, kind, packet);
        if !latched {
            self.legs[side as usize].latch_to(component, source);
            self.compile();
        }
        exit.map_or(Verdict::Drop(Reason::Undeliverable), Verdict::Forward)
    }

    /// Whether a packet that nothing authenticates may be its component's first. RTCP begins seconds after RTP (RFC 3550 §6.2): who
    /// shares its sender's address, behind one NAT, would have the time to be first. From a port that could not be expected
    /// it counts only under an SSRC that RTP comes under.
    fn is_credible(&self, arrived: &Arrived, kind: Kind, packet: &[u8]) -> bool {
        let Arrived { side, component, source, .. } = *arrived;
        let says_who =
            || packet::rtcp_ssrc(packet).is_some_and(|ssrc| self.quality[side as usize].hears(ssrc));
        (component, kind) != (Component::Rtcp, Kind::Rtcp)
            || self.legs[side as usize].expects_rtcp_from(source)
            || says_who()
    }

    /// True for one of our relay addresses.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.own.contains(&ip)
    }

    fn compile(&mut self) {
        for side in [Side::A, Side::B] {
            let leg = &self.legs[side as usize];
            self.rows[side as usize].set_exits(leg, &self.own);
            for component in [Component::Rtp, Component::Rtcp] {
                if self.agents[side as usize][component as usize].is_none() {
                    self.tell_latched(side, component, leg.source(component));
                }
            }
        }
    }

    /// Of this the worker alone knows, and it must outlast a restart.
    fn tell_latched(&self, side: Side, component: Component, source: Option<SocketAddr>) {
        if self.counters.leg(side).latched(component).set(source) {
            self.counters.revise();
        }
    }

    /// What was known of a side before a restart holds again, as far as its rules, which are set, let it.
    pub fn resume(&mut self, side: Side, saved: &SavedLeg, now: Instant) {
        for component in [Component::Rtp, Component::Rtcp] {
            let Some(source) = saved.latched[component as usize] else { continue };
            match &mut self.agents[side as usize][component as usize] {
                Some(agent) => agent.prove(source, now),
                None => self.legs[side as usize].latch_again(component, source),
            }
            self.proved(side, component, now);
        }
        self.srtp[side as usize].resume(saved, self.counters.life(), now);
        self.tell_keys(side);
        if let Some(srtp) = self.counters.leg(side).srtp() {
            saved.inbound.iter().rev().for_each(|milestone| srtp.inbound.pass(*milestone));
            saved.outbound.iter().rev().for_each(|milestone| srtp.outbound.pass(*milestone));
        }
        self.compile();
    }
}

#[cfg(test)]
mod tests;
