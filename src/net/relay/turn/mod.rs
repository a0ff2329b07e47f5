//! The TURN server of a worker, and the ways in which clients reach it.
//!
//! The server ([`Server`]) knows clients by their [`FiveTuple`] and nothing of sockets. A **carrier** is what brings their
//! packets and takes what they are sent: datagrams ([`datagrams`]), connections, DTLS. Two sentences are all that passes between them:
//!
//! * *"Here is a packet from this five-tuple"*: [`PacketPath::handle_client`](super::path::PacketPath::handle_client). The
//!   packet, one STUN message or ChannelData without its padding, stands in the bytes of
//!   [`PacketPath::batch`](super::path::PacketPath::batch). (A stream calls `send_all`, reads into those bytes, and hands in
//!   its frames one by one from the front: those behind stay untouched, those before do not.)
//! * *"Send these bytes to this five-tuple"*: [`Turn::send`], by the five-tuple's carrier. It does not block: what cannot be
//!   queued is lost, or costs the client its connection. (Datagrams have a shorter way, from the batch: [`Turn::outlet`].)
//!
//! Besides, a carrier is asked when it wants to be called ([`Turn::poll_timeout`], [`Turn::handle_timeout`]), and at the end of
//! each round to write what it has queued and to say which clients are gone ([`Turn::finish_round`]). Its sockets are in the poll under a [`Ready`](super::token::Ready) of its own. Its
//! [`FlowId`]s are its own, too: five-tuples differ by carrier.

mod datagrams;
mod listening;
mod policies;
mod relayed;
mod tcp;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use mio::Registry;

use datagrams::Datagrams;
pub(super) use policies::Policies;
pub(super) use relayed::{Grounds, RelayedSockets, Reserve};

use super::dtls::Associations;
use super::path::{Outlet, Step};
use crate::base::ban::Banned;
use crate::base::{ClientAddr, FlowId, Now, PeerAddr};
use crate::net::bind::TurnSocket;
use crate::net::node::TurnAllocation;
use crate::net::relay::mailbox::Mailbox;
use crate::net::relay::peers::Peers;
use crate::net::relay::streams::{Cargo, Leaving, Streams};
use crate::net::settings::TurnTransport;
use crate::stun::Icmp;
use crate::turn::forward::{Reason, Verdict};
use crate::turn::server::{Output, Server};
use crate::turn::sockets::RelaySocketId;
use crate::turn::{Carrier, FiveTuple};

/// The server with its carriers.
pub(super) struct Turn {
    server: Server<RelayedSockets>,
    datagrams: Datagrams,
    dtls: Associations,
    streams: Streams,
    /// Of TCP allocations.
    peers: Peers,
    /// Of all workers.
    mailboxes: Arc<[Mailbox]>,
    /// Of the listeners, before [`Self::listen`].
    sockets: Vec<TurnSocket>,
}

