//! The node is killed in the middle of calls, and they go on with the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use turnpike::base::{NodeKey, Transport};
use turnpike::edge::settings::{Auth, SessionTimer, Settings};
use turnpike::edge::{RestoredCalls, SavedCall};
use turnpike::policy;
use turnpike::policy::deck::Money;
use turnpike::policy::settings::{Answer, Count, Limit, Mode, Per, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::sip::digest::Secret;
use turnpike::sip::transaction::{Destination, Source};

use super::calls::{establish, hang_up, register};
use super::topology::hiding;
use super::ua::{self, Leg, answer, body, header, request, request_uri, response, sdp};
use super::world::{Actor, CARRIER_TCP, CARRIER_UDP, CARRIERS, INSIDE, World, settings};

const AWAY: Duration = Duration::from_secs(3);

/// The journal of calls, as the disk has it.
pub type Journal = BTreeMap<u64, String>;

/// Writes down what has changed.
fn write(world: &mut World, journal: &mut Journal) {
    for key in world.edge.ended_calls() {
        assert!(journal.remove(&key).is_some(), "what was not written down is not taken out");
    }
    for key in world.edge.changed_calls() {
        let saved = world.edge.save_call(key).map(|saved| serde_json::to_string(&saved).unwrap());
        journal.extend(saved.map(|saved| (key, saved)));
    }
}

pub fn read(journal: &Journal) -> Vec<(u64, SavedCall)> {
    journal.iter().map(|(key, saved)| (*key, serde_json::from_str(saved).unwrap())).collect()
}

/// `before` is killed, and `later` takes its place after a while.
fn take_over(before: &mut World, later: &mut World, away: Duration) -> RestoredCalls {
    let mut journal = Journal::new();
    write(before, &mut journal);
    later.now = before.now.after(away);
    let bindings = before.edge.save_registrations().into_iter().filter_map(|(key, b)| Some((key, b?)));
    later.edge.restore_registrations(bindings, later.now);
    let restored = later.edge.restore_calls(read(&journal), later.now);
    later.collect();
    restored
}

fn killed(before: &mut World, mut later: World) -> World {
    let restored = take_over(before, &mut later, AWAY);
    assert_eq!((restored.live, restored.ended, restored.silent), (1, 0, 0));
    later
}

fn caller() -> Actor {
    Actor::udp_phone("192.0.2.7:5060")
}

/// A phone over UDP calls the PBX.
fn call_in(world: &mut World) -> (Leg, Leg) {
    let (phone, pbx) = (caller(), Actor::pbx());
    register(world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@203.0.113.10", "alice", "", &sdp("192.0.2.7", 5_004));
    establish(world, &phone, &pbx, &invite)
}

/// The PBX calls out through the first carrier.
fn call_out(world: &mut World, from: &str) -> (Leg, Leg) {
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let invite = request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", from, "", &sdp("10.20.0.20", 7_000));
    establish(world, &pbx, &acme, &invite)
}

/// A request of the dialog arrives at the other end, and its answer comes back.
fn carried(world: &mut World, from: &mut Leg, to: &Leg, method: &str, sdp: &str) -> (String, String) {
    let text = from.request(method, sdp);
    world.send(&from.actor, text);
    let seen = world.expect(&to.actor, method);
    world.send(&to.actor, answer(&to.actor, &seen, "200 OK", "", sdp));
    let came = world.expect(&from.actor, "SIP/2.0 200");
    if method == "INVITE" {
        let ack = from.request("ACK", "");
        world.send(&from.actor, ack);
        world.expect(&to.actor, "ACK");
    }
    (seen, came)
}

#[test]
fn everything_in_a_dialog_routes_both_ways_after_the_node_was_killed() {
    let mut before = World::new();
    let (mut a, mut b) = call_in(&mut before);
    before.pass(Duration::from_secs(20));
    let mut world = killed(&mut before, World::new());
    assert_eq!((world.status().calls, world.status().answered_calls), (1, 1));
    for method in ["INFO", "UPDATE", "REFER", "NOTIFY", "MESSAGE"] {
        carried(&mut world, &mut a, &b, method, "");
        carried(&mut world, &mut b, &a, method, "");
    }
    let (seen, came) = carried(&mut world, &mut a, &b, "INVITE", &sdp("192.0.2.7", 5_004));
    let before = before.ports.lock().unwrap().open.values().next().unwrap().clone();
    assert!(body(&seen).contains(&format!("m=audio {} ", before.b.rtp().0.port())), "the same port: {seen}");
    assert!(body(&came).contains(&format!("m=audio {} ", before.a.rtp().0.port())), "the same port: {came}");
    carried(&mut world, &mut b, &a, "INVITE", &sdp("10.20.0.20", 7_000));
    world.pass(Duration::from_secs(7));
    hang_up(&mut world, &mut b, &a.actor);
    let cdr = world.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.end, &*cdr.from, &*cdr.to), (200, "bye from callee", "alice", "100"));
    assert_eq!((&*cdr.from_party, &*cdr.to_party, &*cdr.route), ("internet", "pbx", "phones"));
    assert_eq!((cdr.user.as_deref(), &*cdr.listener), (Some("alice"), "phones_udp"));
    assert_eq!((&*cdr.target, cdr.source.0.to_string()), ("sip:10.20.0.20:5060", "192.0.2.7:5060".into()));
    assert_eq!(cdr.talked(), Duration::from_secs(30), "it went on while we were away");
    world.assert_clean();
}

