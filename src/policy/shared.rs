//! One engine that several threads ask: the edge for each request and unread datagram, relay workers for each TURN request. No
//! media packet waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ban::BanChange;
use super::settings::Settings;
use super::{Alert, Engine, Note, RefusedAtRelay};
use crate::base::NodeKey;

/// A hand on the engine; clones are others on the same one. Whoever opens it lets go of it before they call anybody else.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Mutex<Engine>,
    /// What it has rules for, so that nothing is locked for those that are not there.
    of_packets: AtomicBool,
    of_relay: AtomicBool,
}

impl From<Engine> for Shared {
    fn from(engine: Engine) -> Shared {
        let of_packets = AtomicBool::new(engine.has_packet_rules());
        let of_relay = AtomicBool::new(engine.speaks_of_relay());
        Shared(Arc::new(Inner { engine: Mutex::new(engine), of_packets, of_relay }))
    }
}

impl Shared {
    /// Nobody else asks while this is held.
    pub fn open(&self) -> MutexGuard<'_, Engine> {
        self.0.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There are `packets` rules.
    pub fn has_packet_rules(&self) -> bool {
        self.0.of_packets.load(Ordering::Relaxed)
    }

    /// See [`Engine::speaks_of_relay`].
    pub fn speaks_of_relay(&self) -> bool {
        self.0.of_relay.load(Ordering::Relaxed)
    }

    /// See [`Engine::replace`].
    pub fn replace(&self, policies: Settings, key: &NodeKey) {
        let mut engine = self.open();
        engine.replace(policies, key);
        self.0.of_packets.store(engine.has_packet_rules(), Ordering::Relaxed);
        self.0.of_relay.store(engine.speaks_of_relay(), Ordering::Relaxed);
    }

    /// See [`Engine::poll_note`].
    pub fn poll_note(&self) -> Option<Note> {
        self.open().poll_note()
    }

    /// See [`Engine::poll_alert`].
    pub fn poll_alert(&self) -> Option<Alert> {
        self.open().poll_alert()
    }

    /// See [`Engine::poll_refused_at_relay`].
    pub fn poll_refused_at_relay(&self) -> Option<RefusedAtRelay> {
        self.open().poll_refused_at_relay()
    }

    /// See [`super::ban::Bans::poll_change`].
    pub fn poll_ban_change(&self) -> Option<BanChange> {
        self.open().bans().poll_change()
    }
}
