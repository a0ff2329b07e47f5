//! What a replay prints.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Told;
use crate::policy::Stage;
use crate::policy::deck::Money;
use crate::policy::replay::{Call, Fate, Played};

/// An answered call that lasted so long was a good one, as far as a record can say.
const GOOD: Duration = Duration::from_secs(30);
/// So many of the good calls that are hit are listed.
const LISTED: usize = 20;

/// What would change.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    calls: usize,
    /// Requests that begin no call; those of a capture.
    registrations: usize,
    other_requests: usize,
    /// How many of these, by rule.
    refused_requests: BTreeMap<String, usize>,
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
    /// What could not be read, and what was taken for granted.
    notes: Vec<String>,
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
    pub fn of(left_out: usize, notes: Vec<String>) -> Changes {
        Changes { left_out, notes, ..Changes::default() }
    }

    /// It was played before those that are told of.
    pub fn count_before(&mut self) {
        self.before += 1;
    }

    /// What has become of a call, or of another request.
    pub fn count(&mut self, told: &Told, call: &Call, played: &Played) {
        if &*call.known.method != "INVITE" {
            return self.count_request(call, &played.fate);
        }
        self.calls += 1;
        let whole = told.spend.or(played.price).unwrap_or(Money(0));
        let (rules, rule, saved, after) = match &played.fate {
            Fate::Passes => {
                self.pass_now += usize::from(told.was_refused);
                self.cost += whole.0;
                return;
            }
            Fate::Refused(_) if told.was_refused => {
                self.refused_as_before += 1;
                return;
            }
            Fate::Refused(rule) => (&mut self.refused, rule, whole.0, None),
            Fate::HungUp { rule, after, cost } => {
                let saved = whole.0.saturating_sub(cost.unwrap_or(whole).0);
                (&mut self.hung_up, rule, saved, Some(after.as_secs()))
            }
        };
        let by_rule = rules.entry(rule.to_string()).or_default();
        by_rule.calls += 1;
        by_rule.saved += saved;
        self.cost += whole.0;
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

impl Changes {
    fn count_request(&mut self, call: &Call, fate: &Fate) {
        match call.known.stage {
            Stage::Registrations => self.registrations += 1,
            _ => self.other_requests += 1,
        }
        if let Fate::Refused(rule) = fate {
            *self.refused_requests.entry(rule.to_string()).or_default() += 1;
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
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        if self.registrations + self.other_requests > 0 {
            let refused: usize = self.refused_requests.values().sum();
            let (registrations, others) = (self.registrations, self.other_requests);
            writeln!(
                f,
                "{registrations} registrations and {others} other requests; would be refused: {refused}"
            )?;
            for (rule, requests) in &self.refused_requests {
                writeln!(f, "  {requests:>6}  {rule}")?;
            }
            writeln!(f, "of the calls:")?;
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
