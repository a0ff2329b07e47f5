//! A token bucket, told by the clock when it will be empty again (GCRA): one addition and one comparison per packet.

use std::time::{Duration, Instant};

/// How far a burst may run ahead of the rate.
const BURST: Duration = Duration::from_millis(250);
/// A burst may always be this many bytes: at low rates a quarter of a second would not hold a few packets.
const LEAST_BURST: u32 = 16 * 1500;
/// A stream that has used up its rate goes on when a full segment has room, or what passes in this time.
const STREAM_PAUSE: Duration = Duration::from_millis(10);
const SEGMENT: u32 = 1500;

/// Holds one direction of an allocation to a rate.
#[derive(Clone, Debug, Default)]
pub struct Policer {
    limit: Option<Limit>,
}

#[derive(Clone, Debug)]
struct Limit {
    per_byte: Duration,
    burst: Duration,
    /// When all that has passed would have passed at the rate.
    paid_until: Option<Instant>,
}

impl Policer {
    /// `rate` in bytes per second (payload); `None`: everything passes.
    pub fn new(rate: Option<u64>) -> Self {
        let limit = rate.map(|rate| {
            let per_byte = Duration::from_nanos(1_000_000_000 / rate.max(1));
            Limit { per_byte, burst: BURST.max(per_byte * LEAST_BURST), paid_until: None }
        });
        Policer { limit }
    }

    /// True if a packet of `bytes` passes now.
    #[inline]
    pub fn passes(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(limit) = &mut self.limit else { return true };
        let until = limit.paid_with(bytes, now);
        let passes = until.saturating_duration_since(now) <= limit.burst;
        if passes {
            limit.paid_until = Some(until);
        }
        passes
    }

    /// How many bytes of a stream may pass now. When there is room for too few to be worth the while: the instant at which
    /// there will be enough.
    pub fn room(&self, now: Instant) -> Result<usize, Instant> {
        let Some(limit) = &self.limit else { return Ok(usize::MAX) };
        let ahead = limit.paid_until.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let (left, least) = (limit.burst.saturating_sub(ahead), STREAM_PAUSE.max(limit.per_byte * SEGMENT));
        if left < least {
            return Err(now + (least - left));
        }
        let bytes = left.as_nanos().checked_div(limit.per_byte.as_nanos());
        Ok(bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
    }

    /// Pays for what has passed of a stream.
    pub fn pay(&mut self, bytes: usize, now: Instant) {
        if let Some(limit) = &mut self.limit {
            limit.paid_until = Some(limit.paid_with(bytes, now));
        }
    }
}

impl Limit {
    fn paid_with(&self, bytes: usize, now: Instant) -> Instant {
        let from = self.paid_until.map_or(now, |paid| paid.max(now));
        from + self.per_byte * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_rate_and_one_burst_and_no_more() {
        let start = Instant::now();
        let mut policer = Policer::new(Some(64_000));
        let passed: usize = (0..10_000u32)
            .filter(|n| policer.passes(160, start + Duration::from_millis(1) * *n))
            .map(|_| 160)
            .sum();
        // Ten seconds offered at 160 kB/s.
        assert!((640_000..=640_000 + 24_000).contains(&passed), "{passed}");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let now = Instant::now();
        let mut policer = Policer::new(None);
        assert!((0..100_000).all(|_| policer.passes(65_535, now)));
    }

    #[test]
    fn a_stream_that_waits_when_it_is_told_keeps_to_the_rate() {
        let start = Instant::now();
        let (mut policer, mut now, mut passed) = (Policer::new(Some(64_000)), start, 0);
        while now < start + Duration::from_secs(10) {
            match policer.room(now) {
                Ok(room) => {
                    policer.pay(room.min(5000), now);
                    passed += room.min(5000);
                }
                Err(later) => now = later,
            }
        }
        assert!((630_000..=640_000 + 24_000).contains(&passed), "{passed}");
        assert_eq!(Policer::new(None).room(now), Ok(usize::MAX));
        assert_eq!(Policer::new(Some(u64::MAX)).room(now), Ok(usize::MAX));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let start = Instant::now();
        let mut policer = Policer::new(Some(8_000));
        while policer.passes(1000, start) {}
        assert!(!policer.passes(1000, start));
        assert!(policer.passes(1000, start + Duration::from_millis(126)));
    }
}
