//! Topology hiding (RFC 5853 §3.1): what leaves towards a zone that hides shows nothing of how other zones are built. Via,
//! Record-Route and Contact are ours alone; what they said stands sealed in ours, and is put back when a request comes in
//! with it, so that routing is the same as without. Nothing of it is remembered: what was shown before a restart opens after it.

mod bodies;
mod call_ids;
mod inside;

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Edge;
use super::call::Leg;
use super::context::{Context, Errand, Hop};
use super::identify::Speaker;
use super::settings::{Listener, Settings};
use crate::base::{ListenerId, Transport, TrunkId, ZoneId};
use crate::sip::message::{
    Edit, Element, Message, Method, Name, NameAddr, StartLine, is_plain_uri, param, params_of,
    request_uri_at, sdp_part,
};
use crate::sip::proxy::branch::Branch;
use crate::sip::proxy::hidden::{self, Hidden, ROUTES};
use crate::sip::transaction::Source;
use crate::sip::uri::{Scheme, Uri};
use inside::Inside;
pub use inside::{Foreign, host_of};

/// Fields that say what software or which hosts a message has passed, and that no far end needs.
const REMOVED: [&str; 6] = ["Server", "User-Agent", "Warning", "Path", "Service-Route", "Organization"];

/// Fields in which a host is part of what somebody compares or has signed; and those that are dealt with by themselves.
const KEPT: [&[u8]; 10] = [
    b"In-Reply-To",
    b"Target-Dialog",
    b"Join",
    b"Identity",
    b"Identity-Info",
    b"WWW-Authenticate",
    b"Proxy-Authenticate",
    b"Authentication-Info",
    b"Accept",
    b"Date",
];

/// Contact parameters by which an endpoint could be told again.
const OF_INSTANCE: [&[u8]; 4] = [b"+sip.instance", b"reg-id", b"pub-gruu", b"temp-gruu"];

/// Who sees a message: somebody in a zone, or a carrier there, from whom other carriers of the same zone are hidden as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Viewer {
    pub zone: ZoneId,
    trunk: Option<TrunkId>,
}

impl Viewer {
    fn new(zone: ZoneId, speaker: Speaker) -> Viewer {
        let trunk = match speaker {
            Speaker::Trunk(trunk) => Some(trunk),
            Speaker::Pbx | Speaker::Stranger => None,
        };
        Viewer { zone, trunk }
    }

    /// Nothing of how this one's side is built is shown to `other`.
    pub fn is_hidden_from(self, other: Viewer, settings: &Settings) -> bool {
        let is_other_carrier = matches!((self.trunk, other.trunk), (Some(one), Some(other)) if one != other);
        (self.zone != other.zone || is_other_carrier)
            && settings.zone(other.zone).is_some_and(|zone| zone.hides_topology)
    }

    /// Of what it must not see, in [`Foreign::of_all`].
    fn index(self, settings: &Settings) -> usize {
        self.trunk.map_or(usize::from(self.zone.0), |trunk| settings.zones.len() + usize::from(trunk.0))
    }
}

impl From<&Leg> for Viewer {
    fn from(leg: &Leg) -> Viewer {
        Viewer::new(leg.zone, leg.speaker)
    }
}

/// How we look from a zone.
pub(super) struct Face<'e> {
    listener: &'e Listener,
    transport: Transport,
}

impl Face<'_> {
    fn host(&self) -> &str {
        host_of(&self.listener.advertise)
    }

    /// `sip:user@` our listener, as a URI that leads back to it.
    fn uri(&self, user: &[u8], secure: bool) -> Vec<u8> {
        let scheme: &[u8] = if secure { b"sips:" } else { b"sip:" };
        let at: &[u8] = if user.is_empty() { b"" } else { b"@" };
        let mut uri = [scheme, user, at, self.listener.advertise.as_bytes()].concat();
        if self.transport != Transport::Udp {
            uri.extend_from_slice(b";transport=");
            uri.extend_from_slice(self.transport.uri_param().as_bytes());
        }
        uri
    }
}

