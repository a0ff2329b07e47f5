//! The packet path of SRTP allocates nothing (docs/architecture.md): counted, not believed.

#[path = "support/counting.rs"]
mod counting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use turnpike::media::dtls::{Association, Certificate, Keys, Output, Role};
use turnpike::media::srtp::{Inbound, MasterKey, Outbound, Refused, Rollover, Suite, TAILROOM};
use turnpike::relay::forward::{Arrived, Handshakes, Pair, Reason, Said, Verdict, Way};
use turnpike::relay::{Component, LegCrypto, LegRules, Side};

const SSRC: [u8; 4] = [1, 2, 3, 4];

fn rtp(sequence: u16, buffer: &mut [u8]) {
    buffer.fill(0x55);
    buffer[..2].copy_from_slice(&[0x80, 0]);
    buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
    buffer[8..12].copy_from_slice(&SSRC);
}

fn rtcp(buffer: &mut [u8]) {
    buffer[..4].copy_from_slice(&[0x80, 201, 0, 1]);
    buffer[4..8].copy_from_slice(&SSRC);
}

#[test]
fn packets_are_protected_and_unprotected_without_allocation() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let [old, new] = [1, 2]
            .map(|seed| MasterKey::new(suite, &vec![seed; suite.key_len() + suite.salt_len()]).unwrap());
        let (mut late, mut outbound, mut inbound) =
            (Outbound::new(&old), Outbound::new(&old), Inbound::new(&old));
        outbound.rekey(&new, Rollover::Continues);
        inbound.rekey(&new, now);
        let mut buffer = [0; 172 + TAILROOM];

        let packets = || {
            for sequence in 0..1000 {
                // The first makes its sender known; those under the old keys are opened at the second attempt.
                for outbound in [&mut outbound, &mut late] {
                    rtp(sequence, &mut buffer);
                    let len = outbound.protect_rtp(&mut buffer, 172).unwrap();
                    assert_eq!(inbound.unprotect_rtp(&mut buffer[..len], now), Ok(172));
                    rtcp(&mut buffer);
                    let len = outbound.protect_rtcp(&mut buffer, 8).unwrap();
                    assert_eq!(inbound.unprotect_rtcp(&mut buffer[..len], now), Ok(8));
                }
                rtp(sequence + 1, &mut buffer);
                assert_eq!(inbound.unprotect_rtp(&mut buffer, now), Err(Refused::Authentication));
            }
        };
        assert_eq!(counting::allocations(packets), 0, "{suite:?}");
    }
}

#[test]
fn a_packet_between_an_srtp_leg_and_a_plain_one_is_translated_without_allocation() {
    let now = Instant::now();
    let [theirs, ours] = [1, 2].map(|seed| MasterKey::new(Suite::AesCm128HmacSha1_80, &[seed; 30]).unwrap());
    let [phone, trunk] = [4000, 6000].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    let mut pair = Pair::default();
    let sdes = LegCrypto::Sdes { inbound: Some(theirs.clone()), outbound: Some(ours) };
    for (side, rtp, crypto) in [(Side::A, phone, sdes), (Side::B, trunk, LegCrypto::Pass)] {
        pair.set_crypto(side, &crypto, now);
        let rules =
            LegRules { rtp: Some(rtp), rtp_only: true, send_before_latch: true, ..LegRules::default() };
        pair.set_leg(side, rules);
    }
    let mut sends = Outbound::new(&theirs);
    let mut bytes = [0; TAILROOM + 172 + TAILROOM];
    let from = |side, source| Arrived { side, component: Component::Rtp, source, now };
    let (from_phone, from_trunk) = (from(Side::A, phone), from(Side::B, trunk));

    let packets = || {
        for sequence in 0..1000 {
            rtp(sequence, &mut bytes[TAILROOM..TAILROOM + 172]);
            let len = sends.protect_rtp(&mut bytes[TAILROOM..], 172).unwrap();
            let mut place = TAILROOM..TAILROOM + len;
            let verdict = pair.forward_srtp(&from_phone, &mut bytes, &mut place);
            assert!(matches!(verdict, Verdict::Forward(_)) && place.len() == 172);
            let verdict = pair.forward_srtp(&from_phone, &mut bytes, &mut place);
            assert_eq!(verdict, Verdict::Drop(Reason::Replay), "it was there before");

            rtp(sequence, &mut bytes[TAILROOM..TAILROOM + 172]);
            let mut place = TAILROOM..TAILROOM + 172;
            let verdict = pair.forward_srtp(&from_trunk, &mut bytes, &mut place);
            assert!(matches!(verdict, Verdict::Forward(_)) && place.len() == 182);
        }
    };
    assert_eq!(counting::allocations(packets), 0);
}

