//! TURN (RFC 8656): credentials, allocations, permissions and channels. Pure.

pub mod credentials;
