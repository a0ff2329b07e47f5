//! Ports for relayed transport addresses: even/odd pairs for RTP and RTCP (RFC 3550 §11), in an order that cannot be
//! guessed, each handed out once at a time and rested before it is handed out again.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::seq::SliceRandom;

/// The ports of one bind address. Everything takes constant time.
///
/// A pair is drawn at random from the half of the free ones that has rested longest: the next one cannot be told from
/// those seen before, and late packets of a call that has ended do not meet the next call.
#[derive(Debug)]
pub struct PortPool {
    /// The least recently used first.
    free: VecDeque<u16>,
    /// Someone else has bound them; tried again when nothing else is free.
    quarantined: Vec<u16>,
    /// By pair, from `first` on.
    taken: Vec<bool>,
    first: u16,
    taken_pairs: usize,
}

impl PortPool {
    /// The even/odd pairs that lie in `ports`.
    pub fn new(ports: RangeInclusive<u16>, rng: &mut dyn rand::Rng) -> PortPool {
        let first = ports.start().next_multiple_of(2);
        let mut pairs: Vec<u16> = (first..*ports.end()).step_by(2).collect();
        pairs.shuffle(rng);
        PortPool {
            taken: vec![false; pairs.len()],
            free: pairs.into(),
            quarantined: Vec::new(),
            first,
            taken_pairs: 0,
        }
    }

    /// The even port of a pair that nobody has; `None`: all are taken.
    pub fn take(&mut self, rng: &mut dyn rand::Rng) -> Option<u16> {
        if self.free.is_empty() {
            self.free.extend(self.quarantined.drain(..));
        }
        let rested = self.free.len().div_ceil(2);
        if rested > 1 {
            self.free.swap(0, rng.random_range(..rested));
        }
        let port = self.free.pop_front()?;
        if let Some(taken) = self.taken_mut(port) {
            *taken = true;
        }
        self.taken_pairs += 1;
        Some(port)
    }

    /// Gives back a pair by its even port. One that is not taken stays as it is.
    pub fn give_back(&mut self, port: u16) {
        if self.release(port) {
            self.free.push_back(port);
        }
    }

    /// Instead of [`Self::give_back`], for a pair that could not be bound because someone else has.
    pub fn quarantine(&mut self, port: u16) {
        if self.release(port) {
            self.quarantined.push(port);
        }
    }

    /// Ports (not pairs) that are handed out.
    pub fn taken(&self) -> usize {
        2 * self.taken_pairs
    }

    /// Ports (not pairs) that there are.
    pub fn total(&self) -> usize {
        2 * self.taken.len()
    }

    fn release(&mut self, port: u16) -> bool {
        let was_taken = self.taken_mut(port).is_some_and(std::mem::take);
        self.taken_pairs -= usize::from(was_taken);
        was_taken
    }

    fn taken_mut(&mut self, port: u16) -> Option<&mut bool> {
        let offset = port.checked_sub(self.first).filter(|offset| offset % 2 == 0)?;
        self.taken.get_mut(usize::from(offset / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::HashSet;

    #[test]
    fn pairs_are_even_and_whole() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut all = |ports: RangeInclusive<u16>| {
            let mut pool = PortPool::new(ports, &mut rng);
            let mut taken: Vec<u16> = std::iter::from_fn(|| pool.take(&mut rng)).collect();
            taken.sort_unstable();
            taken
        };
        assert_eq!(all(40000..=40005), [40000, 40002, 40004]);
        assert_eq!(all(40001..=40006), [40002, 40004], "40006 has no twin");
        assert!(all(40001..=40002).is_empty());
        assert_eq!(all(65532..=65535), [65532, 65534]);
    }

    #[test]
    fn the_order_is_not_the_same_twice_and_not_the_numbers() {
        let order = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut pool = PortPool::new(40000..=49999, &mut rng);
            (0..20).map(|_| pool.take(&mut rng).unwrap()).collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert!(!order(1).is_sorted());
    }

    #[test]
    fn a_freed_pair_rests_while_half_of_the_others_are_used() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40199, &mut rng);
        let port = pool.take(&mut rng).unwrap();
        pool.give_back(port);
        for _ in 0..50 {
            assert_ne!(pool.take(&mut rng), Some(port));
        }
    }

    #[test]
    fn a_quarantined_pair_comes_back_last() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40007, &mut rng);
        let foreign = pool.take(&mut rng).unwrap();
        pool.quarantine(foreign);
        assert_eq!(pool.taken(), 0);
        for _ in 0..3 {
            assert_ne!(pool.take(&mut rng), Some(foreign));
        }
        assert_eq!(pool.take(&mut rng), Some(foreign));
        assert_eq!(pool.take(&mut rng), None);
        assert_eq!((pool.taken(), pool.total()), (8, 8));
    }

    proptest! {
        #[test]
        fn no_port_is_handed_out_twice(
            seed in any::<u64>(),
            steps in proptest::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..300),
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut pool = PortPool::new(50001..=50020, &mut rng);
            let mut held: Vec<u16> = Vec::new();
            for (what, which) in steps {
                match what {
                    0 | 1 => match pool.take(&mut rng) {
                        Some(port) => {
                            prop_assert!(port % 2 == 0 && (50002..=50018).contains(&port));
                            prop_assert!(!held.contains(&port));
                            held.push(port);
                        }
                        None => prop_assert_eq!(held.len(), 9),
                    },
                    _ if held.is_empty() => pool.give_back(50002),
                    2 => {
                        let port = held.swap_remove(which.index(held.len()));
                        pool.give_back(port);
                        pool.give_back(port);
                    }
                    _ => pool.quarantine(held.swap_remove(which.index(held.len()))),
                }
                prop_assert_eq!(pool.taken(), 2 * held.len());
                prop_assert_eq!(pool.total(), 18);
            }
            let rest: HashSet<u16> = std::iter::from_fn(|| pool.take(&mut rng)).collect();
            prop_assert_eq!(rest.len() + held.len(), 9, "none is lost");
        }
    }
}
