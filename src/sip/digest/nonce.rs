//! Our own nonces, which prove themselves: nothing is kept for a client that may never come back. What is kept is how often a nonce was
//! used by who knew the password, so that nobody uses the same answer twice (RFC 7616 §3.3, `nc`).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::constant_time;
use rustc_hash::FxHashMap;

use crate::base::{NodeKey, UnixTime};

/// Hexadecimal digits of time and chance, and of the MAC.
const LENGTH: usize = 32;

/// Mints and recognises nonces, bound to the source's address and to time.
#[derive(Clone, Debug)]
pub struct Nonces {
    key: NodeKey,
    lifetime: Duration,
}

/// A nonce that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Ours, minted for this source, in time. For [`Replays`].
    Fresh(u64),
    /// Ours, but for another source, or too long ago: the same client may try again with a new one (`stale=true`).
    Stale,
    /// Nobody here has minted it.
    Foreign,
}

impl Nonces {
    /// Under the node's key; each is good for `lifetime`.
    pub fn new(key: NodeKey, lifetime: Duration) -> Nonces {
        Nonces { key, lifetime }
    }

    /// A nonce for a source; `chance` makes each another one.
    pub fn mint(&self, source: IpAddr, chance: u32, now: UnixTime) -> String {
        let number = seconds(now) << 32 | u64::from(chance);
        format!("{number:016x}{:08x}{:08x}", self.seal(number, None), self.seal(number, Some(source)))
    }

    /// The number below all of those minted from `now` on, for [`Replays::forget`].
    pub fn number_before(&self, now: UnixTime) -> u64 {
        (seconds(now) << 32).saturating_sub(1)
    }

    /// What `nonce` is.
    pub fn recognise(&self, nonce: &[u8], source: IpAddr, now: UnixTime) -> Presented {
        let text = std::str::from_utf8(nonce).ok().filter(|text| text.len() == LENGTH);
        let hex = |range: std::ops::Range<usize>| u64::from_str_radix(text?.get(range)?, 16).ok();
        let (Some(number), Some(ours), Some(theirs)) = (hex(0..16), hex(16..24), hex(24..32)) else {
            return Presented::Foreign;
        };
        let is = |told: u64, seal: u32| {
            constant_time::verify_slices_are_equal(&told.to_be_bytes(), &u64::from(seal).to_be_bytes())
                .is_ok()
        };
        if !is(ours, self.seal(number, None)) {
            return Presented::Foreign;
        }
        let age = seconds(now).saturating_sub(number >> 32);
        match is(theirs, self.seal(number, Some(source))) && age <= self.lifetime.as_secs() {
            true => Presented::Fresh(number),
            false => Presented::Stale,
        }
    }

    fn seal(&self, number: u64, source: Option<IpAddr>) -> u32 {
        let number = number.to_be_bytes();
        let mac = match source.map(|ip| ip.to_canonical()) {
            None => self.key.mac("sip nonce", &[&number]),
            Some(IpAddr::V4(ip)) => self.key.mac("sip nonce", &[&number, &ip.octets()]),
            Some(IpAddr::V6(ip)) => self.key.mac("sip nonce", &[&number, &ip.octets()]),
        };
        mac as u32
    }
}

/// 32 bits of them.
fn seconds(now: UnixTime) -> u64 {
    now.0.as_secs() & u64::from(u32::MAX)
}

/// The highest `nc` seen of each nonce in use. Bounded: the nonce that is known longest goes first, and with it all that are older than it
/// are stale, so that forgetting opens no door.
#[derive(Debug)]
pub struct Replays {
    highest: FxHashMap<u64, u32>,
    order: VecDeque<u64>,
    capacity: usize,
    /// Nonces up to this one are forgotten.
    forgotten: Option<u64>,
}

impl Replays {
    /// Of at most so many nonces.
    pub fn new(capacity: usize) -> Replays {
        Replays {
            highest: FxHashMap::default(),
            order: VecDeque::new(),
            capacity: capacity.max(1),
            forgotten: None,
        }
    }

    /// Of nonces up to this number nothing can be told.
    pub fn forget(&mut self, up_to: u64) {
        self.forgotten = self.forgotten.max(Some(up_to));
    }

    /// The right answer was given with this count; false: it was given before, or it can no longer be told.
    pub fn accept(&mut self, nonce: u64, count: u32) -> bool {
        if let Some(highest) = self.highest.get_mut(&nonce) {
            let is_new = count > *highest;
            *highest = (*highest).max(count);
            return is_new;
        }
        if self.forgotten.is_some_and(|forgotten| nonce <= forgotten) {
            return false;
        }
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.highest.remove(&oldest);
            self.forget(oldest);
        }
        self.order.push_back(nonce);
        self.highest.insert(nonce, count);
        true
    }
}
