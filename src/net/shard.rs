//! One signalling shard: the edge, and on the same thread everything that feeds it and carries out what it wants.
//! Nothing here waits: tasks call in, and every call ends with the edge's outputs carried out.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::connections::{Connections, Next, NotQueued, Signals};
use super::datagrams::Datagrams;
use super::flow::{Flow, Flows};
use super::lag::Lag;
use super::node::{AtEdge, Status};
use super::places::{Place, Places};
use super::relay::TurnWorkers;
use super::settings::{NetSettings, Patience};
use super::stream::{self, End, Opening};
use super::tls;
use super::udp::{Batch, Undelivered};
use crate::base::{ClientAddr, FlowId, ListenerId, Now, Transport, UnixTime};
use crate::edge::event::Event;
use crate::edge::settings::{Listener, Settings};
use crate::edge::{Edge, Output};
use crate::observe::Observers;
use crate::relay::SideCounters;
use crate::sip::framing::{Frame, Framer};
use crate::sip::locate::{Server, Wanted};
use crate::sip::transaction::{Destination, Source};
use crate::stun::demux::{self, Protocol};
use crate::stun::{Message, binding};

/// Reads both clocks.
pub(super) fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix: UnixTime(unix) }
}

/// The edge and what is around it.
pub(super) struct Shard {
    edge: Edge,
    this: Weak<RefCell<Shard>>,
    settings: Arc<Settings>,
    patience: Patience,
    flows: Flows,
    datagrams: Vec<Option<Datagrams>>,
    lag: Lag,
    connections: Connections,
    places: Places,
    tls_clients: Vec<tls::Client>,
    relayed: Vec<Arc<SideCounters>>,
    turn: Option<TurnWorkers>,
    observers: Observers,
    subscribers: Vec<SyncSender<Event>>,
    timer: Rc<Notify>,
    unsent: Rc<Notify>,
    /// When the timer task will look next.
    armed: Option<Instant>,
}

/// What it takes to name, count and open flows.
pub(super) struct Ways {
    pub flows: Flows,
    pub places: Places,
    pub tls_clients: Vec<tls::Client>,
}

impl Shard {
    /// Puts the world around an edge.
    pub fn new(
        edge: Edge,
        settings: Arc<Settings>,
        net: &NetSettings,
        ways: Ways,
        relayed: Vec<Arc<SideCounters>>,
        turn: Option<TurnWorkers>,
        observers: Observers,
    ) -> Rc<RefCell<Shard>> {
        let Ways { flows, places, tls_clients } = ways;
        Rc::new_cyclic(|this| {
            RefCell::new(Shard {
                edge,
                this: this.clone(),
                patience: net.patience,
                flows,
                datagrams: settings.listeners.iter().map(|_| None).collect(),
                lag: Lag::default(),
                settings,
                connections: Connections::new(net.capacity.outbound_bytes),
                places,
                tls_clients,
                relayed,
                turn,
                observers,
                subscribers: Vec::new(),
                timer: Rc::new(Notify::new()),
                unsent: Rc::new(Notify::new()),
                armed: None,
            })
        })
    }

    /// Gives a UDP listener its way out.
    pub fn set_datagrams(&mut self, listener: ListenerId, datagrams: Datagrams) {
        if let Some(slot) = self.datagrams.get_mut(usize::from(listener.0)) {
            *slot = Some(datagrams);
        }
    }

    /// Does something to the edge.
    pub fn at_edge(&mut self, what: AtEdge) {
        let now = now();
        what(&mut self.edge, now);
        self.carry_out(now);
    }

    /// For what makes the edge want nothing: it would not be carried out.
    pub fn edge(&mut self) -> &mut Edge {
        &mut self.edge
    }

    // ---- what arrives ----

    /// A batch of datagrams on a UDP listener.
    pub fn handle_datagrams(&mut self, listener: ListenerId, batch: &Batch) {
        let now = now();
        for (remote, datagram) in (0..batch.len()).filter_map(|i| batch.datagram(i)) {
            self.observers.metrics().received(Transport::Udp, datagram.len());
            // Keep-alives of phones behind NAT: nothing but line ends or zeroes.
            if datagram.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            if self.edge.refuses_packet(remote.ip(), listener, now) {
                continue;
            }
            // RFC 7983: no SIP message begins like STUN, so nothing of what does reaches the edge.
            if demux::on_sip_port(datagram) == Protocol::Stun {
                self.answer_stun(listener, remote, datagram, now);
                continue;
            }
            let flow = self.flows.udp(listener, remote);
            let source = Source { flow, listener, transport: Transport::Udp, remote: ClientAddr(remote) };
            self.edge.handle_message(&source, Bytes::copy_from_slice(datagram), now);
        }
        self.carry_out(now);
    }

