//! RFC 8489 (STUN), section by section, and the test vectors of RFC 5769. What the long-term credential mechanism (§9.2) asks
//! of a server is tested beside `turn::credentials`.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

mod attributes;
mod binding;
mod messages;
mod rfc5769;

use turnpike::stun::{Class, Message, Method, TransactionId, Writer};

/// A Binding message with these attributes.
pub fn binding(class: Class, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut wire = Vec::new();
    write(&mut Writer::begin(&mut wire, class, Method::BINDING, TransactionId(*b"transaction!")));
    wire
}

/// Reads what must be readable.
pub fn parse(wire: &[u8]) -> Message<'_> {
    Message::parse(wire).expect("a well-formed message")
}
