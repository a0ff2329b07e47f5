use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::media::srtp::{GRACE, MasterKey, Suite};
use crate::relay::{Component, LegRules, OpenPair, PairId, SideAddrs};

const PHONE: &str = "192.0.2.1:4000";
const TRUNK: &str = "198.51.100.1:6000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn key(n: u8) -> MasterKey {
    MasterKey::new(Suite::AesCm128HmacSha1_80, &[n; 30]).unwrap()
}

fn sdes(inbound: u8, outbound: u8) -> LegCrypto {
    LegCrypto::Sdes { inbound: Some(key(inbound)), outbound: Some(key(outbound)) }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.resize(172, 7);
    packet
}

fn report() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 1, 2, 3, 4]
}

fn rules(rtp: &str) -> LegRules {
    let rtp = at(rtp);
    LegRules {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        payload_types: vec![0],
        rtp_only: true,
        send_before_latch: true,
        stun_and_dtls: true,
        ..LegRules::default()
    }
}

/// A pair between an SRTP phone on side A and whatever the trunk on side B is.
struct World {
    pair: Pair,
    now: Instant,
    phone_sends: Outbound,
    phone_hears: Inbound,
}

impl World {
    fn new(trunk: LegCrypto) -> World {
        let mut pair = Pair::default();
        let now = Instant::now();
        for (side, rtp, crypto) in [(Side::A, PHONE, sdes(1, 2)), (Side::B, TRUNK, trunk)] {
            pair.set_crypto(side, &crypto, now);
            pair.set_leg(side, rules(rtp));
        }
        World { pair, now, phone_sends: Outbound::new(&key(1)), phone_hears: Inbound::new(&key(2)) }
    }

    fn phone_says(&mut self, sequence: u16) -> Vec<u8> {
        protected(&mut self.phone_sends, Kind::Media, rtp(sequence))
    }

    /// What leaves, or why it does not.
    fn send(&mut self, side: Side, component: Component, packet: &[u8]) -> Result<Vec<u8>, Reason> {
        let source = at(if side == Side::A { PHONE } else { TRUNK });
        self.send_from(
            side,
            component,
            SocketAddr::new(source.ip(), source.port() + component as u16),
            packet,
        )
    }

