//! The relay's decisions: which port, which row, forward or drop. Pure; `net/relay` owns the sockets.
//!
//! A stream has one pair of relayed transport addresses: what arrives on side A's leaves from side B's, and back.

pub mod forward;
pub mod leg_counters;
pub mod ports;
pub mod row;
mod saved;

use std::iter::Sum;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::base::ban::Banned;
use crate::base::{PeerAddr, RelayedAddr};
pub use crate::media::Component;
use crate::media::dtls::Fingerprint;
pub use crate::media::latch::{LegCrypto, LegRules};
use leg_counters::LegCounters;
pub use saved::{SavedLeg, SavedPair};

/// Names a pair of relayed transport addresses (with their RTCP twins). Not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub u64);

/// The two sides of a pair. A is the side that sent the INVITE.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    A,
    B,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// Whose a relayed address of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A call's: it stands in SDP that we wrote.
    Pair,
    /// A TURN client's, who got it from our own TURN server.
    Allocation,
}

/// What the relay is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ports for media, on each bind address; pairs of an even and the next odd one.
    pub ports: RangeInclusive<u16>,
    /// Worker threads, at least one.
    pub workers: usize,
}

/// The relayed addresses that a zone is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// Local address to bind.
    pub bind: IpAddr,
    /// What SDP says (1:1 NAT); the same as `bind` unless configured.
    pub advertise: IpAddr,
}

/// Those that a zone may be shown: one, or one of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddresses {
    first: RelayAddress,
    other: Option<RelayAddress>,
}

impl RelayAddresses {
    /// The first of each family; `None` if there is none.
    pub fn new(addresses: impl IntoIterator<Item = RelayAddress>) -> Option<RelayAddresses> {
        let mut addresses = addresses.into_iter();
        let first = addresses.next()?;
        Some(RelayAddresses { first, other: addresses.find(|other| !first.is_like(other.advertise)) })
    }

    /// The one of the same family as `peer`, if there is one, comes first.
    pub fn preferring(self, peer: IpAddr) -> RelayAddresses {
        match self.other {
            Some(other) if other.is_like(peer) => RelayAddresses { first: other, other: Some(self.first) },
            _ => self,
        }
    }

    /// The first.
    pub fn first(&self) -> RelayAddress {
        self.first
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = RelayAddress> + use<> {
        std::iter::once(self.first).chain(self.other)
    }
}

impl From<RelayAddress> for RelayAddresses {
    fn from(first: RelayAddress) -> RelayAddresses {
        RelayAddresses { first, other: None }
    }
}

impl RelayAddress {
    fn is_like(&self, peer: IpAddr) -> bool {
        self.advertise.is_ipv4() == peer.to_canonical().is_ipv4()
    }
}

/// One side's relayed addresses, as SDP shows them (advertised).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideAddrs {
    ip: IpAddr,
    port: u16,
}

impl SideAddrs {
    /// `port`: of RTP.
    pub fn new(ip: IpAddr, port: u16) -> SideAddrs {
        SideAddrs { ip, port }
    }

    /// RTP (or whatever the stream is).
    pub fn rtp(&self) -> RelayedAddr {
        RelayedAddr(SocketAddr::new(self.ip, self.port))
    }

    /// RTCP: the next port up.
    pub fn rtcp(&self) -> RelayedAddr {
        RelayedAddr(SocketAddr::new(self.ip, self.port.saturating_add(1)))
    }
}

/// A pair that is open: sockets bound, nothing latched.
#[derive(Clone, Debug)]
pub struct OpenPair {
    /// Its name.
    pub id: PairId,
    /// Facing side A.
    pub a: SideAddrs,
    /// Facing side B.
    pub b: SideAddrs,
    /// Written by the relay worker, read by whoever asks.
    pub counters: Arc<PairCounters>,
}

impl OpenPair {
    /// What faces that side.
    pub fn side(&self, side: Side) -> SideAddrs {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }
}

/// Why no pair could be opened: a new call gets 503, one of before a restart goes on without media.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("no relay port is free")]
    PortsExhausted,
    #[error("the relay address cannot be bound")]
    CannotBind,
    #[error("the relay port is taken by somebody else")]
    PortTaken,
}

/// Counters of a pair: one writer (its relay worker), any reader; relaxed.
#[allow(missing_docs)]
#[derive(Debug, Default)]
pub struct PairCounters {
    pub a: SideCounters,
    pub b: SideCounters,
    legs: [LegCounters; 2],
    /// Goes up when there is something else to save.
    revision: AtomicU32,
    /// How many restarts the pair has outlasted.
    life: u8,
}

