//! One component of a leg that does ICE: whose checks are good, and what is done with them.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::stun::{Class, ErrorCode, Key, Message, Method, TransactionId, Type, Writer};

use super::credentials::Credentials;
use super::held::Held;
use super::sources::Sources;

/// Checks whose answers are waited for; the oldest makes room.
const MOST_CHECKS: usize = 16;

/// What the SDP says about a leg that does ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// To whom the endpoint sends its checks: the far endpoint, or, if we terminate, ourselves.
    pub local: Credentials,
    /// The endpoint's own ufrag; `None` while its SDP has not been seen: any.
    pub remote_ufrag: Option<Box<str>>,
    /// We are an ICE-lite agent and answer; no STUN crosses the pair. Otherwise it does, unread but for who may speak.
    pub terminated: bool,
}

/// What becomes of a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It goes on to the other leg.
    Forward,
    /// The answer to it was written.
    Answered,
    /// It has done its work.
    Taken,
}

/// Why a STUN message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not STUN, or no message that ICE knows.
    Malformed,
    /// Not sealed, or not under the password of this leg.
    Unauthenticated,
    /// An answer to nothing, or an indication of a stranger.
    Unasked,
}

/// What an agent understands besides what any STUN server does (RFC 8445 §16.1).
const OF_ICE: [Type; 2] = [Type::PRIORITY, Type::USE_CANDIDATE];

#[derive(Debug)]
struct Epoch {
    settings: Settings,
    key: Key,
    generation: u32,
}

impl Epoch {
    fn new(settings: Settings, generation: u32) -> Epoch {
        let key = Key::short_term(settings.local.pwd.reveal());
        Epoch { settings, key, generation }
    }

    /// RFC 8445 §7.3, RFC 8489 §9.1.3.
    fn admits(&self, check: &Message<'_>) -> bool {
        let username = check.username().ok().flatten().and_then(|username| username.split_once(':'));
        let named = username.is_some_and(|(local, remote)| {
            *local == *self.settings.local.ufrag
                && self.settings.remote_ufrag.as_deref().is_none_or(|expected| expected == remote)
        });
        named && check.check_integrity(&self.key)
    }
}

/// A check that went through, by its transaction.
#[derive(Debug)]
struct Check {
    transaction: TransactionId,
    from: SocketAddr,
    key: Key,
}

/// One component of a leg that does ICE.
#[derive(Debug)]
pub struct Agent {
    now: Epoch,
    /// RFC 8445 §9: what held before an ICE restart holds until the endpoint uses the new credentials.
    before: Option<Epoch>,
    sources: Sources,
    checks: VecDeque<Check>,
    /// Where checks go through.
    held: Option<Held>,
}

impl Agent {
    /// Nobody has spoken yet.
    pub fn new(settings: Settings) -> Agent {
        Agent {
            held: (!settings.terminated).then(Held::default),
            now: Epoch::new(settings, 0),
            before: None,
            sources: Sources::default(),
            checks: VecDeque::new(),
        }
    }

    /// New settings from an offer or answer. Other credentials of the far end are an ICE restart (RFC 8839 §4.4.1.1.1);
    /// learning the endpoint's ufrag is none.
    pub fn set(&mut self, settings: Settings) {
        let holds = !settings.terminated;
        if settings.local == self.now.settings.local {
            self.now.settings = settings;
            self.held = self.held.take().filter(|_| holds).or_else(|| holds.then(Held::default));
        } else {
            // A check under the old password is of no use to the far end.
            self.held = holds.then(Held::default);
            let next = Epoch::new(settings, self.now.generation + 1);
            self.before = Some(std::mem::replace(&mut self.now, next));
        }
    }

    /// What the SDP said last.
    pub fn settings(&self) -> &Settings {
        &self.now.settings
    }

