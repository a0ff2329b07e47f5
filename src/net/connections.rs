//! The table of connections (TCP, TLS): what waits to be written, who has been silent for too long. Owns no
//! socket: a connection's task (`stream`) holds that, and follows what stands here.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::settings::Patience;
use crate::base::{FlowId, Transport};
use crate::sip::transaction::{Destination, Source};

/// What stands before each message that is queued for a WebSocket: its length.
const WEB_LENGTH: usize = 8;

/// How the shard speaks to a connection's task.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// There is something to write, or the connection is to be closed.
    pub wake: Notify,
    /// It is no longer in the table: drop it unread and unwritten.
    pub cut: Notify,
}

/// One connection, or one that is being opened.
#[derive(Debug)]
pub(super) struct Connection {
    /// What messages that arrive on it are said to come from.
    pub source: Source,
    /// What we opened it for; `None` if it was accepted.
    pub target: Option<Destination>,
    signals: Rc<Signals>,
    outbound: Vec<u8>,
    /// Bytes that the writer has taken and the peer has not.
    writing: usize,
    /// Close when everything is written; nothing more is read or queued.
    closing: bool,
    heard: Instant,
    unfinished_since: Option<Instant>,
    writing_since: Option<Instant>,
}

/// What the writer of a connection is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write what was put into the buffer.
    Write,
    /// Wait for [`Signals::wake`].
    Wait,
    /// Everything is written, or nothing will be: close.
    Close,
}

/// Why bytes were not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// It is gone, or on its way.
    Closed,
    /// The peer does not read: it has to go.
    Full,
}

/// All connections of the shard.
#[derive(Debug)]
pub(super) struct Connections {
    by_flow: FxHashMap<FlowId, Connection>,
    by_target: FxHashMap<Destination, FlowId>,
    outbound_bytes: usize,
}

impl Connections {
    /// `outbound_bytes` bounds what waits for one peer.
    pub fn new(outbound_bytes: usize) -> Connections {
        Connections { by_flow: FxHashMap::default(), by_target: FxHashMap::default(), outbound_bytes }
    }

    /// Adds one.
    pub fn insert(&mut self, source: Source, target: Option<Destination>, now: Instant) -> Rc<Signals> {
        let signals = Rc::new(Signals::default());
        let connection = Connection {
            source,
            target,
            signals: signals.clone(),
            outbound: Vec::new(),
            writing: 0,
            closing: false,
            heard: now,
            unfinished_since: None,
            writing_since: None,
        };
        self.by_flow.insert(source.flow, connection);
        if let Some(target) = target {
            self.by_target.insert(target, source.flow);
        }
        signals
    }

    /// Takes one out and tells its task, which may be the caller, to let go. With it, how many bytes were not written.
    pub fn remove(&mut self, flow: FlowId) -> Option<(Connection, usize)> {
        let connection = self.by_flow.remove(&flow)?;
        self.forget_target(&connection);
        connection.signals.cut.notify_one();
        let unsent = connection.writing + connection.outbound.len();
        Some((connection, unsent))
    }

    /// The connection that we opened to this target.
    pub fn to_target(&self, target: &Destination) -> Option<FlowId> {
        self.by_target.get(target).copied()
    }

    /// The far end, if it is we who opened the connection.
    pub fn target(&self, flow: FlowId) -> Option<Source> {
        self.by_flow
            .get(&flow)
            .filter(|connection| connection.target.is_some())
            .map(|connection| connection.source)
    }

    /// Queues bytes; says what they will travel on.
    pub fn queue(&mut self, flow: FlowId, bytes: &[u8]) -> Result<Transport, NotQueued> {
        let connection = self.by_flow.get_mut(&flow).ok_or(NotQueued::Closed)?;
        if connection.closing {
            return Err(NotQueued::Closed);
        }
        let waiting = connection.writing + connection.outbound.len();
        if waiting + bytes.len() > self.outbound_bytes {
            return Err(NotQueued::Full);
        }
        if connection.source.transport.is_web() {
            connection.outbound.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        }
        connection.outbound.extend_from_slice(bytes);
        if waiting == 0 {
            connection.signals.wake.notify_one();
        }
        Ok(connection.source.transport)
    }