impl Edge {
    pub(super) fn face(&self, listener: ListenerId, transport: Transport) -> Option<Face<'_>> {
        Some(Face { listener: self.settings.listener(listener)?, transport })
    }

    /// The zone of this hop must see nothing of the one that the request comes from.
    pub(super) fn is_hidden_from(&self, context: &Context, hop: &Hop) -> bool {
        self.asking(context).is_hidden_from(self.asked(context, hop), &self.settings)
    }

    /// The sender of the request must see nothing of where this hop leads.
    pub(super) fn hides_far(&self, context: &Context, hop: &Hop) -> bool {
        self.asked(context, hop).is_hidden_from(self.asking(context), &self.settings)
    }

    /// Who sent the request, and sees its responses.
    pub(super) fn asking(&self, context: &Context) -> Viewer {
        let leg = match context.errand {
            Errand::InCall { call, from, .. } => self.calls.get(call).and_then(|call| call.leg(from)),
            _ => None,
        };
        Viewer::new(context.who.zone, leg.map_or(context.who.speaker, |leg| leg.speaker))
    }

    /// Who gets the request there.
    pub(super) fn asked(&self, context: &Context, hop: &Hop) -> Viewer {
        Viewer::new(hop.zone, self.speaker_at(context, hop))
    }

    /// What has arrived, with the remote target as its Request-URI where that is a Contact of ours that hides it. So requests in a
    /// dialog, which all have one, are read once.
    pub(super) fn with_remote_target(&self, bytes: Bytes) -> Bytes {
        let parts = request_uri_at(&bytes).and_then(|place| {
            let (before, rest) = bytes.split_at_checked(place.start)?;
            let (uri, behind) = rest.split_at_checked(place.len())?;
            Some((before, self.unsealed(&Uri::parse(uri)?).filter(|uri| is_plain_uri(uri))?, behind))
        });
        let revealed = parts.map(|(before, uri, behind)| [before, &uri, behind].concat());
        revealed.map_or(bytes, Bytes::from)
    }

    /// A request as its sender would have written it, had it been shown all; its Request-URI is ([`Self::with_remote_target`]).
    pub(super) fn reveal(&self, request: Message, source: &Source) -> Message {
        let request = self.with_inside_call_ids(request, source.listener);
        let revealed = self.revealed(&request);
        let revealed =
            revealed.and_then(|bytes| Message::parse(bytes.into(), &self.settings.limits.message).ok());
        revealed.unwrap_or(request)
    }

    fn revealed(&self, request: &Message) -> Option<Vec<u8>> {
        let mut edit = Edit::new(request);
        let mut is_changed = false;
        for (element, route) in addresses(request, Name::Route) {
            let Some(uri) = Uri::parse(route.uri) else { continue };
            let routes = param(uri.params, ROUTES)
                .and_then(|token| hidden::open(&self.settings.key, Hidden::Routes, token));
            if let Some(routes) = routes {
                edit.replace(element, &[element.value, b", ", &routes].concat());
                is_changed = true;
            } else if let Some(uri) = self.unsealed(&uri) {
                // The remote target, where a strict router has moved it here (RFC 3261 §16.12.1.1).
                edit.replace(element, &[b"<", &uri[..], b">"].concat());
                is_changed = true;
            }
        }
        for (element, target) in addresses(request, Name::ReferTo) {
            if let Some(uri) = Uri::parse(target.uri).and_then(|uri| self.unsealed(&uri)) {
                edit.replace(element, &[b"<", &uri[..], b">", target.params].concat());
                is_changed = true;
            }
        }
        is_changed.then(|| written(&edit, request))
    }

    /// The URI that a Contact of ours hides, with the headers that were put behind it.
    fn unsealed(&self, uri: &Uri<'_>) -> Option<Vec<u8>> {
        let mut inner = hidden::open(&self.settings.key, Hidden::Contact, uri.user?)?;
        if !uri.headers.is_empty() && !inner.contains(&b'?') {
            inner.push(b'?');
            inner.extend_from_slice(uri.headers);
        }
        Some(inner)
    }

    /// A request that is ready to leave towards `viewer`, without what must not be seen there. `own_routes`: how many
    /// Record-Route values on top are ours. `target` is the sender's remote target, if it is known.
    pub(super) fn hide_request(
        &self,
        request: &Message,
        viewer: Viewer,
        face: &Face<'_>,
        own_routes: usize,
        target: Option<&[u8]>,
    ) -> Option<Vec<u8>> {
        let mut edit = Edit::new(request);
        let mut inside = Inside::new(self.foreign.get(viewer.index(&self.settings))?);
        if let Some(uri) = target.and_then(Uri::parse) {
            inside.add(uri.host);
        }
        for element in request.elements(Name::Via).skip(1) {
            let Ok(via) = element.via() else { continue };
            inside.add(via.host);
            inside.add(param(via.params, b"received").unwrap_or_default());
            let branch = via.branch().filter(|branch| Branch::verify(&self.settings.key, branch).is_some());
            match branch {
                // Ours, from an earlier pass: it stays under the name that this zone knows, so that a loop is found (§16.3).
                Some(branch) => {
                    let sent_by = face.listener.advertise.as_bytes();
                    let head =
                        [b"SIP/2.0/", face.transport.via().as_bytes(), b" ", sent_by, b";branch="].concat();
                    edit.replace(element, &[&head, branch].concat());
                }
                None => edit.remove(element),
            }
        }
        for element in request.elements(Name::RecordRoute).skip(own_routes) {
            let uri = element.name_addr().ok().and_then(|route| Uri::parse(route.uri));
            inside.add(uri.map_or(b"", |uri| uri.host));
            edit.remove(element);
        }
        if request.method() != Method::Register {
            self.hide_contacts(&mut edit, request, face, &mut inside);
        }
        for (element, target) in addresses(request, Name::ReferTo) {
            let uri =
                Uri::parse(target.uri).filter(|uri| uri.scheme != Scheme::Tel && inside.has_host(uri.host));
            if let Some(uri) = uri {
                // The user is what routes know; whose host it is at, we say.
                let mut shown = face.uri(uri.user.unwrap_or_default(), uri.scheme == Scheme::Sips);
                if !uri.headers.is_empty() {
                    shown.push(b'?');
                    shown.extend_from_slice(uri.headers);
                }
                edit.replace(element, &[b"<", &shown[..], b">", target.params].concat());
            }
        }
        hide_hosts(&mut edit, request, &inside, face);
        bodies::hide(&mut edit, request, &inside, face);
        Some(written(&edit, request))
    }

    /// A response on its way to `viewer`, likewise.
    pub(super) fn hide_response<'m>(
        &self,
        edit: &mut Edit<'m>,
        response: &'m Message,
        viewer: Viewer,
        face: &Face<'_>,
        is_register: bool,
        target: Option<&[u8]>,
    ) {
        let Some(foreign) = self.foreign.get(viewer.index(&self.settings)) else { return };
        let mut inside = Inside::new(foreign);
        if let Some(uri) = target.and_then(Uri::parse) {
            inside.add(uri.host);
        }
        if !is_register {
            self.hide_contacts(edit, response, face, &mut inside);
        }
        hide_hosts(edit, response, &inside, face);
        bodies::hide(edit, response, &inside, face);
    }

    fn hide_contacts<'m: 'i, 'i>(
        &self,
        edit: &mut Edit<'m>,
        message: &'m Message,
        face: &Face<'_>,
        inside: &mut Inside<'_, 'i>,
    ) {
        // RFC 3261 §21.3: where else the callee may be; elsewhere is not always inside.
        let is_redirect = message.status().is_some_and(|status| (300..400).contains(&status));
        for (element, contact) in addresses(message, Name::Contact) {
            let Some(uri) = Uri::parse(contact.uri).filter(|uri| uri.scheme != Scheme::Tel) else { continue };
            if is_redirect && !inside.has_host(uri.host) {
                continue;
            }
            inside.add(uri.host);
            let token = hidden::seal(&self.settings.key, Hidden::Contact, message.call_id(), contact.uri);
            let mut value = [b"<", &face.uri(&token, uri.scheme == Scheme::Sips)[..], b">"].concat();
            for (name, text) in params_of(contact.params).flatten() {
                let tells = OF_INSTANCE.iter().any(|hidden| name.eq_ignore_ascii_case(hidden));
                if !tells && inside.places(text).is_empty() {
                    let equals: &[u8] = if text.is_empty() { b"" } else { b"=" };
                    value.extend([b";", name, equals, text].into_iter().flatten());
                }
            }
            edit.replace(element, &value);
        }
    }

    /// The parameter that our Record-Route carries for routes that must not be seen, in the order in which a request will
    /// take them; empty if there are none.
    pub(super) fn sealed_routes<'m>(
        &self,
        call_id: &[u8],
        routes: impl Iterator<Item = Element<'m>>,
    ) -> Vec<u8> {
        let routes: SmallVec<[&[u8]; 4]> = routes.map(|route| route.value).collect();
        if routes.is_empty() {
            return Vec::new();
        }
        hidden::seal(&self.settings.key, Hidden::Routes, call_id, &routes.join(&b", "[..]))
    }
}