    /// A STUN message came from `source` to this leg. An answer of ours is appended to `out`.
    pub fn handle_stun(
        &mut self,
        source: SocketAddr,
        message: &Message<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Heard, Refused> {
        if message.method() != Method::BINDING || !message.check_fingerprint() {
            return Err(Refused::Malformed);
        }
        let terminated = self.now.settings.terminated;
        match message.class() {
            Class::Request => self.check(source, message, now, out),
            // RFC 8445 §11: keep-alives.
            Class::Indication if !self.sources.heard(source, false, now) => Err(Refused::Unasked),
            Class::Indication if terminated => Ok(Heard::Taken),
            Class::Indication => Ok(Heard::Forward),
            // A lite agent asks nothing. Otherwise the leg that asked knows: [`Self::answered`].
            Class::Success | Class::Error if terminated => Err(Refused::Unasked),
            Class::Success | Class::Error => Ok(Heard::Forward),
        }
    }

    fn check(
        &mut self,
        source: SocketAddr,
        message: &Message<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Heard, Refused> {
        let epoch = if self.now.admits(message) {
            &self.now
        } else {
            self.before.as_ref().filter(|before| before.admits(message)).ok_or(Refused::Unauthenticated)?
        };
        let (key, generation) = (epoch.key.clone(), epoch.generation);
        if self.now.settings.terminated {
            if !answer(message, source, &key, out) {
                return Ok(Heard::Answered);
            }
        } else {
            if self.checks.len() >= MOST_CHECKS {
                self.checks.pop_front();
            }
            self.checks.push_back(Check { transaction: message.transaction_id(), from: source, key });
        }
        if generation == self.now.generation {
            self.before = None;
        }
        self.sources.prove(source, generation, message.has(Type::USE_CANDIDATE), now);
        Ok(if self.now.settings.terminated { Heard::Answered } else { Heard::Forward })
    }

    /// The other leg's endpoint answers a check of this one: to which address the answer goes. The answer shows that its
    /// sender is who the check was for: [`Self::prove`] that on its leg, since an ICE-lite endpoint sends no checks.
    pub fn answered(&self, answer: &Message<'_>) -> Option<SocketAddr> {
        let check = self.checks.iter().rev().find(|check| check.transaction == answer.transaction_id())?;
        answer.check_integrity(&check.key).then_some(check.from)
    }

    /// A check of this leg's endpoint, which is to go on, has nowhere to go yet. False: it cannot wait either.
    pub fn hold(&mut self, check: &[u8]) -> bool {
        self.held.as_mut().is_some_and(|held| held.keep(check))
    }

    /// A check waits.
    pub fn holds(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_empty())
    }

    /// The check that waited, for once.
    pub fn release(&mut self) -> &[u8] {
        self.held.as_mut().map(Held::take).unwrap_or_default()
    }

    /// `source` has answered a check of the other leg.
    pub fn prove(&mut self, source: SocketAddr, now: Instant) {
        self.sources.prove(source, self.now.generation, false, now);
    }

    /// Media, or DTLS, came from `source`. False: it has not shown who it is.
    #[inline]
    pub fn hears(&mut self, source: SocketAddr, now: Instant) -> bool {
        self.sources.heard(source, true, now)
    }

    /// True while nobody has shown to be the endpoint.
    pub fn is_new(&self) -> bool {
        self.sources.is_empty()
    }

    /// Where packets for this leg's endpoint go; `None` until it has shown where it is, and when it has been silent for longer
    /// than consent lasts.
    pub fn destination(&self, now: Instant) -> Option<SocketAddr> {
        self.sources.destination(now)
    }
}

/// Answers an authenticated check as an ICE-lite agent (RFC 8445 §7.3); false: with an error.
fn answer(check: &Message<'_>, source: SocketAddr, key: &Key, out: &mut Vec<u8>) -> bool {
    let Some(hash) = check.integrity() else { return false };
    let unknown = check.unknown_required(Type::OF_STUN);
    let mut unknown = unknown.filter(|kind| !OF_ICE.contains(kind)).peekable();
    let (mut writer, is_good) = if unknown.peek().is_some() {
        let mut writer = Writer::error(out, check, ErrorCode::UNKNOWN_ATTRIBUTE, "");
        writer.put_unknown(unknown);
        (writer, false)
    } else if check.has(Type::ICE_CONTROLLED) {
        // RFC 8445 §6.1.1: of a lite and a full agent the full one controls; §7.3.1.1: 487 tells it so.
        (Writer::error(out, check, ErrorCode::ROLE_CONFLICT, ""), false)
    } else {
        let mut writer = Writer::success(out, check);
        writer.put_xor_address(Type::XOR_MAPPED_ADDRESS, source);
        (writer, true)
    };
    writer.add_integrity(key, hash);
    writer.add_fingerprint();
    is_good
}

#[cfg(test)]
mod tests;
