//! What is known of each sender (SSRC) on a leg: a bounded list.

/// Most senders that one direction of a leg may have under one master key; the packets of further ones are dropped. To
/// forget one would be to forget which of its packets were seen, or, on the way out, which key stream was used.
pub const MAX_SOURCES: usize = 32;

/// By SSRC. A call has one or two, so they are looked through.
pub(super) struct Sources<T>(Vec<(u32, T)>);

impl<T: Default> Sources<T> {
    pub fn new() -> Sources<T> {
        Sources(Vec::with_capacity(MAX_SOURCES))
    }

    pub fn get(&self, ssrc: u32) -> Option<&T> {
        self.0.iter().find(|(known, _)| *known == ssrc).map(|(_, source)| source)
    }

    /// A new one can be taken in.
    pub fn has_room(&self) -> bool {
        self.0.len() < MAX_SOURCES
    }

    /// The source, taken in if it is new; `None` if there is no room.
    pub fn entry(&mut self, ssrc: u32) -> Option<&mut T> {
        let at = match self.0.iter().position(|(known, _)| *known == ssrc) {
            Some(at) => at,
            None if self.has_room() => {
                self.0.push((ssrc, T::default()));
                self.0.len() - 1
            }
            None => return None,
        };
        self.0.get_mut(at).map(|(_, source)| source)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Keeps the room, so that nothing is allocated later.
impl<T: Default + Clone> Clone for Sources<T> {
    fn clone(&self) -> Sources<T> {
        let mut copy = Sources::new();
        copy.0.extend_from_slice(&self.0);
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_full_and_keeps_what_it_has() {
        let mut sources = Sources::<u8>::new();
        for ssrc in 0..MAX_SOURCES as u32 {
            *sources.entry(ssrc).unwrap() = 7;
        }
        assert!(!sources.has_room());
        assert_eq!(sources.entry(99), None);
        assert_eq!(sources.entry(31), Some(&mut 7));
        assert_eq!(sources.get(99), None);
        assert_eq!(sources.clone().0.capacity(), MAX_SOURCES);
    }
}
