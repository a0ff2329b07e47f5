//! Time as a value: nothing outside `net/` reads a clock.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Wall-clock time: what CDRs and `time:` rules need. Since 1970-01-01 00:00 UTC, leap seconds ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixTime(pub Duration);

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
