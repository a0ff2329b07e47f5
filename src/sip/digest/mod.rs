//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), both ends of it: a challenge is answered with a password, and an answer is
//! checked against one. Knows nothing of messages but the values of their header fields.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod challenge;
mod credentials;
mod nonce;
mod params;

use std::fmt;

use aws_lc_rs::digest;
use md5::{Digest as _, Md5};
use smallvec::SmallVec;

pub use challenge::{Asked, Challenge};
pub use credentials::Credentials;
pub use nonce::{Nonces, Presented, Replays};

/// RFC 8760 §2.2. SHA-512/256 is spelt with two hyphens.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

/// Lower-case hexadecimal digits of a hash.
type Hex = SmallVec<[u8; 64]>;

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];

    /// As `algorithm` says it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm, and whether it is its `-sess` variant (RFC 7616 §3.4.2).
    fn parse(value: &[u8]) -> Option<(Algorithm, bool)> {
        let value = value.to_ascii_lowercase();
        let (name, sess) = match value.strip_suffix(b"-sess") {
            Some(name) => (name, true),
            None => (&*value, false),
        };
        let known =
            Algorithm::ALL.into_iter().find(|known| known.name().as_bytes().eq_ignore_ascii_case(name))?;
        Some((known, sess))
    }

    /// The hash of `parts` with a colon between them.
    fn hash(self, parts: &[&[u8]]) -> Hex {
        let joined =
            || parts.iter().enumerate().flat_map(|(at, part)| [if at == 0 { &b""[..] } else { b":" }, part]);
        let sha2 = |algorithm| {
            let mut context = digest::Context::new(algorithm);
            joined().for_each(|part| context.update(part));
            hex(context.finish().as_ref())
        };
        match self {
            Algorithm::Md5 => {
                let mut md5 = Md5::new();
                joined().for_each(|part| md5.update(part));
                hex(&md5.finalize())
            }
            Algorithm::Sha256 => sha2(&digest::SHA256),
            Algorithm::Sha512_256 => sha2(&digest::SHA512_256),
        }
    }
}

/// RFC 7616 §3.3: how much of the message an answer covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body too.
    AuthInt,
}

impl Qop {
    fn parse(value: &[u8]) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.name().as_bytes().eq_ignore_ascii_case(value))
    }

    fn name(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }
}

/// What is known of a password. Never printed.
#[derive(Clone)]
pub enum Secret {
    /// All of it.
    Password(Box<str>),
    /// H(user ":" realm ":" password), for one realm.
    Hashed {
        /// HA1 with MD5.
        md5: [u8; 16],
        /// With SHA-256, if that is known too.
        sha256: Option<[u8; 32]>,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// What is enough to check a password in one realm, and no more: so the password itself need not be kept.
    pub fn of_password(user: &str, realm: &str, password: &str) -> Secret {
        let [user, realm, password] = [user, realm, password].map(str::as_bytes);
        let joined = [user, realm, password].join(&b':');
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, &joined).as_ref());
        Secret::Hashed { md5: Md5::digest(&joined).into(), sha256: Some(sha256) }
    }

    /// An answer in this algorithm can be checked.
    pub fn knows(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm) {
            (Secret::Password(_), _) | (Secret::Hashed { .. }, Algorithm::Md5) => true,
            (Secret::Hashed { sha256, .. }, Algorithm::Sha256) => sha256.is_some(),
            (Secret::Hashed { .. }, Algorithm::Sha512_256) => false,
        }
    }

    /// RFC 7616 §3.4.2; `None` if this algorithm's hash is not known.
    fn ha1(&self, algorithm: Algorithm, user: &[u8], realm: &[u8]) -> Option<Hex> {
        match (self, algorithm) {
            (Secret::Password(password), _) => Some(algorithm.hash(&[user, realm, password.as_bytes()])),
            (Secret::Hashed { md5, .. }, Algorithm::Md5) => Some(hex(md5)),
            (Secret::Hashed { sha256, .. }, Algorithm::Sha256) => sha256.as_ref().map(|hash| hex(hash)),
            (Secret::Hashed { .. }, Algorithm::Sha512_256) => None,
        }
    }
}

/// What goes into an answer beside the secret.
#[derive(Clone, Copy, Debug)]
struct Covered<'m> {
    algorithm: Algorithm,
    sess: bool,
    nonce: &'m [u8],
    /// `nc` as written, `cnonce` and `qop`; none of them in the old way of RFC 2069.
    counted: Option<(&'m [u8], &'m [u8], Qop)>,
    method: &'m [u8],
    uri: &'m [u8],
    body: &'m [u8],
}

impl Covered<'_> {
    /// RFC 7616 §3.4.1 to §3.4.3.
    fn response(&self, ha1: &[u8]) -> Option<Hex> {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let ha1 = match self.counted {
            Some((_, cnonce, _)) if self.sess => hash(&[ha1, self.nonce, cnonce]),
            None if self.sess => return None,
            _ => Hex::from_slice(ha1),
        };
        let ha2 = match self.counted {
            Some((_, _, Qop::AuthInt)) => hash(&[self.method, self.uri, &hash(&[self.body])]),
            _ => hash(&[self.method, self.uri]),
        };
        Some(match self.counted {
            Some((count, cnonce, qop)) => {
                hash(&[&ha1, self.nonce, count, cnonce, qop.name().as_bytes(), &ha2])
            }
            None => hash(&[&ha1, self.nonce, &ha2]),
        })
    }
}

fn hex(bytes: &[u8]) -> Hex {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;
