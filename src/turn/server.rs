//! The TURN server (RFC 8656) of one worker: requests, data and timers in; answers, verdicts and events out. Pure. UDP, TCP,
//! TLS and DTLS clients look alike to it.

mod allocate;
mod answer;
mod ban;
mod connections;
mod existing;
mod reach;
mod ruled;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::base::ban::Bans;
use crate::base::{Now, PeerAddr, RelayedAddr, Rng, Timers, should_shrink};
use crate::stun::demux::{self, Protocol};
use crate::stun::{Class, Family, Icmp, Message, Method, TransactionId, Type, Writer, binding};

use super::FiveTuple;
use super::allocation::{Allocation, Listed};
use super::channel_data;
use super::connection::{ConnectionId, PeerConnection, Place};
use super::credentials::Credentials;
use super::forward::{Framing, Reason, Traffic, Verdict};
use super::peers::{Neighbourhood, Own};
use super::quota::{Books, Capacity, ReservationToken, Role};
use super::request;
use super::rules::Rules;
use super::sockets::{RelaySocketId, RelaySockets};
use super::totals::Counters;

/// What the server is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By [`RoleId`](super::credentials::RoleId).
    pub roles: Vec<Arc<Role>>,
    /// What is full when.
    pub capacity: Capacity,
    /// Our own sockets, as peers may never or always be.
    pub own: Own,
    /// Which worker this is.
    pub place: Place,
}

/// What the server wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A STUN message to a client.
    Send {
        /// To whom.
        to: FiveTuple,
        /// What.
        bytes: Vec<u8>,
    },
    /// An allocation was made.
    Allocated {
        /// By whom.
        user: Arc<str>,
        /// From where.
        client: FiveTuple,
        /// Its relayed transport addresses.
        relayed: SmallVec<[RelayedAddr; 2]>,
    },
    /// An allocation is gone, and its relayed transport addresses are closed.
    Freed {
        /// Whose it was.
        user: Arc<str>,
        /// From where.
        client: FiveTuple,
        /// Why.
        why: Freed,
        /// What its client sent.
        to_peers: Traffic,
        /// What its client was sent.
        to_client: Traffic,
    },
    /// Connect a TCP socket, which is bound to the relayed transport address `from`, and tell
    /// [`handle_connected`](Server::handle_connected) or [`handle_disconnected`](Server::handle_disconnected).
    Connect {
        /// What it is called from now on.
        connection: ConnectionId,
        /// Where it comes from.
        from: RelaySocketId,
        /// Where it goes.
        to: PeerAddr,
    },
    /// After what was sent to `client` so far, what comes on its connection and on the one with the peer goes to the other
    /// as it is, while there is [`room`](Server::room); what the peer has sent already, too (RFC 6062 §5.4).
    Bound {
        /// With the peer.
        connection: ConnectionId,
        /// The client's end.
        client: FiveTuple,
    },
    /// Close a connection with a peer, or stop making it, and close the client's connection that it is bound to.
    Disconnect {
        /// Which.
        connection: ConnectionId,
    },
    /// The connection of `client` belongs to another worker: give it to that, as it is, and `request` as what came on it.
    HandOver {
        /// Which.
        client: FiveTuple,
        /// To whom.
        worker: u32,
        /// A ConnectionBind.
        request: Vec<u8>,
    },
}

/// Why an allocation is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    /// The client said so: Refresh with a lifetime of zero.
    Client,
    /// It was not refreshed.
    Expired,
    /// Its connection was closed.
    Closed,
    /// Its user or its source may no longer.
    Revoked,
    /// A rule's budget is spent.
    Spent,
}

/// What a timer is for.
#[derive(Debug)]
enum Due {
    /// Something of this allocation expires.
    Allocation(usize),
    /// Nobody came for a reserved address.
    Reservation(ReservationToken),
    /// A peer has not answered, or nobody came for its connection.
    Connection(ConnectionId),
    /// The rules are told what this allocation has relayed.
    Reading(usize),
}

