//! Sealed tokens for URIs that come back to us: of a registered contact in Path and Contact (RFC 5626 §5.2 calls them
//! flow tokens), of a call in Record-Route. A token names one number; its MAC tells ours from a stranger's guess before any table is asked.

use crate::base::NodeKey;

/// What a token stands for. One kind is no good where another is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A call, in the routes of its dialogs.
    Call,
    /// A registered contact.
    Contact,
}

impl TokenKind {
    /// First letter, so that a reader of a trace sees what it is.
    fn letter(self) -> u8 {
        match self {
            TokenKind::Call => b'd',
            TokenKind::Contact => b'c',
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            TokenKind::Call => "token call",
            TokenKind::Contact => "token contact",
        }
    }
}

/// A sealed number: 27 lower-case letters and digits, fit for a URI's user part, a parameter's value or a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u8; Token::LEN]);

impl Token {
    /// Characters of every token.
    pub const LEN: usize = 1 + 2 * BASE32_U64;

    /// Seals `number` under the node's key.
    pub fn seal(key: &NodeKey, kind: TokenKind, number: u64) -> Token {
        let mut text = [kind.letter(); Token::LEN];
        let (_, rest) = text.split_at_mut(1);
        let (value, mac) = rest.split_at_mut(BASE32_U64);
        value.copy_from_slice(&encode(number));
        mac.copy_from_slice(&encode(seal(key, kind, number)));
        Token(text)
    }

    /// The number, if `text` is a token of that kind that this node's key has sealed.
    pub fn open(key: &NodeKey, kind: TokenKind, text: &[u8]) -> Option<u64> {
        let (&letter, rest) = text.split_first()?;
        let (value, mac) = rest.split_at_checked(BASE32_U64)?;
        let number = decode(value)?;
        // Both are compared as whole words: how long it takes says nothing about how much was right.
        (letter == kind.letter() && decode(mac)? == seal(key, kind, number)).then_some(number)
    }

    /// As it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn seal(key: &NodeKey, kind: TokenKind, number: u64) -> u64 {
    key.mac(kind.purpose(), &[&number.to_be_bytes()]) as u64
}

/// Characters that 64 bits take.
pub(super) const BASE32_U64: usize = 13;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Base 32, most significant digit first.
pub(super) fn encode(mut number: u64) -> [u8; BASE32_U64] {
    let mut text = [b'a'; BASE32_U64];
    for place in text.iter_mut().rev() {
        *place = ALPHABET.get((number & 31) as usize).copied().unwrap_or(b'a');
        number >>= 5;
    }
    text
}

/// `None` for any other length, character, or number above 64 bits: there is one spelling only.
pub(super) fn decode(text: &[u8]) -> Option<u64> {
    if text.len() != BASE32_U64 {
        return None;
    }
    text.iter().try_fold(0u64, |number, &letter| {
        let digit = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        Some(number.checked_mul(32)? | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_opens_only_whole_with_its_key_and_as_its_kind() {
        let key = NodeKey::new([1; 16]);
        let token = Token::seal(&key, TokenKind::Contact, u64::MAX);
        assert_eq!(Token::open(&key, TokenKind::Contact, token.as_bytes()), Some(u64::MAX));
        assert_eq!(Token::open(&key, TokenKind::Call, token.as_bytes()), None);
        assert_eq!(Token::open(&NodeKey::new([2; 16]), TokenKind::Contact, token.as_bytes()), None);
        assert_eq!(Token::open(&key, TokenKind::Contact, &token.as_bytes()[..26]), None);
        assert_eq!(Token::open(&key, TokenKind::Contact, b""), None);
        for i in 0..Token::LEN {
            let mut forged = token.as_bytes().to_vec();
            forged[i] = if forged[i] == b'b' { b'c' } else { b'b' };
            assert_eq!(Token::open(&key, TokenKind::Contact, &forged), None, "letter {i}");
        }
        assert!(token.as_str().bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    }

    proptest! {
        #[test]
        fn base32_has_one_spelling_for_every_number(number: u64) {
            prop_assert_eq!(decode(&encode(number)), Some(number));
        }

        #[test]
        fn whatever_decodes_encodes_to_itself(text in "[a-z2-7]{13}") {
            if let Some(number) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(number).to_vec(), text.into_bytes());
            }
        }
    }
}
