//! Routed → the first hop: the response context is opened, for an INVITE the call with it, and hops are tried until
//! one takes the request.

use smallvec::SmallVec;

use super::call::{Call, CallId, Leg};
use super::context::{Context, Errand, Hop, Place, Warrant};
use super::facts::Heard;
use super::flow::FlowEnd;
use super::forward::Forwarded;
use super::identify::{Speaker, Who};
use super::outgrown::NoStream;
use super::received::{Rejected, Request};
use super::refusal::Refusal;
use super::route::{Routed, is_emergency};
use super::targets::{Owner, Tried};
use super::{Edge, Timer, answer, uri};
use crate::base::{Now, TrunkId};
use crate::policy::{GaugeHold, Login};
use crate::sip::message::{Message, Method, Name};
use crate::sip::proxy::response_context::{Final, Verdict};
use crate::sip::transaction::{Destination, ServerId};

impl Edge {
    /// Routed → first attempt.
    pub(super) fn begin(&mut self, routed: Routed) -> Result<(), Rejected> {
        let server = routed.request.server;
        let now = routed.request.at;
        let context = self.open_context(routed)?;
        if let Errand::Call { .. } = context.errand {
            self.trying(&context.request);
        }
        self.advance(server, context, now);
        Ok(())
    }

    fn open_context(&mut self, mut routed: Routed) -> Result<Box<Context>, Rejected> {
        let is_invite = routed.request.message.method() == Method::Invite;
        let errand = match routed.request.message.method() {
            Method::Invite => self.open_call(&mut routed),
            Method::Register if routed.who.speaker == Speaker::Stranger => {
                self.open_registration(&routed.request)
            }
            _ => Ok(Errand::Standalone),
        };
        let Routed { request, who, valid, mut permit, hops, failover, .. } = routed;
        let errand = match errand {
            Ok(errand) => errand,
            Err(refusal) => {
                self.policy.open().release(permit.gauges, std::time::Duration::ZERO, request.at);
                return Err(Rejected { request, refusal });
            }
        };
        if !is_invite {
            // Gauges count calls; nothing else lasts.
            let hold = std::mem::take(&mut permit.gauges);
            self.policy.open().release(hold, std::time::Duration::ZERO, request.at);
        }
        if is_invite && request.source.transport.is_reliable() {
            self.contexts.came_over(request.source.flow, request.server);
        }
        let mut context = Context::new(request, who, valid, Warrant::Permit(permit), errand, hops, failover);
        context.responses.start();
        Ok(Box::new(context))
    }

    fn open_call(&mut self, routed: &mut Routed) -> Result<Errand, Refusal> {
        let Routed { request, who, user, permit, route, .. } = routed;
        let message = &request.message;
        let mut call = Call {
            id: self.calls.next_id(),
            call_id: String::from_utf8_lossy(message.call_id()).into(),
            a: self.caller_leg(request, who, user.clone()),
            b: None,
            forks: SmallVec::new(),
            inviting: Some(request.server),
            exchange: Default::default(),
            media: None,
            peers: Default::default(),
            started: request.at,
            answered: None,
            lifetime: None,
            session_timer: None,
            session_ends: None,
            paying: None,
            hung_up_by: None,
            listening: None,
            unheard: Vec::new(),
            gauges: GaugeHold::default(),
            trunk_in: None,
            trunk_out: None,
            rule: permit.rule.clone(),
            route: route.clone(),
            target: "".into(),
            source: request.source.remote,
            to: uri::called(message).map_or_else(|| "".into(), |user| user.into()),
            from: uri::caller(message).map_or_else(|| "".into(), |user| user.into()),
            agent: self.agents.of(message),
            cseq_ahead: Default::default(),
            emergency: is_emergency(&self.settings, message, who),
            is_written_down: false,
            media_written_down: 0,
        };
        if let Speaker::Trunk(trunk) = who.speaker {
            if !self.trunks.take(trunk, call.emergency, request.at.instant) {
                return Err(Refusal::TrunkLimit);
            }
            call.trunk_in = Some(trunk);
        }
        call.gauges = std::mem::take(&mut permit.gauges);
        let id = call.id;
        self.calls.insert(Box::new(call));
        Ok(Errand::Call { call: id, exchange: Default::default() })
    }

    fn caller_leg(&self, request: &Request, who: &Who, user: Option<std::sync::Arc<str>>) -> Leg {
        let flow = FlowEnd::from(&request.source);
        let mut leg = Leg {
            speaker: who.speaker,
            zone: who.zone,
            trust: who.trust,
            listener: request.source.listener,
            transport: request.source.transport,
            address: request.source.remote.0.ip(),
            flow: Some(flow),
            hops: SmallVec::from_iter([flow.destination()]),
            user,
            name: who.name(&self.settings),
        };
        leg.hops = leg.hops_by(caller_hop(&request.message));
        leg
    }

