//! Passwords that a rule asks for, or that a trunk shows (docs/policies.md, `accept_user` in docs/config.md).

use turnpike::base::TrunkId;
use turnpike::edge::settings::{Admit, Settings, Users};
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::number::NumberSet;
use turnpike::policy::settings::{Answer, Count, Limit, Mode, Per, Policy, Rate, Rule, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::sip::digest::Secret;

use super::authenticated::{ALICE, Login, PASSWORD, REALM, again, challenged};
use super::calls::{hang_up, register};
use super::ua::{Leg, answer, header, headers, request, response, sdp};
use super::world::{Actor, World, settings};

fn users(names: &[&str]) -> Users {
    let secret = |name: &str| ((*name).into(), Secret::of_password(name, REALM, PASSWORD));
    Users::new(REALM, names.iter().map(|name| secret(name)))
}

fn rule(name: &str, when: Vec<Condition>, count: Option<Count>, action: Action) -> Rule {
    let answer = Answer { verdict: Some(Verdict::Refuse(action)), ..Answer::default() };
    Rule { name: format!("rules / {name}").into(), when, count, answer, written: Default::default() }
}

fn rejected() -> Action {
    Action::Reject { status: 403, reason: "Not permitted".into() }
}

fn to(prefix: &str) -> Vec<Condition> {
    let mut numbers = NumberSet::default();
    numbers.insert(prefix);
    vec![Condition { negated: false, matcher: Matcher::To(numbers.into()) }]
}

fn at_most(per: Per, events: u32) -> Option<Count> {
    let rate = Rate { events, per: std::time::Duration::from_secs(3_600), burst: events };
    Some(Count { per, limits: vec![Limit::Requests(rate)], deck: None })
}

fn ruled_by(rules: Vec<Rule>, change: impl FnOnce(&mut Settings)) -> World {
    let policy = Policy {
        name: "rules".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls, Stage::Registrations],
        rules,
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    let mut settings = settings();
    settings.users = users(&["alice", "bob", "branch"]);
    change(&mut settings);
    World::under(policy, settings)
}

fn phone() -> Actor {
    Actor::tls_phone(1, "192.0.2.7:49152")
}

fn invite(phone: &Actor, number: &str) -> String {
    request(phone, "INVITE", &format!("sip:{number}@example.com"), "alice", "", &sdp("192.168.1.5", 5_004))
}

#[test]
fn a_rule_asks_for_a_password_and_then_all_of_them_are_asked_about_its_owner() {
    let alice = vec![Condition {
        negated: false,
        matcher: Matcher::User({
            let mut numbers = NumberSet::default();
            numbers.insert("alice");
            numbers.into()
        }),
    }];
    let mut world = ruled_by(
        vec![
            rule("premium", to("+4990"), None, rejected()),
            rule("abroad", to("+"), None, Action::Challenge),
            rule("not alice", [alice, to("+33")].concat(), None, rejected()),
        ],
        |_| (),
    );
    let (phone, pbx) = (phone(), Actor::pbx());
    register(&mut world, &phone, "alice");
    world.send(&phone, invite(&phone, "100"));
    world.expect(&pbx, "INVITE");
    world.take(&phone);
    world.send(&phone, invite(&phone, "+4990"));
    world.expect(&phone, "SIP/2.0 403 Not permitted");

    let text = invite(&phone, "+44123");
    let asked = challenged(&mut world, &phone, &text);
    let knows = ALICE.answer(&text, &asked);
    // Of the PBX's realm, which may have the same name: not for us.
    let theirs = "Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n";
    world.send(&phone, knows.replacen("Call-ID:", &format!("{theirs}Call-ID:"), 1));
    world.expect(&phone, "SIP/2.0 100");
    let seen = world.expect(&pbx, "INVITE");
    assert_eq!(headers(&seen, "Proxy-Authorization"), [theirs.split_once(": ").unwrap().1.trim_end()]);
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg { cseq: 2, ..Leg::caller(&phone, &knows, &came) };
    let repeated = format!("Proxy-Authorization: {}\r\nCall-ID:", header(&knows, "Proxy-Authorization"));
    world.send(&phone, a.request("ACK", "").replacen("Call-ID:", &repeated, 1));
    assert!(headers(&world.expect(&pbx, "ACK"), "Proxy-Authorization").is_empty());
    hang_up(&mut world, &mut a, &pbx);

    let text = invite(&phone, "+33123");
    let asked = challenged(&mut world, &phone, &text);
    world.send(&phone, ALICE.answer(&text, &asked));
    world.expect(&phone, "SIP/2.0 403 Not permitted");
    assert_eq!(&*world.refused().last().unwrap().rule, "rules / not alice");
    // Somebody else's password is good for nobody's call but his.
    let text = invite(&phone, "+44123");
    let asked = challenged(&mut world, &phone, &text);
    world.send(&phone, Login { user: "bob", ..ALICE }.answer(&text, &asked));
    world.expect(&phone, "SIP/2.0 403");
    let wrong = again(&text);
    let asked = challenged(&mut world, &phone, &wrong);
    challenged(&mut world, &phone, &Login { password: "guess", ..ALICE }.answer(&wrong, &asked));
    world.expect_nothing(&pbx);
}

#[test]
fn a_rule_asks_for_a_password_before_the_pbx_sees_a_registration() {
    let mut world = ruled_by(vec![rule("all", vec![], None, Action::Challenge)], |_| ());
    let (phone, pbx, acme) = (phone(), Actor::pbx(), Actor::carrier());
    let text = request(&phone, "REGISTER", "sip:example.com", "alice", "Expires: 300\r\n", "")
        .replace("To: <sip:example.com>", "To: <sip:alice@example.com>");
    let asked = challenged(&mut world, &phone, &text);
    assert!(asked.starts_with("SIP/2.0 401"));
    world.send(&phone, ALICE.answer(&text, &asked));
    assert!(headers(&world.expect(&pbx, "REGISTER"), "Authorization").is_empty());
    // Who is known otherwise is not asked; who is let in by nothing is not asked either.
    world.send(&acme, request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", ""));
    world.expect(&pbx, "INVITE");
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    world.expect(&acme, "INVITE");
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    world.send(&stranger, request(&stranger, "INVITE", "sip:100@example.com", "alice", "", ""));
    world.expect(&stranger, "SIP/2.0 403");
}

/// A call that is asked for a password and comes again is one call.
#[test]
fn a_request_that_is_asked_for_a_password_counts_once() {
    for (admit, asks) in [(Admit::Authenticated, false), (Admit::Any, true)] {
        let mut rules = vec![rule("source", vec![], at_most(Per::Source, 3), rejected())];
        rules.push(rule("user", vec![], at_most(Per::User, 4), rejected()));
        rules.extend(asks.then(|| rule("ask", vec![], None, Action::Challenge)));
        let mut world = ruled_by(rules, |settings| settings.zones[0].admit = admit);
        let (phone, pbx) = (phone(), Actor::pbx());
        for number in 1..=4 {
            let text = invite(&phone, "100");
            world.send(&phone, &text);
            let came = world.take(&phone);
            if admit == Admit::Any && number == 4 {
                // The limit speaks before the rule that would ask.
                assert!(came[0].starts_with("SIP/2.0 403 Not permitted"));
                continue;
            }
            world.send(&phone, ALICE.answer(&text, &came[0]));
            let told = world.take(&phone);
            let refused = told.iter().any(|text| text.starts_with("SIP/2.0 403 Not permitted"));
            assert_eq!(
                (refused, world.take(&pbx).len()),
                (number == 4, usize::from(number != 4)),
                "{number}"
            );
        }
    }
}

/// Who never answers is counted all the same.
#[test]
fn a_flood_of_requests_without_passwords_still_meets_its_limit() {
    let drops = vec![rule("flood", vec![], at_most(Per::Source, 10), Action::Drop)];
    let mut world = ruled_by(drops, |settings| settings.zones[0].admit = Admit::Authenticated);
    let answered = (0..30).filter(|_| {
        world.send(&phone(), invite(&phone(), "100"));
        !world.take(&phone()).is_empty()
    });
    assert_eq!(answered.count(), 10);
    let mut world = ruled_by(
        vec![
            rule("flood", vec![], at_most(Per::Source, 10), Action::Drop),
            rule("ask", vec![], None, Action::Challenge),
        ],
        |settings| settings.zones[0].admit = Admit::Any,
    );
    let answered = (0..30).filter(|_| {
        world.send(&phone(), invite(&phone(), "100"));
        !world.take(&phone()).is_empty()
    });
    assert_eq!(answered.count(), 10);
}

/// A branch office at an address of its own each day.
fn by_password(admit: Admit) -> World {
    ruled_by(vec![], |settings| {
        settings.zones[0].admit = admit;
        settings.trunks[0].zone = super::world::INTERNET;
        settings.trunks[0].accept_from.clear();
        settings.trunks[0].hosts.clear();
        settings.trunks[0].accept_user = Some("branch".into());
    })
}

const BRANCH: Login<'_> = Login { user: "branch", ..ALICE };

#[test]
fn who_shows_a_trunks_password_speaks_as_that_trunk() {
    for (admit, otherwise) in [
        (Admit::Trunks, "not a trunk"),
        (Admit::Registered, "not registered"),
        (Admit::Authenticated, "caller is not the registered user"),
    ] {
        for branch in [Actor::udp_phone("192.0.2.77:5060"), Actor::tls_phone(7, "192.0.2.77:40000")] {
            let (mut world, pbx) = (by_password(admit), Actor::pbx());
            let invite = request(
                &branch,
                "INVITE",
                "sip:+49301234@example.com",
                "+4930999",
                "",
                &sdp("192.0.2.77", 4_000),
            );
            let asked = challenged(&mut world, &branch, &invite);
            world.send(&branch, ALICE.answer(&invite, &asked));
            world.expect(&branch, "SIP/2.0 403");
            assert_eq!(&*world.refused()[0].rule, otherwise);
            let invite = again(&invite);
            let asked = challenged(&mut world, &branch, &invite);
            let invite = BRANCH.answer(&invite, &asked);
            world.send(&branch, &invite);
            world.expect(&branch, "SIP/2.0 100");
            let seen = world.expect(&pbx, "INVITE");
            assert!(!seen.contains("Digest"), "{seen}");
            let ok = answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000));
            world.send(&pbx, &ok);
            let came = world.expect(&branch, "SIP/2.0 200");
            let (mut a, mut b) =
                (Leg { cseq: 3, ..Leg::caller(&branch, &invite, &came) }, Leg::callee(&pbx, &seen, &ok));
            world.send(&branch, a.request("ACK", ""));
            world.expect(&pbx, "ACK");
            // In the call it is known by where it is, and found there whatever its Contact says.
            let stranger = Actor::udp_phone("192.0.2.66:5060");
            world.send(&stranger, a.clone().request("BYE", ""));
            world.expect(&stranger, "SIP/2.0 403");
            let info = b.request("INFO", "");
            world.send(&pbx, info);
            let seen = world.expect(&branch, "INFO");
            world.send(&branch, response(&seen, "200 OK", "", "", ""));
            world.expect(&pbx, "SIP/2.0 200");
            hang_up(&mut world, &mut a, &pbx);
            let cdr = world.cdrs()[0].clone();
            assert_eq!((&*cdr.from_party, &*cdr.route, &*cdr.from), ("acme", "inbound", "+4930999"));
            world.assert_clean();
        }
    }
}