#[test]
fn what_was_put_back_is_written_down_as_it_was() {
    let mut before = World::new();
    let (mut a, b) = call_in(&mut before);
    carried(&mut before, &mut a, &b, "INVITE", &sdp("192.0.2.7", 5_006));
    call_out(&mut before, "100");
    let mut journal = Journal::new();
    write(&mut before, &mut journal);
    assert_eq!(journal.len(), 2);
    let mut later = World::new();
    later.now = before.now;
    later.edge.restore_calls(read(&journal), later.now);
    let mut again = Journal::new();
    write(&mut later, &mut again);
    // At once: SRTP must not begin the same life twice.
    let lives = |saved: &String| saved.matches("\"life\":1").count();
    assert!(again.values().all(|saved| lives(saved) == 1), "{again:?}");
    again.values_mut().for_each(|saved| *saved = saved.replace("\"life\":1", "\"life\":0"));
    assert_eq!(again, journal);
}

#[test]
fn only_calls_that_live_are_in_the_journal_and_short_ones_never_were() {
    let (mut world, mut journal) = (World::new(), Journal::new());
    let (mut a, b) = call_in(&mut world);
    hang_up(&mut world, &mut a, &b.actor);
    write(&mut world, &mut journal);
    assert!(journal.is_empty());
    let (mut a, mut b) = call_in(&mut world);
    write(&mut world, &mut journal);
    let first = journal.clone();
    assert_eq!(first.len(), 1);
    write(&mut world, &mut journal);
    assert_eq!(world.edge.changed_calls(), [0; 0], "nothing has changed");
    carried(&mut world, &mut b, &a, "INFO", "");
    write(&mut world, &mut journal);
    assert_ne!(first, journal, "its CSeq has");
    hang_up(&mut world, &mut a, &b.actor);
    write(&mut world, &mut journal);
    assert!(journal.is_empty());
    world.send(&a.actor, request(&a.actor, "INVITE", "sip:100@203.0.113.10", "alice", "", ""));
    write(&mut world, &mut journal);
    assert!(journal.is_empty(), "it rings");
}