    /// The called side, once a hop is chosen.
    pub(super) fn called_leg(&self, hop: &Hop) -> Option<Leg> {
        let zone = self.settings.zone(hop.zone)?;
        let speaker = match hop.place {
            Place::Target(id) => match self.targets.get(id)?.owner {
                Owner::Pbx => Speaker::Pbx,
                Owner::Trunk(trunk) => Speaker::Trunk(trunk),
            },
            Place::Binding(_) | Place::Leg => Speaker::Stranger,
        };
        let who = Who { speaker, zone: hop.zone, trust: zone.trust };
        let binding = match hop.place {
            Place::Binding(key) => self.registrations.get(key),
            _ => None,
        };
        let remote = match hop.to {
            Destination::Address { remote, .. } => Some(remote.ip()),
            Destination::Flow(_) => binding.map(|binding| binding.flow.remote.ip()),
        };
        Some(Leg {
            speaker,
            zone: hop.zone,
            trust: zone.trust,
            listener: hop.listener,
            transport: hop.transport,
            address: remote?,
            flow: binding.map(|binding| binding.flow),
            hops: SmallVec::from_iter([hop.to]),
            user: binding.map(|binding| binding.user.clone()),
            name: who.name(&self.settings),
        })
    }

    /// RFC 3261 §16.2: a 100 at once, so that the caller does not repeat its INVITE.
    fn trying(&mut self, request: &Request) {
        let bytes = self.answer(&request.message, &request.source, 100, "Trying", &[]);
        let to = answer::way_back(&request.source);
        self.transactions.respond(request.server, 100, bytes, to, request.at.instant);
    }

    /// Does what the response context decided, and puts it back unless nothing is left for it to do.
    pub(super) fn advance(&mut self, server: ServerId, mut context: Box<Context>, now: Now) {
        while let Some(verdict) = context.responses.poll() {
            match verdict {
                Verdict::Try(index) => self.try_hop(server, &mut context, index, now),
                Verdict::Forward(response) => self.pass_back(server, &mut context, &response, now),
                Verdict::Cancel(index) => {
                    if let Some(client) = context.attempts.get(index).copied().flatten() {
                        self.transactions.cancel(client, now.instant);
                    }
                }
                Verdict::Final(Final::Response { best, others }) => {
                    self.finish(server, &mut context, &best, &others, now);
                }
                Verdict::Final(Final::Status(status)) => self.fail(server, &mut context, status, now),
            }
        }
        if !context.is_done() {
            self.contexts.put(server, context);
        }
    }

    /// One hop: Routed → Anchored → Forwarded.
    fn try_hop(&mut self, server: ServerId, context: &mut Context, index: usize, now: Now) {
        debug_assert_eq!(index, context.attempts.len());
        self.stop_silence(context);
        let forwarded = self
            .choose_hop(context, index, now)
            .and_then(|hop| self.check_session(context).map(|()| hop))
            .and_then(|hop| self.anchor(context, hop))
            .and_then(|anchored| self.forward(server, context, anchored, now));
        match forwarded {
            Ok(Forwarded { client, sent }) => {
                context.attempts.push(Some(client));
                (context.sent, context.challenged) = (sent, 0);
                if self.is_impatient(context, index) {
                    let at = now.instant + context.failover.after;
                    context.silence = Some(self.timers.set(at, Timer::Silence(server, index as u32)));
                }
            }
            Err(refusal) => {
                context.attempts.push(None);
                context.failure = Some(refusal);
                context.responses.on_send_failed(index);
            }
        }
    }

    /// A host that gives no sign is left for the next one; the last one, too, where the caller is told at once. A phone
    /// may take its time.
    fn is_impatient(&self, context: &Context, index: usize) -> bool {
        let is_host = context.hops.get(index).is_some_and(|hop| matches!(hop.place, Place::Target(_)));
        let told_at_once = matches!(context.errand, Errand::Call { .. } | Errand::Register(_));
        is_host && matches!(context.warrant, Warrant::Permit(_)) && (told_at_once || context.has_more())
    }

