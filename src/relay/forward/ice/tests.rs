use std::net::SocketAddr;
use std::time::Instant;

use super::*;
use crate::ice::{Credentials, Settings};
use crate::relay::{LegRules, SavedLeg, Side};
use crate::stun::{Hash, Key, Method, TransactionId, Type, Writer};
use Component::Rtp;

const A: &str = "192.0.2.1:4000";
const A_BEHIND_NAT: &str = "203.0.113.9:61000";
const B: &str = "198.51.100.1:6000";
const STRANGER: &str = "203.0.113.66:666";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn credentials(name: &str) -> Credentials {
    Credentials::read(name.as_bytes(), name.repeat(6).as_bytes()).unwrap()
}

/// Of an endpoint that ICE calls `me` and that sends its checks to `peer`.
fn rules(rtp: &str, me: Option<&str>, peer: &str, terminated: bool) -> LegRules {
    LegRules {
        rtp: Some(at(rtp)),
        send_before_latch: true,
        payload_types: vec![0],
        rtp_only: true,
        stun_and_dtls: true,
        rtcp_mux: true,
        ice: Some(Settings { local: credentials(peer), remote_ufrag: me.map(Box::from), terminated }),
        ..LegRules::default()
    }
}

fn append() -> Pair {
    let mut pair = Pair::default();
    pair.set_leg(Side::A, rules(A, Some("alfa"), "bravo", false));
    pair.set_leg(Side::B, rules(B, Some("bravo"), "alfa", false));
    pair
}

/// A check of `from` to `to`.
fn check(number: u8, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, Class::Request, Method::BINDING, TransactionId([number; 12]));
    writer.put(Type::USERNAME, format!("{to}:{from}").as_bytes()).put_u32(Type::PRIORITY, 1);
    writer.add_integrity(&Key::short_term(credentials(to).pwd.reveal()), Hash::Sha1).add_fingerprint();
    bytes
}

fn answer_to(check: &[u8], by: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::success(&mut bytes, &Message::parse(check).unwrap())
        .add_integrity(&Key::short_term(credentials(by).pwd.reveal()), Hash::Sha1)
        .add_fingerprint();
    bytes
}

fn rtp() -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.resize(172, 0);
    packet
}

fn dtls_hello() -> Vec<u8> {
    let mut packet = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
    packet.extend([1, 0, 0, 0]);
    packet
}

fn send(pair: &mut Pair, side: Side, source: &str, packet: &[u8], now: Instant) -> (Verdict, Vec<u8>) {
    let mut answer = Vec::new();
    let arrived = Arrived { side, component: Rtp, source: at(source), now };
    let verdict = pair.forward_ice(&arrived, packet, &mut answer);
    (verdict, answer)
}

fn to(addr: &str) -> Verdict {
    Verdict::Forward(Exit { component: Rtp, to: at(addr), ours: false })
}

const SOURCE: Verdict = Verdict::Drop(Reason::Source);

/// RTP bleed and inject (CVE-2025-53399), a stranger's ClientHello (CVE-2023-49786): before the check and in mid-call.
#[test]
fn nothing_of_a_stranger_passes_and_nothing_goes_to_him() {
    let now = Instant::now();
    let mut pair = append();
    assert!(pair.does_ice());
    for packet in [rtp(), dtls_hello()] {
        assert_eq!(
            send(&mut pair, Side::A, A, &packet, now).0,
            SOURCE,
            "the SDP address has proved nothing yet"
        );
        assert_eq!(send(&mut pair, Side::A, STRANGER, &packet, now).0, SOURCE);
    }
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &check(1, "alfa", "bravo"), now).0, to(B));
    assert_eq!(send(&mut pair, Side::B, B, &check(2, "bravo", "alfa"), now).0, to(A_BEHIND_NAT));
    for packet in [rtp(), dtls_hello()] {
        assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &packet, now).0, to(B));
        assert_eq!(send(&mut pair, Side::B, B, &packet, now).0, to(A_BEHIND_NAT));
        for stranger in [STRANGER, A] {
            assert_eq!(send(&mut pair, Side::A, stranger, &packet, now).0, SOURCE);
        }
    }
    let forged = check(3, "alfa", "alfa");
    assert_eq!(send(&mut pair, Side::A, STRANGER, &forged, now).0, SOURCE);
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A_BEHIND_NAT));
}

