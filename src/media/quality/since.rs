//! Time in half the room: thousands of these are held at once.

use std::time::Instant;

/// Counts microseconds from the first moment that it is told.
#[derive(Debug, Default)]
pub(super) struct Since(Option<Instant>);

impl Since {
    /// How many have passed by then.
    #[inline]
    pub fn micros(&mut self, now: Instant) -> u64 {
        let began = *self.0.get_or_insert(now);
        micros_between(began, now)
    }

    /// The same, of a count that need not have begun.
    pub fn micros_so_far(&self, now: Instant) -> u64 {
        self.0.map_or(0, |began| micros_between(began, now))
    }
}

#[inline]
fn micros_between(began: Instant, now: Instant) -> u64 {
    let since = now.saturating_duration_since(began);
    since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
}
