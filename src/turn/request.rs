//! Requests as types: what a client asks for, read once from its STUN message.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::stun::{BadAttribute, ErrorCode, Family, Message, Method, Type};

use super::channel;
use super::connection::ConnectionId;
use super::quota::ReservationToken;
use super::sockets::Port;

/// What a TURN server understands besides what any STUN server does.
const OF_TURN: [Type; 11] = [
    Type::CHANNEL_NUMBER,
    Type::LIFETIME,
    Type::XOR_PEER_ADDRESS,
    Type::DATA,
    Type::XOR_RELAYED_ADDRESS,
    Type::REQUESTED_ADDRESS_FAMILY,
    Type::EVEN_PORT,
    Type::REQUESTED_TRANSPORT,
    Type::DONT_FRAGMENT,
    Type::RESERVATION_TOKEN,
    Type::CONNECTION_ID,
];

/// What must be understood in `message` and is not: what a 420 lists (RFC 8489 §6.3.1).
pub fn unknown_required<'a>(message: &Message<'a>) -> impl Iterator<Item = Type> + use<'a> {
    message.unknown_required(Type::OF_STUN).filter(|kind| !OF_TURN.contains(kind))
}

/// True if a message may be acted upon that carries it.
pub fn is_understood(kind: Type) -> bool {
    !kind.is_comprehension_required() || OF_TURN.contains(&kind) || Type::OF_STUN.contains(&kind)
}

/// RFC 8656 §18.8, RFC 6062 §5.1: protocol numbers.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// Which relayed transport addresses an Allocate wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of this family; IPv4 unless the client says otherwise.
    One(Family, Port),
    /// One of each (ADDITIONAL-ADDRESS-FAMILY).
    Both(Port),
    /// The one that was reserved under this token.
    Reserved(ReservationToken),
}

impl Wanted {
    /// True for a TCP allocation (RFC 6062).
    pub fn is_tcp(self) -> bool {
        matches!(self, Wanted::One(_, Port::Tcp) | Wanted::Both(Port::Tcp))
    }
}

/// A request to one of the TURN methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// RFC 8656 §7.
    Allocate {
        /// Which addresses.
        wanted: Wanted,
        /// For how long.
        lifetime: Option<Duration>,
    },
    /// RFC 8656 §8.
    Refresh {
        /// For how long; zero: no longer.
        lifetime: Option<Duration>,
        /// Only the address of this family.
        family: Option<Family>,
    },
    /// RFC 8656 §10.
    CreatePermission {
        /// At least one.
        peers: SmallVec<[SocketAddr; 4]>,
    },
    /// RFC 8656 §12.
    ChannelBind {
        /// In the range of channels.
        number: u16,
        /// Whose it shall be.
        peer: SocketAddr,
    },
    /// RFC 6062 §5.2.
    Connect {
        /// To whom.
        peer: SocketAddr,
    },
    /// RFC 6062 §5.4.
    ConnectionBind {
        /// To which connection with a peer.
        connection: ConnectionId,
    },
}

impl From<BadAttribute> for ErrorCode {
    fn from(_: BadAttribute) -> ErrorCode {
        ErrorCode::BAD_REQUEST
    }
}

/// True for the methods that a TURN server answers.
pub fn is_known(method: Method) -> bool {
    let known = [
        Method::ALLOCATE,
        Method::REFRESH,
        Method::CREATE_PERMISSION,
        Method::CHANNEL_BIND,
        Method::CONNECT,
        Method::CONNECTION_BIND,
    ];
    known.contains(&method)
}

impl Request {
    /// Reads it; the error is the answer. Asks nothing that depends on what is allocated.
    pub fn read(message: &Message<'_>) -> Result<Request, ErrorCode> {
        match message.method() {
            Method::ALLOCATE => allocate(message),
            Method::REFRESH => Ok(Request::Refresh {
                lifetime: lifetime(message)?,
                family: message.requested_address_family()?.map(supported).transpose()?,
            }),
            Method::CREATE_PERMISSION => {
                let peers: SmallVec<_> = message.xor_peer_addresses().collect::<Result<_, _>>()?;
                // RFC 8656 §10.2: at least one.
                if peers.is_empty() {
                    Err(ErrorCode::BAD_REQUEST)
                } else {
                    Ok(Request::CreatePermission { peers })
                }
            }
            Method::CHANNEL_BIND => channel_bind(message),
            Method::CONNECT => {
                let peer = message.xor_peer_address()?.ok_or(ErrorCode::BAD_REQUEST)?;
                Ok(Request::Connect { peer })
            }
            Method::CONNECTION_BIND => {
                let id = message.connection_id()?.ok_or(ErrorCode::BAD_REQUEST)?;
                Ok(Request::ConnectionBind { connection: ConnectionId(id) })
            }
            _ => Err(ErrorCode::BAD_REQUEST),
        }
    }
}

/// The checks of RFC 8656 §7.2 that need only the message, in its order.
fn allocate(message: &Message<'_>) -> Result<Request, ErrorCode> {
    let tcp = match message.requested_transport()? {
        Some(UDP) => false,
        Some(TCP) => true,
        Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT),
        None => return Err(ErrorCode::BAD_REQUEST),
    };
    let (dont_fragment, token) = (message.dont_fragment()?, message.reservation_token()?);
    let port = match message.even_port()? {
        None if tcp && !dont_fragment && token.is_none() => Port::Tcp,
        // RFC 6062 §5.1: none of the three for TCP.
        _ if tcp => return Err(ErrorCode::BAD_REQUEST),
        None => Port::Any,
        Some(false) => Port::Even,
        Some(true) => Port::EvenAndNext,
    };
    let (family, additional) = (message.requested_address_family()?, message.additional_address_family()?);
    let wanted = match (token, family, additional) {
        (Some(token), None, None) if port == Port::Any => Wanted::Reserved(token),
        // RFC 8656 §7.2: with RESERVATION-TOKEN, none of EVEN-PORT and the two families.
        (Some(_), _, _) => return Err(ErrorCode::BAD_REQUEST),
        // RFC 8656 §7.2: not both families; the additional one is IPv6, and no port is reserved beside it.
        (None, Some(_), Some(_)) => return Err(ErrorCode::BAD_REQUEST),
        (None, None, Some(Some(Family::V6))) if port != Port::EvenAndNext => Wanted::Both(port),
        (None, None, Some(_)) => return Err(ErrorCode::BAD_REQUEST),
        (None, Some(family), None) => Wanted::One(supported(family)?, port),
        (None, None, None) => Wanted::One(Family::V4, port),
    };
    Ok(Request::Allocate { wanted, lifetime: lifetime(message)? })
}

fn channel_bind(message: &Message<'_>) -> Result<Request, ErrorCode> {
    let (Some(number), Some(peer)) = (message.channel_number()?, message.xor_peer_address()?) else {
        return Err(ErrorCode::BAD_REQUEST);
    };
    // RFC 8656 §12.2.
    if !channel::is_number(number) {
        return Err(ErrorCode::BAD_REQUEST);
    }
    Ok(Request::ChannelBind { number, peer })
}

fn lifetime(message: &Message<'_>) -> Result<Option<Duration>, BadAttribute> {
    Ok(message.lifetime()?.map(|seconds| Duration::from_secs(seconds.into())))
}

/// RFC 8656 §7.2: a family that does not exist is one that is not supported.
fn supported(family: Option<Family>) -> Result<Family, ErrorCode> {
    family.ok_or(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED)
}
