//! RTCP read in passing: which sender reports went by, and what the far end says of them.

use std::time::{Duration, Instant};

use super::since::Since;

/// Sender reports of one leg that are remembered; the oldest makes room. A receiver speaks of the last one of each sender.
const REPORTS: usize = 8;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// The sender reports of one leg that have passed.
#[derive(Debug, Default)]
pub struct SenderReports {
    passed: [Passed; REPORTS],
    /// How many of those there are,
    known: u8,
    /// and which one is written next.
    next: u8,
    since: Since,
}

/// What a receiver says of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hearsay {
    pub ssrc: u32,
    /// Packets that it misses, since it has heard of the sender.
    pub lost: u32,
    /// From us to the receiver and back.
    pub round_trip: Option<Duration>,
}

#[derive(Debug, Default)]
struct Passed {
    ssrc: u32,
    /// The middle of its NTP timestamp, as the far end names it (LSR).
    middle: u32,
    /// In microseconds, as far as 32 bits go: see [`SenderReports::hearsay`].
    at: u32,
}

impl SenderReports {
    /// An RTCP packet of the leg passes, in the clear or not.
    pub fn pass(&mut self, packet: &[u8], now: Instant) {
        for part in parts(packet) {
            // RFC 3550 §6.4.1: SSRC, NTP timestamp, RTP timestamp, counts.
            if part.kind == SENDER_REPORT
                && let Some((ssrc, middle)) = word(part.body, 0).zip(word(part.body, 6))
                && let Some(place) = self.passed.get_mut(usize::from(self.next))
            {
                *place = Passed { ssrc, middle, at: self.since.micros(now) as u32 };
                self.known = self.known.max(self.next + 1);
                self.next = (self.next + 1) % REPORTS as u8;
            }
        }
    }

    /// What an RTCP packet of the other leg says of these senders.
    pub(super) fn heard(&self, packet: &[u8], now: Instant, mut each: impl FnMut(Hearsay)) {
        let now = self.since.micros_so_far(now) as u32;
        for part in parts(packet) {
            let blocks = match part.kind {
                SENDER_REPORT => part.body.get(24..),
                RECEIVER_REPORT => part.body.get(4..),
                _ => None,
            };
            for block in blocks.unwrap_or_default().chunks_exact(24).take(part.count) {
                self.hearsay(block, now).into_iter().for_each(&mut each);
            }
        }
    }

    /// One report block (RFC 3550 §6.4.1); `None`: of a sender that nobody has heard of.
    fn hearsay(&self, block: &[u8], now: u32) -> Option<Hearsay> {
        let (ssrc, loss, middle, delay) =
            (word(block, 0)?, word(block, 4)?, word(block, 16)?, word(block, 20)?);
        let known = self.passed.iter().take(self.known.into());
        let mut of_sender = known.filter(|report| report.ssrc == ssrc).peekable();
        of_sender.peek()?;
        // A - LSR - DLSR, where A is now, and LSR is when we saw the report pass. As there, what goes beyond 32 bits cancels out:
        // the report may be hours old.
        let delay = ((u64::from(delay) * 1_000_000) >> 16) as u32;
        let answered = of_sender.find(|report| report.middle == middle);
        let micros = answered.map(|report| now.wrapping_sub(report.at).wrapping_sub(delay) as i32);
        let round_trip = micros.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
        // 24 bits with a sign: what came twice may make it negative.
        let lost = (((loss << 8) as i32) >> 8).max(0) as u32;
        Some(Hearsay { ssrc, lost, round_trip })
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
