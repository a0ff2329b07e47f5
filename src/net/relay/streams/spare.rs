//! Buffers that pass from connection to connection: an idle one holds none, and a busy one allocates none.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

/// Kept at most.
const BUFFERS: usize = 512;
/// One that grew beyond it is not kept.
const LONGEST: usize = 16 * 1024;
/// Of a new one: a few packets.
const FIRST: usize = 2048;

/// Buffers that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// Gives `buffer`, which holds nothing, room.
    pub fn lend(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0 {
            *buffer = self.0.pop().unwrap_or_else(|| Vec::with_capacity(FIRST));
        }
    }

    /// Takes the room, and whatever stands in it.
    pub fn take_back(&mut self, buffer: &mut Vec<u8>) {
        let mut room = std::mem::take(buffer);
        if self.0.len() < BUFFERS && (1..=LONGEST).contains(&room.capacity()) {
            room.clear();
            self.0.push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_not_hoarded() {
        let mut spare = Spare::default();
        let (mut one, mut huge) = (Vec::new(), vec![0; LONGEST + 1]);
        spare.lend(&mut one);
        one.push(7);
        spare.lend(&mut one);
        assert_eq!(one, [7], "room that is in use stays");
        let at = one.as_ptr();
        spare.take_back(&mut one);
        spare.take_back(&mut huge);
        assert_eq!((one.capacity(), huge.capacity(), spare.0.len()), (0, 0, 1));
        spare.lend(&mut one);
        assert_eq!((one.as_ptr(), one.len()), (at, 0));
        for _ in 0..2 * BUFFERS {
            spare.take_back(&mut vec![1]);
        }
        assert_eq!(spare.0.len(), BUFFERS);
    }
}
