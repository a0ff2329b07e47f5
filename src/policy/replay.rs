//! Calls and other requests of the past under other rules: each begins, is answered and ends when it did, and the engine is asked as the edge
//! would ask it. So what a call holds, others miss, and a budget that runs out ends it in the middle.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deck::Money;
use super::{Engine, Facts, GaugeHold, Known, Refusal, Stage};
use crate::base::{Now, UnixTime};

/// A call as it was; or another request, which ends when it begins.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is known of its INVITE; `trunk_out`: the trunk that took it.
    pub known: Known,
    /// When that came.
    pub started: UnixTime,
    /// When it was answered, if it was.
    pub answered: Option<UnixTime>,
    /// When it was over.
    pub ended: UnixTime,
    /// The password that came with it was wrong.
    pub login_failed: bool,
}

impl Call {
    /// How long people talked.
    pub fn talked(&self) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| self.ended.talked_since(answered))
    }
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What it was.
    Passes,
    /// This rule refuses it.
    Refused(Arc<str>),
    /// This rule ends it after so long.
    HungUp {
        /// Policy and rule.
        rule: Arc<str>,
        /// From its answer.
        after: Duration,
        /// By the rules' decks.
        cost: Option<Money>,
    },
}

/// A call under the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// What becomes of it.
    pub fate: Fate,
    /// What it costs as it was, by the rules' decks, if they have a price for it.
    pub price: Option<Money>,
}

/// What happens to a call, in the order in which things at the same moment happen: whoever hangs up makes room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Ends,
    GoesOn,
    Begins,
}

/// Plays the calls to `engine`, which has counted nothing yet. `epoch` only anchors its clock. What becomes of each call, in
/// their order.
pub fn replay(engine: &mut Engine, calls: &[Call], epoch: Instant) -> Vec<Played> {
    let mut fates: Vec<Option<Fate>> = calls.iter().map(|_| None).collect();
    let mut held: Vec<Option<GaugeHold>> = calls.iter().map(|_| None).collect();
    let mut agenda: BinaryHeap<_> = (0..)
        .zip(calls)
        .map(|(index, call): (usize, _)| Reverse((call.started, Happens::Begins, index)))
        .collect();
    let first = calls.iter().map(|call| call.started).min().unwrap_or(UnixTime(Duration::ZERO));
    while let Some(Reverse((at, what, index))) = agenda.pop() {
        let (Some(call), Some(hold), Some(fate)) =
            (calls.get(index), held.get_mut(index), fates.get_mut(index))
        else {
            continue;
        };
        let now = Now { instant: epoch + at.0.saturating_sub(first.0), unix: at };
        let talked = call.answered.map_or(Duration::ZERO, |answered| at.talked_since(answered));
        match what {
            Happens::Begins => match begin(engine, &call.known, now) {
                Ok(holding) => {
                    *hold = Some(holding);
                    agenda.push(Reverse((call.ended.max(at), Happens::Ends, index)));
                    agenda.extend(call.answered.map(|answered| Reverse((answered, Happens::GoesOn, index))));
                }
                Err(refusal) => *fate = Some(Fate::Refused(refusal.rule)),
            },
            Happens::GoesOn => {
                let Some(mut holding) = hold.take() else { continue };
                match engine.go_on(&mut holding, talked, now) {
                    Ok(again) => {
                        // Never at the same moment again.
                        let again = again.map(|length| length.max(talked + Duration::from_millis(1)));
                        let next = call.answered.zip(again).and_then(|(answered, length)| {
                            Some(UnixTime(answered.0.checked_add(length)?)).filter(|next| *next < call.ended)
                        });
                        agenda.extend(next.map(|next| Reverse((next, Happens::GoesOn, index))));
                        *hold = Some(holding);
                    }
                    Err(hang_up) => {
                        let cost = holding.cost(talked);
                        engine.release(holding, talked, now);
                        *fate = Some(Fate::HungUp { rule: hang_up.rule, after: talked, cost });
                    }
                }
            }
            Happens::Ends => {
                let Some(holding) = hold.take() else { continue };
                engine.release(holding, call.talked(), now);
                if call.login_failed {
                    engine.login_failed(call.known.source, call.known.user.as_deref(), now);
                }
            }
        }
        while engine.poll_note().is_some() {}
        while engine.poll_alert().is_some() {}
        while engine.bans().poll_change().is_some() {}
    }
    let played = fates.into_iter().zip(calls).map(|(fate, call)| {
        let tariff = call.answered.and_then(|_| engine.price(&call.known.facts()));
        let price = tariff.map(|tariff| tariff.cost(call.talked()));
        Played { fate: fate.unwrap_or(Fate::Passes), price }
    });
    played.collect()
}

