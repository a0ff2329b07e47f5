//! Master keys: what SDES carries and DTLS agrees on, what session keys are derived from.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Suite;

/// The longest master key with its salt.
const LONGEST: usize = 32 + 12;

/// A master key and its salt, for one direction of a leg. Never printed; written into what is sealed and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct MasterKey {
    suite: Suite,
    /// Key, then salt; zeros behind.
    bytes: [u8; LONGEST],
}

impl MasterKey {
    /// From the key with the salt behind it, as `a=crypto` has them (RFC 4568 §6.1); `None` if the length is not the
    /// suite's.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        let mut bytes = [0; LONGEST];
        let place = bytes.get_mut(..suite.key_len() + suite.salt_len())?;
        if place.len() != key_and_salt.len() {
            return None;
        }
        place.copy_from_slice(key_and_salt);
        Some(MasterKey { suite, bytes })
    }

    /// A fresh one.
    pub fn generate(suite: Suite, rng: &mut (impl Rng + ?Sized)) -> MasterKey {
        let mut key = MasterKey { suite, bytes: [0; LONGEST] };
        if let Some(bytes) = key.bytes.get_mut(..suite.key_len() + suite.salt_len()) {
            rng.fill_bytes(bytes);
        }
        key
    }

    /// What it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The secret itself: for SDP, never for printing.
    pub fn key_and_salt(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len() + self.suite.salt_len()).unwrap_or_default()
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key_and_salt().get(..self.suite.key_len()).unwrap_or_default()
    }

    pub(super) fn salt(&self) -> &[u8] {
        self.key_and_salt().get(self.suite.key_len()..).unwrap_or_default()
    }
}

/// As it outlasts a restart.
#[derive(Serialize, Deserialize)]
struct Saved {
    suite: Suite,
    key_and_salt: Vec<u8>,
}

impl From<MasterKey> for Saved {
    fn from(key: MasterKey) -> Saved {
        Saved { suite: key.suite, key_and_salt: key.key_and_salt().to_vec() }
    }
}

impl TryFrom<Saved> for MasterKey {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<MasterKey, &'static str> {
        MasterKey::new(saved.suite, &saved.key_and_salt).ok_or("a master key of a wrong length")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, ***)", self.suite.name())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn has_the_length_of_its_suite_and_no_other() {
        for suite in Suite::ALL {
            let len = suite.key_len() + suite.salt_len();
            let bytes: Vec<u8> = (0..64).collect();
            let key = MasterKey::new(suite, &bytes[..len]).unwrap();
            assert_eq!((key.key(), key.salt()), bytes[..len].split_at(suite.key_len()));
            for wrong in [0, len - 1, len + 1, 64] {
                assert_eq!(MasterKey::new(suite, &bytes[..wrong]), None, "{wrong} bytes");
            }
        }
    }

    #[test]
    fn is_never_printed() {
        let key = MasterKey::new(Suite::AeadAes128Gcm, &[0x41; 28]).unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey(AEAD_AES_128_GCM, ***)");
    }

    #[test]
    fn a_fresh_one_is_random_to_the_last_byte() {
        let mut rng = StdRng::seed_from_u64(1);
        for suite in Suite::ALL {
            let keys: Vec<_> = (0..64).map(|_| MasterKey::generate(suite, &mut rng)).collect();
            let last = suite.key_len() + suite.salt_len() - 1;
            assert!((0..=last).all(|at| keys.iter().any(|key| key.bytes[at] != keys[0].bytes[at])));
        }
    }
}
