use super::*;
use proptest::prelude::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A leg that sends PCMU in packets of 20 ms.
struct Leg {
    quality: Quality,
    counters: QualityCounters,
    start: Instant,
}

impl Leg {
    fn new() -> Leg {
        let mut quality = Quality::default();
        let mut clocks = ClockRates::default();
        clocks.add(0, 8_000);
        clocks.add(96, 90_000);
        quality.set_clocks(&clocks);
        Leg { quality, counters: QualityCounters::default(), start: Instant::now() }
    }

    fn packet(&mut self, ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, after: Duration) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.resize(172, 0x55);
        self.quality.media(&packet, self.start + after, &self.counters);
    }

    /// The packet of this number, in its time.
    fn in_time(&mut self, sequence: u16) {
        self.packet(1, 0, sequence, 160 * u32::from(sequence), 20 * MS * u32::from(sequence));
    }

    fn measured(&self) -> Measured {
        self.counters.read()
    }

    fn rtp_and_lost(&self) -> (u64, u64) {
        let measured = self.measured();
        (measured.rtp, measured.lost)
    }
}

#[test]
fn what_never_comes_is_lost() {
    let mut leg = Leg::new();
    [7, 8, 9, 12, 13, 20].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.rtp_and_lost(), (6, 8));
}

#[test]
fn what_comes_late_or_twice_is_not_lost() {
    let mut leg = Leg::new();
    [7, 9, 8, 9, 9, 12, 11, 10, 12, 7].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.rtp_and_lost(), (6, 0));
}

#[test]
fn a_duplicate_does_not_make_up_for_a_loss() {
    let mut leg = Leg::new();
    [1, 2, 2, 4].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.rtp_and_lost(), (3, 1), "RFC 3550 A.3 alone would say 0");
}

#[test]
fn sequence_numbers_begin_anew_after_65535() {
    let mut leg = Leg::new();
    [65_533, 65_535, 0, 65_534, 2].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.rtp_and_lost(), (5, 1));
}

#[test]
fn what_came_before_the_first_is_not_lost_when_it_comes() {
    let mut leg = Leg::new();
    [10, 9, 11].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.measured().lost, 0);
}

#[test]
fn a_sender_that_begins_anew_has_lost_nothing() {
    let mut leg = Leg::new();
    [1, 2, 30_000, 30_001, 30_002, 30_004].into_iter().for_each(|n| leg.in_time(n));
    assert_eq!(leg.rtp_and_lost(), (6, 1));
    leg.in_time(900);
    leg.in_time(30_005);
    assert_eq!(leg.measured().lost, 1, "one that strays changes nothing");
}

#[test]
fn each_ssrc_is_counted_by_itself() {
    let mut leg = Leg::new();
    for n in 0..10 {
        leg.packet(1, 0, n, 0, Duration::ZERO);
        leg.packet(2, 96, 40_000 + 2 * n, 0, Duration::ZERO);
    }
    assert_eq!(leg.rtp_and_lost(), (20, 9));
}

#[test]
fn when_full_the_ssrc_that_was_heard_longest_ago_makes_room() {
    let mut leg = Leg::new();
    for ssrc in 1..=5 {
        leg.packet(ssrc, 0, 100, 0, MS * ssrc);
    }
    leg.packet(1, 0, 300, 0, 6 * MS);
    assert_eq!(leg.rtp_and_lost(), (6, 0), "it was forgotten, so nothing between was lost");
    leg.packet(3, 0, 102, 0, 7 * MS);
    assert_eq!(leg.rtp_and_lost(), (7, 1), "these were not");
}

#[test]
fn an_even_stream_has_no_jitter() {
    let mut leg = Leg::new();
    (0..500).for_each(|n| leg.in_time(n));
    let jitter = leg.measured().jitter;
    assert_eq!((jitter.mean(), jitter.most()), (Some(Duration::ZERO), Some(Duration::ZERO)));
}

/// By hand after RFC 3550 A.8, in microseconds times 16.
#[test]
fn jitter_is_rfc_3550s() {
    let mut leg = Leg::new();
    let arrivals = [0, 25, 40, 75, 80];
    for (n, arrival) in arrivals.into_iter().enumerate() {
        leg.packet(1, 0, n as u16, 160 * n as u32, MS * arrival);
    }
    let mut expected: u64 = 0;
    let mut all = Vec::new();
    for step in arrivals.windows(2) {
        expected = expected + 1_000 * u64::from((step[1] - step[0]).abs_diff(20)) - ((expected + 8) >> 4);
        all.push(expected >> 4);
    }
    let mean = all.iter().sum::<u64>() / 4;
    let jitter = leg.measured().jitter;
    assert_eq!(jitter.mean(), Some(Duration::from_micros(mean)));
    assert_eq!(jitter.most(), all.iter().max().copied().map(Duration::from_micros));
}

