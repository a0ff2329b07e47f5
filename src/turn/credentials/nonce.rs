//! Nonces that prove themselves: nothing is stored for a client that may never come back.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::{ClientAddr, NodeKey, UnixTime};

/// RFC 8489 §9.2: says that security features follow.
const COOKIE: &[u8; 9] = b"obMatJos2";
/// Cookie, four characters of features, twelve of time and MAC. Short, for it travels in every 401.
const LENGTH: usize = 25;
const FEATURES_END: usize = 13;
/// RFC 8656 §5 recommends that a nonce expire at least once every hour.
const MINUTES: u8 = 60;

/// RFC 8489 §18.1: bits of the security feature set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Bit 0.
    pub password_algorithms: bool,
    /// Bit 1.
    pub username_anonymity: bool,
}

/// Mints and recognises nonces, bound to client address, time and features.
#[derive(Debug)]
pub struct Nonces {
    node: NodeKey,
    /// Cookie and features, the same in all of them.
    prefix: [u8; FEATURES_END],
}

impl Nonces {
    pub fn new(node: NodeKey, features: Features) -> Nonces {
        let bits = u8::from(features.password_algorithms) | u8::from(features.username_anonymity) << 1;
        let mut prefix = [0; FEATURES_END];
        let (cookie, coded) = prefix.split_at_mut(COOKIE.len());
        cookie.copy_from_slice(COOKIE);
        encode(&[0, 0, bits], coded);
        Nonces { node, prefix }
    }

    /// A nonce for this client.
    pub fn mint(&self, client: ClientAddr, now: UnixTime) -> [u8; LENGTH] {
        let minute = minute(now);
        let mut body = [0; 9];
        let ([age], mac) = body.split_at_mut(1) else { return [0; LENGTH] };
        *age = low_byte(minute);
        mac.copy_from_slice(&self.mac(client, minute));
        let mut nonce = [0; LENGTH];
        let (prefix, coded) = nonce.split_at_mut(FEATURES_END);
        prefix.copy_from_slice(&self.prefix);
        encode(&body, coded);
        nonce
    }

    /// True for a nonce that was minted for this client within the hour, with the features of today.
    pub fn is_fresh(&self, nonce: &str, client: ClientAddr, now: UnixTime) -> bool {
        let Some(coded) = nonce.as_bytes().strip_prefix(&self.prefix) else { return false };
        let mut body = [0; 9];
        if coded.len() != LENGTH - FEATURES_END || STANDARD.decode_slice(coded, &mut body) != Ok(body.len()) {
            return false;
        }
        let [minted, mac @ ..] = body;
        // The nonce holds the low byte of its minute, the MAC is over all of it: one that is four hours old has the same byte
        // but not the same MAC.
        let age = low_byte(minute(now)).wrapping_sub(minted);
        let whole = minute(now).saturating_sub(u64::from(age));
        let genuine = constant_time::verify_slices_are_equal(&self.mac(client, whole), &mac).is_ok();
        genuine && age <= MINUTES
    }

    fn mac(&self, client: ClientAddr, minute: u64) -> [u8; 8] {
        let port = client.0.port().to_be_bytes();
        let time = minute.to_be_bytes();
        let mac = match client.0.ip().to_canonical() {
            IpAddr::V4(ip) => self.node.mac("turn nonce", &[&ip.octets(), &port, &time, &self.prefix]),
            IpAddr::V6(ip) => self.node.mac("turn nonce", &[&ip.octets(), &port, &time, &self.prefix]),
        };
        let [first @ .., _, _, _, _, _, _, _, _] = mac.to_be_bytes();
        first
    }
}

fn minute(now: UnixTime) -> u64 {
    now.0.as_secs() / 60
}

fn low_byte(minute: u64) -> u8 {
    let [.., low] = minute.to_be_bytes();
    low
}

/// Base64 of multiples of three bytes, without padding: `out` is four thirds as long.
fn encode(bytes: &[u8], out: &mut [u8]) {
    let written = STANDARD.encode_slice(bytes, out);
    debug_assert!(written.is_ok());
}
