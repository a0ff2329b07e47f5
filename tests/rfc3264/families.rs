//! IPv4 and IPv6: a zone that has a relay address of each family shows an endpoint the one that it can use.

use std::net::IpAddr;

use turnpike::edge::settings::Settings;
use turnpike::relay::{RelayAddress, RelayAddresses, Side};

use super::ip;
use super::play::hang_up;
use super::scene::{PBX, PHONE, Scene, TO_PBX, TO_PHONE, audio, session, shown};
use super::ua::{answer, body, request};
use super::world::{Actor, INTERNET, World};

const PHONE6: &str = "2001:db8:7::7";
const TO_PHONE6: &str = "2001:db8:10::10";

/// What the internet is shown: IPv4 behind 1:1 NAT, IPv6 as it is bound.
fn both_families(settings: &mut Settings) {
    let zone = &mut settings.zones[usize::from(INTERNET.0)];
    let four = RelayAddress { bind: ip("10.99.0.1"), advertise: ip(TO_PHONE) };
    let six = RelayAddress { bind: ip(TO_PHONE6), advertise: ip(TO_PHONE6) };
    zone.relay = RelayAddresses::new([four, six]);
}

fn phone_at(host: &str) -> Actor {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Actor::tls_phone(1, &format!("{host}:49152"))
}

/// A phone whose SIP comes from `at` has called.
fn ringing(at: &str, offer: &str) -> Scene {
    Scene::ringing_between(World::with(both_families), phone_at(at), Actor::pbx(), "", offer)
}

/// All but `o=`, which is of the family of SIP.
fn media_of(body: &str) -> Vec<&str> {
    body.lines().filter(|line| !line.starts_with("o=")).collect()
}

fn bound(call: &Scene) -> Vec<IpAddr> {
    call.world.ports.lock().unwrap().binds.clone()
}

#[test]
fn an_offer_is_answered_in_its_own_family() {
    for (host, shows) in [(PHONE, TO_PHONE), (PHONE6, TO_PHONE6)] {
        for sip in [PHONE, PHONE6] {
            let mut call = ringing(sip, &audio(host, 4000));
            let offered = body(&call.seen).to_owned();
            assert_eq!(offered, shown(&audio(host, 4000), TO_PBX, &[40_002]), "towards IPv4 alone");
            let came = call.accept(&audio(PBX, 5000));
            assert_eq!(media_of(&came), media_of(&shown(&audio(PBX, 5000), shows, &[40_000])));
            let (a, b) = call.rules().remove(0);
            assert_eq!(a.rtp.map(|rtp| rtp.ip()), Some(ip(host)));
            assert_eq!(b.rtp, "10.20.0.20:5000".parse().ok());
            call.end();
        }
    }
}

/// "advertised addresses (1:1 NAT)": the relay binds one, and SDP names the other.
#[test]
fn what_is_bound_and_what_is_advertised() {
    let call = ringing(PHONE, &audio(PHONE, 4000));
    assert_eq!(bound(&call), [ip("10.99.0.1"), ip(TO_PBX)]);
    let call = ringing(PHONE, &audio(PHONE6, 4000));
    assert_eq!(bound(&call), [ip(TO_PHONE6), ip(TO_PBX)]);
}

/// Towards an endpoint that has offered nothing, the family of its SIP counts: a callee's, and a caller's whose offer is
/// late.
#[test]
fn who_has_offered_nothing_is_shown_the_family_of_its_sip() {
    for (sip, shows, host) in [(PHONE, TO_PHONE, PHONE), (PHONE6, TO_PHONE6, PHONE6)] {
        let mut call = ringing(sip, "");
        assert_eq!(
            call.respond("200 OK", "t", "", &audio(PBX, 5000)),
            shown(&audio(PBX, 5000), shows, &[40_000])
        );
        call.ask(Side::A, "ACK", &audio(host, 4000));
        assert_eq!(call.rules()[0].0.rtp, Some((ip(host), 4000).into()));
        call.end();

        let mut world = World::with(both_families);
        let (phone, pbx) = (phone_at(sip), Actor::pbx());
        let contact = super::play::register(&mut world, &phone, "alice");
        let invite = request(&pbx, "INVITE", super::ua::uri_in(&contact), "100", "", &audio(PBX, 5000));
        world.send(&pbx, &invite);
        let seen = world.expect(&phone, "INVITE");
        assert_eq!(body(&seen), shown(&audio(PBX, 5000), shows, &[40_002]));
        world.send(&phone, answer(&phone, &seen, "200 OK", "b", &audio(host, 4000)));
        let came = world.expect(&pbx, "SIP/2.0 200");
        assert_eq!(body(&came), shown(&audio(host, 4000), TO_PBX, &[40_000]));
        let mut leg = super::ua::Leg::caller(&pbx, &invite, &came);
        world.send(&pbx, leg.request("ACK", ""));
        hang_up(&mut world, &mut leg, &phone);
        world.assert_clean();
    }
}