    /// Whether more datagrams wait on a UDP listener. Since the kernel keeps their order, what is read has waited no longer than
    /// it is since none were left.
    pub fn handle_backlog(&mut self, listener: ListenerId, more: bool) {
        let Some(Some(datagrams)) = self.datagrams.get_mut(usize::from(listener.0)) else { return };
        let now = Instant::now();
        datagrams.behind = more.then_some(datagrams.behind.unwrap_or(now));
        let since = datagrams.behind.unwrap_or(now);
        self.edge.handle_backlog(listener, now.saturating_duration_since(since));
    }

    /// Wakes whoever stands in the queue of those that read connections.
    pub fn lag(&self) -> Rc<Notify> {
        self.lag.joined()
    }

    /// Its turn has come: what is read next on any connection has waited as long.
    pub fn handle_lag(&mut self) {
        let waited = self.lag.turn(Instant::now());
        let is_stream =
            |(listener, datagrams): (usize, &Option<Datagrams>)| datagrams.is_none().then_some(listener);
        for listener in self.datagrams.iter().enumerate().filter_map(is_stream) {
            self.edge.handle_backlog(ListenerId(listener as u16), waited);
        }
    }

    /// RFC 5626 §3.5.2, §8: a phone keeps its way through the NAT open with Binding requests and sees in the answer whether it
    /// is still the same way. Anything else gets none.
    fn answer_stun(&mut self, listener: ListenerId, remote: SocketAddr, datagram: &[u8], now: Now) {
        let Ok(request) = Message::parse(datagram) else { return };
        let mut answer = Vec::new();
        if binding::answer(&request, ClientAddr(remote), &mut answer) {
            self.queue_datagram(listener, remote, &answer, now);
        }
    }

    /// ICMP says that what a UDP listener sent did not arrive (RFC 3261 §18.4). It is believed if it quotes a request that waits there:
    /// anybody can say so who knows our address and the other.
    pub fn handle_undelivered(&mut self, listener: ListenerId, undelivered: &[Undelivered]) {
        let now = now();
        for Undelivered { to: remote, quote } in undelivered {
            let waits = self.at_udp(listener, *remote).any(|to| self.edge.waits_for(quote, &to));
            tracing::trace!(%remote, listener = %self.listener(listener).name, waits, "unreachable");
            if waits {
                self.udp_failed(listener, *remote, now);
            }
        }
        self.carry_out(now);
    }

    /// Whether a connection may come in; the place that it takes.
    pub fn admit_connection(&mut self, listener: ListenerId, remote: SocketAddr) -> Option<Place> {
        let refused = self.edge.refuses_packet(remote.ip(), listener, now());
        let place = if refused { None } else { self.places.take(Some(remote.ip())) };
        if place.is_none() {
            self.observers.metrics().connection_refused(if refused { "policy" } else { "too many" });
        }
        place
    }

    /// A connection was accepted, and has shaken hands.
    pub fn handle_accepted(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
        names: &[String],
    ) -> (FlowId, Rc<Signals>) {
        let flow = self.flows.connection();
        if !names.is_empty() {
            self.edge.handle_certified(flow, names);
        }
        let transport = self.listener(listener).transport;
        let source = Source { flow, listener, transport, remote: ClientAddr(remote) };
        tracing::debug!(%remote, listener = %self.listener(listener).name, "connection accepted");
        (flow, self.connections.insert(source, None, Instant::now()))
    }

    /// A TLS client did not get through its handshake.
    pub fn handle_bad_handshake(&mut self, listener: ListenerId, remote: SocketAddr, error: &io::Error) {
        self.observers.handshake_failed(listener, remote, error, now().unix);
    }

