//! New keys in mid-call.

use std::time::Duration;

use super::*;

/// Sends `n` packets from `sequence` on and reads them.
fn talk(outbound: &mut Outbound, inbound: &mut Inbound, sequence: u16, n: u16, now: Instant) {
    for sequence in (0..n).map(|n| sequence.wrapping_add(n)) {
        let secret = sealed(outbound, &rtp(SSRC, sequence)).unwrap();
        assert_eq!(opened(inbound, &secret, now), Ok(rtp(SSRC, sequence)));
    }
}

#[test]
fn the_rollover_counter_goes_on_or_starts_again_and_both_are_understood() {
    let now = Instant::now();
    for suite in Suite::ALL {
        for rollover in [Rollover::Continues, Rollover::Restarts] {
            let (mut outbound, mut inbound) = pair(suite);
            talk(&mut outbound, &mut inbound, 65_500, 100, now);
            outbound.rekey(&key(suite, 2), rollover);
            inbound.rekey(&key(suite, 2), now);
            talk(&mut outbound, &mut inbound, 64, 100, now);
            // Long after, from a sender that was silent: the old counter is still known.
            talk(&mut outbound, &mut inbound, 164, 100, now + 10 * GRACE);
        }
    }
}

#[test]
fn a_sender_silent_since_before_the_keys_changed_is_heard_when_the_old_ones_are_gone() {
    let now = Instant::now();
    let suite = Suite::AeadAes128Gcm;
    let (mut outbound, mut inbound) = pair(suite);
    talk(&mut outbound, &mut inbound, 65_500, 100, now);
    outbound.rekey(&key(suite, 2), Rollover::Continues);
    inbound.rekey(&key(suite, 2), now);
    talk(&mut outbound, &mut inbound, 64, 1, now + GRACE + Duration::from_secs(600));
}

#[test]
fn packets_under_the_old_keys_are_taken_for_a_while() {
    let now = Instant::now();
    for suite in Suite::ALL {
        let (mut old, mut inbound) = pair(suite);
        talk(&mut old, &mut inbound, 65_500, 100, now);
        let mut new = Outbound::new(&key(suite, 2));
        inbound.rekey(&key(suite, 2), now);
        let soon = now + GRACE - Duration::from_millis(1);
        talk(&mut old, &mut inbound, 64, 10, soon);
        talk(&mut new, &mut inbound, 5000, 10, soon);
        talk(&mut old, &mut inbound, 74, 10, soon);
        let report = sealed_rtcp(&mut old, &rtcp(SSRC)).unwrap();
        assert_eq!(opened_rtcp(&mut inbound, &report, soon), Ok(rtcp(SSRC)));
        assert_eq!(opened_rtcp(&mut inbound, &report, soon), Err(Refused::Authentication), "once");
        let late = sealed(&mut old, &rtp(SSRC, 84)).unwrap();
        assert!(opened(&mut inbound, &late, now + GRACE).is_err());
        talk(&mut new, &mut inbound, 5010, 10, now + GRACE);
    }
}

/// A re-INVITE that failed: everything that was seen or sent under the old key is still known.
#[test]
fn keys_that_come_back_bring_their_windows_along() {
    let now = Instant::now();
    let suite = Suite::AesCm128HmacSha1_80;
    let (mut outbound, mut inbound) = pair(suite);
    let seen = sealed(&mut outbound, &rtp(SSRC, 1)).unwrap();
    opened(&mut inbound, &seen, now).unwrap();
    for seed in [2, 1] {
        inbound.rekey(&key(suite, seed), now);
        outbound.rekey(&key(suite, seed), Rollover::Restarts);
    }
    assert_eq!(opened(&mut inbound, &seen, now), Err(Refused::Replayed));
    assert_eq!(sealed(&mut outbound, &rtp(SSRC, 1)), Err(Refused::Replayed));
    talk(&mut outbound, &mut inbound, 2, 10, now);
}

#[test]
fn the_same_key_again_changes_nothing() {
    let now = Instant::now();
    let suite = Suite::AeadAes256Gcm;
    let (mut outbound, mut inbound) = pair(suite);
    let seen = sealed(&mut outbound, &rtp(SSRC, 1)).unwrap();
    opened(&mut inbound, &seen, now).unwrap();
    inbound.rekey(&key(suite, 1), now);
    outbound.rekey(&key(suite, 1), Rollover::Restarts);
    assert_eq!(opened(&mut inbound, &seen, now), Err(Refused::Replayed));
    assert_eq!(sealed(&mut outbound, &rtp(SSRC, 1)), Err(Refused::Replayed));
}

#[test]
fn another_suite_may_come_with_the_new_key() {
    let now = Instant::now();
    for old in Suite::ALL {
        for new in Suite::ALL {
            let (mut outbound, mut inbound) = pair(old);
            talk(&mut outbound, &mut inbound, 65_500, 100, now);
            let late = sealed(&mut outbound, &rtp(SSRC, 64)).unwrap();
            outbound.rekey(&key(new, 2), Rollover::Continues);
            inbound.rekey(&key(new, 2), now);
            talk(&mut outbound, &mut inbound, 65, 10, now);
            assert_eq!(opened(&mut inbound, &late, now), Ok(rtp(SSRC, 64)), "{old:?} to {new:?}");
        }
    }
}
