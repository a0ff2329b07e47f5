//! Whatever policies and calls there are.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Made {
    to: Vec<&'static str>,
    verdict: Option<Answer>,
    count: Option<(Per, Vec<Limit>)>,
}

impl Made {
    fn rule(&self, number: usize) -> Rule {
        let answer = self.verdict.clone().unwrap_or(Answer { alert: true, ..Answer::default() });
        let mut made = to(rule(&number.to_string(), answer), &self.to);
        made.count = self.count.clone().map(|(per, limits)| Count { per, limits, deck: None });
        made
    }
}

fn made_rule(counting: bool) -> impl Strategy<Value = Made> {
    let numbers = prop::collection::vec(prop::sample::select(vec!["+1", "+2*", "1", "2*", "+12"]), 0..3);
    let everywhere = Answer { verdict: Some(Verdict::AllowEverywhere), ..Answer::default() };
    let verdict = prop::sample::select(vec![None, Some(Answer::ALLOW), Some(everywhere), Some(reject(403))]);
    let limit = prop_oneof![
        (0u32..3).prop_map(Limit::CallsAtOnce),
        (1u32..4, 1u32..4).prop_map(|(events, burst)| Limit::NewCalls(rate(events, 10, burst))),
        (1u64..20).prop_map(|talk| Limit::Minutes(Budget {
            talk: Duration::from_secs(talk),
            per: Duration::from_secs(30)
        })),
    ];
    let per = prop::sample::select(vec![Per::User, Per::Source, Per::DestinationPrefix, Per::All]);
    let count = (per, prop::collection::vec(limit, 1..3));
    let count = if counting { prop::option::of(count).boxed() } else { Just(None).boxed() };
    (numbers, verdict, count).prop_map(|(to, verdict, count)| Made { to, verdict, count })
}

fn made_policy(counting: bool) -> impl Strategy<Value = Policy> {
    prop::collection::vec(made_rule(counting), 0..5)
        .prop_map(|rules| calls(rules.iter().enumerate().map(|(n, r)| r.rule(n)).collect()))
}

const DIALLED: [&str; 5] = ["+1", "+12", "+23", "1", "25"];

/// Some calls, each ending at once or living on to the end.
fn some_calls() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    prop::collection::vec((0..3usize, 0..DIALLED.len(), any::<bool>()), 0..40)
}

/// Makes the calls one a second; what came of each.
fn play(engine: &mut Engine, made: &[(usize, usize, bool)]) -> Vec<String> {
    let start = Instant::now();
    let mut live = Vec::new();
    let mut outcomes = Vec::new();
    for (second, (user, dialled, ends)) in (0..).zip(made) {
        let user = user.to_string();
        match engine.decide(&call(&user, DIALLED[*dialled]), at(start, second)) {
            Ok(permit) if *ends => {
                outcomes.push(permit.rule.to_string());
                engine.release(permit.gauges, Duration::from_secs(3), at(start, second));
            }
            Ok(permit) => {
                outcomes.push(permit.rule.to_string());
                live.push(permit.gauges);
            }
            Err(refusal) => outcomes.push(format!("{} {}", refusal.rule, refusal.action)),
        }
        while engine.poll_note().is_some() {}
    }
    for hold in live {
        engine.release(hold, Duration::from_secs(60), at(start, 1000));
    }
    outcomes
}

/// With the audited ones audited.
fn in_their_modes(policies: Vec<(Policy, bool)>) -> Vec<Policy> {
    let mode = |audit| if audit { Mode::Audit } else { Mode::Enforce };
    policies.into_iter().map(|(policy, audit)| Policy { mode: mode(audit), ..policy }).collect()
}

proptest! {
    #[test]
    fn first_match_wins(made in made_policy(false), dialled in prop::sample::select(DIALLED.to_vec())) {
        let first = made.rules.iter().find(|rule| {
            let holds = rule.when.iter().all(|condition| match &condition.matcher {
                Matcher::To(numbers) => numbers.contains(dialled),
                _ => false,
            });
            holds && rule.answer.verdict.is_some()
        });
        let expected = match first {
            None => "default".to_owned(),
            Some(rule) => match rule.answer.verdict {
                Some(Verdict::Refuse(_)) => format!("!{}", rule.name),
                _ => rule.name.to_string(),
            },
        };
        let now = at(Instant::now(), 0);
        prop_assert_eq!(decided(&mut engine(vec![made.clone()]), &call("201", dialled), now), expected);
    }

    #[test]
    fn audit_never_changes_an_outcome(
        policies in prop::collection::vec((made_policy(true), any::<bool>()), 1..5),
        made in some_calls(),
    ) {
        let enforced = policies.iter().filter(|(_, audit)| !audit).map(|(policy, _)| policy.clone());
        let without = play(&mut engine(enforced.collect()), &made);
        prop_assert_eq!(play(&mut engine(in_their_modes(policies)), &made), without);
    }

    #[test]
    fn what_is_told_is_what_decided(
        policies in prop::collection::vec((made_policy(true), any::<bool>()), 1..4),
        made in some_calls(),
    ) {
        let mut engine = engine(in_their_modes(policies));
        let (start, names) = (Instant::now(), Names::default());
        for (second, (user, dialled, _)) in (0..).zip(made) {
            let (user, now) = (user.to_string(), at(start, second));
            let call_id = second.to_string();
            let facts = call(&user, DIALLED[dialled]);
            let decided = decided(&mut engine, &facts, now);
            engine.keep(&call_id, Some(&facts), true, now);
            let [told] = engine.why(&call_id, &names).try_into().expect("one decision");
            let refused = if told.decision == "refused" { "!" } else { "" };
            let rule = if told.rule.is_empty() { "default" } else { &told.rule };
            prop_assert_eq!(format!("{refused}{rule}"), decided);
            let looked = told.looked.expect("kept");
            let last = looked.iter().rfind(|looked| looked.spoke && !looked.audit);
            if told.decision == "refused" {
                prop_assert_eq!(&last.expect("a rule spoke").rule, &told.rule);
            }
            prop_assert!(looked.iter().all(|looked| looked.spoke || !looked.why.is_empty()));
        }
    }

    #[test]
    fn gauges_return_to_zero(
        policies in prop::collection::vec((made_policy(true), any::<bool>()), 1..4),
        made in some_calls(),
    ) {
        let mut engine = engine(in_their_modes(policies));
        play(&mut engine, &made);
        prop_assert!(engine.holds_nothing());
    }
}
