//! Anchored → Forwarded: the request as it leaves (RFC 3261 §16.6). Takes the warrant: what policy did not permit, and
//! is in no dialog, does not come here.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::anchoring::Anchored;
use super::call::{CallId, dialog_side};
use super::context::{Context, Errand, Hop, Place, Waiting, Warrant};
use super::dialog_ends::{self, DialogEnds, Endpoint};
use super::flow::FlowEnd;
use super::identify::Speaker;
use super::refusal::Refusal;
use super::settings::Listener;
use super::targets::{Owner, TargetState};
use super::{Edge, uri};
use crate::base::{ListenerId, Now, Transport};
use crate::relay::Side;
use crate::sip::digest::Asked;
use crate::sip::message::{Edit, Message, Method, Name, param};
use crate::sip::proxy::branch::Branch;
use crate::sip::proxy::forward::{Hop as NextHop, forward, record_route};
use crate::sip::proxy::route_info::{RouteInfo, route_info};
use crate::sip::proxy::token::{Token, TokenKind};
use crate::sip::transaction::{ClientId, Outgoing, ServerId};
use crate::sip::uri::{Scheme, Uri};

/// Headers by which one trusted party tells another who calls, for whom, and who pays (RFC 3325, RFC 5502, RFC 5806,
/// RFC 7044, RFC 7315), and the private ones in which PBXs take a proxy's word for who was authenticated: from a
/// stranger they are lies. Other `X-` headers are applications' own; `headers: remove` is for those.
const IDENTITY: [&str; 11] = [
    "P-Asserted-*",
    "P-Preferred-*",
    "P-Charg*",
    "P-Served-User",
    "Remote-Party-ID",
    "Diversion",
    "CC-Diversion",
    "History-Info",
    "X-Asserted*",
    "X-Auth*",
    "X-Trust*",
];

/// A request that has left.
#[derive(Debug)]
pub struct Forwarded {
    /// In this transaction.
    pub client: ClientId,
    /// As these bytes, if it may have to be sent again.
    pub sent: Option<Bytes>,
}

impl Edge {
    /// Sends the request to one hop in a client transaction of its own.
    pub(super) fn forward(
        &mut self,
        server: ServerId,
        context: &mut Context,
        anchored: Anchored,
        now: Now,
    ) -> Result<Forwarded, Refusal> {
        let Anchored { mut hop, body } = anchored;
        let branch = self.mint_branch(context);
        let mut bytes = self.request_to(context, &hop, &branch, body.as_deref());
        context.datagram = None;
        if let Some(tcp) = self.tcp_instead(context, &hop, bytes.len(), now) {
            self.take_stream(context, tcp);
            hop = tcp;
            bytes = self.request_to(context, &hop, &branch, body.as_deref());
        }
        if let Some(body) = body {
            self.body = body;
        }
        if bytes.len() > self.settings.limits.message.message {
            return Err(Refusal::TooLarge);
        }
        let sent = self.login_towards(context, hop.place).map(|_| bytes.clone());
        let method = context.request.message.method_bytes();
        let request = Outgoing { bytes, method, branch: branch.as_bytes() };
        let client = self.transactions.send(request, hop.to, hop.transport, now.instant);
        let client = client.ok_or(Refusal::TransactionsFull)?;
        self.contexts.wait(client, Waiting::Context(server));
        Ok(Forwarded { client, sent })
    }

