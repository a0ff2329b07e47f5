//! Bytes from the wire in a file of ours: as text, one character a byte, so that what is text there can be read here.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are kept; most of them are ASCII. A byte stands as the character of its number (ISO 8859-1), so none is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Octets(pub Box<[u8]>);

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Octets {
        Octets(bytes.into())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0).ok().filter(|text| text.is_ascii()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(&self.0.iter().map(|byte| char::from(*byte)).collect::<String>()),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = Octets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text of characters below U+0100")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Octets, E> {
                let bytes: Result<Box<[u8]>, _> = text.chars().map(u8::try_from).collect();
                bytes.map(Octets).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ascii_stands_as_it_is() {
        let text = serde_json::to_string(&Octets::from(&b"<sip:a@b>;tag=1"[..])).unwrap();
        assert_eq!(text, "\"<sip:a@b>;tag=1\"");
        assert!(serde_json::from_str::<Octets>("\"\u{100}\"").is_err());
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(bytes: Vec<u8>) {
            let octets = Octets::from(&bytes[..]);
            let text = serde_json::to_string(&octets).unwrap();
            prop_assert_eq!(serde_json::from_str::<Octets>(&text).unwrap(), octets);
        }
    }
}
