//! What SDP says about DTLS: the certificate's fingerprint (RFC 8122) and who begins (RFC 4145, RFC 5763).

use std::fmt;
use std::str;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A hash function that a fingerprint may be made with. SHA-1 and older ones are not accepted: everybody has SHA-256
/// (RFC 8122 §5).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

    fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    fn len(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }
}

/// The hash of a certificate in DER: `a=fingerprint:<hash> <bytes in hex with colons>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    hash: Hash,
    digest: SmallVec<[u8; 32]>,
}

impl Fingerprint {
    /// `None` if the digest does not have the hash's length.
    pub fn new(hash: Hash, digest: &[u8]) -> Option<Fingerprint> {
        (digest.len() == hash.len()).then(|| Fingerprint { hash, digest: SmallVec::from_slice(digest) })
    }

    /// Reads the value of an `a=fingerprint` line (RFC 8122 §5); `None` for a hash that is not accepted, too.
    pub fn parse(value: &[u8]) -> Option<Fingerprint> {
        let (hash, digest) = str::from_utf8(value).ok()?.trim_ascii().split_once(' ')?;
        let hash = Hash::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(hash))?;
        let digest: Option<SmallVec<[u8; 32]>> = digest.trim_ascii().split(':').map(byte).collect();
        Fingerprint::new(hash, &digest?)
    }

    /// What it was made with.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The hash's value.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

fn byte(hex: &str) -> Option<u8> {
    let is_hex = hex.len() == 2 && hex.bytes().all(|c| c.is_ascii_hexdigit());
    u8::from_str_radix(hex, 16).ok().filter(|_| is_hex)
}

/// As the line's value has it.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (at, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

/// `a=setup` (RFC 4145 §4): who begins.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    Active,
    Passive,
    /// Either, the answerer decides: what an offer should say (RFC 5763 §5).
    ActPass,
    /// Nobody for now.
    HoldConn,
}

/// One end of a DTLS association: the active one is the client (RFC 5763 §5).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

impl Setup {
    /// Reads the value of an `a=setup` line.
    pub fn parse(value: &[u8]) -> Option<Setup> {
        let all = [Setup::Active, Setup::Passive, Setup::ActPass, Setup::HoldConn];
        all.into_iter().find(|setup| setup.name().as_bytes().eq_ignore_ascii_case(value.trim_ascii()))
    }

    /// As the line's value has it.
    pub fn name(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
            Setup::HoldConn => "holdconn",
        }
    }

    /// What to answer to it (RFC 4145 §4.1). Whoever may choose begins (RFC 5763 §5): it saves a round trip, and no
    /// stranger's ClientHello can come first.
    pub fn answer(self) -> Setup {
        match self {
            Setup::ActPass | Setup::Passive => Setup::Active,
            Setup::Active => Setup::Passive,
            Setup::HoldConn => Setup::HoldConn,
        }
    }

    /// Our role when we said this and the peer said `theirs`; `None` if nobody begins, or both do.
    pub fn role(self, theirs: Setup) -> Option<Role> {
        match (self, theirs) {
            (Setup::Active, Setup::Passive | Setup::ActPass) | (Setup::ActPass, Setup::Passive) => {
                Some(Role::Client)
            }
            (Setup::Passive, Setup::Active | Setup::ActPass) | (Setup::ActPass, Setup::Active) => {
                Some(Role::Server)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fingerprints_of_sha_2_in_either_case() {
        let hex = |len| vec!["aB"; len].join(":");
        for (name, len) in [("sha-256", 32), ("SHA-384", 48), ("sha-512", 64)] {
            let fingerprint = Fingerprint::parse(format!("{name} {}", hex(len)).as_bytes()).unwrap();
            assert_eq!(fingerprint.digest(), vec![0xab; len]);
            let written = format!("{} {}", name.to_lowercase(), hex(len).to_uppercase());
            assert_eq!(fingerprint.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_fingerprint_to_rely_on() {
        let hex = |byte: &str, len| vec![byte; len].join(":");
        for value in [
            format!("sha-1 {}", hex("AB", 20)),
            format!("md5 {}", hex("AB", 16)),
            format!("sha-256 {}", hex("AB", 31)),
            format!("sha-256 {}", hex("AB", 33)),
            format!("sha-256 {}", hex("+B", 32)),
            format!("sha-256 {}", hex("A", 32)),
            format!("sha-256{}", hex("AB", 32)),
            "sha-256 ".to_owned(),
            String::new(),
        ] {
            assert_eq!(Fingerprint::parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(Fingerprint::parse(b"sha-256 \xff"), None);
    }

    #[test]
    fn setup_is_read_and_answered() {
        use Setup::{ActPass, Active, HoldConn, Passive};
        for (text, setup, answer) in [
            ("actpass", ActPass, Active),
            ("active", Active, Passive),
            ("passive", Passive, Active),
            ("holdconn", HoldConn, HoldConn),
        ] {
            assert_eq!(Setup::parse(text.to_uppercase().as_bytes()), Some(setup));
            assert_eq!((setup.name(), setup.answer()), (text, answer));
        }
        assert_eq!(Setup::parse(b"both"), None);
    }

    #[test]
    fn the_active_one_is_the_client() {
        use Setup::{ActPass, Active, HoldConn, Passive};
        for (offer, answer, offerer) in [
            (ActPass, Active, Some(Role::Server)),
            (ActPass, Passive, Some(Role::Client)),
            (Active, Passive, Some(Role::Client)),
            (Passive, Active, Some(Role::Server)),
            (Active, Active, None),
            (Passive, Passive, None),
            (ActPass, ActPass, None),
            (HoldConn, HoldConn, None),
            (ActPass, HoldConn, None),
        ] {
            assert_eq!(offer.role(answer), offerer);
            let other = offerer.map(|role| if role == Role::Client { Role::Server } else { Role::Client });
            assert_eq!(answer.role(offer), other, "the two ends agree");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(digest in proptest::collection::vec(any::<u8>(), 32)) {
            let fingerprint = Fingerprint::new(Hash::Sha256, &digest).unwrap();
            prop_assert_eq!(Fingerprint::parse(fingerprint.to_string().as_bytes()), Some(fingerprint));
        }

        #[test]
        fn no_bytes_are_too_odd(value in any::<Vec<u8>>()) {
            let (_, _) = (Fingerprint::parse(&value), Setup::parse(&value));
        }
    }
}
