//! Every way in which a call ends, and that nothing is left behind.

use std::time::Duration;

use super::calls::{establish, hang_up, register};
pub use super::ua::cancel_of;
use super::ua::{answer, header, request, response, sdp};
use super::world::{Actor, World};
use turnpike::edge::settings::Anchor;

fn calling() -> (World, Actor, Actor, String) {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    (world, phone, pbx, invite)
}

#[test]
fn the_callee_hangs_up() {
    let (mut world, phone, pbx, invite) = calling();
    let (_, mut b) = establish(&mut world, &phone, &pbx, &invite);
    hang_up(&mut world, &mut b, &phone);
    assert_eq!(world.cdrs()[0].end, "bye from callee");
    world.assert_clean();
}

#[test]
fn a_cancelled_call() {
    let (mut world, phone, pbx, invite) = calling();
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    world.expect(&phone, "SIP/2.0 180");
    world.send(&phone, cancel_of(&invite));
    world.expect(&phone, "SIP/2.0 200");
    let cancel = world.expect(&pbx, "CANCEL");
    world.send(&pbx, response(&cancel, "200 OK", "b", "", ""));
    world.send(&pbx, response(&seen, "487 Request Terminated", "b", "", ""));
    world.expect(&pbx, "ACK");
    world.expect(&phone, "SIP/2.0 487");
    assert_eq!((world.cdrs()[0].status, world.cdrs()[0].end), (487, "cancelled"));
    assert_eq!(world.status().relay.pairs, 0, "ports are free at once");
    world.assert_clean();
}

#[test]
fn cancel_before_any_sign_of_the_pbx_goes_out_with_its_first() {
    let (mut world, phone, pbx, invite) = calling();
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&phone, cancel_of(&invite));
    world.expect(&phone, "SIP/2.0 200");
    world.expect_nothing(&pbx);
    world.send(&pbx, response(&seen, "100 Trying", "", "", ""));
    world.expect(&pbx, "CANCEL");
    world.send(&pbx, response(&seen, "487 Request Terminated", "b", "", ""));
    world.expect(&phone, "SIP/2.0 487");
    world.expect_nothing(&Actor::second_pbx());
    world.assert_clean();
}

#[test]
fn cancel_that_crosses_the_answer() {
    let (mut world, phone, pbx, invite) = calling();
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    world.send(&phone, cancel_of(&invite));
    world.expect(&phone, "SIP/2.0 200");
    world.expect_nothing(&pbx);
    hang_up(&mut world, &mut a, &pbx);
    assert_eq!(world.cdrs().len(), 1);
    world.assert_clean();
}

#[test]
fn a_cancelled_call_that_the_pbx_never_ends() {
    let (mut world, phone, pbx, invite) = calling();
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    world.send(&phone, cancel_of(&invite));
    world.take(&phone);
    world.pass(Duration::from_secs(33));
    world.expect(&phone, "SIP/2.0 487");
    world.assert_clean();
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call() {
    let (mut world, phone, pbx, invite) = calling();
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    let bye = a.request("BYE", "");
    world.send(&phone, bye);
    world.pass(Duration::from_secs(33));
    world.expect(&phone, "SIP/2.0 408");
    world.assert_clean();
}

#[test]
fn a_busy_callee_frees_everything_at_once() {
    let (mut world, phone, pbx, invite) = calling();
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert_eq!(world.status().relay.pairs, 1);
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "ACK");
    world.expect(&phone, "SIP/2.0 486");
    assert_eq!((world.status().relay.pairs, world.status().calls), (0, 0));
    assert_eq!((world.cdrs()[0].status, world.cdrs()[0].end), (486, "rejected"));
    world.assert_clean();
}

