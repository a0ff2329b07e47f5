//! Ports for relayed transport addresses: even/odd pairs for RTP and RTCP (RFC 3550 §11) and single ones for TURN, in an
//! order that cannot be guessed, each handed out once at a time and rested before it is handed out again.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use rand::RngExt;
use rand::seq::SliceRandom;

/// As many single ports whose twin is in use are left to rest, and to be drawn from, before they are handed out.
const RESTING: usize = 64;

/// The ports of one bind address. Everything takes constant time.
///
/// A pair is drawn at random from the half of the free ones that has rested longest: the next one cannot be told from
/// those seen before, and late packets of a call that has ended do not meet the next call. A single port splits a pair,
/// which is whole again when both its ports have come back.
#[derive(Debug)]
pub struct PortPool {
    /// Whole pairs by their even port, the least recently used first.
    free: VecDeque<u16>,
    /// Ports whose twin is not free, the least recently used first. An entry may be out of date: `states` decides.
    halves: VecDeque<u16>,
    /// Someone else has bound them; tried again when nothing else is free.
    quarantined: Vec<u16>,
    /// By port, from `first` on.
    states: Vec<State>,
    first: u16,
    out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Taken,
    Quarantined,
}

impl PortPool {
    /// The even/odd pairs that lie in `ports`.
    pub fn new(ports: RangeInclusive<u16>, rng: &mut dyn rand::Rng) -> PortPool {
        let first = ports.start().next_multiple_of(2);
        let mut pairs: Vec<u16> = (first..*ports.end()).step_by(2).collect();
        pairs.shuffle(rng);
        PortPool {
            states: vec![State::Free; 2 * pairs.len()],
            free: pairs.into(),
            halves: VecDeque::new(),
            quarantined: Vec::new(),
            first,
            out: 0,
        }
    }

    /// The even port of a pair that nobody has; `None`: no pair is whole.
    pub fn take_pair(&mut self, rng: &mut dyn rand::Rng) -> Option<u16> {
        if self.free.is_empty() {
            self.end_quarantine();
        }
        let even = draw(&mut self.free, rng)?;
        self.change(even, State::Free, State::Taken);
        self.change(even + 1, State::Free, State::Taken);
        Some(even)
    }

    /// The pair with that even port, if nobody has it. (This one looks through the free ones.)
    pub fn take_pair_at(&mut self, even: u16) -> bool {
        let Some(at) = self.free.iter().position(|free| *free == even) else { return false };
        self.free.remove(at);
        self.change(even, State::Free, State::Taken) && self.change(even + 1, State::Free, State::Taken)
    }

    /// A port that nobody has; `None`: all are taken.
    pub fn take_one(&mut self, rng: &mut dyn rand::Rng) -> Option<u16> {
        if self.halves.len() > RESTING || self.free.is_empty() {
            while let Some(port) = draw(&mut self.halves, rng) {
                if !self.is_free(port ^ 1) && self.change(port, State::Free, State::Taken) {
                    return Some(port);
                }
            }
        }
        if self.free.is_empty() && self.quarantined.is_empty() {
            return None;
        }
        if self.free.is_empty() {
            self.end_quarantine();
            return self.take_one(rng);
        }
        let port = draw(&mut self.free, rng)? + u16::from(rng.random::<bool>());
        self.change(port, State::Free, State::Taken);
        self.halves.push_back(port ^ 1);
        Some(port)
    }

    /// An even port of a pair that nobody has; `None`: no pair is whole.
    pub fn take_even(&mut self, rng: &mut dyn rand::Rng) -> Option<u16> {
        let even = self.take_pair(rng)?;
        self.give_back_one(even + 1);
        Some(even)
    }

    /// Gives back a pair by its even port. One that is not taken stays as it is.
    pub fn give_back_pair(&mut self, even: u16) {
        self.give_back_one(even);
        self.give_back_one(even + 1);
    }

