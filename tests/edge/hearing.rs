//! Answered calls are listened to: silence ends them, and of a side that is not heard somebody is told.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use turnpike::edge::settings::{Ice, Media, Srtp};
use turnpike::media::quality::Measured;
use turnpike::relay::{PairCounters, Side};

use super::calls::{establish, hang_up, register};
use super::ua::{Leg, answer, body, request, sdp};
use super::world::{Actor, CARRIERS, INTERNET, World};

const ICE: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    a=candidate:1 1 UDP 1 192.0.2.7 5004 typ host\r\n";
const S: Duration = Duration::from_secs(1);

/// An answered call of a phone behind NAT with the PBX.
fn call_in(mut world: World) -> (World, Actor, Actor, Leg) {
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    let (a, _) = establish(&mut world, &phone, &pbx, &invite);
    (world, phone, pbx, a)
}

fn call() -> (World, Actor, Actor, Leg) {
    call_in(World::new())
}

/// A re-INVITE of the phone, answered.
fn re_invite(world: &mut World, a: &mut Leg, phone: &Actor, pbx: &Actor, offer: &str, answered: &str) {
    let again = a.request("INVITE", &(sdp("192.168.1.5", 5_004) + offer));
    world.send(phone, again);
    let seen = world.expect(pbx, "INVITE");
    world.send(pbx, answer(pbx, &seen, "200 OK", "", &(sdp("10.20.0.20", 7_000) + answered)));
    assert!(!body(&world.expect(phone, "SIP/2.0 200")).is_empty());
    world.send(phone, a.request("ACK", ""));
    world.expect(pbx, "ACK");
}

#[track_caller]
fn assert_ended(world: &World, end: Option<&str>) {
    assert_eq!(world.cdrs().first().map(|cdr| cdr.end), end);
}

// ---- media time-out ----

#[test]
fn a_call_in_which_one_side_speaks_is_alive() {
    for side in [Side::A, Side::B] {
        let (mut world, _, pbx, mut a) = call();
        world.speakers = vec![side];
        world.pass(600 * S);
        assert_ended(&world, None);
        hang_up(&mut world, &mut a, &pbx);
        world.assert_clean();
    }
}

#[test]
fn a_call_whose_sides_send_rtcp_alone_is_alive() {
    let (mut world, _, pbx, mut a) = call();
    world.speakers.clear();
    for _ in 0..60 {
        world.pass(10 * S);
        world.counters().b.packets.fetch_add(1, Relaxed);
    }
    assert_ended(&world, None);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn hold_is_no_death_and_after_it_the_time_begins_anew() {
    let (mut world, phone, pbx, mut a) = call();
    re_invite(&mut world, &mut a, &phone, &pbx, "a=sendonly\r\n", "a=recvonly\r\n");
    world.speakers.clear();
    world.pass(3_600 * S);
    assert_ended(&world, None);
    assert!(world.unheard().is_empty());
    re_invite(&mut world, &mut a, &phone, &pbx, "", "");
    world.pass(55 * S);
    assert_ended(&world, None);
    world.pass(15 * S);
    assert_ended(&world, Some("no media"));
}

#[test]
fn a_call_that_rings_is_not_ended_by_silence() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "183 Session Progress", "b", &sdp("10.20.0.20", 7_000)));
    world.speakers.clear();
    world.pass(170 * S);
    assert_eq!(world.status().calls, 1);
}

#[test]
fn the_time_out_is_that_of_the_stricter_of_a_calls_own_sides() {
    let (mut world, ..) = call_in(World::with(|settings| {
        settings.zones[usize::from(INTERNET.0)].media.idle_timeout = 20 * S;
        settings.zones[usize::from(CARRIERS.0)].media.idle_timeout = S;
        settings.trunks.iter_mut().for_each(|trunk| trunk.media.idle_timeout = S);
    }));
    world.speakers.clear();
    world.pass(19 * S);
    assert_ended(&world, None);
    world.pass(3 * S);
    assert_ended(&world, Some("no media"));
}

