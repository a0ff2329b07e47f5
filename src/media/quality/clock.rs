//! How fast the timestamps of a payload type run.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Payload types with a rate of their own that one leg may send; further ones are not measured for jitter.
const MOST: usize = 32;

/// Clock rates by payload type, as `a=rtpmap` and RFC 3551 say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRates(SmallVec<[(u8, Tick); 4]>);

/// Microseconds between two values of a timestamp, times 2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tick(NonZeroU32);

impl Tick {
    /// `None`: no rate that a medium has.
    fn of(rate: u32) -> Option<Tick> {
        // 1000/s is text (RFC 4103); what is slower would not fit below.
        let micros = if rate >= 100 { (1_000_000_u64 << 16) / u64::from(rate) } else { 0 };
        NonZeroU32::new(micros as u32).map(Tick)
    }

    /// How many microseconds pass in so many.
    #[inline]
    pub fn times(self, ticks: i32) -> i64 {
        (i64::from(self.0.get()) * i64::from(ticks)) >> 16
    }
}

impl ClockRates {
    /// The first that is said of a payload type counts.
    pub fn add(&mut self, payload_type: u8, rate: u32) {
        if let Some(tick) = Tick::of(rate) {
            self.add_tick(payload_type, tick);
        }
    }

    /// Those that are not known yet.
    pub fn add_all(&mut self, more: &ClockRates) {
        for (payload_type, tick) in &more.0 {
            self.add_tick(*payload_type, *tick);
        }
    }

    fn add_tick(&mut self, payload_type: u8, tick: Tick) {
        if self.0.len() < MOST && self.of(payload_type).is_none() {
            self.0.push((payload_type, tick));
        }
    }

    /// `None`: not known, or no sound: events (RFC 4733) stand still while they last.
    #[inline]
    pub(super) fn of(&self, payload_type: u8) -> Option<Tick> {
        self.0.iter().find(|(of, _)| *of == payload_type).map(|(_, tick)| *tick)
    }
}

/// The rate of a payload type that needs no `a=rtpmap` (RFC 3551 §6).
pub fn static_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        // 9 is G722, which runs at 8000 by an old mistake (§4.5.2).
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8_000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        16 => Some(11_025),
        17 => Some(22_050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90_000),
        _ => None,
    }
}