#[test]
fn nobody_else_speaks_in_a_call_of_before_the_restart() {
    let mut before = World::new();
    let (a, b) = call_in(&mut before);
    let mut world = killed(&mut before, World::new());
    for stranger in ["192.0.2.8:5060", "10.20.0.20:5060"] {
        for leg in [&a, &b] {
            let mut theirs = Leg { actor: Actor::udp_phone(stranger), ..leg.clone() };
            let bye = theirs.request("BYE", "");
            world.send(&theirs.actor, bye);
            assert!(!world.expect(&theirs.actor, "SIP/2.0").starts_with("SIP/2.0 200"));
        }
    }
    let mut other_tag = Leg { local: a.local.replace("tag=", "tag=x"), ..a.clone() };
    world.send(&a.actor, other_tag.request("BYE", ""));
    world.expect(&a.actor, "SIP/2.0 481");
    let mut old = Leg { cseq: 0, ..a.clone() };
    before.take(&a.actor);
    carried(&mut world, &mut a.clone(), &b, "INFO", "");
    world.send(&a.actor, old.request("INFO", ""));
    world.expect(&a.actor, "SIP/2.0 500");
    world.expect_nothing(&b.actor);
    assert_eq!(world.status().calls, 1);
}

/// A phone over TLS calls the PBX.
fn call_over_tls(world: &mut World) -> (Leg, Leg) {
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@sip.example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    establish(world, &phone, &pbx, &invite)
}

#[test]
fn a_phone_over_tls_is_reached_where_it_has_registered_since() {
    let mut before = World::new();
    let (_, mut b) = call_over_tls(&mut before);
    let mut world = killed(&mut before, World::new());
    let (mallory, phone) = (Actor::tls_phone(8, "192.0.2.8:1024"), Actor::tls_phone(9, "198.18.0.7:50000"));
    register(&mut world, &mallory, "mallory");
    register(&mut world, &phone, "alice");
    world.send(&b.actor.clone(), b.request("INVITE", &sdp("10.20.0.20", 7_000)));
    world.expect_nothing(&mallory);
    let seen = world.expect(&phone, "INVITE");
    world.send(&phone, answer(&phone, &seen, "200 OK", "", &sdp("198.18.0.7", 5_004)));
    world.expect(&b.actor, "SIP/2.0 200");
    world.send(&b.actor.clone(), b.request("ACK", ""));
    world.expect(&phone, "ACK");
    hang_up(&mut world, &mut b, &phone);
    world.assert_clean();
}

#[test]
fn of_two_phones_of_a_user_the_one_is_called_that_is_where_the_call_was() {
    let mut before = World::new();
    let (_, mut b) = call_over_tls(&mut before);
    let mut world = killed(&mut before, World::new());
    let (same, other) = (Actor::tls_phone(8, "192.0.2.7:1024"), Actor::tls_phone(9, "198.18.0.7:50000"));
    register(&mut world, &same, "alice");
    register(&mut world, &other, "alice");
    world.take(&other);
    hang_up(&mut world, &mut b, &same);
    world.expect_nothing(&other);
}

#[test]
fn a_phone_over_tls_that_comes_back_goes_on_but_nobody_in_its_name() {
    let mut before = World::new();
    let (a, b) = call_over_tls(&mut before);
    let mut world = killed(&mut before, World::new());
    // From its address, but where addresses are forged more easily; and from elsewhere, unregistered, or as somebody else.
    let plain = Actor::udp_phone("192.0.2.7:49152");
    let (stranger, mallory) = (Actor::tls_phone(7, "192.0.2.8:1024"), Actor::tls_phone(8, "192.0.2.8:1025"));
    register(&mut world, &mallory, "mallory");
    for actor in [plain, stranger, mallory] {
        let mut theirs = Leg { actor, ..a.clone() };
        let bye = theirs.request("BYE", "");
        world.send(&actor, bye);
        assert!(!world.expect(&actor, "SIP/2.0").starts_with("SIP/2.0 200"));
    }
    world.expect_nothing(&b.actor);
    let mut back = Leg { actor: Actor::tls_phone(9, "192.0.2.7:50001"), ..a };
    carried(&mut world, &mut back, &b, "INFO", "");
    carried(&mut world, &mut b.clone(), &back, "INFO", "");
    hang_up(&mut world, &mut back, &b.actor);
    world.assert_clean();
}

