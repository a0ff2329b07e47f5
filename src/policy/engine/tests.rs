mod live;
mod properties;
mod relay;
mod replaced;

use std::time::Instant;

use super::*;
use crate::base::{TrunkId, UnixTime};
use crate::policy::ban::BanChange;
use crate::policy::explain::Names;
use crate::policy::feed::{Kind, Subject};
use crate::policy::matcher::{Condition, Glob, Matcher};
use crate::policy::settings::{Budget, Count, Limit, Per, Rate};

fn at(start: Instant, seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now { instant: start + elapsed, unix: UnixTime(Duration::from_secs(1_800_000_000) + elapsed) }
}

fn call<'f>(user: &'f str, to: &'f str) -> Facts<'f> {
    Facts {
        source_proven: true,
        method: "INVITE",
        user: Some(user),
        to: Some(to),
        ..Facts::of_source(Stage::Calls, IpAddr::from([203, 0, 113, 7]))
    }
}

fn reject(status: u16) -> Answer {
    let action = Action::Reject { status, reason: "no".into() };
    Answer { verdict: Some(Verdict::Refuse(action)), ..Answer::default() }
}

fn drop_and_ban(seconds: u64) -> Answer {
    let verdict = Some(Verdict::Refuse(Action::Drop));
    Answer { verdict, ban: Some(Duration::from_secs(seconds)), ..Answer::default() }
}

fn rule(name: &str, answer: Answer) -> Rule {
    Rule {
        name: format!("p / {name}").into(),
        when: Vec::new(),
        count: None,
        answer,
        written: Default::default(),
    }
}

fn to(mut rule: Rule, numbers: &[&str]) -> Rule {
    let numbers = Arc::new(numbers.iter().copied().collect());
    rule.when.push(Condition { negated: false, matcher: Matcher::To(numbers) });
    rule
}

fn count(mut rule: Rule, per: Per, limits: &[Limit]) -> Rule {
    rule.count = Some(Count { per, limits: limits.to_vec(), deck: None });
    rule
}

fn policy(stages: &[Stage], rules: Vec<Rule>) -> Policy {
    Policy {
        name: "p".into(),
        mode: Mode::Enforce,
        stages: stages.to_vec(),
        rules,
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    }
}

fn calls(rules: Vec<Rule>) -> Policy {
    policy(&[Stage::Calls], rules)
}

fn engine(policies: Vec<Policy>) -> Engine {
    let capacity =
        Capacity { keys: 1024, windows: 1024, budgets: 64, last_called: 64, gauges: 8, bans: 8, notes: 4 };
    Engine::new(
        Settings { policies, never_ban: Vec::new(), geo: None, feeds: Vec::new(), capacity },
        &NodeKey::new([1; 16]),
    )
}

fn rate(events: u32, seconds: u64, burst: u32) -> Rate {
    Rate { events, per: Duration::from_secs(seconds), burst }
}

/// The name of the rule that decided, with `!` before it if it refused.
fn decided(engine: &mut Engine, facts: &Facts<'_>, now: Now) -> String {
    match engine.decide(facts, now) {
        Ok(permit) => {
            let name = permit.rule.to_string();
            engine.release(permit.gauges, Duration::ZERO, now);
            name
        }
        Err(refusal) => format!("!{}", refusal.rule),
    }
}

#[test]
fn nothing_configured_permits_by_default() {
    let now = at(Instant::now(), 0);
    assert_eq!(decided(&mut Engine::allow_all(), &call("201", "110"), now), "default");
}

