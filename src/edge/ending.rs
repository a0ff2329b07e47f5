//! How a call is answered and how it ends: BYE, CANCEL, failure, silence of the media, drain. However it ends,
//! everything that it held is given back here, and one CDR is told.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::call::{Call, CallId, FORKS_MAX, Hops, Leg, dialog_side, side_of};
use super::context::{Context, Errand, Success, Waiting};
use super::event::{Cdr, Event};
use super::record::cdr;
use super::refusal::Refusal;
use super::topology::Viewer;
use super::{Drain, Edge, Timer};
use crate::base::{ListenerId, Now, Transport, TrunkId};
use crate::relay::Side;
use crate::sip::dialog::{self, Dialog};
use crate::sip::message::Message;
use crate::sip::proxy::branch::{Branch, LoopHash};
use crate::sip::proxy::forward::via;
use crate::sip::transaction::{Destination, ServerId};

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
    /// RFC 4028: nobody has refreshed the session.
    SessionExpired,
    /// A rule's `hang_up`.
    Policy,
    /// It has outlasted a restart, but the config does not name its zone, trunk or listener any more.
    NotRestored,
    /// We are going down.
    Drained,
}

impl End {
    pub(super) fn text(self) -> &'static str {
        match self {
            End::Bye(Side::A) => "bye from caller",
            End::Bye(Side::B) => "bye from callee",
            End::Failed(487) => "cancelled",
            End::Failed(408) => "time-out",
            End::Failed(_) => "rejected",
            End::NoMedia => "no media",
            End::Lifetime => "lifetime",
            End::SessionExpired => "session expired",
            End::Policy => "hung up by policy",
            End::NotRestored => "not restored",
            End::Drained => "drained",
        }
    }

    /// RFC 3326, for a BYE of ours.
    fn reason(self) -> Option<&'static [u8]> {
        match self {
            End::NoMedia => Some(b"SIP;cause=480;text=\"No media\""),
            End::Lifetime => Some(b"SIP;cause=480;text=\"Call too long\""),
            End::SessionExpired => Some(b"SIP;cause=408;text=\"Session expired\""),
            // Whose limit, and which, is nobody's business but the administrator's.
            End::Policy => Some(b"SIP;cause=403;text=\"Limit reached\""),
            End::NotRestored => Some(b"SIP;cause=503;text=\"Not restored\""),
            End::Drained => Some(b"SIP;cause=503;text=\"Going down\""),
            End::Bye(_) | End::Failed(_) => None,
        }
    }
}

/// Where a request of our own goes, and as whom we send it.
struct Way {
    to: Destination,
    transport: Transport,
    listener: ListenerId,
    to_whom: Viewer,
    sent_by: Arc<str>,
}

