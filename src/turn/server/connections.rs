//! TCP allocations (RFC 6062 §5): Connect, ConnectionBind, connections that peers make, and how they end.
//!
//! A connection ends with its allocation (RFC 6062 §5.5), with either of its two ends, or when the rules for peers shut its
//! peer out. A permission is asked for when a peer connects (§5.3) and not again: its expiry ends nothing.

use std::time::Instant;

use rand::RngExt;

use super::{Due, Output, Server};
use crate::base::{PeerAddr, TimerId};
use crate::stun::{Class, ErrorCode, Family, Method, Type, Writer};
use crate::turn::FiveTuple;
use crate::turn::connection::{ConnectionId, PATIENCE, PeerConnection, Reply, Stage, Way};
use crate::turn::forward::Reason;
use crate::turn::peers::Through;
use crate::turn::sockets::{RelaySocketId, RelaySockets};

impl<S: RelaySockets> Server<S> {
    /// An [`Output::Connect`] came to a connection.
    pub fn handle_connected(&mut self, connection: ConnectionId, now: Instant) {
        let Some(entry) = self.connections.get_mut(&connection) else { return };
        let Stage::Connecting(timer, reply) = &entry.stage else { return };
        self.timers.cancel(*timer);
        // RFC 6062 §5.2: the answer names the connection.
        let bytes = reply.success(|writer| _ = writer.put_u32(Type::CONNECTION_ID, connection.0));
        entry.stage = Stage::Waiting(self.timers.set(now + PATIENCE, Due::Connection(connection)));
        let allocation = entry.allocation;
        self.tell(allocation, bytes);
    }

    /// A peer connected to a TCP relayed transport address (RFC 6062 §5.3). `None`: close it at once.
    pub fn handle_accepted(
        &mut self,
        socket: RelaySocketId,
        peer: PeerAddr,
        now: Instant,
    ) -> Option<ConnectionId> {
        self.handle_timeout(now);
        let slot = *self.by_socket.get(&socket)?;
        let allocation = self.allocations.get(slot).filter(|allocation| allocation.tcp)?;
        // RFC 6062 §5.3: without a permission it is closed as soon as it is accepted.
        if allocation.row.permissions.find(peer.0, now).is_none() {
            self.counters.count_dropped(Reason::NoPermission);
            return None;
        }
        let connection = self.add_connection(slot, peer, now, Stage::Waiting).ok()?;
        let transaction = self.next_indication();
        let mut bytes = Vec::new();
        Writer::begin(&mut bytes, Class::Indication, Method::CONNECTION_ATTEMPT, transaction)
            .put_u32(Type::CONNECTION_ID, connection.0)
            .put_xor_address(Type::XOR_PEER_ADDRESS, peer.0);
        self.tell(slot, bytes);
        Some(connection)
    }

    /// An [`Output::Connect`] came to nothing, or an end of a connection is gone: so is the other (RFC 6062 §5.5).
    pub fn handle_disconnected(&mut self, connection: ConnectionId) {
        self.end_connection(connection);
    }

    /// How many bytes of a connection may pass now, as the bandwidth of its role goes. `Err`: none before then.
    pub fn room(&self, connection: ConnectionId, way: Way, now: Instant) -> Result<usize, Instant> {
        let entry = self.connections.get(&connection);
        match entry.and_then(|entry| self.allocations.get(entry.allocation)) {
            None => Ok(0),
            Some(allocation) if way == Way::ToPeer => allocation.row.to_peers.room(now),
            Some(allocation) => allocation.row.to_client.room(now),
        }
    }

    /// `bytes` of a connection have passed.
    pub fn streamed(&mut self, connection: ConnectionId, way: Way, bytes: usize, now: Instant) {
        let entry = self.connections.get(&connection);
        let Some(allocation) = entry.and_then(|entry| self.allocations.get_mut(entry.allocation)) else {
            return;
        };
        match way {
            Way::ToPeer => {
                allocation.row.to_peers.streamed(bytes, now);
                self.counters.to_peers.pass(bytes);
            }
            Way::ToClient => {
                allocation.row.to_client.streamed(bytes, now);
                self.counters.to_clients.pass(bytes);
            }
        }
    }

