//! A challenge, and the answer to it (RFC 3261 §22.2, RFC 7616 §3.3).

use super::params::Params;
use super::{Algorithm, Covered, Qop, Secret};

/// Longest realm, nonce or opaque that is answered: what is said here is said again in each request.
const LONGEST: usize = 512;

/// The value of a WWW-Authenticate or Proxy-Authenticate that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'m> {
    /// Whose password is asked for.
    pub realm: &'m [u8],
    /// Comes back in the answer.
    pub nonce: &'m [u8],
    opaque: Option<&'m [u8]>,
    algorithm: Algorithm,
    /// It was named; an answer names it only then (RFC 8760 §2.3 for MD5).
    names_algorithm: bool,
    sess: bool,
    qop: Option<Qop>,
    /// The password was right, the nonce too old.
    pub stale: bool,
}

/// The request that is asked for a password.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'m> {
    /// Its method.
    pub method: &'m [u8],
    /// Its Request-URI.
    pub uri: &'m [u8],
    /// Its body.
    pub body: &'m [u8],
    /// How often this nonce was answered, this answer included.
    pub count: u32,
    /// Ours, random.
    pub cnonce: u64,
}

impl<'m> Challenge<'m> {
    /// Reads one; `None` for what cannot be answered: another scheme, an unknown algorithm, no nonce. Of several a client answers the first
    /// that it can (RFC 8760 §2.4).
    pub fn parse(value: &'m [u8]) -> Option<Challenge<'m>> {
        let (mut realm, mut nonce, mut opaque, mut algorithm, mut qop) = (None, None, None, None, None);
        let mut stale = false;
        for (name, value) in Params::of(value)? {
            let place = match name.to_ascii_lowercase().as_slice() {
                b"realm" => &mut realm,
                b"nonce" => &mut nonce,
                b"opaque" => &mut opaque,
                b"algorithm" => &mut algorithm,
                b"qop" => &mut qop,
                b"stale" => {
                    stale = value.eq_ignore_ascii_case(b"true");
                    continue;
                }
                _ => continue,
            };
            if value.len() > LONGEST || place.replace(value).is_some() {
                return None;
            }
        }
        let names_algorithm = algorithm.is_some();
        // RFC 7616 §3.3: MD5 if it is not named.
        let (algorithm, sess) = algorithm.map_or(Some((Algorithm::Md5, false)), Algorithm::parse)?;
        let qop = match qop {
            None => None,
            Some(list) => {
                let mut offered =
                    list.split(|byte| *byte == b',').filter_map(|word| Qop::parse(word.trim_ascii()));
                let first = offered.next()?;
                Some(if offered.any(|other| other == Qop::Auth) { Qop::Auth } else { first })
            }
        };
        let (realm, nonce) = (realm?, nonce.filter(|nonce| !nonce.is_empty())?);
        (!sess || qop.is_some()).then_some(Challenge {
            realm,
            nonce,
            opaque,
            algorithm,
            names_algorithm,
            sess,
            qop,
            stale,
        })
    }

    /// The value of the Authorization or Proxy-Authorization that answers; `None` if `secret` is not known in this algorithm.
    pub fn answer(&self, user: &str, secret: &Secret, asked: &Asked<'_>) -> Option<Vec<u8>> {
        let ha1 = secret.ha1(self.algorithm, user.as_bytes(), self.realm)?;
        let count = format!("{:08x}", asked.count);
        let cnonce = format!("{:016x}", asked.cnonce);
        let response = Covered {
            algorithm: self.algorithm,
            sess: self.sess,
            nonce: self.nonce,
            counted: self.qop.map(|qop| (count.as_bytes(), cnonce.as_bytes(), qop)),
            method: asked.method,
            uri: asked.uri,
            body: asked.body,
        }
        .response(&ha1)?;
        let mut out = b"Digest ".to_vec();
        let mut quoted = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\", ");
        };
        quoted("username", user.as_bytes());
        quoted("realm", self.realm);
        quoted("nonce", self.nonce);
        quoted("uri", asked.uri);
        if let Some(opaque) = self.opaque {
            quoted("opaque", opaque);
        }
        quoted("response", &response);
        out.truncate(out.len().saturating_sub(2));
        if self.names_algorithm {
            out.extend_from_slice(b", algorithm=");
            out.extend_from_slice(self.algorithm.name().as_bytes());
            out.extend_from_slice(if self.sess { b"-sess" } else { b"" });
        }
        if let Some(qop) = self.qop {
            out.extend_from_slice(
                format!(", qop={}, nc={count}, cnonce=\"{cnonce}\"", qop.name()).as_bytes(),
            );
        }
        Some(out)
    }
}