    /// The bytes for one hop.
    pub(super) fn request_to(
        &mut self,
        context: &Context,
        hop: &Hop,
        branch: &Branch,
        body: Option<&[u8]>,
    ) -> Bytes {
        let request = &context.request;
        let message = &request.message;
        let mut edit = Edit::new(message);
        edit.stamp_top_via(request.source.remote.0.ip(), request.source.remote.0.port());
        let mut route = route_info(message, |uri| self.is_ours(uri));
        // Routes that a stranger preloads lead nowhere; those of a dialog were learnt by its parties from us.
        if let Warrant::Permit(_) = context.warrant {
            route.removed.extend(route.remaining.drain(..));
        }
        let target = self.target_uri(context, hop, &route);
        let record_route = self.record_route(context, hop);
        let record_route: SmallVec<[&[u8]; 2]> = record_route.iter().map(|value| &value[..]).collect();
        let sent_by = self.settings.listener(hop.listener).map_or("", |listener| &listener.advertise);
        let next = NextHop {
            uri: &target,
            max_forwards: context.valid.max_forwards,
            record_route: &record_route,
            transport: hop.transport,
            sent_by,
            branch,
        };
        forward(&mut edit, message, &route, &next);
        if !context.who.may_assert(&self.settings) {
            strip_identity(&mut edit);
        }
        if context.who.speaker == Speaker::Stranger
            && matches!(self.speaker_at(context, hop), Speaker::Trunk(_))
        {
            // A phone knows passwords of the PBX's, and a digest is something to guess them with.
            edit.remove_all(Name::Authorization);
            edit.remove_all(Name::ProxyAuthorization);
        } else {
            self.strip_credentials(&mut edit, context, message);
        }
        if let Warrant::Permit(_) = context.warrant {
            self.apply_trunk_rules(&mut edit, context, hop);
        }
        self.ask_for_timer(&mut edit, context);
        self.raise_cseq(&mut edit, context);
        if message.method() != Method::Ack
            && let Some(trunk) = self.login_towards(context, hop.place)
        {
            let body = body.unwrap_or(message.body());
            let asked = Asked { method: message.method_bytes(), uri: &target, body, count: 0, cnonce: 0 };
            self.log_in(&mut edit, trunk, asked);
        }
        if let Errand::Register(contacts) = &context.errand {
            self.rewrite_register(&mut edit, message, contacts, hop);
        }
        if let Some(body) = body {
            edit.set_body(body);
        }
        let mut out = Vec::new();
        edit.write(&mut out);
        let hidden = self.hidden_request(out.into(), context, hop, record_route.len());
        self.with_shown_call_ids(hidden, hop.zone)
    }

    /// The request as the hop's zone may see it. Last of all, so that what rules have put in is hidden too.
    fn hidden_request(&self, bytes: Bytes, context: &Context, hop: &Hop, own_routes: usize) -> Bytes {
        let face = self.face(hop.listener, hop.transport).filter(|_| self.is_hidden_from(context, hop));
        let Some(face) = face else { return bytes };
        let Ok(request) = Message::parse(bytes.clone(), &self.settings.limits.message) else { return bytes };
        let target = self.target_of(context, |from| from);
        let hidden = self.hide_request(&request, self.asked(context, hop), &face, own_routes, target);
        hidden.map_or(bytes, Bytes::from)
    }

    /// The remote target of a side of the call that a request belongs to; which one, by the side that sent it.
    pub(super) fn target_of(&self, context: &Context, which: fn(Side) -> Side) -> Option<&[u8]> {
        let Errand::InCall { call, from, .. } = context.errand else { return None };
        let call = self.calls.get(call)?;
        let (index, _) = call.sender(&context.request.message)?;
        call.forks.get(index)?.dialog.target(dialog_side(which(from)))
    }

    pub(super) fn mint_branch(&mut self, context: &Context) -> Branch {
        self.branches = self.branches.wrapping_add(1);
        Branch::mint(&self.settings.key, self.branches, context.valid.loop_hash)
    }

    /// Does this URI's host and port name one of our listeners?
    pub(super) fn is_ours(&self, uri: &Uri<'_>) -> bool {
        let ip = uri.ip();
        self.settings.listeners.iter().any(|listener| {
            let port = uri.port.unwrap_or(listener.transport.default_port());
            ip == Some(listener.bind.ip()) && port == listener.bind.port()
                || is_advertised(listener, uri.host, port)
        })
    }