#[test]
fn a_call_without_media_is_ended_on_both_legs() {
    let (mut world, phone, pbx, invite) = calling();
    establish(&mut world, &phone, &pbx, &invite);
    world.fall_silent();
    let to_phone = world.expect(&phone, "BYE");
    let to_pbx = world.expect(&pbx, "BYE");
    assert_eq!(super::ua::request_uri(&to_phone), "sip:alice@192.0.2.7:49152;transport=tls");
    assert!(header(&to_pbx, "CSeq").starts_with("2 "), "the caller's next number");
    for bye in [&to_phone, &to_pbx] {
        assert_eq!(header(bye, "Reason"), "SIP;cause=480;text=\"No media\"");
    }
    world.send(&phone, response(&to_phone, "200 OK", "", "", ""));
    world.send(&pbx, response(&to_pbx, "200 OK", "", "", ""));
    assert_eq!(world.cdrs()[0].end, "no media");
    world.assert_clean();
}

#[test]
fn without_anchoring_a_lifetime_bounds_the_call() {
    let mut world = World::with(|settings| {
        settings.zones.iter_mut().for_each(|zone| zone.media.anchor = Anchor::Never);
        settings.limits.call_lifetime = Duration::from_secs(3_600);
    });
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert!(seen.ends_with(&sdp("192.168.1.5", 5_004)), "not anchored: the body is untouched");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    assert_eq!(world.status().relay.pairs, 0);
    world.pass(Duration::from_secs(3_601));
    world.expect(&phone, "BYE");
    world.expect(&pbx, "BYE");
    assert_eq!(world.cdrs()[0].end, "lifetime");
    world.assert_clean();
}

#[test]
fn draining_refuses_new_calls_and_then_ends_the_live_ones() {
    let (mut world, phone, pbx, invite) = calling();
    establish(&mut world, &phone, &pbx, &invite);
    let ringing = request(&phone, "INVITE", "sip:102@example.com", "alice", "", &sdp("192.168.1.5", 5_010));
    world.send(&phone, &ringing);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "r", "", ""));
    world.edge.drain(false, world.now);
    world.collect();
    world.take(&phone);
    let refused = request(&phone, "INVITE", "sip:101@example.com", "alice", "", "");
    world.send(&phone, refused);
    let busy = world.expect(&phone, "SIP/2.0 503");
    assert_eq!(header(&busy, "Retry-After"), "30");
    assert_eq!(world.status().calls, 2, "live ones go on");
    world.edge.drain(true, world.now);
    world.collect();
    assert_eq!(world.status().calls, 0);
    let came = world.take(&phone);
    assert!(
        came.iter().any(|text| text.starts_with("BYE"))
            && came.iter().any(|text| text.starts_with("SIP/2.0 503"))
    );
    let came = world.take(&pbx);
    assert!(
        came.iter().any(|text| text.starts_with("BYE")) && came.iter().any(|text| text.starts_with("CANCEL"))
    );
    world.assert_clean();
}

#[test]
fn full_tables_answer_503_with_retry_after() {
    for (rule, change) in [
        ("calls full", (|settings| settings.limits.calls = 1) as fn(&mut turnpike::edge::settings::Settings)),
        ("too many unanswered calls of one source", |settings| settings.limits.unanswered_per_source = 1),
    ] {
        let mut world = World::with(change);
        let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
        register(&mut world, &phone, "alice");
        world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", "", ""));
        let seen = world.expect(&pbx, "INVITE");
        world.send(&phone, request(&phone, "INVITE", "sip:101@example.com", "alice", "", ""));
        let full = world.expect(&phone, "SIP/2.0 503");
        assert_eq!(header(&full, "Retry-After"), "10");
        assert_eq!(&*world.refused()[0].rule, rule);
        world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
        world.take(&phone);
        world.send(&phone, request(&phone, "INVITE", "sip:101@example.com", "alice", "", ""));
        let seen = world.expect(&pbx, "INVITE");
        world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
        world.assert_clean();
    }
}

#[test]
fn no_free_relay_port_is_503() {
    let (mut world, phone, pbx, invite) = calling();
    world.ports.lock().expect("lock").capacity = 0;
    world.send(&phone, &invite);
    world.expect(&phone, "SIP/2.0 503");
    world.expect_nothing(&pbx);
    world.assert_clean();
}
