//! Dialogs before the answer: forks downstream, reliable provisional responses, UPDATE, 6xx.

use super::calls::{hang_up, register};
use super::ua::{self, Leg, answer, body, headers, request, response, sdp};
use super::world::{Actor, World};

/// A phone's INVITE that has reached the PBX.
fn ringing() -> (World, Actor, Actor, String, String) {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    (world, phone, pbx, invite, seen)
}

/// A provisional response that wants a PRACK (RFC 3262).
fn reliable(pbx: &Actor, seen: &str, tag: &str, body: &str) -> String {
    let text = answer(pbx, seen, "183 Session Progress", tag, body);
    text.replacen("\r\nContact", "\r\nRequire: 100rel\r\nRSeq: 1\r\nContact", 1)
}

/// Where the relay sends what the phone says.
fn media_goes_to(world: &World) -> Vec<String> {
    let rules = world.open_rules().into_iter().filter(|(is_a, _)| !is_a);
    rules.filter_map(|(_, rules)| Some(rules.rtp?.to_string())).collect()
}

#[test]
fn of_two_early_dialogs_media_follows_the_one_that_answers() {
    let (mut world, phone, pbx, invite, seen) = ringing();
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "one", &sdp("10.20.0.31", 7_100)));
    let first = world.expect(&phone, "SIP/2.0 183");
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "two", &sdp("10.20.0.32", 7_200)));
    let second = world.expect(&phone, "SIP/2.0 183");
    assert_eq!(body(&first).lines().nth(5), body(&second).lines().nth(5), "one caller-side port for both");
    assert_eq!(media_goes_to(&world), ["10.20.0.32:7200"], "early media is the latest");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "two", &sdp("10.20.0.32", 7_200)));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(media_goes_to(&world), ["10.20.0.32:7200"]);
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn of_two_answers_the_caller_hangs_one_up_and_the_other_call_goes_on() {
    for keeps_first in [true, false] {
        let (mut world, phone, pbx, invite, seen) = ringing();
        let mut legs: Vec<Leg> = ["one", "two"]
            .iter()
            .enumerate()
            .map(|(index, tag)| {
                let port = 7_100 + 100 * index as u16;
                world.send(&pbx, answer(&pbx, &seen, "200 OK", tag, &sdp("10.20.0.31", port)));
                let came = world.expect(&phone, "SIP/2.0 200");
                assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n"));
                let mut leg = Leg::caller(&phone, &invite, &came);
                world.send(&phone, leg.request("ACK", ""));
                world.expect(&pbx, "ACK");
                leg
            })
            .collect();
        let mut unwanted = legs.remove(usize::from(keeps_first));
        let mut kept = legs.remove(0);
        hang_up(&mut world, &mut unwanted, &pbx);
        assert_eq!((world.status().answered_calls, world.status().relay.pairs), (1, 1));
        let port = if keeps_first { "10.20.0.31:7100" } else { "10.20.0.31:7200" };
        assert_eq!(media_goes_to(&world), [port]);
        hang_up(&mut world, &mut kept, &pbx);
        assert_eq!(world.cdrs().len(), 1);
        world.assert_clean();
    }
}

#[test]
fn a_reliable_183_answers_and_prack_and_update_pass() {
    let (mut world, phone, pbx, invite, seen) = ringing();
    let early = reliable(&pbx, &seen, "b", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, &early);
    let came = world.expect(&phone, "SIP/2.0 183");
    assert_eq!(headers(&came, "RSeq"), ["1"]);
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("PRACK", ""));
    let prack = world.expect(&pbx, "PRACK");
    world.send(&pbx, response(&prack, "200 OK", "", "", ""));
    world.expect(&phone, "SIP/2.0 200");
    // RFC 3311 §5.1: once the PRACK'd answer is there, either side may offer anew.
    world.send(&phone, a.request("UPDATE", &sdp("192.0.2.7", 5_006)));
    let update = world.expect(&pbx, "UPDATE");
    assert!(body(&update).contains("c=IN IP4 10.20.0.5\r\n"));
    world.send(&pbx, answer(&pbx, &update, "200 OK", "", &sdp("10.20.0.20", 7_002)));
    let answered = world.expect(&phone, "SIP/2.0 200");
    assert!(body(&answered).contains("c=IN IP4 203.0.113.10\r\n"));
    let mut b = Leg::callee(&pbx, &seen, &early);
    world.send(&pbx, b.request("UPDATE", &sdp("10.20.0.20", 7_004)));
    let update = world.expect(&phone, "UPDATE");
    assert!(body(&update).contains("c=IN IP4 203.0.113.10\r\n"));
    world.send(&phone, answer(&phone, &update, "200 OK", "", &sdp("192.0.2.7", 5_006)));
    world.expect(&pbx, "SIP/2.0 200");
    assert_eq!(media_goes_to(&world), ["10.20.0.20:7004"]);
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", ""));
    world.expect(&phone, "SIP/2.0 200");
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    assert_eq!(world.status().relay.pairs, 1);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_late_offer_in_a_reliable_183_is_answered_in_the_prack() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, reliable(&pbx, &seen, "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 183");
    assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n"));
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("PRACK", &sdp("192.168.1.5", 5_004)));
    let prack = world.expect(&pbx, "PRACK");
    assert!(body(&prack).contains("c=IN IP4 10.20.0.5\r\n") && !prack.contains("m=audio 5004"));
    world.send(&pbx, response(&prack, "200 OK", "", "", ""));
    world.expect(&phone, "SIP/2.0 200");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", ""));
    world.expect(&phone, "SIP/2.0 200");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_6xx_ends_the_search_and_frees_everything() {
    let (mut world, phone, pbx, _, seen) = ringing();
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "one", &sdp("10.20.0.31", 7_100)));
    world.expect(&phone, "SIP/2.0 183");
    world.send(&pbx, response(&seen, "603 Decline", "two", "", ""));
    world.expect(&pbx, "ACK");
    world.expect(&phone, "SIP/2.0 603");
    world.expect_nothing(&Actor::second_pbx());
    assert_eq!((world.status().calls, world.status().relay.pairs), (0, 0));
    world.assert_clean();
}

#[test]
fn the_ack_of_a_failure_ends_at_us() {
    let (mut world, phone, pbx, _, seen) = ringing();
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    assert!(
        world.expect(&pbx, "ACK").contains("\r\nTo: <sip:100@example.com>;tag=b\r\n"),
        "ours, hop by hop"
    );
    let busy = world.expect(&phone, "SIP/2.0 486");
    world.send(&phone, ua::ack_of(&busy));
    world.expect_nothing(&pbx);
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "ACK");
    world.expect_nothing(&phone);
    world.assert_clean();
}