/// DESIGN.md §4: how a check travels.
#[test]
fn a_check_goes_through_and_its_answer_comes_back_to_who_asked() {
    let now = Instant::now();
    let mut pair = append();
    let asked = check(1, "alfa", "bravo");
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &asked, now).0, to(B), "to the default destination");
    let answered = answer_to(&asked, "bravo");
    assert_eq!(send(&mut pair, Side::B, B, &answered, now).0, to(A_BEHIND_NAT));
    // An ICE-lite endpoint never asks: its answer has shown where it is.
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A_BEHIND_NAT));
    let unasked = answer_to(&check(9, "alfa", "bravo"), "bravo");
    assert_eq!(send(&mut pair, Side::B, STRANGER, &unasked, now).0, SOURCE);
}

#[test]
fn a_check_towards_an_unproved_address_that_must_not_be_reached_goes_nowhere() {
    let now = Instant::now();
    let mut pair = Pair::default();
    pair.set_leg(Side::A, rules(A, Some("alfa"), "bravo", false));
    pair.set_leg(Side::B, LegRules { send_before_latch: false, ..rules(B, Some("bravo"), "alfa", false) });
    let verdict = send(&mut pair, Side::A, A, &check(1, "alfa", "bravo"), now).0;
    assert_eq!(verdict, Verdict::Done, "it waits");
    let mut room = [0; 2048];
    assert!(pair.holds_check() && pair.release_check(&mut room, now).is_none());
}

/// DESIGN.md §4: the newest one is held until the other leg latches.
#[test]
fn the_newest_check_waits_for_its_leg_to_latch() {
    let now = Instant::now();
    let mut pair = Pair::default();
    pair.set_leg(Side::A, rules(A, Some("alfa"), "bravo", false));
    pair.set_leg(Side::B, LegRules { send_before_latch: false, ..rules(B, Some("bravo"), "alfa", false) });
    for number in [1, 2] {
        assert_eq!(send(&mut pair, Side::A, A, &check(number, "alfa", "bravo"), now).0, Verdict::Done);
    }
    assert_eq!(
        send(&mut pair, Side::A, A, &rtp(), now).0,
        Verdict::Drop(Reason::Undeliverable),
        "media does not"
    );
    let mut room = [0; 2048];
    assert_eq!(send(&mut pair, Side::B, STRANGER, &check(3, "bravo", "bravo"), now).0, SOURCE);
    assert_eq!(pair.release_check(&mut room, now), None, "nobody has shown where it is");
    send(&mut pair, Side::B, B, &check(4, "bravo", "alfa"), now);
    let (side, length, exit) = pair.release_check(&mut room, now).unwrap();
    assert_eq!((side, Verdict::Forward(exit)), (Side::A, to(B)));
    assert_eq!(room[..length], check(2, "alfa", "bravo"));
    assert!(!pair.holds_check() && pair.release_check(&mut room, now).is_none(), "once");
    let answered = answer_to(&check(2, "alfa", "bravo"), "bravo");
    assert_eq!(send(&mut pair, Side::B, B, &answered, now).0, to(A), "its answer finds who asked");
}

/// The offerer may be checked before the answer is here, and be behind a NAT.
#[test]
fn a_check_waits_for_rules_too() {
    let now = Instant::now();
    let mut pair = Pair::default();
    let silent = LegRules { ice: None, send_before_latch: false, ..rules(A, None, "bravo", false) };
    pair.set_leg(Side::A, silent);
    pair.set_leg(Side::B, LegRules { rtp: None, ..rules(B, None, "alfa", false) });
    assert_eq!(send(&mut pair, Side::B, B, &check(1, "bravo", "alfa"), now).0, Verdict::Done);
    pair.set_leg(Side::A, rules(A, Some("alfa"), "bravo", false));
    let (side, _, exit) = pair.release_check(&mut [0; 2048], now).unwrap();
    assert_eq!((side, Verdict::Forward(exit)), (Side::B, to(A)));
}

