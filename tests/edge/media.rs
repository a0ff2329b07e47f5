//! Offers and answers in every message that carries them.

use super::calls::{establish, hang_up, register};
use super::ua::{Leg, answer, body, header, request, response, sdp};
use super::world::{Actor, World};

fn calling() -> (World, Actor, Actor) {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    (world, phone, pbx)
}

#[test]
fn a_re_invite_for_hold_keeps_the_ports() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    let hold = sdp("192.168.1.5", 5_004) + "a=sendonly\r\n";
    let again = a.request("INVITE", &hold);
    world.send(&phone, again);
    let seen = world.expect(&pbx, "INVITE");
    assert!(body(&seen).contains("c=IN IP4 10.20.0.5\r\n") && body(&seen).contains("a=sendonly"));
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "", &(sdp("10.20.0.20", 7_000) + "a=recvonly\r\n")));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n") && body(&came).contains("a=recvonly"));
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    assert_eq!(world.status().relay.pairs, 1);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_refused_re_invite_leaves_the_call_as_it_was() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
    let again = a.request("INVITE", &sdp("192.168.1.5", 6_004));
    world.send(&phone, again);
    let seen = world.expect(&pbx, "INVITE");
    let glare = b.request("UPDATE", &sdp("10.20.0.20", 7_002));
    world.send(&pbx, glare);
    world.expect(&pbx, "SIP/2.0 491");
    world.send(&pbx, response(&seen, "488 Not Acceptable Here", "", "", ""));
    world.expect(&phone, "SIP/2.0 488");
    let update = b.request("UPDATE", &sdp("10.20.0.20", 7_002));
    world.send(&pbx, update);
    let seen = world.expect(&phone, "UPDATE");
    assert!(body(&seen).contains("c=IN IP4 203.0.113.10\r\n"));
    world.send(&phone, answer(&phone, &seen, "200 OK", "", &sdp("192.168.1.5", 5_004)));
    world.expect(&pbx, "SIP/2.0 200");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n"));
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", &sdp("192.168.1.5", 5_004)));
    let ack = world.expect(&pbx, "ACK");
    assert!(body(&ack).contains("c=IN IP4 10.20.0.5\r\n") && !body(&ack).contains("m=audio 5004"), "{ack}");
    assert_eq!(header(&ack, "Content-Length"), body(&ack).len().to_string());
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn retransmissions_are_absorbed_and_a_2xx_again_says_the_same() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.take(&phone);
    world.send(&phone, &invite);
    world.expect(&phone, "SIP/2.0 100");
    world.expect_nothing(&pbx);
    let ok = answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, &ok);
    let first = world.expect(&phone, "SIP/2.0 200");
    world.send(&pbx, &ok);
    assert_eq!(world.expect(&phone, "SIP/2.0 200"), first);
    let mut a = Leg::caller(&phone, &invite, &first);
    let ack = a.request("ACK", "");
    for _ in 0..2 {
        world.send(&phone, &ack);
        world.expect(&pbx, "ACK");
    }
    hang_up(&mut world, &mut a, &pbx);
    assert_eq!(world.cdrs().len(), 1);
    world.assert_clean();
}

#[test]
fn early_media_and_the_same_answer_again() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "b", &sdp("10.20.0.20", 7_000)));
    let early = world.expect(&phone, "SIP/2.0 183");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let last = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(body(&early), body(&last));
    let mut a = Leg::caller(&phone, &invite, &last);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn only_the_sdp_part_of_a_multipart_body_changes() {
    let (mut world, phone, pbx) = calling();
    let parts = format!(
        "--x\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--x\r\nContent-Type: application/pidf+xml\r\n\r\n<pidf/>\r\n--x--\r\n",
        sdp("192.168.1.5", 5_004)
    );
    let invite = request(&phone, "INVITE", "sip:112@example.com", "alice", "", &parts)
        .replace("application/sdp\r\nContent-Length", "multipart/mixed;boundary=x\r\nContent-Length");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert!(
        body(&seen).contains("c=IN IP4 10.20.0.5\r\n") && body(&seen).contains("<pidf/>\r\n--x--\r\n"),
        "{seen}"
    );
    assert_eq!(header(&seen, "Content-Length"), body(&seen).len().to_string());
}

#[test]
fn sdp_that_cannot_be_read_is_refused() {
    let (mut world, phone, pbx) = calling();
    world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", "", "this is no sdp\r\n"));
    world.expect(&phone, "SIP/2.0 488");
    world.expect_nothing(&pbx);
    world.assert_clean();
}

#[test]
fn a_callee_whose_answer_cannot_be_read_is_hung_up() {
    let (mut world, phone, pbx) = calling();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", "this is no sdp\r\n"));
    world.expect(&phone, "SIP/2.0 488");
    let bye = world.expect(&pbx, "BYE");
    world.send(&pbx, response(&bye, "200 OK", "", "", ""));
    assert_eq!((world.status().calls, world.status().relay.pairs), (0, 0));
    world.assert_clean();
}

/// DESIGN.md §4: what the PBX says of its own network does not leave it; a phone's mDNS name means nothing to it.
#[test]
fn private_candidates_do_not_leave_the_pbxs_zone_nor_mdns_names_the_phones() {
    let (mut world, phone, pbx) = calling();
    let ice = |sdp: String, host: &str| {
        sdp + "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
            + &format!("a=candidate:1 1 udp 2130706431 {host} 5004 typ host\r\n")
    };
    let offer = ice(sdp("192.168.1.5", 5_004), "0f9c.local");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &offer);
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert!(!body(&seen).contains(".local") && body(&seen).contains("10.20.0.5 40"), "{seen}");
    let reply = ice(sdp("10.20.0.20", 7_000), "10.20.0.20");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &reply));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert!(!body(&came).contains("10.20.0.20") && body(&came).contains("203.0.113.10 40"), "{came}");
    let mut a = Leg::caller(&phone, &invite, &came);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
