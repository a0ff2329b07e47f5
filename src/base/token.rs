//! Tokens that we mint and recognise again: branches, tags, flow tokens. Each carries a MAC under the node's key,
//! so a stranger's guess is told from ours without a table look-up (ATTACKS.md: response with a guessed branch).

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The node's secret: 128 bits, made on first start and kept in `data_dir`. Never printed.
#[derive(Clone)]
pub struct NodeKey([u8; 16]);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

impl NodeKey {
    /// Wraps 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        NodeKey(bytes)
    }

    /// MAC (SipHash-2-4, 128 bits) over `parts`, each with its length, under a `purpose`, so that a token minted for
    /// one purpose is no good for another.
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_usize(purpose.len());
        hasher.write(purpose.as_bytes());
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
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
}
