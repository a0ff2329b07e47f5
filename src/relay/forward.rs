//! THE hot path: what becomes of one packet. Reads one row, allocates nothing, waits for nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::row::{Exit, Row};
use super::{Component, LegRules, Side};
use crate::media::latch::Leg;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves from the other side.
    Forward(Exit),
    /// It is dropped and counted.
    Drop(Reason),
}

/// Why a packet is dropped; each has a counter in [`super::SideCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not from the latched source, nor from one that may latch.
    Source,
    /// Not valid, or not of a negotiated payload type.
    Payload,
    /// Fine, but the other side's destination is not known yet.
    Undeliverable,
}

/// A pair of relayed transport addresses: two legs, and a row for each of its four sockets.
#[derive(Debug, Default)]
pub struct Pair {
    legs: [Leg; 2],
    /// By side, then component.
    rows: [[Row; 2]; 2],
    /// Our relay addresses.
    own: Arc<[IpAddr]>,
}

impl Pair {
    /// Nobody may speak yet. `own` are our relay addresses: an [`Exit`] says whether it leads to one of them.
    pub fn new(own: Arc<[IpAddr]>) -> Pair {
        Pair { own, ..Pair::default() }
    }

    /// New rules for one side.
    pub fn set_leg(&mut self, side: Side, rules: LegRules) {
        self.legs[side as usize].set_rules(rules);
        self.compile();
    }

    /// What becomes of `packet`, which came from `source` to `side`'s socket `component`. The first good packet of a
    /// source that may, latches.
    #[inline]
    pub fn forward(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
    ) -> Verdict {
        let row = &self.rows[side as usize][component as usize];
        let latched = match row.source {
            Some(latched) if latched == source => true,
            None if self.legs[side as usize].may_latch(component, source) => false,
            _ => return Verdict::Drop(Reason::Source),
        };
        let Some(exit) = row.exit(packet) else { return Verdict::Drop(Reason::Payload) };
        if !latched {
            self.legs[side as usize].latch_to(component, source);
            self.compile();
        }
        exit.map_or(Verdict::Drop(Reason::Undeliverable), Verdict::Forward)
    }

    fn compile(&mut self) {
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                let (from, to) = (&self.legs[side as usize], &self.legs[side.other() as usize]);
                self.rows[side as usize][component as usize] = Row::compile(from, to, component, &self.own);
            }
        }
    }
}

#[cfg(test)]
mod tests;