#[test]
fn a_phone_that_is_gone_for_good_ends_its_call() {
    let mut before = World::new();
    let (_, mut b) = call_over_tls(&mut before);
    let mut world = killed(&mut before, World::new());
    world.send(&b.actor.clone(), b.request("BYE", ""));
    let (to, _) = world.mail.pop().expect("it is tried");
    world.edge.handle_send_failed(to, world.now);
    world.collect();
    assert_eq!(world.status().calls, 0);
    world.assert_clean();
}

#[test]
fn a_carrier_over_tcp_is_dialled_again() {
    let with_tcp = |settings: &mut Settings| {
        let mut tcp = settings.listeners[usize::from(CARRIER_UDP.0)].clone();
        (tcp.name, tcp.transport) = ("carriers_tcp".into(), Transport::Tcp);
        let mut inside = settings.listeners[usize::from(INSIDE.0)].clone();
        (inside.name, inside.transport) = ("inside_tcp".into(), Transport::Tcp);
        settings.listeners.extend([inside, tcp]);
    };
    let source = Source { listener: CARRIER_TCP, ..Actor::carrier().over_tcp(CARRIER_TCP).source };
    let (carrier, pbx) = (Actor { source }, Actor::pbx());
    let mut before = World::with(with_tcp);
    let invite =
        request(&carrier, "INVITE", "sip:+49301@203.0.113.11", "+49170", "", &sdp("198.51.100.1", 4_000));
    let (_, mut b) = establish(&mut before, &carrier, &pbx, &invite);
    let mut world = killed(&mut before, World::with(with_tcp));
    world.send(&pbx, b.request("BYE", ""));
    let (to, bye) = world.mail.pop().expect("a BYE");
    assert!(bye.starts_with("BYE "), "{bye}");
    let at = carrier.address();
    let dialled =
        Destination::Address { listener: CARRIER_TCP, transport: Transport::Tcp, remote: at, tls: u16::MAX };
    assert_eq!(to, dialled);
    let answered = Actor::carrier().over_tcp(CARRIER_TCP);
    world.send(&answered, response(&bye, "200 OK", "", "", ""));
    world.expect(&pbx, "SIP/2.0 200");
    world.assert_clean();
}

fn ruled(limit: Limit, hang_up: bool) -> Policy {
    let action = Action::Reject { status: 403, reason: "Forbidden".into() };
    let answer = Answer { verdict: Some(Verdict::Refuse(action)), hang_up, ..Answer::default() };
    let count = Some(Count { per: Per::All, limits: vec![limit], deck: Some(super::budgets::deck()) });
    Policy {
        name: "toll".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![Rule {
            name: "toll / limit".into(),
            when: Vec::new(),
            count,
            answer,
            written: Default::default(),
        }],
        default: Answer::ALLOW,
        deck: Some(super::budgets::deck()),
        place: Default::default(),
    }
}

fn engine(limit: Limit, hang_up: bool) -> policy::Engine {
    let policies = policy::Settings { policies: vec![ruled(limit, hang_up)], ..Default::default() };
    policy::Engine::new(policies, &NodeKey::new([1; 16]))
}

#[test]
fn a_call_of_before_counts_among_calls_at_once_until_it_ends() {
    let world = || World::ruled_by(engine(Limit::CallsAtOnce(1), false), settings());
    let mut before = world();
    let (mut a, b) = call_out(&mut before, "100");
    let mut world = killed(&mut before, world());
    let invite = || request(&Actor::pbx(), "INVITE", "sip:+49301234567@10.20.0.5", "101", "", "");
    world.send(&a.actor, invite());
    world.expect(&a.actor, "SIP/2.0 403");
    hang_up(&mut world, &mut a, &b.actor);
    world.send(&a.actor, invite());
    world.expect(&b.actor, "INVITE");
}

