//! Both directions together.

mod hostile;
mod keys;
mod libsrtp;
mod properties;
mod restart;

use std::time::Instant;

use super::*;

const SSRC: u32 = 0xcafe_babe;

fn key(suite: Suite, seed: u8) -> MasterKey {
    MasterKey::new(suite, &vec![seed; suite.key_len() + suite.salt_len()]).unwrap()
}

fn pair(suite: Suite) -> (Outbound, Inbound) {
    (Outbound::new(&key(suite, 1)), Inbound::new(&key(suite, 1)))
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(sequence.to_le_bytes().repeat(80));
    packet
}

/// A receiver report without blocks, with a BYE behind it.
fn rtcp(ssrc: u32) -> Vec<u8> {
    let ssrc = ssrc.to_be_bytes();
    [&[0x80, 201, 0, 1], &ssrc[..], &[0x81, 203, 0, 1], &ssrc].concat()
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    [packet, &[0xee; TAILROOM]].concat()
}

fn sealed(outbound: &mut Outbound, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = with_room(packet);
    let len = outbound.protect_rtp(&mut buffer, packet.len())?;
    buffer.truncate(len);
    Ok(buffer)
}

fn sealed_rtcp(outbound: &mut Outbound, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = with_room(packet);
    let len = outbound.protect_rtcp(&mut buffer, packet.len())?;
    buffer.truncate(len);
    Ok(buffer)
}

fn opened(inbound: &mut Inbound, packet: &[u8], now: Instant) -> Result<Vec<u8>, Refused> {
    let mut packet = packet.to_vec();
    let len = inbound.unprotect_rtp(&mut packet, now)?;
    packet.truncate(len);
    Ok(packet)
}

fn opened_rtcp(inbound: &mut Inbound, packet: &[u8], now: Instant) -> Result<Vec<u8>, Refused> {
    let mut packet = packet.to_vec();
    let len = inbound.unprotect_rtcp(&mut packet, now)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn what_is_protected_comes_out_as_it_was() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        for sequence in [1, 2, 5, 4, 3] {
            let packet = rtp(SSRC, sequence);
            let secret = sealed(&mut outbound, &packet).unwrap();
            assert_eq!(secret[..12], packet[..12], "the header is in the clear");
            assert_ne!(secret[12..172], packet[12..]);
            assert_eq!(opened(&mut inbound, &secret, now), Ok(packet), "{suite:?}");
        }
        for _ in 0..3 {
            let secret = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
            assert_eq!(opened_rtcp(&mut inbound, &secret, now), Ok(rtcp(SSRC)), "{suite:?}");
        }
    }
}

#[test]
fn what_a_packet_grows_by_is_the_suites() {
    for (suite, rtp_tag, rtcp_tag) in [
        (Suite::AesCm128HmacSha1_80, 10, 14),
        (Suite::AesCm128HmacSha1_32, 4, 14),
        (Suite::AeadAes128Gcm, 16, 20),
        (Suite::AeadAes256Gcm, 16, 20),
    ] {
        let (mut outbound, _) = pair(suite);
        assert_eq!(sealed(&mut outbound, &rtp(SSRC, 1)).unwrap().len(), 172 + rtp_tag);
        assert_eq!(sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap().len(), 16 + rtcp_tag);
    }
}

#[test]
fn the_rollover_counter_goes_on_for_hours() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = pair(Suite::AeadAes128Gcm);
    for n in 0..200_000u32 {
        // Every hundredth is lost, every tenth late.
        let packets = if n % 10 == 0 { [n + 1, n] } else { [n, n] };
        for n in packets {
            match sealed(&mut outbound, &rtp(SSRC, n as u16)) {
                Ok(_) if n % 100 == 99 => {}
                Ok(secret) => assert!(opened(&mut inbound, &secret, now).is_ok(), "packet {n}"),
                Err(refused) => assert_eq!(refused, Refused::Replayed),
            }
        }
    }
}

/// RFC 3711 §3.3.1 warns of it: the first packets before a rollover are lost, and the receiver hears of none.
#[test]
fn a_peer_whose_packets_before_the_first_rollover_were_lost_is_heard() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(suite);
        sealed(&mut outbound, &rtp(SSRC, 0xffff)).unwrap();
        for sequence in [0, 1, 2] {
            let secret = sealed(&mut outbound, &rtp(SSRC, sequence)).unwrap();
            assert_eq!(opened(&mut inbound, &secret, now), Ok(rtp(SSRC, sequence)), "{suite:?}");
        }
    }
}

#[test]
fn each_sender_has_its_own_counters() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1_80);
    for sequence in [65_000u16, 65_535, 1] {
        for ssrc in 0..MAX_SOURCES as u32 {
            let packet = rtp(ssrc, sequence.wrapping_add(ssrc as u16));
            let secret = sealed(&mut outbound, &packet).unwrap();
            assert_eq!(opened(&mut inbound, &secret, now), Ok(packet));
        }
    }
}

#[test]
fn full_drops_new_senders_and_keeps_the_others() {
    let now = Instant::now();
    let suite = Suite::AeadAes128Gcm;
    let (mut outbound, mut inbound) = pair(suite);
    let one_more = sealed(&mut Outbound::new(&key(suite, 1)), &rtp(99, 1)).unwrap();
    let one_more_rtcp = sealed_rtcp(&mut Outbound::new(&key(suite, 1)), &rtcp(99)).unwrap();
    for ssrc in 0..MAX_SOURCES as u32 {
        let secret = sealed(&mut outbound, &rtp(ssrc, 1)).unwrap();
        opened(&mut inbound, &secret, now).unwrap();
    }
    assert_eq!(sealed(&mut outbound, &rtp(99, 1)), Err(Refused::Sources));
    assert_eq!(sealed_rtcp(&mut outbound, &rtcp(99)), Err(Refused::Sources));
    assert_eq!(opened(&mut inbound, &one_more, now), Err(Refused::Sources));
    assert_eq!(opened_rtcp(&mut inbound, &one_more_rtcp, now), Err(Refused::Sources));
    let secret = sealed(&mut outbound, &rtp(31, 2)).unwrap();
    assert_eq!(opened(&mut inbound, &secret, now), Ok(rtp(31, 2)));
}

#[test]
fn without_room_behind_it_nothing_is_touched() {
    let (mut outbound, _) = pair(Suite::AesCm128HmacSha1_80);
    let mut buffer = with_room(&rtp(SSRC, 1));
    assert_eq!(outbound.protect_rtp(&mut buffer, 173), Err(Refused::NoRoom));
    assert_eq!(outbound.protect_rtp(&mut buffer, 9999), Err(Refused::NoRoom));
    assert_eq!(buffer, with_room(&rtp(SSRC, 1)));
    assert_eq!(outbound.protect_rtp(&mut buffer, 172), Ok(182));
}

#[test]
fn nothing_secret_is_printed() {
    let (outbound, inbound) = pair(Suite::AeadAes128Gcm);
    let printed = format!("{outbound:?} {inbound:?}");
    let expected = ["Outbound", "Inbound"]
        .map(|name| format!("{name} {{ key: MasterKey(AEAD_AES_128_GCM, ***), sources: 0, .. }}"));
    assert_eq!(printed, expected.join(" "));
}
