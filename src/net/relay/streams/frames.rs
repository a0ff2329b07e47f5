//! Cuts what arrives on a stream into messages, where it stands.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use crate::stun::demux::{Frame, stream_frame};

/// Nobody who has no allocation needs longer ones. (RFC 8489 §14: 513 bytes of user name, 763 of realm, nonce and software.)
const LONGEST_REQUEST: usize = 4096;
/// The longest there can be: ChannelData of 65,535 bytes with its header and padding (RFC 8656 §12.5).
pub(super) const LONGEST_MESSAGE: usize = 4 + (1 << 16);

/// What may stand next on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// STUN messages: there has been no allocation.
    Requests,
    /// STUN messages and ChannelData.
    Messages,
    /// Nothing: the connection is being closed, or carries no messages any more.
    Nothing,
}

/// A message stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net::relay) struct Cut {
    /// How long it is.
    pub message: usize,
    /// How long it is with its padding: where the next one stands.
    pub consumed: usize,
}

/// What arrived is not TURN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbage;

/// The first message of `stream`, if it is whole.
#[inline]
pub(super) fn cut(stream: &[u8], follows: Follows) -> Result<Option<Cut>, Garbage> {
    if follows == Follows::Nothing {
        return Ok(None);
    }
    let (cut, whole) = match stream_frame(stream, follows == Follows::Messages) {
        Frame::Stun { bytes, consumed } | Frame::ChannelData { bytes, consumed } => {
            (Some(Cut { message: bytes.len(), consumed }), consumed)
        }
        Frame::Wants(whole) => (None, whole),
        Frame::Garbage => return Err(Garbage),
    };
    if follows == Follows::Requests && whole > LONGEST_REQUEST { Err(Garbage) } else { Ok(cut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_CHANNEL: [u8; 12] = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];

    #[test]
    fn a_message_is_cut_without_its_padding_when_it_is_whole() {
        for end in 0..ON_CHANNEL.len() {
            assert_eq!(cut(&ON_CHANNEL[..end], Follows::Messages), Ok(None));
        }
        let whole = Some(Cut { message: 9, consumed: 12 });
        assert_eq!(cut(&ON_CHANNEL, Follows::Messages), Ok(whole));
        assert_eq!(cut(&[&ON_CHANNEL[..], b"more"].concat(), Follows::Messages), Ok(whole));
    }

    #[test]
    fn without_an_allocation_there_is_no_channel_and_no_long_message() {
        assert_eq!(cut(&ON_CHANNEL, Follows::Requests), Err(Garbage));
        assert_eq!(cut(b"GET /", Follows::Requests), Err(Garbage));
        let long = [0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
        assert_eq!(cut(&long, Follows::Requests), Err(Garbage));
        assert_eq!(cut(&long, Follows::Messages), Ok(None));
        let longest = [[0x40, 0, 0xff, 0xff].to_vec(), vec![0; 1 << 16]].concat();
        let whole = Cut { message: LONGEST_MESSAGE - 1, consumed: LONGEST_MESSAGE };
        assert_eq!(cut(&longest, Follows::Messages), Ok(Some(whole)));
    }

    #[test]
    fn what_is_being_closed_is_not_looked_at() {
        assert_eq!(cut(b"GET /", Follows::Nothing), Ok(None));
        assert_eq!(cut(&ON_CHANNEL, Follows::Nothing), Ok(None));
    }
}
