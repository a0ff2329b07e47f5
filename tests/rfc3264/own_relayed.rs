//! Relayed addresses of ours in an SDP that a client wrote (docs/adr/0009): those that it got from our TURN server are its
//! own, those of another call are nobody's.

use super::*;
use turnpike::media::Component;
use turnpike::relay::LegRules;

/// What the phone got from our TURN server, on the address that phones are shown; its RTCP twin; somebody else's.
const OWN: u16 = 45_000;
const OWN_RTCP: u16 = 45_006;
const FOREIGN: u16 = 45_001;

fn with_allocations(sides: Sides) -> Call {
    let mut call = Call::new(sides);
    call.relay.allocations = [OWN, OWN_RTCP, FOREIGN].map(|port| at(RA, port)).into();
    call
}

fn at(host: &str, port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::new(ip(host), port)
}

fn ice(default: (&str, u16), candidates: &[(u8, &str, u16, &str)]) -> String {
    let line = |(component, host, port, kind): &(u8, &str, u16, &str)| {
        format!("a=candidate:{kind} {component} udp 1 {host} {port} typ {kind} raddr 10.0.0.1 rport 9\n")
    };
    let lines: String = candidates.iter().map(line).collect();
    let (host, port) = default;
    session(host, &format!("m=audio {port} RTP/AVP 0\na=ice-ufrag:u\na=ice-pwd:p\n{lines}"))
}

fn relay_candidates(body: &str) -> Vec<String> {
    let relay = body.lines().filter(|line| line.contains(" typ relay "));
    relay.map(|line| line.split(' ').skip(4).take(2).collect::<Vec<_>>().join(":")).collect()
}

fn rules(call: &mut Call, offer: &str) -> LegRules {
    call.offer(Side::A, offer);
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    call.relay.rules(0, Side::A).clone()
}

#[test]
fn an_untrusted_phone_may_be_reached_at_its_allocation_and_speaks_from_nowhere_else() {
    for allowed in ["0.0.0.0/0", "198.51.100.0/24"] {
        let mut sides = phone_and_pbx();
        sides.a.allowed = [allowed.parse().unwrap()].into();
        let mut call = with_allocations(sides);
        let offer = audio(RA, OWN) + &format!("a=rtcp:{OWN_RTCP}\r\n");
        let rules = rules(&mut call, &offer);
        assert_eq!((rules.rtp, rules.rtcp), (Some(at(RA, OWN)), Some(at(RA, OWN_RTCP))));
        assert_eq!((rules.sip_source, rules.allowed.len()), (None, 0), "not even from where its SIP comes");
        assert!(!rules.send_before_latch, "that it is its own it proves by speaking from there");
    }
}

#[test]
fn the_pair_carries_on_behind_an_allocation_whoever_names_it() {
    let trusted = || Sides { a: side(RA), b: side(RA) };
    for sides in [phone_and_pbx(), trusted()] {
        let mut call = with_allocations(sides);
        let offer = call.offer(Side::A, &audio(RA, OWN));
        assert!(offer.contains("m=audio 40000 "), "its role may not let it reach a private callee: {offer}");
        let answer = call.answer(Side::B, &audio("10.20.0.20", 5000));
        assert!(
            answer.contains(&format!("c=IN IP4 {RA}\r\n")) && answer.contains("m=audio 40000 "),
            "{answer}"
        );
    }
}

#[test]
fn the_callee_may_answer_with_an_allocation_too() {
    let mut call = with_allocations(phone_and_pbx());
    call.offer(Side::B, &audio("10.20.0.20", 5000));
    call.answer(Side::A, &audio(RA, OWN));
    let rules = call.relay.rules(0, Side::A);
    assert_eq!((rules.rtp, rules.sip_source), (Some(at(RA, OWN)), None));
}

#[test]
fn the_pair_of_another_call_is_no_destination_however_it_is_named() {
    let mut call = with_allocations(phone_and_pbx());
    call.offer(Side::A, &audio(PHONE, 4000));
    let victim = at(RA, 40_000);
    for offer in [
        audio(RA, 40_000),
        audio(RA, OWN) + "a=rtcp:40000\r\n",
        ice((PHONE, 4000), &[(1, RA, 40_000, "relay"), (2, RA, 40_001, "host")]),
        ice((RA, 40_000), &[(1, RA, 40_000, "relay")]),
    ] {
        let mut other = Call::on(phone_and_pbx(), std::mem::take(&mut call.relay));
        other.offer(Side::A, &offer);
        other.answer(Side::B, &audio("10.20.0.20", 5000));
        let pair = other.media.pairs().next().unwrap().0;
        let rules = other.relay.rules(pair, Side::A);
        assert!(rules.rtp != Some(victim) && rules.rtcp != Some(victim), "{offer}");
        assert!(rules.relayed.is_empty(), "{offer}");
        other.close();
        call.relay = other.relay;
    }
}

