//! Time as a value: nothing outside `net/` reads a clock.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Wall-clock time: what CDRs and `time:` rules need. Since 1970-01-01 00:00 UTC, leap seconds ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(pub Duration);

impl UnixTime {
    /// How long people have talked who began at `answered`: between the two moments as a CDR writes them, in whole milliseconds, so
    /// that whoever reckons a price from the CDR gets what was charged. Zero if a clock went back.
    pub fn talked_since(self, answered: UnixTime) -> Duration {
        let written = |time: UnixTime| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(written(self).saturating_sub(written(answered)))
    }
}

/// One reading of both clocks, taken by `net/` once per batch of input.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic: every timer counts on this one.
    pub instant: Instant,
    /// Wall clock: for people.
    pub unix: UnixTime,
}

impl Now {
    /// The same moment, `by` later on both clocks.
    pub fn after(self, by: Duration) -> Now {
        Now { instant: self.instant + by, unix: UnixTime(self.unix.0 + by) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_talk_for_as_long_as_the_written_moments_say() {
        let at = |micros| UnixTime(Duration::from_micros(micros));
        assert_eq!(at(116_000_999).talked_since(at(0)), Duration::from_secs(116), "no second more is begun");
        assert_eq!(at(116_000_100).talked_since(at(999)), Duration::from_secs(116));
        assert_eq!(at(5_000).talked_since(at(9_000)), Duration::ZERO, "the clock was set back");
    }
}
