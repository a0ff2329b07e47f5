use super::Component::{Rtcp, Rtp};
use super::*;
use proptest::prelude::*;

const A: &str = "192.0.2.1:4000";
const A_RTCP: &str = "192.0.2.1:4001";
const B: &str = "198.51.100.1:6000";
const B_RTCP: &str = "198.51.100.1:6001";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rules(rtp: &str) -> LegRules {
    let rtp = at(rtp);
    LegRules {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        send_before_latch: true,
        payload_types: vec![0, 101],
        rtp_only: true,
        ..LegRules::default()
    }
}

fn pair(a: LegRules, b: LegRules) -> Pair {
    let mut pair = Pair::default();
    pair.set_leg(Side::A, a);
    pair.set_leg(Side::B, b);
    pair
}

impl Pair {
    fn came(&mut self, side: Side, component: Component, source: SocketAddr, packet: &[u8]) -> Verdict {
        self.forward(&Arrived { side, component, source, now: Instant::now() }, packet)
    }
}

fn rtp(payload_type: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.resize(172, 0);
    packet
}

fn report() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 1, 2, 3, 4]
}

fn stun() -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    packet.resize(20, 7);
    packet
}

fn to(component: Component, addr: &str) -> Verdict {
    Verdict::Forward(Exit { component, to: at(addr), ours: false })
}

const SOURCE: Verdict = Verdict::Drop(Reason::Source);
const PAYLOAD: Verdict = Verdict::Drop(Reason::Payload);
const UNDELIVERABLE: Verdict = Verdict::Drop(Reason::Undeliverable);

#[test]
fn an_exit_knows_a_relay_address_of_ours_as_soon_as_it_is_latched() {
    let mut pair = Pair::new(["198.51.100.1".parse().unwrap()].into(), Arc::default());
    pair.set_leg(Side::A, rules(A));
    pair.set_leg(Side::B, LegRules { send_before_latch: false, ..rules(B) });
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), UNDELIVERABLE);
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), to(Rtp, A));
    let ours = Exit { component: Rtp, to: at(B), ours: true };
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), Verdict::Forward(ours));
}

#[test]
fn both_ways_and_rtcp_beside() {
    let mut pair = pair(rules(A), rules(B));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(101)), to(Rtp, A));
    assert_eq!(pair.came(Side::A, Rtcp, at(A_RTCP), &report()), to(Rtcp, B_RTCP));
    assert_eq!(pair.came(Side::B, Rtcp, at(B_RTCP), &report()), to(Rtcp, A_RTCP));
}

#[test]
fn what_is_not_negotiated_media_neither_passes_nor_latches() {
    let nat = LegRules { sip_source: Some(at(A).ip()), send_before_latch: false, ..rules("10.0.0.1:9") };
    let mut pair = pair(nat, rules(B));
    let bad: [&[u8]; 6] = [&[], b"hello", &rtp(8), &report(), &stun(), &[0x80; 11]];
    for packet in bad {
        assert_eq!(pair.came(Side::A, Rtp, at(A), packet), PAYLOAD, "{packet:02x?}");
    }
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), UNDELIVERABLE, "A has not latched");
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), to(Rtp, A));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(8)), PAYLOAD, "a latch is no licence");
    assert_eq!(pair.came(Side::A, Rtcp, at(A_RTCP), &rtp(0)), PAYLOAD, "RTP on the RTCP port");
}

/// ATTACKS.md, "RTP bleed, RTCP bleed", "RTP inject": a stranger is sent nothing, before the latch and after it.
#[test]
fn a_stranger_gets_nothing_out_and_nothing_in() {
    let mut pair = pair(rules(A), rules(B));
    let strangers = ["203.0.113.66:4000", "192.0.2.1:4002", "203.0.113.66:1"];
    for latched in [false, true] {
        for stranger in strangers {
            for packet in [rtp(0), report(), stun()] {
                assert_eq!(pair.came(Side::A, Rtp, at(stranger), &packet), SOURCE);
                assert_eq!(pair.came(Side::A, Rtcp, at(stranger), &packet), SOURCE);
            }
            assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), to(Rtp, A), "latched: {latched}");
        }
        assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
        assert_eq!(pair.came(Side::A, Rtcp, at(A_RTCP), &report()), to(Rtcp, B_RTCP));
    }
}

/// ATTACKS.md, "RTCP bleed": RTCP begins seconds after RTP, and a neighbour behind the same NAT has all that time.
#[test]
fn behind_nat_the_first_rtcp_comes_from_the_next_port_or_under_rtps_ssrc() {
    let nat =
        || LegRules { sip_source: Some(at(A).ip()), send_before_latch: false, ..rules("10.0.0.1:5000") };
    let neighbour = at("192.0.2.1:9000");
    let mut of_rtps_sender = report();
    of_rtps_sender[4..].copy_from_slice(&rtp(0)[8..12]);
    for (theirs, from) in [(report(), A_RTCP), (of_rtps_sender, "192.0.2.1:51234")] {
        let mut pair = pair(nat(), rules(B));
        assert_eq!(pair.came(Side::A, Rtcp, neighbour, &report()), SOURCE, "before anybody has latched");
        assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
        assert_eq!(pair.came(Side::A, Rtcp, neighbour, &report()), SOURCE);
        assert_eq!(pair.came(Side::B, Rtcp, at(B_RTCP), &report()), UNDELIVERABLE, "nobody is sent it yet");
        assert_eq!(pair.came(Side::A, Rtcp, at(from), &theirs), to(Rtcp, B_RTCP));
        assert_eq!(pair.came(Side::A, Rtcp, neighbour, &theirs), SOURCE);
        assert_eq!(pair.came(Side::B, Rtcp, at(B_RTCP), &report()), to(Rtcp, from));
    }
}

