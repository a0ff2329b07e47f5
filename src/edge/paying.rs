//! Budgets in the middle of a call (DESIGN §6): it pays ahead while it lasts, and is hung up on both legs when it cannot,
//! or when a policy of `in_call` says so.

use std::time::Duration;

use super::call::CallId;
use super::ending::End;
use super::event::Event;
use super::{Edge, Timer};
use crate::base::Now;

/// How often a call says what it has relayed, if a budget of bytes wants to know.
const READING: Duration = Duration::from_secs(1);

impl Edge {
    /// The call was answered, or what it has paid for runs out.
    pub(super) fn pay_on(&mut self, id: CallId, now: Now) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let talked = call.talked(now);
        let call_id = call.call_id.clone();
        let relayed = call.gauges.counts_bytes().then(|| call.relayed());
        let mut policy = self.policy.open();
        let went_on = policy.go_on(&mut call.gauges, talked, now).and_then(|again| {
            let Some(bytes) = relayed else { return Ok(again) };
            policy.relayed(&mut call.gauges, bytes, now)?;
            let reading = talked.saturating_add(READING);
            Ok(Some(again.map_or(reading, |again| again.min(reading))))
        });
        if went_on.is_err() {
            policy.keep(&call_id, None, true, now);
        }
        drop(policy);
        self.tell_alerts(call_id.as_bytes());
        self.calls.changed(id);
        let Some(call) = self.calls.get_mut(id) else { return };
        match went_on {
            Ok(again) => {
                let timers = &mut self.timers;
                call.paying = again
                    .and_then(|length| now.instant.checked_add(length.saturating_sub(talked)))
                    .map(|due| timers.set(due, Timer::PayOn(id)));
            }
            Err(hang_up) => {
                call.hung_up_by = Some(hang_up.rule.clone());
                self.tell(Event::HungUp { call_id, hang_up });
                self.hang_up(id, End::Policy, now);
            }
        }
    }
}
