//! What people see of live calls, and how they ban somebody while there are some.

use std::sync::Arc;
use std::time::Duration;

use super::Edge;
use super::call::{Call, CallId};
use super::ending::End;
use super::event::Event;
use super::identify::Speaker;
use super::refusal::Refusal;
use crate::base::ban::Banned;
use crate::base::{ClientAddr, Now, UnixTime};
use crate::policy::ban::{Ban, NotBanned};
use crate::policy::country::Country;
use crate::policy::deck::Money;
use crate::policy::hits::PolicyHits;
use crate::policy::{self, Action, HangUp};
use crate::relay::Side;

/// A call that is not over. The fields mean what those of [`super::event::Cdr`] do.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct LiveCall {
    pub call_id: Arc<str>,
    pub from: Arc<str>,
    pub to: Arc<str>,
    pub source: ClientAddr,
    pub from_party: Arc<str>,
    pub to_party: Option<Arc<str>>,
    pub target: Arc<str>,
    pub route: Arc<str>,
    pub rule: Arc<str>,
    pub started: UnixTime,
    pub answered: Option<UnixTime>,
    /// Up to now.
    pub talked: Duration,
    /// Up to now; none: no policy has a price for it.
    pub spend: Option<Money>,
    pub country: Option<Country>,
}

impl Edge {
    /// All live calls.
    pub fn calls(&self, now: Now) -> Vec<LiveCall> {
        let all = self.calls.ids().into_iter().filter_map(|id| self.calls.get(id));
        all.map(|call| shown(call, now)).collect()
    }

    /// How often each rule spoke, and how many bans last.
    pub fn policy_hits(&mut self, now: Now) -> (Vec<PolicyHits>, usize) {
        let mut policy = self.policy.open();
        (policy.hits(), policy.bans().count(now))
    }

    /// Everyone who is banned.
    pub fn bans(&mut self, now: Now) -> Vec<Ban> {
        self.policy.open().bans().list(now)
    }

    /// What of that a restart must not forget, if it has changed since it was last asked for.
    pub fn save_bans(&mut self, now: Now) -> Option<Vec<Ban>> {
        self.policy.open().bans().save(now)
    }

    /// Somebody bans; with `hang_up` the live calls of whom they ban end. How many did.
    pub fn ban(
        &mut self,
        banned: Banned,
        length: Option<Duration>,
        reason: &str,
        hang_up: bool,
        now: Now,
    ) -> Result<(Ban, usize), NotBanned> {
        let ban = self.policy.open().bans().ban(banned, length, reason, now)?;
        let ended = if hang_up { self.hang_up_banned(&ban.banned, now) } else { 0 };
        self.settle(now);
        Ok((ban, ended))
    }

    /// Ends a ban. None: there is none of exactly this one.
    pub fn lift_ban(&mut self, banned: &Banned, now: Now) -> Option<Ban> {
        let lifted = self.policy.open().bans().lift(banned, now);
        self.settle(now);
        lifted
    }

    fn hang_up_banned(&mut self, banned: &Banned, now: Now) -> usize {
        let of_banned = |id: &CallId| self.calls.get(*id).is_some_and(|call| concerns(call, banned));
        let calls: Vec<CallId> = self.calls.ids().into_iter().filter(of_banned).collect();
        for id in &calls {
            let hang_up = HangUp { rule: "banned".into(), alert: false };
            let Some(call) = self.calls.get_mut(*id) else { continue };
            call.hung_up_by = Some(hang_up.rule.clone());
            let (call_id, is_answered, inviting) =
                (call.call_id.clone(), call.answered.is_some(), call.inviting);
            self.tell(Event::HungUp { call_id, hang_up });
            match inviting {
                Some(server) if !is_answered => self.give_up(server, forbidden(), now),
                _ => self.hang_up(*id, End::Policy, now),
            }
        }
        calls.len()
    }
}

fn forbidden() -> Refusal {
    let action = Action::Reject { status: 403, reason: "Forbidden".into() };
    Refusal::Policy(policy::Refusal { action, rule: "banned".into(), alert: false })
}

/// A phone of the call comes from there, or is that user's.
fn concerns(call: &Call, banned: &Banned) -> bool {
    let phones = [Side::A, Side::B].into_iter().filter_map(|side| call.leg(side));
    phones.filter(|leg| leg.speaker == Speaker::Stranger).any(|leg| match banned {
        Banned::Network(_) => banned.covers(leg.address),
        Banned::User(name) => leg.user.as_ref() == Some(name),
    })
}

fn shown(call: &Call, now: Now) -> LiveCall {
    let talked = call.talked(now);
    LiveCall {
        call_id: call.call_id.clone(),
        from: call.from.clone(),
        to: call.to.clone(),
        source: call.source,
        from_party: call.a.name.clone(),
        to_party: call.b.as_ref().map(|leg| leg.name.clone()),
        target: call.target.clone(),
        route: call.route.clone(),
        rule: call.rule.clone(),
        started: call.started.unix,
        answered: call.answered,
        talked,
        spend: call.answered.and_then(|_| call.gauges.cost(talked)),
        country: call.gauges.country(),
    }
}
