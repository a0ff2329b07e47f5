//! The parameters of a challenge or of credentials (RFC 7616 §3.3, §3.4).

use crate::sip::message::{quoted_len, split, token_len, trim_start};

/// `name=value` pairs behind the scheme's name. Of a quoted value what stands between the quotes is given as it stands there: so it goes
/// into the hashes, and so it is said again (RFC 7616 §3.4, "unq").
pub(super) struct Params<'m>(&'m [u8]);

impl<'m> Params<'m> {
    /// Those of a header field's value; `None` for another scheme than Digest.
    pub fn of(value: &'m [u8]) -> Option<Params<'m>> {
        let value = trim_start(value);
        let (scheme, rest) = split(value, token_len(value));
        (scheme.eq_ignore_ascii_case(b"Digest")
            && rest.first().is_some_and(|byte| byte.is_ascii_whitespace()))
        .then_some(Params(rest))
    }
}

impl<'m> Iterator for Params<'m> {
    type Item = (&'m [u8], &'m [u8]);

    /// Ends at the first thing that is no parameter.
    fn next(&mut self) -> Option<(&'m [u8], &'m [u8])> {
        let mut rest = trim_start(self.0);
        while let [b',', after @ ..] = rest {
            rest = trim_start(after);
        }
        let (name, rest) = split(rest, token_len(rest));
        let rest = trim_start(trim_start(rest).strip_prefix(b"=").filter(|_| !name.is_empty())?);
        let (value, rest) = if rest.first() == Some(&b'"') {
            let (quoted, rest) = split(rest, quoted_len(rest)?);
            (quoted.get(1..quoted.len().checked_sub(1)?)?, rest)
        } else {
            split(rest, token_len(rest))
        };
        let rest = trim_start(rest);
        if !matches!(rest.first(), None | Some(b',')) {
            return None;
        }
        self.0 = rest;
        Some((name, value))
    }
}
