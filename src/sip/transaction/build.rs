//! The two requests that a client transaction makes itself: ACK for a non-2xx (RFC 3261 §17.1.1.3) and CANCEL (§9.1).

use bytes::Bytes;

use super::Outgoing;
use crate::sip::message::{Limits, Message, Name};

impl<'r> From<&'r Message> for Outgoing<'r> {
    fn from(request: &'r Message) -> Outgoing<'r> {
        let branch = request.top_via().branch().unwrap_or_default();
        Outgoing { bytes: request.bytes().clone(), method: request.method_bytes(), branch }
    }
}

/// §17.1.1.3: Request-URI, top Via, Route, From, Call-ID and CSeq number of the INVITE, To of the response.
pub(super) fn ack(invite: &Message, response: &Message) -> Bytes {
    hop_by_hop(b"ACK", invite, response)
}

/// §9.1: the same, with the To of the INVITE.
pub(super) fn cancel(invite: &Message) -> Bytes {
    hop_by_hop(b"CANCEL", invite, invite)
}

/// Reads what we wrote: the limits on what others send have been checked by then.
pub(super) fn read_own(bytes: Bytes) -> Option<Message> {
    let limits = Limits { uri: usize::MAX, ..Limits::default() };
    let message = Message::parse(bytes, &limits);
    debug_assert!(message.is_ok(), "{message:?}");
    message.ok()
}

fn hop_by_hop(method: &[u8], invite: &Message, to: &Message) -> Bytes {
    let mut out = Vec::with_capacity(512);
    let uri = invite.request_uri().unwrap_or_default();
    out.extend([method, b" ", uri, b" SIP/2.0\r\n"].into_iter().flatten());
    // "a single Via header field equal to the top Via": what answers it finds its way back to the same branch.
    let via = invite.elements(Name::Via).next();
    line(&mut out, b"Via", via.map_or(b"", |via| via.value));
    for route in invite.elements(Name::Route) {
        line(&mut out, b"Route", route.value);
    }
    line(&mut out, b"Max-Forwards", b"70");
    line(&mut out, b"From", invite.header(Name::From).map_or(b"", |from| from.value));
    line(&mut out, b"To", to.header(Name::To).map_or(b"", |to| to.value));
    line(&mut out, b"Call-ID", invite.call_id());
    out.extend_from_slice(format!("CSeq: {} ", invite.cseq().number).as_bytes());
    out.extend_from_slice(method);
    out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
    out.into()
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend([name, b": ", value, b"\r\n"].into_iter().flatten());
}
