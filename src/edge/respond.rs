//! Responses on their way back (RFC 3261 §16.7): what they tell us about the call or the registration, what their SDP
//! and Contacts become, and the one final answer.

use std::time::Duration;

use bytes::Bytes;

use super::anchoring::carrier;
use super::context::{Context, Errand, Hop, Place, Success, Waiting};
use super::ending::End;
use super::forward::strip_identity;
use super::identify::Speaker;
use super::outgrown::NoStream;
use super::received::Request;
use super::refusal::Refusal;
use super::targets::Tried;
use super::topology::drop_description;
use super::{Edge, answer};
use crate::base::Now;
use crate::relay::Side;
use crate::sip::message::{Edit, Message, Method, Name};
use crate::sip::transaction::{ClientId, ServerId};

impl Edge {
    /// A response that found its response context.
    pub(super) fn respond(&mut self, server: ServerId, client: ClientId, response: Message, now: Now) {
        let Some(mut context) = self.contexts.take(server) else { return };
        let Some(index) = context.attempt_of(client) else { return self.contexts.put(server, context) };
        let status = response.status().unwrap_or(0);
        let is_current = index + 1 == context.attempts.len();
        let rests = if status == 503 { retry_after(&response) } else { None };
        match rests {
            Some(length) => self.hop_tried(&context, index, Tried::Rests(length), now),
            None => self.hop_tried(&context, index, Tried::Took, now),
        }
        if is_current {
            self.stop_silence(&mut context);
            context.datagram = None;
        }
        if let Some(success) = repeated(&context, &response, status) {
            match success {
                Success::Passed(bytes) => {
                    let to = answer::way_back(&context.request.source);
                    self.transactions.respond(server, status, bytes.clone(), to, now.instant);
                }
                Success::HungUp(to, ack) => self.send(*to, ack.clone()),
            }
            return self.contexts.put(server, context);
        }
        let is_late = !is_current || context.responses.is_final() && !context.has_passed();
        if is_late && (200..300).contains(&status) && response.method() == Method::Invite {
            // Media is set up for whoever is asked now, or for nobody any more.
            self.hang_up_callee(&mut context, index, &response, now);
            return self.contexts.put(server, context);
        }
        if is_current
            && matches!(status, 401 | 407)
            && !context.responses.is_final()
            && let Some(asked) = self.answer_challenge(server, &mut context, index, &response, now)
        {
            if !asked {
                // Not the caller's password: to the caller it is a carrier that cannot be reached.
                context.responses.on_send_failed(index);
                return self.advance(server, context, now);
            }
            return self.contexts.put(server, context);
        }
        if matches!(status, 401 | 407)
            && context.responses.is_pending(index)
            && !context.hops.get(index).is_some_and(|hop| self.may_challenge(&context, hop, &response))
        {
            context.failure = Some(Refusal::ForeignChallenge);
            context.responses.on_send_failed(index);
            return self.advance(server, context, now);
        }
        if is_current {
            self.follow(&context, &response);
        }
        context.responses.on_response(index, status, Box::new(response));
        self.advance(server, context, now);
    }

    /// Timer B or F fired, or the request could not be sent.
    pub(super) fn attempt_failed(&mut self, client: ClientId, refusal: Refusal, now: Now) {
        match self.contexts.waiting(client) {
            Some(Waiting::Context(server)) => {
                let Some(mut context) = self.contexts.take(server) else { return };
                if let Some(index) = context.attempt_of(client) {
                    // One that was left before its time counts no second time.
                    if context.responses.is_pending(index)
                        && !self.back_to_datagram(&mut context, NoStream::Refused, now)
                    {
                        self.hop_tried(&context, index, Tried::Failed, now);
                    }
                    self.stop_silence(&mut context);
                    match refusal {
                        Refusal::Silent => context.responses.on_timeout(index),
                        _ => context.responses.on_send_failed(index),
                    }
                    // RFC 5626 §5.3: the registrar may know another flow to the same phone.
                    let lost_phone = refusal == Refusal::NoTarget
                        && matches!(context.hops.get(index).map(|hop| hop.place), Some(Place::Binding(_)));
                    context.failure = Some(if lost_phone { Refusal::FlowFailed } else { refusal });
                }
                self.advance(server, context, now);
            }
            Some(Waiting::Probe(target, to)) => self.probe_unanswered(target, to, client, now),
            Some(Waiting::Register(trunk)) => self.registering_unanswered(trunk, client, now),
            Some(Waiting::Bye) | None => {}
        }
    }

