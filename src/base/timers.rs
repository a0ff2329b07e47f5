//! Timers on injected time: a heap whose cancelled entries are skipped when they surface.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use slab::Slab;

use super::should_shrink;

/// Names one armed timer. Cancelling a timer that has fired or was cancelled does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    serial: NonZeroU64,
    slot: u32,
}

/// When one fires, in the order in which they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    /// Nanoseconds from [`Timers::origin`].
    at: i64,
    id: TimerId,
}

/// Armed timers, each with a key that says what it is for. Timers due at the same instant fire in the order in
/// which they were set.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<Due>>,
    armed: Slab<(NonZeroU64, K)>,
    /// The last that was given out.
    serial: NonZeroU64,
    /// What the first timer was armed for: the distance from it takes half the room of an instant.
    origin: Option<Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), armed: Slab::new(), serial: NonZeroU64::MIN, origin: None }
    }
}

impl<K> Timers<K> {
    /// Arms a timer that fires at `at`.
    pub fn set(&mut self, at: Instant, key: K) -> TimerId {
        self.serial = self.serial.saturating_add(1);
        // A slab of more than 4 billion timers would need more memory than machines have.
        let id = TimerId { serial: self.serial, slot: self.armed.insert((self.serial, key)) as u32 };
        let origin = *self.origin.get_or_insert(at);
        self.heap.push(Reverse(Due { at: from_origin(origin, at), id }));
        id
    }

    /// Disarms it; true if it was still armed.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let armed = self.is_live(id);
        if armed {
            self.armed.remove(id.slot as usize);
            self.compact();
        }
        armed
    }

    /// When the next timer fires.
    pub fn next_due(&mut self) -> Option<Instant> {
        self.skip_cancelled();
        let (Reverse(due), origin) = (self.heap.peek()?, self.origin?);
        let distance = Duration::from_nanos(due.at.unsigned_abs());
        Some(if due.at < 0 { origin - distance } else { origin + distance })
    }

    /// Takes one timer that is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        self.skip_cancelled();
        let Reverse(Due { at, id }) = *self.heap.peek()?;
        if at > from_origin(self.origin?, now) {
            return None;
        }
        self.heap.pop();
        let (_, key) = self.armed.remove(id.slot as usize);
        self.shrink();
        Some(key)
    }

    /// How many are armed.
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// True if none is armed.
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    fn is_live(&self, id: TimerId) -> bool {
        self.armed.get(id.slot as usize).is_some_and(|(serial, _)| *serial == id.serial)
    }

    fn skip_cancelled(&mut self) {
        while let Some(Reverse(due)) = self.heap.peek() {
            if self.is_live(due.id) {
                break;
            }
            self.heap.pop();
        }
    }

    /// Cancelled entries may never outnumber the armed ones: a flood of short calls must not leave 32 seconds of
    /// dead timers behind.
    fn compact(&mut self) {
        if self.heap.len() > 64 && self.heap.len() > 2 * self.armed.len() {
            let mut entries = std::mem::take(&mut self.heap).into_vec();
            entries.retain(|Reverse(due)| self.is_live(due.id));
            entries.shrink_to_fit();
            self.heap = entries.into();
            self.armed.shrink_to_fit();
        }
    }

    /// Nor may it leave their room behind.
    fn shrink(&mut self) {
        if should_shrink(self.heap.len(), self.heap.capacity()) {
            self.heap.shrink_to_fit();
        }
        if self.armed.is_empty() && self.armed.capacity() > 64 {
            self.armed.shrink_to_fit();
        }
    }
}

fn from_origin(origin: Instant, at: Instant) -> i64 {
    let nanos = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
    match at.checked_duration_since(origin) {
        Some(after) => nanos(after),
        None => -nanos(origin.duration_since(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fires_in_order_and_skips_the_cancelled() {
        let t0 = Instant::now();
        let ms = |n| t0 + Duration::from_millis(n);
        let mut timers = Timers::default();
        timers.set(ms(30), 'c');
        let b = timers.set(ms(20), 'b');
        timers.set(ms(10), 'a');
        assert!(timers.cancel(b));
        assert!(!timers.cancel(b));
        assert_eq!(timers.next_due(), Some(ms(10)));
        assert_eq!(timers.pop(ms(9)), None);
        assert_eq!(timers.pop(ms(30)), Some('a'));
        assert_eq!(timers.pop(ms(30)), Some('c'));
        assert_eq!(timers.pop(ms(30)), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn cancelled_timers_give_their_memory_back() {
        let t0 = Instant::now();
        let mut timers = Timers::default();
        for _ in 0..10_000 {
            let id = timers.set(t0 + Duration::from_secs(32), ());
            timers.cancel(id);
        }
        assert!(timers.heap.len() <= 65, "{} dead entries", timers.heap.len());
    }

    #[test]
    fn timers_that_have_fired_give_their_memory_back() {
        let t0 = Instant::now();
        let mut timers = Timers::default();
        for n in 0..10_000 {
            timers.set(t0 + Duration::from_millis(n), n);
        }
        for n in 0..10_000 {
            assert_eq!(timers.pop(t0 + Duration::from_secs(10)), Some(n));
        }
        assert_eq!(timers.pop(t0 + Duration::from_secs(10)), None);
        assert!(timers.heap.capacity() + timers.armed.capacity() <= 256);
    }

    #[test]
    fn what_is_armed_later_may_fire_before_what_was_armed_first() {
        let t0 = Instant::now() + Duration::from_secs(100);
        let mut timers = Timers::default();
        timers.set(t0, 1);
        let sooner = t0 - Duration::from_micros(1);
        timers.set(sooner, 0);
        assert_eq!(timers.next_due(), Some(sooner));
        assert_eq!((timers.pop(sooner), timers.pop(sooner)), (Some(0), None));
        assert_eq!((timers.next_due(), timers.pop(t0)), (Some(t0), Some(1)));
    }

    #[test]
    fn a_timer_costs_little() {
        assert_eq!(size_of::<Option<TimerId>>(), 16);
        assert_eq!(size_of::<Due>(), 24);
    }
}
