//! Addresses that say whose they are, so that a client's is never taken for a peer's.

use std::fmt;
use std::net::SocketAddr;

macro_rules! addr_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub SocketAddr);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

addr_of!(
    /// The transport address a SIP message came from: the real source, not what a Via says.
    ClientAddr
);
addr_of!(
    /// The transport address at the far end of relayed media.
    PeerAddr
);
addr_of!(
    /// A relayed transport address (RFC 8656 §2): ours, shown to one side of a call.
    RelayedAddr
);

/// A connection (TCP, TLS, WS), or for UDP the pair of listener and remote address (RFC 5626 §2 "flow").
/// Never used twice, not even by the process that comes after this one; but an IPv4 UDP flow has always the same. 0 is no
/// connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// Index of a listener in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// Index of a zone in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneId(pub u16);

/// Index of a trunk in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

/// What SIP travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams; the only one with retransmissions of our own (RFC 3261 §17).
    Udp,
    /// RFC 3261 §18.3 framing.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// RFC 7118.
    Ws,
    /// RFC 7118 over TLS.
    Wss,
}

impl Transport {
    /// RFC 7118: each message travels in a frame of its own.
    pub fn is_web(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// RFC 3261 §17: over a reliable transport nothing is retransmitted by the transaction.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// As it stands in `Via: SIP/2.0/…`.
    pub fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// As it stands in `;transport=…`. RFC 7118 §5.1: WebSockets have one word, with TLS or without.
    pub fn uri_param(self) -> &'static str {
        match self {
            Transport::Wss => "ws",
            other => other.scheme(),
        }
    }

    /// As it stands in a listener's `bind`, and in what we say to people.
    pub fn scheme(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// RFC 3261 §18.2.1, §19.1.2: the port meant when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
            Transport::Udp | Transport::Tcp => 5060,
        }
    }
}
