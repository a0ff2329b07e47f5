//! What the relay decides per packet, without sockets: `cargo bench --bench relay`. With sockets, see
//! `examples/relay_pairs.rs`.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::media::quality::ClockRates;
use turnpike::relay::forward::{Arrived, Pair};
use turnpike::relay::{Component, LegRules, Side};

fn pair(a: SocketAddr, b: SocketAddr) -> Pair {
    let mut pair = Pair::default();
    let mut clocks = ClockRates::default();
    clocks.add(0, 8_000);
    for (side, rtp) in [(Side::A, a), (Side::B, b)] {
        let rules = LegRules {
            rtp: Some(rtp),
            send_before_latch: true,
            payload_types: vec![0, 8, 101],
            clocks: clocks.clone(),
            rtp_only: true,
            ..LegRules::default()
        };
        pair.set_leg(side, rules);
    }
    pair
}

fn forward(criterion: &mut Criterion) {
    let a = SocketAddr::from(([192, 0, 2, 1], 4000));
    let b = SocketAddr::from(([198, 51, 100, 1], 6000));
    let stranger = SocketAddr::from(([203, 0, 113, 66], 4000));
    let mut pair = pair(a, b);
    let mut packet = [0u8; 172];
    packet[0] = 0x80;
    let mut now = Instant::now();
    let mut sequence = 0u16;
    let mut group = criterion.benchmark_group("forward");
    group.bench_function("latched RTP", |bencher| {
        bencher.iter(|| {
            sequence = sequence.wrapping_add(1);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&(160 * u32::from(sequence)).to_be_bytes());
            now += Duration::from_millis(20);
            let arrived = Arrived { side: Side::A, component: Component::Rtp, source: black_box(a), now };
            pair.forward(&arrived, black_box(&packet))
        });
    });
    group.bench_function("stranger", |bencher| {
        let arrived = Arrived { side: Side::A, component: Component::Rtp, source: stranger, now };
        bencher.iter(|| pair.forward(black_box(&arrived), black_box(&packet)));
    });
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