impl Way {
    fn via(&self, branch: &Branch) -> SmallVec<[u8; 160]> {
        via(self.transport, &self.sent_by, branch)
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
            self.listen(id, now);
            self.pay_on(id, now);
        }
    }

    /// It is over. The second time it is nothing.
    pub(super) fn end_call(&mut self, id: CallId, end: End, now: Now) {
        let Some(mut call) = self.calls.remove(id) else { return };
        let timers =
            [call.lifetime.take(), call.session_timer.take(), call.listening.take(), call.paying.take()];
        for timer in timers.into_iter().flatten() {
            self.timers.cancel(timer);
        }
        self.listen_back(&mut call, now);
        for trunk in [call.trunk_in.take(), call.trunk_out.take()].into_iter().flatten() {
            self.trunks.give_back(trunk);
        }
        let answered_for = call.talked(now);
        let spend = call.answered.and_then(|_| call.gauges.cost(answered_for));
        let country = call.gauges.country();
        let (mut gauges, mut policy) = (std::mem::take(&mut call.gauges), self.policy.open());
        if gauges.counts_bytes() {
            policy.relayed_at_last(&mut gauges, call.relayed(), now);
        }
        policy.release(gauges, answered_for, now);
        drop(policy);
        let streams = call.close_media(&mut *self.relay);
        // A challenged INVITE is no call yet: the one that follows it is.
        if !matches!(end, End::Failed(401 | 407)) {
            let listener = self.listener_name(call.a.listener);
            let cdr = Cdr { spend, country, listener, ..cdr(*call, end, streams, now) };
            self.tell(Event::CallEnded(Box::new(cdr)));
        }
    }

    /// A BYE has been answered, or nobody will: its dialog is over, and the call with its last one.
    pub(super) fn end_dialog(&mut self, id: CallId, from: Side, bye: &Message, now: Now) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let tag = call.end_dialog(bye);
        self.calls.changed(id);
        let Some(call) = self.calls.get_mut(id) else { return };
        if !call.is_alive() {
            return self.end_call(id, End::Bye(from), now);
        }
        if let Some(tag) = tag {
            call.forget_answer(&tag, &mut *self.relay);
        }
    }

    /// Ends an answered call from the middle: BYE on both legs.
    pub(super) fn hang_up(&mut self, id: CallId, end: End, now: Now) {
        if let Some(call) = self.calls.get_mut(id) {
            [Side::A, Side::B].iter().for_each(|side| call.find_again(*side, &self.registrations));
        }
        let byes = self.calls.get(id).map(|call| self.byes(call)).unwrap_or_default();
        for (side, fork) in byes {
            self.send_bye(id, fork, side, end.reason(), now);
        }
        self.end_call(id, end, now);
    }

    /// An unanswered call is given up: the caller is told why, the called side gets a CANCEL.
    pub(super) fn give_up(&mut self, server: ServerId, why: Refusal, now: Now) {
        let Some(mut context) = self.contexts.take(server) else { return };
        self.stop_silence(&mut context);
        context.responses.cancel();
        context.abandoned = true;
        let status = why.status().unwrap_or(503);
        context.failure = Some(why);
        self.fail(server, &mut context, status, now);
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
        let branch = self.own_branch();
        let Some(call) = self.calls.get(id) else { return };
        let (Some(leg), Some(fork)) = (call.leg(towards), call.forks.get(fork)) else { return };
        let hops = if towards == Side::A { &leg.hops } else { &fork.hops };
        let Some(way) = self.way_to(leg, hops) else { return };
        let (ahead, trunk) = (call.cseq_ahead.towards(towards), self.login_of(leg));
        let mut out = Vec::with_capacity(512);
        if fork.dialog.bye(dialog_side(towards), ahead, &way.via(&branch), reason, &mut out) {
            let out = self.hidden_own(out, &way, &fork.dialog, towards);
            self.send_own(out, &way, trunk, now);
        }
    }

    /// A request of our own in one side's name as the other one may see it.
    fn hidden_own(&self, bytes: Vec<u8>, way: &Way, dialog: &Dialog, towards: Side) -> Bytes {
        let bytes = Bytes::from(bytes);
        let hides = self.settings.zone(way.to_whom.zone).is_some_and(|zone| zone.hides_topology);
        let hidden = self.face(way.listener, way.transport).filter(|_| hides).and_then(|face| {
            let request = Message::parse(bytes.clone(), &self.settings.limits.message).ok()?;
            let sender = dialog.target(dialog_side(towards.other()));
            self.hide_request(&request, way.to_whom, &face, 0, sender)
        });
        self.with_shown_call_ids(hidden.map_or(bytes, Bytes::from), way.to_whom.zone)
    }

    /// Sends a request of our own whose answer matters to nobody.
    fn send_own(&mut self, bytes: Bytes, way: &Way, trunk: Option<TrunkId>, now: Now) {
        let Ok(mut request) = Message::parse(bytes, &self.settings.limits.message) else { return };
        if let Some(trunk) = trunk {
            let bytes = self.logged_in(&request, trunk);
            let Ok(with_login) = Message::parse(bytes, &self.settings.limits.message) else { return };
            request = with_login;
        }
        if let Some(client) = self.transactions.send_request(request, way.to, way.transport, now.instant) {
            self.contexts.wait(client, Waiting::Bye);
        }
    }

    /// A 2xx came that the caller cannot be given: late, or with an answer that cannot be relayed. The callee thinks
    /// that it is in a call, so it is acknowledged, now and whenever it repeats itself, and if its 2xx began the call,
    /// hung up (RFC 3261 §13.2.2.4, as the caller would).
    pub(super) fn hang_up_callee(
        &mut self,
        context: &mut Context,
        attempt: usize,
        response: &Message,
        now: Now,
    ) {
        if context.successes.len() >= FORKS_MAX {
            return;
        }
        let branches = [self.own_branch(), self.own_branch()];
        let ahead = response.cseq().number.saturating_sub(context.request.message.cseq().number);
        let trunk = context.hops.get(attempt).and_then(|hop| self.login_towards(context, hop.place));
        let Some((way, dialog, towards)) = self.dialog_behind(context, attempt, response) else { return };
        let [ack_via, bye_via] = branches.map(|branch| way.via(&branch));
        let mut ack = Vec::with_capacity(512);
        if !dialog.ack(towards, response.cseq().number, &ack_via, &mut ack) {
            return;
        }
        let ack = self.hidden_own(ack, &way, &dialog, side_of(towards));
        let mut bye = Vec::with_capacity(512);
        let tag = Bytes::copy_from_slice(response.to().tag().unwrap_or_default());
        context.successes.push((tag, Success::HungUp(way.to, ack.clone())));
        self.send(way.to, ack);
        if matches!(context.errand, Errand::Call { .. })
            && dialog.bye(towards, ahead, &bye_via, None, &mut bye)
        {
            let bye = self.hidden_own(bye, &way, &dialog, side_of(towards));
            self.send_own(bye, &way, trunk, now);
        }
    }

    /// The dialog that a 2xx made or belongs to, which side of it sent that, and the way there.
    fn dialog_behind(
        &self,
        context: &Context,
        attempt: usize,
        response: &Message,
    ) -> Option<(Way, Dialog, dialog::Side)> {
        let hop = context.hops.get(attempt)?;
        match context.errand {
            Errand::InCall { call, from, .. } => {
                let call = self.calls.get(call)?;
                let (index, _) = call.sender(&context.request.message)?;
                let (leg, fork) = (call.leg(from.other())?, call.forks.get(index)?);
                let hops = if from == Side::A { &fork.hops } else { &leg.hops };
                Some((self.way_to(leg, hops)?, fork.dialog.clone(), dialog_side(from.other())))
            }
            _ => {
                let leg = self.called_leg(hop)?;
                let sent = self.record_routes_sent(context, hop);
                let dialog = Dialog::new(&context.request.message, response, sent)?;
                let hops = leg.hops_by(dialog.next_hop(dialog::Side::Callee));
                Some((self.way_to(&leg, &hops)?, dialog, dialog::Side::Callee))
            }
        }
    }

    pub(super) fn own_branch(&mut self) -> Branch {
        self.branches = self.branches.wrapping_add(1);
        // It never comes back to us, so there is nothing to recognise.
        Branch::mint(&self.settings.key, self.branches, LoopHash(self.branches))
    }

    fn way_to(&self, leg: &Leg, hops: &Hops) -> Option<Way> {
        let to = *hops.first()?;
        let sent_by = self.settings.listener(leg.listener)?.advertise.clone();
        let transport = to.transport_hint().unwrap_or(leg.transport);
        Some(Way { to, transport, listener: leg.listener, to_whom: Viewer::from(leg), sent_by })
    }

    /// First call: new calls get 503. With `end_calls`: BYE on both legs of every call.
    pub fn drain(&mut self, end_calls: bool, now: Now) {
        if self.drain == Drain::No {
            self.drain = Drain::Draining;
        }
        if end_calls && self.drain != Drain::Ended {
            self.drain = Drain::Ended;
            self.give_up_unanswered(now);
            for id in self.calls.ids() {
                self.hang_up(id, End::Drained, now);
            }
        }
        self.settle(now);
    }

    /// Before a restart that leaves calls standing: new ones get 503, and so do those that ring, which it would lose.
    pub fn leave_calls(&mut self, now: Now) {
        self.drain = Drain::Draining;
        self.give_up_unanswered(now);
        self.settle(now);
    }

    fn give_up_unanswered(&mut self, now: Now) {
        for id in self.calls.ids() {
            let ringing = self.calls.get(id).filter(|call| call.answered.is_none());
            if let Some(server) = ringing.and_then(|call| call.inviting) {
                self.give_up(server, Refusal::Draining, now);
            }
        }
    }
}