    /// RFC 6062 §5.2. The answer comes when the peer has been heard.
    pub(super) fn connect(
        &mut self,
        slot: usize,
        peer: PeerAddr,
        reply: Reply,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let allocation = self.allocations.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // A UDP allocation has nothing to connect from.
        if !allocation.tcp {
            return Err(ErrorCode::FORBIDDEN);
        }
        // RFC 6062 §5.2: one connection for a peer, whether it stands or is being made.
        let is_theirs = |id: &ConnectionId| self.connections.get(id).is_some_and(|entry| entry.peer == peer);
        if allocation.connections.iter().any(is_theirs) {
            return Err(ErrorCode::CONNECTION_ALREADY_EXISTS);
        }
        // RFC 6062 §5.2: 403 if it is against the rules: those for permissions. At an address of ours that the role does not
        // name they are for what the relay opened; the same port number may be another program's in TCP.
        let reach = self.reach(allocation, peer.0.ip())?;
        let is_foreign = reach.through == Through::Own && !self.sockets.is_open_tcp(peer);
        if !reach.holds(peer.0.port()) || is_foreign {
            return Err(ErrorCode::FORBIDDEN);
        }
        let from = allocation.of_family(Some(Family::of(peer.0.ip()))).next();
        let from = from.ok_or(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH)?.socket.id;
        let connection = self.add_connection(slot, peer, now, |timer| Stage::Connecting(timer, reply))?;
        self.outputs.push_back(Output::Connect { connection, from, to: peer });
        Ok(())
    }

    /// RFC 6062 §5.4: `client` is from now on what carries the data of a connection of `user`. Whatever is wrong is a 400, so
    /// that nobody learns which connections others have.
    pub(super) fn connection_bind(
        &mut self,
        client: FiveTuple,
        user: &str,
        connection: ConnectionId,
    ) -> Result<(), ErrorCode> {
        let entry = self.connections.get_mut(&connection).ok_or(ErrorCode::BAD_REQUEST)?;
        let owner = self.allocations.get(entry.allocation).map(|allocation| &*allocation.user);
        let Stage::Waiting(timer) = entry.stage else { return Err(ErrorCode::BAD_REQUEST) };
        if owner != Some(user) {
            return Err(ErrorCode::BAD_REQUEST);
        }
        self.timers.cancel(timer);
        entry.stage = Stage::Bound(client);
        self.by_data.insert(client, connection);
        Ok(())
    }

    /// Ends a connection, whatever its stage: RFC 6062 §5.2 makes that a 447 to who still waits for it.
    pub(super) fn end_connection(&mut self, connection: ConnectionId) {
        let Some(entry) = self.forget_connection(connection) else { return };
        if let Stage::Connecting(_, reply) = entry.stage {
            self.counters.count_refused(ErrorCode::CONNECTION_FAILED);
            self.tell(entry.allocation, reply.error(ErrorCode::CONNECTION_FAILED, |_| ()));
        }
        self.outputs.push_back(Output::Disconnect { connection });
    }

    /// Enters a connection into the books, whose stage `stage` makes of its timer.
    fn add_connection(
        &mut self,
        slot: usize,
        peer: PeerAddr,
        now: Instant,
        stage: impl FnOnce(TimerId) -> Stage,
    ) -> Result<ConnectionId, ErrorCode> {
        let (capacity, place) = (self.settings.capacity, self.settings.place);
        let allocation = self.allocations.get_mut(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if allocation.connections.len() >= capacity.peer_connections
            || self.books.take_peer_connection(capacity.all_peer_connections).is_err()
        {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let connection = loop {
            let id = place.mint(self.rng.random());
            if !self.connections.contains_key(&id) {
                break id;
            }
        };
        allocation.connections.push(connection);
        let stage = stage(self.timers.set(now + PATIENCE, Due::Connection(connection)));
        self.connections.insert(connection, PeerConnection { allocation: slot, peer, stage });
        self.counters.peer_connections.add(1);
        self.list_peer(slot, peer.0.ip());
        Ok(connection)
    }

    fn forget_connection(&mut self, connection: ConnectionId) -> Option<PeerConnection> {
        let entry = self.connections.remove(&connection)?;
        self.books.give_back_peer_connection();
        self.counters.peer_connections.take(1);
        if let Some(timer) = entry.stage.timer() {
            self.timers.cancel(timer);
        }
        if let Stage::Bound(client) = entry.stage {
            self.by_data.remove(&client);
        }
        if let Some(allocation) = self.allocations.get_mut(entry.allocation) {
            allocation.connections.retain(|id| *id != connection);
        }
        self.unlist_peers(entry.allocation, [entry.peer.0.ip()]);
        Some(entry)
    }

    /// Sends something on the control connection of an allocation.
    fn tell(&mut self, slot: usize, bytes: Vec<u8>) {
        if let Some(allocation) = self.allocations.get(slot) {
            self.outputs.push_back(Output::Send { to: allocation.row.client, bytes });
        }
    }
}
