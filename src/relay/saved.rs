//! What outlasts a restart of a pair: its ports, and what its worker alone knows (docs/media.md).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Component, OpenPair, Side};

/// A pair that is to be opened again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPair {
    a: SavedLeg,
    b: SavedLeg,
}

/// One side of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLeg {
    /// The relayed address, as SDP shows it. RTCP's is the next port up.
    pub rtp: SocketAddr,
    /// Who is heard, by component.
    pub latched: [Option<SocketAddr>; 2],
}

impl SavedPair {
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
            SavedLeg { rtp: self.side(side).rtp.0, latched }
        };
        SavedPair { a: leg(Side::A), b: leg(Side::B) }
    }
}
