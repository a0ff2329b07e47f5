//! What is decided while a call lasts, and what its length decides about the next one.

use super::*;
use crate::policy::HangUp;
use crate::policy::deck::{Deck, Money, Tariff};
use crate::policy::settings::{Allowance, New};

const DAY: Duration = Duration::from_secs(86_400);

fn hanging_up(answer: Answer) -> Answer {
    Answer { hang_up: true, ..answer }
}

/// 0.60 a minute by the second to +44, the same with 1.00 at the answer to +882.
fn deck() -> Arc<Deck> {
    let mut deck = Deck::default();
    let tariff = |connect| Tariff { per_minute: Money(600_000), connect: Money(connect), first: 1, next: 1 };
    deck.insert("44", tariff(0));
    deck.insert("882", tariff(1_000_000));
    Arc::new(deck)
}

fn spend(millionths: u64, answer: Answer) -> Policy {
    let limit = Limit::Spend(Allowance { money: Money(millionths), per: DAY });
    let mut budget = count(rule("budget", answer), Per::User, &[limit]);
    if let Some(count) = &mut budget.count {
        count.deck = Some(deck());
    }
    Policy { deck: Some(deck()), ..calls(vec![budget]) }
}

/// For how long the call may go on, in seconds; how it then ends.
fn talk(engine: &mut Engine, hold: &mut GaugeHold, start: Instant) -> (f64, Result<(), HangUp>) {
    let mut talked = Duration::ZERO;
    loop {
        let now = Now { instant: start + talked, unix: at(start, talked.as_secs()).unix };
        match engine.go_on(hold, talked, now) {
            Ok(Some(again)) if again < DAY => talked = again,
            Ok(_) => return (f64::INFINITY, Ok(())),
            Err(hang_up) => return (talked.as_secs_f64(), Err(hang_up)),
        }
    }
}

#[test]
fn money_ends_a_call_before_it_is_spent() {
    let mut engine = engine(vec![spend(1_500_000, hanging_up(reject(403)))]);
    let start = Instant::now();
    let mut dear = engine.decide(&call("201", "+8821"), at(start, 0)).unwrap();
    let (talked, end) = talk(&mut engine, &mut dear.gauges, start);
    assert_eq!((talked, &*end.unwrap_err().rule), (48.0, "p / budget"));
    assert_eq!(dear.gauges.cost(Duration::from_secs_f64(talked)), Some(Money(1_480_000)));
    engine.release(dear.gauges, Duration::from_secs_f64(talked), at(start, 50));
    assert_eq!(decided(&mut engine, &call("201", "+441"), at(start, 60)), "!p / budget");
    assert_eq!(decided(&mut engine, &call("202", "+441"), at(start, 60)), "default");
}

#[test]
fn a_number_without_a_price_is_the_dearest_and_an_extension_is_free() {
    let mut engine = engine(vec![spend(1_500_000, hanging_up(reject(403)))]);
    let start = Instant::now();
    let mut unknown = engine.decide(&call("201", "0301234567"), at(start, 0)).unwrap();
    assert_eq!(talk(&mut engine, &mut unknown.gauges, start).0, 48.0);
    let mut inside = engine.decide(&call("201", "202"), at(start, 0)).unwrap();
    assert_eq!(talk(&mut engine, &mut inside.gauges, start).0, f64::INFINITY);
    assert_eq!(inside.gauges.cost(DAY), None);
    engine.release(unknown.gauges, Duration::ZERO, at(start, 1));
    engine.release(inside.gauges, DAY, at(start, 1));
}

#[test]
fn without_hang_up_a_budget_holds_when_a_call_begins() {
    let mut engine = engine(vec![spend(100_000, reject(403))]);
    let start = Instant::now();
    let mut long = engine.decide(&call("201", "+441"), at(start, 0)).unwrap();
    let later = at(start, 3_600);
    assert!(engine.go_on(&mut long.gauges, Duration::from_secs(3_600), later).is_ok());
    assert_eq!(decided(&mut engine, &call("201", "+441"), later), "!p / budget", "while it lasts, too");
    engine.release(long.gauges, Duration::from_secs(3_600), later);
}