#[test]
fn an_allocation_that_is_gone_is_an_address_like_any_other() {
    let mut call = with_allocations(phone_and_pbx());
    call.relay.allocations.clear();
    let rules = rules(&mut call, &audio(RA, OWN));
    assert_eq!((rules.rtp, rules.sip_source), (Some(at(RA, OWN)), Some(ip(PHONE))));
    assert!(!rules.send_before_latch);
}

#[test]
fn an_allocation_among_the_candidates_may_latch_besides() {
    let mut call = with_allocations(phone_and_pbx());
    let offer = ice(
        (PHONE, 4000),
        &[
            (1, PHONE, 4000, "srflx"),
            (1, RA, OWN, "relay"),
            (2, RA, OWN_RTCP, "relay"),
            (7, RA, FOREIGN, "relay"),
        ],
    );
    let rules = rules(&mut call, &offer);
    assert_eq!(rules.relayed, [(Component::Rtp, at(RA, OWN)), (Component::Rtcp, at(RA, OWN_RTCP))]);
    assert_eq!(
        (rules.rtp, rules.sip_source),
        (Some(at(PHONE, 4000)), Some(ip(PHONE))),
        "and what it said before"
    );
}

#[test]
fn there_is_never_a_second_relay_candidate_of_ours() {
    let appending = |shown_b: &str| Sides { b: side(shown_b), ..phone_and_pbx() };
    let offer = ice(
        (RA, OWN),
        &[
            (1, "192.168.1.5", 4000, "host"),
            (1, RA, OWN, "relay"),
            (2, RA, OWN_RTCP, "relay"),
            (1, "192.0.2.99", 7, "relay"),
        ],
    );
    for shown in [RA, RB] {
        let mut call = with_allocations(appending(shown));
        let out = call.offer(Side::A, &offer);
        let pair = [format!("{shown}:40000"), format!("{shown}:40001")];
        assert_eq!(
            relay_candidates(&out),
            ["192.0.2.99:7", &pair[0], &pair[1]],
            "another server's stays: {out}"
        );
        assert!(out.contains(&format!("c=IN IP4 {shown}\r\n")) && out.contains(" typ host "), "{out}");
        let answer = call.answer(Side::B, &ice(("192.0.2.50", 5000), &[(1, "192.0.2.50", 5000, "host")]));
        assert_eq!(relay_candidates(&answer), [format!("{RA}:40000"), format!("{RA}:40001")], "{answer}");
    }
}

#[test]
fn a_client_of_ours_is_seen_as_such_where_no_candidates_leave() {
    let mut sides = phone_and_pbx();
    sides.b.ice = Ice::Strip;
    let mut call = with_allocations(sides);
    let out = call.offer(Side::A, &ice((RA, OWN), &[(1, RA, OWN, "relay")]));
    assert!(relay_candidates(&out).is_empty(), "{out}");
    assert_eq!(call.relay.rules(0, Side::A).relayed, [(Component::Rtp, at(RA, OWN))]);
}

#[test]
fn the_candidate_of_a_call_that_the_pbx_joins_to_another_is_not_stacked_either() {
    let sides = Sides { a: side(RB), b: side(RA) };
    let mut first = Call::established();
    let mut second = Call::on(sides, std::mem::take(&mut first.relay));
    let out =
        second.offer(Side::A, &ice((RB, 40_000), &[(1, RB, 40_000, "relay"), (2, RB, 40_001, "relay")]));
    assert_eq!(relay_candidates(&out), [format!("{RA}:40002"), format!("{RA}:40003")], "{out}");
    assert_eq!(second.relay.rules(1, Side::A).rtp, Some(at(RB, 40_000)), "the two pairs are chained");
}

/// Seen with Linphone and Asterisk: ICE done, the phone sends a re-INVITE from the candidate that the PBX's checks told it of.
#[test]
fn a_phone_that_names_itself_as_the_other_side_sees_it_has_not_moved() {
    for default in [(RA, OWN), (PHONE, 4000)] {
        let mut call = with_allocations(phone_and_pbx());
        let before = rules(&mut call, &ice(default, &[(1, RA, OWN, "relay"), (2, RA, OWN_RTCP, "relay")]));
        let after =
            rules(&mut call, &ice((RB, 40_000), &[(1, RB, 40_000, "prflx"), (2, RB, 40_001, "prflx")]));
        assert!(before.rtp.is_some());
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
    }
    let mut call = Call::phone_to_pbx();
    let first = rules(&mut call, &audio(RB, 40_000));
    assert_eq!((first.rtp, first.rtcp), (None, None), "it has never been anywhere");
}
