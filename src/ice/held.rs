//! A check that waits until its leg's far end is known (DESIGN.md §4, "How a check travels").

/// Longest check that is held. Those of ICE agents have about 150 bytes; the longest names make it 800.
const LONGEST: usize = 1024;

/// The newest one. Its room is there from the beginning: the packet path allocates nothing.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Box<[u8; LONGEST]>,
    /// 0: none.
    length: usize,
}

impl Default for Held {
    fn default() -> Held {
        Held { bytes: Box::new([0; LONGEST]), length: 0 }
    }
}

impl Held {
    /// In place of the one before. False: too long.
    pub fn keep(&mut self, check: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(..check.len()) else { return false };
        room.copy_from_slice(check);
        self.length = check.len();
        true
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The check, which waits no longer.
    pub fn take(&mut self) -> &[u8] {
        self.bytes.get(..std::mem::take(&mut self.length)).unwrap_or_default()
    }
}