#[test]
fn a_budget_that_hangs_up_and_alerts_says_whose_call_it_was() {
    let mut engine = engine(vec![spend(600_000, Answer { alert: true, ..hanging_up(reject(403)) })]);
    let start = Instant::now();
    let mut permit = engine.decide(&call("201", "+441"), at(start, 0)).unwrap();
    let (lasted, _) = talk(&mut engine, &mut permit.gauges, start);
    assert!(lasted < 3_600.0);
    let told = engine.poll_alert().unwrap();
    assert_eq!((&*told.rule, told.what), ("p / budget", crate::policy::Spoken::HungUp));
    assert_eq!(told.known.unwrap().user.as_deref(), Some("201"));
    engine.release(permit.gauges, Duration::from_secs(90), at(start, 90));
}

#[test]
fn an_audited_budget_says_once_whom_it_would_have_hung_up() {
    let mut audited = spend(600_000, hanging_up(reject(403)));
    audited.mode = Mode::Audit;
    let mut engine = engine(vec![audited]);
    let start = Instant::now();
    let mut permit = engine.decide(&call("201", "+441"), at(start, 0)).unwrap();
    assert_eq!(talk(&mut engine, &mut permit.gauges, start).0, f64::INFINITY);
    assert_eq!(&*engine.poll_note().unwrap().rule, "p / budget");
    assert_eq!(engine.poll_note(), None);
    engine.release(permit.gauges, Duration::from_secs(90), at(start, 90));
    assert!(engine.holds_nothing());
}

#[test]
fn what_was_counted_is_still_counted_after_a_restart() {
    let minutes = Limit::Minutes(Budget { talk: Duration::from_secs(600), per: DAY });
    let ten_a_day = Limit::NewCalls(rate(1, 86_400, 1));
    let policy = calls(vec![
        count(rule("minutes", reject(403)), Per::User, &[minutes]),
        to(count(rule("one a day", reject(403)), Per::User, &[ten_a_day]), &["+1"]),
    ]);
    let start = Instant::now();
    let mut before = engine(vec![policy.clone()]);
    let permit = before.decide(&call("201", "+44"), at(start, 0)).unwrap();
    before.release(permit.gauges, Duration::from_secs(600), at(start, 600));
    assert_eq!(decided(&mut before, &call("202", "+1"), at(start, 600)), "default");
    assert!(before.has_changed());
    let saved = serde_json::to_string(&before.save(at(start, 601))).unwrap();
    assert!(!before.has_changed());
    // Another rule before it, and another clock since boot: its own counters are found all the same.
    let mut rules = vec![rule("new", Answer::default())];
    rules.extend(policy.rules);
    let mut after = engine(vec![calls(rules)]);
    after.restore(serde_json::from_str(&saved).unwrap(), at(start, 700));
    assert_eq!(decided(&mut after, &call("201", "+44"), at(start, 700)), "!p / minutes");
    assert_eq!(decided(&mut after, &call("202", "+1"), at(start, 700)), "!p / one a day");
    assert_eq!(decided(&mut after, &call("202", "+1"), at(start, 86_400 + 86_400 / 15 + 1)), "default");
}

#[test]
fn short_calls_are_counted_when_they_are_over() {
    let two = Limit::ShortCalls { rate: rate(2, 3_600, 2), under: Duration::from_secs(10) };
    let mut engine = engine(vec![calls(vec![count(rule("short", reject(403)), Per::User, &[two])])]);
    let start = Instant::now();
    for (talked, next) in [(60, "default"), (0, "default"), (3, "default"), (9, "!p / short")] {
        let permit = engine.decide(&call("201", "+44"), at(start, 0)).unwrap();
        engine.release(permit.gauges, Duration::from_secs(talked), at(start, 0));
        assert_eq!(decided(&mut engine, &call("201", "+44"), at(start, 0)), next, "after {talked} s");
    }
}

