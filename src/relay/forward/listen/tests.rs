use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::media::quality::{ClockRates, Measured};
use crate::media::srtp::{MasterKey, Outbound, Suite, TAILROOM};
use crate::relay::{Component, LegCrypto, LegRules, PairCounters};

const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.1:6000";
const MS: Duration = Duration::from_millis(1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Call {
    pair: Pair,
    counters: Arc<PairCounters>,
    start: Instant,
}

impl Call {
    /// A's leg is SRTP under `key`, if there is one.
    fn new(key: Option<&MasterKey>, is_rtp: bool) -> Call {
        let counters = Arc::new(PairCounters::default());
        let mut pair = Pair::new(Arc::default(), counters.clone());
        let mut clocks = ClockRates::default();
        clocks.add(0, 8_000);
        let start = Instant::now();
        for (side, rtp) in [(Side::A, A), (Side::B, B)] {
            let crypto = match (key, side) {
                (Some(key), Side::A) => {
                    LegCrypto::Sdes { inbound: Some(key.clone()), outbound: Some(key.clone()) }
                }
                _ => LegCrypto::Pass,
            };
            pair.set_crypto(side, &crypto, start);
            let rules = LegRules {
                rtp: Some(at(rtp)),
                send_before_latch: true,
                payload_types: if is_rtp { vec![0] } else { Vec::new() },
                clocks: clocks.clone(),
                rtp_only: is_rtp,
                rtcp_mux: true,
                ..LegRules::default()
            };
            pair.set_leg(side, rules);
        }
        Call { pair, counters, start }
    }

    fn came(&mut self, side: Side, packet: &[u8], after: Duration) {
        let source = at(if side == Side::A { A } else { B });
        let arrived = Arrived { side, component: Component::Rtp, source, now: self.start + after };
        if self.pair.does_srtp() {
            let mut bytes = [&[0; TAILROOM], packet].concat();
            let mut place = TAILROOM..bytes.len();
            self.pair.forward_srtp(&arrived, &mut bytes, &mut place);
        } else {
            self.pair.forward(&arrived, packet);
        }
    }

    fn measured(&self, side: Side) -> Measured {
        self.counters.leg(side).quality.read()
    }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((160 * u32::from(sequence)).to_be_bytes());
    packet.resize(172, 7);
    packet
}

/// NTP 1.0, and what the far end says of it: kept for 1/4 s.
fn reports() -> [Vec<u8>; 2] {
    let words = |kind, words: &[u32]| {
        let mut packet = vec![0x80 | u8::from(kind == 201), kind, 0, words.len() as u8];
        words.iter().for_each(|word| packet.extend(word.to_be_bytes()));
        packet
    };
    [words(200, &[7, 1, 0, 0, 0, 0]), words(201, &[9, 7, 0, 0, 0, 1 << 16, 1 << 14])]
}

#[test]
fn each_leg_is_measured_by_what_comes_from_it() {
    let mut call = Call::new(None, true);
    for n in [1, 2, 4, 5] {
        call.came(Side::A, &rtp(n), 20 * MS * n.into());
    }
    call.came(Side::B, &rtp(900), MS);
    let (a, b) = (call.measured(Side::A), call.measured(Side::B));
    assert_eq!(((a.rtp, a.lost), (b.rtp, b.lost)), ((4, 1), (1, 0)));
    assert_eq!((a.jitter.most(), b.jitter.most()), (Some(Duration::ZERO), None));
}

#[test]
fn a_round_trip_is_that_of_the_leg_whose_endpoint_answers_a_report() {
    let mut call = Call::new(None, true);
    let [sender, receiver] = reports();
    call.came(Side::A, &sender, Duration::ZERO);
    call.came(Side::B, &receiver, 300 * MS);
    assert_eq!(call.measured(Side::B).round_trip.mean(), Some(50 * MS));
    assert_eq!(call.measured(Side::A).round_trip.mean(), None);
}

#[test]
fn srtp_is_measured_where_it_ends_at_us() {
    let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[1; 30]).unwrap();
    let (mut call, mut sends) = (Call::new(Some(&key), true), Outbound::new(&key));
    let [sender, receiver] = reports();
    call.came(Side::B, &sender, Duration::ZERO);
    let mut sealed = receiver.clone();
    sealed.resize(receiver.len() + TAILROOM, 0);
    let len = sends.protect_rtcp(&mut sealed, receiver.len()).unwrap();
    call.came(Side::A, &sealed[..len], 300 * MS);
    let mut sealed = rtp(5);
    sealed.resize(172 + TAILROOM, 0);
    let len = sends.protect_rtp(&mut sealed, 172).unwrap();
    for packet in [&sealed[..len], &sealed[..len], &rtp(9)] {
        call.came(Side::A, packet, 300 * MS);
    }
    let measured = call.measured(Side::A);
    assert_eq!(measured.round_trip.mean(), Some(50 * MS));
    assert_eq!((measured.rtp, measured.lost), (1, 0), "neither a replay nor a forgery");
}

#[test]
fn what_is_not_rtp_is_not_measured() {
    let mut call = Call::new(None, false);
    call.came(Side::A, &rtp(1), MS);
    assert_eq!(call.measured(Side::A), Measured::default());
}

#[test]
fn who_and_what_was_refused_is_kept() {
    let call = Call::new(None, true);
    let from =
        |source| Arrived { side: Side::B, component: Component::Rtp, source: at(source), now: call.start };
    let mut g722 = rtp(1);
    g722[1] = 0x80 | 9;
    call.pair.refused(&from("203.0.113.66:666"), Reason::Source, &g722);
    call.pair.refused(&from("203.0.113.66:53"), Reason::Source, b"no media");
    call.pair.refused(&from("203.0.113.66:667"), Reason::Source, &reports()[0]);
    call.pair.refused(&from(B), Reason::Payload, &g722);
    let leg = call.counters.leg(Side::B);
    assert_eq!((leg.stranger.get(), leg.payload_type.get()), (Some(at("203.0.113.66:666")), Some(9)));
    let other = call.counters.leg(Side::A);
    assert_eq!((other.stranger.get(), other.payload_type.get()), (None, None));
}
