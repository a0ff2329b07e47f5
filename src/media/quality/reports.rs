//! RTCP read in passing: which sender reports went by, and what the far end says of them.

use std::time::{Duration, Instant};

/// Sender reports of one leg that are remembered; the oldest makes room. A receiver speaks of the last one of each sender.
const REPORTS: usize = 8;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// The sender reports of one leg that have passed.
#[derive(Debug, Default)]
pub struct SenderReports {
    passed: [Option<Passed>; REPORTS],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    ssrc: u32,
    /// The middle of its NTP timestamp, as the far end names it (LSR).
    middle: u32,
    at: Instant,
}

impl SenderReports {
    /// An RTCP packet of the leg passes, in the clear or not.
    pub fn pass(&mut self, packet: &[u8], now: Instant) {
        for part in parts(packet) {
            // RFC 3550 §6.4.1: SSRC, NTP timestamp, RTP timestamp, counts.
            if part.kind == SENDER_REPORT
                && let Some((ssrc, middle)) = word(part.body, 0).zip(word(part.body, 6))
                && let Some(place) = self.passed.get_mut(self.next)
            {
                *place = Some(Passed { ssrc, middle, at: now });
                self.next = (self.next + 1) % REPORTS;
            }
        }
    }

    /// An RTCP packet of the other leg: how long its reports say that a round trip from us to it takes, in microseconds; how
    /// many did.
    pub(super) fn round_trips(&self, packet: &[u8], now: Instant, mut each: impl FnMut(u64)) -> usize {
        let mut found = 0;
        for part in parts(packet) {
            let blocks = match part.kind {
                SENDER_REPORT => part.body.get(24..),
                RECEIVER_REPORT => part.body.get(4..),
                _ => None,
            };
            for block in blocks.unwrap_or_default().chunks_exact(24).take(part.count) {
                if let Some(time) = self.round_trip(block, now) {
                    each(time.as_micros() as u64);
                    found += 1;
                }
            }
        }
        found
    }

    /// RFC 3550 §6.4.1: A - LSR - DLSR, where A is now, and LSR is when we saw the report pass.
    fn round_trip(&self, block: &[u8], now: Instant) -> Option<Duration> {
        let (ssrc, middle, delay) = (word(block, 0)?, word(block, 16)?, word(block, 20)?);
        let report = self.passed.iter().flatten().find(|p| (p.ssrc, p.middle) == (ssrc, middle))?;
        let delay = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        now.saturating_duration_since(report.at).checked_sub(delay)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// One packet of a compound.
#[derive(Clone, Copy)]
struct Part<'p> {
    count: usize,
    kind: u8,
    /// What follows its first word.
    body: &'p [u8],
}

/// The packets of a compound (RFC 3550 §6.1); none if it is not wholly made of them. So is SRTCP told that passes sealed:
/// behind the first it looks like nothing, and its index ends no packet.
fn parts(compound: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let walk = |compound| Parts { rest: compound };
    let is_whole = {
        let mut all = walk(compound);
        all.by_ref().for_each(drop);
        all.rest.is_empty()
    };
    walk(if is_whole { compound } else { &[] })
}

struct Parts<'p> {
    rest: &'p [u8],
}

impl<'p> Iterator for Parts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        let ([flags, kind, high, low], behind) = self.rest.split_first_chunk::<4>()?;
        if flags >> 6 != 2 || !(192..=223).contains(kind) {
            return None;
        }
        let length = 4 * usize::from(u16::from_be_bytes([*high, *low]));
        let (body, rest) = behind.split_at_checked(length)?;
        self.rest = rest;
        Some(Part { count: usize::from(flags & 0x1f), kind: *kind, body })
    }
}
