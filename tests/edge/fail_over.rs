//! PBX hosts that refuse, are silent, or are gone.

use std::time::Duration;

use super::calls::{hang_up, register};
use super::ua::{Leg, answer, request, response, sdp};
use super::world::{Actor, World};
use turnpike::edge::settings::Probing;
use turnpike::sip::transaction::Destination;

fn calling() -> (World, Actor) {
    let mut world = World::new();
    let phone = Actor::tls_phone(1, "192.0.2.7:49152");
    register(&mut world, &phone, "alice");
    (world, phone)
}

fn invite(phone: &Actor) -> String {
    request(phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004))
}

#[test]
fn a_503_moves_on_to_the_second_host() {
    let (mut world, phone) = calling();
    let (first, second) = (Actor::pbx(), Actor::second_pbx());
    let invite = invite(&phone);
    world.send(&phone, &invite);
    let seen = world.expect(&first, "INVITE");
    world.send(&first, response(&seen, "503 Service Unavailable", "x", "", ""));
    world.expect(&first, "ACK");
    let seen = world.expect(&second, "INVITE");
    let ok = answer(&second, &seen, "200 OK", "b", &sdp("10.20.0.21", 7_000));
    world.send(&second, ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(world.status().relay.pairs, 1);
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&second, "ACK");
    hang_up(&mut world, &mut a, &second);
    assert_eq!(&*world.cdrs()[0].target, "sip:10.20.0.21:5060");
    world.assert_clean();
}

#[test]
fn silence_moves_on_after_four_seconds() {
    let (mut world, phone) = calling();
    let (first, second) = (Actor::pbx(), Actor::second_pbx());
    world.send(&phone, invite(&phone));
    world.expect(&first, "INVITE");
    world.pass(Duration::from_millis(3_900));
    world.expect_nothing(&second);
    world.pass(Duration::from_millis(200));
    let seen = world.expect(&second, "INVITE");
    world.send(&second, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&phone, "SIP/2.0 486");
    world.assert_clean();
}

#[test]
fn both_hosts_silent_is_408_promptly() {
    let (mut world, phone) = calling();
    world.send(&phone, invite(&phone));
    world.pass(Duration::from_millis(8_100));
    world.expect(&phone, "SIP/2.0 408");
    assert_eq!((world.status().calls, world.status().relay.pairs), (0, 0));
    assert_eq!(&*world.refused()[0].rule, "no answer from any target");
    world.assert_clean();
}

#[test]
fn both_hosts_unreachable_is_503_at_once() {
    let (mut world, phone) = calling();
    world.send(&phone, invite(&phone));
    for _ in 0..2 {
        let to = world.all.last().map(|(to, _)| *to).expect("sent");
        world.edge.handle_send_failed(to, world.now);
        world.collect();
    }
    world.expect(&phone, "SIP/2.0 503");
    assert_eq!(&*world.refused()[0].rule, "no target can be reached");
    assert_eq!(world.status().calls, 0);
    world.assert_clean();
}

#[test]
fn both_refuse_and_the_caller_hears_it() {
    let (mut world, phone) = calling();
    world.send(&phone, invite(&phone));
    for host in [Actor::pbx(), Actor::second_pbx()] {
        let seen = world.expect(&host, "INVITE");
        world.send(&host, response(&seen, "503 Service Unavailable", "x", "", ""));
    }
    world.expect(&phone, "SIP/2.0 503");
    world.assert_clean();
}

#[test]
fn a_host_that_does_not_answer_probes_is_skipped() {
    let mut world = World::with(|settings| {
        let pbx = settings.pbx.as_mut().expect("pbx");
        pbx.health = Some(Probing { options_every: Duration::from_secs(10), down_after: 2 });
    });
    let (phone, first, second) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx(), Actor::second_pbx());
    register(&mut world, &phone, "alice");
    world.edge.start(world.now);
    world.collect();
    for _ in 0..3 {
        let probe = world.expect(&second, "OPTIONS");
        world.send(&second, response(&probe, "200 OK", "p", "", ""));
        world.take(&first);
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(world.status().targets.iter().take(2).map(|(_, up)| *up).collect::<Vec<_>>(), [false, true]);
    world.take(&first);
    world.send(&phone, invite(&phone));
    world.expect_nothing(&first);
    let seen = world.expect(&second, "INVITE");
    world.send(&second, response(&seen, "486 Busy Here", "b", "", ""));
    let is_first = |to: &Destination| matches!(to, Destination::Address { remote, .. } if remote.to_string() == "10.20.0.20:5060");
    world.mail.retain(|(to, _)| !is_first(to));
    world.pass(Duration::from_secs(10));
    let probe = world.expect(&first, "OPTIONS");
    world.send(&first, response(&probe, "404 Not Found", "p", "", ""));
    assert!(world.status().targets[0].1, "any answer is a sign of life");
}

