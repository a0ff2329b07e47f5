//! THE packet path of TURN: what becomes of one packet. Reads one row, allocates nothing, waits for nothing.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use smallvec::SmallVec;

use crate::base::{PeerAddr, RelayedAddr};

use super::FiveTuple;
use super::channel::Channels;
use super::peers::Through;
use super::permission::Permissions;
use super::policer::Policer;
use super::sockets::{RelaySocket, RelaySocketId};

/// What becomes of a packet. Ranges are of the caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `payload` leaves from a relayed socket.
    ToPeer {
        /// From which.
        from: RelaySocketId,
        /// To whom.
        to: PeerAddr,
        /// What.
        payload: Range<usize>,
        /// With the DF bit (RFC 8656 §11.2).
        dont_fragment: bool,
    },
    /// `payload` goes to a relay address of ours, without leaving the process: whoever has `to` takes it as a packet from
    /// the peer `from`, with the same payload.
    ToOwn {
        /// The sender's relayed socket.
        from: RelaySocket,
        /// The one it is for.
        to: RelayedAddr,
        /// What.
        payload: Range<usize>,
        /// If nobody has `to`, it leaves from the socket after all, to whatever the kernel finds there; else to nobody.
        or_leaves: bool,
        /// If it leaves: with the DF bit.
        dont_fragment: bool,
    },
    /// `message`, the payload with its header, goes to a client.
    ToClient {
        /// To whom.
        client: FiveTuple,
        /// What.
        message: Range<usize>,
    },
    /// It was a request: what there is to say waits in `poll_output`.
    Control,
    /// It is dropped and counted.
    Drop(Reason),
}

/// Why a packet is dropped; each has a counter in [`Counters`](super::totals::Counters).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not STUN, not ChannelData, of wrong length, or with a wrong FINGERPRINT.
    Malformed,
    /// A STUN answer, or an indication that no server takes.
    Unasked,
    /// From nobody's five-tuple, or to an address family that the allocation has not.
    NoAllocation,
    /// On a channel that is not bound.
    NoChannel,
    /// To or from a peer without a permission.
    NoPermission,
    /// Beyond the role's bandwidth.
    Bandwidth,
    /// No header fits round it.
    TooLong,
    /// A request of a banned source.
    Banned,
    /// To a relayed address of ours that nobody has. Counted by whoever owns the sockets, as the next.
    Nobody,
    /// What it should leave by is full: a socket's buffer, or the queue of a client that does not read.
    Full,
    /// It came through too many relayed addresses of ours: they send to each other in a circle.
    Loop,
    /// The node's rules want it dropped.
    Policy,
}

impl Reason {
    /// All, in the order of their counters.
    pub const ALL: [Reason; 12] = [
        Reason::Malformed,
        Reason::Unasked,
        Reason::NoAllocation,
        Reason::NoChannel,
        Reason::NoPermission,
        Reason::Bandwidth,
        Reason::TooLong,
        Reason::Banned,
        Reason::Nobody,
        Reason::Full,
        Reason::Loop,
        Reason::Policy,
    ];

    /// As it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Unasked => "unasked",
            Reason::NoAllocation => "no_allocation",
            Reason::NoChannel => "no_channel",
            Reason::NoPermission => "no_permission",
            Reason::Bandwidth => "bandwidth",
            Reason::TooLong => "too_long",
            Reason::Banned => "banned",
            Reason::Nobody => "nobody",
            Reason::Full => "full",
            Reason::Loop => "loop",
            Reason::Policy => "policy",
        }
    }
}

/// What an allocation relayed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Packets that its rules dropped.
    pub dropped: u64,
}

/// One direction of an allocation.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    policer: Policer,
    /// What went through.
    pub traffic: Traffic,
}

impl Lane {
    /// Nothing went through yet; `rate` in bytes per second.
    pub fn new(rate: Option<u64>) -> Self {
        Lane { policer: Policer::new(rate), traffic: Traffic::default() }
    }

    fn pass(&mut self, bytes: usize, now: Instant) -> Result<(), Reason> {
        if !self.policer.passes(bytes, now) {
            return Err(Reason::Bandwidth);
        }
        self.traffic.packets += 1;
        self.traffic.bytes += bytes as u64;
        Ok(())
    }

