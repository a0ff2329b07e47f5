//! The timers of all transactions, on injected time.

use std::time::{Duration, Instant};

use super::TimerValues;
use super::machine::{After, Timer};
use crate::base::{TimerId, Timers};

/// Whose timer it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Server(u64),
    Client(u64),
}

#[derive(Debug)]
pub(super) struct Clock {
    values: TimerValues,
    timers: Timers<(Owner, Timer)>,
}

/// The timers of one transaction: never more than one of each kind.
#[derive(Debug, Default)]
pub(super) struct Armed {
    repeating: Option<TimerId>,
    ending: Option<TimerId>,
    /// What the repeating one ran last.
    interval: Duration,
}

impl Armed {
    fn kind(&mut self, timer: Timer) -> &mut Option<TimerId> {
        if timer.repeats() { &mut self.repeating } else { &mut self.ending }
    }
}

impl Clock {
    pub(super) fn new(values: TimerValues) -> Clock {
        Clock { values, timers: Timers::default() }
    }

    /// Arms a timer; one of the same kind that its owner has armed is replaced.
    pub(super) fn start(
        &mut self,
        armed: &mut Armed,
        owner: Owner,
        timer: Timer,
        after: After,
        now: Instant,
    ) {
        let duration = after.duration(&self.values, armed.interval);
        if timer.repeats() {
            armed.interval = duration;
        }
        let id = self.timers.set(now + duration, (owner, timer));
        if let Some(previous) = armed.kind(timer).replace(id) {
            self.timers.cancel(previous);
        }
    }

    pub(super) fn stop(&mut self, armed: &mut Armed, timer: Timer) {
        if let Some(id) = armed.kind(timer).take() {
            self.timers.cancel(id);
        }
    }

    pub(super) fn stop_all(&mut self, armed: &mut Armed) {
        for id in [armed.repeating.take(), armed.ending.take()].into_iter().flatten() {
            self.timers.cancel(id);
        }
    }

    pub(super) fn next(&mut self) -> Option<Instant> {
        self.timers.next_due()
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<(Owner, Timer)> {
        self.timers.pop(now)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}