#[test]
fn video_runs_on_its_own_clock() {
    let mut leg = Leg::new();
    for n in 0..300 {
        leg.packet(1, 96, n, 3_000 * u32::from(n), Duration::from_micros(33_333 * u64::from(n)));
    }
    assert!(leg.measured().jitter.most().unwrap() < Duration::from_micros(2), "30 frames a second");
}

#[test]
fn neither_events_nor_silence_nor_another_clock_are_jitter() {
    let mut leg = Leg::new();
    (0..10).for_each(|n| leg.in_time(n));
    for n in 10..15 {
        // RFC 4733 §2.3.5: one event, one timestamp.
        leg.packet(1, 101, n, 160 * 10, 20 * MS * u32::from(n));
    }
    (15..20).for_each(|n| leg.in_time(n));
    leg.packet(1, 96, 20, 900_000, 400 * MS);
    leg.packet(1, 96, 21, 901_800, 420 * MS);
    leg.packet(1, 96, 22, 903_600, Duration::from_secs(60));
    let measured = leg.measured();
    assert_eq!((measured.jitter.most(), measured.rtp), (Some(Duration::ZERO), 23));
}

#[test]
fn what_is_no_rtp_counts_for_nothing() {
    let mut leg = Leg::new();
    for packet in [&[][..], &[0x80; 11], &[0; 20], &[22; 60]] {
        leg.quality.media(packet, leg.start, &leg.counters);
    }
    assert_eq!(leg.measured(), Measured::default());
    assert_eq!(leg.measured().jitter.mean(), None);
}

fn sender_report(ssrc: u32, ntp: u64, blocks: &[[u32; 6]]) -> Vec<u8> {
    let words = [ssrc, (ntp >> 32) as u32, ntp as u32, 0, 0, 0];
    report(200, &words, blocks)
}

fn receiver_report(blocks: &[[u32; 6]]) -> Vec<u8> {
    report(201, &[9], blocks)
}

fn report(kind: u8, words: &[u32], blocks: &[[u32; 6]]) -> Vec<u8> {
    let words: Vec<u32> = words.iter().chain(blocks.iter().flatten()).copied().collect();
    let mut packet = vec![0x80 | blocks.len() as u8, kind];
    packet.extend((words.len() as u16).to_be_bytes());
    words.into_iter().for_each(|word| packet.extend(word.to_be_bytes()));
    packet
}

const NTP: u64 = 0x0001_b44d_b705_2000;
const LSR: u32 = 0xb44d_b705;

/// A sender description, as it stands behind every report.
const SDES: [u8; 12] = [0x81, 202, 0, 2, 0, 0, 0, 9, 1, 1, b'x', 0];

/// In microseconds.
fn round_trips(far: &SenderReports, packet: &[u8], at: Instant) -> Vec<u128> {
    let mut all = Vec::new();
    far.heard(packet, at, |said| all.extend(said.round_trip.map(|time| time.as_micros())));
    all
}

/// RFC 3550 §6.4.1, figure 2, seen from where the reports pass.
#[test]
fn a_round_trip_is_the_time_since_the_report_less_what_the_far_end_kept_it() {
    let (mut far, start) = (SenderReports::default(), Instant::now());
    far.pass(&[sender_report(7, NTP, &[]), SDES.to_vec()].concat(), start);
    let block = |ssrc, lsr, dlsr| [ssrc, 0, 0, 0, lsr, dlsr];
    let later = start + 5_500 * MS;
    let both = receiver_report(&[block(8, 1, 1), block(7, LSR, 5 << 16)]);
    assert_eq!(round_trips(&far, &[both, SDES.to_vec()].concat(), later), [500_000]);
    let in_sender_report = sender_report(9, 1, &[block(7, LSR, 5 << 16)]);
    assert_eq!(round_trips(&far, &in_sender_report, later), [500_000]);
    for other in [block(8, LSR, 0), block(7, LSR + 1, 0), block(7, 0, 0), block(7, LSR, 6 << 16)] {
        assert_eq!(round_trips(&far, &receiver_report(&[other]), later), [0; 0], "{other:?}");
    }
}

