//! What is remembered of strangers, in tables that never grow.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

const WAYS: usize = 4;

/// Keys are MACs under the node key, so nobody can aim at a set. A full set forgets who has been idle for longest.
#[derive(Debug)]
struct Cells {
    sets: Box<[[Cell; WAYS]]>,
    /// The first time that it was asked.
    start: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    tag: u64,
    /// Microseconds since `start`; 0: free.
    at: u64,
}

impl Cells {
    fn new(capacity: usize) -> Cells {
        Cells { sets: vec![[Cell::default(); WAYS]; capacity.div_ceil(WAYS).max(1)].into(), start: None }
    }

    fn micros(&mut self, now: Instant) -> u64 {
        let start = *self.start.get_or_insert(now);
        // Half a million years.
        now.saturating_duration_since(start).as_micros() as u64
    }

    fn set(&mut self, key: u128) -> (&mut [Cell; WAYS], u64) {
        let sets = self.sets.len() as u128;
        let index = (key % sets) as usize;
        // There is at least one set, and the remainder names one.
        #[allow(clippy::indexing_slicing)]
        (&mut self.sets[index], (key >> 64) as u64)
    }

    /// What is known of `key`.
    fn find(&mut self, key: u128) -> Option<u64> {
        let (set, tag) = self.set(key);
        set.iter().find(|cell| cell.at != 0 && cell.tag == tag).map(|cell| cell.at)
    }

    fn put(&mut self, key: u128, at: u64) {
        let (set, tag) = self.set(key);
        let its_own = set.iter().position(|cell| cell.at != 0 && cell.tag == tag);
        let cell = match its_own {
            Some(own) => set.get_mut(own),
            None => set.iter_mut().min_by_key(|cell| cell.at),
        };
        if let Some(cell) = cell {
            *cell = Cell { tag, at: at.max(1) };
        }
    }
}

/// So many at once, then one per interval, for each key (GCRA).
#[derive(Debug)]
pub struct Throttle {
    cells: Cells,
    interval: u64,
    burst: u64,
}

impl Throttle {
    /// Of that many keys.
    pub fn new(capacity: usize, burst: u32, interval: Duration) -> Throttle {
        let interval = interval.as_micros() as u64;
        Throttle { cells: Cells::new(capacity), interval, burst: interval * u64::from(burst) }
    }

    /// True if `key` has used up what it may.
    pub fn is_spent(&mut self, key: u128, now: Instant) -> bool {
        let now = self.cells.micros(now);
        self.cells.find(key).is_some_and(|until| until + self.interval > now + self.burst)
    }

    /// Uses one up; false if there was none.
    pub fn take(&mut self, key: u128, now: Instant) -> bool {
        if self.is_spent(key, now) {
            return false;
        }
        let now = self.cells.micros(now);
        let from = self.cells.find(key).unwrap_or(0).max(now);
        self.cells.put(key, from + self.interval);
        true
    }
}

/// Keys seen within a while.
#[derive(Debug)]
pub struct Recent {
    cells: Cells,
    lasts: u64,
}

impl Recent {
    /// Of that many keys, each for so long.
    pub fn new(capacity: usize, lasts: Duration) -> Recent {
        Recent { cells: Cells::new(capacity), lasts: lasts.as_micros() as u64 }
    }

    /// It was seen now.
    pub fn remember(&mut self, key: u128, now: Instant) {
        let now = self.cells.micros(now);
        self.cells.put(key, now);
    }

    /// It was seen not long ago.
    pub fn contains(&mut self, key: u128, now: Instant) -> bool {
        let now = self.cells.micros(now);
        self.cells.find(key).is_some_and(|at| now < at + self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let t0 = Instant::now();
        let mut throttle = Throttle::new(64, 3, SECOND);
        let taken = |throttle: &mut Throttle, key, at| (0..10).filter(|_| throttle.take(key, at)).count();
        assert_eq!(taken(&mut throttle, 7, t0), 3);
        assert!(throttle.is_spent(7, t0) && !throttle.is_spent(8 << 64, t0));
        assert_eq!(taken(&mut throttle, 7, t0 + SECOND), 1);
        assert_eq!(taken(&mut throttle, 7, t0 + 60 * SECOND), 3);
    }

    #[test]
    fn when_full_the_idlest_is_forgotten() {
        let t0 = Instant::now();
        let mut recent = Recent::new(4, 60 * SECOND);
        for key in 0..5u32 {
            recent.remember(u128::from(key + 1) << 64, t0 + key * SECOND);
        }
        let at = t0 + 5 * SECOND;
        let there: Vec<bool> = (0..5u128).map(|key| recent.contains((key + 1) << 64, at)).collect();
        assert_eq!(there, [false, true, true, true, true]);
        assert!(!recent.contains(5 << 64, t0 + 64 * SECOND));
    }
}
