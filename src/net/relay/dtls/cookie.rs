//! The cookie that a client must bring back before anything is kept for it (RFC 6347 §4.2.1), and how dimpl is made to
//! believe it.
//!
//! dimpl makes cookies of its own, from a secret of each association: it would have to keep one for whoever sends a
//! ClientHello, forged or not. So it is asked only once a client has shown ours, and is then told that ours is its own.
//! `association::tests` fails if an update of dimpl no longer asks in this way.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, hmac};
use dimpl::CryptoError;
use dimpl::crypto::{CryptoProvider, HashAlgorithm, HmacProvider, aws_lc_rs as provider};

use super::hello::{COOKIE, Hello};
use crate::base::ClientAddr;

/// A cookie is good for as long as this, and for twice as long at most.
const LIFETIME: Duration = Duration::from_secs(30);

/// Makes and checks cookies. Keeps nothing about clients.
pub(super) struct Cookies {
    key: hmac::Key,
    start: Instant,
}

impl Cookies {
    pub fn new(secret: [u8; 32], now: Instant) -> Cookies {
        Cookies { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), start: now }
    }

    /// For this client, this ClientHello and now.
    pub fn make(&self, listener: usize, client: ClientAddr, hello: &Hello<'_>, now: Instant) -> [u8; COOKIE] {
        self.of_period(self.period(now), listener, client, hello)
    }

    /// Whether the client has it from us.
    pub fn check(&self, listener: usize, client: ClientAddr, hello: &Hello<'_>, now: Instant) -> bool {
        let period = self.period(now);
        [period, period.wrapping_sub(1)].into_iter().any(|period| {
            let cookie = self.of_period(period, listener, client, hello);
            constant_time::verify_slices_are_equal(&cookie, hello.cookie).is_ok()
        })
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / LIFETIME.as_secs()
    }

    /// RFC 6347 §4.2.1: over the client's address and what it must repeat.
    fn of_period(&self, period: u64, listener: usize, client: ClientAddr, hello: &Hello<'_>) -> [u8; COOKIE] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&period.to_be_bytes());
        context.update(&(listener as u64).to_be_bytes());
        match client.0.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => context.update(&ip.octets()),
            std::net::IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&client.0.port().to_be_bytes());
        for part in hello.parameters {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut cookie = [0; COOKIE];
        cookie.copy_from_slice(context.sign().as_ref());
        cookie
    }
}

thread_local! {
    /// The cookie that dimpl is to expect of the ClientHello that it is about to be given.
    static EXPECTED: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

/// While `f` runs, dimpl takes `cookie` for its own.
pub(super) fn believing<T>(cookie: [u8; COOKIE], f: impl FnOnce() -> T) -> T {
    EXPECTED.set(Some(cookie));
    let result = f();
    EXPECTED.set(None);
    result
}

/// dimpl's cryptography on aws-lc-rs, but for the making of cookies.
pub(super) fn crypto() -> CryptoProvider {
    CryptoProvider { hmac_provider: &Believer, ..provider::default_provider() }
}

/// dimpl asks for `hmac_sha256` when it makes or checks a cookie, and otherwise for `hmac`.
#[derive(Debug)]
struct Believer;

impl HmacProvider for Believer {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match EXPECTED.get() {
            Some(cookie) => Ok(cookie),
            None => provider::default_provider().hmac_provider.hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        provider::default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}