impl PairCounters {
    /// Packets that came from that side.
    pub fn side(&self, side: Side) -> &SideCounters {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// How that side's leg is heard.
    pub fn leg(&self, side: Side) -> &LegCounters {
        &self.legs[side as usize]
    }

    /// Of a pair that has outlasted so many restarts. That alone is worth saving: what is sent under the same keys in two lives
    /// is told apart by it.
    pub fn of_life(life: u8) -> PairCounters {
        PairCounters { life, revision: AtomicU32::new(life.into()), ..PairCounters::default() }
    }

    /// How many restarts the pair has outlasted.
    pub fn life(&self) -> u8 {
        self.life
    }

    /// Another than before: [`OpenPair::save`] says something else.
    pub fn revision(&self) -> u32 {
        self.revision.load(Ordering::Relaxed)
    }

    /// This thread is the only writer.
    pub(crate) fn revise(&self) {
        self.revision.store(self.revision().wrapping_add(1), Ordering::Relaxed);
    }
}

/// One side's: packets that came from it.
#[derive(Debug, Default)]
pub struct SideCounters {
    /// Relayed to the other side.
    pub packets: AtomicU64,
    /// Their bytes (UDP payload).
    pub bytes: AtomicU64,
    /// From a stranger.
    pub refused_source: AtomicU64,
    /// Not valid RTP/RTCP of a negotiated type.
    pub refused_payload: AtomicU64,
    /// SRTP that is not under the key that was agreed on, or before one was.
    pub refused_authentication: AtomicU64,
    /// SRTP, or what would become SRTP, that was there before or is too late to tell.
    pub refused_replay: AtomicU64,
    /// Valid, but the other side's destination is not known yet, or its socket's buffer is full.
    pub undeliverable: AtomicU64,
    /// DTLS handshakes that led to no keys.
    pub dtls_failed: AtomicU64,
}

/// What counters said at one moment.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
    pub refused_source: u64,
    pub refused_payload: u64,
    pub refused_authentication: u64,
    pub refused_replay: u64,
    pub undeliverable: u64,
    pub dtls_failed: u64,
}

impl SideCounters {
    /// What they say now.
    pub fn read(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            packets: read(&self.packets),
            bytes: read(&self.bytes),
            refused_source: read(&self.refused_source),
            refused_payload: read(&self.refused_payload),
            refused_authentication: read(&self.refused_authentication),
            refused_replay: read(&self.refused_replay),
            undeliverable: read(&self.undeliverable),
            dtls_failed: read(&self.dtls_failed),
        }
    }
}

impl Traffic {
    /// All that was refused for what it is, or for whom it is from.
    pub fn refused(&self) -> u64 {
        self.refused_source + self.refused_payload + self.refused_authentication + self.refused_replay
    }
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Traffic>>(all: I) -> Traffic {
        all.fold(Traffic::default(), |sum, one| Traffic {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
            refused_source: sum.refused_source + one.refused_source,
            refused_payload: sum.refused_payload + one.refused_payload,
            refused_authentication: sum.refused_authentication + one.refused_authentication,
            refused_replay: sum.refused_replay + one.refused_replay,
            undeliverable: sum.undeliverable + one.undeliverable,
            dtls_failed: sum.dtls_failed + one.dtls_failed,
        })
    }
}

/// The relay as the edge sees it: opening is immediate (bind does not block), so it is a capability that is passed in,
/// not a state (docs/adr/0006). Tests pass one without sockets.
pub trait Relay: Send {
    /// Takes ports and binds both sides' sockets (RTP even, RTCP odd).
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError>;
    /// Takes the ports that a pair had before a restart, on these addresses, and no others. As soon as a side's rules are
    /// set, it goes on as it was.
    fn reopen(&mut self, a: RelayAddress, b: RelayAddress, saved: &SavedPair) -> Result<OpenPair, OpenError>;
    /// Says who may speak on one side, at each offer and answer. Latches stay unless the SDP address changed.
    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules);
    /// Closes the sockets and gives the ports back after a short rest. Twice does nothing.
    fn close(&mut self, pair: PairId);
    /// Whose this address (as advertised) is, if it is one of ours and open (docs/adr/0009).
    fn owner_of(&self, addr: SocketAddr) -> Option<Owner>;
    /// Whether there may be TURN clients: where there are none, nobody need know what calls name.
    fn serves_turn(&self) -> bool;
    /// A call that was admitted named this media address: TURN clients whose role is `peers: calls` may reach it. Counted:
    /// as many [`Self::close_call_peer`] take it back.
    fn open_call_peer(&mut self, peer: PeerAddr);
    /// That call has ended, or moved its media: with the last one, every permission and channel for the address is gone.
    fn close_call_peer(&mut self, peer: PeerAddr);
    /// A source or a user is banned: their TURN allocations are gone at once, and until then the source gets no answer and
    /// the user no allocation.
    fn ban(&mut self, banned: &Banned, until: Option<Instant>);
    /// That ban is over before its time.
    fn lift_ban(&mut self, banned: &Banned);
    /// Of the certificate that every DTLS leg shows ([`LegCrypto::Dtls`]), for `a=fingerprint`.
    fn dtls_fingerprint(&self) -> Fingerprint;
    /// What was asked for is in force when this returns, or before the next packet is looked at: called before anything is
    /// sent that others would act on. So the workers are woken once for all that a batch of messages asks for.
    fn flush(&mut self) {}
    /// Open pairs and free ports.
    fn usage(&self) -> RelayUsage;
}

/// For metrics and `status`.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayUsage {
    pub pairs: usize,
    pub ports_taken: usize,
    pub ports_total: usize,
}
