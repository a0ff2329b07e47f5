//! Connections with peers of TCP allocations (RFC 6062), on the worker that owns the allocation: made, accepted, bound to a
//! connection of the client's, and what then goes through them. The server decides; here are the sockets.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod splice;

use std::io;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::streams::{Connection, Streams};
use super::token::Ready;
use super::turn::RelayedSockets;
use crate::base::Timers;
use crate::turn::connection::{ConnectionId, Way};
use crate::turn::server::Server;
use splice::{Police, Pumped, Splice};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// All of a worker.
pub(super) struct Peers {
    registry: Registry,
    entries: Slab<Entry>,
    by_id: FxHashMap<ConnectionId, usize>,
    /// What had its turns in this round and is not done.
    postponed: Vec<(ConnectionId, Way)>,
    /// Empty but while those are served.
    serving: Vec<(ConnectionId, Way)>,
    /// When ways go on that the role's bandwidth has stopped.
    paused: Timers<(ConnectionId, Way)>,
    /// When this round began.
    began: Instant,
}

struct Entry {
    id: ConnectionId,
    stage: Stage,
}

enum Stage {
    /// The peer has not answered.
    Connecting(TcpStream),
    /// The client has not come for it; what the peer sends stays in the kernel.
    Waiting(TcpStream),
    Spliced(Box<Splice>),
    /// An end is gone; the server has been told.
    Over,
}

/// What a look at a connection needs besides.
pub(super) struct Around<'a> {
    pub server: &'a mut Server<RelayedSockets>,
    pub streams: &'a mut Streams,
    /// Memory to move bytes in.
    pub scratch: &'a mut [u8],
    pub now: Instant,
}

impl Peers {
    pub fn new(registry: Registry, now: Instant) -> Peers {
        Peers {
            registry,
            entries: Slab::new(),
            by_id: FxHashMap::default(),
            postponed: Vec::new(),
            serving: Vec::new(),
            paused: Timers::default(),
            began: now,
        }
    }

    // ---- how they begin and end ----

    /// One that is being made: its socket says when it is.
    pub fn connect(&mut self, id: ConnectionId, socket: TcpStream) -> io::Result<()> {
        self.insert(id, socket, Stage::Connecting)
    }

    /// One that a peer has made.
    pub fn accept(&mut self, id: ConnectionId, socket: TcpStream) -> io::Result<()> {
        self.insert(id, socket, Stage::Waiting)
    }

    fn insert(
        &mut self,
        id: ConnectionId,
        mut socket: TcpStream,
        stage: impl FnOnce(TcpStream) -> Stage,
    ) -> io::Result<()> {
        let _ = socket.set_nodelay(true);
        let entry = self.entries.vacant_entry();
        self.registry.register(&mut socket, Ready::Peer(entry.key()).token(), BOTH)?;

        self.by_id.insert(id, entry.key());
        entry.insert(Entry { id, stage: stage(socket) });
        Ok(())
    }

    /// The client has come for one, on this connection.
    pub fn bind(&mut self, id: ConnectionId, mut client: Connection, around: &mut Around<'_>) {
        let slot = self.by_id.get(&id).copied().unwrap_or(usize::MAX);
        let Some(entry) = self.entries.get_mut(slot) else { return around.streams.close(client) };
        let watched = self.registry.register(client.socket(), Ready::Data(slot).token(), BOTH);
        entry.stage = match (std::mem::replace(&mut entry.stage, Stage::Over), watched) {
            (Stage::Waiting(peer), Ok(())) => Stage::Spliced(Box::new(Splice::new(client, peer))),
            _ => {
                around.streams.close(client);
                return around.server.handle_disconnected(id);
            }
        };
        // Both may have sent already.
        self.pump(slot, Way::ToPeer, around);
        self.pump(slot, Way::ToClient, around);
    }