#[test]
fn allow_ends_a_policy_and_allow_everywhere_ends_them_all() {
    let everywhere = Answer { verdict: Some(Verdict::AllowEverywhere), ..Answer::default() };
    let first = calls(vec![
        to(rule("emergency", everywhere), &["112"]),
        to(rule("home", Answer::ALLOW), &["+49"]),
        rule("nobody else", reject(403)),
    ]);
    let second = calls(vec![rule("closed", reject(480))]);
    let mut engine = engine(vec![first, second]);
    let now = at(Instant::now(), 0);
    assert_eq!(decided(&mut engine, &call("201", "112"), now), "p / emergency");
    assert_eq!(decided(&mut engine, &call("201", "+49 30"), now), "!p / closed");
    assert_eq!(decided(&mut engine, &call("201", "+1"), now), "!p / nobody else");
}

#[test]
fn a_gauge_counts_live_calls_and_a_refused_call_holds_none() {
    let two = count(rule("two", reject(486)), Per::User, &[Limit::CallsAtOnce(2)]);
    let never = to(rule("never", reject(403)), &["+882"]);
    let mut engine = engine(vec![calls(vec![two, never])]);
    let now = at(Instant::now(), 0);
    for _ in 0..10 {
        assert_eq!(decided(&mut engine, &call("201", "+882"), now), "!p / never");
    }
    let first = engine.decide(&call("201", "+49"), now).unwrap();
    let second = engine.decide(&call("201", "+49"), now).unwrap();
    assert_eq!(decided(&mut engine, &call("201", "+49"), now), "!p / two");
    assert_eq!(decided(&mut engine, &call("202", "+49"), now), "default", "others are not concerned");
    engine.release(first.gauges, Duration::ZERO, now);
    assert_eq!(decided(&mut engine, &call("201", "+49"), now), "default");
    engine.release(second.gauges, Duration::ZERO, now);
    assert!(engine.holds_nothing());
}

#[test]
fn a_full_table_of_gauges_refuses_rather_than_forgets() {
    let mut engine =
        engine(vec![calls(vec![count(rule("two", reject(486)), Per::User, &[Limit::CallsAtOnce(2)])])]);
    let now = at(Instant::now(), 0);
    let users: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let live: Vec<_> = users[..8].iter().map(|user| engine.decide(&call(user, "1"), now).unwrap()).collect();
    assert_eq!(decided(&mut engine, &call(&users[8], "1"), now), "!p / two");
    for permit in live {
        engine.release(permit.gauges, Duration::ZERO, now);
    }
    assert_eq!(decided(&mut engine, &call(&users[8], "1"), now), "default");
}

#[test]
fn a_rate_lets_its_burst_through_and_then_its_pace() {
    let limit = Limit::NewCalls(rate(10, 60, 4));
    let mut engine = engine(vec![calls(vec![count(rule("fast", reject(486)), Per::User, &[limit])])]);
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 0)), "default");
    }
    for _ in 0..100 {
        assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 5)), "!p / fast");
    }
    // 10 a minute is one in 6 s; who was refused a hundred times has not lost it.
    assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 6)), "default");
    assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 6)), "!p / fast");
}

#[test]
fn other_methods_are_no_new_calls() {
    let limit = Limit::NewCalls(rate(1, 60, 1));
    let mut engine = engine(vec![calls(vec![count(rule("fast", reject(486)), Per::All, &[limit])])]);
    let now = at(Instant::now(), 0);
    for _ in 0..5 {
        assert_eq!(decided(&mut engine, &Facts { method: "OPTIONS", ..call("201", "1") }, now), "default");
    }
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "default");
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "!p / fast");
}

#[test]
fn limits_of_one_rule_do_not_share_a_counter() {
    let limits = [Limit::NewCalls(rate(2, 60, 2)), Limit::Requests(rate(3, 60, 3))];
    let mut engine = engine(vec![calls(vec![count(rule("fast", reject(486)), Per::All, &limits)])]);
    let now = at(Instant::now(), 0);
    let options = Facts { method: "OPTIONS", ..call("201", "1") };
    for expected in ["default", "default", "default", "!p / fast"] {
        assert_eq!(decided(&mut engine, &options, now), expected);
    }
}

