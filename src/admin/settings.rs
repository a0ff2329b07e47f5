//! `admin:` in the configuration.

use std::fmt;
use std::net::SocketAddr;

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens; port 0 takes any. Without a token only a loopback address is accepted.
    pub listen: SocketAddr,
    /// Asked for as `Authorization: Bearer …`, if there is one.
    pub token: Option<Token>,
}

/// A bearer token; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Wraps it.
    pub fn new(token: String) -> Self {
        Token(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
