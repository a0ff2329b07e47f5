//! Established calls outlast a restart (DESIGN.md §8): what of a call is written down, by names, for after a restart the config
//! may be another one; and how it goes on from there.

mod legs;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::anchor::{CallMedia, Lost, SavedMedia};
use super::anchoring::sides;
use super::call::{Call, CallId, Fork, Leg};
use super::call_peers::{CallPeers, SavedPeers};
use super::ending::End;
use super::event::Unheard;
use super::identify::Speaker;
use super::settings::Settings;
use super::trunk_login::CseqAhead;
use super::{Edge, Timer};
use crate::base::{ClientAddr, Now, UnixTime};
use crate::policy::{SavedHold, Where};
use crate::sip::dialog::{self, Dialog, SavedDialog};
use legs::SavedLeg;

/// An answered call as it is written down.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedCall {
    call_id: Arc<str>,
    a: SavedLeg,
    b: SavedLeg,
    dialogs: Vec<SavedDialog>,
    media: Option<SavedMedia>,
    peers: SavedPeers,
    started: UnixTime,
    answered: UnixTime,
    session_ends: Option<UnixTime>,
    unheard: Vec<Unheard>,
    holds: SavedHold,
    rule: Arc<str>,
    route: Arc<str>,
    target: Arc<str>,
    source: SocketAddr,
    to: Arc<str>,
    from: Arc<str>,
    agent: Option<Arc<str>>,
    cseq_ahead: CseqAhead,
    emergency: bool,
}

/// What became of the calls of an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoredCalls {
    /// They go on.
    pub live: usize,
    /// Their time had run out, or the config no longer names where they came from or went.
    pub ended: usize,
    /// Of those that go on: without some of their media.
    pub silent: usize,
    /// Why the first of them is.
    pub why_silent: Option<Lost>,
}

impl Edge {
    /// Keys of calls that have changed since this was last asked, to be written down with [`Self::save_call`].
    pub fn changed_calls(&mut self) -> Vec<u64> {
        self.calls.take_changed().into_iter().map(|CallId(id)| id).collect()
    }

    /// Keys of all calls: for a restart on purpose, which forgets nothing.
    pub fn all_calls(&self) -> Vec<u64> {
        self.calls.ids().into_iter().map(|CallId(id)| id).collect()
    }

    /// Keys of calls that were written down and are over, since this was last asked.
    pub fn ended_calls(&mut self) -> Vec<u64> {
        self.calls.take_ended().into_iter().map(|CallId(id)| id).collect()
    }

    /// A call as it is now; `None`: there is nothing that a restart could go on with.
    pub fn save_call(&mut self, key: u64) -> Option<SavedCall> {
        let id = CallId(key);
        let saved = saved(self.calls.get(id)?, &self.settings)?;
        self.calls.written_down(id);
        Some(saved)
    }

    /// Puts back what an earlier run wrote down, before anything arrives. A call that cannot go on is ended, with a CDR, and a
    /// BYE to whom it can still reach.
    pub fn restore_calls(
        &mut self,
        saved: impl IntoIterator<Item = (u64, SavedCall)>,
        now: Now,
    ) -> RestoredCalls {
        let mut restored = RestoredCalls::default();
        for (key, saved) in saved {
            let Revived { call, end, silent } = self.revive(CallId(key), saved, now);
            if self.take_up(call, end, now) {
                restored.live += 1;
                restored.silent += usize::from(silent.is_some());
                restored.why_silent = restored.why_silent.or(silent);
            } else {
                restored.ended += 1;
            }
        }
        self.settle(now);
        restored
    }

    /// Counts it among the others and sets its timers. False: it is over, because of `end` or because its time is.
    fn take_up(&mut self, call: Call, end: Option<End>, now: Now) -> bool {
        let id = call.id;
        let lifetime = self.settings.limits.call_lifetime;
        let until = call.answered.map(|answered| UnixTime(answered.0.saturating_add(lifetime)));
        let session_ends = call.session_ends;
        for trunk in [call.trunk_in, call.trunk_out].into_iter().flatten() {
            self.trunks.take_again(trunk);
        }
        self.unheard_calls += usize::from(!call.unheard.is_empty());
        self.calls.insert_answered(Box::new(call));
        let is_over = |at: Option<UnixTime>| at.is_some_and(|at| at <= now.unix);
        let end = end
            .or(is_over(until).then_some(End::Lifetime))
            .or(is_over(session_ends).then_some(End::SessionExpired));
        if let Some(end) = end {
            self.hang_up(id, end, now);
            return false;
        }
        let mut set = |at: Option<UnixTime>, timer| {
            at.map(|at| self.timers.set(now.instant + at.0.saturating_sub(now.unix.0), timer))
        };
        let timers = (set(until, Timer::CallLifetime(id)), set(session_ends, Timer::SessionExpires(id)));
        if let Some(call) = self.calls.get_mut(id) {
            (call.lifetime, call.session_timer) = timers;
        }
        self.listen(id, now);
        // Who talked on while we were away pays for that too, and may have nothing left.
        self.pay_on(id, now);
        self.calls.get(id).is_some()
    }

