//! A table of fixed size that forgets whoever has been idle for longest (docs/adr/0007).

/// What a table remembers of a key.
pub(super) trait Remembered: Copy + Default {
    /// When it may be forgotten without anyone noticing: the least goes first when room is needed.
    fn idle_at(&self) -> u64;
}

/// Keys are hashes under a secret, so nobody can aim at a bucket. Each key has one bucket, two cache lines wide; only a
/// full bucket forgets. Allocates once.
#[derive(Debug)]
pub(super) struct Table<V> {
    slots: Box<[Slot<V>]>,
    /// One less than the number of buckets, which is a power of two.
    mask: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot<V> {
    /// 0: free.
    key: u64,
    value: V,
}

const BUCKET: usize = 8;

impl<V: Remembered> Table<V> {
    /// Room for `capacity` keys, rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(BUCKET).max(1).next_power_of_two();
        Table { slots: vec![Slot::default(); buckets * BUCKET].into(), mask: buckets as u64 - 1 }
    }

    /// What is remembered of `key`; the default if nothing is.
    pub fn get(&self, key: u64) -> V {
        let key = key.max(1);
        let bucket = self.slots.get(self.bucket(key)).unwrap_or_default();
        bucket.iter().find(|slot| slot.key == key).map_or_else(V::default, |slot| slot.value)
    }

    /// Remembers.
    pub fn set(&mut self, key: u64, value: V) {
        let key = key.max(1);
        let range = self.bucket(key);
        let bucket = self.slots.get_mut(range).unwrap_or_default();
        let place = match bucket.iter().position(|slot| slot.key == key) {
            Some(known) => bucket.get_mut(known),
            None => bucket.iter_mut().min_by_key(|slot| (slot.key != 0, slot.value.idle_at())),
        };
        if let Some(slot) = place {
            *slot = Slot { key, value };
        }
    }

    /// Goes on with what another table remembers, as far as there is room.
    pub fn take_over(&mut self, other: Table<V>) {
        if self.slots.len() == other.slots.len() {
            *self = other;
        } else {
            other.iter().for_each(|(key, value)| self.set(key, value));
        }
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, V)> {
        self.slots.iter().filter(|slot| slot.key != 0).map(|slot| (slot.key, slot.value))
    }

    fn bucket(&self, key: u64) -> std::ops::Range<usize> {
        let first = usize::try_from(key & self.mask).unwrap_or(0) * BUCKET;
        first..first + BUCKET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Remembered for u64 {
        fn idle_at(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn the_one_idle_for_longest_is_forgotten_when_full() {
        let mut table = Table::new(BUCKET);
        for key in 1..=8 {
            table.set(key, 100 + key);
        }
        table.set(1, 200);
        table.set(9, 150);
        assert_eq!(table.get(2), 0, "was idle for longest");
        assert_eq!((table.get(1), table.get(3), table.get(9)), (200, 103, 150));
        assert_eq!(table.slots.len(), BUCKET);
    }

    #[test]
    fn a_million_keys_stay_within_the_table() {
        let mut table = Table::new(1000);
        for key in 0..1_000_000u64 {
            table.set(key.wrapping_mul(0x9E37_79B9_7F4A_7C15), key);
        }
        assert_eq!(table.slots.len(), 1024);
    }
}