/// Both ends of a handshake talk until they are quiet; the phone's keys.
fn shake(pair: &mut Pair, phone: &mut Association, source: SocketAddr, handshakes: &Handshakes) -> Keys {
    let now = Instant::now();
    let arrived = Arrived { side: Side::A, component: Component::Rtp, source, now };
    let mut keys = None;
    for _ in 0..10 {
        while let Some(output) = phone.poll_output() {
            match output {
                Output::Packet(packet) => {
                    pair.take_dtls(&arrived, &packet, handshakes);
                }
                Output::Keys(agreed) => keys = Some(agreed),
                Output::Failed(failure) => panic!("{failure}"),
            }
        }
        while let Some(said) = pair.poll_dtls(handshakes, now) {
            let Said::Packet { packet, .. } = said else { panic!("{said:?}") };
            phone.handle_packet(&packet, now);
        }
    }
    keys.expect("keys")
}

#[test]
fn a_packet_between_a_dtls_leg_and_a_plain_one_is_translated_without_allocation() {
    let now = Instant::now();
    let [ours, theirs] = [(); 2].map(|()| Arc::new(Certificate::generate().unwrap()));
    let [phone, trunk] = [4000, 6000].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    let mut pair = Pair::default();
    let fingerprints = [theirs.fingerprint().clone()].into_iter().collect();
    let dtls = LegCrypto::Dtls { role: Some(Role::Server), fingerprints };
    for (side, rtp, crypto) in [(Side::A, phone, dtls), (Side::B, trunk, LegCrypto::Pass)] {
        pair.set_crypto(side, &crypto, now);
        let rules = LegRules {
            rtp: Some(rtp),
            rtp_only: true,
            rtcp_mux: true,
            send_before_latch: true,
            ..LegRules::default()
        };
        pair.set_leg(side, rules);
    }
    let mut association = Association::new(&theirs, Role::Client, &Suite::ALL, now);
    association.expect([ours.fingerprint().clone()]);
    let keys = shake(&mut pair, &mut association, phone, &Handshakes::new(ours, 1));
    let (mut sends, mut hears) = (Outbound::new(&keys.outbound), Inbound::new(&keys.inbound));
    let mut bytes = [0; TAILROOM + 172 + TAILROOM];
    let from = |side, source| Arrived { side, component: Component::Rtp, source, now };
    let (from_phone, from_trunk) = (from(Side::A, phone), from(Side::B, trunk));

    let packets = || {
        for sequence in 0..1000 {
            rtp(sequence, &mut bytes[TAILROOM..TAILROOM + 172]);
            let len = sends.protect_rtp(&mut bytes[TAILROOM..], 172).unwrap();
            let mut place = TAILROOM..TAILROOM + len;
            assert_eq!(pair.way(Side::A, &bytes[place.clone()]), Way::Srtp);
            let verdict = pair.forward_srtp(&from_phone, &mut bytes, &mut place);
            assert!(matches!(verdict, Verdict::Forward(_)) && place.len() == 172);

            let mut place = TAILROOM..TAILROOM + 172;
            let verdict = pair.forward_srtp(&from_trunk, &mut bytes, &mut place);
            assert!(matches!(verdict, Verdict::Forward(_)));
            assert_eq!(hears.unprotect_rtp(&mut bytes[place], now), Ok(172));
        }
    };
    assert_eq!(counting::allocations(packets), 0);
}