#[test]
fn a_trunk_that_shows_a_password_names_none_of_our_users_and_has_its_limits() {
    let mut world = by_password(Admit::Trunks);
    let (branch, pbx) = (Actor::tls_phone(7, "192.0.2.77:40000"), Actor::pbx());
    let text = invite(&branch, "100").replace("<sip:alice@example.com>", "<sip:alice@10.20.0.20>");
    let asked = challenged(&mut world, &branch, &text);
    world.send(&branch, BRANCH.answer(&text, &asked));
    world.expect(&branch, "SIP/2.0 403");
    world.expect_nothing(&pbx);
    let mut world = ruled_by(
        vec![rule(
            "none",
            vec![Condition { negated: false, matcher: Matcher::Trunk(vec![TrunkId(0)]) }],
            None,
            rejected(),
        )],
        |settings| {
            settings.trunks[0].accept_user = Some("branch".into());
        },
    );
    let elsewhere = Actor {
        source: turnpike::sip::transaction::Source {
            remote: turnpike::base::ClientAddr("203.0.114.9:5060".parse().unwrap()),
            ..Actor::carrier().source
        },
    };
    let text = request(&elsewhere, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", "");
    let asked = challenged(&mut world, &elsewhere, &text);
    world.send(&elsewhere, BRANCH.answer(&text, &asked));
    world.expect(&elsewhere, "SIP/2.0 403 Not permitted");
    let acme = Actor::carrier();
    world.send(&acme, request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", ""));
    world.expect(&acme, "SIP/2.0 403 Not permitted");
}
