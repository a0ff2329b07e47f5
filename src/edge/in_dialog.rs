//! Requests in a dialog: only for its parties, and only to its other end (RFC 3261 §12.2, §16.11; ATTACKS.md:
//! in-dialog hijack, forged To tag).

use smallvec::SmallVec;

use super::call::{CallId, Hops, Leg, dialog_side};
use super::context::{Context, Errand, Hop, Place, Warrant};
use super::dialog_ends::{self, DialogEnds, Endpoint};
use super::flow::FlowEnd;
use super::identify::{self, Identified, Speaker, Who};
use super::received::{Received, Rejected, Request};
use super::refusal::Refusal;
use super::settings::Failover;
use super::targets::Way;
use super::{Edge, answer};
use crate::base::Now;
use crate::relay::Side;
use crate::sip::message::{Message, Method, Name, param};
use crate::sip::proxy::token::{Token, TokenKind};
use crate::sip::transaction::{Destination, ServerId, Source};
use crate::sip::uri::Uri;

/// Proof that a request belongs to a dialog and comes from one of its parties: this module alone makes one.
#[derive(Debug)]
pub struct Membership(());

/// A request of a dialog and where its other end is.
struct Found {
    errand: Errand,
    hops: SmallVec<[Hop; 2]>,
}

impl Found {
    /// What does not reach the other end of a dialog has nowhere else to go.
    fn context(self, identified: Identified) -> Context {
        let Identified { request, who, valid } = identified;
        let failover = Failover { statuses: Vec::new(), after: std::time::Duration::ZERO };
        let warrant = Warrant::Member(Membership(()));
        Context::new(request, who, valid, warrant, self.errand, self.hops, failover)
    }
}

impl Edge {
    /// Identified → Forwarded, for a request with a To tag.
    pub(super) fn carry_in_dialog(&mut self, identified: Identified) -> Result<(), Rejected> {
        let found = match self.find_dialog(&identified) {
            Ok(found) => found,
            Err(refusal) => return Err(identified.reject(refusal)),
        };
        let (server, now) = (identified.request.server, identified.request.at);
        if self.ends_here(&found.errand, &identified.request, now) {
            return Ok(());
        }
        let mut context = found.context(identified);
        context.responses.start();
        self.advance(server, Box::new(context), now);
        Ok(())
    }

    fn find_dialog(&mut self, identified: &Identified) -> Result<Found, Refusal> {
        let Identified { request, who, .. } = identified;
        let message = &request.message;
        let text = our_route(message).ok_or(Refusal::NoSuchCall)?;
        if let Some(number) = Token::open(&self.settings.key, TokenKind::Call, text) {
            let (from, hops) = self.enter_call(CallId(number), message, &request.source, who)?;
            let errand = Errand::InCall { call: CallId(number), from, exchange: Default::default() };
            return Ok(Found { errand, hops });
        }
        // A dialog that began without a call carries no call either.
        let carries = matches!(message.method(), Method::Subscribe | Method::Notify | Method::Refer);
        let ends = dialog_ends::open(&self.settings.key, text, message.call_id()).filter(|_| carries);
        let hop = self.other_end(&ends.ok_or(Refusal::NoSuchCall)?, request, who)?;
        Ok(Found { errand: Errand::Standalone, hops: SmallVec::from_iter([hop]) })
    }

    /// The call's side that a request comes from, and where its other side is. The call takes note of the request.
    fn enter_call(
        &mut self,
        id: CallId,
        message: &Message,
        source: &Source,
        who: &Who,
    ) -> Result<(Side, SmallVec<[Hop; 2]>), Refusal> {
        let call = self.calls.get_mut(id).ok_or(Refusal::NoSuchCall)?;
        let (index, from) = call.sender(message).ok_or(Refusal::NoSuchCall)?;
        let flow = FlowEnd::from(source);
        let registrations = &self.registrations;
        let leg = call.leg(from).ok_or(Refusal::NoSuchCall)?;
        if !leg.is_party(&flow, who, registrations) {
            return Err(Refusal::NotAParty);
        }
        call.moved(from, flow);
        call.find_again(from.other(), registrations);
        let refreshes = matches!(message.method(), Method::Invite | Method::Update);
        let fork = call.forks.get_mut(index).ok_or(Refusal::NoSuchCall)?;
        fork.dialog.check(message)?;
        fork.dialog.follow_request(dialog_side(from), message);
        if refreshes {
            call.refresh_hops(index, from);
        }
        let towards = call.leg(from.other()).ok_or(Refusal::NoSuchCall)?;
        let hops = match from {
            Side::A => call.forks.get(index).map(|fork| &fork.hops),
            Side::B => Some(&towards.hops),
        };
        let hops = hops_to(towards, hops.unwrap_or(&towards.hops));
        self.calls.changed(id);
        Ok((from, hops))
    }