    /// Gives back one port, taken alone or as one of a pair. One that is not taken stays as it is.
    pub fn give_back_one(&mut self, port: u16) {
        if self.change(port, State::Taken, State::Free) {
            self.put_back(port);
        }
    }

    /// Instead of giving it back, for a port that could not be bound because someone else has. (Of a pair, both ports.)
    pub fn quarantine(&mut self, port: u16) {
        if self.change(port, State::Taken, State::Quarantined) {
            self.quarantined.push(port);
        }
    }

    /// How many ports are handed out.
    pub fn taken(&self) -> usize {
        self.out
    }

    /// How many ports there are.
    pub fn total(&self) -> usize {
        self.states.len()
    }

    fn end_quarantine(&mut self) {
        for port in std::mem::take(&mut self.quarantined) {
            self.change(port, State::Quarantined, State::Free);
            self.put_back(port);
        }
    }

    /// A port that has become free.
    fn put_back(&mut self, port: u16) {
        if self.is_free(port ^ 1) {
            self.free.push_back(port & !1);
        } else {
            self.halves.push_back(port);
        }
    }

    fn is_free(&self, port: u16) -> bool {
        self.index(port).is_some_and(|index| self.states[index] == State::Free)
    }

    /// True if it was `before`, and is `after` now.
    fn change(&mut self, port: u16, before: State, after: State) -> bool {
        let Some(index) = self.index(port).filter(|index| self.states[*index] == before) else {
            return false;
        };
        self.states[index] = after;
        self.out -= usize::from(before == State::Taken);
        self.out += usize::from(after == State::Taken);
        true
    }

    fn index(&self, port: u16) -> Option<usize> {
        port.checked_sub(self.first).map(usize::from).filter(|index| *index < self.states.len())
    }
}

