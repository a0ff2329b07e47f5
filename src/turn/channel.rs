//! Channels (RFC 8656 §12): a number for a peer, so that data needs four bytes of header. Few per allocation, so a list.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// RFC 8656 §12: ten minutes from the last ChannelBind.
pub const LIFETIME: Duration = Duration::from_secs(600);

/// The numbers that a channel can have: 0x4000 to 0x4FFF of RFC 8656 §12, and the rest of RFC 5766 §11's, which its clients
/// choose from (docs/rfc-exceptions.md).
pub fn is_number(number: u16) -> bool {
    (0x4000..=0x7fff).contains(&number)
}

#[derive(Clone, Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// All of an allocation.
#[derive(Clone, Debug, Default)]
pub struct Channels(SmallVec<[Channel; 1]>);

/// How a ChannelBind fits what is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Number and peer are both free.
    New,
    /// They are bound to each other: a refresh.
    Refresh,
    /// One of them is bound to another.
    Conflict,
}

impl Channels {
    /// Whose channel `number` is.
    #[inline]
    pub fn peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.0.iter().find(|channel| channel.number == number)?;
        (channel.expires > now).then_some(channel.peer)
    }

    /// The channel of `peer`.
    #[inline]
    pub fn number(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let channel = self.0.iter().find(|channel| channel.peer == peer)?;
        (channel.expires > now).then_some(channel.number)
    }

    /// RFC 8656 §12.2: neither may be bound to another.
    pub fn fit(&self, number: u16, peer: SocketAddr) -> Fit {
        let mut overlapping =
            self.0.iter().filter(|channel| channel.number == number || channel.peer == peer);
        match overlapping.next() {
            None => Fit::New,
            Some(channel) if (channel.number, channel.peer) == (number, peer) => Fit::Refresh,
            Some(_) => Fit::Conflict,
        }
    }

    /// Binds or refreshes one that does not conflict. The caller has seen to the capacity.
    pub fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) {
        let expires = now + LIFETIME;
        match self.0.iter_mut().find(|channel| channel.number == number) {
            Some(channel) => channel.expires = expires,
            None => self.0.push(Channel { number, peer, expires }),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes what has expired.
    pub fn purge(&mut self, now: Instant) {
        self.0.retain(|channel| channel.expires > now);
    }

    /// Removes those whose peers `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(SocketAddr) -> bool) {
        self.0.retain(|channel| keep(channel.peer));
    }

    /// When the first of them expires.
    pub fn first_expiry(&self) -> Option<Instant> {
        self.0.iter().map(|channel| channel.expires).min()
    }
}
