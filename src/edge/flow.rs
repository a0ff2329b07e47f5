//! The flow that a source stands at the end of (RFC 5626 §2).

use std::net::SocketAddr;

use crate::base::{FlowId, ListenerId, Transport};
use crate::sip::transaction::{Destination, Source};

/// A connection, or for UDP a listener and an address: what two messages have in common that came the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowEnd {
    /// The listener that took it.
    pub listener: ListenerId,
    /// What it came over.
    pub transport: Transport,
    /// The connection; 0 for UDP, where the address says it all.
    pub flow: FlowId,
    /// The far end.
    pub remote: SocketAddr,
}

impl From<&Source> for FlowEnd {
    fn from(source: &Source) -> Self {
        let flow = if source.transport == Transport::Udp { FlowId(0) } else { source.flow };
        FlowEnd { listener: source.listener, transport: source.transport, flow, remote: source.remote.0 }
    }
}

impl FlowEnd {
    /// As it was before a restart. A UDP flow is the same as ever; a connection is gone, and no other one is taken for it.
    pub fn again(listener: ListenerId, transport: Transport, remote: SocketAddr) -> FlowEnd {
        FlowEnd { listener, transport, flow: FlowId(0), remote }
    }

    /// A connection of before a restart.
    pub fn is_gone(&self) -> bool {
        self.transport.is_reliable() && self.flow == FlowId(0)
    }

    /// The way back along the flow. For UDP the address is the flow.
    pub fn destination(&self) -> Destination {
        match self.transport {
            Transport::Udp => Destination::Address {
                listener: self.listener,
                transport: Transport::Udp,
                remote: self.remote,
                tls: u16::MAX,
            },
            _ => Destination::Flow(self.flow),
        }
    }
}
