//! Keys, HMACs and the fingerprint (RFC 8489 §9, §14.5 to §14.7).
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use md5::{Digest, Md5};
use smallvec::SmallVec;

use super::types::HEADER;

/// Which HMAC an integrity attribute carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// MESSAGE-INTEGRITY, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256, 32 bytes.
    Sha256,
}

impl Hash {
    pub(super) fn algorithm(self) -> hmac::Algorithm {
        match self {
            // RFC 8489 §14.5 asks for it by name.
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        }
    }
}

/// The key of an integrity attribute. Never printed.
#[derive(Clone)]
pub struct Key(SmallVec<[u8; 32]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// RFC 8489 §9.1.1: a short-term key is the password.
    pub fn short_term(password: &str) -> Key {
        Key(SmallVec::from_slice(password.as_bytes()))
    }

    /// RFC 8489 §18.5.1.1: MD5(username ":" realm ":" password), which is also the HA1 of SIP's digest.
    pub fn md5(username: &str, realm: &str, password: &str) -> Key {
        let mut md5 = Md5::new();
        for part in [username, ":", realm, ":", password] {
            md5.update(part.as_bytes());
        }
        Key(SmallVec::from_slice(&md5.finalize()))
    }

    /// RFC 8489 §18.5.1.2: SHA-256(username ":" realm ":" password).
    pub fn sha256(username: &str, realm: &str, password: &str) -> Key {
        Key(SmallVec::from_slice(&sha256_of(&[username, ":", realm, ":", password])))
    }

    /// Its bytes, for whoever writes them where only those can read who may know it.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// A key that was derived elsewhere: 16 bytes of HA1, or 32 of SHA-256.
    pub fn from_bytes(key: &[u8]) -> Key {
        Key(SmallVec::from_slice(key))
    }
}

/// RFC 8489 §14.4: what stands for a user who does not want to be named.
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    sha256_of(&[username, ":", realm])
}

fn sha256_of(parts: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part.as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The HMAC over what stands before the attribute, `covered`, with the length of the header made to end with the attribute
/// (RFC 8489 §14.5).
pub(super) fn hmac(key: &Key, hash: Hash, covered: &[u8]) -> hmac::Tag {
    let algorithm = hash.algorithm();
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, &key.0));
    let (head, tail) = with_length(covered, 4 + algorithm.tag_len());
    context.update(&head);
    context.update(tail);
    context.sign()
}

pub(super) fn verify(key: &Key, hash: Hash, covered: &[u8], tag: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(hmac(key, hash, covered).as_ref(), tag).is_ok()
}

/// RFC 8489 §14.7: CRC-32 of all that stands before, made different from other protocols' CRCs.
pub(super) fn fingerprint(covered: &[u8]) -> u32 {
    let (head, tail) = with_length(covered, 8);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    crc.update(tail);
    crc.finalize() ^ 0x5354_554e
}

/// Type and length as they would be if the message ended `more` bytes after `covered`; and what follows them.
fn with_length(covered: &[u8], more: usize) -> ([u8; 4], &[u8]) {
    let Some(([t0, t1, _, _], tail)) = covered.split_first_chunk::<4>() else { return ([0; 4], &[]) };
    // Both callers hold a message, whose length fits 16 bits.
    let [.., l0, l1] = (covered.len() + more).saturating_sub(HEADER).to_be_bytes();
    ([*t0, *t1, l0, l1], tail)
}