    /// What a response teaches about the dialog that it belongs to.
    fn follow(&mut self, context: &Context, response: &Message) {
        match &context.errand {
            Errand::Call { call, .. } if response.to().tag().is_some() => {
                let sent = context.current_hop().map(|hop| self.record_routes_sent(context, hop));
                if let (Some(held), Some(sent)) = (self.calls.get_mut(*call), sent) {
                    held.learn(&context.request.message, response, sent);
                    if held.answered.is_some() {
                        self.calls.changed(*call);
                    }
                }
            }
            Errand::InCall { call: call_id, from, .. } => {
                if let Some(call) = self.calls.get_mut(*call_id) {
                    call.follow_response(from.other(), response);
                    self.calls.changed(*call_id);
                }
            }
            _ => {}
        }
    }

    /// A provisional response or a 2xx: sent on at once.
    pub(super) fn pass_back(
        &mut self,
        server: ServerId,
        context: &mut Context,
        response: &Message,
        now: Now,
    ) {
        let status = response.status().unwrap_or(0);
        let body = match self.response_body(context, response) {
            Ok(body) => body,
            Err(refusal) => return self.bad_answer(server, context, response, refusal, now),
        };
        let bytes = self.response_bytes(context, response, body, &[]);
        if status >= 200 {
            if response.method() == Method::Invite {
                let tag = Bytes::copy_from_slice(response.to().tag().unwrap_or_default());
                context.successes.push((tag, Success::Passed(bytes.clone())));
            }
            self.succeeded(context, response, now);
        }
        let to = answer::way_back(&context.request.source);
        self.transactions.respond(server, status, bytes, to, now.instant);
    }

    /// The answer in a 2xx or 18x can't be rewritten. A provisional one is swallowed; after a 2xx the callee is hung up
    /// and the caller hears why there is no call. In mid-call the offer is withdrawn, and who made it hears why.
    fn bad_answer(
        &mut self,
        server: ServerId,
        context: &mut Context,
        response: &Message,
        refusal: Refusal,
        now: Now,
    ) {
        if response.status().unwrap_or(0) < 200 {
            return;
        }
        if response.method() == Method::Invite {
            let current = context.attempts.len().saturating_sub(1);
            self.hang_up_callee(context, current, response, now);
        }
        if let Errand::InCall { call, .. } = context.errand
            && let Some(call) = self.calls.get_mut(call)
        {
            call.roll_back(&mut *self.relay);
        }
        context.failure = Some(refusal);
        self.fail(server, context, 502, now);
    }

    /// The one final non-2xx response.
    pub(super) fn finish(
        &mut self,
        server: ServerId,
        context: &mut Context,
        best: &Message,
        others: &[Box<Message>],
        now: Now,
    ) {
        let status = best.status().unwrap_or(500);
        // §16.7 step 7: the challenges of all branches, so that the caller can answer each.
        let mut challenges = Vec::new();
        for other in others {
            for name in [&b"WWW-Authenticate"[..], b"Proxy-Authenticate"] {
                challenges.extend(other.header_named(name).map(|element| (name, element.value)));
            }
        }
        let bytes = self.response_bytes(context, best, None, &challenges);
        self.failed(context, status, Some(best), now);
        let to = answer::way_back(&context.request.source);
        self.transactions.respond(server, status, bytes, to, now.instant);
    }

    /// No response came that could go back: the edge says itself why.
    pub(super) fn fail(&mut self, server: ServerId, context: &mut Context, status: u16, now: Now) {
        let refusal = match (context.cancelled, context.failure.take()) {
            (true, _) => Refusal::Cancelled,
            (false, Some(refusal)) => refusal,
            (false, None) if status == 503 => Refusal::NoTarget,
            (false, None) => Refusal::Silent,
        };
        let request = &context.request;
        if refusal != Refusal::Cancelled {
            self.tell_refused(&request.message, &request.source, &refusal, now);
        }
        let bytes = self.refusal(&request.message, &request.source, &refusal);
        let status = refusal.status().unwrap_or(status);
        self.failed(context, status, None, now);
        let to = answer::way_back(&context.request.source);
        self.transactions.respond(server, status, bytes, to, now.instant);
    }

