//! STUN (RFC 8489): messages read in place and written into the caller's buffer, the Binding server, and what else may
//! stand on the same port. Pure; why it is our own: docs/adr/0008.
//!
//! ```
//! use turnpike::stun::{Class, Message, Method, TransactionId, Type, Writer};
//!
//! let mut wire = Vec::new();
//! let mut writer = Writer::begin(&mut wire, Class::Request, Method::BINDING, TransactionId([7; 12]));
//! writer.put(Type::USERNAME, b"alice");
//! writer.add_fingerprint();
//! let message = Message::parse(&wire)?;
//! assert_eq!(message.username()?, Some("alice"));
//! assert!(message.check_fingerprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
pub mod binding;
pub mod demux;
mod integrity;
mod message;
mod types;
mod writer;

pub use attribute::{Attribute, Family, Icmp, PasswordAlgorithm, PasswordAlgorithms};
pub use integrity::{Hash, Key, userhash};
pub use message::{Attributes, Message};
pub use types::{
    BadAttribute, Class, ErrorCode, HEADER, MAGIC_COOKIE, Malformed, Method, TransactionId, Type,
};
pub use writer::Writer;
