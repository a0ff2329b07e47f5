//! Budgets in the middle of a call: who has spent what there is, is hung up on both legs, and the bill stays under it.

use std::sync::Arc;
use std::time::Duration;

use turnpike::policy::deck::{Deck, Money, Tariff};
use turnpike::policy::settings::{
    Allowance, Answer, Budget, Count, Limit, Mode, Per, Policy, Rule, Verdict, Volume,
};
use turnpike::policy::{Action, Stage};

use super::calls::{establish, hang_up};
use super::ua::{Leg, answer, request, response, sdp};
use super::world::{Actor, World, settings};

const DAY: Duration = Duration::from_secs(86_400);

/// 0.60 a minute, by the second, to wherever it goes.
pub fn deck() -> Arc<Deck> {
    let mut deck = Deck::default();
    deck.insert("49", Tariff { per_minute: Money(600_000), connect: Money(0), first: 1, next: 1 });
    Arc::new(deck)
}

fn world_with(limit: Limit, per: Per) -> World {
    world_at(Stage::Calls, limit, per)
}

fn world_at(stage: Stage, limit: Limit, per: Per) -> World {
    let action = Action::Reject { status: 403, reason: "Forbidden".into() };
    let answer =
        Answer { verdict: Some(Verdict::Refuse(action)), hang_up: true, alert: true, ..Answer::default() };
    let count = Some(Count { per, limits: vec![limit], deck: Some(deck()) });
    let rule =
        Rule { name: "toll / budget".into(), when: Vec::new(), count, answer, written: Default::default() };
    let policy = Policy {
        name: "toll".into(),
        mode: Mode::Enforce,
        stages: vec![stage],
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: Some(deck()),
        place: Default::default(),
    };
    World::under(policy, settings())
}

pub fn spend(millionths: u64) -> Limit {
    Limit::Spend(Allowance { money: Money(millionths), per: DAY })
}

/// The PBX calls out through the first carrier; both legs.
fn call_out(world: &mut World, tag: &str) -> Leg {
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let invite = request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", tag, "", &sdp("10.20.0.20", 7_000));
    establish(world, &pbx, &acme, &invite).0
}

/// Answers the BYEs that the edge sends to both sides.
fn expect_hung_up(world: &mut World) {
    for actor in [Actor::pbx(), Actor::carrier()] {
        let bye = world.expect(&actor, "BYE");
        assert!(bye.contains("Reason: SIP;cause=403;text=\"Limit reached\""), "{bye}");
        assert!(!bye.contains("toll"), "whose limit it was is nobody's business: {bye}");
        world.send(&actor, response(&bye, "200 OK", "", "", ""));
    }
}

#[test]
fn a_call_that_has_spent_its_budget_is_hung_up_on_both_legs() {
    let mut world = world_with(spend(1_000_000), Per::All);
    call_out(&mut world, "100");
    world.pass(Duration::from_millis(97_900));
    world.expect_nothing(&Actor::pbx());
    world.pass(Duration::from_millis(100));
    expect_hung_up(&mut world);
    let cdr = world.cdrs()[0].clone();
    assert_eq!((cdr.end, cdr.hung_up_by.as_deref()), ("hung up by policy", Some("toll / budget")));
    assert_eq!((cdr.spend, cdr.country.map(|c| c.to_string())), (Some(Money(980_000)), Some("DE".into())));
    let told: Vec<_> = world.why(&cdr.call_id).into_iter().map(|told| (told.decision, told.rule)).collect();
    assert_eq!(told, [("permitted".into(), String::new()), ("hung up".into(), "toll / budget".to_owned())]);
    // The budget is spent: the next one does not begin.
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "101", "", ""));
    world.expect(&pbx, "SIP/2.0 403");
    assert_eq!(&*world.refused()[0].rule, "toll / budget");
    let [record] = world.refused_calls()[..] else { panic!("one call is recorded") };
    assert_eq!(
        (record.refusal.as_deref(), record.status, &*record.from_party),
        (Some("toll / budget"), 403, "pbx")
    );
    assert_eq!((&*record.to, record.country.map(|c| c.to_string())), ("+49301234567", Some("DE".into())));
    let told = world.why(&world.refused()[0].call_id);
    let [only] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((only.decision.as_str(), only.gets.as_str()), ("refused", "403 Forbidden"));
    assert_eq!(only.looked.as_ref().unwrap()[0].why, ["`spend: 1.00/day` is reached: 0.98 spent"]);
    world.assert_clean();
}

#[test]
fn a_call_that_has_relayed_all_the_bytes_of_a_day_is_hung_up_within_a_second() {
    // What both sides say while the world moves on by one timer.
    let said = 2 * 172;
    let mut world = world_with(Limit::Bytes(Volume { bytes: 20 * said, per: DAY }), Per::All);
    call_out(&mut world, "100");
    world.pass(Duration::from_secs(60));
    expect_hung_up(&mut world);
    let cdr = world.cdrs()[0].clone();
    assert_eq!(cdr.hung_up_by.as_deref(), Some("toll / budget"));
    let relayed: u64 = cdr.media.iter().map(|stream| stream.a.bytes + stream.b.bytes).sum();
    assert!((20 * said..24 * said).contains(&relayed), "{relayed}");
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "101", "", ""));
    world.expect(&pbx, "SIP/2.0 403");
    world.assert_clean();
}

