//! The transaction user: from a request that arrived to what is sent, in typed phases
//! (`Received → Identified → Permitted → Routed → Anchored → Forwarded`, docs/life-of-a-call.md).

pub mod anchor;
pub mod event;
pub mod settings;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::base::{FlowId, Now, Rng};
use crate::policy;
use crate::relay::{Relay, RelayEvent};
use crate::sip::transaction::{Destination, Source};
use event::Event;
use settings::Settings;

/// What the edge wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a SIP message.
    Send {
        /// Where.
        to: Destination,
        /// What.
        bytes: Bytes,
    },
    /// Close this connection (after what is queued has been written).
    Close(FlowId),
    /// Tell the outside.
    Event(Event),
}

/// Where the edge stands in its own life.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Takes calls.
    No,
    /// New calls get 503; live ones go on until the grace time is over.
    Draining,
    /// BYE has gone out on both legs of every call.
    Ended,
}

/// What is live, for metrics, `status` and the scenarios' "nothing left behind".
#[allow(missing_docs)]
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub server_transactions: usize,
    pub client_transactions: usize,
    pub calls: usize,
    pub answered_calls: usize,
    pub registrations: usize,
    pub relay: crate::relay::RelayUsage,
    /// (URI, up)
    pub targets: Vec<(Arc<str>, bool)>,
}

/// The edge of one shard: a pure machine.
pub struct Edge {
    _settings: Arc<Settings>,
}

impl Edge {
    /// Starts empty.
    pub fn new(settings: Arc<Settings>, policy: policy::Engine, relay: Box<dyn Relay>, rng: Rng) -> Edge {
        let _ = (policy, relay, rng);
        Edge { _settings: settings }
    }
    /// True: drop these bytes unread (bans, `packets` rules). Asked per datagram and per new connection.
    pub fn refuses_packet(&mut self, source: IpAddr, listener: crate::base::ListenerId, now: Now) -> bool {
        let _ = (source, listener, now);
        todo!()
    }
    /// One framed message (or datagram) arrived.
    pub fn handle_message(&mut self, source: &Source, bytes: Bytes, now: Now) {
        let _ = (source, bytes, now);
        todo!()
    }
    /// A stream could not be followed: answers if it can be answered; the caller closes it.
    pub fn handle_malformed(&mut self, source: &Source, error: crate::sip::message::Malformed, now: Now) {
        let _ = (source, error, now);
        todo!()
    }
    /// A connection is gone: its registrations end, transactions on it fail.
    pub fn handle_flow_closed(&mut self, flow: FlowId, now: Now) {
        let _ = (flow, now);
        todo!()
    }
    /// Sending to `to` failed (refused, no route, queue full).
    pub fn handle_send_failed(&mut self, to: Destination, now: Now) {
        let _ = (to, now);
        todo!()
    }
    /// A relay worker reports.
    pub fn handle_relay(&mut self, event: RelayEvent, now: Now) {
        let _ = (event, now);
        todo!()
    }
    /// A target's name was resolved (again); empty: it does not resolve.
    pub fn handle_resolved(&mut self, name: &str, addresses: &[IpAddr], now: Now) {
        let _ = (name, addresses, now);
        todo!()
    }
    /// First call: new calls get 503. With `end_calls`: BYE on both legs of every call.
    pub fn drain(&mut self, end_calls: bool, now: Now) {
        let _ = (end_calls, now);
        todo!()
    }
    /// Makes [`Event::Message`] for every message from now on.
    pub fn trace_messages(&mut self, on: bool) {
        let _ = on;
        todo!()
    }
    /// Next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        todo!()
    }
    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
        todo!()
    }
    /// What is live.
    pub fn status(&self) -> Status {
        todo!()
    }
}
