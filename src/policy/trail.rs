//! What decisions looked at: packed, in memory that is taken once, so that the last ones can be asked about later.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::settings::{Mode, Rule};
use super::{Facts, Known};
use crate::base::UnixTime;

/// All rules and defaults of an engine, each with the mode of its policy.
pub(super) type Rules = Arc<Vec<(Mode, Arc<Rule>)>>;

/// What was seen of a rule; `rule` is its place in [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub rule: u32,
    pub seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// This one of its conditions does not hold; those behind it were not looked at.
    Unmet(u16),
    /// Its `count` counts no such request.
    Uncounted,
    /// One of its limits as it stood, in the limit's units.
    Limit { limit: u8, used: u64, over: bool },
    /// It speaks.
    Spoke,
    /// It asks for a password, and one has been shown.
    Met,
    /// Its budget ran out in the middle of the call.
    Spent,
}

/// How a decision ended; numbers are rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Policy was not asked.
    NotAsked,
    /// No rule had anything to say.
    Default,
    Permitted(u32),
    Refused(u32),
    HungUp(u32),
    Banned,
    BannedUser,
    Emergency,
}

/// The last decision.
#[derive(Debug)]
pub(super) struct Trail {
    pub steps: Vec<Step>,
    pub outcome: Outcome,
    /// Of all decisions: how often each rule spoke.
    hits: Vec<u64>,
}

impl Default for Trail {
    fn default() -> Self {
        Trail { steps: Vec::new(), outcome: Outcome::NotAsked, hits: Vec::new() }
    }
}

impl Trail {
    /// There are so many rules.
    pub fn number(&mut self, rules: usize) {
        self.hits.resize(rules, 0);
    }

    /// A rule spoke.
    pub fn hit(&mut self, rule: u32) {
        if let Some(hits) = self.hits.get_mut(rule as usize) {
            *hits += 1;
        }
    }

    /// It had spoken so often before.
    pub fn set_hits(&mut self, rule: usize, hits: u64) {
        if let Some(known) = self.hits.get_mut(rule) {
            *known = hits;
        }
    }

    pub fn hits(&self, rule: usize) -> u64 {
        self.hits.get(rule).copied().unwrap_or(0)
    }

    pub fn begin(&mut self) {
        self.steps.clear();
        self.outcome = Outcome::NotAsked;
    }

    pub fn saw(&mut self, rule: u32, seen: Seen) {
        if matches!(seen, Seen::Spoke | Seen::Spent) {
            self.hit(rule);
        }
        self.steps.push(Step { rule, seen });
    }
}

/// The last decisions about calls.
#[derive(Debug)]
pub(super) struct Past {
    /// Oldest first, and the names of the same calls: hashes of their Call-IDs.
    kept: VecDeque<Kept>,
    names: VecDeque<u64>,
    calls: usize,
    /// Step n since the start stands at n modulo the capacity.
    steps: Vec<Step>,
    written: usize,
    capacity: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub at: UnixTime,
    /// None: of a call that ended by its budget, nothing was asked.
    pub facts: Option<Brief>,
    pub outcome: Outcome,
    /// Those that were in force then.
    pub rules: Rules,
    /// What the edge itself refused it for, and its status; 0: in silence.
    pub refused: Option<(Arc<str>, u16)>,
    first: usize,
    length: usize,
}

/// So many steps a call has on the average, at most.
const STEPS: usize = 32;

impl Past {
    pub fn new(calls: usize) -> Past {
        let capacity = calls * STEPS;
        Past {
            kept: VecDeque::with_capacity(calls),
            names: VecDeque::with_capacity(calls),
            calls,
            steps: Vec::with_capacity(capacity),
            written: 0,
            capacity,
        }
    }

    /// The oldest is forgotten for it.
    pub fn keep(&mut self, name: u64, trail: &Trail, rules: &Rules, facts: Option<&Facts<'_>>, at: UnixTime) {
        if self.kept.len() >= self.calls {
            self.kept.pop_front();
            self.names.pop_front();
        }
        let first = self.written;
        for step in trail.steps.iter().take(self.capacity) {
            match self.steps.get_mut(self.written % self.capacity) {
                Some(slot) => *slot = *step,
                None => self.steps.push(*step),
            }
            self.written += 1;
        }
        let facts = facts.map(Brief::from);
        let length = self.written - first;
        let (outcome, rules) = (trail.outcome, Arc::clone(rules));
        self.kept.push_back(Kept { at, facts, outcome, rules, refused: None, first, length });
        self.names.push_back(name);
    }

    /// The newest of that name.
    pub fn newest(&mut self, name: u64) -> Option<&mut Kept> {
        let index = self.names.iter().rposition(|known| *known == name)?;
        self.kept.get_mut(index)
    }

    /// All of that name, oldest first.
    pub fn of(&self, name: u64) -> impl Iterator<Item = &Kept> {
        self.names.iter().zip(&self.kept).filter(move |(known, _)| **known == name).map(|(_, kept)| kept)
    }

    /// What a decision looked at; none: newer ones have taken the room.
    pub fn steps(&self, kept: &Kept) -> Option<Vec<Step>> {
        let is_there = self.written - kept.first <= self.capacity;
        let steps =
            (kept.first..kept.first + kept.length).map(|n| self.steps.get(n % self.capacity).copied());
        is_there.then(|| steps.collect()).flatten()
    }
}

/// A text of at most so many bytes, which is more than an honest one has.
#[derive(Clone, Debug)]
pub(super) struct Text(SmallVec<[u8; LONGEST]>);

const LONGEST: usize = 48;

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Text(SmallVec::from_slice(text.as_bytes().get(..end).unwrap_or_default()))
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// [`Facts`], with their texts cut off.
pub(super) type Brief = Known<Text>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trail(rules: std::ops::Range<u32>) -> Trail {
        let mut trail = Trail::default();
        rules.for_each(|rule| trail.saw(rule, Seen::Spoke));
        trail
    }

    #[test]
    fn the_oldest_is_forgotten_and_long_trails_push_others_out() {
        let mut past = Past::new(3);
        let at = UnixTime(Duration::ZERO);
        for name in 0..4 {
            past.keep(name, &trail(0..2), &Rules::default(), None, at);
        }
        assert_eq!(past.of(0).count(), 0);
        assert_eq!(past.of(3).filter_map(|kept| past.steps(kept)).flatten().count(), 2);
        past.keep(4, &trail(0..95), &Rules::default(), None, at);
        assert_eq!(past.of(4).filter_map(|kept| past.steps(kept)).flatten().count(), 95);
        assert!(past.of(2).all(|kept| past.steps(kept).is_none()), "its steps are overwritten");
        past.keep(5, &trail(0..500), &Rules::default(), None, at);
        assert_eq!(past.of(5).filter_map(|kept| past.steps(kept)).flatten().count(), 96, "cut off");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(Text::from("201").as_ref(), "201");
        let long = "ä".repeat(40);
        assert_eq!(Text::from(&*long).as_ref(), "ä".repeat(24));
    }
}
