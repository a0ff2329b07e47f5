//! Connections that carry no more messages (RFC 6062 §5.4): after a ConnectionBind they carry the data of a connection with a
//! peer, or belong to the worker that has it. What they have begun to read and to write goes with them.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use super::connection::Connection;
use super::wire::{Arrived, Ended};
use super::{Streams, slot_of};
use crate::turn::FiveTuple;
use crate::turn::connection::ConnectionId;

/// Where a client's connection goes at the end of the round.
#[derive(Debug)]
pub(in crate::net::relay) enum Leaving {
    /// It carries the data of this connection with a peer.
    Bound { client: FiveTuple, connection: ConnectionId },
    /// It belongs to another worker, which is to answer this request of its.
    HandedOver { client: FiveTuple, worker: u32, request: Vec<u8> },
}

/// A connection on its way to another worker.
pub(in crate::net::relay) struct HandedOver {
    pub connection: Connection,
    pub request: Vec<u8>,
}

impl Streams {
    /// Reads no more messages from a connection: it leaves.
    pub fn leave(&mut self, leaving: Leaving) {
        let (Leaving::Bound { client, .. } | Leaving::HandedOver { client, .. }) = leaving;
        if let Some(connection) = self.find(client) {
            connection.leaves = true;
            self.leaving.push(leaving);
        }
    }

    /// One that leaves. `None` for the connection: it has ended meanwhile.
    pub fn next_leaving(&mut self) -> Option<(Option<Connection>, Leaving)> {
        let leaving = self.leaving.pop()?;
        let (Leaving::Bound { client, .. } | Leaving::HandedOver { client, .. }) = leaving;
        let slot = self.find(client).map(|_| slot_of(client.flow));
        let mut connection = slot.and_then(|slot| self.connections.try_remove(slot));
        if let Some(connection) = &mut connection {
            // The poll it goes to tells anew what there is to read.
            let _ = self.registry.deregister(connection.wire.socket());
        }
        Some((connection, leaving))
    }

    /// One that left belongs to another worker now.
    pub fn count_handed_over(&self) {
        self.counters.connections.take(1);
    }

    /// Serves a connection that another worker has accepted; the five-tuple that it has here.
    pub fn adopt(&mut self, mut connection: Connection, now: Instant) -> FiveTuple {
        connection.leaves = false;
        connection.is_marked = false;
        connection.is_postponed = false;
        let waits = connection.holds();
        let client = self.insert(connection, now);
        let slot = slot_of(client.flow);
        // A request may stand in what was read already.
        self.postpone(slot);
        if waits {
            self.mark(slot);
        }
        client
    }

    // ---- bytes of those that have left ----

    /// Reads up to `most` bytes into `room`, which holds [`ROOM`](super::ROOM).
    pub fn receive(&mut self, connection: &mut Connection, room: &mut [u8], most: usize) -> Arrived {
        let arrived = connection.wire.read(room, &mut self.records, most);
        connection.wire.keep(&[]);
        arrived
    }

    /// Puts `bytes` behind what waits to be written.
    pub fn push(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<(), Ended> {
        connection.wire.push(bytes, &mut self.spare)
    }

    /// Writes what waits; true if nothing does any more.
    pub fn transmit(&mut self, connection: &mut Connection) -> Result<bool, Ended> {
        connection.wire.write(&mut self.spare).map(|taken| taken.all)
    }

    /// Tells the client that nothing more comes. False: it has to take other things first.
    pub fn end_writing(&mut self, connection: &mut Connection) -> Result<bool, Ended> {
        connection.wire.end_writing(&mut self.spare)
    }

    /// Closes one that left.
    pub fn close(&mut self, mut connection: Connection) {
        connection.wire.say_good_bye(&mut self.spare);
        self.counters.connections.take(1);
    }
}