#[test]
fn numbers_that_follow_each_other_are_counted() {
    let three = Limit::SequentialNumbers(rate(3, 600, 3));
    let mut engine = engine(vec![calls(vec![count(rule("dialler", reject(403)), Per::User, &[three])])]);
    let start = Instant::now();
    let called = ["+37255500", "+37255500", "+4930123", "+37255501", "+37255503", "+37255502", "+37255504"];
    for number in called {
        assert_eq!(decided(&mut engine, &call("201", number), at(start, 0)), "default", "{number}");
    }
    assert_eq!(decided(&mut engine, &call("201", "+37255505"), at(start, 1)), "!p / dialler");
    assert_eq!(decided(&mut engine, &call("202", "+37255505"), at(start, 1)), "default");
}

#[test]
fn countries_are_counted_apart_and_extensions_not_at_all() {
    let one = Limit::NewCalls(rate(1, 3_600, 1));
    let mut engine = engine(vec![calls(vec![count(rule("country", reject(403)), Per::Country, &[one])])]);
    let start = Instant::now();
    for (number, outcome) in
        [("+37255500", "default"), ("+3726", "!p / country"), ("+442", "default"), ("20", "default")]
    {
        assert_eq!(decided(&mut engine, &call("201", number), at(start, 0)), outcome, "{number}");
    }
    assert_eq!(decided(&mut engine, &call("201", "20"), at(start, 0)), "default");
}

#[test]
fn in_a_call_policies_are_asked_every_minute() {
    let mut long = to(rule("too long", hanging_up(reject(403))), &["+44"]);
    let matcher = Matcher::LongerThan(Duration::from_secs(600));
    long.when.push(Condition { negated: false, matcher });
    let closed = Policy { default: reject(403), ..policy(&[Stage::InCall], vec![long]) };
    let mut engine = engine(vec![closed]);
    let start = Instant::now();
    let mut permit = engine.decide(&call("201", "+441"), at(start, 0)).unwrap();
    let (talked, end) = talk(&mut engine, &mut permit.gauges, start);
    assert_eq!((talked, &*end.unwrap_err().rule), (660.0, "p / too long"));
    let mut other = engine.decide(&call("201", "+33"), at(start, 0)).unwrap();
    assert_eq!(talk(&mut engine, &mut other.gauges, start).0, f64::INFINITY, "`default` ends no call");
    engine.release(permit.gauges, Duration::from_secs(660), at(start, 660));
    engine.release(other.gauges, DAY, at(start, 660));
}

#[test]
fn what_a_user_has_not_had_for_a_month_is_new() {
    let one = Limit::New(New::Country, rate(1, 86_400, 1));
    let mut engine = engine(vec![calls(vec![count(rule("new country", reject(403)), Per::User, &[one])])]);
    let start = Instant::now();
    let month = 30 * 86_400;
    for (second, number, outcome) in [
        (0, "+442071", "default"),
        (1, "+37255500", "!p / new country"),
        (2, "+441534", "!p / new country"),
        (3, "+442072", "default"),
        (4, "203", "default"),
        (95_000, "+37255500", "default"),
        (95_001, "+442073", "default"),
        (95_002 + month, "+442074", "default"),
        (95_003 + month, "+37255500", "!p / new country"),
    ] {
        assert_eq!(
            decided(&mut engine, &call("201", number), at(start, second)),
            outcome,
            "{second}: {number}"
        );
    }
    assert_eq!(decided(&mut engine, &call("202", "+37255500"), at(start, 1)), "default");
}

#[test]
fn sources_are_new_by_their_network_and_registrations_count_too() {
    let two = Limit::New(New::Source, rate(2, 3_600, 2));
    let stages = [Stage::Registrations, Stage::Calls];
    let mut engine =
        engine(vec![policy(&stages, vec![count(rule("sources", reject(403)), Per::User, &[two])])]);
    let start = Instant::now();
    let from = |source: [u8; 4], stage| Facts { stage, source: source.into(), ..call("201", "+44") };
    for (source, stage, outcome) in [
        ([192, 0, 2, 1], Stage::Registrations, "default"),
        ([192, 0, 2, 9], Stage::Calls, "default"),
        ([198, 51, 100, 1], Stage::Calls, "default"),
        ([203, 0, 113, 1], Stage::Calls, "!p / sources"),
        ([192, 0, 2, 1], Stage::Calls, "default"),
    ] {
        assert_eq!(decided(&mut engine, &from(source, stage), at(start, 0)), outcome, "{source:?}");
    }
}

