//! What outlasts a restart of a pair: its ports, and what its worker alone knows (docs/media.md).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::leg_counters::SrtpSoFar;
use super::{Component, OpenPair, PairCounters, Side};
use crate::media::dtls::Keys;
use crate::media::srtp::Milestone;

/// A pair that is to be opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPair {
    a: SavedLeg,
    b: SavedLeg,
    /// How many restarts it has outlasted.
    life: u8,
}

/// One side of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLeg {
    /// The relayed address, as SDP shows it. RTCP's is the next port up.
    pub rtp: SocketAddr,
    /// Who is heard, by component.
    pub latched: [Option<SocketAddr>; 2],
    /// How far the senders of its SRTP have come: those that its endpoint sends,
    pub inbound: Vec<Milestone>,
    /// and those that it is sent.
    pub outbound: Vec<Milestone>,
    /// What its DTLS handshakes have come to, by component.
    pub keys: [Option<Keys>; 2],
}

impl SavedPair {
    /// What is counted of it when it is open again.
    pub fn counters(&self) -> PairCounters {
        PairCounters::of_life(self.life.saturating_add(1))
    }

    /// What is saved of that side.
    pub fn side(&self, side: Side) -> &SavedLeg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

impl OpenPair {
    /// As it is now.
    pub fn save(&self) -> SavedPair {
        let leg = |side| {
            let counters = self.counters.leg(side);
            let latched =
                [Component::Rtp, Component::Rtcp].map(|component| counters.latched(component).get());
            let srtp = counters.srtp();
            SavedLeg {
                rtp: self.side(side).rtp().0,
                latched,
                inbound: srtp.map(|srtp| srtp.inbound.all()).unwrap_or_default(),
                outbound: srtp.map(|srtp| srtp.outbound.all()).unwrap_or_default(),
                keys: srtp.map(SrtpSoFar::keys).unwrap_or_default(),
            }
        };
        SavedPair { a: leg(Side::A), b: leg(Side::B), life: self.counters.life() }
    }
}
