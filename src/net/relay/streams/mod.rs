//! TURN clients over TCP and TLS (RFC 8656 §2.1), on the worker that accepted them.
//!
//! In a round of the worker, what has arrived is read into the packet path's memory and cut into messages there, what there is
//! to say is gathered, and at the end it is written: many packets for one client leave in one system call.
//! Nothing here waits, an idle connection holds no buffer, and a peer that does not read loses packets and then its connection.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod connection;
mod frames;
mod leaving;
mod spare;
mod tls;
mod wire;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use rustc_hash::FxHashMap;
use rustls::ServerConfig;
use slab::Slab;

use super::token::Ready;
use crate::base::ban::Banned;
use crate::base::{ClientAddr, FlowId};
use crate::net::places::Places;
use crate::net::settings::{Patience, TurnTransport};
use crate::turn::forward::Reason;
use crate::turn::totals::{Closed, Counters};
use crate::turn::{Carrier, FiveTuple};
pub(super) use connection::Connection;
pub(super) use frames::Cut;
use frames::{Garbage, cut};
pub(super) use leaving::{HandedOver, Leaving};
use spare::Spare;
pub(super) use wire::{Ended, ROOM};
use wire::{READ, RECORDS, Wire};

/// Reads from one connection before the others get their turn.
pub(super) const TURNS: usize = 4;
/// Connections accepted from one listener before media goes on.
const ACCEPTS: usize = 16;
/// Connections whose handshakes are carried on before media goes on: a signature costs as much as a hundred packets.
const HANDSHAKES: usize = 4;
/// How long a listener rests that cannot accept: there are no descriptors left, mostly.
const REST: Duration = Duration::from_millis(100);

/// Bits of a flow's id that say in which slot the connection is; those above are never the same twice.
const SLOT: u32 = 24;

/// What [`Streams`] is told.
#[derive(Clone, Debug)]
pub(in crate::net) struct Settings {
    /// By index of the TURN listener: for TLS.
    pub tls: Vec<Option<Arc<ServerConfig>>>,
    pub places: Places,
    /// Bytes that may wait for one peer.
    pub outbound_bytes: usize,
    pub patience: Patience,
}

/// What is sent, and what happens when its peer does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cargo {
    /// It is dropped.
    Media,
    /// The connection is closed: the client waits for it.
    Answer,
}

/// What one look at a connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// From whom.
    pub client: FiveTuple,
    /// So much stands in the room.
    pub bytes: usize,
    /// There may be more: look again.
    pub more: bool,
}

/// All connections of a worker.
pub(super) struct Streams {
    settings: Settings,
    registry: Registry,
    /// By index of the TURN listener.
    listeners: FxHashMap<usize, Listener>,
    connections: Slab<Connection>,
    serial: u64,
    /// TLS records are read into it.
    records: Vec<u8>,
    spare: Spare,
    /// Slots of connections with something to write, or to be closed, each once.
    marked: Vec<usize>,
    /// Empty but while those are served.
    serving: Vec<usize>,
    /// What had its turns in this round and is not done; served first in the next.
    postponed: VecDeque<Ready>,
    /// Left in this round.
    handshakes: usize,
    /// When this round began.
    began: Instant,
    closed: Vec<FiveTuple>,
    leaving: Vec<Leaving>,
    next_sweep: Option<Instant>,
    counters: Arc<Counters>,
}

struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    is_postponed: bool,
    rests_until: Option<Instant>,
}

impl Streams {
    pub fn new(settings: Settings, registry: Registry, counters: Arc<Counters>, now: Instant) -> Streams {
        Streams {
            settings,
            registry,
            listeners: FxHashMap::default(),
            connections: Slab::new(),
            serial: 0,
            records: vec![0; RECORDS],
            spare: Spare::default(),
            marked: Vec::new(),
            serving: Vec::new(),
            postponed: VecDeque::new(),
            handshakes: HANDSHAKES,
            began: now,
            closed: Vec::new(),
            leaving: Vec::new(),
            next_sweep: None,
            counters,
        }
    }

    /// Accepts connections of a listener.
    pub fn listen(&mut self, listener: usize, socket: std::net::TcpListener) -> io::Result<()> {
        let tls = self.settings.tls.get(listener).cloned().flatten();
        let mut socket = TcpListener::from_std(socket);
        self.registry.register(&mut socket, Ready::Accept(listener).token(), Interest::READABLE)?;
        self.listeners.insert(listener, Listener { socket, tls, is_postponed: false, rests_until: None });
        Ok(())
    }

    // ---- reading ----

    /// Begins a round; how many [`Self::next_postponed`] are to be served in it.
    pub fn begin_round(&mut self, now: Instant) -> usize {
        self.handshakes = HANDSHAKES;
        self.began = now;
        for (index, listener) in &mut self.listeners {
            if listener.rests_until.is_some_and(|until| until <= now) {
                listener.rests_until = None;
                listener.is_postponed = true;
                self.postponed.push_back(Ready::Accept(*index));
            }
        }
        self.postponed.len()
    }

