//! How a call is answered and how it ends: BYE, CANCEL, failure, silence of the media, drain. However it ends,
//! everything that it held is given back here, and one CDR is told.

use std::time::Duration;

use super::call::{Call, CallId, dialog_side};
use super::context::{Context, Waiting};
use super::event::{Cdr, Event};
use super::refusal::Refusal;
use super::{Drain, Edge, Timer};
use crate::base::Now;
use crate::relay::{RelayEvent, Side};
use crate::sip::dialog;
use crate::sip::message::Message;
use crate::sip::proxy::branch::{Branch, LoopHash};
use crate::sip::proxy::forward::via;
use crate::sip::transaction::ServerId;

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// BYE, from that side.
    Bye(Side),
    /// The INVITE failed with this status.
    Failed(u16),
    /// No packet on any stream for `idle_timeout`.
    NoMedia,
    /// `Limits::call_lifetime`.
    Lifetime,
    /// We are going down.
    Drained,
}

impl End {
    fn text(self) -> &'static str {
        match self {
            End::Bye(Side::A) => "bye from caller",
            End::Bye(Side::B) => "bye from callee",
            End::Failed(487) => "cancelled",
            End::Failed(408) => "time-out",
            End::Failed(_) => "rejected",
            End::NoMedia => "no media",
            End::Lifetime => "lifetime",
            End::Drained => "drained",
        }
    }

    /// RFC 3326, for a BYE of ours.
    fn reason(self) -> Option<&'static [u8]> {
        match self {
            End::NoMedia => Some(b"SIP;cause=480;text=\"No media\""),
            End::Lifetime => Some(b"SIP;cause=480;text=\"Call too long\""),
            End::Drained => Some(b"SIP;cause=503;text=\"Going down\""),
            End::Bye(_) | End::Failed(_) => None,
        }
    }
}

impl Edge {
    /// The 2xx of the first INVITE went back.
    pub(super) fn answered(&mut self, id: CallId, now: Now) {
        if !self.calls.set_answered(id, now.unix) {
            return;
        }
        let lifetime =
            self.timers.set(now.instant + self.settings.limits.call_lifetime, Timer::CallLifetime(id));
        if let Some(call) = self.calls.get_mut(id) {
            call.lifetime = Some(lifetime);
            call.inviting = None;
            let setup = now.instant.saturating_duration_since(call.started.instant);
            let call_id = call.call_id.clone();
            self.tell(Event::Answered { call_id, setup });
        }
    }

    /// It is over. The second time it is nothing.
    pub(super) fn end_call(&mut self, id: CallId, end: End, now: Now) {
        let Some(mut call) = self.calls.remove(id) else { return };
        if let Some(timer) = call.lifetime.take() {
            self.timers.cancel(timer);
        }
        for trunk in [call.trunk_in.take(), call.trunk_out.take()].into_iter().flatten() {
            self.trunks.give_back(trunk);
        }
        let answered_for =
            call.answered.map_or(Duration::ZERO, |answered| now.unix.0.saturating_sub(answered.0));
        self.policy.release(std::mem::take(&mut call.gauges), answered_for, now);
        let streams = match &mut call.media {
            Some(media) => {
                let streams = media.streams();
                media.close(&mut *self.relay);
                streams
            }
            None => Vec::new(),
        };
        // A challenged INVITE is no call yet: the one that follows it is.
        if !matches!(end, End::Failed(401 | 407)) {
            self.tell(Event::CallEnded(Box::new(cdr(call, end, streams, now))));
        }
    }

    /// Ends an answered call from the middle: BYE on both legs.
    pub(super) fn hang_up(&mut self, id: CallId, end: End, now: Now) {
        let byes = self.calls.get(id).map(|call| self.byes(call)).unwrap_or_default();
        for (side, fork) in byes {
            self.send_bye(id, fork, side, end.reason(), now);
        }
        self.end_call(id, end, now);
    }

    /// An unanswered call is given up: 503 to the caller, CANCEL to the called.
    fn give_up(&mut self, server: ServerId, now: Now) {
        let Some(mut context) = self.contexts.take(server) else { return };
        self.stop_silence(&mut context);
        context.responses.cancel();
        context.failure = Some(Refusal::Draining);
        self.fail(server, &mut context, 503, now);
        self.advance(server, context, now);
    }

