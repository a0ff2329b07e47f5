//! The four transactions (RFC 3261 §17, RFC 6026) and the layer that matches messages to them.
//!
//! The layer is the only door between messages and the edge: what is new goes up, retransmissions are absorbed here.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod build;
mod clients;
mod clock;
mod invite_client;
mod invite_server;
mod key;
mod layer;
mod machine;
mod non_invite_client;
mod non_invite_server;
mod peers;
mod servers;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use crate::base::{ClientAddr, FlowId, ListenerId, Transport};

pub use layer::Transactions;

pub(crate) use key::MAGIC_COOKIE;

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

impl Default for TimerValues {
    fn default() -> Self {
        TimerValues { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// A request that was built here, with what names its transaction: it need not be read again.
#[derive(Clone, Debug)]
pub struct Outgoing<'r> {
    /// As it is sent.
    pub bytes: Bytes,
    /// Its method.
    pub method: &'r [u8],
    /// The branch of its top Via.
    pub branch: &'r [u8],
}

/// What became of a request that arrived.
#[derive(Debug)]
pub enum Received {
    /// A new request: the transaction now exists and stays until it is answered through [`Transactions::respond`] or
    /// given up by [`Transactions::abandon`].
    New(ServerId),
    /// A retransmission, or the ACK of a non-2xx: nothing to do.
    Absorbed,
    /// An ACK that matches no transaction waiting for it: it acknowledges a 2xx and is forwarded statelessly (§16.11).
    Ack,
    /// A CANCEL that found its INVITE (§9.2): first the CANCEL's own transaction, which must be answered, then the
    /// INVITE's, which may have its final response already. A CANCEL that found none is `New`.
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