/// Takes out what tells of software, and writes our host over those of the inside. A response's From and To are the
/// receiver's own.
fn hide_hosts<'m>(edit: &mut Edit<'m>, message: &'m Message, inside: &Inside<'_, '_>, face: &Face<'_>) {
    edit.remove_listed(&REMOVED);
    let is_response = message.status().is_some();
    for (name, element) in message.headers() {
        let is_kept = match message.name_of(element) {
            Name::Via | Name::RecordRoute | Name::Route | Name::Contact | Name::CallId | Name::CSeq => true,
            Name::ContentType | Name::ContentLength | Name::Replaces | Name::ReferTo => true,
            Name::Authorization | Name::ProxyAuthorization | Name::Supported => true,
            // `Event: dialog;call-id=…` (RFC 4235 §3.2).
            Name::Event => true,
            Name::From | Name::To => is_response,
            _ => KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept)),
        };
        if is_kept {
            continue;
        }
        for place in inside.places(element.value) {
            edit.replace_span(element.at + place.start, place.len(), face.host().as_bytes());
        }
    }
    if let StartLine::Response { reason, .. } = message.start()
        && let Some(at) = message.offset_of(reason)
    {
        for place in inside.places(reason) {
            edit.replace_span(at + place.start, place.len(), face.host().as_bytes());
        }
    }
}

/// Takes out SDP that begins no media: what the far end could do (RFC 3261 §11.2), or would do instead (§21.4.26). It names the inside's
/// addresses, and no media is relayed for it.
pub(super) fn drop_description(edit: &mut Edit<'_>, response: &Message) {
    if !matches!(sdp_part(response), Ok(None)) {
        edit.remove_all(Name::ContentType);
        edit.set_body(b"");
    }
}

/// Appends a text with our host at the places where others must not be seen.
fn hidden_in(text: &[u8], places: impl Iterator<Item = Range<usize>>, host: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    for place in places {
        out.extend_from_slice(text.get(copied..place.start).unwrap_or_default());
        out.extend_from_slice(host);
        copied = place.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// Values of a field that are addresses.
fn addresses(message: &Message, name: Name) -> impl Iterator<Item = (Element<'_>, NameAddr<'_>)> {
    message.elements(name).filter_map(|element| Some((element, element.name_addr().ok()?)))
}

fn written(edit: &Edit<'_>, message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.bytes().len() + 128);
    edit.write(&mut out);
    out
}
