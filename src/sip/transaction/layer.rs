//! The layer: matches messages to transactions, steps their machines and does what these ask for.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::clients::{Client, ClientEvent};
use super::clock::{Clock, Owner};
use super::key::{Keys, top_branch};
use super::peers::Peers;
use super::servers::{Server, ServerEvent};
use super::table::{self, Table};
use super::{
    ClientId, Destination, Outgoing, Received, ResponseFor, ServerId, Source, TimerValues, TransactionOutput,
};
use crate::base::{Transport, should_shrink};
use crate::sip::message::{Message, Method};

/// All transactions of one shard.
#[derive(Debug)]
pub struct Transactions {
    pub(super) capacity: usize,
    pub(super) keys: Keys,
    pub(super) servers: Table<Server>,
    pub(super) clients: Table<Client>,
    pub(super) peers: Peers,
    pub(super) clock: Clock,
    pub(super) outputs: VecDeque<TransactionOutput>,
}

impl Transactions {
    /// `capacity` bounds server and client transactions each. CANCELs may go up to twice that, so that a full table
    /// can still be emptied by those who wait in it.
    pub fn new(timers: TimerValues, capacity: usize) -> Self {
        Transactions {
            capacity: capacity.min(table::MOST / 2),
            keys: Keys::new(),
            servers: Table::default(),
            clients: Table::default(),
            peers: Peers::default(),
            clock: Clock::new(timers),
            outputs: VecDeque::new(),
        }
    }

    /// A request arrived (RFC 3261 §17.2.3 matching: branch, sent-by, method; pre-3261 requests by the older rules).
    pub fn receive_request(&mut self, request: &Message, source: &Source, now: Instant) -> Received {
        let method = request.method();
        if method == Method::Ack {
            return self.receive_ack(request, now);
        }
        let key = self.keys.server(request, request.method_bytes());
        if let Some(number) = self.servers.find(key) {
            self.step_server(number, ServerEvent::Again, None, now);
            return Received::Absorbed;
        }
        // §9.2: the request to be cancelled is found as if the CANCEL were that request itself.
        let cancelled = match method {
            Method::Cancel => self.servers.find(self.keys.server(request, b"INVITE")),
            _ => None,
        };
        let room = if cancelled.is_some() { 2 * self.capacity } else { self.capacity };
        if self.servers.len() >= room {
            return Received::Full;
        }
        let id = ServerId(self.servers.insert(key, Server::new(request, source)));
        match cancelled {
            Some(invite) => Received::Cancel(id, ServerId(invite)),
            None => Received::New(id),
        }
    }

    fn receive_ack(&mut self, ack: &Message, now: Instant) -> Received {
        let Some(number) = self.servers.find(self.keys.server(ack, b"INVITE")) else {
            return Received::Ack;
        };
        let Some(server) = self.servers.get(number) else { return Received::Ack };
        // RFC 6026 §7.1: an ACK that comes to an accepted INVITE belongs to the 2xx and is the transaction user's.
        if server.is_accepted() {
            return Received::Ack;
        }
        // §17.2.3: without the magic cookie, "the To tag of the ACK MUST equal that of the response sent".
        if server.is_rfc2543 && !server.answered_with_tag_of(ack) {
            return Received::Ack;
        }
        self.step_server(number, ServerEvent::Ack, None, now);
        Received::Absorbed
    }

    /// A response arrived (§17.1.3: branch and CSeq method). `may_answer` says whether its sender may speak for whom the request was sent
    /// to; else it is as good as none, and the request goes on being repeated.
    pub fn receive_response(
        &mut self,
        response: &Message,
        may_answer: impl FnOnce(&Destination) -> bool,
        now: Instant,
    ) -> ResponseFor {
        let (Some(status), Some(branch)) = (response.status(), response.top_via().branch()) else {
            return ResponseFor::Nothing;
        };
        let Some(number) = self.clients.find(self.keys.client(branch, response.method_bytes())) else {
            return ResponseFor::Nothing;
        };
        if !self.clients.get(number).is_some_and(|client| may_answer(&client.to)) {
            return ResponseFor::Nothing;
        }
        self.step_client(number, ClientEvent::Response(status), Some(response), now)
    }

