//! `a=ice-ufrag` and `a=ice-pwd` (RFC 8839 §5.4).
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// What one end of ICE goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Name fragment, 4 to 256 ice-chars.
    pub ufrag: Box<str>,
    /// Under which checks to this end are sealed.
    pub pwd: Password,
}

/// An ICE password, 22 to 256 ice-chars. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password(Box<str>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// As it goes into SDP and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// RFC 8839 §5.4: ALPHA / DIGIT / "+" / "/".
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// RFC 8445 §5.3: at least 24 bits of randomness in the ufrag and 128 in the password; six in each character.
const UFRAG: usize = 8;
const PWD: usize = 24;

impl Credentials {
    /// As they stand in SDP; `None` if that breaks the grammar.
    pub fn read(ufrag: &[u8], pwd: &[u8]) -> Option<Credentials> {
        let word = |bytes: &[u8], least: usize| {
            let fits =
                (least..=256).contains(&bytes.len()) && bytes.iter().all(|byte| ICE_CHARS.contains(byte));
            fits.then(|| str::from_utf8(bytes).ok()).flatten().map(Box::from)
        };
        Some(Credentials { ufrag: word(ufrag, 4)?, pwd: Password(word(pwd, 22)?) })
    }

    /// New ones, for an agent of ours.
    pub fn generate(rng: &mut dyn rand::Rng) -> Credentials {
        let mut word = |length| -> Box<str> {
            (0..length)
                .map(|_| char::from(*ICE_CHARS.get(rng.random_range(0..64)).unwrap_or(&b'0')))
                .collect()
        };
        Credentials { ufrag: word(UFRAG), pwd: Password(word(PWD)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn what_is_generated_can_be_read_and_is_not_the_same_twice() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let (one, two) = (Credentials::generate(&mut rng), Credentials::generate(&mut rng));
        assert_ne!(one, two);
        assert_eq!(Credentials::read(one.ufrag.as_bytes(), one.pwd.reveal().as_bytes()), Some(one));
    }

    #[test]
    fn the_grammar_is_kept_and_the_password_is_not_printed() {
        let long = [b'a'; 257];
        assert!(Credentials::read(b"abcd", &long[..22]).is_some());
        assert!(Credentials::read(&long[..256], &long[..256]).is_some());
        for (ufrag, pwd) in
            [(&b"abc"[..], &long[..22]), (b"abcd", &long[..21]), (&long, &long[..22]), (b"ab:d", &long[..22])]
        {
            assert_eq!(Credentials::read(ufrag, pwd), None);
        }
        let shown = format!("{:?}", Credentials::read(b"abcd", b"thisissecretthisissecret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
