//! The media addresses that a call names are open to TURN clients while it lives, and not a moment longer.

use std::time::Duration;

use turnpike::edge::event::Event;
use turnpike::edge::settings::Anchor;

use super::calls::{hang_up, register};
use super::ends::cancel_of;
use super::ua::{Leg, answer, header, request, response, sdp};
use super::world::{Actor, World};

/// Where the phone says that it hears, and where the PBX does; with RTCP.
const PHONE: [&str; 2] = ["192.0.2.7:5004", "192.0.2.7:5005"];
const PBX: [&str; 2] = ["192.0.2.99:7000", "192.0.2.99:7001"];
const FORK: [&str; 2] = ["192.0.2.100:7000", "192.0.2.100:7001"];

fn phone_sdp() -> String {
    sdp("192.0.2.7", 5_004)
}

fn pbx_sdp() -> String {
    sdp("192.0.2.99", 7_000)
}

/// The phone's INVITE is at the PBX, as it came there.
fn ringing(anchor: Anchor) -> (World, Actor, Actor, String, String) {
    let mut world = World::with(|settings| {
        settings.zones.iter_mut().for_each(|zone| zone.media.anchor = anchor);
    });
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &phone_sdp());
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    (world, phone, pbx, invite, seen)
}

fn answered(anchor: Anchor) -> (World, Leg, Leg) {
    let (mut world, phone, pbx, invite, seen) = ringing(anchor);
    let ok = answer(&pbx, &seen, "200 OK", "b", &pbx_sdp());
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    (world, a, Leg::callee(&pbx, &seen, &ok))
}

fn both() -> Vec<&'static str> {
    [PHONE, PBX].concat()
}

#[test]
fn from_the_offer_and_the_first_provisional_answer_to_the_bye() {
    for anchor in [Anchor::Always, Anchor::Never] {
        let (mut world, phone, pbx, invite, seen) = ringing(anchor);
        assert_eq!(world.call_peers(), PHONE, "{anchor:?}");
        world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "b", &pbx_sdp()));
        assert_eq!(world.call_peers(), both());
        world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "c", &sdp("192.0.2.100", 7_000)));
        assert_eq!(world.call_peers().len(), 6, "forks share the offer");
        world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &pbx_sdp()));
        assert_eq!(world.call_peers(), both());
        let came = world.expect(&phone, "SIP/2.0 200");
        let mut a = Leg::caller(&phone, &invite, &came);
        world.send(&phone, a.request("ACK", ""));
        hang_up(&mut world, &mut a, &pbx);
        assert!(world.call_peers().is_empty());
        world.assert_clean();
    }
}

#[test]
fn a_late_offer_and_its_answer_in_the_ack_or_the_prack() {
    let (mut world, phone, pbx) = (World::new(), Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    for reliable in [false, true] {
        let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        let status = if reliable { "183 Session Progress" } else { "200 OK" };
        let offer = answer(&pbx, &seen, status, "b", &pbx_sdp());
        let rseq = if reliable { "Require: 100rel\r\nRSeq: 1\r\nCSeq:" } else { "CSeq:" };
        world.send(&pbx, offer.replacen("CSeq:", rseq, 1));
        assert_eq!(world.call_peers(), PBX);
        let came = world.expect(&phone, &format!("SIP/2.0 {}", &status[..3]));
        let mut a = Leg::caller(&phone, &invite, &came);
        if reliable {
            let prack = a.request("PRACK", &phone_sdp()).replace("CSeq:", "RAck: 1 1 INVITE\r\nCSeq:");
            world.send(&phone, prack);
            assert_eq!(world.call_peers(), both());
            world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", ""));
            world.expect(&phone, "SIP/2.0 200");
        }
        let late_answer = if reliable { String::new() } else { phone_sdp() };
        let ack = a.request("ACK", &late_answer);
        world.send(&phone, ack);
        assert_eq!(world.call_peers(), both());
        world.take(&pbx);
        hang_up(&mut world, &mut a, &pbx);
        assert!(world.call_peers().is_empty());
    }
    world.assert_clean();
}

#[test]
fn a_re_invite_and_an_update_move_what_is_open() {
    let (mut world, mut a, mut b) = answered(Anchor::Always);
    let (phone, pbx) = (a.actor, b.actor);
    let moved = sdp("192.0.2.7", 6_004);
    let again = a.request("INVITE", &moved);
    world.send(&phone, again);
    assert_eq!(world.call_peers().len(), 6, "until it is answered both are");
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "488 Not Acceptable Here", "", "", ""));
    assert_eq!(world.call_peers(), both(), "refused");
    world.take(&phone);
    let update = b.request("UPDATE", &sdp("192.0.2.100", 7_000));
    world.send(&pbx, update);
    let seen = world.expect(&phone, "UPDATE");
    world.send(&phone, answer(&phone, &seen, "200 OK", "", &moved));
    assert_eq!(world.call_peers(), [["192.0.2.7:6004", "192.0.2.7:6005"], FORK].concat());
    world.take(&pbx);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn of_two_calls_that_name_the_same_address_the_last_one_closes_it() {
    let (mut world, mut first, _) = answered(Anchor::Always);
    let (phone, pbx) = (first.actor, Actor::pbx());
    let invite = request(&phone, "INVITE", "sip:101@example.com", "alice", "", &phone_sdp());
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert!(world.ports.lock().expect("lock").call_peers.values().any(|calls| *calls == 2));
    hang_up(&mut world, &mut first, &pbx);
    assert_eq!(world.call_peers(), PHONE);
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    assert!(world.call_peers().is_empty());
    world.assert_clean();
}

