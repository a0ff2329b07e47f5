//! The packet path of SRTP allocates nothing (docs/architecture.md): counted, not believed.

#[path = "support/counting.rs"]
mod counting;

use std::time::Instant;

use turnpike::media::srtp::{Inbound, MasterKey, Outbound, Refused, Rollover, Suite, TAILROOM};

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