    fn send_from(
        &mut self,
        side: Side,
        component: Component,
        source: SocketAddr,
        packet: &[u8],
    ) -> Result<Vec<u8>, Reason> {
        let mut bytes = [&[0xee; TAILROOM][..], packet, &[0xdd; 40]].concat();
        let mut place = TAILROOM..TAILROOM + packet.len();
        let arrived = Arrived { side, component, source, now: self.now };
        let verdict = self.pair.forward_srtp(&arrived, &mut bytes, &mut place);
        assert!(bytes[TAILROOM + packet.len()..].iter().all(|byte| *byte == 0xdd), "what stands behind it");
        match verdict {
            Verdict::Forward(_) => Ok(bytes[place].to_vec()),
            Verdict::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }
}

fn protected(outbound: &mut Outbound, kind: Kind, mut packet: Vec<u8>) -> Vec<u8> {
    let len = packet.len();
    packet.resize(len + TAILROOM, 0);
    let len = match kind {
        Kind::Media => outbound.protect_rtp(&mut packet, len),
        Kind::Rtcp => outbound.protect_rtcp(&mut packet, len),
    };
    packet.truncate(len.unwrap());
    packet
}

#[test]
fn an_srtp_phone_and_a_plain_trunk_hear_each_other() {
    let mut world = World::new(LegCrypto::Pass);
    for sequence in 0..100 {
        let packet = world.phone_says(sequence);
        assert_eq!(world.send(Side::A, Component::Rtp, &packet), Ok(rtp(sequence)));
        let mut packet = world.send(Side::B, Component::Rtp, &rtp(sequence)).unwrap();
        assert_ne!(packet, rtp(sequence));
        let len = world.phone_hears.unprotect_rtp(&mut packet, world.now).unwrap();
        assert_eq!(packet[..len], rtp(sequence));
    }
}

/// A neighbour behind the same NAT, who would be RTCP's first sender.
#[test]
fn rtcp_from_an_unexpected_port_latches_only_if_it_is_authentic() {
    let mut world = World::new(LegCrypto::Pass);
    for (side, address) in [(Side::A, PHONE), (Side::B, TRUNK)] {
        world.pair.set_leg(side, LegRules { sip_source: Some(at(address).ip()), ..rules(address) });
    }
    let other_port = |address| SocketAddr::new(at(address).ip(), 9000);
    let plain = report();
    assert_eq!(world.send_from(Side::B, Component::Rtcp, other_port(TRUNK), &plain), Err(Reason::Source));
    assert_eq!(
        world.send_from(Side::A, Component::Rtcp, other_port(PHONE), &[&plain[..], &[0; 14]].concat()),
        Err(Reason::Authentication)
    );
    let authentic = protected(&mut world.phone_sends, Kind::Rtcp, plain.clone());
    assert_eq!(world.send_from(Side::A, Component::Rtcp, other_port(PHONE), &authentic), Ok(plain));
}

#[test]
fn rtcp_is_translated_too() {
    let mut world = World::new(LegCrypto::Pass);
    let packet = protected(&mut world.phone_sends, Kind::Rtcp, report());
    assert_eq!(world.send(Side::A, Component::Rtcp, &packet), Ok(report()));
    let mut packet = world.send(Side::B, Component::Rtcp, &report()).unwrap();
    let len = world.phone_hears.unprotect_rtcp(&mut packet, world.now).unwrap();
    assert_eq!(packet[..len], report());
}

#[test]
fn two_srtp_legs_have_keys_of_their_own() {
    let mut world = World::new(sdes(3, 4));
    let packet = world.phone_says(1);
    let mut packet = world.send(Side::A, Component::Rtp, &packet).unwrap();
    let len = Inbound::new(&key(4)).unprotect_rtp(&mut packet, world.now).unwrap();
    assert_eq!(packet[..len], rtp(1));
}

#[test]
fn nothing_that_is_not_authentic_latches_or_passes() {
    let mut world = World::new(LegCrypto::Pass);
    let good = world.phone_says(1);
    let mut altered = good.clone();
    altered[20] ^= 1;
    let other_key = protected(&mut Outbound::new(&key(9)), Kind::Media, rtp(1));
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.resize(20, 1);
    let (wrong, no_srtp) = (Reason::Authentication, Reason::Payload);
    for (bad, reason) in [
        (altered, wrong),
        (other_key, wrong),
        (rtp(1), wrong),
        (good[..90].to_vec(), wrong),
        (stun, no_srtp),
        (vec![22; 40], no_srtp),
        (vec![], no_srtp),
    ] {
        assert_eq!(world.send(Side::A, Component::Rtp, &bad), Err(reason));
        assert_eq!(world.pair.legs[0].source(Component::Rtp), None, "nobody has latched");
    }
    assert_eq!(world.send(Side::A, Component::Rtp, &good), Ok(rtp(1)));
    assert_eq!(world.pair.legs[0].source(Component::Rtp), Some(at(PHONE)));
    assert_eq!(world.send(Side::A, Component::Rtp, &good), Err(Reason::Replay), "a replay");
}

#[test]
fn nothing_leaves_in_the_clear_before_the_keys_are_known() {
    let mut world = World::new(LegCrypto::Sdes { inbound: None, outbound: None });
    let packet = world.phone_says(1);
    assert_eq!(world.send(Side::A, Component::Rtp, &packet), Err(Reason::Undeliverable));
    assert_eq!(world.send(Side::B, Component::Rtp, &rtp(1)), Err(Reason::Authentication));
}

#[test]
fn the_same_keys_again_change_nothing_and_new_ones_do() {
    let mut world = World::new(LegCrypto::Pass);
    let first = world.phone_says(1);
    world.send(Side::A, Component::Rtp, &first).unwrap();
    world.pair.set_crypto(Side::A, &sdes(1, 2), world.now);
    assert_eq!(world.send(Side::A, Component::Rtp, &first), Err(Reason::Replay), "still a replay");

    let old = world.phone_says(2);
    world.pair.set_crypto(Side::A, &sdes(5, 2), world.now);
    let new = protected(&mut Outbound::new(&key(5)), Kind::Media, rtp(3));
    assert_eq!(world.send(Side::A, Component::Rtp, &old), Ok(rtp(2)), "it was on its way");
    assert_eq!(world.send(Side::A, Component::Rtp, &new), Ok(rtp(3)));
    world.now += GRACE + Duration::from_secs(1);
    let late = world.phone_says(4);
    assert_eq!(world.send(Side::A, Component::Rtp, &late), Err(Reason::Authentication));
}

#[test]
fn no_key_stream_is_used_twice_when_a_leg_was_plain_in_between() {
    let mut world = World::new(LegCrypto::Pass);
    world.send(Side::B, Component::Rtp, &rtp(1)).unwrap();
    world.pair.set_crypto(Side::A, &LegCrypto::Pass, world.now);
    assert!(!world.pair.does_srtp());
    world.pair.set_crypto(Side::A, &sdes(1, 2), world.now);
    assert_eq!(world.send(Side::B, Component::Rtp, &rtp(1)), Err(Reason::Replay));
    assert!(world.send(Side::B, Component::Rtp, &rtp(2)).is_ok());
}

/// An hour old, the node is killed: the phone goes on, and hears and is heard as if nothing had been.
#[test]
fn after_a_restart_the_rollover_counters_go_on() {
    let mut world = World::new(LegCrypto::Pass);
    for n in (0..180_000u32).step_by(20_000) {
        let packet = world.phone_says(n as u16);
        world.send(Side::A, Component::Rtp, &packet).unwrap();
        let mut packet = world.send(Side::B, Component::Rtp, &rtp(n as u16)).unwrap();
        world.phone_hears.unprotect_rtp(&mut packet, world.now).unwrap();
    }
    let addresses = |address| SideAddrs::new(at(address).ip(), at(address).port());
    let (a, b, counters) =
        (addresses("192.0.2.9:10"), addresses("192.0.2.9:12"), world.pair.counters.clone());
    let saved = OpenPair { id: PairId(1), a, b, counters }.save();
    assert_eq!(saved.side(Side::A).latched, [Some(at(PHONE)), None]);

    let mut again = World::new(LegCrypto::Pass);
    again.pair.counters = saved.counters().into();
    again.pair.set_crypto(Side::A, &sdes(1, 2), again.now);
    for side in [Side::A, Side::B] {
        again.pair.resume(side, saved.side(side), again.now);
    }
    let resaved = OpenPair { id: PairId(2), a, b, counters: again.pair.counters.clone() }.save();
    assert_eq!(
        resaved.side(Side::A),
        saved.side(Side::A),
        "for the next restart, whoever is silent meanwhile"
    );
    (again.phone_sends, again.phone_hears) = (world.phone_sends, world.phone_hears);
    for n in 180_000..180_010u32 {
        let mut packet = again.send(Side::B, Component::Rtp, &rtp(n as u16)).unwrap();
        let len = again.phone_hears.unprotect_rtp(&mut packet, again.now).unwrap();
        assert_eq!(packet[..len], rtp(n as u16));
        let packet = again.phone_says(n as u16);
        assert_eq!(again.send(Side::A, Component::Rtp, &packet), Ok(rtp(n as u16)));
    }
    assert_eq!(again.pair.counters.life(), 1);
}