/// A NAT that rebinds, or someone who copied the SSRC: no difference can be seen, so neither is followed.
#[test]
fn a_source_that_moves_is_a_stranger_until_its_offer() {
    let nat = |rtp| LegRules { sip_source: Some(at(A).ip()), ..rules(rtp) };
    let mut pair = pair(nat("10.0.0.1:5000"), rules(B));
    let moved = "192.0.2.1:61000";
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
    assert_eq!(pair.came(Side::A, Rtp, at(moved), &rtp(0)), SOURCE);
    pair.set_leg(Side::A, nat("10.0.0.1:5000"));
    assert_eq!(pair.came(Side::A, Rtp, at(moved), &rtp(0)), SOURCE, "an offer that changes nothing");
    pair.set_leg(Side::A, nat("10.0.0.1:5002"));
    assert_eq!(pair.came(Side::A, Rtp, at(moved), &rtp(0)), to(Rtp, B));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), to(Rtp, moved));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), SOURCE);
}

#[test]
fn rtcp_changes_port_where_only_one_side_does_mux() {
    let mux = LegRules { rtcp_mux: true, ..rules(A) };
    let mut pair = pair(mux, rules(B));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &report()), to(Rtcp, B_RTCP));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
    assert_eq!(pair.came(Side::B, Rtcp, at(B_RTCP), &report()), to(Rtp, A));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &report()), PAYLOAD, "B does not");
}

#[test]
fn stun_and_dtls_pass_where_the_leg_does_ice_or_dtls() {
    let ice = |rtp| LegRules { stun_and_dtls: true, ..rules(rtp) };
    let mut pair = pair(ice(A), ice(B));
    let hello = [22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
    assert_eq!(pair.came(Side::A, Rtp, at(A), &stun()), to(Rtp, B));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &hello), to(Rtp, A));
    assert_eq!(pair.came(Side::A, Rtcp, at(A_RTCP), &stun()), to(Rtcp, B_RTCP));
    assert_eq!(pair.came(Side::A, Rtp, at(A), b"\x00\x01 no STUN"), PAYLOAD);
    assert_eq!(pair.came(Side::A, Rtp, at("203.0.113.66:4000"), &stun()), SOURCE);
}

#[test]
fn a_stream_that_is_not_rtp_passes_unread() {
    let t38 = |rtp| LegRules { rtp_only: false, payload_types: vec![], ..rules(rtp) };
    let mut pair = pair(t38(A), t38(B));
    assert_eq!(pair.came(Side::A, Rtp, at(A), b"\x00\x00udptl"), to(Rtp, B));
    assert_eq!(pair.came(Side::A, Rtcp, at(A_RTCP), b"x"), to(Rtcp, B_RTCP));
    assert_eq!(pair.came(Side::A, Rtp, at(A), b""), PAYLOAD);
    assert_eq!(pair.came(Side::A, Rtp, at(B), b"x"), SOURCE);
}

#[test]
fn before_the_answer_nothing_comes_in_on_its_side() {
    let mut pair = Pair::default();
    pair.set_leg(Side::A, rules(A));
    assert_eq!(pair.came(Side::B, Rtp, at(B), &rtp(0)), SOURCE);
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), UNDELIVERABLE);
    pair.set_leg(Side::B, rules(B));
    assert_eq!(pair.came(Side::A, Rtp, at(A), &rtp(0)), to(Rtp, B));
}

proptest! {
    /// Whatever arrives in whatever order: once a component is latched, only that source is heard on it, and what is
    /// sent to that side goes there.
    #[test]
    fn one_source_per_component_for_ever(
        packets in proptest::collection::vec((0u16..6, any::<bool>(), 0u8..4), 1..60),
    ) {
        let nat = LegRules { sip_source: Some(at(A).ip()), ..rules("10.0.0.1:5000") };
        let mut pair = pair(nat, rules(B));
        let mut latched: [Option<SocketAddr>; 2] = [None, None];
        for (port, is_rtcp, what) in packets {
            let component = if is_rtcp { Rtcp } else { Rtp };
            let source = SocketAddr::new(at(A).ip(), 4000 + port);
            let packet = match what { 0 => rtp(0), 1 => report(), 2 => rtp(55), _ => stun() };
            let verdict = pair.came(Side::A, component, source, &packet);
            let heard = *latched[component as usize].get_or_insert(source);
            match verdict {
                Verdict::Forward(_) => prop_assert_eq!(heard, source),
                Verdict::Drop(reason) if pair.legs[0].source(component).is_none() => {
                    latched[component as usize] = None;
                    if reason == Reason::Source {
                        prop_assert_eq!(component, Rtcp);
                        prop_assert_ne!(latched[0].map(|rtp| rtp.port() + 1), Some(source.port()));
                    }
                }
                Verdict::Drop(Reason::Source) => prop_assert_ne!(heard, source),
                Verdict::Drop(_) => {}
                Verdict::Answer | Verdict::Done => prop_assert!(false, "without ICE"),
            }
            if let Some(heard) = latched[0] {
                let back = pair.came(Side::B, Rtp, at(B), &rtp(0));
                prop_assert_eq!(back, Verdict::Forward(Exit { component: Rtp, to: heard, ours: false }));
            }
        }
    }
}
