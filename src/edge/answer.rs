//! Responses that the edge makes itself (RFC 3261 §8.2.6), and where they go.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Edge;
use super::flow::FlowEnd;
use super::refusal::Refusal;
use crate::base::NodeKey;
use crate::sip::message::{Message, response_to};
use crate::sip::transaction::{Destination, Source};

/// Where answers go: to the real source and nowhere else, whatever the Via says (ATTACKS.md: Via as a reflector). This
/// is RFC 3581 for everyone, also for those who did not ask for it.
pub fn way_back(source: &Source) -> Destination {
    FlowEnd::from(source).destination()
}

/// A response to a request as it came from the wire.
pub fn answer(
    request: &Message,
    source: &Source,
    status: u16,
    reason: &str,
    key: &NodeKey,
    extra: &[(&str, &[u8])],
) -> Bytes {
    let tag = (status > 100).then(|| {
        // Recomputed, not remembered: the same request gets the same tag (§8.2.7).
        let branch = request.top_via().branch().unwrap_or_default();
        let mac = key.mac("to tag", &[request.call_id(), branch, &request.cseq().number.to_be_bytes()]);
        format!("{:016x}", mac as u64)
    });
    let tag = tag.as_ref().map(|tag| tag.as_bytes());
    let mut out = Vec::with_capacity(request.bytes().len().min(1_024));
    response_to(request, Some(source.remote.0), status, reason, tag, extra, &mut out);
    out.into()
}

impl Edge {
    /// A response to a request that was [revealed](Edge::reveal).
    pub(super) fn answer(
        &self,
        request: &Message,
        source: &Source,
        status: u16,
        reason: &str,
        extra: &[(&str, &[u8])],
    ) -> Bytes {
        let bytes = answer(request, source, status, reason, &self.settings.key, extra);
        self.answer_with_shown_call_id(bytes, source)
    }

    /// The response that a refusal asks for.
    pub(super) fn refusal(&self, request: &Message, source: &Source, why: &Refusal) -> Bytes {
        let bytes = refusal(request, source, why, &self.settings.key);
        self.answer_with_shown_call_id(bytes, source)
    }
}

fn refusal(request: &Message, source: &Source, refusal: &Refusal, key: &NodeKey) -> Bytes {
    let status = refusal.status().unwrap_or(500);
    let retry = refusal.retry_after().map(|seconds| seconds.to_string());
    let retry: Option<(&str, &[u8])> = retry.as_deref().map(|seconds| ("Retry-After", seconds.as_bytes()));
    let shortest = refusal.shortest_session().map(|seconds| seconds.to_string());
    let shortest = shortest.as_deref().map(|seconds| ("Min-SE", seconds.as_bytes()));
    let extra = retry.or(refusal.unsupported().map(|tags| ("Unsupported", tags))).or(shortest);
    let asked = refusal
        .challenge()
        .into_iter()
        .flat_map(|challenge| challenge.values.iter().map(|value| (challenge.field(), value.as_bytes())));
    let extra: SmallVec<[(&str, &[u8]); 2]> = extra.into_iter().chain(asked).collect();
    answer(request, source, status, refusal.reason(), key, &extra)
}
