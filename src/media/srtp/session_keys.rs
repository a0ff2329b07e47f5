//! Session keys: derived from a master key (RFC 3711 §4.3), they encrypt and authenticate packets in place.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};

use super::{MasterKey, Suite};
use crate::media::packet::RtpHeader;

/// RFC 3711 §4.3.1, §4.3.2: what a session key is for.
#[derive(Clone, Copy)]
struct Labels {
    encryption: u8,
    authentication: u8,
    salt: u8,
}

const RTP: Labels = Labels { encryption: 0, authentication: 1, salt: 2 };
const RTCP: Labels = Labels { encryption: 3, authentication: 4, salt: 5 };

/// RFC 3711 §3.4: what of SRTCP is never encrypted.
const RTCP_HEADER: usize = 8;
/// RFC 3711 §3.4: the index with the E flag in front.
const RTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// RFC 7714 §12: GCM's tag.
const GCM_TAG: usize = 16;

/// Keys for RTP and RTCP.
pub(super) struct SessionKeys {
    rtp: Cipher,
    rtcp: Cipher,
}

enum Cipher {
    CounterMode(Box<CounterMode>),
    /// AES-GCM (RFC 7714).
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
}

/// AES in counter mode, HMAC-SHA1 cut to `tag` bytes (RFC 3711 §4.1.1, §4.2.1).
struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    authentication: hmac::Key,
    tag: usize,
}

impl SessionKeys {
    pub fn derive(master: &MasterKey) -> SessionKeys {
        SessionKeys { rtp: Cipher::derive(master, RTP), rtcp: Cipher::derive(master, RTCP) }
    }

    /// Seals the RTP packet `buffer[..len]`; the tag goes behind it. Returns the new length.
    pub fn seal_rtp(&self, header: &RtpHeader, index: u64, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (packet, room) = buffer.split_at_mut_checked(len)?;
        let (head, body) = packet.split_at_mut_checked(header.len)?;
        let tag_len = match &self.rtp {
            Cipher::CounterMode(cipher) => {
                cipher.apply(header.ssrc, index, body)?;
                cipher.authenticate(packet, rollover(index), room)?;
                cipher.tag
            }
            Cipher::Gcm { key, salt } => {
                let nonce = nonce(salt, header.ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body).ok()?;
                room.get_mut(..GCM_TAG)?.copy_from_slice(tag.as_ref());
                GCM_TAG
            }
        };
        Some(len + tag_len)
    }

    /// Opens an SRTP packet. Returns its length without the tag; `None` if it is not authentic, and then the content
    /// may be destroyed.
    pub fn open_rtp(&self, header: &RtpHeader, index: u64, packet: &mut [u8]) -> Option<usize> {
        match &self.rtp {
            Cipher::CounterMode(cipher) => {
                let len = packet.len().checked_sub(cipher.tag)?;
                let (packet, tag) = packet.split_at_mut_checked(len)?;
                cipher.verify(packet, rollover(index), tag)?;
                cipher.apply(header.ssrc, index, packet.get_mut(header.len..)?)?;
                Some(len)
            }
            Cipher::Gcm { key, salt } => {
                let (head, body) = packet.split_at_mut_checked(header.len)?;
                let nonce = nonce(salt, header.ssrc, index);
                let plain = key.open_in_place(nonce, Aad::from(&*head), body).ok()?;
                Some(header.len + plain.len())
            }
        }
    }

