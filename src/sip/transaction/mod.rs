//! The four transactions (RFC 3261 §17, RFC 6026) and the layer that matches messages to them.
//!
//! The layer is the only door between messages and the edge: what is new goes up, retransmissions are absorbed here.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::message::Message;
use crate::base::{ClientAddr, FlowId, ListenerId, Transport};

/// Names a server transaction. Not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u64);

/// Names a client transaction. Not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The connection; for UDP one per (listener, remote address).
    pub flow: FlowId,
    /// The listener that took it.
    pub listener: ListenerId,
    /// What it came over.
    pub transport: Transport,
    /// The real source.
    pub remote: ClientAddr,
}

/// Where a message goes: the answer to "which socket".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Over this connection or nowhere.
    Flow(FlowId),
    /// To this address from that listener's side: UDP from its socket; TCP and TLS over a connection that is open to
    /// the address, or a new one. `tls_name` indexes the edge's TLS peer settings (server name, verification).
    Address {
        /// Whose socket or, for streams, whose zone.
        listener: ListenerId,
        /// Transport to use.
        transport: Transport,
        /// Remote address.
        remote: std::net::SocketAddr,
        /// TLS peer settings, `u16::MAX` if none.
        tls: u16,
    },
}

impl Destination {
    /// RFC 3261 §17: reliable transports do not retransmit. A flow's transport must be told by the caller.
    pub fn transport_hint(&self) -> Option<Transport> {
        match self {
            Destination::Flow(_) => None,
            Destination::Address { transport, .. } => Some(*transport),
        }
    }
}

/// Timers of RFC 3261 table 4.
#[derive(Clone, Copy, Debug)]
pub struct TimerValues {
    /// Round-trip estimate, 500 ms.
    pub t1: Duration,
    /// Maximum retransmit interval for non-INVITE requests and INVITE responses, 4 s.
    pub t2: Duration,
    /// Maximum time a message stays in the network, 5 s.
    pub t4: Duration,
}

/// What became of a request that arrived.
#[derive(Debug)]
pub enum Received {
    /// A new request: the transaction now exists and expects answers through [`Transactions::respond`].
    New(ServerId),
    /// A retransmission, or the ACK of a non-2xx: nothing to do.
    Absorbed,
    /// An ACK that matches no transaction waiting for it: it acknowledges a 2xx and is forwarded statelessly (§16.11).
    Ack,
    /// CANCEL for this INVITE transaction (§9.2); the CANCEL's own transaction is the first, and must be answered.
    Cancel(ServerId, ServerId),
    /// Full: answer statelessly with 503.
    Full,
}

/// What a response that arrived is for.
#[derive(Debug)]
pub enum ResponseFor {
    /// Pass it to the response context of this client transaction.
    Client(ClientId),
    /// Absorbed: a retransmission, or it matched nothing (§16.7: dropped).
    Nothing,
}

/// What the layer wants done.
#[derive(Debug)]
pub enum TransactionOutput {
    /// Send these bytes there.
    Send {
        /// Where.
        to: Destination,
        /// What.
        bytes: Bytes,
    },
    /// Timer B or F fired: no answer. Tell the response context 408.
    TimedOut(ClientId),
    /// It could not be sent (§17.1.4): treat as 503.
    SendFailed(ClientId),
    /// Timer C or H, L … are inside; this says that the transaction is gone and its id forgotten.
    ServerGone(ServerId),
    /// The client transaction is gone.
    ClientGone(ClientId),
}

/// All transactions of one shard.
#[derive(Debug)]
pub struct Transactions {}

impl Transactions {
    /// `capacity` bounds server and client transactions each.
    pub fn new(timers: TimerValues, capacity: usize) -> Self {
        let _ = (timers, capacity);
        todo!()
    }
    /// A request arrived (RFC 3261 §17.2.3 matching: branch, sent-by, method; pre-3261 requests by the older rules).
    pub fn receive_request(&mut self, request: &Message, source: &Source, now: Instant) -> Received {
        let _ = (request, source, now);
        todo!()
    }
    /// A response arrived (§17.1.3: branch and CSeq method).
    pub fn receive_response(&mut self, response: &Message, now: Instant) -> ResponseFor {
        let _ = (response, now);
        todo!()
    }
    /// Sends a response in a server transaction; `to` was worked out by §18.2.2.
    pub fn respond(&mut self, id: ServerId, status: u16, bytes: Bytes, to: Destination, now: Instant) {
        let _ = (id, status, bytes, to, now);
        todo!()
    }
    /// Sends a request in a new client transaction. `branch` is the one in its top Via. `None` if full.
    pub fn send_request(
        &mut self,
        request: Message,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> Option<ClientId> {
        let _ = (request, to, transport, now);
        todo!()
    }
    /// §9.1: builds and sends a CANCEL for this INVITE client transaction, as soon as a provisional response allows it.
    pub fn cancel(&mut self, id: ClientId, now: Instant) {
        let _ = (id, now);
        todo!()
    }
    /// The transport failed for this destination.
    pub fn send_failed(&mut self, to: Destination, now: Instant) {
        let _ = (to, now);
        todo!()
    }
    /// Next thing to do.
    pub fn poll_output(&mut self) -> Option<TransactionOutput> {
        todo!()
    }
    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        todo!()
    }
    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// Live server and client transactions.
    pub fn len(&self) -> (usize, usize) {
        todo!()
    }
}
