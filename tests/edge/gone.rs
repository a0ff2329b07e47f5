//! Parties that are gone: connections that close in a call, answers that come when nobody waits any more.

use std::time::Duration;

use super::calls::{establish, hang_up, register};
use super::ua::{self, answer, header, request, request_uri, response, sdp};
use super::world::{Actor, World};
use turnpike::base::FlowId;

fn calling() -> (World, Actor, Actor, String) {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    (world, phone, pbx, invite)
}

fn close(world: &mut World, flow: u64) {
    world.edge.handle_flow_closed(FlowId(flow), world.now);
    world.collect();
}

/// The callee is acknowledged and hung up, once, and acknowledged again when it repeats itself.
#[track_caller]
fn expect_hung_up(world: &mut World, pbx: &Actor, late: &str) {
    world.send(pbx, late);
    let came = world.take(pbx);
    let [ack, bye] = came.as_slice() else { panic!("an ACK and a BYE: {came:#?}") };
    assert!(ack.starts_with("ACK ") && header(ack, "CSeq") == "1 ACK" && bye.starts_with("BYE "));
    for text in [ack, bye] {
        assert_eq!(request_uri(text), ua::uri_in(header(late, "Contact")));
        assert_eq!((header(text, "To"), header(text, "From")), (header(late, "To"), header(late, "From")));
    }
    world.send(pbx, response(bye, "200 OK", "", "", ""));
    world.send(pbx, late);
    let came = world.take(pbx);
    assert_eq!(came.iter().map(|text| &text[..4]).collect::<Vec<_>>(), ["ACK "]);
}

#[test]
fn a_caller_whose_connection_closes_while_it_rings_has_cancelled() {
    let (mut world, phone, pbx, invite) = calling();
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    close(&mut world, 1);
    let cancel = world.expect(&pbx, "CANCEL");
    world.send(&pbx, response(&cancel, "200 OK", "b", "", ""));
    world.send(&pbx, response(&seen, "487 Request Terminated", "b", "", ""));
    world.expect(&pbx, "ACK");
    assert_eq!((world.status().calls, world.status().relay.pairs), (0, 0));
    assert_eq!(world.cdrs()[0].end, "cancelled");
    world.assert_clean();
}

#[test]
fn a_phone_whose_connection_closes_in_a_call_comes_back_over_another_one() {
    let (mut world, phone, pbx, invite) = calling();
    let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
    close(&mut world, 1);
    assert_eq!((world.status().registrations, world.status().answered_calls), (0, 1));
    let again = Actor::tls_phone(2, "192.0.2.7:50001");
    register(&mut world, &again, "alice");
    a.actor = again;
    world.send(&again, a.request("UPDATE", &sdp("192.168.1.5", 5_004)));
    let seen = world.expect(&pbx, "UPDATE");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "", &sdp("10.20.0.20", 7_000)));
    world.expect(&again, "SIP/2.0 200");
    hang_up(&mut world, &mut b, &again);
    world.assert_clean();
}

#[test]
fn a_phone_that_does_not_come_back_is_ended_by_the_silence_of_its_media() {
    let (mut world, phone, pbx, invite) = calling();
    establish(&mut world, &phone, &pbx, &invite);
    close(&mut world, 1);
    world.expect_nothing(&pbx);
    world.fall_silent();
    world.expect(&pbx, "BYE");
    assert_eq!(world.cdrs()[0].end, "no media");
    world.assert_clean();
}

#[test]
fn a_host_that_answers_after_it_was_left_is_hung_up_and_the_next_one_has_the_call() {
    let (mut world, phone, first, invite) = calling();
    let second = Actor::second_pbx();
    world.send(&phone, &invite);
    let left = world.expect(&first, "INVITE");
    world.pass(Duration::from_millis(4_100));
    world.take(&first);
    let seen = world.expect(&second, "INVITE");
    let late = answer(&first, &left, "200 OK", "late", &sdp("10.20.0.20", 7_000));
    expect_hung_up(&mut world, &first, &late);
    assert_eq!(world.take(&phone).len(), 1, "the 100 and nothing else");
    world.send(&second, answer(&second, &seen, "200 OK", "b", &sdp("10.20.0.21", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = ua::Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&second, "ACK");
    hang_up(&mut world, &mut a, &second);
    world.expect_nothing(&first);
    world.assert_clean();
}

#[test]
fn a_host_that_answers_after_the_caller_was_refused_is_hung_up() {
    let (mut world, phone, first, invite) = calling();
    world.send(&phone, &invite);
    let left = world.expect(&first, "INVITE");
    world.pass(Duration::from_millis(8_100));
    let refused = world.expect(&phone, "SIP/2.0 408");
    world.send(&phone, ua::ack_of(&refused));
    world.take(&first);
    let late = answer(&first, &left, "200 OK", "late", &sdp("10.20.0.20", 7_000));
    expect_hung_up(&mut world, &first, &late);
    world.expect_nothing(&phone);
    world.assert_clean();
}
