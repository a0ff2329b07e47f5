//! TURN (RFC 8656): the decisions of the server; `net/` owns the sockets. Pure. Whoever holds a credential reaches what the
//! role allows and nothing else.
//!
//! | asks | module |
//! |---|---|
//! | what do they want | [`request`] |
//! | who are they, what may they hold | [`credentials`], [`quota`], and what the node says besides: [`rules`] |
//! | whom may they reach | [`peers`], [`permission`], [`channel`], over TCP [`connection`] |
//! | what becomes of a packet | [`forward`], [`channel_data`], [`policer`] |
//! | all of it together | [`server`] |
//! | what came of it, in numbers | [`totals`] |

pub mod allocation;
pub mod channel;
pub mod channel_data;
pub mod connection;
pub mod credentials;
pub mod forward;
pub mod peers;
pub mod permission;
pub mod policer;
pub mod quota;
pub mod request;
pub mod rules;
pub mod server;
pub mod sockets;
pub mod totals;

use crate::base::{ClientAddr, FlowId};

/// A client as the server sees it (RFC 8656 §2). The flow stands for transport protocol and server address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// Over which listener or connection.
    pub flow: FlowId,
    /// Of TURN, by its index: that of the flow.
    pub listener: u16,
    /// From where.
    pub client: ClientAddr,
    /// What it travels on.
    pub carrier: Carrier,
}

/// What a client's packets travel on, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// Datagrams whose source may be forged.
    Udp,
    /// Datagrams of someone who has shown that the address is theirs.
    Dtls,
    /// TCP or TLS: ChannelData is padded (RFC 8656 §12.5).
    Stream,
}

impl FiveTuple {
    fn is_stream(self) -> bool {
        self.carrier == Carrier::Stream
    }

    fn source(self) -> credentials::Source {
        credentials::Source { client: self.client, proven: self.carrier != Carrier::Udp }
    }
}
