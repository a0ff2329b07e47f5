//! Rates: how many in any interval of a length, and how many of them at once.
//!
//! `10/min` lets ten through in every minute, wherever one begins to count: what passed is counted in parts of the interval,
//! and each part leaves as a whole when all of it is past. `10/min burst 4` spaces them besides: four at once, then one in six
//! seconds. A burst above the rate (`20/s burst 600`) is the other wish, for peers that are quiet and then all speak together:
//! so many at once, and the pace on the average.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Rate;
use super::table::{Remembered, Table};

/// What each key has had of its rate. Times are in nanoseconds of a clock that never goes back.
#[derive(Debug)]
pub(super) struct Rates {
    /// Of those that are paced.
    due: Table<Tat>,
    windows: Table<Window>,
}

/// Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371 §A): when the key owes nothing any more.
#[derive(Clone, Copy, Debug, Default)]
struct Tat(u64);

impl Remembered for Tat {
    fn idle_at(&self) -> u64 {
        self.0
    }
}

/// How many parts a window has, with the one that leaves it: what passed counts for a 15th of the interval longer at most.
const PARTS: usize = 16;

/// What passed, by parts of the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    /// When all of it is past: the end of the newest part, and a whole window on.
    idle_at: u64,
    /// Part n of all time stands at n modulo [`PARTS`].
    parts: [u16; PARTS],
}

impl Remembered for Window {
    fn idle_at(&self) -> u64 {
        self.idle_at
    }
}

/// Rates as they are kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRates {
    /// Key, and when it owes nothing any more.
    due: Vec<(u64, u64)>,
    windows: Vec<(u64, Window)>,
}

/// A rate that has forgotten a key sooner than this is not kept over a restart, which takes as long.
const BRIEF: Duration = Duration::from_secs(30);

impl Rates {
    pub fn new(keys: usize, windows: usize) -> Rates {
        Rates { due: Table::new(keys), windows: Table::new(windows) }
    }

    /// How much of a rate is used, and whether one more would exceed it.
    pub fn stand(&self, key: u64, rate: Rate, at: u64) -> (u64, bool) {
        let behind = if rate.is_paced() { self.due.get(key).0.saturating_sub(at) } else { 0 };
        let waits = behind.div_ceil(rate.spacing());
        let is_ahead = behind > rate.tolerance();
        if !rate.has_window() {
            return (waits, is_ahead);
        }
        let mut window = self.windows.get(rate.window_key(key));
        window.move_to(rate.part(at), rate);
        let passed = window.total();
        let is_full = passed >= u64::from(rate.events);
        // Said is what stands in the way.
        (if is_ahead && !is_full { waits } else { passed }, is_ahead || is_full)
    }

    /// So many have passed.
    pub fn count(&mut self, key: u64, rate: Rate, events: u32, at: u64) {
        if rate.is_paced() {
            let due = self.due.get(key).0.max(at);
            self.due.set(key, Tat(due.saturating_add(rate.spacing().saturating_mul(events.into()))));
        }
        let events = u16::try_from(events).unwrap_or(u16::MAX);
        self.in_window(key, rate, at, |here| here.saturating_add(events));
    }

    /// The last one does not count after all.
    pub fn take_back(&mut self, key: u64, rate: Rate, at: u64) {
        if rate.is_paced() {
            self.due.set(key, Tat(self.due.get(key).0.saturating_sub(rate.spacing())));
        }
        self.in_window(key, rate, at, |here| here.saturating_sub(1));
    }

    /// Changes what is counted in the newest part of the window, if the rate has one.
    fn in_window(&mut self, key: u64, rate: Rate, at: u64, change: impl FnOnce(u16) -> u16) {
        if !rate.has_window() {
            return;
        }
        let key = rate.window_key(key);
        let mut window = self.windows.get(key);
        let part = window.move_to(rate.part(at), rate);
        if let Some(here) = window.at(part) {
            *here = change(*here);
        }
        self.windows.set(key, window);
    }

    /// It has been seen, and not so long ago that it is forgotten.
    pub fn is_known(&self, key: u64, at: u64) -> bool {
        self.due.get(key).0 > at
    }

    /// It has been seen, which is remembered until then.
    pub fn know(&mut self, key: u64, until: u64) {
        self.due.set(key, Tat(until));
    }

    /// What takes longer than `BRIEF` to be forgotten.
    pub fn save(&self, at: u64) -> SavedRates {
        let brief = at.saturating_add(nanos(BRIEF));
        SavedRates {
            due: self.due.iter().filter(|(_, due)| due.0 > brief).map(|(key, due)| (key, due.0)).collect(),
            windows: self.windows.iter().filter(|(_, window)| window.idle_at > brief).collect(),
        }
    }

    /// What an earlier run had saved.
    pub fn restore(&mut self, saved: SavedRates, at: u64) {
        for (key, due) in saved.due.into_iter().filter(|(_, due)| *due > at) {
            self.due.set(key, Tat(due));
        }
        for (key, window) in saved.windows.into_iter().filter(|(_, window)| window.idle_at > at) {
            self.windows.set(key, window);
        }
    }

    /// Goes on with what others have counted.
    pub fn take_over(&mut self, other: Rates) {
        self.due.take_over(other.due);
        self.windows.take_over(other.windows);
    }
}

impl Window {
    /// Forgets what is past; the newest part. A moment that lies behind it moves nothing.
    fn move_to(&mut self, part: u64, rate: Rate) -> u64 {
        let length = rate.part_length();
        let newest = (self.idle_at / length).saturating_sub(PARTS as u64);
        for gone in (newest + 1..=part).rev().take(PARTS) {
            if let Some(passed) = self.at(gone) {
                *passed = 0;
            }
        }
        let newest = newest.max(part);
        self.idle_at = (newest + PARTS as u64).saturating_mul(length);
        newest
    }