    /// Closes one, and the client's connection that it is bound to.
    pub fn disconnect(&mut self, id: ConnectionId, streams: &mut Streams) {
        let Some(slot) = self.by_id.remove(&id) else { return };
        if let Some(Entry { stage: Stage::Spliced(splice), .. }) = self.entries.try_remove(slot) {
            streams.close(splice.client);
        }
    }

    // ---- what goes through them ----

    /// Serves what had its turns in the round before, and what its bandwidth lets go on.
    pub fn begin_round(&mut self, around: &mut Around<'_>) {
        self.began = around.now;
        std::mem::swap(&mut self.postponed, &mut self.serving);
        while let Some((id, way)) = self.serving.pop().or_else(|| self.paused.pop(around.now)) {
            let slot = self.by_id.get(&id).copied();
            if let Some(slot) = slot
                && let Some(Entry { stage: Stage::Spliced(splice), .. }) = self.entries.get_mut(slot)
            {
                splice.set_scheduled(way, false);
                self.pump(slot, way, around);
            }
        }
    }

    /// When there is something to do, should the poll have nothing to say.
    pub fn next_due(&mut self) -> Option<Instant> {
        if self.postponed.is_empty() { self.paused.next_due() } else { Some(self.began) }
    }

    /// The socket of a peer has something to say.
    pub fn look_at_peer(&mut self, slot: usize, around: &mut Around<'_>) {
        let Some(Entry { id, stage }) = self.entries.get_mut(slot) else { return };
        match stage {
            Stage::Connecting(socket) => match outcome(socket) {
                Ok(false) => {}
                Ok(true) => {
                    if let Stage::Connecting(socket) = std::mem::replace(stage, Stage::Over) {
                        *stage = Stage::Waiting(socket);
                    }
                    around.server.handle_connected(*id, around.now);
                }
                Err(error) => {
                    tracing::trace!(%error, "a peer does not take a connection");
                    around.server.handle_disconnected(*id);
                }
            },
            Stage::Waiting(_) | Stage::Over => {}
            Stage::Spliced(splice) => {
                let takes_more = splice.holds(Way::ToPeer);
                self.pump(slot, Way::ToClient, around);
                if takes_more {
                    self.pump(slot, Way::ToPeer, around);
                }
            }
        }
    }

    /// The socket of a client has something to say.
    pub fn look_at_client(&mut self, slot: usize, around: &mut Around<'_>) {
        let Some(Entry { stage: Stage::Spliced(splice), .. }) = self.entries.get(slot) else { return };
        let takes_more = splice.holds(Way::ToClient);
        self.pump(slot, Way::ToPeer, around);
        if takes_more {
            self.pump(slot, Way::ToClient, around);
        }
    }

    fn pump(&mut self, slot: usize, way: Way, around: &mut Around<'_>) {
        let Some(Entry { id, stage: Stage::Spliced(splice) }) = self.entries.get_mut(slot) else { return };
        let Around { server, streams, scratch, now } = around;
        let mut police = (&mut **server, *id);
        match splice.pump(way, streams, &mut police, scratch, *now) {
            Ok(Pumped::Waits) => {}
            Ok(Pumped::HasMore | Pumped::Paused(_)) if splice.set_scheduled(way, true) => {}
            Ok(Pumped::HasMore) => self.postponed.push((*id, way)),
            Ok(Pumped::Paused(until)) => _ = self.paused.set(until, (*id, way)),
            Ok(Pumped::Over) => server.handle_disconnected(*id),
            Err(why) => {
                tracing::debug!(%why, "a connection with a peer has broken");
                server.handle_disconnected(*id);
            }
        }
    }
}

impl Police for (&mut Server<RelayedSockets>, ConnectionId) {
    fn room(&self, way: Way, now: Instant) -> Result<usize, Instant> {
        self.0.room(self.1, way, now)
    }

    fn streamed(&mut self, way: Way, bytes: usize, now: Instant) {
        self.0.streamed(self.1, way, bytes, now);
    }
}

/// True if the connection is made, false if that is still open.
fn outcome(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