    /// Sends a response in a server transaction; `to` was worked out by §18.2.2. What the transaction's state does not
    /// allow (a second final response, anything once it is gone) is not sent.
    pub fn respond(&mut self, id: ServerId, status: u16, bytes: Bytes, to: Destination, now: Instant) {
        self.step_server(id.0, ServerEvent::Respond(status), Some((bytes, to)), now);
    }

    /// Forgets a request that is to be left unanswered (policy says `drop`): its next retransmission is new again.
    pub fn abandon(&mut self, id: ServerId) {
        self.end_server(id.0);
    }

    /// Where the request of a server transaction came from; `None` once it is gone.
    pub fn server_source(&self, id: ServerId) -> Option<&Source> {
        self.servers.get(id.0).map(|server| &server.source)
    }

    /// [`Self::send`] for a request that has been read.
    pub fn send_request(
        &mut self,
        request: Message,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> Option<ClientId> {
        self.send(Outgoing::from(&request), to, transport, now)
    }

    /// Sends a request in a new client transaction; its top Via's branch is ours and names the transaction. An ACK has
    /// none (§17.1.1.1) and must not come here. `None` if full.
    pub fn send(
        &mut self,
        request: Outgoing<'_>,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> Option<ClientId> {
        if self.clients.len() >= self.capacity {
            return None;
        }
        Some(self.start_client(request, to, transport, now))
    }

    /// §9.1: builds and sends a CANCEL for this INVITE client transaction, as soon as a provisional response allows it.
    pub fn cancel(&mut self, id: ClientId, now: Instant) {
        self.step_client(id.0, ClientEvent::Cancel, None, now);
    }

    /// True if this, the beginning of a datagram, is that of a request which waits at `to` for its answer: its branch says so, which
    /// nobody guesses who has not seen the request. One that is too short to have it says nothing.
    pub fn waits_for(&self, beginning: &[u8], to: &Destination) -> bool {
        let number = top_branch(beginning)
            .and_then(|(method, branch)| self.clients.find(self.keys.client(branch, method)));
        number.and_then(|number| self.clients.get(number)).is_some_and(|client| client.to == *to)
    }

    /// The transport failed for this destination: for what waits there for an answer, [`TransactionOutput::SendFailed`].
    pub fn send_failed(&mut self, to: Destination, now: Instant) {
        for number in self.peers.at(&to) {
            self.step_client(number, ClientEvent::TransportError, None, now);
        }
    }

    /// Next thing to do.
    pub fn poll_output(&mut self) -> Option<TransactionOutput> {
        let output = self.outputs.pop_front();
        if should_shrink(self.outputs.len(), self.outputs.capacity()) {
            self.outputs.shrink_to_fit();
        }
        output
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.clock.next()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((owner, timer)) = self.clock.pop(now) {
            match owner {
                Owner::Server(number) => self.step_server(number, ServerEvent::Fired(timer), None, now),
                Owner::Client(number) => {
                    self.step_client(number, ClientEvent::Fired(timer), None, now);
                }
            }
        }
    }

    /// Live server and client transactions.
    pub fn len(&self) -> (usize, usize) {
        (self.servers.len(), self.clients.len())
    }

    /// True if every client transaction has its final response. Looks at all of them.
    pub fn all_answered(&self) -> bool {
        self.clients.values().all(Client::is_answered)
    }

    /// True if there is no transaction of either kind.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

#[cfg(test)]
impl Transactions {
    pub(super) fn clients_have(&self, branch: &str, method: &str) -> bool {
        self.clients.find(self.keys.client(branch.as_bytes(), method.as_bytes())).is_some()
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.clock.is_empty() && self.peers.is_empty() && self.servers.is_empty() && self.clients.is_empty()
    }
}
