//! Stage `routes`: what a call takes for the trunk that it goes to, and gives back when it goes to another one.

use std::time::Duration;

use super::Engine;
use crate::base::Now;
use crate::policy::counter::{Held, Holds};
use crate::policy::{Facts, GaugeHold, Refusal, Stage};

impl Engine {
    /// Has to be asked about trunks.
    pub fn speaks_of_routes(&self) -> bool {
        self.speaks_at(Stage::Routes)
    }

    /// Asks the policies of `routes` whether the request may go to the trunk in `facts`. What its call held for another trunk is
    /// given back, and what it takes of this one goes to `hold`.
    ///
    /// # Errors
    /// The first refusal; then nothing is held for any trunk.
    pub fn go_to_trunk(&mut self, hold: &mut GaugeHold, facts: &Facts<'_>, now: Now) -> Result<(), Refusal> {
        self.leave_trunk(hold, now);
        let GaugeHold { enforced, audited, tariff, .. } = self.decide(facts, now)?.gauges;
        let priced = hold.tariff.is_none() && tariff.is_some();
        if priced {
            hold.tariff = tariff;
        }
        for (all, taken, priced) in
            [(&mut hold.enforced, enforced, priced), (&mut hold.audited, audited, false)]
        {
            if priced || !taken.is_empty() {
                all.push(Held::ForTrunk { priced });
                all.extend(taken);
            }
        }
        Ok(())
    }

    /// The call does not go to the trunk that it was about to go to: what it held for it is given back.
    pub fn leave_trunk(&mut self, hold: &mut GaugeHold, now: Now) {
        let GaugeHold { enforced, audited, tariff, .. } = hold;
        for (counters, held) in [(&mut self.counters, enforced), (&mut self.audit_counters, audited)] {
            let begin = held.iter().position(|held| matches!(held, Held::ForTrunk { .. }));
            let Some(begin) = begin else { continue };
            let of_trunk: Holds = held.drain(begin..).collect();
            if matches!(of_trunk.first(), Some(Held::ForTrunk { priced: true })) {
                *tariff = None;
            }
            counters.release(of_trunk, Duration::ZERO, now);
        }
    }
}
