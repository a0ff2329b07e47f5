//! SIP (RFC 3261), sans-IO: messages, framing, transactions, dialogs, and what a proxy does with them.

pub mod dialog;
pub mod digest;
pub mod framing;
pub mod locate;
pub mod message;
pub mod proxy;
pub mod transaction;
pub mod uri;