    /// A socket that had its turns in the round before.
    pub fn next_postponed(&mut self) -> Option<Ready> {
        let ready = self.postponed.pop_front()?;
        match ready {
            Ready::Accept(index) => self.listeners.get_mut(&index)?.is_postponed = false,
            Ready::Stream(slot) => self.connections.get_mut(slot)?.is_postponed = false,
            _ => {}
        }
        Some(ready)
    }

    /// The poll says that the peer has closed its side: the end stands behind what is left to read.
    pub fn hung_up(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.has_hung_up = true;
        }
    }

    /// Reads once from a connection that the poll has named. What stands in `room` then, which holds [`ROOM`] bytes, is to be
    /// cut into messages ([`Self::cut`]), and the rest given to [`Self::keep`]. `None`: not now.
    pub fn read(&mut self, slot: usize, room: &mut [u8]) -> Option<Stretch> {
        let connection = self.connections.get_mut(slot)?;
        if connection.is_blocked() {
            // It may be what the poll meant.
            self.mark(slot);
        }
        let connection = self.connections.get_mut(slot)?;
        if connection.is_postponed || connection.is_done() {
            return None;
        }
        if connection.is_handshaking() {
            if self.handshakes == 0 {
                self.postpone(slot);
                return None;
            }
            self.handshakes -= 1;
        }
        let connection = self.connections.get_mut(slot)?;
        let arrived = connection.wire.read(room, &mut self.records, READ);
        connection.ends = arrived.ended;
        let client = connection.client;
        let goes_on = connection.ends.is_none() && (arrived.more || connection.has_hung_up && arrived.any);
        if connection.wire.waiting() > 0 {
            self.mark(slot);
        }
        Some(Stretch { client, bytes: arrived.bytes, more: goes_on })
    }

    /// The first message of what was read, if it is whole.
    #[inline]
    pub fn cut(&mut self, slot: usize, bytes: &[u8]) -> Option<Cut> {
        let follows = self.connections.get(slot)?.follows();
        cut(bytes, follows).unwrap_or_else(|Garbage| {
            self.end(slot, Ended::Garbage);
            None
        })
    }

    /// Takes back what is left of what was read, out of which `messages` were cut.
    pub fn keep(&mut self, slot: usize, rest: &[u8], messages: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.keep(rest, messages, now);
        // One that leaves will see its end where it goes.
        if let Some(why) = connection.ends.take().filter(|_| !connection.leaves) {
            self.end(slot, why);
        }
    }

    /// Reads on in the next round.
    pub fn postpone(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !std::mem::replace(&mut connection.is_postponed, true)
        {
            self.postponed.push_back(Ready::Stream(slot));
        }
    }

    /// Accepts connections of a listener that the poll has named, unless they are of a source that somebody `refuses`.
    pub fn accept(&mut self, index: usize, now: Instant, refuses: impl Fn(IpAddr) -> Option<Reason>) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get_mut(&index) else { return };
            if listener.is_postponed {
                return; // It has had its turns in this round.
            }
            match listener.socket.accept() {
                Ok((socket, remote)) => match refuses(remote.ip()) {
                    Some(Reason::Banned) => self.counters.count_closed(Closed::Banned),
                    Some(_) => self.counters.count_closed(Closed::Policy),
                    None => {
                        let tls = listener.tls.clone();
                        self.open(index, socket, remote, tls, now);
                    }
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a TURN connection; raise `ulimit -n` if this goes on");
                    listener.rests_until = Some(now + REST);
                    return;
                }
            }
        }
        if let Some(listener) = self.listeners.get_mut(&index) {
            listener.is_postponed = true;
            self.postponed.push_back(Ready::Accept(index));
        }
    }

    /// Closes all connections of a source that is banned.
    pub fn ban(&mut self, banned: &Banned) {
        let is_theirs = |connection: &Connection| banned.covers(connection.client.client.0.ip());
        let theirs = |(slot, connection): (usize, &Connection)| is_theirs(connection).then_some(slot);
        let slots: Vec<usize> = self.connections.iter().filter_map(theirs).collect();
        for slot in slots {
            self.end(slot, Ended::Banned);
        }
    }

    // ---- writing ----

    /// Sends a whole message at the end of the round. Nobody is told if the connection is gone.
    pub fn send(&mut self, to: FiveTuple, message: &[u8], cargo: Cargo) {
        let (slot, most) = (slot_of(to.flow), self.settings.outbound_bytes);
        let connection = self.connections.get_mut(slot).filter(|connection| connection.client == to);
        let Some(connection) = connection.filter(|connection| connection.ended.is_none()) else { return };
        if connection.wire.waiting() + message.len() > most {
            match cargo {
                Cargo::Media => self.counters.count_dropped(Reason::Full),
                Cargo::Answer => self.end(slot, Ended::Full),
            }
        } else if let Err(why) = connection.wire.push(message, &mut self.spare) {
            self.end(slot, why);
        } else if !connection.is_blocked() {
            // One that is blocked is marked when its socket takes more.
            self.mark(slot);
        }
    }

    /// The client's allocation was made, or is gone.
    pub fn set_allocated(&mut self, client: FiveTuple, allocated: bool, now: Instant) {
        if let Some(connection) = self.find(client) {
            connection.set_allocated(allocated, now);
        }
    }

    /// What the client speaks.
    pub fn transport(&self, client: FiveTuple) -> TurnTransport {
        let connection = self.connections.get(slot_of(client.flow));
        if connection.is_some_and(|connection| connection.wire.is_tls()) {
            TurnTransport::Tls
        } else {
            TurnTransport::Tcp
        }
    }

    /// Writes what has gathered, closes what has ended or is overdue ([`Self::next_closed`]).
    pub fn end_round(&mut self, now: Instant) {
        if self.next_sweep.is_some_and(|due| due <= now) {
            self.sweep(now);
        }
        std::mem::swap(&mut self.marked, &mut self.serving);
        while let Some(slot) = self.serving.pop() {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.is_marked = false;
            match connection.wire.write(&mut self.spare) {
                Ok(taken) => connection.has_written(taken, now),
                Err(ended) => connection.ended = connection.ended.take().or(Some(ended)),
            }
            if connection.ended.is_some() {
                self.remove(slot);
            }
        }
    }

    /// A client whose connection is gone.
    pub fn next_closed(&mut self) -> Option<FiveTuple> {
        self.closed.pop()
    }

    /// When there is something to do, should the poll have nothing to say. Past if something is postponed.
    pub fn next_due(&self) -> Option<Instant> {
        let rests = self.listeners.values().filter_map(|listener| listener.rests_until);
        let postponed = (!self.postponed.is_empty()).then_some(self.began);
        rests.chain(self.next_sweep).chain(postponed).min()
    }

    fn find(&mut self, client: FiveTuple) -> Option<&mut Connection> {
        self.connections.get_mut(slot_of(client.flow)).filter(|connection| connection.client == client)
    }

    fn open(
        &mut self,
        listener: usize,
        socket: TcpStream,
        remote: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        now: Instant,
    ) {
        let Some(place) = self.settings.places.take(Some(remote.ip())) else {
            return self.counters.count_closed(Closed::TooMany);
        };
        let _ = socket.set_nodelay(true);
        let wire = match Wire::new(socket, tls) {
            Ok(wire) => wire,
            Err(error) => return tracing::warn!(%error, "a TURN connection cannot begin TLS"),
        };
        tracing::debug!(%remote, "TURN connection accepted");
        let client = FiveTuple {
            flow: FlowId(0),
            listener: u16::try_from(listener).unwrap_or(u16::MAX),
            client: ClientAddr(remote),
            carrier: Carrier::Stream,
        };
        self.insert(Connection::new(client, wire, place, now), now);
    }

    /// Serves a connection from now on; the five-tuple that it has here.
    fn insert(&mut self, connection: Connection, now: Instant) -> FiveTuple {
        self.serial += 1;
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        let connection = entry.insert(connection);
        connection.client.flow = FlowId(self.serial << SLOT | slot as u64);
        let client = connection.client;
        self.counters.connections.add(1);
        let (token, interest) = (Ready::Stream(slot).token(), Interest::READABLE | Interest::WRITABLE);
        if let Err(error) = self.registry.register(connection.wire.socket(), token, interest) {
            tracing::warn!(%error, "a TURN connection cannot be watched: raise fs.epoll.max_user_watches");
            self.end(slot, Ended::Broken(error));
        }
        self.next_sweep.get_or_insert(now + self.sweep_every());
        client
    }

    fn mark(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !std::mem::replace(&mut connection.is_marked, true)
        {
            self.marked.push(slot);
        }
    }

    /// Closes it at the end of the round.
    fn end(&mut self, slot: usize, why: Ended) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.ended.get_or_insert(why);
            self.mark(slot);
        }
    }

    fn remove(&mut self, slot: usize) {
        let Some(mut connection) = self.connections.try_remove(slot) else { return };
        let why = connection.ended.unwrap_or(Ended::Peer);
        if !matches!(why, Ended::Broken(_)) {
            connection.wire.say_good_bye(&mut self.spare);
        }
        tracing::debug!(client = %connection.client.client, %why, "TURN connection closed");
        self.counters.connections.take(1);
        if let Some(why) = why.counted() {
            self.counters.count_closed(why);
        }
        self.closed.push(connection.client);
    }

    /// Looks at all connections: whose time is over, who holds memory that it does not need.
    fn sweep(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (slot, connection) in &mut self.connections {
            connection.wire.shrink();
            if let Some(why) = connection.overdue(&self.settings.patience, now) {
                overdue.push((slot, why));
            }
        }
        for (slot, why) in overdue {
            self.end(slot, Ended::Overdue(why));
        }
        self.next_sweep = (!self.connections.is_empty()).then(|| now + self.sweep_every());
    }

    /// Often enough for the shortest patience to be kept.
    fn sweep_every(&self) -> Duration {
        let Patience { handshake, message, write, .. } = self.settings.patience;
        (handshake.min(message).min(write) / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn slot_of(FlowId(flow): FlowId) -> usize {
    (flow & ((1 << SLOT) - 1)) as usize
}

#[cfg(test)]
mod tests;
