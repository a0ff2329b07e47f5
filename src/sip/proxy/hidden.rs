//! What the far side must not see of a message, sealed into a token that stands in its place: a Contact URI, the routes of a
//! dialog. The token holds all of it, so it opens after a restart too, and nobody without the node's key reads it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE;

use crate::base::NodeKey;

/// What is hidden. One kind is no good where another is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The URI of a Contact, in the user part of ours.
    Contact,
    /// Route values behind ours, in a parameter of our Record-Route.
    Routes,
}

impl Hidden {
    /// First letter, so that a reader of a trace sees what it is.
    fn letter(self) -> u8 {
        match self {
            Hidden::Contact => b'h',
            Hidden::Routes => b'r',
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Hidden::Contact => "hidden contact",
            Hidden::Routes => "hidden routes",
        }
    }
}

/// The URI parameter of our Record-Route that holds [`Hidden::Routes`].
pub const ROUTES: &[u8] = b"rs";

const SALT_BYTES: usize = 4;

/// Seals `text`: letters, digits, `-` and `_`, in which case matters. Within a call (`call_id`) the same text is the same
/// token, so that a message that is sent again is the same message; in another call it is another one.
pub fn seal(key: &NodeKey, hidden: Hidden, call_id: &[u8], text: &[u8]) -> Vec<u8> {
    let salt = (key.mac("hidden salt", &[call_id]) as u32).to_be_bytes();
    let sealed = key.seal(hidden.purpose(), b"", &[&salt[..], text].concat());
    [&[hidden.letter()], URL_SAFE.encode(sealed).as_bytes()].concat()
}

/// What the token hides; `None` if this node's key did not seal it, as this kind.
pub fn open(key: &NodeKey, hidden: Hidden, token: &[u8]) -> Option<Vec<u8>> {
    let (letter, rest) = token.split_first()?;
    if *letter != hidden.letter() || rest.len() <= SALT_BYTES + 16 {
        return None;
    }
    let mut text = key.open(hidden.purpose(), b"", &URL_SAFE.decode(rest).ok()?)?;
    text.drain(..SALT_BYTES.min(text.len()));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_the_same_within_a_call_and_another_one_in_the_next() {
        let key = NodeKey::new([1; 16]);
        let uri = b"sip:asterisk@10.20.0.20:5060";
        let token = seal(&key, Hidden::Contact, b"call-1", uri);
        assert_eq!(token, seal(&key, Hidden::Contact, b"call-1", uri));
        assert_ne!(token, seal(&key, Hidden::Contact, b"call-2", uri));
        assert_eq!(open(&key, Hidden::Contact, &token).as_deref(), Some(&uri[..]));
        assert_eq!(open(&key, Hidden::Routes, &token), None);
        assert_eq!(open(&NodeKey::new([2; 16]), Hidden::Contact, &token), None);
        assert_eq!(token.len(), 65, "compact");
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens_and_is_not_seen(text: Vec<u8>, call_id: Vec<u8>) {
            let key = NodeKey::new([1; 16]);
            let token = seal(&key, Hidden::Routes, &call_id, &text);
            prop_assert!(token.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')));
            prop_assert_eq!(open(&key, Hidden::Routes, &token), Some(text));
        }

        #[test]
        fn nothing_else_opens(text in "h[a-zA-Z0-9_-]{0,120}") {
            prop_assert_eq!(open(&NodeKey::new([1; 16]), Hidden::Contact, text.as_bytes()), None);
        }
    }
}
