//! The start line (RFC 3261 §7.1, §7.2): read exactly, because what one reader skips another obeys.

use std::ops::Range;

use memchr::{memchr, memchr2, memrchr};

use super::scan::{FieldEnd, Span, field_end, is_plain_uri, is_token, number};
use super::{Limits, Malformed, Method};
use crate::sip::uri::{Scheme, Uri};

/// Where the parts of the Request-URI stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct UriSpans {
    scheme: Scheme,
    user: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
    headers: Span,
}

impl UriSpans {
    fn of(bytes: &[u8], uri: &Uri<'_>) -> UriSpans {
        let span = |part| Span::of(bytes, part);
        UriSpans {
            scheme: uri.scheme,
            user: uri.user.map(span),
            host: span(uri.host),
            port: uri.port,
            params: span(uri.params),
            headers: span(uri.headers),
        }
    }
    pub(super) fn read(self, bytes: &[u8]) -> Uri<'_> {
        Uri {
            scheme: self.scheme,
            user: self.user.map(|user| user.read(bytes)),
            host: self.host.read(bytes),
            port: self.port,
            params: self.params.read(bytes),
            headers: self.headers.read(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Request { method: Method, method_span: Span, uri: Span, parts: Option<UriSpans> },
    Response { status: u16, reason: Span },
}

/// Reads the start line; also where the headers begin.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<(Start, usize), Malformed> {
    let (end, next) = match field_end(bytes, 0) {
        FieldEnd::At(end, next) => (end, next),
        FieldEnd::More(at) => return Err(Malformed::bad("Start line does not end", at)),
        FieldEnd::Bare(at) => return Err(Malformed::bad("Bare CR or LF", at)),
    };
    let line = bytes.get(..end).unwrap_or_default();
    let start = match line.first_chunk::<4>() {
        Some(protocol) if protocol.eq_ignore_ascii_case(b"SIP/") => response(line)?,
        _ => request(line, limits)?,
    };
    Ok((start, next))
}

/// Where the Request-URI of a request stands that is not read yet. Another place in bytes that are none.
pub fn request_uri_at(bytes: &[u8]) -> Option<Range<usize>> {
    let start = memchr(b' ', bytes)? + 1;
    let len = memchr2(b' ', b'\r', bytes.get(start..)?)?;
    Some(start..start + len)
}

/// Method SP Request-URI SP SIP-Version: one blank each, none elsewhere.
fn request(line: &[u8], limits: &Limits) -> Result<Start, Malformed> {
    let bad = Malformed::bad("Malformed request line", 0);
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else { return Err(bad) };
    let method_bytes = line.get(..first).unwrap_or_default();
    let version = line.get(last + 1..).unwrap_or_default();
    // Equal when there is one blank only.
    let uri = line.get(first + 1..last).ok_or(bad.clone())?;
    check_version(version)?;
    if uri.len() > limits.uri {
        return Err(Malformed { status: 414, reason: "Request-URI Too Long", at: first + 1 });
    }
    if !is_token(method_bytes) || !is_plain_uri(uri) {
        return Err(bad);
    }
    Ok(Start::Request {
        method: Method::from_bytes(method_bytes),
        method_span: Span::new(0, first),
        uri: Span::new(first + 1, last),
        parts: Uri::parse(uri).map(|uri| UriSpans::of(line, &uri)),
    })
}

/// SIP-Version SP Status-Code SP Reason-Phrase; the phrase may be empty, its blank not missing.
fn response(line: &[u8]) -> Result<Start, Malformed> {
    let bad = Malformed::bad("Malformed status line", 0);
    let first = memchr(b' ', line).ok_or(bad.clone())?;
    check_version(line.get(..first).unwrap_or_default())?;
    let code = line.get(first + 1..first + 4).and_then(number).filter(|code| (100..700).contains(code));
    match (code, line.get(first + 4)) {
        (Some(code), Some(b' ')) => {
            Ok(Start::Response { status: code as u16, reason: Span::new(first + 5, line.len()) })
        }
        _ => Err(bad),
    }
}

/// `SIP/2.0` in any case (§7.1); another version is 505, anything else no SIP.
fn check_version(version: &[u8]) -> Result<(), Malformed> {
    if version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let is_sip = version.split_at_checked(4).is_some_and(|(name, digits)| {
        let mut parts = digits.split(|byte| *byte == b'.');
        let mut is_number =
            || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
        name.eq_ignore_ascii_case(b"SIP/") && is_number() && is_number() && parts.next().is_none()
    });
    match is_sip {
        true => Err(Malformed { status: 505, reason: "SIP Version Not Supported", at: 0 }),
        false => Err(Malformed::bad("Malformed start line", 0)),
    }
}