#[test]
fn minutes_are_booked_when_the_call_ends_and_forgiven_when_their_window_does() {
    let hour = Limit::Minutes(Budget { talk: Duration::from_secs(3600), per: Duration::from_secs(86_400) });
    let mut engine = engine(vec![calls(vec![count(rule("budget", reject(403)), Per::User, &[hour])])]);
    let start = Instant::now();
    for (talked, next) in [(1800, "default"), (0, "default"), (1800, "!p / budget")] {
        let permit = engine.decide(&call("201", "+44"), at(start, 0)).unwrap();
        engine.release(permit.gauges, Duration::from_secs(talked), at(start, 0));
        assert_eq!(decided(&mut engine, &call("201", "+44"), at(start, 1)), next);
    }
    assert_eq!(decided(&mut engine, &call("202", "+44"), at(start, 1)), "default");
    assert_eq!(decided(&mut engine, &call("201", "+44"), at(start, 86_399)), "!p / budget");
    assert_eq!(decided(&mut engine, &call("201", "+44"), at(start, 86_400 + 86_400 / 23 + 1)), "default");
}

#[test]
fn keys_are_users_sources_networks_trunks_and_destinations() {
    let other_source = IpAddr::from([203, 0, 113, 8]);
    let base = call("201", "+4930123");
    let cases = [
        (
            Per::User,
            Facts { source: other_source, ..base.clone() },
            Facts { user: Some("202"), ..base.clone() },
        ),
        (Per::Source, Facts { user: None, ..base.clone() }, Facts { source: other_source, ..base.clone() }),
        (
            Per::SourceNetwork,
            Facts { source: other_source, ..base.clone() },
            Facts { source: IpAddr::from([203, 0, 114, 7]), ..base.clone() },
        ),
        (
            Per::DestinationPrefix,
            Facts { to: Some("+49301999"), ..base.clone() },
            Facts { to: Some("+4989"), ..base.clone() },
        ),
    ];
    for (per, same, other) in cases {
        let one = [Limit::NewCalls(rate(1, 60, 1))];
        let mut engine = engine(vec![calls(vec![count(rule("one", reject(486)), per, &one)])]);
        let now = at(Instant::now(), 0);
        assert_eq!(decided(&mut engine, &base, now), "default", "{per:?}");
        assert_eq!(decided(&mut engine, &same, now), "!p / one", "{per:?}");
        assert_eq!(decided(&mut engine, &other, now), "default", "{per:?}");
    }
}

#[test]
fn whoever_leaves_the_user_out_is_counted_by_source_and_only_trunks_by_trunk() {
    let one = [Limit::NewCalls(rate(1, 60, 1))];
    let per_user = count(rule("user", reject(486)), Per::User, &one);
    let per_trunk = count(rule("trunk", reject(503)), Per::Trunk, &one);
    let mut engine = engine(vec![calls(vec![per_trunk, per_user])]);
    let now = at(Instant::now(), 0);
    let nobody = Facts { user: None, ..call("", "1") };
    assert_eq!(decided(&mut engine, &nobody, now), "default");
    assert_eq!(decided(&mut engine, &nobody, now), "!p / user");
    let trunk = |id, user| Facts { trunk: Some(TrunkId(id)), ..call(user, "1") };
    assert_eq!(decided(&mut engine, &trunk(0, "a"), now), "default");
    assert_eq!(decided(&mut engine, &trunk(0, "b"), now), "!p / trunk");
    assert_eq!(decided(&mut engine, &trunk(1, "c"), now), "default");
}