/// A phone that moves to a network of the other family is shown the other address; the stream gets ports of its own there,
/// and the old ones are free once that is agreed.
#[test]
fn a_phone_that_moves_to_the_other_family() {
    let mut call = ringing(PHONE, &audio(PHONE, 4000));
    let before = call.accept(&audio(PBX, 5000));
    let (asked, came) = call.agree(Side::A, "INVITE", &audio(PHONE6, 4000), &audio(PBX, 5000));
    assert_eq!(asked, shown(&audio(PHONE6, 4000), TO_PBX, &[40_006]));
    assert_eq!(media_of(&came), media_of(&shown(&audio(PBX, 5000), TO_PHONE6, &[40_004])));
    assert_eq!(came.lines().nth(1), before.lines().nth(1), "RFC 3264 §8: o= is the call's, and stays");
    assert_eq!(call.pairs(), 1);
    call.refuse(Side::A, "INVITE", &audio(PHONE, 4000), "488 Not Acceptable Here");
    assert_eq!((call.pairs(), call.media_goes_to(Side::A).unwrap()), (1, format!("[{PHONE6}]:4000")));
    let (asked, _) = call.agree(Side::B, "INVITE", &audio(PBX, 5000), &audio(PHONE6, 4000));
    assert_eq!(asked, came, "and stays there");
    call.end();
}

/// "hold": whatever family it is said in, the other side reads its own, and no port changes.
#[test]
fn hold_by_address_crosses_the_families() {
    let mut call = ringing(PHONE6, &audio(PHONE6, 4000));
    call.accept(&audio(PBX, 5000));
    for hold in ["::", "0.0.0.0"] {
        let (asked, _) = call.agree(Side::A, "INVITE", &audio(hold, 4000), &audio(PBX, 5000));
        assert!(asked.contains("\r\nc=IN IP4 0.0.0.0\r\n") && asked.contains("m=audio 40002 "), "{asked}");
        let (asked, _) = call.agree(Side::B, "INVITE", &audio("0.0.0.0", 5000), &audio(hold, 4000));
        assert!(asked.contains("\r\nc=IN IP6 ::\r\n") && asked.contains("m=audio 40000 "), "{asked}");
    }
    assert_eq!(call.pairs(), 1);
    call.end();
}

/// Sections of one body may be of different families.
#[test]
fn each_section_is_of_its_own_family() {
    let offer =
        session(PHONE, &format!("m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96\nc=IN IP6 {PHONE6}\n"));
    let mut call = ringing(PHONE, &offer);
    let came = call.accept(&session(PBX, "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 96\n"));
    let audio = format!("c=IN IP4 {TO_PHONE}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n");
    let video = format!("m=video 40004 RTP/AVP 96\r\nc=IN IP6 {TO_PHONE6}\r\n");
    assert!(came.contains(&audio) && came.contains(&video), "{came}");
    call.end();
}

/// Where the zone has one family alone, that is what everybody is shown.
#[test]
fn a_zone_of_one_family() {
    let mut call =
        Scene::ringing_between(World::new(), phone_at(PHONE6), Actor::pbx(), "", &audio(PHONE6, 4000));
    assert_eq!(call.accept(&audio(PBX, 5000)), shown(&audio(PBX, 5000), TO_PHONE, &[40_000]));
    call.end();
}