    /// Closes it after what is queued has been written. A later message to its target opens a new one.
    pub fn close(&mut self, flow: FlowId) {
        if let Some(mut connection) = self.by_flow.remove(&flow) {
            connection.closing = true;
            connection.signals.wake.notify_one();
            self.forget_target(&connection);
            self.by_flow.insert(flow, connection);
        }
    }

    /// Gives the writer what has queued up, in exchange for its empty buffer.
    pub fn take_outbound(&mut self, flow: FlowId, empty: &mut Vec<u8>, now: Instant) -> Next {
        let Some(connection) = self.by_flow.get_mut(&flow) else { return Next::Close };
        if connection.outbound.is_empty() {
            return if connection.closing { Next::Close } else { Next::Wait };
        }
        std::mem::swap(&mut connection.outbound, empty);
        connection.writing = empty.len();
        connection.writing_since = Some(now);
        Next::Write
    }

    /// The peer has taken `n` bytes, of a WebSocket one message.
    pub fn wrote(&mut self, flow: FlowId, n: usize, now: Instant) {
        if let Some(connection) = self.by_flow.get_mut(&flow) {
            let mark = if connection.source.transport.is_web() { WEB_LENGTH } else { 0 };
            connection.writing = connection.writing.saturating_sub(n + mark);
            connection.writing_since = (connection.writing > 0).then_some(now);
        }
    }

    /// Whether messages that arrive on it are still wanted.
    pub fn is_open(&self, flow: FlowId) -> bool {
        self.by_flow.get(&flow).is_some_and(|connection| !connection.closing)
    }

    /// Bytes have arrived; where they come from, unless they are no longer wanted.
    pub fn heard(&mut self, flow: FlowId, now: Instant) -> Option<Source> {
        let connection = self.by_flow.get_mut(&flow)?;
        connection.heard = now;
        (!connection.closing).then_some(connection.source)
    }

    /// Whether a message has begun and is not complete, and whether one was completed before it.
    pub fn unfinished(&mut self, flow: FlowId, begun: bool, completed: bool, now: Instant) {
        if let Some(connection) = self.by_flow.get_mut(&flow) {
            connection.unfinished_since = match connection.unfinished_since {
                since @ Some(_) if begun && !completed => since,
                _ => begun.then_some(now),
            };
        }
    }

    /// Those whose peers have used up our patience, and why. One that is being opened has its own time-outs.
    pub fn overdue(&self, patience: &Patience, now: Instant) -> Vec<(FlowId, &'static str)> {
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let why = |connection: &Connection| {
            if connection.unfinished_since.is_some_and(|since| over(since, patience.message)) {
                Some("a message began and did not end")
            } else if connection.writing_since.is_some_and(|since| over(since, patience.write)) {
                Some("the peer does not read")
            } else if over(connection.heard, patience.idle) {
                Some("idle")
            } else {
                None
            }
        };
        self.by_flow.iter().filter_map(|(flow, connection)| Some((*flow, why(connection)?))).collect()
    }

    /// Closes all, as [`Self::close`].
    pub fn close_all(&mut self) {
        for connection in self.by_flow.values_mut() {
            connection.closing = true;
            connection.signals.wake.notify_one();
        }
        self.by_target.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_flow.len()
    }

    fn forget_target(&mut self, connection: &Connection) {
        if let Some(target) = connection.target
            && self.by_target.get(&target) == Some(&connection.source.flow)
        {
            self.by_target.remove(&target);
        }
    }
}

/// The messages that were queued for a WebSocket, which has a frame for each.
pub(super) fn web_messages(mut queued: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = queued.split_first_chunk::<WEB_LENGTH>()?;
        let (message, rest) = rest.split_at_checked(u64::from_be_bytes(*length) as usize)?;
        queued = rest;
        Some(message)
    })
}

#[cfg(test)]
mod tests;
