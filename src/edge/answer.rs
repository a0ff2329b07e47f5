//! Responses that the edge makes itself (RFC 3261 §8.2.6), and where they go.

use bytes::Bytes;

use super::flow::FlowEnd;
use super::refusal::Refusal;
use crate::base::NodeKey;
use crate::sip::message::{Malformed, Message, response_to};
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
    // Recomputed, not remembered: the same request gets the same tag (§8.2.7).
    let branch = request.top_via().branch().unwrap_or_default();
    let mac = key.mac("to tag", &[request.call_id(), branch, &request.cseq().number.to_be_bytes()]);
    let tag = format!("{:016x}", mac as u64);
    let tag = (status > 100).then_some(tag.as_bytes());
    let mut out = Vec::with_capacity(request.bytes().len().min(1_024));
    response_to(request, Some(source.remote.0), status, reason, tag, extra, &mut out);
    out.into()
}

/// What a response to a request that does not parse must repeat, compact forms included (RFC 3261 §8.2.6.2).
const REPEATED: [(&[u8], &[u8]); 5] =
    [(b"via", b"v"), (b"from", b"f"), (b"to", b"t"), (b"call-id", b"i"), (b"cseq", b"cseq")];

/// The answer to a request that is none (400, 413, …), if enough of it can be read to say whom it is for. Lines are
/// repeated as they came, never longer than the request was. An ACK takes no answer, nor does a broken response.
pub fn to_malformed(bytes: &[u8], error: &Malformed) -> Option<Bytes> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next()?;
    if start.starts_with(b"SIP/") || start.starts_with(b"ACK ") || !start.ends_with(b" SIP/2.0") {
        return None;
    }
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(format!("SIP/2.0 {} {}\r\n", error.status, error.reason).as_bytes());
    let mut seen = [0_u32; REPEATED.len()];
    for line in lines.take_while(|line| !line.is_empty()).take(HEADERS_MAX) {
        let name = line.split(|byte| *byte == b':').next()?.trim_ascii_end();
        let is_it = |(long, short): &(&[u8], &[u8])| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        let Some(index) = REPEATED.iter().position(is_it) else { continue };
        // A second To or Call-ID may be the very reason: the first one counts.
        let count = seen.get_mut(index)?;
        *count += 1;
        if index > 0 && *count > 1 {
            continue;
        }
        if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return None;
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    (seen.iter().all(|count| *count > 0) && out.len() <= bytes.len() + ANSWER_SLACK).then(|| out.into())
}

/// Lines of a malformed request that are looked at.
const HEADERS_MAX: usize = 64;

/// What an answer may be longer than a malformed request: its reason phrase.
const ANSWER_SLACK: usize = 64;

/// The response that a refusal asks for.
pub fn refusal(request: &Message, source: &Source, refusal: &Refusal, key: &NodeKey) -> Bytes {
    let status = refusal.status().unwrap_or(500);
    let retry = refusal.retry_after().map(|seconds| seconds.to_string());
    let extra: Option<(&str, &[u8])> = retry.as_deref().map(|seconds| ("Retry-After", seconds.as_bytes()));
    answer(request, source, status, refusal.reason(), key, extra.as_slice())
}