#[test]
fn wrong_passwords_close_the_door_for_their_source_only() {
    let limit = Limit::FailedLogins(rate(3, 60, 3));
    let guessing = count(rule("guessing", reject(403)), Per::Source, &[limit]);
    let mut engine = engine(vec![policy(&[Stage::Registrations], vec![guessing])]);
    let start = Instant::now();
    let register = Facts { stage: Stage::Registrations, method: "REGISTER", ..call("201", "") };
    for _ in 0..3 {
        assert_eq!(decided(&mut engine, &register, at(start, 0)), "default", "asking costs nothing");
        engine.login_failed(register.source, Some("201"), at(start, 0));
    }
    for _ in 0..100 {
        engine.login_failed(register.source, Some("201"), at(start, 0));
    }
    assert_eq!(decided(&mut engine, &register, at(start, 0)), "!p / guessing");
    let owner = Facts { source: IpAddr::from([198, 51, 100, 1]), ..register.clone() };
    assert_eq!(decided(&mut engine, &owner, at(start, 0)), "default", "the owner of 201 is not locked out");
    assert_eq!(decided(&mut engine, &register, at(start, 59)), "!p / guessing", "three in every minute");
    assert_eq!(decided(&mut engine, &register, at(start, 64)), "default");
}

fn scanners() -> Policy {
    let mut scanner = rule("scanner", drop_and_ban(60));
    let globs = [Glob::new("friendly-scanner*")].into();
    scanner.when.push(Condition { negated: false, matcher: Matcher::Agent(globs) });
    calls(vec![scanner])
}

#[test]
fn a_ban_drops_everything_until_it_ends() {
    let mut engine = engine(vec![scanners()]);
    let start = Instant::now();
    let scan = Facts { agent: Some("Friendly-Scanner"), ..call("100", "100") };
    let refusal = engine.decide(&scan, at(start, 0)).unwrap_err();
    assert_eq!(refusal.action, Action::Ban(Duration::from_secs(60)));
    let Some(BanChange::Banned(ban, until)) = engine.bans().poll_change() else {
        panic!("others may want to know")
    };
    assert_eq!((ban.banned, until), (Banned::source(scan.source), Some(at(start, 60).instant)));
    assert_eq!(engine.bans().poll_change(), None);
    assert!(engine.refuses_packet(scan.source, ListenerId(0), at(start, 59)));
    assert_eq!(
        decided(&mut engine, &call("201", "1"), at(start, 59)),
        "!banned",
        "on an open connection too"
    );
    assert!(!engine.refuses_packet(scan.source, ListenerId(0), at(start, 60)));
}

/// A feed is swapped under a running engine: rules look in the new one at once, and nobody gets a fresh allowance.
#[test]
fn a_feed_that_is_fetched_again_loses_no_counter() {
    let listed = |matchers| Rule {
        when: vec![Condition { negated: false, matcher: matchers }],
        ..rule("listed", reject(403))
    };
    let own = Matcher::Source(Arc::new(["10.0.0.0/8".parse().unwrap()].into_iter().collect()));
    let rules = vec![
        listed(Matcher::AnyOf(vec![Matcher::Feed(Subject::Source, FeedId(1)), own])),
        Rule { name: "p / number".into(), ..listed(Matcher::Feed(Subject::To, FeedId(0))) },
        count(
            rule("few", reject(486)),
            Per::Source,
            &[Limit::CallsAtOnce(1), Limit::Requests(rate(2, 3600, 2))],
        ),
    ];
    let feeds = vec![Feed::empty(Kind::Numbers), Feed::empty(Kind::Networks)];
    let settings = Settings { policies: vec![calls(rules)], feeds, ..Settings::default() };
    let mut engine = Engine::new(settings, &NodeKey::new([1; 16]));
    let now = at(Instant::now(), 0);
    let call = Facts { source: IpAddr::from([192, 0, 2, 1]), to: Some("+8821"), ..call("201", "+8821") };
    let inside = Facts { source: IpAddr::from([10, 0, 0, 1]), ..call.clone() };
    let by = |engine: &mut Engine, facts: &Facts<'_>| {
        engine.decide(facts, now).map(|p| p.gauges).map_err(|r| r.rule.to_string())
    };
    let live = by(&mut engine, &call).unwrap();
    assert_eq!(
        by(&mut engine, &inside).unwrap_err(),
        "p / listed",
        "its own networks are in it, fetched or not"
    );
    let read = |kind, text| Feed::read(kind, text).unwrap().feed;
    engine.refresh(FeedId(1), read(Kind::Networks, "192.0.2.0/24"));
    assert_eq!(by(&mut engine, &call).unwrap_err(), "p / listed");
    engine.refresh(FeedId(1), read(Kind::Networks, "198.51.100.0/24"));
    engine.refresh(FeedId(0), read(Kind::Numbers, "+882"));
    assert_eq!(by(&mut engine, &call).unwrap_err(), "p / number");
    engine.refresh(FeedId(0), read(Kind::Numbers, "+883"));
    assert_eq!(
        by(&mut engine, &call).unwrap_err(),
        "p / few",
        "one call is live, and was before the lists changed"
    );
    engine.release(live, Duration::ZERO, now);
    let second = by(&mut engine, &call).unwrap();
    engine.release(second, Duration::ZERO, now);
    assert_eq!(by(&mut engine, &call).unwrap_err(), "p / few", "two requests were counted");
    assert!(engine.holds_nothing());
}

