//! Request validation (RFC 3261 §16.3), in the RFC's order. Syntax was checked by the parser; authorization (step 6)
//! is policy's.

use crate::base::NodeKey;
use crate::sip::message::{Message, Name};

use super::branch::{Branch, LoopHash};

/// §16.6 step 3: put into a request that has no Max-Forwards.
const MAX_FORWARDS: u32 = 70;

/// What forwarding needs to know of a request that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid {
    /// Max-Forwards for the request that goes out: decremented, or 70 where there was none, and never above the cap.
    pub max_forwards: u32,
    /// Of the request as received; goes into the branch.
    pub loop_hash: LoopHash,
}

/// Why a request is not forwarded. An ACK that fails is dropped: it takes no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The Request-URI has a scheme of ours and is broken: 400.
    #[error("Request-URI is not a URI")]
    RequestUri,
    /// Another scheme: 416.
    #[error("scheme of the Request-URI is not sip, sips or tel")]
    Scheme,
    /// Max-Forwards is 0: 483.
    #[error("Max-Forwards used up")]
    TooManyHops,
    /// It has been here before, unchanged: 482.
    #[error("loop")]
    Loop,
    /// Max-Breadth is 0, so not even one branch is left: 440 (RFC 5393 §5.3.3).
    #[error("Max-Breadth used up")]
    MaxBreadth,
    /// Proxy-Require names extensions that we do not know: 420 with them in Unsupported.
    #[error("Proxy-Require not supported")]
    Extension {
        /// Value of the Unsupported header.
        unsupported: Vec<u8>,
    },
}

impl Invalid {
    /// Status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Invalid::RequestUri => 400,
            Invalid::Scheme => 416,
            Invalid::TooManyHops => 483,
            Invalid::Loop => 482,
            Invalid::MaxBreadth => 440,
            Invalid::Extension { .. } => 420,
        }
    }

    /// Reason phrase of the answer (RFC 3261 §21.4).
    pub fn reason(&self) -> &'static str {
        match self {
            Invalid::RequestUri => "Bad Request-URI",
            Invalid::Scheme => "Unsupported URI Scheme",
            Invalid::TooManyHops => "Too Many Hops",
            Invalid::Loop => "Loop Detected",
            Invalid::MaxBreadth => "Max-Breadth Exceeded",
            Invalid::Extension { .. } => "Bad Extension",
        }
    }
}

/// Checks steps 2 to 5. `origin` is whatever routing knows of the sender besides the message; `max_forwards_cap` is what a larger Max-Forwards
/// is lowered to; `supported` are the option tags that we honour in Proxy-Require.
pub fn validate(
    request: &Message,
    origin: &[u8],
    key: &NodeKey,
    max_forwards_cap: u32,
    supported: &[&str],
) -> Result<Valid, Invalid> {
    scheme(request)?;
    let max_forwards = max_forwards(request)?.min(max_forwards_cap);
    let loop_hash = LoopHash::of(key, origin, request);
    if is_loop(request, key, loop_hash) {
        return Err(Invalid::Loop);
    }
    // RFC 5393 §5.3.1: a positive number. We try one target at a time (§5.3.3: "forking serially"): one is enough.
    if request.header(Name::MaxBreadth).and_then(|breadth| breadth.number()) == Some(0) {
        return Err(Invalid::MaxBreadth);
    }
    proxy_require(request, supported)?;
    Ok(Valid { max_forwards, loop_hash })
}

/// Step 2: URI scheme.
fn scheme(request: &Message) -> Result<(), Invalid> {
    if request.uri().is_some() {
        return Ok(());
    }
    let uri = request.request_uri().ok_or(Invalid::RequestUri)?;
    let scheme = uri.split(|&c| c == b':').next().unwrap_or_default();
    let is_ours = [&b"sip"[..], b"sips", b"tel"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
    let is_scheme = scheme.len() < uri.len()
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c));
    Err(if is_scheme && !is_ours { Invalid::Scheme } else { Invalid::RequestUri })
}

/// Step 3: Max-Forwards of the request that goes out.
fn max_forwards(request: &Message) -> Result<u32, Invalid> {
    let Some(element) = request.header(Name::MaxForwards) else { return Ok(MAX_FORWARDS) };
    // The parser has refused what is not a number from 0 to 255.
    element.number().and_then(|hops| hops.checked_sub(1)).ok_or(Invalid::TooManyHops)
}

/// Step 4 as RFC 5393 §4.2.2 replaces it: a Via of ours whose loop hash is that of the request means that it came back as it came before.
/// Who forwards to one place at a time need not look (§4.1); we do, for a loop costs less here than seventy hops. Our own Via is known by its
/// MAC, whatever name or address stands in its sent-by.
fn is_loop(request: &Message, key: &NodeKey, loop_hash: LoopHash) -> bool {
    request
        .elements(Name::Via)
        .filter_map(|via| Branch::verify(key, via.via().ok()?.branch()?))
        .any(|ours| ours == loop_hash)
}

/// Step 5: Proxy-Require.
fn proxy_require(request: &Message, supported: &[&str]) -> Result<(), Invalid> {
    let mut unsupported = Vec::new();
    for tag in request.elements(Name::ProxyRequire).map(|element| element.value) {
        if !supported.iter().any(|ours| tag.eq_ignore_ascii_case(ours.as_bytes())) {
            if !unsupported.is_empty() {
                unsupported.extend_from_slice(b", ");
            }
            unsupported.extend_from_slice(tag);
        }
    }
    if unsupported.is_empty() { Ok(()) } else { Err(Invalid::Extension { unsupported }) }
}
