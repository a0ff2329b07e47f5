//! What the poll says is ready: a kind and an index, packed into mio's token.

use mio::Token;

use crate::relay::{Component, Side};

/// One of the four sockets of a media pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairSocket {
    /// Where the pair stands among the worker's.
    pub slot: usize,
    pub side: Side,
    pub component: Component,
}

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is something in the mailbox; no socket has this one.
    Doorbell,
    /// Packets from other workers.
    Shortcut,
    /// A socket of a media pair.
    Pair(PairSocket),
    /// The worker's UDP or DTLS socket of this TURN listener.
    Listener(usize),
    /// The relayed socket in this slot.
    Relayed(usize),
    /// The worker's TCP or TLS socket of this TURN listener: clients want to connect.
    Accept(usize),
    /// The connection of a client in this slot.
    Stream(usize),
    /// The relayed socket of a TCP allocation in this slot: a peer wants to connect.
    Knock(usize),
    /// The peer's end of the connection with a peer in this slot.
    Peer(usize),
    /// The client's end of it.
    Data(usize),
}

/// Bits of a token that say what kind it is.
const KIND: u32 = 4;

impl Ready {
    pub fn token(self) -> Token {
        let (kind, index) = match self {
            Ready::Doorbell => (0, 0),
            Ready::Shortcut => (1, 0),
            Ready::Pair(socket) => (2, socket.index()),
            Ready::Listener(index) => (3, index),
            Ready::Relayed(slot) => (4, slot),
            Ready::Accept(index) => (5, index),
            Ready::Stream(slot) => (6, slot),
            Ready::Knock(slot) => (7, slot),
            Ready::Peer(slot) => (8, slot),
            Ready::Data(slot) => (9, slot),
        };
        Token(index << KIND | kind)
    }

    /// What [`Self::token`] made.
    pub fn from_token(Token(token): Token) -> Option<Ready> {
        let index = token >> KIND;
        Some(match token & ((1 << KIND) - 1) {
            0 => Ready::Doorbell,
            1 => Ready::Shortcut,
            2 => Ready::Pair(PairSocket::from_index(index)),
            3 => Ready::Listener(index),
            4 => Ready::Relayed(index),
            5 => Ready::Accept(index),
            6 => Ready::Stream(index),
            7 => Ready::Knock(index),
            8 => Ready::Peer(index),
            9 => Ready::Data(index),
            _ => return None,
        })
    }
}

impl PairSocket {
    pub fn index(self) -> usize {
        self.slot << 2 | (self.side as usize) << 1 | self.component as usize
    }

    pub fn from_index(index: usize) -> PairSocket {
        PairSocket {
            slot: index >> 2,
            side: if index & 2 == 0 { Side::A } else { Side::B },
            component: if index & 1 == 0 { Component::Rtp } else { Component::Rtcp },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_is_ready() {
        let mut all = vec![Ready::Doorbell, Ready::Shortcut, Ready::Listener(0), Ready::Accept(3)];
        all.extend([Ready::Relayed(0), Ready::Relayed(70_000), Ready::Stream(1)]);
        all.extend([Ready::Knock(2), Ready::Peer(2), Ready::Data(2)]);
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                all.push(Ready::Pair(PairSocket { slot: 7, side, component }));
            }
        }
        for ready in &all {
            assert_eq!(Ready::from_token(ready.token()), Some(*ready));
            assert_eq!(all.iter().filter(|other| other.token() == ready.token()).count(), 1);
        }
    }
}
