//! Tokens that we mint and recognise again: branches, tags, flow tokens. Each carries a MAC under the node's key,
//! so a stranger's guess is told from ours without a table look-up (ATTACKS.md: response with a guessed branch).

use std::fmt;
use std::hash::Hasher;

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use siphasher::sip128::{Hasher128, SipHasher24};

/// The node's secret: 128 bits, made on first start and kept in `data_dir`. Never printed.
#[derive(Clone)]
pub struct NodeKey {
    mac: [u8; 16],
    /// Derived from the same bits; `None` never happens with a key of the right length.
    cipher: Option<Arc<LessSafeKey>>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

impl NodeKey {
    /// Wraps 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        // One block of an HMAC keyed with the secret is a key of its own (NIST SP 800-108, counter mode with one round).
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"turnpike sealing");
        let key = UnboundKey::new(&AES_256_GCM_SIV, derived.as_ref()).ok();
        NodeKey { mac: bytes, cipher: key.map(|key| Arc::new(LessSafeKey::new(key))) }
    }

    /// MAC (SipHash-2-4, 128 bits) over `parts`, each with its length, under a `purpose`, so that a token minted for
    /// one purpose is no good for another.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.mac);
        hasher.write_usize(purpose.len());
        hasher.write(purpose.as_bytes());
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Encrypts `plain` and binds it to `purpose` and `bound`; 16 bytes longer. The same text seals to the same bytes: AES-GCM-SIV
    /// (RFC 8452) stays safe under one nonce for all, and shows no more than that two texts are equal. Who minds that puts something
    /// that differs in front.
    pub fn seal(&self, purpose: &str, bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(plain.len() + SEAL_BYTES);
        text.extend_from_slice(plain);
        let sealed = self.cipher.as_ref().is_some_and(|key| {
            key.seal_in_place_append_tag(nonce(), associated(purpose, bound), &mut text).is_ok()
        });
        // What could not be encrypted is not shown.
        if sealed { text } else { Vec::new() }
    }

    /// What [`Self::seal`] sealed for the same purpose and bound to the same; `None` for anything else.
    pub fn open(&self, purpose: &str, bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut text = sealed.to_vec();
        let plain =
            self.cipher.as_ref()?.open_in_place(nonce(), associated(purpose, bound), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}

/// By how much sealed bytes are longer.
pub const SEAL_BYTES: usize = 16;

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn associated(purpose: &str, bound: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[purpose.len() as u8], purpose.as_bytes(), bound].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_depends_on_key_purpose_and_the_cut_between_parts() {
        let key = NodeKey::new([7; 16]);
        let mac = key.mac("branch", &[b"ab", b"c"]);
        assert_eq!(mac, key.mac("branch", &[b"ab", b"c"]));
        assert_ne!(mac, key.mac("branch", &[b"a", b"bc"]));
        assert_ne!(mac, key.mac("flow", &[b"ab", b"c"]));
        assert_ne!(mac, NodeKey::new([8; 16]).mac("branch", &[b"ab", b"c"]));
        assert_eq!(format!("{key:?}"), "NodeKey(…)");
    }

    #[test]
    fn what_is_sealed_opens_whole_with_its_key_for_its_purpose_and_where_it_is_bound() {
        let key = NodeKey::new([7; 16]);
        let sealed = key.seal("contact", b"call", b"sip:100@10.20.0.20");
        assert_eq!(sealed.len(), 18 + SEAL_BYTES);
        assert!(!sealed.windows(3).any(|window| window == b"10."));
        assert_eq!(key.open("contact", b"call", &sealed).as_deref(), Some(&b"sip:100@10.20.0.20"[..]));
        assert_eq!(
            NodeKey::new([7; 16]).seal("contact", b"call", b"sip:100@10.20.0.20"),
            sealed,
            "after a restart too"
        );
        assert_eq!(key.open("routes", b"call", &sealed), None);
        assert_eq!(key.open("contact", b"", &sealed), None);
        assert_eq!(NodeKey::new([8; 16]).open("contact", b"call", &sealed), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(key.open("contact", b"call", &forged), None, "byte {at}");
        }
        assert_eq!(key.open("contact", b"call", b"short"), None);
    }
}
