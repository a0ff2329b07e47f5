//! How far the senders of a leg have come, told every few minutes: what a packet does not carry of its index (RFC 3711 §3.3.1)
//! must outlast a restart, or a call that is older than 2^16 packets is deaf after it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::window::Window;

/// Packets from one to the next, as a power of two: five minutes of audio. It tells the quarter that the sequence number is in.
const APART: u32 = 14;
/// Senders of one direction whose milestones are kept; those that began last. A bundle has some: audio, video, retransmissions.
const MOST: usize = 8;

/// A sender has come past its `number`th milestone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    /// Who.
    pub ssrc: u32,
    number: u32,
}

impl Milestone {
    /// The one that was passed between two packets, if one was.
    #[inline]
    pub(super) fn passed(ssrc: u32, before: Window, now: Window) -> Option<Milestone> {
        let of = |window: Window| window.newest() >> APART;
        let is_news = !now.is_empty() && (before.is_empty() || of(before) != of(now));
        // 2^30 rollovers take longer than any call.
        is_news.then_some(Milestone { ssrc, number: u32::try_from(of(now)).ok()? })
    }

    /// What is expected of the sender after a restart: it was somewhere between this milestone and the next, and has come
    /// further since. Of the 2^16 indices that the window tells apart 2^13 lie behind the milestone, for packets that were
    /// overtaken, and 2^15 + 2^13 beyond the next: 13 minutes of audio.
    pub(super) fn window(self) -> Window {
        Window::near((u64::from(self.number) << APART) + (1 << 15) - (1 << 13))
    }
}

/// Those of one direction of a leg: one writer, any reader, and no lock.
#[derive(Debug, Default)]
pub struct Milestones([AtomicU64; MOST]);

impl Milestones {
    /// It was passed. This thread is the only writer.
    pub fn pass(&self, milestone: Milestone) {
        let known =
            self.0.iter().find(|place| unpack(place).is_some_and(|known| known.ssrc == milestone.ssrc));
        if let Some(place) = known {
            return place.store(pack(milestone), Ordering::Relaxed);
        }
        // From behind: whoever reads meanwhile sees one twice, and misses none but the oldest.
        for pair in self.0.windows(2).rev() {
            if let [newer, older] = pair {
                older.store(newer.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        if let Some(newest) = self.0.first() {
            newest.store(pack(milestone), Ordering::Relaxed);
        }
    }

    /// All, who began last first.
    pub fn all(&self) -> Vec<Milestone> {
        self.0.iter().filter_map(unpack).collect()
    }
}

/// Zero is no milestone.
fn pack(Milestone { ssrc, number }: Milestone) -> u64 {
    u64::from(ssrc) << 32 | u64::from(number.saturating_add(1))
}

fn unpack(place: &AtomicU64) -> Option<Milestone> {
    let packed = place.load(Ordering::Relaxed);
    Some(Milestone { ssrc: (packed >> 32) as u32, number: (packed as u32).checked_sub(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Window {
        let mut window = Window::default();
        window.mark(index);
        window
    }

    #[test]
    fn a_milestone_is_passed_once() {
        let passed = |before, now| Milestone::passed(7, before, now).map(|milestone| milestone.number);
        assert_eq!(passed(Window::default(), at(5)), Some(0), "the first packet");
        assert_eq!(passed(at(5), at(0x3fff)), None);
        assert_eq!(passed(at(0x3fff), at(0x4000)), Some(1));
        assert_eq!(passed(at(0xffff), at(0x1_0000)), Some(4));
        assert_eq!(passed(at(0x1_0000), at(1 << 47)), None, "beyond what can be told");
    }

    #[test]
    fn the_rollover_counter_is_known_wherever_between_two_milestones_it_was() {
        for index in (0..0x5_0000u64).step_by(0x0fff) {
            let Some(milestone) = Milestone::passed(7, Window::default(), at(index)) else { panic!() };
            for later in [0, 1, 0x4000, 0xa000] {
                let now = index + later;
                assert_eq!(milestone.window().expect(now as u16), now, "{index:#x} and {later:#x} more");
            }
        }
    }

    #[test]
    fn who_began_last_is_kept() {
        let milestones = Milestones::default();
        for ssrc in 0..MOST as u32 + 2 {
            milestones.pass(Milestone { ssrc, number: 0 });
        }
        milestones.pass(Milestone { ssrc: 4, number: u32::MAX - 1 });
        let all = milestones.all();
        assert_eq!(all.iter().map(|milestone| milestone.ssrc).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2]);
        assert_eq!(all[5].number, u32::MAX - 1);
    }
}