/// The PBX calls out; the INVITEs that the two carriers see at once.
fn call_out(world: &mut World) -> (Vec<String>, Vec<String>) {
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    for actor in [&pbx, &acme, &bravo] {
        world.take(actor);
    }
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    let invites = |world: &mut World, actor: &Actor| -> Vec<String> {
        world.take(actor).into_iter().filter(|text| text.starts_with("INVITE")).collect()
    };
    (invites(world, &acme), invites(world, &bravo))
}

#[test]
fn a_dead_carrier_costs_one_call_and_not_the_next_ones_until_it_is_tried_again() {
    let mut world = World::new();
    let (pbx, bravo) = (Actor::pbx(), Actor::second_carrier());
    let busy = |world: &mut World, invite: &str| {
        world.send(&bravo, response(invite, "486 Busy Here", "b", "", ""));
        world.expect(&pbx, "SIP/2.0 486");
    };
    let (at_acme, at_bravo) = call_out(&mut world);
    assert!(at_acme.len() == 1 && at_bravo.is_empty());
    world.pass(Duration::from_secs(4));
    let invite = world.expect(&bravo, "INVITE");
    busy(&mut world, &invite);
    assert!(!world.status().targets.iter().any(|(uri, up)| &**uri == "sip:sip1.acme.example" && *up));

    for _ in 0..3 {
        let (_, at_bravo) = call_out(&mut world);
        assert_eq!(at_bravo.len(), 1, "at once");
        busy(&mut world, &at_bravo[0]);
    }
    world.pass(Duration::from_secs(40));
    let (at_acme, _) = call_out(&mut world);
    assert_eq!(at_acme.len(), 1, "it is tried again");
    world.send(&Actor::carrier(), response(&at_acme[0], "486 Busy Here", "a", "", ""));
    assert!(world.status().targets.iter().any(|(uri, up)| &**uri == "sip:sip1.acme.example" && *up));
}

#[test]
fn rfc_3261_21_5_4_a_carrier_that_says_for_how_long_is_left_alone_so_long() {
    let mut world = World::new();
    let (acme, bravo) = (Actor::carrier(), Actor::second_carrier());
    let (at_acme, _) = call_out(&mut world);
    world.send(
        &acme,
        response(&at_acme[0], "503 Service Unavailable", "a", "Retry-After: 120 (overload)\r\n", ""),
    );
    let invite = world.expect(&bravo, "INVITE");
    world.send(&bravo, response(&invite, "486 Busy Here", "b", "", ""));
    world.pass(Duration::from_secs(100));
    let (at_acme, at_bravo) = call_out(&mut world);
    assert!(at_acme.is_empty() && at_bravo.len() == 1);
    world.send(&bravo, response(&at_bravo[0], "486 Busy Here", "b", "", ""));
    world.pass(Duration::from_secs(21));
    assert_eq!(call_out(&mut world).0.len(), 1);
}

#[test]
fn trunks_are_probed_too_and_a_dead_one_is_passed_over_at_once() {
    let mut world = World::with(|settings| {
        let probing = Probing { options_every: Duration::from_secs(10), down_after: 2 };
        settings.trunks.iter_mut().for_each(|trunk| trunk.health = Some(probing));
    });
    let bravo = Actor::second_carrier();
    world.edge.start(world.now);
    world.collect();
    for _ in 0..3 {
        let probe = world.expect(&bravo, "OPTIONS");
        assert!(
            probe.contains("Contact: <sip:203.0.113.11:5060;transport=udp>"),
            "as the listener is advertised: {probe}"
        );
        world.send(&bravo, response(&probe, "200 OK", "p", "", ""));
        world.pass(Duration::from_secs(10));
    }
    let (at_acme, at_bravo) = call_out(&mut world);
    assert!(at_acme.is_empty() && at_bravo.len() == 1);
}
