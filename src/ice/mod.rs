//! What Turnpike does of ICE (RFC 8445): it never gathers and never checks. It reads the checks that pass through a relayed
//! address (append), or answers them as an ICE-lite agent (terminate), and learns from them who may speak. Pure.

mod agent;
mod credentials;
mod held;
mod sources;

pub use agent::{Agent, Heard, Refused, Settings};
pub use credentials::{Credentials, Password};
pub use sources::MOST_SOURCES;
