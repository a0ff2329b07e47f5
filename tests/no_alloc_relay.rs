//! The packet path allocates nothing (docs/architecture.md): counted, not believed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use turnpike::media::quality::ClockRates;
use turnpike::relay::forward::{Arrived, Pair, Verdict};
use turnpike::relay::{Component, LegRules, Side};

#[path = "support/counting.rs"]
mod counting;

#[test]
fn a_packet_is_judged_without_allocation() {
    let a = SocketAddr::from(([192, 0, 2, 1], 4000));
    let b = SocketAddr::from(([198, 51, 100, 1], 6000));
    let stranger = SocketAddr::from(([203, 0, 113, 66], 4000));
    let mut pair = Pair::default();
    let mut clocks = ClockRates::default();
    clocks.add(0, 8_000);
    for (side, rtp) in [(Side::A, a), (Side::B, b)] {
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
        let rules = LegRules {
            rtp: Some(rtp),
            rtcp: Some(rtcp),
            payload_types: vec![0],
            clocks: clocks.clone(),
            rtp_only: true,
            stun_and_dtls: true,
            ..LegRules::default()
        };
        pair.set_leg(side, rules);
    }
    let mut rtp = [0u8; 172];
    rtp[0] = 0x80;
    let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let start = Instant::now();

    let mut forwarded = 0;
    let thousand_rounds = || {
        for round in 0..1000u16 {
            let now = start + Duration::from_millis(20) * round.into();
            // Of more senders than are told apart, each with losses.
            rtp[11] = round as u8;
            rtp[2..4].copy_from_slice(&(2 * round).to_be_bytes());
            rtp[4..8].copy_from_slice(&(160 * u32::from(round)).to_be_bytes());
            // The first round latches.
            for (side, source) in [(Side::A, a), (Side::B, b), (Side::A, stranger)] {
                let rtcp_source = SocketAddr::new(source.ip(), source.port() + 1);
                for packet in [&rtp[..], &report, &[0; 20], &[22; 50], &[]] {
                    for (component, source) in [(Component::Rtp, source), (Component::Rtcp, rtcp_source)] {
                        let arrived = Arrived { side, component, source, now };
                        let verdict = pair.forward(&arrived, packet);
                        if let Verdict::Drop(reason) = verdict {
                            pair.refused(&arrived, reason, packet);
                        }
                        forwarded += usize::from(matches!(verdict, Verdict::Forward(_)));
                    }
                }
            }
        }
    };
    assert_eq!(counting::allocations(thousand_rounds), 0);
    assert_eq!(
        forwarded,
        4 * 1000 - 2,
        "RTP and RTCP of both sides, but for A's first, which B is not there for yet"
    );
}