#[test]
fn a_trunk_has_its_own_time_out() {
    let mut world = World::with(|settings| settings.trunks[0].media.idle_timeout = 10 * S);
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let invite =
        request(&carrier, "INVITE", "sip:100@203.0.113.11", "+49301", "", &sdp("198.51.100.1", 6_000));
    establish(&mut world, &carrier, &pbx, &invite);
    world.speakers.clear();
    world.pass(12 * S);
    assert_ended(&world, Some("no media"));
}

/// RFC 8445: where both do ICE, their media may go straight from one to the other.
#[test]
fn a_relay_that_hears_nothing_of_two_endpoints_that_do_ice_ends_nothing() {
    let (mut world, phone, pbx, mut a) = call();
    re_invite(&mut world, &mut a, &phone, &pbx, ICE, ICE);
    world.speakers.clear();
    world.pass(3_600 * S);
    assert_ended(&world, None);
    hang_up(&mut world, &mut a, &pbx);
    assert!(world.unheard().is_empty());
    world.assert_clean();
}

/// Under `relay_only` there is no way past the relay, and none where ICE ends at us.
#[test]
fn ice_that_cannot_go_past_the_relay_changes_nothing() {
    for ice in [Ice::RelayOnly, Ice::Terminate] {
        let (mut world, phone, pbx, mut a) =
            call_in(World::with(|settings| settings.zones[usize::from(INTERNET.0)].media.ice = ice));
        let answered = if ice == Ice::RelayOnly { ICE } else { "" };
        re_invite(&mut world, &mut a, &phone, &pbx, ICE, answered);
        world.speakers.clear();
        world.pass(65 * S);
        assert_ended(&world, Some("no media"));
    }
}

// ---- a side that is not heard ----

#[test]
fn a_side_that_never_speaks_is_told_of_once_and_stands_in_the_cdr() {
    let (mut world, _, pbx, mut a) = call();
    world.speakers = vec![Side::A];
    world.pass(4 * S);
    assert!(world.unheard().is_empty(), "it may be slow");
    world.pass(2 * S);
    let [unheard] = world.unheard()[..] else { panic!("once") };
    assert_eq!((unheard.side, &*unheard.party, unheard.why), (Side::B, "pbx", "never_sent"));
    assert!(unheard.text.starts_with("leg B (pbx) never sent RTP to 10.20.0.5:"), "{}", unheard.text);
    assert!(unheard.text.contains("its SDP said 10.20.0.20:7000"), "{}", unheard.text);
    let text = unheard.text.clone();
    world.pass(60 * S);
    assert_eq!(world.status().unheard_calls, 1);
    hang_up(&mut world, &mut a, &pbx);
    assert_eq!(world.status().unheard_calls, 0);
    assert_eq!(world.unheard().len(), 1);
    assert_eq!(world.cdrs()[0].unheard.iter().map(|unheard| &unheard.text).collect::<Vec<_>>(), [&text]);
    world.assert_clean();
}

#[test]
fn whose_packets_were_refused_is_said_with_the_address_that_they_came_from() {
    let (mut world, ..) = call();
    world.speakers = vec![Side::B];
    let counters = world.counters();
    counters.a.refused_source.store(250, Relaxed);
    counters.leg(Side::A).stranger.set("198.51.100.7:4000".parse().expect("address"));
    world.pass(5 * S);
    let [unheard] = world.unheard()[..] else { panic!("once") };
    assert_eq!((&*unheard.party, unheard.why), ("internet", "wrong_source"));
    let seen = "leg A (internet) sends from 198.51.100.7:4000, but its SDP said 192.168.1.5:5004 and its SIP comes from \
                192.0.2.7: 250 packets refused.";
    assert!(unheard.text.starts_with(seen), "{}", unheard.text);
}

