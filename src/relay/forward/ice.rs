//! What becomes of a packet of a pair whose legs do ICE: nothing but STUN is looked at before a leg's endpoint has shown by
//! a check that it is there (DESIGN.md §4; CVE-2025-53399, CVE-2023-49786).

use std::net::SocketAddr;
use std::time::Instant;

use super::{Arrived, Pair, Reason, Verdict};
use crate::ice::{Agent, Heard};
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
    pub fn forward_ice(&mut self, arrived: &Arrived, packet: &[u8], answer: &mut Vec<u8>) -> Verdict {
        let verdict = if packet::is_stun(packet) {
            self.stun(arrived, packet, answer)
        } else {
            self.media(arrived, packet)
        };
        verdict.unwrap_or_else(Verdict::Drop)
    }

    fn stun(&mut self, arrived: &Arrived, packet: &[u8], answer: &mut Vec<u8>) -> Result<Verdict, Reason> {
        let Arrived { side, component, source, now } = *arrived;
        let message = Message::parse(packet).map_err(|_| Reason::Payload)?;
        if matches!(message.class(), Class::Success | Class::Error) {
            return self.answer(arrived, &message);
        }
        // Before the answer of the other side nobody can check this one (RFC 8445 §7.2.2 needs both passwords).
        let agent = self.agents[side as usize][component as usize].as_mut().ok_or(Reason::Source)?;
        let heard = agent.handle_stun(source, &message, now, answer).map_err(|_| Reason::Source)?;
        self.proved(side, component, now);
        match heard {
            Heard::Answered => Ok(Verdict::Answer),
            Heard::Taken => Ok(Verdict::Done),
            Heard::Forward => match self.leave(arrived, component) {
                Err(Reason::Undeliverable) if self.hold(arrived, &message, packet) => Ok(Verdict::Done),
                verdict => verdict,
            },
        }
    }

    /// DESIGN.md §4: a check that has nowhere to go waits until the other leg's endpoint has shown where it is.
    fn hold(&mut self, arrived: &Arrived, message: &Message<'_>, packet: &[u8]) -> bool {
        let agent = &mut self.agents[arrived.side as usize][arrived.component as usize];
        message.class() == Class::Request && agent.as_mut().is_some_and(|agent| agent.hold(packet))
    }

    /// A check waits: [`Self::release_check`] is to be asked when something has happened.
    #[inline]
    pub fn holds_check(&self) -> bool {
        self.agents.iter().flatten().flatten().any(|agent| agent.holds())
    }

    /// A check that need not wait any longer is put at the beginning of `room`: of which side's endpoint, how long it is, and
    /// by where it leaves.
    pub fn release_check(&mut self, room: &mut [u8], now: Instant) -> Option<(Side, usize, Exit)> {
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                let holds = |agent: &Agent| agent.holds();
                if !self.agents[side as usize][component as usize].as_deref().is_some_and(holds) {
                    continue;
                }
                let Ok(to) = self.destination(side.other(), component, now) else { continue };
                let check = self.agents[side as usize][component as usize].as_mut()?.release();
                room.get_mut(..check.len())?.copy_from_slice(check);
                let length = check.len();
                return Some((side, length, self.exit_to(component, to)));
            }
        }
        None
    }

    /// An answer of `side`'s endpoint to a check of the other's: it goes to the address that asked, and shows that `source` is
    /// the one that was asked.
    fn answer(&mut self, arrived: &Arrived, message: &Message<'_>) -> Result<Verdict, Reason> {
        let Arrived { side, component, source, now } = *arrived;
        let asked = self.agents[side.other() as usize][component as usize].as_ref();
        let to = asked.and_then(|agent| agent.answered(message)).ok_or(Reason::Source)?;
        if let Some(agent) = &mut self.agents[side as usize][component as usize]
            && message.class() == Class::Success
        {
            agent.prove(source, now);
            self.proved(side, component, now);
        }
        Ok(Verdict::Forward(self.exit_to(component, to)))
    }

    fn media(&mut self, arrived: &Arrived, packet: &[u8]) -> Result<Verdict, Reason> {
        let admitted = self.admit(arrived, packet)?;
        self.listen(arrived, admitted.kind, packet);
        self.take(arrived, admitted);
        self.leave(arrived, self.exit_of(arrived, admitted.kind))
    }

    /// Whether the source is heard, and the socket takes such a packet.
    pub(super) fn admit(&mut self, arrived: &Arrived, packet: &[u8]) -> Result<Admitted, Reason> {
        let latches = self.hears(arrived)?;
        let row = &self.rows[arrived.side as usize];
        let kind = row.kind(arrived.component, packet).ok_or(Reason::Payload)?;
        if latches && !self.srtp[arrived.side as usize].is_used() && !self.is_credible(arrived, kind, packet)
        {
            return Err(Reason::Source);
        }
        Ok(Admitted { kind, latches })
    }

    /// Whether the source is heard, and (true) would be the first that is.
    pub(super) fn hears(&mut self, arrived: &Arrived) -> Result<bool, Reason> {
        let Arrived { side, component, source, now } = *arrived;
        let leg = &self.legs[side as usize];
        let agent = &mut self.agents[side as usize][component as usize];
        let (is_heard, latches) = match (agent, leg.source(component)) {
            (Some(agent), _) => (agent.hears(source, now), false),
            (None, Some(latched)) => (latched == source, false),
            (None, None) => (leg.may_latch(component, source), true),
        };
        if is_heard { Ok(latches) } else { Err(Reason::Source) }
    }

    /// The packet is good: its source is the one that is heard from now on.
    pub(super) fn take(&mut self, arrived: &Arrived, admitted: Admitted) {
        if admitted.latches {
            self.legs[arrived.side as usize].latch_to(arrived.component, arrived.source);
            self.compile();
        }
    }

    /// From which socket of the other side a packet leaves.
    pub(super) fn exit_of(&self, arrived: &Arrived, kind: Kind) -> Component {
        self.rows[arrived.side.other() as usize].exit_component(arrived.component, kind)
    }

    /// To where the other side's endpoint is; before it has shown that, to where its SDP says, if that is allowed.
    pub(super) fn leave(&self, arrived: &Arrived, component: Component) -> Result<Verdict, Reason> {
        let to = self.destination(arrived.side.other(), component, arrived.now)?;
        Ok(Verdict::Forward(self.exit_to(component, to)))
    }

    fn destination(&self, side: Side, component: Component, now: Instant) -> Result<SocketAddr, Reason> {
        let agent = self.agents[side as usize][component as usize].as_ref();
        let shown = agent.and_then(|agent| agent.destination(now));
        let leg = &self.legs[side as usize];
        let said = || leg.destination(component).filter(|_| agent.is_none_or(|agent| agent.is_new()));
        shown.or_else(said).ok_or(Reason::Undeliverable)
    }

    pub(super) fn exit_to(&self, component: Component, to: SocketAddr) -> Exit {
        Exit { component, to, ours: self.own.contains(&to.ip()) }
    }
}

#[cfg(test)]
mod tests;
