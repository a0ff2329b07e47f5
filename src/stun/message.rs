//! A message read where it lies.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::attribute::Attribute;
use super::integrity::{self, Hash, Key};
use super::types::{Class, HEADER, MAGIC_COOKIE, Malformed, Method, TransactionId, Type};

/// More than any message needs; without it a 64 kB message of empty attributes would cost a walk over 16,000 of them for
/// each that is asked for.
const MOST_ATTRIBUTES: usize = 64;

/// A well-formed STUN message over the bytes that arrived.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    class: Class,
    method: Method,
    transaction_id: TransactionId,
    /// The attributes that count: those before the first integrity attribute and FINGERPRINT.
    attributes: &'a [u8],
    sha1: Option<Seal<'a>>,
    sha256: Option<Seal<'a>>,
    fingerprint: Option<Seal<'a>>,
}

/// An attribute whose value depends on all that stands before it.
#[derive(Clone, Copy)]
struct Seal<'a> {
    /// Where the attribute begins.
    at: usize,
    value: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram, or one message as [`super::demux::stream_frame`] cut it out of a stream. Does not check integrity or
    /// fingerprint.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let (header, all) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed::NotStun)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        // RFC 8489 §6.3: first two bits zero, cookie, sensible length.
        if t0 & 0xc0 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(Malformed::NotStun);
        }
        if usize::from(u16::from_be_bytes([l0, l1])) != all.len() || all.len() % 4 != 0 {
            return Err(Malformed::Length);
        }
        let (class, method) = split_type(u16::from_be_bytes([t0, t1]));
        let mut message = Message {
            bytes,
            class,
            method,
            transaction_id: TransactionId(id),
            attributes: all,
            sha1: None,
            sha256: None,
            fingerprint: None,
        };
        message.find_seals(all)?;
        Ok(message)
    }

    /// Walks all attributes once: that they fit, and where those stand that seal the others.
    fn find_seals(&mut self, all: &'a [u8]) -> Result<(), Malformed> {
        let mut rest = all;
        for _ in 0..=MOST_ATTRIBUTES {
            if rest.is_empty() {
                return Ok(());
            }
            if self.fingerprint.is_some() {
                return Err(Malformed::AfterFingerprint);
            }
            let before = all.len() - rest.len();
            let (attribute, after) = Attribute::split(rest).ok_or(Malformed::Overrun)?;
            let seal = Some(Seal { at: HEADER + before, value: attribute.value });
            let sealed = self.sha1.is_some() || self.sha256.is_some();
            // RFC 8489 §14.5, §14.6: after MESSAGE-INTEGRITY only the one of SHA-256 counts, after that nothing,
            // FINGERPRINT always excepted.
            match attribute.kind {
                Type::MESSAGE_INTEGRITY if !sealed => self.sha1 = seal,
                Type::MESSAGE_INTEGRITY_SHA256 if self.sha256.is_none() => self.sha256 = seal,
                Type::FINGERPRINT => self.fingerprint = seal,
                _ => {
                    rest = after;
                    continue;
                }
            }
            if !sealed {
                self.attributes = all.get(..before).unwrap_or_default();
            }
            rest = after;
        }
        Err(Malformed::TooManyAttributes)
    }

    /// Request, indication or answer.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What is asked for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// To be copied into the answer.
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// As it arrived.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes in front of MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, in their order; those three
    /// are not among them and what follows them does not count (RFC 8489 §14.5, §14.6).
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.attributes)
    }

    /// The first of its type: RFC 8489 §14 lets the receiver ignore duplicates.
    pub fn attribute(&self, kind: Type) -> Option<Attribute<'a>> {
        self.attributes().find(|a| a.kind == kind)
    }

    /// True if it is there, whatever its value.
    pub fn has(&self, kind: Type) -> bool {
        self.attribute(kind).is_some()
    }

    /// Types that must be understood (RFC 8489 §14) and are not among `known`, each once: what a 420 lists.
    pub fn unknown_required<'k>(&self, known: &'k [Type]) -> impl Iterator<Item = Type> + use<'a, 'k> {
        let all = self.attributes();
        all.clone().enumerate().filter_map(move |(i, Attribute { kind, .. })| {
            let unknown = kind.is_comprehension_required() && !known.contains(&kind);
            (unknown && !all.clone().take(i).any(|earlier| earlier.kind == kind)).then_some(kind)
        })
    }

    /// Which integrity attribute decides: that of SHA-256 if there are both (RFC 8489 §9.2.4). The answer carries the same.
    pub fn integrity(&self) -> Option<Hash> {
        match (self.sha1, self.sha256) {
            (_, Some(_)) => Some(Hash::Sha256),
            (Some(_), None) => Some(Hash::Sha1),
            (None, None) => None,
        }
    }

    /// True if the integrity attribute that decides was made with `key`, compared in constant time. RFC 8489 §14.6: a
    /// truncated HMAC-SHA-256 is wrong, for neither Binding nor TURN allows it.
    pub fn check_integrity(&self, key: &Key) -> bool {
        let (seal, hash) = match (self.sha1, self.sha256) {
            (_, Some(seal)) => (seal, Hash::Sha256),
            (Some(seal), None) => (seal, Hash::Sha1),
            (None, None) => return false,
        };
        let Some(covered) = self.bytes.get(..seal.at) else { return false };
        integrity::verify(key, hash, covered, seal.value)
    }

    /// True if it carries FINGERPRINT: then so does the answer (RFC 8489 §7, Binding §6.3.1).
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// False if a FINGERPRINT is there and wrong: drop the message (RFC 8489 §6.3).
    pub fn check_fingerprint(&self) -> bool {
        let Some(seal) = self.fingerprint else { return true };
        let covered = self.bytes.get(..seal.at).unwrap_or_default();
        seal.value == integrity::fingerprint(covered).to_be_bytes()
    }
}

impl std::fmt::Debug for Message<'_> {
    /// Without values: they hold what clients say in confidence.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {:02x?} ", self.class, self.method, self.transaction_id.0)?;
        f.debug_list().entries(self.attributes().map(|a| a.kind)).finish()
    }
}

/// Walks attributes that [`Message::parse`] has found to fit.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (attribute, rest) = Attribute::split(self.0)?;
        self.0 = rest;
        Some(attribute)
    }
}

/// RFC 8489 §5, figure 3: the two bits of the class lie among those of the method.
fn split_type(raw: u16) -> (Class, Method) {
    let class = match (raw & 0x0100 != 0, raw & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    };
    (class, Method((raw & 0x000f) | ((raw & 0x00e0) >> 1) | ((raw & 0x3e00) >> 2)))
}

/// The inverse of [`split_type`].
pub(super) fn join_type(class: Class, Method(method): Method) -> u16 {
    let class = match class {
        Class::Request => 0,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    class | (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2)
}

#[cfg(test)]
mod tests;
