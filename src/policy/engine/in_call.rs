//! What is decided while a call lasts: it pays on, and policies of `in_call` are asked.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, Numbered};
use crate::base::Now;
use crate::policy::alert::Spoken;
use crate::policy::counter::Held;
use crate::policy::matcher::Asked;
use crate::policy::trail::{Outcome, Seen};
use crate::policy::{Facts, GaugeHold, HangUp, Known, Stage};

/// How often the policies that speak in a call are asked.
const ASK_IN_CALL: Duration = Duration::from_secs(60);

impl Engine {
    /// An answered call has lasted for `talked`: its budgets are paid on, and the policies of `in_call` are asked. Says at
    /// which length to come again, if ever.
    ///
    /// # Errors
    /// The rule that ends the call.
    pub fn go_on(
        &mut self,
        hold: &mut GaugeHold,
        talked: Duration,
        now: Now,
    ) -> Result<Option<Duration>, HangUp> {
        let ending = &self.ending;
        let must = |rule: u64| ending.contains_key(&rule);
        let paid = self.counters.pay_on(&mut hold.enforced, talked, must, now);
        let mut again = paid.map_err(|rule| self.hang_up(rule, hold.known.as_deref(), now))?;
        let audited = loop {
            let ending = &self.ending;
            match self.audit_counters.pay_on(&mut hold.audited, talked, |id| ending.contains_key(&id), now) {
                Ok(audited) => break audited,
                Err(id) => {
                    // Said once: what the call goes on to take is no budget's any more.
                    hold.audited.retain(|held| !matches!(held, Held::Budget(paid) if paid.rule == id));
                    self.would_end(id, hold.known.as_deref(), now);
                }
            }
        };
        if let Some(known) = hold.known.as_mut().filter(|_| self.speaks_in_call()) {
            known.talked = Some(talked);
            let facts = known.facts();
            self.ask_in_call(&facts, now)?;
            again = sooner(again, Some(talked.saturating_add(ASK_IN_CALL)));
        }
        Ok(sooner(again, audited))
    }

    /// An audited rule would end something.
    pub(in crate::policy) fn would_end(&mut self, rule: u64, known: Option<&Known>, now: Now) {
        if let Some(Numbered { rule, index, .. }) = self.ending.get(&rule).cloned() {
            self.trail.hit(index);
            let facts = known.map(Known::facts);
            self.note(&rule, rule.answer.action(), facts.as_ref(), now);
        }
    }

    fn ask_in_call(&mut self, facts: &Facts<'_>, now: Now) -> Result<(), HangUp> {
        let asked = Asked::new(facts, self.geo.as_ref(), &self.feeds, now);
        let policies = std::mem::take(&mut self.stages);
        let mut nothing = GaugeHold::default();
        self.trail.begin();
        let outcome = self.ask_all(&policies, &asked, &mut nothing, &mut Arc::clone(&self.by_default), now);
        self.stages = policies;
        if let Outcome::Refused(rule) = self.trail.outcome {
            self.trail.outcome = Outcome::HungUp(rule);
        }
        outcome.map_err(|refusal| HangUp { rule: refusal.rule, alert: refusal.alert })
    }

    pub(in crate::policy) fn hang_up(&mut self, rule: u64, known: Option<&Known>, now: Now) -> HangUp {
        self.trail.begin();
        match self.ending.get(&rule) {
            Some(Numbered { rule, index, .. }) => {
                self.trail.saw(*index, Seen::Spent);
                self.trail.outcome = Outcome::HungUp(*index);
                let alert = rule.answer.alert;
                if alert {
                    let facts = known.map(Known::facts);
                    self.alerts.push(&rule.name, Spoken::HungUp, facts.as_ref(), now);
                }
                HangUp { rule: Arc::clone(&rule.name), alert }
            }
            None => HangUp { rule: Arc::clone(&self.by_default), alert: false },
        }
    }

    pub(super) fn speaks_in_call(&self) -> bool {
        self.speaks_at(Stage::InCall)
    }

    /// A budget that ends calls tells somebody: then it must be known of whom.
    pub(super) fn alerts_in_call(&self) -> bool {
        self.ending.values().any(|numbered| numbered.rule.answer.alert)
    }
}

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
