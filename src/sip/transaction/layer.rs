//! The layer: matches messages to transactions, steps their machines and does what these ask for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::key::{self, Keys};
use super::machine::{Action, Timer};
use super::peers::Peers;
use super::table::{self, Table};
use super::{ClientId, Destination, Received, ResponseFor, ServerId, Source, TimerValues, TransactionOutput};
use super::{build, invite_client, invite_server, non_invite_client, non_invite_server};
use crate::base::{TimerId, Timers, Transport};
use crate::sip::message::{Message, Method};

/// All transactions of one shard.
#[derive(Debug)]
pub struct Transactions {
    values: TimerValues,
    capacity: usize,
    keys: Keys,
    servers: Table<Server>,
    clients: Table<Client>,
    peers: Peers,
    timers: Timers<Due>,
    outputs: VecDeque<TransactionOutput>,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Server(u64, Timer),
    Client(u64, Timer),
}

#[derive(Debug)]
struct Server {
    state: ServerState,
    source: Source,
    /// Matched by RFC 2543's rules.
    is_rfc2543: bool,
    /// The last response and where it went.
    last: Option<(Bytes, Destination)>,
    armed: Armed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    Invite(invite_server::State),
    NonInvite(non_invite_server::State),
}

#[derive(Debug)]
pub(super) struct Client {
    state: ClientState,
    pub(super) to: Destination,
    transport: Transport,
    /// The CANCEL of an INVITE: made here, so nobody above hears of it.
    is_cancel: bool,
    /// Place in the list of its destination.
    pub(super) place: usize,
    /// The INVITE, while an ACK or CANCEL may have to be made from it.
    invite: Option<Box<Message>>,
    /// What is sent again: the request (UDP only), then the ACK.
    repeated: Bytes,
    armed: Armed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

/// The timers of one transaction: never more than one of each kind.
#[derive(Debug, Default)]
struct Armed {
    repeating: Option<TimerId>,
    ending: Option<TimerId>,
    interval: Duration,
}

impl Armed {
    fn kind(&mut self, timer: Timer) -> &mut Option<TimerId> {
        if timer.repeats() { &mut self.repeating } else { &mut self.ending }
    }

