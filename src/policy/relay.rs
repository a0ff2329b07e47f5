//! TURN under policy: allocations and peers are decided like calls, and what is relayed counts against budgets of bytes while
//! it is relayed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::counter::Held;
use super::{Action, Engine, Facts, GaugeHold, HangUp, Refusal, Stage};
use crate::base::{ListenerId, Now, UnixTime};

/// The methods of [`Facts`] at [`Stage::Relay`]: an allocation, its Refresh, and whatever asks for a peer.
#[allow(missing_docs)]
pub const ALLOCATE: &str = "ALLOCATE";
#[allow(missing_docs)]
pub const REFRESH: &str = "REFRESH";
#[allow(missing_docs)]
pub const PERMISSION: &str = "PERMISSION";

/// RFC 8656 §7.2, §8.2, §10.2: what such a request may be refused with. None: it gets no answer.
pub fn status(action: &Action, method: &str) -> Option<u16> {
    match action {
        Action::Drop | Action::Ban(_) | Action::Challenge => None,
        Action::Reject { status: 508, .. } => Some(508),
        Action::Reject { status: 486, .. } if method != PERMISSION => Some(486),
        Action::Reject { .. } => Some(403),
    }
}

impl<'f> Facts<'f> {
    /// Of a TURN client who has shown the password; it went to the source and came back, so nobody has forged that.
    pub fn of_turn(source: IpAddr, user: &'f str) -> Facts<'f> {
        Facts { source_proven: true, user: Some(user), ..Facts::of_source(Stage::Relay, source) }
    }
}

/// A request to the TURN server that policy refused, to be logged.
#[derive(Clone, Debug)]
pub struct RefusedAtRelay {
    /// When.
    pub at: UnixTime,
    /// Policy and rule.
    pub rule: Arc<str>,
    /// What the client was told; none: nothing.
    pub status: Option<u16>,
    /// From where.
    pub client: SocketAddr,
    /// On which listener.
    pub listener: ListenerId,
    /// What was asked for.
    pub method: Arc<str>,
    /// Who asked.
    pub user: Arc<str>,
    /// `alert` was among the answers.
    pub alert: bool,
}

impl Engine {
    /// Has to be asked about TURN allocations and their peers.
    pub fn speaks_of_relay(&self) -> bool {
        self.speaks_at(Stage::Relay)
    }

    /// Keeps a refusal for the log; full: it is only counted.
    pub fn keep_refused_at_relay(
        &mut self,
        refusal: &Refusal,
        facts: &Facts<'_>,
        client: SocketAddr,
        now: Now,
    ) {
        if self.refused_at_relay.len() < self.note_capacity {
            self.refused_at_relay.push_back(RefusedAtRelay {
                at: now.unix,
                rule: Arc::clone(&refusal.rule),
                status: status(&refusal.action, facts.method),
                client,
                listener: facts.listener,
                method: facts.method.into(),
                user: facts.user.unwrap_or_default().into(),
                alert: refusal.alert,
            });
        }
    }

    /// The next to log.
    pub fn poll_refused_at_relay(&mut self) -> Option<RefusedAtRelay> {
        self.refused_at_relay.pop_front()
    }

    /// An allocation, or a call, has relayed so many bytes since it began: its budgets of bytes are charged.
    ///
    /// # Errors
    /// The rule that ends it.
    pub fn relayed(&mut self, hold: &mut GaugeHold, bytes: u64, now: Now) -> Result<(), HangUp> {
        let Engine { counters, audit_counters, ending, .. } = self;
        let must = |rule: u64| ending.contains_key(&rule);
        let spent = counters.relayed(&mut hold.enforced, bytes, must, now);
        let would = audit_counters.relayed(&mut hold.audited, bytes, must, now);
        if let Err(id) = would {
            // Said once: what it goes on to relay is no budget's any more.
            hold.audited.retain(|held| !matches!(held, Held::Bytes(carried) if carried.rule == id));
            self.would_end(id, hold.known.as_deref(), now);
        }
        spent.map_err(|id| self.hang_up(id, hold.known.as_deref(), now))
    }

    /// The same of one that has ended.
    pub fn relayed_at_last(&mut self, hold: &mut GaugeHold, bytes: u64, now: Now) {
        let Engine { counters, audit_counters, .. } = self;
        for (counters, holds) in [(counters, &mut hold.enforced), (audit_counters, &mut hold.audited)] {
            // Nothing is left to end.
            let _ = counters.relayed(holds, bytes, |_| false, now);
        }
    }
}

impl GaugeHold {
    /// It wants to be told what is relayed.
    pub fn counts_bytes(&self) -> bool {
        self.enforced.iter().chain(&self.audited).any(|held| matches!(held, Held::Bytes(_)))
    }
}
