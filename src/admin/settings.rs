//! `admin:` in the configuration.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens; port 0 takes any. Without a token only a loopback address is accepted.
    pub listen: SocketAddr,
    /// Asked for as `Authorization: Bearer …`, if there is one.
    pub token: Option<Token>,
    /// For a request to come and its answer to be taken, both to their last byte.
    pub patience: Duration,
}

/// A bearer token; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Wraps it.
    pub fn new(token: String) -> Self {
        Token(token)
    }

    /// As it stands behind `Authorization:` (RFC 6750 §2.1).
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether `shown` is it. Takes as long for a near miss as for a wild guess.
    pub fn is(&self, shown: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let differing = token.iter().zip(shown).fold(0, |differing, (a, b)| differing | (a ^ b));
        token.len() == shown.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let token = Token::new("s3cret".into());
        assert!(token.is(b"s3cret"));
        for wrong in ["", "s3cre", "s3crets", "S3cret", "s3creT"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