    /// The body as the other side must see it; `None`: unchanged.
    fn response_body(
        &mut self,
        context: &mut Context,
        response: &Message,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let (call, from, exchange) = match &mut context.errand {
            Errand::Call { call, exchange } => (*call, Side::B, exchange),
            Errand::InCall { call, from, exchange } => (*call, from.other(), exchange),
            _ => return Ok(None),
        };
        let Some(held) = self.calls.get_mut(call) else { return Ok(None) };
        // The tag that names the dialog: the callee's, who has sent the request that A answers.
        let tag = match from {
            Side::A => response.from().tag(),
            Side::B => response.to().tag(),
        };
        let tag = tag.unwrap_or_default();
        let status = response.status().unwrap_or(0);
        // RFC 3262 §3.
        let reliable = response.header(Name::RSeq).is_some();
        let part = held.exchange.response(exchange, from, carrier(response, tag), status, reliable);
        self.rewrite_sdp(call, from, part, tag, response)
    }

    /// The response as it goes back: without our Via, in the phone's own terms.
    fn response_bytes(
        &mut self,
        context: &Context,
        response: &Message,
        body: Option<Vec<u8>>,
        challenges: &[(&[u8], &[u8])],
    ) -> Bytes {
        let mut edit = Edit::new(response);
        let hop = context.current_hop();
        // §16.7 step 3 takes our Via off and believes the rest. Those of the request are the rest that the far end was sent,
        // or would have been were they not hidden; where it lost some, the caller still has an answer.
        put_back_vias(&mut edit, &context.request);
        if let Some(hop) = hop {
            if !self.hop_may_assert(context, hop) {
                strip_identity(&mut edit);
            }
            // What is no challenge by its status (§21.4.2) is none for a phone that looks at the header field alone.
            if !matches!(response.status(), Some(401 | 407))
                && self.speaker_at(context, hop) == Speaker::Stranger
            {
                edit.remove_listed(&["WWW-Authenticate", "Proxy-Authenticate"]);
            }
        }
        self.remove_by_trunk_rules(&mut edit, context);
        self.add_timer(&mut edit, context, response);
        // RFC 3261 §8.2.6.2: the caller's own From, also where a trunk was shown another one.
        let (theirs, ours) = (context.request.message.header(Name::From), response.header(Name::From));
        if let (Some(theirs), Some(ours)) = (theirs, ours)
            && theirs.value != ours.value
        {
            edit.replace(ours, theirs.value);
        }
        let (theirs, ours) = (context.request.message.cseq().number, response.cseq());
        if theirs != ours.number {
            let method = String::from_utf8_lossy(ours.method_bytes);
            edit.set(Name::CSeq, format!("{theirs} {method}").as_bytes());
        }
        if let Errand::Register(contacts) = &context.errand {
            self.restore_contacts(&mut edit, response, contacts, context.request.source.transport);
        }
        if let Some(hop) = hop {
            self.hide_way_back(&mut edit, context, hop, response);
        }
        for (name, value) in challenges {
            edit.append(name, value);
        }
        if let Some(body) = body {
            edit.set_body(&body);
            self.body = body;
        } else if context.request.source.transport.is_reliable() {
            edit.ensure_content_length();
        }
        let (zone, is_redirect) = (context.who.zone, matches!(response.status(), Some(300..400)));
        if !is_redirect && let Some(call_id) = self.shown_call_id(response.call_id(), zone) {
            edit.set(Name::CallId, &call_id);
        }
        let mut out = Vec::new();
        edit.write(&mut out);
        // Its Contacts may name calls too.
        if is_redirect { self.with_shown_call_ids(out.into(), zone) } else { out.into() }
    }

