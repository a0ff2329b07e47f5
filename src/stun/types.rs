//! The numbers of RFC 8489 and RFC 8656, by name.

use std::fmt;

use thiserror::Error;

/// RFC 8489 §5.
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Bytes of the header of every message (RFC 8489 §5).
pub const HEADER: usize = 20;

/// What kind of message it is (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The answer that it was done.
    Success,
    /// The answer that it was not.
    Error,
}

/// What is asked for: 12 bits (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

#[allow(missing_docs, reason = "the names of the registries: RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1")]
impl Method {
    pub const BINDING: Method = Method(0x001);
    pub const ALLOCATE: Method = Method(0x003);
    pub const REFRESH: Method = Method(0x004);
    pub const SEND: Method = Method(0x006);
    pub const DATA: Method = Method(0x007);
    pub const CREATE_PERMISSION: Method = Method(0x008);
    pub const CHANNEL_BIND: Method = Method(0x009);
    pub const CONNECT: Method = Method(0x00a);
    pub const CONNECTION_BIND: Method = Method(0x00b);
    pub const CONNECTION_ATTEMPT: Method = Method(0x00c);
}

/// Ties an answer to its request (RFC 8489 §5): 96 bits, chosen at random by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// The type of an attribute (RFC 8489 §14).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type(pub u16);

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Type({:#06x})", self.0)
    }
}

#[allow(
    missing_docs,
    reason = "the names of the registries: RFC 8489 §18.3, RFC 8656 §18, RFC 6062 §6.2, RFC 8445 §16.1"
)]
impl Type {
    pub const MAPPED_ADDRESS: Type = Type(0x0001);
    pub const USERNAME: Type = Type(0x0006);
    pub const MESSAGE_INTEGRITY: Type = Type(0x0008);
    pub const ERROR_CODE: Type = Type(0x0009);
    pub const UNKNOWN_ATTRIBUTES: Type = Type(0x000a);
    pub const CHANNEL_NUMBER: Type = Type(0x000c);
    pub const LIFETIME: Type = Type(0x000d);
    pub const XOR_PEER_ADDRESS: Type = Type(0x0012);
    pub const DATA: Type = Type(0x0013);
    pub const REALM: Type = Type(0x0014);
    pub const NONCE: Type = Type(0x0015);
    pub const XOR_RELAYED_ADDRESS: Type = Type(0x0016);
    pub const REQUESTED_ADDRESS_FAMILY: Type = Type(0x0017);
    pub const EVEN_PORT: Type = Type(0x0018);
    pub const REQUESTED_TRANSPORT: Type = Type(0x0019);
    pub const DONT_FRAGMENT: Type = Type(0x001a);
    pub const MESSAGE_INTEGRITY_SHA256: Type = Type(0x001c);
    pub const PASSWORD_ALGORITHM: Type = Type(0x001d);
    pub const USERHASH: Type = Type(0x001e);
    pub const XOR_MAPPED_ADDRESS: Type = Type(0x0020);
    pub const RESERVATION_TOKEN: Type = Type(0x0022);
    pub const PRIORITY: Type = Type(0x0024);
    pub const USE_CANDIDATE: Type = Type(0x0025);
    pub const CONNECTION_ID: Type = Type(0x002a);
    pub const ADDITIONAL_ADDRESS_FAMILY: Type = Type(0x8000);
    pub const ADDRESS_ERROR_CODE: Type = Type(0x8001);
    pub const PASSWORD_ALGORITHMS: Type = Type(0x8002);
    pub const ICMP: Type = Type(0x8004);
    pub const SOFTWARE: Type = Type(0x8022);
    pub const ALTERNATE_SERVER: Type = Type(0x8023);
    pub const FINGERPRINT: Type = Type(0x8028);
    pub const ICE_CONTROLLED: Type = Type(0x8029);
    pub const ICE_CONTROLLING: Type = Type(0x802a);
}

