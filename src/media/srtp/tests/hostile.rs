//! What an attacker, a lossy network or a broken peer may send: dropped, and nothing else changes.

use super::*;

/// CVE-2021-41105, and a forged first packet that would set the window far ahead.
#[test]
fn a_hundred_bad_packets_change_nothing() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        for sequence in 0..100 {
            let secret = sealed(&mut outbound, &rtp(SSRC, sequence)).unwrap();
            for forged in [sequence.wrapping_add(30_000), sequence.wrapping_sub(30_000), sequence] {
                let mut bad = secret.clone();
                bad[2..4].copy_from_slice(&forged.to_be_bytes());
                bad[100] ^= 1;
                assert_eq!(opened(&mut inbound, &bad, now), Err(Refused::Authentication));
            }
            let report = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
            let mut bad = report.clone();
            bad[9] ^= 1;
            assert_eq!(opened_rtcp(&mut inbound, &bad, now), Err(Refused::Authentication));
            assert_eq!(opened(&mut inbound, &secret, now), Ok(rtp(SSRC, sequence)), "{suite:?}");
            assert_eq!(opened_rtcp(&mut inbound, &report, now), Ok(rtcp(SSRC)), "{suite:?}");
        }
    }
}

#[test]
fn strangers_senders_take_no_place() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1_80);
    let secret = sealed(&mut outbound, &rtp(SSRC, 1)).unwrap();
    for ssrc in 0..1000u32 {
        let mut bad = secret.clone();
        bad[8..12].copy_from_slice(&ssrc.to_be_bytes());
        assert_eq!(opened(&mut inbound, &bad, now), Err(Refused::Authentication));
    }
    assert!(format!("{inbound:?}").contains("sources: 0"));
    assert_eq!(opened(&mut inbound, &secret, now), Ok(rtp(SSRC, 1)));
}

#[test]
fn a_packet_is_taken_once() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        let packets: Vec<_> = (0..300).map(|n| sealed(&mut outbound, &rtp(SSRC, n)).unwrap()).collect();
        let late = packets[150].clone();
        for packet in packets.iter().filter(|packet| **packet != late) {
            assert!(opened(&mut inbound, packet, now).is_ok());
            assert_eq!(opened(&mut inbound, packet, now), Err(Refused::Replayed));
        }
        assert_eq!(opened(&mut inbound, &late, now), Err(Refused::Replayed), "too old to tell");
        let report = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
        assert!(opened_rtcp(&mut inbound, &report, now).is_ok());
        assert_eq!(opened_rtcp(&mut inbound, &report, now), Err(Refused::Replayed));
    }
}

/// Two packets with one index would share their key stream, and with GCM give the authentication key away.
#[test]
fn no_key_stream_is_used_twice_whatever_is_to_be_sent() {
    let (mut outbound, _) = pair(Suite::AeadAes128Gcm);
    assert!(sealed(&mut outbound, &rtp(SSRC, 500)).is_ok());
    let mut other = rtp(SSRC, 500);
    other[100] ^= 1;
    assert_eq!(sealed(&mut outbound, &other), Err(Refused::Replayed));
    assert_eq!(sealed(&mut outbound, &rtp(SSRC, 100)), Err(Refused::Replayed), "a sender that starts anew");
    assert!(sealed(&mut outbound, &rtp(SSRC + 1, 100)).is_ok(), "with another SSRC it may");
}

#[test]
fn rtcp_in_the_clear_is_refused_however_it_is_marked() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        let mut report = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
        let tag = if matches!(suite, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) { 0 } else { 10 };
        let flag = report.len() - tag - 4;
        report[flag] &= 0x7f;
        assert_eq!(opened_rtcp(&mut inbound, &report, now), Err(Refused::Unencrypted), "{suite:?}");
        let mut clear = rtcp(SSRC);
        clear.extend([0x80, 0, 0, 0]);
        clear.extend([0; 10]);
        assert!(opened_rtcp(&mut inbound, &clear, now).is_err(), "{suite:?}");
    }
}

#[test]
fn packets_cut_anywhere_are_refused() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        let secret = sealed(&mut outbound, &rtp(SSRC, 1)).unwrap();
        let report = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
        for len in 0..secret.len() {
            let refused = opened(&mut inbound, &secret[..len], now).unwrap_err();
            assert_eq!(refused == Refused::Malformed, len < 12, "{suite:?} {len}");
        }
        for len in 0..report.len() {
            assert!(opened_rtcp(&mut inbound, &report[..len], now).is_err(), "{suite:?} {len}");
        }
        for len in 0..12 {
            assert_eq!(sealed(&mut outbound, &rtp(SSRC, 2)[..len]), Err(Refused::Malformed));
        }
        for len in 0..8 {
            assert_eq!(sealed_rtcp(&mut outbound, &rtcp(SSRC)[..len]), Err(Refused::Malformed));
        }
        assert!(
            opened(&mut inbound, &secret, now).is_ok() && opened_rtcp(&mut inbound, &report, now).is_ok()
        );
    }
}
