//! Responses that we make ourselves (RFC 3261 §8.2.6).

use std::io::Write as _;
use std::net::SocketAddr;

use super::index::Field;
use super::scan::Span;
use super::{Edit, Message, Name};

/// Appends the response to `request`: all Via in order, From, To (with `to_tag` where it has none and the status is
/// above 100), Call-ID, CSeq, for 100 also Timestamp, then `extra` header lines and `Content-Length: 0`.
pub fn response(
    request: &Message,
    status: u16,
    reason: &str,
    to_tag: Option<&[u8]>,
    extra: &[(&str, &[u8])],
    out: &mut Vec<u8>,
) {
    response_to(request, None, status, reason, to_tag, extra, out);
}

/// [`response`] with `received` and `rport` of `source` in the top Via (§18.2.1, RFC 3581 §4), for a request whose bytes
/// are as they came from the wire.
pub fn response_to(
    request: &Message,
    source: Option<SocketAddr>,
    status: u16,
    reason: &str,
    to_tag: Option<&[u8]>,
    extra: &[(&str, &[u8])],
    out: &mut Vec<u8>,
) {
    let mut edit = Edit::new(request);
    if let Some(source) = source {
        edit.stamp_top_via(source.ip(), source.port());
    }
    if let (Some(tag), Some(to)) = (to_tag, request.header(Name::To))
        && status > 100
        && request.to().tag().is_none()
    {
        edit.insert(to.at + to.value.len(), &[b";tag=", tag]);
    }
    let _ = write!(out, "SIP/2.0 {status} {reason}\r\n");
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        copy(&edit, request, name, out);
    }
    // §8.2.6.1: a 100 gives the Timestamp back.
    if status == 100 {
        copy(&edit, request, Name::Timestamp, out);
    }
    for (name, value) in extra {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// Copies every line of that name.
fn copy(edit: &Edit<'_>, request: &Message, name: Name, out: &mut Vec<u8>) {
    for Field { name_span, next, .. } in request.index.fields().iter().filter(|field| field.name == name) {
        edit.write_part(Span { at: name_span.at, end: *next }, out);
    }
}

/// The RFCs' own words for a status (RFC 3261 §21 and its extensions); of the class, for one that has none.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match status / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