#[test]
fn a_banned_user_may_dial_emergencies_and_nobody_else_is_hit() {
    let mut engine = engine(vec![]);
    let now = at(Instant::now(), 0);
    engine.bans().ban("user:201".parse().unwrap(), None, "stolen", now).unwrap();
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "!banned user");
    let register = Facts { stage: Stage::Registrations, method: "REGISTER", ..call("201", "201") };
    assert_eq!(decided(&mut engine, &register, now), "!banned user");
    for free in [
        call("202", "201"),
        Facts { emergency: true, ..call("201", "112") },
        Facts { trunk: Some(TrunkId(0)), ..call("201", "1") },
        Facts { from_pbx: true, ..call("201", "1") },
        Facts { user: None, ..call("201", "1") },
    ] {
        assert!(!decided(&mut engine, &free, now).starts_with('!'), "{free:?}");
    }
    assert!(
        !engine.refuses_packet(call("201", "1").source, ListenerId(0), now),
        "others may share the address"
    );
    engine.bans().lift(&"user:201".parse().unwrap(), now).unwrap();
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "default");
}

#[test]
fn a_ban_is_no_weapon() {
    let scan = Facts { agent: Some("friendly-scanner"), ..call("100", "100") };
    let start = Instant::now();
    for safe in [
        Facts { source_proven: false, ..scan.clone() },
        Facts { trunk: Some(TrunkId(0)), ..scan.clone() },
        Facts { from_pbx: true, ..scan.clone() },
        Facts { source: IpAddr::from([10, 20, 0, 1]), ..scan.clone() },
    ] {
        let never_ban = vec!["10.20.0.0/16".parse().unwrap()];
        let settings = Settings {
            policies: vec![scanners()],
            never_ban,
            geo: None,
            feeds: Vec::new(),
            capacity: Capacity::default(),
        };
        let mut engine = Engine::new(settings, &NodeKey::new([1; 16]));
        assert_eq!(engine.decide(&safe, at(start, 0)).unwrap_err().action, Action::Drop, "{safe:?}");
        assert!(!engine.refuses_packet(safe.source, ListenerId(0), at(start, 0)), "{safe:?}");
        assert_eq!(engine.bans().poll_change(), None, "{safe:?}");
    }
}

