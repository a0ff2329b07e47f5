//! One engine that several threads ask: the edge for each request and unread datagram, relay workers for each TURN request. No
//! media packet waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ban::BanChange;
use super::{Alert, Engine, Note, RefusedAtRelay};

/// A hand on the engine; clones are others on the same one. Whoever opens it lets go of it before they call anybody else.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Engine>>);

impl From<Engine> for Shared {
    fn from(engine: Engine) -> Shared {
        Shared(Arc::new(Mutex::new(engine)))
    }
}

impl Shared {
    /// Nobody else asks while this is held.
    pub fn open(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
