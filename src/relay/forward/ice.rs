//! What becomes of a packet of a pair whose legs do ICE: nothing but STUN is looked at before a leg's endpoint has shown by
//! a check that it is there (DESIGN.md §4; CVE-2025-53399, CVE-2023-49786).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Pair, Reason, Verdict};
use crate::ice::Heard;
use crate::media::packet;
use crate::relay::row::{Exit, Kind};
use crate::relay::{Component, Side};
use crate::stun::{Class, Message};

/// A packet from somebody who is heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    pub kind: Kind,
    /// Nobody had latched yet: it does, if it is good.
    pub latches: bool,
}

impl Pair {
    /// As [`Pair::forward`]; an answer to a check is appended to `answer`.
    pub fn forward_ice(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
        now: Instant,
        answer: &mut Vec<u8>,
    ) -> Verdict {
        let verdict = if packet::is_stun(packet) {
            self.stun(side, component, source, packet, now, answer)
        } else {
            self.media(side, component, source, packet, now)
        };
        verdict.unwrap_or_else(Verdict::Drop)
    }

    fn stun(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
        now: Instant,
        answer: &mut Vec<u8>,
    ) -> Result<Verdict, Reason> {
        let message = Message::parse(packet).map_err(|_| Reason::Payload)?;
        if matches!(message.class(), Class::Success | Class::Error) {
            return self.answer(side, component, source, &message, now);
        }
        // Before the answer of the other side nobody can check this one (RFC 8445 §7.2.2 needs both passwords).
        let agent = self.agents[side as usize][component as usize].as_mut().ok_or(Reason::Source)?;
        match agent.handle_stun(source, &message, now, answer).map_err(|_| Reason::Source)? {
            Heard::Answered => Ok(Verdict::Answer),
            Heard::Taken => Ok(Verdict::Done),
            Heard::Forward => self.leave(side, component, now),
        }
    }

    /// An answer of `side`'s endpoint to a check of the other's: it goes to the address that asked, and shows that `source` is
    /// the one that was asked.
    fn answer(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Verdict, Reason> {
        let asked = self.agents[side.other() as usize][component as usize].as_ref();
        let to = asked.and_then(|agent| agent.answered(message)).ok_or(Reason::Source)?;
        if let Some(agent) = &mut self.agents[side as usize][component as usize]
            && message.class() == Class::Success
        {
            agent.prove(source, now);
        }
        Ok(Verdict::Forward(self.exit_to(component, to)))
    }

    fn media(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
        now: Instant,
    ) -> Result<Verdict, Reason> {
        let admitted = self.admit(side, component, source, packet, now)?;
        self.take(side, component, source, admitted);
        self.leave(side, self.exit_of(side, component, admitted.kind), now)
    }

    /// Whether `source` is heard, and the socket takes such a packet.
    pub(super) fn admit(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
        now: Instant,
    ) -> Result<Admitted, Reason> {
        let (leg, row) = (&self.legs[side as usize], &self.rows[side as usize][component as usize]);
        let agent = &mut self.agents[side as usize][component as usize];
        let (is_heard, latches) = match (agent, row.source) {
            (Some(agent), _) => (agent.hears(source, now), false),
            (None, Some(latched)) => (latched == source, false),
            (None, None) => (leg.may_latch(component, source), true),
        };
        if !is_heard {
            return Err(Reason::Source);
        }
        Ok(Admitted { kind: row.kind(packet).ok_or(Reason::Payload)?, latches })
    }

    /// The packet is good: its source is the one that is heard from now on.
    pub(super) fn take(&mut self, side: Side, component: Component, source: SocketAddr, admitted: Admitted) {
        if admitted.latches {
            self.legs[side as usize].latch_to(component, source);
            self.compile();
        }
    }

    /// From which socket of the other side a packet leaves that came to `side`'s `component`.
    pub(super) fn exit_of(&self, side: Side, component: Component, kind: Kind) -> Component {
        let muxed = self.legs[side.other() as usize].rules().rtcp_mux;
        match kind {
            Kind::Media => component,
            // RFC 5761 §3.
            Kind::Rtcp if muxed => Component::Rtp,
            Kind::Rtcp => Component::Rtcp,
        }
    }

    /// To where the other side's endpoint is; before it has shown that, to where its SDP says, if that is allowed.
    pub(super) fn leave(&self, side: Side, component: Component, now: Instant) -> Result<Verdict, Reason> {
        let other = side.other() as usize;
        let agent = self.agents[other][component as usize].as_ref();
        let shown = agent.and_then(|agent| agent.destination(now));
        let said =
            || self.legs[other].destination(component).filter(|_| agent.is_none_or(|agent| agent.is_new()));
        let to = shown.or_else(said).ok_or(Reason::Undeliverable)?;
        Ok(Verdict::Forward(self.exit_to(component, to)))
    }

    fn exit_to(&self, component: Component, to: SocketAddr) -> Exit {
        Exit { component, to, ours: self.own.contains(&to.ip()) }
    }
}

#[cfg(test)]
mod tests;
