//! Calls from and to carriers.

use turnpike::base::{NodeKey, TrunkId};
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{self, Action, Stage};

use super::calls::{establish, hang_up};
use super::ua::{Leg, answer, body, request, request_uri, response, sdp};
use super::world::{Actor, World, settings};

#[test]
fn a_carrier_calls_in() {
    let mut world = World::new();
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let invite = request(
        &carrier,
        "INVITE",
        "sip:+49301234@203.0.113.11",
        "+4930999",
        "",
        &sdp("198.51.100.1", 4_000),
    );
    let (mut a, _) = establish(&mut world, &carrier, &pbx, &invite);
    hang_up(&mut world, &mut a, &pbx);
    let cdr = world.cdrs()[0];
    assert_eq!((&*cdr.from_party, &*cdr.to_party, &*cdr.route), ("acme", "pbx", "inbound"));
    world.assert_clean();
}

#[test]
fn the_pbx_calls_out_and_the_second_carrier_takes_it() {
    let mut world = World::new();
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    let invite = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, &invite);
    let seen = world.expect(&acme, "INVITE");
    assert_eq!(request_uri(&seen), "sip:+49301234@198.51.100.1");
    world.send(&acme, response(&seen, "500 Server Internal Error", "x", "", ""));
    let seen = world.expect(&bravo, "INVITE");
    world.send(&bravo, answer(&bravo, &seen, "200 OK", "b", &sdp("192.0.2.65", 4_000)));
    let came = world.expect(&pbx, "SIP/2.0 200");
    let mut a = Leg::caller(&pbx, &invite, &came);
    world.send(&pbx, a.request("ACK", ""));
    world.expect(&bravo, "ACK");
    hang_up(&mut world, &mut a, &bravo);
    let cdr = world.cdrs()[0];
    assert_eq!((&*cdr.to_party, &*cdr.target, &*cdr.route), ("bravo", "sip:sbc.bravo.example", "outbound"));
    world.assert_clean();
}

/// DESIGN.md §4: towards a plain UDP trunk never send candidates (size). Who offers ICE is answered by us.
#[test]
fn a_carrier_over_udp_is_offered_no_candidates() {
    let mut world = World::new();
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let offer = sdp("10.20.0.20", 7_000) + "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let invite = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", &offer);
    world.send(&pbx, &invite);
    let seen = world.expect(&acme, "INVITE");
    assert!(!body(&seen).contains("ice-") && !body(&seen).contains("candidate"), "{seen}");
    world.send(&acme, answer(&acme, &seen, "200 OK", "b", &sdp("198.51.100.1", 4_000)));
    let came = world.expect(&pbx, "SIP/2.0 200");
    assert!(body(&came).contains("a=ice-lite\r\n"), "{came}");
    let mut a = Leg::caller(&pbx, &invite, &came);
    world.send(&pbx, a.request("ACK", ""));
    world.expect(&acme, "ACK");
    hang_up(&mut world, &mut a, &acme);
    world.assert_clean();
}

