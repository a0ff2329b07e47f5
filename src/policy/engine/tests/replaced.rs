//! Other policies come into force while calls are up and something has been counted.

use super::*;
use crate::base::ban::Banned;

fn settings(policies: Vec<Policy>, keys: usize) -> Settings {
    let capacity =
        Capacity { keys, windows: keys, budgets: 64, last_called: 64, gauges: 8, bans: 8, notes: 4 };
    Settings { policies, never_ban: Vec::new(), geo: None, feeds: Vec::new(), capacity }
}

fn key() -> NodeKey {
    NodeKey::new([1; 16])
}

#[test]
fn what_was_counted_and_is_held_goes_on_under_rules_of_the_same_name() {
    let start = Instant::now();
    let now = at(start, 0);
    let two = |most| count(rule("at once", reject(486)), Per::User, &[Limit::CallsAtOnce(most)]);
    let hourly = || count(rule("an hour", reject(429)), Per::User, &[Limit::NewCalls(rate(2, 3_600, 2))]);
    let day = |minutes: u64| {
        let budget = Budget { talk: Duration::from_secs(60 * minutes), per: Duration::from_secs(86_400) };
        count(rule("a day", reject(403)), Per::User, &[Limit::Minutes(budget)])
    };
    let mut engine = Engine::new(settings(vec![calls(vec![two(2), hourly(), day(2)])], 64), &key());
    let ask = |engine: &mut Engine, user| match engine.decide(&call(user, "+4930"), now) {
        Ok(permit) => Ok(permit.gauges),
        Err(refusal) => Err(refusal.rule.to_string()),
    };
    let first = ask(&mut engine, "201").unwrap();
    // Another order, a rule more, another limit, a larger table.
    let also = to(rule("not there", reject(404)), &["+1"]);
    engine.replace(settings(vec![calls(vec![also, day(2), two(1), hourly()])], 4_096), &key());
    assert_eq!(ask(&mut engine, "201").unwrap_err(), "p / at once", "the first call is still up");
    let mut others = ask(&mut engine, "202").unwrap();
    engine.release(first, Duration::from_secs(110), now);
    let second = ask(&mut engine, "201").unwrap();
    engine.release(second, Duration::ZERO, now);
    assert_eq!(ask(&mut engine, "201").unwrap_err(), "p / an hour", "both calls of this hour have been made");
    assert!(engine.go_on(&mut others, Duration::from_secs(1), now).unwrap().is_some());
    engine.release(others, Duration::from_secs(120), now);
    assert_eq!(ask(&mut engine, "202").unwrap_err(), "p / a day");
    assert!(engine.holds_nothing());
    // A rule that is gone counts nothing, and one of another name begins anew.
    engine.replace(settings(vec![calls(vec![])], 64), &key());
    assert!(ask(&mut engine, "202").is_ok());
}

#[test]
fn bans_last_hits_are_still_counted_and_the_past_is_explained_by_the_rules_of_then() {
    let start = Instant::now();
    let now = at(start, 0);
    let bad = |status| to(rule("bad", reject(status)), &["+882"]);
    let mut engine = Engine::new(settings(vec![calls(vec![bad(403)])], 64), &key());
    let banned: Banned = "192.0.2.1".parse().unwrap();
    engine.bans().ban(banned.clone(), None, "mine", now).unwrap();
    let facts = call("201", "+88210");
    assert!(engine.decide(&facts, now).is_err());
    engine.keep("a call", Some(&facts), true, now);

    let first = to(rule("another", reject(404)), &["+1"]);
    engine.replace(settings(vec![calls(vec![first, bad(603)])], 64), &key());
    assert_eq!(engine.bans().list(now).len(), 1);
    assert_eq!(decided(&mut engine, &facts, now), "!p / bad");
    let hits: Vec<(String, u64)> =
        engine.hits()[0].rules.iter().map(|rule| (rule.name.to_string(), rule.hits)).collect();
    assert_eq!(hits[..2], [("p / another".to_owned(), 0), ("p / bad".to_owned(), 2)]);
    let why = engine.why("a call", &Names::default());
    assert_eq!((why[0].rule.as_str(), why[0].gets.as_str()), ("p / bad", "403 no"));
    assert_eq!(why[0].looked.as_ref().unwrap().len(), 1);
}
