//! Credentials of a request, and whether they are right (RFC 3261 §22.4, RFC 7616 §3.4).

use aws_lc_rs::constant_time;

use super::params::Params;
use super::{Algorithm, Covered, Qop, Secret};

/// The value of an Authorization or Proxy-Authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'m> {
    /// Who speaks, as written.
    pub user: &'m [u8],
    /// Of the challenge that is answered.
    pub realm: &'m [u8],
    /// Of the challenge.
    pub nonce: &'m [u8],
    /// The Request-URI as the client had it.
    pub uri: &'m [u8],
    /// Of the challenge; MD5 if it is not said.
    pub algorithm: Algorithm,
    /// How often the client has used the nonce; `None` in the old way of RFC 2069, which cannot tell a replay.
    pub count: Option<u32>,
    response: &'m [u8],
    sess: bool,
    counted: Option<(&'m [u8], &'m [u8], Qop)>,
}

impl<'m> Credentials<'m> {
    /// Reads them; `None` if something is missing, there twice, or not understood.
    pub fn parse(value: &'m [u8]) -> Option<Credentials<'m>> {
        let mut said: [Option<&'m [u8]>; 9] = [None; 9];
        let names: [&[u8]; 9] =
            [b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"qop", b"nc", b"cnonce"];
        for (name, value) in Params::of(value)? {
            let place = names.iter().position(|known| known.eq_ignore_ascii_case(name));
            if let Some(place) = place.and_then(|at| said.get_mut(at))
                && place.replace(value).is_some()
            {
                return None;
            }
        }
        let [user, realm, nonce, uri, response, algorithm, qop, count, cnonce] = said;
        let (algorithm, sess) = algorithm.map_or(Some((Algorithm::Md5, false)), Algorithm::parse)?;
        let counted = match (qop, count, cnonce) {
            (None, _, _) => None,
            (Some(qop), Some(count), Some(cnonce)) => Some((count, cnonce, Qop::parse(qop)?)),
            _ => return None,
        };
        let number = |(count, ..): (&[u8], &[u8], Qop)| {
            let text = std::str::from_utf8(count).ok().filter(|text| text.len() == 8)?;
            u32::from_str_radix(text, 16).ok()
        };
        let count = match counted {
            Some(counted) => Some(number(counted)?),
            None => None,
        };
        Some(Credentials {
            user: user?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?,
            algorithm,
            sess,
            counted,
            count,
        })
    }

    /// True if whoever wrote them knows the secret. Takes as long for a wrong answer as for a right one.
    pub fn verify(&self, secret: &Secret, method: &[u8], body: &[u8]) -> bool {
        let Some(ha1) = secret.ha1(self.algorithm, self.user, self.realm) else { return false };
        let covered = Covered {
            algorithm: self.algorithm,
            sess: self.sess,
            nonce: self.nonce,
            counted: self.counted,
            method,
            uri: self.uri,
            body,
        };
        let Some(right) = covered.response(&ha1) else { return false };
        let told = self.response.to_ascii_lowercase();
        constant_time::verify_slices_are_equal(&right, &told).is_ok()
    }
}
