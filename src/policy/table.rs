//! A table of fixed size that forgets whoever has been idle for longest (docs/adr/0007).

/// What a table remembers of a key.
pub(super) trait Remembered: Copy + Default {
    /// When it may be forgotten without anyone noticing: the least goes first when room is needed.
    fn idle_at(&self) -> u64;
}

/// Keys are hashes under a secret, so nobody can aim at a bucket. Each key has one bucket, whose keys fill a cache line; only
/// a full bucket forgets. Allocates once.
#[derive(Debug)]
pub(super) struct Table<V> {
    buckets: Box<[Bucket<V>]>,
    /// One less than the number of buckets, which is a power of two.
    mask: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket<V> {
    /// 0: free.
    keys: [u64; BUCKET],
    values: [V; BUCKET],
}

const BUCKET: usize = 8;

impl<V: Remembered> Table<V> {
    /// Room for `capacity` keys, rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(BUCKET).max(1).next_power_of_two();
        Table { buckets: vec![Bucket::default(); buckets].into(), mask: buckets as u64 - 1 }
    }

    /// What is remembered of `key`; the default if nothing is.
    pub fn get(&self, key: u64) -> V {
        let key = key.max(1);
        let bucket = self.buckets.get(self.place(key));
        let found = bucket.and_then(|bucket| {
            let place = bucket.keys.iter().position(|known| *known == key)?;
            bucket.values.get(place).copied()
        });
        found.unwrap_or_default()
    }

    /// Remembers.
    pub fn set(&mut self, key: u64, value: V) {
        let key = key.max(1);
        let place = self.place(key);
        let Some(Bucket { keys, values }) = self.buckets.get_mut(place) else { return };
        let known = keys.iter().position(|known| *known == key);
        let place = known.or_else(|| {
            let slots = keys.iter().zip(values.iter()).enumerate();
            let least = slots.min_by_key(|(_, (known, value))| (**known != 0, value.idle_at()));
            least.map(|(place, _)| place)
        });
        let Some(place) = place else { return };
        if let (Some(known), Some(remembered)) = (keys.get_mut(place), values.get_mut(place)) {
            (*known, *remembered) = (key, value);
        }
    }

    /// Goes on with what another table remembers, as far as there is room.
    pub fn take_over(&mut self, other: Table<V>) {
        if self.buckets.len() == other.buckets.len() {
            *self = other;
        } else {
            other.iter().for_each(|(key, value)| self.set(key, value));
        }
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, V)> {
        let slots = self.buckets.iter().flat_map(|bucket| bucket.keys.iter().zip(&bucket.values));
        slots.filter(|(key, _)| **key != 0).map(|(key, value)| (*key, *value))
    }

    fn place(&self, key: u64) -> usize {
        usize::try_from(key & self.mask).unwrap_or(0)
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
        assert_eq!(table.buckets.len(), 1);
    }

    #[test]
    fn a_million_keys_stay_within_the_table() {
        let mut table = Table::new(1000);
        for key in 0..1_000_000u64 {
            table.set(key.wrapping_mul(0x9E37_79B9_7F4A_7C15), key);
        }
        assert_eq!(table.buckets.len() * BUCKET, 1024);
    }
}