#[test]
fn a_trunk_at_its_limit_is_passed_over_and_a_full_one_refuses() {
    let mut world = World::with(|settings| settings.trunks[0].calls_at_once = Some(1));
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    let invite =
        request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", &sdp("198.51.100.1", 4_000));
    let (mut a, _) = establish(&mut world, &acme, &pbx, &invite);
    world.send(&acme, request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930998", "", ""));
    world.expect(&acme, "SIP/2.0 503");
    assert_eq!(&*world.refused()[0].rule, "trunk limit");
    let outgoing = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", "");
    world.send(&pbx, &outgoing);
    world.expect_nothing(&acme);
    let seen = world.expect(&bravo, "INVITE");
    world.send(&bravo, response(&seen, "486 Busy Here", "b", "", ""));
    hang_up(&mut world, &mut a, &pbx);
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    let seen = world.expect(&acme, "INVITE");
    world.send(&acme, response(&seen, "486 Busy Here", "b", "", ""));
    world.assert_clean();
}

#[test]
fn a_number_that_no_route_takes_is_refused() {
    let mut world = World::new();
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:999@10.20.0.5", "100", "", ""));
    world.expect(&pbx, "SIP/2.0 404");
    assert_eq!(&*world.refused()[0].rule, "route / nothing else");
    world.assert_clean();
}

/// Every limit is used up; 112 gets through, and nothing else does.
#[test]
fn an_emergency_has_no_limit() {
    let mut world = World::with(|settings| {
        let outbound = settings.routes.iter().position(|route| &*route.name == "outbound").expect("route");
        let mut emergency = settings.routes[outbound].clone();
        (emergency.name, emergency.to, emergency.emergency) = ("emergency".into(), vec!["112".into()], true);
        settings.routes.insert(0, emergency);
        settings.trunks.iter_mut().for_each(|trunk| trunk.calls_at_once = Some(0));
        settings.limits.calls = 0;
        settings.limits.unanswered_per_source = 0;
    });
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    world.expect(&pbx, "SIP/2.0 503");
    world.send(&pbx, request(&pbx, "INVITE", "sip:112@10.20.0.5", "100", "", ""));
    let seen = world.expect(&acme, "INVITE");
    world.send(&acme, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    assert_eq!(&*world.cdrs()[0].rule, "emergency");
    world.assert_clean();
}

/// RFC 3261 §16.7 step 3: below our Via stand those that came with the request, whatever the far end makes of them.
#[test]
fn an_answer_goes_back_with_the_vias_of_its_request() {
    let mut world = World::new();
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let invite = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", "");
    world.send(&pbx, &invite);
    let seen = world.expect(&acme, "INVITE");
    let ringing = response(&seen, "180 Ringing", "x", "", "");
    let vias = |text: &str| {
        text.lines().filter(|line| line.starts_with("Via:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = vias(&seen).remove(0);
    let without: String = ringing
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("Via:") || line.contains(&ours))
        .collect();
    assert_eq!(vias(&without).len(), 1, "{without}");
    world.send(&acme, without);
    let came = world.expect(&pbx, "SIP/2.0 180");
    let sent = vias(&invite).remove(0);
    let branch = sent.split("branch=").nth(1).expect("a branch");
    assert!(vias(&came).len() == 1 && came.contains(branch), "{came}");
}

/// Nobody may use these trunks.
fn without(trunks: &[u16]) -> World {
    let action = Action::Reject { status: 480, reason: "Not this one".into() };
    let trunks = trunks.iter().copied().map(TrunkId).collect();
    let rule = Rule {
        name: "dear / closed".into(),
        when: vec![Condition { negated: false, matcher: Matcher::Trunk(trunks) }],
        count: None,
        answer: Answer { verdict: Some(Verdict::Refuse(action)), ..Answer::default() },
        written: Default::default(),
    };
    let policies = vec![Policy {
        name: "dear".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Routes],
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    }];
    let settings_of = policy::Settings { policies, ..Default::default() };
    World::ruled_by(policy::Engine::new(settings_of, &NodeKey::new([1; 16])), settings())
}

#[test]
fn a_trunk_that_a_policy_closes_is_passed_over_and_if_all_are_the_call_is_refused() {
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    let mut world = without(&[0]);
    let outgoing = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", "");
    world.send(&pbx, &outgoing);
    world.expect_nothing(&acme);
    let seen = world.expect(&bravo, "INVITE");
    world.send(&bravo, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    world.assert_clean();

    let mut world = without(&[0, 1]);
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    world.expect_nothing(&acme);
    world.expect_nothing(&bravo);
    world.expect(&pbx, "SIP/2.0 480");
    assert_eq!(&*world.refused()[0].rule, "dear / closed");
    // A call that comes in from a trunk goes to none.
    let invite =
        request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", &sdp("198.51.100.1", 4_000));
    let (mut a, _) = establish(&mut world, &acme, &pbx, &invite);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