    /// §16.6 step 2: what the Request-URI becomes.
    fn target_uri<'m>(&self, context: &'m Context, hop: &Hop, route: &RouteInfo<'m>) -> Cow<'m, [u8]> {
        match hop.place {
            Place::Leg => route.uri.clone(),
            Place::Binding(key) => match self.registrations.get(key) {
                Some(binding) => Cow::Owned(binding.contact.to_vec()),
                None => route.uri.clone(),
            },
            Place::Target(id) => match (self.targets.get(id), &context.warrant) {
                // In a dialog of which we hold nothing, the URI is the remote target.
                (Some(_), Warrant::Member(_)) => route.uri.clone(),
                (Some(state), Warrant::Permit(_)) => {
                    let request = &context.request.message;
                    let number = uri::user(request).map(|number| {
                        let towards = self.number_towards(&number, &context.who, hop);
                        (towards != number).then(|| uri::escaped_user(&towards))
                    });
                    self.uri_at(request, state, number.flatten().as_deref())
                }
                (None, _) => route.uri.clone(),
            },
        }
    }

    /// The called user at a configured host. A trunk knows itself by its own name; the PBX knows its domains, but not
    /// our addresses, and an address of anyone else's in the URI must not make it a relay.
    /// `number` instead of the user, if there is one.
    fn uri_at<'m>(&self, request: &'m Message, state: &TargetState, number: Option<&str>) -> Cow<'m, [u8]> {
        let received = uri::request_uri(request);
        let Some(uri) = request.uri() else { return Cow::Borrowed(received) };
        let is_domain = uri.ip().is_none() && !self.is_ours(&uri);
        let keeps_host = state.owner == Owner::Pbx && is_domain && param(uri.params, b"maddr").is_none();
        if number.is_none() && (uri.scheme == Scheme::Tel || keeps_host) {
            return Cow::Borrowed(received);
        }
        let mut out = Vec::with_capacity(received.len() + 24);
        out.extend_from_slice(if uri.scheme == Scheme::Sips { b"sips:" } else { b"sip:" });
        if let Some(user) = number.map(str::as_bytes).or(uri.user) {
            out.extend_from_slice(user);
            out.push(b'@');
        }
        if state.owner == Owner::Pbx && is_domain && uri.scheme != Scheme::Tel {
            out.extend_from_slice(uri.host);
        } else {
            out.extend_from_slice(state.host_and_port.as_bytes());
        }
        if let Some(user) = param(uri.params, b"user") {
            out.extend_from_slice(b";user=");
            out.extend_from_slice(user);
        }
        Cow::Owned(out)
    }

    /// §16.6 step 4. Double where the request leaves by another listener or transport than it came by (RFC 5658), unless
    /// the far side must not see the other half: then each side sees its own.
    fn record_route(&self, context: &Context, hop: &Hop) -> SmallVec<[Vec<u8>; 2]> {
        let Some(user) = self.route_user(context, hop) else { return SmallVec::new() };
        let source = &context.request.source;
        let own = |listener, transport, double, hidden: &[u8]| {
            self.own_record_route(context, &user, listener, transport, double, hidden)
        };
        if self.is_hidden_from(context, hop) {
            let message = &context.request.message;
            let routes = self.sealed_routes(message.call_id(), message.elements(Name::RecordRoute));
            return SmallVec::from_iter([own(hop.listener, hop.transport, false, &routes)]);
        }
        if !hop.is_by_the_way_of(source) {
            let near = own(source.listener, source.transport, true, b"");
            return SmallVec::from_iter([near, own(hop.listener, hop.transport, true, b"")]);
        }
        SmallVec::from_iter([own(hop.listener, hop.transport, false, b"")])
    }

    fn own_record_route(
        &self,
        context: &Context,
        user: &[u8],
        listener: ListenerId,
        transport: Transport,
        double: bool,
        hidden: &[u8],
    ) -> Vec<u8> {
        let request_uri = uri::request_uri(&context.request.message);
        let secure = request_uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"));
        let host = self.settings.listener(listener).map_or("", |listener| &listener.advertise);
        record_route(user, host, transport, secure, double, hidden)
    }

    /// What names the dialog in our Record-Route; `None` for a request that begins none.
    fn route_user(&self, context: &Context, hop: &Hop) -> Option<SmallVec<[u8; 80]>> {
        let message = &context.request.message;
        match (&context.errand, message.method()) {
            (Errand::Call { call: CallId(number), .. }, _) => {
                let token = Token::seal(&self.settings.key, TokenKind::Call, *number);
                Some(SmallVec::from_slice(token.as_bytes()))
            }
            (Errand::Standalone, Method::Subscribe | Method::Refer) => {
                let ends = DialogEnds { first: self.sender(context), second: receiver(hop)? };
                let mut text = Vec::new();
                dialog_ends::seal(&self.settings.key, &ends, message.call_id(), &mut text);
                Some(SmallVec::from_vec(text))
            }
            _ => None,
        }
    }

    /// How many Record-Route values a request has when it leaves for this hop: they stand at the bottom of what comes back.
    pub(super) fn record_routes_sent(&self, context: &Context, hop: &Hop) -> usize {
        let is_hidden = self.is_hidden_from(context, hop);
        let own = match begins_dialog(context, hop) {
            true if is_hidden || hop.is_by_the_way_of(&context.request.source) => 1,
            true => 2,
            false => 0,
        };
        let theirs = || context.request.message.elements(Name::RecordRoute).count();
        own + if is_hidden { 0 } else { theirs() }
    }

    /// The Record-Route of a response as the sender of its request is to see it, first value on top; `None`: as it is.
    pub(super) fn record_route_back(
        &self,
        context: &Context,
        hop: &Hop,
        response: &Message,
    ) -> Option<SmallVec<[Vec<u8>; 4]>> {
        let (source, message) = (&context.request.source, &context.request.message);
        let hides_far = self.hides_far(context, hop);
        let has_any = response.elements(Name::RecordRoute).next().is_some();
        if !has_any || !hides_far && !self.is_hidden_from(context, hop) {
            return None;
        }
        let far: SmallVec<[_; 4]> = response.elements(Name::RecordRoute).collect();
        let far =
            far.get(..far.len().saturating_sub(self.record_routes_sent(context, hop))).unwrap_or_default();
        let mut values = SmallVec::new();
        if let Some(user) = self.route_user(context, hop) {
            let mut hidden = Vec::new();
            if hides_far {
                // The caller takes them from the bottom up (§12.1.2).
                hidden = self.sealed_routes(message.call_id(), far.iter().rev().copied());
            } else {
                values.extend(far.iter().map(|route| route.value.to_vec()));
            }
            values.push(self.own_record_route(
                context,
                &user,
                source.listener,
                source.transport,
                false,
                &hidden,
            ));
        }
        values.extend(message.elements(Name::RecordRoute).map(|route| route.value.to_vec()));
        Some(values)
    }

    fn sender(&self, context: &Context) -> Endpoint {
        let source = &context.request.source;
        let flow = FlowEnd::from(source);
        let host = match context.who.speaker {
            Speaker::Stranger => None,
            _ => self.targets.of_address(source.remote.0.ip(), context.who.zone),
        };
        match (host, self.registrations.keys_on(&flow).first()) {
            (Some(id), _) => Endpoint::Target(id),
            (None, Some(key)) => Endpoint::Binding(*key),
            (None, None) => Endpoint::Flow(flow),
        }
    }
}

