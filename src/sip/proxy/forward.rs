//! Request forwarding (RFC 3261 §16.6, steps 1 to 9) as changes to the request that came. Step 10, sending it, and
//! step 11, Timer C, are the transaction layer's.

use std::io::Write;

use smallvec::SmallVec;

use crate::base::Transport;
use crate::sip::message::{Edit, Message, Name, param};
use crate::sip::uri::Uri;

use super::branch::Branch;
use super::hidden::ROUTES;
use super::route_info::{DOUBLE, RouteInfo};

/// RFC 5393 §5.3.3: for a request that has none, and the most that one may have ("RECOMMENDED to be 60", both).
const MAX_BREADTH: u32 = 60;

/// What is put into the request for its next hop.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Request-URI of the target (step 2).
    pub uri: &'a [u8],
    /// [`super::validate::Valid::max_forwards`] (step 3).
    pub max_forwards: u32,
    /// Record-Route values as made by [`record_route`] (step 4): none, one, or for a double one (RFC 5658) first the
    /// side that the request came from, then the side that it leaves by, which ends up on top.
    pub record_route: &'a [&'a [u8]],
    /// Transport that it leaves by.
    pub transport: Transport,
    /// Our host, and port if any, in the Via.
    pub sent_by: &'a str,
    /// Fresh.
    pub branch: &'a Branch,
}

/// Makes the changes of steps 2 to 9 but step 5 (other header fields are the edge's). `route` is what
/// [`super::route_info::route_info`] made of the same request. The caller has still to stamp `received` and `rport`
/// into the Via that came on top ([`Edit::stamp_top_via`]).
pub fn forward<'m>(edit: &mut Edit<'m>, request: &'m Message, route: &RouteInfo<'m>, hop: &Hop<'_>) {
    // Step 3.
    let mut digits = [0; 10];
    edit.set(Name::MaxForwards, decimal(hop.max_forwards, &mut digits));
    limit_breadth(edit, request);
    // Step 4.
    for value in hop.record_route {
        edit.add_above(Name::RecordRoute, value);
    }
    // §16.4 and step 6.
    for element in &route.removed {
        edit.remove(*element);
    }
    post_process(edit, request, route, hop.uri);
    // Step 8.
    edit.add_above(Name::Via, &via(hop.transport, hop.sent_by, hop.branch));
    // Step 9.
    if hop.transport.is_reliable() {
        edit.ensure_content_length();
    }
}

/// RFC 5393 §5.3.3: each proxied request carries "a single Max-Breadth header field value", and none above the largest that is allowed. Targets
/// are tried one after the other, and the breadth of one that is done is free again (§5.3.3.1), so each may have all of it.
fn limit_breadth(edit: &mut Edit<'_>, request: &Message) {
    let mut values = request.elements(Name::MaxBreadth).map(|breadth| breadth.number());
    let (first, more) = (values.next().flatten(), values.next().is_some());
    if more || first.is_none_or(|breadth| breadth > MAX_BREADTH) {
        edit.remove_all(Name::MaxBreadth);
        edit.set_number(Name::MaxBreadth, first.map_or(MAX_BREADTH, |breadth| breadth.min(MAX_BREADTH)));
    }
}

/// Steps 2 and 6. A next hop whose Route URI has no `lr` is a strict router: it expects itself in the Request-URI and
/// the target behind the last Route.
fn post_process<'m>(edit: &mut Edit<'m>, request: &'m Message, route: &RouteInfo<'m>, target: &[u8]) {
    let strict = route.next_route().filter(|next| !is_loose(next));
    let uri = strict.unwrap_or(target);
    if request.request_uri() != Some(uri) {
        edit.set_request_uri(uri);
    }
    if let (Some(_), Some(first)) = (strict, route.remaining.first()) {
        edit.remove(*first);
        let last: SmallVec<[u8; 128]> = [b"<", target, b">"].into_iter().flatten().copied().collect();
        edit.append(b"Route", &last);
    }
}

/// §19.1.1: the `lr` parameter says that the element behind the URI routes loosely.
pub fn is_loose(uri: &[u8]) -> bool {
    Uri::parse(uri).is_some_and(|uri| param(uri.params, b"lr").is_some())
}

/// A Via value of ours (step 8). Over UDP it asks for `rport` (RFC 3581 §3).
pub fn via(transport: Transport, sent_by: &str, branch: &Branch) -> SmallVec<[u8; 160]> {
    let mut out = SmallVec::new();
    for piece in ["SIP/2.0/", transport.via(), " ", sent_by, ";branch="] {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(branch.as_bytes());
    if transport == Transport::Udp {
        out.extend_from_slice(b";rport");
    }
    out
}

/// A Record-Route value of ours (step 4): `<sip:user@host;transport=…;lr>`; `user` is a sealed token. `secure` where Request-URI or topmost Route
/// is a SIPS URI; `double` for each half of a double one (RFC 5658).
/// `hidden`: a token that stands for routes behind it, or nothing.
pub fn record_route(
    user: &[u8],
    host: &str,
    transport: Transport,
    secure: bool,
    double: bool,
    hidden: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + hidden.len());
    out.extend_from_slice(if secure { b"<sips:" } else { b"<sip:" });
    out.extend_from_slice(user);
    for piece in ["@", host, ";transport=", transport.uri_param(), ";lr"] {
        out.extend_from_slice(piece.as_bytes());
    }
    if double {
        out.push(b';');
        out.extend_from_slice(DOUBLE.as_bytes());
    }
    if !hidden.is_empty() {
        out.extend([b";", ROUTES, b"=", hidden].into_iter().flatten());
    }
    out.push(b'>');
    out
}

fn decimal(number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = &mut digits[..];
    let written = match write!(rest, "{number}") {
        Ok(()) => 10 - rest.len(),
        Err(_) => 0,
    };
    digits.get(..written).unwrap_or_default()
}
