//! One sender's packets, by their sequence numbers and timestamps.

use super::clock::{ClockRates, Tick};
use super::counters::Measured;

/// RFC 3550 A.1: a greater gap is no loss but a sender that has begun anew, if the next packet follows it.
const MAX_DROPOUT: u16 = 3000;
/// RFC 3550 A.1: a packet that is later is none either.
const MAX_MISORDER: u16 = 100;
/// A greater difference is not of the network: a sender that was silent, or began another count of time.
const MOST_JITTER_MICROS: u32 = 5_000_000;

// What may come late is remembered.
const _: () = assert!((MAX_MISORDER as u32) < u128::BITS);

/// One sender.
#[derive(Debug)]
pub(super) struct Source {
    pub ssrc: u32,
    /// In steps of 1,024 microseconds: which of a few was heard longest ago need not be known better.
    pub heard_at: u32,
    /// The greatest sequence number up to now.
    highest: u16,
    /// Which of those up to `highest` have come, that one in the lowest bit. As bytes: a `u128` would want its own alignment.
    came: [u8; 16],
    /// After a jump: the number that would show that it was one.
    jumped_to: Option<u16>,
    /// The payload type of the last packet that a clock is known for, and its clock.
    clock: Option<(u8, Tick)>,
    timestamp: u32,
    /// In microseconds, times 16.
    jitter: u32,
    /// When the packet with that timestamp came, in microseconds.
    arrived: u64,
}

impl Source {
    /// Its first packet has this number. Nothing before it was lost.
    pub fn new(ssrc: u32, first: u16, now: u64) -> Source {
        Source {
            ssrc,
            heard_at: coarse(now),
            highest: first.wrapping_sub(1),
            came: [u8::MAX; 16],
            jumped_to: None,
            clock: None,
            timestamp: 0,
            jitter: 0,
            arrived: now,
        }
    }

    /// A packet of it.
    #[inline]
    pub fn heard(
        &mut self,
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        now: u64,
        clocks: &ClockRates,
        measured: &mut Measured,
    ) {
        self.heard_at = coarse(now);
        if !self.number(sequence, measured) {
            return;
        }
        measured.rtp += 1;
        let before = self.clock;
        let clock = match before {
            Some((same, tick)) if same == payload_type => Some((same, tick)),
            _ => clocks.of(payload_type).map(|tick| (payload_type, tick)),
        };
        let Some((_, tick)) = clock else { return };
        // RFC 7160 §4.1: across a change of clock there is nothing to compare.
        if before.is_some_and(|(_, before)| before == tick) {
            self.arrive(tick, timestamp, now, measured);
        }
        (self.clock, self.timestamp, self.arrived) = (clock, timestamp, now);
    }

    /// RFC 3550 A.3, kept up packet by packet: what is skipped is lost until it comes. False: it had come before.
    #[inline]
    fn number(&mut self, sequence: u16, measured: &mut Measured) -> bool {
        let ahead = sequence.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(sequence);
        if behind <= MAX_MISORDER {
            let (came, bit) = (u128::from_ne_bytes(self.came), 1 << behind);
            if came & bit != 0 {
                return false;
            }
            self.came = (came | bit).to_ne_bytes();
            measured.lost = measured.lost.saturating_sub(1);
        } else if ahead < MAX_DROPOUT {
            measured.lost += u64::from(ahead - 1);
            let came = u128::from_ne_bytes(self.came).checked_shl(ahead.into()).unwrap_or(0) | 1;
            self.came = came.to_ne_bytes();
            self.highest = sequence;
        } else if self.jumped_to == Some(sequence) {
            self.highest = sequence;
            self.came = [u8::MAX; 16];
        } else {
            self.jumped_to = Some(sequence.wrapping_add(1));
            return true;
        }
        self.jumped_to = None;
        true
    }

    /// RFC 3550 §6.4.1: J(i) = J(i-1) + (|D(i-1,i)| - J(i-1))/16, in whole numbers as in A.8.
    #[inline]
    fn arrive(&mut self, tick: Tick, timestamp: u32, now: u64, measured: &mut Measured) {
        let arrival = now.saturating_sub(self.arrived) as i64;
        let sent = tick.times(timestamp.wrapping_sub(self.timestamp) as i32);
        let difference = arrival.abs_diff(sent);
        if difference <= u64::from(MOST_JITTER_MICROS) {
            self.jitter = (self.jitter + difference as u32).saturating_sub((self.jitter + 8) >> 4);
            measured.jitter.add((self.jitter >> 4).into());
        }
    }
}

#[inline]
fn coarse(micros: u64) -> u32 {
    (micros >> 10) as u32
}
