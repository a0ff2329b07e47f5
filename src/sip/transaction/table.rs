//! Transactions by number and by key. A number carries its slot and a serial, so that one that is gone is told from
//! the one that now has its slot; a key is already a keyed hash (see [`super::key`]) and is not hashed again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use slab::Slab;

use super::key::Key;
use crate::base::should_shrink;

/// Low bits of a number: the slot.
const SLOT_BITS: u32 = 24;

/// The most entries that a table can number.
pub(super) const MOST: usize = 1 << SLOT_BITS;

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    key: Key,
    value: T,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    /// Boxed: the slab has room for up to twice as many as it ever held, keeps it until it is empty, and moves all when it grows.
    entries: Slab<Box<Entry<T>>>,
    by_key: HashMap<Key, u64, BuildHasherDefault<Prehashed>>,
    serial: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { entries: Slab::new(), by_key: HashMap::default(), serial: 0 }
    }
}

impl<T> Table<T> {
    /// The caller has checked that there are fewer than [`MOST`].
    pub(super) fn insert(&mut self, key: Key, value: T) -> u64 {
        self.serial += 1;
        let entry = self.entries.vacant_entry();
        let number = self.serial << SLOT_BITS | entry.key() as u64;
        entry.insert(Box::new(Entry { number, key, value }));
        self.by_key.insert(key, number);
        number
    }

    pub(super) fn find(&self, key: Key) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.entries.get(slot(number)).filter(|e| e.number == number).map(|e| &e.value)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entries.get_mut(slot(number)).filter(|e| e.number == number).map(|e| &mut e.value)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.get(number)?;
        let entry = *self.entries.remove(slot(number));
        // A second transaction under the same key has taken the key over.
        if self.find(entry.key) == Some(number) {
            self.by_key.remove(&entry.key);
            if should_shrink(self.by_key.len(), self.by_key.capacity()) {
                self.by_key.shrink_to_fit();
            }
        }
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries.shrink_to_fit();
        }
        Some(entry.value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.value)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.by_key.is_empty()
    }
}

fn slot(number: u64) -> usize {
    (number & (MOST as u64 - 1)) as usize
}

/// Takes a key for its own hash.
#[derive(Debug, Default)]
pub(super) struct Prehashed(u64);

impl Hasher for Prehashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_used_twice_though_its_slot_is() {
        let mut table = Table::default();
        let first = table.insert(Key(1), "a");
        assert_eq!(table.remove(first), Some("a"));
        let second = table.insert(Key(1), "b");
        assert_eq!(slot(first), slot(second));
        assert_eq!((table.get(first), table.get(second)), (None, Some(&"b")));
        assert_eq!(table.remove(first), None);
        assert_eq!(table.find(Key(1)), Some(second));
    }
}