#[test]
fn a_cancelled_call_and_one_that_nobody_takes() {
    let (mut world, phone, pbx, invite, seen) = ringing(Anchor::Never);
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "b", &pbx_sdp()));
    world.send(&phone, cancel_of(&invite));
    world.send(&pbx, response(&seen, "487 Request Terminated", "b", "", ""));
    assert!(world.call_peers().is_empty());
    world.assert_clean();

    let (mut world, _, _, _, _) = ringing(Anchor::Always);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.status().calls, 0, "both hosts were silent");
    assert!(world.call_peers().is_empty());
    world.assert_clean();
}

#[test]
fn the_next_host_has_nothing_of_the_one_that_was_left() {
    let (mut world, phone, pbx, _, seen) = ringing(Anchor::Always);
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "b", &pbx_sdp()));
    assert_eq!(world.call_peers(), both());
    world.send(&pbx, response(&seen, "503 Service Unavailable", "b", "", ""));
    let second = Actor::second_pbx();
    let seen = world.expect(&second, "INVITE");
    assert_eq!(world.call_peers(), PHONE);
    world.send(&second, response(&seen, "486 Busy Here", "c", "", ""));
    world.expect(&phone, "SIP/2.0 486");
    assert!(world.call_peers().is_empty());
    world.assert_clean();
}

#[test]
fn silence_a_lifetime_and_a_drain_close_them_too() {
    for end in ["no media", "lifetime", "drained"] {
        let (mut world, ..) = answered(Anchor::Always);
        assert_eq!(world.call_peers(), both());
        match end {
            "no media" => world.fall_silent(),
            "lifetime" => world.pass(Duration::from_secs(24 * 3_600)),
            _ => {
                world.edge.drain(true, world.now);
                world.collect();
            }
        }
        assert_eq!(world.cdrs().first().map(|cdr| cdr.end), Some(end));
        assert!(world.call_peers().is_empty(), "{end}");
    }
}

#[test]
fn a_request_that_is_not_admitted_opens_nothing() {
    let mut world = World::new();
    let stranger = Actor::tls_phone(9, "192.0.2.66:5000");
    world.send(&stranger, request(&stranger, "INVITE", "sip:100@example.com", "eve", "", &phone_sdp()));
    assert!(world.call_peers().is_empty());
    let (mut world, a, _) = answered(Anchor::Always);
    let mut forged = Leg { actor: stranger, ..a };
    world.send(&stranger, forged.request("INVITE", &sdp("192.0.2.66", 5_004)));
    assert_eq!(world.call_peers(), both(), "a hijack neither");
}

#[test]
fn what_a_glaring_offer_names_is_not_open() {
    let (mut world, mut a, mut b) = answered(Anchor::Always);
    world.send(&a.actor.clone(), a.request("INVITE", &sdp("192.0.2.7", 6_004)));
    let update = b.request("UPDATE", &sdp("192.0.2.100", 7_000));
    world.send(&b.actor, update);
    world.expect(&b.actor, "SIP/2.0 491");
    assert_eq!(world.call_peers().len(), 6);
    assert!(!world.call_peers().iter().any(|peer| peer.starts_with("192.0.2.100")));
}

#[test]
fn a_call_that_names_too_many_is_told_of_once() {
    let candidates = |line: u16| format!("a=candidate:1 1 udp 1 192.0.2.7 {} typ host\r\n", 10_000 + line);
    let many = phone_sdp() + &(0..100).map(candidates).collect::<String>();
    let (mut world, mut a, _) = answered(Anchor::Always);
    for _ in 0..2 {
        let again = a.request("INVITE", &many);
        world.send(&a.actor, again);
        let seen = world.expect(&Actor::pbx(), "INVITE");
        assert_eq!(world.call_peers().len(), turnpike::edge::CALL_PEERS_MAX);
        world.send(&Actor::pbx(), answer(&Actor::pbx(), &seen, "200 OK", "", &pbx_sdp()));
        world.send(&a.actor.clone(), a.request("ACK", ""));
        world.take(&Actor::pbx());
    }
    let call_id = header(&a.request("INFO", ""), "Call-ID").to_owned();
    let told = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::CallPeersFull { call_id: told } if **told == *call_id));
    assert_eq!(told.count(), 1);
    hang_up(&mut world, &mut a, &Actor::pbx());
    world.assert_clean();
}
