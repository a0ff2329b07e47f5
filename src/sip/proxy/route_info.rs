//! Route information preprocessing (RFC 3261 §16.4): what of Request-URI and Route is about us, and what is left.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::sip::message::{Element, Message, Name, param};
use crate::sip::uri::Uri;

/// URI parameter of a Record-Route value that is one half of a double one (RFC 5658 §5): a request that comes back
/// through one half has the other right behind it.
pub const DOUBLE: &str = "r2";

/// The request's route as seen from us.
#[derive(Debug)]
pub struct RouteInfo<'m> {
    /// The Request-URI to go on with: as received, or what §16.4 makes of it.
    pub uri: Cow<'m, [u8]>,
    /// URIs of our own Record-Route that brought the request here, the one that was on top first: none, one, or the two
    /// halves of a double one. The edge reads its tokens from their user part and parameters.
    pub ours: SmallVec<[&'m [u8]; 2]>,
    /// Route elements that do not go out.
    pub removed: SmallVec<[Element<'m>; 2]>,
    /// Route elements that stay, in order.
    pub remaining: SmallVec<[Element<'m>; 4]>,
}

impl<'m> RouteInfo<'m> {
    /// URI of the first Route that stays: where the request wants to go next (§16.6 step 7).
    pub fn next_route(&self) -> Option<&'m [u8]> {
        self.remaining.first().and_then(|element| Some(element.name_addr().ok()?.uri))
    }
}

/// §16.4. `is_ours` says whether a URI's host and port (of whatever user part) are one of our listeners.
pub fn route_info<'m>(request: &'m Message, is_ours: impl Fn(&Uri<'_>) -> bool) -> RouteInfo<'m> {
    let uri = request.request_uri().unwrap_or_default();
    let mut info = RouteInfo {
        uri: Cow::Borrowed(uri),
        ours: SmallVec::new(),
        removed: SmallVec::new(),
        remaining: request.elements(Name::Route).collect(),
    };
    info.undo_strict_routing(request, &is_ours);
    info.drop_maddr(request, &is_ours);
    info.take_ours(&is_ours);
    info
}

impl<'m> RouteInfo<'m> {
    /// "If the Request-URI contains a value this proxy previously placed into a Record-Route header field": a strict
    /// router sent it. Ours are told by `lr`, which no address-of-record carries.
    fn undo_strict_routing(&mut self, request: &'m Message, is_ours: &impl Fn(&Uri<'_>) -> bool) {
        let ours = request.uri().is_some_and(|uri| param(uri.params, b"lr").is_some() && is_ours(&uri));
        let last = self.remaining.last().copied().filter(|_| ours);
        if let Some((last, target)) = last.and_then(|last| Some((last, last.name_addr().ok()?.uri))) {
            self.remaining.pop();
            self.removed.push(last);
            self.ours.push(request.request_uri().unwrap_or_default());
            self.uri = Cow::Borrowed(target);
        }
    }

    /// "If the Request-URI contains a maddr parameter" that names us, it is stripped with port and transport and the
    /// request goes on as if they had not been there. Any other maddr is left for the edge to refuse.
    fn drop_maddr(&mut self, request: &'m Message, is_ours: &impl Fn(&Uri<'_>) -> bool) {
        let is_as_received = self.ours.is_empty();
        let uri = if is_as_received { request.uri() } else { Uri::parse(&self.uri) };
        let Some(uri) = uri else { return };
        let Some(maddr) = param(uri.params, b"maddr") else { return };
        if is_ours(&Uri { host: maddr, ..uri }) {
            self.uri = Cow::Owned(without_address(&self.uri, &uri));
        }
    }

    /// "If the first value in the Route header field indicates this proxy": it is removed, and the other half of a
    /// double Record-Route with it (RFC 5658).
    fn take_ours(&mut self, is_ours: &impl Fn(&Uri<'_>) -> bool) {
        while let Some(uri) = self.next_route().filter(|uri| self.may_take(uri, is_ours)) {
            self.ours.push(uri);
            self.removed.push(self.remaining.remove(0));
        }
    }

    fn may_take(&self, route: &[u8], is_ours: &impl Fn(&Uri<'_>) -> bool) -> bool {
        let Some(uri) = Uri::parse(route).filter(|uri| is_ours(uri)) else { return false };
        match self.ours.as_slice() {
            [] => true,
            [first] => is_half(&uri) && Uri::parse(first).is_some_and(|first| is_half(&first)),
            _ => false,
        }
    }
}

fn is_half(uri: &Uri<'_>) -> bool {
    param(uri.params, DOUBLE.as_bytes()).is_some()
}

/// The URI without port, maddr and transport.
fn without_address(uri: &[u8], parts: &Uri<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(uri.len());
    let params_at = uri.len() - parts.params.len() - query_len(parts);
    let head = uri.get(..params_at).unwrap_or(uri);
    let head = match parts.port {
        // What stands behind the host is `:port` and nothing else.
        Some(_) => head.iter().rposition(|&c| c == b':').and_then(|colon| head.get(..colon)).unwrap_or(head),
        None => head,
    };
    out.extend_from_slice(head);
    for piece in parts.params.split(|&c| c == b';').filter(|piece| !piece.is_empty()) {
        let name = piece.split(|&c| c == b'=').next().unwrap_or(piece).trim_ascii();
        if !name.eq_ignore_ascii_case(b"maddr") && !name.eq_ignore_ascii_case(b"transport") {
            out.push(b';');
            out.extend_from_slice(piece);
        }
    }
    if !parts.headers.is_empty() {
        out.push(b'?');
        out.extend_from_slice(parts.headers);
    }
    out
}

/// Length of `?headers`.
fn query_len(parts: &Uri<'_>) -> usize {
    if parts.headers.is_empty() { 0 } else { parts.headers.len() + 1 }
}