    /// Seals the RTCP packet `buffer[..len]`: index and tag go behind it, with GCM the tag first (RFC 7714 §9.2).
    pub fn seal_rtcp(&self, ssrc: u32, index: u32, buffer: &mut [u8], len: usize) -> Option<usize> {
        let word = (ENCRYPTED | index).to_be_bytes();
        let (packet, room) = buffer.split_at_mut_checked(len)?;
        let (head, body) = packet.split_first_chunk_mut::<RTCP_HEADER>()?;
        match &self.rtcp {
            Cipher::CounterMode(cipher) => {
                cipher.apply(ssrc, index.into(), body)?;
                let (place, room) = room.split_first_chunk_mut::<RTCP_INDEX>()?;
                *place = word;
                cipher.authenticate(packet, word, room)?;
                Some(len + RTCP_INDEX + cipher.tag)
            }
            Cipher::Gcm { key, salt } => {
                let nonce = nonce(salt, ssrc, index.into());
                let tag = key.seal_in_place_separate_tag(nonce, rtcp_aad(head, word), body).ok()?;
                let (place, room) = room.split_first_chunk_mut::<GCM_TAG>()?;
                place.copy_from_slice(tag.as_ref());
                *room.first_chunk_mut()? = word;
                Some(len + GCM_TAG + RTCP_INDEX)
            }
        }
    }

    /// The index of an SRTCP packet and whether it is encrypted, before anything has been verified.
    pub fn rtcp_index(&self, packet: &[u8]) -> Option<(u32, bool)> {
        let behind = match &self.rtcp {
            Cipher::CounterMode(cipher) => cipher.tag,
            Cipher::Gcm { .. } => 0,
        };
        let word = packet.get(..packet.len().checked_sub(behind)?)?.last_chunk::<RTCP_INDEX>()?;
        let word = u32::from_be_bytes(*word);
        Some((word & !ENCRYPTED, word & ENCRYPTED != 0))
    }

    /// Opens an encrypted SRTCP packet with that index, otherwise like [`SessionKeys::open_rtp`].
    pub fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Option<usize> {
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.rtcp {
            Cipher::CounterMode(cipher) => {
                let len = packet.len().checked_sub(RTCP_INDEX + cipher.tag)?;
                let (packet, behind) = packet.split_at_mut_checked(len)?;
                cipher.verify(packet, word, behind.get(RTCP_INDEX..)?)?;
                cipher.apply(ssrc, index.into(), packet.get_mut(RTCP_HEADER..)?)?;
                Some(len)
            }
            Cipher::Gcm { key, salt } => {
                let len = packet.len().checked_sub(RTCP_INDEX)?;
                let (head, body) = packet.get_mut(..len)?.split_first_chunk_mut::<RTCP_HEADER>()?;
                let nonce = nonce(salt, ssrc, index.into());
                let plain = key.open_in_place(nonce, rtcp_aad(head, word), body).ok()?;
                Some(RTCP_HEADER + plain.len())
            }
        }
    }
}

impl Cipher {
    /// RFC 3711 §4.3.1, RFC 7714 §11 (which leaves out the authentication key).
    #[allow(clippy::expect_used, reason = "aws-lc refuses a wrong length only, and these are the suite's")]
    fn derive(master: &MasterKey, labels: Labels) -> Cipher {
        let mut key = [0; 32];
        let key = key.get_mut(..master.key().len()).expect("none is longer");
        pseudo_random(master, labels.encryption, key);
        let tag = match (master.suite(), labels.encryption) {
            (Suite::AeadAes128Gcm, _) => return Cipher::gcm(&aead::AES_128_GCM, key, master, labels.salt),
            (Suite::AeadAes256Gcm, _) => return Cipher::gcm(&aead::AES_256_GCM, key, master, labels.salt),
            // RFC 4568 §6.2.2: the short tag is for RTP alone.
            (Suite::AesCm128HmacSha1_32, 0) => 4,
            (Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32, _) => 10,
        };
        let (mut salt, mut authentication) = ([0; 14], [0; 20]);
        pseudo_random(master, labels.salt, &mut salt);
        pseudo_random(master, labels.authentication, &mut authentication);
        let key = UnboundCipherKey::new(&cipher::AES_128, key).and_then(EncryptingKey::ctr);
        Cipher::CounterMode(Box::new(CounterMode {
            key: key.expect("128 bits"),
            salt,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
            tag,
        }))
    }

