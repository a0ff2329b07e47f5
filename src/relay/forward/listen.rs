//! How well the legs of a pair are heard: good packets are measured on their way, and of the others it is kept whose they were.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Arrived, Component, Pair, Reason};
use crate::media::packet;
use crate::relay::Side;
use crate::relay::row::Kind;

impl Pair {
    /// A good packet: as its sender made it, unless it passes sealed.
    #[inline]
    pub(super) fn listen(&mut self, arrived: &Arrived, kind: Kind, packet: &[u8]) {
        let (here, there) = (arrived.side as usize, arrived.side.other() as usize);
        let counters = &self.counters.leg(arrived.side).quality;
        match kind {
            Kind::Media if self.rows[here].takes_rtp() => {
                self.quality[here].media(packet, arrived.now, counters);
            }
            Kind::Media => {}
            Kind::Rtcp => {
                self.quality[here].rtcp(packet, &self.reports[there], arrived.now, counters);
                self.reports[here].pass(packet, arrived.now);
            }
        }
    }

    /// The endpoint of that side has shown by ICE that it is there.
    pub(super) fn proved(&self, side: Side, component: Component, now: Instant) {
        if let Some(agent) = &self.agents[side as usize][component as usize] {
            self.counters.leg(side).is_proved.store(true, Ordering::Relaxed);
            self.tell_latched(side, component, agent.destination(now));
        }
    }

    /// A packet was dropped: what it says of why a leg is not heard.
    pub fn refused(&self, arrived: &Arrived, reason: Reason, packet: &[u8]) {
        let rtp = packet::rtp_payload_type(packet).filter(|_| !packet::looks_like_rtcp(packet));
        let Some(payload_type) = rtp else { return };
        let counters = self.counters.leg(arrived.side);
        match reason {
            Reason::Source => counters.stranger.set(arrived.source),
            Reason::Payload => counters.payload_type.set(payload_type),
            Reason::Authentication | Reason::Replay | Reason::Undeliverable => {}
        }
    }
}

#[cfg(test)]
mod tests;