/// Takes off what a stranger says about who he is.
pub fn strip_identity(edit: &mut Edit<'_>) {
    edit.remove_listed(&IDENTITY);
}

/// [`Edge::route_user`] has something to name.
fn begins_dialog(context: &Context, hop: &Hop) -> bool {
    match (&context.errand, context.request.message.method()) {
        (Errand::Call { .. }, _) => true,
        (Errand::Standalone, Method::Subscribe | Method::Refer) => receiver(hop).is_some(),
        _ => false,
    }
}

fn receiver(hop: &Hop) -> Option<Endpoint> {
    match hop.place {
        Place::Target(id) => Some(Endpoint::Target(id)),
        Place::Binding(key) => Some(Endpoint::Binding(key)),
        Place::Leg => None,
    }
}

/// `advertise` is this host, with this port or with none where that is the transport's own. Asked of every URI that a request
/// brings, so nothing is taken apart whose beginning is another already.
fn is_advertised(listener: &Listener, host: &[u8], port: u16) -> bool {
    let Some((start, rest)) = listener.advertise.split_at_checked(host.len()) else { return false };
    start.as_bytes().eq_ignore_ascii_case(host)
        && match rest.strip_prefix(':') {
            Some(digits) => digits.parse() == Ok(port),
            None => rest.is_empty() && port == listener.transport.default_port(),
        }
}
