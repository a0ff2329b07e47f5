use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::policy::trial::Given;

fn alerts(numbers: Numbers) -> (Alerts, Receiver<Alert>, Metrics) {
    let (queue, told) = channel(4);
    (Alerts::new(numbers, queue), told, Metrics::new("edge-1"))
}

fn at() -> UnixTime {
    UnixTime(Duration::from_secs(1_790_000_000))
}

fn spoken(what: Spoken) -> Event {
    let mut known = Given::new(Stage::Calls, at()).known;
    (known.user, known.to) = (Some("alice".into()), Some("+8821234567".into()));
    let known = Some(Box::new(known));
    let alert = policy::Alert { rule: "toll / far".into(), what, at: at(), known, count: 3 };
    Event::Alert { alert: Box::new(alert), call_id: "a\"b\u{1b}".into() }
}

#[test]
fn a_rule_is_told_with_what_it_did_and_of_whom() {
    let (mut alerts, mut told, metrics) = alerts(Numbers::Last4Digits);
    let reject = Action::Reject { status: 403, reason: "No".into() };
    for what in [Spoken::Refused(reject.clone()), Spoken::WouldHave(reject), Spoken::HungUp, Spoken::Alone] {
        alerts.observe(&spoken(what), at(), &metrics);
    }
    let mut text = String::new();
    while let Ok(alert) = told.try_recv() {
        text.push_str(&serde_json::to_string_pretty(&alert).unwrap());
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn that_something_is_up_again_is_told_of_what_was_down() {
    let (mut alerts, mut told, metrics) = alerts(Numbers::Full);
    let mut what = |event: Event| {
        alerts.observe(&event, at(), &metrics);
        told.try_recv().map(|alert| (alert.what, alert.text)).ok()
    };
    let health = |up| Event::TargetHealth { target: "sip:10.0.0.1".into(), up };
    let registered = |registered| Event::TrunkRegistered { trunk: "acme".into(), registered };
    assert_eq!(what(health(true)), None, "at the start");
    assert_eq!(what(health(false)), Some(("target_down", "sip:10.0.0.1: is down".into())));
    assert_eq!(what(health(false)), None);
    assert_eq!(what(health(true)).unwrap().0, "target_up");
    assert_eq!(what(registered(true)), None);
    assert_eq!(what(registered(false)).unwrap().0, "trunk_down");
    assert_eq!(what(registered(true)).unwrap().0, "trunk_up");
    assert_eq!(what(Event::LoginRefused { trunk: "acme".into() }).unwrap().0, "login_refused");
}

#[test]
fn a_ban_is_told_with_whom_it_hits_why_and_how_long() {
    let (mut alerts, mut told, metrics) = alerts(Numbers::Last4Digits);
    let bans = [
        ("203.0.113.7", "scanners / known names", Some(1_790_003_600)),
        ("198.51.100.0/24", "noise", None),
        ("user:4930123456", "by hand", None),
    ];
    let mut text = String::new();
    for (banned, reason, until) in bans {
        let ban = Ban { banned: banned.parse().unwrap(), reason: reason.into(), since: 1_790_000_000, until };
        alerts.observe(&Event::Banned(ban), at(), &metrics);
        let Alert { what, name, text: says, source, user, .. } = told.try_recv().unwrap();
        text.push_str(&format!("{what} | {name} | {says} | {source:?} | {user:?}\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn when_nobody_takes_them_alerts_are_counted_lost() {
    let (mut alerts, _told, metrics) = alerts(Numbers::Full);
    for _ in 0..6 {
        alerts.observe(&spoken(Spoken::Alone), at(), &metrics);
    }
    assert_eq!(metrics.alerts.dropped.get(), 6, "two, of three each");
}
