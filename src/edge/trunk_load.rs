//! What a trunk may carry: calls at once, and new calls per interval, both directions together.

use std::time::Instant;

use super::settings::Settings;
use crate::base::TrunkId;

/// Live counters, one row per trunk.
#[derive(Debug)]
pub struct TrunkLoads {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    calls: u32,
    calls_at_once: u32,
    new_calls: Option<Bucket>,
}

/// A token bucket: full at the start, refilled evenly.
#[derive(Debug)]
struct Bucket {
    level: f64,
    burst: f64,
    per_second: f64,
    filled: Option<Instant>,
}

impl TrunkLoads {
    /// From the trunks' limits.
    pub fn new(settings: &Settings) -> TrunkLoads {
        let row = |trunk: &super::settings::Trunk| Row {
            calls: 0,
            calls_at_once: trunk.calls_at_once.unwrap_or(u32::MAX),
            new_calls: trunk.new_calls.map(|(calls, interval)| Bucket {
                level: f64::from(calls),
                burst: f64::from(calls),
                per_second: f64::from(calls) / interval.as_secs_f64().max(0.001),
                filled: None,
            }),
        };
        TrunkLoads { rows: settings.trunks.iter().map(row).collect() }
    }

    /// Takes a place for one call; false if the trunk is at a limit. An emergency has no limit, and counts all the same.
    pub fn take(&mut self, trunk: TrunkId, emergency: bool, now: Instant) -> bool {
        let Some(row) = self.rows.get_mut(usize::from(trunk.0)) else { return false };
        let is_free = row.calls < row.calls_at_once;
        let has_room = is_free && row.new_calls.as_mut().is_none_or(|bucket| bucket.take(now));
        if !has_room && !emergency {
            return false;
        }
        row.calls += 1;
        true
    }

    /// A call of before a restart goes on: it counts, whatever the limits are now.
    pub fn take_again(&mut self, trunk: TrunkId) {
        if let Some(row) = self.rows.get_mut(usize::from(trunk.0)) {
            row.calls += 1;
        }
    }

    /// Gives the place back.
    pub fn give_back(&mut self, trunk: TrunkId) {
        if let Some(row) = self.rows.get_mut(usize::from(trunk.0)) {
            row.calls = row.calls.saturating_sub(1);
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        self.level = (self.level + since * self.per_second).min(self.burst);
        self.filled = Some(now);
        let taken = self.level >= 1.0;
        if taken {
            self.level -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trunk_carries_what_its_limits_say() {
        let bucket = Bucket { level: 2.0, burst: 2.0, per_second: 2.0, filled: None };
        let mut loads =
            TrunkLoads { rows: vec![Row { calls: 0, calls_at_once: 3, new_calls: Some(bucket) }] };
        let start = Instant::now();
        let trunk = TrunkId(0);
        assert!(loads.take(trunk, false, start) && loads.take(trunk, false, start));
        assert!(!loads.take(trunk, false, start), "two new calls a second");
        let later = start + Duration::from_secs(1);
        assert!(loads.take(trunk, false, later));
        assert!(!loads.take(trunk, false, later), "three at once");
        assert!(loads.take(trunk, true, later), "an emergency");
        loads.give_back(trunk);
        assert!(!loads.take(trunk, false, later), "it counts");
        loads.give_back(trunk);
        assert!(loads.take(trunk, false, later));
        assert!(!loads.take(TrunkId(7), true, later));
    }
}