/// A call that ends before it is read says at its end what it has relayed.
#[test]
fn short_calls_together_spend_the_bytes_too() {
    let mut world = world_with(Limit::Bytes(Volume { bytes: 1_000, per: DAY }), Per::All);
    for tag in ["100", "101", "102"] {
        let mut leg = call_out(&mut world, tag);
        world.speak();
        hang_up(&mut world, &mut leg, &Actor::carrier());
    }
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "103", "", ""));
    world.expect(&pbx, "SIP/2.0 403");
    world.assert_clean();
}

#[test]
fn ten_calls_at_once_together_stay_under_the_budget() {
    let mut world = world_with(spend(4_000_000), Per::All);
    for caller in 0..10 {
        call_out(&mut world, &format!("1{caller:02}"));
        world.pass(Duration::from_secs(1));
    }
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
        for actor in [Actor::pbx(), Actor::carrier()] {
            for bye in world.take(&actor).into_iter().filter(|message| message.starts_with("BYE")) {
                world.send(&actor, response(&bye, "200 OK", "", "", ""));
            }
        }
    }
    assert_eq!(world.cdrs().len(), 10);
    let bill: Money = world.cdrs().iter().filter_map(|cdr| cdr.spend).sum();
    assert!(bill <= Money(4_000_000), "{bill}");
    assert!(bill >= Money(3_700_000), "hardly anything is lost to paying ahead: {bill}");
    world.assert_clean();
}

#[test]
fn a_call_that_ends_in_time_pays_what_it_took_and_no_timer_is_left() {
    let minutes = Limit::Minutes(Budget { talk: Duration::from_secs(120), per: DAY });
    let mut world = world_with(minutes, Per::All);
    for tag in ["100", "101"] {
        let mut leg = call_out(&mut world, tag);
        world.pass(Duration::from_secs(57));
        hang_up(&mut world, &mut leg, &Actor::carrier());
    }
    assert!(world.cdrs().iter().all(|cdr| cdr.end == "bye from caller"));
    call_out(&mut world, "102");
    world.pass(Duration::from_secs(4));
    expect_hung_up(&mut world);
    world.assert_clean();
}

#[test]
fn a_call_that_nobody_answers_costs_nothing() {
    let mut world = world_with(spend(60_000), Per::All);
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    for tag in ["100", "101", "102"] {
        let invite = request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", tag, "", "");
        world.send(&pbx, &invite);
        let seen = world.expect(&acme, "INVITE");
        world.send(&acme, response(&seen, "486 Busy Here", "x", "", ""));
        world.take(&acme);
        world.expect(&pbx, "SIP/2.0 486");
    }
    assert!(world.take(&bravo).is_empty());
    assert!(world.cdrs().iter().all(|cdr| cdr.spend.is_none()));
    let invite = request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "103", "", "");
    world.send(&pbx, &invite);
    let seen = world.expect(&acme, "INVITE");
    world.send(&acme, answer(&acme, &seen, "200 OK", "b", &sdp("198.51.100.1", 4_000)));
    world.expect(&pbx, "SIP/2.0 200");
}

#[test]
fn what_routes_count_is_held_for_the_trunk_that_takes_the_call() {
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    let mut world = world_at(Stage::Routes, Limit::CallsAtOnce(1), Per::Trunk);
    let dial = |world: &mut World, caller: &str| {
        world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", caller, "", ""));
    };
    let mut first = call_out(&mut world, "100");
    // Its trunk has one: the next call goes to the other, and the third to none.
    dial(&mut world, "101");
    world.expect_nothing(&acme);
    let second = world.expect(&bravo, "INVITE");
    dial(&mut world, "102");
    world.expect(&pbx, "SIP/2.0 403");
    hang_up(&mut world, &mut first, &acme);
    // The trunk is free again. Its call fails over to nobody, as the other one is taken, and gives it back.
    for caller in ["103", "104"] {
        dial(&mut world, caller);
        let tried = world.expect(&acme, "INVITE");
        world.send(&acme, response(&tried, "500 Server Internal Error", "x", "", ""));
        world.expect(&pbx, "SIP/2.0");
    }
    world.send(&bravo, response(&second, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    // A call that has gone on to the other holds nothing at the first.
    dial(&mut world, "105");
    let tried = world.expect(&acme, "INVITE");
    world.send(&acme, response(&tried, "500 Server Internal Error", "x", "", ""));
    let ringing = world.expect(&bravo, "INVITE");
    let mut last = call_out(&mut world, "106");
    world.send(&bravo, response(&ringing, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    hang_up(&mut world, &mut last, &acme);
    world.assert_clean();
}

#[test]
fn a_budget_of_a_trunk_ends_its_calls() {
    let mut world = world_at(Stage::Routes, spend(1_000_000), Per::Trunk);
    call_out(&mut world, "100");
    world.pass(Duration::from_secs(98));
    expect_hung_up(&mut world);
    let cdr = world.cdrs()[0].clone();
    assert_eq!((cdr.hung_up_by.as_deref(), cdr.spend), (Some("toll / budget"), Some(Money(980_000))));
    let (pbx, bravo) = (Actor::pbx(), Actor::second_carrier());
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "101", "", ""));
    let seen = world.expect(&bravo, "INVITE");
    world.send(&bravo, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    world.assert_clean();
}
