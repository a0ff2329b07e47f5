//! One end of a leg is killed and goes on from what it has told; the other one has noticed nothing.

use proptest::prelude::*;

use super::*;

/// As many packets on the way to a number as that is steps of this.
const STEP: u64 = 20_000;

/// Sends until the sender has the index, and tells what is to be kept.
fn sent_up_to(outbound: &mut Outbound, index: u64) -> (Vec<u8>, Vec<Milestone>) {
    let milestones = Milestones::default();
    let mut last = Vec::new();
    for at in (0..index).step_by(STEP as usize).chain([index]) {
        last = sealed(outbound, &rtp(SSRC, at as u16)).unwrap();
        outbound.take_milestone().into_iter().for_each(|milestone| milestones.pass(milestone));
    }
    (last, milestones.all())
}

fn heard_up_to(outbound: &mut Outbound, inbound: &mut Inbound, index: u64) -> Vec<Milestone> {
    let milestones = Milestones::default();
    for at in (0..index).step_by(STEP as usize).chain([index]) {
        let packet = sealed(outbound, &rtp(SSRC, at as u16)).unwrap();
        opened(inbound, &packet, Instant::now()).unwrap();
        inbound.take_milestone().into_iter().for_each(|milestone| milestones.pass(milestone));
    }
    milestones.all()
}

proptest! {
    #[test]
    fn who_sends_goes_on_and_uses_no_key_stream_twice(index in 0..400_000u64, missed in 1..30_000u64) {
        let suite = Suite::AesCm128HmacSha1_80;
        let (mut outbound, mut inbound) = pair(suite);
        let (last, kept) = sent_up_to(&mut outbound, index);
        // The receiver knows the sender by this one alone.
        heard_up_to(&mut Outbound::new(&key(suite, 1)), &mut inbound, index);
        prop_assert_eq!(opened(&mut inbound, &last, Instant::now()), Err(Refused::Replayed));
        let mut outbound = Outbound::new(&key(suite, 1));
        outbound.resume(&kept, 1);
        let next = index + missed;
        let packet = sealed(&mut outbound, &rtp(SSRC, next as u16)).unwrap();
        prop_assert_eq!(opened(&mut inbound, &packet, Instant::now()), Ok(rtp(SSRC, next as u16)));
        for before in 0..1000u64.min(next) {
            let packet = rtp(SSRC, (next - before) as u16);
            prop_assert_eq!(sealed(&mut outbound, &packet), Err(Refused::Replayed), "{} before", before);
        }
    }

    #[test]
    fn who_hears_goes_on_and_takes_nothing_that_was_there_before_the_first(
        index in 0..400_000u64,
        missed in 1..30_000u64,
    ) {
        let suite = Suite::AeadAes128Gcm;
        let (mut outbound, mut inbound) = pair(suite);
        let kept = heard_up_to(&mut outbound, &mut inbound, index);
        let mut inbound = Inbound::new(&key(suite, 1));
        inbound.resume(&kept);
        let late = sealed(&mut outbound, &rtp(SSRC, (index + missed) as u16)).unwrap();
        let next = rtp(SSRC, (index + missed + 1) as u16);
        let packet = sealed(&mut outbound, &next).unwrap();
        prop_assert_eq!(opened(&mut inbound, &packet, Instant::now()), Ok(next));
        prop_assert_eq!(opened(&mut inbound, &late, Instant::now()), Err(Refused::Replayed));
    }
}

#[test]
fn each_life_has_srtcp_indices_of_its_own() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut inbound = Inbound::new(&key(suite, 1));
    let mut seen = Vec::new();
    for life in 0..128 {
        let mut outbound = Outbound::new(&key(suite, 1));
        outbound.resume(&[], life);
        for _ in 0..3 {
            let packet = sealed_rtcp(&mut outbound, &rtcp(SSRC)).unwrap();
            assert_eq!(opened_rtcp(&mut inbound, &packet, Instant::now()), Ok(rtcp(SSRC)), "life {life}");
            assert!(!seen.contains(&packet));
            seen.push(packet);
        }
    }
    let mut outbound = Outbound::new(&key(suite, 1));
    outbound.resume(&[], 128);
    assert_eq!(sealed_rtcp(&mut outbound, &rtcp(SSRC)), Err(Refused::Exhausted));
    assert!(sealed(&mut outbound, &rtp(SSRC, 1)).is_ok(), "RTP goes on");
}

#[test]
fn milestones_are_told_once_and_srtcp_passes_none() {
    let (mut outbound, mut inbound) = pair(Suite::AesCm128HmacSha1_80);
    let mut told = 0;
    for n in 0..40_000u32 {
        let packet = sealed(&mut outbound, &rtp(SSRC, n as u16)).unwrap();
        opened(&mut inbound, &packet, Instant::now()).unwrap();
        let (sent, heard) = (outbound.take_milestone(), inbound.take_milestone());
        assert_eq!(sent, heard);
        told += usize::from(sent.is_some());
        if n % 1000 == 0 {
            let packet = sealed_rtcp(&mut outbound, &rtcp(SSRC + 1)).unwrap();
            opened_rtcp(&mut inbound, &packet, Instant::now()).unwrap();
            assert_eq!((outbound.take_milestone(), inbound.take_milestone()), (None, None));
        }
    }
    assert_eq!(told, 3, "at 0, 16384 and 32768");
}