    fn stop_all(&mut self, timers: &mut Timers<Due>) {
        for id in [self.repeating.take(), self.ending.take()].into_iter().flatten() {
            timers.cancel(id);
        }
    }
}

impl Transactions {
    /// `capacity` bounds server and client transactions each. CANCELs may go up to twice that, so that a full table
    /// can still be emptied by those who wait in it.
    pub fn new(timers: TimerValues, capacity: usize) -> Self {
        Transactions {
            values: timers,
            capacity: capacity.min(table::MOST / 2),
            keys: Keys::new(),
            servers: Table::default(),
            clients: Table::default(),
            peers: Peers::default(),
            timers: Timers::default(),
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
        let state = match method {
            Method::Invite => ServerState::Invite(invite_server::State::Proceeding),
            _ => ServerState::NonInvite(non_invite_server::State::Trying),
        };
        let is_rfc2543 = !key::is_rfc3261(request);
        let server = Server { state, source: *source, is_rfc2543, last: None, armed: Armed::default() };
        let id = ServerId(self.servers.insert(key, server));
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
        if server.state == ServerState::Invite(invite_server::State::Accepted) {
            return Received::Ack;
        }
        // §17.2.3: without the magic cookie, "the To tag of the ACK MUST equal that of the response sent".
        if server.is_rfc2543 && !server.answered_with_tag_of(ack) {
            return Received::Ack;
        }
        self.step_server(number, ServerEvent::Ack, None, now);
        Received::Absorbed
    }

    /// A response arrived (§17.1.3: branch and CSeq method).
    pub fn receive_response(&mut self, response: &Message, now: Instant) -> ResponseFor {
        let (Some(status), Some(branch)) = (response.status(), response.top_via().branch()) else {
            return ResponseFor::Nothing;
        };
        let Some(number) = self.clients.find(self.keys.client(branch, response.method_bytes())) else {
            return ResponseFor::Nothing;
        };
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

    /// True while a server transaction waits for its final response.
    pub fn awaits_final(&self, id: ServerId) -> bool {
        use {invite_server::State as Invite, non_invite_server::State as NonInvite};
        self.servers.get(id.0).is_some_and(|server| {
            matches!(
                server.state,
                ServerState::Invite(Invite::Proceeding)
                    | ServerState::NonInvite(NonInvite::Trying | NonInvite::Proceeding)
            )
        })
    }

    /// Where a client transaction's request went; `None` once it is gone.
    pub fn client_destination(&self, id: ClientId) -> Option<Destination> {
        self.clients.get(id.0).map(|client| client.to)
    }

    /// Sends a request in a new client transaction; its top Via's branch is ours and names the transaction. An ACK has
    /// none (§17.1.1.1) and must not come here. `None` if full.
    pub fn send_request(
        &mut self,
        request: Message,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> Option<ClientId> {
        if self.clients.len() >= self.capacity {
            return None;
        }
        Some(self.start_client(request, to, transport, now))
    }

    fn start_client(
        &mut self,
        request: Message,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> ClientId {
        debug_assert!(request.method() != Method::Ack);
        let key = self.keys.client(request.top_via().branch().unwrap_or_default(), request.method_bytes());
        let reliable = transport.is_reliable();
        let repeated = request.bytes().clone();
        let is_cancel = request.method() == Method::Cancel;
        let (state, actions, invite) = if request.method() == Method::Invite {
            let (state, actions) = invite_client::start(reliable);
            (ClientState::Invite(state), actions, Some(Box::new(request)))
        } else {
            let (state, actions) = non_invite_client::start(reliable);
            (ClientState::NonInvite(state), actions, None)
        };
        let armed = Armed::default();
        let client = Client { state, to, transport, is_cancel, place: 0, invite, repeated, armed };
        let number = self.clients.insert(key, client);
        self.peers.add(number, &mut self.clients);
        self.act_client(number, actions, None, now);
        if let Some(client) = self.clients.get_mut(number).filter(|_| reliable) {
            client.repeated = Bytes::new();
        }
        ClientId(number)
    }

    /// §9.1: builds and sends a CANCEL for this INVITE client transaction, as soon as a provisional response allows it.
    pub fn cancel(&mut self, id: ClientId, now: Instant) {
        self.step_client(id.0, ClientEvent::Cancel, None, now);
    }

    /// The transport failed for this destination: for what waits there for an answer, [`TransactionOutput::SendFailed`].
    pub fn send_failed(&mut self, to: Destination, now: Instant) {
        for number in self.peers.at(&to) {
            self.step_client(number, ClientEvent::TransportError, None, now);
        }
    }

    /// Next thing to do.
    pub fn poll_output(&mut self) -> Option<TransactionOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.timers.next()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Server(number, timer) => self.step_server(number, ServerEvent::Fired(timer), None, now),
                Due::Client(number, timer) => {
                    self.step_client(number, ClientEvent::Fired(timer), None, now);
                }
            }
        }
    }

    /// Live server and client transactions.
    pub fn len(&self) -> (usize, usize) {
        (self.servers.len(), self.clients.len())
    }

    /// True if there is no transaction of either kind.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

/// What happens to a server transaction, before it is told which machine it is.
#[derive(Clone, Copy)]
enum ServerEvent {
    Again,
    Ack,
    Respond(u16),
    Fired(Timer),
}

impl Server {
    fn step(&mut self, event: ServerEvent) -> &'static [Action] {
        let reliable = self.source.transport.is_reliable();
        match self.state {
            ServerState::Invite(state) => {
                let (state, actions) = invite_server::step(state, event.for_invite(), reliable);
                self.state = ServerState::Invite(state);
                actions
            }
            ServerState::NonInvite(state) => {
                let Some(event) = event.for_non_invite() else { return &[] };
                let (state, actions) = non_invite_server::step(state, event, reliable);
                self.state = ServerState::NonInvite(state);
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self.state,
            ServerState::Invite(invite_server::State::Terminated)
                | ServerState::NonInvite(non_invite_server::State::Terminated)
        )
    }

    /// Only asked for RFC 2543 clients, so the response is read again rather than its tag kept for everyone.
    fn answered_with_tag_of(&self, ack: &Message) -> bool {
        let Some((last, _)) = &self.last else { return false };
        build::read_own(last.clone()).is_some_and(|response| response.to().tag() == ack.to().tag())
    }
}

impl ServerEvent {
    fn for_invite(self) -> invite_server::Event {
        use invite_server::Event;
        match self {
            ServerEvent::Again => Event::Invite,
            ServerEvent::Ack => Event::Ack,
            ServerEvent::Respond(..200) => Event::Provisional,
            ServerEvent::Respond(200..300) => Event::Success,
            ServerEvent::Respond(_) => Event::Failure,
            ServerEvent::Fired(timer) => Event::Fired(timer),
        }
    }

    fn for_non_invite(self) -> Option<non_invite_server::Event> {
        use non_invite_server::Event;
        Some(match self {
            ServerEvent::Again => Event::Request,
            ServerEvent::Ack => return None,
            ServerEvent::Respond(..200) => Event::Provisional,
            ServerEvent::Respond(_) => Event::Final,
            ServerEvent::Fired(timer) => Event::Fired(timer),
        })
    }
}

impl Transactions {
    fn step_server(
        &mut self,
        number: u64,
        event: ServerEvent,
        response: Option<(Bytes, Destination)>,
        now: Instant,
    ) {
        let Some(server) = self.servers.get_mut(number) else { return };
        let mut response = response;
        for action in server.step(event) {
            match *action {
                Action::Answer | Action::Resend => {
                    if *action == Action::Answer {
                        server.last = response.take();
                    }
                    if let Some((bytes, to)) = server.last.clone() {
                        self.outputs.push_back(TransactionOutput::Send { to, bytes });
                    }
                }
                Action::Start(timer, after) => {
                    let due = Due::Server(number, timer);
                    start(&mut self.timers, &mut server.armed, timer, after, due, &self.values, now);
                }
                Action::Stop(timer) => stop(&mut self.timers, &mut server.armed, timer),
                _ => debug_assert!(false, "a client's action"),
            }
        }
        if server.is_terminated() {
            self.end_server(number);
        }
    }

    fn end_server(&mut self, number: u64) {
        if let Some(mut server) = self.servers.remove(number) {
            server.armed.stop_all(&mut self.timers);
            self.outputs.push_back(TransactionOutput::ServerGone(ServerId(number)));
        }
    }
}

/// What happens to a client transaction, before it is told which machine it is.
#[derive(Clone, Copy)]
enum ClientEvent {
    Response(u16),
    Cancel,
    Fired(Timer),
    TransportError,
}

impl Client {
    fn step(&mut self, event: ClientEvent) -> &'static [Action] {
        let reliable = self.transport.is_reliable();
        match self.state {
            ClientState::Invite(state) => {
                let (state, actions) = invite_client::step(state, event.for_invite(), reliable);
                self.state = ClientState::Invite(state);
                actions
            }
            ClientState::NonInvite(state) => {
                let Some(event) = event.for_non_invite() else { return &[] };
                let (state, actions) = non_invite_client::step(state, event, reliable);
                self.state = ClientState::NonInvite(state);
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self.state,
            ClientState::Invite(invite_client::State::Terminated)
                | ClientState::NonInvite(non_invite_client::State::Terminated)
        )
    }

    /// Once there is a final response neither an ACK nor a CANCEL will be made any more.
    fn is_finished(&self) -> bool {
        use invite_client::State;
        matches!(self.state, ClientState::Invite(State::Completed | State::Accepted))
    }
}

impl ClientEvent {
    fn for_invite(self) -> invite_client::Event {
        use invite_client::Event;
        match self {
            ClientEvent::Response(..=100) => Event::Trying,
            ClientEvent::Response(..200) => Event::Provisional,
            ClientEvent::Response(200..300) => Event::Success,
            ClientEvent::Response(_) => Event::Failure,
            ClientEvent::Cancel => Event::Cancel,
            ClientEvent::Fired(timer) => Event::Fired(timer),
            ClientEvent::TransportError => Event::TransportError,
        }
    }

    fn for_non_invite(self) -> Option<non_invite_client::Event> {
        use non_invite_client::Event;
        Some(match self {
            ClientEvent::Response(..200) => Event::Provisional,
            ClientEvent::Response(_) => Event::Final,
            // §9.1: "A CANCEL request SHOULD NOT be sent to cancel a request other than INVITE."
            ClientEvent::Cancel => return None,
            ClientEvent::Fired(timer) => Event::Fired(timer),
            ClientEvent::TransportError => Event::TransportError,
        })
    }
}

impl Transactions {
    fn step_client(
        &mut self,
        number: u64,
        event: ClientEvent,
        response: Option<&Message>,
        now: Instant,
    ) -> ResponseFor {
        let Some(client) = self.clients.get_mut(number) else { return ResponseFor::Nothing };
        let actions = client.step(event);
        let passes_up = actions.contains(&Action::PassUp) && !client.is_cancel;
        self.act_client(number, actions, response, now);
        if passes_up { ResponseFor::Client(ClientId(number)) } else { ResponseFor::Nothing }
    }

    fn act_client(
        &mut self,
        number: u64,
        actions: &'static [Action],
        response: Option<&Message>,
        now: Instant,
    ) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let to = client.to;
        let mut cancel = None;
        for action in actions {
            match *action {
                Action::SendRequest => {
                    self.outputs.push_back(TransactionOutput::Send { to, bytes: client.repeated.clone() });
                }
                Action::SendAck => {
                    if let (Some(invite), Some(response)) = (client.invite.take(), response) {
                        client.repeated = build::ack(&invite, response);
                    }
                    self.outputs.push_back(TransactionOutput::Send { to, bytes: client.repeated.clone() });
                }
                Action::SendCancel => cancel = client.invite.as_deref().and_then(build::cancel),
                Action::TimedOut if client.is_cancel => {}
                Action::TimedOut => self.outputs.push_back(TransactionOutput::TimedOut(ClientId(number))),
                Action::SendFailed if client.is_cancel => {}
                Action::SendFailed => self.outputs.push_back(TransactionOutput::SendFailed(ClientId(number))),
                Action::Start(timer, after) => {
                    let due = Due::Client(number, timer);
                    start(&mut self.timers, &mut client.armed, timer, after, due, &self.values, now);
                }
                Action::Stop(timer) => stop(&mut self.timers, &mut client.armed, timer),
                Action::PassUp => {}
                Action::Answer | Action::Resend => debug_assert!(false, "a server's action"),
            }
        }
        if client.is_finished() {
            client.invite = None;
        }
        let transport = client.transport;
        if client.is_terminated() {
            self.end_client(number);
        }
        // §9.1: the CANCEL runs in a transaction of its own.
        if let Some(cancel) = cancel.filter(|_| self.clients.len() < 2 * self.capacity) {
            self.start_client(cancel, to, transport, now);
        }
    }

    fn end_client(&mut self, number: u64) {
        self.peers.remove(number, &mut self.clients);
        if let Some(mut client) = self.clients.remove(number) {
            client.armed.stop_all(&mut self.timers);
            if !client.is_cancel {
                self.outputs.push_back(TransactionOutput::ClientGone(ClientId(number)));
            }
        }
    }
}

fn start(
    timers: &mut Timers<Due>,
    armed: &mut Armed,
    timer: Timer,
    after: super::machine::After,
    due: Due,
    values: &TimerValues,
    now: Instant,
) {
    let duration = after.duration(values, armed.interval);
    if timer.repeats() {
        armed.interval = duration;
    }
    let id = timers.set(now + duration, due);
    if let Some(previous) = armed.kind(timer).replace(id) {
        timers.cancel(previous);
    }
}

fn stop(timers: &mut Timers<Due>, armed: &mut Armed, timer: Timer) {
    if let Some(id) = armed.kind(timer).take() {
        timers.cancel(id);
    }
}

#[cfg(test)]
impl Transactions {
    pub(super) fn clients_have(&self, branch: &str, method: &str) -> bool {
        self.clients.find(self.keys.client(branch.as_bytes(), method.as_bytes())).is_some()
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.timers.is_empty() && self.peers.is_empty() && self.servers.is_empty() && self.clients.is_empty()
    }
}