    /// `n` bytes more have arrived in `buffer`. False: read no further.
    pub fn handle_bytes(
        &mut self,
        flow: FlowId,
        n: usize,
        framer: &mut Framer,
        buffer: &mut BytesMut,
    ) -> bool {
        let now = now();
        let Some(source) = self.connections.heard(flow, now.instant) else { return false };
        self.lag.join(now.instant);
        self.observers.metrics().received(source.transport, n);
        let completed = self.handle_frames(&source, framer, buffer, now);
        self.connections.unfinished(flow, !buffer.is_empty(), completed, now.instant);
        self.connections.is_open(flow)
    }

    /// `n` bytes more have arrived on a WebSocket, perhaps of a message that is not complete.
    pub fn handle_web_bytes(&mut self, flow: FlowId, n: usize) {
        let now = Instant::now();
        if let Some(source) = self.connections.heard(flow, now) {
            self.observers.metrics().received(source.transport, n);
            self.connections.unfinished(flow, true, false, now);
        }
    }

    /// A WebSocket message has arrived; an empty one is a ping or a pong. False: read no further.
    pub fn handle_web_message(&mut self, flow: FlowId, bytes: Bytes) -> bool {
        let now = now();
        let Some(source) = self.connections.heard(flow, now.instant) else { return false };
        self.lag.join(now.instant);
        self.connections.unfinished(flow, false, true, now.instant);
        match bytes.as_ref() {
            // RFC 5626 §4.4.1, which scripts use over WebSockets too: RFC 7118 §6 leaves keep-alives to either.
            b"\r\n\r\n" => self.send(Destination::Flow(flow), b"\r\n", now),
            b"" | b"\r\n" => {}
            _ => self.edge.handle_message(&source, bytes, now),
        }
        self.carry_out_for_stream(now);
        self.connections.is_open(flow)
    }

    /// Cuts `buffer` into messages, until it needs more bytes or the edge has the stream closed: nothing behind a
    /// message that could not be read is looked at. Whether a message was complete.
    fn handle_frames(
        &mut self,
        source: &Source,
        framer: &mut Framer,
        buffer: &mut BytesMut,
        now: Now,
    ) -> bool {
        let mut completed = false;
        while self.connections.is_open(source.flow) {
            match framer.next(buffer, &self.settings.limits.message) {
                Ok(Some(Frame::Message(bytes))) => {
                    completed = true;
                    self.edge.handle_message(source, bytes, now);
                }
                // RFC 5626 §4.4.1: the double CRLF is answered with a single one.
                Ok(Some(Frame::Ping)) => self.send(Destination::Flow(source.flow), b"\r\n", now),
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => break,
                Err(malformed) => self.edge.handle_malformed(source, malformed, buffer, now),
            }
            self.carry_out_for_stream(now);
        }
        completed
    }

    /// A connection ended, or could not be opened.
    pub fn handle_ended(&mut self, flow: FlowId, end: End) {
        let now = now();
        if let End::Failed(error) = &end
            && let Some(target) = self.connections.target(flow)
        {
            self.observers.target_failed(&target, error, now.unix);
        }
        self.drop_connection(flow, matches!(end, End::Failed(_)), now);
        self.carry_out(now);
    }

    /// The sockets are open: the edge may ask after its hosts.
    pub fn start(&mut self) {
        let now = now();
        self.edge.start(now);
        self.carry_out(now);
    }

    /// The DNS said where hosts are.
    pub fn handle_located(&mut self, wanted: &Wanted, servers: &[Server]) {
        let now = now();
        self.edge.handle_located(wanted, servers, now);
        self.carry_out(now);
    }