#[test]
fn when_both_are_silent_both_are_told_of_when_the_call_ends() {
    let (mut world, _, pbx, mut a) = call();
    world.speakers.clear();
    world.pass(30 * S);
    assert!(world.unheard().is_empty(), "nobody can be heard over nobody");
    hang_up(&mut world, &mut a, &pbx);
    assert_eq!(world.unheard().iter().map(|unheard| unheard.side).collect::<Vec<_>>(), [Side::A, Side::B]);
    assert_eq!(world.cdrs()[0].unheard.len(), 2);
    world.assert_clean();
}

#[test]
fn a_call_of_a_moment_is_not_complained_of() {
    let (mut world, _, pbx, mut a) = call();
    world.speakers.clear();
    world.pass(3 * S);
    hang_up(&mut world, &mut a, &pbx);
    assert!(world.unheard().is_empty() && world.cdrs()[0].unheard.is_empty());
}

#[test]
fn a_side_that_falls_silent_is_told_of_later_and_not_while_it_sends_rtcp() {
    let (mut world, ..) = call();
    world.pass(30 * S);
    world.speakers = vec![Side::B];
    for _ in 0..10 {
        world.pass(10 * S);
        world.counters().a.packets.fetch_add(1, Relaxed);
    }
    assert!(world.unheard().is_empty(), "it is muted");
    world.pass(30 * S);
    let [unheard] = world.unheard()[..] else { panic!("once") };
    assert_eq!((unheard.side, unheard.why), (Side::A, "fell_silent"));
}

#[test]
fn on_hold_nobody_is_missed() {
    let (mut world, phone, pbx, mut a) = call();
    re_invite(&mut world, &mut a, &phone, &pbx, "a=sendonly\r\n", "a=recvonly\r\n");
    world.speakers = vec![Side::A];
    world.pass(120 * S);
    assert!(world.unheard().is_empty());
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn the_cdr_says_how_well_each_side_was_heard() {
    let (mut world, _, pbx, mut a) = call();
    let mut measured = Measured { rtp: 990, lost: 10, ..Measured::default() };
    measured.jitter.add(4_000);
    measured.round_trip.add(30_000);
    world.counters().leg(Side::B).quality.store(&measured);
    hang_up(&mut world, &mut a, &pbx);
    let audio = &world.cdrs()[0].media[0];
    assert_eq!((audio.a.measured, audio.b.measured), (Measured::default(), measured));
}

/// Why the phone is not heard in a call in which the PBX is, after `change` of what the relay counts.
fn why(
    configure: impl Fn(&mut Media, &mut Media),
    offer: &str,
    change: impl Fn(&PairCounters),
) -> &'static str {
    let mut world = World::with(|settings| {
        let [internet, office, _] = &mut settings.zones[..] else { unreachable!() };
        configure(&mut internet.media, &mut office.media);
    });
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", offer);
    establish(&mut world, &phone, &pbx, &invite);
    world.speakers = vec![Side::B];
    change(&world.counters());
    world.pass(5 * S);
    let [unheard] = world.unheard()[..] else { panic!("once") };
    assert_eq!(unheard.side, Side::A);
    unheard.why
}

#[test]
fn ice_that_ends_at_us_is_missed_until_a_check_has_passed() {
    let offer = sdp("192.168.1.5", 5_004) + ICE;
    let terminate = |internet: &mut Media, _: &mut Media| internet.ice = Ice::Terminate;
    assert_eq!(why(terminate, &offer, |_| ()), "no_ice_check");
    let proved = |counters: &PairCounters| counters.leg(Side::A).is_proved.store(true, Relaxed);
    assert_eq!(why(terminate, &offer, proved), "never_sent");
}

#[test]
fn srtp_that_does_not_open_is_told_from_silence() {
    let offer = sdp("192.168.1.5", 5_004).replace("RTP/AVP", "RTP/SAVP")
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let translate = |internet: &mut Media, office: &mut Media| {
        (internet.srtp, office.srtp) = (Srtp::Sdes, Srtp::Off);
    };
    let refused = |counters: &PairCounters| counters.a.refused_authentication.store(250, Relaxed);
    assert_eq!(why(translate, &offer, refused), "not_authentic");
    assert_eq!(why(translate, &offer, |_| ()), "never_sent");
}
