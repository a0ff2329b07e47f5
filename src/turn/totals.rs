//! What a server counts for whoever looks at it from outside: live now, relayed, refused and dropped since its start.

use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stun::ErrorCode;

use super::forward::Reason;

/// Codes that requests are refused with, each with a counter of its own.
const CODES: [ErrorCode; 16] = [
    ErrorCode::TRY_ALTERNATE,
    ErrorCode::BAD_REQUEST,
    ErrorCode::UNAUTHENTICATED,
    ErrorCode::FORBIDDEN,
    ErrorCode::UNKNOWN_ATTRIBUTE,
    ErrorCode::ALLOCATION_MISMATCH,
    ErrorCode::STALE_NONCE,
    ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
    ErrorCode::WRONG_CREDENTIALS,
    ErrorCode::UNSUPPORTED_TRANSPORT,
    ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH,
    ErrorCode::CONNECTION_ALREADY_EXISTS,
    ErrorCode::CONNECTION_FAILED,
    ErrorCode::ALLOCATION_QUOTA_REACHED,
    ErrorCode::SERVER_ERROR,
    ErrorCode::INSUFFICIENT_CAPACITY,
];

/// Why we close a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// There are as many as there may be, or as its source may have: it was closed at once.
    TooMany,
    /// Policy has banned its source.
    Banned,
    /// A rule refuses its source.
    Policy,
    /// What came on it was not TURN.
    Garbage,
    /// What came on it was not TLS (or DTLS), or not as we speak it.
    Tls,
    /// The client kept us waiting: for a handshake, a message, an allocation, or to read.
    Overdue,
    /// There was an answer for a client that had not read the ones before it.
    Full,
}

impl Closed {
    /// All, in the order of their counters.
    pub const ALL: [Closed; 7] = [
        Closed::TooMany,
        Closed::Banned,
        Closed::Policy,
        Closed::Garbage,
        Closed::Tls,
        Closed::Overdue,
        Closed::Full,
    ];

    /// As it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Closed::TooMany => "too_many",
            Closed::Banned => "banned",
            Closed::Policy => "policy",
            Closed::Garbage => "garbage",
            Closed::Tls => "tls",
            Closed::Overdue => "overdue",
            Closed::Full => "full",
        }
    }
}

/// A number with one writer, the worker whose it is, and any reader: no locked instruction in the packet path.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// So many more.
    #[inline]
    pub fn add(&self, more: usize) {
        self.0.store(self.get().wrapping_add(more as u64), Ordering::Relaxed);
    }

    /// So many fewer.
    pub fn take(&self, fewer: usize) {
        self.0.store(self.get().saturating_sub(fewer as u64), Ordering::Relaxed);
    }

    /// What was `before` is `after` now.
    pub fn change(&self, before: usize, after: usize) {
        let rest = self.get().saturating_sub(before as u64);
        self.0.store(rest.wrapping_add(after as u64), Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One direction.
#[derive(Debug, Default)]
pub struct Direction {
    packets: Count,
    bytes: Count,
}

impl Direction {
    /// One packet of `bytes` of payload is relayed.
    #[inline]
    pub fn pass(&self, bytes: usize) {
        self.packets.add(1);
        self.bytes.add(bytes);
    }

    fn read(&self) -> Relayed {
        Relayed { packets: self.packets.get(), bytes: self.bytes.get() }
    }
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    /// Allocations that live.
    pub allocations: Count,
    /// Their permissions.
    pub permissions: Count,
    /// Their channels.
    pub channels: Count,
    /// Connections of clients (TCP, TLS, DTLS): written by whoever owns the sockets.
    pub connections: Count,
    /// TCP connections with peers, also those that are being made.
    pub peer_connections: Count,
    /// From clients on.
    pub to_peers: Direction,
    /// To clients.
    pub to_clients: Direction,
    refused: [Count; CODES.len()],
    dropped: [Count; Reason::ALL.len()],
    closed: [Count; Closed::ALL.len()],
}

impl Counters {
    /// A request was refused.
    pub fn count_refused(&self, code: ErrorCode) {
        let of_code = CODES.iter().zip(&self.refused).find(|(known, _)| **known == code);
        if let Some((_, count)) = of_code {
            count.add(1);
        }
    }

    /// A packet was dropped.
    #[inline]
    pub fn count_dropped(&self, reason: Reason) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.add(1);
        }
    }

    /// We closed a connection.
    pub fn count_closed(&self, why: Closed) {
        if let Some(count) = self.closed.get(why as usize) {
            count.add(1);
        }
    }

    /// How many were dropped so far.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, Count::get)
    }

    /// What they say now.
    pub fn read(&self) -> Totals {
        Totals {
            allocations: self.allocations.get(),
            permissions: self.permissions.get(),
            channels: self.channels.get(),
            connections: self.connections.get(),
            peer_connections: self.peer_connections.get(),
            to_peers: self.to_peers.read(),
            to_clients: self.to_clients.read(),
            refused: self.refused.each_ref().map(Count::get),
            dropped: self.dropped.each_ref().map(Count::get),
            closed: self.closed.each_ref().map(Count::get),
        }
    }
}