    fn choose_hop(&mut self, context: &Context, index: usize, now: Now) -> Result<Hop, Refusal> {
        let hop = *context.hops.get(index).ok_or(Refusal::NoTarget)?;
        let Errand::Call { call: id, .. } = context.errand else {
            self.ask_of_trunk(context, &hop, now)?;
            return Ok(hop);
        };
        let leg = self.called_leg(&hop).ok_or(Refusal::NoTarget)?;
        let target = match hop.place {
            Place::Target(id) => self.targets.get(id).map(|state| state.target.uri.clone()),
            Place::Binding(_) | Place::Leg => leg.user.clone(),
        };
        let trunk = match leg.speaker {
            Speaker::Trunk(trunk) => Some(trunk),
            _ => None,
        };
        self.go_to_trunk(context, id, trunk, now)?;
        let Some(call) = self.calls.get_mut(id) else { return Err(Refusal::NoSuchCall) };
        call.b = Some(leg);
        // Early dialogs of a host that was left are over.
        call.forks.clear();
        call.target = target.unwrap_or_else(|| "".into());
        Ok(hop)
    }

    /// A call leaves the trunk that it went to for this one, or for none: what it took there is given back, and it takes here what the
    /// trunk's limits and the policies of `routes` count.
    fn go_to_trunk(
        &mut self,
        context: &Context,
        id: CallId,
        trunk: Option<TrunkId>,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(call) = self.calls.get_mut(id) else { return Err(Refusal::NoSuchCall) };
        if call.trunk_out == trunk {
            return Ok(());
        }
        if let Some(before) = call.trunk_out.take() {
            self.trunks.give_back(before);
        }
        self.policy.open().leave_trunk(&mut call.gauges, now);
        let Some(trunk) = trunk else { return Ok(()) };
        let (mut gauges, user) = (std::mem::take(&mut call.gauges), call.a.user.clone());
        let mut taken = self.ask_routes(context, trunk, user.as_deref(), &mut gauges, now);
        let Some(call) = self.calls.get_mut(id) else { return Err(Refusal::NoSuchCall) };
        call.gauges = gauges;
        if taken.is_ok() && !self.trunks.take(trunk, call.emergency, now.instant) {
            self.policy.open().leave_trunk(&mut call.gauges, now);
            taken = Err(Refusal::TrunkLimit);
        }
        call.trunk_out = Some(trunk).filter(|_| taken.is_ok());
        taken
    }

    /// Of a request that is no call; what is in a dialog may go wherever that goes.
    fn ask_of_trunk(&mut self, context: &Context, hop: &Hop, now: Now) -> Result<(), Refusal> {
        let Place::Target(id) = hop.place else { return Ok(()) };
        let Some(Owner::Trunk(trunk)) = self.targets.get(id).map(|state| state.owner) else { return Ok(()) };
        if !matches!(context.warrant, Warrant::Permit(_)) {
            return Ok(());
        }
        let mut nothing = GaugeHold::default();
        let asked = self.ask_routes(context, trunk, None, &mut nothing, now);
        self.policy.open().release(nothing, std::time::Duration::ZERO, now);
        asked
    }

    /// DESIGN.md §6, `routes`: may this request go to that trunk? What it takes there goes to `hold`.
    fn ask_routes(
        &mut self,
        context: &Context,
        trunk: TrunkId,
        user: Option<&str>,
        hold: &mut GaugeHold,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.policy.open().speaks_of_routes() {
            return Ok(());
        }
        let Context { request, who, .. } = context;
        let heard = Heard {
            message: &request.message,
            source: &request.source,
            who,
            admitted: true,
            user,
            login: Login::Settled,
            has_answered: false,
            trunk_out: Some(trunk),
        };
        let decided = heard.facts(&self.settings, |facts| {
            let mut policy = self.policy.open();
            let decided = policy.go_to_trunk(hold, facts, now);
            if decided.is_err() && request.message.method() == Method::Invite {
                let call_id = String::from_utf8_lossy(request.message.call_id());
                policy.keep(&call_id, Some(facts), true, now);
            }
            decided
        });
        self.tell_alerts(request.message.call_id());
        decided.map_err(Refusal::at_a_trunk)
    }

    /// The hop that is tried gave no sign in time.
    pub(super) fn no_sign(&mut self, server: ServerId, index: usize, now: Now) {
        let Some(mut context) = self.contexts.take(server) else { return };
        context.silence = None;
        context.abandoned = true;
        context.failure = Some(Refusal::Silent);
        if !self.back_to_datagram(&mut context, NoStream::Silent, now) {
            self.hop_tried(&context, index, Tried::Failed, now);
        }
        context.responses.on_no_answer(index);
        self.advance(server, context, now);
    }

    pub(super) fn stop_silence(&mut self, context: &mut Context) {
        if let Some(timer) = context.silence.take() {
            self.timers.cancel(timer);
        }
    }
}

/// The URI that requests towards the caller are sent to: its nearest proxy, or its Contact (RFC 3261 §12.1.1).
fn caller_hop(invite: &Message) -> Option<&[u8]> {
    let element =
        invite.elements(Name::RecordRoute).next().or_else(|| invite.elements(Name::Contact).next())?;
    Some(element.name_addr().ok()?.uri)
}
