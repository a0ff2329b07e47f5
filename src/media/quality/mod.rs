//! How well one leg is heard: what was lost on its way to us, how unevenly it came (RFC 3550 §6.4.1), and how long a round trip
//! to it takes (RTCP, read in passing). Measured on the packet path: no lock, no allocation, a few nanoseconds.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod counters;
mod reception;
mod reports;
mod since;

use std::time::Instant;

pub use clock::{ClockRates, static_rate};
pub use counters::{Measured, QualityCounters, Sampled};
use reception::Source;
pub use reports::SenderReports;
use since::Since;

/// Senders (SSRCs) of one leg that are told apart at a time; the one that was heard longest ago makes room. A bundle has some:
/// audio, video, its retransmissions.
const SOURCES: usize = 4;

/// What is measured of one leg.
#[derive(Debug, Default)]
pub struct Quality {
    clocks: ClockRates,
    sources: [Option<Source>; SOURCES],
    missed: Missed,
    since: Since,
}

impl Quality {
    /// Clock rates of the payload types that the leg may send, from now on.
    pub fn set_clocks(&mut self, clocks: &ClockRates) {
        self.clocks.clone_from(clocks);
    }

    /// A packet came from the leg that is not RTCP. What is not RTP either (STUN, DTLS) counts for nothing.
    #[inline]
    pub fn media(&mut self, packet: &[u8], now: Instant, counters: &QualityCounters) {
        let Some([flags, marker_and_type, high, low, timestamp @ .., s0, s1, s2, s3]) =
            packet.first_chunk::<12>().copied()
        else {
            return;
        };
        if flags >> 6 != 2 {
            return;
        }
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let sequence = u16::from_be_bytes([high, low]);
        let Quality { clocks, sources, since, .. } = self;
        let now = since.micros(now);
        let is_it = |source: &Option<Source>| source.as_ref().is_some_and(|source| source.ssrc == ssrc);
        let source = match sources.iter().position(is_it) {
            Some(at) => sources.get_mut(at).and_then(Option::as_mut),
            None => place_for(sources).map(|place| place.insert(Source::new(ssrc, sequence, now))),
        };
        if let Some(source) = source {
            let timestamp = u32::from_be_bytes(timestamp);
            // This thread is the only writer.
            let mut measured = counters.read();
            source.heard(marker_and_type & 0x7f, sequence, timestamp, now, clocks, &mut measured);
            counters.store(&measured);
        }
    }

    /// True if RTP of this sender came from the leg, and not too long ago.
    pub fn hears(&self, ssrc: u32) -> bool {
        self.sources.iter().flatten().any(|source| source.ssrc == ssrc)
    }

    /// An RTCP packet came from the leg, in the clear; `far` are the other leg's reports, which it may speak of.
    pub fn rtcp(&mut self, packet: &[u8], far: &SenderReports, now: Instant, counters: &QualityCounters) {
        let (missed, mut measured) = (&mut self.missed, counters.read());
        far.heard(packet, now, |said| {
            if let Some(time) = said.round_trip {
                measured.round_trip.add(time.as_micros() as u64);
            }
            measured.far_reports += 1;
            measured.far_lost += missed.more(said.ssrc, said.lost);
        });
        counters.store(&measured);
    }
}

/// What the leg's endpoint has said up to now that it misses of each sender of the other leg.
#[derive(Debug, Default)]
struct Missed {
    of: [Option<(u32, u32)>; SOURCES],
    next: u8,
}

impl Missed {
    /// How many more it misses now than ever before: what comes late is missed no longer.
    fn more(&mut self, ssrc: u32, lost: u32) -> u64 {
        let known = self.of.iter_mut().flatten().find(|(of, _)| *of == ssrc);
        let before = match known {
            Some((_, most)) => std::mem::replace(most, lost.max(*most)),
            None => {
                if let Some(oldest) = self.of.get_mut(usize::from(self.next)) {
                    *oldest = Some((ssrc, lost));
                }
                self.next = (self.next + 1) % SOURCES as u8;
                0
            }
        };
        lost.saturating_sub(before).into()
    }
}

/// A free one, or that of whoever was heard longest ago.
fn place_for(sources: &mut [Option<Source>; SOURCES]) -> Option<&mut Option<Source>> {
    sources.iter_mut().min_by_key(|source| source.as_ref().map(|source| source.heard_at))
}

#[cfg(test)]
mod tests;
