//! SDP that points where media must not go (ATTACKS.md, "SDP and media").

use super::*;
use turnpike::relay::LegRules;

fn rules_for(host: &str) -> LegRules {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(host, 4000));
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    call.relay.rules(0, Side::A).clone()
}

#[test]
fn no_address_of_an_untrusted_side_that_is_not_public_is_ever_a_destination() {
    for host in [
        "127.0.0.1",
        "10.20.0.20",
        "172.31.1.1",
        "192.168.1.5",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fec0::1",
        "fd00::1",
        "ff02::1",
        "100::1",
        "::ffff:10.20.0.20",
        "::10.20.0.20",
        "64:ff9b::a14:14",
        "64:ff9b:1::1",
        "2002:a14:14::1",
        "2001:0:1::1",
    ] {
        let rules = rules_for(host);
        assert_eq!((rules.rtp, rules.rtcp, rules.send_before_latch), (None, None, false), "{host}");
        assert_eq!(rules.sip_source, Some(ip(PHONE)), "it may still speak from where its SIP comes");
    }
}

/// A phone that is called: its answer, and the offer in its 2xx, count for no more than a caller's.
#[test]
fn who_is_called_points_no_better() {
    for host in ["127.0.0.1", "169.254.169.254", "10.20.0.20", "192.0.2.66"] {
        let Sides { a: phone, b: pbx } = phone_and_pbx();
        let mut call = Call::new(Sides { a: pbx, b: phone });
        call.offer(Side::A, &audio("10.20.0.20", 5000));
        call.answer(Side::B, &audio(host, 4000));
        let answered = call.relay.rules(0, Side::B).clone();
        call.offer(Side::B, &audio(host, 4000));
        call.answer(Side::A, &audio("10.20.0.20", 5000));
        for rules in [&answered, call.relay.rules(0, Side::B)] {
            assert_eq!(rules.rtp.is_some(), host == "192.0.2.66", "{host}");
            assert!(!rules.send_before_latch, "{host}");
        }
    }
}

#[test]
fn a_victim_gets_nothing_unless_it_speaks_first() {
    let rules = rules_for("192.0.2.66");
    assert_eq!((rules.rtp, rules.send_before_latch), ("192.0.2.66:4000".parse().ok(), false));
    let rules = rules_for(PHONE);
    assert_eq!((rules.rtp, rules.send_before_latch), (format!("{PHONE}:4000").parse().ok(), true));
}

#[test]
fn a_victim_in_rtcp_gets_nothing_either() {
    for victim in ["192.0.2.66", "127.0.0.1"] {
        let mut call = Call::phone_to_pbx();
        call.offer(Side::A, &format!("{}a=rtcp:53 IN IP4 {victim}\r\n", audio(PHONE, 4000)));
        assert_eq!(call.relay.rules(0, Side::A).rtcp, None);
    }
    let mut call = Call::phone_to_pbx();
    call.offer(Side::B, &format!("{}a=rtcp:53 IN IP4 10.20.0.21\r\n", audio("10.20.0.20", 5000)));
    assert_eq!(call.relay.rules(0, Side::B).rtcp, "10.20.0.21:53".parse().ok(), "the PBX is believed");
}

#[test]
fn an_untrusted_phone_on_loopback_works_by_its_sip_source() {
    let mut sides = phone_and_pbx();
    sides.a.sip_source = Some(ip("127.0.0.1"));
    let mut call = Call::new(sides);
    call.offer(Side::A, &audio("127.0.0.1", 4000));
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    let rules = call.relay.rules(0, Side::A);
    assert_eq!((rules.rtp, rules.sip_source), (None, Some(ip("127.0.0.1"))));
}

#[test]
fn an_untrusted_side_that_names_a_relayed_address_of_ours_reaches_nobody() {
    let mut call = Call::established();
    let mut other = Call::on(phone_and_pbx(), std::mem::take(&mut call.relay));
    let offer = other.offer(Side::A, &audio(RA, 40000));
    assert!(offer.contains("m=audio 40002 "), "relayed like any other: {offer}");
    let rules = other.relay.rules(1, Side::A);
    assert_eq!((rules.rtp, rules.send_before_latch), (None, false));
}

#[test]
fn a_relayed_address_of_ours_is_not_stacked_where_the_other_side_can_reach_it() {
    let inside = || Sides { a: side(RB), b: side(RB) };
    let mut first = Call::established();
    let mut second = Call::on(inside(), std::mem::take(&mut first.relay));
    let (offer, answer) = (audio(RB, 40000), audio("10.20.0.33", 7000));
    assert_eq!(second.offer(Side::A, &offer), offer);
    assert_eq!(second.answer(Side::B, &answer), answer, "media goes to that address directly");
    assert_eq!(second.relay.opened, 1);
}

#[test]
fn a_relayed_address_of_ours_that_the_other_side_cannot_reach_is_chained() {
    let mut first = Call::established();
    let mut second = Call::on(Sides { a: side(RB), b: side(RA) }, std::mem::take(&mut first.relay));
    let offer = second.offer(Side::A, &audio(RB, 40000));
    assert!(offer.contains(&format!("c=IN IP4 {RA}\r\n")) && offer.contains("m=audio 40002 "), "{offer}");
    assert_eq!(second.relay.rules(1, Side::A).rtp, format!("{RB}:40000").parse().ok());
}

#[test]
fn a_call_is_never_fed_to_itself() {
    let mut call = Call::established();
    call.offer(Side::B, &audio(RB, 40000));
    call.answer(Side::A, &audio(PHONE, 4000));
    assert_eq!(call.relay.rules(0, Side::B).rtp, None);
}

#[test]
fn networks_of_the_zone_may_latch() {
    let mut sides = phone_and_pbx();
    sides.a.allowed = ["198.51.100.0/24".parse().unwrap()].into();
    let mut call = Call::new(sides);
    call.offer(Side::A, &audio("192.168.1.5", 4000));
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    assert_eq!(call.relay.rules(0, Side::A).allowed.len(), 1);
}

/// Who answers may have been told the port as soon as the offer is out; who offers hears of his with the answer alone.
#[test]
fn nobody_speaks_for_a_side_that_has_been_shown_no_port() {
    let mut sides = phone_and_pbx();
    sides.a.allowed = ["198.51.100.0/24".parse().unwrap()].into();
    sides.b.allowed = ["10.20.0.0/24".parse().unwrap()].into();
    let mut call = Call::new(sides);
    call.offer(Side::A, &audio("192.168.1.5", 4000));
    let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
    assert_eq!((a.sip_source, a.allowed.len()), (None, 0), "a neighbour behind the phone's NAT is no phone");
    assert_eq!(b.allowed.len(), 1, "RFC 3264 §5.1: media may come before the answer");
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    let a = call.relay.rules(0, Side::A).clone();
    assert_eq!((a.sip_source, a.allowed.len()), (Some(ip(PHONE)), 1));
    call.offer(Side::A, &audio("192.168.1.5", 4002));
    let again = call.relay.rules(0, Side::A);
    assert_eq!((again.sip_source, again.allowed.len()), (a.sip_source, 1), "a re-INVITE interrupts nothing");
}
