//! TURN: what is decided about allocations and peers, and what they hold and spend.

use proptest::prelude::*;

use super::*;
use crate::policy::network::NetworkSet;
use crate::policy::relay::{ALLOCATE, PERMISSION, REFRESH};
use crate::policy::settings::Volume;

fn asks<'f>(user: &'f str, method: &'f str) -> Facts<'f> {
    Facts {
        source_proven: true,
        method,
        user: Some(user),
        role: Some(0),
        ..Facts::of_source(Stage::Relay, IpAddr::from([203, 0, 113, 7]))
    }
}

fn peer(user: &str) -> Facts<'_> {
    Facts { peer: Some(IpAddr::from([10, 1, 2, 3])), ..asks(user, PERMISSION) }
}

fn bytes(bytes: u64) -> Limit {
    Limit::Bytes(Volume { bytes, per: Duration::from_secs(86_400) })
}

fn relay(rules: Vec<Rule>) -> Policy {
    policy(&[Stage::Relay], rules)
}

fn hanging_up() -> Answer {
    Answer { hang_up: true, alert: true, ..reject(486) }
}

#[test]
fn allocations_at_once_are_given_back_and_only_allocations_count() {
    let rule = count(rule("few", reject(486)), Per::User, &[Limit::AllocationsAtOnce(2)]);
    let (mut engine, now) = (engine(vec![relay(vec![rule])]), at(Instant::now(), 0));
    let mut live: Vec<_> =
        (0..2).map(|_| engine.decide(&asks("alice", ALLOCATE), now).unwrap().gauges).collect();
    for other in [asks("alice", REFRESH), peer("alice"), asks("bob", ALLOCATE)] {
        assert_eq!(decided(&mut engine, &other, now), "default");
    }
    assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), now), "!p / few");
    engine.release(live.pop().unwrap(), Duration::ZERO, now);
    assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), now), "default");
    engine.release(live.pop().unwrap(), Duration::ZERO, now);
    assert!(engine.holds_nothing());
}

#[test]
fn what_is_said_of_peers_says_nothing_of_allocations() {
    let inside: NetworkSet = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
    let inside = Arc::new(inside);
    let about = |name: &str, negated| Rule {
        when: vec![Condition { negated, matcher: Matcher::Peer(inside.clone()) }],
        ..rule(name, reject(403))
    };
    let now = at(Instant::now(), 0);
    for (negated, of_peer) in [(false, "!p / peers"), (true, "default")] {
        let mut engine = engine(vec![relay(vec![about("peers", negated)])]);
        assert_eq!(decided(&mut engine, &peer("alice"), now), of_peer);
        assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), now), "default");
    }
}

#[test]
fn a_spent_budget_ends_what_lives_keeps_nothing_alive_and_slides() {
    let rule = count(rule("bytes", hanging_up()), Per::User, &[bytes(1_000)]);
    let mut engine = engine(vec![relay(vec![rule])]);
    let start = Instant::now();
    let mut one = engine.decide(&asks("alice", ALLOCATE), at(start, 0)).unwrap().gauges;
    let mut other = engine.decide(&asks("alice", ALLOCATE), at(start, 0)).unwrap().gauges;
    assert!(one.counts_bytes());
    assert!(engine.relayed(&mut one, 600, at(start, 1)).is_ok());
    assert!(engine.relayed(&mut one, 600, at(start, 2)).is_ok(), "told again what it was told");
    assert_eq!(&*engine.relayed(&mut other, 400, at(start, 3)).unwrap_err().rule, "p / bytes");
    assert_eq!(engine.poll_alert().unwrap().known.unwrap().user.as_deref(), Some("alice"));
    engine.relayed_at_last(&mut other, 410, at(start, 3));
    for hold in [one, other] {
        engine.release(hold, Duration::ZERO, at(start, 3));
    }
    for method in [ALLOCATE, REFRESH] {
        assert_eq!(decided(&mut engine, &asks("alice", method), at(start, 4)), "!p / bytes");
        assert_eq!(decided(&mut engine, &asks("bob", method), at(start, 4)), "default");
    }
    assert_eq!(decided(&mut engine, &peer("alice"), at(start, 4)), "default");
    assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), at(start, 26 * 3600)), "default");
}

#[test]
fn calls_and_turn_spend_the_same_bytes() {
    let rule = count(rule("bytes", hanging_up()), Per::User, &[bytes(1_000)]);
    let mut engine = engine(vec![policy(&[Stage::Calls, Stage::Relay], vec![rule])]);
    let now = at(Instant::now(), 0);
    let mut talk = engine.decide(&call("alice", "+49"), now).unwrap().gauges;
    assert!(engine.relayed(&mut talk, 900, now).is_ok());
    let mut turn = engine.decide(&asks("alice", ALLOCATE), now).unwrap().gauges;
    assert!(engine.relayed(&mut turn, 100, now).is_err());
    assert_eq!(decided(&mut engine, &call("alice", "+49"), now), "!p / bytes");
    for hold in [talk, turn] {
        engine.release(hold, Duration::ZERO, now);
    }
}

#[test]
fn bytes_are_still_spent_after_a_restart() {
    let rule = || relay(vec![count(rule("bytes", hanging_up()), Per::User, &[bytes(1_000)])]);
    let (mut before, now) = (engine(vec![rule()]), at(Instant::now(), 0));
    let mut hold = before.decide(&asks("alice", ALLOCATE), now).unwrap().gauges;
    before.relayed_at_last(&mut hold, 1_000, now);
    before.release(hold, Duration::ZERO, now);
    let mut after = engine(vec![rule()]);
    after.restore(before.save(now), now);
    assert_eq!(decided(&mut after, &asks("alice", ALLOCATE), now), "!p / bytes");
}

