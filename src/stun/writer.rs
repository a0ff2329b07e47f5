//! Messages written into the caller's buffer.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use super::attribute::{self, Family, Icmp, PasswordAlgorithm};
use super::integrity::{self, Hash, Key};
use super::message::{Message, join_type};
use super::types::{Class, ErrorCode, HEADER, MAGIC_COOKIE, Method, TransactionId, Type};

/// Appends one message to a buffer, which holds a whole message after every step. Allocates only if the buffer has to grow.
///
/// A message that would grow beyond 65,535 bytes of attributes is taken back: the buffer is then as it was at
/// [`begin`](Writer::begin), and nothing is sent.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    transaction_id: TransactionId,
    taken_back: bool,
}

impl<'b> Writer<'b> {
    /// Writes the header.
    pub fn begin(
        out: &'b mut Vec<u8>,
        class: Class,
        method: Method,
        transaction_id: TransactionId,
    ) -> Writer<'b> {
        let start = out.len();
        out.extend_from_slice(&join_type(class, method).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&transaction_id.0);
        Writer { out, start, transaction_id, taken_back: false }
    }

    /// Begins the answer to `request`.
    pub fn success(out: &'b mut Vec<u8>, request: &Message<'_>) -> Writer<'b> {
        Writer::begin(out, Class::Success, request.method(), request.transaction_id())
    }

    /// Begins the refusal of `request`. The reason phrase may be empty: before a client has shown who it is, every byte is
    /// amplification.
    pub fn error(out: &'b mut Vec<u8>, request: &Message<'_>, code: ErrorCode, reason: &str) -> Writer<'b> {
        let mut writer = Writer::begin(out, Class::Error, request.method(), request.transaction_id());
        writer.put_error(code, reason);
        writer
    }

    /// Appends an attribute, padded with zeros to a multiple of four (RFC 8489 §14).
    pub fn put(&mut self, kind: Type, value: &[u8]) -> &mut Self {
        self.put_parts(kind, &[value])
    }

    /// Appends an attribute whose value lies in several places.
    fn put_parts(&mut self, kind: Type, parts: &[&[u8]]) -> &mut Self {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        let padded = length.next_multiple_of(4);
        let attributes = (self.out.len() - self.start).saturating_sub(HEADER);
        let (Ok(total), Ok(length), false) =
            (u16::try_from(attributes + 4 + padded), u16::try_from(length), self.taken_back)
        else {
            self.taken_back = true;
            self.out.truncate(self.start);
            return self;
        };
        self.out.extend_from_slice(&kind.0.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice([0; 3].get(..padded - usize::from(length)).unwrap_or_default());
        if let Some(field) = self.out.get_mut(self.start + 2..self.start + 4) {
            field.copy_from_slice(&total.to_be_bytes());
        }
        self
    }

    /// LIFETIME (seconds), CONNECTION-ID.
    pub fn put_u32(&mut self, kind: Type, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS (RFC 8489 §14.2).
    pub fn put_xor_address(&mut self, kind: Type, address: SocketAddr) -> &mut Self {
        let (bytes, length) = attribute::address_value(address, Some(&self.transaction_id));
        self.put(kind, bytes.get(..length).unwrap_or_default())
    }

    /// ALTERNATE-SERVER, MAPPED-ADDRESS (RFC 8489 §14.1).
    pub fn put_address(&mut self, kind: Type, address: SocketAddr) -> &mut Self {
        let (bytes, length) = attribute::address_value(address, None);
        self.put(kind, bytes.get(..length).unwrap_or_default())
    }

    /// ERROR-CODE (RFC 8489 §14.8).
    pub fn put_error(&mut self, code: ErrorCode, reason: &str) -> &mut Self {
        self.put_parts(Type::ERROR_CODE, &[&[0, 0], &attribute::class_and_number(code), reason.as_bytes()])
    }

    /// ADDRESS-ERROR-CODE (RFC 8656 §18.12).
    pub fn put_address_error(&mut self, family: Family, code: ErrorCode) -> &mut Self {
        let head = [family.number(), 0];
        let parts: &[&[u8]] = &[&head, &attribute::class_and_number(code), code.reason().as_bytes()];
        self.put_parts(Type::ADDRESS_ERROR_CODE, parts)
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 §14.13). A message holds at most 64 attributes, so no more are listed.
    pub fn put_unknown(&mut self, types: impl IntoIterator<Item = Type>) -> &mut Self {
        let list: smallvec::SmallVec<[u8; 128]> =
            types.into_iter().take(64).flat_map(|t| t.0.to_be_bytes()).collect();
        self.put(Type::UNKNOWN_ATTRIBUTES, &list)
    }

    /// PASSWORD-ALGORITHMS (RFC 8489 §14.11): each without parameters.
    pub fn put_password_algorithms(&mut self, algorithms: &[PasswordAlgorithm]) -> &mut Self {
        let list: smallvec::SmallVec<[u8; 16]> = algorithms.iter().flat_map(|a| a.entry()).collect();
        self.put(Type::PASSWORD_ALGORITHMS, &list)
    }

    /// PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub fn put_password_algorithm(&mut self, algorithm: PasswordAlgorithm) -> &mut Self {
        self.put(Type::PASSWORD_ALGORITHM, &algorithm.entry())
    }

    /// CHANNEL-NUMBER (RFC 8656 §18.1).
    pub fn put_channel_number(&mut self, number: u16) -> &mut Self {
        let [high, low] = number.to_be_bytes();
        self.put(Type::CHANNEL_NUMBER, &[high, low, 0, 0])
    }

    /// REQUESTED-ADDRESS-FAMILY, ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11).
    pub fn put_family(&mut self, kind: Type, family: Family) -> &mut Self {
        self.put(kind, &[family.number(), 0, 0, 0])
    }

    /// REQUESTED-TRANSPORT (RFC 8656 §18.8): an IP protocol number, 17 for UDP.
    pub fn put_requested_transport(&mut self, protocol: u8) -> &mut Self {
        self.put(Type::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0])
    }

    /// EVEN-PORT (RFC 8656 §18.7); `reserve_next` asks for the odd port above it too.
    pub fn put_even_port(&mut self, reserve_next: bool) -> &mut Self {
        self.put(Type::EVEN_PORT, &[u8::from(reserve_next) << 7])
    }

    /// ICMP (RFC 8656 §18.13).
    pub fn put_icmp(&mut self, icmp: Icmp) -> &mut Self {
        let value = icmp.value();
        self.put(Type::ICMP, &value)
    }

    /// MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over all so far: nothing but FINGERPRINT may follow, or, after the one
    /// of SHA-1, that of SHA-256.
    pub fn add_integrity(&mut self, key: &Key, hash: Hash) -> &mut Self {
        let kind = match hash {
            Hash::Sha1 => Type::MESSAGE_INTEGRITY,
            Hash::Sha256 => Type::MESSAGE_INTEGRITY_SHA256,
        };
        let tag = integrity::hmac(key, hash, self.written());
        self.put(kind, tag.as_ref())
    }

    /// FINGERPRINT over all so far: the last attribute.
    pub fn add_fingerprint(&mut self) -> &mut Self {
        let crc = integrity::fingerprint(self.written());
        self.put_u32(Type::FINGERPRINT, crc)
    }

    /// The message as far as it is written; empty if it was taken back.
    pub fn written(&self) -> &[u8] {
        self.out.get(self.start..).unwrap_or_default()
    }
}
