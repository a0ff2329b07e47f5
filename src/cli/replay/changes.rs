//! What a replay prints.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Told, Traffic};
use crate::policy::deck::Money;
use crate::policy::replay::{Call, Fate};

/// An answered call that lasted so long was a good one, as far as a record can say.
const GOOD: Duration = Duration::from_secs(30);
/// So many of the good calls that are hit are listed.
const LISTED: usize = 20;

/// What would change.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    calls: usize,
    /// Played before those, and only counted.
    before: usize,
    /// From a trunk or zone that the config does not have.
    left_out: usize,
    /// Refused then and now.
    refused_as_before: usize,
    /// Refused then, not any more.
    pass_now: usize,
    /// By rule.
    refused: BTreeMap<String, ByRule>,
    hung_up: BTreeMap<String, ByRule>,
    /// Millionths: of all answered calls, and of what would not have been talked.
    cost: u64,
    saved: u64,
    good_calls_hit: usize,
    /// The first of them.
    good_calls: Vec<Hit>,
}

#[derive(Debug, Default, Serialize)]
struct ByRule {
    calls: usize,
    saved: u64,
    good_calls: usize,
}

#[derive(Debug, Serialize)]
struct Hit {
    call_id: String,
    from: String,
    to: String,
    talked_s: u64,
    rule: String,
    /// Seconds; none: it would not have begun.
    hung_up_after_s: Option<u64>,
}

impl Changes {
    /// Nothing has been played yet.
    pub fn of(traffic: &Traffic) -> Changes {
        Changes { left_out: traffic.left_out, ..Changes::default() }
    }

    /// It was played before those that are told of.
    pub fn count_before(&mut self) {
        self.before += 1;
    }

    /// What has become of a call.
    pub fn count(&mut self, told: &Told, call: &Call, fate: &Fate) {
        self.calls += 1;
        let recorded = told.spend.unwrap_or(Money(0));
        let (rules, rule, saved, after) = match fate {
            Fate::Passes(cost) => {
                self.pass_now += usize::from(told.was_refused);
                self.cost += cost.unwrap_or(recorded).0;
                return;
            }
            Fate::Refused(_) if told.was_refused => {
                self.refused_as_before += 1;
                return;
            }
            Fate::Refused(rule) => (&mut self.refused, rule, recorded.0, None),
            Fate::HungUp { rule, after, cost } => {
                let saved = recorded.0.saturating_sub(cost.unwrap_or(recorded).0);
                (&mut self.hung_up, rule, saved, Some(after.as_secs()))
            }
        };
        let by_rule = rules.entry(rule.to_string()).or_default();
        by_rule.calls += 1;
        by_rule.saved += saved;
        self.cost += recorded.0;
        self.saved += saved;
        if call.talked() < GOOD {
            return;
        }
        by_rule.good_calls += 1;
        self.good_calls_hit += 1;
        if self.good_calls.len() < LISTED {
            self.good_calls.push(Hit {
                call_id: told.call_id.to_string(),
                from: told.from.to_string(),
                to: told.to.to_string(),
                talked_s: call.talked().as_secs(),
                rule: rule.to_string(),
                hung_up_after_s: after,
            });
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.before {
            0 => writeln!(f, "{} calls, as if nothing had been counted before the first", self.calls)?,
            before => {
                writeln!(f, "{} calls, after {before} earlier ones that were only counted", self.calls)?
            }
        }
        if self.left_out > 0 {
            writeln!(
                f,
                "{} more were left out: the config has not the trunk or zone that they came from",
                self.left_out
            )?;
        }
        for (what, rules) in [("refused", &self.refused), ("hung up", &self.hung_up)] {
            let total: usize = rules.values().map(|by_rule| by_rule.calls).sum();
            writeln!(f, "would be {what}: {total}")?;
            for (rule, ByRule { calls, saved, good_calls }) in rules {
                writeln!(f, "  {calls:>6}  {rule}: saves {}; good calls hit: {good_calls}", Money(*saved))?;
            }
        }
        writeln!(
            f,
            "refused then and now: {}; refused then, and not any more: {}",
            self.refused_as_before, self.pass_now
        )?;
        writeln!(f, "money saved: {} of {}", Money(self.saved), Money(self.cost))?;
        let good = GOOD.as_secs();
        writeln!(f, "good calls hit (answered, and {good} s or longer): {}", self.good_calls_hit)?;
        for Hit { call_id, from, to, talked_s, rule, hung_up_after_s } in &self.good_calls {
            let fate = match hung_up_after_s {
                Some(after) => format!("hung up after {after} s"),
                None => "refused".to_owned(),
            };
            writeln!(
                f,
                "  {} to {}, {talked_s} s: {fate} by {rule} ({})",
                from.escape_debug(),
                to.escape_debug(),
                call_id.escape_debug()
            )?;
        }
        Ok(())
    }
}
