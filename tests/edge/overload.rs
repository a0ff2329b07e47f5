//! More comes than there is time for: who is turned away first, and who never.

use std::time::Duration;

use turnpike::base::ListenerId;

use super::calls::{establish, hang_up, register};
use super::ua::{cancel_of, header, request, response, sdp};
use super::world::{Actor, World};

fn wait(world: &mut World, millis: u64) {
    for listener in 0..6 {
        world.edge.handle_backlog(ListenerId(listener), Duration::from_millis(millis));
    }
}

/// Whether a new call of this actor is carried; if not, it was told when to come again, and the PBX saw nothing.
#[track_caller]
fn may_call(world: &mut World, caller: &Actor, user: &str) -> bool {
    let before = world.status();
    world.send(caller, request(caller, "INVITE", "sip:100@example.com", user, "", &sdp("192.0.2.7", 5_004)));
    let came = world.take(caller);
    let seen = world.take(&Actor::pbx());
    if came.iter().all(|text| text.starts_with("SIP/2.0 100")) {
        assert_eq!(seen.len(), 1);
        return true;
    }
    assert!(came.len() == 1 && came[0].starts_with("SIP/2.0 503"), "{came:#?}");
    assert_eq!((header(&came[0], "Retry-After"), seen.len()), ("10", 0));
    assert_eq!(world.status().calls, before.calls, "a call that is turned away leaves nothing");
    false
}

#[test]
fn the_least_trusted_are_turned_away_first() {
    let mut world = World::with(|settings| settings.zones[0].admit = turnpike::edge::settings::Admit::Any);
    let (phone, stranger, carrier) =
        (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::udp_phone("192.0.2.66:5060"), Actor::carrier());
    register(&mut world, &phone, "alice");
    for (waited, expected) in [
        (50, [true, true, true]),
        (51, [false, true, true]),
        (101, [false, false, true]),
        (201, [false, false, false]),
        (0, [true, true, true]),
    ] {
        wait(&mut world, waited);
        let stands = [(&stranger, "mallory"), (&phone, "alice"), (&carrier, "+4930999")]
            .map(|(caller, user)| may_call(&mut world, caller, user));
        assert_eq!(stands, expected, "{waited} ms");
    }
    assert!(world.refused().iter().all(|refused| (&*refused.rule, refused.status) == ("overloaded", 503)));
}

#[test]
fn a_flood_on_one_listener_turns_no_carrier_away_on_another() {
    let mut world = World::with(|settings| settings.zones[0].admit = turnpike::edge::settings::Admit::Any);
    let (stranger, carrier) = (Actor::udp_phone("192.0.2.66:5060"), Actor::carrier());
    world.edge.handle_backlog(stranger.source.listener, Duration::from_secs(1));
    assert!(!may_call(&mut world, &stranger, "mallory"));
    assert!(may_call(&mut world, &carrier, "+4930999"));
}

#[test]
fn every_request_that_begins_something_is_turned_away_and_a_stranger_leaves_no_transaction() {
    let mut world = World::new();
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    wait(&mut world, 60);
    for method in ["INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "NOTIFY", "FROBNICATE"] {
        world.send(&stranger, request(&stranger, method, "sip:100@example.com", "x", "", ""));
        world.expect(&stranger, "SIP/2.0 503");
        assert_eq!(world.status().server_transactions, 0, "{method}");
    }
    world.send(&stranger, request(&stranger, "OPTIONS", "sip:203.0.113.10", "x", "", ""));
    world.expect(&stranger, "SIP/2.0 200");
    world.expect_nothing(&Actor::pbx());
    world.assert_clean();
}

#[test]
fn what_has_begun_goes_on() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let call = || request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let (mut a, _) = establish(&mut world, &phone, &pbx, &call());
    let ringing = call();
    world.send(&phone, &ringing);
    let seen = world.expect(&pbx, "INVITE");
    world.take(&phone);
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    world.take(&phone);
    wait(&mut world, 10_000);
    // An INVITE that comes again is no new one.
    world.send(&phone, &ringing);
    world.expect(&phone, "SIP/2.0 180");
    world.send(&phone, cancel_of(&ringing));
    world.expect(&phone, "SIP/2.0 200");
    world.expect(&pbx, "CANCEL");
    for method in ["INFO", "UPDATE", "INVITE"] {
        let text = a.request(method, if method == "INFO" { "" } else { SDP });
        world.send(&phone, text);
        let seen = world.expect(&pbx, method);
        world.send(&pbx, response(&seen, "488 Not Acceptable Here", "", "", ""));
        world.expect(&phone, "SIP/2.0 488");
    }
    hang_up(&mut world, &mut a, &pbx);
    wait(&mut world, 0);
    assert!(may_call(&mut world, &phone, "alice"));
}

const SDP: &str =
    "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n";

#[test]
fn an_emergency_is_never_turned_away() {
    let mut world = World::with(|settings| {
        settings.routes[2].emergency = true;
        settings.routes[2].to = vec!["112".into()];
    });
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    wait(&mut world, 10_000);
    world.send(&phone, request(&phone, "INVITE", "sip:112@example.com", "alice", "", ""));
    world.expect(&pbx, "INVITE");
    world.take(&phone);
    assert!(!may_call(&mut world, &phone, "alice"));
}