    /// The edge's timers, if they are due.
    pub fn handle_timeout(&mut self) {
        let now = now();
        if self.edge.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.edge.handle_timeout(now);
        }
        self.carry_out(now);
    }

    /// Cuts off the connections that have used up our patience, and tells what policies said to TURN clients.
    pub fn sweep(&mut self) {
        let now = now();
        self.edge.hear_of_turn(now);
        for (flow, why) in self.connections.overdue(&self.patience, now.instant) {
            tracing::debug!(?flow, why, "connection cut off");
            self.drop_connection(flow, false, now);
        }
        self.carry_out(now);
    }

    /// See [`Edge::drain`]; new TURN clients are sent elsewhere.
    pub fn drain(&mut self, end_calls: bool) {
        let now = now();
        self.edge.drain(end_calls, now);
        if let Some(turn) = &self.turn {
            turn.drain();
        }
        self.carry_out(now);
    }

    /// See [`Edge::leave_calls`].
    pub fn leave_calls(&mut self) {
        let now = now();
        self.edge.leave_calls(now);
        self.carry_out(now);
    }

    // ---- what leaves ----

    /// Carries out what the edge wants.
    pub fn flush(&mut self) {
        self.carry_out(now());
    }

    fn carry_out(&mut self, now: Now) {
        loop {
            self.carry_out_queued(now);
            if !self.flush_datagrams(now) {
                break;
            }
        }
        self.arm_timer();
    }

    /// [`Self::carry_out`] after a message on a connection. Datagrams wait until those on other connections that have arrived
    /// by now are read too, and leave together.
    fn carry_out_for_stream(&mut self, now: Now) {
        self.carry_out_queued(now);
        self.unsent.notify_one();
        self.arm_timer();
    }

    fn carry_out_queued(&mut self, now: Now) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Send { to, bytes } => self.send(to, &bytes, now),
                Output::Close(flow) => self.connections.close(flow),
                Output::Event(event) => self.tell(event, now),
            }
        }
    }

    /// Sends what waits on the UDP sockets; true if the edge was told of failures, and may want something again.
    fn flush_datagrams(&mut self, now: Now) -> bool {
        let mut failed = Vec::new();
        let mut any = false;
        for i in 0..self.datagrams.len() {
            let Some(Some(datagrams)) = self.datagrams.get_mut(i) else { continue };
            datagrams.flush(&mut failed);
            for remote in failed.drain(..) {
                any = true;
                self.udp_failed(ListenerId(i as u16), remote, now);
            }
        }
        any
    }

    fn udp_failed(&mut self, listener: ListenerId, remote: SocketAddr, now: Now) {
        self.at_udp(listener, remote).for_each(|to| self.edge.handle_send_failed(to, now));
    }

    /// As what the edge knows it.
    fn at_udp(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
    ) -> impl Iterator<Item = Destination> + use<> {
        let address = Destination::Address { listener, transport: Transport::Udp, remote, tls: u16::MAX };
        self.flows.known_udp(listener, remote).map(Destination::Flow).into_iter().chain([address])
    }

    fn send(&mut self, to: Destination, bytes: &[u8], now: Now) {
        match to {
            Destination::Flow(flow) => match self.flows.get(flow) {
                Flow::Connection => self.send_stream(flow, to, bytes, now),
                Flow::Udp { listener, remote } => self.send_datagram(listener, remote, to, bytes, now),
                Flow::Forgotten => self.edge.handle_send_failed(to, now),
            },
            Destination::Address { listener, transport: Transport::Udp, remote, .. } => {
                self.send_datagram(listener, remote, to, bytes, now);
            }
            Destination::Address { listener, transport, remote, tls } => {
                let flow = self
                    .connections
                    .to_target(&to)
                    .or_else(|| self.open_connection(to, listener, transport, remote, tls));
                match flow {
                    Some(flow) => self.send_stream(flow, to, bytes, now),
                    None => self.edge.handle_send_failed(to, now),
                }
            }
        }
    }

    fn send_datagram(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
        to: Destination,
        bytes: &[u8],
        now: Now,
    ) {
        if !self.queue_datagram(listener, remote, bytes, now) {
            self.edge.handle_send_failed(to, now);
        }
    }

    /// False if there is no room.
    fn queue_datagram(&mut self, listener: ListenerId, remote: SocketAddr, bytes: &[u8], now: Now) -> bool {
        let mut failed = Vec::new();
        let queued = match self.datagrams.get_mut(usize::from(listener.0)) {
            Some(Some(datagrams)) => datagrams.push(remote, bytes, &mut failed),
            _ => false,
        };
        for remote in failed {
            self.udp_failed(listener, remote, now);
        }
        if queued {
            self.observers.metrics().sent(Transport::Udp, bytes.len());
        }
        queued
    }

    fn send_stream(&mut self, flow: FlowId, to: Destination, bytes: &[u8], now: Now) {
        match self.connections.queue(flow, bytes) {
            Ok(transport) => self.observers.metrics().sent(transport, bytes.len()),
            Err(NotQueued::Closed) => self.edge.handle_send_failed(to, now),
            Err(NotQueued::Full) => {
                tracing::debug!(?flow, "connection cut off: the peer does not read");
                self.drop_connection(flow, true, now);
            }
        }
    }

    /// Takes a connection off the table and tells the edge; `failed`, or with bytes unwritten, also that its target
    /// cannot be reached.
    fn drop_connection(&mut self, flow: FlowId, failed: bool, now: Now) {
        let Some((connection, unsent)) = self.connections.remove(flow) else { return };
        self.edge.handle_flow_closed(flow, now);
        if let Some(target) = connection.target
            && (failed || unsent > 0)
        {
            self.edge.handle_send_failed(target, now);
        }
    }

    fn open_connection(
        &mut self,
        target: Destination,
        listener: ListenerId,
        transport: Transport,
        remote: SocketAddr,
        tls: u16,
    ) -> Option<FlowId> {
        let tls = match transport {
            Transport::Tls => Some(self.tls_clients.get(usize::from(tls))?.clone()),
            Transport::Tcp => None,
            Transport::Udp | Transport::Ws | Transport::Wss => return None,
        };
        let place = self.places.take(None)?;
        let bind = self.listener(listener).bind.ip();
        let local = (!bind.is_unspecified()).then_some(bind);
        let flow = self.flows.connection();
        let source = Source { flow, listener, transport, remote: ClientAddr(remote) };
        let signals = self.connections.insert(source, Some(target), Instant::now());
        let opening = Opening { remote, local, tls };
        tokio::task::spawn_local(stream::open(self.this.upgrade()?, flow, signals, opening, place));
        Some(flow)
    }

    fn tell(&mut self, event: Event, now: Now) {
        if !self.subscribers.is_empty() {
            let gone = |sent| matches!(sent, Err(TrySendError::Disconnected(_)));
            self.subscribers.retain(|subscriber| !gone(subscriber.try_send(event.clone())));
            if self.subscribers.is_empty() {
                self.edge.trace_messages(false);
            }
        }
        self.observers.observe(event, now.unix);
    }

    // ---- what tasks ask for ----

    /// Bytes of the longest message that is read.
    pub fn longest_message(&self) -> usize {
        self.settings.limits.message.message
    }

    /// How long peers are waited for.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// See [`Connections::take_outbound`].
    pub fn take_outbound(&mut self, flow: FlowId, empty: &mut Vec<u8>) -> Next {
        self.connections.take_outbound(flow, empty, Instant::now())
    }

    /// See [`Connections::wrote`].
    pub fn handle_written(&mut self, flow: FlowId, n: usize) {
        self.connections.wrote(flow, n, Instant::now());
    }

    /// See [`Connections::close`].
    pub fn close(&mut self, flow: FlowId) {
        self.connections.close(flow);
    }

    /// See [`Connections::close_all`].
    pub fn close_all(&mut self) {
        self.connections.close_all();
    }

    /// When [`Self::handle_timeout`] is due, for the timer task, which then waits for it or for the notification.
    pub fn next_timeout(&mut self) -> (Option<Instant>, Rc<Notify>) {
        self.armed = self.edge.poll_timeout();
        (self.armed, self.timer.clone())
    }

    /// Notified when [`Self::flush`] is due, once the tasks that are ready by now have run.
    pub fn unsent(&self) -> Rc<Notify> {
        self.unsent.clone()
    }

    /// Sends every event to `subscriber` from now on, with `messages` every SIP message too. One that is full misses
    /// events; one that is gone is forgotten.
    pub fn subscribe(&mut self, subscriber: SyncSender<Event>, messages: bool) {
        self.subscribers.push(subscriber);
        if messages {
            self.edge.trace_messages(true);
        }
    }

    /// What is live.
    pub fn status(&self) -> Status {
        let media = self.relayed.iter().map(|worker| worker.read()).sum();
        let turn = self.turn.as_ref().map(TurnWorkers::totals);
        Status { edge: self.edge.status(), connections: self.connections.len(), media, turn }
    }

    /// See [`Edge::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.edge.is_quiet()
    }

    /// See [`Observers::reopen`].
    pub fn reopen_files(&mut self) {
        self.observers.reopen();
    }

    /// Wakes the timer task if it would look too late. One that looks too early only looks again.
    fn arm_timer(&mut self) {
        let due = self.edge.poll_timeout();
        if due.is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            self.armed = due;
            self.timer.notify_one();
        }
    }

    fn listener(&self, listener: ListenerId) -> &Listener {
        &self.settings.listeners[usize::from(listener.0)]
    }
}
