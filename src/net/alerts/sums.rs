//! The first alert of a rule is told at once, those that follow within `every` together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::observe::alerts::Alert;

/// Rules, trunks and targets that are told apart.
const NAMES: usize = 10_000;

/// What was told of each, and what was kept back since.
#[derive(Debug)]
pub(super) struct Sums {
    every: Duration,
    told: HashMap<(&'static str, String), Told>,
}

/// So many alerts are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost(pub u64);

#[derive(Debug)]
struct Told {
    /// From then on it may be told again.
    again: Instant,
    /// The last of those kept back, with their count.
    kept: Option<Alert>,
}

impl Sums {
    pub fn new(every: Duration) -> Sums {
        Sums { every, told: HashMap::new() }
    }

    /// The alert, if it is to be told at once.
    ///
    /// # Errors
    /// There is no room.
    pub fn take(&mut self, alert: Alert, now: Instant) -> Result<Option<Alert>, Lost> {
        let again = now + self.every;
        let key = (alert.what, alert.name.clone());
        if let Some(told) = self.told.get_mut(&key)
            && (told.again > now || told.kept.is_some())
        {
            let before = told.kept.take().map_or(0, |kept| kept.count);
            told.kept = Some(Alert { count: alert.count.saturating_add(before), ..alert });
            return Ok(None);
        }
        if self.told.len() >= NAMES {
            self.told.retain(|_, told| told.again > now || told.kept.is_some());
        }
        if self.told.len() >= NAMES && !self.told.contains_key(&key) {
            return Err(Lost(alert.count));
        }
        self.told.insert(key, Told { again, kept: None });
        Ok(Some(alert))
    }

    /// One that was kept back for long enough.
    pub fn due(&mut self, now: Instant) -> Option<Alert> {
        let told = self.told.values_mut().find(|told| told.again <= now && told.kept.is_some())?;
        told.again = now + self.every;
        told.kept.take()
    }

    /// When to ask for it.
    pub fn next(&self) -> Option<Instant> {
        self.told.values().filter(|told| told.kept.is_some()).map(|told| told.again).min()
    }

    /// All that was kept back.
    pub fn rest(&mut self) -> Vec<Alert> {
        self.told.values_mut().filter_map(|told| told.kept.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, count: u64) -> Alert {
        Alert { count, ..Alert::of("refused", name) }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut sums = Sums::new(Duration::from_secs(60));
        assert_eq!(sums.take(alert("a", 1), at(0)).unwrap().unwrap().count, 1);
        assert_eq!(sums.take(alert("b", 1), at(1)).unwrap().unwrap().count, 1, "another rule");
        for s in 2..12 {
            assert!(sums.take(alert("a", 3), at(s)).unwrap().is_none());
        }
        assert_eq!(sums.next(), Some(at(60)));
        assert!(sums.due(at(59)).is_none());
        assert_eq!(sums.due(at(60)).unwrap().count, 30);
        assert!(sums.due(at(60)).is_none() && sums.next().is_none());
        assert!(sums.take(alert("a", 1), at(100)).unwrap().is_none(), "a minute since the sum");
        assert_eq!(sums.rest().len(), 1);
        assert!(sums.take(alert("a", 1), at(121)).unwrap().is_some());
    }

    #[test]
    fn when_full_those_make_room_that_have_nothing_to_tell() {
        let start = Instant::now();
        let mut sums = Sums::new(Duration::from_secs(60));
        for i in 0..NAMES {
            assert!(sums.take(alert(&i.to_string(), 1), start).unwrap().is_some());
        }
        assert_eq!(sums.take(alert("one more", 7), start).unwrap_err(), Lost(7));
        assert!(sums.take(alert("one more", 7), start + Duration::from_secs(60)).unwrap().is_some());
        assert_eq!(sums.told.len(), 1);
    }
}