#[test]
fn a_caller_is_counted_by_what_its_carrier_says_of_it() {
    let two = Limit::NewCalls(rate(2, 60, 2));
    let mut engine = engine(vec![calls(vec![count(rule("wangiri", reject(486)), Per::From, &[two])])]);
    let start = Instant::now();
    let from = |number| Facts { from: Some(number), ..call("x", "100") };
    for (caller, outcome) in
        [("+2391", "default"), ("+2391", "default"), ("+2391", "!p / wangiri"), ("+2392", "default")]
    {
        assert_eq!(decided(&mut engine, &from(caller), at(start, 0)), outcome);
    }
    assert_eq!(
        decided(&mut engine, &call("x", "100"), at(start, 0)),
        "default",
        "nobody is nobody in particular"
    );
}

#[test]
fn what_a_call_takes_for_a_trunk_is_given_back_when_it_goes_to_another() {
    let one_each = |name, limit| count(rule(name, reject(486)), Per::Trunk, &[limit]);
    let minute = Limit::Minutes(Budget { talk: Duration::from_secs(60), per: DAY });
    let mut prices = Deck::default();
    prices.insert("44", Tariff { per_minute: Money(600_000), connect: Money(0), first: 1, next: 1 });
    let rules = vec![one_each("one", Limit::CallsAtOnce(1)), one_each("minute", minute)];
    let routes = Policy { deck: Some(Arc::new(prices)), ..policy(&[Stage::Routes], rules) };
    let audited = policy(&[Stage::Routes], vec![one_each("audited", Limit::CallsAtOnce(1))]);
    let at_once = count(rule("two", reject(486)), Per::User, &[Limit::CallsAtOnce(2)]);
    let mut engine = engine(vec![routes, Policy { mode: Mode::Audit, ..audited }, calls(vec![at_once])]);
    let start = Instant::now();
    let to = |trunk| Facts { stage: Stage::Routes, trunk_out: Some(TrunkId(trunk)), ..call("201", "+441") };
    let mut begin = || engine.decide(&call("201", "+441"), at(start, 0)).unwrap().gauges;
    let (mut one, mut other) = (begin(), begin());
    assert_eq!(one.cost(DAY), None, "nobody at `calls` has a price");
    engine.go_to_trunk(&mut one, &to(0), at(start, 0)).unwrap();
    assert_eq!(one.cost(Duration::from_secs(60)), Some(Money(600_000)));
    assert_eq!(&*engine.go_to_trunk(&mut other, &to(0), at(start, 0)).unwrap_err().rule, "p / one");
    engine.go_to_trunk(&mut other, &to(1), at(start, 0)).unwrap();
    engine.leave_trunk(&mut one, at(start, 1));
    assert_eq!(one.cost(DAY), None);
    // Nobody has talked: the other trunk's minute is whole, and so is this one's.
    engine.go_to_trunk(&mut other, &to(0), at(start, 1)).unwrap();
    engine.go_to_trunk(&mut one, &to(1), at(start, 1)).unwrap();
    assert!(decided(&mut engine, &call("201", "+441"), at(start, 1)).starts_with('!'), "both are live");
    engine.release(one, Duration::from_secs(58), at(start, 60));
    engine.release(other, Duration::ZERO, at(start, 60));
    assert!(engine.holds_nothing());
    let mut late = GaugeHold::default();
    assert_eq!(&*engine.go_to_trunk(&mut late, &to(1), at(start, 60)).unwrap_err().rule, "p / minute");
    engine.go_to_trunk(&mut late, &to(0), at(start, 60)).unwrap();
    engine.release(late, Duration::ZERO, at(start, 61));
    assert!(engine.holds_nothing());
}
