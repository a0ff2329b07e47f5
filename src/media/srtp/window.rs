//! Packet indices of one source: the rollover counter that packets do not carry, and which were seen before.

/// How far behind the newest a packet may come: 2.5 s of audio. RFC 3711 §3.3.2 wants 64 at least.
const WIDTH: u64 = u128::BITS as u64;

/// The newest index and the ones before it that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    newest: u64,
    /// Bit 0 is `newest`; all zeros: nothing was seen yet, and `newest` is a guess or 0.
    seen: u128,
}

impl Window {
    /// Nothing was seen yet by us; before a restart we had come as far as this.
    pub fn near(index: u64) -> Window {
        Window { newest: index, seen: 0 }
    }

    /// True if it is known where its packets are.
    pub fn has_begun(&self) -> bool {
        *self != Window::default()
    }

    /// The newest index that was seen.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// The index that a packet with that sequence number most likely has (RFC 3711 §3.3.1, appendix A). There is no
    /// rollover before the first: a packet from before it is taken for a leap ahead, which is what libsrtp does.
    pub fn expect(&self, sequence: u16) -> u64 {
        let (rollover, newest) = (self.newest >> 16, self.newest as u16);
        let rollover = if newest < 0x8000 {
            if i32::from(sequence) - i32::from(newest) > 0x8000 {
                rollover.saturating_sub(1)
            } else {
                rollover
            }
        } else {
            rollover + u64::from(newest - 0x8000 > sequence)
        };
        index(rollover, sequence)
    }

    /// Neither seen before nor too old to tell.
    pub fn is_fresh(&self, index: u64) -> bool {
        if self.is_empty() || index > self.newest {
            return true;
        }
        let age = self.newest - index;
        age < WIDTH && self.seen >> age & 1 == 0
    }

    /// Seen from now on.
    pub fn mark(&mut self, index: u64) {
        if self.is_empty() {
            // Of those before it nobody knows after a restart whether they were there: they count as seen.
            *self = Window { newest: index, seen: if self.has_begun() { u128::MAX } else { 1 } };
        } else if index > self.newest {
            let ahead = index - self.newest;
            self.seen = if ahead < WIDTH { self.seen << ahead } else { 0 } | 1;
            self.newest = index;
        } else if self.newest - index < WIDTH {
            self.seen |= 1 << (self.newest - index);
        }
    }
}

/// RFC 3711 §3.3.1: i = 2^16 * ROC + SEQ.
pub(super) fn index(rollover: u64, sequence: u16) -> u64 {
    rollover << 16 | u64::from(sequence)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(newest: u64) -> Window {
        let mut window = Window::default();
        window.mark(newest);
        window
    }

    #[test]
    fn the_rollover_counter_follows_the_sequence_number_over_the_edge_and_back() {
        for (newest, sequence, expected) in [
            (0x0_ffff, 0x0000, 0x1_0000),
            (0x1_0000, 0xffff, 0x0_ffff),
            (0x1_0005, 0x8005, 0x1_8005),
            (0x1_0005, 0x8006, 0x0_8006),
            (0x1_8000, 0x0000, 0x1_0000),
            (0x1_8001, 0x0000, 0x2_0000),
            (0x5_1234, 0x1233, 0x5_1233),
        ] {
            assert_eq!(at(newest).expect(sequence), expected, "{sequence:#x} after {newest:#x}");
        }
        assert_eq!(at(5).expect(0xffff), 0xffff, "there is nothing before the first rollover");
        assert_eq!(at(0xffff_ffff_ffff).expect(0), 1 << 48, "the last index is behind us: the caller stops");
    }

    #[test]
    fn a_window_is_128_wide() {
        let window = at(1000);
        assert!(!window.is_fresh(1000) && window.is_fresh(1001) && window.is_fresh(u64::MAX));
        assert!(window.is_fresh(873) && !window.is_fresh(872));
    }

    proptest! {
        #[test]
        fn remembers_what_a_set_would(indices in proptest::collection::vec(0..600u64, 1..200)) {
            let (mut window, mut set) = (Window::default(), BTreeSet::new());
            for index in indices {
                let newest = set.last().copied().unwrap_or(0);
                prop_assert_eq!(window.is_fresh(index), !set.contains(&index) && newest < index + 128);
                window.mark(index);
                set.insert(index);
            }
        }
    }
}