/// What was relayed in one direction.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    pub packets: u64,
    /// Of payload.
    pub bytes: u64,
}

/// What counters said at one moment; those of several workers can be summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Allocations that live.
    pub allocations: u64,
    /// Their permissions.
    pub permissions: u64,
    /// Their channels.
    pub channels: u64,
    /// Connections of clients.
    pub connections: u64,
    /// TCP connections with peers.
    pub peer_connections: u64,
    /// From clients on.
    pub to_peers: Relayed,
    /// To clients.
    pub to_clients: Relayed,
    refused: [u64; CODES.len()],
    dropped: [u64; Reason::ALL.len()],
    closed: [u64; Closed::ALL.len()],
}

impl Totals {
    /// Requests refused, by code: all codes.
    pub fn refused(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        CODES.into_iter().zip(self.refused)
    }

    /// Packets dropped, by reason: all reasons.
    pub fn dropped(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.dropped)
    }

    /// Connections that we closed, by why: all of them.
    pub fn closed(&self) -> impl Iterator<Item = (Closed, u64)> {
        Closed::ALL.into_iter().zip(self.closed)
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        for (sum, more) in [
            (&mut self.allocations, other.allocations),
            (&mut self.permissions, other.permissions),
            (&mut self.channels, other.channels),
            (&mut self.connections, other.connections),
            (&mut self.peer_connections, other.peer_connections),
            (&mut self.to_peers.packets, other.to_peers.packets),
            (&mut self.to_peers.bytes, other.to_peers.bytes),
            (&mut self.to_clients.packets, other.to_clients.packets),
            (&mut self.to_clients.bytes, other.to_clients.bytes),
        ] {
            *sum += more;
        }
        self.refused.iter_mut().zip(other.refused).for_each(|(sum, more)| *sum += more);
        self.dropped.iter_mut().zip(other.dropped).for_each(|(sum, more)| *sum += more);
        self.closed.iter_mut().zip(other.closed).for_each(|(sum, more)| *sum += more);
    }
}

impl Sum for Totals {
    fn sum<I: Iterator<Item = Totals>>(all: I) -> Totals {
        all.fold(Totals::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_counted_is_summed() {
        let workers = [Counters::default(), Counters::default()];
        for (number, counters) in workers.iter().enumerate() {
            counters.allocations.add(3);
            counters.allocations.take(number);
            counters.to_peers.pass(160);
            counters.count_refused(ErrorCode::STALE_NONCE);
            counters.count_refused(ErrorCode(599));
            counters.count_dropped(Reason::TooLong);
            counters.count_closed(Closed::Garbage);
        }
        let sum: Totals = workers.iter().map(Counters::read).sum();
        assert_eq!(sum.allocations, 5);
        assert_eq!(sum.to_peers, Relayed { packets: 2, bytes: 320 });
        assert_eq!(sum.refused().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [(ErrorCode::STALE_NONCE, 2)]);
        assert_eq!(sum.dropped().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [(Reason::TooLong, 2)]);
        assert_eq!(sum.closed().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [(Closed::Garbage, 2)]);
    }

    #[test]
    fn every_reason_has_its_counter() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, why) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
        }
    }
}