#[test]
fn the_endpoint_that_answers_may_check_before_its_answer_is_here() {
    let now = Instant::now();
    let mut pair = Pair::default();
    pair.set_leg(Side::A, LegRules { ice: None, ..rules(A, None, "bravo", false) });
    pair.set_leg(Side::B, LegRules { rtp: None, ..rules(B, None, "alfa", false) });
    let asked = check(1, "bravo", "alfa");
    assert_eq!(send(&mut pair, Side::B, B, &asked, now).0, to(A));
    assert_eq!(send(&mut pair, Side::A, A, &answer_to(&asked, "alfa"), now).0, to(B));
    // The answer: the offerer's leg is closed to all but checks, and what had latched before is over.
    pair.set_leg(Side::A, rules(A, Some("alfa"), "bravo", false));
    pair.set_leg(Side::B, rules(B, Some("bravo"), "alfa", false));
    assert_eq!(send(&mut pair, Side::A, A, &rtp(), now).0, SOURCE);
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A), "B is known, and A's address is its SDP's");
}

/// DESIGN.md §4: ICE / none.
#[test]
fn a_terminated_leg_is_answered_by_us_and_no_stun_crosses() {
    let now = Instant::now();
    let mut pair = Pair::default();
    pair.set_leg(Side::A, rules(A, Some("alfa"), "edge", true));
    pair.set_leg(Side::B, LegRules { ice: None, stun_and_dtls: false, ..rules(B, None, "edge", false) });
    let (verdict, answer) = send(&mut pair, Side::A, A_BEHIND_NAT, &check(1, "alfa", "edge"), now);
    assert_eq!(verdict, Verdict::Answer);
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.xor_mapped_address().unwrap(), Some(at(A_BEHIND_NAT)));
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &rtp(), now).0, to(B));
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A_BEHIND_NAT));
    assert_eq!(send(&mut pair, Side::B, STRANGER, &rtp(), now).0, SOURCE, "the plain leg latches as ever");
}

/// A phone that moves from Wi-Fi to mobile keeps its call: it checks from its new address.
#[test]
fn an_endpoint_that_moves_takes_its_media_with_it() {
    let now = Instant::now();
    let mut pair = append();
    send(&mut pair, Side::A, A, &check(1, "alfa", "bravo"), now);
    send(&mut pair, Side::B, B, &check(2, "bravo", "alfa"), now);
    assert_eq!(send(&mut pair, Side::A, A, &rtp(), now).0, to(B));
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &rtp(), now).0, SOURCE);
    send(&mut pair, Side::A, A_BEHIND_NAT, &check(3, "alfa", "bravo"), now);
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &rtp(), now).0, to(B));
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A_BEHIND_NAT));
}

/// The next checks come within seconds (RFC 7675 §5.1); media does not wait for them.
#[test]
fn after_a_restart_media_goes_on_between_who_had_proved_themselves_and_nobody_else() {
    let now = Instant::now();
    let before = {
        let mut pair = append();
        send(&mut pair, Side::A, A_BEHIND_NAT, &check(1, "alfa", "bravo"), now);
        send(&mut pair, Side::B, B, &check(2, "bravo", "alfa"), now);
        pair
    };
    let leg = |side| {
        let counters = before.counters.leg(side);
        let latched = [Component::Rtp, Component::Rtcp].map(|component| counters.latched(component).get());
        SavedLeg { rtp: at(STRANGER), latched, inbound: vec![], outbound: vec![], keys: [None, None] }
    };
    let mut pair = append();
    for side in [Side::A, Side::B] {
        pair.resume(side, &leg(side), now);
    }
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &rtp(), now).0, to(B));
    assert_eq!(send(&mut pair, Side::B, B, &rtp(), now).0, to(A_BEHIND_NAT));
    for stranger in [STRANGER, A] {
        assert_eq!(send(&mut pair, Side::A, stranger, &rtp(), now).0, SOURCE);
    }
    let later = now + std::time::Duration::from_secs(31);
    assert_eq!(send(&mut pair, Side::A, A_BEHIND_NAT, &rtp(), later).0, Verdict::Drop(Reason::Undeliverable));
}
