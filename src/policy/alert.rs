//! What rules with `alert` have to tell, until somebody fetches it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Action, Facts, Known};
use crate::base::{Now, UnixTime};

/// A rule with `alert` spoke.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Policy and rule.
    pub rule: Arc<str>,
    /// What came of it.
    pub what: Spoken,
    /// When it spoke first.
    pub at: UnixTime,
    /// Of whom it spoke first; none: of a call of which nothing is kept.
    pub known: Option<Box<Known>>,
    /// How often, since this was last asked.
    pub count: u64,
}

/// What came of it.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoken {
    Refused(Action),
    /// In `mode: audit`.
    WouldHave(Action),
    HungUp,
    /// Nothing: `alert` is all that it says.
    Alone,
}

/// Alerts not yet fetched, each rule once; full: those of further rules are lost.
#[derive(Debug)]
pub(super) struct Alerts {
    waiting: VecDeque<Alert>,
    capacity: usize,
}

impl Alerts {
    pub fn new(capacity: usize) -> Alerts {
        Alerts { waiting: VecDeque::new(), capacity }
    }

    pub fn push(&mut self, rule: &Arc<str>, what: Spoken, facts: Option<&Facts<'_>>, now: Now) {
        if let Some(same) = self.waiting.iter_mut().find(|alert| Arc::ptr_eq(&alert.rule, rule)) {
            same.count += 1;
        } else if self.waiting.len() < self.capacity {
            let known = facts.map(|facts| Box::new(Known::from(facts)));
            self.waiting.push_back(Alert { rule: Arc::clone(rule), what, at: now.unix, known, count: 1 });
        }
    }

    pub fn pop(&mut self) -> Option<Alert> {
        self.waiting.pop_front()
    }
}