#[test]
fn a_rule_bans_only_the_user_who_has_shown_the_password() {
    let answer = Answer { ban_user: Some(Duration::from_secs(60)), ..reject(403) };
    let both = policy(&[Stage::Calls, Stage::InCall], vec![rule("r", answer)]);
    let owner = Facts { login: Login::Settled, ..call("201", "1") };
    let now = at(Instant::now(), 0);
    for stranger in [
        Facts { login: Login::Unasked, ..owner.clone() },
        Facts { login: Login::Asked, ..owner.clone() },
        Facts { trunk: Some(TrunkId(0)), ..owner.clone() },
        Facts { from_pbx: true, ..owner.clone() },
        Facts { stage: Stage::InCall, ..owner.clone() },
        Facts { user: None, ..owner.clone() },
    ] {
        let mut engine = engine(vec![both.clone()]);
        assert!(engine.decide(&stranger, now).is_err());
        assert!(engine.bans().list(now).is_empty(), "{stranger:?}");
    }
    let mut engine = engine(vec![both]);
    assert!(engine.decide(&owner, now).is_err());
    let [ban] = engine.bans().list(now).try_into().unwrap();
    assert_eq!((ban.banned.to_string(), &*ban.reason), ("user:201".to_owned(), "p / r"));
    assert_eq!(decided(&mut engine, &owner, now), "!banned user");
    assert!(!engine.refuses_packet(owner.source, ListenerId(0), now));
}

#[test]
fn a_reject_that_bans_still_answers() {
    let answer = Answer { ban: Some(Duration::from_secs(60)), ..reject(403) };
    let mut engine = engine(vec![calls(vec![rule("both", answer)])]);
    let now = at(Instant::now(), 0);
    let facts = call("201", "1");
    assert!(matches!(engine.decide(&facts, now).unwrap_err().action, Action::Reject { status: 403, .. }));
    assert!(engine.refuses_packet(facts.source, ListenerId(0), now));
}

#[test]
fn packets_are_counted_before_parsing_and_the_relied_on_are_let_through() {
    let flood = count(rule("flood", drop_and_ban(60)), Per::Source, &[Limit::Packets(rate(50, 1, 50))]);
    let both = policy(&[Stage::Packets, Stage::Calls], vec![flood, to(rule("never", reject(403)), &["1"])]);
    let never_ban = vec!["10.0.0.0/8".parse().unwrap()];
    let settings = Settings {
        policies: vec![both],
        never_ban,
        geo: None,
        feeds: Vec::new(),
        capacity: Capacity::default(),
    };
    let mut engine = Engine::new(settings, &NodeKey::new([1; 16]));
    let start = Instant::now();
    let refused = |engine: &mut Engine, source: [u8; 4], second| {
        let mut packets = 0..100;
        packets
            .by_ref()
            .filter(|_| engine.refuses_packet(source.into(), ListenerId(0), at(start, second)))
            .count()
    };
    assert_eq!(refused(&mut engine, [203, 0, 113, 7], 0), 50);
    assert_eq!(refused(&mut engine, [203, 0, 113, 8], 0), 50, "each source has its own");
    assert_eq!(refused(&mut engine, [10, 1, 1, 1], 0), 0);
    assert_eq!(refused(&mut engine, [203, 0, 113, 7], 2), 50, "a forged source was dropped, not banned");
    assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 1)), "!p / never");
    assert_eq!(decided(&mut engine, &call("201", "2"), at(start, 1)), "default", "packets are no calls");
}

#[test]
fn a_default_is_given_only_where_it_can_be_said() {
    let start = Instant::now();
    let source = IpAddr::from([203, 0, 113, 7]);
    let silent = Answer { verdict: Some(Verdict::Refuse(Action::Drop)), ..Answer::default() };
    for (default, drops_packets) in [(reject(403), false), (silent, true)] {
        let closed = Policy { default, ..policy(&[Stage::Packets, Stage::Calls], Vec::new()) };
        let mut engine = engine(vec![closed]);
        assert_eq!(decided(&mut engine, &call("201", "1"), at(start, 0)), "!p / default");
        assert_eq!(engine.refuses_packet(source, ListenerId(0), at(start, 0)), drops_packets);
    }
}

