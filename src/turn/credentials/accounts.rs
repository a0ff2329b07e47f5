//! Users and shared secrets, and the keys that follow from them.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::{SmallVec, smallvec};

use super::nonce::Features;
use crate::base::UnixTime;
use crate::stun::{Key, PasswordAlgorithm, userhash};

/// Index of a role in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleId(pub u16);

/// What the config says about who may.
#[derive(Clone, Debug)]
pub struct Settings {
    /// RFC 8489 §14.9. Short, for it travels in every 401: with eight bytes or fewer the answer to the smallest Allocate stays
    /// within twice its size.
    pub realm: String,
    /// Long-term users.
    pub users: Vec<User>,
    /// Under which short-lived credentials are recognised: the present one and the one before or after it.
    pub secrets: SmallVec<[SharedSecret; 2]>,
    /// What the holder of short-lived credentials may whose name is not among `users`.
    pub short_lived_role: RoleId,
}

/// A long-term user.
#[derive(Clone, Debug)]
pub struct User {
    /// As in USERNAME.
    pub name: String,
    /// Made of the password.
    pub keys: Keys,
    /// What they may.
    pub role: RoleId,
}

/// What is kept of a password: enough to check it in this realm, and no more. Never printed.
#[derive(Clone, Debug)]
pub struct Keys {
    md5: Key,
    /// Missing if only the HA1 is known.
    sha256: Option<Key>,
}

impl Keys {
    /// Of a user whose password is known.
    pub fn of_password(name: &str, realm: &str, password: &str) -> Keys {
        Keys { md5: Key::md5(name, realm, password), sha256: Some(Key::sha256(name, realm, password)) }
    }

    /// Of a user whose HA1 is known, which serves SIP's digest too: MD5(name ":" realm ":" password).
    pub fn of_ha1(ha1: [u8; 16]) -> Keys {
        Keys { md5: Key::from_bytes(&ha1), sha256: None }
    }

    /// The same user's SHA-256(name ":" realm ":" password) is known too.
    pub fn and_sha256(self, sha256: [u8; 32]) -> Keys {
        Keys { sha256: Some(Key::from_bytes(&sha256)), ..self }
    }

    fn of(&self, algorithm: PasswordAlgorithm) -> Option<Key> {
        match algorithm {
            PasswordAlgorithm::Md5 => Some(self.md5.clone()),
            PasswordAlgorithm::Sha256 => self.sha256.clone(),
        }
    }
}

/// A secret shared with whoever hands out short-lived credentials: the TURN REST convention. Never printed.
#[derive(Clone)]
pub struct SharedSecret(hmac::Key);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// Short-lived credentials. The password is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Ephemeral {
    /// `expiry:user`, the expiry in seconds since 1970.
    pub username: String,
    /// base64(HMAC-SHA1(secret, username)).
    pub password: String,
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ephemeral({})", self.username)
    }
}

impl SharedSecret {
    /// Takes it as it stands in the config and in coturn's `static-auth-secret`.
    pub fn new(secret: &[u8]) -> SharedSecret {
        SharedSecret(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// Credentials for `user` that end `lifetime` from `now`.
    pub fn issue(&self, user: &str, lifetime: Duration, now: UnixTime) -> Ephemeral {
        let username = format!("{}:{user}", now.0.saturating_add(lifetime).as_secs());
        let password = self.password_of(&username);
        Ephemeral { username, password }
    }

    fn password_of(&self, username: &str) -> String {
        STANDARD.encode(hmac::sign(&self.0, username.as_bytes()))
    }
}

/// Who a request claims to be.
pub enum Name<'a> {
    /// USERNAME.
    Plain(&'a str),
    /// USERHASH.
    Hashed([u8; 32]),
}

/// What must be tried to check a claim. There is always a key to try, also for a user who does not exist.
pub struct Candidates {
    pub keys: SmallVec<[Key; 2]>,
    pub who: Option<(Arc<str>, RoleId)>,
    pub expires: Option<UnixTime>,
}

/// Everyone who may; shared by all workers.
#[derive(Debug)]
pub struct Accounts {
    realm: String,
    users: HashMap<Arc<str>, (Keys, RoleId)>,
    by_hash: HashMap<[u8; 32], Arc<str>>,
    secrets: SmallVec<[SharedSecret; 2]>,
    short_lived_role: RoleId,
    /// Nobody's: its HMACs match nothing that anyone can compute.
    nobody: Key,
    sha256: bool,
}

impl Accounts {
    /// `nobody` are 32 random bytes, which stand in for the key of a user who does not exist.
    pub fn new(settings: Settings, nobody: [u8; 32]) -> Accounts {
        let Settings { realm, users, secrets, short_lived_role } = settings;
        // An HA1 is no good for SHA-256, and the offer is the same for all.
        let sha256 = users.iter().all(|user| user.keys.sha256.is_some());
        let named = |user: User| (Arc::from(user.name), (user.keys, user.role));
        let users: HashMap<Arc<str>, _> = users.into_iter().map(named).collect();
        let by_hash = users.keys().map(|name| (userhash(name, &realm), name.clone())).collect();
        let nobody = Key::from_bytes(&nobody);
        Accounts { realm, users, by_hash, secrets, short_lived_role, nobody, sha256 }
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// What we offer, the best first; empty if there is no choice.
    pub(super) fn password_algorithms(&self) -> &'static [PasswordAlgorithm] {
        if self.sha256 { &[PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5] } else { &[] }
    }

    pub(super) fn features(&self) -> Features {
        // The name of short-lived credentials cannot be found by its hash, so with them clients must say it.
        Features { password_algorithms: self.sha256, username_anonymity: self.secrets.is_empty() }
    }

    pub(super) fn candidates(&self, name: &Name<'_>, algorithm: PasswordAlgorithm) -> Candidates {
        let name = match name {
            Name::Plain(name) => name,
            Name::Hashed(hash) => self.by_hash.get(hash).map_or("", |name| name),
        };
        if let Some((user, (keys, role))) = self.users.get_key_value(name) {
            // Without SHA-256 for everyone it is not offered, so this user has the key.
            let key = keys.of(algorithm).unwrap_or_else(|| self.nobody.clone());
            return Candidates { keys: smallvec![key], who: Some((user.clone(), *role)), expires: None };
        }
        self.short_lived(name, algorithm).unwrap_or_else(|| Candidates {
            keys: smallvec![self.nobody.clone()],
            who: None,
            expires: None,
        })
    }

    fn short_lived(&self, username: &str, algorithm: PasswordAlgorithm) -> Option<Candidates> {
        let (expiry, user) = username.split_once(':').filter(|(_, user)| !user.is_empty())?;
        let digits = expiry.bytes().all(|byte| byte.is_ascii_digit());
        let expires = UnixTime(Duration::from_secs(expiry.parse().ok().filter(|_| digits)?));
        if self.secrets.is_empty() {
            return None;
        }
        let key_under = |secret: &SharedSecret| {
            let password = secret.password_of(username);
            match algorithm {
                PasswordAlgorithm::Md5 => Key::md5(username, &self.realm, &password),
                PasswordAlgorithm::Sha256 => Key::sha256(username, &self.realm, &password),
            }
        };
        let who = match self.users.get_key_value(user) {
            Some((name, (_, role))) => (name.clone(), *role),
            None => (Arc::from(user), self.short_lived_role),
        };
        let keys = self.secrets.iter().map(key_under).collect();
        Some(Candidates { keys, who: Some(who), expires: Some(expires) })
    }
}