    /// Which BYEs end every dialog of the call.
    fn byes(&self, call: &Call) -> Vec<(Side, usize)> {
        let confirmed =
            |fork: &&(usize, &super::call::Fork)| fork.1.dialog.state() == dialog::DialogState::Confirmed;
        let forks = call.forks.iter().enumerate();
        let forks: Vec<_> = forks.collect();
        forks.iter().filter(confirmed).flat_map(|(index, _)| [(Side::A, *index), (Side::B, *index)]).collect()
    }

    fn send_bye(&mut self, id: CallId, fork: usize, towards: Side, reason: Option<&[u8]>, now: Now) {
        self.branches = self.branches.wrapping_add(1);
        let branch = Branch::mint(&self.settings.key, self.branches, LoopHash(id.0));
        let Some(call) = self.calls.get(id) else { return };
        let (Some(leg), Some(fork)) = (call.leg(towards), call.forks.get(fork)) else { return };
        let hops = if towards == Side::A { &leg.hops } else { &fork.hops };
        let Some(to) = hops.first().copied() else { return };
        let (transport, listener) = (to.transport_hint().unwrap_or(leg.transport), leg.listener);
        let sent_by = self.settings.listener(listener).map_or("", |listener| &listener.advertise);
        let mut out = Vec::with_capacity(512);
        if !fork.dialog.bye(dialog_side(towards), &via(transport, sent_by, &branch), reason, &mut out) {
            return;
        }
        let Ok(bye) = Message::parse(out.into(), &self.settings.limits.message) else { return };
        if let Some(client) = self.transactions.send_request(bye, to, transport, now.instant) {
            self.contexts.wait(client, Waiting::Bye);
        }
    }

    /// A 2xx came that the caller cannot be given: the callee, who thinks that it is in a call, is acknowledged and hung
    /// up.
    pub(super) fn hang_up_callee(&mut self, context: &Context, response: &Message, now: Now) {
        let super::context::Errand::Call { call, .. } = context.errand else { return };
        let tag = response.to().tag().unwrap_or_default();
        let fork = self
            .calls
            .get(call)
            .and_then(|call| call.forks.iter().position(|fork| fork.dialog.tag(dialog::Side::Callee) == tag));
        if let Some(fork) = fork {
            self.send_bye(call, fork, Side::B, Some(b"SIP;cause=488;text=\"SDP cannot be relayed\""), now);
        }
    }

    /// A relay worker reports.
    pub fn handle_relay(&mut self, event: RelayEvent, now: Now) {
        let RelayEvent::Idle(pair) = event;
        let Some(id) = self.calls.of_pair(pair) else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        let all_idle = call.media.as_mut().is_some_and(|media| media.handle_relay(event));
        if all_idle && call.answered.is_some() {
            self.hang_up(id, End::NoMedia, now);
        }
        self.settle(now);
    }

    /// First call: new calls get 503. With `end_calls`: BYE on both legs of every call.
    pub fn drain(&mut self, end_calls: bool, now: Now) {
        if self.drain == Drain::No {
            self.drain = Drain::Draining;
        }
        if end_calls && self.drain != Drain::Ended {
            self.drain = Drain::Ended;
            for id in self.calls.ids() {
                match self.calls.get(id).map(|call| (call.answered.is_some(), call.inviting)) {
                    Some((true, _)) => self.hang_up(id, End::Drained, now),
                    Some((false, Some(server))) => self.give_up(server, now),
                    Some((false, None)) | None => {}
                }
            }
        }
        self.settle(now);
    }
}

fn cdr(call: Call, end: End, media: Vec<super::event::StreamCdr>, now: Now) -> Cdr {
    let to_party = call.b.as_ref().map_or_else(|| "".into(), |leg| leg.name.clone());
    Cdr {
        started: call.started.unix,
        answered: call.answered,
        ended: now.unix,
        call_id: call.call_id,
        from: call.from,
        to: call.to,
        source: call.source,
        from_party: call.a.name,
        to_party,
        target: call.target,
        route: call.route,
        rule: call.rule,
        status: match end {
            End::Failed(status) => status,
            _ => 200,
        },
        end: end.text(),
        media,
    }
}
