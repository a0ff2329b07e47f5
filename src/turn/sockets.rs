//! The relayed sockets as the server sees them: a capability that is passed in (docs/adr/0006). Opening one does not wait.

use crate::base::{PeerAddr, RelayedAddr};
use crate::stun::Family;

use super::FiveTuple;

/// Names a relayed socket of this worker. Not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelaySocketId(pub u64);

/// A relayed socket that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaySocket {
    /// Its name.
    pub id: RelaySocketId,
    /// Its address as peers see it (advertised).
    pub addr: RelayedAddr,
}

/// Which port is wanted (RFC 8656 §7.2); of UDP but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Any.
    Any,
    /// An even one: EVEN-PORT with R = 0.
    Even,
    /// An even one, and the next is to be kept: EVEN-PORT with R = 1.
    EvenAndNext,
    /// Any, but of TCP: a socket that listens (RFC 6062 §5.1).
    Tcp,
}

/// What was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The one that was asked for.
    pub socket: RelaySocket,
    /// For [`Port::EvenAndNext`] the next port: bound, heard by nobody until [`RelaySockets::open_reserved`].
    pub reserved: Option<RelaySocket>,
}

/// Why nothing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// 440.
    #[error("there is no relay address of this family")]
    Family,
    /// 508.
    #[error("no relay port is free")]
    PortsExhausted,
}

/// Opens and closes relayed sockets.
pub trait RelaySockets {
    /// Opens one of `family` that `client`'s zone may be shown.
    fn open(&mut self, client: FiveTuple, family: Family, port: Port) -> Result<Opened, OpenError>;

    /// From now on `reserved` is heard here, perhaps under another name; another worker may have bound it.
    fn open_reserved(&mut self, reserved: RelaySocket) -> Result<RelaySocket, OpenError>;

    /// True if a TCP allocation of this node, on whichever worker, listens at `peer`.
    fn is_open_tcp(&self, peer: PeerAddr) -> bool;

    /// Closes one, opened or reserved.
    fn close(&mut self, socket: RelaySocketId);
}
