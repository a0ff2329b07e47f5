//! Timers on injected time: a heap whose cancelled entries are skipped when they surface.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use slab::Slab;

/// Names one armed timer. Cancelling a timer that has fired or was cancelled does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    slot: usize,
    serial: u64,
}

/// Armed timers, each with a key that says what it is for. Timers due at the same instant fire in the order in
/// which they were set.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    armed: Slab<(u64, K)>,
    serial: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), armed: Slab::new(), serial: 0 }
    }
}

impl<K> Timers<K> {
    /// Arms a timer that fires at `at`.
    pub fn set(&mut self, at: Instant, key: K) -> TimerId {
        self.serial += 1;
        let slot = self.armed.insert((self.serial, key));
        self.heap.push(Reverse((at, self.serial, slot)));
        TimerId { slot, serial: self.serial }
    }

    /// Disarms it; true if it was still armed.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let armed = self.is_live(id.slot, id.serial);
        if armed {
            self.armed.remove(id.slot);
            self.compact();
        }
        armed
    }

    /// When the next timer fires.
    pub fn next_due(&mut self) -> Option<Instant> {
        self.skip_cancelled();
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes one timer that is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        self.skip_cancelled();
        match self.heap.peek() {
            Some(Reverse((at, _, slot))) if *at <= now => {
                let slot = *slot;
                self.heap.pop();
                Some(self.armed.remove(slot).1)
            }
            _ => None,
        }
    }

    /// How many are armed.
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// True if none is armed.
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    fn is_live(&self, slot: usize, serial: u64) -> bool {
        self.armed.get(slot).is_some_and(|(s, _)| *s == serial)
    }

    fn skip_cancelled(&mut self) {
        while let Some(Reverse((_, serial, slot))) = self.heap.peek() {
            if self.is_live(*slot, *serial) {
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
            entries.retain(|Reverse((_, serial, slot))| self.is_live(*slot, *serial));
            entries.shrink_to_fit();
            self.heap = entries.into();
            self.armed.shrink_to_fit();
        }
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
}
