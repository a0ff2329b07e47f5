use proptest::prelude::*;

use super::*;
use crate::policy::deck::Money;

fn at(seconds: u64) -> UnixTime {
    UnixTime(Duration::from_secs(1_800_000_000 + seconds))
}

const DAY: u64 = 86_400;

fn an_hour_a_day() -> Terms {
    Terms { limit: 3_600_000, per: Duration::from_secs(DAY) }
}

#[test]
fn what_was_spent_counts_for_the_whole_window_and_hardly_longer() {
    let terms = an_hour_a_day();
    let mut budgets = Budgets::new(8);
    let paid = budgets.pay(1, 7, terms, Meter::Talk, at(0));
    budgets.settle(&paid, Duration::from_secs(600), at(600));
    assert_eq!(budgets.used(7, terms, at(DAY - 1)), 600_000);
    assert_eq!(budgets.used(7, terms, at(DAY + DAY / 23 + 1)), 0);
    assert_eq!(budgets.used(8, terms, at(600)), 0, "another key has its own");
}

#[test]
fn a_call_that_nobody_answered_costs_nothing() {
    let terms = an_hour_a_day();
    let mut budgets = Budgets::new(8);
    let paid = budgets.pay(1, 7, terms, Meter::Talk, at(0));
    assert_eq!(budgets.used(7, terms, at(0)), 5_000, "a short call is paid at once");
    budgets.settle(&paid, Duration::ZERO, at(40));
    assert_eq!(budgets.used(7, terms, at(40)), 0);
}

#[test]
fn a_call_is_ended_before_its_budget_is_exceeded() {
    let terms = Terms { limit: 100_000, ..an_hour_a_day() };
    let mut budgets = Budgets::new(8);
    let mut paid = budgets.pay(1, 7, terms, Meter::Talk, at(0));
    let mut talked = Duration::ZERO;
    while let Some(again) = budgets.pay_on(&mut paid, talked, true, at(talked.as_secs())) {
        assert!(again > talked, "no busy loop");
        talked = again;
    }
    assert_eq!(talked, Duration::from_secs(98));
    assert_eq!(budgets.used(7, terms, at(98)), 100_000);
    budgets.settle(&paid, talked, at(98));
    assert_eq!(budgets.used(7, terms, at(100)), 98_000);
    assert!(budgets.stand(7, terms, &Meter::Talk, at(100)).1);
}

#[test]
fn a_rule_that_does_not_hang_up_books_what_the_call_takes_all_the_same() {
    let terms = Terms { limit: 10_000, ..an_hour_a_day() };
    let mut budgets = Budgets::new(8);
    let mut paid = budgets.pay(1, 7, terms, Meter::Talk, at(0));
    assert!(budgets.pay_on(&mut paid, Duration::from_secs(60), false, at(60)).is_some());
    assert!(budgets.stand(7, terms, &Meter::Talk, at(60)).1, "others are refused meanwhile");
    budgets.settle(&paid, Duration::from_secs(70), at(70));
    assert_eq!(budgets.used(7, terms, at(70)), 70_000);
}

#[test]
fn budgets_go_on_after_a_restart() {
    let terms = an_hour_a_day();
    let mut before = Budgets::new(8);
    before.preset(7, terms, 1_234, at(0));
    before.preset(8, terms, 5, at(0));
    let saved = serde_json::to_string(&before.save(at(10))).unwrap();
    let mut after = Budgets::new(8);
    after.restore(serde_json::from_str(&saved).unwrap());
    assert_eq!((after.used(7, terms, at(20)), after.used(8, terms, at(20))), (1_234, 5));
    assert!(before.save(at(2 * DAY)).is_empty(), "what has left the window is not kept");
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing_and_forgives_nothing() {
    let terms = an_hour_a_day();
    let mut budgets = Budgets::new(8);
    budgets.preset(7, terms, 1_000, at(DAY));
    assert_eq!(budgets.used(7, terms, at(0)), 1_000);
    budgets.preset(7, terms, 500, at(0));
    assert_eq!(budgets.used(7, terms, at(DAY)), 1_500);
}

/// What happens to one of ten calls.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    Wait(u64),
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Begin),
        4 => (1..40_000u64).prop_map(Step::Wait),
        2 => (0..10usize).prop_map(Step::End),
    ];
    prop::collection::vec(step, 1..80)
}