    /// How many bytes of a stream may pass now; `Err`: none before then.
    pub fn room(&self, now: Instant) -> Result<usize, Instant> {
        self.policer.room(now)
    }

    /// A piece of a stream has passed.
    pub fn streamed(&mut self, bytes: usize, now: Instant) {
        self.policer.pay(bytes, now);
        self.traffic.packets += 1;
        self.traffic.bytes += bytes as u64;
    }

    fn counted<T>(&mut self, outcome: Result<T, Reason>) -> Result<T, Reason> {
        self.traffic.dropped += u64::from(outcome.is_err());
        outcome
    }
}

/// A relayed transport address of an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// The socket.
    pub socket: RelaySocket,
    /// When it goes, unless it is refreshed.
    pub expires: Instant,
}

/// Where a client's payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// From which of the allocation's relayed addresses.
    pub from: RelaySocket,
    /// To whom.
    pub to: PeerAddr,
    /// How.
    pub through: Through,
}

impl Exit {
    /// What becomes of `payload`.
    pub fn verdict(self, payload: Range<usize>, dont_fragment: bool) -> Verdict {
        let Exit { from, to, through } = self;
        if through == Through::Kernel {
            return Verdict::ToPeer { from: from.id, to, payload, dont_fragment };
        }
        let (to, or_leaves) = (RelayedAddr(to.0), through == Through::OwnOrKernel);
        Verdict::ToOwn { from, to, payload, or_leaves, dont_fragment }
    }
}

/// How a peer's payload is put to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// ChannelData of this number.
    Channel(u16),
    /// A Data indication.
    Indication,
}

/// All that the packet path needs to know about one allocation.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose it is.
    pub client: FiveTuple,
    /// One, or one of each family.
    pub relayed: SmallVec<[Relayed; 1]>,
    /// Whom it may talk to.
    pub permissions: Permissions,
    /// In which shorthand.
    pub channels: Channels,
    /// From the client on.
    pub to_peers: Lane,
    /// To the client.
    pub to_client: Lane,
}

impl Row {
    /// What the client sends on a channel.
    #[inline]
    pub fn from_channel(&mut self, number: u16, bytes: usize, now: Instant) -> Result<Exit, Reason> {
        match self.channels.peer(number, now) {
            Some(peer) => self.from_client(peer, bytes, now),
            None => self.to_peers.counted(Err(Reason::NoChannel)),
        }
    }

    /// What the client sends to `peer`. RFC 8656 §11.2: without a permission it goes nowhere.
    #[inline]
    pub fn from_client(&mut self, peer: SocketAddr, bytes: usize, now: Instant) -> Result<Exit, Reason> {
        let outcome = self.exit(peer, now).and_then(|exit| self.to_peers.pass(bytes, now).map(|()| exit));
        self.to_peers.counted(outcome)
    }

    fn exit(&self, peer: SocketAddr, now: Instant) -> Result<Exit, Reason> {
        let from = self.relayed(peer, now).ok_or(Reason::NoAllocation)?;
        let reach = self.permissions.find(peer, now).ok_or(Reason::NoPermission)?;
        Ok(Exit { from, to: PeerAddr(peer), through: reach.through })
    }

    /// What `peer` sends to the allocation. RFC 8656 §11.3: without a permission it goes nowhere.
    #[inline]
    pub fn from_peer(&mut self, peer: SocketAddr, bytes: usize, now: Instant) -> Result<Framing, Reason> {
        let outcome = match (self.relayed(peer, now), self.permissions.find(peer, now)) {
            (None, _) => Err(Reason::NoAllocation),
            (_, None) => Err(Reason::NoPermission),
            _ => self.to_client.pass(bytes, now),
        };
        self.to_client.counted(outcome)?;
        Ok(self.channels.number(peer, now).map_or(Framing::Indication, Framing::Channel))
    }

    /// The relayed address of `peer`'s family.
    fn relayed(&self, peer: SocketAddr, now: Instant) -> Option<RelaySocket> {
        let fits =
            |relayed: &&Relayed| relayed.socket.addr.0.is_ipv4() == peer.is_ipv4() && relayed.expires > now;
        self.relayed.iter().find(fits).map(|relayed| relayed.socket)
    }
}
