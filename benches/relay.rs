//! What the relay decides per packet, without sockets: `cargo bench --bench relay`. With sockets, see
//! `examples/relay_pairs.rs`.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::relay::forward::Pair;
use turnpike::relay::{Component, LegRules, Side};

fn pair(a: SocketAddr, b: SocketAddr) -> Pair {
    let mut pair = Pair::default();
    for (side, rtp) in [(Side::A, a), (Side::B, b)] {
        let rules = LegRules {
            rtp: Some(rtp),
            send_before_latch: true,
            payload_types: vec![0, 8, 101],
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
    let mut group = criterion.benchmark_group("forward");
    group.bench_function("latched RTP", |bencher| {
        bencher.iter(|| pair.forward(Side::A, Component::Rtp, black_box(a), black_box(&packet)));
    });
    group.bench_function("stranger", |bencher| {
        bencher.iter(|| pair.forward(Side::A, Component::Rtp, black_box(stranger), black_box(&packet)));
    });
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