/// A live call of the simulation: what it paid, since when, when to come again.
struct Live {
    paid: Paid,
    since: Duration,
    again: Option<Duration>,
}

fn tariff() -> impl Strategy<Value = Meter> {
    let money = (0..3_000_000u64, 0..500_000u64, 1..61u32, 1..61u32);
    prop_oneof![
        Just(Meter::Talk),
        money.prop_map(|(per_minute, connect, first, next)| Meter::Money(Tariff {
            per_minute: Money(per_minute),
            connect: Money(connect),
            first,
            next,
        })),
    ]
}

proptest! {
    /// However calls of one budget overlap, all of them together never take more than there is.
    #[test]
    fn calls_at_the_same_time_never_overspend(meter in tariff(), limit in 1_000..5_000_000u64, steps in steps()) {
        let terms = Terms { limit, per: Duration::from_secs(DAY) };
        let mut budgets = Budgets::new(8);
        let mut live: Vec<Live> = Vec::new();
        let mut now = Duration::ZERO;
        let mut bill = 0;
        let unix = |now: Duration| UnixTime(Duration::from_secs(1_800_000_000) + now);
        for step in steps {
            match step {
                Step::Begin if live.len() < 10 && !budgets.stand(7, terms, &meter, unix(now)).1 => {
                    let mut paid = budgets.pay(1, 7, terms, meter, unix(now));
                    let again = budgets.pay_on(&mut paid, Duration::ZERO, true, unix(now));
                    live.push(Live { paid, since: now, again });
                }
                Step::Begin => {}
                Step::Wait(milliseconds) => now = wait(&mut budgets, &mut live, &mut bill, now, milliseconds),
                Step::End(index) if index < live.len() => {
                    let call = live.swap_remove(index);
                    bill += if now == call.since { 0 } else { meter.cost(now - call.since) };
                    budgets.settle(&call.paid, now - call.since, unix(now));
                }
                Step::End(_) => {}
            }
            prop_assert!(bill <= limit, "{bill} of {limit}");
            prop_assert!(budgets.used(7, terms, unix(now)) <= limit);
        }
        for call in live.drain(..) {
            bill += if now == call.since { 0 } else { meter.cost(now - call.since) };
            budgets.settle(&call.paid, now - call.since, unix(now));
        }
        prop_assert!(bill <= limit);
        if now < Duration::from_secs(DAY) {
            prop_assert_eq!(budgets.used(7, terms, unix(now)), bill, "what is booked is what was billed");
        }
    }
}

/// Time passes; calls pay on when they must, and those that cannot end.
fn wait(
    budgets: &mut Budgets,
    live: &mut Vec<Live>,
    bill: &mut u64,
    from: Duration,
    milliseconds: u64,
) -> Duration {
    let until = from + Duration::from_millis(milliseconds);
    let due =
        |call: &Live| call.again.and_then(|again| call.since.checked_add(again)).unwrap_or(Duration::MAX);
    loop {
        live.sort_by_key(|call| std::cmp::Reverse(due(call)));
        let Some(next) = live.last().map(due).filter(|next| *next <= until) else { return until };
        let Some(mut call) = live.pop() else { return until };
        let (talked, unix) = (next - call.since, UnixTime(Duration::from_secs(1_800_000_000) + next));
        call.again = budgets.pay_on(&mut call.paid, talked, true, unix);
        match call.again {
            Some(_) => live.push(call),
            None => {
                *bill += call.paid.meter.cost(talked);
                budgets.settle(&call.paid, talked, unix);
            }
        }
    }
}
