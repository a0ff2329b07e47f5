//! Who may ask this TURN server for anything: long-term credentials (RFC 8489 §9.2, which RFC 8656 §5 demands), of users
//! that the config names and of short-lived ones in the TURN REST convention.
//!
//! Stateless but for three small tables: nonces carry their own proof. What an unauthenticated sender can make us do is a
//! MAC and a short answer.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod nonce;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::throttle::{Recent, Throttle};
use crate::base::{ClientAddr, NodeKey, Now, UnixTime};
use crate::stun::{BadAttribute, ErrorCode, Hash, Key, Message, PasswordAlgorithm, Type, Writer};

use accounts::Name;
pub use accounts::{Accounts, Ephemeral, Keys, RoleId, Settings, SharedSecret, User};
use nonce::Nonces;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The real source.
    pub client: ClientAddr,
    /// A handshake has shown that the address is not forged: TCP, TLS, DTLS.
    pub proven: bool,
}

/// A request that is who it says it is.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who: the name in the config, or what stands behind `expiry:`. Someone who renews short-lived credentials stays the
    /// same (RFC 8656 §5 compares it: 441).
    pub user: Arc<str>,
    /// What they may.
    pub role: RoleId,
    /// RFC 8489 §9.2.4: the answer is sealed with the same key …
    pub key: Key,
    /// … and the same hash as the request.
    pub hash: Hash,
    /// When short-lived credentials end.
    pub expires: Option<UnixTime>,
}

impl Granted {
    /// How long short-lived credentials are still good.
    pub fn left(&self, now: Now) -> Option<Duration> {
        self.expires.map(|expires| expires.0.saturating_sub(now.unix.0))
    }
}

/// A request that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Answer with [`Credentials::refuse`].
    Refuse(ErrorCode),
    /// Too many from this source: drop it.
    Silence,
}

impl From<BadAttribute> for Denied {
    fn from(_: BadAttribute) -> Denied {
        Denied::Refuse(ErrorCode::BAD_REQUEST)
    }
}

/// Checks requests. One per worker; those of one node share accounts and node key, and so know each other's nonces.
#[derive(Debug)]
pub struct Credentials {
    accounts: Arc<Accounts>,
    nonces: Nonces,
    node: NodeKey,
    /// Wrong passwords, by source. Only a request with a nonce of ours counts, which no forged source can have: nobody can
    /// lock another out by speaking in their name.
    guesses: Throttle,
    /// Answers to those who have not shown who they are, by source (coturn 1687).
    challenges: Throttle,
    /// Client and user that were right not long ago: whatever their neighbours behind the same NAT do, they are heard.
    known: Recent,
}

/// What a request says about who sent it.
struct Claim<'a> {
    name: Name<'a>,
    algorithm: PasswordAlgorithm,
}

impl Credentials {
    /// Nobody is known yet.
    pub fn new(accounts: Arc<Accounts>, node: NodeKey) -> Credentials {
        Credentials {
            nonces: Nonces::new(node.clone(), accounts.features()),
            accounts,
            node,
            guesses: Throttle::new(4096, 20, Duration::from_secs(3)),
            challenges: Throttle::new(4096, 200, Duration::from_millis(10)),
            known: Recent::new(16_384, Duration::from_secs(3600)),
        }
    }

    /// Is it who it says? RFC 8489 §9.2.4. Unknown user and wrong password cost and give the same.
    pub fn authenticate(
        &mut self,
        message: &Message<'_>,
        source: Source,
        now: Now,
    ) -> Result<Granted, Denied> {
        let outcome = self.check(message, source, now);
        if matches!(outcome, Err(Denied::Refuse(_))) && !source.proven {
            let key = self.source_key(source.client.0.ip());
            if !self.challenges.take(key, now.instant) {
                return Err(Denied::Silence);
            }
        }
        outcome
    }

