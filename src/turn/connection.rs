//! TCP connections between an allocation and its peers (RFC 6062 §3): peer data connections, from the first SYN to the end.

use std::time::Duration;

use crate::base::{PeerAddr, TimerId};
use crate::stun::{Class, ErrorCode, Hash, Key, Message, Method, TransactionId, Writer};

use super::FiveTuple;

/// RFC 6062 §5.2: a peer has at least 30 seconds to answer the SYN; §5.2, §5.3: and the client to bind the connection.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Names a connection with a peer: CONNECTION-ID (RFC 6062 §6.2.1). Nobody can guess it, and it tells which worker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

/// Which of a node's workers a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub worker: u32,
    /// How many there are, at least one.
    pub of: u32,
}

impl Place {
    /// The id that `random` makes here.
    pub fn mint(self, random: u32) -> ConnectionId {
        let of = self.of.max(1);
        // The last share is cut off where it would not be whole.
        let share = u32::MAX / of;
        ConnectionId((random % share) * of + self.worker)
    }

    /// Whose it is.
    pub fn owner(self, ConnectionId(id): ConnectionId) -> u32 {
        id % self.of.max(1)
    }
}

/// Which way a byte goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToPeer,
    /// From the peer.
    ToClient,
}

/// A connection with a peer.
#[derive(Debug)]
pub struct PeerConnection {
    /// Of this allocation.
    pub allocation: usize,
    /// With whom.
    pub peer: PeerAddr,
    /// How far it is.
    pub stage: Stage,
}

/// How far a connection with a peer is.
#[derive(Debug)]
pub enum Stage {
    /// The client asked for it (RFC 6062 §5.2); it is answered when the peer has answered.
    Connecting(TimerId, Reply),
    /// It stands, and waits for a ConnectionBind (RFC 6062 §5.4). What the peer sends stays in the kernel.
    Waiting(TimerId),
    /// It is relayed to this connection of the client's.
    Bound(FiveTuple),
}

impl Stage {
    /// What ends it.
    pub fn timer(&self) -> Option<TimerId> {
        match self {
            Stage::Connecting(timer, _) | Stage::Waiting(timer) => Some(*timer),
            Stage::Bound(_) => None,
        }
    }
}

/// What an answer takes from its request: it can be given later.
#[derive(Clone, Debug)]
pub struct Reply {
    method: Method,
    transaction: TransactionId,
    key: Key,
    hash: Hash,
    fingerprint: bool,
}

impl Reply {
    /// To `message`, which was sealed with `key` and `hash`.
    pub fn to(message: &Message<'_>, key: Key, hash: Hash) -> Reply {
        let (method, transaction) = (message.method(), message.transaction_id());
        Reply { method, transaction, key, hash, fingerprint: message.has_fingerprint() }
    }

    /// That it was done, and what `fill` says besides.
    pub fn success(&self, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        self.write(Class::Success, fill)
    }

    /// That it was not.
    pub fn error(&self, code: ErrorCode, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        self.write(Class::Error, |writer| {
            writer.put_error(code, code.reason());
            fill(writer);
        })
    }

    /// RFC 8489 §9.2.4: sealed as the request was.
    fn write(&self, class: Class, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, class, self.method, self.transaction);
        fill(&mut writer);
        writer.add_integrity(&self.key, self.hash);
        if self.fingerprint {
            writer.add_fingerprint();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_worker_whatever_the_dice_say() {
        for of in [1, 2, 3, 7, 64, 255] {
            for worker in [0, of / 2, of - 1] {
                let place = Place { worker, of };
                for random in [0, 1, 2, 0x7fff_ffff, u32::MAX - 1, u32::MAX] {
                    assert_eq!(place.owner(place.mint(random)), worker, "{random} for {worker} of {of}");
                }
            }
        }
    }
}