    /// What the sender of the request must not see of the way that it took.
    fn hide_way_back<'m>(&self, edit: &mut Edit<'m>, context: &Context, hop: &Hop, response: &'m Message) {
        if let Some(routes) = self.record_route_back(context, hop, response) {
            edit.remove_all(Name::RecordRoute);
            routes.iter().rev().for_each(|route| edit.add_above(Name::RecordRoute, route));
        }
        let source = &context.request.source;
        let hides_far = self.hides_far(context, hop);
        if hides_far || self.is_hidden_from(context, hop) {
            put_back_to(edit, response, &context.request.message);
        }
        if let Some(face) = self.face(source.listener, source.transport).filter(|_| hides_far) {
            let is_register = matches!(context.errand, Errand::Register(_));
            let target = self.target_of(context, Side::other);
            self.hide_response(edit, response, self.asking(context), &face, is_register, target);
            if matches!(context.errand, Errand::Standalone) || response.status() >= Some(300) {
                drop_description(edit, response);
            }
        }
    }

    /// A 2xx went back.
    fn succeeded(&mut self, context: &Context, response: &Message, now: Now) {
        match &context.errand {
            Errand::Call { call, .. } => {
                self.answered(*call, now);
                self.refresh_session(*call, context, response, now);
            }
            Errand::InCall { call, from, .. } if response.method() == Method::Bye => {
                self.end_dialog(*call, *from, &context.request.message, now);
            }
            Errand::InCall { call, .. } => self.refresh_session(*call, context, response, now),
            Errand::Register(contacts) => self.registered(context, contacts, response, now),
            Errand::Standalone => {}
        }
    }

    /// A final failure goes back.
    fn failed(&mut self, context: &Context, status: u16, response: Option<&Message>, now: Now) {
        match &context.errand {
            Errand::Call { call, .. } => self.end_call(*call, End::Failed(status), now),
            Errand::InCall { call, from, exchange } => {
                let is_challenge = matches!(status, 401 | 407);
                if context.request.message.method() == Method::Bye && !is_challenge {
                    return self.end_dialog(*call, *from, &context.request.message, now);
                }
                let Some(held) = self.calls.get_mut(*call) else { return };
                if held.exchange.failed(exchange) {
                    held.roll_back(&mut *self.relay);
                    self.calls.changed(*call);
                }
            }
            Errand::Register(_) => self.login_refused(context, status, response, now),
            Errand::Standalone => {}
        }
    }

    /// The server transaction is gone.
    pub(super) fn server_gone(&mut self, server: ServerId) {
        if let Some(mut context) = self.contexts.server_gone(server) {
            self.stop_silence(&mut context);
        }
    }
}

/// The Vias of the request, for a response to one that went out with ours alone.
fn put_back_vias(edit: &mut Edit<'_>, request: &Request) {
    let (message, from) = (&request.message, request.source.remote.0);
    let mut stamped = Edit::new(message);
    stamped.stamp_top_via(from.ip(), from.port());
    edit.remove_all(Name::Via);
    let vias: Vec<_> = message.elements(Name::Via).collect();
    vias.iter().rev().for_each(|via| edit.add_above(Name::Via, &stamped.written(*via)));
}

/// RFC 3261 §8.2.6.2: the To of the request, with the tag that the far end gave it.
fn put_back_to<'m>(edit: &mut Edit<'m>, response: &'m Message, message: &Message) {
    if let (Some(theirs), Some(ours)) = (message.header(Name::To), response.header(Name::To)) {
        let tag = response.to().tag().filter(|_| message.to().tag().is_none());
        let tag = tag.map(|tag| [b";tag=", tag].concat()).unwrap_or_default();
        edit.replace(ours, &[theirs.value, &tag].concat());
    }
}

/// What was done with this 2xx when it came first.
fn repeated<'c>(context: &'c Context, response: &Message, status: u16) -> Option<&'c Success> {
    let tag = response.to().tag().unwrap_or_default();
    let found = context.successes.iter().find(|(known, _)| (200..300).contains(&status) && known == tag);
    found.map(|(_, success)| success)
}

/// RFC 3261 §20.33: delta-seconds; a comment and parameters may follow.
fn retry_after(response: &Message) -> Option<Duration> {
    let value = std::str::from_utf8(response.header(Name::RetryAfter)?.value).ok()?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_secs)
}