    fn check(&mut self, message: &Message<'_>, source: Source, now: Now) -> Result<Granted, Denied> {
        let hash = message.integrity().ok_or(Denied::Refuse(ErrorCode::UNAUTHENTICATED))?;
        let claim = self.claim(message, source.client, now.unix)?;
        let source_key = self.source_key(source.client.0.ip());
        let known_key = self.known_key(source.client, &claim.name);
        if self.guesses.is_spent(source_key, now.instant) && !self.known.contains(known_key, now.instant) {
            return Err(Denied::Silence);
        }
        let account = self.accounts.candidates(&claim.name, claim.algorithm);
        // No early exit: a wrong first secret costs what a right one does.
        let mut right = None;
        for key in account.keys {
            if message.check_integrity(&key) {
                right = Some(key);
            }
        }
        let in_time = account.expires.is_none_or(|expires| now.unix < expires);
        match (right, account.who) {
            (Some(key), Some((user, role))) if in_time => {
                self.known.remember(known_key, now.instant);
                Ok(Granted { user, role, key, hash, expires: account.expires })
            }
            _ => {
                self.guesses.take(source_key, now.instant);
                Err(Denied::Refuse(ErrorCode::UNAUTHENTICATED))
            }
        }
    }

    /// The checks that need no password, in the order of RFC 8489 §9.2.4 but for one: the nonce is judged before the
    /// password (docs/rfc-exceptions.md), or a forged source could have guesses judged.
    fn claim<'m>(
        &self,
        message: &Message<'m>,
        client: ClientAddr,
        now: UnixTime,
    ) -> Result<Claim<'m>, Denied> {
        let bad_request = Denied::Refuse(ErrorCode::BAD_REQUEST);
        let name = match (message.username()?, message.userhash()?) {
            (Some(name), None) => Name::Plain(name),
            (None, Some(hash)) => Name::Hashed(hash),
            _ => return Err(bad_request),
        };
        let (Some(_), Some(nonce)) = (message.realm()?, message.nonce()?) else { return Err(bad_request) };
        if !self.nonces.is_fresh(nonce, client, now) {
            return Err(Denied::Refuse(ErrorCode::STALE_NONCE));
        }
        // The nonce proves which algorithms we offered with it, so nobody between us can have struck one out.
        let offered = self.accounts.password_algorithms();
        let algorithm = match (message.password_algorithms()?, message.password_algorithm()?) {
            // As though PASSWORD-ALGORITHM were MD5.
            (None, None) => PasswordAlgorithm::Md5,
            (Some(listed), Some(Some(chosen))) => {
                let as_offered = listed.eq(offered.iter().copied().map(Some));
                (as_offered && offered.contains(&chosen)).then_some(chosen).ok_or(bad_request)?
            }
            _ => return Err(bad_request),
        };
        Ok(Claim { name, algorithm })
    }

    /// Appends the answer to a request that [`authenticate`](Self::authenticate) denied. 401 and 438 bring realm, a nonce and
    /// the password algorithms (RFC 8489 §9.2.4); reason phrases are left out, for every byte is amplification.
    pub fn refuse(
        &self,
        message: &Message<'_>,
        code: ErrorCode,
        client: ClientAddr,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        let mut writer = Writer::error(out, message, code, "");
        if matches!(code, ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE) {
            writer.put(Type::REALM, self.accounts.realm().as_bytes());
            writer.put(Type::NONCE, &self.nonces.mint(client, now.unix));
            let offered = self.accounts.password_algorithms();
            if !offered.is_empty() {
                writer.put_password_algorithms(offered);
            }
        }
        if message.has_fingerprint() {
            writer.add_fingerprint();
        }
    }

    /// An IPv6 host has a /64 to choose its address from, so that is one source.
    fn source_key(&self, ip: IpAddr) -> u128 {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.node.mac("turn source", &[&ip.octets()]),
            IpAddr::V6(ip) => self.node.mac("turn source", &[&(ip.to_bits() >> 64).to_be_bytes()]),
        }
    }

    fn known_key(&self, client: ClientAddr, name: &Name<'_>) -> u128 {
        let port = client.0.port().to_be_bytes();
        let name = match name {
            Name::Plain(name) => name.as_bytes(),
            Name::Hashed(hash) => hash,
        };
        match client.0.ip().to_canonical() {
            IpAddr::V4(ip) => self.node.mac("turn known", &[&ip.octets(), &port, name]),
            IpAddr::V6(ip) => self.node.mac("turn known", &[&ip.octets(), &port, name]),
        }
    }
}

#[cfg(test)]
mod tests;