impl Turn {
    /// Nobody is heard before [`Self::listen`].
    pub fn new(
        server: Server<RelayedSockets>,
        sockets: Vec<TurnSocket>,
        dtls: Associations,
        streams: Streams,
        mailboxes: Arc<[Mailbox]>,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<Turn> {
        let peers = Peers::new(registry.try_clone()?, now);
        Ok(Turn { server, datagrams: Datagrams::default(), dtls, streams, peers, mailboxes, sockets })
    }

    /// Puts the listeners' sockets into the poll.
    pub fn listen(&mut self, registry: &Registry) -> io::Result<()> {
        for (listener, socket) in std::mem::take(&mut self.sockets).into_iter().enumerate() {
            match socket {
                TurnSocket::Datagrams(socket) => self.datagrams.listen(listener, socket, registry)?,
                TurnSocket::Connections(socket) => self.streams.listen(listener, socket)?,
            }
        }
        Ok(())
    }

    /// For the mailbox: call peers come and go, users are banned.
    pub fn server(&mut self) -> &mut Server<RelayedSockets> {
        &mut self.server
    }

    /// A source or a user is banned.
    pub fn ban(&mut self, banned: Banned, until: Option<Instant>, now: Instant) {
        self.streams.ban(&banned);
        self.server.ban(banned, until, now);
    }

    // ---- packets ----

    /// A datagram on a listener: `packet` of `bytes`.
    #[inline]
    pub fn handle_datagram(
        &mut self,
        listener: usize,
        source: SocketAddr,
        bytes: &[u8],
        packet: Range<usize>,
        now: Now,
    ) -> Step {
        let (flow, client) = (FlowId(listener as u64), ClientAddr(source));
        let client = FiveTuple { flow, listener: listener as u16, client, carrier: Carrier::Udp };
        self.handle_client(client, bytes, packet, now)
    }

    /// Clients speak DTLS to this listener: its datagrams go to [`Self::handle_sealed`].
    #[inline]
    pub fn is_sealed(&self, listener: usize) -> bool {
        self.dtls.serves(listener)
    }

    /// A datagram on such a listener; then [`Self::next_message`] until there is none.
    pub fn handle_sealed(&mut self, listener: usize, source: SocketAddr, datagram: &[u8], now: Now) {
        // RFC 6347 §4.1: type 22 is a handshake, which whoever is refused need not begin.
        if datagram.first() == Some(&22)
            && let Some(reason) = self.server.refuses(listener as u16, source.ip(), now.instant)
        {
            return self.count_dropped(reason);
        }
        self.dtls.handle_datagram(listener, source, datagram, now.instant, &mut self.datagrams);
    }

    /// The next message in it, unsealed: [`Associations::next_message`].
    pub fn next_message(&mut self, room: &mut [u8], now: Now) -> Option<(FiveTuple, usize)> {
        self.dtls.next_message(room, now.instant, &mut self.datagrams)
    }

    /// `packet` of `bytes` came from a client.
    #[inline]
    pub fn handle_client(&mut self, client: FiveTuple, bytes: &[u8], packet: Range<usize>, now: Now) -> Step {
        let start = packet.start;
        let Some(packet) = bytes.get(packet) else { return Step::Done };
        let verdict = self.server.handle_client(client, packet, now);
        if verdict == Verdict::Control && client.carrier == Carrier::Stream {
            // After a ConnectionBind, what stands behind it on the stream is no message.
            self.carry_out(now.instant);
        }
        step(verdict, start)
    }

    /// `payload` of `bytes` came from a peer to the relayed socket in a slot.
    #[inline]
    pub fn handle_relayed(
        &mut self,
        slot: usize,
        peer: PeerAddr,
        bytes: &mut [u8],
        payload: Range<usize>,
        now: Instant,
    ) -> Step {
        let Some((socket, _)) = self.server.sockets().in_slot(slot) else { return Step::Done };
        step(self.server.handle_relayed(socket, peer, bytes, payload, now), 0)
    }

    /// ICMP says that `peer` did not get what left from the relayed socket in a slot.
    pub fn handle_icmp(&mut self, slot: usize, peer: PeerAddr, icmp: Icmp, now: Instant) {
        if let Some((socket, _)) = self.server.sockets().in_slot(slot) {
            self.server.handle_icmp(socket, peer, icmp, now);
        }
    }

    /// A packet went nowhere.
    pub fn count_dropped(&self, reason: Reason) {
        self.server.counters().count_dropped(reason);
    }

    /// All allocations, for people to see.
    pub fn list(&self, now: Instant) -> Vec<TurnAllocation> {
        let listing = self.server.listing(now).into_iter();
        listing.map(|listed| TurnAllocation { transport: self.transport(listed.client), listed }).collect()
    }

    // ---- carriers ----

    /// What the client speaks.
    fn transport(&self, client: FiveTuple) -> TurnTransport {
        match client.carrier {
            Carrier::Udp => TurnTransport::Udp,
            Carrier::Dtls => TurnTransport::Dtls,
            Carrier::Stream => self.streams.transport(client),
        }
    }

    /// Sends a message to a client.
    pub fn send(&mut self, to: FiveTuple, message: &[u8], cargo: Cargo) {
        match to.carrier {
            Carrier::Udp => self.datagrams.send(to.flow.0 as usize, to.client.0, message),
            Carrier::Dtls => self.dtls.send(to, message, &mut self.datagrams),
            Carrier::Stream => self.streams.send(to, message, cargo),
        }
    }

    /// Accepts connections of a listener, but not from sources that are banned, or refused by a rule.
    pub fn accept(&mut self, listener: usize, now: Instant) {
        let Turn { server, streams, .. } = self;
        streams.accept(listener, now, |source| server.refuses(listener as u16, source, now));
    }

    /// Those who come over TCP and TLS.
    pub fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// From where a message to this client leaves as it is, in a datagram; `None`: by [`Self::send`].
    pub fn outlet(&self, client: FiveTuple) -> Option<Outlet> {
        (client.carrier == Carrier::Udp).then_some(Outlet::Listener(client.flow.0 as usize))
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let of_carriers = [self.dtls.next_due(), self.streams.next_due(), self.peers.next_due()];
        of_carriers.into_iter().chain([self.server.poll_timeout()]).flatten().min()
    }

    /// Lets expire what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
        self.dtls.handle_timeout(now, &mut self.datagrams);
    }