    fn revive(&mut self, id: CallId, saved: SavedCall, now: Now) -> Revived {
        let (a, b) = (legs::leg(&saved.a, &self.settings), legs::leg(&saved.b, &self.settings));
        let mut end = (a.is_none() || b.is_none()).then_some(End::NotRestored);
        let mut a = a.unwrap_or_else(|| legs::lost(&saved.a));
        let (mut media, mut silent) = (None, None);
        if let (Some(b), Some(saved)) = (&b, saved.media) {
            match sides(&self.settings, &self.allowed, &self.own, &a, b) {
                Some(sides) => {
                    let (restored, lost) = CallMedia::restore(saved, sides, &mut *self.relay);
                    (media, silent) = (Some(Box::new(restored)), lost);
                }
                None => end = Some(End::NotRestored),
            }
        }
        let forks = saved.dialogs.iter().map(Dialog::restore).map(|dialog| {
            let next_hop = dialog.next_hop(dialog::Side::Callee);
            let hops = b.as_ref().map(|b| b.hops_by(next_hop)).unwrap_or_default();
            Fork { dialog, hops }
        });
        let forks: SmallVec<[Fork; 1]> = forks.collect();
        if let Some(fork) = forks.last() {
            a.hops = a.hops_by(fork.dialog.next_hop(dialog::Side::Caller));
        }
        let trunk_of = |leg: &Leg| match leg.speaker {
            Speaker::Trunk(trunk) => Some(trunk),
            Speaker::Pbx | Speaker::Stranger => None,
        };
        let trunk_in = trunk_of(&a);
        let from_pbx = a.speaker == Speaker::Pbx;
        let from = Where { listener: a.listener, zone: a.zone, trunk: trunk_in, from_pbx };
        let gauges = self.policy.open().hold_again(saved.holds, from);
        let ago = now.unix.0.saturating_sub(saved.started.0);
        let call = Call {
            id,
            call_id: saved.call_id,
            forks,
            inviting: None,
            exchange: Default::default(),
            // Its pairs begin another life, and by that alone the next one tells what was sent in this (RFC 3711 §9.1).
            media_written_down: 0,
            media,
            peers: CallPeers::restore(saved.peers, &mut *self.relay),
            started: Now {
                instant: now.instant.checked_sub(ago).unwrap_or(now.instant),
                unix: saved.started,
            },
            answered: Some(saved.answered),
            lifetime: None,
            session_timer: None,
            session_ends: saved.session_ends,
            paying: None,
            hung_up_by: None,
            listening: None,
            unheard: saved.unheard,
            gauges,
            trunk_in,
            trunk_out: b.as_ref().and_then(trunk_of),
            rule: saved.rule,
            route: saved.route,
            target: saved.target,
            source: ClientAddr(saved.source),
            to: saved.to,
            from: saved.from,
            agent: saved.agent,
            cseq_ahead: saved.cseq_ahead,
            emergency: saved.emergency,
            is_written_down: true,
            a,
            b,
        };
        Revived { call, end, silent }
    }
}

/// A call as it was.
struct Revived {
    call: Call,
    /// Why it cannot go on.
    end: Option<End>,
    /// Some of its media cannot.
    silent: Option<Lost>,
}

/// `None` unless it is answered and both sides are known.
fn saved(call: &Call, settings: &Settings) -> Option<SavedCall> {
    let dialogs: Vec<_> = call.forks.iter().filter_map(|fork| fork.dialog.save()).collect();
    if dialogs.is_empty() {
        return None;
    }
    Some(SavedCall {
        call_id: call.call_id.clone(),
        a: legs::save(&call.a, settings)?,
        b: legs::save(call.b.as_ref()?, settings)?,
        dialogs,
        media: call.media.as_ref().map(|media| media.save()),
        peers: call.peers.save(),
        started: call.started.unix,
        answered: call.answered?,
        session_ends: call.session_ends,
        unheard: call.unheard.clone(),
        holds: call.gauges.save(),
        rule: call.rule.clone(),
        route: call.route.clone(),
        target: call.target.clone(),
        source: call.source.0,
        to: call.to.clone(),
        from: call.from.clone(),
        agent: call.agent.clone(),
        cseq_ahead: call.cseq_ahead,
        emergency: call.emergency,
    })
}