#[test]
fn a_budget_ends_the_call_when_it_would_have_without_the_restart() {
    let spend = || super::budgets::spend(1_000_000);
    let mut before = World::ruled_by(engine(spend(), true), settings());
    call_out(&mut before, "100");
    before.pass(Duration::from_secs(50));
    let mut later = engine(spend(), true);
    later.restore(before.edge.save_policy(before.now).unwrap(), before.now);
    let mut world = killed(&mut before, World::ruled_by(later, settings()));
    world.pass(Duration::from_millis(97_900) - Duration::from_secs(50) - AWAY);
    world.expect_nothing(&Actor::pbx());
    world.pass(Duration::from_millis(100));
    for actor in [Actor::pbx(), Actor::carrier()] {
        let bye = world.expect(&actor, "BYE");
        assert!(bye.contains("Reason: SIP;cause=403"), "{bye}");
        world.send(&actor, response(&bye, "200 OK", "", "", ""));
    }
    let cdr = world.cdrs()[0];
    assert_eq!((cdr.end, cdr.hung_up_by.as_deref()), ("hung up by policy", Some("toll / limit")));
    assert_eq!((cdr.spend, cdr.country.map(|c| c.to_string())), (Some(Money(980_000)), Some("DE".into())));
    world.assert_clean();
}

#[test]
fn a_trunk_counts_its_calls_of_before() {
    let limited = |settings: &mut Settings| {
        settings.trunks[0].calls_at_once = Some(1);
        settings.routes[0].failover = None;
    };
    let mut before = World::with(limited);
    let (mut a, b) = call_out(&mut before, "100");
    let mut world = killed(&mut before, World::with(limited));
    let invite = request(&Actor::pbx(), "INVITE", "sip:+49301234567@10.20.0.5", "101", "", "");
    world.send(&a.actor, &invite);
    world.expect(&Actor::second_carrier(), "INVITE");
    world.expect_nothing(&b.actor);
    hang_up(&mut world, &mut a, &b.actor);
    let invite = request(&Actor::pbx(), "INVITE", "sip:+49301234567@10.20.0.5", "102", "", "");
    world.send(&a.actor, &invite);
    world.expect(&b.actor, "INVITE");
}

#[test]
fn a_session_that_ran_out_while_we_were_away_is_ended_and_another_when_it_does() {
    let timed = |settings: &mut Settings| {
        settings.zones[usize::from(CARRIERS.0)].session_timer =
            Some(SessionTimer { expires: 120, shortest: 90 });
    };
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    for away in [10, 130] {
        let mut before = World::with(timed);
        let extra = "Supported: timer\r\n";
        let invite =
            request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "100", extra, &sdp("10.20.0.20", 7_000));
        establish(&mut before, &pbx, &acme, &invite);
        let mut world = World::with(timed);
        let restored = take_over(&mut before, &mut world, Duration::from_secs(away));
        assert_eq!((restored.live, restored.ended), (usize::from(away < 120), usize::from(away > 120)));
        world.pass(Duration::from_secs(120_u64.saturating_sub(away)));
        for actor in [pbx, acme] {
            let bye = world.expect(&actor, "BYE");
            assert!(bye.contains("Session expired"), "{bye}");
            world.send(&actor, response(&bye, "200 OK", "", "", ""));
        }
        assert_eq!(world.cdrs()[0].end, "session expired");
        assert_eq!(world.cdrs()[0].talked(), Duration::from_secs(away.max(120)));
        world.assert_clean();
    }
}

