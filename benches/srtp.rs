//! What a packet of 172 bytes (20 ms of G.711) costs on its way from RTP to SRTP and back, with each suite.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::media::srtp::{Inbound, MasterKey, Outbound, Suite, TAILROOM};

const LEN: usize = 172;

fn packet(sequence: u16) -> [u8; LEN + TAILROOM] {
    let mut packet = [0x55; LEN + TAILROOM];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    packet
}

fn srtp(c: &mut Criterion) {
    let now = Instant::now();
    for suite in Suite::ALL {
        let key = MasterKey::new(suite, &vec![7; suite.key_len() + suite.salt_len()]).unwrap();
        let mut outbound = Outbound::new(&key);
        let mut sequence = 0u16;
        c.bench_function(&format!("srtp/{}/RTP to SRTP", suite.name()), |b| {
            b.iter(|| {
                sequence = sequence.wrapping_add(1);
                let mut packet = packet(sequence);
                outbound.protect_rtp(black_box(&mut packet), LEN).unwrap()
            });
        });

        // A packet opens once: so many are sealed first, and read by a fresh receiver each round.
        let mut outbound = Outbound::new(&key);
        let sealed: Vec<_> = (0..1000)
            .map(|sequence| {
                let mut packet = packet(sequence);
                let len = outbound.protect_rtp(&mut packet, LEN).unwrap();
                packet[..len].to_vec()
            })
            .collect();
        c.bench_function(&format!("srtp/{}/SRTP to RTP", suite.name()), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut left = rounds as usize;
                while left > 0 {
                    let (mut inbound, mut packets) = (Inbound::new(&key), sealed.clone());
                    let packets = packets.iter_mut().take(left);
                    left = left.saturating_sub(sealed.len());
                    let start = Instant::now();
                    for packet in packets {
                        inbound.unprotect_rtp(black_box(packet), now).unwrap();
                    }
                    spent += start.elapsed();
                }
                spent
            });
        });
        c.bench_function(&format!("srtp/{}/forged", suite.name()), |b| {
            let mut inbound = Inbound::new(&key);
            b.iter(|| {
                let mut packet = packet(1);
                inbound.unprotect_rtp(black_box(&mut packet[..LEN]), now).unwrap_err()
            });
        });
    }
    let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[7; 30]).unwrap();
    c.bench_function("srtp/new keys", |b| b.iter(|| Inbound::new(black_box(&key))));
}

criterion_group!(benches, srtp);
criterion_main!(benches);
