//! SRTP and SRTCP (RFC 3711, RFC 7714) for one leg: packets are protected and unprotected in place, without a copy or an
//! allocation, and a packet that is not authentic changes nothing. docs/adr/0010 says why this is our own code over
//! aws-lc.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod inbound;
mod master_key;
mod milestones;
mod outbound;
pub mod sdes;
mod session_keys;
mod sources;
mod suite;
mod window;

pub use inbound::{GRACE, Inbound};
pub use master_key::MasterKey;
pub use milestones::{Milestone, Milestones};
pub use outbound::{Outbound, Rollover};
pub use sources::MAX_SOURCES;
pub use suite::Suite;

/// What a packet grows by at most, at its end: SRTCP's index and a tag of GCM.
pub const TAILROOM: usize = 4 + 16;

/// RFC 3711 §9.2: a master key protects 2^48 SRTP and 2^31 SRTCP packets.
const LAST_RTP_INDEX: u64 = (1 << 48) - 1;
const LAST_RTCP_INDEX: u32 = (1 << 31) - 1;

/// Why a packet goes no further. It is dropped and counted; the call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not RTP or RTCP, or too short to be protected.
    Malformed,
    /// Not under the key that was agreed on, or altered.
    Authentication,
    /// Seen before, or too old to tell; on the way out, its key stream may have been used.
    Replayed,
    /// SRTCP in the clear, which was not agreed on.
    Unencrypted,
    /// A sender more than [`MAX_SOURCES`].
    Sources,
    /// The master key has protected as many packets as it may.
    Exhausted,
    /// The caller left less than [`TAILROOM`].
    NoRoom,
}

#[cfg(test)]
mod tests;
