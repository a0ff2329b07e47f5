//! What the far side must not see of a message, sealed into a token that stands in its place: a Contact URI, the routes of a
//! dialog, a Call-ID. The token holds all of it, so it opens after a restart too, and nobody without the node's key reads it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE;

use super::token::{BASE32_U64, encode};
use crate::base::NodeKey;

/// What is hidden. One kind is no good where another is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The URI of a Contact, in the user part of ours.
    Contact,
    /// Route values behind ours, in a parameter of our Record-Route.
    Routes,
    /// A Call-ID.
    CallId,
}

impl Hidden {
    /// First letter, so that a reader of a trace sees what it is.
    fn letter(self) -> u8 {
        match self {
            Hidden::Contact => b'h',
            Hidden::Routes => b'r',
            Hidden::CallId => b'i',
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Hidden::Contact => "hidden contact",
            Hidden::Routes => "hidden routes",
            Hidden::CallId => "hidden call-id",
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

/// A Call-ID that a zone has made, as all other zones know it: told from theirs without a table, and still found by who
/// searches a log for it.
pub fn mark(key: &NodeKey, zone: &str, call_id: &[u8]) -> Vec<u8> {
    [call_id, b"-", &mark_of(key, zone, call_id)].concat()
}

/// What that zone calls it; `None` if the Call-ID is not one of that zone's.
pub fn unmark<'c>(key: &NodeKey, zone: &str, marked: &'c [u8]) -> Option<&'c [u8]> {
    let (call_id, mark) = marked.split_at_checked(marked.len().checked_sub(1 + BASE32_U64)?)?;
    let mark = mark.strip_prefix(b"-")?;
    (mark == mark_of(key, zone, call_id)).then_some(call_id)
}

fn mark_of(key: &NodeKey, zone: &str, call_id: &[u8]) -> [u8; BASE32_U64] {
    encode(key.mac("call-id of a zone", &[zone.as_bytes(), call_id]) as u64)
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
        fn a_marked_call_id_is_its_zones_alone(call_id: Vec<u8>) {
            let key = NodeKey::new([1; 16]);
            let marked = mark(&key, "internet", &call_id);
            prop_assert!(marked.starts_with(&call_id));
            prop_assert_eq!(unmark(&key, "internet", &marked), Some(&call_id[..]));
            prop_assert_eq!(unmark(&key, "carriers", &marked), None);
            prop_assert_eq!(unmark(&key, "internet", &call_id), None);
            prop_assert_eq!(unmark(&NodeKey::new([2; 16]), "internet", &marked), None);
        }

        #[test]
        fn nothing_else_opens(text in "h[a-zA-Z0-9_-]{0,120}") {
            prop_assert_eq!(open(&NodeKey::new([1; 16]), Hidden::Contact, text.as_bytes()), None);
        }
    }
}