    fn at(&mut self, part: u64) -> Option<&mut u16> {
        self.parts.get_mut(usize::try_from(part % PARTS as u64).unwrap_or(0))
    }

    fn total(&self) -> u64 {
        self.parts.iter().map(|passed| u64::from(*passed)).sum()
    }
}

impl Rate {
    /// At most so many in every interval. More than a part of a window can count are only paced.
    pub(super) fn has_window(&self) -> bool {
        self.burst <= self.events && self.events <= u32::from(u16::MAX)
    }

    /// So many at once, and then at the pace.
    pub(super) fn is_paced(&self) -> bool {
        self.burst != self.events || !self.has_window()
    }

    /// Nanoseconds from one event to the next at the rate.
    fn spacing(&self) -> u64 {
        (nanos(self.per) / u64::from(self.events.max(1))).max(1)
    }

    /// How far ahead of the rate a key may be when one more comes.
    fn tolerance(&self) -> u64 {
        self.spacing().saturating_mul(u64::from(self.burst.saturating_sub(1)))
    }

    fn part_length(&self) -> u64 {
        nanos(self.per).div_ceil(PARTS as u64 - 1).max(1)
    }

    fn part(&self, at: u64) -> u64 {
        at / self.part_length()
    }

    /// What passed in an interval of another length, before the rule was changed, says nothing of this one.
    fn window_key(&self, key: u64) -> u64 {
        key ^ self.part_length().wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

/// 584 years fit.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(events: u32, seconds: u64, burst: u32) -> Rate {
        Rate { events, per: Duration::from_secs(seconds), burst }
    }

    /// How many of those that come one after the other, so far apart, pass.
    fn pass(rates: &mut Rates, rate: Rate, from: u64, apart: u64, tries: u64) -> usize {
        let mut passed = 0;
        for at in (0..tries).map(|n| from + n * apart) {
            if !rates.stand(7, rate, at).1 {
                rates.count(7, rate, 1, at);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn ten_a_minute_are_ten_in_every_minute() {
        let mut rates = Rates::new(8, 8);
        let ten = rate(10, 60, 10);
        assert_eq!(pass(&mut rates, ten, 0, SECOND / 10, 100), 10);
        assert_eq!(pass(&mut rates, ten, 10 * SECOND, SECOND / 10, 500), 0);
        assert_eq!(rates.stand(7, ten, 59 * SECOND), (10, true));
        assert_eq!(pass(&mut rates, ten, 65 * SECOND, SECOND / 10, 100), 10, "a 15th later at most");
    }

    #[test]
    fn a_smaller_burst_spaces_them_and_a_larger_one_is_a_bucket() {
        let mut rates = Rates::new(8, 8);
        assert_eq!(pass(&mut rates, rate(10, 60, 4), 0, SECOND / 100, 100), 4);
        assert_eq!(pass(&mut rates, rate(10, 60, 4), SECOND, SECOND, 59), 6, "ten in the minute");
        let mut rates = Rates::new(8, 8);
        assert_eq!(pass(&mut rates, rate(20, 1, 600), 0, 1_000, 10_000), 600);
        assert_eq!(pass(&mut rates, rate(20, 1, 600), SECOND, SECOND / 100, 100), 39);
    }

    #[test]
    fn what_is_taken_back_and_what_is_kept() {
        let mut rates = Rates::new(8, 8);
        let (slow, quick) = (rate(2, 3_600, 2), rate(2, 10, 1));
        rates.count(1, slow, 2, SECOND);
        rates.count(2, quick, 1, SECOND);
        assert!(rates.stand(1, slow, SECOND).1 && rates.stand(2, quick, SECOND).1);
        let saved = serde_json::to_string(&rates.save(2 * SECOND)).unwrap();
        rates.take_back(1, slow, SECOND);
        rates.take_back(2, quick, SECOND);
        assert!(!rates.stand(1, slow, SECOND).1 && !rates.stand(2, quick, SECOND).1);
        let mut after = Rates::new(8, 8);
        after.restore(serde_json::from_str(&saved).unwrap(), 3 * SECOND);
        assert!(after.stand(1, slow, 3_000 * SECOND).1 && !after.stand(2, quick, 3 * SECOND).1);
        assert!(!after.stand(1, rate(2, 7_200, 2), 3 * SECOND).1, "another interval is another count");
    }

    proptest! {
        /// Whatever comes, and whenever: no interval holds more than the rate, none less than a 15th longer refuses more, and no moment more
        /// than the burst.
        #[test]
        fn no_interval_holds_more_than_the_rate(
            events in 1u32..30, burst in 1u32..30, seconds in 1u64..100,
            gaps in proptest::collection::vec(prop_oneof![Just(0u64), 0..SECOND / 10, 0..20 * SECOND], 1..400),
        ) {
            let rate = rate(events, seconds, burst.min(events));
            let mut rates = Rates::new(8, 8);
            let (mut at, mut passed) = (5 * SECOND, VecDeque::new());
            for gap in gaps {
                at += gap;
                if rates.stand(7, rate, at).1 {
                    let longer = seconds * SECOND + rate.part_length();
                    let lately = passed.iter().filter(|then| at - **then < longer).count();
                    prop_assert!(rate.is_paced() || lately >= events as usize, "refused too early");
                    continue;
                }
                rates.count(7, rate, 1, at);
                passed.push_back(at);
                let lately = |within: u64| passed.iter().filter(|then| at - **then < within).count();
                prop_assert!(lately(seconds * SECOND) <= events as usize);
                prop_assert!(lately(1) <= rate.burst as usize);
            }
        }
    }
}