#[test]
fn an_audited_budget_of_bytes_says_once_what_it_would_have_ended() {
    let rule = count(rule("bytes", hanging_up()), Per::User, &[bytes(1_000)]);
    let audited = Policy { mode: Mode::Audit, ..relay(vec![rule]) };
    let (mut engine, now) = (engine(vec![audited]), at(Instant::now(), 0));
    let mut hold = engine.decide(&asks("alice", ALLOCATE), now).unwrap().gauges;
    for told in [999, 1_500, 2_000] {
        assert!(engine.relayed(&mut hold, told, now).is_ok());
    }
    assert_eq!(&*engine.poll_note().unwrap().rule, "p / bytes");
    assert_eq!(engine.poll_note(), None);
    engine.release(hold, Duration::ZERO, now);
    assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), now), "default");
    assert!(engine.holds_nothing());
}

#[test]
fn nobody_is_asked_for_a_password_at_the_relay() {
    let challenge = Answer { verdict: Some(Verdict::Refuse(Action::Challenge)), ..Answer::default() };
    let policy = policy(&[Stage::Calls, Stage::Relay], vec![rule("who", challenge)]);
    let mut engine = engine(vec![policy]);
    assert_eq!(decided(&mut engine, &asks("alice", ALLOCATE), at(Instant::now(), 0)), "default");
}

#[test]
fn refusals_for_the_log_are_bounded() {
    let mut engine = engine(vec![relay(vec![rule("no", reject(403))])]);
    let (now, client) = (at(Instant::now(), 0), "203.0.113.7:5000".parse().unwrap());
    for _ in 0..10 {
        let facts = asks("alice", ALLOCATE);
        let refusal = engine.decide(&facts, now).unwrap_err();
        engine.keep_refused_at_relay(&refusal, &facts, client, now);
    }
    let kept: Vec<_> = std::iter::from_fn(|| engine.poll_refused_at_relay()).collect();
    assert_eq!(kept.len(), 4);
    assert_eq!((&*kept[0].rule, &*kept[0].user, &*kept[0].method), ("p / no", "alice", ALLOCATE));
}

/// What happens to allocations: made for a user, told that they have relayed so much more, or ended.
#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Relay(usize, u64),
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3usize).prop_map(Step::Allocate),
        (0..8usize, 0..300u64).prop_map(|(which, more)| Step::Relay(which, more)),
        (0..8usize).prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..80)
}

/// Plays them one a second, all that is left ends; what came of each, and how many bytes each user relayed in all.
fn play(engine: &mut Engine, steps: &[Step]) -> (Vec<String>, [u64; 3]) {
    let start = Instant::now();
    let (mut live, mut told, mut sums) = (Vec::<(usize, u64, GaugeHold)>::new(), Vec::new(), [0; 3]);
    for (second, step) in (0..).zip(steps) {
        let now = at(start, second);
        match *step {
            Step::Allocate(user) => match engine.decide(&asks(&user.to_string(), ALLOCATE), now) {
                Ok(permit) => {
                    told.push(permit.rule.to_string());
                    live.push((user, 0, permit.gauges));
                }
                Err(refusal) => told.push(format!("!{}", refusal.rule)),
            },
            Step::Relay(which, more) if which < live.len() => {
                let (user, bytes, hold) = &mut live[which];
                *bytes += more;
                sums[*user] += more;
                let went_on = engine.relayed(hold, *bytes, now);
                told.push(format!("{went_on:?}"));
                if went_on.is_err() {
                    let (_, bytes, mut hold) = live.remove(which);
                    engine.relayed_at_last(&mut hold, bytes, now);
                    engine.release(hold, Duration::ZERO, now);
                }
            }
            Step::End(which) if which < live.len() => {
                let (_, bytes, mut hold) = live.remove(which);
                engine.relayed_at_last(&mut hold, bytes, now);
                engine.release(hold, Duration::ZERO, now);
            }
            Step::Relay(..) | Step::End(_) => {}
        }
        while engine.poll_note().is_some() {}
    }
    for (_, _, hold) in live {
        engine.release(hold, Duration::ZERO, at(start, 1000));
    }
    (told, sums)
}

fn ruled(most: u32, volume: u64) -> Policy {
    let few = count(rule("few", reject(486)), Per::User, &[Limit::AllocationsAtOnce(most)]);
    let spent = count(rule("bytes", hanging_up()), Per::User, &[bytes(volume)]);
    relay(vec![few, spent])
}

proptest! {
    /// At most by what each of the allocations that lived relayed between two readings.
    #[test]
    fn bytes_are_never_overspent_by_more_than_a_reading_of_each(
        most in 1u32..4, volume in 1u64..1_000, steps in steps(),
    ) {
        let mut engine = engine(vec![ruled(most, volume)]);
        let (_, sums) = play(&mut engine, &steps);
        let reading = 300 * u64::from(most);
        prop_assert!(sums.iter().all(|sum| *sum < volume + reading), "{sums:?} of {volume}");
        prop_assert!(engine.holds_nothing());
    }

    #[test]
    fn audit_changes_nothing_at_the_relay(
        enforced in (1u32..4, 1u64..1_000), audited in (0u32..4, 1u64..1_000), steps in steps(),
    ) {
        let policy = |(most, volume)| ruled(most, volume);
        let audited = Policy { mode: Mode::Audit, name: "q".into(), ..policy(audited) };
        let with = play(&mut engine(vec![audited, policy(enforced)]), &steps);
        prop_assert_eq!(with, play(&mut engine(vec![policy(enforced)]), &steps));
    }
}