    #[allow(clippy::expect_used, reason = "aws-lc refuses a wrong length only, and these are the suite's")]
    fn gcm(algorithm: &'static aead::Algorithm, key: &[u8], master: &MasterKey, label: u8) -> Cipher {
        let mut salt = [0; 12];
        pseudo_random(master, label, &mut salt);
        Cipher::Gcm { key: LessSafeKey::new(UnboundKey::new(algorithm, key).expect("its length")), salt }
    }
}

impl CounterMode {
    /// Encrypts, or decrypts.
    fn apply(&self, ssrc: u32, index: u64, body: &mut [u8]) -> Option<()> {
        apply_key_stream(&self.key, &vector(&self.salt, ssrc, index), body)
    }

    /// Writes the tag of the packet with what is `behind` it (RFC 3711 §4.2) to the start of `place`.
    fn authenticate(&self, packet: &[u8], behind: [u8; 4], place: &mut [u8]) -> Option<()> {
        let tag = self.full_tag(packet, behind);
        place.get_mut(..self.tag)?.copy_from_slice(tag.as_ref().get(..self.tag)?);
        Some(())
    }

    fn verify(&self, packet: &[u8], behind: [u8; 4], tag: &[u8]) -> Option<()> {
        let right = self.full_tag(packet, behind);
        constant_time::verify_slices_are_equal(right.as_ref().get(..self.tag)?, tag).ok()
    }

    fn full_tag(&self, packet: &[u8], behind: [u8; 4]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(packet);
        context.update(&behind);
        context.sign()
    }
}

/// RFC 3711 §4.3.3: the key stream of AES-CM under the master key, from the point that the label says; RFC 6188 §3
/// and RFC 7714 §11 with a key of 256 bits. Keys are derived once (a key derivation rate of zero).
#[allow(clippy::expect_used, reason = "aws-lc refuses a wrong length only, and these are the suite's")]
fn pseudo_random(master: &MasterKey, label: u8, out: &mut [u8]) {
    let algorithm = if master.key().len() == 32 { &cipher::AES_256 } else { &cipher::AES_128 };
    let key = UnboundCipherKey::new(algorithm, master.key()).and_then(EncryptingKey::ctr);
    // A salt of 96 bits is followed by zeros (RFC 7714 §11).
    let mut start = [0; 14];
    for (byte, salt) in start.iter_mut().zip(master.salt()) {
        *byte = *salt;
    }
    start[7] ^= label;
    out.fill(0);
    apply_key_stream(&key.expect("the suite's length"), &start, out).expect("a whole initialization vector");
}

/// AES-CM (RFC 3711 §4.1.1): the block counter follows the vector.
fn apply_key_stream(key: &EncryptingKey, vector: &[u8; 14], data: &mut [u8]) -> Option<()> {
    let mut start = [0; 16];
    for (byte, vector) in start.iter_mut().zip(vector) {
        *byte = *vector;
    }
    key.less_safe_encrypt(data, EncryptionContext::Iv128(start.into())).ok().map(drop)
}

/// The salt with SSRC and 48 bits of index at its end (RFC 3711 §4.1.1, RFC 7714 §8.1, §9.1).
fn vector<const N: usize>(salt: &[u8; N], ssrc: u32, index: u64) -> [u8; N] {
    let number = u128::from(ssrc) << 48 | u128::from(index);
    let mut vector = *salt;
    for (byte, number) in vector.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= number;
    }
    vector
}

fn nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    Nonce::assume_unique_for_key(vector(salt, ssrc, index))
}

/// RFC 7714 §9.2: the header with the index behind it is authenticated.
fn rtcp_aad(head: &[u8; RTCP_HEADER], word: [u8; RTCP_INDEX]) -> Aad<[u8; RTCP_HEADER + RTCP_INDEX]> {
    let (head, word) = (u64::from_be_bytes(*head), u32::from_be_bytes(word));
    let [_, _, _, _, aad @ ..] = (u128::from(head) << 32 | u128::from(word)).to_be_bytes();
    Aad::from(aad)
}

/// RFC 3711 §4.2: the rollover counter is authenticated, but not sent.
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests;