/// One of the half that has rested longest.
pub fn draw<T>(rested: &mut VecDeque<T>, rng: &mut dyn rand::Rng) -> Option<T> {
    let half = rested.len().div_ceil(2);
    if half > 1 {
        rested.swap(0, rng.random_range(..half));
    }
    rested.pop_front()
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
            let mut taken: Vec<u16> = std::iter::from_fn(|| pool.take_pair(&mut rng)).collect();
            taken.sort_unstable();
            taken
        };
        assert_eq!(all(40000..=40005), [40000, 40002, 40004]);
        assert_eq!(all(40001..=40006), [40002, 40004], "40006 has no twin");
        assert!(all(40001..=40002).is_empty());
        assert_eq!(all(65532..=65535), [65532, 65534]);
    }

    #[test]
    fn a_pair_that_is_asked_for_is_had_if_nobody_has_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40009, &mut rng);
        assert!(pool.take_pair_at(40004) && !pool.take_pair_at(40004));
        assert!(!pool.take_pair_at(40003) && !pool.take_pair_at(40010) && !pool.take_pair_at(39998));
        let one = pool.take_one(&mut rng).unwrap();
        assert!(!pool.take_pair_at(one & !1), "half of it is another's");
        pool.give_back_one(one);
        assert!(pool.take_pair_at(one & !1));
        pool.give_back_pair(40004);
        assert!(pool.take_pair_at(40004));
    }

    #[test]
    fn the_order_is_not_the_same_twice_and_not_the_numbers() {
        let order = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut pool = PortPool::new(40000..=49999, &mut rng);
            (0..20).map(|_| pool.take_pair(&mut rng).unwrap()).collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert!(!order(1).is_sorted());
    }

    #[test]
    fn a_freed_pair_rests_while_half_of_the_others_are_used() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40199, &mut rng);
        let port = pool.take_pair(&mut rng).unwrap();
        pool.give_back_pair(port);
        for _ in 0..50 {
            assert_ne!(pool.take_pair(&mut rng), Some(port));
        }
    }

    #[test]
    fn a_quarantined_pair_comes_back_last() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40007, &mut rng);
        let foreign = pool.take_pair(&mut rng).unwrap();
        pool.quarantine(foreign);
        pool.quarantine(foreign + 1);
        assert_eq!(pool.taken(), 0);
        for _ in 0..3 {
            assert_ne!(pool.take_pair(&mut rng), Some(foreign));
        }
        assert_eq!(pool.take_pair(&mut rng), Some(foreign));
        assert_eq!(pool.take_pair(&mut rng), None);
        assert_eq!((pool.taken(), pool.total()), (8, 8));
    }

    #[test]
    fn a_pair_is_split_for_single_ports_and_whole_again_when_both_are_back() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40003, &mut rng);
        let pair = pool.take_pair(&mut rng).unwrap();
        let one = pool.take_one(&mut rng).unwrap();
        assert_eq!(pool.take_pair(&mut rng), None, "the other pair is split");
        assert_eq!(pool.take_even(&mut rng), None);
        assert_eq!(pool.take_one(&mut rng), Some(one ^ 1));
        assert_eq!(pool.take_one(&mut rng), None);
        pool.give_back_one(pair + 1);
        assert_eq!(pool.take_one(&mut rng), Some(pair + 1));
        pool.give_back_one(one);
        pool.give_back_one(one);
        assert_eq!(pool.take_pair(&mut rng), None);
        pool.give_back_one(one ^ 1);
        assert_eq!(pool.take_even(&mut rng), Some(one & !1));
        assert_eq!((pool.taken(), pool.total()), (3, 4));
    }

    #[test]
    fn single_ports_do_not_go_up_one_by_one_and_use_up_halves() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(40000..=40999, &mut rng);
        let ports: Vec<u16> = std::iter::from_fn(|| pool.take_one(&mut rng)).collect();
        assert_eq!(ports.len(), 1000);
        let neighbours = ports.windows(2).filter(|two| two[0].abs_diff(two[1]) == 1).count();
        assert!(neighbours < 50, "{neighbours}");
        assert!(ports[..400].iter().any(|port| ports[..400].contains(&(port ^ 1))));
    }

    proptest! {
        #[test]
        fn no_port_is_handed_out_twice(
            seed in any::<u64>(),
            steps in proptest::collection::vec((0u8..8, any::<prop::sample::Index>()), 1..300),
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut pool = PortPool::new(50001..=50020, &mut rng);
            let mut held: Vec<u16> = Vec::new();
            for (what, which) in steps {
                let ports = match what {
                    0 => pool.take_pair(&mut rng).map(|even| vec![even, even + 1]),
                    1 => pool.take_even(&mut rng).map(|even| vec![even]),
                    2 | 3 => match pool.take_one(&mut rng) {
                        None => {
                            prop_assert_eq!(held.len(), 18);
                            None
                        }
                        one => one.map(|one| vec![one]),
                    },
                    7 => {
                        let even = 50000 + 2 * which.index(11) as u16;
                        pool.take_pair_at(even).then(|| vec![even, even + 1])
                    }
                    _ if held.is_empty() => {
                        pool.quarantine(50002);
                        pool.give_back_pair(50002);
                        None
                    }
                    4 | 5 => {
                        let port = held.swap_remove(which.index(held.len()));
                        pool.give_back_one(port);
                        pool.give_back_one(port);
                        None
                    }
                    _ => {
                        pool.quarantine(held.swap_remove(which.index(held.len())));
                        None
                    }
                };
                for port in ports.into_iter().flatten() {
                    prop_assert!((50002..=50019).contains(&port) && !held.contains(&port));
                    held.push(port);
                }
                prop_assert_eq!(pool.taken(), held.len());
                prop_assert_eq!(pool.total(), 18);
            }
            let rest: HashSet<u16> = std::iter::from_fn(|| pool.take_one(&mut rng)).collect();
            prop_assert_eq!(rest.len() + held.len(), 18, "none is lost");
        }
    }
}