/// The server, with the relayed sockets that it opens and closes.
pub struct Server<S> {
    settings: Settings,
    credentials: Credentials,
    books: Books,
    sockets: S,
    rng: Rng,
    around: Neighbourhood,
    allocations: Slab<Allocation>,
    by_client: HashMap<FiveTuple, usize>,
    by_socket: FxHashMap<RelaySocketId, usize>,
    /// Which allocations of `peers: calls` have a permission for, or a connection with, which peer address.
    by_peer: BTreeSet<(IpAddr, usize)>,
    connections: FxHashMap<ConnectionId, PeerConnection>,
    /// The clients' ends of connections.
    by_data: HashMap<FiveTuple, ConnectionId>,
    timers: Timers<Due>,
    outputs: VecDeque<Output>,
    /// Where new clients are sent instead; `None`: they are welcome.
    alternates: Option<Vec<SocketAddr>>,
    /// Of the next indication: RFC 8489 §6 wants it unique, and an indication has no answer that one could forge.
    indication: u128,
    counters: Arc<Counters>,
    bans: Bans,
    /// Whom else to ask; none: roles decide alone.
    rules: Option<Box<dyn Rules>>,
}

/// Bans: as many as policy keeps by default.
const BANS: usize = 100_000;

impl<S: RelaySockets> Server<S> {
    /// A server without allocations. All workers of a node share `books` and have credentials of the same key.
    pub fn new(settings: Settings, credentials: Credentials, books: Books, sockets: S, mut rng: Rng) -> Self {
        let indication = u128::from_be_bytes(rng.random());
        let around = Neighbourhood::new(settings.own.clone());
        Server {
            settings,
            credentials,
            books,
            sockets,
            rng,
            around,
            allocations: Slab::new(),
            by_client: HashMap::new(),
            by_socket: FxHashMap::default(),
            by_peer: BTreeSet::new(),
            connections: FxHashMap::default(),
            by_data: HashMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            alternates: None,
            indication,
            counters: Arc::default(),
            bans: Bans::new(BANS),
            rules: None,
        }
    }

    /// From now on these are asked, too.
    pub fn set_rules(&mut self, rules: Box<dyn Rules>) {
        self.rules = Some(rules);
    }

    /// What becomes of `packet` from `client`: a datagram, or a piece that [`demux::stream_frame`] cut out of a stream.
    pub fn handle_client(&mut self, client: FiveTuple, packet: &[u8], now: Now) -> Verdict {
        let verdict = match demux::on_turn_port(packet) {
            Protocol::ChannelData => self.channel_data(client, packet, now.instant),
            _ if self.rules_refuse(client, packet, now.instant) => Err(Reason::Policy),
            Protocol::Stun => self.stun(client, packet, now),
            _ => Err(Reason::Malformed),
        };
        self.counted(verdict)
    }

    /// What becomes of what `peer` sent to a relayed socket: `payload` of `buffer`, with
    /// [`HEADROOM`](channel_data::HEADROOM) before and [`TAILROOM`](channel_data::TAILROOM) behind it.
    pub fn handle_relayed(
        &mut self,
        socket: RelaySocketId,
        peer: PeerAddr,
        buffer: &mut [u8],
        payload: Range<usize>,
        now: Instant,
    ) -> Verdict {
        let verdict = self.relayed(socket, peer, buffer, payload, now);
        self.counted(verdict)
    }

    /// A relayed socket learnt that `peer` cannot be reached (RFC 8656 §11.5). The allocation lives on.
    pub fn handle_icmp(&mut self, socket: RelaySocketId, peer: PeerAddr, icmp: Icmp, now: Instant) {
        // RFC 8656 §11.5: destination unreachable and time exceeded; in IPv6 also packet too big.
        let is_relayed = match peer.0.ip() {
            IpAddr::V4(_) => matches!(icmp.kind, 3 | 11),
            IpAddr::V6(_) => matches!(icmp.kind, 1..=3),
        };
        let transaction = self.next_indication();
        let slot = self.by_socket.get(&socket).filter(|_| is_relayed);
        let Some(allocation) = slot.and_then(|slot| self.allocations.get_mut(*slot)) else { return };
        if allocation.row.from_peer(peer.0, 0, now).is_ok() {
            let (to, mut bytes) = (allocation.row.client, Vec::new());
            Writer::begin(&mut bytes, Class::Indication, Method::DATA, transaction)
                .put_xor_address(Type::XOR_PEER_ADDRESS, peer.0)
                .put_icmp(icmp);
            self.outputs.push_back(Output::Send { to, bytes });
        }
    }

    /// The client's connection is gone, and with it its allocation, or the connection with a peer that it carried.
    pub fn handle_closed(&mut self, client: FiveTuple) {
        if let Some(connection) = self.by_data.get(&client) {
            self.end_connection(*connection);
        }
        if let Some(slot) = self.by_client.get(&client) {
            self.free(*slot, Freed::Closed);
        }
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if should_shrink(self.outputs.len(), self.outputs.capacity()) {
            self.outputs.shrink_to_fit();
        }
        output
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.timers.next_due()
    }