    /// The end of a dialog without a call that the request does not come from.
    fn other_end(&self, ends: &DialogEnds, request: &Request, who: &Who) -> Result<Hop, Refusal> {
        let (flow, now) = (FlowEnd::from(&request.source), request.at.instant);
        let is_at = |end: &Endpoint| match end {
            Endpoint::Flow(end) => *end == flow,
            Endpoint::Binding(key) => self.registrations.get(*key).is_some_and(|b| b.flow == flow),
            Endpoint::Target(id) => self
                .targets
                .get(*id)
                .is_some_and(|state| who.zone == state.zone && who.speaker == Speaker::from(state.owner)),
        };
        let towards = match (is_at(&ends.first), is_at(&ends.second)) {
            (true, _) => &ends.second,
            (false, true) => &ends.first,
            (false, false) => return Err(Refusal::NotAParty),
        };
        let hop = match towards {
            Endpoint::Flow(end) => Some(Hop {
                to: end.destination(),
                transport: end.transport,
                listener: end.listener,
                zone: self.settings.listener(end.listener).ok_or(Refusal::FlowFailed)?.zone,
                place: Place::Leg,
            }),
            Endpoint::Binding(key) => {
                self.registrations.get(*key).and_then(|binding| self.hop_to(*key, binding))
            }
            Endpoint::Target(id) => self.targets.get(*id).and_then(|state| {
                let Way { to, transport, listener } = state.ways(now).next()?;
                Some(Hop { to, transport, listener, zone: state.zone, place: Place::Target(*id) })
            }),
        };
        hop.ok_or(Refusal::FlowFailed)
    }

    /// §16.11: the ACK of a 2xx, passed on without a transaction. Whoever has no business here hears nothing.
    pub(super) fn acknowledge(&mut self, ack: Message, source: &Source, now: Now) {
        // The server id stands for none: nothing is ever answered to an ACK.
        let request =
            Box::new(Request { message: ack, source: *source, server: ServerId(u64::MAX), at: now });
        let received = Received { request };
        let identified = identify::identify(received, &self.settings, &self.targets, &self.certified);
        let Ok(identified) = identified else { return };
        let Ok(found) = self.find_dialog(&identified) else { return };
        let Some(hop) = found.hops.first().copied() else { return };
        let mut context = found.context(identified);
        // An answer that cannot be read is not passed on either: the callee would send media to a private address.
        let Ok(anchored) = self.anchor(&mut context, hop) else { return };
        let branch = self.mint_branch(&context);
        let mut bytes = self.request_to(&context, &hop, &branch, anchored.body.as_deref());
        let mut to = hop.to;
        if let Some(tcp) = self.tcp_for_ack(&context, &hop, bytes.len(), now) {
            to = tcp.to;
            bytes = self.request_to(&context, &tcp, &branch, anchored.body.as_deref());
        }
        self.send(to, bytes);
    }

    /// §16.10, §9.2: the CANCEL is answered here, and what was sent out for its INVITE is cancelled in turn.
    pub(super) fn cancel(
        &mut self,
        cancel: Message,
        source: &Source,
        server: ServerId,
        invite: ServerId,
        now: Now,
    ) {
        let mine = self.contexts.get(invite).is_some_and(|context| {
            let from = &context.request.source;
            FlowEnd::from(from) == FlowEnd::from(source) || from.remote.0.ip() == source.remote.0.ip()
        });
        let (status, reason) = if mine { (200, "OK") } else { (481, "Call/Transaction Does Not Exist") };
        let bytes = self.answer(&cancel, source, status, reason, &[]);
        let to = answer::way_back(source);
        if mine {
            self.transactions.respond(server, status, bytes, to, now.instant);
            self.withdraw(invite, now);
        } else {
            // Or the caller's own CANCEL, which has the same branch, would be a retransmission of this one.
            self.transactions.abandon(server);
            self.send(to, bytes);
        }
    }

    /// The caller has cancelled its INVITE, or is gone: what was sent out for it is cancelled.
    pub(super) fn withdraw(&mut self, invite: ServerId, now: Now) {
        let Some(mut context) = self.contexts.take(invite) else { return };
        context.cancelled = true;
        self.stop_silence(&mut context);
        context.responses.cancel();
        self.advance(invite, context, now);
    }
}

/// The token that we put into the user part of our Record-Route: in the topmost Route, or, where a strict router sent
/// the request, in the Request-URI (§16.4).
fn our_route(message: &Message) -> Option<&[u8]> {
    if let Some(uri) = message.uri().filter(|uri| param(uri.params, b"lr").is_some()) {
        return uri.user;
    }
    Uri::parse(message.elements(Name::Route).next()?.name_addr().ok()?.uri)?.user
}

/// A leg's hops as the request context wants them.
fn hops_to(leg: &Leg, hops: &Hops) -> SmallVec<[Hop; 2]> {
    let hop = |to: &Destination| Hop {
        to: *to,
        transport: to.transport_hint().unwrap_or(leg.transport),
        listener: leg.listener,
        zone: leg.zone,
        place: Place::Leg,
    };
    hops.iter().map(hop).collect()
}
