//! Policies see numbers in E.164, whatever way they are dialled; nobody else sees a difference.

use std::sync::Arc;

use turnpike::edge::settings::{NumberRule, TrunkRules};
use turnpike::policy::dial_plan::DialPlan;
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use super::ua::{request, request_uri};
use super::world::{Actor, World};

/// A world in which the office dials as Germany does, the first carrier has a rule of its own, and a policy refuses a call to
/// `to` with 403 and one from `from` with 404.
fn world(to: &str, from: &str) -> World {
    let rule = |name: &str, matcher, status| Rule {
        name: name.into(),
        when: vec![Condition { negated: false, matcher }],
        count: None,
        answer: Answer {
            verdict: Some(Verdict::Refuse(Action::Reject { status, reason: "No".into() })),
            ..Answer::default()
        },
        written: Default::default(),
    };
    let numbers = |number: &str| Arc::new([number].into_iter().collect());
    let policy = Policy {
        name: "numbers".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![
            rule("to", Matcher::To(numbers(to)), 403),
            rule("from", Matcher::From(numbers(from)), 404),
        ],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    let mut settings = super::world::settings();
    settings.zones[1].dial_plan = Some(Arc::new(DialPlan {
        country: "49".into(),
        national: Some("0".into()),
        international: vec!["00".into()],
        area: Some("30".into()),
        shortest: 7,
    }));
    let pattern = regex_lite::Regex::new("^([1-9])").expect("pattern");
    let inbound = vec![NumberRule { pattern, replace: "+$1".into() }];
    settings.trunks[0].rules = TrunkRules { inbound, ..TrunkRules::default() };
    settings.routes[0].to = vec!["*".into()];
    World::under(policy, settings)
}

#[test]
fn a_prefix_in_front_is_no_way_around_a_rule() {
    for (dialled, refused) in [
        ("+8821612345", true),
        ("008821612345", true),
        ("00-8821612345", true),
        ("%30%308821612345", true),
        ("+008821612345", true),
        ("08821612345", false),
        ("8821612", false),
        ("201", false),
    ] {
        let mut world = world("+882", "+33");
        let (pbx, carrier) = (Actor::pbx(), Actor::carrier());
        world.send(&pbx, request(&pbx, "INVITE", &format!("sip:{dialled}@10.20.0.5"), "201", "", ""));
        if refused {
            world.expect(&pbx, "SIP/2.0 403");
            world.expect_nothing(&carrier);
        } else {
            let sent = world.expect(&carrier, "INVITE");
            assert!(
                request_uri(&sent).starts_with(&format!("sip:{dialled}@")),
                "it goes out as dialled: {sent}"
            );
        }
    }
}

#[test]
fn a_carriers_rules_say_what_its_numbers_are() {
    for (from, to, status) in [
        ("33123456789", "49301234", "SIP/2.0 404"),
        ("49123456789", "8821612345", "SIP/2.0 403"),
        ("anonymous", "+882161", "SIP/2.0 403"),
    ] {
        let mut world = world("+882", "+33");
        let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
        world.send(&carrier, request(&carrier, "INVITE", &format!("sip:{to}@203.0.113.11"), from, "", ""));
        world.expect(&carrier, status);
        world.expect_nothing(&pbx);
    }
}