#[test]
fn every_rule_that_speaks_is_counted_in_its_own_mode() {
    let alert = Answer { alert: true, ..Answer::default() };
    let enforced = calls(vec![rule("look", alert), to(rule("never", reject(403)), &["1"])]);
    let audited = Policy { name: "a".into(), mode: Mode::Audit, ..calls(vec![rule("closed", reject(480))]) };
    let disabled = Policy { name: "d".into(), mode: Mode::Disabled, ..calls(vec![rule("off", reject(480))]) };
    let mut engine = engine(vec![audited, enforced, disabled]);
    let now = at(Instant::now(), 0);
    decided(&mut engine, &call("201", "1"), now);
    decided(&mut engine, &call("201", "2"), now);
    let hits = engine.hits();
    let told: Vec<_> = hits
        .iter()
        .map(|policy| {
            let rules = policy.rules.iter().map(|rule| (&*rule.name, rule.hits));
            (&*policy.name, policy.mode, rules.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", Mode::Audit, vec![("p / closed", 2), ("a / default", 0)]),
            ("p", Mode::Enforce, vec![("p / look", 2), ("p / never", 1), ("p / default", 1)]),
            ("d", Mode::Disabled, vec![]),
        ]
    );
}

#[test]
fn audit_tells_what_it_would_have_done() {
    let mut audited = calls(vec![rule("closed", reject(480))]);
    audited.mode = Mode::Audit;
    let mut disabled = calls(vec![rule("gone", reject(410))]);
    disabled.mode = Mode::Disabled;
    let mut engine = engine(vec![audited, disabled]);
    let now = at(Instant::now(), 0);
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "default");
    let note = engine.poll_note().unwrap();
    assert_eq!(&*note.rule, "p / closed");
    assert!(matches!(note.would, Some(Action::Reject { status: 480, .. })));
    assert!(engine.poll_note().is_none());
    for _ in 0..10 {
        decided(&mut engine, &call("201", "1"), now);
    }
    assert_eq!(std::iter::from_fn(|| engine.poll_note()).count(), 4, "notes that nobody fetches are bounded");
}

#[test]
fn alert_alone_tells_and_goes_on() {
    let alert = Answer { alert: true, ..Answer::default() };
    let mut engine = engine(vec![calls(vec![rule("look", alert), rule("closed", reject(480))])]);
    let now = at(Instant::now(), 0);
    assert_eq!(decided(&mut engine, &call("201", "1"), now), "!p / closed");
    assert_eq!(engine.poll_note(), Some(Note { rule: "p / look".into(), would: None, alert: true }));
    let told = engine.poll_alert().unwrap();
    assert_eq!((&*told.rule, told.what, told.count), ("p / look", Spoken::Alone, 1));
    assert_eq!(told.known.unwrap().to.as_deref(), Some("1"));
    assert!(engine.poll_alert().is_none());
}

#[test]
fn a_flood_of_alerts_is_one_for_each_rule_and_the_rules_are_bounded() {
    let alerting = |name: &str, to_number: &str| {
        to(rule(name, Answer { alert: true, ..drop_and_ban(60) }), &[to_number])
    };
    let names: Vec<String> = (0..6).map(|i| i.to_string()).collect();
    let mut engine = engine(vec![calls(names.iter().map(|name| alerting(name, name)).collect())]);
    let now = at(Instant::now(), 0);
    for _ in 0..1_000 {
        for name in &names {
            decided(&mut engine, &Facts { source_proven: false, ..call("201", name) }, now);
        }
    }
    let told: Vec<_> = std::iter::from_fn(|| engine.poll_alert()).collect();
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|alert| alert.count == 1_000 && alert.what == Spoken::Refused(Action::Drop)));
    let mut packets =
        policy(&[Stage::Packets], vec![rule("shut", Answer { alert: true, ..drop_and_ban(60) })]);
    packets.name = "q".into();
    let mut engine = super::tests::engine(vec![packets]);
    for _ in 0..3 {
        assert!(engine.refuses_packet(IpAddr::from([203, 0, 113, 7]), ListenerId(1), now));
    }
    let told = engine.poll_alert().unwrap();
    assert_eq!((told.count, told.known.unwrap().stage), (3, Stage::Packets));
}
