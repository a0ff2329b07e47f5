//! Candidates that come after offer and answer, in INFO (RFC 8840): they pass as those of the SDP do. Where ICE ends at us, so do
//! they: the far end does no ICE and would refuse a package that it does not know (RFC 6086 §4.2.2: 469), while our lite agent
//! needs none. Its sender gets the 200; that the far end sees a gap in the CSeq is no error (RFC 3261 §12.2.2).

use std::ops::Range;

use super::Edge;
use super::anchoring::callee_tag;
use super::call::CallId;
use super::context::Errand;
use super::event::Event;
use super::received::Request;
use crate::base::Now;
use crate::relay::Side;
use crate::sip::message::{Message, Method, part_of_type};

/// Where a request carries trickled candidates.
pub(super) fn fragment(message: &Message) -> Option<Range<usize>> {
    if message.method() != Method::Info {
        return None;
    }
    part_of_type(message, b"application/trickle-ice-sdpfrag").ok().flatten()
}

impl Edge {
    /// A request in a dialog that has reached its end here, and was answered.
    pub(super) fn ends_here(&mut self, errand: &Errand, request: &Request, now: Now) -> bool {
        let Errand::InCall { call, .. } = errand else { return false };
        let media = self.calls.get(*call).and_then(|call| call.media.as_ref());
        let ends = media.is_some_and(|media| !media.passes_ice()) && fragment(&request.message).is_some();
        if ends {
            let bytes = self.answer(&request.message, &request.source, 200, "OK", &[]);
            let to = super::answer::way_back(&request.source);
            self.transactions.respond(request.server, 200, bytes, to, now.instant);
        }
        ends
    }

    /// The body of an INFO of `from` as the other side must see it; `None` where it stays as it is.
    pub(super) fn pass_trickled(
        &mut self,
        id: CallId,
        from: Side,
        range: Range<usize>,
        message: &Message,
    ) -> Option<Vec<u8>> {
        let call = self.calls.get_mut(id)?;
        let body = message.body();
        let fragment = body.get(range.clone())?;
        let (was_full, tag) = (call.peers.is_full(), callee_tag(call, message));
        call.peers.trickle(from, tag, fragment, &mut *self.relay);
        let out = call.media.as_ref().map(|media| {
            let mut out = body.get(..range.start).unwrap_or_default().to_vec();
            media.trickle(from, fragment, &*self.relay, &mut out);
            out.extend_from_slice(body.get(range.end..).unwrap_or_default());
            out
        });
        if call.peers.is_full() && !was_full {
            let call_id = call.call_id.clone();
            self.tell(Event::CallPeersFull { call_id });
        }
        out
    }
}