/// Asked for, and, if it is known which trunk took it, asked for there.
fn begin(engine: &mut Engine, known: &Known, now: Now) -> Result<GaugeHold, Refusal> {
    let facts = known.facts();
    let mut hold = engine.decide(&facts, now)?.gauges;
    if facts.trunk_out.is_some()
        && engine.speaks_of_routes()
        && let Err(refusal) = engine.go_to_trunk(&mut hold, &Facts { stage: Stage::Routes, ..facts }, now)
    {
        engine.release(hold, Duration::ZERO, now);
        return Err(refusal);
    }
    Ok(hold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeKey;
    use crate::policy::Action;
    use crate::policy::deck::{Deck, Tariff};
    use crate::policy::settings::{
        Allowance, Answer, Capacity, Count, Limit, Mode, Per, Place, Policy, Rule, Settings, Verdict, Written,
    };
    use crate::policy::trial::Given;

    fn at(seconds: u64) -> UnixTime {
        UnixTime(Duration::from_secs(1_800_000_000 + seconds))
    }

    fn call(started: u64, answered: Option<u64>, ended: u64) -> Call {
        let mut known = Given::new(Stage::Calls, at(0)).known;
        (known.user, known.to) = (Some("201".into()), Some("+4420".into()));
        Call {
            known,
            started: at(started),
            answered: answered.map(at),
            ended: at(ended),
            login_failed: false,
        }
    }

    fn engine(limit: Limit) -> Engine {
        let mut deck = Deck::default();
        deck.insert("44", Tariff { per_minute: Money(600_000), connect: Money(0), first: 1, next: 1 });
        let deck = Some(Arc::new(deck));
        let verdict = Some(Verdict::Refuse(Action::Reject { status: 486, reason: "Busy Here".into() }));
        let rule = Rule {
            name: "p / r".into(),
            when: Vec::new(),
            count: Some(Count { per: Per::User, limits: vec![limit], deck: deck.clone() }),
            answer: Answer { verdict, hang_up: true, ..Answer::default() },
            written: Written::default(),
        };
        let policy = Policy {
            name: "p".into(),
            mode: Mode::Enforce,
            stages: vec![Stage::Calls],
            rules: vec![rule],
            default: Answer::ALLOW,
            deck,
            place: Place::default(),
        };
        let policies = vec![policy];
        let settings = Settings {
            policies,
            never_ban: Vec::new(),
            geo: None,
            feeds: Vec::new(),
            capacity: Capacity::default(),
        };
        Engine::new(settings, &NodeKey::new([1; 16]))
    }

    #[test]
    fn gauges_are_held_for_as_long_as_the_calls_were() {
        let mut engine = engine(Limit::CallsAtOnce(1));
        // Not in their order; the last begins when the first ends.
        let calls = [call(100, None, 110), call(0, Some(5), 100), call(50, Some(60), 90)];
        let fates = replay(&mut engine, &calls, Instant::now());
        assert_eq!(fates[2].fate, Fate::Refused("p / r".into()));
        assert_eq!((&fates[0].fate, &fates[1].fate), (&Fate::Passes, &Fate::Passes));
        assert_eq!((fates[0].price, fates[1].price), (None, Some(Money(950_000))));
        assert!(engine.holds_nothing());
    }

    #[test]
    fn a_budget_that_runs_out_ends_a_call_in_the_middle() {
        let day = Duration::from_secs(86_400);
        let mut engine = engine(Limit::Spend(Allowance { money: Money(1_000_000), per: day }));
        let calls = [call(0, Some(10), 1_010), call(500, Some(510), 520)];
        let fates = replay(&mut engine, &calls, Instant::now());
        let Fate::HungUp { after, cost: Some(cost), .. } = &fates[0].fate else { panic!("{fates:?}") };
        assert!(*after < Duration::from_secs(100) && *after > Duration::from_secs(90), "{after:?}");
        assert!(*cost <= Money(1_000_000));
        assert_eq!(fates[1].fate, Fate::Refused("p / r".into()));
        assert!(engine.holds_nothing());
    }
}
