//! What the node's rules say besides roles ([`Rules`]): before something is read, when somebody wants something, and while an
//! allocation relays.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{Due, Freed, Server};
use crate::stun::{ErrorCode, demux};
use crate::turn::credentials::Granted;
use crate::turn::forward::Reason;
use crate::turn::peers::meant;
use crate::turn::rules::{Leave, No, Question, Rules, Wish};
use crate::turn::sockets::RelaySockets;
use crate::turn::{Carrier, FiveTuple};

/// How often the rules are told what an allocation has relayed: what a budget can be overspent by.
const READING: Duration = Duration::from_secs(1);

impl<S: RelaySockets> Server<S> {
    /// Why nothing that this source begins on this listener is worth reading, if so: a new connection, a handshake.
    pub fn refuses(&self, listener: u16, source: IpAddr, now: Instant) -> Option<Reason> {
        if self.is_banned(source, now) {
            return Some(Reason::Banned);
        }
        let refuses = |rules: &dyn Rules| rules.refuses_packet(listener, source);
        self.rules.as_deref().is_some_and(refuses).then_some(Reason::Policy)
    }

    /// Of a datagram. What wants no answer is dropped anyway if it comes from nobody's five-tuple, and whoever has an allocation
    /// was let in: nobody is asked about it.
    pub(super) fn rules_refuse(&self, client: FiveTuple, packet: &[u8], now: Instant) -> bool {
        let source = client.client.0.ip();
        client.carrier == Carrier::Udp
            && self.rules.is_some()
            && !demux::is_indication(packet)
            && self.refuses(client.listener, source, now) == Some(Reason::Policy)
    }

    /// May they, as far as the rules go?
    pub(super) fn ask_rules(
        &self,
        client: FiveTuple,
        granted: &Granted,
        wish: Wish,
    ) -> Result<Option<Box<dyn Leave>>, No> {
        let Some(rules) = &self.rules else { return Ok(None) };
        rules.ask(&Question { client, user: &granted.user, role: granted.role, wish })
    }

    /// The same of all peers of a request, each once.
    pub(super) fn ask_of_peers(
        &self,
        client: FiveTuple,
        granted: &Granted,
        peers: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), No> {
        if self.rules.is_none() {
            return Ok(());
        }
        let mut peers: SmallVec<[IpAddr; 4]> = peers.into_iter().map(meant).collect();
        peers.sort_unstable();
        peers.dedup();
        if peers.len() > self.settings.capacity.permissions {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        peers.into_iter().try_for_each(|peer| self.ask_rules(client, granted, Wish::Peer(peer)).map(drop))
    }

    /// Begins to tell the rules what an allocation relays, if they want to know.
    pub(super) fn begin_readings(&mut self, slot: usize, now: Instant) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        if allocation.leave.as_ref().is_some_and(|leave| leave.counts_bytes()) {
            allocation.reading = Some(self.timers.set(now + READING, Due::Reading(slot)));
        }
    }

    pub(super) fn take_reading(&mut self, slot: usize, now: Instant) {
        let Some(allocation) = self.allocations.get_mut(slot) else { return };
        allocation.reading = None;
        let carried = allocation.carried();
        let goes_on = allocation.leave.as_mut().is_none_or(|leave| leave.relayed(carried));
        if goes_on { self.begin_readings(slot, now) } else { self.free(slot, Freed::Spent) }
    }
}