    /// Lets expire what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Allocation(slot) => self.expire(slot, now),
                Due::Reservation(token) => {
                    if let Some(socket) = self.books.expire(token) {
                        self.sockets.close(socket.id);
                    }
                }
                Due::Connection(connection) => self.end_connection(connection),
                Due::Reading(slot) => self.take_reading(slot, now),
            }
        }
    }

    /// From now on new allocations are sent to `alternates` (300); those that exist live on. Without an alternate of the
    /// client's family they are told 508.
    pub fn drain(&mut self, alternates: Vec<SocketAddr>) {
        self.alternates = Some(alternates);
    }

    /// The relayed sockets, to send and receive with.
    pub fn sockets(&self) -> &S {
        &self.sockets
    }

    /// All allocations of this worker.
    pub fn allocations(&self) -> impl ExactSizeIterator<Item = &Allocation> {
        self.allocations.iter().map(|(_, allocation)| allocation)
    }

    /// All allocations of this worker, for people to see.
    pub fn listing(&self, now: Instant) -> Vec<Listed> {
        self.allocations().map(|allocation| allocation.listed(now)).collect()
    }

    /// What is live, was relayed, refused and dropped here. The server writes all but what its sockets know.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn counted(&self, verdict: Result<Verdict, Reason>) -> Verdict {
        verdict.unwrap_or_else(|reason| {
            self.counters.count_dropped(reason);
            Verdict::Drop(reason)
        })
    }

    fn channel_data(&mut self, client: FiveTuple, packet: &[u8], now: Instant) -> Result<Verdict, Reason> {
        let (number, payload) = channel_data::read_channel_data(packet).ok_or(Reason::Malformed)?;
        let exit = self.of_client(client)?.row.from_channel(number, payload.len(), now)?;
        self.counters.to_peers.pass(payload.len());
        Ok(exit.verdict(payload, false))
    }

    fn stun(&mut self, client: FiveTuple, packet: &[u8], now: Now) -> Result<Verdict, Reason> {
        let message = Message::parse(packet).map_err(|_| Reason::Malformed)?;
        // RFC 8489 §6.3: a wrong fingerprint, no answer.
        if !message.check_fingerprint() {
            return Err(Reason::Malformed);
        }
        match (message.class(), message.method()) {
            (Class::Indication, Method::SEND) => {
                let send = channel_data::read_send_indication(&message).ok_or(Reason::Malformed)?;
                let allocation = self.of_client(client)?;
                // What is sent to a peer over TCP is sent on its connection.
                if allocation.tcp {
                    return Err(Reason::Unasked);
                }
                let exit = allocation.row.from_client(send.peer, send.data.len(), now.instant)?;
                self.counters.to_peers.pass(send.data.len());
                Ok(exit.verdict(send.data, send.dont_fragment))
            }
            (Class::Request, _) if self.is_banned(client.client.0.ip(), now.instant) => Err(Reason::Banned),
            (Class::Request, Method::BINDING) => {
                let mut bytes = Vec::new();
                if binding::answer(&message, client.client, &mut bytes) {
                    self.outputs.push_back(Output::Send { to: client, bytes });
                }
                Ok(Verdict::Control)
            }
            (Class::Request, method) if request::is_known(method) => {
                self.handle_timeout(now.instant);
                self.answer(client, &message, now);
                Ok(Verdict::Control)
            }
            // CVE-2024-2169: an answer to an answer is how two servers talk for ever.
            _ => Err(Reason::Unasked),
        }
    }

    fn relayed(
        &mut self,
        socket: RelaySocketId,
        peer: PeerAddr,
        buffer: &mut [u8],
        payload: Range<usize>,
        now: Instant,
    ) -> Result<Verdict, Reason> {
        let transaction = self.next_indication();
        let slot = *self.by_socket.get(&socket).ok_or(Reason::NoAllocation)?;
        let row = &mut self.allocations.get_mut(slot).ok_or(Reason::NoAllocation)?.row;
        let (framing, bytes) = (row.from_peer(peer.0, payload.len(), now)?, payload.len());
        let message = match framing {
            Framing::Channel(number) => {
                channel_data::write_channel_data(buffer, payload, number, row.client.is_stream())
            }
            Framing::Indication => channel_data::write_data_indication(buffer, payload, peer.0, transaction),
        };
        let message = message.ok_or(Reason::TooLong)?;
        self.counters.to_clients.pass(bytes);
        Ok(Verdict::ToClient { client: row.client, message })
    }

    fn of_client(&mut self, client: FiveTuple) -> Result<&mut Allocation, Reason> {
        let slot = *self.by_client.get(&client).ok_or(Reason::NoAllocation)?;
        self.allocations.get_mut(slot).ok_or(Reason::NoAllocation)
    }

    fn next_indication(&mut self) -> TransactionId {
        self.indication = self.indication.wrapping_add(1);
        let [_, _, _, _, id @ ..] = self.indication.to_be_bytes();
        TransactionId(id)
    }

    /// Makes the allocation's timer fire when the first of its things expires. One that would fire too early may stand: it
    /// is cheaper to let it than to arm another with every refresh.
    fn arm(&mut self, slot: usize) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let Some(due) = allocation.first_expiry() else { return };
        if let Some((timer, at)) = allocation.timer {
            if at <= due {
                return;
            }
            self.timers.cancel(timer);
        }
        allocation.timer = Some((self.timers.set(due, Due::Allocation(slot)), due));
    }

    fn expire(&mut self, slot: usize, now: Instant) {
        self.change(slot, |row| {
            row.permissions.purge(now);
            row.channels.purge(now);
        });
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        allocation.timer = None;
        if allocation.row.relayed.iter().all(|relayed| relayed.expires <= now) {
            return self.free(slot, Freed::Expired);
        }
        let over = allocation.row.relayed.iter().find(|relayed| relayed.expires <= now);
        if let Some(family) = over.map(|relayed| Family::of(relayed.socket.addr.0.ip())) {
            self.free_family(slot, family);
        }
        self.arm(slot);
    }

    /// Frees one of two relayed addresses, and what was allowed towards its family.
    fn free_family(&mut self, slot: usize, family: Family) {
        self.end_connections(slot, |peer| Family::of(peer.0.ip()) == family);
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        let gone: SmallVec<[RelaySocketId; 2]> =
            allocation.of_family(Some(family)).map(|relayed| relayed.socket.id).collect();
        self.books.give_back(&allocation.user, gone.len());
        self.change(slot, |row| {
            row.relayed.retain(|relayed| !gone.contains(&relayed.socket.id));
            row.permissions.retain(|ip| Family::of(ip) != family);
            row.channels.retain(|peer| Family::of(peer.ip()) != family);
        });
        self.close(&gone);
    }

    fn free(&mut self, slot: usize, why: Freed) {
        // RFC 6062 §5.5.
        self.end_connections(slot, |_| true);
        let Some(allocation) = self.allocations.try_remove(slot) else { return };
        for timer in allocation.timer.map(|(timer, _)| timer).into_iter().chain(allocation.reading) {
            self.timers.cancel(timer);
        }
        let carried = allocation.carried();
        let Allocation { row, user, leave, .. } = allocation;
        if let Some(mut leave) = leave {
            leave.ended(carried);
        }
        self.counters.allocations.take(1);
        self.counters.permissions.take(row.permissions.len());
        self.counters.channels.take(row.channels.len());
        self.by_client.remove(&row.client);
        self.unlist_peers(slot, row.permissions.iter());
        let sockets: SmallVec<[RelaySocketId; 2]> =
            row.relayed.iter().map(|relayed| relayed.socket.id).collect();
        self.books.give_back(&user, sockets.len());
        self.close(&sockets);
        let (to_peers, to_client) = (row.to_peers.traffic, row.to_client.traffic);
        self.outputs.push_back(Output::Freed { user, client: row.client, why, to_peers, to_client });
        if should_shrink(self.allocations.len(), self.allocations.capacity()) {
            self.allocations.shrink_to_fit();
            self.by_client.shrink_to_fit();
            self.by_socket.shrink_to_fit();
        }
    }

    fn close(&mut self, sockets: &[RelaySocketId]) {
        for socket in sockets {
            self.by_socket.remove(socket);
            self.sockets.close(*socket);
        }
    }
}

impl<S> std::fmt::Debug for Server<S> {
    /// How full its tables are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("allocations", &self.allocations.len())
            .field("connections", &self.connections.len())
            .field("clients", &(self.by_client.len() + self.by_data.len()))
            .field("sockets", &self.by_socket.len())
            .field("peers", &self.by_peer.len())
            .field("timers", &self.timers.len())
            .finish()
    }
}