#[test]
fn a_leg_is_told_its_round_trips() {
    let (mut leg, mut far) = (Leg::new(), SenderReports::default());
    far.pass(&sender_report(7, NTP, &[]), leg.start);
    for delay in [40, 60] {
        let packet = receiver_report(&[[7, 0, 0, 0, LSR, 0]]);
        leg.quality.rtcp(&packet, &far, leg.start + MS * delay, &leg.counters);
    }
    let round_trip = leg.measured().round_trip;
    assert_eq!((round_trip.mean(), round_trip.most()), (Some(50 * MS), Some(60 * MS)));
}

#[test]
fn what_the_far_end_misses_is_what_it_says_of_senders_that_there_are() {
    let (mut leg, mut far) = (Leg::new(), SenderReports::default());
    far.pass(&sender_report(7, NTP, &[]), leg.start);
    far.pass(&sender_report(8, NTP, &[]), leg.start);
    let reports = [(7, 5), (8, 0x00ff_fffe), (66, 1_000), (7, 9), (7, 8), (7, 10), (8, 1)];
    for (ssrc, lost) in reports {
        let packet = receiver_report(&[[ssrc, 0x8000_0000 | lost, 0, 0, 0, 0]]);
        leg.quality.rtcp(&packet, &far, leg.start, &leg.counters);
    }
    let measured = leg.measured();
    // 10 of the one, and 1 of the other, of which more had come than were sent.
    assert_eq!((measured.far_reports, measured.far_lost), (6, 11));
}

#[test]
fn srtcp_that_passes_sealed_says_nothing() {
    let (mut far, start) = (SenderReports::default(), Instant::now());
    far.pass(&sender_report(7, NTP, &[]), start);
    // RFC 3711 §3.4: the first header in the clear, then E and the index, and a tag.
    let sealed = [receiver_report(&[[7, 0, 0, 0, LSR, 0]]), vec![0x80, 0, 0, 1], vec![0xc8; 10]].concat();
    assert_eq!(round_trips(&far, &sealed, start + MS), [0; 0]);
    let mut other = SenderReports::default();
    other.pass(&[sender_report(7, NTP, &[]), vec![0x80, 0, 0, 1], vec![0xc8; 10]].concat(), start);
    assert_eq!(round_trips(&other, &receiver_report(&[[7, 0, 0, 0, LSR, 0]]), start + MS), [0; 0]);
}

#[test]
fn when_full_the_oldest_report_makes_room() {
    let (mut far, start) = (SenderReports::default(), Instant::now());
    for n in 0..9 {
        far.pass(&sender_report(7, NTP + (n << 16), &[]), start);
    }
    let of = |n| receiver_report(&[[7, 0, 0, 0, LSR + n, 0]]);
    assert_eq!(round_trips(&far, &of(0), start + MS), [0; 0]);
    for n in 1..9 {
        assert_eq!(round_trips(&far, &of(n), start + MS), [1_000], "{n}");
    }
}

proptest! {
    /// RFC 3550 A.3 over what came at least once: order and copies change nothing, while nothing is later than 100 numbers.
    #[test]
    fn loss_is_what_is_missing(first: u16, came in proptest::collection::vec((0..3u8, 0..90u64), 2..400)) {
        // Each packet never, once or twice; it is late by so many places.
        let mut wire: Vec<(u64, u16)> = Vec::new();
        for (n, (copies, late)) in came.iter().enumerate() {
            for copy in 0..*copies {
                wire.push((n as u64 + late * u64::from(copy), first.wrapping_add(n as u16)));
            }
        }
        wire.sort();
        let mut leg = Leg::new();
        wire.iter().for_each(|(_, sequence)| leg.packet(1, 0, *sequence, 0, Duration::ZERO));
        let received = came.iter().filter(|(copies, _)| *copies > 0).count() as u64;
        let sent = |at: Option<usize>| at.unwrap_or_default() as u64;
        let is_there = |(copies, _): &(u8, u64)| *copies > 0;
        let (from, to) = (sent(came.iter().position(is_there)), sent(came.iter().rposition(is_there)));
        let expected = if received == 0 { 0 } else { to - from + 1 - received };
        prop_assert_eq!(leg.rtp_and_lost(), (received, expected));
    }

    #[test]
    fn no_bytes_are_too_strange(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..50)) {
        let (mut leg, mut far) = (Leg::new(), SenderReports::default());
        for mut packet in packets {
            if let Some(first) = packet.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            far.pass(&packet, leg.start);
            leg.quality.rtcp(&packet, &far, leg.start + MS, &leg.counters);
            leg.quality.media(&packet, leg.start, &leg.counters);
        }
    }
}