#[test]
fn a_call_has_no_longer_life_than_without_a_restart() {
    let mut before = World::new();
    before.speakers.clear();
    call_out(&mut before, "100");
    let mut world = World::new();
    let restored = take_over(&mut before, &mut world, Duration::from_secs(13 * 3600));
    assert_eq!((restored.live, restored.ended), (0, 1));
    assert_eq!(world.cdrs()[0].end, "lifetime");
    world.expect(&Actor::pbx(), "BYE");
    world.expect(&Actor::carrier(), "BYE");
}

#[test]
fn what_the_config_does_not_name_any_more_is_ended_and_the_other_side_told() {
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    type Change = fn(&mut Settings);
    let trunk: Change = |settings| settings.trunks[0].name = "acme gmbh".into();
    let zone: Change = |settings| settings.zones[usize::from(CARRIERS.0)].name = "outside".into();
    let listener: Change = |settings| settings.listeners[usize::from(INSIDE.0)].name = "lan".into();
    for (change, left, gone) in [(trunk, pbx, acme), (zone, pbx, acme), (listener, acme, pbx)] {
        let mut before = World::new();
        call_out(&mut before, "100");
        let mut world = World::with(change);
        let restored = take_over(&mut before, &mut world, AWAY);
        assert_eq!((restored.live, restored.ended), (0, 1));
        let bye = world.expect(&left, "BYE");
        world.send(&left, response(&bye, "200 OK", "", "", ""));
        world.expect_nothing(&gone);
        assert_eq!(world.cdrs()[0].end, "not restored");
        assert_eq!(world.edge.ended_calls().len(), 1, "it leaves the journal");
        world.assert_clean();
    }
}

#[test]
fn a_config_that_names_things_in_another_order_is_the_same_config() {
    let mut before = World::new();
    let (mut a, b) = call_out(&mut before, "100");
    let mut world = killed(&mut before, World::with(|settings| settings.trunks.reverse()));
    hang_up(&mut world, &mut a, &b.actor);
    assert_eq!(&*world.cdrs()[0].to_party, "acme");
}

#[test]
fn cseqs_stay_as_far_ahead_as_the_carrier_has_seen_them() {
    let known = |settings: &mut Settings| {
        let secret = Secret::Password("tango".into());
        settings.trunks[0].auth = Some(Auth { username: "acct42".into(), secret });
    };
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let mut before = World::with(known);
    let invite = request(&pbx, "INVITE", "sip:+49301234567@10.20.0.5", "100", "", &sdp("10.20.0.20", 7_000));
    before.send(&pbx, &invite);
    let first = before.expect(&acme, "INVITE");
    let challenge = "WWW-Authenticate: Digest realm=\"acme\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\n";
    before.send(&acme, response(&first, "401 Unauthorized", "x", challenge, ""));
    let second = before.expect(&acme, "INVITE");
    before.send(&acme, answer(&acme, &second, "200 OK", "b", &sdp("198.51.100.1", 4_000)));
    let came = before.expect(&pbx, "SIP/2.0 200");
    let mut a = Leg::caller(&pbx, &invite, &came);
    before.send(&pbx, a.request("ACK", ""));
    let mut world = killed(&mut before, World::with(known));
    world.send(&pbx, a.request("INFO", ""));
    assert_eq!(header(&world.expect(&acme, "INFO"), "CSeq"), "3 INFO", "2 was the INVITE with credentials");
}

#[test]
fn what_is_hidden_stays_hidden_and_routes() {
    let what = ["topology", "call_id"];
    let mut before = hiding(&what);
    let (mut a, mut b) = call_in(&mut before);
    assert_ne!(a.call_id, b.call_id);
    let mut world = killed(&mut before, hiding(&what));
    let (seen, _) = carried(&mut world, &mut b, &a, "INVITE", &sdp("10.20.0.20", 7_000));
    assert!(!seen.contains("10.20.0"), "{seen}");
    assert_eq!(
        request_uri(&seen),
        ua::uri_in(header(&a.request("INFO", ""), "Contact")).replace("ua@", "alice@")
    );
    hang_up(&mut world, &mut a, &b.actor);
    world.assert_clean();
}