    /// Sends the answers to all that was read. `scratch` is memory to move bytes in.
    pub fn finish_round(&mut self, scratch: &mut [u8], now: Instant) {
        // What is closed or bound in the end may be worth an answer, too.
        while self.end_round(scratch, now) {}
        self.datagrams.flush();
    }

    /// True if there was anything to do.
    fn end_round(&mut self, scratch: &mut [u8], now: Instant) -> bool {
        let mut any = self.carry_out(now);
        self.streams.end_round(now);
        while let Some(client) = self.streams.next_closed().or_else(|| self.dtls.next_closed()) {
            self.server.handle_closed(client);
            any = true;
        }
        any |= self.move_leaving(scratch, now);
        any
    }

    fn carry_out(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(output) = self.server.poll_output() {
            any = true;
            match output {
                Output::Send { to, bytes } => self.send(to, &bytes, Cargo::Answer),
                Output::Allocated { user, client, relayed } => {
                    self.set_allocated(client, true, now);
                    let over = self.transport(client).name();
                    let relayed: Vec<_> = relayed.iter().map(|relayed| relayed.0.to_string()).collect();
                    let relayed = relayed.join(" and ");
                    tracing::info!(?user, client = %client.client, over, %relayed, "TURN allocation");
                }
                Output::Freed { user, client, why, to_peers, to_client } => {
                    self.set_allocated(client, false, now);
                    let (sent, received) = (to_peers.bytes, to_client.bytes);
                    tracing::info!(?user, client = %client.client, ?why, sent, received, "TURN allocation ended");
                }
                Output::Connect { connection, from, to } => self.connect(connection, from, to),
                Output::Bound { connection, client } => {
                    self.streams.leave(Leaving::Bound { client, connection });
                }
                Output::Disconnect { connection } => self.peers.disconnect(connection, &mut self.streams),
                Output::HandOver { client, worker, request } => {
                    self.streams.leave(Leaving::HandedOver { client, worker, request });
                }
            }
        }
        any
    }

    fn set_allocated(&mut self, client: FiveTuple, allocated: bool, now: Instant) {
        match client.carrier {
            Carrier::Udp => {}
            Carrier::Dtls => self.dtls.set_allocated(client, allocated, now),
            Carrier::Stream => self.streams.set_allocated(client, allocated, now),
        }
    }

    // ---- sockets ----

    /// A listener's socket for datagrams.
    pub fn listener(&self, listener: usize) -> Option<&UdpSocket> {
        self.datagrams.socket(listener)
    }

    /// A relayed socket by its slot.
    pub fn relayed_in(&self, slot: usize) -> Option<&UdpSocket> {
        self.server.sockets().in_slot(slot).map(|(_, socket)| socket)
    }

    /// A relayed socket by its name.
    pub fn relayed(&self, id: RelaySocketId) -> Option<&UdpSocket> {
        self.server.sockets().get(id)
    }
}

/// A verdict whose ranges begin at `start`.
#[inline]
fn step(verdict: Verdict, start: usize) -> Step {
    let shifted = |range: Range<usize>| range.start + start..range.end + start;
    match verdict {
        Verdict::ToPeer { from, to, payload, dont_fragment } => {
            let by = Outlet::Relayed { socket: from, dont_fragment };
            Step::Leave { by, to: to.0, packet: shifted(payload) }
        }
        Verdict::ToOwn { from, to, payload, or_leaves, dont_fragment } => {
            let by = Outlet::Relayed { socket: from.id, dont_fragment };
            Step::ToOwn { by, from: from.addr, to, packet: shifted(payload), or_leaves }
        }
        Verdict::ToClient { client, message } => Step::ToClient { client, message: shifted(message) },
        Verdict::Control | Verdict::Drop(_) => Step::Done,
    }
}