impl Type {
    /// What any STUN server understands (RFC 8489 §18.3, the lower half of the range), also where it ignores it.
    pub const OF_STUN: &[Type] = &[
        Type::MAPPED_ADDRESS,
        Type::USERNAME,
        Type::MESSAGE_INTEGRITY,
        Type::ERROR_CODE,
        Type::UNKNOWN_ATTRIBUTES,
        Type::REALM,
        Type::NONCE,
        Type::MESSAGE_INTEGRITY_SHA256,
        Type::PASSWORD_ALGORITHM,
        Type::USERHASH,
        Type::XOR_MAPPED_ADDRESS,
    ];

    /// RFC 8489 §14: who does not know it must not process the message.
    pub fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

/// Why a request was not done (RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3): 300 to 699.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

#[allow(missing_docs, reason = "the names of the registry")]
impl ErrorCode {
    pub const TRY_ALTERNATE: ErrorCode = ErrorCode(300);
    pub const BAD_REQUEST: ErrorCode = ErrorCode(400);
    pub const UNAUTHENTICATED: ErrorCode = ErrorCode(401);
    pub const FORBIDDEN: ErrorCode = ErrorCode(403);
    pub const UNKNOWN_ATTRIBUTE: ErrorCode = ErrorCode(420);
    pub const ALLOCATION_MISMATCH: ErrorCode = ErrorCode(437);
    pub const STALE_NONCE: ErrorCode = ErrorCode(438);
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: ErrorCode = ErrorCode(440);
    pub const WRONG_CREDENTIALS: ErrorCode = ErrorCode(441);
    pub const UNSUPPORTED_TRANSPORT: ErrorCode = ErrorCode(442);
    pub const PEER_ADDRESS_FAMILY_MISMATCH: ErrorCode = ErrorCode(443);
    pub const CONNECTION_ALREADY_EXISTS: ErrorCode = ErrorCode(446);
    pub const CONNECTION_FAILED: ErrorCode = ErrorCode(447);
    pub const ALLOCATION_QUOTA_REACHED: ErrorCode = ErrorCode(486);
    pub const ROLE_CONFLICT: ErrorCode = ErrorCode(487);
    pub const SERVER_ERROR: ErrorCode = ErrorCode(500);
    pub const INSUFFICIENT_CAPACITY: ErrorCode = ErrorCode(508);
}

impl ErrorCode {
    /// The reason phrase that the RFCs recommend; empty for a code that is not ours.
    pub fn reason(self) -> &'static str {
        match self.0 {
            300 => "Try Alternate",
            400 => "Bad Request",
            401 => "Unauthenticated",
            403 => "Forbidden",
            420 => "Unknown Attribute",
            437 => "Allocation Mismatch",
            438 => "Stale Nonce",
            440 => "Address Family not Supported",
            441 => "Wrong Credentials",
            442 => "Unsupported Transport Protocol",
            443 => "Peer Address Family Mismatch",
            446 => "Connection Already Exists",
            447 => "Connection Timeout or Failure",
            486 => "Allocation Quota Reached",
            487 => "Role Conflict",
            500 => "Server Error",
            508 => "Insufficient Capacity",
            _ => "",
        }
    }
}

/// Why some bytes are not a STUN message: drop them without an answer (RFC 8489 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The first two bits are not zero or the magic cookie is missing.
    #[error("not STUN")]
    NotStun,
    /// The length in the header is not that of what arrived, or no multiple of four.
    #[error("the length does not fit")]
    Length,
    /// An attribute reaches beyond the end of the message.
    #[error("an attribute overruns the message")]
    Overrun,
    /// More attributes than any message needs (64).
    #[error("more than 64 attributes")]
    TooManyAttributes,
    /// RFC 8489 §14.7: FINGERPRINT is the last attribute.
    #[error("an attribute after FINGERPRINT")]
    AfterFingerprint,
}

/// An attribute whose value is not what its type promises: 400 to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed attribute {0:?}")]
pub struct BadAttribute(pub Type);
